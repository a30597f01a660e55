"""The pipeline: order, endings, traces, and failing the way the rule says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from llmitm.canon.events import Event, Fault, PartDelta
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.exchange.pipeline import Pipeline, Step
from llmitm.ruleset.selectors import Target
from llmitm.stages.contract import Account, Answer, Forward, Refuse, Retry, Stage, Turn

REQUEST = Request(dialect="openai_chat", model="m", messages=())


def turn() -> Turn:
    return Turn(id="1", provider="p", protocol="openai_chat", client="", model="m", started_s=0)


class Ticks:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.001
        return self.now


class Rename(Stage):
    name = "rename"

    def on_request(self, turn: Turn, request: Request) -> Forward:
        return Forward(
            request=Request(dialect="openai_chat", model=request.model + "!", messages=()),
            targets=(Target(provider="p", model="x"),),
            comment="renamed",
            why="asked",
        )


class Broken(Stage):
    name = "broken"

    def on_request(self, turn: Turn, request: Request) -> Forward:
        raise RuntimeError("boom")

    def on_event(self, turn: Turn, event: Event) -> Sequence[Event]:
        raise RuntimeError("boom")

    def on_response(self, turn: Turn, response: Response) -> Forward:
        raise RuntimeError("boom")

    def on_close(self, turn: Turn, account: Account) -> str:
        raise RuntimeError("boom")


class Double(Stage):
    name = "double"

    def on_event(self, turn: Turn, event: Event) -> Sequence[Event]:
        return (event, event)


class Again(Stage):
    name = "again"

    def on_response(self, turn: Turn, response: Response) -> Retry:
        return Retry(request=REQUEST)


class Reword(Stage):
    name = "reword"

    def on_response(self, turn: Turn, response: Response) -> Answer:
        return Answer(response=Response(id="reworded"))


def test_edits_targets_and_comments_add_up_and_are_traced() -> None:
    pipeline = Pipeline((Step(Rename()), Step(Rename())), Ticks())
    decision = pipeline.on_request(turn(), REQUEST)
    assert decision.request.model == "m!!"
    assert decision.targets == (Target(provider="p", model="x"),)
    assert decision.comments == ("renamed", "renamed")
    assert [(row.stage, row.effect, row.why) for row in decision.trace] == [
        ("rename", "Forward", "asked")
    ] * 2
    assert decision.trace[0].cost_us == pytest.approx(1000)


def test_a_failing_stage_forwards_when_its_rule_says_so() -> None:
    decision = Pipeline((Step(Broken()), Step(Rename())), Ticks()).on_request(turn(), REQUEST)
    assert decision.end is None
    assert decision.request.model == "m!"
    assert "RuntimeError: boom" in decision.trace[0].why


def test_a_failing_stage_refuses_when_its_rule_says_so() -> None:
    steps = (Step(Broken(), "refuse"), Step(Rename()))
    decision = Pipeline(steps, Ticks()).on_request(turn(), REQUEST)
    assert isinstance(decision.end, Refuse)
    assert decision.end.fault.status == 500
    assert decision.request is REQUEST


def test_events_pass_through_every_stage_in_order() -> None:
    pipeline = Pipeline((Step(Double()), Step(Double())), Ticks())
    events, error = pipeline.on_event(turn(), PartDelta(0, "text", "a"))
    assert len(events) == 4
    assert error is None


def test_a_failing_event_stage_forwards_or_ends_the_stream() -> None:
    delta = PartDelta(0, "text", "a")
    events, error = Pipeline((Step(Broken()),), Ticks()).on_event(turn(), delta)
    assert (list(events), error) == ([delta], None)
    events, error = Pipeline((Step(Broken(), "refuse"),), Ticks()).on_event(turn(), delta)
    assert list(events) == []
    assert error is not None
    assert error.stage == "broken"


def test_what_is_buffered_follows_from_the_hooks() -> None:
    assert not Pipeline((Step(Rename()), Step(Double())), Ticks()).buffers
    assert Pipeline((Step(Again()),), Ticks()).buffers
    assert Pipeline((Step(Double()),), Ticks()).edits_events
    assert not Pipeline((Step(Rename()),), Ticks()).edits_events


def test_a_whole_answer_may_be_replaced_retried_or_survive_a_failing_stage() -> None:
    response = Response(id="original")
    effect, _ = Pipeline((Step(Reword()),), Ticks()).on_response(turn(), response)
    assert isinstance(effect, Answer)
    assert effect.response.id == "reworded"
    effect, _ = Pipeline((Step(Again()),), Ticks()).on_response(turn(), response)
    assert isinstance(effect, Retry)
    effect, trace = Pipeline((Step(Broken()),), Ticks()).on_response(turn(), response)
    assert isinstance(effect, Forward)
    assert "boom" in trace[0].why
    effect, _ = Pipeline((Step(Broken(), "refuse"),), Ticks()).on_response(turn(), response)
    assert isinstance(effect, Refuse)
    assert isinstance(effect.fault, Fault)
