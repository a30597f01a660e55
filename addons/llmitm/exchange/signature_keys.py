"""By what a turn of an assistant is known again when the client sends it back: salted digests.

Nothing of a credential, a text or an argument can be read from a key. A key of one client never
equals one of another. Never: keeps anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import parse_qsl

from llmitm.canon.digests import Fingerprint, digest
from llmitm.canon.parts import Part, Reasoning, ToolCall
from llmitm.canon.request import Message
from llmitm.canon.turns import text_of
from llmitm.exchange.wire import CREDENTIAL_HEADERS, Headers, query_of

# Entries of OpenRouter, signed or not: some models need their bare words back as well.
_OWN_FORM = "reasoning_details"
_NOT_IN_ID = re.compile(r"[^A-Za-z0-9_-]")


def scope_of(headers: Headers, path: str, salt: bytes) -> bytes:
    """A digest of who the client is, from its credential headers and the `key` of its query.

    Cookies change from answer to answer, so they count only where there is nothing better.
    """
    proofs = {
        (name.lower(), value) for name, value in headers if name.lower() in CREDENTIAL_HEADERS
    }
    query = query_of(path)
    if "key=" in query:
        proofs |= {("?key", value) for name, value in parse_qsl(query) if name == "key"}
    firm = {proof for proof in proofs if proof[0] != "cookie"}
    return digest(salt, (part for proof in sorted(firm or proofs) for part in proof))


def id_key(scope: bytes, call_id: str) -> bytes:
    """The key of a call by its provider's id, in the form that every protocol can carry."""
    return digest(scope, ("id", _NOT_IN_ID.sub("_", call_id)))


def said_key(scope: bytes, call: ToolCall, context: bytes = b"") -> bytes:
    """The key of a call by what it says and, if given, what it answered."""
    return digest(scope, ("call", call.name, _settled(call.arguments), context.hex()))


def text_key(scope: bytes, text: bytes) -> bytes:
    """The key of a turn without calls by the digest of its text."""
    return digest(scope, ("text", text.hex()))


def talk_key(scope: bytes, messages: Sequence[Message]) -> bytes:
    """The key of a conversation: its client and the first words of its user.

    What began with the same words counts as one conversation; the same history always does.
    """
    mark = Fingerprint()
    first = next((each for each in messages if each.role == "user"), None)
    if first is not None:
        mark.feed(text_of(first.parts))
    return digest(scope, ("talk", mark.digest().hex()))


def context_of(messages: Sequence[Message]) -> bytes:
    """A digest of what was said to the assistant just before the end of `messages`."""
    begin = len(messages)
    while begin and messages[begin - 1].role != "assistant":
        begin -= 1
    said = (text_of(each.parts) for each in messages[begin:] if each.role in ("user", "tool"))
    mark = Fingerprint()
    for text in said:
        mark.feed(text)
    return mark.digest()


def is_proven(part: Part) -> bool:
    """Whether this is reasoning with something that only its maker can have made."""
    return isinstance(part, Reasoning) and bool(part.signature or part.encrypted)


def is_makers(part: Part) -> bool:
    """Whether this is reasoning that its maker wants back as it was: proven, or in its own form."""
    return is_proven(part) or (isinstance(part, Reasoning) and bool(part.extras.get(_OWN_FORM)))


def mark_of(part: Part) -> tuple[str | None, str | None, str]:
    """What tells one such reasoning from another."""
    if not isinstance(part, Reasoning):
        return None, None, ""
    return part.signature, part.encrypted, repr(part.extras.get(_OWN_FORM))


def _settled(arguments: str) -> str:
    """Arguments in one spelling, however a client prints JSON."""
    if not arguments.strip():
        return "{}"
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return arguments.strip()
