"""What a body looks like, told from its top alone; recorded traffic is the judge."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.dialects.recognise import (
    answer_dialect,
    frame_dialect,
    request_dialect,
    same_family,
    shape_of,
    stream_dialect,
)
from recordings import load, needs_corpus

FILES = {
    "openai_chat": "openai-chat",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic-messages",
    "gemini_generate": "gemini",
}

REQUESTS: list[tuple[Any, str]] = [
    ({"model": "m", "messages": [{"role": "user", "content": "hi"}]}, ""),
    ({"messages": [], "max_tokens": 5}, ""),
    ({"messages": [{"role": "system", "content": "x"}]}, "openai_chat"),
    ({"messages": [], "stream_options": {}}, "openai_chat"),
    ({"messages": [], "tools": [{"type": "function", "function": {}}]}, "openai_chat"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "openai_chat"),
    ({"messages": [], "system": "x"}, "anthropic_messages"),
    ({"messages": [], "tools": [{"name": "a", "input_schema": {}}]}, "anthropic_messages"),
    (
        {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
        "anthropic_messages",
    ),
    ({"model": "m", "input": "hi"}, "openai_responses"),
    ({"type": "response.create", "response": {}}, "openai_responses"),
    ({"contents": []}, "gemini_generate"),
    ({"model": "m", "request": {"contents": []}}, "gemini_code_assist"),
    ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "bedrock_converse"),
    ({"messages": [], "keep_alive": "5m"}, "ollama_chat"),
    ([], ""),
    ("text", ""),
    (None, ""),
    ({"messages": [1, {"content": [2, {"type": 3}]}], "tools": [4]}, ""),
]

ANSWERS: list[tuple[Any, str]] = [
    ({"choices": []}, "openai_chat"),
    ({"object": "chat.completion.chunk"}, "openai_chat"),
    ({"object": "response", "output": []}, "openai_responses"),
    ({"type": "response.created"}, "openai_responses"),
    ({"type": "error", "code": "x", "message": "y"}, "openai_responses"),
    ({"type": "message", "content": []}, "anthropic_messages"),
    ({"type": "content_block_delta", "delta": {}}, "anthropic_messages"),
    ({"type": "error", "error": {"type": "overloaded_error"}}, "anthropic_messages"),
    ({"candidates": []}, "gemini_generate"),
    ([{"candidates": []}], "gemini_generate"),
    ({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED"}}, "gemini_generate"),
    ({"response": {"candidates": []}}, "gemini_code_assist"),
    ({"message": {"role": "assistant"}, "done": False}, "ollama_chat"),
    ({"response": "a", "done": True}, "ollama_generate"),
    ({"output": {"message": {}}, "stopReason": "end_turn"}, "bedrock_converse"),
    ({"error": {"message": "x", "type": "invalid_request_error"}}, ""),
    ({"type": 3, "choices": 4, "error": "no"}, ""),
    (7, ""),
]


@pytest.mark.parametrize(("value", "name"), REQUESTS)
def test_requests(value: Any, name: str) -> None:
    assert request_dialect(value) == name


@pytest.mark.parametrize(("value", "name"), ANSWERS)
def test_answers(value: Any, name: str) -> None:
    assert answer_dialect(value) == name
    assert frame_dialect(json.dumps(value).encode()) == name


@pytest.mark.parametrize(
    ("body", "shape"),
    [
        (b'{"model":"m","messages":[]}', "request"),
        (b'\xef\xbb\xbf \n{"contents":[]}', "request"),
        (b'{"choices":[]}', "answer"),
        (b'{"error":{"message":"x"}}', "answer"),
        (b'{"error":"x"}', "answer"),
        (b"data: {}\n\n", "sse"),
        (b": comment\r\n\r\nevent: ping\r\n", "sse"),
        (b"[{}]", "array"),
        (b'[{"candidates"', "array"),
        (b'{"message":{},"done":false}\n{"message":{},"done":true}\n', "lines"),
        (b'{"a":1}', ""),
        (b'{"choices":', ""),
        (b"", ""),
        (b"hello", ""),
        (b"7", ""),
        (b"\xff\xfe\x00", ""),
    ],
)
def test_shapes(body: bytes, shape: str) -> None:
    assert shape_of(body) == shape


def test_a_stream_is_told_by_its_first_telling_event() -> None:
    body = b': hello\n\ndata: {"error":{"message":"x"}}\n\ndata: {"type":"message_stop"}\n\n'
    assert stream_dialect(body, "sse") == "anthropic_messages"
    assert stream_dialect(b"data: [DONE]\n\n", "sse") == ""
    assert stream_dialect(b'[{"candidates":[]}', "array") == "gemini_generate"


def test_what_may_be_read_as_what() -> None:
    assert same_family("openai_chat", "openai_chat")
    assert same_family("openai_chat", "")
    assert same_family("gemini_code_assist", "gemini_generate")
    assert same_family("bedrock_invoke", "anthropic_messages")
    assert same_family("ollama_chat", "ollama_generate")
    assert not same_family("openai_chat", "openai_responses")


@needs_corpus
@pytest.mark.parametrize(("name", "file"), FILES.items())
def test_recorded_exchanges_are_never_taken_for_another_protocol(name: str, file: str) -> None:
    """Answers that went well are all recognised; a request or an error may stay undecided."""
    for exchange in load(file):
        body = exchange["response_body"].encode()
        shape = shape_of(body)
        if shape in ("sse", "array"):
            seen = stream_dialect(body, shape)
        else:
            seen = answer_dialect(json.loads(body))
        assert seen == name or (seen == "" and exchange["status"] >= 400), exchange["id"]
        if exchange["request_json"] is not None:
            assert request_dialect(exchange["request_json"]) in ("", name), exchange["id"]
            assert shape_of(json.dumps(exchange["request_json"]).encode()) == "request"
