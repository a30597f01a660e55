"""Reads and writes answers of the chat protocol for the tests beside it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import recordings
from llmitm.canon.events import Event
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import Extras
from llmitm.dialects.contract import Frame, Reply
from llmitm.dialects.openai_chat import DIALECT

PLAIN = Reply(stream_usage=True)
REPLY = Reply(model="asked-for", id="chatcmpl-1", created_s=7, stream_usage=True)


def exchanges(stream: bool) -> list[tuple[str, bytes]]:
    """(who answered, body) of every recorded answer."""
    return [
        (str(x["dialect"]), x["response_body"].encode())
        for x in recordings.load("openai-chat")
        if bool(x["stream"]) is stream
    ]


def decoded(data: bytes, size: int = 0) -> list[Frame]:
    decoder = DIALECT.stream_decoder("text/event-stream")
    step = size or max(len(data), 1)
    frames: list[Frame] = []
    for start in range(0, len(data), step):
        frames += decoder.feed(data[start : start + step])
    frames += decoder.close()
    assert b"".join(frame.raw for frame in frames) == data
    return frames


def events_of(frames: Iterable[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


def read(*values: Any, done: bool = True) -> list[Event]:
    """The events of a stream of these chunks."""
    lines = [value if isinstance(value, str) else json.dumps(value) for value in values]
    data = "".join(f"data: {line}\n\n" for line in [*lines, *(["[DONE]"] if done else [])])
    return events_of(decoded(data.encode()))


def chunk(delta: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None, **more}],
    }


def encoded(events: Iterable[Event], reply: Reply = PLAIN) -> bytes:
    encoder = DIALECT.stream_encoder(reply)
    return b"".join(encoder.feed([event]) for event in events) + encoder.close()


def chunks(data: bytes) -> list[Any]:
    """The JSON of every chunk of a stream."""
    frames = [frame for frame in data.decode().split("\n\n") if frame.startswith("data: {")]
    return [json.loads(frame.removeprefix("data: ")) for frame in frames]


def _telling(extras: Extras) -> Extras:
    return {key: item for key, item in extras.items() if item not in (None, "", [], {})}


def _choice(choice: Choice) -> Choice:
    parts: list[Any] = []
    for part in choice.parts:
        extras = dict(getattr(part, "extras", {}))
        # In a stream the place of a call is its index.
        extras.pop("index", None)
        parts.append(replace(part, extras=extras) if hasattr(part, "extras") else part)
    finish = choice.finish
    if finish is None or not finish.raw:
        finish = None
    else:
        # Perplexity repeats the message in a `delta`.
        kept = {k: v for k, v in _telling(finish.extras).items() if k != "delta"}
        finish = replace(finish, extras=kept)
    return replace(choice, parts=tuple(parts), finish=finish)


def telling(response: Response) -> Response:
    """The answer without what a stream does not say: nulls, empty fields, the marks of its end."""
    extras = {k: v for k, v in _telling(response.extras).items() if k != "choices"}
    return replace(
        response,
        choices=tuple(_choice(choice) for choice in response.choices),
        extras=extras,
        ended=True,
    )
