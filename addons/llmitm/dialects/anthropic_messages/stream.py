"""Streamed answers of the Messages API: server-sent events -> canon events. Total.

Blocks that canon has no deltas for (server tools, compaction) come out whole at their end.
The other direction is in `writer`.
Source: Anthropic API reference, streaming messages; WHATWG HTML, server-sent events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from llmitm.canon.events import (
    End,
    Event,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
)
from llmitm.canon.parts import Reasoning, Text, ToolCall
from llmitm.canon.values import Json
from llmitm.dialects.alike import Alike
from llmitm.dialects.anthropic_messages.answers import decode_finish, decode_usage
from llmitm.dialects.anthropic_messages.blocks import decode_block
from llmitm.dialects.anthropic_messages.faults import decode_fault
from llmitm.dialects.anthropic_messages.response import decode_response
from llmitm.dialects.anthropic_messages.tables import DELTA_EVENT_FIELDS, FINISH_FIELDS, NAME
from llmitm.dialects.contract import Frame, StreamDecoder
from llmitm.dialects.framing_sse import SseFrame, SseSplitter, parse_frame
from llmitm.dialects.json_text import BOM, parse, parse_small, without

type Body = dict[str, Json]

_PING: tuple[Event, ...] = (Ping(),)
_NOTHING: list[Json] = []
_CONSTANTS: Mapping[str, Json] = MappingProxyType(
    {"type": "message", "role": "assistant", "content": _NOTHING}
)
_DELTA_FIELDS = frozenset({"text", "partial_json", "thinking", "signature", "citation"})


def stream_decoder(media_type: str) -> StreamDecoder:
    """A decoder for one answer; `application/json` is read whole, everything else as events."""
    return BodyDecoder() if media_type.partition(";")[0].strip().endswith("json") else SseDecoder()


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


class SseDecoder:
    """Server-sent events of one answer."""

    def __init__(self, alike: Alike | None = None) -> None:
        self._splitter = SseSplitter()
        self._alike = alike or Alike()
        self._first = True
        self._usage: Body = {}
        self._open: set[int] = set()
        self._held: dict[int, _Held] = {}
        self._inputs: dict[int, str] = {}

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        return [Frame(frame.raw, self._events(frame)) for frame in self._splitter.feed(data)]

    def close(self) -> list[Frame]:
        """The unterminated rest, then the ends of parts still open."""
        frames = [Frame(frame.raw, self._rest(frame)) for frame in self._splitter.close()]
        events: list[Event] = []
        for index in sorted(self._open):
            events += self._stop(index, cut=True)
        if events:
            frames.append(Frame(b"", tuple(events)))
        return frames

    def _rest(self, frame: SseFrame) -> tuple[Event, ...]:
        """Events of an unterminated frame: none of one that was cut, all of an error body."""
        frame = self._without_bom(frame)
        if frame.data is None:
            body = frame.raw.removeprefix(BOM)
            if not body.lstrip().startswith((b"{", b"[")):
                return ()
            return tuple(decode_response(body))
        try:
            parse(frame.data)
        except ValueError:
            return ()
        return self._events(frame)

    def _without_bom(self, frame: SseFrame) -> SseFrame:
        if self._first:
            self._first = False
            if frame.raw.startswith(BOM):
                return parse_frame(frame.raw[len(BOM) :])._replace(raw=frame.raw)
        return frame

    def _events(self, frame: SseFrame) -> tuple[Event, ...]:
        if self._first:
            frame = self._without_bom(frame)
        data = frame.data
        if data is None:
            return _PING if frame.event == "ping" or frame.raw.startswith(b":") else ()
        known = self._alike.read(data)
        if known is not None:
            return known
        try:
            value = parse_small(data)
        except ValueError:
            return (Opaque(NAME, frame.event, data.decode("utf-8", "replace")),)
        if not isinstance(value, dict):
            return (Opaque(NAME, frame.event, value),)
        kind = value.get("type")
        if kind == "content_block_delta":
            events = self._delta(value)
            if events is not None and len(events) == 1:
                self._learn(data, value, events[0])
        elif isinstance(kind, str):
            events = self._other(kind, value)
        else:
            events = self._other(frame.event, value)
        if events is None:
            word = kind if isinstance(kind, str) else frame.event
            return (Opaque(NAME, word, value),)
        return events

    def _learn(self, data: bytes, value: Body, event: Event) -> None:
        """Remembers a delta that tells text and nothing else."""
        delta = value.get("delta")
        if isinstance(delta, dict) and len(delta) == 2 and delta.get("type") == "text_delta":
            self._alike.learn(data, value, delta, "text", event)

    def _delta(self, value: Body) -> tuple[Event, ...] | None:
        index, delta = value.get("index"), value.get("delta")
        if type(index) is not int or type(delta) is not dict:
            return None
        if index in self._held:
            self._held[index].add(delta)
            return ()
        match delta:
            case {"type": "text_delta", "text": str(text)}:
                event: Event = PartDelta(index, "text", text)
            case {"type": "input_json_delta", "partial_json": str(text)}:
                event = PartDelta(index, "arguments", text)
                if text:
                    self._inputs.pop(index, None)
            case {"type": "thinking_delta", "thinking": str(text)}:
                event = PartDelta(index, "reasoning", text)
            case {"type": "signature_delta", "signature": str(signature)}:
                event, text = PartDetail(index=index, signature=signature), "-"
            case {"type": "citations_delta", "citation": citation}:
                event, text = PartDetail(index=index, annotations=(citation,)), "-"
            case _:
                return None
        if len(delta) > 2:
            more = PartDetail(index=index, extras=without(delta, "type", *_DELTA_FIELDS))
            return (event, more) if text else (more,)
        return (event,) if text else ()

    def _other(self, kind: str, value: Body) -> tuple[Event, ...] | None:
        match kind:
            case "content_block_start":
                return self._start_block(value)
            case "content_block_stop":
                index = value.get("index")
                return tuple(self._stop(index)) if type(index) is int else None
            case "message_start":
                return self._start_message(value)
            case "message_delta":
                return self._finish(value)
            case "message_stop":
                return (End(without(value, "type")),)
            case "ping":
                return _PING
            case "error" | "":
                fault = decode_fault(value)
                return None if fault is None else (fault,)
            case _:
                return None

    def _start_message(self, value: Body) -> tuple[Event, ...] | None:
        message = value.get("message")
        if not isinstance(message, dict):
            return None
        left = dict(message)
        for key, constant in _CONSTANTS.items():
            if left.get(key) == constant:
                left.pop(key, None)
        # Not told yet is what null means here; the end of the stream tells.
        for key in (*FINISH_FIELDS, "stop_reason", "stop_sequence"):
            if left.get(key) is None:
                left.pop(key, None)
        usage = left.get("usage")
        words = {key: left[key] for key in ("id", "model") if isinstance(left.get(key), str)}
        known = [*words, "usage"] if isinstance(usage, dict) else [*words]
        start = Start(
            str(words.get("id", "")),
            str(words.get("model", "")),
            None,
            without(left, *known),
            NAME,
        )
        if not isinstance(usage, dict):
            return (start,)
        self._usage.update(usage)
        return (start, decode_usage(self._usage, usage))

    def _start_block(self, value: Body) -> tuple[Event, ...] | None:
        index, block = value.get("index"), value.get("content_block")
        if type(index) is not int or not isinstance(block, dict):
            return None
        self._open.add(index)
        self._held.pop(index, None)
        part = decode_block(block, ("content", index))
        if isinstance(part, Text | Reasoning):
            return (PartStart(index, part),)
        if isinstance(part, ToolCall):
            self._inputs[index] = part.arguments
            return (PartStart(index, replace(part, arguments="")),)
        self._held[index] = _Held(dict(block))
        return ()

    def _stop(self, index: int, cut: bool = False) -> list[Event]:
        self._open.discard(index)
        held = self._held.pop(index, None)
        if held is not None:
            part = decode_block(held.value(), ("content", index))
            return [PartStart(index, part), PartEnd(index)]
        filled = self._inputs.pop(index, None)
        if filled is None or (cut and filled == "{}"):
            return [PartEnd(index)]
        return [PartDelta(index, "arguments", filled), PartEnd(index)]

    def _finish(self, value: Body) -> tuple[Event, ...] | None:
        delta, usage = value.get("delta"), value.get("usage")
        if not isinstance(delta, dict):
            return None
        events: list[Event] = []
        known = ["type", "delta"]
        if isinstance(usage, dict):
            known.append("usage")
            self._usage.update({key: item for key, item in usage.items() if item is not None})
            events.append(decode_usage(self._usage, usage))
        beside = dict(without(value, *known))
        reason, sequence = delta.get("stop_reason"), delta.get("stop_sequence")
        if isinstance(reason, str):
            said = without(delta, "stop_reason", "stop_sequence")
            extras: Body = {
                **said,
                **{k: beside.pop(k) for k in DELTA_EVENT_FIELDS & beside.keys()},
            }
            if beside:
                extras["message_delta"] = beside
            events.append(decode_finish(reason, sequence, extras))
        elif beside or any(item is not None for item in delta.values()):
            events.append(Opaque(NAME, "message_delta", value))
        return tuple(events)


class _Held:
    """A block that canon knows only whole, until its end."""

    def __init__(self, block: Body) -> None:
        self._block = block
        self._input: list[str] = []

    def add(self, delta: Body) -> None:
        """More of it."""
        match delta:
            case {"type": "input_json_delta", "partial_json": str(text)}:
                self._input.append(text)
            case {"type": "text_delta", "text": str(text)}:
                self._append("text", text)
            case {"type": "thinking_delta", "thinking": str(text)}:
                self._append("thinking", text)
            case {"type": "citations_delta", "citation": citation}:
                before = self._block.get("citations")
                self._block["citations"] = [*(before if isinstance(before, list) else ()), citation]
            case _:
                self._block.update(without(delta, "type"))

    def _append(self, key: str, text: str) -> None:
        before = self._block.get(key)
        self._block[key] = (before if isinstance(before, str) else "") + text

    def value(self) -> Body:
        """The block as far as it was told; an input that is no JSON stays the text it is."""
        text = "".join(self._input)
        if text:
            try:
                self._block["input"] = parse(text.encode("utf-8", "surrogatepass"))
            except ValueError:
                self._block["input"] = text
        return self._block
