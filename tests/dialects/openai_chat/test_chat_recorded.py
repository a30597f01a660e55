"""Recorded chat exchanges survive every way through, broken ones raise nothing."""

from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from typing import Any

import recordings
from dialects.openai_chat.answers import (
    PLAIN,
    REPLY,
    decoded,
    encoded,
    events_of,
    exchanges,
    telling,
)
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Reasoning
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.values import Facts
from llmitm.dialects.openai_chat import DIALECT


def facts_of(wire: dict[str, Any], request: Request) -> Facts:
    """The facts of the provider that this request was written for."""
    reasoning = [
        str(part.at[-1])
        for message in request.messages
        for part in message.parts
        if isinstance(part, Reasoning) and part.at and str(part.at[-1]).startswith("reasoning")
    ]
    developer = any(message.role == "developer" for message in request.messages)
    return Facts(
        max_tokens_field="max_completion_tokens"
        if "max_completion_tokens" in wire
        else "max_tokens",
        reasoning_field=next(iter(reasoning), "reasoning_content"),
        system_role="developer" if developer else "system",
    )


def normal_request(wire: Any) -> Any:
    """Same meaning, one form: no `stream: false`, `content` and tools' `type` written out."""
    wire = json.loads(json.dumps(wire))
    if wire.get("stream") is False:
        del wire["stream"]
    for message in wire["messages"]:
        message.setdefault("content", None)
    for tool in wire.get("tools") or []:
        if "function" in tool:
            tool.setdefault("type", "function")
    return wire


def normal_answer(body: bytes) -> Any:
    """Same meaning, one form: `content`, `finish_reason` and calls' `type` written out."""
    wire = json.loads(body)
    for choice in wire.get("choices", []):
        choice.setdefault("finish_reason", None)
        choice["message"].setdefault("content", None)
        for call in choice["message"].get("tool_calls") or []:
            call.setdefault("type", "function")
    return wire


@recordings.needs_corpus
def test_every_recorded_request_comes_back_as_it_was() -> None:
    wires = [x["request_json"] for x in recordings.load("openai-chat") if x["request_json"]]
    assert len(wires) > 400
    for wire in wires:
        request = DIALECT.decode_request(json.dumps(wire).encode())
        again = DIALECT.encode_request(request, facts_of(wire, request))
        assert normal_request(json.loads(again.body)) == normal_request(wire)
        assert again.losses == ()


@recordings.needs_corpus
def test_every_recorded_body_comes_back_as_it_was() -> None:
    bodies = exchanges(stream=False)
    assert len(bodies) > 400
    for _, body in bodies:
        again = DIALECT.encode_response(fold(DIALECT.decode_response(body)), PLAIN)
        expected = normal_answer(body)
        if "error" in expected and b"maximum context length" in body:
            # Agents compact their history on this code alone.
            expected["error"]["code"] = "context_length_exceeded"
        assert normal_answer(again.body) == expected
        assert again.losses == ()


@recordings.needs_corpus
def test_every_recorded_body_survives_as_a_stream() -> None:
    for _, body in exchanges(stream=False):
        events = DIALECT.decode_response(body)
        response = fold(events)
        if response.fault is None:
            again = fold(events_of(decoded(encoded(events))))
            assert same(again, response) == telling(response)


def same(again: Response, response: Response) -> Response:
    """`again` without an id and finish reasons that only the stream's form asked for."""
    again, told = telling(again), telling(response).choices
    choices = tuple(
        replace(choice, finish=None) if told[place].finish is None else choice
        for place, choice in enumerate(again.choices)
    )
    return replace(again, choices=choices, id=response.id and again.id)


@recordings.needs_corpus
def test_every_recorded_stream_survives() -> None:
    streams = exchanges(stream=True)
    assert len(streams) > 150
    faults = 0
    for _, data in streams:
        events = events_of(decoded(data))
        response = fold(events)
        if response.fault is not None:
            faults += 1
            assert response.fault.kind == "invalid_request"
            continue
        assert response.opaque == ()
        for wire in (encoded(events), encoded(unfold(response))):
            again = fold(events_of(decoded(wire)))
            assert again.ended
            assert same(again, response) == telling(response)
        whole = DIALECT.encode_response(response, PLAIN)
        assert whole.losses == ()
        again = fold(DIALECT.decode_response(whole.body))
        assert again.usage == response.usage
        told = [choice.finish for choice in telling(response).choices]
        assert [choice.finish for choice in telling(again).choices] == told
    assert faults == 1


@recordings.needs_corpus
def test_chunking_never_matters() -> None:
    for _, data in exchanges(stream=True)[::3]:
        once = decoded(data)
        sizes = (1, 7, 4096) if len(data) < 60_000 else (211,)
        for size in sizes:
            assert decoded(data, size) == once


SHAPES = [b"[]", b"{}", b"null", b'"x"', b"7", b"[{}]", b"true", b"[null]", b'{"a":1}', b"-3"]
VALUE = re.compile(rb'":\s?("(?:[^"\\]|\\.)*"|\[[^\[\]]*\]|\{[^{}]*\}|null|\d+)')


def broken(dice: random.Random, data: bytearray) -> bytes:
    for _ in range(dice.randrange(1, 4)):
        match dice.randrange(3):
            case 0:
                del data[dice.randrange(len(data) + 1) :]
            case 1:
                for _ in range(6 if data else 0):
                    data[dice.randrange(len(data))] = dice.randrange(256)
            case _:
                found = list(VALUE.finditer(bytes(data)))
                if found:
                    start, end = dice.choice(found).span(1)
                    data[start:end] = dice.choice(SHAPES)
    return bytes(data)


@recordings.needs_corpus
def test_broken_answers_never_raise() -> None:
    dice = random.Random(20261121)
    pool = [data[:20_000] for stream in (True, False) for _, data in exchanges(stream)]
    for _ in range(600):
        data = broken(dice, bytearray(dice.choice(pool)))
        frames = decoded(data)
        assert decoded(data, 13) == frames
        encoded(events_of(frames))
        for response in (fold(events_of(frames)), fold(DIALECT.decode_response(data))):
            for shown in (response, replace(response, fault=None, dialect="other")):
                DIALECT.encode_response(shown, REPLY)
                encoded(unfold(shown), REPLY)
