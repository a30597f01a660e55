"""Which tool calls were made since the user's last words, and which of them are the same?

A call's signature is the tool's name and its arguments in one canonical form. Never: decides what a
repetition meets.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256

from llmitm.canon.digests import bare_digest
from llmitm.canon.parts import Part, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.canon.turns import text_of
from llmitm.stages.provider_calls import Calls

NO_KINDS = Calls(())
MOST_CALLS = 100
"""Calls of one conversation that are looked at: the latest."""
_MOST_MESSAGES = 3 * MOST_CALLS
_LONGEST = 1024
_LARGEST = 1_000_000


@dataclass(slots=True)
class Call:
    """One call. at_s: when it was first seen; result: a digest of what it gave, None = not known.

    key: finds it again in the next request, by its id or by its place since the user's words.
    """

    name: str
    key: str = ""
    at_s: float = 0.0
    id: str = ""
    _part: ToolCall | None = None
    _signature: str = ""
    _result: ToolResult | None = None
    _digest: bytes | None = field(default=None)

    @classmethod
    def of(cls, part: ToolCall, key: str = "", at_s: float = 0.0) -> Call:
        """The call that this part is."""
        return cls(part.name, key, at_s, part.id, part)

    @property
    def signature(self) -> str:
        """What equal calls have in common. Its arguments are not kept once it is known."""
        if self._part is not None:
            self._signature = signature(self._part)
            self._part = None
        return self._signature

    @property
    def result(self) -> bytes | None:
        """A digest of its result, None = not known."""
        if self._result is not None:
            self._digest = _digest(self._result)
            self._result = None
        return self._digest

    @property
    def is_answered(self) -> bool:
        """Whether its result is known."""
        return self._result is not None or self._digest is not None

    def gave(self, result: ToolResult) -> None:
        """This is its result."""
        self._result = result


def signature(call: ToolCall) -> str:
    """The tool's name and its arguments, keys sorted; their SHA-256 when they are long.

    Arguments that are no JSON, or deeper than can be read, stand for themselves.
    """
    text = call.arguments.strip()
    if call.kind == "function" and len(text) <= _LARGEST:
        text = _canonical(text or "{}")
    if len(text) > _LONGEST:
        text = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{call.name}\n{text}"


def _canonical(text: str) -> str:
    try:
        return json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"))
    except (ValueError, RecursionError):
        return text


def _digest(result: ToolResult) -> bytes:
    texts = [text_of(result.parts)]
    if any(not isinstance(part, Text) for part in result.parts):
        # An image, say: two are the same only if they are equal.
        texts.append(repr(result.parts))
    return bare_digest("\0".join((*texts, str(result.error or ""))))


def calls_of(
    request: Request, added: Sequence[re.Pattern[str]], kinds: Calls = NO_KINDS
) -> list[Call]:
    """The latest calls of the history since the user last said something, oldest first.

    added: patterns of what the client puts into the user's mouth; kinds: tells calls that a
    provider defines.
    """
    messages = request.messages
    first = max(_after_user(messages, added), len(messages) - _MOST_MESSAGES)
    found: list[Call] = []
    waiting: list[Call] = []
    for place in range(first, len(messages)):
        for number, part in enumerate(messages[place].parts):
            made = kinds.of(part)
            if made is not None:
                call = Call.of(made, f"{place}.{number}:{made.id}")
                found.append(call)
                waiting.append(call)
                continue
            result = part if isinstance(part, ToolResult) else kinds.result(part)
            if result is not None:
                _answer(waiting, result)
    return found[-MOST_CALLS:]


def answer(calls: Sequence[Call], request: Request, kinds: Calls = NO_KINDS) -> None:
    """Gives these calls the results that stand in the request."""
    waiting = [call for call in calls if not call.is_answered]
    for part in _parts(request.messages):
        result = part if isinstance(part, ToolResult) else kinds.result(part)
        if result is not None:
            _answer(waiting, result)


def has_user_words(request: Request, added: Sequence[re.Pattern[str]]) -> bool:
    """Whether the user says something in this request."""
    return _after_user(request.messages, added) > 0


def _answer(waiting: list[Call], result: ToolResult) -> None:
    for call in waiting:
        same = call.id == result.call_id if result.call_id else call.name == result.name
        if same:
            call.gave(result)
            waiting.remove(call)
            return


def _parts(messages: Sequence[Message]) -> Iterator[Part]:
    for message in messages:
        yield from message.parts


def _after_user(messages: Sequence[Message], added: Sequence[re.Pattern[str]]) -> int:
    """The place behind the user's last words, 0 = there are none."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == "user" and _has_words(messages[place].parts, added):
            return place + 1
    return 0


def _has_words(parts: Sequence[Part], added: Sequence[re.Pattern[str]]) -> bool:
    # What stands beside a tool's result was put there by the agent.
    if any(isinstance(part, ToolResult) for part in parts):
        return False
    for part in parts:
        if not isinstance(part, Text):
            return True
        text = part.text
        for pattern in added:
            text = pattern.sub("", text)
        if text.strip():
            return True
    return False
