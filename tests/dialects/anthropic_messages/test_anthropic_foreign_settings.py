"""Requests of other protocols, sampling, thinking, tools and format in the Messages API."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.features import FEATURES
from llmitm.canon.parts import (
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.canon.values import DEFAULT_FACTS, Facts
from llmitm.dialects.anthropic_messages import DIALECT
from llmitm.dialects.anthropic_messages.tables import NAME

HI = Message(role="user", parts=(Text(text="hi"),))
TOOL = Tool(name="look", parameters={"type": "object", "properties": {}})
BASE = Request(dialect="openai_chat", model="m", messages=(HI,))


def sent(request: Request, facts: Facts = DEFAULT_FACTS) -> tuple[dict[str, Any], list[str]]:
    """(wire body, losses as `feature how`)."""
    encoded = DIALECT.encode_request(request, facts)
    for loss in encoded.losses:
        assert loss.feature in FEATURES
        assert loss.target == NAME
    return json.loads(encoded.body), [f"{x.feature} {x.how}" for x in encoded.losses]


def said(role: Any, *parts: Part) -> Message:
    return Message(role=role, parts=parts)


SETTINGS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({"sampling": Sampling(temperature=1.7)}, {"temperature": 1}, ["sampling.temperature adapted"]),
    ({"sampling": Sampling(temperature=-1)}, {"temperature": 0}, ["sampling.temperature adapted"]),
    (
        {"sampling": Sampling(temperature=0.3, top_p=0.5, top_k=7)},
        {"temperature": 0.3, "top_p": 0.5, "top_k": 7},
        [],
    ),
    ({"sampling": Sampling(stop=("a", " "))}, {"stop_sequences": ["a"]}, ["sampling.stop dropped"]),
    (
        {"sampling": Sampling(frequency_penalty=1, presence_penalty=1, seed=1, n=2, logprobs=True)},
        {},
        [
            f"sampling.{x} dropped"
            for x in ("frequency_penalty", "presence_penalty", "seed", "n", "logprobs")
        ],
    ),
    ({"sampling": Sampling(n=1, logprobs=False)}, {}, []),
    ({"stream": True}, {"stream": True}, []),
    (
        {"extras": {"user": "u", "service_tier": "default", "store": True, "tools": []}},
        {"metadata": {"user_id": "u"}, "service_tier": "standard_only"},
        ["field dropped"],
    ),
    ({"extras": {"service_tier": "flex"}}, {}, ["field dropped"]),
    ({"previous_response_id": "r"}, {}, ["previous_response_id dropped"]),
    (
        {"reasoning": ReasoningConfig(effort="high"), "sampling": Sampling(max_tokens=32000)},
        {"max_tokens": 32000, "thinking": {"type": "enabled", "budget_tokens": 16384}},
        ["reasoning.effort adapted"],
    ),
    (
        {"reasoning": ReasoningConfig(effort="high")},
        {"max_tokens": 8192 + 16384, "thinking": {"type": "enabled", "budget_tokens": 16384}},
        ["reasoning.effort adapted"],
    ),
    (
        {"reasoning": ReasoningConfig(effort="high"), "sampling": Sampling(max_tokens=1000)},
        {"max_tokens": 1000},
        ["reasoning.effort dropped"],
    ),
    (
        {
            "reasoning": ReasoningConfig(mode="on", budget_tokens=5000),
            "sampling": Sampling(max_tokens=4000),
        },
        {"max_tokens": 4000, "thinking": {"type": "enabled", "budget_tokens": 2000}},
        ["reasoning.budget_tokens adapted"],
    ),
    (
        {"reasoning": ReasoningConfig(mode="on", budget_tokens=100)},
        {"max_tokens": 8192 + 1024, "thinking": {"type": "enabled", "budget_tokens": 1024}},
        ["reasoning.budget_tokens adapted"],
    ),
    (
        {"reasoning": ReasoningConfig(budget_tokens=-1)},
        {"max_tokens": 16384, "thinking": {"type": "enabled", "budget_tokens": 8192}},
        [],
    ),
    ({"reasoning": ReasoningConfig(effort="none")}, {"thinking": {"type": "disabled"}}, []),
    (
        {"reasoning": ReasoningConfig(mode="off", budget_tokens=0)},
        {"thinking": {"type": "disabled"}},
        [],
    ),
    ({"reasoning": ReasoningConfig(show="auto")}, {}, []),
    (
        {"reasoning": ReasoningConfig(effort="low", show="auto"), "model": "claude-opus-4-8"},
        {
            "thinking": {"type": "adaptive", "display": "summarized"},
            "output_config": {"effort": "low"},
        },
        [],
    ),
    (
        {"reasoning": ReasoningConfig(effort="minimal", show="false"), "model": "claude-sonnet-5"},
        {
            "thinking": {"type": "adaptive", "display": "omitted"},
            "output_config": {"effort": "low"},
        },
        ["reasoning.effort adapted"],
    ),
    (
        {"reasoning": ReasoningConfig(budget_tokens=20000), "model": "claude-opus-4-6"},
        {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ["reasoning.budget_tokens adapted"],
    ),
    (
        {
            "reasoning": ReasoningConfig(effort="low"),
            "sampling": Sampling(temperature=0.5, top_k=1, top_p=0.5, max_tokens=9000),
        },
        {"max_tokens": 9000, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        [
            "reasoning.effort adapted",
            "sampling.temperature dropped",
            "sampling.top_k dropped",
            "sampling.top_p dropped",
        ],
    ),
    (
        {
            "response_format": ResponseFormat(
                kind="json_schema",
                name="n",
                schema={
                    "type": "object",
                    "properties": {
                        "a": {"type": "array", "items": {"type": "object", "properties": {}}}
                    },
                },
            )
        },
        {
            "output_config": {
                "format": {
                    "type": "json_schema",
                    "schema": {
                        "type": "object",
                        "properties": {
                            "a": {
                                "type": "array",
                                "items": {
                                    "type": "object",
                                    "properties": {},
                                    "additionalProperties": False,
                                },
                            }
                        },
                        "additionalProperties": False,
                    },
                }
            }
        },
        [],
    ),
    (
        {"response_format": ResponseFormat(kind="json_object")},
        {"system": "Answer with one JSON object and nothing else: no prose, no code fence."},
        ["response_format adapted"],
    ),
    ({"response_format": ResponseFormat(kind="text")}, {}, []),
]


@pytest.mark.parametrize(("change", "fields", "losses"), SETTINGS)
def test_settings(change: dict[str, Any], fields: dict[str, Any], losses: list[str]) -> None:
    request = replace(BASE, **change)
    body, lost = sent(request)
    rest = {k: v for k, v in body.items() if k not in ("model", "messages")}
    assert rest == {"max_tokens": 8192, **fields}
    assert lost == losses


TOOLS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    ({}, {}, []),
    (
        {"parallel_tool_calls": False},
        {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
        [],
    ),
    ({"parallel_tool_calls": True}, {}, []),
    ({"tool_choice": ToolChoice(mode="auto")}, {"tool_choice": {"type": "auto"}}, []),
    ({"tool_choice": ToolChoice(mode="required")}, {"tool_choice": {"type": "any"}}, []),
    (
        {"tool_choice": ToolChoice(mode="none"), "parallel_tool_calls": False},
        {"tool_choice": {"type": "none"}},
        [],
    ),
    (
        {"tool_choice": ToolChoice(mode="named", names=("look",))},
        {"tool_choice": {"type": "tool", "name": "look"}},
        [],
    ),
    ({"tool_choice": ToolChoice(mode="named", names=("gone",))}, {}, ["tool_choice adapted"]),
    (
        {"tool_choice": ToolChoice(mode="required", names=("look",))},
        {"tool_choice": {"type": "tool", "name": "look"}},
        [],
    ),
    (
        {"tool_choice": ToolChoice(mode="required", names=("look", "b"))},
        {"tool_choice": {"type": "any"}},
        ["tool_choice adapted"],
    ),
    ({"tool_choice": ToolChoice(mode="auto", dialect="x", value={})}, {}, ["tool_choice dropped"]),
    (
        {"tool_choice": ToolChoice(mode="required"), "reasoning": ReasoningConfig(effort="low")},
        {"tool_choice": {"type": "any"}},
        ["reasoning.mode dropped"],
    ),
]


@pytest.mark.parametrize(("change", "fields", "losses"), TOOLS)
def test_tool_choice(change: dict[str, Any], fields: dict[str, Any], losses: list[str]) -> None:
    body, lost = sent(replace(BASE, tools=(TOOL,), **change))
    rest = {k: v for k, v in body.items() if k not in ("model", "messages", "max_tokens", "tools")}
    assert rest == fields
    assert lost == losses


@pytest.mark.parametrize(
    ("tool", "written", "losses"),
    [
        (Tool(name="n"), {"name": "n", "input_schema": {"type": "object", "properties": {}}}, []),
        (
            Tool(name="n", parameters={"properties": {}}, description="d", strict=True),
            {
                "name": "n",
                "description": "d",
                "input_schema": {"type": "object", "properties": {}},
                "strict": True,
            },
            [],
        ),
        (
            Tool(name="n", parameters={"type": "object"}, strict=False),
            {"name": "n", "input_schema": {"type": "object"}},
            [],
        ),
        (
            Tool(name="n", kind="custom", format={"type": "grammar"}),
            {
                "name": "n",
                "input_schema": {
                    "type": "object",
                    "properties": {"input": {"type": "string"}},
                    "required": ["input"],
                    "additionalProperties": False,
                },
            },
            ["tool.custom adapted"],
        ),
        (
            Tool(name="n", kind="server", dialect="openai_responses", value={}),
            None,
            ["tool.server dropped"],
        ),
        (
            Tool(
                name="n",
                kind="server",
                dialect=NAME,
                value={"type": "bash_20250124", "name": "bash"},
            ),
            {"type": "bash_20250124", "name": "bash"},
            [],
        ),
    ],
)
def test_tools(tool: Tool, written: Any, losses: list[str]) -> None:
    body, lost = sent(replace(BASE, tools=(tool,)))
    assert body.get("tools", [None]) == [written]
    assert lost == losses


def test_thinking_waits_for_the_end_of_an_unsigned_tool_turn() -> None:
    call = ToolCall(id="c", name="look", arguments="{}")
    result = said("tool", ToolResult(call_id="c", parts=(Text(text="r"),)))
    request = replace(
        BASE,
        tools=(TOOL,),
        messages=(HI, said("assistant", call), result),
        reasoning=ReasoningConfig(effort="low"),
    )
    body, lost = sent(request)
    assert "thinking" not in body
    assert lost == ["reasoning.mode dropped"]
    signed = said("assistant", Reasoning(text="t", signature="s", dialect=NAME), call)
    body, lost = sent(replace(request, messages=(HI, signed, result)))
    assert body["thinking"]["type"] == "enabled"
    assert lost == ["reasoning.effort adapted"]
