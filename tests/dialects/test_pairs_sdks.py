"""The official SDKs, in their normal mode, read answers of every other protocol as recorded."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import httpx2
import openai
import pytest
from google import genai
from google.genai import types

import recordings
from dialects.corpus import own_answers
from dialects.pairs import (
    PAIRS,
    REPLY,
    answers_of,
    arguments_of,
    calls_in,
    events_in,
    first_choice,
    said,
)
from dialects.test_pairs_answers import as_stream, first_answer
from llmitm.canon.fold import fold
from llmitm.canon.parts import ToolCall
from llmitm.canon.response import Response
from llmitm.dialects.catalog import DIALECTS

EVERY = 3
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "x"}]}


class Server:
    """What a transport answers; `body` is changed between calls, so that a client is made once."""

    body = b""
    media = ""

    def httpx_reply(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": self.media}, content=self.body)

    def httpx2_reply(self, request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(200, headers={"content-type": self.media}, content=self.body)


@functools.cache
def server() -> Server:
    return Server()


@functools.cache
def openai_client() -> openai.OpenAI:
    transport = httpx.MockTransport(server().httpx_reply)
    client = httpx.Client(transport=transport)
    return openai.OpenAI(
        api_key="k", base_url="http://localhost/v1", max_retries=0, http_client=client
    )


@functools.cache
def anthropic_client() -> anthropic.Anthropic:
    transport = httpx2.MockTransport(server().httpx2_reply)
    client = httpx2.Client(transport=transport)
    return anthropic.Anthropic(
        api_key="k", base_url="http://localhost", max_retries=0, http_client=client
    )


@functools.cache
def gemini_client() -> genai.Client:
    client = httpx.Client(transport=httpx.MockTransport(server().httpx_reply))
    return genai.Client(
        api_key="k", vertexai=False, http_options=types.HttpOptions(httpx_client=client)
    )


def by_chat(stream: bool) -> dict[str, Any]:
    chat = openai_client().chat.completions
    if stream:
        return joined(list(chat.create(**ASK, stream=True)))
    final = chat.create(**ASK)
    choice: Any = final.choices[0]
    calls = [
        (call.function.name, arguments_of(call.function.arguments))
        if call.type == "function"
        else (call.custom.name, call.custom.input)
        for call in choice.message.tool_calls or []
    ]
    usage = final.usage
    return {
        "text": (choice.message.content or "") + (choice.message.refusal or ""),
        "calls": calls,
        "finish": choice.finish_reason,
        "usage": (usage.prompt_tokens, usage.completion_tokens) if usage else None,
    }


def joined(chunks: list[Any]) -> dict[str, Any]:
    """What the chunks of a chat stream say: `chat.stream()` raises on `length` by design."""
    told: dict[str, Any] = {"text": "", "calls": [], "finish": None, "usage": None}
    calls: dict[int, list[str]] = {}
    for chunk in chunks:
        if chunk.usage is not None:
            told["usage"] = (chunk.usage.prompt_tokens, chunk.usage.completion_tokens)
        for choice in chunk.choices:
            if choice.index:
                continue
            delta = choice.delta
            told["text"] += (delta.content or "") + (delta.refusal or "")
            told["finish"] = choice.finish_reason or told["finish"]
            for call in delta.tool_calls or []:
                # The SDK's types know functions alone here; free text comes as extra fields.
                said = call.function.to_dict() if call.function else call.to_dict()["custom"]
                pieces = calls.setdefault(call.index, ["", "", "function"])
                pieces[0] += said.get("name") or ""
                pieces[1] += said.get("arguments") or said.get("input") or ""
                pieces[2] = "function" if call.function else "custom"
    told["calls"] = [
        (name, arguments_of(text) if kind == "function" else text)
        for name, text, kind in calls.values()
    ]
    return told


def by_responses(stream: bool) -> dict[str, Any]:
    ask: dict[str, Any] = {"model": "m", "input": "x"}
    if stream:
        with openai_client().responses.stream(**ask) as events:
            # The helper parses what it accumulates; the last event holds the whole response.
            *_, last = events
            final: Any = last.response
    else:
        final = openai_client().responses.create(**ask)
    text: list[str] = []
    calls: list[tuple[str, Any]] = []
    for item in final.output:
        if item.type == "message":
            text += [
                piece.refusal if piece.type == "refusal" else piece.text for piece in item.content
            ]
        elif item.type == "function_call":
            calls.append((item.name, arguments_of(item.arguments)))
        elif item.type == "custom_tool_call":
            calls.append((item.name, item.input))
    usage, details = final.usage, final.incomplete_details
    return {
        "text": "".join(text),
        "calls": calls,
        "finish": details.reason if final.status == "incomplete" else final.status,
        "usage": (usage.input_tokens, usage.output_tokens) if usage else None,
    }


def by_anthropic(stream: bool) -> dict[str, Any]:
    ask: dict[str, Any] = {**ASK, "max_tokens": 9}
    if stream:
        with anthropic_client().messages.stream(**ask) as events:
            final: Any = events.get_final_message()
    else:
        final = anthropic_client().messages.create(**ask)
    usage = final.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return {
        "text": "".join(block.text for block in final.content if block.type == "text"),
        "calls": [(b.name, b.input) for b in final.content if b.type == "tool_use"],
        "finish": final.stop_reason,
        "usage": (usage.input_tokens + cached, usage.output_tokens),
    }


def by_gemini(stream: bool) -> dict[str, Any]:
    models = gemini_client().models
    ask: dict[str, Any] = {"model": "gemini-3-pro", "contents": "x"}
    chunks: list[Any] = (
        list(models.generate_content_stream(**ask)) if stream else [models.generate_content(**ask)]
    )
    first = [
        candidate for chunk in chunks for candidate in chunk.candidates or [] if not candidate.index
    ]
    parts = [
        part for candidate in first if candidate.content for part in candidate.content.parts or []
    ]
    finishes = [candidate.finish_reason for candidate in first if candidate.finish_reason]
    usages = [chunk.usage_metadata for chunk in chunks if chunk.usage_metadata]
    usage = usages[-1] if usages else None
    made = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0) if usage else 0
    return {
        "text": "".join(part.text for part in parts if part.text and not part.thought),
        "calls": [
            (part.function_call.name, part.function_call.args or {})
            for part in parts
            if part.function_call
        ],
        "finish": finishes[-1].value if finishes else None,
        "usage": (usage.prompt_token_count or 0, made) if usage else None,
    }


READERS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "openai_chat": by_chat,
    "openai_responses": by_responses,
    "anthropic_messages": by_anthropic,
    "gemini_generate": by_gemini,
}
# What each SDK must say for a canonical finish; calls turn `stop` into the word for calls.
WORDS: dict[str, dict[str, str]] = {
    "openai_chat": {
        "stop": "stop", "length": "length", "tool_calls": "tool_calls",
        "content_filter": "content_filter", "refusal": "stop", "pause": "stop", "unknown": "stop",
    },
    "openai_responses": {
        "stop": "completed", "length": "max_output_tokens", "tool_calls": "completed",
        "content_filter": "content_filter", "refusal": "completed", "pause": "completed",
        "unknown": "completed",
    },
    "anthropic_messages": {
        "stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use",
        "content_filter": "refusal", "refusal": "refusal", "pause": "pause_turn",
        "unknown": "end_turn",
    },
    "gemini_generate": {
        "stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY",
        "refusal": "SAFETY", "pause": "STOP", "unknown": "OTHER",
    },
}  # fmt: skip


def expected(response: Response, target: str) -> dict[str, Any]:
    """What a reader must find: as recorded, in the words of the target."""
    parts = first_choice(response)
    calls = calls_in(parts)
    if target in ("anthropic_messages", "gemini_generate"):
        calls = [wrapped(part) for part in parts if isinstance(part, ToolCall)]
    finish = response.choices[0].finish if response.choices else None
    reason = finish.reason if finish else "stop"
    if reason in ("stop", "tool_calls", "unknown") and calls:
        reason = "tool_calls"
    usage = response.usage
    return {
        "text": said(parts),
        "calls": calls,
        "finish": WORDS[target][reason],
        "usage": usage and (usage.input_tokens or 0, usage.output_tokens or 0),
    }


def wrapped(call: ToolCall) -> tuple[str, Any]:
    """Arguments where they must be an object: free text stands in one."""
    if call.kind == "custom":
        return call.name, {"input": call.arguments}
    return call.name, arguments_of(call.arguments)


def troubles(source: str, target: str, answer: tuple[str, bool, bytes]) -> dict[str, Any]:
    _, stream, body = answer
    events = first_answer(events_in(source, body, stream=stream))
    response = fold(events)
    if response.fault is not None or not response.choices:
        return {}
    want = expected(response, target)
    wrong: dict[str, Any] = {}
    for streamed in (True, False):
        if streamed:
            server().body, _ = as_stream(target, events)
            server().media = "text/event-stream"
        else:
            server().body = DIALECTS[target].encode_response(response, REPLY).body
            server().media = "application/json"
        got = READERS[target](streamed)
        if target == "gemini_generate" and response.choices[0].finish is None:
            # Gemini tells an answer that broke off by telling no reason.
            got["finish"] = got["finish"] or want["finish"]
        if want["usage"] is None and got["usage"] in (None, (0, 0)):
            got["usage"] = None
        if got != want:
            wrong["streamed" if streamed else "whole"] = {
                name: (want[name], got[name]) for name in want if want[name] != got[name]
            }
    return wrong


@recordings.needs_corpus
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_sdk_reads_recorded_answers(source: str, target: str) -> None:
    answers = answers_of(source)[::EVERY]
    wrong = {answer[0]: found for answer in answers if (found := troubles(source, target, answer))}
    assert wrong == {}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_the_sdk_reads_own_answers(source: str, target: str) -> None:
    for answer in own_answers(source):
        assert troubles(source, target, answer) == {}, answer[0]
