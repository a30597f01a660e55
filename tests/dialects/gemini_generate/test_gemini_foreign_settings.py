"""Settings and tools of other protocols as Gemini's."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.features import FEATURES
from llmitm.canon.parts import Part, Text, Unknown
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.canon.values import DEFAULT_FACTS, Facts, Loss
from llmitm.dialects.gemini_generate import CODE_ASSIST, DIALECT

Told = list[tuple[str, str, str]]


def say(role: Role, *parts: Part | str) -> Message:
    return Message(role=role, parts=tuple(Text(text=p) if isinstance(p, str) else p for p in parts))


def foreign(*messages: Message, **rest: Any) -> Request:
    rest.setdefault("model", "gemini-2.5-flash")
    return Request(dialect="openai_chat", messages=messages, **rest)


def encode(request: Request, facts: Facts = DEFAULT_FACTS) -> tuple[Any, Told]:
    encoded = DIALECT.encode_request(request, facts)
    for loss in encoded.losses:
        assert loss.target == "gemini_generate"
        assert loss.feature in FEATURES
    DIALECT.decode_request(encoded.body)
    return json.loads(encoded.body), told(encoded.losses)


def told(losses: tuple[Loss, ...]) -> Told:
    return [(loss.feature, loss.path, loss.how) for loss in losses]


def test_tools_and_the_choice() -> None:
    schema = {"type": "object", "$defs": {}, "additionalProperties": False}
    body, losses = encode(
        foreign(
            say("user", "a"),
            tools=(
                Tool(name="f", description="F", parameters=schema, strict=True, at=("tools", 0)),
                Tool(kind="custom", name="g", format={"type": "grammar"}, at=("tools", 1)),
                Tool(kind="server", name="web_search", dialect="openai_chat", at=("tools", 2)),
            ),
            tool_choice=ToolChoice(mode="named", names=("f",)),
            parallel_tool_calls=False,
        )
    )
    assert body["tools"] == [
        {
            "functionDeclarations": [
                {"name": "f", "description": "F", "parametersJsonSchema": schema},
                {
                    "name": "g",
                    "parametersJsonSchema": {
                        "type": "object",
                        "properties": {"input": {"type": "string"}},
                        "required": ["input"],
                    },
                },
            ]
        }
    ]
    assert body["toolConfig"] == {
        "functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["f"]}
    }
    assert losses == [
        ("tool.strict", "/tools/0/strict", "dropped"),
        ("tool.custom", "/tools/1", "adapted"),
        ("tool.server", "/tools/2", "dropped"),
        ("parallel_tool_calls", "", "dropped"),
    ]


def test_a_server_tool_alone_has_a_counterpart() -> None:
    tool = Tool(kind="server", name="web_search_20250305", dialect="anthropic_messages")
    body, losses = encode(foreign(say("user", "a"), tools=(tool,)))
    assert body["tools"] == [{"googleSearch": {}}]
    assert losses == [("tool.server", "", "adapted")]


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice(mode="auto"), {"mode": "AUTO"}),
        (ToolChoice(mode="none"), {"mode": "NONE"}),
        (ToolChoice(mode="required"), {"mode": "ANY"}),
        (
            ToolChoice(mode="required", names=("f", "g")),
            {"mode": "ANY", "allowedFunctionNames": ["f", "g"]},
        ),
    ],
)
def test_tool_choices(choice: ToolChoice, wire: Any) -> None:
    body, losses = encode(foreign(say("user", "a"), tools=(Tool(name="f"),), tool_choice=choice))
    assert body["toolConfig"]["functionCallingConfig"] == wire
    assert losses == []
    body, losses = encode(foreign(say("user", "a"), tool_choice=choice))
    assert "toolConfig" not in body
    assert (losses != []) == (choice.mode == "required")


@pytest.mark.parametrize(
    ("config", "wire", "lost"),
    [
        (ReasoningConfig(effort="none"), {"thinkingBudget": 0}, []),
        (ReasoningConfig(effort="low"), {"thinkingLevel": "LOW"}, []),
        (ReasoningConfig(effort="max"), {"thinkingLevel": "XHIGH"}, ["reasoning.effort adapted"]),
        (ReasoningConfig(effort="new"), None, ["reasoning.effort dropped"]),
        (ReasoningConfig(mode="off"), {"thinkingBudget": 0}, []),
        (
            ReasoningConfig(mode="on", budget_tokens=2048),
            {"thinkingBudget": 2048, "includeThoughts": True},
            [],
        ),
        (
            ReasoningConfig(mode="adaptive", effort="high"),
            {"thinkingLevel": "HIGH", "includeThoughts": True},
            [],
        ),
        (
            ReasoningConfig(mode="adaptive"),
            {"thinkingBudget": -1, "includeThoughts": True},
            [],
        ),
        (
            ReasoningConfig(mode="on", budget_tokens=10, effort="low", show="omitted"),
            {"thinkingBudget": 10, "includeThoughts": False},
            ["reasoning.effort dropped"],
        ),
        (ReasoningConfig(show="auto"), {"includeThoughts": True}, []),
    ],
)
def test_reasoning(config: ReasoningConfig, wire: Any, lost: list[str]) -> None:
    body, losses = encode(foreign(say("user", "a"), reasoning=config))
    assert body.get("generationConfig", {}).get("thinkingConfig") == wire
    assert [f"{feature} {how}" for feature, _, how in losses] == lost


def test_effort_as_a_budget_where_models_know_no_levels() -> None:
    facts = Facts(reasoning="budget", effort_budgets={"low": 1024})
    body, losses = encode(foreign(reasoning=ReasoningConfig(effort="low")), facts)
    assert body["generationConfig"] == {"thinkingConfig": {"thinkingBudget": 1024}}
    assert losses == [("reasoning.effort", "", "adapted")]


def test_sampling_and_the_form_of_the_answer() -> None:
    schema = {"type": "object"}
    body, losses = encode(
        foreign(
            say("user", "a"),
            sampling=Sampling(
                temperature=3,
                top_p=1,
                top_k=5,
                max_tokens=7,
                stop=tuple("abcdef"),
                n=2,
                seed=1,
                logprobs=True,
                top_logprobs=3,
                frequency_penalty=0.5,
                presence_penalty=-0.5,
            ),
            response_format=ResponseFormat(kind="json_schema", schema=schema, name="x"),
        )
    )
    assert body["generationConfig"] == {
        "temperature": 2.0,
        "topP": 1,
        "topK": 5,
        "maxOutputTokens": 7,
        "stopSequences": list("abcde"),
        "candidateCount": 2,
        "seed": 1,
        "responseLogprobs": True,
        "logprobs": 3,
        "frequencyPenalty": 0.5,
        "presencePenalty": -0.5,
        "responseMimeType": "application/json",
        "responseJsonSchema": schema,
    }
    assert losses == [
        ("sampling.temperature", "", "adapted"),
        ("sampling.stop", "", "adapted"),
    ]


def test_other_fields_are_losses() -> None:
    body, losses = encode(
        foreign(
            Message(
                role="user",
                name="joe",
                parts=(Text(text="a"),),
                extras={"weight": 1, "empty": None},
                at=("messages", 0),
            ),
            extras={"user": "u", "service_tier": "flex", "metadata": {}},
            previous_response_id="r",
        )
    )
    assert body["serviceTier"] == "flex"
    assert losses == [
        ("message.name", "/messages/0/name", "dropped"),
        ("field", "/messages/0/weight", "dropped"),
        ("previous_response_id", "/previous_response_id", "dropped"),
        ("field", "/user", "dropped"),
    ]


def test_code_assist_wraps() -> None:
    encoded = CODE_ASSIST.encode_request(
        foreign(say("user", "a"), model="models/gemini-3-pro"), Facts(extras={"project": "p"})
    )
    assert json.loads(encoded.body) == {
        "model": "gemini-3-pro",
        "project": "p",
        "request": {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
    }


def test_plain_becomes_code_assist_without_loss() -> None:
    wire = {"contents": [{"parts": [{"text": "a"}]}], "safetySettings": []}
    request = DIALECT.decode_request(json.dumps(wire).encode())
    encoded = CODE_ASSIST.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == {"model": "", "request": wire}
    assert encoded.losses == ()


def test_roles_alternate_where_a_message_was_lost() -> None:
    odd = Unknown(dialect="openai_responses", kind="web_search_call", value={})
    body, _ = encode(foreign(say("user", "a"), say("assistant", odd), say("user", "b")))
    assert body["contents"] == [{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}]
