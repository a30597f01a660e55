"""What the stage makes of answers: which calls go on, and what takes the place of the others."""

from __future__ import annotations

import json
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
    Start,
)
from llmitm.canon.parts import Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Sampling
from llmitm.canon.turns import text_of
from llmitm.stages.contract import Again, Cut
from llmitm.stages.tools.stage import NAME, Tools
from stages.tools.playing import (
    LATER,
    RESET,
    SHIPPED,
    STATUS,
    WIPE,
    Played,
    answer,
    asked,
    call,
    heard,
    play,
    policy,
    ruled,
    started,
    turn_of,
    words,
)


@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_a_harmless_call_goes_on_event_by_event(cut: int) -> None:
    events = answer(words(0, "a", "b"), call(1, STATUS, cut=cut), call(2, LATER, cut=cut))
    assert play(Tools(SHIPPED), [events]).events == events


def test_details_of_a_call_go_on_with_it() -> None:
    made = call(0, STATUS)
    detail = PartDetail(index=0, signature="proof", extras={"x": 1})
    events = answer([*made[:2], detail, *made[2:]])
    assert play(Tools(SHIPPED), [events]).events == events


def test_nothing_of_a_call_goes_on_before_it_is_judged() -> None:
    stage, turn = Tools(SHIPPED), turn_of()
    started(stage, asked(), turn)
    assert stage.watches(turn)
    events = call(0, STATUS)
    assert [stage.on_event(turn, event) for event in events[:-1]] == [()] * (len(events) - 1)
    assert stage.on_event(turn, events[-1]) == tuple(events)


@pytest.mark.parametrize("arguments", [RESET, WIPE])
def test_the_model_is_asked_again_and_the_client_sees_the_good_answer(
    arguments: dict[str, Any],
) -> None:
    bad = answer(words(0, "First."), call(1, arguments))
    good = answer(words(0, "Then."), call(1, STATUS))
    played = play(Tools(SHIPPED), [bad, good])
    assert played.calls == [STATUS]
    assert played.text == "First.\n\nThen."
    assert played.finish == "tool_calls"
    (request,) = played.requests
    said, told = request.messages[-2:]
    assert (said.role, told.role) == ("assistant", "tool")
    assert said.parts[0] == Text(text="First.")
    made, result = said.parts[1], told.parts[0]
    assert isinstance(made, ToolCall)
    assert json.loads(made.arguments) == arguments
    assert isinstance(result, ToolResult)
    assert (result.call_id, result.name, result.error) == (made.id, "bash", True)
    assert "was not run" in text_of(result.parts)


def test_what_proves_the_thinking_goes_back_with_the_call() -> None:
    thought = Reasoning(text="", dialect="d", item_id="rs_1")
    begun = [
        PartStart(0, thought),
        PartDelta(0, "reasoning", "Hm."),
        PartDetail(index=0, signature="s"),
    ]
    bad = answer([*begun, PartEnd(0)], call(1, RESET))
    (request,) = play(Tools(SHIPPED), [bad, answer(call(0, STATUS))]).requests
    kept = request.messages[-2].parts[0]
    assert isinstance(kept, Reasoning)
    assert (kept.text, kept.signature, kept.item_id) == ("Hm.", "s", None)


def test_three_times_louder_and_louder_then_a_text() -> None:
    bad = answer(words(0, "Now."), call(1, RESET))
    played = play(Tools(SHIPPED), [bad] * 5)
    assert [type(end) for end in played.ends] == [Again, Again, Again, Cut]
    notes = [text_of(request.messages[-1].parts) for request in played.requests]
    assert len(set(notes)) == 3
    assert "second call" in notes[1]
    assert "ends your turn" in notes[2]
    # Each request holds only the attempt before it, so nothing adds up.
    assert [len(request.messages) for request in played.requests] == [3, 3, 3]
    assert played.calls == []
    assert played.finish == "stop"
    assert "its turn ends here" in played.text
    assert all(note not in played.text for note in notes)


def test_what_stages_behind_made_of_the_request_is_what_is_sent_again() -> None:
    stage, turn = Tools(SHIPPED), turn_of()
    started(stage, asked(), turn)
    redacted = Message(role="user", parts=(Text(text="***"),))
    turn.request = asked(messages=(redacted,))
    assert stage.watches(turn)
    played = Played()
    end = heard(stage, turn, answer(call(0, RESET)), played, 0)
    assert isinstance(end, Again)
    assert end.request.messages[0] == redacted


@pytest.mark.parametrize("first", ["read_file", "bash"])
def test_beside_a_call_that_the_client_has_one_is_blocked(first: str) -> None:
    events = answer(call(0, LATER, first), call(1, RESET), call(2, STATUS))
    played = play(Tools(SHIPPED), [events], asked("bash", "read_file"))
    assert played.ends == []
    assert played.calls == [LATER, STATUS]
    assert played.text.startswith("[Tool call stopped: `bash` was not run. `git reset --hard")
    assert played.finish == "tool_calls"


