"""The commands of the chat as an operator gives them, through mitmproxy's own command manager."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import exceptions, http, options
from mitmproxy.addons.view import View
from mitmproxy.hooks import ConfigureHook
from mitmproxy.test import tflow
from mitmproxy.tools.dump import DumpMaster

from llmitm.exchange.instances import Instance
from llmitm.mitm.addons import Llmitm
from llmitm.mitm.chat_commands import ChatCommands
from llmitm.mitm.rulebook import MEMORY_FILE, Rulebook
from llmitm.mitm.running import CONVERSATION
from llmitm.record.memory import DiskMemory
from llmitm.stages.commands.parameters import parameter_names
from llmitm.stages.conversation import Conversation, NamedRoute


class Operator:
    """A proxy's addons with a few flows, and somebody who gives commands as text."""

    def __init__(self, rulebook: Rulebook) -> None:
        self.rulebook = rulebook
        self.master = DumpMaster(options.Options(), with_termlog=False, with_dumper=False)
        self.view = View()
        self.master.addons.add(self.view, Llmitm((rulebook, ChatCommands(rulebook))))
        self.master.addons.trigger(ConfigureHook({"llm_rules"}))

    def flow(self, key: str | None, known: bool = True) -> http.HTTPFlow:
        made = tflow.tflow(resp=True)
        if key is not None:
            made.metadata[CONVERSATION] = key
            if key and known:
                self.rulebook.house().memory.save(Conversation(key=key))
        self.view.add([made])
        return made

    def talk(self, key: str) -> Conversation:
        found = self.rulebook.house().memory.conversation(key)
        assert found is not None
        return found

    def __call__(self, name: str, *words: str) -> Any:
        return self.master.commands.call_strings(name, list(words))

    def fails(self, name: str, *words: str) -> str:
        with pytest.raises(exceptions.CommandError) as raised:
            self(name, *words)
        return str(raised.value)


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., None]:
    def run(scene: Callable[[Operator], None], environ: dict[str, str] | None = None) -> None:
        async def inside() -> None:
            rulebook = Rulebook(environ={"LLMITM_HOME": str(tmp_path), **(environ or {})})
            scene(Operator(rulebook))
            rulebook.done()

        asyncio.run(inside())

    return run


def at(flow: http.HTTPFlow) -> str:
    return f"@{flow.id}"


def test_settings_are_set_told_and_forgotten(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow("one")
        said = operator("llm.set", at(flow), "model=anthropic:claude-x,temperature=0.5")
        assert said == "model is now anthropic:claude-x. temperature is now 0.5."
        settings = operator.talk("one").settings
        assert (settings.model, settings.temperature) == ("anthropic:claude-x", 0.5)
        shown = operator("llm.settings", at(flow))
        assert shown.splitlines() == ["model = anthropic:claude-x", "temperature = 0.5"]
        operator("llm.unset", at(flow), "temperature, model")
        assert operator("llm.settings", at(flow)) == "Nothing is set in this conversation."

    play(scene)


def test_they_are_on_the_disk_when_the_command_returns(
    play: Callable[..., None], tmp_path: Path
) -> None:
    def scene(operator: Operator) -> None:
        operator("llm.set", at(operator.flow("kept")), "project='my app'")
        other = DiskMemory(tmp_path / MEMORY_FILE, say=pytest.fail)
        found = other.conversation("kept")
        assert found is not None
        assert found.settings.project == "my app"
        other.close()

    play(scene)


@pytest.mark.parametrize(
    ("selector", "held"),
    [
        ("anthropic:claude-x", "anthropic:claude-x"),
        ("openai:a|gemini:b", "openai:a|gemini:b"),
        ("[weight=3,first]openai:a^gemini:b?temperature=0.5", None),
        ("", ""),
    ],
)
def test_a_route_is_set_for_the_conversation(
    play: Callable[..., None], selector: str, held: str | None
) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow("one")
        operator("llm.set", at(flow), "model=openai:before")
        said = operator("llm.route", at(flow), selector)
        expected = selector if held is None else held
        assert operator.talk("one").settings.model == (expected or None)
        assert expected in said

    play(scene)


def test_a_one_off_is_for_the_next_request(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow("one")
        operator("llm.oneoff", at(flow), "gemini:g")
        assert operator.talk("one").one_off == "gemini:g"
        assert operator("llm.settings", at(flow)) == "one-off = gemini:g"
        operator("llm.oneoff", at(flow), " ")
        assert operator.talk("one").one_off == ""

    play(scene)


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("llm.set", ["temprature=0.5"], "did you mean temperature"),
        ("llm.set", ["model=antropic:x"], "did you mean anthropic"),
        ("llm.set", ["temperature=9"], "from 0 to 2"),
        ("llm.set", ["reasoning-effort=hihg"], "did you mean"),
        ("llm.set", [""], "say what to set"),
        ("llm.unset", [" "], "say what to unset"),
        ("llm.set", ["model=openai:x) !/hello("], ""),
        ("llm.set", ["model='openai:x"], ""),
        ("llm.unset", ["temprature"], "did you mean temperature"),
        ("llm.route", ["antropic:x"], "did you mean anthropic"),
        ("llm.route", ["openai:a|b^c"], "mixed"),
        ("llm.oneoff", ["gpt-5"], "names no provider"),
    ],
)
def test_what_is_wrong_is_told_and_changes_nothing(
    play: Callable[..., None], name: str, words: list[str], said: str
) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow("one")
        operator("llm.set", at(flow), "model=openai:before")
        before = operator.talk("one").settings
        told = operator.fails(name, at(flow), *words)
        assert said in told
        assert "!/" not in told.removeprefix(repr(words[0]))
        assert operator.talk("one").settings == before
        assert operator.talk("one").one_off == ""

    play(scene)


