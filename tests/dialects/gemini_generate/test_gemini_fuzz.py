"""Broken input: decoders never raise, encoders take whatever decoders made."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from dialects.bending import bent
from dialects.gemini_generate.material import (
    EXCHANGES,
    REQUESTS,
    body_of,
    events_of,
    forget,
    frames_of,
    media_type,
)
from llmitm.canon.fold import fold
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.contract import Reply
from llmitm.dialects.gemini_generate import CODE_ASSIST, DIALECT
from llmitm.errors import ClientWireError

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**30, "", "x", "\ud83d", [], {}, [[]], [None]),
    *({"a": []}, "STOP", {"parts": 5}, [{"text": 3}], {"text": "t"}, {"name": []}),
]
# Small exchanges of every shape; the large ones repeat them.
BODIES = [e["response_body"] for e in EXCHANGES if len(e["response_body"]) < 8_000]
WIRES = [e["request_json"] for e in REQUESTS if len(json.dumps(e["request_json"])) < 8_000]

needs_material = pytest.mark.skipif(not BODIES, reason="there are no recorded exchanges here")


def broken(body: bytes, dice: random.Random) -> bytes:
    """`body` with some bytes flipped, or cut off somewhere."""
    made = bytearray(body)
    if made and dice.random() < 0.5:
        for _ in range(dice.randint(1, 4)):
            made[dice.randrange(len(made))] = dice.randrange(256)
    return bytes(made[: dice.randrange(len(made) + 1)] if dice.random() < 0.4 else made)


@needs_material
@pytest.mark.parametrize("seed", range(300))
def test_bent_requests(seed: int) -> None:
    dice = random.Random(seed)
    wire = bent(dice.choice(WIRES), dice, ODD)
    if dice.random() < 0.3:
        wire = {"model": "m", "request": wire, "project": "p"}
    for dialect in (DIALECT, CODE_ASSIST):
        try:
            request = dialect.decode_request(body_of_odd(wire))
        except ClientWireError:
            continue
        encoded = dialect.encode_request(request, DEFAULT_FACTS)
        if dialect is DIALECT:
            assert json.loads(encoded.body) == wire
        foreign = forget(request)
        object.__setattr__(foreign, "dialect", "openai_chat")
        for other in (forget(request), foreign):
            anew = dialect.encode_request(other, DEFAULT_FACTS)
            assert isinstance(json.loads(anew.body), dict)


def body_of_odd(value: Any) -> bytes:
    """JSON that may hold half characters."""
    return json.dumps(value).encode()


@needs_material
@pytest.mark.parametrize("seed", range(100))
def test_broken_requests(seed: int) -> None:
    dice = random.Random(seed)
    body = broken(body_of(dice.choice(WIRES)), dice)
    try:
        request = DIALECT.decode_request(body)
    except ClientWireError:
        return
    encoded = DIALECT.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == json.loads(body)


@needs_material
@pytest.mark.parametrize("seed", range(400))
def test_broken_answers(seed: int) -> None:
    dice = random.Random(seed)
    text = dice.choice(BODIES)
    if dice.random() < 0.6:
        if text.startswith("data"):
            lines = [line for line in text.splitlines() if line.startswith("data: ")]
            chunks = [json.loads(line[6:]) for line in lines]
            text = "".join(
                f"data: {json.dumps(bent(chunk, dice, ODD))}\r\n\r\n" for chunk in chunks
            )
        else:
            text = json.dumps(bent(json.loads(text), dice, ODD))
    body = broken(text.encode(), dice)
    answer = fold(DIALECT.decode_response(body))
    for made in (answer, forget(answer)):
        json.loads(DIALECT.encode_response(made, Reply()).body)
        json.loads(CODE_ASSIST.encode_response(made, Reply(model="m", id="i")).body)
    kind = media_type(body)
    frames = frames_of(DIALECT.stream_decoder(kind), body)
    assert b"".join(frame.raw for frame in frames) == body
    assert repr(frames_of(DIALECT.stream_decoder(kind), body, dice.randint(1, 9))) == repr(frames)
    events = events_of(frames)
    for framing in ("sse", "json_array"):
        encoder = DIALECT.stream_encoder(Reply(framing=framing))
        out = encoder.feed(events) + encoder.close()
        kind = "text/event-stream" if framing == "sse" else "application/json"
        assert frames_of(DIALECT.stream_decoder(kind), out)
        if framing == "json_array":
            json.loads(out)
    # Events in no sensible order are taken too.
    dice.shuffle(events)
    shuffled = CODE_ASSIST.stream_encoder(Reply())
    assert isinstance(shuffled.feed(events) + shuffled.close(), bytes)
