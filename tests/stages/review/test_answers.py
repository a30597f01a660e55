"""Answers and tool calls that wait: what the client gets, when, and what decisions make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import chain
from typing import Any

import pytest

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Sampling, Tool
from llmitm.canon.response import Choice, Response
from llmitm.canon.turns import text_of
from llmitm.exchange.pipeline import Step, Watching
from llmitm.stages.contract import Again, Answer, Cut, Denied, Forward, Refuse
from llmitm.stages.kept_calls import decided_calls
from llmitm.stages.review.answers import MOST_ATTEMPTS, ReviewAnswers
from stages.deciding import (
    approve,
    by_default,
    cut_finer,
    one_by_one,
    one_each,
    shown,
    watching,
)
from stages.review.ruling import SHIPPED, Wish, answers, ruleset
from stages.tools.playing import LATER, RESET, STATUS, answer, asked, call, turn_of, words

CALLS = {"hold": "tool_call"}
WHOLE = {"hold": "response"}
TWO = answer(words(0, "I ", "look."), call(1, STATUS), call(2, LATER, "read_file"))
BOTH = asked("bash", "read_file")


def said(text: str) -> Answer:
    choice = Choice(parts=(Text(text=text),), finish=Finish("stop"))
    return Answer(response=Response(choices=(choice,), ended=True))


def call_of(name: str, arguments: Any, id: str = "call_1") -> ToolCall:
    return ToolCall(id=id, name=name, arguments=json.dumps(arguments))


def instead(*parts: Any) -> Answer:
    return Answer(response=Response(choices=(Choice(parts=parts),)))


# -- who is looked at ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "turn", "request_", "watched"),
    [
        (CALLS, {}, {}, True),
        (CALLS, {}, {"tools": ()}, False),
        (CALLS, {}, {"tools": (Tool(name="search", kind="server"),)}, False),
        (CALLS, {}, {"tools": (), "extras": {"cachedContent": "c"}}, True),
        ({**CALLS, "tools": ["BASH", "x*"]}, {}, {}, True),
        ({**CALLS, "tools": ["edit*"]}, {}, {}, False),
        ({**CALLS, "models": ["gpt-*"]}, {}, {}, False),
        ({**CALLS, "text": "go"}, {}, {}, True),
        ({**CALLS, "text": "stop"}, {}, {}, False),
        (WHOLE, {}, {"tools": ()}, True),
        ({**WHOLE, "text": "never said by the user"}, {}, {}, True),
        ({**WHOLE, "tools": ["edit*"]}, {}, {}, False),
        ({**WHOLE, "arguments": "rm"}, {}, {"tools": ()}, False),
        ({**WHOLE, "verdicts": ["loop"]}, {}, {}, True),
        ({**WHOLE, "clients": ["codex"]}, {}, {}, False),
        ({**WHOLE, "filter": "~u x"}, {}, {}, False),
        ({**WHOLE, "sample": 1e-9}, {}, {}, False),
        (WHOLE, {"kind": "count_tokens"}, {}, False),
        ({"hold": "request"}, {}, {}, False),
    ],
)
def test_an_answer_that_no_rule_can_hold_passes_unread(
    rule: dict[str, Any], turn: dict[str, Any], request_: dict[str, Any], watched: bool
) -> None:
    on = turn_of(**turn)
    assert bool(watching(on, replace(asked(), **request_), answers(rule)).event) is watched


def test_nothing_is_looked_at_with_the_shipped_rules() -> None:
    assert not watching(turn_of(), BOTH, ReviewAnswers(SHIPPED)).event


def test_an_operator_may_ask_for_answers_or_calls_by_hand() -> None:
    for kind, text in (("response", "I look."), ("tool_call", "I look.")):
        on = turn_of()
        stage = ReviewAnswers(SHIPPED, Wish(kind))  # type: ignore[arg-type]
        seen = shown(on, watching(on, BOTH, stage), one_each(TWO))
        assert {hold.reason for hold in seen.holds} == {"an operator asked for it"}
        assert len(seen.holds) == (1 if kind == "response" else 2)
        assert (seen.events, seen.text) == (TWO, text)


# -- single calls -------------------------------------------------------------------------------


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_calls_are_asked_about_in_order_and_approved_ones_go_on_as_they_came(cut: int) -> None:
    on = turn_of()
    events = cut_finer(TWO, cut)
    seen = shown(on, watching(on, BOTH, answers(CALLS)), one_each(events))
    assert seen.events == events
    assert [hold.call for hold in seen.holds] == [
        call_of("bash", STATUS),
        call_of("read_file", LATER, "call_2"),
    ]
    # The text before a call is with the client when an operator is asked.
    assert fold(seen.events[: seen.before[0]]).choices[0].parts == (Text(text="I look."),)


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        ({"tools": ["read_*"]}, ["read_file"]),
        ({"arguments": '"command":"git '}, ["bash"]),
        ({"arguments": "nothing like it"}, []),
        ({"verdicts": ["dangerous_command"]}, []),
    ],
)
def test_only_calls_that_a_rule_is_for_are_asked_about(
    rule: dict[str, Any], names: list[str]
) -> None:
    on = turn_of()
    seen = shown(on, watching(on, BOTH, answers({**CALLS, **rule})), one_each(TWO))
    assert [hold.call.name for hold in seen.holds if hold.call] == names
    assert seen.events == TWO


def test_arguments_are_searched_in_one_form_however_they_were_written() -> None:
    rule = {**CALLS, "arguments": r'\{"a":\[1,2\],"b":"ü"\}'}
    events = answer(call(0, '{ "b" : "\\u00fc",\n "a": [1, 2] }'))
    on = turn_of()
    assert len(shown(on, watching(on, asked(), answers(rule)), one_each(events)).holds) == 1


def test_a_changed_call_takes_the_first_one_s_place() -> None:
    on = turn_of()
    operator = one_by_one(instead(call_of("bash", LATER)), Forward())
    seen = shown(on, watching(on, BOTH, answers(CALLS)), one_each(TWO), operator)
    assert [(one.name, json.loads(one.arguments)) for one in seen.calls] == [
        ("bash", LATER),
        ("read_file", LATER),
    ]
    assert seen.finish == "tool_calls"
    # What was not changed of it is as it came, and so is everything else.
    changed = [event for event in seen.events if event not in TWO]
    assert changed == [PartDelta(1, "arguments", json.dumps(LATER))]


def test_a_text_and_several_calls_may_take_a_call_s_place() -> None:
    on = turn_of()
    parts = (Text(text="First this:"), call_of("bash", STATUS, "x"), call_of("bash", LATER, "y"))
    operator = one_by_one(instead(*parts), Forward())
    seen = shown(on, watching(on, BOTH, answers(CALLS)), one_each(TWO), operator)
    assert {one.id for one in seen.calls} == {"x", "y", "call_2"}
    assert "First this:" in seen.text
    starts = [event.index for event in seen.events if isinstance(event, PartStart)]
    assert len(set(starts)) == len(starts)


def test_without_a_call_left_the_answer_ends_by_itself() -> None:
    on = turn_of()
    operator = one_by_one(instead(Text(text="Not today.")), Denied(form="refusal", message="No."))
    seen = shown(on, watching(on, BOTH, answers(CALLS)), one_each(TWO), operator)
    assert seen.calls == []
    assert seen.finish == "stop"
    assert seen.text == "I look.Not today.\n\nNo."


def test_a_call_that_is_not_allowed_leaves_a_text() -> None:
    on = turn_of()
    operator = one_by_one(Denied(form="refusal"), Forward())
    seen = shown(on, watching(on, BOTH, answers(CALLS)), one_each(TWO), operator)
    assert [one.name for one in seen.calls] == ["read_file"]
    assert seen.finish == "tool_calls"
    assert "an operator has not allowed `bash`" in seen.text


def test_without_a_decision_a_text_takes_the_call_s_place() -> None:
    on = turn_of(may_wait=False)
    stage = answers({**CALLS, "tools": ["bash"]}, timeout_s=5)
    seen = shown(on, watching(on, BOTH, stage), one_each(TWO))
    assert seen.holds == []
    assert [one.name for one in seen.calls] == ["read_file"]
    assert "`bash` was not run: no operator has decided about this in time" in seen.text


@pytest.mark.parametrize(
    "decided", [Denied(message="Never."), Refuse(fault=Fault(kind="server", message="x"))]
)
def test_an_error_ends_the_answer(decided: Any) -> None:
    on = turn_of()
    seen = shown(on, watching(on, BOTH, answers(CALLS)), one_each(TWO), one_by_one(decided))
    assert isinstance(seen.end, Cut)
    last = seen.events[-1]
    assert isinstance(last, Fault)
    if isinstance(decided, Denied):
        assert (last.message, last.status, last.code) == ("Never.", 403, "rejected_by_operator")
    else:
        assert last == decided.fault
    assert seen.calls == []
    assert seen.text == "I look."


def test_the_model_hears_no_as_the_call_s_result() -> None:
    on = turn_of()
    no = Denied(form="tool_result", message="Use the staging host.")
    stage = answers(CALLS)
    begun = [PartStart(0, Text(text="")), PartDelta(0, "text", "Well.")]
    events = answer(begun, call(1, RESET))[:-2]
    seen = shown(on, watching(on, asked(), stage), one_each(events), one_by_one(no))
    assert isinstance(seen.end, Again)
    assert seen.events[-1] == PartEnd(0)
    before, made, result = seen.end.request.messages
    assert text_of(before.parts) == "go"
    assert made.parts == (Text(text="Well."), call_of("bash", RESET))
    (part,) = result.parts
    assert isinstance(part, ToolResult)
    assert (part.call_id, part.name, part.error) == ("call_1", "bash", True)
    assert "Use the staging host." in text_of(part.parts)


def test_the_model_is_asked_again_three_times_at_most_and_notes_do_not_add_up() -> None:
    on, stage = turn_of(), answers(CALLS)
    asks = []
    for _ in range(MOST_ATTEMPTS + 1):
        watched = watching(on, asked(), stage) if not asks else watching_again(on, stage)
        seen = shown(
            on, watched, one_each(answer(call(0, RESET))), one_by_one(Denied(form="tool_result"))
        )
        if not isinstance(seen.end, Again):
            break
        asks.append(seen.end.request)
        on.request = seen.end.request
    assert [len(request.messages) for request in asks] == [3] * MOST_ATTEMPTS
    assert "has not allowed `bash`" in seen.text
    assert seen.finish == "stop"


def watching_again(on: Any, stage: ReviewAnswers) -> Watching:
    assert stage.watches(on)
    return Watching(None, (Step(stage, "refuse"),))


@pytest.mark.parametrize("why", ["several", "other choice", "never", "call before it"])
def test_where_the_model_cannot_be_asked_again_a_text_takes_the_place(why: str) -> None:
    on = turn_of(may_ask_again=why != "never")
    request = replace(asked(), sampling=Sampling(n=2)) if why == "several" else asked()
    choice = 1 if why == "other choice" else 0
    parts = [call(1, RESET, choice=choice)]
    operator = one_by_one(Denied(form="tool_result", message="No."))
    if why == "call before it":
        parts = [call(0, LATER), *parts]
        operator = one_by_one(Forward(), Denied(form="tool_result", message="No."))
    events: list[Event] = [Start(), *chain(*parts), Finish("tool_calls", choice=choice), End()]
    seen = shown(on, watching(on, request, answers(CALLS)), one_each(events), operator)
    assert seen.end is None
    assert "No." in seen.text


def test_a_whole_answer_is_taken_back_with_the_calls_before() -> None:
    on = turn_of()
    operator = one_by_one(Forward(), Denied(form="tool_result", message="No."))
    request = replace(BOTH, stream=False)
    seen = shown(on, watching(on, request, answers(CALLS)), [TWO], operator)
    assert isinstance(seen.end, Again)
    results = seen.end.request.messages[-1].parts
    assert [part.call_id for part in results if isinstance(part, ToolResult)] == [
        "call_1",
        "call_2",
    ]


def test_calls_that_overlap_are_asked_about_in_order() -> None:
    first, second = call(0, LATER), call(1, STATUS)
    mixed = [first[0], second[0], *first[1:-1], *second[1:-1], PartEnd(1), PartEnd(0)]
    on = turn_of()
    operator = one_by_one(instead(call_of("bash", RESET, "new")), Forward())
    seen = shown(on, watching(on, asked(), answers(CALLS)), one_each(answer(mixed)), operator)
    assert [json.loads(one.arguments) for one in seen.calls] == [RESET, STATUS]
    on = turn_of()
    seen = shown(on, watching(on, asked(), answers(CALLS)), one_each(answer(mixed)))
    assert len(seen.holds) == 2
    assert seen.events == answer(mixed)


def test_details_of_a_call_belong_to_it() -> None:
    made = call(0, STATUS)
    detail = PartDetail(index=0, signature="proof", extras={"x": 1})
    on = turn_of()
    events = answer([*made[:2], detail, *made[2:]])
    seen = shown(on, watching(on, asked(), answers(CALLS)), one_each(events))
    assert seen.events == events
    (hold,) = seen.holds
    assert hold.call is not None
    assert hold.call.signature == "proof"


def test_a_call_that_never_ends_is_asked_about_at_the_answer_s_end() -> None:
    on = turn_of()
    events: list[Event] = [Start(), *call(0, STATUS)[:-1], Finish("tool_calls"), End()]
    operator = one_by_one(Denied(form="refusal", message="No."))
    seen = shown(on, watching(on, asked(), answers(CALLS)), one_each(events), operator)
    assert (seen.text, seen.finish) == ("No.", "stop")


def test_a_call_that_breaks_off_is_not_let_go() -> None:
    on = turn_of()
    fault = Fault(kind="unavailable", message="gone")
    events: list[Event] = [Start(), *words(0, "Hm."), *call(1, STATUS)[:-1], fault]
    seen = shown(on, watching(on, asked(), answers(CALLS)), one_each(events))
    assert seen.holds == []
    assert seen.events == [Start(), *words(0, "Hm."), fault]


def test_a_call_that_an_operator_has_decided_about_is_not_asked_about_again() -> None:
    on = turn_of()
    watched = watching(on, BOTH, answers(CALLS))
    decided_calls(on).add((0, 1))
    assert [hold.call.name for hold in shown(on, watched, one_each(TWO)).holds if hold.call] == [
        "read_file"
    ]


def test_a_long_call_is_asked_about_before_it_is_complete() -> None:
    events = answer(call(0, {"command": "x" * 3000}, cut=10))
    rule = {**CALLS, "arguments": "never there"}
    on = turn_of()
    seen = shown(on, watching(on, asked(), answers(rule, max_answer_chars=1000)), one_each(events))
    (hold,) = seen.holds
    assert hold.call is not None
    assert 900 < len(hold.call.arguments) <= 1000
    assert seen.events == events
    on = turn_of()
    watched = watching(on, asked(), answers(rule, max_answer_chars=1000))
    seen = shown(on, watched, one_each(events), one_by_one(Denied(form="refusal", message="No.")))
    assert (seen.text, seen.calls, seen.finish) == ("No.", [], "stop")


# -- whole answers ------------------------------------------------------------------------------

THOUGHT = [
    PartStart(0, Reasoning(text="")),
    PartDelta(0, "reasoning", "Hm."),
    PartDetail(index=0, signature="s"),
    PartEnd(0),
]
LONG = [
    Start(id="a", model="m"),
    Ping(),
    *THOUGHT,
    *words(1, "I ", "look."),
    Ping(),
    *call(2, STATUS),
    Finish("tool_calls", raw="tool_use"),
    Usage(input_tokens=3, output_tokens=9),
    End(),
]
FIRST = [Start(id="a", model="m"), Ping()]


def test_nothing_of_an_answer_goes_on_before_it_is_approved() -> None:
    on = turn_of()
    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each(LONG))
    assert seen.before == [3]
    assert [event for event in seen.events if not isinstance(event, Ping)] == [
        event for event in LONG if not isinstance(event, Ping)
    ]
    (hold,) = seen.holds
    assert hold.call is None
    assert hold.response is not None
    assert (hold.response.id, hold.response.model) == ("a", "m")
    assert hold.response.choices == fold(LONG).choices


@pytest.mark.parametrize(
    ("rule", "held"),
    [
        ({}, True),
        ({"text": "I look."}, True),
        ({"text": "Hm."}, False),
        ({"regex": "l.{1,3}k"}, True),
        ({"tools": ["bash"]}, True),
        ({"tools": ["bash"], "arguments": "git status"}, True),
        ({"tools": ["bash"], "arguments": "git push"}, False),
        ({"verdicts": ["loop"]}, False),
    ],
)
def test_an_answer_waits_where_all_that_its_rule_says_is_so(
    rule: dict[str, Any], held: bool
) -> None:
    on = turn_of()
    seen = shown(on, watching(on, asked(), answers({**WHOLE, **rule})), one_each(LONG))
    assert bool(seen.holds) is held
    assert fold(seen.events) == fold(LONG)


def test_what_was_found_in_the_answer_counts() -> None:
    on = turn_of()
    watched = watching(on, asked(), answers({**WHOLE, "verdicts": ["loop"]}))
    on.verdicts.add("loop")
    seen = shown(on, watched, one_each(LONG))
    assert [hold.verdicts for hold in seen.holds] == [("loop",)]


def test_a_rule_for_calls_is_asked_where_the_one_for_the_answer_does_not_fit() -> None:
    on = turn_of()
    watched = watching(on, asked(), answers({**WHOLE, "text": "else"}, CALLS))
    seen = shown(on, watched, one_each(LONG))
    assert [hold.rule for hold in seen.holds] == ["rule-2"]
    on = turn_of()
    seen = shown(on, watching(on, asked(), answers(WHOLE, CALLS)), one_each(LONG))
    assert [hold.rule for hold in seen.holds] == ["rule-1"]


def test_an_edited_answer_keeps_the_events_of_what_was_left_alone() -> None:
    on = turn_of()

    def operator(hold: Any) -> Answer:
        (choice,) = hold.response.choices
        thought, text, made = choice.parts
        new = replace(choice, parts=(thought, replace(text, text="I will see."), made))
        return Answer(response=replace(hold.response, choices=(new,)))

    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each(LONG), operator)
    assert seen.text == "I will see."
    changed = [event for event in seen.events if event not in LONG]
    assert changed == [PartDelta(1, "text", "I will see.")]
    whole = replace(fold(LONG).choices[0], parts=())
    assert replace(fold(seen.events).choices[0], parts=()) == whole
    assert fold(seen.events).usage == fold(LONG).usage


def test_usage_told_between_parts_ends_nothing() -> None:
    events = [*LONG[:7], Usage(output_tokens=1), *LONG[7:]]
    for parts in ((Text(text="x"),), (Text(text="x"), Text(text="y"), Text(text="z"))):
        on = turn_of()
        watched = watching(on, asked(), answers(WHOLE))
        seen = shown(on, watched, one_each(events), one_by_one(instead(*parts)))
        assert tuple(seen.parts) == parts
        assert sum(isinstance(event, Finish) for event in seen.events) == 1
        assert fold(seen.events).usage == fold(events).usage


def test_parts_that_overlap_stay_where_they_were() -> None:
    first, second = call(0, LATER), call(1, STATUS)
    mixed = answer([first[0], second[0], *first[1:-1], *second[1:-1], PartEnd(1), PartEnd(0)])
    on = turn_of()

    def operator(hold: Any) -> Answer:
        (choice,) = hold.response.choices
        new = replace(choice, parts=(call_of("bash", RESET, "call_0"), choice.parts[1]))
        return Answer(response=replace(hold.response, choices=(new,)))

    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each(mixed), operator)
    assert [json.loads(one.arguments) for one in seen.calls] == [RESET, STATUS]
    assert seen.events[-4:] == mixed[-4:]
    assert [event for event in seen.events if getattr(event, "index", 0) == 1] == second


def test_parts_may_be_taken_out_and_put_in() -> None:
    on = turn_of()

    def operator(hold: Any) -> Answer:
        (choice,) = hold.response.choices
        thought, text, _ = choice.parts
        new = replace(choice, parts=(Text(text="Wait."), thought, text, Text(text="Bye.")))
        return Answer(response=replace(hold.response, choices=(new,)))

    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each(LONG), operator)
    kinds = [type(part).__name__ for part in seen.parts]
    assert kinds == ["Text", "Reasoning", "Text", "Text"]
    assert seen.text == "Wait.I look.Bye."
    assert seen.finish == "stop"


def test_an_operator_s_own_answer_takes_the_place() -> None:
    on = turn_of()
    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each(LONG), one_by_one(said("No.")))
    assert (seen.text, seen.finish, seen.calls) == ("No.", "stop", [])
    assert seen.events[0] == LONG[0]
    assert seen.events[-2:] == LONG[-2:]


@pytest.mark.parametrize("form", ["refusal", "tool_result"])
def test_an_answer_may_become_a_refusal(form: Any) -> None:
    on = turn_of()
    operator = one_by_one(Denied(form=form, message="I cannot help with that."))
    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each(LONG), operator)
    assert seen.parts == [Refusal(text="I cannot help with that.")]
    assert seen.finish == "refusal"


def test_a_rejected_answer_is_an_error() -> None:
    on = turn_of()
    seen = shown(
        on, watching(on, asked(), answers(WHOLE)), one_each(LONG), one_by_one(Denied(message="No."))
    )
    assert isinstance(seen.end, Cut)
    assert [event for event in seen.events if not isinstance(event, Start | Ping)] == [
        Fault(kind="permission", message="No.", status=403, code="rejected_by_operator")
    ]


def test_without_a_decision_an_answer_is_an_error_or_what_its_rule_says() -> None:
    on = turn_of(may_wait=False)
    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each(LONG))
    assert isinstance(seen.events[-1], Fault)
    rule = {**WHOLE, "on_timeout": "answer", "answer": "Later."}
    on = turn_of(may_wait=False)
    seen = shown(on, watching(on, asked(), answers(rule)), one_each(LONG))
    assert seen.text == "Later."
    on = turn_of(may_wait=False)
    seen = shown(
        on, watching(on, asked(), answers({**WHOLE, "on_timeout": "approve"})), one_each(LONG)
    )
    assert fold(seen.events) == fold(LONG)


def test_all_choices_are_waited_for() -> None:
    events = [
        Start(),
        *words(0, "one"),
        Finish("stop"),
        *words(0, "two", choice=1),
        Finish("stop", choice=1),
        End(),
    ]
    on = turn_of()
    request = replace(asked(), sampling=Sampling(n=2))
    seen = shown(on, watching(on, request, answers(WHOLE)), one_each(events))
    (hold,) = seen.holds
    assert hold.response is not None
    assert [text_of(choice.parts) for choice in hold.response.choices] == ["one", "two"]
    assert seen.events == events

    def operator(hold: Any) -> Answer:
        first, second = hold.response.choices
        second = replace(second, parts=(Text(text="three"),))
        return Answer(response=replace(hold.response, choices=(first, second)))

    on = turn_of()
    seen = shown(on, watching(on, request, answers(WHOLE)), one_each(events), operator)
    assert [text_of(choice.parts) for choice in fold(seen.events).choices] == ["one", "three"]


def test_a_long_answer_is_asked_about_and_then_goes_on_as_it_comes() -> None:
    events = answer(words(0, *["ten chars "] * 300), call(1, STATUS))
    rule = {**WHOLE, "text": "not in it"}
    stage = answers(rule, {**CALLS}, max_answer_chars=1000)
    on = turn_of()
    seen = shown(on, watching(on, asked(), stage), one_each(events))
    first, second = seen.holds
    assert first.response is not None
    assert 900 <= len(text_of(first.response.choices[0].parts)) <= 1000
    assert "longer than can be kept back" in first.reason
    # The call came later: an operator has not seen it.
    assert second.call == call_of("bash", STATUS)
    assert seen.events == events


def test_behind_an_answer_in_its_place_nothing_of_a_long_one_follows() -> None:
    events = answer(words(0, *["ten chars "] * 300), reason="stop")
    on = turn_of()
    watched = watching(on, asked(), answers(WHOLE, max_answer_chars=1000))
    seen = shown(on, watched, one_each(events), one_by_one(said("Short.")))
    assert isinstance(seen.end, Cut)
    assert (seen.text, seen.finish) == ("Short.", "stop")


def test_an_answer_that_breaks_off_is_not_let_go() -> None:
    on = turn_of()
    fault = Fault(kind="unavailable", message="gone")
    seen = shown(on, watching(on, asked(), answers(WHOLE)), one_each([*LONG[:-4], fault]))
    assert seen.holds == []
    assert [event for event in seen.events if not isinstance(event, Ping)] == [LONG[0], fault]


@pytest.mark.parametrize("rules", [(CALLS,), (WHOLE,), (WHOLE, CALLS)])
@pytest.mark.parametrize("operator", [approve, by_default])
def test_how_the_answer_was_cut_never_matters(rules: Any, operator: Any) -> None:
    events = answer(THOUGHT, words(1, "I look."), call(2, STATUS, cut=1000), call(3, LATER))
    asks, gets = set[str](), set[str]()
    for size in (1, 2, 5, 1000):
        pieces = cut_finer(events, size)
        for frames in (one_each(pieces), [pieces], [pieces[:7], pieces[7:]]):
            on = turn_of()
            seen = shown(on, watching(on, asked(), answers(*rules)), frames, operator)
            asks.add(repr([(hold.call, hold.response, hold.reason) for hold in seen.holds]))
            gets.add(repr((fold(seen.events), type(seen.end))))
    assert len(asks) == 1
    assert len(gets) == 1


def test_the_user_message_need_not_be_there() -> None:
    """A request with nothing but a system message, as some clients send it."""
    on = turn_of()
    request = replace(asked(), messages=(Message(role="system", parts=(Text(text="be"),)),))
    assert not watching(on, request, answers({**CALLS, "text": "be"})).event
    assert ruleset(CALLS).review.of("tool_call")
