"""Requests of the Messages API: nothing recorded is lost, wrong shapes are told by place."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recordings
from llmitm.canon.parts import Media, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.anthropic_messages import DIALECT
from llmitm.errors import ClientWireError


def recorded_requests() -> list[dict[str, Any]]:
    found = [x["request_json"] for x in recordings.load("anthropic-messages")]
    found += [
        x["request_json"]
        for x in recordings.load("other")
        if x["protocol"] == "anthropic-count-tokens"
        or (x["protocol"] == "bedrock-invoke" and "anthropic" in x["path"])
    ]
    return [body for body in found if isinstance(body, dict)]


def normal(body: dict[str, Any]) -> dict[str, Any]:
    """The one declared difference: an explicit `"stream": false` is what its absence means."""
    return {k: v for k, v in body.items() if not (k == "stream" and v is False)}


def there_and_back(body: dict[str, Any]) -> dict[str, Any]:
    encoded = DIALECT.encode_request(
        DIALECT.decode_request(json.dumps(body).encode()), DEFAULT_FACTS
    )
    assert encoded.losses == ()
    return json.loads(encoded.body)


@recordings.needs_corpus
def test_every_recorded_request_comes_back_as_it_was() -> None:
    bodies = recorded_requests()
    assert len(bodies) > 300
    for body in bodies:
        assert there_and_back(body) == normal(body)


@recordings.needs_corpus
def test_encoding_is_stable() -> None:
    for body in recorded_requests()[::20]:
        request = DIALECT.decode_request(json.dumps(body).encode())
        assert len({DIALECT.encode_request(request, DEFAULT_FACTS).body for _ in range(10)}) == 1


USER = {"role": "user", "content": "hi"}
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": ""},
    {"type": "text", "text": "a", "citations": []},
    {"type": "text", "text": "a", "citations": None, "cache_control": None},
    {"type": "text", "text": "a", "citations": [{"type": "char_location", "start_char_index": 1}]},
    {"type": "text", "text": 7},
    {"type": "thinking", "thinking": "t", "signature": "s", "new": 1},
    {"type": "thinking", "thinking": "t"},
    {"type": "thinking", "thinking": "t", "signature": None},
    {"type": "redacted_thinking", "data": "xx"},
    {
        "type": "tool_use",
        "id": "t",
        "name": "n",
        "input": {"a": [1, 2.5, None]},
        "caller": {"type": "direct"},
    },
    {"type": "tool_use", "id": "t", "name": "n", "input": "text"},
    {"type": "tool_use", "id": "t", "name": "n", "input": None},
    {"type": "tool_use", "id": "t", "name": "n"},
    {"type": "tool_result", "tool_use_id": "t"},
    {"type": "tool_result", "tool_use_id": "t", "content": []},
    {"type": "tool_result", "tool_use_id": "t", "content": None, "is_error": None},
    {"type": "tool_result", "tool_use_id": "t", "content": ""},
    {
        "type": "tool_result",
        "tool_use_id": "t",
        "content": [{"type": "text", "text": "r"}],
        "is_error": False,
    },
    {
        "type": "tool_result",
        "tool_use_id": "t",
        "is_error": True,
        "content": [
            {
                "type": "image",
                "source": {"type": "base64", "media_type": "image/png", "data": "AA"},
            },
            {"type": "tool_reference", "tool_name": "x"},
            {"type": "search_result", "source": "s", "title": "t", "content": []},
        ],
    },
    {
        "type": "image",
        "source": {"type": "url", "url": "https://x/y.png"},
        "cache_control": {"type": "ephemeral"},
    },
    {"type": "image", "source": {"type": "file", "file_id": "f"}, "transformations": {"a": 1}},
    {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "AA", "x": 1},
    },
    {"type": "image", "source": {"type": "new", "x": 1}},
    {"type": "image", "source": "odd"},
    {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": "AA"},
        "title": "T",
    },
    {
        "type": "document",
        "source": {"type": "text", "media_type": "text/plain", "data": "d"},
        "title": None,
    },
    {"type": "document", "source": {"type": "url", "url": "https://x/y.pdf"}, "context": "c"},
    {
        "type": "document",
        "source": {"type": "file", "file_id": "f"},
        "citations": {"enabled": True},
    },
    {"type": "document", "source": {"type": "content", "content": "plain"}, "title": "T"},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
    {
        "type": "document",
        "source": {"type": "content", "content": [{"type": "image", "source": {}}]},
    },
    {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
    {"type": "mcp_tool_use", "id": "m", "name": "n", "server_name": "s", "input": {}},
    {"type": "container_upload", "file_id": "f"},
    {"type": "compaction", "content": "c"},
    {"type": "advisor_tool_result", "tool_use_id": "x", "content": {}},
    {"no_type": 1},
    {"type": None},
]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: json.dumps(block)[:50])
def test_every_block_comes_back_as_it_was(block: dict[str, Any]) -> None:
    body = {"model": "m", "max_tokens": 1, "messages": [{"role": "user", "content": [block]}]}
    assert there_and_back(body) == body
    body = {
        "model": "m",
        "system": [block],
        "messages": [{"role": "assistant", "content": [block], "x": 1}],
    }
    assert there_and_back(body) == body


FIELDS: list[dict[str, Any]] = [
    {"system": "text"},
    {"system": ""},
    {"system": []},
    {"system": None},
    {"stream": True},
    {"stream": None},
    {"temperature": 0, "top_p": 0.5, "top_k": 4, "stop_sequences": ["a"], "max_tokens": 0},
    {"temperature": "hot", "top_k": 1.5, "stop_sequences": ["a", 1], "max_tokens": True},
    {"stop_sequences": []},
    {"thinking": {"type": "enabled", "budget_tokens": 2048, "display": "omitted"}},
    {
        "thinking": {"type": "adaptive", "display": None, "new": 1},
        "output_config": {"effort": "max"},
    },
    {"thinking": {"type": "disabled"}, "output_config": {}},
    {"thinking": {"type": "between_tools"}, "output_config": {"effort": None, "task_budget": {}}},
    {"thinking": {"type": "enabled", "budget_tokens": "many"}},
    {
        "output_config": {
            "format": {"type": "json_schema", "schema": {"type": "object"}, "x": 1},
            "y": 2,
        }
    },
    {"output_config": {"format": {"type": "grammar"}, "effort": "low"}},
    {"output_format": {"type": "json_schema", "schema": {}}},
    {"output_format": {"type": "json_schema", "schema": {}, "name": "n"}},
    {"output_format": {"json_schema": {"name": "n"}, "type": "json_schema"}},
    {
        "output_format": {"type": "json_schema", "schema": {}},
        "output_config": {"format": {"type": "json_schema", "schema": {"a": 1}}},
    },
    {"tools": []},
    {"tools": None},
    {
        "tools": [
            {"name": "n", "input_schema": {"type": "object"}, "strict": True, "type": "custom"}
        ]
    },
    {
        "tools": [
            {
                "name": "n",
                "input_schema": {},
                "description": None,
                "strict": None,
                "defer_loading": True,
            }
        ]
    },
    {
        "tools": [
            {
                "name": "n",
                "input_schema": {},
                "input_examples": [{}],
                "cache_control": {"type": "ephemeral"},
            }
        ]
    },
    {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 3}]},
    {"tools": [{"type": "mcp_toolset", "mcp_server_name": "s"}, {"name": "n"}]},
    {"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    {"tool_choice": {"type": "any", "new": 1}},
    {"tool_choice": {"type": "tool", "name": "n", "disable_parallel_tool_use": False}},
    {"tool_choice": {"type": "none"}},
    {"tool_choice": {"type": "tool"}},
    {"tool_choice": {"type": "browse"}},
    {"tool_choice": None},
    {"metadata": {"user_id": "{}"}, "service_tier": "auto", "container": {"skills": []}},
    {
        "mcp_servers": [{}],
        "context_management": {"edits": []},
        "diagnostics": {"previous_message_id": None},
    },
    {
        "speed": "fast",
        "inference_geo": "us",
        "cache_control": {"type": "ephemeral"},
        "anthropic_version": "v",
    },
]


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: json.dumps(fields)[:60])
def test_every_field_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    body = {"model": "m", "messages": [USER], **fields}
    assert there_and_back(body) == body


def test_what_the_parts_say() -> None:
    content = [
        {"type": "text", "text": "a"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA"}},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"b": "ü", "a": 1}},
        {"type": "tool_result", "tool_use_id": "t", "content": "r", "is_error": True},
        {"type": "thinking", "thinking": "t", "signature": "s"},
        {"type": "compaction", "content": "c"},
    ]
    body = {"messages": [{"role": "user", "content": content}], "system": "be brief"}
    request = DIALECT.decode_request(b"\xef\xbb\xbf \n" + json.dumps(body).encode())
    text, image, call, result, thought, unknown = request.messages[0].parts
    assert text == Text(text="a")
    assert text.at == ("messages", 0, "content", 0, "text")
    assert image == Media(kind="image", mime="image/png", data="AA")
    assert call == ToolCall(id="t", name="n", arguments='{"b":"ü","a":1}')
    assert result == ToolResult(call_id="t", parts=(Text(text="r"),), error=True)
    assert thought == Reasoning(text="t", signature="s", dialect="anthropic_messages")
    assert unknown == Unknown(dialect="anthropic_messages", kind="compaction", value=content[5])
    assert unknown.at == ("messages", 0, "content", 5)
    assert request.instructions[0].at == ("system",)
    assert request.model == ""


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b'{"a": NaN}', ""),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
        (b"{}", "/messages"),
        (b'{"messages": {}}', "/messages"),
        (b'{"messages": [], "model": 7}', "/model"),
        (b'{"messages": [1]}', "/messages/0"),
        (b'{"messages": [{"content": "x"}]}', "/messages/0/role"),
        (b'{"messages": [{"role": "tool", "content": "x"}]}', "/messages/0/role"),
        (b'{"messages": [{"role": "user"}]}', "/messages/0/content"),
        (b'{"messages": [{"role": "user", "content": {}}]}', "/messages/0/content"),
    ],
)
def test_a_wrong_shape_is_told_by_its_place(body: bytes, pointer: str) -> None:
    with pytest.raises(ClientWireError) as caught:
        DIALECT.decode_request(body)
    assert caught.value.pointer == pointer


def test_lone_surrogates_survive() -> None:
    body = b'{"messages": [{"role": "user", "content": "a\\ud83d"}]}'
    encoded = DIALECT.encode_request(DIALECT.decode_request(body), DEFAULT_FACTS)
    assert json.loads(encoded.body) == json.loads(body)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "text", "content", "source", "input", "id", "name", "role", "x"]
            ),
            inner
            | st.sampled_from(["text", "image", "tool_use", "tool_result", "document", "tool"]),
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {
            "messages": st.lists(
                st.fixed_dictionaries(
                    {
                        "role": st.just("user"),
                        "content": st.text(max_size=2) | st.lists(JSON, max_size=3),
                    }
                ),
                max_size=3,
            )
        },
        optional={
            k: JSON
            for k in (
                "system",
                "tools",
                "tool_choice",
                "thinking",
                "output_config",
                "output_format",
                "stop_sequences",
                "temperature",
                "zzz",
            )
        },
    )
)
@settings(max_examples=150, deadline=None)
def test_any_shape_comes_back_or_is_refused(body: dict[str, Any]) -> None:
    request = DIALECT.decode_request(json.dumps(body).encode())
    encoded = DIALECT.encode_request(request, DEFAULT_FACTS)
    if not encoded.losses:
        assert json.loads(encoded.body) == body


def test_blocks_that_are_no_objects_are_told_as_losses() -> None:
    body = b'{"messages": [{"role": "user", "content": ["x"]}], "tools": ["y"]}'
    losses = DIALECT.encode_request(DIALECT.decode_request(body), DEFAULT_FACTS).losses
    assert [(loss.feature, loss.path) for loss in losses] == [
        ("part.unknown", "/messages/0/content/0"),
        ("tool.server", "/tools/0"),
    ]
