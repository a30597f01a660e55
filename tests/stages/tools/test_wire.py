"""Through the real decoders and encoders: what each protocol's client gets is well-formed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from llmitm.canon.events import Event, Finish
from llmitm.canon.fold import fold
from llmitm.canon.parts import ToolCall
from llmitm.canon.turns import text_of
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.exchange.continuing import Counted
from llmitm.exchange.meter import Meter
from llmitm.exchange.pipeline import Step, Watching
from llmitm.exchange.readers import StreamReader
from llmitm.exchange.tap import Tap
from llmitm.stages.contract import Turn
from llmitm.stages.tools.stage import Tools
from stages.tools.playing import (
    LATER,
    RESET,
    STATUS,
    answer,
    asked,
    call,
    ruled,
    started,
    turn_of,
    words,
)

FOUR = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
REPLY = Reply(model="m", id="resp_1", created_s=1)
EACH = pytest.mark.parametrize("name", FOUR)
CUTS = pytest.mark.parametrize("chunk", [1, 7, 100, 1 << 20])


def wire(name: str, events: Sequence[Event]) -> bytes:
    """The events as a provider's stream."""
    encoder = DIALECTS[name].stream_encoder(REPLY)
    return encoder.feed(events) + encoder.close()


def read(name: str, body: bytes) -> list[Event]:
    decoder = DIALECTS[name].stream_decoder("text/event-stream")
    frames = [*decoder.feed(body), *decoder.close()]
    return [event for frame in frames for event in frame.events]


def through(
    name: str, stage: Tools, bodies: Sequence[bytes], chunk: int, turn: Turn | None = None
) -> tuple[bytes, int]:
    """(what the client gets, how many of the answers were asked for)."""
    turn = turn or turn_of()
    started(stage, asked("bash", "read_file"), turn)
    assert stage.watches(turn)
    dialect = DIALECTS[name]
    encoder = Counted(dialect.stream_encoder(REPLY))
    out = b""
    for number, body in enumerate(bodies):
        if number:
            encoder.go_on()
        tap = Tap(
            reader=StreamReader(dialect.stream_decoder("text/event-stream"), ""),
            meter=Meter(),
            clock=lambda: 0.0,
            note=lambda line: pytest.fail(line) if "stopped reading" in line else None,
            encoder=encoder,
            watching=Watching(None, (Step(stage, "refuse"),)),
            turn=turn,
            raw_unedited=not number,
            repeats=dialect.repeats,
        )
        action = "go"
        for at in range(0, len(body), chunk):
            step = tap.feed(body[at : at + chunk])
            out += step.out
            action = step.action
            if action != "go":
                break
        else:
            step = tap.end()
            out += step.out
            action = step.action
        if action != "again":
            return out, number + 1
    return out, len(bodies)


def told(name: str, body: bytes) -> tuple[str, list[Any], str]:
    """(text, each call's arguments, finish) of one well-formed answer."""
    events = read(name, body)
    (choice,) = fold(events).choices
    calls = [part for part in choice.parts if isinstance(part, ToolCall)]
    ids = [call.id for call in calls if call.id]
    assert len(set(ids)) == len(ids)
    finishes = [event for event in events if isinstance(event, Finish)]
    assert len(finishes) == 1
    assert all(call.name for call in calls)
    arguments = [json.loads(call.arguments) for call in calls]
    return text_of(choice.parts), arguments, finishes[0].reason


@EACH
@CUTS
def test_what_is_not_stopped_goes_on_byte_for_byte(name: str, chunk: int) -> None:
    body = wire(name, answer(words(0, "I ", "look."), call(1, STATUS), call(2, LATER, "read_file")))
    rules = ruled(policies=())
    assert through(name, Tools(rules), [body], chunk) == (body, 1)


