"""Properties over recorded exchanges and mutations of them.

Same dialect in and out is the identity but for the differences named here.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import recordings
from llmitm.canon.events import Event
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Reasoning, Text, Unknown
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.dialects.openai_responses import DIALECT
from llmitm.dialects.telling import AFTER_END
from llmitm.errors import ClientWireError

pytestmark = recordings.needs_corpus

JUNK: list[Any] = [None, [], {}, "x", 3, -1.5, True, [1], {"a": []}, 10**30, [[{}]]]


def exchanges(stream: bool) -> Iterator[tuple[str, bytes]]:
    for exchange in recordings.load("openai-responses"):
        if exchange["stream"] is stream:
            yield exchange["id"], exchange["response_body"].encode()


def requests() -> Iterator[tuple[str, dict[str, Any]]]:
    for exchange in recordings.load("openai-responses"):
        if isinstance(exchange["request_json"], dict):
            yield exchange["id"], exchange["request_json"]


def read(body: bytes, size: int | None = None) -> list[Event]:
    """The events of a stream fed in chunks of `size` bytes; its frames must be its bytes."""
    decoder = DIALECT.stream_decoder("text/event-stream")
    step = size or len(body) or 1
    frames = [f for at in range(0, len(body), step) for f in decoder.feed(body[at : at + step])]
    frames += decoder.close()
    assert b"".join(frame.raw for frame in frames) == body
    return [event for frame in frames for event in frame.events]


def payloads(body: bytes) -> list[Any]:
    """The JSON of all events."""
    found = [line[5:] for line in body.split(b"\n") if line.startswith(b"data:")]
    return [json.loads(line) for line in found if line.strip() != b"[DONE]"]


def final_object(body: bytes) -> bytes:
    """The response object of the last event that has one."""
    return json.dumps([o["response"] for o in payloads(body) if "response" in o][-1]).encode()


def said_once(response: Response) -> Response:
    """What both a stream and a body tell.

    A stream tells the response object twice, and events no part takes; OpenAI encrypts reasoning,
    compaction and programs anew for the final object and rounds log probabilities there.
    """

    def plain(part: Any) -> Any:
        match part:
            case Reasoning(encrypted=str()):
                return replace(part, encrypted="*")
            case Unknown(value=dict(value)):
                secret = ("encrypted_content", "fingerprint")
                return replace(part, value={k: v for k, v in value.items() if k not in secret})
            case Text(logprobs=list(logprobs)):
                return replace(part, logprobs=[item["token"] for item in logprobs])
            case _:
                return part

    return replace(
        response,
        extras={},
        opaque=(),
        choices=tuple(
            Choice(index=c.index, parts=tuple(plain(p) for p in c.parts), finish=c.finish)
            for c in response.choices
        ),
    )


def unsaid(wire: dict[str, Any]) -> dict[str, Any]:
    """An explicit `stream: false` is not told from an absent one."""
    return {k: v for k, v in wire.items() if (k, v) != ("stream", False)}


def test_requests_are_written_as_they_were_read() -> None:
    for name, wire in requests():
        request = DIALECT.decode_request(json.dumps(wire).encode())
        encoded = DIALECT.encode_request(request, DEFAULT_FACTS)
        assert json.loads(encoded.body) == unsaid(wire), name
        assert encoded.losses == (), name
        assert DIALECT.encode_request(request, DEFAULT_FACTS).body == encoded.body
        assert DIALECT.decode_request(encoded.body) == request, name


def test_every_place_leads_to_its_value() -> None:
    def at(wire: Any, path: tuple[str | int, ...]) -> Any:
        for step in path:
            wire = wire[step]
        return wire

    for _, wire in requests():
        request = DIALECT.decode_request(json.dumps(wire).encode())
        for message in request.messages:
            at(wire, message.at)
            for part in message.parts:
                found = at(wire, part.at)
                if isinstance(part, Text):
                    assert found == part.text
        for tool in request.tools:
            assert at(wire, tool.at)["type"] in (tool.kind, tool.value and tool.value["type"])
        for part in request.instructions:
            assert isinstance(part, Text)
            assert at(wire, part.at) == part.text


def test_bodies_are_written_as_they_were_read() -> None:
    for name, body in exchanges(stream=False):
        response = fold(DIALECT.decode_response(body))
        encoded = DIALECT.encode_response(response, Reply(created_s=5))
        assert json.loads(encoded.body) == json.loads(body), name
        assert encoded.losses == (), name


def answers(body: bytes) -> list[bytes]:
    """The answers of a recording; one holds all those of a conversation, one behind the other."""
    begin = b"event: response.created"
    return [begin + answer for answer in body.split(begin)[1:]] or [body]


def test_a_stream_says_what_its_final_object_says() -> None:
    for name, body in exchanges(stream=True):
        for answer in answers(body):
            streamed = fold(read(answer))
            whole = fold(DIALECT.decode_response(final_object(answer)))
            assert said_once(streamed) == said_once(whole), name


def test_streams_written_again_say_the_same() -> None:
    for name, body in exchanges(stream=True):
        events = read(body)
        encoder = DIALECT.stream_encoder(Reply())
        again = encoder.feed(events) + encoder.close()
        assert encoder.losses == [], name
        once, twice = fold(events), fold(read(again))
        assert replace(twice, opaque=()) == replace(once, opaque=()), name
        further = [item for item in once.opaque if not item.event]
        assert [item for item in twice.opaque if not item.event] == further, name
        for answer in answers(again):
            assert json.loads(final_object(answer))["output"], name


LATE = ("event.unknown", AFTER_END)
ENCODERS = {dialect.name: dialect for dialect in DIALECTS.values() if dialect is not DIALECT}


def test_a_further_answer_in_the_same_body_is_kept_or_told() -> None:
    seen = 0
    for name, body in exchanges(stream=True):
        first, *others = answers(body)
        if not others:
            continue
        seen += 1
        response = fold(read(body))
        assert replace(response, opaque=()) == replace(fold(read(first)), opaque=()), name
        wires = [data for other in others for data in payloads(other)]
        assert [item.value for item in response.opaque if not item.event] == wires, name
        for dialect in ENCODERS.values():
            encoder = dialect.stream_encoder(Reply(model="m", id="i"))
            written = encoder.feed(read(body)) + encoder.close()
            alone = dialect.stream_encoder(Reply(model="m", id="i"))
            assert written == alone.feed(read(first)) + alone.close(), (name, dialect.name)
            more = [loss for loss in encoder.losses if loss not in alone.losses]
            assert [(loss.feature, loss.say) for loss in more] == [LATE], (name, dialect.name)
            encoded = dialect.encode_response(response, Reply())
            assert any(loss.feature == "event.unknown" for loss in encoded.losses), dialect.name
        own = DIALECT.encode_response(response, Reply()).losses
        assert [(loss.feature, loss.say) for loss in own] == [LATE], name
    assert seen


def test_bodies_become_streams_and_streams_bodies() -> None:
    for name, body in exchanges(stream=False):
        response = fold(DIALECT.decode_response(body))
        if response.fault is not None:
            continue
        encoder = DIALECT.stream_encoder(Reply())
        stream = encoder.feed(unfold(response)) + encoder.close()
        again = DIALECT.encode_response(fold(read(stream)), Reply())
        assert json.loads(again.body) == json.loads(body), name


def test_chunking_never_matters() -> None:
    for name, body in exchanges(stream=True):
        if len(body) < 30_000:
            assert read(body, 1) == read(body), name
        assert read(body, 997) == read(body), name


def mutated(rnd: random.Random, value: Any) -> Any:
    if rnd.random() < 0.03:
        return rnd.choice(JUNK)
    if isinstance(value, dict):
        return {k: mutated(rnd, v) for k, v in value.items() if rnd.random() > 0.02}
    if isinstance(value, list):
        return [mutated(rnd, v) for v in value]
    return value


def broken(rnd: random.Random, body: bytes) -> bytes:
    """A stream with wrong shapes, lost, doubled and shuffled events, flipped bytes, a cut."""
    frames: list[bytes] = []
    for frame in body.split(b"\n\n"):
        _, _, data = frame.partition(b"data: ")
        luck = rnd.random()
        if luck < 0.1:
            continue
        if luck < 0.3 and data.startswith(b"{"):
            frames.append(b"data: " + json.dumps(mutated(rnd, json.loads(data))).encode())
        else:
            frames += [frame, frame] if luck > 0.97 else [frame]
    if rnd.random() < 0.2:
        rnd.shuffle(frames)
    raw = bytearray(b"\n\n".join(frames))
    if rnd.random() < 0.3:
        raw = raw[: rnd.randrange(len(raw) + 1)]
        for _ in range(rnd.randrange(5)):
            if raw:
                raw[rnd.randrange(len(raw))] = rnd.randrange(256)
    return bytes(raw)


@pytest.mark.parametrize("seed", range(4))
def test_no_stream_raises(seed: int) -> None:
    rnd = random.Random(seed)
    for _, body in exchanges(stream=True):
        events = read(broken(rnd, body))
        for told in (events, list(unfold(fold(events)))):
            encoder = DIALECT.stream_encoder(Reply(custom_tools=frozenset({"weather"})))
            written = encoder.feed(told) + encoder.close()
            assert encoder.feed(told) == b""
            again = fold(read(written))
            assert again.ended or again.fault is not None
        DIALECT.encode_response(fold(events), Reply())


@pytest.mark.parametrize("seed", range(4))
def test_no_body_raises(seed: int) -> None:
    rnd = random.Random(seed)
    for _, body in exchanges(stream=False):
        raw = json.dumps(mutated(rnd, json.loads(body))).encode()
        if rnd.random() < 0.2:
            raw = raw[: rnd.randrange(len(raw) + 1)]
        response = fold(DIALECT.decode_response(raw))
        DIALECT.encode_response(response, Reply())
        assert read(DIALECT.stream_encoder(Reply()).close())


@pytest.mark.parametrize("seed", range(4))
def test_a_request_of_a_wrong_shape_is_kept_or_refused(seed: int) -> None:
    rnd = random.Random(seed)
    refused = 0
    for name, wire in requests():
        wrong = mutated(rnd, wire)
        try:
            request = DIALECT.decode_request(json.dumps(wrong).encode())
        except ClientWireError:
            refused += 1
            continue
        encoded = DIALECT.encode_request(request, DEFAULT_FACTS)
        if '"reasoning"' not in json.dumps(wrong.get("input")):
            # A reasoning item gets the `summary` the API wants.
            assert json.loads(encoded.body) == unsaid(wrong), name
        for dialect in ("openai_chat", "anthropic_messages"):
            json.loads(
                DIALECT.encode_request(replace(request, dialect=dialect), DEFAULT_FACTS).body
            )
    assert refused < 120
