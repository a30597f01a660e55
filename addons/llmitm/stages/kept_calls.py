"""A tool call that is kept back: what it says, and what may take its place.

Events that stay as they were are given as they came, so that their frames can go on unread.
Never: decides what becomes of a call.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import cast

from llmitm.canon.events import Event, Fault, PartDelta, PartDetail, PartEnd, PartStart, Start
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.canon.response import Choice, Response
from llmitm.stages.contract import Decided, Denied, Refuse, Turn, rejected

FRESH_INDEX = 1 << 20
"""Parts that are put into an answer have this index or a higher one."""
_DECIDED = "calls decided by an operator"
_LONGEST_SAID = 4000
_KEPT = Text | Refusal | Reasoning | ToolCall
_NOT_RUN = "This call was not run, because another call of the same answer was stopped."


def is_another(known: Start, event: Start) -> bool:
    """Whether another answer begins with this event; else it tells more of the known one."""
    return bool(event.id and known.id) and event.id != known.id


def whole(events: Sequence[Event]) -> ToolCall:
    """The call that these events tell, complete or not."""
    start = cast("PartStart", events[0])
    part = cast("ToolCall", start.part)
    pieces: list[str] = []
    signature, extras = part.signature, part.extras
    for event in events:
        if isinstance(event, PartDelta):
            pieces.append(event.text)
        elif isinstance(event, PartDetail):
            signature = event.signature or signature
            extras = {**extras, **event.extras} if event.extras else extras
    arguments = part.arguments + "".join(pieces)
    return replace(part, arguments=arguments, signature=signature, extras=extras)


def words(text: str, end: PartEnd) -> tuple[Event, ...]:
    """A text in the place of the part that ends like that."""
    return (
        PartStart(end.index, Text(text=""), end.choice),
        PartDelta(end.index, "text", text, end.choice),
        end,
    )


def with_arguments(held: Sequence[Event], arguments: str) -> tuple[Event, ...]:
    """The same call with other arguments."""
    start = cast("PartStart", held[0])
    part = replace(cast("ToolCall", start.part), arguments="")
    details = [event for event in held if isinstance(event, PartDetail)]
    delta = PartDelta(start.index, "arguments", arguments, start.choice)
    return (replace(start, part=part), delta, *details, held[-1])


def in_place(
    held: Sequence[Event], parts: Sequence[Part], fresh: Iterator[int]
) -> tuple[Event, ...]:
    """These parts in the place of the held one. fresh: indexes for all but the first.

    held: all events of one part, its start first and its end last.
    """
    start = cast("PartStart", held[0])
    out: list[Event] = []
    for number, part in enumerate(parts):
        out += events_of(part, next(fresh), start.choice) if number else edited_part(held, part)
    return tuple(out)


def edited_part(held: Sequence[Event], part: Part) -> Sequence[Event]:
    """The part in the place of the held one: what is the same stays as it came."""
    was = told(held)
    if part == was:
        return held
    if isinstance(part, ToolCall) and isinstance(was, ToolCall):
        only_arguments = part == replace(was, arguments=part.arguments)
        if only_arguments:
            return with_arguments(held, part.arguments)
    start = cast("PartStart", held[0])
    return tuple(events_of(part, start.index, start.choice))


def told(held: Sequence[Event]) -> Part | None:
    """The part that these events tell, None = they tell none."""
    choices = fold(held).choices
    parts = choices[0].parts if choices else ()
    return parts[0] if parts else None


def events_of(part: Part, index: int, choice: int) -> Iterator[Event]:
    """The part as events."""
    for event in unfold(Response(choices=(Choice(index=choice, parts=(part,), finish=None),))):
        if isinstance(event, PartStart | PartDelta | PartDetail | PartEnd):
            yield replace(event, index=index)


def parts_of(response: Response, choice: int = 0) -> tuple[Part, ...]:
    """The parts of one choice; of another one where it is not there."""
    for each in response.choices:
        if each.index == choice:
            return each.parts
    return response.choices[0].parts if response.choices else ()


def rejection(decided: Decided, say: str) -> Fault:
    """The error that ends an answer an operator does not allow. say: where they say nothing."""
    if isinstance(decided, Refuse):
        return decided.fault
    said = decided.message if isinstance(decided, Denied) else ""
    return rejected(said or f"llmitm: {say}")


def decided_calls(turn: Turn) -> set[tuple[int, int]]:
    """(choice, index) of the calls of the present answer about which an operator has decided: no
    other policy asks about them once more."""
    return turn.memory.setdefault(_DECIDED, set[tuple[int, int]]())


def not_run(name: str, message: str) -> str:
    """What a model is told where an operator does not allow its call."""
    said = f"An operator says: {message}" if message else "An operator has not allowed it."
    return f"The call of `{name}` was not run. {said}"


def not_allowed(name: str) -> str:
    """What the user sees in the call's place, where an operator says nothing."""
    return f"[Tool call stopped: an operator has not allowed `{name}`.]"


def asked_again(request: Request, said: Iterable[Event], call: ToolCall, note: str) -> Request:
    """The request with which a model is asked again: what it said, its call, and the note as the
    call's result.

    said: the events of the answer before the call. The texts go to the provider in this one
    request; no client sees them, so no later request can hold them. What proves the model's
    thinking goes along: a provider that wants it back refuses a call without it.
    """
    choices = fold(said).choices
    parts = [part for part in (choices[0].parts if choices else ()) if isinstance(part, _KEPT)]
    kept = _fit([_to_send(part) for part in parts])
    stopped = _to_send(call)
    results = [_result(part, _NOT_RUN) for part in kept if isinstance(part, ToolCall)]
    results.append(_result(call, note))
    answer = Message(role="assistant", parts=(*kept, stopped))
    messages = (*request.messages, answer, Message(role="tool", parts=tuple(results)))
    return replace(request, messages=messages)


def _to_send(part: Part) -> Part:
    """The part as it may stand in a history: names of items of an answer that was given up mean
    nothing to the provider, and of a refusal only the text is kept."""
    if isinstance(part, ToolCall):
        return replace(part, item_id=None)
    if isinstance(part, Reasoning) and part.encrypted is None:
        return replace(part, item_id=None)
    if isinstance(part, Refusal):
        return Text(text=part.text)
    return part


def _fit(parts: list[Part]) -> list[Part]:
    """The parts, text no longer than the last 4000 characters, empty ones left out."""
    fitting: list[Part] = []
    room = _LONGEST_SAID
    for part in reversed(parts):
        if isinstance(part, Text):
            text = part.text[-room:] if room > 0 else ""
            room -= len(text)
            if text.strip():
                is_whole = len(text) == len(part.text)
                fitting.append(Text(text=text, signature=part.signature if is_whole else None))
        elif not _says_nothing(part):
            fitting.append(part)
    return fitting[::-1]


def _says_nothing(part: Part) -> bool:
    return isinstance(part, Reasoning) and not (part.text or part.signature or part.encrypted)


def _result(call: Part, text: str) -> ToolResult:
    assert isinstance(call, ToolCall)
    return ToolResult(
        call_id=call.id, parts=(Text(text=text),), name=call.name, kind=call.kind, error=True
    )
