"""The bench's own bodies: a megabyte each, and the same conversation in every protocol."""

from __future__ import annotations

import json

import pytest

from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.canon.turns import text_of
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.mitm.bench_bodies import MEGABYTE, Shape, body_of, rounds
from llmitm.mitm.bench_dialects import edited, measured
from llmitm.mitm.bench_policies import PIECES, answer, policies, redaction
from llmitm.ruleset.loading import load

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


def test_a_row_for_every_policy_that_is_shipped_and_for_all_of_them() -> None:
    rows = {row["policy"]: row for row in policies(tries=1)}
    shipped = [row.name for row in load("", {}).pipeline.stages]
    assert list(rows) == [*shipped, "redact, a secret in the prompt", "all of them"]
    seen = [name for name, row in rows.items() if row["event_us"] is not None]
    # They look at the answer, and a secret in the prompt makes redaction look too.
    assert {"tools", "loops", "tool_loops", "redact, a secret in the prompt"} <= set(seen)
    assert "redact" not in seen


def test_the_answer_that_policies_are_shown_has_its_calls() -> None:
    folded = fold(answer()).choices[0]
    calls = [part for part in folded.parts if isinstance(part, ToolCall)]
    assert len(calls) == 5
    assert all(json.loads(call.arguments)["command"] for call in calls)


def test_a_row_for_every_size_of_the_pieces_of_a_prompt() -> None:
    rows = redaction(tries=1)
    assert [row["pieces"] for row in rows] == list(PIECES)
    assert [row["messages"] for row in rows][-1] == 1
