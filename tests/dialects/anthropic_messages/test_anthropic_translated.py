"""Answers of other protocols, written as the Messages API tells them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dialects.anthropic_messages.answers import REPLY, decoded, encoded, events_of, told
from llmitm.canon.events import (
    End,
    Event,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.response import Choice, Response
from llmitm.dialects.anthropic_messages import DIALECT

# Answers of other protocols.

FOREIGN = Response(
    id="chatcmpl-1",
    model="gpt",
    dialect="openai_chat",
    ended=True,
    extras={"object": "chat.completion", "odd": 1, "system_fingerprint": None},
    usage=Usage(input_tokens=20, output_tokens=8, cache_read_tokens=5, reasoning_tokens=3),
    choices=(
        Choice(
            parts=(
                Reasoning(text="hm", signature="s", dialect="openai_chat"),
                Text(text=""),
                Text(text="hello", annotations=({"u": 1},), logprobs=[1]),
                ToolCall(id="c1", name="a", arguments='{"x":1}'),
                ToolCall(id="", name="b", arguments=""),
                ToolCall(id="c3", name="patch", arguments="*** x", kind="custom"),
            ),
            finish=Finish("stop", "stop"),
        ),
        Choice(index=1, parts=(Text(text="other"),)),
    ),
)
LOST = {
    "part.reasoning.signature dropped",
    "part.annotations dropped",
    "part.logprobs dropped",
    "tool_call.custom adapted",
    "choices dropped",
    "field dropped",
}


def test_a_foreign_answer_whole() -> None:
    done = DIALECT.encode_response(FOREIGN, REPLY)
    body = json.loads(done.body)
    assert body == {
        "id": "chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "asked-for",
        "content": [
            {"type": "thinking", "thinking": "hm", "signature": ""},
            {"type": "text", "text": "hello"},
            {"type": "tool_use", "id": "c1", "name": "a", "input": {"x": 1}},
            {"type": "tool_use", "id": "toolu_chatcmpl-1_4", "name": "b", "input": {}},
            {"type": "tool_use", "id": "c3", "name": "patch", "input": {"input": "*** x"}},
        ],
        "stop_reason": "tool_use",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 15,
            "cache_read_input_tokens": 5,
            "output_tokens": 8,
            "output_tokens_details": {"thinking_tokens": 3},
        },
    }
    assert {f"{loss.feature} {loss.how}" for loss in done.losses} == LOST


def test_a_foreign_answer_streamed_says_the_same() -> None:
    encoder = DIALECT.stream_encoder(REPLY)
    data = encoder.feed(unfold(FOREIGN)) + encoder.close()
    streamed = fold(events_of(decoded(data)))
    whole = fold(DIALECT.decode_response(DIALECT.encode_response(FOREIGN, REPLY).body))
    assert told(streamed) == told(whole)
    assert {f"{loss.feature} {loss.how}" for loss in encoder.losses} == LOST


def test_overlapping_parts_follow_one_another() -> None:
    events: list[Event] = [
        Start("i", "m"),
        PartStart(0, Text(text="")),
        PartDelta(0, "text", "a"),
        PartStart(1, ToolCall(id="c1", name="x", arguments="")),
        PartStart(2, ToolCall(id="c2", name="y", arguments="")),
        PartDelta(2, "arguments", "{}"),
        PartDelta(1, "arguments", '{"a":'),
        PartDelta(0, "text", "b"),
        PartDelta(1, "arguments", "1}"),
        PartEnd(2),
        PartEnd(1),
        PartEnd(0),
        Finish("tool_calls"),
        End(),
    ]
    data = encoded(events, REPLY)
    kinds = [json.loads(line[6:]) for line in data.splitlines() if line.startswith(b"data: ")]
    opened: list[int] = []
    current: int | None = None
    for value in kinds:
        if value["type"] == "content_block_start":
            assert current is None
            current = value["index"]
            opened.append(value["index"])
        elif value["type"] == "content_block_delta":
            assert value["index"] == current
        elif value["type"] == "content_block_stop":
            assert value["index"] == current
            current = None
    assert opened == list(range(len(opened)))
    assert fold(events_of(decoded(data))).choices[0].parts == (
        Text(text="a"),
        ToolCall(id="c1", name="x", arguments='{"a":1}'),
        ToolCall(id="c2", name="y", arguments="{}"),
        Text(text="b"),
    )


@pytest.mark.parametrize(
    ("part", "feature"),
    [
        (Media(kind="image", mime="image/png", data="AA"), "part.image"),
        (Unknown(dialect="openai_responses", kind="x", value={}), "part.unknown"),
        (Reasoning(encrypted="e", dialect="openai_responses"), "part.reasoning.signature"),
        (Refusal(text="no"), "part.refusal"),
    ],
)
def test_parts_of_others_in_an_answer(part: Any, feature: str) -> None:
    response = replace(FOREIGN, extras={}, choices=(Choice(parts=(part,), finish=Finish("stop")),))
    encoder = DIALECT.stream_encoder(REPLY)
    data = encoder.feed(unfold(response)) + encoder.close()
    whole = DIALECT.encode_response(response, REPLY)
    assert [loss.feature for loss in encoder.losses] == [feature]
    assert [loss.feature for loss in whole.losses] == [feature]
    content = json.loads(whole.body)["content"]
    assert content == ([{"type": "text", "text": "no"}] if isinstance(part, Refusal) else [])
    assert data.count(b"event: content_block_start") == len(content)


def test_a_stream_that_says_nothing_is_closed_well() -> None:
    kinds = [line for line in encoded([], REPLY).splitlines() if line.startswith(b"event: ")]
    assert kinds == [b"event: message_start", b"event: message_delta", b"event: message_stop"]


def test_heartbeat_is_a_ping_until_the_end() -> None:
    encoder = DIALECT.stream_encoder(REPLY)
    assert events_of(decoded(encoder.heartbeat())) == [Ping()]
    encoder.close()
    assert encoder.heartbeat() == b""
