"""Broken input: decoders never raise, encoders take whatever decoders made."""

from __future__ import annotations

import json
import random

import pytest

from dialects.bedrock_converse.material import (
    CONVERSE,
    INVOKE,
    INVOKED_STREAMS,
    REQUESTS,
    STREAMS,
    WHOLE,
    body_of,
    events_of,
    frames_of,
)
from dialects.bending import bent, broken
from llmitm.canon.fold import fold
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE, EventStreamSplitter, header_block
from llmitm.dialects.framing_aws_eventstream import message as made_message
from llmitm.errors import ClientWireError

BODIES = [body_of(e) for e in WHOLE if len(e["response_body"]) < 8_000]
EVENTS = [body_of(e) for e in STREAMS]
CHUNKS = [body_of(e) for e in INVOKED_STREAMS]
WIRES = [e["request_json"] for e in REQUESTS if len(json.dumps(e["request_json"])) < 8_000]

needs_material = pytest.mark.skipif(not BODIES, reason="there are no recorded exchanges here")


def bent_stream(body: bytes, dice: random.Random) -> bytes:
    """The stream with some payloads bent and its checksums right."""
    pieces: list[bytes] = []
    for frame in EventStreamSplitter().feed(body):
        payload = frame.payload
        if dice.random() < 0.4:
            payload = json.dumps(bent(json.loads(payload), dice)).encode()
        pieces.append(made_message(header_block(frame.headers), payload))
    return b"".join(pieces)


@needs_material
@pytest.mark.parametrize("seed", range(300))
def test_bent_requests(seed: int) -> None:
    dice = random.Random(seed)
    wire = bent(dice.choice(WIRES), dice)
    try:
        request = CONVERSE.decode_request(json.dumps(wire).encode())
    except ClientWireError:
        return
    encoded = CONVERSE.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == wire
    for name, dialect in DIALECTS.items():
        assert isinstance(json.loads(dialect.encode_request(request, DEFAULT_FACTS).body), dict), (
            name
        )


@needs_material
@pytest.mark.parametrize("seed", range(300))
def test_broken_answers(seed: int) -> None:
    dice = random.Random(seed)
    body = dice.choice(BODIES)
    if dice.random() < 0.6:
        body = json.dumps(bent(json.loads(body), dice)).encode()
    body = broken(body, dice)
    answer = fold(CONVERSE.decode_response(body))
    for dialect in DIALECTS.values():
        json.loads(dialect.encode_response(answer, Reply(model="m")).body)
    for media in (MEDIA_TYPE, "application/json"):
        frames = frames_of(CONVERSE.stream_decoder(media), body)
        assert b"".join(frame.raw for frame in frames) == body
        assert frames_of(CONVERSE.stream_decoder(media), body, dice.randint(1, 9)) == frames


@needs_material
@pytest.mark.parametrize("seed", range(300))
def test_broken_streams(seed: int) -> None:
    dice = random.Random(seed)
    dialect, bodies = dice.choice([(CONVERSE, EVENTS), (INVOKE, CHUNKS)])
    body = dice.choice(bodies)
    if dice.random() < 0.7:
        body = bent_stream(body, dice)
    body = broken(body, dice)
    frames = frames_of(dialect.stream_decoder(MEDIA_TYPE), body)
    assert b"".join(frame.raw for frame in frames) == body
    step = dice.randint(1, 90)
    assert repr(frames_of(dialect.stream_decoder(MEDIA_TYPE), body, step)) == repr(frames)
    events = events_of(frames)
    for other in DIALECTS.values():
        encoder = other.stream_encoder(Reply(model="m"))
        assert isinstance(encoder.feed(events) + encoder.close(), bytes)
    # Events in no sensible order are taken too.
    dice.shuffle(events)
    shuffled = dialect.stream_encoder(Reply())
    out = shuffled.feed(events) + shuffled.close()
    assert all(frame.intact for frame in EventStreamSplitter().feed(out))
    json.loads(dialect.encode_response(fold(events), Reply()).body)
