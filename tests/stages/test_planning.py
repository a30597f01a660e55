"""Early turns go to the strong model until a counter is reached."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmitm.canon.request import Request
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.selectors import Composite, Params, Selector, Target
from llmitm.stages.contract import FORWARD, Turn
from llmitm.stages.conversation import Conversation
from llmitm.stages.planning import Planning

STRONG = "anthropic:claude-opus-4-5"
OPUS = Target(provider="anthropic", model="claude-opus-4-5")
ASKED = Request(dialect="openai_chat", model="gpt-5", messages=())

type Make = Callable[..., Planning]


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    def make(environ: dict[str, str] | None = None, **values: Any) -> Planning:
        section = {"enabled": True, "strong_model": STRONG, **values}
        (tmp_path / "rewrites.yaml").write_text(json.dumps({"planning": section}))
        return Planning(load_folders([shipped_folder(), tmp_path], environ or {}))

    return make


def turn(turns: int = 0, writes: int = 0, route: Selector | None = None) -> Turn:
    return Turn(
        id="t",
        provider="openai",
        protocol="openai_chat",
        client="",
        model="gpt-5",
        started_s=0,
        route=route,
        conversation=Conversation(model_turns=turns, file_writes=writes),
    )


@pytest.mark.parametrize(
    ("limits", "turns", "writes", "strong"),
    [
        ({}, 0, 0, True),
        ({}, 9, 0, True),
        ({}, 10, 0, False),
        ({}, 11, 0, False),
        ({}, 0, 1, False),
        ({"max_turns": 1}, 0, 0, True),
        ({"max_turns": 1}, 1, 0, False),
        ({"max_file_writes": 3}, 5, 2, True),
        ({"max_file_writes": 3}, 5, 3, False),
        # 0: writes never end it
        ({"max_file_writes": 0}, 0, 0, True),
        ({"max_file_writes": 0}, 9, 50, True),
        ({"max_file_writes": 0}, 10, 0, False),
        ({"enabled": False}, 0, 0, False),
    ],
)
def test_until_a_counter_is_reached(
    limits: dict[str, Any], turns: int, writes: int, strong: bool, stage: Make
) -> None:
    effect = stage(**limits).on_request(turn(turns, writes), ASKED)
    if strong:
        assert (effect.route, effect.final, effect.request) == (OPUS, False, None)
        assert effect.why.startswith(f"planning, turn {turns + 1} of ")
    else:
        assert effect is FORWARD


OTHER = Target(provider="openai", model="gpt-5-mini")


@pytest.mark.parametrize(
    ("strong", "route", "stays"),
    [
        (STRONG, None, False),
        (STRONG, OTHER, False),
        (STRONG, OPUS, True),
        (STRONG, Target(provider="anthropic", model="Claude-Opus-4-5"), True),
        (STRONG, Target(provider="anthropic", model="claude-opus-4-5", instance=2), True),
        ("anthropic.1:claude-opus-4-5", OPUS, False),
        (STRONG, Target(model="claude-opus-4-5"), False),  # the client's own provider is openai
        (STRONG, Target(provider="bedrock", model="claude-opus-4-5"), False),
        (STRONG, Composite(operator="|", branches=(OPUS, OTHER)), False),
        (f"{STRONG}|openai:gpt-5-mini", Composite(operator="|", branches=(OPUS, OTHER)), True),
        ("openai:gpt-5", None, True),
        ("gpt-5", None, True),
        ("gpt-5", Target(provider="groq", model="gpt-5"), True),
        ("gpt-5-pro", None, False),
    ],
)
def test_on_the_strong_model_nothing_happens(
    strong: str, route: Selector | None, stays: bool, stage: Make
) -> None:
    effect = stage(strong_model=strong).on_request(turn(route=route), ASKED)
    assert (effect is FORWARD) == stays


@pytest.mark.parametrize(
    ("strong", "overrides", "params"),
    [
        (STRONG, {}, Params()),
        (STRONG, {"temperature": 0.5, "top_p": 0}, Params(temperature=0.5, top_p=0)),
        (STRONG, {"reasoning_effort": "high"}, Params(reasoning_effort="high")),
        (STRONG, {"thinking_budget": 0}, Params(thinking_budget=0)),
        (
            f"{STRONG}?temperature=1&reasoning_effort=low&verbosity=low",
            {"thinking_budget": 9},
            Params(temperature=1, verbosity="low", thinking_budget=9),
        ),
    ],
)
def test_overrides_are_the_targets_parameters(
    strong: str, overrides: dict[str, Any], params: Params, stage: Make
) -> None:
    route = stage(strong_model=strong, overrides=overrides).on_request(turn(), ASKED).route
    assert isinstance(route, Target)
    assert route.params == params


def test_overrides_of_several_targets(stage: Make) -> None:
    made = stage(strong_model=f"{STRONG}|openai:gpt-5-pro", overrides={"temperature": 1})
    route = made.on_request(turn(), ASKED).route
    assert isinstance(route, Composite)
    assert [branch.params for branch in route.branches if isinstance(branch, Target)] == [
        Params(temperature=1)
    ] * 2


def test_variables_stand_for_the_section() -> None:
    environ = {
        "PLANNING_PHASE_ENABLED": "true",
        "PLANNING_PHASE_STRONG_MODEL": STRONG,
        "PLANNING_PHASE_MAX_TURNS": "2",
        "PLANNING_PHASE_MAX_FILE_WRITES": "0",
        "PLANNING_PHASE_TEMPERATURE": "0.5",
        "PLANNING_PHASE_TOP_P": "1",
        "PLANNING_PHASE_REASONING_EFFORT": "high",
        "PLANNING_PHASE_THINKING_BUDGET": "4096",
    }
    made = Planning(load_folders([shipped_folder()], environ))
    route = made.on_request(turn(1, 7), ASKED).route
    assert isinstance(route, Target)
    assert route.params == Params(
        temperature=0.5, top_p=1, reasoning_effort="high", thinking_budget=4096
    )
    assert made.on_request(turn(2), ASKED) is FORWARD


def test_off_as_shipped() -> None:
    assert Planning(load_folders([shipped_folder()], {})).on_request(turn(), ASKED) is FORWARD
