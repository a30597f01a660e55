"""Who decides where an exchange goes, in which order, and what is said when a route is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.request import Request
from llmitm.dialects.catalog import DIALECTS
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.selectors import Composite, Params, Selector, Target, targets
from llmitm.stages.contract import FORWARD, Forward, Refuse, Turn
from llmitm.stages.conversation import Conversation, NamedRoute, Settings
from llmitm.stages.route import Route, label

type Make = Callable[..., Route]
URL = "https://elsewhere.example/v1"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Rules with these sections of `routes.yaml`, each loaded once."""
    folder, made = tmp_path_factory.mktemp("rules"), dict[str, Route]()

    def make(environ: dict[str, str] | None = None, **sections: Any) -> Route:
        told = json.dumps(sections)
        key = told + json.dumps(environ or {})
        if key not in made:
            (folder / "routes.yaml").write_text(told)
            made[key] = Route(load_folders([shipped_folder(), folder], environ or {}))
        return made[key]

    return make


def turn(model: str = "gpt-5", provider: str = "openai", **said: Any) -> Turn:
    """set_model: what a command has set; routes: name -> the one element."""
    routes = {
        name: NamedRoute(name=name, policy="m", elements=(text,))
        for name, text in said.pop("routes", {}).items()
    }
    one_off = said.pop("one_off", "")
    settings = Settings(model=said.pop("set_model", None), **said)
    return Turn(
        id="t",
        provider=provider,
        protocol="openai_chat",
        client="",
        model=model,
        started_s=0,
        conversation=Conversation(settings=settings, routes=routes, one_off=one_off),
    )


def asked(model: str = "gpt-5") -> Request:
    return Request(dialect="openai_chat", model=model, messages=())


def routed(stage: Route, turn: Turn) -> Forward:
    effect = stage.on_request(turn, asked(turn.model))
    assert isinstance(effect, Forward), effect
    assert effect.request is None
    return effect


def shown(route: Selector | None) -> str:
    """`groq:x`, `a:b|c:d`; a policy in front."""
    if route is None:
        return "-"
    if isinstance(route, Target):
        return label(route)
    return route.policy + " " * bool(route.policy) + route.operator.join(map(shown, route.branches))


# --- the order --------------------------------------------------------------------------------

ALIASES = [
    {"pattern": "gpt-5$", "replacement": "alias-target"},
    {"pattern": "gpt-", "replacement": "groq:other/"},
]
LEVELS: list[tuple[str, dict[str, Any], str]] = [
    ("static", {}, "anthropic:static"),
    ("one-off", {"one_off": "groq:once"}, "groq:once"),
    ("command model", {"set_model": "groq:set"}, "groq:set"),
    ("command backend", {"backend": "mistral"}, "mistral:gpt-5"),
    ("alias", {}, "alias-target"),
    ("", {}, "-"),
]


@pytest.mark.parametrize("highest", range(len(LEVELS)), ids=[row[0] or "client" for row in LEVELS])
def test_the_highest_that_says_anything_decides(highest: int, stage: Make) -> None:
    told = LEVELS[highest:]
    names = {name for name, _, _ in told}
    route = stage(
        static_route="anthropic:static" if "static" in names else None,
        aliases=ALIASES if "alias" in names else [],
    )
    said: dict[str, Any] = {}
    for _, each, _ in reversed(told):
        said |= each
    effect = routed(route, turn(**said))
    name, _, wanted = told[0]
    assert shown(effect.route) == wanted
    assert effect.why.startswith(name)
    assert effect.final is (name == "static")


@pytest.mark.parametrize("environ", [{}, {"STATIC_ROUTE": "groq:x?temperature=0.5"}])
def test_a_static_route_keeps_its_parameters_and_beats_everything(
    environ: dict[str, str], stage: Make
) -> None:
    route = stage(environ, static_route="groq:x?temperature=0.5", aliases=ALIASES)
    one = turn(one_off="mistral:y", openai_url=URL)
    effect = routed(route, one)
    assert effect.route == Target(provider="groq", model="x", params=Params(temperature=0.5))
    assert effect.final
    assert effect.why == "static route groq:x"


