"""An answer as an operator has edited it, as events: what they left alone stays as it came.

Never: looks at a rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llmitm.canon.events import (
    End,
    Event,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Usage,
)
from llmitm.canon.parts import Refusal, ToolCall
from llmitm.canon.response import Choice, Response
from llmitm.stages.kept_calls import edited_part, events_of

type Key = tuple[int, int]


def key_of(event: Event) -> Key | None:
    """(choice, index) of the part the event is of, None = of none."""
    if isinstance(event, PartStart | PartDelta | PartDetail | PartEnd):
        return event.choice, event.index
    return None


def edited(kept: Sequence[Event], was: Response, now: Response) -> tuple[Event, ...]:
    """The kept events, with what differs between the two answers changed.

    kept: all that is kept back of an answer; was: what it tells. Choices that the edited answer
    does not have go on as they were.
    """
    news = {choice.index: choice for choice in now.choices}
    if len(was.choices) == 1 and len(now.choices) == 1:
        # An operator's own answer need not know which choice it is.
        (only,) = was.choices
        news = {only.index: replace(now.choices[0], index=only.index)}
    changed = {
        choice.index: news[choice.index]
        for choice in was.choices
        if choice.index in news and news[choice.index] != choice
    }
    if not was.choices:
        changed = news
    if not changed:
        return tuple(kept)
    changed_choices = frozenset(changed)
    parts = _by_part(kept)
    out: list[Event] = []
    for event in kept:
        key = key_of(event)
        if key is not None and key[0] in changed_choices:
            continue
        if isinstance(event, Finish) and event.choice in changed:
            out += _choice(changed.pop(event.choice), parts, event)
            continue
        if isinstance(event, End | Usage | Opaque) and changed:
            out += _all(changed, parts)
        out.append(event)
    out += _all(changed, parts)
    return tuple(out)


def _all(changed: dict[int, Choice], parts: dict[Key, list[Event]]) -> list[Event]:
    """What is left to be said of these choices, which then are none any more."""
    out: list[Event] = []
    for number in sorted(changed):
        out += _choice(changed[number], parts, None)
    changed.clear()
    return out


def _by_part(kept: Sequence[Event]) -> dict[Key, list[Event]]:
    parts: dict[Key, list[Event]] = {}
    for event in kept:
        key = key_of(event)
        if key is not None:
            parts.setdefault(key, []).append(event)
    for (choice, index), events in parts.items():
        if not isinstance(events[-1], PartEnd):
            events.append(PartEnd(index, choice))
    return parts


def _choice(new: Choice, parts: dict[Key, list[Event]], finish: Finish | None) -> list[Event]:
    """All events of one choice. finish: as it came, None = it has not."""
    number = new.index
    indexes = sorted(index for choice, index in parts if choice == number)
    out: list[Event] = []
    for place, part in enumerate(new.parts):
        index = indexes[place] if place < len(indexes) else place - len(indexes) + _after(indexes)
        held = parts.get((number, index))
        out += edited_part(held, part) if held else events_of(part, index, number)
    out.append(_finish(new, finish))
    return out


def _after(indexes: list[int]) -> int:
    return indexes[-1] + 1 if indexes else 0


def _finish(new: Choice, was: Finish | None) -> Finish:
    """Why the choice ends now: with calls in it, or without any."""
    finish = new.finish or was or Finish("stop")
    called = any(isinstance(part, ToolCall) for part in new.parts)
    if called and finish.reason == "stop":
        finish = replace(finish, reason="tool_calls", raw=None)
    elif not called and finish.reason == "tool_calls":
        finish = replace(finish, reason="stop", raw=None)
    return replace(finish, choice=new.index)


def refused(was: Response, message: str) -> Response:
    """A refusal in the model's voice in the place of every choice."""
    numbers = [choice.index for choice in was.choices] or [0]
    said = tuple(
        Choice(
            index=number,
            parts=(Refusal(text=message),),
            finish=Finish("refusal", choice=number),
        )
        for number in numbers
    )
    return Response(choices=said, ended=True)
