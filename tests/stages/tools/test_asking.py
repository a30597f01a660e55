"""Calls that meet `hold`: an operator is asked in mid-answer, and what was kept back follows."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.events import End, Event, Fault, Finish, PartDelta, PartEnd, Start
from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.canon.response import Choice, Response
from llmitm.canon.turns import text_of
from llmitm.stages.contract import Again, Answer, Cut, Denied, Forward, Refuse
from llmitm.stages.review.answers import ReviewAnswers
from llmitm.stages.tools.stage import Tools
from stages.deciding import cut_finer, one_by_one, one_each, shown, watching
from stages.review.ruling import ruleset
from stages.tools.playing import (
    LATER,
    RESET,
    STATUS,
    WIPE,
    answer,
    asked,
    call,
    policy,
    ruled,
    turn_of,
    words,
)

HOLDS = ruled(commands={"effect": "hold"})


def made(arguments: Any, index: int = 1) -> ToolCall:
    return ToolCall(id=f"call_{index}", name="bash", arguments=json.dumps(arguments))


def instead(*parts: Any) -> Answer:
    return Answer(response=Response(choices=(Choice(parts=parts),)))


@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_only_the_dangerous_call_waits_and_approved_it_goes_on_as_it_came(cut: int) -> None:
    on = turn_of()
    events = cut_finer(answer(words(0, "Now."), call(1, RESET), call(2, STATUS)), cut)
    seen = shown(on, watching(on, asked(), Tools(HOLDS)), one_each(events))
    assert seen.events == events
    (hold,) = seen.holds
    assert hold.call == made(RESET)
    assert hold.verdicts == ("dangerous_command",)
    assert hold.rule == "git-reset-hard"
    assert "git reset --hard" in hold.reason
    assert hold.timeout_s is None
    assert seen.before == [
        len(events) - len(cut_finer(call(2, STATUS), cut)) - 2 - len(cut_finer(call(1, RESET), cut))
    ]


def test_two_are_asked_about_in_order() -> None:
    on = turn_of()
    events = answer(call(0, RESET), call(1, STATUS), call(2, WIPE))
    operator = one_by_one(Forward(), Denied(form="refusal", message="Not that."))
    seen = shown(on, watching(on, asked(), Tools(HOLDS)), one_each(events), operator)
    assert [hold.call for hold in seen.holds] == [made(RESET, 0), made(WIPE, 2)]
    assert [json.loads(one.arguments) for one in seen.calls] == [RESET, STATUS]
    assert seen.text == "Not that."
    assert seen.finish == "tool_calls"


def test_without_a_decision_it_is_blocked() -> None:
    on = turn_of(may_wait=False)
    events = answer(words(0, "Now."), call(1, RESET))
    seen = shown(on, watching(on, asked(), Tools(HOLDS)), one_each(events))
    assert seen.holds == []
    assert (seen.calls, seen.finish) == ([], "stop")
    assert seen.text.startswith("Now.\n\n[Tool call stopped: `bash` was not run. `git reset --hard")


def test_a_changed_call_or_a_text_takes_its_place() -> None:
    on = turn_of()
    events = answer(call(1, RESET), call(2, STATUS))
    seen = shown(
        on, watching(on, asked(), Tools(HOLDS)), one_each(events), one_by_one(instead(made(LATER)))
    )
    assert [json.loads(one.arguments) for one in seen.calls] == [LATER, STATUS]
    assert [one for one in seen.events if one not in events] == [
        PartDelta(1, "arguments", json.dumps(LATER))
    ]
    on = turn_of()
    seen = shown(
        on,
        watching(on, asked(), Tools(HOLDS)),
        one_each(answer(call(1, RESET))),
        one_by_one(instead(Text(text="Let me ask first."))),
    )
    assert (seen.text, seen.calls, seen.finish) == ("Let me ask first.", [], "stop")


def test_the_model_hears_no_as_the_call_s_result() -> None:
    on = turn_of()
    events = answer(words(0, "Now."), call(1, RESET))
    no = Denied(form="tool_result", message="Stash instead.")
    seen = shown(on, watching(on, asked(), Tools(HOLDS)), one_each(events), one_by_one(no))
    assert isinstance(seen.end, Again)
    assert not any(isinstance(event, Finish) for event in seen.events)
    (result,) = seen.end.request.messages[-1].parts
    assert isinstance(result, ToolResult)
    assert "Stash instead." in text_of(result.parts)


@pytest.mark.parametrize("decided", [Denied(), Refuse(fault=Fault(kind="server", message="x"))])
def test_an_error_ends_the_answer(decided: Any) -> None:
    on = turn_of()
    events = answer(words(0, "Now."), call(1, RESET), call(2, STATUS))
    seen = shown(on, watching(on, asked(), Tools(HOLDS)), one_each(events), one_by_one(decided))
    assert isinstance(seen.end, Cut)
    assert isinstance(seen.events[-1], Fault)
    assert seen.calls == []


@pytest.mark.parametrize("decided", [Forward(), Denied(form="refusal", message="No.")])
def test_calls_that_were_complete_behind_it_and_the_end_follow(decided: Any) -> None:
    """Overlapping calls of which none has ended: all are judged when the answer ends."""
    first, second = call(0, RESET), call(1, LATER)
    events: list[Event] = [Start(), *first[:-1], *second[:-1], Finish("tool_calls"), End()]
    on = turn_of()
    seen = shown(on, watching(on, asked(), Tools(HOLDS)), one_each(events), one_by_one(decided))
    commands = [json.loads(one.arguments) for one in seen.calls]
    assert commands == ([RESET, LATER] if isinstance(decided, Forward) else [LATER])
    assert [event for event in seen.events if isinstance(event, Finish | End)] == events[-2:]
    assert sum(isinstance(event, PartEnd) for event in seen.events) == 2


def test_a_policy_may_ask_too() -> None:
    rows = (policy(blocked_patterns=("^bash$",), effect="hold"),)
    on = turn_of()
    stage = Tools(ruled(policies=rows))
    request = replace(asked("bash", "read_file"), extras={"prompt": {}})
    seen = shown(on, watching(on, request, stage), one_each(answer(call(0, STATUS))))
    (hold,) = seen.holds
    assert (hold.rule, hold.verdicts) == ("policy p", ())


def test_what_an_operator_has_decided_about_is_not_asked_about_again() -> None:
    rules = replace(HOLDS, review=ruleset({"hold": "tool_call"}).review)
    on = turn_of()
    watched = watching(on, asked(), Tools(rules), ReviewAnswers(rules))
    seen = shown(on, watched, one_each(answer(call(0, RESET), call(1, STATUS))))
    assert [hold.call for hold in seen.holds] == [made(RESET, 0), made(STATUS, 1)]
    assert [hold.rule for hold in seen.holds] == ["git-reset-hard", "rule-1"]


def test_a_dangerous_call_that_is_allowed_can_be_reviewed_by_its_verdict() -> None:
    rules = ruled(commands={"effect": "allow"})
    review = ruleset({"hold": "tool_call", "verdicts": ["dangerous_command"]}).review
    rules = replace(rules, review=review)
    on = turn_of()
    watched = watching(on, asked(), Tools(rules), ReviewAnswers(rules))
    seen = shown(on, watched, one_each(answer(call(0, STATUS), call(1, RESET))))
    assert [hold.call for hold in seen.holds] == [made(RESET)]


def test_more_that_is_told_of_the_answer_does_not_begin_another_one() -> None:
    """Some providers tell of the answer once more in its last chunk."""
    on = turn_of()
    later = Start(extras={"x": 1})
    events: list[Event] = [
        Start(id="a", model="m"),
        *call(0, STATUS)[:-1],
        later,
        PartEnd(0),
        Finish("tool_calls"),
        End(),
    ]
    seen = shown(on, watching(on, asked(), Tools(HOLDS)), one_each(events))
    assert [json.loads(one.arguments) for one in seen.calls] == [STATUS]
    assert seen.finish == "tool_calls"