def test_a_static_route_decides_alone(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        told = operator.fails("llm.route", at(operator.flow("one")), "gemini:g")
        assert "static_route" in told

    play(scene, {"STATIC_ROUTE": "anthropic:claude-x"})


def test_several_flows_are_set_together_or_not_at_all(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        flows = [operator.flow("one"), operator.flow("two"), operator.flow("one")]
        assert "(2 conversations)" in operator("llm.set", "@all", "temperature=1")
        assert [operator.talk(key).settings.temperature for key in ("one", "two")] == [1, 1]
        operator("llm.set", at(flows[1]), "model=openai:a|gemini:b")
        # A backend can be set for the first, but not beside the second one's model.
        told = operator.fails("llm.set", "@all", "backend=gemini")
        assert "names its own backends" in told
        assert operator.talk("one").settings.backend is None

    play(scene)


@pytest.mark.parametrize(
    ("key", "known", "said"),
    [
        (None, True, "no model call"),
        ("", True, "llm_observe"),
        ("gone", False, "forgotten"),
    ],
)
def test_a_flow_without_a_conversation(
    play: Callable[..., None], key: str | None, known: bool, said: str
) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow(key, known)
        for name, words in (
            ("llm.set", ["temperature=1"]),
            ("llm.unset", ["temperature"]),
            ("llm.route", ["openai:x"]),
            ("llm.oneoff", [""]),
            ("llm.settings", []),
        ):
            assert said in operator.fails(name, at(flow), *words)

    play(scene)


def test_no_flow_is_selected(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        assert "select a flow" in operator.fails("llm.set", "@focus", "temperature=1")

    play(scene)


def test_routes_of_the_conversation_are_told_and_can_be_chosen(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow("one")
        made = NamedRoute(name="main", policy="m", elements=("openai:a", "gemini:b"))
        operator.talk("one").routes["main"] = made
        operator("llm.route", at(flow), "main")
        shown = operator("llm.settings", at(flow)).splitlines()
        assert shown == ["model = main", "route main:m = openai:a, gemini:b"]

    play(scene)


def test_who_rests_is_told(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow("one")
        assert flow
        assert operator("llm.instances") == "Every instance can be asked."
        house = operator.rulebook.house()
        one = Instance("openai", 1)
        house.instances.rest(one, "gpt-5", house.clock() + 100)
        for _ in range(house.ruleset.routes.failover.breaker.failure_threshold):
            house.instances.ended(one, "bad", house.clock())
        rows = operator("llm.instances").splitlines()
        assert [row.split("  ")[:2] for row in rows] == [
            ["openai.1", "resting gpt-5"],
            ["openai.1", "open"],
        ]

    play(scene, {"OPENAI_API_KEY": "sk-secret"})


def test_names_are_completed(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        operator.flow("one")
        assert tuple(operator("llm.parameters")) == parameter_names()
        command = operator.master.commands.commands["llm.unset"]
        kind = {each.name: each.type for each in command.parameters}["parameters"]
        assert kind.options_command == "llm.parameters"

    play(scene)


def test_a_script_calls_them_with_the_flows_themselves(play: Callable[..., None]) -> None:
    def scene(operator: Operator) -> None:
        flow = operator.flow("one")
        call = operator.master.commands.call
        call("llm.set", [flow], "temperature=0.5")
        assert call("llm.settings", flow) == "temperature = 0.5"

    play(scene)
