"""Any SDK, any provider: what the SDK understands is what the provider said."""

from __future__ import annotations

import json

import pytest
from proxied import Proxied
from sdks import PROTOCOLS, PROVIDERS, ask

pytestmark = pytest.mark.end_to_end

PAIRS = [(client, provider) for client in PROTOCOLS for provider in PROTOCOLS]
FINISH = {
    "openai_chat": ("stop", "tool_calls"),
    "openai_responses": ("completed", "completed"),
    "anthropic_messages": ("end_turn", "tool_use"),
    "gemini_generate": ("STOP", "STOP"),
}


def lane(client: str, provider: str) -> str:
    return "verbatim" if client == provider else "translate"


def selector(client: str, provider: str, model: str) -> str:
    return model if client == provider else f"{PROVIDERS[provider]}:{model}"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_text(proxied: Proxied, client: str, provider: str, stream: bool) -> None:
    said = ask(proxied, client, selector(client, provider, "sim-text"), stream=stream)
    assert said.text.startswith(f"This is a scripted answer over {provider}.")
    assert said.finish == FINISH[client][0]
    row = proxied.rows()[0]
    assert (row["lane"], row["status"], row["error"]) == (lane(client, provider), 200, "")
    assert row["finish"] == "stop"
    assert said.tokens == (row["usage"]["input_tokens"], row["usage"]["output_tokens"])
    assert row["usage"]["output_tokens"] > 0


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_parallel_tool_calls(proxied: Proxied, client: str, provider: str, stream: bool) -> None:
    model = selector(client, provider, "sim-parallel-tools")
    said = ask(proxied, client, model, stream=stream, tools=True)
    assert [name for name, _ in said.calls] == ["get_weather", "get_weather"]
    cities = [arguments["city"] for _, arguments in said.calls]
    assert len(set(cities)) == 2
    assert said.finish == FINISH[client][1]
    row = proxied.rows()[0]
    assert row["tool_calls"] == ["get_weather", "get_weather"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "provider"), PAIRS)
def test_reasoning_does_not_disturb_the_text(
    proxied: Proxied, client: str, provider: str, stream: bool
) -> None:
    said = ask(proxied, client, selector(client, provider, "sim-reasoning"), stream=stream)
    assert said.text.startswith(f"This is a scripted answer over {provider}.")
    assert said.finish == FINISH[client][0]


@pytest.mark.parametrize("client", PROTOCOLS)
def test_marks_are_on_translated_answers_only(proxied: Proxied, client: str) -> None:
    url, body = {
        "openai_chat": (
            "https://api.openai.com/v1/chat/completions",
            {"messages": [{"role": "user", "content": "hi"}], "logit_bias": {"1": 2}},
        ),
        "openai_responses": (
            "https://api.openai.com/v1/responses",
            {"input": "hi", "truncation": "auto"},
        ),
        "anthropic_messages": (
            "https://api.anthropic.com/v1/messages",
            {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}], "container": "c1"},
        ),
        "gemini_generate": (
            "https://generativelanguage.googleapis.com/v1beta/models/MODEL:generateContent",
            {"contents": [{"parts": [{"text": "hi"}]}], "cachedContent": "cachedContents/1"},
        ),
    }[client]
    other = "anthropic" if client != "anthropic_messages" else "openai"
    for model, marked in (("sim-text", False), (f"{other}:sim-text", True)):
        sent = body if "MODEL" in url else {"model": model, **body}
        with proxied.client() as http:
            answer = http.post(url.replace("MODEL", model), content=json.dumps(sent))
        assert answer.status_code == 200
        row = proxied.rows()[0]
        marks = {k: v for k, v in answer.headers.items() if k.startswith("x-llmitm")}
        if not marked:
            assert marks == {}
            continue
        assert marks["x-llmitm-exchange"] == row["id"]
        assert marks["x-llmitm-route"] == f"{other}:sim-text"
        dropped = [loss for loss in row["losses"] if loss["how"] == "dropped"]
        assert int(marks["x-llmitm-losses"]) == len(dropped) >= 1
