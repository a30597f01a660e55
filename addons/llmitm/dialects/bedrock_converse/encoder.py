"""Streamed answers of the Converse API: canon events -> AWS event stream. Never raises.

Source: Amazon Bedrock API reference, ConverseStream; Smithy specification, event streams.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

from llmitm.canon.events import (
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
from llmitm.canon.fold import merge_usage
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Loss
from llmitm.dialects.bedrock_converse.faults import encode_exception
from llmitm.dialects.bedrock_converse.parts import PartEncoder
from llmitm.dialects.bedrock_converse.response import (
    answer_block,
    stop_reason,
    tell_finish,
    tell_usage,
    usage_fields,
)
from llmitm.dialects.bedrock_converse.tables import NAME
from llmitm.dialects.contract import Reply
from llmitm.dialects.framing_aws_eventstream import header_block, message
from llmitm.dialects.json_text import Wire, dump
from llmitm.dialects.telling import tell_late

_KINDS = (
    "messageStart",
    "contentBlockStart",
    "contentBlockDelta",
    "contentBlockStop",
    "messageStop",
    "metadata",
)


def _block(kind: str, form: str, name: str) -> bytes:
    return header_block({name: kind, ":content-type": "application/json", ":message-type": form})


_BLOCKS = MappingProxyType({kind: _block(kind, "event", ":event-type") for kind in _KINDS})


def event_message(kind: str, value: Json) -> bytes:
    """One event message."""
    return message(_BLOCKS.get(kind) or _block(kind, "event", ":event-type"), dump(value))


def exception_message(fault: Fault) -> bytes:
    """The exception message that ends a stream."""
    name, payload = encode_exception(fault)
    return message(_block(name, "exception", ":exception-type"), payload)


class ConverseEncoder:
    """Events of one answer as event stream messages."""

    def __init__(self, reply: Reply) -> None:
        del reply
        self.losses: list[Loss] = []
        self._parts = PartEncoder(True, self.losses)
        self._started = self._done = self._stopped = False
        self._places: dict[int, int] = {}
        self._open: dict[int, str] = {}
        self._called = False
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._end: Extras = NO_EXTRAS
        self._other_choices = False

    def feed(self, events: Iterable[Event]) -> bytes:
        """The messages for these events; a Fault ends the stream with an exception."""
        pieces: list[bytes] = []
        for event in events:
            if self._done:
                tell_late(event, NAME, self.losses)
            elif isinstance(event, Fault):
                self._done = True
                pieces.append(exception_message(event))
            elif isinstance(event, End):
                self._end = self._parts.extras(event.extras)
                pieces += self._closing()
            else:
                pieces += self._event(event)
        return b"".join(pieces)

    def close(self) -> bytes:
        """What makes the stream well-formed when it ends here."""
        return b"" if self._done else b"".join(self._closing())

    def heartbeat(self) -> bytes:
        """An event of a kind that clients do not know, which they skip."""
        return event_message("heartbeat", {})

    def _event(self, event: Event) -> list[bytes]:
        match event:
            case Start():
                self._parts = PartEncoder(event.dialect == NAME, self.losses)
                if not self._parts.own:
                    self._parts.extras(event.extras)
                return self._begin(event.extras if self._parts.own else NO_EXTRAS)
            case PartStart() | PartDelta() | PartDetail() | PartEnd():
                return self._part(event)
            case Usage():
                self._usage = merge_usage(self._usage, event)
            case Finish():
                if not event.choice:
                    self._finish = event
            case Opaque():
                return self._opaque(event)
            case Ping() | Fault() | End():
                pass
        return []

    def _part(self, event: PartStart | PartDelta | PartDetail | PartEnd) -> list[bytes]:
        if event.choice:
            if not self._other_choices:
                self._other_choices = True
                self._parts.lose("choices")
            return []
        match event:
            case PartStart():
                return [*self._begin(), *self._start(event)]
            case PartDelta():
                return [*self._begin(), *self._delta(event)]
            case PartDetail():
                return [*self._begin(), *self._detail(event)]
            case PartEnd():
                return self._stop(self._places.get(event.index, -1))

    def _begin(self, extras: Extras = NO_EXTRAS) -> list[bytes]:
        if self._started:
            return []
        self._started = True
        return [event_message("messageStart", {"role": "assistant", **extras})]

    def _opaque(self, event: Opaque) -> list[bytes]:
        if event.dialect == NAME and event.event and event.event != "messageStop":
            return [*self._begin(), event_message(event.event, event.value)]
        if event.dialect == NAME and isinstance(event.value, dict):
            self._end = {**self._end, **event.value}
            return []
        self._parts.lose("event.unknown", say=event.event)
        return []

    def _place(self, index: int) -> int:
        return self._places.setdefault(index, len(self._places))

    def _start(self, event: PartStart) -> list[bytes]:
        part: Part = event.part
        if isinstance(part, ToolCall):
            place = self._place(event.index)
            self._open[place] = "arguments"
            self._called = True
            use: Wire = {"toolUseId": part.id or f"tooluse_{place}", "name": part.name}
            use |= self._parts.extras(part.extras)
            if part.signature is not None:
                self._parts.lose("part.reasoning.signature")
            if part.kind == "custom":
                self._parts.lose("tool_call.custom", (), "adapted", "text as arguments")
            start: Wire = {"contentBlockIndex": place, "start": {"toolUse": use}}
            first = self._say(place, "arguments", part.arguments) if part.arguments else []
            return [event_message("contentBlockStart", start), *first]
        if isinstance(part, Text | Reasoning | Refusal):
            if isinstance(part, Refusal):
                self._parts.lose("part.refusal", (), "adapted", "told as text")
            kind = "reasoning" if isinstance(part, Reasoning) else "text"
            place = self._place(event.index)
            self._open[place] = kind
            pieces = self._say(place, kind, part.text) if part.text else []
            if isinstance(part, Text) and self._parts.own:
                pieces += self._annotations(place, part.annotations)
            elif isinstance(part, Text):
                self._parts.tell_text(part)
            if isinstance(part, Reasoning):
                pieces += self._proof(place, part.signature, part.encrypted, part.dialect)
            return pieces
        block = answer_block(part, event.index, self._parts)
        return [] if block is None else self._whole(self._place(event.index), block)

    def _whole(self, place: int, block: Wire) -> list[bytes]:
        """A block that came in one piece: its start, its content, its end (told by PartEnd)."""
        kind, body = next(iter(block.items()), ("", None))
        self._open[place] = "whole"
        if not isinstance(body, dict):
            return []
        inside = "content" if kind == "toolResult" else "input" if kind == "toolUse" else "source"
        rest = {key: value for key, value in body.items() if key != inside}
        start: Wire = {"contentBlockIndex": place, "start": {kind: rest}}
        said = body.get(inside)
        delta: Json = said if isinstance(said, list) else {inside: said}
        if inside == "input":
            delta = {"input": dump(said).decode()}
        pieces = [event_message("contentBlockStart", start)]
        if inside in body:
            told: Wire = {"contentBlockIndex": place, "delta": {kind: delta}}
            pieces.append(event_message("contentBlockDelta", told))
        return pieces

    def _say(self, place: int, kind: str, text: str) -> list[bytes]:
        delta: Json
        match kind:
            case "arguments":
                delta = {"toolUse": {"input": text}}
            case "reasoning":
                delta = {"reasoningContent": {"text": text}}
            case _:
                delta = {"text": text}
        return [event_message("contentBlockDelta", {"contentBlockIndex": place, "delta": delta})]

    def _delta(self, event: PartDelta) -> list[bytes]:
        kind = "text" if event.kind == "refusal" else event.kind
        place = self._place(event.index)
        self._open.setdefault(place, kind)
        return self._say(place, kind, event.text)

    def _detail(self, event: PartDetail) -> list[bytes]:
        place = self._place(event.index)
        pieces = self._annotations(place, event.annotations)
        if event.logprobs is not None:
            self._parts.lose("part.logprobs")
        own = NAME if self._parts.own else "another protocol"
        return [*pieces, *self._proof(place, event.signature, event.encrypted, own)]

    def _annotations(self, place: int, annotations: tuple[Json, ...]) -> list[bytes]:
        if annotations and not self._parts.own:
            self._parts.lose("part.annotations")
            return []
        self._open.setdefault(place, "text")
        return [
            event_message(
                "contentBlockDelta", {"contentBlockIndex": place, "delta": {"citation": citation}}
            )
            for citation in annotations
        ]

    def _proof(
        self, place: int, signature: str | None, encrypted: str | None, maker: str
    ) -> list[bytes]:
        if signature is None and encrypted is None:
            return []
        if maker != NAME:
            self._parts.lose("part.reasoning.signature", say=f"made by {maker}")
            return []
        self._open.setdefault(place, "reasoning")
        told = (("signature", signature), ("redactedContent", encrypted))
        return [
            event_message(
                "contentBlockDelta",
                {"contentBlockIndex": place, "delta": {"reasoningContent": {key: value}}},
            )
            for key, value in told
            if value is not None
        ]

    def _stop(self, place: int) -> list[bytes]:
        if self._open.pop(place, None) is None:
            return []
        return [event_message("contentBlockStop", {"contentBlockIndex": place})]

    def _closing(self) -> list[bytes]:
        self._done = True
        pieces = self._begin()
        for place in sorted(self._open):
            pieces += self._stop(place)
        own = self._parts.own
        if self._finish is not None or not own or self._end or self._usage is not None:
            tell_finish(self._finish, self._parts)
            stop: Wire = {"stopReason": stop_reason(self._finish, own, self._called)}
            end = dict(self._end)
            if own and (fields := end.pop("additionalModelResponseFields", None)) is not None:
                stop["additionalModelResponseFields"] = fields
            pieces.append(event_message("messageStop", stop))
            tell_usage(self._usage, self._parts)
            usage = usage_fields(self._usage, own)
            timed: Wire = {} if own else {"metrics": {"latencyMs": 0}}
            pieces.append(event_message("metadata", {"usage": usage, **timed, **end}))
        return pieces
