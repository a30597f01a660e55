"""Keys, failover routes and waits, as the official SDKs live through them: one clean answer."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxied import Proxied, behind
from sdks import PROTOCOLS, PROVIDERS, ask

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

CHAT = "https://api.openai.com/v1/chat/completions"
KEYS = ("OPENAI", "ANTHROPIC", "GEMINI", "TOGETHER")
# The sim plays the scenario that a key names where the model names none.
LIMITED, GOOD, REFUSED = "sk-sim-429-SECRET-1", "sk-sim-text-SECRET-2", "sk-sim-error-401-SECRET-3"
RULES = """
failover_routes:
  one: {policy: k, elements: ["openai:m1", "anthropic:m2"]}
  each: {policy: m, elements: ["openai:m1", "anthropic:m2"]}
  all: {policy: km, elements: ["openai:m1", "anthropic:m2"]}
  rounds: {policy: mk, elements: ["openai:m1", "anthropic:m2"]}
failover: {max_rest_s: 0, max_silent_wait_s: 0, breaker: {enabled: false}}
"""


def numbered(*keys: str) -> dict[str, str]:
    """The same numbered keys for every provider of the tests."""
    return {
        f"{name}_API_KEY_{number}": key for name in KEYS for number, key in enumerate(keys, start=1)
    }


def free_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.fixture(scope="module")
def keyed(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """Two keys for each provider: the first is always over its limit. Nothing rests."""
    folder = tmp_path_factory.mktemp("keyed")
    rules = folder / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text(RULES)
    variables = {
        **numbered(LIMITED, GOOD),
        "MISTRAL_API_BASE_URL": f"https://127.0.0.1:{free_port()}/v1",
        "MISTRAL_API_KEY": GOOD,
        "TOGETHER_TIMEOUT": "0.3",
    }
    with behind(folder, sim, [f"llm_rules={rules}"], variables) as running:
        yield running


def clean(proxied: Proxied, protocol: str, said: Any) -> dict[str, Any]:
    """The journal's row of an answer that came as if nothing had happened."""
    assert said.text.startswith(f"This is a scripted answer over {protocol}.")
    row = proxied.rows()[0]
    assert (row["status"], row["error"]) == (200, "")
    return row


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_second_key_answers_in_the_clients_own_stream(
    keyed: Proxied, protocol: str, stream: bool
) -> None:
    seen = set()
    for _ in range(2):
        row = clean(keyed, protocol, ask(keyed, protocol, "plain-model", stream=stream))
        assert row["lane"] == "verbatim"
        seen.add(row["attempts"])
        assert row["target"].split(":")[0].endswith(".2")
    # In turn: one of two begins with the key that is over its limit.
    assert seen == {1, 2}


@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_every_client_streams_through_a_429_on_key_1(
    keyed: Proxied, client: str, provider: str
) -> None:
    model = f"{PROVIDERS[provider]}.1:plain|{PROVIDERS[provider]}.2:plain"
    row = clean(keyed, provider, ask(keyed, client, model, stream=True))
    assert row["attempts"] == 2


@pytest.mark.parametrize(
    "first",
    ["mistral:dead-host", "together.2:sim-stall", "anthropic.2:sim-overloaded-in-stream"],
)
@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_every_client_streams_through_a_failure(
    keyed: Proxied, client: str, provider: str, first: str
) -> None:
    model = f"{first}|{PROVIDERS[provider]}.2:sim-text"
    row = clean(keyed, provider, ask(keyed, client, model, stream=True))
    assert row["attempts"] == 2


@pytest.mark.parametrize(
    ("route", "labels", "answered"),
    [
        ("one", ["openai.1:m1", "openai.2:m1"], True),
        ("each", ["openai.1:m1", "anthropic.1:m2"], False),
        ("all", ["openai.1:m1", "openai.2:m1"], True),
        ("rounds", ["openai.1:m1", "anthropic.1:m2", "openai.2:m1"], True),
    ],
)
def test_the_policies_of_named_routes(
    keyed: Proxied, route: str, labels: list[str], answered: bool
) -> None:
    with keyed.client() as client:
        answer = client.post(CHAT, json={"model": route, "messages": []})
    row = keyed.rows()[0]
    assert row["attempts"] == len(labels)
    if answered:
        assert answer.status_code == 200
        assert row["target"] == labels[-1]
    else:
        assert answer.status_code == 429
        tried = answer.json()["error"]["details"]["attempts"]
        assert [each["target"] for each in tried] == labels


