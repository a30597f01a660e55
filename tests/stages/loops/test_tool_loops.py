"""The policy `tool_loops`: what counts, what is stopped, and what the client and the model get."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmitm.canon.events import End, Event, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.canon.request import Tool
from llmitm.canon.turns import text_of
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.loops import LoopsFile
from llmitm.ruleset.rewrites import RewritesFile
from llmitm.stages.contract import Again, Cut
from llmitm.stages.conversation import Settings
from llmitm.stages.tool_loops.calls import MOST_CALLS, Call, calls_of, signature
from llmitm.stages.tool_loops.stage import MOST_CONVERSATIONS, MOST_STOPPED, ToolLoops, told
from recordings import needs_corpus
from stages.loops.agents import PROTOCOLS, Made, request_in
from stages.loops.answers import (
    FILES,
    call_events,
    finishes,
    recorded,
    request,
    say,
    text_events,
    text_seen,
    through,
    turn,
)
from stages.loops.answers import told as told_by

SHIPPED = load_folders([shipped_folder()], {})
LS = Made("bash", {"command": "ls", "timeout": 5})
PWD = Made("bash", {"command": "pwd"})

type Make = Callable[..., ToolLoops]


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    def make(environ: Any = None, rewrites: Any = None, **values: Any) -> ToolLoops:
        rules = SHIPPED
        if environ:
            (tmp_path / "loops.yaml").write_text(json.dumps({"tools": values}))
            rules = load_folders([shipped_folder(), tmp_path], environ)
        elif values:
            loops = LoopsFile.model_validate_json(json.dumps({"tools": values}))
            rules = replace(rules, loops=loops)
        if rewrites:
            file = RewritesFile.model_validate_json(json.dumps(rewrites))
            rules = replace(rules, rewrites=file)
        return ToolLoops(rules)

    return make


def answer(*made: Made, before: str = "") -> list[Event]:
    """An answer with these calls."""
    events: list[Event] = [Start()]
    if before:
        events += text_events([before])
    for place, one in enumerate(made, start=bool(before)):
        events += call_events(one.tool, json.dumps(one.arguments), id=f"n{place}", index=place)
    return [*events, Finish("tool_calls", "tool_use"), End()]


def calls_in(events: list[Event]) -> list[str]:
    return [
        part.arguments
        for choice in fold(events).choices
        for part in choice.parts
        if isinstance(part, ToolCall)
    ]


def is_stopped(
    made: ToolLoops, dialect: str, before: list[Made], new: Made, *, at_s: float = 0, **values: Any
) -> bool:
    one = turn(at_s=at_s, protocol=dialect, **values)
    seen, _ = through(made, one, request_in(dialect, before), answer(new))
    return not calls_in(seen)


def counter(text: str) -> Made:
    return Made("bash", {"command": "ls", "timeout": 5}, text)


HISTORIES: list[tuple[str, list[Made], Made, bool]] = [
    ("the fourth in a row", [LS] * 3, LS, True),
    ("the third", [LS] * 2, LS, False),
    ("none before", [], LS, False),
    ("other arguments", [LS] * 3, PWD, False),
    ("another tool", [LS] * 3, Made("exec", LS.arguments), False),
    ("key order", [LS] * 3, Made("bash", {"timeout": 5, "command": "ls"}), True),
    ("in turns, the same results", [LS, PWD, LS, PWD, LS, PWD], LS, True),
    ("in turns, too few", [LS, PWD, LS, PWD], LS, False),
    (
        "in turns, with progress",
        [counter("1"), PWD, counter("2"), PWD, counter("3"), PWD],
        LS,
        False,
    ),
    ("in a row, with progress", [counter("1"), counter("2"), counter("3")], LS, True),
    ("the user spoke", [LS, LS, replace(LS, user="again, please")], LS, False),
    ("the user spoke long ago", [replace(LS, user="again"), LS, LS], LS, True),
    (
        "long arguments",
        [Made("bash", {"c": "x" * 5000})] * 3,
        Made("bash", {"c": "x" * 5000}),
        True,
    ),
    (
        "long, not the same",
        [Made("bash", {"c": "x" * 5000})] * 3,
        Made("bash", {"c": "x" * 5001}),
        False,
    ),
    ("no arguments", [Made("bash", {})] * 3, Made("bash", {}), True),
]


@pytest.mark.parametrize("dialect", PROTOCOLS)
@pytest.mark.parametrize(
    ("name", "before", "new", "stopped"), HISTORIES, ids=[r[0] for r in HISTORIES]
)
def test_histories(
    dialect: str, name: str, before: list[Made], new: Made, stopped: bool, stage: Make
) -> None:
    made = stage()
    # What the proxy has not seen come counts too, and asking twice counts nothing twice.
    for _ in range(3):
        assert is_stopped(made, dialect, before, new) is stopped, name


@pytest.mark.parametrize("dialect", PROTOCOLS)
@pytest.mark.parametrize(
    ("times", "stopped"),
    [
        ((0, 1, 2, 3), (False, False, False, True)),
        ((0, 30, 60, 119), (False, False, False, True)),
        ((0, 60, 121, 181, 230), (False, False, False, False, False)),
        ((0, 200, 201, 202, 203), (False, False, False, False, True)),
    ],
)
def test_an_agent_over_time(
    dialect: str, times: tuple[int, ...], stopped: tuple[bool, ...], stage: Make
) -> None:
    """Each request replays the calls before it; they are as old as the answers they came in."""
    made = stage()
    found: list[bool] = []
    for place, at_s in enumerate(times):
        found.append(is_stopped(made, dialect, [LS] * place, LS, at_s=at_s))
    assert tuple(found) == stopped


def test_conversations_do_not_know_each_other(stage: Make) -> None:
    """The same history in another conversation is as old as its own first request."""
    made = stage()
    is_stopped(made, "openai_chat", [LS] * 3, LS, at_s=0, key="a")
    assert not is_stopped(made, "openai_chat", [LS] * 3, LS, at_s=500, key="a")
    assert is_stopped(made, "openai_chat", [LS] * 3, LS, at_s=500, key="b")


def chained(*parts: Any, user: str = "") -> Any:
    messages = [say("user", user)] if user else []
    messages += [say("tool", part) for part in parts]
    base = request(*messages) if messages else request()
    return replace(base, messages=tuple(messages), previous_response_id="resp_1")


def test_requests_without_their_history(stage: Make) -> None:
    """With `previous_response_id` the calls that were let through count."""
    made = stage()
    first, _ = through(made, turn(), request(say("user", "go")), answer(LS))
    assert calls_in(first)
    result = ToolResult(call_id="n0", parts=(Text(text="ok"),))
    found = [
        calls_in(through(made, turn(at_s=n), chained(result), answer(LS))[0]) for n in (1, 2, 3)
    ]
    assert [bool(one) for one in found] == [True, True, False]
    assert calls_in(through(made, turn(at_s=5), chained(result, user="go on"), answer(LS))[0])


def test_a_call_whose_result_never_came_was_not_run(stage: Make) -> None:
    made = stage()
    for at_s in range(9):
        assert calls_in(through(made, turn(at_s=at_s), chained(), answer(LS))[0])


def test_the_stopped_call_becomes_text_and_the_answer_stops(stage: Make) -> None:
    seen, end = through(
        stage(), turn(), request_in("openai_chat", [LS] * 3), answer(LS, before="So. ")
    )
    assert end is None
    text = text_seen(seen)
    assert text == "So. " + told("bash", 4, 120)
    assert "'bash' was invoked with identical parameters 4 times within 120 seconds" in text
    assert finishes(seen) == [(0, "stop")]
    assert [event.raw for event in seen if isinstance(event, Finish)] == [None]


def test_only_the_looping_one_of_parallel_calls_is_stopped(stage: Make) -> None:
    other = Made("bash", {"command": "make"})
    asked = request_in("openai_chat", [LS] * 3)
    for order in ((LS, other), (other, LS), (other, LS, PWD)):
        # With another call before it the loop is not in a row; its results were all the same.
        seen, end = through(stage(), turn(), asked, answer(*order))
        assert end is None
        left = [json.dumps(one.arguments) for one in order if one is not LS]
        assert calls_in(seen) == left
        assert told("bash", 4, 120) in text_seen(seen)
        assert finishes(seen) == [(0, "tool_calls")]


def test_equal_calls_in_one_answer(stage: Make) -> None:
    seen, end = through(stage(), turn(), request_in("openai_chat", []), answer(*[LS] * 5))
    assert end is None
    assert len(calls_in(seen)) == 3
    assert text_seen(seen).count("identical parameters") == 2
    seen, end = through(stage(), turn(), request_in("openai_chat", []), answer(*[LS] * 500))
    assert isinstance(end, Cut)
    assert text_seen(seen).count("identical parameters") == MOST_STOPPED
    assert finishes(seen) == [(0, "tool_calls")]


def test_calls_that_overlap(stage: Make) -> None:
    """Four parallel calls whose pieces come mixed and which all end together."""
    events: list[Event] = [
        PartStart(n, ToolCall(id=f"n{n}", name="bash", arguments="")) for n in range(4)
    ]
    events += [PartDelta(n, "arguments", piece) for piece in ('{"a"', ": 1}") for n in range(4)]
    events += [PartEnd(n) for n in range(4)]
    seen, _ = through(stage(), turn(), request(), [*events, Finish("tool_calls")])
    assert calls_in(seen) == ['{"a": 1}'] * 3
    assert told("bash", 4, 120) in text_seen(seen)


def test_what_is_no_loop_comes_as_it_was(stage: Make) -> None:
    """Held back or not, the events are the same ones in the same order."""
    made, one, asked = stage(), turn(), request_in("openai_chat", [LS] * 3)
    events = answer(PWD, before="So. ")
    assert through(made, one, asked, events) == (events, None)
    made.on_request(one, asked)
    assert made.watches(one)
    start, *_, end = [event for event in events if getattr(event, "index", 0) == 1]
    assert made.on_event(one, start) == ()
    assert made.on_event(one, end) == (start, end)
    other = turn()
    made.on_request(other, request_in("openai_chat", [LS]))
    assert made.watches(other)
    assert made.on_event(other, start) == (start,)


def test_a_call_that_breaks_off_is_not_kept_back_for_ever(stage: Make) -> None:
    events = answer(LS)[:4]
    for last in (Finish("length"), End()):
        seen, _ = through(stage(), turn(), request_in("openai_chat", [LS] * 3), [*events, last])
        assert seen == [*events, last]


def test_a_chance_and_then_the_end(stage: Make) -> None:
    made, one = stage(mode="chance_then_break"), turn()
    asked = request_in("openai_chat", [LS] * 3)
    seen, again = through(made, one, asked, answer(LS, before="So. "))
    assert isinstance(again, Again)
    assert text_seen(seen) == "So. "
    assert calls_in(seen) == []
    assert finishes(seen) == []
    note = again.request.messages[-1]
    assert again.request.messages[:-1] == asked.messages
    assert note.role == "user"
    assert "another tool" in text_of(note.parts)
    assert "ls" not in text_of(note.parts).split()
    seen, end = told_by(made, one, answer(LS))
    assert end is None
    assert text_seen(seen) == told("bash", 4, 120)
    assert finishes(seen) == [(0, "stop")]


def test_a_chance_that_is_taken(stage: Make) -> None:
    made, one = stage(mode="chance"), turn()
    asked = request_in("openai_chat", [LS] * 3)
    assert isinstance(through(made, one, asked, answer(LS))[1], Again)
    seen, end = told_by(made, one, answer(PWD))
    assert (calls_in(seen), end) == ([json.dumps(PWD.arguments)], None)
    # The mark is gone: the next loop has a chance again.
    later = turn(at_s=5)
    after = request_in("openai_chat", [LS, LS, LS, PWD])
    assert isinstance(through(made, later, after, answer(LS))[1], Again)


def test_a_chance_is_forgotten_in_time(stage: Make) -> None:
    made = stage(mode="chance")
    asked = request_in("openai_chat", [LS] * 3)
    ends = [through(made, turn(at_s=at_s), asked, answer(LS))[1] for at_s in (0, 60)]
    assert isinstance(ends[0], Again)
    assert ends[1] is None
    long = stage(mode="chance", ttl_s=10)
    assert isinstance(through(long, turn(at_s=0), asked, answer(LS))[1], Again)
    fresh = request_in("openai_chat", [replace(LS, user="and now")] + [LS] * 2)
    assert isinstance(through(long, turn(at_s=11, key="c2"), fresh, answer(LS))[1], Again)


def test_where_calls_are_out_already_the_text_asks(stage: Make) -> None:
    other = Made("bash", {"command": "make"})
    seen, end = through(
        stage(mode="chance"), turn(), request_in("openai_chat", [LS] * 3), answer(other, LS)
    )
    assert end is None
    assert calls_in(seen) == [json.dumps(other.arguments)]
    assert text_seen(seen).startswith(told("bash", 4, 120) + " Another approach is needed")


@pytest.mark.parametrize("dialect", PROTOCOLS)
def test_pairing_stays_valid_in_every_protocol(dialect: str, stage: Make) -> None:
    """The answer, streamed and whole, has a call for every result that can follow, no other."""
    asked = request_in(dialect, [LS] * 3)
    other = Made("bash", {"command": "make"})
    for new, reason in (((LS,), "stop"), ((LS, other), "tool_calls"), ((other, LS), "tool_calls")):
        seen, _ = through(stage(), turn(protocol=dialect), asked, answer(*new))
        codec = DIALECTS[dialect]
        encoder = codec.stream_encoder(Reply(model="m"))
        body = encoder.feed(seen) + encoder.close()
        decoder = codec.stream_decoder("text/event-stream")
        frames = [*decoder.feed(body), *decoder.close()]
        streamed = [event for frame in frames for event in frame.events]
        whole = codec.decode_response(codec.encode_response(fold(seen), Reply(model="m")).body)
        for events in (streamed, whole):
            left = [json.loads(text) for text in calls_in(events)]
            assert left == [one.arguments for one in new if one is not LS]
            assert told("bash", 4, 120) in text_seen(events)
            assert finishes(events) == [(0, reason)]


@pytest.mark.parametrize("dialect", PROTOCOLS)
def test_the_note_follows_the_results_in_every_protocol(dialect: str, stage: Make) -> None:
    asked = request_in(dialect, [LS] * 3)
    _, again = through(stage(mode="chance"), turn(protocol=dialect), asked, answer(LS))
    assert isinstance(again, Again)
    read = DIALECTS[dialect].decode_request(
        DIALECTS[dialect].encode_request(again.request, DEFAULT_FACTS).body
    )
    assert "another tool" in text_of(read.messages[-1].parts)
    parts = [part for message in read.messages for part in message.parts]
    assert sum(isinstance(part, ToolCall) for part in parts) == 3
    assert sum(isinstance(part, ToolResult) for part in parts) == 3


@needs_corpus
@pytest.mark.parametrize("name", FILES)
def test_recorded_answers_pass_as_they_are(name: str, stage: Make) -> None:
    """Also where every call is held back, because its tool was called before."""
    made = stage()
    held = 0
    for ident, events in recorded(name):
        starts = [event.part for event in events if isinstance(event, PartStart)]
        names = {part.name for part in starts if isinstance(part, ToolCall)}
        before = [Made(tool, {"before": n}) for tool in sorted(names) for n in range(3)]
        held += len(names)
        seen, end = through(made, turn(key=ident), request_in("openai_chat", before), events)
        assert end is None, ident
        assert sorted(map(repr, seen)) == sorted(map(repr, events)), ident
        assert fold(seen) == fold(events), ident
    assert held


SETTINGS = Settings(tool_loop_max_repeats=3, tool_loop_ttl_s=50, tool_loop_mode="chance_then_break")
DEFAULTS = {
    "model_defaults": [
        {
            "name": "a",
            "models": ["m"],
            "tool_loop_max_repeats": 6,
            "tool_loop_detection_enabled": True,
        }
    ]
}
OFF = {"model_defaults": [{"name": "a", "models": ["m"], "tool_loop_detection_enabled": False}]}
ROWS = [{"name": "r", "models": ["openai:*"], "max_repeats": 5, "mode": "chance"}]


@pytest.mark.parametrize(
    ("environ", "rewrites", "rows", "settings", "repeats"),
    [
        ({}, {}, [], Settings(), 4),
        ({"TOOL_LOOP_MAX_REPEATS": "2"}, {}, [], Settings(), 2),
        ({"TOOL_LOOP_MAX_REPEATS": "2"}, {}, ROWS, Settings(), 5),
        ({"TOOL_LOOP_MAX_REPEATS": "2"}, DEFAULTS, ROWS, Settings(), 6),
        ({"TOOL_LOOP_MAX_REPEATS": "2"}, DEFAULTS, ROWS, SETTINGS, 3),
        ({"TOOL_LOOP_DETECTION_ENABLED": "false"}, {}, [], Settings(), None),
        ({"TOOL_LOOP_DETECTION_ENABLED": "false"}, DEFAULTS, [], Settings(), 6),
        ({}, OFF, [], Settings(), None),
        ({}, OFF, [], Settings(tool_loop_detection=True), 4),
        ({}, {}, [], Settings(tool_loop_detection=False), None),
    ],
)
def test_environment_below_model_below_conversation(
    environ: Any, rewrites: Any, rows: Any, settings: Settings, repeats: int | None, stage: Make
) -> None:
    made = stage(environ, rewrites, models=rows)
    first = next(
        (
            n
            for n in range(1, 9)
            if not calls_in(
                through(
                    made,
                    turn(key=str(n), settings=settings),
                    request_in("openai_chat", [LS] * (n - 1)),
                    answer(LS),
                )[0]
            )
        ),
        None,
    )
    assert first == repeats


@pytest.mark.parametrize(
    ("way", "stopped"), [("same_results", False), ("any", True), ("never", False)]
)
def test_whether_calls_between_matter(way: str, stopped: bool, stage: Make) -> None:
    before = [counter("1"), PWD, counter("2"), PWD, counter("3"), PWD]
    assert is_stopped(stage(interleaved=way), "openai_chat", before, LS) is stopped
    same = [LS, PWD] * 3
    assert is_stopped(stage(interleaved=way), "openai_chat", same, LS) is (way != "never")


def test_what_the_client_adds_is_nothing_the_user_said(stage: Make) -> None:
    noted = replace(LS, user="<environment_context>\n  <cwd>/</cwd>\n</environment_context>")
    asked = request_in("openai_chat", [LS, noted, LS])
    seen, _ = through(stage(), turn(client="codex"), asked, answer(LS))
    assert not calls_in(seen)
    assert calls_in(through(stage(), turn(), asked, answer(LS))[0])


def test_without_tools_nobody_looks(stage: Make) -> None:
    made = stage()
    for tools in ((), (Tool(name="web", kind="server", dialect="x"),)):
        one = turn()
        made.on_request(one, request(tools=tools))
        assert not made.watches(one)
    assert not made.watches(turn())


def test_bad_arguments_stand_for_themselves() -> None:
    def of(text: str, kind: Any = "function") -> str:
        return signature(ToolCall(id="", name="f", arguments=text, kind=kind))

    assert of('{"a": [1, {"c": 2, "b": 3}]}') == of('{ "a":[1,{"b":3,"c":2}] }')
    assert of("") == of("{}")
    assert of('{"a": 1') == of('{"a": 1 ')
    assert of('{"a": 1') != of('{"a": 2')
    assert of("[" * 100_000) != of("[" * 100_001)
    assert len(of('"' + "x" * 3000 + '"')) == len("f\n") + 64
    assert of('{"a":1,"b":2}', "custom") != of('{"b":2,"a":1}', "custom")


def test_what_is_kept_is_bounded(stage: Make) -> None:
    calls = calls_of(request_in("openai_chat", [LS] * 500), ())
    assert len(calls) == MOST_CALLS
    made = stage()
    for place in range(MOST_CONVERSATIONS + 50):
        is_stopped(made, "openai_chat", [PWD], LS, key=str(place))
    assert len(made._table) == MOST_CONVERSATIONS  # pyright: ignore[reportPrivateUsage]
    call = Call.of(ToolCall(id="", name="f", arguments='{"a": "' + "x" * 9000 + '"}'))
    assert call.signature
    assert call._part is None  # pyright: ignore[reportPrivateUsage]


TOOLS = SHIPPED.loops.tools


@pytest.mark.parametrize("example", TOOLS.examples, ids=[one.name for one in TOOLS.examples])
def test_every_shipped_example_holds(example: Any) -> None:
    made = ToolLoops(SHIPPED)
    calls = [one for _ in range(example.times) for one in example.calls]
    before: list[Made] = []
    stopped = None
    for number, one in enumerate(calls, start=1):
        new = Made(one.tool, json.loads(one.arguments), one.result)
        if is_stopped(made, "openai_chat", before, new, at_s=one.at_s):
            stopped = number
            break
        before.append(new)
    assert stopped == example.stopped
