"""Paths, wrappers, and the ways to choose a scenario."""

from __future__ import annotations

import json

import httpx
import pytest

from llmitm.sim.routing import place_of
from llmitm.sim.threads import SimThread
from sim.asking import events, question, streamed_text, text_of

GENERATING = [
    ("/v1/chat/completions", "openai_chat"),
    ("/openai/deployments/d/chat/completions?api-version=1", "openai_chat"),
    ("/api/v1/chat/completions", "openai_chat"),
    ("/chat/completions", "openai_chat"),
    ("/v1/responses", "openai_responses"),
    ("/backend-api/codex/responses", "openai_responses"),
    ("/v1/messages?beta=true", "anthropic_messages"),
    ("/anthropic/v1/messages", "anthropic_messages"),
    ("/v1beta/models/m:generateContent", "gemini_generate"),
    ("/v1/models/m:streamGenerateContent?alt=sse", "gemini_generate"),
    ("/v1/projects/p/locations/l/publishers/google/models/m:generateContent", "gemini_generate"),
    ("/v1internal:generateContent", "gemini_generate"),
    ("https://127.0.0.1:1/v1/chat/completions", "openai_chat"),
]


@pytest.mark.parametrize(("path", "protocol"), GENERATING)
def test_generating_paths(path: str, protocol: str) -> None:
    place = place_of("POST", path)
    assert (place.generates, place.protocol) == (True, protocol)
    assert not place_of("GET", path).generates


NOWHERE = [
    ("POST", "/v1/nothing"),
    ("PUT", "/v1/chat/completions"),
    ("GET", "/"),
    ("POST", "/v1beta/models/m:unknownVerb"),
    ("DELETE", "/_sim/health"),
    ("POST", "/v1internal:loadCodeAssist"),
    ("GET", "https://host"),
]


@pytest.mark.parametrize(("method", "path"), NOWHERE)
def test_unknown_paths(method: str, path: str) -> None:
    place = place_of(method, path)
    assert (place.generates, place.extra) == (False, None)


def test_404_in_the_shape_of_the_house(http: httpx.Client) -> None:
    assert http.post("/v1/none").json()["error"]["type"] == "invalid_request_error"
    assert http.post("/v1/messages/none").json()["error"]["type"] == "not_found_error"
    got = http.post("/v1beta/none")
    assert (got.status_code, got.json()["error"]["status"]) == (404, "NOT_FOUND")


def test_gemini_array_stream(http: httpx.Client) -> None:
    path, body = question("gemini_generate", "sim-reasoning", stream=True)
    got = http.post(path.split("?")[0], json=body)
    assert got.headers["content-type"].startswith("application/json")
    sse = events(http.post(path, json=body).text)
    array = got.json()
    assert streamed_text("gemini_generate", array) == streamed_text("gemini_generate", sse)
    assert array[-1]["candidates"][0]["finishReason"] == "STOP"


@pytest.mark.parametrize("model", ["sim-error-in-stream", "sim-overloaded-in-stream"])
def test_an_error_in_an_array_stream_leaves_it_well_formed(http: httpx.Client, model: str) -> None:
    path, body = question("gemini_generate", model, stream=True)
    array = json.loads(http.post(path.split("?")[0], json=body).text)
    assert "error" in array[-1]


def test_code_assist_is_wrapped(http: httpx.Client) -> None:
    _, inner = question("gemini_generate", "", "is it sunny", tools=True)
    body = {"model": "sim-tool", "project": "p", "request": inner}
    whole = http.post("/v1internal:generateContent", json=body).json()
    call = whole["response"]["candidates"][0]["content"]["parts"][0]
    assert call["functionCall"]["name"] == "get_weather"
    assert call["thoughtSignature"]
    told = events(http.post("/v1internal:streamGenerateContent?alt=sse", json=body).text)
    assert all(set(event) == {"response", "traceId"} for event in told)


