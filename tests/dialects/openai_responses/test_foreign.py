"""Requests of other protocols in the words of this one, with their losses."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.features import FEATURES
from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.openai_responses import DIALECT
from llmitm.dialects.openai_responses.tables import NAME

SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}


def foreign(
    dialect: str = "anthropic_messages", **fields: Any
) -> tuple[Any, list[tuple[str, str]]]:
    fields = {"model": "m", "messages": (), **fields}
    encoded = DIALECT.encode_request(Request(dialect=dialect, **fields), DEFAULT_FACTS)
    assert all(loss.feature in FEATURES and loss.target == NAME for loss in encoded.losses)
    return json.loads(encoded.body), [(loss.feature, loss.path) for loss in encoded.losses]


def test_a_foreign_conversation() -> None:
    messages = (
        Message(role="system", parts=(Text(text="rules"),)),
        Message(
            role="user",
            parts=(
                Text(
                    text="look", extras={"cache_control": {"type": "ephemeral"}}, at=("a", "text")
                ),
                Media(kind="image", mime="image/png", data="AAAA", detail="low"),
            ),
        ),
        Message(
            role="assistant",
            parts=(
                Reasoning(text="hm", signature="s", dialect="anthropic_messages"),
                Text(text="calling"),
                ToolCall(id="t1", name="f", arguments=""),
                ToolCall(id="t2", name="exec", arguments="ls", kind="custom"),
            ),
        ),
        Message(
            role="user",
            parts=(
                ToolResult(call_id="t1", parts=(Text(text="42"),), error=True),
                ToolResult(call_id="t2", parts=(Text(text="a"), Text(text="b"))),
                Text(text="go on"),
            ),
        ),
        Message(role="assistant", parts=(Refusal(text="no"),)),
    )
    wire, losses = foreign(messages=messages, instructions=(Text(text="one"), Text(text="two")))
    assert wire["instructions"] == "one\n\ntwo"
    assert wire["store"] is False
    assert wire["input"] == [
        {"role": "system", "content": "rules"},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "look"},
                {
                    "type": "input_image",
                    "image_url": "data:image/png;base64,AAAA",
                    "detail": "low",
                },
            ],
        },
        {"role": "assistant", "content": "calling"},
        {"type": "function_call", "call_id": "t1", "name": "f", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "t2", "name": "exec", "input": "ls"},
        {"type": "function_call_output", "call_id": "t1", "output": "42"},
        {
            "type": "custom_tool_call_output",
            "call_id": "t2",
            "output": [
                {"type": "input_text", "text": "a"},
                {"type": "input_text", "text": "b"},
            ],
        },
        {"role": "user", "content": "go on"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
    ]
    assert losses == [
        ("field", "/a/cache_control"),
        ("part.reasoning", ""),
        ("part.reasoning.signature", ""),
        ("tool_result.error", ""),
    ]


def test_ids_that_are_missing_are_made_in_order() -> None:
    call = Message(
        role="assistant",
        parts=tuple(ToolCall(id="", name=name, arguments="{}") for name in ("f", "g", "f")),
    )
    results = Message(
        role="user",
        parts=tuple(
            ToolResult(call_id="", name=name, parts=(Text(text=name),)) for name in ("f", "g", "f")
        ),
    )
    wire, losses = foreign("gemini_generate", messages=(call, results, call, results))
    ids = [(item["type"], item["call_id"]) for item in wire["input"]]
    assert [i for t, i in ids if t == "function_call"] == [f"call_{n}" for n in range(1, 7)]
    assert [i for t, i in ids if t != "function_call"] == [f"call_{n}" for n in range(1, 7)]
    assert [item["output"] for item in wire["input"] if "output" in item][:3] == ["f", "g", "f"]
    assert losses == []


def test_own_reasoning_comes_back_through_a_foreign_request() -> None:
    thought = Reasoning(
        text="short", summary=True, encrypted="e", item_id="rs_1", dialect=NAME, extras={"x": 1}
    )
    wire, losses = foreign(messages=(Message(role="assistant", parts=(thought,)),))
    assert wire["input"] == [
        {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [{"type": "summary_text", "text": "short"}],
            "x": 1,
            "encrypted_content": "e",
        }
    ]
    assert losses == []


MEDIA: list[tuple[Media, Any, list[str]]] = [
    (Media(kind="image", data="/9j/x"), {"image_url": "data:image/jpeg;base64,/9j/x"}, []),
    (Media(kind="image", url="gs://x"), None, ["part.image"]),
    (Media(kind="image", file_id="file_1"), None, ["part.image"]),
    (Media(kind="video", url="https://x"), None, ["part.video"]),
    (
        Media(kind="audio", data="A", mime="audio/wav"),
        {"input_audio": {"data": "A", "format": "wav"}},
        [],
    ),
    (Media(kind="audio", url="https://x"), None, ["part.audio"]),
    (
        Media(kind="document", data="A"),
        {"file_data": "data:application/pdf;base64,A", "filename": "document.pdf"},
        [],
    ),
    (
        Media(kind="document", url="https://x", name="n"),
        {"file_url": "https://x", "filename": "n"},
        [],
    ),
    (Media(kind="document", text="body", name="n"), {"text": "n\n\nbody"}, ["part.document"]),
    (
        Media(kind="image", url="https://x", detail="ultra"),
        {"image_url": "https://x"},
        ["part.image.detail"],
    ),
]


@pytest.mark.parametrize(("media", "wire", "lost"), MEDIA)
def test_foreign_media(media: Media, wire: Any, lost: list[str]) -> None:
    text = Text(text="t")
    made, losses = foreign(messages=(Message(role="user", parts=(text, media)),))
    content = made["input"][0]["content"]
    if wire is None:
        assert content == "t"
    else:
        part = {k: v for k, v in content[1].items() if k != "type"}
        assert part == wire
    assert [feature for feature, _ in losses] == lost


def test_file_ids_of_the_same_family() -> None:
    media = Media(kind="image", file_id="file_1")
    made, losses = foreign("openai_chat", messages=(Message(role="user", parts=(media,)),))
    assert made["input"][0]["content"] == [{"type": "input_image", "file_id": "file_1"}]
    assert losses == []


def test_foreign_settings() -> None:
    wire, losses = foreign(
        "openai_chat",
        sampling=Sampling(
            temperature=1, seed=3, stop=("x",), n=1, max_tokens=5, logprobs=True, top_logprobs=1
        ),
        tools=(
            Tool(name="f", description="d", parameters=SCHEMA),
            Tool(name="g", strict=True),
            Tool(
                kind="custom",
                name="exec",
                format={"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
            ),
            Tool(kind="server", name="web", dialect="openai_chat", value={"type": "web"}),
        ),
        tool_choice=ToolChoice(mode="required", names=("f", "exec")),
        parallel_tool_calls=True,
        response_format=ResponseFormat(kind="json_schema", schema=SCHEMA),
        reasoning=ReasoningConfig(effort="low"),
        verbosity="low",
        extras={
            "user": "u",
            "service_tier": "flex",
            "logit_bias": {"1": 2},
            "store": True,
            "modalities": None,
        },
        stream=True,
        stream_usage=True,
    )
    assert wire == {
        "model": "m",
        "input": [],
        "tools": [
            {
                "type": "function",
                "name": "f",
                "description": "d",
                "parameters": SCHEMA,
                "strict": False,
            },
            {
                "type": "function",
                "name": "g",
                "parameters": {"type": "object", "properties": {}},
                "strict": True,
            },
            {
                "type": "custom",
                "name": "exec",
                "format": {"type": "grammar", "syntax": "lark", "definition": "x"},
            },
        ],
        "tool_choice": {
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "f"}, {"type": "custom", "name": "exec"}],
        },
        "parallel_tool_calls": True,
        "temperature": 1,
        "max_output_tokens": 5,
        "top_logprobs": 1,
        "reasoning": {"effort": "low"},
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "text": {
            "format": {"type": "json_schema", "name": "answer", "schema": SCHEMA},
            "verbosity": "low",
        },
        "user": "u",
        "service_tier": "flex",
        "store": True,
        "stream": True,
    }
    assert losses == [
        ("tool.server", ""),
        ("sampling.seed", ""),
        ("sampling.stop", ""),
        ("field", "/logit_bias"),
    ]


@pytest.mark.parametrize(
    ("config", "wire", "lost"),
    [
        (ReasoningConfig(mode="off"), {"effort": "none"}, []),
        (
            ReasoningConfig(mode="on", budget_tokens=1024),
            {"effort": "low", "summary": "auto"},
            ["reasoning.budget_tokens"],
        ),
        (
            ReasoningConfig(mode="on", budget_tokens=32000),
            {"effort": "high", "summary": "auto"},
            ["reasoning.budget_tokens"],
        ),
        (ReasoningConfig(budget_tokens=-1), None, ["reasoning.budget_tokens"]),
        (
            ReasoningConfig(mode="adaptive", effort="high", show="omitted"),
            {"effort": "high"},
            ["reasoning.mode"],
        ),
        (ReasoningConfig(show="detailed"), {"summary": "detailed"}, []),
        (ReasoningConfig(show="true", budget_tokens=0), None, ["reasoning.budget_tokens"]),
    ],
)
def test_foreign_reasoning(config: ReasoningConfig, wire: Any, lost: list[str]) -> None:
    made, losses = foreign(reasoning=config)
    if config.budget_tokens == 0:
        wire = {"effort": "none", "summary": "auto"}
    assert made.get("reasoning") == wire
    assert [feature for feature, _ in losses] == lost


def test_anthropic_fields() -> None:
    wire, losses = foreign(
        extras={
            "metadata": {"user_id": "u" * 64, "more": 1},
            "service_tier": "standard_only",
            "context_management": {"edits": []},
        },
        tool_choice=ToolChoice(mode="auto"),
    )
    assert (wire["safety_identifier"], wire["service_tier"]) == ("u" * 64, "default")
    assert "tool_choice" not in wire
    assert losses == [("field", "/metadata/more"), ("field", "/context_management")]


def test_what_a_stage_added_and_the_protocol_lacks_is_told() -> None:
    request = Request(
        dialect=NAME,
        model="m",
        messages=(
            Message(
                role="assistant",
                parts=(
                    Unknown(dialect="gemini_generate", kind="x", value={}),
                    Reasoning(text="t", dialect="anthropic_messages"),
                ),
            ),
        ),
        sampling=Sampling(top_k=3),
    )
    encoded = DIALECT.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body)["input"] == []
    assert [loss.feature for loss in encoded.losses] == [
        "part.unknown",
        "part.reasoning",
        "sampling.top_k",
    ]
