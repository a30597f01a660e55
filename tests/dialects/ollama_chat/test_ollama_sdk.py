"""The official Python SDK reads what we write, and we what it asks: streams, bodies, errors."""

from __future__ import annotations

import functools
from typing import Any

import httpx
import ollama
import pytest

import recordings
from dialects.corpus import own_answers
from dialects.native_answers import answers, expected, streamed, whole
from dialects.pairs import NAMES, REPLY, answers_of
from llmitm.canon.events import Event, Fault, PartDelta, PartStart, Start
from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.statuses import STATUS_BY_KIND
from llmitm.dialects.catalog import DIALECTS

EVERY = 5
ASK: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
WORDS = {
    **dict.fromkeys(("stop", "stop_sequence", "tool_calls", "content_filter"), "stop"),
    **dict.fromkeys(("refusal", "pause", "error"), "stop"),
    "length": "length",
}


class Server:
    """What the transport answers, and the last request it got."""

    status, body = 200, b""
    asked = b""

    def reply(self, request: httpx.Request) -> httpx.Response:
        self.asked = request.read()
        media = {"content-type": "application/x-ndjson"}
        return httpx.Response(self.status, headers=media, content=self.body)


@functools.cache
def made() -> tuple[Server, ollama.Client]:
    server = Server()
    transport = httpx.MockTransport(server.reply)
    return server, ollama.Client(host="http://localhost:11434", transport=transport)


def client(body: bytes, status: int = 200) -> ollama.Client:
    server, sdk = made()
    server.body, server.status = body, status
    return sdk


def read(chunks: list[Any]) -> dict[str, Any]:
    """What these chunks, or the one whole answer, say."""
    messages = [chunk.message for chunk in chunks]
    last = chunks[-1]
    assert last.done
    assert not any(chunk.done for chunk in chunks[:-1])
    told = (last.prompt_eval_count, last.eval_count)
    return {
        "text": "".join(message.content or "" for message in messages),
        "thought": "".join(message.thinking or "" for message in messages),
        "calls": [
            (call.function.name, call.function.arguments)
            for message in messages
            for call in message.tool_calls or ()
        ],
        "finish": last.done_reason,
        "usage": None if told == (None, None) else (told[0] or 0, told[1] or 0),
    }


def troubles(events: list[Event], response: Response) -> dict[str, Any]:
    want = expected(response, WORDS)
    found = {
        "whole": read([client(whole("ollama_chat", response)).chat(**ASK)]),
        "streamed": read(list(client(streamed("ollama_chat", events)).chat(**ASK, stream=True))),
    }
    return {
        form: {name: (want[name], got[name]) for name in want if want[name] != got[name]}
        for form, got in found.items()
        if got != want
    }


@pytest.mark.parametrize("source", NAMES)
def test_the_sdk_reads_own_answers(source: str) -> None:
    checked = 0
    for name, events, response in answers(source, own_answers(source)):
        assert troubles(events, response) == {}, name
        checked += 1
    assert checked >= 3


@recordings.needs_corpus
@pytest.mark.parametrize("source", NAMES)
def test_the_sdk_reads_recorded_answers(source: str) -> None:
    wrong = {
        name: found
        for name, events, response in answers(source, answers_of(source)[::EVERY])
        if (found := troubles(events, response))
    }
    assert wrong == {}


@pytest.mark.parametrize("source", NAMES)
def test_the_generate_call(source: str) -> None:
    for name, events, response in answers(source, own_answers(source)):
        want = expected(response, WORDS)
        sdk = client(whole("ollama_generate", response))
        final = sdk.generate(model="m", prompt="hi")
        assert (final.response, final.thinking or "") == (want["text"], want["thought"]), name
        sdk = client(streamed("ollama_generate", events))
        chunks = list(sdk.generate(model="m", prompt="hi", stream=True))
        assert "".join(chunk.response or "" for chunk in chunks) == want["text"], name
        assert (chunks[-1].done, chunks[-1].done_reason) == (True, want["finish"]), name


@pytest.mark.parametrize("kind", ["context_length", "rate_limit", "not_found", "server"])
def test_errors(kind: Any) -> None:
    fault = Fault(kind=kind, message="it went wrong")
    status = STATUS_BY_KIND[fault.kind]
    sdk = client(DIALECTS["ollama_chat"].encode_error(fault), status)
    for stream in (False, True):
        with pytest.raises(ollama.ResponseError, match="it went wrong") as caught:
            list(sdk.chat(**ASK, stream=stream))
        assert caught.value.status_code == status


def test_an_error_inside_a_stream() -> None:
    events: list[Event] = [
        Start(dialect="openai_chat"),
        PartStart(0, Text(text="")),
        PartDelta(0, "text", "Hel"),
        Fault(kind="overloaded", message="too busy"),
    ]
    chunks = client(streamed("ollama_chat", events)).chat(**ASK, stream=True)
    assert next(chunks).message.content == "Hel"
    with pytest.raises(ollama.ResponseError, match="too busy"):
        next(chunks)


def test_a_heartbeat_adds_nothing() -> None:
    encoder = DIALECTS["ollama_chat"].stream_encoder(REPLY)
    body = encoder.heartbeat() + encoder.feed([PartDelta(0, "text", "Hi")]) + encoder.close()
    told = read(list(client(body).chat(**ASK, stream=True)))
    assert (told["text"], told["calls"]) == ("Hi", [])


def test_what_the_sdk_asks_is_read() -> None:
    def weather(city: str) -> str:
        """The weather.

        Args:
          city: where
        """
        return city

    sdk = client(b'{"model":"m","message":{"role":"assistant","content":""},"done":true}')
    call = {"function": {"name": "weather", "arguments": {"city": "Oslo"}}}
    sdk.chat(
        model="m",
        messages=[
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "Rain", "tool_name": "weather"},
        ],
        tools=[weather],
        options={"temperature": 0.5, "num_predict": 9, "stop": ["END"]},
        format={"type": "object"},
        think="low",
    )
    request: Request = DIALECTS["ollama_chat"].decode_request(made()[0].asked)
    assert [type(part) for message in request.messages for part in message.parts] == [
        Text, ToolCall, ToolResult,
    ]  # fmt: skip
    assert (request.tools[0].name, request.tools[0].description) == ("weather", "The weather.")
    sampling = request.sampling
    assert (sampling.temperature, sampling.max_tokens, sampling.stop) == (0.5, 9, ("END",))
    assert request.response_format is not None
    assert request.response_format.schema == {"type": "object"}
    assert request.reasoning is not None
    assert (request.reasoning.effort, request.stream) == ("low", False)
