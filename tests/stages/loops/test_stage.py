"""The policy `loops`: where it looks, what the client gets, and which tier decides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmitm.canon.events import End, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.fold import fold
from llmitm.canon.parts import Refusal, Text
from llmitm.canon.turns import text_of
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.errors import RuleError
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.loop_checks import LOOP_VARIABLES
from llmitm.ruleset.loops import LoopsFile
from llmitm.ruleset.rewrites import RewritesFile
from llmitm.ruleset.selectors import Target
from llmitm.stages.contract import Again, Cut
from llmitm.stages.conversation import Settings
from llmitm.stages.loops.detecting import Detector, Found, Limits
from llmitm.stages.loops.stage import ASKED_AGAIN, NOTE, Loops, shown
from recordings import needs_corpus
from stages.loops.answers import (
    FILES,
    call_events,
    cuts,
    finishes,
    pieces,
    recorded,
    request,
    text_events,
    text_seen,
    thought_events,
    through,
    told,
    turn,
)

SHIPPED = load_folders([shipped_folder()], {})
UNIT = "I will look at the file again to be sure of what it says. "
LOOP = "Let me see. " + UNIT * 60
LINE = "[Response cancelled: Loop detected - Pattern '"

type Make = Callable[..., Loops]


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    def make(environ: Any = None, rewrites: Any = None, **values: Any) -> Loops:
        rules = SHIPPED
        if environ:
            (tmp_path / "loops.yaml").write_text(json.dumps({"content": values}))
            rules = load_folders([shipped_folder(), tmp_path], environ)
        elif values:
            loops = LoopsFile.model_validate_json(json.dumps({"content": values}))
            rules = replace(rules, loops=loops)
        if rewrites:
            file = RewritesFile.model_validate_json(json.dumps(rewrites))
            rules = replace(rules, rewrites=file)
        return Loops(rules)

    return make


def looping(size: int = 12, **values: Any) -> list[Any]:
    return [Start(), *text_events(pieces(LOOP, size), **values), Finish("stop"), End()]


def test_a_loop_is_cut_with_the_line_as_visible_text(stage: Make) -> None:
    seen, end = through(stage(), turn(), request(), looping())
    assert isinstance(end, Cut)
    text = text_seen(seen)
    own, line = text.split("\n\n")
    assert LOOP.startswith(own)
    assert 500 < len(own) <= 800
    assert line.startswith(LINE)
    assert line.endswith(" times]")
    assert "I will look at the file again" in line
    assert [type(event) for event in seen[-2:]] == [PartEnd, Finish]
    assert finishes(seen) == [(0, "stop")]
    assert end.why.startswith("loop: Pattern ")


def test_what_stays_does_not_depend_on_the_pieces(stage: Make) -> None:
    made = stage()
    whole = text_seen(through(made, turn(), request(), looping(10**9))[0])
    for how in (pieces(LOOP, 1), pieces(LOOP, 19), cuts(LOOP, 4), cuts(LOOP, 5)):
        seen, end = through(made, turn(), request(), text_events(how))
        assert isinstance(end, Cut)
        assert text_seen(seen) == whole


def test_a_part_that_comes_in_one_piece(stage: Make) -> None:
    for part in (Text(text=LOOP), Refusal(text=LOOP)):
        events = [PartStart(0, part), PartEnd(0), Finish("stop"), End()]
        seen, end = through(stage(), turn(), request(), events)
        assert isinstance(end, Cut)
        said = fold(seen).choices[0].parts
        assert len(said) == 1
        assert type(said[0]) is type(part)
        assert LINE in text_of(said)


def test_only_what_is_visible_counts(stage: Make) -> None:
    events = [
        *thought_events(LOOP),
        *call_events("bash", json.dumps({"text": LOOP}), index=1),
        *text_events(["All is well."], index=2),
        Finish("tool_calls"),
    ]
    assert through(stage(), turn(), request(), events) == (events, None)


def test_between_tool_calls_the_same_may_be_said(stage: Make) -> None:
    events: list[Any] = []
    for place in range(0, 60, 2):
        events += text_events([UNIT], index=place)
        events += call_events("bash", f'{{"n": {place}}}', index=place + 1, id=f"c{place}")
    assert through(stage(), turn(), request(), events) == (events, None)


def test_a_loop_behind_a_tool_call_leaves_the_call(stage: Make) -> None:
    events = [*call_events("bash"), *text_events(pieces(LOOP, 9), index=1), Finish("tool_calls")]
    for mode in ("cut", "steer"):
        seen, end = through(stage(mode=mode), turn(), request(), events)
        assert isinstance(end, Cut)
        assert seen[:4] == events[:4]
        assert finishes(seen) == [(0, "tool_calls")]


def test_of_several_choices_only_the_looping_one_ends(stage: Make) -> None:
    good = "A short answer."
    events = [
        *text_events(pieces(LOOP, 30)),
        *text_events([good], choice=1),
        Finish("stop"),
        Finish("stop", choice=1),
        End(),
    ]
    seen, end = through(stage(), turn(), request(n=2), events)
    assert end is None
    assert LINE in text_seen(seen)
    assert text_seen(seen, 1) == good
    assert finishes(seen) == [(0, "stop"), (1, "stop")]
    both = [*text_events(pieces(LOOP, 30)), *text_events(pieces(LOOP, 30), choice=1)]
    seen, end = through(stage(), turn(), request(n=2), both)
    assert isinstance(end, Cut)
    assert finishes(seen) == [(0, "stop"), (1, "stop")]


def test_steer_asks_once_and_then_cuts(stage: Make) -> None:
    made, one, asked = stage(mode="steer"), turn(), request()
    seen, again = through(made, one, asked, looping())
    assert isinstance(again, Again)
    assert text_seen(seen).endswith(f"\n\n{ASKED_AGAIN}\n\n")
    assert isinstance(seen[-1], PartEnd)
    assert finishes(seen) == []
    assert again.request.messages[:-1] == asked.messages
    assert text_of(again.request.messages[-1].parts) == NOTE
    assert again.request.messages[-1].role == "user"
    assert NOTE not in text_seen(seen)
    calm = [Start(), *text_events(["Here it is."]), Finish("stop"), End()]
    assert told(made, one, calm) == (calm, None)
    seen, end = told(made, one, looping())
    assert isinstance(end, Cut)
    assert LINE in text_seen(seen)


@pytest.mark.parametrize("name", FILES)
def test_the_end_is_well_formed_in_every_protocol(name: str, stage: Make) -> None:
    """Streamed and whole: decoded again, the answer has the line and an end."""
    seen, _ = through(stage(), turn(), request(), looping())
    dialect = DIALECTS[name]
    encoder = dialect.stream_encoder(Reply(model="m"))
    body = encoder.feed(seen) + encoder.close()
    media = {
        "ollama_chat": "application/x-ndjson",
        "bedrock_converse": "application/vnd.amazon.eventstream",
    }.get(name, "text/event-stream")
    decoder = dialect.stream_decoder(media)
    frames = [*decoder.feed(body), *decoder.close()]
    streamed = fold(event for frame in frames for event in frame.events)
    whole = fold(
        dialect.decode_response(
            dialect.encode_response(fold([*seen, End()]), Reply(model="m")).body
        )
    )
    for answer in (streamed, whole):
        assert answer.fault is None
        choice = answer.choices[0]
        assert text_of(choice.parts) == text_seen(seen)
        assert choice.finish is not None
        assert choice.finish.reason == "stop"


@pytest.mark.parametrize("name", FILES)
def test_the_note_can_be_said_in_every_protocol(name: str, stage: Make) -> None:
    _, again = through(stage(mode="steer"), turn(), request(), looping())
    assert isinstance(again, Again)
    body = DIALECTS[name].encode_request(again.request, DEFAULT_FACTS).body
    read = DIALECTS[name].decode_request(body)
    assert read.messages[-1].role == "user"
    assert NOTE in text_of(read.messages[-1].parts)


@needs_corpus
@pytest.mark.parametrize("name", FILES)
def test_recorded_answers_pass_as_they_are(name: str, stage: Make) -> None:
    made = stage()
    for ident, events in recorded(name):
        assert through(made, turn(), request(), events) == ([*events], None), ident


DEFAULTS = {"model_defaults": [{"name": "a", "models": ["m"], "loop_detection_enabled": False}]}
ROWS = [{"name": "r", "models": ["openai:*"], "enabled": False}]


@pytest.mark.parametrize(
    ("environ", "rewrites", "rows", "said", "looked"),
    [
        ({}, {}, [], None, True),
        ({"LOOP_DETECTION_ENABLED": "false"}, {}, [], None, False),
        ({"LOOP_DETECTION_ENABLED": "0"}, {}, [], True, True),
        ({}, {}, ROWS, None, False),
        ({"LOOP_DETECTION_ENABLED": "true"}, DEFAULTS, [], None, False),
        ({}, DEFAULTS, [], True, True),
        ({}, {}, ROWS, True, True),
        ({}, {}, [], False, False),
    ],
)
def test_environment_below_model_below_conversation(
    environ: Any, rewrites: Any, rows: Any, said: Any, looked: bool, stage: Make
) -> None:
    made = stage(environ, rewrites, models=rows)
    one = turn(settings=Settings(loop_detection=said))
    made.on_request(one, request())
    assert made.watches(one) is looked


def test_the_model_that_is_asked_decides(stage: Make) -> None:
    made = stage(models=[{"name": "r", "models": ["groq:llama*"], "mode": "steer"}])
    routed = turn(route=Target(provider="groq", model="llama-3"))
    assert isinstance(through(made, routed, request(), looping())[1], Again)
    assert isinstance(through(made, turn(), request(), looping())[1], Cut)


def test_a_turn_whose_request_nobody_read_is_not_watched(stage: Make) -> None:
    assert not stage().watches(turn())


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("a\nb  c", "Pattern 'a b c' repeated 3 times"),
        ("\n\n", "Pattern '\\n\\n' repeated 3 times"),
        ("word " * 40, f"Pattern '{('word ' * 12).rstrip()}…' repeated 3 times"),
    ],
)
def test_the_pattern_is_one_short_line(pattern: str, line: str) -> None:
    assert shown(Found(pattern, 3, 0)) == line


CONTENT = SHIPPED.loops.content


@pytest.mark.parametrize("example", CONTENT.examples, ids=[one.name for one in CONTENT.examples])
def test_every_shipped_example_holds(example: Any) -> None:
    text = "".join(example.text.replace("{n}", str(n + 1)) for n in range(example.times))
    found = Detector(Limits()).feed(example.before + text)
    assert (found is not None) == example.loop
    if found is not None and example.within is not None:
        assert found.at - len(example.before) <= example.within


def test_shipped_numbers_are_the_documented_ones() -> None:
    assert CONTENT.enabled
    assert CONTENT.mode == "cut"
    assert Limits() == Limits(window=50, threshold=10, history=1000, buffer=2048, longest=500)
    assert Loops(SHIPPED)._limits == Limits()  # pyright: ignore[reportPrivateUsage]
    assert load_folders([], {}).loops.model_dump(
        exclude={"content": {"examples"}, "tools": {"examples"}}
    ) == SHIPPED.loops.model_dump(exclude={"content": {"examples"}, "tools": {"examples"}})


def test_every_variable_has_its_place() -> None:
    values = {name: "7" for name in LOOP_VARIABLES}
    values |= {name: "no" for name in LOOP_VARIABLES if name.endswith("_ENABLED")}
    values |= {
        "LOOP_DETECTION_BUFFER_SIZE": "4096",
        "LOOP_DETECTION_MAX_PATTERN_LENGTH": "1000",
        "LOOP_DETECTION_CONTENT_CHUNK_SIZE": "60",
        "LOOP_DETECTION_MAX_HISTORY_LENGTH": "1500",
        "TOOL_LOOP_MODE": "Chance",
    }
    loops = load_folders([shipped_folder()], values).loops
    content, tools = loops.content, loops.tools
    assert (content.enabled, content.buffer_size, content.max_pattern_length) == (False, 4096, 1000)
    assert (content.content_chunk_size, content.content_loop_threshold) == (60, 7)
    assert content.max_history_length == 1500
    assert (tools.enabled, tools.max_repeats, tools.ttl_s) == (False, 7, 7)
    assert tools.mode == "chance_then_break"


@pytest.mark.parametrize(
    ("environ", "say"),
    [
        ({"LOOP_DETECTION_ENABLED": "perhaps"}, "is not true or false"),
        ({"LOOP_DETECTION_BUFFER_SIZE": "many"}, "is not a whole number"),
        ({"TOOL_LOOP_MAX_REPEATS": "1"}, "1 is not in 2..1000"),
        ({"TOOL_LOOP_MODE": "shout"}, "shout"),
    ],
)
def test_a_wrong_variable_stops_the_start_by_name(environ: Any, say: str) -> None:
    with pytest.raises(RuleError) as caught:
        load_folders([shipped_folder()], environ)
    assert caught.value.file == next(iter(environ))
    assert say in str(caught.value)


def test_an_example_of_models_that_does_not_hold_is_told(tmp_path: Path) -> None:
    rows = [{"name": "r", "models": ["gpt-*"], "examples": [{"model": "openai:o3"}]}]
    for section in ("content", "tools"):
        (tmp_path / "loops.yaml").write_text(json.dumps({section: {"models": rows}}))
        errors = check([shipped_folder(), tmp_path], {})
        assert [error.pointer for error in errors] == [f"/{section}/models/r/examples/0"]
        assert errors[0].say == "r is not for openai:o3"


def test_a_piece_is_left_as_it_is(stage: Make) -> None:
    made, one = stage(), turn()
    made.on_request(one, request())
    assert made.watches(one)
    event = PartDelta(0, "text", "hello")
    effect = made.on_event(one, event)
    assert isinstance(effect, tuple)
    assert effect[0] is event
