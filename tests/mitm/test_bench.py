"""The bench's own bodies: a megabyte each, and the same conversation in every protocol."""

from __future__ import annotations

import json

import pytest

from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.canon.turns import text_of
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.mitm.bench_bodies import MEGABYTE, Shape, body_of, rounds
from llmitm.mitm.bench_dialects import edited, measured

PROTOCOLS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
SHAPES: tuple[Shape, ...] = ("many", "few")


def _body(protocol: str, shape: Shape) -> bytes:
    wire = body_of(protocol, "m", rounds(shape), stream=True)
    return json.dumps(wire, ensure_ascii=False, separators=(",", ":")).encode()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_body_is_a_megabyte_of_the_same_conversation(protocol: str, shape: Shape) -> None:
    body = _body(protocol, shape)
    assert abs(len(body) - MEGABYTE) < MEGABYTE * 0.06
    request = DIALECTS[protocol].decode_request(body)
    parts = [part for message in request.messages for part in message.parts]
    told = rounds(shape)
    assert [part.text for part in parts if isinstance(part, Text)] == [
        *(text for one in told for text in (one.asked, one.said)),
        "Say something.",
    ]
    called = [one for one in told if one.call]
    assert [
        (part.id, json.loads(part.arguments)) for part in parts if isinstance(part, ToolCall)
    ] == [(one.call, json.loads(one.arguments)) for one in called]
    assert [
        (part.call_id, text_of(part.parts)) for part in parts if isinstance(part, ToolResult)
    ] == [(one.call, one.told) for one in called]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_edit_that_is_measured_is_a_patch(protocol: str) -> None:
    body = _body(protocol, "few")
    dialect = DIALECTS[protocol]
    before = dialect.decode_request(body)
    patched = dialect.patch_request(body, before, edited(before), DEFAULT_FACTS)
    assert patched is not None
    assert len(patched.body) == len(body) + len(" Edited.")


def test_a_row_for_every_way_and_shape() -> None:
    rows = measured(["openai_chat>gemini_generate"], tries=1)
    ways = ("read openai_chat", "patch openai_chat", "openai_chat>gemini_generate")
    assert [(row["shape"], row["way"]) for row in rows] == [
        (shape, way) for shape in SHAPES for way in ways
    ]


def test_no_body_of_an_unknown_protocol() -> None:
    with pytest.raises(ValueError, match="no requests for soap"):
        body_of("soap", "m", rounds("few"), stream=False)
