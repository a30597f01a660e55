"""The pipeline: order, endings, traces, and failing the way the rule says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pytest

from llmitm.canon.events import Event, Fault, PartDelta
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.errors import StageError
from llmitm.exchange.pipeline import NOBODY, Pipeline, Step, Watching
from llmitm.ruleset.selectors import Target
from llmitm.stages.contract import Account, Answer, Forward, Refuse, Retry, Stage, Turn

type OnError = Literal["forward", "refuse"]

STATIC = Target(provider="p", model="static")
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
            route=Target(provider="p", model="x"),
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


class LateBroken(Broken):
    """Fails on the answer alone."""

    on_request = Stage.on_request


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


class Aside(Double):
    """Looks at no answer of this turn."""

    def watches(self, turn: Turn) -> bool:
        return False


class Undecided(Double):
    name = "undecided"

    def watches(self, turn: Turn) -> bool:
        raise RuntimeError("boom")


class Static(Stage):
    name = "static"

    def on_request(self, turn: Turn, request: Request) -> Forward:
        return Forward(route=STATIC, final=True)


class Counts(Stage):
    name = "counts"
    counts = True

    def on_request(self, turn: Turn, request: Request) -> Forward:
        return Forward(why="counted")


class Unread(Stage):
    name = "unread"

    def on_unreadable(self, turn: Turn, why: str) -> Forward:
        raise RuntimeError(why)


def watched(*steps: Step) -> Watching:
    """Who sees the answer of a turn after these steps have seen its request."""
    return Pipeline(steps, Ticks()).on_request(turn(), REQUEST).watching


def test_edits_routes_and_comments_add_up_and_are_traced() -> None:
    pipeline = Pipeline((Step(Rename()), Step(Rename())), Ticks())
    one = turn()
    decision = pipeline.on_request(one, REQUEST)
    assert decision.request.model == "m!!"
    assert one.route == Target(provider="p", model="x")
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
    watching = watched(Step(Double()), Step(Double()))
    staged = watching.on_events(turn(), [PartDelta(0, "text", "a")])
    assert len(staged.events) == 4
    assert staged.end is None


def test_a_failing_event_stage_forwards_or_ends_the_stream() -> None:
    delta = PartDelta(0, "text", "a")
    staged = watched(Step(Broken())).on_events(turn(), [delta])
    assert (list(staged.events), staged.end) == ([delta], None)
    staged = watched(Step(LateBroken(), "refuse")).on_events(turn(), [delta])
    assert list(staged.events) == []
    assert isinstance(staged.end, StageError)
    assert staged.end.stage == "broken"


def test_what_is_buffered_follows_from_the_hooks() -> None:
    assert not watched(Step(Rename()), Step(Double())).response
    assert watched(Step(Again())).response
    assert watched(Step(Double())).event
    assert not watched(Step(Rename())).event
    assert watched(Step(Rename())) is NOBODY


def test_a_stage_that_does_not_watch_a_turn_is_not_asked_about_its_answer() -> None:
    seeing = Step(Double())
    assert watched(Step(Aside()), seeing).event == (seeing,)
    assert watched(Step(Aside())) is NOBODY


@pytest.mark.parametrize(("on_error", "seen"), [("forward", False), ("refuse", True)])
def test_a_stage_that_cannot_say_whether_it_watches_does_so_where_it_must(
    on_error: OnError, seen: bool
) -> None:
    decision = Pipeline((Step(Undecided(), on_error),), Ticks()).on_request(turn(), REQUEST)
    assert bool(decision.watching.event) is seen
    assert "boom" in decision.trace[-1].why


def test_nobody_watches_what_a_stage_has_ended() -> None:
    decision = Pipeline((Step(Broken(), "refuse"), Step(Double())), Ticks()).on_request(
        turn(), REQUEST
    )
    assert decision.watching is NOBODY


def test_a_final_route_stays_and_any_other_is_replaced() -> None:
    one = turn()
    Pipeline((Step(Static()), Step(Rename())), Ticks()).on_request(one, REQUEST)
    assert one.route == STATIC
    Pipeline((Step(Rename()), Step(Static())), Ticks()).on_request(one, REQUEST)
    assert one.route == STATIC


def test_only_stages_that_count_see_token_counts() -> None:
    counting = turn()
    counting.kind = "count_tokens"
    pipeline = Pipeline((Step(Rename()), Step(Counts())), Ticks())
    assert pipeline.counts
    assert not Pipeline((Step(Rename()),), Ticks()).counts
    decision = pipeline.on_request(counting, REQUEST)
    assert [row.stage for row in decision.trace] == ["counts"]


@pytest.mark.parametrize(
    ("steps", "refused"), [(("forward",), False), (("refuse",), True), ((), False)]
)
def test_what_cannot_be_read_goes_on_or_is_refused(
    steps: tuple[OnError, ...], refused: bool
) -> None:
    pipeline = Pipeline(tuple(Step(Unread(), one) for one in steps), Ticks())
    assert pipeline.decides is bool(steps)
    decision = pipeline.on_unreadable(turn(), "not JSON")
    assert isinstance(decision.end, Refuse) is refused


def test_a_whole_answer_may_be_replaced_retried_or_survive_a_failing_stage() -> None:
    response = Response(id="original")
    effect, _ = watched(Step(Reword())).on_response(turn(), response)
    assert isinstance(effect, Answer)
    assert effect.response.id == "reworded"
    effect, _ = watched(Step(Again())).on_response(turn(), response)
    assert isinstance(effect, Retry)
    effect, trace = watched(Step(LateBroken())).on_response(turn(), response)
    assert isinstance(effect, Forward)
    assert "boom" in trace[0].why
    effect, _ = watched(Step(LateBroken(), "refuse")).on_response(turn(), response)
    assert isinstance(effect, Refuse)
    assert isinstance(effect.fault, Fault)
