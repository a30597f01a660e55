"""Answers of Ollama's native API, whole or streamed -> canon events. Total.

A whole body is the same object as the one chunk of a stream that says everything at once, so both
are read by one reader. Calls have no deltas: each comes complete.
Source: Ollama API reference, generate a completion, generate a chat completion.
"""

from __future__ import annotations

from datetime import datetime

from llmitm.canon.events import (
    End,
    Event,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
    Usage,
)
from llmitm.canon.parts import Part, Reasoning, Text, ToolCall
from llmitm.canon.values import NO_EXTRAS, Extras, Json
from llmitm.dialects.contract import Frame, StreamDecoder
from llmitm.dialects.framing_ndjson import LineFrame, NdjsonSplitter
from llmitm.dialects.json_text import BOM, Wire, parse, parse_small, whole
from llmitm.dialects.ollama_chat.faults import decode_fault, text_fault
from llmitm.dialects.ollama_chat.messages import decode_call, decode_images
from llmitm.dialects.ollama_chat.tables import COUNT, FINISH, NAME

type Events = tuple[Event, ...]

_TEXT, _THOUGHT = Text(text=""), Reasoning(dialect=NAME)


def decode_response(body: bytes) -> list[Event]:
    """The events of a whole body: an answer, an error, or an `Opaque` for other JSON.

    Never raises: what is not JSON is a Fault that holds its text; an empty body has no events. A
    body of several lines is read as the stream it is.
    """
    if not body.strip():
        return []
    reader = _Reader()
    try:
        value = parse(body)
    except ValueError:
        lines = LineDecoder()
        frames = [*lines.feed(body), *lines.close()]
        events = [event for frame in frames for event in frame.events]
        if any(isinstance(event, Start) for event in events):
            return events
        return [text_fault(body.decode("utf-8", "replace"))]
    if not isinstance(value, dict):
        return [Opaque(NAME, "", value)]
    return [*reader.object(value), *reader.close()]


def stream_decoder(media_type: str) -> StreamDecoder:
    """A decoder for one answer; `application/json` is read whole, everything else as lines."""
    whole_body = media_type.partition(";")[0].strip() == "application/json"
    return BodyDecoder() if whole_body else LineDecoder()


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


class LineDecoder:
    """The lines of one streamed answer."""

    def __init__(self) -> None:
        self._splitter = NdjsonSplitter()
        self._reader = _Reader()

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        return [Frame(line.raw, self._events(line)) for line in self._splitter.feed(data)]

    def close(self) -> list[Frame]:
        """The last line, if it had no line end, then the ends of parts still open."""
        frames = [Frame(line.raw, self._events(line, cut=True)) for line in self._splitter.close()]
        events = self._reader.close()
        return [*frames, Frame(b"", tuple(events))] if events else frames

    def _events(self, line: LineFrame, *, cut: bool = False) -> Events:
        if line.data is None:
            return ()
        data = line.data.removeprefix(BOM)
        try:
            value = parse_small(data)
        except ValueError:
            # Half a line at the end is a cut, anywhere else it is somebody's text.
            return () if cut else (Opaque(NAME, "", data.decode("utf-8", "replace")),)
        if not isinstance(value, dict):
            return (Opaque(NAME, "", value),)
        return self._reader.object(value)


