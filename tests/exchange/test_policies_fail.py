"""Every shipped policy made to fail: what its row in `rules/pipeline.yaml` says happens."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from llmitm.canon.events import PartDelta
from llmitm.canon.parts import Text
from llmitm.canon.request import Message, Request
from llmitm.errors import StageError
from llmitm.exchange.pipeline import Paused, Pipeline, Step, Watching
from llmitm.mitm.rulebook import Kept, build_house
from llmitm.record.ram_memory import RamMemory
from llmitm.ruleset.loading import load
from llmitm.stages.contract import Forward, Hold, Refuse, Stage, Turn, overrides

HOUSE = build_house(load("", {}), Kept(RamMemory(b"salt" * 8)), observe=False)
STEPS = HOUSE.pipeline.steps
REQUEST = Request(
    dialect="openai_chat",
    model="m",
    messages=(Message(role="user", parts=(Text(text="Hello."),)),),
)


def turn() -> Turn:
    return Turn(
        id="t", provider="openai", protocol="openai_chat", client="", model="m", started_s=0.0
    )


def failing(stage: Stage) -> Stage:
    """The same policy with hooks that fail."""

    def fail(self: Stage, *about: Any) -> Any:
        raise RuntimeError(f"{self.name} is broken")

    hooks = {
        hook: fail for hook in ("on_request", "on_event", "on_decided") if overrides(stage, hook)
    }
    broken = type("Broken", (type(stage),), hooks)
    return object.__new__(broken)


def rows(hook: str) -> list[Any]:
    return [
        pytest.param(step, id=f"{step.stage.name}-{step.on_error}")
        for step in STEPS
        if overrides(step.stage, hook)
    ]


def test_every_policy_is_there() -> None:
    names = {row.values[0].stage.name for row in (*rows("on_request"), *rows("on_event"))}
    assert names == {step.stage.name for step in STEPS}


@pytest.mark.parametrize("step", rows("on_request"))
def test_a_policy_that_fails_on_a_request(step: Step) -> None:
    broken = Step(failing(step.stage), step.on_error)
    ticks = itertools.count()
    pipeline = Pipeline(
        tuple(broken if each is step else each for each in STEPS), lambda: float(next(ticks))
    )
    decision = pipeline.on_request(turn(), REQUEST)
    told = next(row for row in decision.trace if "is broken" in row.why)
    assert told.stage == step.stage.name
    if step.on_error == "refuse":
        assert isinstance(decision.end, Refuse)
        assert decision.end.fault.code == "policy_failed"
        assert decision.end.fault.status == 500
    else:
        assert decision.end is None
        assert decision.request == REQUEST


@pytest.mark.parametrize("step", rows("on_event"))
def test_a_policy_that_fails_on_an_answer(step: Step) -> None:
    watching = Watching(HOUSE.pipeline, (Step(failing(step.stage), step.on_error),))
    event = PartDelta(0, "text", "Hello.")
    staged = watching.on_events(turn(), [event])
    if step.on_error == "refuse":
        assert isinstance(staged.end, StageError)
        assert staged.events == ()
    else:
        assert staged.end is None
        assert staged.events == (event,)


@pytest.mark.parametrize("step", rows("on_decided"))
def test_a_policy_that_fails_on_a_decision(step: Step) -> None:
    """What it keeps back is lost with it, so that the answer ends whatever its row says."""
    watching = Watching(HOUSE.pipeline, (Step(failing(step.stage), step.on_error),))
    paused = Paused(Hold(reason="a test"), 0, [(PartDelta(0, "text", "Hello."), 0)])
    staged = watching.on_decided(turn(), paused, Forward())
    assert isinstance(staged.end, StageError)
    assert staged.events == ()
