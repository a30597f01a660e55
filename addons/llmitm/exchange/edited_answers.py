"""An answer that an operator has edited, on the wire again: in its own protocol and form.

Of a stream the frames that say what nobody changed stay as they came, as far as the protocol lets
them; everything else is encoded. Never: sends.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from llmitm.canon.events import (
    DeltaKind,
    Event,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
)
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall
from llmitm.canon.response import Choice, Response
from llmitm.dialects.contract import Dialect, Frame, Reply
from llmitm.exchange.passing import Passing

type _Key = tuple[int, int]


def read_answer(dialect: Dialect, data: bytes, media: str) -> Response:
    """The answer in this body. media: the type of a stream, empty for a whole body."""
    if media:
        return fold(event for frame in _frames(dialect, data, media) for event in frame.events)
    return fold(dialect.decode_response(data))


def edited_answer(
    dialect: Dialect, data: bytes, media: str, edits: tuple[Response, Response], reply: Reply
) -> bytes:
    """The body that says the edited answer; `data` itself if nothing was edited.

    edits: as `read_answer` gave it, and as it is to be.
    """
    was, now = edits
    if now is was or now == was:
        return data
    if not media:
        if now.fault is not None and not now.choices:
            return dialect.encode_error(now.fault)
        return dialect.encode_response(now, reply).body
    plan = _plan(was, now, _frames(dialect, data, media))
    if plan is not None:
        made = _rewritten(dialect, _frames(dialect, data, media), plan, reply)
        if _said(read_answer(dialect, made, media)) == _said(now):
            return made
    encoder = dialect.stream_encoder(reply)
    return encoder.feed(unfold(now)) + encoder.close()


def _frames(dialect: Dialect, data: bytes, media: str) -> list[Frame]:
    decoder = dialect.stream_decoder(media)
    return [*decoder.feed(data), *decoder.close()]


def _said(response: Response) -> list[object]:
    """What an answer says, without what belongs to its form."""
    return [
        (choice.index, choice.finish and choice.finish.reason, [*map(_content, choice.parts)])
        for choice in response.choices
    ]


def _content(part: Part) -> tuple[object, ...]:
    match part:
        case Text(text=text) | Refusal(text=text) | Reasoning(text=text):
            return (type(part), text)
        case ToolCall():
            return (ToolCall, part.id, part.name, part.arguments)
        case _:
            return (type(part),)


@dataclass(frozen=True, slots=True)
class _Plan:
    """texts: another text for a part whose other events stay; parts: what comes in a part's place
    (nothing, itself changed, several); last: what comes before a choice ends; finishes: by choice.
    fresh: the first index that no part of the answer has."""

    texts: Mapping[_Key, tuple[DeltaKind, str]]
    parts: Mapping[_Key, Sequence[Part]]
    last: Mapping[int, Sequence[Part]]
    finishes: Mapping[int, Finish]
    fresh: int


def _plan(was: Response, now: Response, frames: Iterable[Frame]) -> _Plan | None:
    """What has to be done to the events, None where more than parts and finishes has changed."""
    if replace(now, choices=was.choices) != was:
        return None
    if [one.index for one in was.choices] != [one.index for one in now.choices]:
        return None
    keys, starts = _keys(frames)
    texts: dict[_Key, tuple[DeltaKind, str]] = {}
    parts: dict[_Key, Sequence[Part]] = {}
    last: dict[int, Sequence[Part]] = {}
    finishes: dict[int, Finish] = {}
    for old, new in zip(was.choices, now.choices, strict=True):
        if (old.finish is None) != (new.finish is None):
            return None
        if old.finish is not None and new.finish is not None and old.finish != new.finish:
            finishes[old.index] = new.finish
        mine = sorted(key for key in keys if key[0] == old.index)
        if len(mine) != len(old.parts):
            return None
        for key, come in _gaps(old, new, mine):
            if key is None:
                last[old.index] = come
            elif len(come) == 1 and (delta := _new_text(starts.get(key), come[0])) is not None:
                texts[key] = delta
            else:
                parts[key] = come
    fresh = 1 + max((index for _, index in keys), default=-1)
    return _Plan(texts, parts, last, finishes, fresh)


def _keys(frames: Iterable[Frame]) -> tuple[set[_Key], dict[_Key, Part]]:
    keys: set[_Key] = set()
    starts: dict[_Key, Part] = {}
    for frame in frames:
        for event in frame.events:
            if isinstance(event, PartStart | PartDelta | PartDetail):
                keys.add((event.choice, event.index))
            if isinstance(event, PartStart):
                starts[event.choice, event.index] = event.part
    return keys, starts


def _gaps(old: Choice, new: Choice, keys: list[_Key]) -> Iterator[tuple[_Key | None, list[Part]]]:
    """For each part that was changed: what comes in its place. None: after the last part."""
    place = 0
    left = list(new.parts)
    for at, part in enumerate(old.parts):
        if place < len(left) and left[place] is part:
            place += 1
            continue
        further = next((n for n in range(place, len(left)) if left[n] is part), None)
        if further is not None:
            # Something was put before it.
            yield keys[at], left[place : further + 1]
            place = further + 1
            continue
        later = {id(one) for one in old.parts[at + 1 :]}
        if place < len(left) and id(left[place]) not in later:
            yield keys[at], [left[place]]
            place += 1
        else:
            yield keys[at], []
    if place < len(left):
        yield None, left[place:]


def _new_text(start: Part | None, now: Part) -> tuple[DeltaKind, str] | None:
    """The text of a part whose beginning stays as it was told, None if more has changed."""
    match now:
        case Text():
            bare, kind = replace(now, text=""), "text"
        case Reasoning():
            bare, kind = replace(now, text=""), "reasoning"
        case Refusal():
            bare, kind = replace(now, text=""), "refusal"
        case ToolCall():
            bare, kind = replace(now, arguments=""), "arguments"
        case _:
            return None
    if type(start) is not type(now) or start != bare:
        return None
    return kind, now.arguments if isinstance(now, ToolCall) else now.text


def _rewritten(dialect: Dialect, frames: Iterable[Frame], plan: _Plan, reply: Reply) -> bytes:
    encoder = dialect.stream_encoder(reply)
    passing = Passing(raw=True, repeats=dialect.repeats)
    events = _Events(plan)
    out: list[bytes] = []
    for frame in frames:
        changed = [made for event in frame.events for made in events.of(event)]
        same = len(changed) == len(frame.events) and all(map(_is, changed, frame.events))
        out.append(passing.through(frame, frame.events if same else tuple(changed), encoder))
    if not passing.untouched:
        out += [passing.leave(encoder), encoder.close()]
    return b"".join(out)


def _is(one: object, other: object) -> bool:
    return one is other


class _Events:
    """The events of the edited answer, from those of the first."""

    def __init__(self, plan: _Plan) -> None:
        self._plan = plan
        self._told: set[_Key] = set()
        self._fresh = plan.fresh

    def of(self, event: Event) -> Iterator[Event]:
        """What comes in place of this event."""
        if isinstance(event, Finish):
            yield from self._new(self._plan.last.get(event.choice, ()), event.choice, None)
            yield self._plan.finishes.get(event.choice, event)
            return
        if not isinstance(event, PartStart | PartDelta | PartDetail | PartEnd):
            yield event
            return
        key = (event.choice, event.index)
        if key in self._plan.parts:
            if key not in self._told:
                self._told.add(key)
                yield from self._new(self._plan.parts[key], event.choice, event.index)
        elif key in self._plan.texts and isinstance(event, PartDelta):
            if key not in self._told:
                self._told.add(key)
                kind, text = self._plan.texts[key]
                yield PartDelta(event.index, kind, text, event.choice)
        elif key in self._plan.texts and isinstance(event, PartEnd) and key not in self._told:
            self._told.add(key)
            kind, text = self._plan.texts[key]
            yield PartDelta(event.index, kind, text, event.choice)
            yield event
        else:
            yield event

    def _new(self, parts: Sequence[Part], choice: int, index: int | None) -> Iterator[Event]:
        whole = Response(choices=(Choice(index=choice, parts=tuple(parts)),))
        names: dict[int, int] = {}
        for event in unfold(whole):
            if isinstance(event, PartStart | PartDelta | PartDetail | PartEnd):
                if event.index not in names:
                    names[event.index] = self._index(index if not names else None)
                yield replace(event, index=names[event.index])

    def _index(self, wanted: int | None) -> int:
        if wanted is not None:
            return wanted
        self._fresh += 1
        return self._fresh - 1
