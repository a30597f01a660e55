"""What holds for every recorded exchange: nothing is lost, however it is read and written."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dialects.gemini_generate.material import (
    COUNTS,
    EXCHANGES,
    REQUESTS,
    STREAMS,
    WHOLE,
    answer_of,
    body_of,
    events_of,
    forget,
    frames_of,
    media_type,
    name_of,
)
from llmitm.canon.events import Opaque, Usage
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import ToolCall
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.contract import Dialect, Reply
from llmitm.dialects.gemini_generate import CODE_ASSIST, DIALECT
from recordings import needs_corpus

BOTH = pytest.mark.parametrize("dialect", [DIALECT, CODE_ASSIST], ids=lambda d: d.name)


@needs_corpus
def test_the_corpus_is_there() -> None:
    assert (len(EXCHANGES), len(REQUESTS), len(STREAMS), len(COUNTS)) == (342, 332, 79, 7)


@pytest.mark.parametrize("exchange", REQUESTS + COUNTS, ids=name_of)
def test_a_request_comes_out_as_it_went_in(exchange: dict[str, Any]) -> None:
    wire = exchange["request_json"]
    request = DIALECT.decode_request(body_of(wire))
    encoded = DIALECT.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == wire
    assert encoded.losses == ()
    assert DIALECT.encode_request(request, DEFAULT_FACTS) == encoded


@pytest.mark.parametrize("exchange", REQUESTS, ids=name_of)
def test_the_wrapped_request_too(exchange: dict[str, Any]) -> None:
    inner = {key: value for key, value in exchange["request_json"].items() if key != "model"}
    wire = {
        "model": "gemini-3-pro",
        "project": "p",
        "user_prompt_id": "u",
        "request": {**inner, "session_id": "s"},
    }
    request = CODE_ASSIST.decode_request(body_of(wire))
    assert request.model == "gemini-3-pro"
    encoded = CODE_ASSIST.encode_request(request, DEFAULT_FACTS)
    assert (json.loads(encoded.body), encoded.losses) == (wire, ())
    plain = DIALECT.encode_request(request, DEFAULT_FACTS)
    assert json.loads(plain.body) == inner
    assert {loss.path for loss in plain.losses} == {
        "/project",
        "/user_prompt_id",
        "/request/session_id",
    }


def normal(request: Request) -> Request:
    """What a request that was written anew may differ in: the model is in the URL, a call
    without arguments gets the empty object."""
    messages = tuple(
        replace(
            message,
            parts=tuple(
                replace(part, arguments="{}")
                if isinstance(part, ToolCall) and not part.arguments
                else part
                for part in message.parts
            ),
        )
        for message in request.messages
    )
    return replace(request, model="", messages=messages)


@pytest.mark.parametrize("exchange", REQUESTS + COUNTS, ids=name_of)
def test_a_request_written_anew_says_the_same(exchange: dict[str, Any]) -> None:
    request = DIALECT.decode_request(body_of(exchange["request_json"]))
    encoded = DIALECT.encode_request(forget(request), DEFAULT_FACTS)
    assert encoded.losses == ()
    assert normal(DIALECT.decode_request(encoded.body)) == normal(request)


@pytest.mark.parametrize("exchange", WHOLE, ids=name_of)
def test_an_answer_comes_out_as_it_went_in(exchange: dict[str, Any]) -> None:
    body = exchange["response_body"].encode()
    events = DIALECT.decode_response(body)
    answer = fold(events)
    encoded = DIALECT.encode_response(answer, Reply())
    assert (json.loads(encoded.body), encoded.losses) == (json.loads(body), ())
    assert not any(isinstance(event, Opaque) for event in events)
    assert fold(unfold(answer)) == answer
    assert answer.ended == (answer.fault is None)


@pytest.mark.parametrize("exchange", WHOLE, ids=name_of)
@BOTH
def test_an_answer_written_anew_says_the_same(exchange: dict[str, Any], dialect: Dialect) -> None:
    answer = fold(DIALECT.decode_response(exchange["response_body"].encode()))
    encoded = dialect.encode_response(forget(answer), Reply())
    assert encoded.losses == ()
    assert fold(dialect.decode_response(encoded.body)) == answer


@pytest.mark.parametrize("exchange", EXCHANGES, ids=name_of)
def test_chunking_never_matters(exchange: dict[str, Any]) -> None:
    body = exchange["response_body"].encode()
    if len(body) > 60_000:
        body = body[:60_000]
    kind = media_type(body)
    frames = frames_of(DIALECT.stream_decoder(kind), body)
    assert b"".join(frame.raw for frame in frames) == body
    for step in (1, 7, 1000):
        assert frames_of(DIALECT.stream_decoder(kind), body, step) == frames


@pytest.mark.parametrize("exchange", WHOLE, ids=name_of)
def test_a_whole_body_read_as_a_stream_says_the_same(exchange: dict[str, Any]) -> None:
    body = exchange["response_body"].encode()
    whole = fold(DIALECT.decode_response(body))
    streamed = answer_of(DIALECT.stream_decoder("text/event-stream"), body)
    if whole.fault is not None:
        # Inside a stream an error's code is no HTTP status.
        whole = replace(whole, fault=replace(whole.fault, status=None))
    assert streamed == whole


@pytest.mark.parametrize("exchange", STREAMS, ids=name_of)
@pytest.mark.parametrize("framing", ["sse", "json_array"])
@BOTH
def test_a_stream_written_anew_says_the_same(
    exchange: dict[str, Any], framing: Any, dialect: Dialect
) -> None:
    body = exchange["response_body"].encode()
    events = events_of(frames_of(DIALECT.stream_decoder(media_type(body)), body))
    answer = fold(events)
    assert answer.fault is None
    assert answer.ended
    assert not answer.opaque
    encoder = dialect.stream_encoder(Reply(framing=framing))
    out = b"".join(encoder.feed([event]) for event in events) + encoder.close()
    assert encoder.losses == []
    assert encoder.close() == b""
    kind = "text/event-stream" if framing == "sse" else "application/json"
    assert answer_of(dialect.stream_decoder(kind), out) == answer
    at_once = dialect.stream_encoder(Reply(framing=framing))
    assert at_once.feed(events) + at_once.close() == out
    if framing == "json_array":
        assert len(json.loads(out)) >= 1


@pytest.mark.parametrize("exchange", STREAMS, ids=name_of)
def test_an_array_decodes_whole_or_streamed(exchange: dict[str, Any]) -> None:
    body = exchange["response_body"].encode()
    streamed = answer_of(DIALECT.stream_decoder(media_type(body)), body)
    chunks = [
        json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data:")
    ] or json.loads(body)
    # An array of one chunk is a whole body, in which an empty text is a part of its own.
    if len(chunks) > 1:
        assert fold(DIALECT.decode_response(body_of(chunks))) == streamed


@pytest.mark.parametrize("exchange", [e for e in EXCHANGES if e["status"] == 200], ids=name_of)
def test_usage_adds_up(exchange: dict[str, Any]) -> None:
    body = exchange["response_body"].encode()
    usage = answer_of(DIALECT.stream_decoder(media_type(body)), body).usage
    assert isinstance(usage, Usage)
    if usage.total_tokens is not None and usage.input_tokens is not None:
        assert usage.input_tokens + (usage.output_tokens or 0) == usage.total_tokens
        assert (usage.cache_read_tokens or 0) <= usage.input_tokens


@pytest.mark.parametrize("exchange", COUNTS, ids=name_of)
def test_a_token_count_is_usage(exchange: dict[str, Any]) -> None:
    body = exchange["response_body"].encode()
    answer: Response = fold(DIALECT.decode_response(body))
    assert answer.usage is not None
    assert answer.usage.input_tokens == json.loads(body)["totalTokens"]
    assert json.loads(DIALECT.encode_response(answer, Reply()).body) == json.loads(body)
