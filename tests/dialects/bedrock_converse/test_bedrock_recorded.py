"""Recorded Bedrock exchanges: nothing is lost, chunking never matters, streams equal bodies."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dialects.bedrock_converse.material import (
    CONVERSE,
    INVOKE,
    INVOKED,
    INVOKED_STREAMS,
    REQUESTS,
    STREAMS,
    WHOLE,
    body_of,
    events_of,
    frames_of,
    name_of,
    streamed,
)
from llmitm.canon.events import Opaque
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.response import Response
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.contract import Dialect, Reply
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE


def compact(response: Response) -> Response:
    """Arguments without white space, which a stream keeps and a whole body has none of."""
    return replace(
        response,
        choices=tuple(
            replace(
                choice,
                parts=tuple(
                    replace(part, arguments=json.dumps(json.loads(part.arguments or "{}")))
                    if isinstance(part, ToolCall)
                    else part
                    for part in choice.parts
                ),
            )
            for choice in response.choices
        ),
    )


@pytest.mark.parametrize("exchange", REQUESTS, ids=name_of)
def test_requests_come_out_as_they_were(exchange: dict[str, Any]) -> None:
    wire = exchange["request_json"]
    request = CONVERSE.decode_request(json.dumps(wire).encode())
    encoded = CONVERSE.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == wire
    assert encoded.losses == ()
    assert CONVERSE.encode_request(request, DEFAULT_FACTS) == encoded


@pytest.mark.parametrize("exchange", REQUESTS, ids=name_of)
def test_an_edit_touches_only_its_bytes(exchange: dict[str, Any]) -> None:
    body = json.dumps(exchange["request_json"], indent=1).encode()
    before = CONVERSE.decode_request(body)
    assert CONVERSE.patch_request(body, before, before, DEFAULT_FACTS).body == body
    renamed = replace(before, model="other", stream=True)
    assert CONVERSE.patch_request(body, before, renamed, DEFAULT_FACTS).body == body
    warm = replace(before, sampling=replace(before.sampling, temperature=0.625))
    patched = CONVERSE.patch_request(body, before, warm, DEFAULT_FACTS)
    assert patched is not None
    anew = CONVERSE.encode_request(warm, DEFAULT_FACTS)
    assert json.loads(patched.body) == json.loads(anew.body)
    if before.sampling.temperature is not None:
        old = f'"temperature": {json.dumps(before.sampling.temperature)}'.encode()
        assert patched.body == body.replace(old, b'"temperature": 0.625')
    for place, message in enumerate(before.messages):
        part = message.parts[0] if message.parts else None
        if isinstance(part, Text) and part.at:
            said = replace(message, parts=(replace(part, text="ß"), *message.parts[1:]))
            after = replace(
                before,
                messages=(*before.messages[:place], said, *before.messages[place + 1 :]),
            )
            patched = CONVERSE.patch_request(body, before, after, DEFAULT_FACTS)
            assert patched is not None
            assert CONVERSE.decode_request(patched.body) == after
            length = len(body) - len(json.dumps(part.text)) + len('"ß"'.encode())
            assert len(patched.body) == length


@pytest.mark.parametrize("exchange", WHOLE, ids=name_of)
def test_whole_answers_come_out_as_they_were(exchange: dict[str, Any]) -> None:
    response = fold(CONVERSE.decode_response(body_of(exchange)))
    encoded = CONVERSE.encode_response(response, Reply())
    assert json.loads(encoded.body) == json.loads(exchange["response_body"])
    assert encoded.losses == ()
    assert (response.fault is not None) == (exchange["status"] >= 400)
    if response.fault is None:
        usage = json.loads(exchange["response_body"])["usage"]
        assert response.usage is not None
        # Cache reads and writes are within canon's input: then the sum is the provider's.
        assert (response.usage.input_tokens or 0) + usage["outputTokens"] == usage["totalTokens"]


@pytest.mark.parametrize("exchange", STREAMS, ids=name_of)
def test_streams_survive_and_equal_whole_bodies(exchange: dict[str, Any]) -> None:
    body = body_of(exchange)
    frames = frames_of(CONVERSE.stream_decoder(MEDIA_TYPE), body)
    assert b"".join(frame.raw for frame in frames) == body
    assert frames_of(CONVERSE.stream_decoder(MEDIA_TYPE), body, 1) == frames
    events = events_of(frames)
    response = fold(events)
    assert not [event for event in events if isinstance(event, Opaque)]
    assert response.ended
    assert response.usage is not None
    assert response.choices[0].finish is not None
    encoder = CONVERSE.stream_encoder(Reply())
    out = encoder.feed(events) + encoder.close()
    assert encoder.losses == []
    assert streamed(out) == response
    encoded = CONVERSE.encode_response(response, Reply())
    assert encoded.losses == ()
    assert compact(fold(CONVERSE.decode_response(encoded.body))) == compact(response)


@pytest.mark.parametrize("exchange", INVOKED, ids=name_of)
def test_invoke_requests_come_out_as_they_were(exchange: dict[str, Any]) -> None:
    wire = exchange["request_json"]
    request = INVOKE.decode_request(json.dumps(wire).encode())
    assert json.loads(INVOKE.encode_request(request, DEFAULT_FACTS).body) == wire


@pytest.mark.parametrize("exchange", INVOKED_STREAMS, ids=name_of)
def test_invoke_streams_are_read_and_survive(exchange: dict[str, Any]) -> None:
    body = body_of(exchange)
    dialect: Dialect = INVOKE
    frames = frames_of(dialect.stream_decoder(MEDIA_TYPE), body)
    assert b"".join(frame.raw for frame in frames) == body
    assert frames_of(dialect.stream_decoder(MEDIA_TYPE), body, 1) == frames
    events = events_of(frames)
    response = fold(events)
    assert response.ended
    assert response.usage is not None
    assert response.usage.output_tokens
    encoder = dialect.stream_encoder(Reply())
    out = encoder.feed(events) + encoder.close()
    again = fold(events_of(frames_of(dialect.stream_decoder(MEDIA_TYPE), out)))
    assert again == response
