"""Failover routes by command belong to the conversation."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.stages.commands.engine import run
from llmitm.stages.conversation import Conversation, NamedRoute
from stages.commands.running import do, is_directory

MADE = NamedRoute(name="main", policy="m", elements=("openai:a",))


def with_route() -> Conversation:
    return Conversation(routes={"main": MADE})


def test_a_route_from_its_making_to_its_end() -> None:
    conversation = Conversation()
    assert do(conversation, "list-failover-route").told == "There are no failover routes."
    made = do(conversation, "create-failover-route(name=main, policy=m)")
    assert "is empty; fill it with !/route-append(name=main, backend:model)" in made.said
    text = "route-append(name=main, openrouter:gpt-4, openrouter:sonnet-3.5)"
    assert "openrouter:gpt-4, openrouter:sonnet-3.5" in do(conversation, text).said
    assert do(conversation, "route-prepend(name=main, openai:x, element=openai:y)").ok
    elements = ("openai:y", "openai:x", "openrouter:gpt-4", "openrouter:sonnet-3.5")
    assert conversation.routes == {"main": NamedRoute(name="main", policy="m", elements=elements)}
    told = do(conversation, "route-list(name=main)").told
    assert told == f"Route main (policy m): {', '.join(elements)}."
    assert do(conversation, "create-failover-route(name=main, policy=MK)").ok
    assert conversation.routes["main"].elements == elements
    assert do(conversation, "list-failover-routes").told == "main:mk"
    assert do(conversation, "route-clear(main)").ok
    assert conversation.routes["main"].elements == ()
    assert do(conversation, "delete-failover-route(name=main)").ok
    assert conversation == Conversation()


def test_the_two_lines_of_the_guide() -> None:
    conversation = Conversation()
    text = (
        "create-failover-route(name=main_fallback, policy=m)\n"
        "!/route-append(name=main_fallback, openrouter:gpt-4, openrouter:sonnet-3.5)"
    )
    assert do(conversation, text).ok
    elements = ("openrouter:gpt-4", "openrouter:sonnet-3.5")
    assert conversation.routes["main_fallback"].elements == elements


@pytest.mark.parametrize(
    ("text", "say"),
    [
        ("create-failover-route", "both are needed"),
        ("create-failover-route(name=a)", "both are needed"),
        ("create-failover-route(policy=k)", "both are needed"),
        ("create-failover-route(name=a, policy=kk)", "there is k, m, km, mk"),
        ("create-failover-route(name=a:b, policy=k)", "no route's name"),
        ("create-failover-route(name='a b', policy=k)", "no route's name"),
        ("create-failover-route(nam=a, policy=k)", "did you mean name?"),
        ("create-failover-route(name=a, policy=k, x)", "'x' has no place here"),
        ("delete-failover-route", "say which route"),
        ("delete-failover-route(name=mian)", "did you mean main?"),
        ("route-list", "say which route"),
        ("route-list(name=zzz)", "there is no route 'zzz'; there is main"),
        ("route-append(name=main)", "say what to add"),
        ("route-append(openai:a)", "say which route"),
        ("route-append(name=main, gpt-5)", "names no provider"),
        ("route-append(name=main, opnai:a)", "did you mean openai?"),
        ("route-append(name=main, openai:a, openai:b|openai:c)", "a route's element is one"),
        ("route-append(name=main, element=openai:a, element=openai:b)", "element is given twice"),
        ("route-prepend(name=main, bedrock:x)", "never the target"),
        ("route-append(name=main, " + ", ".join(["openai:a"] * 100) + ")", "at most 100"),
        ("route-clear(name=other)", "there is no route 'other'"),
        ("list-failover-routes(all)", "it takes no parameters"),
    ],
)
def test_what_makes_no_sense_changes_nothing(text: str, say: str) -> None:
    conversation = with_route()
    outcome = do(conversation, text)
    assert not outcome.ok
    assert say in outcome.said
    assert conversation == with_route()


def test_a_route_where_there_is_none() -> None:
    said = do(Conversation(), "route-append(name=x, openai:a)").said
    assert "there is no route 'x'; !/create-failover-route makes one" in said


def test_routes_do_not_go_on_for_ever() -> None:
    conversation = Conversation()
    for number in range(100):
        assert do(conversation, f"create-failover-route(name=r{number}, policy=k)").ok
    outcome = do(conversation, "create-failover-route(name=one-more, policy=k)")
    assert not outcome.ok
    assert "delete one first" in outcome.said


def test_routes_of_the_rules_are_listed_and_left_alone(tmp_path: Path) -> None:
    text = "failover_routes:\n  house: {policy: km, elements: [openai:gpt-5, anthropic:c]}\n"
    (tmp_path / "routes.yaml").write_text(text)
    rules = load_folders([shipped_folder(), tmp_path], {})
    conversation = with_route()

    def told(text: str) -> str:
        return run(conversation, rules, text, is_directory).said

    assert told("list-failover-routes") == "main:m, house:km (rules)"
    listed = "Route house of the rules (policy km): openai:gpt-5, anthropic:c."
    assert told("route-list(name=house)") == listed
    assert "cannot be changed here" in told("route-append(name=house, openai:a)")
    assert "cannot be changed here" in told("delete-failover-route(name=house)")
    assert "choose another name" in told("create-failover-route(name=house, policy=k)")
    assert conversation == with_route()
