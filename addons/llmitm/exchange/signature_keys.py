"""By what a turn of an assistant is known again when the client sends it back: salted digests.

Nothing of a credential, a text or an argument can be read from a key. A key of one client never
equals one of another. Never: keeps anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from urllib.parse import parse_qsl

from llmitm.canon.parts import Part, Reasoning, ToolCall
from llmitm.canon.request import Message
from llmitm.canon.turns import text_of
from llmitm.exchange.wire import CREDENTIAL_HEADERS, Headers, query_of

_KEY_BYTES = 16
_BATCH_CHARS = 1 << 16
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
    return _digest(salt, (part for proof in sorted(firm or proofs) for part in proof))


def id_key(scope: bytes, call_id: str) -> bytes:
    """The key of a call by its provider's id, in the form that every protocol can carry."""
    return _digest(scope, ("id", _NOT_IN_ID.sub("_", call_id)))


def said_key(scope: bytes, call: ToolCall, context: bytes = b"") -> bytes:
    """The key of a call by what it says and, if given, what it answered."""
    return _digest(scope, ("call", call.name, _settled(call.arguments), context.hex()))


def text_key(scope: bytes, text: bytes) -> bytes:
    """The key of a turn without calls by the digest of its text."""
    return _digest(scope, ("text", text.hex()))


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


def has_proof(part: Part) -> bool:
    """Whether this is reasoning with something that only its maker can have made."""
    return isinstance(part, Reasoning) and bool(part.signature or part.encrypted)


class Fingerprint:
    """A digest of a text that comes in pieces; white space and where it was cut never matter."""

    __slots__ = ("_hash", "_pending", "_pending_chars", "length")

    def __init__(self) -> None:
        self._hash = blake2b(digest_size=_KEY_BYTES)
        self._pending: list[str] = []
        self._pending_chars = 0
        self.length = 0

    def feed(self, text: str) -> None:
        """Takes more of the text."""
        self._pending.append(text)
        self._pending_chars += len(text)
        self.length += len(text)
        if self._pending_chars > _BATCH_CHARS:
            self._settle()

    def _settle(self) -> None:
        if self._pending:
            bare = "".join("".join(self._pending).split())
            self._hash.update(bare.encode("utf-8", "surrogatepass"))
            self._pending.clear()
            self._pending_chars = 0

    def digest(self) -> bytes:
        """The digest of what has come so far."""
        self._settle()
        return self._hash.digest()


def _settled(arguments: str) -> str:
    """Arguments in one spelling, however a client prints JSON."""
    if not arguments.strip():
        return "{}"
    try:
        return json.dumps(json.loads(arguments), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return arguments.strip()


def _digest(key: bytes, texts: Iterable[str]) -> bytes:
    made = blake2b(digest_size=_KEY_BYTES, key=key)
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        # The length before each text: no two lists of texts run together.
        made.update(len(data).to_bytes(8) + data)
    return made.digest()
