"""What is foreseen is what happens: the forecast beside an exchange whose attempts really fail."""

from __future__ import annotations

import json

import pytest

from exchange.houses import CHAT, house_of, rules, wire_of, with_failover
from llmitm.canon.events import Fault
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.failure import Failure
from llmitm.exchange.forecast import foresee
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.wire import WireResponse
from llmitm.ruleset.ruleset import Ruleset

KEYS = {
    **{f"OPENAI_API_KEY_{number}": f"sk-{number}" for number in (1, 2, 3)},
    "ANTHROPIC_API_KEY": "sk-ant",
    "DEEPSEEK_API_KEY_1": "sk-d1",
    "DEEPSEEK_API_KEY_2": "sk-d2",
}
UNAVAILABLE = Failure(kind="status", message="answered 503", status=503)
SELECTORS = [
    "gpt-5",
    "openai.2:gpt-5",
    "anthropic:a",
    "anthropic:a|openai:b|deepseek:c",
    "gemini:no-key|anthropic:a",
    "gemini:no-key",
    "gemini:no-key|openai.9:b",
    "[weight=2]anthropic:a^[first]deepseek:c^openai.1:b",
    "[max_context=1]anthropic:a|deepseek:c",
    "[max_context=1]anthropic:a|[max_context=2]deepseek:c",
    "anthropic:a|anthropic:b|anthropic:c|anthropic:d|anthropic:e|anthropic:f|anthropic:g",
    "deepseek-chat|claude-x",
]


def opened(ruleset: Ruleset, model: str) -> Exchange:
    house = house_of(ruleset)
    wire = wire_of(CHAT, json.dumps({"model": model, "messages": [], "stream": True}))
    endpoint = ruleset.match(wire.host, wire.port, wire.method, wire.path)
    assert endpoint is not None
    return Exchange.open(house, endpoint, wire, "x")


def happened(exchange: Exchange) -> tuple[list[str], WireResponse]:
    """(who was asked, what the client got) when every attempt fails."""
    asked: list[str] = []
    step = exchange.start()
    while isinstance(step, Outgoing):
        assert exchange.attempts is not None
        assert exchange.attempts.current is not None
        asked.append(exchange.attempts.current.label)
        step = exchange.failed(UNAVAILABLE)
    assert isinstance(step, WireResponse)
    return asked, step


@pytest.mark.parametrize("keys", [{}, KEYS], ids=["no keys", "keys"])
@pytest.mark.parametrize("hops", [0, 2, 5])
@pytest.mark.parametrize("model", SELECTORS)
def test_the_forecast_is_what_happens(model: str, hops: int, keys: dict[str, str]) -> None:
    ruleset = with_failover(rules(keys), max_failover_hops=hops)
    foreseen = foresee(opened(ruleset, model))
    asked, answer = happened(opened(ruleset, model))
    assert [one.label for one in foreseen.possible] == asked
    if not asked:
        assert isinstance(foreseen.fault, Fault)
        assert foreseen.fault.status == answer.status
        assert foreseen.fault.message in json.loads(answer.body)["error"]["message"]
    else:
        assert foreseen.fault is None
        assert foreseen.fate


def test_every_way_is_either_foreseen_or_said_to_be_left_out() -> None:
    ruleset = with_failover(rules(KEYS), max_failover_hops=1)
    found = foresee(opened(ruleset, "openai:a|[max_context=1]gemini:g|anthropic:b"))
    told = [one.label for one in found.attempts] + [label for label, _ in found.left_out]
    assert sorted(told) == ["anthropic.1:b", "gemini:g", "openai.1:a", "openai.2:a", "openai.3:a"]


def test_a_key_in_the_query_is_not_in_the_url() -> None:
    ruleset = rules()
    wire = wire_of(
        "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent?key=AIza-secret",
        '{"contents": []}',
    )
    endpoint = ruleset.match(wire.host, wire.port, wire.method, wire.path)
    assert endpoint is not None
    [one] = foresee(Exchange.open(house_of(ruleset), endpoint, wire, "x")).attempts
    assert one.url.endswith("/v1beta/models/g:generateContent")
    assert one.key == "the client's own"


def test_a_holder_is_asked_first_and_told() -> None:
    ruleset = rules(KEYS)
    exchange = opened(ruleset, "anthropic:a|deepseek:c")
    exchange.turn.conversation.holder = "deepseek.2"
    first = foresee(exchange).attempts[0]
    assert first.label == "deepseek.2:c"
    assert any("holds this conversation" in why for why in first.why)
