"""Tool calls and their results as the Messages API wants them paired.

Every call gets an id that is unique and well-formed; its result stands first in the next user
message; a call without a result gets one; a result without a call becomes text.
Source: Anthropic API reference, tool use, "formatting requirements" and error messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from llmitm.canon.parts import Part, Text, ToolCall, ToolResult
from llmitm.canon.request import Message
from llmitm.canon.values import Path
from llmitm.dialects.anthropic_messages.tables import CALL_ID, NOT_IN_CALL_ID

_NO_RESULT = "No result was given."


@dataclass(slots=True)
class _Call:
    old_id: str
    new_id: str
    name: str


class _CallIds:
    def __init__(self) -> None:
        self._seen: set[str] = set()
        self._calls = 0

    def fresh(self, old: str) -> str:
        """The id for the next call: the same for the same calls before it."""
        self._calls += 1
        name = old if CALL_ID.fullmatch(old) else NOT_IN_CALL_ID.sub("_", old)
        name = name or f"toolu_{self._calls}"
        made = name
        count = 1
        while made in self._seen:
            count += 1
            made = f"{name}_{count}"
        self._seen.add(made)
        return made


def paired(messages: Iterable[Message], orphan: Callable[[Path], None]) -> list[Message]:
    """The same conversation with calls and results paired.

    messages: already merged, roles `user` and `assistant` (others pass); orphan: told the place
    of every result that has no call just before it.
    """
    ids = _CallIds()
    waiting: list[_Call] = []
    done: list[Message] = []
    for message in messages:
        if message.role == "assistant":
            if waiting:
                done.append(Message(role="user", parts=_missing(waiting)))
            parts, waiting = _called(message.parts, ids)
            done.append(_with(message, parts))
        elif message.role == "user":
            done.append(_with(message, _answered(message.parts, waiting, orphan)))
            waiting = []
        else:
            done.append(message)
    if waiting:
        done.append(Message(role="user", parts=_missing(waiting)))
    return done


def _with(message: Message, parts: tuple[Part, ...]) -> Message:
    return message if parts is message.parts else Message(role=message.role, parts=parts)


def _called(parts: tuple[Part, ...], ids: _CallIds) -> tuple[tuple[Part, ...], list[_Call]]:
    calls: list[_Call] = []
    written = list(parts)
    renamed = False
    for place, part in enumerate(parts):
        if isinstance(part, ToolCall):
            call = _Call(part.id, ids.fresh(part.id), part.name)
            calls.append(call)
            if call.new_id != part.id:
                written[place] = replace(part, id=call.new_id)
                renamed = True
    return tuple(written) if renamed else parts, calls


def _answered(
    parts: tuple[Part, ...], waiting: list[_Call], orphan: Callable[[Path], None]
) -> tuple[Part, ...]:
    if not waiting and not any(isinstance(part, ToolResult) for part in parts):
        return parts
    results: list[Part] = []
    others: list[Part] = []
    left = list(waiting)
    for part in parts:
        if not isinstance(part, ToolResult):
            others.append(part)
            continue
        call = _match(part, left)
        if call is None:
            orphan(part.at)
            others.append(Text(text=f"[Result of an earlier tool call {part.name or ''}]"))
            others.extend(part.parts)
            continue
        left.remove(call)
        results.append(part if call.new_id == part.call_id else replace(part, call_id=call.new_id))
    return (*results, *(_missing(left) if left else ()), *others)


def _match(result: ToolResult, left: list[_Call]) -> _Call | None:
    for call in left:
        if call.old_id == result.call_id and (result.call_id or call.name == result.name):
            return call
    if not result.call_id and result.name is None and left:
        return left[0]
    return None


def _missing(calls: list[_Call]) -> tuple[Part, ...]:
    return tuple(
        ToolResult(call_id=call.new_id, parts=(Text(text=_NO_RESULT),), error=True)
        for call in calls
    )
