"""Streamed answers of the Converse API: AWS event stream -> canon events. Total.

Blocks that canon has no deltas for (results of the provider's own tools, images) come out whole at
their end. `p`, which only pads a frame, is not kept. The other direction is in `encoder`.
Source: Amazon Bedrock API reference, ConverseStream; Smithy specification, event streams.
"""

from __future__ import annotations

from llmitm.canon.events import (
    End,
    Event,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
)
from llmitm.canon.parts import Reasoning, Text, ToolCall
from llmitm.canon.values import Json
from llmitm.dialects.bedrock_converse.blocks import decode_block
from llmitm.dialects.bedrock_converse.faults import exception_fault
from llmitm.dialects.bedrock_converse.response import decode_finish, decode_response, decode_usage
from llmitm.dialects.bedrock_converse.tables import NAME
from llmitm.dialects.contract import Frame, StreamDecoder
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE, EventFrame, EventStreamSplitter
from llmitm.dialects.json_text import Wire, parse, parse_small, without

type Events = tuple[Event, ...]

_START: Events = (Start(dialect=NAME),)
_PADDING = "p"


def stream_decoder(media_type: str) -> StreamDecoder:
    """A decoder for one answer; only an event stream is read frame by frame, the rest whole."""
    kind = media_type.partition(";")[0].strip()
    return BodyDecoder() if kind and kind != MEDIA_TYPE else ConverseDecoder()


