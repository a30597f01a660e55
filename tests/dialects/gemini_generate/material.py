"""What these tests share: recordings as bytes, answers put together, memory taken away."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import fields, is_dataclass, replace
from typing import Any

import recordings
from llmitm.canon.events import Event
from llmitm.canon.fold import fold
from llmitm.canon.response import Response
from llmitm.dialects.contract import Frame, StreamDecoder
from llmitm.dialects.gemini_generate.wire import Wire

EXCHANGES = recordings.load("gemini")
REQUESTS = [e for e in EXCHANGES if e["request_json"] is not None]
COUNTS = [e for e in recordings.load("other") if "countTokens" in e["path"]]
WHOLE = [e for e in EXCHANGES if not e["stream"]]
STREAMS = [e for e in EXCHANGES if e["stream"]]


def name_of(exchange: dict[str, Any]) -> str:
    return str(exchange["id"])


def body_of(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def media_type(body: bytes) -> str:
    """What a provider says of a body that begins so."""
    return "text/event-stream" if body.startswith(b"data") else "application/json"


def frames_of(decoder: StreamDecoder, body: bytes, step: int | None = None) -> list[Frame]:
    """All frames of a stream fed `step` bytes at a time, None = at once."""
    frames: list[Frame] = []
    for start in range(0, len(body), step or max(1, len(body))):
        frames += decoder.feed(body[start : start + (step or len(body))])
    return [*frames, *decoder.close()]


def events_of(frames: Iterable[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def answer_of(decoder: StreamDecoder, body: bytes) -> Response:
    return fold(events_of(frames_of(decoder, body)))


def forget(value: Any) -> Any:
    """A canon value without its memory of how it was written."""
    if isinstance(value, Wire):
        return Wire(value)
    if isinstance(value, tuple):
        return tuple(forget(item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: forget(getattr(value, f.name)) for f in fields(value)})
    return value
