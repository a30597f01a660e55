"""Requests of other protocols, said in the Messages API: what is sent and what is lost."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.features import FEATURES
from llmitm.canon.parts import (
    Media,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from llmitm.canon.request import (
    Message,
    Request,
    Tool,
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


def test_the_least_request() -> None:
    body, lost = sent(BASE)
    assert body == {
        "model": "m",
        "max_tokens": 8192,
        "messages": [{"role": "user", "content": "hi"}],
    }
    assert lost == []
    assert sent(BASE, Facts(max_tokens_default=99))[0]["max_tokens"] == 99


def test_a_tool_loop_is_paired_merged_and_ordered() -> None:
    request = replace(
        BASE,
        instructions=(Text(text="sys"),),
        messages=(
            said("developer", Text(text="dev")),
            said("user", Text(text="one")),
            said("user", Text(text="two")),
            said("assistant", Text(text=""), ToolCall(id="c:1", name="look", arguments='{"a":1}')),
            said("assistant", ToolCall(id="c2", name="look", arguments="")),
            said("tool", ToolResult(call_id="c2", parts=(Text(text="r2"),))),
            said("user", Text(text="and?")),
            said("tool", ToolResult(call_id="c:1", parts=(Text(text="r1"),), error=True)),
            said("assistant", ToolCall(id="c2", name="look", arguments="{}")),
        ),
        tools=(TOOL,),
    )
    body, lost = sent(request)
    assert body["system"] == [{"type": "text", "text": "sys"}, {"type": "text", "text": "dev"}]
    assert body["messages"] == [
        {
            "role": "user",
            "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "tool_use", "id": "c_1", "name": "look", "input": {"a": 1}},
                {"type": "tool_use", "id": "c2", "name": "look", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "c2", "content": "r2"},
                {"type": "tool_result", "tool_use_id": "c_1", "content": "r1", "is_error": True},
                {"type": "text", "text": "and?"},
            ],
        },
        {
            "role": "assistant",
            "content": [{"type": "tool_use", "id": "c2_2", "name": "look", "input": {}}],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "c2_2",
                    "content": "No result was given.",
                    "is_error": True,
                }
            ],
        },
    ]
    assert lost == []


def test_calls_without_ids_get_the_same_ones_every_time() -> None:
    request = replace(
        BASE,
        dialect="gemini_generate",
        tools=(TOOL, replace(TOOL, name="find")),
        messages=(
            HI,
            said(
                "assistant",
                ToolCall(id="", name="look", arguments="{}"),
                ToolCall(id="", name="find", arguments="{}"),
            ),
            said(
                "user",
                ToolResult(call_id="", name="find", parts=(Text(text="f"),)),
                ToolResult(call_id="", name="look", parts=(Text(text="l"),)),
            ),
        ),
    )
    body, lost = sent(request)
    calls, results = body["messages"][1]["content"], body["messages"][2]["content"]
    assert [call["id"] for call in calls] == ["toolu_1", "toolu_2"]
    assert [(r["tool_use_id"], r["content"]) for r in results] == [
        ("toolu_2", "f"),
        ("toolu_1", "l"),
    ]
    assert sent(request) == (body, lost)
    assert lost == []


def test_a_result_without_its_call_becomes_text() -> None:
    message = said("tool", ToolResult(call_id="gone", name="look", parts=(Text(text="r"),)))
    body, lost = sent(replace(BASE, messages=(HI, message)))
    assert [block["type"] for block in body["messages"][0]["content"]] == ["text"] * 3
    assert lost == ["part.unknown adapted"]


def test_history_with_calls_brings_definitions() -> None:
    call = said("assistant", ToolCall(id="c", name="look", arguments="{}"))
    result = said("tool", ToolResult(call_id="c", parts=(Text(text="r"),)))
    body, _ = sent(replace(BASE, messages=(HI, call, result)))
    assert body["tools"] == [{"name": "look", "input_schema": {"type": "object"}}]
    assert body["tool_choice"] == {"type": "none"}


PARTS: list[tuple[str, Part, Any, list[str]]] = [
    (
        "user",
        Media(kind="image", url="https://x/y.png", detail="low"),
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        ["part.image.detail dropped"],
    ),
    (
        "user",
        Media(kind="image", url="https://x/y.png", detail="auto"),
        {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}},
        [],
    ),
    (
        "user",
        Media(kind="image", url="data:image/jpg;base64,AA=="),
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": "AA=="}},
        [],
    ),
    (
        "user",
        Media(kind="image", mime="image/png", data="AA=="),
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
        [],
    ),
    ("user", Media(kind="image", mime="image/tiff", data="AA=="), None, ["part.image dropped"]),
    ("user", Media(kind="image", file_id="f"), None, ["part.image dropped"]),
    ("user", Media(kind="image", url="gs://b/x"), None, ["part.image dropped"]),
    ("user", Media(kind="audio", mime="audio/wav", data="AA=="), None, ["part.audio dropped"]),
    ("user", Media(kind="video", url="https://x"), None, ["part.video dropped"]),
    (
        "user",
        Media(kind="document", mime="application/pdf", data="AA==", name="n"),
        {
            "type": "document",
            "source": {"type": "base64", "media_type": "application/pdf", "data": "AA=="},
            "title": "n",
        },
        [],
    ),
    (
        "user",
        Media(kind="document", mime="text/csv", data="YSxi"),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "a,b"}},
        [],
    ),
    ("user", Media(kind="document", mime="text/csv", data="?"), None, ["part.document dropped"]),
    (
        "user",
        Media(kind="document", text="t"),
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "t"}},
        [],
    ),
    ("user", Text(text=" \n"), None, []),
    (
        "user",
        Text(text="a", extras={"cache_control": {"type": "ephemeral"}, "odd": 1, "null": None}),
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
        ["field dropped"],
    ),
    (
        "assistant",
        Text(text="a", annotations=({},), logprobs=[1], signature="s"),
        {"type": "text", "text": "a"},
        ["part.annotations dropped", "part.logprobs dropped", "part.reasoning.signature dropped"],
    ),
    ("assistant", Refusal(text="no"), {"type": "text", "text": "no"}, ["part.refusal adapted"]),
    ("assistant", Media(kind="image", url="https://x/y.png"), None, ["part.image dropped"]),
    ("assistant", Reasoning(text="t"), None, ["part.reasoning dropped"]),
    (
        "assistant",
        Reasoning(encrypted="e", dialect="openai_responses"),
        None,
        ["part.reasoning.signature dropped"],
    ),
    (
        "assistant",
        Reasoning(text="t", signature="s", dialect=NAME),
        {"type": "thinking", "thinking": "t", "signature": "s"},
        [],
    ),
    (
        "assistant",
        Reasoning(encrypted="e", dialect=NAME),
        {"type": "redacted_thinking", "data": "e"},
        [],
    ),
    ("user", Unknown(dialect="openai_chat", kind="odd", value={}), None, ["part.unknown dropped"]),
    (
        "user",
        Unknown(dialect=NAME, kind="container_upload", value={"type": "container_upload"}),
        {"type": "container_upload"},
        [],
    ),
]


@pytest.mark.parametrize(("role", "part", "block", "losses"), PARTS)
def test_parts(role: str, part: Part, block: Any, losses: list[str]) -> None:
    messages = (HI, said("assistant", Text(text="so")), said(role, part, Text(text="end")))
    body, lost = sent(replace(BASE, messages=messages))
    content = body["messages"][-1]["content"]
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    expected = [] if block is None else [block]
    before = [{"type": "text", "text": "so"}] if role == "assistant" else []
    assert content == [*before, *expected, {"type": "text", "text": "end"}]
    assert lost == losses


@pytest.mark.parametrize(
    ("call", "given", "losses"),
    [
        (ToolCall(id="c", name="look", arguments=""), {}, []),
        (
            ToolCall(id="c", name="look", arguments="[1]"),
            {"input": [1]},
            ["tool_call.arguments adapted"],
        ),
        (
            ToolCall(id="c", name="look", arguments='{"a"'),
            {"input": '{"a"'},
            ["tool_call.arguments adapted"],
        ),
        (
            ToolCall(id="c", name="look", arguments="x = 1", kind="custom"),
            {"input": "x = 1"},
            ["tool_call.custom adapted"],
        ),
        (
            ToolCall(id="c", name="look", arguments="{}", signature="s"),
            {},
            ["part.reasoning.signature dropped"],
        ),
    ],
)
def test_call_arguments(call: ToolCall, given: Any, losses: list[str]) -> None:
    body, lost = sent(replace(BASE, tools=(TOOL,), messages=(HI, said("assistant", call))))
    assert body["messages"][1]["content"][0]["input"] == given
    assert lost == losses


def test_results_keep_their_images() -> None:
    image = Media(kind="image", mime="image/png", data="AA==")
    request = replace(
        BASE,
        tools=(TOOL,),
        messages=(
            HI,
            said("assistant", ToolCall(id="c", name="look", arguments="{}")),
            said("tool", ToolResult(call_id="c", parts=(Text(text="see"), image))),
        ),
    )
    body, lost = sent(request)
    assert [b["type"] for b in body["messages"][2]["content"][0]["content"]] == ["text", "image"]
    assert lost == []


def test_system_text_in_mid_conversation() -> None:
    messages = (HI, said("system", Text(text="rule")), said("assistant", Text(text="ok ")))
    body, lost = sent(replace(BASE, messages=messages))
    assert [m["role"] for m in body["messages"]] == ["user", "assistant"]
    assert body["messages"][1]["content"] == "ok"
    assert lost == ["message.role adapted"]
    body, lost = sent(replace(BASE, messages=messages), Facts(extras={"mid_system": True}))
    assert [m["role"] for m in body["messages"]] == ["user", "system", "assistant"]
    assert lost == []


def test_a_conversation_always_has_a_user_first() -> None:
    body, lost = sent(replace(BASE, messages=(said("system", Text(text="s")),)))
    assert body["messages"] == [{"role": "user", "content": "s"}]
    assert "system" not in body
    assert lost == ["message.role adapted"]
    body, lost = sent(replace(BASE, messages=(said("assistant", Text(text="a")), HI)))
    assert [m["role"] for m in body["messages"]] == ["user", "assistant", "user"]
    assert lost == ["message.role adapted"]


def test_a_message_put_into_an_own_request_joins_its_neighbour() -> None:
    body = {"messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]}
    request = DIALECT.decode_request(json.dumps(body).encode())
    steered = replace(request, messages=(*request.messages, said("user", Text(text="c"))))
    written, _ = sent(steered)
    assert [m["content"] for m in written["messages"]] == [
        "a",
        [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}],
    ]