@pytest.mark.parametrize("client", PROTOCOLS)
def test_when_all_fail_every_attempt_is_told(keyed: Proxied, client: str) -> None:
    urls = {
        "openai_chat": (CHAT, {"messages": []}),
        "openai_responses": ("https://api.openai.com/v1/responses", {"input": "hi"}),
        "anthropic_messages": (
            "https://api.anthropic.com/v1/messages",
            {"max_tokens": 9, "messages": []},
        ),
        "gemini_generate": (
            "https://generativelanguage.googleapis.com/v1beta/models/"
            "anthropic.1%3Ax%7Cgemini.1%3Ay:generateContent",
            {"contents": []},
        ),
    }
    url, body = urls[client]
    if client != "gemini_generate":
        body = {**body, "model": "anthropic.1:x|gemini.1:y"}
    with keyed.client() as http:
        error = http.post(url, json=body).json()["error"]
    if client == "gemini_generate":
        info = next(each for each in error["details"] if each.get("domain") == "llmitm")
        assert info["reason"] == info["metadata"]["code"]
        told = info["metadata"]
        attempts = json.loads(told["attempts"])
        assert told["retryable"] in ("true", True)
    else:
        told = error["details"]
        attempts = told["attempts"]
        assert told["retryable"] is True
    assert told["code"]
    assert [each["target"] for each in attempts] == ["anthropic.1:x", "gemini.1:y"]
    assert [each["status"] for each in attempts] == [429, 429]


def test_a_key_over_its_limit_rests_and_a_refused_one_is_set_aside(
    sim: SimThread, tmp_path: Path
) -> None:
    with behind(tmp_path, sim, variables=numbered(LIMITED, REFUSED, GOOD)) as proxied:
        attempts = []
        for _ in range(3):
            ask(proxied, "openai_chat", "plain", stream=True)
            attempts.append(proxied.rows()[0]["attempts"])
        # Key 1 rests after its 429 for its second, key 2 for good: then the third is asked at once.
        assert attempts[0] == 3
        assert attempts[1] == 1
        assert (tmp_path / "journal.jsonl").read_text().count("SECRET") == 0
        assert (tmp_path / "proxy.log").read_text().count("SECRET") == 0


def test_a_short_delay_is_waited_for_when_nothing_else_is_left(
    sim: SimThread, tmp_path: Path
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text(
        "times: {heartbeat_grace_s: 0.05, keepalive_interval_s: 0.1}\n"
    )
    with behind(tmp_path, sim, [f"llm_rules={rules}"]) as proxied:
        began = time.monotonic()
        body = {"model": "anthropic:sim-429-then-ok", "messages": [], "stream": True}
        with proxied.client() as client:
            text = client.post(CHAT, json=body).text
        assert time.monotonic() - began >= 1
        row = proxied.rows()[0]
    assert text.startswith(": ")
    assert "scripted" in text
    assert text.rstrip().endswith("data: [DONE]")
    assert (row["attempts"], row["error"]) == (2, "")
    assert any("waits 1.0 s" in note for note in row["notes"])


def test_an_instance_that_keeps_failing_is_left_alone(sim: SimThread, tmp_path: Path) -> None:
    with behind(tmp_path, sim) as proxied:
        attempts = []
        for _ in range(5):
            ask(proxied, "openai_chat", "anthropic:sim-error-500|gemini:sim-text", stream=True)
            attempts.append(proxied.rows()[0]["attempts"])
    assert attempts == [2, 2, 2, 1, 1]


@pytest.mark.parametrize(
    ("key", "target"),
    [("dummy-key", "sim-key-of-the-proxy"), ("sk-real", "sk-real")],
)
def test_a_placeholder_gives_way_to_the_stored_key(
    sim: SimThread, tmp_path: Path, key: str, target: str
) -> None:
    with behind(tmp_path, sim) as proxied, proxied.client() as client:
        before = sim.sim.log.count
        headers = {"authorization": f"Bearer {key}"}
        body = {"model": "sim-text", "messages": []}
        assert client.post(CHAT, json=body, headers=headers).status_code == 200
        received = next(each for each in sim.sim.log.all() if each.index == before)
    assert received.header("authorization") == f"Bearer {target}"
    assert json.loads(received.body) == body


def test_a_client_key_is_never_sent_on(sim: SimThread, tmp_path: Path) -> None:
    variables = {"LLM_INTERACTIVE_PROXY_API_KEY": "our-client-key", "DEEPSEEK_API_KEY": ""}
    with behind(tmp_path, sim, variables=variables) as proxied, proxied.client() as client:
        headers = {"authorization": "Bearer our-client-key"}
        body = {"model": "sim-text", "messages": []}
        assert client.post(CHAT, json=body, headers=headers).status_code == 200
        assert sim.sim.log.all()[-1].header("authorization") == "Bearer sim-key-of-the-proxy"
        before = sim.sim.log.count
        refused = client.post(
            "https://api.deepseek.com/chat/completions", json=body, headers=headers
        )
        assert sim.sim.log.count == before
    assert refused.status_code == 401
    assert refused.json()["error"]["details"]["code"] == "missing_provider_key"


def test_a_page_in_a_browser_gets_no_stored_key(sim: SimThread, tmp_path: Path) -> None:
    with behind(tmp_path, sim) as proxied, proxied.client() as client:
        headers = {"authorization": "Bearer dummy-key", "origin": "https://elsewhere.example"}
        body = {"model": "anthropic:sim-text", "messages": []}
        answer: httpx.Response = client.post(CHAT, json=body, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["error"]["details"]["code"] == "client_key_needed"
