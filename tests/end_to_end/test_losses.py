"""Losses that a rule refuses, and providers that answer in another protocol than declared."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from origin_server import Origin, Received
from proxied import Proxied, behind
from sdks import ask

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

HI = [{"role": "user", "content": "hi"}]
CALLS: dict[str, tuple[str, dict[str, Any], str]] = {
    "openai_chat": (
        "https://api.openai.com/v1/chat/completions",
        {"messages": HI, "logit_bias": {"1": 2}},
        "/logit_bias",
    ),
    "openai_responses": (
        "https://api.openai.com/v1/responses",
        {"input": "hi", "prompt": {"id": "p1"}},
        "/prompt",
    ),
    "anthropic_messages": (
        "https://api.anthropic.com/v1/messages",
        {"max_tokens": 9, "messages": HI, "container": "c1"},
        "/container",
    ),
    "gemini_generate": (
        "https://generativelanguage.googleapis.com/v1beta/models/MODEL:generateContent",
        {"contents": [{"parts": [{"text": "hi"}]}], "cachedContent": "cachedContents/1"},
        "/cachedContent",
    ),
}
REFUSED = "refuse_losses: ['Anthropic:*-text', 'openai:sim-text']\n"


@pytest.fixture(scope="module")
def strict(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("strict")
    rules = folder / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text(REFUSED)
    with behind(folder, sim, [f"llm_rules={rules}"]) as running:
        yield running


def post(proxied: Proxied, protocol: str, model: str, **changes: Any) -> Any:
    url, body, _ = CALLS[protocol]
    sent = {**body, **changes}
    sent = {key: value for key, value in sent.items() if value is not None}
    if "MODEL" not in url:
        sent["model"] = model
    proxied.skip()
    with proxied.client() as client:
        return client.post(url.replace("MODEL", model), json=sent)


def details_of(protocol: str, body: Any) -> dict[str, Any]:
    """llmitm's own details, where this protocol keeps them."""
    error = body["error"]
    if protocol != "gemini_generate":
        return error["details"]
    told = error["details"][0]
    return {"code": told["reason"], "losses": json.loads(told["metadata"]["losses"])}


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("protocol", CALLS)
def test_a_refused_loss_is_a_422_in_the_clients_protocol(
    strict: Proxied, protocol: str, stream: bool
) -> None:
    other = "openai" if protocol == "anthropic_messages" else "anthropic"
    more = {} if protocol == "gemini_generate" else {"stream": stream}
    answer = post(strict, protocol, f"{other}:sim-text", **more)
    assert answer.status_code == 422
    body = answer.json()
    details = details_of(protocol, body)
    path = CALLS[protocol][2]
    assert details["code"] == "cannot_express"
    assert {"feature": "field", "path": path} in details["losses"]
    assert path in body["error"]["message"]
    row = strict.rows()[0]
    assert (row["status"], row["tool_calls"]) == (422, [])
    assert "cannot express" in row["error"]


@pytest.mark.parametrize("protocol", CALLS)
def test_what_loses_nothing_is_sent(strict: Proxied, protocol: str) -> None:
    other = "openai" if protocol == "anthropic_messages" else "anthropic"
    unheard = CALLS[protocol][2][1:]
    answer = post(strict, protocol, f"{other}:sim-text", **{unheard: None})
    assert answer.status_code == 200
    assert strict.rows()[0]["lane"] == "translate"


def test_only_the_targets_named_refuse(strict: Proxied) -> None:
    answer = post(strict, "openai_chat", "gemini:sim-text")
    assert answer.status_code == 200
    assert int(answer.headers["x-llmitm-losses"]) == 1


def test_the_clients_own_provider_is_never_refused(strict: Proxied) -> None:
    assert post(strict, "openai_chat", "sim-text").status_code == 200
    assert strict.rows()[0]["lane"] == "verbatim"


def test_the_next_target_that_can_express_it_is_taken(strict: Proxied) -> None:
    answer = post(strict, "openai_chat", "anthropic:sim-text|sim-text")
    assert answer.status_code == 200
    row = strict.rows()[0]
    assert row["attempts"] == 1
    assert "cannot express" in row["notes"][0]


def test_everything_may_be_refused(sim: SimThread, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text("losses: refuse\n")
    with behind(tmp_path, sim, [f"llm_rules={rules}"]) as proxied:
        for other in ("anthropic", "gemini"):
            assert post(proxied, "openai_chat", f"{other}:sim-text").status_code == 422
        assert ask(proxied, "openai_chat", "gemini:sim-text", stream=True).finish == "stop"


MESSAGE: Any = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [{"type": "text", "text": "From elsewhere"}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 7, "output_tokens": 3},
}


def event(value: dict[str, Any]) -> bytes:
    return f"event: {value['type']}\ndata: {json.dumps(value)}\n\n".encode()


STREAM = [
    event({"type": "message_start", "message": {**MESSAGE, "content": [], "stop_reason": None}}),
    event(
        {
            "type": "content_block_start",
            "index": 0,
            "content_block": {"type": "text", "text": ""},
        }
    ),
    event(
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": "From elsewhere"},
        }
    ),
    event({"type": "content_block_stop", "index": 0}),
    event(
        {
            "type": "message_delta",
            "delta": {"stop_reason": "end_turn", "stop_sequence": None},
            "usage": {"output_tokens": 3},
        }
    ),
    event({"type": "message_stop"}),
]


def messages_script(request: Received) -> list[bytes]:
    """Answers every call as Anthropic would, whatever it was asked in."""
    head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: "
    if b"stream" in request.body and b'"stream":false' not in request.body:
        return [head + b"text/event-stream\r\n\r\n", *STREAM, b""]
    body = json.dumps(MESSAGE).encode()
    size = f"\r\ncontent-length: {len(body)}\r\n\r\n".encode()
    return [head + b"application/json" + size + body, b""]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("elsewhere")
    with (
        Origin(folder / "origin", messages_script) as server,
        behind(folder, server) as running,
    ):
        yield running


SAID = "answered in anthropic_messages although {} was declared"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", ["openai_responses", "gemini_generate", "anthropic_messages"])
def test_a_translated_answer_in_another_protocol_is_read_and_said(
    elsewhere: Proxied, client: str, stream: bool
) -> None:
    """The provider was asked in chat completions and answers in Messages."""
    elsewhere.skip()
    said = ask(elsewhere, client, "together:m", stream=stream)
    assert said.text == "From elsewhere"
    row = elsewhere.rows()[0]
    assert (row["lane"], row["finish"]) == ("translate", "stop")
    assert row["notes"] == [SAID.format("openai_chat")]
    assert said.tokens == (row["usage"]["input_tokens"], row["usage"]["output_tokens"]) == (7, 3)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_a_verbatim_answer_in_another_protocol_is_counted_and_said(
    elsewhere: Proxied, stream: bool
) -> None:
    answer = post(elsewhere, "openai_chat", "m", stream=stream)
    whole = b"".join(STREAM) if stream else json.dumps(MESSAGE).encode()
    assert answer.content == whole
    row = elsewhere.rows()[0]
    assert row["lane"] == "verbatim"
    assert row["notes"] == [SAID.format("openai_chat")]
    assert (row["usage"]["input_tokens"], row["usage"]["output_tokens"]) == (7, 3)
    assert row["finish"] == "stop"
