"""Failover, and errors in the client's own protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from origin_server import Origin
from proxied import Proxied, behind, trusting
from sdks import PROTOCOLS, PROVIDERS, ask

from llmitm.mitm.processes import Child

pytestmark = pytest.mark.end_to_end

CHAT = "https://api.openai.com/v1/chat/completions"
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "openai_chat": (CHAT, {"messages": [{"role": "user", "content": "hi"}]}),
    "openai_responses": ("https://api.openai.com/v1/responses", {"input": "hi"}),
    "anthropic_messages": (
        "https://api.anthropic.com/v1/messages",
        {"max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
    ),
    "gemini_generate": (
        "https://generativelanguage.googleapis.com/v1beta/models/MODEL:generateContent",
        {"contents": [{"parts": [{"text": "hi"}]}]},
    ),
}


def call(proxied: Proxied, protocol: str, model: str, **more: Any) -> httpx.Response:
    url, body = CALLS[protocol]
    if "MODEL" in url:
        url = url.replace("MODEL", model.replace("|", "%7C"))
        if more.pop("stream", False):
            url = url.replace(":generateContent", ":streamGenerateContent?alt=sse")
    else:
        body = {"model": model, **body}
    with proxied.client() as client:
        return client.post(url, json={**body, **more})


def message_of(protocol: str, body: Any) -> str:
    """The error's message where this protocol keeps it; fails if the shape is another's."""
    error = body["error"]
    if protocol == "anthropic_messages":
        assert body["type"] == "error"
        assert set(error) >= {"type", "message"}
    elif protocol == "gemini_generate":
        assert set(error) >= {"code", "message", "status"}
    else:
        assert set(error) >= {"message", "type", "code"}
    return error["message"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("second", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_429_is_failed_over_unseen(
    proxied: Proxied, client: str, second: str, stream: bool
) -> None:
    model = f"openai:sim-429|{PROVIDERS[second]}:sim-text"
    said = ask(proxied, client, model, stream=stream)
    assert said.text.startswith(f"This is a scripted answer over {second}.")
    row = proxied.rows()[0]
    assert (row["attempts"], row["status"], row["error"]) == (2, 200, "")
    assert "429" in row["notes"][0]


@pytest.mark.parametrize(
    "first",
    ["sim-error-500", "sim-overloaded-in-stream", "sim-close", "sim-429", "sim-error-503"],
)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_every_failure_before_content_is_failed_over(
    proxied: Proxied, client: str, first: str
) -> None:
    model = f"anthropic:{first}|gemini:sim-text"
    said = ask(proxied, client, model, stream=True)
    assert said.text.startswith("This is a scripted answer over gemini_generate.")
    assert proxied.rows()[0]["attempts"] == 2


def test_a_stalled_provider_is_given_up_after_its_own_limit(sim, tmp_path: Path) -> None:
    with behind(tmp_path, sim, variables={"ANTHROPIC_TIMEOUT": "0.3"}) as proxied:
        said = ask(proxied, "openai_chat", "anthropic:sim-stall|gemini:sim-text", stream=True)
        assert said.text.startswith("This is a scripted answer over gemini_generate.")
        row = proxied.rows()[0]
    assert (row["attempts"], row["error"]) == (2, "")
    assert "0.3 s" in row["notes"][0]


def test_a_waiting_client_is_kept_alive_and_gets_its_error_in_the_stream(
    sim, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text(
        "times:\n  heartbeat_grace_s: 0.05\n  keepalive_interval_s: 0.05\n"
    )
    settings = [f"llm_rules={rules}"]
    variables = {"ANTHROPIC_TIMEOUT": "0.5", "GEMINI_TIMEOUT": "0.5"}
    with behind(tmp_path, sim, settings, variables) as proxied:
        url, body = CALLS["openai_chat"]
        model = "anthropic:sim-stall|openai:sim-error-500"
        with proxied.client() as client:
            answer = client.post(url, json={**body, "model": model, "stream": True})
        assert proxied.rows()[0]["attempts"] == 2
    # The head was committed while the client waited, so the error comes as an event.
    assert answer.status_code == 200
    assert answer.text.startswith(": ")
    events = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert message_of("openai_chat", json.loads(events[0].removeprefix("data: ")))
    assert events[-1] == "data: [DONE]"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 529])
@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_providers_error_arrives_in_the_clients_protocol(
    proxied: Proxied, client: str, provider: str, status: int
) -> None:
    answer = call(proxied, client, f"{PROVIDERS[provider]}:sim-error-{status}")
    expected = 503 if status == 529 and provider != "anthropic_messages" else status
    assert answer.status_code == expected
    assert message_of(client, answer.json())
    assert proxied.rows()[0]["status"] == expected


def test_retry_after_is_carried_over(proxied: Proxied) -> None:
    answer = call(proxied, "anthropic_messages", "openai:sim-429")
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")


def test_when_all_fail_the_last_error_is_told(proxied: Proxied) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        ask(proxied, "openai_chat", "all-fail", stream=True)
    assert caught.value.status_code == 529
    assert proxied.rows()[0]["attempts"] == 2


@pytest.mark.parametrize("provider", [name for name in PROTOCOLS if name != "openai_chat"])
def test_a_break_in_mid_stream_becomes_the_protocols_error_event(
    proxied: Proxied, provider: str
) -> None:
    with pytest.raises(openai.APIError, match=r"broke off|closed|incomplete|ended"):
        ask(proxied, "openai_chat", f"{PROVIDERS[provider]}:sim-cut", stream=True)
    row = proxied.rows()[0]
    assert row["error"]
    assert row["ended"] is False


def test_an_anthropic_client_sees_an_anthropic_error_event(proxied: Proxied) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(proxied, "anthropic_messages", "openai:sim-error-in-stream", stream=True)
    assert caught.value.body
    assert "error" in caught.value.body


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_missing_key_names_the_variable(sim, tmp_path: Path, client: str) -> None:
    other = "openai" if client == "anthropic_messages" else "anthropic"
    variables = {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": ""}
    with behind(tmp_path, sim, variables=variables) as proxied:
        answer = call(proxied, client, f"{other}:sim-text")
        assert answer.status_code == 401
        assert f"{other.upper()}_API_KEY" in message_of(client, answer.json())
        assert proxied.rows()[0]["lane"] == "local"


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_clients_key_never_goes_to_another_provider(proxied: Proxied, sim, client: str) -> None:
    other = "openai" if client == "anthropic_messages" else "anthropic"
    url, body = CALLS[client]
    secret = "client-secret-0123456789"
    model = f"{other}:sim-text"
    headers = {
        "authorization": f"Bearer {secret}",
        "x-api-key": secret,
        "x-goog-api-key": secret,
        "api-key": secret,
        "cookie": secret,
        "openai-organization": "org-secret",
    }
    sent = body if "MODEL" in url else {"model": model, **body}
    with proxied.client() as http:
        suffix = f"?key={secret}" if "MODEL" in url else ""
        answer = http.post(url.replace("MODEL", model) + suffix, json=sent, headers=headers)
    assert answer.status_code == 200
    received = sim.log.all()[-1]
    assert secret not in json.dumps(received.as_json())
    assert "org-secret" not in json.dumps(received.as_json())


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_selector_that_makes_no_sense_says_where(proxied: Proxied, client: str) -> None:
    answer = call(proxied, client, "openai:sim-text|nosuch:model")
    assert answer.status_code == 400
    message = message_of(client, answer.json())
    assert "nosuch" in message
    assert "character" in message


@pytest.mark.parametrize("client", PROTOCOLS)
def test_an_unreachable_provider_is_an_error_in_the_clients_protocol(
    tmp_path: Path, sim, client: str
) -> None:
    # Port 9 on loopback: nothing listens there.
    with behind(tmp_path, Child(0, 9, sim.ca)) as proxied:
        answer = call(proxied, client, "sim-text")
        assert answer.status_code == 502
        assert message_of(client, answer.json())
        assert proxied.rows()[0]["error"]


def test_a_bad_certificate_is_an_error_in_the_clients_protocol(tmp_path: Path, sim) -> None:
    with (
        Origin(tmp_path / "origin", lambda _: []) as server,
        behind(tmp_path / "p", Child(0, server.port, sim.ca)) as proxied,
    ):
        answer = call(proxied, "anthropic_messages", "sim-text")
        assert answer.status_code == 502
        assert "ertificate" in message_of("anthropic_messages", answer.json())


def test_a_request_that_cannot_be_read_cannot_be_rerouted(tmp_path: Path, sim) -> None:
    with behind(tmp_path, sim, variables={"STATIC_ROUTE": "anthropic:sim-text"}) as proxied:
        with proxied.client() as client:
            answer = client.post(CHAT, content=b'{"model": "m", "messages": 7}')
        assert answer.status_code == 400
        assert "/messages" in message_of("openai_chat", answer.json())
        assert proxied.rows()[0]["lane"] == "local"


def test_plain_requests_follow_a_static_route(tmp_path: Path, sim) -> None:
    variables = {"STATIC_ROUTE": "anthropic:sim-text?temperature=0.5"}
    with behind(tmp_path, sim, variables=variables) as proxied:
        said = ask(proxied, "openai_chat", "gpt-whatever", stream=True)
        assert said.text.startswith("This is a scripted answer over anthropic_messages.")
    body = json.loads(sim.log.all()[-1].body)
    assert (body["model"], body["temperature"]) == ("sim-text", 0.5)


def test_the_clients_trust_is_the_proxys_ca(proxied: Proxied) -> None:
    with httpx.Client(proxy=proxied.url, verify=trusting(proxied.proxy.ca)) as client:
        assert client.get("https://api.openai.com/v1/models").status_code == 200
