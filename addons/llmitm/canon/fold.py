"""Joins the two worlds of an answer: `fold(events) -> Response`, `unfold(Response) -> events`.

`fold(unfold(r)) == r` for every response whose parts are complete. Folding never raises: events
that arrive in no sensible order still land somewhere (a delta for an unknown index opens its part).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import assert_never

from llmitm.canon.events import (
    DeltaKind,
    End,
    Event,
    Fault,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import Json


@dataclass(slots=True)
class _OpenPart:
    part: Part
    pieces: list[str] = field(default_factory=list[str])
    details: list[PartDetail] = field(default_factory=list[PartDetail])


class Folder:
    """Collects events one by one; `response()` is the answer so far, at any time."""

    def __init__(self) -> None:
        self._start = Start()
        self._parts: dict[tuple[int, int], _OpenPart] = {}
        self._finishes: dict[int, Finish] = {}
        self._usage: Usage | None = None
        self._fault: Fault | None = None
        self._opaque: list[Opaque] = []
        self._end: End | None = None

    def feed(self, event: Event) -> None:
        """Takes one more event."""
        match event:
            case PartDelta():
                self._open(event.choice, event.index, event.kind).pieces.append(event.text)
            case PartDetail():
                self._open(event.choice, event.index, "text").details.append(event)
            case PartStart():
                self._parts[event.choice, event.index] = _OpenPart(event.part)
            case Start():
                self._start = _merge_start(self._start, event)
            case Usage():
                self._usage = merge_usage(self._usage, event)
            case Finish():
                self._finishes[event.choice] = event
            case Fault():
                self._fault = self._fault or event
            case Opaque():
                self._opaque.append(event)
            case End():
                self._end = event
            case PartEnd() | Ping():
                pass
            case _:
                assert_never(event)

    def _open(self, choice: int, index: int, kind: DeltaKind) -> _OpenPart:
        found = self._parts.get((choice, index))
        if found is None:
            found = self._parts[choice, index] = _OpenPart(_empty_part(kind))
        return found

    def response(self) -> Response:
        """The answer as far as it was fed."""
        parts: dict[int, list[Part]] = {choice: [] for choice in self._finishes}
        for (choice, _), open_part in sorted(self._parts.items(), key=lambda item: item[0]):
            parts.setdefault(choice, []).append(_close(open_part))
        return Response(
            id=self._start.id,
            model=self._start.model,
            created_s=self._start.created_s,
            choices=tuple(
                Choice(index=index, parts=tuple(parts[index]), finish=self._finishes.get(index))
                for index in sorted(parts)
            ),
            usage=self._usage,
            fault=self._fault,
            opaque=tuple(self._opaque),
            ended=self._end is not None,
            extras=self._start.extras,
            end_extras=self._end.extras if self._end else Response().end_extras,
            dialect=self._start.dialect,
        )


def fold(events: Iterable[Event]) -> Response:
    """The answer that these events tell, complete or not."""
    folder = Folder()
    for event in events:
        folder.feed(event)
    return folder.response()


def unfold(response: Response) -> Iterator[Event]:
    """The events of an answer, each part in one delta."""
    yield Start(response.id, response.model, response.created_s, response.extras, response.dialect)
    for choice in response.choices:
        for index, part in enumerate(choice.parts):
            yield from _unfold_part(index, part, choice.index)
        if choice.finish is not None:
            yield choice.finish
    yield from response.opaque
    if response.usage is not None:
        yield response.usage
    if response.fault is not None:
        yield response.fault
    if response.ended:
        yield End(response.end_extras)


def _unfold_part(index: int, part: Part, choice: int) -> Iterator[Event]:
    match part:
        case Text(text=text):
            yield PartStart(index, replace(part, text=""), choice)
            if text:
                yield PartDelta(index, "text", text, choice)
        case Reasoning(text=text):
            yield PartStart(index, replace(part, text=""), choice)
            if text:
                yield PartDelta(index, "reasoning", text, choice)
        case Refusal(text=text):
            yield PartStart(index, replace(part, text=""), choice)
            if text:
                yield PartDelta(index, "refusal", text, choice)
        case ToolCall(arguments=arguments):
            yield PartStart(index, replace(part, arguments=""), choice)
            if arguments:
                yield PartDelta(index, "arguments", arguments, choice)
        case Media() | ToolResult() | Unknown():
            yield PartStart(index, part, choice)
        case _:
            assert_never(part)
    yield PartEnd(index, choice)


def merge_usage(old: Usage | None, new: Usage) -> Usage:
    """`new` laid over `old` field by field; what `new` does not tell stays."""
    if old is None:
        return new

    def later[T](before: T | None, after: T | None) -> T | None:
        return before if after is None else after

    raw: Json = new.raw
    if isinstance(old.raw, dict) and isinstance(new.raw, dict):
        raw = old.raw | new.raw
    return Usage(
        input_tokens=later(old.input_tokens, new.input_tokens),
        output_tokens=later(old.output_tokens, new.output_tokens),
        total_tokens=later(old.total_tokens, new.total_tokens),
        cache_read_tokens=later(old.cache_read_tokens, new.cache_read_tokens),
        cache_write_tokens=later(old.cache_write_tokens, new.cache_write_tokens),
        reasoning_tokens=later(old.reasoning_tokens, new.reasoning_tokens),
        raw=old.raw if raw is None else raw,
    )


def _merge_start(old: Start, new: Start) -> Start:
    return Start(
        old.id or new.id,
        old.model or new.model,
        new.created_s if old.created_s is None else old.created_s,
        {**old.extras, **new.extras} if new.extras else old.extras,
        old.dialect or new.dialect,
    )


def _empty_part(kind: DeltaKind) -> Part:
    match kind:
        case "text":
            return Text(text="")
        case "reasoning":
            return Reasoning()
        case "refusal":
            return Refusal(text="")
        case "arguments":
            return ToolCall(id="", name="", arguments="")
        case _:
            assert_never(kind)


def _close(open_part: _OpenPart) -> Part:
    part = open_part.part
    if open_part.pieces:
        more = "".join(open_part.pieces)
        match part:
            case Text() | Reasoning() | Refusal():
                part = replace(part, text=part.text + more)
            case ToolCall():
                part = replace(part, arguments=part.arguments + more)
            case Media() | ToolResult() | Unknown():
                pass
            case _:
                assert_never(part)
    for detail in open_part.details:
        part = _detailed(part, detail)
    return part


def _detailed(part: Part, detail: PartDetail) -> Part:
    match part:
        case Text():
            part = replace(
                part,
                annotations=part.annotations + detail.annotations,
                logprobs=_joined(part.logprobs, detail.logprobs),
                signature=part.signature if detail.signature is None else detail.signature,
            )
        case Reasoning():
            part = replace(
                part,
                signature=part.signature if detail.signature is None else detail.signature,
                encrypted=part.encrypted if detail.encrypted is None else detail.encrypted,
            )
        case ToolCall() if detail.signature is not None:
            part = replace(part, signature=detail.signature)
        case _:
            pass
    if detail.extras and not isinstance(part, Unknown):
        part = replace(part, extras={**part.extras, **detail.extras})
    return part


def _joined(old: Json, new: Json) -> Json:
    if isinstance(old, list) and isinstance(new, list):
        return old + new
    return old if new is None else new
