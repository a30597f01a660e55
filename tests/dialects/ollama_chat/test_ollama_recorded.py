"""Recorded Ollama exchanges: nothing is lost, chunking never matters, streams equal bodies."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

import recordings
from dialects.bending import bent, broken
from llmitm.canon.events import Event
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Dialect, Frame, Reply, StreamDecoder
from llmitm.errors import ClientWireError

EXCHANGES = [e for e in recordings.load("other") if e["protocol"] == "ollama"]
STREAMS = [e for e in EXCHANGES if e["stream"]]
WHOLE = [e for e in EXCHANGES if not e["stream"]]
LINES = "application/x-ndjson"
needs_material = pytest.mark.skipif(not EXCHANGES, reason="there are no recorded exchanges here")


def dialect_of(exchange: dict[str, Any]) -> Dialect:
    return DIALECTS["ollama_generate" if "generate" in exchange["path"] else "ollama_chat"]


def name_of(exchange: dict[str, Any]) -> str:
    return str(exchange["id"])


def frames_of(decoder: StreamDecoder, body: bytes, step: int = 0) -> list[Frame]:
    size = step or max(len(body), 1)
    frames = [f for at in range(0, len(body), size) for f in decoder.feed(body[at : at + size])]
    return [*frames, *decoder.close()]


def events_of(frames: Iterable[Frame]) -> list[Event]:
    return [event for frame in frames for event in frame.events]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=name_of)
def test_requests_come_out_as_they_were(exchange: dict[str, Any]) -> None:
    dialect, wire = dialect_of(exchange), exchange["request_json"]
    request = dialect.decode_request(json.dumps(wire).encode())
    encoded = dialect.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == wire
    assert encoded.losses == ()
    assert request.stream == exchange["stream"]


@pytest.mark.parametrize("exchange", EXCHANGES, ids=name_of)
def test_an_edit_touches_only_its_bytes(exchange: dict[str, Any]) -> None:
    dialect = dialect_of(exchange)
    body = json.dumps(exchange["request_json"], indent=1).encode()
    before = dialect.decode_request(body)
    assert dialect.patch_request(body, before, before, DEFAULT_FACTS).body == body
    other = dialect.patch_request(body, before, replace(before, model="x"), DEFAULT_FACTS)
    assert other.body == body.replace(json.dumps(before.model).encode(), b'"x"')
    warm = replace(before, sampling=replace(before.sampling, temperature=0.625))
    patched = dialect.patch_request(body, before, warm, DEFAULT_FACTS)
    assert json.loads(patched.body)["options"]["temperature"] == 0.625
    (message,) = before.messages
    (part,) = message.parts
    assert isinstance(part, Text)
    after = replace(before, messages=(replace(message, parts=(replace(part, text="ß"),)),))
    said = dialect.patch_request(body, before, after, DEFAULT_FACTS)
    assert said.body == body.replace(json.dumps(part.text).encode(), '"ß"'.encode())


@pytest.mark.parametrize("exchange", WHOLE, ids=name_of)
def test_whole_answers_come_out_as_they_were(exchange: dict[str, Any]) -> None:
    dialect = dialect_of(exchange)
    response = fold(dialect.decode_response(exchange["response_body"].encode()))
    encoded = dialect.encode_response(response, Reply())
    assert json.loads(encoded.body) == json.loads(exchange["response_body"])
    assert encoded.losses == ()
    assert (response.fault is not None) == (exchange["status"] >= 400)


@pytest.mark.parametrize("exchange", STREAMS, ids=name_of)
def test_streams_survive_and_equal_whole_bodies(exchange: dict[str, Any]) -> None:
    dialect, body = dialect_of(exchange), exchange["response_body"].encode()
    frames = frames_of(dialect.stream_decoder(LINES), body)
    assert b"".join(frame.raw for frame in frames) == body
    assert frames_of(dialect.stream_decoder(LINES), body, 1) == frames
    events = events_of(frames)
    response = fold(events)
    assert response.ended
    assert not response.opaque
    last = json.loads(body.splitlines()[-1])
    assert response.usage is not None
    assert response.usage.input_tokens == last["prompt_eval_count"]
    assert response.usage.output_tokens == last["eval_count"]
    encoder = dialect.stream_encoder(Reply())
    out = encoder.feed(events) + encoder.close()
    assert encoder.losses == []
    assert fold(events_of(frames_of(dialect.stream_decoder(LINES), out))) == response
    encoded = dialect.encode_response(response, Reply())
    assert fold(dialect.decode_response(encoded.body)) == response
    assert dialect.decode_response(body) == events, "a stream under a whole body's name"


@needs_material
@pytest.mark.parametrize("seed", range(300))
def test_bent_requests(seed: int) -> None:
    dice = random.Random(seed)
    exchange = dice.choice(EXCHANGES)
    dialect, wire = dialect_of(exchange), bent(exchange["request_json"], dice)
    try:
        request = dialect.decode_request(json.dumps(wire).encode())
    except ClientWireError:
        return
    encoded = dialect.encode_request(request, DEFAULT_FACTS)
    # What the API takes for granted is said.
    implied: dict[str, Any] = {"stream": True, "model": ""}
    if dialect.name == "ollama_chat":
        implied["messages"] = []
    said = {**implied, **wire}
    for message in said.get("messages") or ():
        if isinstance(message, dict) and dialect.name == "ollama_chat":
            message.setdefault("content", "")
    if not isinstance(wire.get("stream", True), bool):
        said.pop("stream")
        said = {**said, "stream": wire["stream"]}
    if dialect.name == "ollama_chat" and said["messages"] is None:
        said["messages"] = []
    assert json.loads(encoded.body) == said
    for other in DIALECTS.values():
        assert isinstance(json.loads(other.encode_request(request, DEFAULT_FACTS).body), dict)


@needs_material
@pytest.mark.parametrize("seed", range(300))
def test_broken_answers(seed: int) -> None:
    dice = random.Random(seed)
    exchange = dice.choice(EXCHANGES)
    dialect, text = dialect_of(exchange), exchange["response_body"]
    if dice.random() < 0.7:
        lines = [json.loads(line) for line in text.splitlines() if line.strip()]
        text = "\n".join(
            json.dumps(bent(line, dice) if dice.random() < 0.3 else line) for line in lines
        )
    body = broken(text.encode(), dice)
    for media in (LINES, "application/json"):
        frames = frames_of(dialect.stream_decoder(media), body)
        assert b"".join(frame.raw for frame in frames) == body
        assert repr(frames_of(dialect.stream_decoder(media), body, dice.randint(1, 40))) == repr(
            frames
        )
    events = events_of(frames_of(dialect.stream_decoder(LINES), body))
    for other in DIALECTS.values():
        json.loads(other.encode_response(fold(events), Reply(model="m")).body)
        encoder = other.stream_encoder(Reply(model="m"))
        assert isinstance(encoder.feed(events) + encoder.close(), bytes)
    dice.shuffle(events)
    shuffled = dialect.stream_encoder(Reply())
    for line in (shuffled.feed(events) + shuffled.close()).splitlines():
        assert isinstance(json.loads(line), dict)
