"""Recorded Bedrock exchanges as bytes, and the shortest ways through the dialects."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

import recordings
from llmitm.canon.events import Event
from llmitm.canon.fold import fold
from llmitm.canon.response import Response
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Frame, StreamDecoder
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE

CONVERSE = DIALECTS["bedrock_converse"]
INVOKE = DIALECTS["bedrock_invoke"]
OTHER = recordings.load("other")
EXCHANGES = [e for e in OTHER if e["protocol"] == "bedrock-converse"]
REQUESTS = [e for e in EXCHANGES if e["request_json"] is not None]
STREAMS = [e for e in EXCHANGES if e["body_encoding"] == "base64"]
WHOLE = [e for e in EXCHANGES if e["body_encoding"] != "base64"]
INVOKED = [e for e in OTHER if e["protocol"] == "bedrock-invoke" and "anthropic" in e["path"]]
INVOKED_STREAMS = [e for e in INVOKED if e["body_encoding"] == "base64"]


def name_of(exchange: dict[str, Any]) -> str:
    return str(exchange["id"])


def body_of(exchange: dict[str, Any]) -> bytes:
    text = exchange["response_body"]
    return base64.b64decode(text) if exchange["body_encoding"] == "base64" else text.encode()


def frames_of(decoder: StreamDecoder, body: bytes, step: int = 0) -> list[Frame]:
    """All frames of a stream fed `step` bytes at a time, 0 = at once."""
    size = step or max(len(body), 1)
    frames = [f for at in range(0, len(body), size) for f in decoder.feed(body[at : at + size])]
    return [*frames, *decoder.close()]


def events_of(frames: Iterable[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def streamed(body: bytes) -> Response:
    """What a Converse stream says."""
    return fold(events_of(frames_of(CONVERSE.stream_decoder(MEDIA_TYPE), body)))
