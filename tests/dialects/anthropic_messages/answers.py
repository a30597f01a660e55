"""Reads and writes answers of the Messages API for the tests beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import recordings
from llmitm.canon.events import Event, PartDelta
from llmitm.canon.features import FEATURES
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.response import Response
from llmitm.dialects.anthropic_messages import DIALECT
from llmitm.dialects.contract import Frame, Reply

PLAIN = Reply()
REPLY = Reply(model="asked-for", id="msg_1")


def whole_bodies() -> list[bytes]:
    return [
        x["response_body"].encode()
        for x in recordings.load("anthropic-messages")
        if not x["stream"]
    ]


def streams() -> list[bytes]:
    return [
        x["response_body"].encode() for x in recordings.load("anthropic-messages") if x["stream"]
    ]


def decoded(data: bytes, size: int = 0, media: str = "text/event-stream") -> list[Frame]:
    decoder = DIALECT.stream_decoder(media)
    frames: list[Frame] = []
    for start in range(0, len(data), size or len(data) or 1):
        frames += decoder.feed(data[start : start + (size or len(data))])
    frames += decoder.close()
    assert b"".join(frame.raw for frame in frames) == data
    return frames


def events_of(frames: Iterable[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def encoded(events: Iterable[Event], reply: Reply = PLAIN) -> bytes:
    encoder = DIALECT.stream_encoder(reply)
    data = encoder.feed(events) + encoder.close()
    assert encoder.feed([PartDelta(0, "text", "late")]) == b""
    assert encoder.close() == b""
    for loss in encoder.losses:
        assert loss.feature in FEATURES
    return data


def told(response: Response) -> Response:
    """What two carriers of one answer must agree on: not white space in arguments, nor which
    of the counts stood where."""
    choices = tuple(
        replace(
            choice,
            parts=tuple(
                replace(part, arguments=json.dumps(json.loads(part.arguments)))
                if isinstance(part, ToolCall)
                # `citations: []` at a block's start says no more than the citations that follow.
                else replace(part, extras={k: v for k, v in part.extras.items() if v != []})
                if isinstance(part, Text)
                else part
                for part in choice.parts
            ),
        )
        for choice in response.choices
    )
    usage = replace(response.usage, raw=None) if response.usage else None
    return replace(response, choices=choices, usage=usage)


def sse(*values: dict[str, Any]) -> bytes:
    return b"".join(
        f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode() for value in values
    )


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"type": "content_block_start", "index": index, "content_block": start},
        *({"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas),
        {"type": "content_block_stop", "index": index},
    ]
