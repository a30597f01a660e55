"""`outputConfig`: the form of the answer and the effort, both ways; thinking of newer models."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dialects.bedrock_converse.material import CONVERSE
from llmitm.canon.parts import Text
from llmitm.canon.request import Message, ReasoningConfig, Request, ResponseFormat, Sampling
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.ruleset.loading import load

SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}
FORM: Any = {
    "type": "json_schema",
    "structure": {
        "jsonSchema": {"schema": json.dumps(SCHEMA), "name": "city", "description": "where"}
    },
}
OPUS = "us.anthropic.claude-opus-4-6-v1"
SONNET = "anthropic.claude-sonnet-4-5-20250929-v1:0"


def body(**output: Any) -> bytes:
    messages = [{"role": "user", "content": [{"text": "hi"}]}]
    return json.dumps({"messages": messages, "outputConfig": output}).encode()


def foreign(**more: Any) -> Request:
    user = Message(role="user", parts=(Text(text="hi"),))
    given: dict[str, Any] = {"model": OPUS, **more}
    return Request(dialect="openai_chat", messages=(user,), **given)


def made(request: Request) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    encoded = CONVERSE.encode_request(request, load().facts("bedrock", request.model))
    return json.loads(encoded.body), [(loss.feature, loss.how) for loss in encoded.losses]


def test_it_is_read() -> None:
    request = CONVERSE.decode_request(body(textFormat=FORM, effort="low"))
    form = request.response_format
    assert form == ResponseFormat(
        kind="json_schema", schema=SCHEMA, name="city", description="where"
    )
    assert request.reasoning == ReasoningConfig(effort="low")
    assert dict(request.extras) == {}


def test_it_comes_out_as_it_was() -> None:
    request = CONVERSE.decode_request(body(textFormat=FORM, effort="low", new=1))
    wire = json.loads(CONVERSE.encode_request(request, DEFAULT_FACTS).body)["outputConfig"]
    text = wire["textFormat"]["structure"]["jsonSchema"]
    text["schema"] = json.dumps(json.loads(text["schema"]))
    assert wire == {"textFormat": FORM, "effort": "low", "new": 1}


@pytest.mark.parametrize(
    "output",
    [
        {},
        {"effort": "enormous"},
        {"effort": 3},
        {"textFormat": {"type": "grammar"}},
        {"textFormat": {**FORM, "structure": {"jsonSchema": {"schema": "{"}}}},
        {"textFormat": {**FORM, "structure": {"jsonSchema": {"schema": "[]"}}}},
        {"textFormat": {**FORM, "structure": {"jsonSchema": {"schema": SCHEMA}}}},
        {"textFormat": {**FORM, "structure": {"jsonSchema": {"schema": "{}", "name": 1}}}},
        {"textFormat": {**FORM, "structure": {"jsonSchema": {"schema": "{}", "new": 1}}}},
        {"textFormat": {**FORM, "structure": {}}},
    ],
)
def test_what_is_not_understood_stays_as_it_was(output: Any) -> None:
    request = CONVERSE.decode_request(body(**output))
    assert (request.response_format, request.reasoning) == (None, None)
    wire = json.loads(CONVERSE.encode_request(request, DEFAULT_FACTS).body)
    assert wire["outputConfig"] == output


def test_a_schema_is_changed_in_its_place() -> None:
    original = body(effort="low", textFormat=FORM, new=[1])
    before = CONVERSE.decode_request(original)
    assert before.response_format is not None
    form = replace(before.response_format, schema={"type": "string"})
    patched = CONVERSE.patch_request(
        original, before, replace(before, response_format=form), DEFAULT_FACTS
    )
    assert patched is not None
    start, end = original.index(b'{"type": "json_schema"'), original.index(b', "new"')
    assert patched.body.startswith(original[:start])
    assert patched.body.endswith(original[end:])
    assert CONVERSE.decode_request(patched.body).response_format == form
    gone = CONVERSE.patch_request(
        original, before, replace(before, response_format=None), DEFAULT_FACTS
    )
    assert gone is not None
    assert json.loads(gone.body)["outputConfig"] == {"effort": "low", "new": [1]}


def test_a_schema_of_another_protocol() -> None:
    form = ResponseFormat(kind="json_schema", schema=SCHEMA, name="city", strict=True)
    wire, losses = made(foreign(response_format=form))
    told = wire["outputConfig"]["textFormat"]["structure"]["jsonSchema"]
    assert (json.loads(told["schema"]), told["name"]) == (SCHEMA, "city")
    assert losses == []
    back = CONVERSE.decode_request(json.dumps(wire).encode()).response_format
    assert back == replace(form, strict=None)


def test_json_without_a_schema_cannot_be_asked_for() -> None:
    wire, losses = made(foreign(response_format=ResponseFormat(kind="json_object")))
    assert losses == [("response_format", "dropped")]
    assert "outputConfig" not in wire


@pytest.mark.parametrize(
    ("reasoning", "effort", "losses"),
    [
        (ReasoningConfig(effort="max"), "max", []),
        (ReasoningConfig(effort="minimal"), "low", [("reasoning.effort", "adapted")]),
        (ReasoningConfig(mode="adaptive"), None, []),
        (
            ReasoningConfig(mode="on", budget_tokens=2048),
            "low",
            [("reasoning.budget_tokens", "adapted")],
        ),
    ],
)
def test_a_model_that_thinks_as_it_needs(
    reasoning: ReasoningConfig, effort: str | None, losses: Any
) -> None:
    wire, told = made(foreign(reasoning=reasoning, sampling=Sampling(max_tokens=700)))
    assert wire["additionalModelRequestFields"] == {"thinking": {"type": "adaptive"}}
    assert wire.get("outputConfig", {}).get("effort") == effort
    assert (wire["inferenceConfig"], told) == ({"maxTokens": 700}, losses)


def test_an_older_model_gets_a_budget() -> None:
    wire, losses = made(foreign(model=SONNET, reasoning=ReasoningConfig(effort="low")))
    thinking = wire["additionalModelRequestFields"]["thinking"]
    assert thinking == {"type": "enabled", "budget_tokens": 2048}
    assert "outputConfig" not in wire
    assert losses == [("reasoning.effort", "adapted")]


@pytest.mark.parametrize("thinks", [False, True])
def test_top_k_goes_to_a_model_that_does_not_think(thinks: bool) -> None:
    reasoning = ReasoningConfig(effort="low") if thinks else None
    wire, losses = made(foreign(reasoning=reasoning, sampling=Sampling(top_k=7)))
    fields = wire["additionalModelRequestFields"]
    assert fields == ({"thinking": {"type": "adaptive"}} if thinks else {"top_k": 7})
    assert losses == ([("sampling.top_k", "dropped")] if thinks else [])
