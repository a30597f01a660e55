"""Requests of this protocol into canon and back, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.parts import Media, Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Sampling,
    ToolChoice,
)
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.openai_responses import DIALECT
from llmitm.dialects.openai_responses.tables import NAME
from llmitm.errors import ClientWireError

SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}


def decoded(wire: dict[str, Any]) -> Request:
    return DIALECT.decode_request(json.dumps(wire).encode())


def rewritten(wire: dict[str, Any]) -> Any:
    encoded = DIALECT.encode_request(decoded(wire), DEFAULT_FACTS)
    assert encoded.losses == ()
    return json.loads(encoded.body)


def test_every_field_finds_its_place() -> None:
    request = decoded(
        {
            "model": "gpt-x",
            "instructions": "be brief",
            "input": "hi",
            "temperature": 0.5,
            "top_p": 1,
            "max_output_tokens": 10,
            "top_logprobs": 2,
            "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
            "reasoning": {"effort": "low", "summary": "auto", "odd": 1},
            "text": {
                "verbosity": "low",
                "format": {"type": "json_schema", "name": "n", "schema": SCHEMA, "strict": True},
            },
            "tool_choice": {"type": "function", "name": "f"},
            "parallel_tool_calls": False,
            "previous_response_id": "resp_0",
            "stream": True,
            "store": False,
            "service_tier": None,
        }
    )
    assert request.instructions == (Text(text="be brief"),)
    assert request.messages == (Message(role="user", parts=(Text(text="hi"),)),)
    assert request.sampling == Sampling(
        temperature=0.5, top_p=1, max_tokens=10, top_logprobs=2, logprobs=True
    )
    assert request.reasoning == ReasoningConfig(effort="low", show="auto", extras={"odd": 1})
    assert request.response_format == ResponseFormat(
        kind="json_schema", name="n", schema=SCHEMA, strict=True
    )
    assert request.tool_choice == ToolChoice(mode="named", names=("f",), dialect=NAME)
    assert (request.parallel_tool_calls, request.stream) == (False, True)
    assert request.previous_response_id == "resp_0"
    assert request.extras == {
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "store": False,
        "service_tier": None,
    }
    assert request.verbosity == "low"


ITEMS: list[tuple[Any, str, Any]] = [
    ({"role": "user", "content": "a"}, "user", Text(text="a")),
    ({"role": "developer", "content": [{"type": "input_text", "text": "a"}]}, "developer", None),
    (
        {
            "type": "message",
            "role": "assistant",
            "id": "msg_1",
            "status": "completed",
            "phase": "commentary",
            "content": [
                {"type": "output_text", "text": "a", "annotations": [], "logprobs": None},
                {"type": "refusal", "refusal": "no", "x": 1},
            ],
        },
        "assistant",
        None,
    ),
    (
        {
            "role": "user",
            "content": [{"type": "input_image", "image_url": "data:image/png;base64,A"}],
        },
        "user",
        Media(kind="image", mime="image/png", data="A"),
    ),
    (
        {
            "role": "user",
            "content": [{"type": "input_image", "image_url": "https://x/y", "detail": "low"}],
        },
        "user",
        Media(kind="image", url="https://x/y", detail="low"),
    ),
    (
        {"role": "user", "content": [{"type": "input_file", "file_data": "QUI=", "filename": "a"}]},
        "user",
        Media(kind="document", data="QUI=", name="a"),
    ),
    (
        {
            "role": "user",
            "content": [{"type": "input_file", "file_url": "https://x", "file_id": "f"}],
        },
        "user",
        Media(kind="document", url="https://x", extras={"file_id": "f"}),
    ),
    (
        {
            "role": "user",
            "content": [
                {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "mp3"}},
            ],
        },
        "user",
        Media(kind="audio", mime="audio/mp3", data="QQ=="),
    ),
    (
        {
            "type": "function_call",
            "id": None,
            "call_id": "c",
            "name": "f",
            "arguments": "{}",
            "ns": 1,
        },
        "assistant",
        ToolCall(id="c", name="f", arguments="{}", extras={"id": None, "ns": 1}),
    ),
    (
        {"type": "custom_tool_call", "call_id": "c", "name": "exec", "input": "ls"},
        "assistant",
        ToolCall(id="c", name="exec", arguments="ls", kind="custom"),
    ),
    (
        {"type": "function_call_output", "call_id": "c", "output": "42", "id": "o"},
        "tool",
        ToolResult(call_id="c", parts=(Text(text="42"),), item_id="o"),
    ),
    (
        {
            "type": "custom_tool_call_output",
            "call_id": "c",
            "output": [
                {"type": "input_text", "text": "42"},
                {"type": "input_image", "file_id": "file_1"},
            ],
        },
        "tool",
        ToolResult(
            call_id="c",
            kind="custom",
            parts=(Text(text="42"), Media(kind="image", file_id="file_1")),
        ),
    ),
    (
        {"type": "reasoning", "id": "rs", "summary": [], "encrypted_content": "e", "content": None},
        "assistant",
        Reasoning(
            summary=True, item_id="rs", encrypted="e", dialect=NAME, extras={"content": None}
        ),
    ),
    ({"type": "function_call", "call_id": "c", "name": "f", "arguments": {}}, "assistant", None),
    ({"type": "item_reference", "id": "msg_1"}, "assistant", None),
    ({"type": "computer_call_output", "call_id": "c", "output": {}}, "tool", None),
    ({"type": "mcp_approval_response", "approve": True}, "tool", None),
    ({"type": "additional_tools", "role": "developer", "tools": []}, "developer", None),
    ({"role": "critic", "content": "x"}, "user", None),
    ({"role": "user"}, "user", None),
    ({"role": "user", "content": []}, "user", None),
    ({"role": "user", "content": [{"type": "input_video", "x": 1}, 5]}, "user", None),
]


@pytest.mark.parametrize(("item", "role", "part"), ITEMS)
def test_items(item: Any, role: str, part: Any) -> None:
    wire = {"model": "m", "input": [item]}
    (message,) = decoded(wire).messages
    assert message.role == role
    if part is not None:
        assert message.parts == (part,)
    assert rewritten(wire) == wire


@pytest.mark.parametrize(
    "wire",
    [
        {"input": []},
        {"model": "m"},
        {"model": "m", "input": None, "tools": []},
        {"model": "m", "input": "x", "tools": None, "instructions": None, "reasoning": None},
        {"model": "m", "input": "x", "reasoning": {}, "text": {}},
        {"model": "m", "input": "x", "text": {"format": {"type": "grammar", "x": 1}}},
        {"model": "m", "input": "x", "tool_choice": {"type": "mcp", "server_label": "s"}},
        {"model": "m", "input": "x", "tool_choice": {"type": "custom", "name": "exec"}},
        {
            "model": "m",
            "input": "x",
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [{"type": "function", "name": "f"}, {"type": "web_search"}],
            },
        },
        {
            "model": "m",
            "input": "x",
            "tools": [
                {"type": "function", "name": "f", "strict": None, "parameters": None},
                {"type": "custom", "name": "exec", "format": {"type": "text"}},
                {"type": "namespace", "name": "functions", "tools": [{"type": "custom"}]},
                {"type": "mcp", "server_label": "s", "require_approval": "never"},
                {"name": "nameless kind"},
            ],
        },
        {"type": "response.create", "model": "m", "input": [], "generate": False},
        {"model": "m", "input": "x", "temperature": "hot", "top_p": None, "store": None},
    ],
)
def test_written_as_read(wire: dict[str, Any]) -> None:
    assert rewritten(wire) == wire


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b'{"model":1}', "/model"),
        (b'{"input":1}', "/input"),
        (b'{"input":["x"]}', "/input/0"),
        (b'{"tools":{}}', "/tools"),
        (b'{"tools":[{},1]}', "/tools/1"),
        (b'{"stream":"yes"}', "/stream"),
        (b"\xff\xfe", ""),
        (b"[" * 200_000, ""),
    ],
)
def test_wrong_shapes(body: bytes, pointer: str) -> None:
    with pytest.raises(ClientWireError) as caught:
        DIALECT.decode_request(body)
    assert caught.value.pointer == pointer


def test_byte_order_mark_and_space() -> None:
    assert DIALECT.decode_request(b'\xef\xbb\xbf \n{"model":"m","input":"x"}').model == "m"