def test_nothing_to_do_costs_nothing(stage: Make) -> None:
    assert stage().on_request(turn(), asked()) is FORWARD
    assert stage(aliases=ALIASES).on_request(turn("claude"), asked("claude")) is FORWARD


def test_a_one_off_is_for_once(stage: Make) -> None:
    one, route = turn(one_off="groq:once"), stage()
    assert shown(routed(route, one).route) == "groq:once"
    assert one.conversation.one_off == ""
    assert routed(route, one) is FORWARD


def test_a_one_off_that_is_wrong_is_for_once_too(stage: Make) -> None:
    one, route = turn(one_off="gpt-5"), stage()
    assert isinstance(route.on_request(one, asked()), Refuse)
    assert route.on_request(one, asked()) is FORWARD


# --- each of them -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("gpt-5", "-"),
        ("ft:gpt-4o-mini:org::id", "-"),
        ("llama3:8b", "-"),
        ("anthropic.claude-3-haiku-20240307-v1:0", "-"),
        ("meta-llama/llama-3:free", "-"),
        ("accounts/a/models/b", "-"),
        ("with space", "-"),
        ("openai:gpt-5", "openai:gpt-5"),
        ("groq:x", "groq:x"),
        ("groq.2:x", "groq:x"),
        ("groq:vendor/x:free", "groq:vendor/x:free"),
        ("gpt-5?temperature=0.5", "gpt-5"),
        ("groq:x|anthropic:c", "groq:x|anthropic:c"),
        ("gpt-5|gpt-4", "gpt-5|gpt-4"),
        ("[weight=3]groq:x^anthropic:c", "groq:x^anthropic:c"),
        ("groq:x!anthropic:c", "groq:x!anthropic:c"),
        ("mine", "m groq:x"),
        ("rules", "mk anthropic:c|groq:x"),
        ("Rules", "-"),
    ],
)
def test_a_clients_model(model: str, wanted: str, stage: Make) -> None:
    route = stage(
        failover_routes={"rules": {"policy": "mk", "elements": ["anthropic:c", "groq:x"]}}
    )
    effect = routed(route, turn(model, routes={"mine": "groq:x"}))
    assert shown(effect.route) == wanted
    assert effect.why == ("" if wanted == "-" else f"model {model}")


def test_a_conversations_own_route_hides_the_rules(stage: Make) -> None:
    route = stage(failover_routes={"main": {"elements": ["anthropic:c"]}})
    assert shown(routed(route, turn("main")).route) == "m anthropic:c"
    assert shown(routed(route, turn("main", routes={"main": "groq:x"})).route) == "m groq:x"


@pytest.mark.parametrize(
    ("aliases", "model", "wanted"),
    [
        ([("gpt-5$", "groq:x")], "gpt-5", "groq:x"),
        ([("gpt-5$", "groq:x")], "gpt-5-mini", "-"),
        ([("gpt-5$", "groq:x")], "my-gpt-5", "-"),
        ([("gpt-(.*)", r"groq:openai/gpt-\1")], "gpt-5", "groq:openai/gpt-5"),
        ([("gpt-5", "groq:x"), ("gpt-", "mistral:y")], "gpt-5", "groq:x"),
        ([("gpt-4", "groq:x"), ("gpt-", "mistral:y-")], "gpt-5", "mistral:y-5"),
        ([("fast$", "groq:x|cerebras:y")], "fast", "groq:x|cerebras:y"),
        ([("fast$", "rules")], "fast", "m anthropic:c"),
        ([("gpt-5$", "other")], "gpt-5", "other"),
        ([("gpt-5$", "gpt-5?temperature=1")], "gpt-5", "gpt-5"),
        ([(".*", "groq:x")], "anthropic:c", "groq:x"),
    ],
)
def test_aliases(aliases: list[tuple[str, str]], model: str, wanted: str, stage: Make) -> None:
    rows = [{"pattern": pattern, "replacement": text} for pattern, text in aliases]
    route = stage(aliases=rows, failover_routes={"rules": {"elements": ["anthropic:c"]}})
    assert shown(routed(route, turn(model)).route) == wanted


