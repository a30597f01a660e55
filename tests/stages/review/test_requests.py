"""Which requests wait, why, and what happens when nobody decides."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.parts import Text, ToolResult
from llmitm.canon.request import Message, Request, Sampling
from llmitm.canon.turns import text_of
from llmitm.ruleset.selectors import Target
from llmitm.stages.contract import FORWARD, Answer, Forward, Hold, Refuse
from llmitm.stages.review.requests import Review
from stages.review.ruling import SHIPPED, Wish, requests, ruleset
from stages.tools.playing import asked, turn_of


def user(text: str) -> Message:
    return Message(role="user", parts=(Text(text=text),))


MODEL = Message(role="assistant", parts=(Text(text="the secret plan"),))
RESULT = Message(
    role="tool", parts=(ToolResult(call_id="c", parts=(Text(text="row 7: prod-db"),)),)
)


@pytest.mark.parametrize(
    ("rule", "turn", "request_", "held"),
    [
        ({}, {}, {}, True),
        ({"providers": ["open*"]}, {"provider": "openai"}, {}, True),
        ({"providers": ["open*"]}, {"provider": "groq"}, {}, False),
        ({"providers": ["groq"]}, {"route": Target(provider="groq", model="x")}, {}, True),
        ({"models": ["gpt-5*"]}, {"model": "GPT-5-mini"}, {}, True),
        ({"models": ["p:gpt-5*"]}, {"model": "gpt-5"}, {}, True),
        ({"models": ["gpt-5*"]}, {"model": "claude"}, {}, False),
        ({"clients": ["codex*"]}, {"client": "codex"}, {}, True),
        ({"clients": ["codex*"]}, {"client": ""}, {}, False),
        ({"tools": ["BASH"]}, {}, {}, True),
        ({"tools": ["edit*"]}, {}, {}, False),
        ({"text": "prod-db"}, {}, {"messages": (user("look at prod-db"),)}, True),
        ({"text": "prod-db"}, {}, {"messages": (user("hm"), MODEL, RESULT)}, True),
        ({"text": "secret plan"}, {}, {"messages": (user("hm"), MODEL, RESULT)}, False),
        ({"text": "hm"}, {}, {"messages": (user("hm"), MODEL, RESULT)}, False),
        ({"regex": r"prod-\w{1,9}"}, {}, {"messages": (user("hm"), MODEL, RESULT)}, True),
        ({"regex": r"prod-\d"}, {}, {"messages": (user("hm"), MODEL, RESULT)}, False),
        ({"over_tokens": 25}, {}, {"messages": (user("x" * 104),)}, True),
        ({"over_tokens": 26}, {}, {"messages": (user("x" * 104),)}, False),
        ({"over_usd": 0.0001}, {"model": "gpt-5"}, {}, True),
        ({"over_usd": 10}, {"model": "gpt-5"}, {}, False),
        ({"over_usd": 0}, {"model": "unpriced-model"}, {}, False),
        ({"first_use": True}, {}, {}, True),
        ({"first_use": True}, {}, {"messages": (user("hm"), MODEL, user("on"))}, False),
        ({"first_use": True}, {}, {"previous_response_id": "r"}, False),
        ({"first_use": False}, {}, {"previous_response_id": "r"}, True),
        ({"verdicts": ["secret", "loop"]}, {"verdicts": {"secret"}}, {}, True),
        ({"verdicts": ["loop"]}, {"verdicts": {"secret"}}, {}, False),
        ({"filter": "~u x"}, {}, {}, False),
        ({"enabled": False}, {}, {}, False),
        ({"hold": "response"}, {}, {}, False),
    ],
)
def test_a_request_waits_where_all_that_its_rule_says_is_so(
    rule: dict[str, Any], turn: dict[str, Any], request_: dict[str, Any], held: bool
) -> None:
    stage = requests({"hold": "request", **rule})
    effect = stage.on_request(turn_of(**turn), replace(asked(), **request_))
    assert isinstance(effect, Hold) is held
    if isinstance(effect, Hold):
        assert (effect.rule, effect.timeout_s, effect.may_approve) == ("rule-1", 300, True)
        assert effect.call is None
        assert effect.response is None


def test_nothing_waits_with_the_shipped_rules() -> None:
    assert Review(SHIPPED).on_request(turn_of(), asked()) is FORWARD


def test_the_first_rule_that_fits_holds() -> None:
    stage = requests(
        {"hold": "request", "models": ["other"]},
        {"hold": ["request", "tool_call"], "timeout_s": 7},
        {"hold": "request"},
    )
    effect = stage.on_request(turn_of(), asked())
    assert isinstance(effect, Hold)
    assert (effect.rule, effect.timeout_s) == ("rule-2", 7)


def test_no_rule_holds_anything_where_the_file_says_so() -> None:
    assert requests({"hold": "request"}, enabled=False).on_request(turn_of(), asked()) is FORWARD


def test_the_cost_counts_the_expected_answer() -> None:
    price = SHIPPED.models.price("gpt-5")
    assert price is not None
    assert price.output is not None
    answer = SHIPPED.budgets.expected_output_tokens * price.output / 1e6
    stage = requests({"hold": "request", "over_usd": answer * 0.9})
    turn = turn_of(model="gpt-5")
    assert isinstance(stage.on_request(turn, asked()), Hold)
    short = replace(asked(), sampling=Sampling(max_tokens=16))
    assert stage.on_request(turn, short) is FORWARD


def test_without_a_decision_it_is_refused() -> None:
    effect = requests({"hold": "request"}, timeout_s=60).on_request(turn_of(), asked())
    assert isinstance(effect, Hold)
    assert effect.timeout_s == 60
    assert isinstance(effect.default, Refuse)
    fault = effect.default.fault
    assert (fault.status, fault.code) == (403, "review_timeout")
    # The client's patience may have ended the wait before the rule's time.
    assert not any(map(str.isdigit, fault.message))


def test_without_a_decision_it_goes_on_or_is_answered_where_its_rule_says_so() -> None:
    on = requests({"hold": "request", "on_timeout": "approve"}).on_request(turn_of(), asked())
    assert isinstance(on, Hold)
    assert isinstance(on.default, Forward)
    rule = {"hold": "request", "on_timeout": "answer", "answer": "Later, please."}
    said = requests(rule).on_request(turn_of(), asked())
    assert isinstance(said, Hold)
    assert isinstance(said.default, Answer)
    (choice,) = said.default.response.choices
    assert text_of(choice.parts) == "Later, please."
    assert choice.finish is not None
    assert choice.finish.reason == "stop"
    assert said.default.response.ended


def test_where_an_operator_is_the_model_nothing_can_be_approved() -> None:
    effect = requests({"hold": "request", "human": True}).on_request(turn_of(), asked())
    assert isinstance(effect, Hold)
    assert not effect.may_approve
    assert isinstance(effect.default, Refuse)


def test_what_was_found_is_told() -> None:
    turn = turn_of(verdicts={"secret", "loop"})
    effect = requests({"hold": "request", "verdicts": ["secret"]}).on_request(turn, asked())
    assert isinstance(effect, Hold)
    assert effect.verdicts == ("loop", "secret")
    assert effect.reason == "a request with secret found"


def test_a_sample_is_a_share_and_the_same_at_every_look() -> None:
    stage = requests({"hold": "request", "sample": 0.1})

    def held(number: int) -> bool:
        return isinstance(stage.on_request(turn_of(id=f"flow-{number}"), asked()), Hold)

    first = [held(number) for number in range(2000)]
    assert first == [held(number) for number in range(2000)]
    assert 150 < sum(first) < 250


def test_mitmproxy_s_own_filter_is_asked_last() -> None:
    heard: list[tuple[str, str]] = []

    def by_filter(exchange: str, expression: str) -> bool:
        heard.append((exchange, expression))
        return expression == "~u /v1"

    rules = ruleset(
        {"hold": "request", "models": ["none"], "filter": "~u /v1"},
        {"hold": "request", "filter": "~u /v2"},
        {"hold": "request", "filter": "~u /v1"},
    )
    effect = Review(rules, None, by_filter).on_request(turn_of(id="f"), asked())
    assert isinstance(effect, Hold)
    assert effect.rule == "rule-3"
    assert heard == [("f", "~u /v2"), ("f", "~u /v1")]


def test_an_operator_may_ask_for_it_by_hand() -> None:
    effect = Review(SHIPPED, Wish("request")).on_request(turn_of(), asked())
    assert isinstance(effect, Hold)
    assert (effect.rule, effect.reason) == ("", "an operator asked for it")
    assert Review(SHIPPED, Wish("response")).on_request(turn_of(), asked()) is FORWARD


def test_long_texts_are_searched_at_both_ends() -> None:
    stage = requests({"hold": "request", "regex": "needle"})
    for text in (f"needle{'x' * 900_000}", f"{'x' * 900_000}needle"):
        request = Request(dialect="d", model="m", messages=(user(text),))
        assert isinstance(stage.on_request(turn_of(), request), Hold)