def test_calls_that_overlap_are_judged_in_order_and_taken_back_together() -> None:
    first, second = call(0, LATER), call(1, RESET)
    mixed = [first[0], second[0], *first[1:-1], *second[1:-1], PartEnd(1), PartEnd(0)]
    played = play(Tools(SHIPPED), [answer(mixed), answer(call(0, STATUS))])
    assert len(played.requests) == 1
    assert played.calls == [STATUS]


def test_a_call_behind_one_that_is_kept_back_comes_behind_it() -> None:
    first, second = call(0, STATUS), call(1, LATER, "read_file")
    mixed = [*first[:-1], *second[:-1], PartEnd(0), PartEnd(1)]
    played = play(Tools(SHIPPED), [answer(mixed)], asked("bash", "read_file"))
    assert played.calls == [STATUS, LATER]
    starts = [event.index for event in played.events if isinstance(event, PartStart)]
    assert starts == [0, 1]


def test_a_whole_answer_is_taken_back_with_all_its_calls() -> None:
    events = answer(call(0, LATER), call(1, RESET))
    played = play(Tools(SHIPPED), [events, answer(call(0, STATUS))], asked("bash", stream=False))
    (request,) = played.requests
    results = [part for part in request.messages[-1].parts if isinstance(part, ToolResult)]
    assert [one.call_id for one in results] == ["call_0", "call_1"]
    assert "another call" in text_of(results[0].parts)


@pytest.mark.parametrize(
    "changes", [{"may_ask_again": False}, {"sampling": Sampling(n=2)}, {"choice": 1}]
)
def test_where_the_model_cannot_be_asked_again_the_call_is_blocked(changes: Any) -> None:
    turn = turn_of(may_ask_again=changes.get("may_ask_again", True))
    request = asked(sampling=changes.get("sampling", Sampling()))
    where = changes.get("choice", 0)
    events: list[Event] = [Start(), *call(0, RESET, choice=where)]
    events += [Finish("tool_calls", choice=where), End()]
    played = play(Tools(SHIPPED), [events], request, turn)
    assert played.ends == []
    assert played.calls == []
    assert played.finish == "stop"
    assert "was not run" in played.text


def test_blocked_a_text_takes_the_calls_place() -> None:
    stage = Tools(ruled(commands={"effect": "block"}))
    events = answer(words(0, "Now."), call(1, RESET), call(2, STATUS))
    played = play(stage, [events])
    assert played.calls == [STATUS]
    assert played.finish == "tool_calls"
    assert played.text.startswith("Now.\n\n[Tool call stopped: `bash` was not run.")
    alone = play(Tools(ruled(commands={"effect": "block"})), [answer(call(0, RESET))])
    assert alone.finish == "stop"
    assert alone.calls == []


def test_allowed_it_goes_on_and_is_noted() -> None:
    stage, turn = Tools(ruled(commands={"effect": "allow"})), turn_of()
    events = answer(call(0, RESET))
    assert play(stage, [events], turn=turn).events == events
    assert turn.memory[NAME].noted


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("bash", RESET, {"command": "printf '%s\\n' '…'"}),
        (
            "shell",
            {"command": ["bash", "-lc", "git reset --hard"], "timeout": 5},
            {"command": ["printf", "%s\n", "…"], "timeout": 5},
        ),
        ("bash", {"input": {"command": "rm -rf /"}}, {"input": {"command": "printf '%s\\n' '…'"}}),
        (
            "powershell",
            {"command": "Remove-Item -Recurse -Force C:\\"},
            {"command": "Write-Output '…'"},
        ),
    ],
)
def test_replaced_the_call_prints_why(name: str, before: Any, after: Any) -> None:
    stage = Tools(ruled(commands={"effect": "replace"}))
    played = play(stage, [answer(call(0, before, name))], asked(name))
    assert played.finish == "tool_calls"
    (got,) = played.calls
    shown = json.dumps(got)
    assert "was not run" in shown
    pattern = json.dumps(after, ensure_ascii=False).split("…")
    assert shown.startswith(pattern[0])
    assert shown.endswith(pattern[1])
    (part,) = [one for one in played.parts if isinstance(one, ToolCall)]
    assert (part.id, part.name) == ("call_0", name)
    # What it became is nothing that would be stopped.
    assert play(Tools(SHIPPED), [answer(call(0, got, name))], asked(name)).calls == [got]


def test_a_call_that_broke_off_never_slipsheard() -> None:
    begun = call(0, RESET)[:-1]
    stage = Tools(ruled(commands={"effect": "block"}))
    ended = play(stage, [[Start(), *begun, Finish("length"), End()]])
    assert ended.calls == []
    assert ended.finish == "length"
    fault = Fault(kind="overloaded", message="x")
    assert play(stage, [[Start(), *begun, fault]]).events == [Start(), fault]
    assert play(stage, [[Start(), *begun, End()]]).calls == []


def test_a_call_of_a_tool_that_may_not_be_used_is_stopped() -> None:
    rows = (policy(blocked_patterns=("^write",), block_message="Nobody writes.", effect="block"),)
    played = play(
        Tools(ruled(policies=rows)),
        [answer(call(0, {"path": "a"}, "write_file"), call(1, STATUS))],
        asked("bash", "write_file"),
    )
    assert played.calls == [STATUS]
    assert "Nobody writes." in played.text