class _Reader:
    """What has been told of one answer."""

    def __init__(self) -> None:
        self._started = self._called = self._ended = False
        self._index = -1
        self._open: Part | None = None

    def object(self, value: Wire) -> Events:
        """The events of one chunk, or of a whole answer."""
        match value:
            case {
                "message": {"role": "assistant", "content": str(text), **more},
                "done": False,
            } if self._open is _TEXT and not more and text and len(value) == _USUAL_KEYS:
                return (PartDelta(self._index, "text", text),)
            case {"response": str(text), "done": False} if (
                self._open is _TEXT and text and len(value) == _USUAL_KEYS
            ):
                return (PartDelta(self._index, "text", text),)
            case _:
                return self._read(dict(value))

    def _read(self, left: Wire) -> Events:
        if "error" in left and (fault := decode_fault(left)) is not None:
            return (fault,)
        if not ({"message", "response", "done"} & left.keys()) or self._ended:
            return (Opaque(NAME, "", left),)
        events: list[Event] = []
        self._start(left, events)
        about, text = _taken_message(left)
        self._parts(about, text, left, events)
        if about:
            events.append(Opaque(NAME, "message", about))
        done = left.pop("done", None)
        if done is True:
            events += self._finish(left)
        else:
            if done not in (False, None):
                left["done"] = done
            if left:
                events.append(Opaque(NAME, "", left))
        return tuple(events)

    def _start(self, left: Wire, events: list[Event]) -> None:
        """What every chunk repeats is told once; only a first mention counts."""
        model, created = left.get("model"), left.get("created_at")
        if isinstance(model, str):
            del left["model"]
        if isinstance(created, str):
            del left["created_at"]
        if self._started:
            return
        self._started = True
        name = model if isinstance(model, str) else ""
        extras: Extras = {"created_at": created} if isinstance(created, str) else NO_EXTRAS
        events.append(Start("", name, _seconds(created), extras, NAME))

    def _parts(self, about: Wire, text: str, left: Wire, events: list[Event]) -> None:
        thinking, calls, images = (about.get(key) for key in ("thinking", "tool_calls", "images"))
        if isinstance(thinking, str):
            del about["thinking"]
            if thinking:
                self._switch(_THOUGHT, events)
                events.append(PartDelta(self._index, "reasoning", thinking))
        if text:
            self._switch(_TEXT, events)
            events.append(PartDelta(self._index, "text", text))
        logprobs = left.get("logprobs")
        if isinstance(logprobs, list) and self._open is _TEXT:
            del left["logprobs"]
            if logprobs:
                events.append(PartDetail(index=self._index, logprobs=logprobs))
        if isinstance(images, list):
            del about["images"]
            for image in decode_images(images, ("message", "images")):
                self._whole(image, events)
        if isinstance(calls, list):
            del about["tool_calls"]
            for place, call in enumerate(calls):
                self._whole(decode_call(call, ("message", "tool_calls", place)), events)

    def _switch(self, part: Text | Reasoning, events: list[Event]) -> None:
        if self._open is part:
            return
        events += self.close()
        self._index += 1
        self._open = part
        events.append(PartStart(self._index, part))

    def _whole(self, part: Part, events: list[Event]) -> None:
        events += self.close()
        self._index += 1
        if isinstance(part, ToolCall):
            self._called = True
            bare = ToolCall(
                id=part.id, name=part.name, arguments="", extras=part.extras, at=part.at
            )
            events.append(PartStart(self._index, bare))
            events.append(PartDelta(self._index, "arguments", part.arguments))
        else:
            events.append(PartStart(self._index, part))
        events.append(PartEnd(self._index))

    def _finish(self, left: Wire) -> list[Event]:
        self._ended = True
        events = self.close()
        raw: Wire = {key: left.pop(key) for key in list(left) if COUNT.fullmatch(key)}
        if raw:
            read, said = whole(raw.get("prompt_eval_count")), whole(raw.get("eval_count"))
            total = None if read is None or said is None else read + said
            events.append(Usage(input_tokens=read, output_tokens=said, total_tokens=total, raw=raw))
        word = left.pop("done_reason", None)
        if word is not None and not isinstance(word, str):
            left["done_reason"], word = word, None
        reason = FINISH.get(word, "unknown") if word is not None else "stop"
        if self._called and reason == "stop":
            reason = "tool_calls"
        events.append(Finish(reason, word))
        return [*events, End(left or NO_EXTRAS)]

    def close(self) -> list[Event]:
        """The end of the part that is open."""
        if self._open is None:
            return []
        self._open = None
        return [PartEnd(self._index)]


_USUAL_KEYS = 4
"""model, created_at, done, and the message or response."""


def _taken_message(left: Wire) -> tuple[Wire, str]:
    """(the message's other fields, its text), taken out of a chunk of either call."""
    message = left.get("message")
    if isinstance(message, dict):
        del left["message"]
        about = dict(message)
        if about.get("role") == "assistant":
            del about["role"]
        holder, key = about, "content"
    else:
        about = {key: left.pop(key) for key in ("thinking", "tool_calls") if key in left}
        holder, key = left, "response"
    text = holder.get(key, "")
    if not isinstance(text, str):
        return about, ""
    holder.pop(key, None)
    return about, text


def _seconds(created: Json) -> int | None:
    """Unix seconds of an RFC 3339 time, None if it is none."""
    if not isinstance(created, str):
        return None
    head, _, fraction = created.partition(".")
    zone = fraction.lstrip("0123456789")
    try:
        return int(datetime.fromisoformat((head + zone).replace("Z", "+00:00")).timestamp())
    except (ValueError, OverflowError, OSError):
        return None
