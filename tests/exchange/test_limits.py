"""A model's limits on the way out: the client's own choice stays, another model's limits act."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from exchange import houses
from llmitm.dialects.catalog import DIALECTS
from llmitm.exchange.lanes import Incoming, Outgoing
from llmitm.exchange.wire import WireRequest
from llmitm.ruleset import loading
from llmitm.ruleset.selectors import Target

KEYS = ("OPENAI", "OPENROUTER", "ANTHROPIC", "GEMINI")
RULES = loading.load(environ={f"{name}_API_KEY": "k" for name in KEYS})
CHAT = "https://openrouter.ai/api/v1/chat/completions"
OPENAI = "https://api.openai.com/v1/chat/completions"
RESPONSES = "https://api.openai.com/v1/responses"
CLAUDE = "https://api.anthropic.com/v1/messages"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/{}:generateContent"


def incoming(url: str, body: str) -> Incoming:
    host, _, path = url.removeprefix("https://").partition("/")
    endpoint = RULES.match(host, 443, "POST", f"/{path}")
    assert endpoint is not None
    request = DIALECTS[endpoint.protocol].decode_request(body.encode())
    if endpoint.model:
        request = replace(request, model=endpoint.model)
    wire = WireRequest(
        method="POST",
        scheme="https",
        host=host,
        port=443,
        path=f"/{path}",
        headers=(),
        body=body.encode(),
    )
    return Incoming(wire=wire, endpoint=endpoint, body=body.encode(), coding="", request=request)


def sent(url: str, body: str, provider: str | None = None, model: str = "") -> Outgoing:
    read = incoming(url, body)
    target = None if provider is None else Target(provider=provider, model=model)
    out = houses.built(RULES, read, target)
    assert isinstance(out, Outgoing)
    return out


def told(out: Outgoing) -> list[str]:
    return [f"{loss.feature} {loss.how}" for loss in out.losses]


FLOORS = [
    (
        CHAT,
        '{ "model":"stepfun/step-3.5-flash:free",  "max_tokens": 16, "messages":[], "odd" : 1.0 }',
        '"max_tokens": 16,',
        '"max_tokens": 512,',
    ),
    (
        CHAT,
        '{"messages":[],"max_completion_tokens" : 1 ,"model":"kimi/kimi-for-coding"}',
        '"max_completion_tokens" : 1 ,',
        '"max_completion_tokens" : 512 ,',
    ),
    (
        CLAUDE,
        '{"model":"kimi-for-coding", "max_tokens":9,"messages":[{"role":"user","content":"x"}]}',
        '"max_tokens":9,',
        '"max_tokens":512,',
    ),
    (
        RESPONSES,
        '{"model":"kimi-for-coding","input":"x", "max_output_tokens" :9}',
        '"max_output_tokens" :9',
        '"max_output_tokens" :512',
    ),
    (
        GEMINI.format("kimi-for-coding"),
        '{"contents":[],"generation_config": {"max_output_tokens": 9, "odd":1.0}}',
        '"max_output_tokens": 9',
        '"max_output_tokens": 512',
    ),
]


@pytest.mark.parametrize(("url", "body", "old", "new"), FLOORS)
def test_the_floor_patches_that_one_value(url: str, body: str, old: str, new: str) -> None:
    out = sent(url, body)
    assert out.lane == "patch"
    assert out.body == body.replace(old, new).encode()
    assert told(out) == ["sampling.max_tokens adapted"]
    assert not out.rerouted


@pytest.mark.parametrize(
    "limit", ['"max_tokens": 512', '"max_tokens": 0', '"max_tokens": "9"', '"max_tokens":null']
)
def test_a_limit_that_leaves_room_or_says_nothing_stays_verbatim(limit: str) -> None:
    out = sent(CHAT, f'{{"model":"stepfun/step-3.5-flash:free",{limit},"messages":[]}}')
    assert (out.lane, out.body, out.losses) == ("verbatim", None, ())


@pytest.mark.parametrize("model", ["gpt-5.4", "o3", "claude-opus-4-8", "deepseek-reasoner"])
def test_what_a_client_chose_for_its_own_model_stays(model: str) -> None:
    body = {"model": model, "messages": [], "temperature": 1.9, "top_p": 0.1, "max_tokens": 1}
    out = sent(CHAT, json.dumps(body | {"reasoning_effort": "max"}))
    assert (out.lane, out.body, out.losses) == ("verbatim", None, ())


def test_another_model_at_the_same_provider_gets_what_it_takes() -> None:
    body = (
        '{"model":"gpt-4o", "temperature":0.2,"max_tokens" : 100, "odd":1.0,'
        ' "messages":[{"role":"user","content":"x"}]}'
    )
    out = sent(OPENAI, body, "openai", "gpt-5.4")
    assert out.lane == "patch"
    assert told(out) == ["sampling.temperature dropped"]
    assert out.body is not None
    assert json.loads(out.body) == {
        "model": "gpt-5.4",
        "max_completion_tokens": 100,
        "odd": 1.0,
        "messages": [{"role": "user", "content": "x"}],
    }
    assert b'"odd":1.0,' in out.body


def test_another_model_of_the_same_protocol_thinks_in_its_own_way() -> None:
    body: dict[str, Any] = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 32000,
        "thinking": {"type": "enabled", "budget_tokens": 16000},
        "messages": [{"role": "user", "content": "x"}],
    }
    out = sent(CLAUDE, json.dumps(body), "anthropic", "claude-opus-5")
    assert out.lane == "patch"
    assert told(out) == ["reasoning.budget_tokens adapted"]
    assert out.body is not None
    assert json.loads(out.body) == body | {
        "model": "claude-opus-5",
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
    }


def test_the_code_path_of_another_protocol_tells_each_loss_once() -> None:
    body = {
        "model": "gpt-4o",
        "temperature": 1.5,
        "reasoning_effort": "xhigh",
        "messages": [{"role": "user", "content": "x"}],
    }
    out = sent(OPENAI, json.dumps(body), "gemini", "gemini-3-pro-preview")
    assert out.lane == "translate"
    assert told(out) == ["reasoning.effort adapted"]
    out = sent(OPENAI, json.dumps(body), "anthropic", "claude-opus-4-8")
    assert told(out) == ["sampling.temperature dropped"]
    assert out.body is not None
    wire = json.loads(out.body)
    assert wire["output_config"] == {"effort": "xhigh"}
    assert wire["thinking"] == {"type": "adaptive"}
    assert "temperature" not in wire
