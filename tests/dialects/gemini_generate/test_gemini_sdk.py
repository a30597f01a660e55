"""Google's own SDK reads what is written here: streams, whole bodies, errors; and is read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from google import genai
from google.genai import errors, types

from dialects.gemini_generate.material import STREAMS, events_of, frames_of, media_type, name_of
from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
    Usage,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Media, Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.turns import reasoning_of, text_of
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.contract import Reply
from llmitm.dialects.gemini_generate import DIALECT

EVENTS: list[Event] = [
    Start("msg_1", "claude-5", 7, dialect="anthropic_messages"),
    Usage(input_tokens=30, cache_read_tokens=10),
    PartStart(0, Reasoning(dialect="anthropic_messages")),
    PartDelta(0, "reasoning", "let me "),
    PartDelta(0, "reasoning", "see"),
    PartDetail(index=0, signature="sig"),
    PartEnd(0),
    PartStart(1, Text(text="")),
    PartDelta(1, "text", "It is\n\u2028"),
    PartDelta(1, "text", " 21 °C."),
    PartEnd(1),
    PartStart(2, ToolCall(id="c1", name="weather", arguments="")),
    PartStart(3, ToolCall(id="c2", name="time", arguments="")),
    PartDelta(2, "arguments", '{"city": "Ber'),
    PartDelta(3, "arguments", "{}"),
    PartDelta(2, "arguments", 'lin", "n": [1, 2.5]}'),
    PartEnd(2),
    PartEnd(3),
    Finish("tool_calls", "tool_use"),
    Usage(output_tokens=12, reasoning_tokens=5),
    End(),
]


def client(status: int, kind: str, chunks: Iterable[bytes], seen: list[Any] | None = None) -> Any:
    """An SDK client that gets this answer to whatever it sends."""
    body = list(chunks)

    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return httpx.Response(status, headers={"content-type": kind}, content=iter(body))

    return genai.Client(
        api_key="k",
        vertexai=False,
        http_options=types.HttpOptions(
            httpx_client=httpx.Client(transport=httpx.MockTransport(answer))
        ),
    )


def streamed(events: list[Event], *, beat: bool = False) -> list[Any]:
    encoder = DIALECT.stream_encoder(Reply(model="m"))
    pieces = [encoder.heartbeat()] if beat else []
    for event in events:
        pieces.append(encoder.feed([event]))
        if beat:
            pieces.append(encoder.heartbeat())
    pieces.append(encoder.close())
    sdk = client(200, "text/event-stream", [piece for piece in pieces if piece])
    return list(sdk.models.generate_content_stream(model="gemini-3-pro", contents="hi"))


def parts_of(chunks: list[Any]) -> list[Any]:
    return [
        part
        for chunk in chunks
        for candidate in chunk.candidates or []
        for part in (candidate.content.parts if candidate.content else None) or []
    ]


def check(chunks: list[Any]) -> None:
    parts = parts_of(chunks)
    assert "".join(p.text for p in parts if p.text and p.thought) == "let me see"
    assert "".join(p.text for p in parts if p.text and not p.thought) == "It is\n\u2028 21 °C."
    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.id, call.name, call.args) for call in calls] == [
        ("c1", "weather", {"city": "Berlin", "n": [1, 2.5]}),
        ("c2", "time", {}),
    ]
    last = chunks[-1]
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    usage = last.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count) == (30, 7)
    assert (usage.thoughts_token_count, usage.cached_content_token_count) == (5, 10)
    assert usage.total_token_count == 42
    assert {chunk.model_version for chunk in chunks} == {"claude-5"}
    assert {chunk.response_id for chunk in chunks} == {"msg_1"}


@pytest.mark.parametrize("beat", [False, True], ids=["plain", "with heartbeats"])
def test_the_sdk_reads_a_translated_stream(beat: bool) -> None:
    check(streamed(EVENTS, beat=beat))


def test_the_sdk_reads_a_translated_answer() -> None:
    body = DIALECT.encode_response(fold(EVENTS), Reply()).body
    sdk = client(200, "application/json", [body])
    check([sdk.models.generate_content(model="gemini-3-pro", contents="hi")])


# The SDK does not know enums as integers, which other clients ask for in the address.
WORDED = [exchange for exchange in STREAMS if "enum-encoding=int" not in unquote(exchange["path"])]


@pytest.mark.parametrize("exchange", WORDED, ids=name_of)
def test_the_sdk_reads_every_recording_written_anew(exchange: dict[str, Any]) -> None:
    body = exchange["response_body"].encode()
    events = events_of(frames_of(DIALECT.stream_decoder(media_type(body)), body))
    answer = fold(events)
    chunks = streamed(events)
    parts = parts_of(chunks)
    choice = answer.choices[0]
    assert "".join(p.text for p in parts if p.text and not p.thought) == text_of(choice.parts)
    assert "".join(p.text for p in parts if p.text and p.thought) == reasoning_of(choice.parts)
    assert [
        (part.function_call.name, part.function_call.args or {})
        for part in parts
        if part.function_call
    ] == [
        (part.name, json.loads(part.arguments or "{}"))
        for part in choice.parts
        if isinstance(part, ToolCall)
    ]
    assert answer.usage is not None
    usage = chunks[-1].usage_metadata
    assert usage.total_token_count == answer.usage.total_tokens
    assert usage.thoughts_token_count == answer.usage.reasoning_tokens
    assert chunks[-1].candidates[0].finish_reason is not None


FAULT = Fault(kind="rate_limit", message="slow down", retry_after_s=3)


def test_the_sdk_raises_an_error_body() -> None:
    sdk = client(429, "application/json", [DIALECT.encode_error(FAULT)])
    with pytest.raises(errors.ClientError) as told:
        sdk.models.generate_content(model="gemini-3-pro", contents="hi")
    assert (told.value.code, told.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert told.value.message == "slow down"


@pytest.mark.parametrize("begun", [0, 10])
def test_the_sdk_raises_an_error_in_the_stream(begun: int) -> None:
    with pytest.raises(errors.ServerError) as told:
        streamed([*EVENTS[:begun], Fault(kind="overloaded", message="busy")])
    assert (told.value.code, told.value.status, told.value.message) == (503, "UNAVAILABLE", "busy")


def test_what_the_sdk_sends_is_read() -> None:
    seen: list[httpx.Request] = []
    body = DIALECT.encode_response(fold(EVENTS), Reply()).body
    sdk = client(200, "application/json", [body], seen)
    call = types.Part.from_function_call(name="f", args={"a": 1})
    call.thought_signature = b"sig"
    sdk.models.generate_content(
        model="gemini-3-pro",
        contents=[
            "hi",
            types.Part.from_bytes(data=b"\x00", mime_type="image/png"),
            types.Content(role="model", parts=[call]),
            types.Part.from_function_response(name="f", response={"output": "x"}),
        ],
        config=types.GenerateContentConfig(
            system_instruction="be brief",
            temperature=0.5,
            tools=[
                types.Tool(
                    function_declarations=[
                        types.FunctionDeclaration(
                            name="f",
                            parameters=types.Schema(
                                type=types.Type.OBJECT,
                                properties={"a": types.Schema(type=types.Type.INTEGER)},
                            ),
                        )
                    ]
                )
            ],
            tool_config=types.ToolConfig(
                function_calling_config=types.FunctionCallingConfig(
                    mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["f"]
                )
            ),
            thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_budget=7),
        ),
    )
    sent = seen[0].content
    request = DIALECT.decode_request(sent)
    assert [type(part) for message in request.messages for part in message.parts] == [
        Text,
        Media,
        ToolCall,
        ToolResult,
    ]
    assert text_of(request.instructions) == "be brief"
    assert request.tools[0].parameters == {
        "type": "object",
        "properties": {"a": {"type": "integer"}},
    }
    assert request.tool_choice is not None
    assert (request.tool_choice.mode, request.tool_choice.names) == ("named", ("f",))
    assert request.reasoning is not None
    assert (request.reasoning.budget_tokens, request.reasoning.show) == (7, "true")
    encoded = DIALECT.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == json.loads(sent)