class BodyDecoder:
    """An answer that is no stream: one frame at its end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> list[Frame]:
        """Nothing yet."""
        self._pieces.append(data)
        return []

    def close(self) -> list[Frame]:
        """The whole body as one frame."""
        body = b"".join(self._pieces)
        self._pieces.clear()
        return [Frame(body, tuple(decode_response(body)))] if body else []


def rest_events(rest: EventFrame) -> Events:
    """Events of what is no event stream: all of an error body, none of a frame that was cut."""
    if rest.intact or not rest.raw.lstrip().startswith((b"{", b"[")):
        return ()
    try:
        parse(rest.raw)
    except ValueError:
        return ()
    return tuple(decode_response(rest.raw))


def trouble_of(frame: EventFrame) -> Events | None:
    """The fault of an exception or error message, None for an event."""
    headers = frame.headers
    match headers.get(":message-type", "event"):
        case "exception":
            return (exception_fault(headers.get(":exception-type", ""), frame.payload),)
        case "error":
            code, words = headers.get(":error-code", ""), headers.get(":error-message", "")
            return (exception_fault(code, frame.payload, words),)
        case _:
            return None


class ConverseDecoder:
    """Event stream messages of one answer."""

    def __init__(self) -> None:
        self._splitter = EventStreamSplitter()
        self._open: set[int] = set()
        self._held: dict[int, Wire] = {}

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        return [Frame(frame.raw, self._events(frame)) for frame in self._splitter.feed(data)]

    def close(self) -> list[Frame]:
        """The unfinished rest, then the ends of parts still open."""
        frames = [Frame(frame.raw, rest_events(frame)) for frame in self._splitter.close()]
        events: list[Event] = []
        for index in sorted(self._open | self._held.keys()):
            events += self._stop(index)
        return [*frames, Frame(b"", tuple(events))] if events else frames

    def _events(self, frame: EventFrame) -> Events:
        if not frame.intact:
            return ()
        trouble = trouble_of(frame)
        if trouble is not None:
            return trouble
        kind = frame.headers.get(":event-type", "")
        try:
            value = parse_small(frame.payload)
        except ValueError:
            return (Opaque(NAME, kind, frame.payload.decode("utf-8", "replace")),)
        events = self.told(kind, value) if isinstance(value, dict) else None
        return (Opaque(NAME, kind, value),) if events is None else events

    def told(self, kind: str, value: Wire) -> Events | None:
        """What one event says, None if it is not known."""
        match kind:
            case "contentBlockDelta":
                return self._delta(value)
            case "contentBlockStart":
                return self._start(value)
            case "contentBlockStop":
                index = value.get("contentBlockIndex")
                return tuple(self._stop(index)) if type(index) is int else None
            case "messageStart":
                rest = without(value, "role", _PADDING)
                return (Start(dialect=NAME, extras=rest),) if rest else _START
            case "messageStop":
                return self._finish(value)
            case "metadata":
                usage = value.get("usage")
                if not isinstance(usage, dict):
                    return (End(without(value, _PADDING)),)
                return (decode_usage(usage), End(without(value, _PADDING, "usage")))
            case _:
                return None

    def _finish(self, value: Wire) -> Events | None:
        reason = value.get("stopReason")
        if not isinstance(reason, str):
            return None
        rest = dict(without(value, "stopReason", _PADDING))
        finish = decode_finish(reason)
        return (finish, Opaque(NAME, "messageStop", rest)) if rest else (finish,)

    def _start(self, value: Wire) -> Events | None:
        index, start = value.get("contentBlockIndex"), value.get("start")
        if type(index) is not int or not isinstance(start, dict):
            return None
        match start:
            case {"toolUse": {"toolUseId": str(ident), "name": str(name), **rest}} if (
                len(start) == 1 and rest.get("type") != "server_tool_use"
            ):
                self._open.add(index)
                return (PartStart(index, ToolCall(id=ident, name=name, arguments="", extras=rest)),)
            case _ if len(start) == 1 and isinstance(next(iter(start.values())), dict):
                kind, body = next(iter(start.items()))
                self._held[index] = {kind: {**body} if isinstance(body, dict) else {}}
                return ()
            case _:
                return None

    def _delta(self, value: Wire) -> Events | None:
        index, delta = value.get("contentBlockIndex"), value.get("delta")
        if type(index) is not int or not isinstance(delta, dict) or len(delta) != 1:
            return None
        kind, said = next(iter(delta.items()))
        if kind == "text" and type(said) is str:
            event = PartDelta(index, "text", said)
            return (event,) if index in self._open else self._opened(index, Text(text=""), event)
        if index in self._held:
            return () if _hold_more(self._held[index], kind, said) else None
        match delta:
            case {"toolUse": {"input": str(text)}}:
                event = PartDelta(index, "arguments", text)
                if index in self._open:
                    return (event,)
                return self._opened(index, ToolCall(id="", name="", arguments=""), event)
            case {"reasoningContent": {"text": str(text)}}:
                return self._thought(index, PartDelta(index, "reasoning", text))
            case {"reasoningContent": {"signature": str(text)}}:
                return self._thought(index, PartDetail(index=index, signature=text))
            case {"reasoningContent": {"redactedContent": str(text)}}:
                return self._thought(index, PartDetail(index=index, encrypted=text))
            case {"citation": dict(citation)}:
                detail = PartDetail(index=index, annotations=(citation,))
                if index in self._open:
                    return (detail,)
                return self._opened(index, Text(text=""), detail)
            case {"toolResult": _} | {"image": _}:
                self._held[index] = {kind: {}}
                return () if _hold_more(self._held[index], kind, said) else None
            case _:
                return None

    def _thought(self, index: int, event: Event) -> Events:
        if index in self._open:
            return (event,)
        return self._opened(index, Reasoning(dialect=NAME), event)

    def _opened(self, index: int, part: Text | Reasoning | ToolCall, event: Event) -> Events:
        self._open.add(index)
        return (PartStart(index, part), event)

    def _stop(self, index: int) -> list[Event]:
        held = self._held.pop(index, None)
        events: list[Event] = []
        if held is not None:
            part = decode_block(_settled(held), ("output", "message", "content", index))
            events = [PartStart(index, part), PartEnd(index)]
        if index in self._open:
            self._open.discard(index)
            if not events:
                events = [PartEnd(index)]
        return events


def _hold_more(block: Wire, kind: str, said: Json) -> bool:
    """Adds a delta to a block that is kept until its end; False if it does not fit."""
    body = block.get(kind)
    if not isinstance(body, dict):
        return False
    if isinstance(said, list):
        before = body.get("content")
        body["content"] = [*(before if isinstance(before, list) else ()), *said]
    elif isinstance(said, dict):
        for key, value in said.items():
            before = body.get(key)
            both = isinstance(before, str) and isinstance(value, str)
            body[key] = f"{before}{value}" if both else value
    else:
        return False
    return True


def _settled(block: Wire) -> Wire:
    """The block with a tool's input, told as text, as the JSON it is."""
    match block:
        case {"toolUse": {"input": str(text), **rest}}:
            try:
                value: Json = parse(text.encode("utf-8", "surrogatepass")) if text else {}
            except ValueError:
                value = text
            return {"toolUse": {**rest, "input": value}}
        case _:
            return block
