"""`generationConfig`, tools and schemas one by one."""

from __future__ import annotations

from typing import Any

import pytest

from dialects.gemini_generate.material import body_of, forget
from llmitm.canon.request import ReasoningConfig, ResponseFormat, Sampling, Tool, ToolChoice
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.gemini_generate import DIALECT
from llmitm.dialects.gemini_generate.schema import json_schema

GEMINI = "gemini_generate"


def decode(**wire: Any) -> Any:
    return DIALECT.decode_request(body_of({"contents": [], **wire}))


def test_generation_config() -> None:
    request = decode(
        generation_config={
            "temperature": 1,
            "top_p": 0.5,
            "topK": 40.0,
            "max_output_tokens": 9,
            "stopSequences": ["a"],
            "seed": 3,
            "presencePenalty": 0.1,
            "frequencyPenalty": 0.2,
            "candidateCount": 2,
            "responseLogprobs": True,
            "logprobs": 4,
            "responseModalities": ["TEXT"],
            "thinking_config": {"include_thoughts": True, "thinking_budget": 100},
        }
    )
    assert request.sampling == Sampling(
        temperature=1,
        top_p=0.5,
        top_k=40,
        max_tokens=9,
        stop=("a",),
        seed=3,
        presence_penalty=0.1,
        frequency_penalty=0.2,
        n=2,
        logprobs=True,
        top_logprobs=4,
    )
    assert request.reasoning == ReasoningConfig(mode="on", budget_tokens=100, show="true")
    assert request.extras == {"generationConfig": {"responseModalities": ["TEXT"]}}


@pytest.mark.parametrize(
    ("wire", "config"),
    [
        ({"thinkingBudget": 0}, ReasoningConfig(mode="off", budget_tokens=0)),
        ({"thinkingBudget": -1}, ReasoningConfig(mode="adaptive", budget_tokens=-1)),
        ({"thinkingLevel": "LOW"}, ReasoningConfig(effort="low")),
        ({"thinking_level": "high"}, ReasoningConfig(effort="high")),
        ({"includeThoughts": False}, ReasoningConfig(show="false")),
        ({"thinkingLevel": "NEW"}, ReasoningConfig(extras={"thinkingLevel": "NEW"})),
    ],
)
def test_thinking(wire: dict[str, Any], config: ReasoningConfig) -> None:
    assert decode(generationConfig={"thinkingConfig": wire}).reasoning == config


@pytest.mark.parametrize(
    ("wire", "wish"),
    [
        ({"responseMimeType": "application/json"}, ResponseFormat(kind="json_object")),
        ({"responseMimeType": "text/plain"}, ResponseFormat(kind="text")),
        (
            {"response_mime_type": "application/json", "response_schema": {"type": "STRING"}},
            ResponseFormat(kind="json_schema", schema={"type": "string"}),
        ),
        (
            {"responseMimeType": "application/json", "responseJsonSchema": {"type": "object"}},
            ResponseFormat(kind="json_schema", schema={"type": "object"}),
        ),
        ({"responseMimeType": "text/x.enum", "responseSchema": {"type": "STRING"}}, None),
        ({"responseSchema": {"type": "STRING"}}, None),
    ],
)
def test_response_formats(wire: dict[str, Any], wish: ResponseFormat | None) -> None:
    request = decode(generationConfig=wire)
    assert request.response_format == wish
    anew = DIALECT.encode_request(forget(request), DEFAULT_FACTS)
    assert DIALECT.decode_request(anew.body) == request


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "STRING"}, {"type": "string"}),
        ({"type": "TYPE_UNSPECIFIED", "anyOf": [{"type": "NULL"}]}, {"anyOf": [{"type": "null"}]}),
        ({"type": "INTEGER", "nullable": True}, {"type": ["integer", "null"]}),
        (
            {"type": "STRING", "enum": ["a"], "nullable": True},
            {"type": ["string", "null"], "enum": ["a", None]},
        ),
        (
            {"anyOf": [{"type": "STRING"}], "nullable": True},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
        ),
        (
            {
                "type": "OBJECT",
                "properties": {"type": {"type": "ARRAY", "items": {"type": "NUMBER"}}},
                "propertyOrdering": ["type"],
                "minProperties": "1",
            },
            {
                "type": "object",
                "properties": {"type": {"type": "array", "items": {"type": "number"}}},
                "minProperties": 1,
            },
        ),
        (
            {"type": ["STRING", "NULL"], "default": "X"},
            {"type": ["string", "null"], "default": "X"},
        ),
        (True, True),
        (None, None),
    ],
)
def test_schemas(schema: Any, expected: Any) -> None:
    assert json_schema(schema) == expected


def test_tools() -> None:
    request = decode(
        tools=[
            {
                "functionDeclarations": [
                    {"name": "a", "description": "A", "parameters": {"type": "OBJECT"}},
                    {"name": "b", "parametersJsonSchema": {"type": "object"}},
                    {"name": "c", "parameters_json_schema": {"$ref": "#"}, "behavior": "BLOCKING"},
                    {"name": "d"},
                ],
                "google_search": {"x": 1},
            },
            {"codeExecution": {}},
        ]
    )
    assert request.tools == (
        Tool(name="a", description="A", parameters={"type": "object"}, dialect=GEMINI),
        Tool(name="b", parameters={"type": "object"}, dialect=GEMINI),
        Tool(name="c", parameters={"$ref": "#"}, dialect=GEMINI, extras={"behavior": "BLOCKING"}),
        Tool(name="d", dialect=GEMINI),
        Tool(
            kind="server",
            name="googleSearch",
            dialect=GEMINI,
            value={"google_search": {"x": 1}},
        ),
        Tool(kind="server", name="codeExecution", dialect=GEMINI, value={"codeExecution": {}}),
    )


@pytest.mark.parametrize(
    ("calling", "choice"),
    [
        ({"mode": "AUTO"}, ToolChoice(mode="auto", dialect=GEMINI)),
        ({"mode": "NONE"}, ToolChoice(mode="none", dialect=GEMINI)),
        ({"mode": "any"}, ToolChoice(mode="required", dialect=GEMINI)),
        ({"mode": 2}, ToolChoice(mode="required", dialect=GEMINI)),
        (
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
            ToolChoice(mode="named", names=("f",), dialect=GEMINI),
        ),
        (
            {"mode": "ANY", "allowed_function_names": ["f", "g"]},
            ToolChoice(mode="required", names=("f", "g"), dialect=GEMINI),
        ),
        (
            {"mode": "VALIDATED"},
            ToolChoice(mode="auto", dialect=GEMINI, value={"mode": "VALIDATED"}),
        ),
        (
            {"mode": "AUTO", "streamFunctionCallArguments": True},
            ToolChoice(mode="auto", dialect=GEMINI, extras={"streamFunctionCallArguments": True}),
        ),
    ],
)
def test_tool_choices(calling: dict[str, Any], choice: ToolChoice) -> None:
    request = decode(
        toolConfig={"functionCallingConfig": calling, "retrievalConfig": {"a": 1}},
        tools=[{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}],
    )
    assert request.tool_choice == choice
    assert request.extras == {"toolConfig": {"retrievalConfig": {"a": 1}}}
    anew = DIALECT.encode_request(forget(request), DEFAULT_FACTS)
    assert DIALECT.decode_request(anew.body) == request
