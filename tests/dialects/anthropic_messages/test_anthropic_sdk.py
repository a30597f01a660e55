"""The official Python SDK reads what we write: streams, whole bodies, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import anthropic
import httpx2
import pytest

import recordings
from llmitm.canon.events import Event, Fault, Finish, PartDelta, PartStart, Start, Usage
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Reasoning, Text, ToolCall
from llmitm.canon.response import Choice, Response
from llmitm.dialects.anthropic_messages import DIALECT
from llmitm.dialects.contract import Reply

ASKED: dict[str, Any] = {
    "model": "claude-test",
    "max_tokens": 1000,
    "messages": [{"role": "user", "content": "hi"}],
}
REPLY = Reply(model="claude-test", id="msg_1")


def client(status: int, body: bytes, media: str) -> anthropic.Anthropic:
    def answer(request: httpx2.Request) -> httpx2.Response:
        DIALECT.decode_request(request.content)
        return httpx2.Response(status, headers={"content-type": media}, content=body)

    transport = httpx2.MockTransport(answer)
    return anthropic.Anthropic(
        api_key="key",
        base_url="http://sdk.invalid",
        max_retries=0,
        http_client=httpx2.Client(transport=transport),
    )


def streamed(events: list[Event]) -> Any:
    encoder = DIALECT.stream_encoder(REPLY)
    data = b"".join(encoder.feed([event]) for event in events) + encoder.close()
    with client(200, data, "text/event-stream").messages.stream(**ASKED) as stream:
        for _ in stream:
            pass
        return stream.get_final_message()


def whole(response: Response) -> Any:
    body = DIALECT.encode_response(response, REPLY).body
    return client(200, body, "application/json").messages.create(**ASKED)


FOREIGN = Response(
    id="chatcmpl-1",
    model="gpt",
    dialect="openai_chat",
    ended=True,
    usage=Usage(input_tokens=20, output_tokens=8, cache_read_tokens=5, reasoning_tokens=3),
    choices=(
        Choice(
            parts=(
                Reasoning(text="hm", dialect="openai_chat"),
                Text(text="hello ü"),
                ToolCall(id="c1", name="a", arguments='{"x": [1, "y"]}'),
                ToolCall(id="c2", name="b", arguments=""),
            ),
            finish=Finish("tool_calls", "tool_calls"),
        ),
    ),
)


@pytest.mark.parametrize("way", ["streamed", "whole"])
def test_a_foreign_answer_is_read(way: str) -> None:
    message = whole(FOREIGN) if way == "whole" else streamed(list(unfold(FOREIGN)))
    kinds = [block.type for block in message.content]
    assert kinds == ["thinking", "text", "tool_use", "tool_use"]
    thought, text, first, second = message.content
    assert (thought.thinking, thought.signature) == ("hm", "")
    assert text.text == "hello ü"
    assert (first.id, first.name, first.input) == ("c1", "a", {"x": [1, "y"]})
    assert (second.id, second.name, second.input) == ("c2", "b", {})
    assert (message.id, message.model, message.role) == ("chatcmpl-1", "claude-test", "assistant")
    assert message.stop_reason == "tool_use"
    usage = message.usage
    assert (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (15, 8, 5)
    assert usage.output_tokens_details.thinking_tokens == 3


@pytest.mark.parametrize(
    ("finish", "word", "sequence"),
    [
        (Finish("stop", "stop"), "end_turn", None),
        (Finish("stop", "STOP", stop_sequence="X"), "stop_sequence", "X"),
        (Finish("length", "length"), "max_tokens", None),
        (Finish("content_filter", "SAFETY"), "refusal", None),
        (Finish("refusal"), "refusal", None),
        (Finish("pause"), "pause_turn", None),
        (Finish("unknown", "odd"), "end_turn", None),
        (None, "end_turn", None),
    ],
)
def test_finish_reasons_are_read(finish: Finish | None, word: str, sequence: str | None) -> None:
    response = replace(FOREIGN, choices=(Choice(parts=(Text(text="x"),), finish=finish),))
    for message in (whole(response), streamed(list(unfold(response)))):
        assert (message.stop_reason, message.stop_sequence) == (word, sequence)


FAULTS = [
    (Fault(kind="rate_limit", message="slow"), 429, anthropic.RateLimitError),
    (Fault(kind="authentication", message="who"), 401, anthropic.AuthenticationError),
    (Fault(kind="overloaded", message="busy"), 529, anthropic.InternalServerError),
    (Fault(kind="context_length", message="too much"), 400, anthropic.BadRequestError),
]


@pytest.mark.parametrize(("fault", "status", "error"), FAULTS)
def test_error_bodies_are_read(fault: Fault, status: int, error: type[Exception]) -> None:
    sdk = client(status, DIALECT.encode_error(fault), "application/json")
    with pytest.raises(error) as caught:
        sdk.messages.create(**ASKED)
    assert fault.message in str(caught.value)
    assert isinstance(caught.value, anthropic.APIStatusError)
    body: Any = caught.value.body
    assert body["error"]["message"].endswith(fault.message)


def test_an_error_within_a_stream_is_read() -> None:
    events: list[Event] = [
        Start("i", "m"),
        PartStart(0, Text(text="")),
        PartDelta(0, "text", "so "),
        Fault(kind="overloaded", message="busy"),
    ]
    with pytest.raises(anthropic.APIStatusError) as caught:
        streamed(events)
    body: Any = caught.value.body
    assert body["error"] == {"type": "overloaded_error", "message": "busy"}


@recordings.needs_corpus
def test_the_sdk_reads_every_recorded_answer_the_same_after_our_passage() -> None:
    """Recorded bytes and the same answer decoded and written anew, as stream and as body."""
    for exchange in recordings.load("anthropic-messages")[::3]:
        if exchange["status"] != 200:
            continue
        data = exchange["response_body"].encode()
        if exchange["stream"]:
            decoder = DIALECT.stream_decoder("text/event-stream")
            frames = [*decoder.feed(data), *decoder.close()]
            events = [event for frame in frames for event in frame.events]
        else:
            events = DIALECT.decode_response(data)
        response = fold(events)
        reply = Reply()
        body = DIALECT.encode_response(response, reply).body
        encoder = DIALECT.stream_encoder(reply)
        stream = encoder.feed(unfold(response)) + encoder.close()
        messages = [read(body, False), read(stream, True)]
        messages.append(read(data, bool(exchange["stream"])))
        assert messages[0] == messages[1] == messages[2]


def read(data: bytes, stream: bool) -> Any:
    if stream:
        with client(200, data, "text/event-stream").messages.stream(**ASKED) as answer:
            message = answer.get_final_message()
    else:
        message = client(200, data, "application/json").messages.create(**ASKED)
    left = json.loads(message.to_json())
    for block in left["content"]:
        if not block.get("citations"):
            block.pop("citations", None)
        block.pop("parsed_output", None)
    usage = left["usage"]
    keys = ("input_tokens", "output_tokens", "cache_read_input_tokens")
    keys += ("cache_creation_input_tokens",)
    left["usage"] = {key: usage.get(key) for key in keys}
    return {
        key: left[key]
        for key in ("id", "model", "content", "stop_reason", "stop_sequence", "usage")
    }