@pytest.mark.parametrize(
    ("said", "model", "wanted"),
    [
        ({"set_model": "plain"}, "gpt-5", "plain"),
        ({"set_model": "groq:x?top_p=0.5"}, "gpt-5", "groq:x"),
        ({"set_model": "rules"}, "gpt-5", "m anthropic:c"),
        ({"set_model": "mine", "routes": {"mine": "groq:x"}}, "gpt-5", "m groq:x"),
        ({"set_model": "groq:x", "backend": "mistral"}, "gpt-5", "groq:x"),
        ({"backend": "groq"}, "vendor/x:free", "groq:vendor/x:free"),
        ({"backend": "groq"}, "llama3:8b", "groq:llama3:8b"),
        ({"backend": "groq"}, "anthropic:c", "groq:c"),
        ({"backend": "groq.2"}, "gpt-5", "groq:gpt-5"),
        ({"one_off": "rules"}, "gpt-5", "m anthropic:c"),
        ({"one_off": "groq:x|mistral:y"}, "gpt-5", "groq:x|mistral:y"),
    ],
)
def test_what_commands_said(said: dict[str, Any], model: str, wanted: str, stage: Make) -> None:
    route = stage(failover_routes={"rules": {"elements": ["anthropic:c"]}})
    assert shown(routed(route, turn(model, **said)).route) == wanted


def test_a_backend_keeps_the_key_that_was_named(stage: Make) -> None:
    effect = routed(stage(), turn(backend="groq.2"))
    assert effect.route == Target(provider="groq", instance=2, model="gpt-5")


