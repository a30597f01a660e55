"""Every ordered pair of dialects, and what a request or an answer says in words that all share."""

from __future__ import annotations

import functools
import itertools
import json
import re
from dataclasses import replace
from typing import Any

import recordings
from llmitm.canon.events import Event
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.turns import text_of
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Frame, Reply

FILES = {
    "openai_chat": "openai-chat",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic-messages",
    "gemini_generate": "gemini",
}
NAMES = tuple(FILES)
PAIRS = tuple(itertools.permutations(NAMES, 2))
REPLY = Reply(model="asked-for", id="answer_1", created_s=1_700_000_000, stream_usage=True)


def wire_bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")


@functools.cache
def requests_of(name: str) -> tuple[tuple[str, Request], ...]:
    """(id, request) of every recorded request of this protocol, with model and stream told."""
    found: list[tuple[str, Request]] = []
    for exchange in recordings.load(FILES[name]):
        if not isinstance(exchange["request_json"], dict):
            continue
        request = DIALECTS[name].decode_request(wire_bytes(exchange["request_json"]))
        if name == "gemini_generate":
            model = re.search(r"models/([^:/]+)", exchange["path"])
            request = replace(
                request,
                model=model.group(1) if model else "gemini-3-pro",
                stream="stream" in exchange["path"].rpartition(":")[2],
            )
        found.append((exchange["id"], request))
    return tuple(found)


@functools.cache
def answers_of(name: str) -> tuple[tuple[str, bool, bytes], ...]:
    """(id, is a stream, body) of every recorded answer of this protocol."""
    return tuple(
        (exchange["id"], bool(exchange["stream"]), exchange["response_body"].encode())
        for exchange in recordings.load(FILES[name])
        if exchange["response_body"] and exchange.get("body_encoding") != "base64"
    )


def media_type(data: bytes) -> str:
    return "application/json" if data.lstrip()[:1] in (b"[", b"{") else "text/event-stream"


def frames_of(name: str, data: bytes, size: int = 0, media: str = "") -> list[Frame]:
    """The frames of a stream fed in pieces of `size` bytes, 0 = all at once."""
    decoder = DIALECTS[name].stream_decoder(media or media_type(data))
    step = size or len(data) or 1
    frames = [
        frame for at in range(0, len(data), step) for frame in decoder.feed(data[at : at + step])
    ]
    return [*frames, *decoder.close()]


def events_in(name: str, data: bytes, *, stream: bool) -> list[Event]:
    if not stream:
        return DIALECTS[name].decode_response(data)
    return [event for frame in frames_of(name, data) for event in frame.events]


def arguments_of(text: str) -> Any:
    """Parsed arguments; text that is no JSON object stays itself; none is an empty object."""
    try:
        value = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, dict) else text


def calls_in(parts: tuple[Part, ...]) -> list[tuple[str, Any]]:
    return [
        (part.name, arguments_of(part.arguments) if part.kind == "function" else part.arguments)
        for part in parts
        if isinstance(part, ToolCall)
    ]


def results_in(parts: tuple[Part, ...]) -> list[ToolResult]:
    return [part for part in parts if isinstance(part, ToolResult)]


def said(parts: tuple[Part, ...]) -> str:
    """The text that was said, without reasoning and tool results."""
    return text_of(part for part in parts if isinstance(part, Text | Refusal))


def media_in(parts: tuple[Part, ...]) -> list[str]:
    return [part.kind for part in parts if isinstance(part, Media)]


def thought(parts: tuple[Part, ...]) -> str:
    return "".join(part.text for part in parts if isinstance(part, Reasoning))


def first_choice(response: Response) -> tuple[Part, ...]:
    return response.choices[0].parts if response.choices else ()
