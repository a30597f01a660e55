"""Loops that meet `ask`: an operator is shown the end of the answer and decides how it goes on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.events import End, Event, Fault, Finish, Start
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text
from llmitm.canon.response import Choice, Response
from llmitm.canon.turns import text_of
from llmitm.stages.contract import Answer, Cut, Denied, Forward, Refuse
from llmitm.stages.loops.stage import Loops
from llmitm.stages.review.answers import ReviewAnswers
from llmitm.stages.tool_loops.stage import ToolLoops
from stages.deciding import approve, by_default, one_by_one, one_each, shown, watching
from stages.loops.answers import call_events, cuts, request, text_events, turn
from stages.review.ruling import SHIPPED, ruleset

UNIT = "I will look at the file again to be sure of what it says. "
TEXT = "Let me see. " + UNIT * 60
LINE = "[Response cancelled: Loop detected - Pattern '"


def looks(mode: str) -> Loops:
    content = SHIPPED.loops.content.model_copy(update={"mode": mode})
    return Loops(replace(SHIPPED, loops=SHIPPED.loops.model_copy(update={"content": content})))


def looping(*pieces: str) -> list[Event]:
    return [Start(), *text_events(pieces or (TEXT,)), Finish("stop"), End()]


def test_approved_the_answer_goes_on_as_it_came_and_is_not_asked_about_again() -> None:
    on, events = turn(), looping(*cuts(TEXT, 3))
    seen = shown(on, watching(on, request(), looks("ask")), one_each(events))
    assert seen.events == events
    (hold,) = seen.holds
    assert hold.verdicts == ("loop",)
    assert hold.call is None
    assert hold.timeout_s is None
    assert hold.response is not None
    said = text_of(hold.response.choices[0].parts)
    assert TEXT.startswith(said)
    assert "repeated" in hold.reason


def test_without_a_decision_it_is_a_cut() -> None:
    cut, asked = turn(), turn(may_wait=False)
    expected = shown(cut, watching(cut, request(), looks("cut")), one_each(looping()))
    seen = shown(asked, watching(asked, request(), looks("ask")), one_each(looping()))
    assert seen.holds == []
    assert isinstance(seen.end, Cut)
    assert seen.events == expected.events
    asked = turn()
    seen = shown(asked, watching(asked, request(), looks("ask")), one_each(looping()), by_default)
    assert seen.events == expected.events


def test_an_operator_may_end_it_with_other_words() -> None:
    no = Denied(form="refusal", message="This goes nowhere.")
    own = Answer(response=Response(choices=(Choice(parts=(Text(text="In short: no."),)),)))
    for decided, end in ((no, "\n\nThis goes nowhere."), (own, "\n\nIn short: no.")):
        on = turn()
        watched = watching(on, request(), looks("ask"))
        seen = shown(on, watched, one_each(looping()), one_by_one(decided))
        assert isinstance(seen.end, Cut)
        assert seen.text.endswith(UNIT.strip() + end) or seen.text.endswith(end)
        assert (seen.finish, LINE in seen.text) == ("stop", False)


@pytest.mark.parametrize("decided", [Denied(), Refuse(fault=Fault(kind="server", message="x"))])
def test_an_error_ends_it(decided: Any) -> None:
    on = turn()
    watched = watching(on, request(), looks("ask"))
    seen = shown(on, watched, one_each(looping()), one_by_one(decided))
    assert isinstance(seen.end, Cut)
    assert isinstance(seen.events[-1], Fault)


def test_of_two_choices_one_may_end_and_the_other_go_on() -> None:
    both = [
        Start(),
        *text_events([TEXT]),
        Finish("stop"),
        *text_events([TEXT], choice=1),
        Finish("stop", choice=1),
        End(),
    ]
    on = turn()
    watched = watching(on, request(n=2), looks("ask"))
    operator = one_by_one(Denied(form="refusal"), Forward())
    seen = shown(on, watched, one_each(both), operator)
    assert len(seen.holds) == 2
    first, second = fold(seen.events).choices
    assert LINE in text_of(first.parts)
    assert text_of(second.parts) == TEXT
    assert seen.end is None


def test_how_the_answer_was_cut_never_matters() -> None:
    gets = set[str]()
    for operator in (approve, by_default):
        for seed in range(5):
            on = turn()
            watched = watching(on, request(), looks("ask"))
            seen = shown(on, watched, one_each(looping(*cuts(TEXT, seed))), operator)
            gets.add(repr((operator.__name__, seen.holds, seen.text, seen.finish)))
        on = turn()
        seen = shown(on, watching(on, request(), looks("ask")), [looping()], operator)
        gets.add(repr((operator.__name__, seen.holds, seen.text, seen.finish)))
    assert len(gets) == 2


def test_an_answer_in_which_a_loop_was_found_can_be_reviewed_as_a_whole() -> None:
    rules = ruleset({"hold": "response", "verdicts": ["loop", "tool_loop"]})
    on = turn()
    watched = watching(on, request(), looks("cut"), ReviewAnswers(rules))
    seen = shown(on, watched, one_each(looping()))
    (hold,) = seen.holds
    assert hold.verdicts == ("loop",)
    assert LINE in seen.text
    assert isinstance(seen.end, Cut)
    calls = [event for number in range(5) for event in call_events("bash", index=number)]
    events: list[Event] = [Start(), *calls, Finish("tool_calls"), End()]
    on = turn()
    watched = watching(on, request(), ToolLoops(rules), ReviewAnswers(rules))
    seen = shown(on, watched, one_each(events))
    assert [hold.verdicts for hold in seen.holds] == [("tool_loop",)]
