"""From every form of a route to the candidates in their order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import houses
from llmitm.canon.events import Fault
from llmitm.canon.request import Request
from llmitm.exchange.choosing import Chooser, Chosen
from llmitm.exchange.credentials import Standing
from llmitm.exchange.instances import Instance, Instances
from llmitm.ruleset.named_routes import named_route
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import BadSelector, Composite, Selector
from llmitm.stages.contract import Turn

ENVIRON = {
    **{f"OPENAI_API_KEY_{number}": f"openai-{number}" for number in (1, 2, 3)},
    **{f"GROQ_API_KEY_{number}": f"groq-{number}" for number in (1, 2)},
    "ANTHROPIC_API_KEY": "anthropic-1",
}
RULES = houses.rules(ENVIRON)
OWN, STORED = Standing("own"), Standing("stored")
ASKED = Request(dialect="openai_chat", model="mine", messages=())


class Lots:
    """What each roll says, in order; then always 0."""

    def __init__(self, *said: float) -> None:
        self.said = list(said)

    def __call__(self) -> float:
        return self.said.pop(0) if self.said else 0.0


def chooser(
    ruleset: Ruleset = RULES,
    roll: Callable[[], float] = lambda: 0.0,
    eligible: tuple[str, ...] = (),
) -> Chooser:
    return Chooser(
        ruleset=ruleset,
        instances=Instances(ruleset.routes.failover),
        roll=roll,
        eligible=lambda model: eligible,
    )


def selector(text: str) -> Selector:
    found = RULES.selector(text)
    assert not isinstance(found, BadSelector), found
    return found


def route(policy: str, *elements: str) -> Composite:
    found = named_route(policy, elements, RULES.providers)
    assert isinstance(found, Composite), found
    return found


def pick(
    chooser: Chooser,
    wanted: Selector | str | None,
    client: Standing = STORED,
    request: Request = ASKED,
    turn: Turn | None = None,
    body_bytes: int = 0,
) -> Chosen | Fault:
    turn = turn or houses.turn_of()
    turn.route = selector(wanted) if isinstance(wanted, str) else wanted
    return chooser.choose(turn, request, body_bytes, client, 0.0)


def labels(chosen: Chosen | Fault) -> list[str]:
    assert isinstance(chosen, Chosen), chosen
    return [one.label for one in chosen.candidates]


def order(wanted: Selector | str | None, **more: Any) -> list[str]:
    return labels(pick(chooser(), wanted, **more))


# --- one target -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "client", "order_"),
    [
        (None, OWN, ["openai:mine"]),
        (None, STORED, ["openai.1:mine", "openai.2:mine", "openai.3:mine"]),
        ("gpt-5", OWN, ["openai:gpt-5"]),
        ("gpt-5", STORED, ["openai.1:gpt-5", "openai.2:gpt-5", "openai.3:gpt-5"]),
        ("openai:gpt-5", OWN, ["openai:gpt-5"]),
        ("openai:gpt-5", STORED, ["openai.1:gpt-5", "openai.2:gpt-5", "openai.3:gpt-5"]),
        ("openai.2:gpt-5", OWN, ["openai.2:gpt-5"]),
        ("openai.2:gpt-5", STORED, ["openai.2:gpt-5"]),
        ("groq:a/b:free", OWN, ["groq.1:a/b:free", "groq.2:a/b:free"]),
        ("groq:a/b:free", STORED, ["groq.1:a/b:free", "groq.2:a/b:free"]),
        ("anthropic:c", OWN, ["anthropic.1:c"]),
        ("anthropic.1:c", OWN, ["anthropic.1:c"]),
        ("vendor/model:free", OWN, ["openai:vendor/model:free"]),
        ("mistral:m", OWN, ["mistral:m"]),  # no key: `lanes` says so
        ("groq:m?temperature=0.5", OWN, ["groq.1:m", "groq.2:m"]),
    ],
)
def test_one_target(wanted: str | None, client: Standing, order_: list[str]) -> None:
    assert order(wanted, client=client) == order_


@pytest.mark.parametrize(
    ("wanted", "named"), [("openai.4:m", "OPENAI_API_KEY_4"), ("mistral.1:m", "MISTRAL_API_KEY_1")]
)
def test_a_key_that_is_not_there(wanted: str, named: str) -> None:
    fault = pick(chooser(), wanted)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.code, fault.param) == (400, "unsupported_on_instance", "model")
    assert fault.details == {"code": "unsupported_on_instance", "retryable": False}
    assert named in fault.message


def test_the_key_and_the_parameters_go_with_the_candidate() -> None:
    chosen = pick(chooser(), "groq.2:m?temperature=0.5")
    assert isinstance(chosen, Chosen)
    (one,) = chosen.candidates
    assert one.key is not None
    assert one.key.get_secret_value() == "groq-2"
    assert one.target is not None
    assert one.target.params.temperature == 0.5
    assert "groq-2" not in repr(chosen)


def test_a_client_with_its_own_key_has_an_instance_of_its_own() -> None:
    chosen = pick(chooser(), None, OWN)
    assert isinstance(chosen, Chosen)
    (one,) = chosen.candidates
    assert one.key is None
    assert one.instance == Instance("openai", 0, "", b"one client")


# --- keys in turn -----------------------------------------------------------------------------


def test_keys_take_turns() -> None:
    house = chooser()
    firsts = [labels(pick(house, "openai:m"))[0] for _ in range(7)]
    assert [first[7] for first in firsts] == list("1231231")
    assert labels(pick(house, "openai:m")) == ["openai.2:m", "openai.3:m", "openai.1:m"]
    assert labels(pick(house, "groq:m")) == ["groq.1:m", "groq.2:m"]
    assert labels(pick(house, "groq:m")) == ["groq.2:m", "groq.1:m"]


def test_a_key_that_was_asked_for_takes_nobodys_turn() -> None:
    house = chooser()
    for _ in range(5):
        pick(house, "openai.3:m")
    assert labels(pick(house, "openai:m"))[0] == "openai.1:m"


@given(st.integers(1, 20), st.integers(1, 60))
@settings(max_examples=20, deadline=None)
def test_every_key_is_used_as_often_as_the_others(keys: int, calls: int) -> None:
    environ = {f"OPENAI_API_KEY_{number}": f"k{number}" for number in range(1, keys + 1)}
    held = replace(
        RULES.providers["openai"], key_set=houses.rules(environ).providers["openai"].key_set
    )
    house = chooser(replace(RULES, providers={**RULES.providers, "openai": held}))
    used = [labels(pick(house, "openai:m"))[0] for _ in range(calls)]
    counts = [used.count(f"openai.{number}:m") for number in range(1, keys + 1)]
    assert sum(counts) == calls
    assert max(counts) - min(counts) <= 1


# --- composites -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "order_"),
    [
        ("groq:x|anthropic:c", ["groq.1:x", "groq.2:x", "anthropic.1:c"]),
        ("anthropic:c|groq.2:x|groq:y", ["anthropic.1:c", "groq.2:x", "groq.1:y", "groq.2:y"]),
        (
            "anthropic:c|other",
            ["anthropic.1:c", "openai.1:other", "openai.2:other", "openai.3:other"],
        ),
        ("groq.1:x|groq.1:x", ["groq.1:x", "groq.1:x"]),
    ],
)
def test_one_after_the_other(wanted: str, order_: list[str]) -> None:
    chosen = pick(chooser(), wanted)
    assert labels(chosen) == order_
    assert isinstance(chosen, Chosen)
    assert not chosen.race


A, B, C = "anthropic:a", "anthropic:b", "anthropic:c"


@pytest.mark.parametrize(
    ("wanted", "rolls", "order_"),
    [
        (f"{A}^{B}", (0.0,), "ab"),
        (f"{A}^{B}", (0.49,), "ab"),
        (f"{A}^{B}", (0.5,), "ba"),
        (f"{A}^{B}", (0.99,), "ba"),
        (f"[weight=3]{A}^{B}", (0.74,), "ab"),
        (f"[weight=3]{A}^{B}", (0.75,), "ba"),
        (f"[weight=3]{A}^[weight=1]{B}", (0.74,), "ab"),
        (f"[weight=0.5]{A}^[weight=1.5]{B}", (0.24,), "ab"),
        (f"[weight=0.5]{A}^[weight=1.5]{B}", (0.25,), "ba"),
        # a branch that fails: the roll is repeated without it
        (f"[weight=2]{A}^{B}^{C}", (0.6, 0.0), "bac"),
        (f"[weight=2]{A}^{B}^{C}", (0.6, 0.66), "bac"),
        (f"[weight=2]{A}^{B}^{C}", (0.6, 0.67), "bca"),
        (f"[weight=2]{A}^{B}^{C}", (0.8, 0.9), "cba"),
        # the first request of a conversation
        (f"{A}^[first]{B}^{C}", (0.0,), "bac"),
        (f"{A}^[first]{B}^{C}", (0.9,), "bca"),
        (f"[weight=100]{A}^[first,weight=0.1]{B}", (0.0,), "ba"),
    ],
)
def test_one_by_lot(wanted: str, rolls: tuple[float, ...], order_: str) -> None:
    found = labels(pick(chooser(roll=Lots(*rolls)), wanted))
    assert found == [f"anthropic.1:{letter}" for letter in order_]


def test_first_is_for_the_first_request_alone() -> None:
    turn = houses.turn_of()
    turn.conversation.model_turns = 1
    found = labels(pick(chooser(roll=Lots(0.0)), f"{A}^[first]{B}", turn=turn))
    assert found == ["anthropic.1:a", "anthropic.1:b"]


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.lists(st.floats(0, 1), max_size=5))
def test_whatever_the_lots_say_every_branch_is_there_once(
    weights: list[int], rolls: list[float]
) -> None:
    text = "^".join(f"[weight={weight}]anthropic:m{at}" for at, weight in enumerate(weights))
    found = labels(pick(chooser(roll=Lots(*rolls)), text))
    assert sorted(found) == [f"anthropic.1:m{at}" for at in range(len(weights))]


@pytest.mark.parametrize(
    ("wanted", "body_bytes", "order_"),
    [
        (f"[max_context=100]{A}|{B}", 400, "ab"),
        (f"[max_context=100]{A}|{B}", 404, "b"),
        (f"[max_context=100]{A}^{B}", 404, "b"),
        (f"[max_context=100]{A}|[max_context=200]{B}|{C}", 700, "bc"),
        (f"[max_context=100]{A}|[max_context=200]{B}", 900, None),
        (f"[max_context=100,weight=5]{A}^[max_context=200]{B}", 900, None),
    ],
)
def test_branches_that_are_too_small(wanted: str, body_bytes: int, order_: str | None) -> None:
    chosen = pick(chooser(), wanted, body_bytes=body_bytes)
    if order_ is not None:
        assert labels(chosen) == [f"anthropic.1:{letter}" for letter in order_]
        return
    assert isinstance(chosen, Fault)
    assert (chosen.status, chosen.code) == (400, "context_length_exceeded")
    assert (chosen.kind, chosen.param) == ("context_length", "model")


@pytest.mark.parametrize(
    ("told", "order_"), [(100, "ab"), (101, "b"), (0, "ab"), (-1, "b"), (True, "b"), ("100", "b")]
)
def test_a_client_may_tell_its_size(told: Any, order_: str) -> None:
    request = replace(ASKED, extras={"request_context_tokens": told})
    chosen = pick(chooser(), f"[max_context=100]{A}|{B}", request=request, body_bytes=4000)
    assert labels(chosen) == [f"anthropic.1:{letter}" for letter in order_]


STREAMED = replace(ASKED, stream=True)


def test_all_at_once() -> None:
    chosen = pick(chooser(), "groq:x!anthropic:c!openai.3:m", request=STREAMED)
    assert labels(chosen) == ["groq.1:x", "anthropic.1:c", "openai.3:m"]
    assert isinstance(chosen, Chosen)
    assert chosen.race


def test_all_at_once_needs_a_stream() -> None:
    fault = pick(chooser(), "groq:x!anthropic:c")
    assert isinstance(fault, Fault)
    assert (fault.status, fault.param) == (400, "model")
    assert "stream" in fault.message


def test_all_at_once_with_one_that_is_large_enough_is_no_race() -> None:
    for request in (ASKED, STREAMED):
        chosen = pick(
            chooser(), "[max_context=1]groq.1:x!anthropic:c", request=request, body_bytes=400
        )
        assert labels(chosen) == ["anthropic.1:c"]
        assert isinstance(chosen, Chosen)
        assert not chosen.race


def test_all_at_once_leaves_out_a_key_that_rests() -> None:
    house = chooser()
    house.instances.rest(Instance("groq", 1), "x", 100.0)
    chosen = pick(house, "groq:x!anthropic:c", request=STREAMED)
    assert labels(chosen) == ["groq.2:x", "anthropic.1:c"]


def test_a_branch_that_cannot_be_is_told() -> None:
    fault = pick(chooser(), "groq:x|openai.9:m")
    assert isinstance(fault, Fault)
    assert fault.code == "unsupported_on_instance"


# --- a model without a provider ---------------------------------------------------------------


def preferring(preference: str, **numbers: dict[str, Any]) -> Ruleset:
    providers = dict(RULES.providers)
    for name, changes in numbers.items():
        row = providers[name].row.model_copy(update=changes)
        providers[name] = replace(providers[name], row=row)
    routes = RULES.routes.model_copy(update={"model_preference": preference})
    return replace(RULES, providers=providers, routes=routes)


OFFERING = ("anthropic", "groq", "openrouter")


def test_in_turn_among_those_that_offer_a_model() -> None:
    house = chooser(eligible=("anthropic", "groq"))
    assert labels(pick(house, "m")) == ["anthropic.1:m", "groq.1:m", "groq.2:m"]
    assert labels(pick(house, "m")) == ["groq.2:m", "groq.1:m", "anthropic.1:m"]
    assert labels(pick(house, "n"))[0] == "anthropic.1:n", "each model has turns of its own"
    assert labels(pick(house, "m"))[0] == "anthropic.1:m"


@pytest.mark.parametrize(
    ("preference", "numbers", "order_"),
    [
        ("cost", {"groq": 0.5, "anthropic": 3}, ["groq", "anthropic", "openrouter"]),
        ("cost", {"openrouter": 0, "groq": 1}, ["openrouter", "groq", "anthropic"]),
        ("cost", {}, ["anthropic", "groq", "openrouter"]),
        ("priority", {"openrouter": 2, "groq": 1}, ["openrouter", "groq", "anthropic"]),
        ("priority", {"anthropic": -1}, ["groq", "openrouter", "anthropic"]),
        ("priority", {}, ["anthropic", "groq", "openrouter"]),
    ],
)
def test_by_cost_or_priority(preference: str, numbers: dict[str, float], order_: list[str]) -> None:
    rows = {name: {preference: number} for name, number in numbers.items()}
    house = chooser(preferring(preference, **rows), eligible=OFFERING)
    for _ in range(2):
        found = [one.instance.provider for one in _chosen(pick(house, "m")).candidates]
        assert list(dict.fromkeys(found)) == order_


def _chosen(chosen: Chosen | Fault) -> Chosen:
    assert isinstance(chosen, Chosen)
    return chosen


def test_the_clients_own_model_stays_with_its_provider() -> None:
    house = chooser(eligible=("groq",))
    assert labels(pick(house, "mine?temperature=1", OWN)) == ["openai:mine"]
    assert labels(pick(house, "other", OWN)) == ["groq.1:other", "groq.2:other"]


def test_what_nobody_is_known_to_offer_stays_too() -> None:
    assert labels(pick(chooser(eligible=()), "other", OWN)) == ["openai:other"]


def test_the_rules_say_who_offers_a_model() -> None:
    house = houses.house_of(houses.rules({"ANTHROPIC_API_KEY": "a", "OPENAI_API_KEY": "o"}))
    turn = houses.turn_of()
    turn.route = selector("claude-sonnet-4-5")
    assert labels(house.chooser.choose(turn, ASKED, 0, OWN, 0.0)) == [
        "anthropic.1:claude-sonnet-4-5"
    ]


# --- named routes -----------------------------------------------------------------------------

ELEMENTS = ("groq:x", "openai:y", "anthropic:z")


@pytest.mark.parametrize(
    ("policy", "order_"),
    [
        ("k", ["groq.1:x", "groq.2:x"]),
        ("m", ["groq.1:x", "openai.1:y", "anthropic.1:z"]),
        (
            "km",
            ["groq.1:x", "groq.2:x", "openai.1:y", "openai.2:y", "openai.3:y", "anthropic.1:z"],
        ),
        (
            "mk",
            ["groq.1:x", "openai.1:y", "anthropic.1:z", "groq.2:x", "openai.2:y", "openai.3:y"],
        ),
    ],
)
def test_policies_go_through_keys_by_number_every_time(policy: str, order_: list[str]) -> None:
    house = chooser()
    for _ in range(3):
        assert labels(pick(house, route(policy, *ELEMENTS))) == order_


@pytest.mark.parametrize(
    ("policy", "order_"),
    [
        ("k", ["groq.2:x", "groq.1:x"]),
        ("m", ["groq.2:x", "openai.3:y", "anthropic.1:z"]),
        (
            "km",
            ["groq.2:x", "groq.1:x", "openai.3:y", "openai.1:y", "openai.2:y", "anthropic.1:z"],
        ),
        (
            "mk",
            ["groq.2:x", "openai.3:y", "anthropic.1:z", "groq.1:x", "openai.1:y", "openai.2:y"],
        ),
    ],
)
def test_the_first_key_is_the_first_that_does_not_rest(policy: str, order_: list[str]) -> None:
    house = chooser()
    house.instances.rest(Instance("groq", 1), "x", 9.0)
    house.instances.rest(Instance("openai", 1), "y", 9.0)
    house.instances.rest(Instance("openai", 2), "", 9.0)
    house.instances.rest(Instance("openai", 3), "another model", 9.0)
    assert labels(pick(house, route(policy, *ELEMENTS))) == order_


def test_an_element_may_name_its_key() -> None:
    assert labels(pick(chooser(), route("km", "openai.2:y", "groq:x"))) == [
        "openai.2:y",
        "groq.1:x",
        "groq.2:x",
    ]
    assert labels(pick(chooser(), route("k", "openai.2:y", "groq:x"))) == ["openai.2:y"]


# --- who holds the conversation ---------------------------------------------------------------


def holding(holder: str) -> Turn:
    turn = houses.turn_of()
    turn.conversation.holder = holder
    return turn


@pytest.mark.parametrize(
    ("holder", "wanted", "order_"),
    [
        ("", "groq:x|anthropic:c", ["groq.1:x", "groq.2:x", "anthropic.1:c"]),
        ("anthropic.1", "groq:x|anthropic:c", ["anthropic.1:c", "groq.1:x", "groq.2:x"]),
        ("groq.2", "groq:x|anthropic:c", ["groq.2:x", "groq.1:x", "anthropic.1:c"]),
        ("openai.2", "groq:x|anthropic:c", ["groq.1:x", "groq.2:x", "anthropic.1:c"]),
        ("groq.2", "anthropic:c", ["anthropic.1:c"]),
    ],
)
def test_the_holder_comes_first(holder: str, wanted: str, order_: list[str]) -> None:
    assert order(wanted, turn=holding(holder)) == order_


@pytest.mark.parametrize(
    ("holder", "order_"),
    [
        ("groq.2", ["groq.2:x"]),
        ("", ["groq.1:x", "groq.2:x", "anthropic.1:c"]),
        ("openai.2", ["groq.1:x", "groq.2:x", "anthropic.1:c"]),
    ],
)
def test_state_at_a_provider_is_asked_of_its_holder_alone(holder: str, order_: list[str]) -> None:
    request = replace(ASKED, previous_response_id="resp_1")
    assert order("groq:x|anthropic:c", turn=holding(holder), request=request) == order_


def test_a_race_that_its_holder_has_won_is_none() -> None:
    request = replace(STREAMED, previous_response_id="resp_1")
    chosen = _chosen(pick(chooser(), "groq:x!anthropic:c", turn=holding("groq.1"), request=request))
    assert labels(chosen) == ["groq.1:x"]
    assert not chosen.race


# --- a place that was set by chat -------------------------------------------------------------


def at(url: str, text: str = "openai:m") -> Selector:
    target = selector(text)
    assert not isinstance(target, Composite)
    return replace(target, base_url=url)


@pytest.mark.parametrize("text", ["openai:m", "openai.2:m"])
def test_a_place_set_by_chat_is_where_it_goes(text: str) -> None:
    url = "https://elsewhere.example/v1"
    chosen = _chosen(pick(chooser(), at(url, text)))
    assert [one.instance.base_url for one in chosen.candidates] == [url]
    assert [one.key for one in chosen.candidates] == [None]


@pytest.mark.parametrize(
    ("url", "keys"),
    [
        ("http://127.0.0.1:9/v1", ["openai-1", "openai-2", "openai-3"]),
        ("http://localhost:9/v1", ["openai-1", "openai-2", "openai-3"]),
        ("https://api.openai.com/v1", ["openai-1", "openai-2", "openai-3"]),
        ("https://api.openai.com.evil.example/v1", [None]),
        ("http://api.openai.com/v1", [None]),
        ("https://elsewhere.example/v1", [None]),
    ],
)
def test_a_stored_key_goes_only_to_places_that_may_have_it(
    url: str, keys: list[str | None]
) -> None:
    chosen = _chosen(pick(chooser(), at(url)))
    found = [one.key.get_secret_value() if one.key else None for one in chosen.candidates]
    assert found == keys
    assert {one.instance.base_url for one in chosen.candidates} == {url}


def test_nothing_shows_a_key() -> None:
    chosen = _chosen(pick(chooser(), "openai:m|groq:x"))
    told = json.dumps([repr(chosen), *labels(chosen)])
    assert not any(key in told for key in ENVIRON.values())