def test_crlf_and_names_of_frames(http: httpx.Client) -> None:
    got = _stream(http, "gemini_generate").content
    assert got.endswith(b"}\r\n\r\n")
    got = _stream(http, "openai_chat").content
    assert got.endswith(b"data: [DONE]\n\n")
    assert b"event:" not in got
    got = _stream(http, "anthropic_messages").content
    assert got.startswith(b"event: message_start\ndata: ")
    assert got.count(b'event: ping\ndata: {"type": "ping"}\n\n') == 1
    assert b"event: ping" not in _stream(http, "anthropic_messages", "own-no-pings").content
    got = _stream(http, "openai_responses").content
    numbers = [event["sequence_number"] for event in events(got.decode())]
    assert numbers == list(range(len(numbers)))


def _stream(http: httpx.Client, protocol: str, model: str = "sim-text") -> httpx.Response:
    path, body = question(protocol, model, stream=True)
    return http.post(path, json=body)


def test_usage_chunk_only_when_asked_for(http: httpx.Client) -> None:
    path, body = question("openai_chat", "sim-text", stream=True)
    assert "usage" not in http.post(path, json=body).text
    body["stream_options"] = {"include_usage": True}
    told = events(http.post(path, json=body).text)
    assert told[-2]["choices"] == []
    assert told[-2]["usage"]["total_tokens"] > 0
    assert all(event["usage"] is None for event in told[:-2])


CHOICES = [
    ({"x-sim-scenario": "sim-echo"}, "gpt-4.1", "hello"),
    ({"x-sim-scenario": "sim-echo"}, "sim-events-60", "hello"),
    ({}, "openai/sim-echo-large", "hello"),
    ({"authorization": "Bearer sim-echo"}, "gpt-4.1", "hello"),
    ({"authorization": "Bearer sk-sim-echo-1234"}, "gpt-4.1", "hello"),
    ({"x-api-key": "sim-echo"}, "gpt-4.1", "hello"),
    ({"authorization": "Bearer sim-events-60"}, "sim-echo", "hello"),
]


@pytest.mark.parametrize(("headers", "model", "want"), CHOICES)
def test_choosing_a_scenario(
    http: httpx.Client, headers: dict[str, str], model: str, want: str
) -> None:
    path, body = question("openai_chat", model)
    got = http.post(path, json=body, headers=headers)
    assert text_of("openai_chat", got.json()) == want


def test_an_unknown_scenario_in_the_header_is_said(http: httpx.Client) -> None:
    path, body = question("openai_chat", "m")
    got = http.post(path, json=body, headers={"x-sim-scenario": "sim-nothing"})
    assert got.status_code == 400
    assert "sim-nothing" in got.json()["error"]["message"]


def test_ids_are_new_in_every_answer(http: httpx.Client) -> None:
    path, body = question("openai_chat", "sim-tool", tools=True)
    first, second = (http.post(path, json=body) for _ in range(2))
    assert first.json()["id"] != second.json()["id"]
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    calls = [got.json()["choices"][0]["message"]["tool_calls"][0]["id"] for got in (first, second)]
    assert len(set(calls)) == 2
    assert "placeholder" not in first.text + second.text


def test_headers_like_a_providers(http: httpx.Client) -> None:
    got = _stream(http, "anthropic_messages")
    assert got.headers["request-id"].startswith("req_011")
    assert "anthropic-ratelimit-requests-limit" in got.headers
    got = _stream(http, "openai_chat")
    assert got.headers["x-request-id"].startswith("req_")
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert got.headers["date"].endswith("GMT")


def test_the_log_over_http(http: httpx.Client, sim: SimThread) -> None:
    http.delete("/_sim/requests")
    path, body = question("anthropic_messages", "sim-text", "grüße")
    http.post(path, json=body, headers={"X-Api-Key": "k"})
    http.post("/v1/responses", content=b"\xff\x00")
    health = http.get("/_sim/health").json()
    assert health["ok"] is True
    first, second = http.get("/_sim/requests").json()["requests"]
    assert json.loads(first["body"]) == body
    assert (first["method"], first["path"], first["scenario"]) == ("POST", path, "sim-text")
    assert ["X-Api-Key", "k"] in first["headers"]
    assert (first["status"], first["events_sent"], first["done"]) == (200, 1, True)
    assert (second["body"], second["body_base64"]) == (None, "/wA=")
    assert second["at_s"] >= first["at_s"] > 0
    http.delete("/_sim/requests")
    assert http.get("/_sim/requests").json() == {"requests": []}
    assert sim.log.all() == ()
