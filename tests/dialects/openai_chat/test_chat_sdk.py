"""The official SDK reads what the encoders write: whole bodies, streams, errors."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

from dialects.openai_chat.answers import REPLY, encoded
from llmitm.canon.events import End, Event, Fault, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.events import Usage as Counts
from llmitm.canon.fold import fold
from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall
from llmitm.dialects.openai_chat import DIALECT


def client(body: bytes, media: str, status: int = 200) -> OpenAI:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-type": media}, content=body)

    return OpenAI(
        api_key="k",
        base_url="http://localhost/v1",
        max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )


def part(index: int, begun: Any, kind: Any, *deltas: str) -> list[Event]:
    return [
        PartStart(index, begun),
        *(PartDelta(index, kind, delta) for delta in deltas),
        PartEnd(index),
    ]


ANSWER: list[Event] = [
    Start("msg_1", "claude", None, {}, "anthropic_messages"),
    *part(0, Reasoning(signature="s", dialect="anthropic_messages"), "reasoning", "hm", "m"),
    *part(1, Text(text=""), "text", "Hel", "lo \U0001f600"),
    *part(2, ToolCall(id="t1", name="f", arguments=""), "arguments", '{"a":', "1}"),
    *part(3, ToolCall(id="t2", name="g", arguments=""), "arguments"),
    Finish("tool_calls", "tool_use"),
    Counts(input_tokens=5, output_tokens=7, cache_read_tokens=2, reasoning_tokens=3),
    End(),
]
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


def test_a_stream() -> None:
    got = client(encoded(ANSWER, REPLY), "text/event-stream")
    with got.chat.completions.stream(**ASK) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert (final.id, final.model, final.created) == ("msg_1", "asked-for", 7)
    message = final.choices[0].message
    assert message.content == "Hello \U0001f600"
    assert (message.model_extra or {})["reasoning_content"] == "hmm"
    calls = message.tool_calls or []
    told = [(c.id, c.function.name, c.function.arguments) for c in calls if c.type == "function"]
    assert told == [("t1", "f", '{"a":1}'), ("t2", "g", "{}")]
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.usage is not None
    assert (final.usage.prompt_tokens, final.usage.completion_tokens) == (5, 7)
    assert final.usage.prompt_tokens_details is not None
    assert final.usage.prompt_tokens_details.cached_tokens == 2


def test_a_whole_body() -> None:
    body = DIALECT.encode_response(fold(ANSWER), REPLY)
    assert [loss.feature for loss in body.losses] == ["part.reasoning.signature"]
    final = client(body.body, "application/json").chat.completions.create(**ASK)
    message = final.choices[0].message
    assert message.content == "Hello \U0001f600"
    assert [call.id for call in message.tool_calls or []] == ["t1", "t2"]
    assert final.choices[0].finish_reason == "tool_calls"
    assert final.usage is not None
    assert final.usage.total_tokens == 12


def test_a_refusal() -> None:
    events = [
        Start("a", "m", 1, {}, "openai_responses"),
        *part(0, Refusal(text=""), "refusal", "I ", "won't"),
        Finish("refusal"),
        End(),
    ]
    stream = client(encoded(events), "text/event-stream").chat.completions.create(
        **ASK, stream=True
    )
    told = "".join(c.choices[0].delta.refusal or "" for c in stream if c.choices)
    assert told == "I won't"
    body = DIALECT.encode_response(fold(events), REPLY).body
    whole = client(body, "application/json").chat.completions.create(**ASK)
    assert whole.choices[0].message.refusal == "I won't"


def test_an_error_body() -> None:
    body = DIALECT.encode_error(Fault(kind="rate_limit", message="slow down"))
    with pytest.raises(openai.RateLimitError) as caught:
        client(body, "application/json", 429).chat.completions.create(**ASK)
    assert caught.value.code == "rate_limit_exceeded"


def test_an_error_in_a_stream() -> None:
    fault = Fault(kind="overloaded", message="busy")
    data = encoded([*ANSWER[:5], fault])
    with pytest.raises(openai.APIError, match="busy") as caught:
        list(client(data, "text/event-stream").chat.completions.create(**ASK, stream=True))
    assert caught.value.code == "server_is_overloaded"


def test_a_stream_that_is_cut_is_closed_well() -> None:
    encoder = DIALECT.stream_encoder(REPLY)
    data = b"".join((encoder.feed(ANSWER[:6]), encoder.heartbeat(), encoder.close()))
    assert b": keepalive " in data
    with client(data, "text/event-stream").chat.completions.stream(**ASK) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "stop"
    assert encoder.feed(ANSWER) == encoder.close() == b""


def test_no_usage_chunk_unless_it_was_asked_for() -> None:
    plain = REPLY.__class__(model="m", id="x")
    assert b'"usage"' in encoded(ANSWER, REPLY)
    assert b'"usage"' not in encoded(ANSWER, plain)