# --- what is wrong ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "model", "at", "word"),
    [
        ({}, "gpt-5|nobody:x", 7, "nobody"),
        ({}, "groq:x|", 8, "model"),
        ({}, "groq:x|mistral:y!anthropic:c", 17, "mixed"),
        ({}, "[weight=x]groq:x^mistral:y", 2, "weight"),
        ({}, "[colour=red]groq:x^mistral:y", 2, "colour"),
        ({}, "[first]groq:x|mistral:y", 1, "only for branches of ^"),
        ({}, "groq:", 6, "model"),
        ({}, "groq:x^[thinker]mistral:y^[thinker]openai:z", None, "thinker"),
        ({"one_off": "gpt-5"}, "gpt-5", 1, "provider"),
        ({"one_off": "grok:x"}, "gpt-5", 1, "groq"),
        ({"one_off": "groq:x|y"}, "gpt-5", 8, "provider"),
        ({"set_model": "nobody:x"}, "gpt-5", 1, "nobody"),
        ({"set_model": "groq.0:x"}, "gpt-5", 1, "instance"),
        ({"backend": "nobody"}, "gpt-5", 1, "nobody"),
        ({"routes": {"mine": "nobody:x"}}, "mine", 1, "nobody"),
        ({"routes": {"mine": "x"}}, "mine", 1, "provider"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_position(
    said: dict[str, Any], model: str, at: int | None, word: str, stage: Make
) -> None:
    effect = stage().on_request(turn(model, **said), asked(model))
    assert isinstance(effect, Refuse)
    fault = effect.fault
    assert (fault.status, fault.code, fault.param) == (400, "invalid_selector", "model")
    assert fault.details == {"code": "invalid_selector", "retryable": False}
    assert word in fault.message
    if at is not None:
        assert f"(at character {at})" in fault.message
    for dialect in DIALECTS.values():
        assert b"at character" in dialect.encode_error(fault)


def test_an_alias_that_becomes_nonsense_is_told(stage: Make) -> None:
    route = stage(aliases=[{"pattern": "x-(.*)", "replacement": r"\1:y"}])
    effect = route.on_request(turn("x-nobody"), asked("x-nobody"))
    assert isinstance(effect, Refuse)
    assert "alias x-nobody -> nobody:y" in effect.fault.message
    assert "(at character 1)" in effect.fault.message


def test_a_route_by_command_without_elements_is_told(stage: Make) -> None:
    one = turn("mine")
    one.conversation.routes["mine"] = NamedRoute(name="mine", policy="k")
    effect = stage().on_request(one, asked("mine"))
    assert isinstance(effect, Refuse)
    assert "no elements" in effect.fault.message


# --- a place set by chat ----------------------------------------------------------------------


def places(route: Selector | None) -> list[tuple[str, str, str]]:
    assert route is not None
    return [(one.provider, one.model, one.base_url) for one in targets(route)]


@pytest.mark.parametrize(
    ("model", "provider", "wanted"),
    [
        ("gpt-5", "openai", [("openai", "gpt-5", URL)]),
        ("gpt-5", "openai-responses", [("openai-responses", "gpt-5", URL)]),
        ("openai:gpt-5", "anthropic", [("openai", "gpt-5", URL)]),
        ("openai.2:gpt-5", "anthropic", [("openai", "gpt-5", URL)]),
        ("groq:x", "openai", [("groq", "x", "")]),
        ("claude", "anthropic", None),
        ("groq:x|openai:y", "anthropic", [("groq", "x", ""), ("openai", "y", URL)]),
        ("mine", "anthropic", [("openai", "z", URL)]),
    ],
)
def test_a_place_set_by_chat_is_for_calls_to_openai(
    model: str, provider: str, wanted: list[tuple[str, str, str]] | None, stage: Make
) -> None:
    one = turn(model, provider, openai_url=URL, routes={"mine": "openai:z"})
    effect = routed(stage(), one)
    if wanted is None:
        assert effect.route is None or places(effect.route) == [("", model, "")]
        return
    assert places(effect.route) == wanted


def test_parameters_policy_and_marks_stay(stage: Make) -> None:
    effect = routed(stage(), turn("[weight=3]openai:x?top_p=0.5^groq:y", openai_url=URL))
    assert isinstance(effect.route, Composite)
    first = effect.route.branches[0]
    assert isinstance(first, Target)
    assert (first.marks.weight, first.params, first.base_url) == (3, Params(top_p=0.5), URL)
    effect = routed(stage(), turn("mine", openai_url=URL, routes={"mine": "openai:z"}))
    assert isinstance(effect.route, Composite)
    assert effect.route.policy == "m"


def test_the_place_is_told_in_the_trace(stage: Make) -> None:
    assert routed(stage(), turn(openai_url=URL)).why == "openai_url"
    assert routed(stage(), turn("openai:x", openai_url=URL)).why == "model openai:x, openai_url"


# --- requests that cannot be read -------------------------------------------------------------


@pytest.mark.parametrize(
    ("static", "refused"), [(None, False), ("openai:x", False), ("groq:x", True)]
)
def test_what_cannot_be_read_cannot_go_elsewhere(
    static: str | None, refused: bool, stage: Make
) -> None:
    effect = stage(static_route=static).on_unreadable(turn(), "not JSON")
    assert isinstance(effect, Refuse) is refused
    if isinstance(effect, Refuse):
        assert (effect.fault.status, effect.fault.code) == (400, "unreadable_request")
        assert "not JSON" in effect.fault.message


def test_a_changed_request_is_what_counts(stage: Make) -> None:
    """An earlier stage may have renamed the model."""
    request = replace(asked(), model="groq:x")
    effect = stage().on_request(turn("gpt-5"), request)
    assert isinstance(effect, Forward)
    assert shown(effect.route) == "groq:x"