@EACH
@CUTS
def test_the_good_answer_follows_in_one_well_formed_answer(name: str, chunk: int) -> None:
    bad = wire(name, answer(words(0, "I ", "clean."), call(1, RESET)))
    good = wire(name, answer(words(0, "I ", "look."), call(1, STATUS), call(2, LATER), name="b"))
    out, count = through(name, Tools(ruled()), [bad, good], chunk)
    assert count == 2
    assert told(name, out) == ("I clean.\n\nI look.", [STATUS, LATER], "tool_calls")


@EACH
@CUTS
def test_only_text_is_left_and_the_turn_is_over(name: str, chunk: int) -> None:
    bad = wire(name, answer(call(0, RESET)))
    good = wire(name, answer(words(0, "Run ", "it."), reason="stop", name="b"))
    out, _ = through(name, Tools(ruled()), [bad, good], chunk)
    assert told(name, out) == ("Run it.", [], "stop")


@EACH
@CUTS
def test_the_turn_ends_after_three_times(name: str, chunk: int) -> None:
    bad = [wire(name, answer(words(0, "Now."), call(1, RESET), name=one)) for one in "abcde"]
    out, count = through(name, Tools(ruled()), bad, chunk)
    text, calls, finish = told(name, out)
    assert (count, calls, finish) == (4, [], "stop")
    assert text.startswith("Now.\n\nNow.\n\nNow.\n\nNow.")
    assert text.count("its turn ends here") == 1


@EACH
@CUTS
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_of_three_calls_is_blocked(name: str, chunk: int, place: int) -> None:
    made = [STATUS, LATER]
    made.insert(place, RESET)
    calls = [call(index + 1, arguments) for index, arguments in enumerate(made)]
    body = wire(name, answer(words(0, "I ", "clean."), *calls))
    out, _ = through(name, Tools(ruled(commands={"effect": "block"})), [body], chunk)
    text, left, finish = told(name, out)
    assert (left, finish) == ([STATUS, LATER], "tool_calls")
    assert text.startswith("I clean.\n\n[Tool call stopped: `bash` was not run. `git reset")
    assert b"--hard" not in out.replace(b"`git reset --hard HEAD~3`", b"")


@EACH
@CUTS
def test_a_replaced_call_keeps_its_place(name: str, chunk: int) -> None:
    body = wire(name, answer(call(0, RESET), call(1, STATUS)))
    out, _ = through(name, Tools(ruled(commands={"effect": "replace"})), [body], chunk)
    _, (first, second), finish = told(name, out)
    assert first["command"].startswith("printf ")
    assert (second, finish) == (STATUS, "tool_calls")


@EACH
@pytest.mark.parametrize("effect", ["steer", "block", "replace"])
def test_where_the_stream_is_cut_never_matters(name: str, effect: str) -> None:
    bad = wire(name, answer(words(0, "I ", "clean."), call(1, STATUS), call(2, RESET)))
    good = wire(name, answer(words(0, "I ", "look."), call(1, STATUS), name="b"))
    results = set()
    for chunk in (1, 2, 3, 5, 11, 64, 333, 1 << 20):
        out, count = through(name, Tools(ruled(commands={"effect": effect})), [bad, good], chunk)
        results.add((repr(told(name, out)), count))
    assert len(results) == 1


@EACH
@pytest.mark.parametrize("effect", ["steer", "block"])
def test_no_message_is_told_twice(name: str, effect: str) -> None:
    bad = wire(name, answer(words(0, "I ", "clean."), call(1, RESET)))
    good = wire(name, answer(words(0, "I ", "look."), call(1, STATUS), name="b"))
    out, _ = through(name, Tools(ruled(commands={"effect": effect})), [bad, good], 1 << 20)
    frames = [json.loads(line[6:]) for line in out.decode().splitlines() if line[:7] == "data: {"]
    done = [f["output_index"] for f in frames if f.get("type") == "response.output_item.done"]
    assert done == list(range(len(done)))
    opened = [f["index"] for f in frames if f.get("type") == "content_block_start"]
    assert opened == list(range(len(opened)))
