"""Recorded answers that wait and are approved: the client gets the very bytes, late."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

import recordings
from dialects.pairs import NAMES, answers_of
from llmitm.canon.events import Event, Fault, PartDelta
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Tool
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.exchange.continuing import Counted
from llmitm.exchange.meter import Meter
from llmitm.exchange.passing import Passing
from llmitm.exchange.readers import StreamReader
from llmitm.exchange.tap import Tap
from llmitm.stages.contract import Answer, Hold, Turn
from stages.deciding import shown, watching
from stages.review.ruling import answers
from stages.tools.playing import asked, turn_of

REPLY = Reply(model="m", id="resp_1", created_s=1)
BY_ITSELF = {"on_timeout": "approve"}
RULES = {
    "calls": ({"hold": "tool_call", **BY_ITSELF},),
    "answers": ({"hold": "response", **BY_ITSELF},),
    "both": (
        {"hold": "response", "text": "\0never\0", **BY_ITSELF},
        {"hold": "tool_call", **BY_ITSELF},
    ),
}


def streams(name: str) -> list[tuple[str, bytes]]:
    return [
        (id, body)
        for id, is_stream, body in answers_of(name)
        if is_stream and body.lstrip().startswith((b"data:", b"event:", b":"))
    ]


def without_pings(body: bytes) -> bytes:
    """A keep-alive goes on at once, whatever waits."""
    body = re.sub(rb"event: ping\r?\ndata: [^\n]*\n\r?\n", b"", body)
    return re.sub(rb"(?m)^: [^\n]*\n\r?\n", b"", body)


def is_broken(name: str, body: bytes) -> bool:
    """Whether it ends with an error: then nothing that was kept back is let go."""
    frames = DIALECTS[name].stream_decoder("text/event-stream").feed(body)
    return any(isinstance(event, Fault) for frame in frames for event in frame.events)


def passed(name: str, body: bytes, chunk: int, turn: Turn, *rules: dict[str, Any]) -> bytes:
    dialect = DIALECTS[name]
    notes: list[str] = []
    request = replace(asked(), dialect=name, tools=(Tool(name="any"),))
    tap = Tap(
        reader=StreamReader(dialect.stream_decoder("text/event-stream"), ""),
        meter=Meter(),
        clock=lambda: 0.0,
        note=notes.append,
        encoder=Counted(dialect.stream_encoder(REPLY)),
        watching=watching(turn, request, answers(*rules)),
        turn=turn,
        raw_unedited=True,
        repeats=dialect.repeats,
    )
    out = b"".join(tap.feed(body[at : at + chunk]).out for at in range(0, len(body), chunk))
    out += tap.end().out
    assert notes == []
    return out


@recordings.needs_corpus
@pytest.mark.parametrize("rules", RULES)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_approved_goes_on_byte_for_byte(name: str, rules: str) -> None:
    wrong: list[str] = []
    bodies = streams(name)
    assert bodies
    for id, body in bodies:
        if is_broken(name, body):
            continue
        for chunk in (1 << 20, 301):
            out = passed(name, body, chunk, turn_of(may_wait=False), *RULES[rules])
            if without_pings(out) != without_pings(body):
                wrong.append(f"{id} {chunk}")
    assert wrong == []


@recordings.needs_corpus
@pytest.mark.parametrize("name", NAMES)
def test_every_recorded_call_is_asked_about_once_and_as_it_is(name: str) -> None:
    count = 0
    for id, is_stream, body in answers_of(name):
        if is_stream:
            continue
        events = DIALECTS[name].decode_response(body)
        made = [
            p for choice in fold(events).choices for p in choice.parts if isinstance(p, ToolCall)
        ]
        on = turn_of()
        request = replace(asked(), tools=(Tool(name="any"),))
        seen = shown(on, watching(on, request, answers({"hold": "tool_call"})), [events])
        assert [hold.call for hold in seen.holds] == made, id
        assert seen.events == events, id
        count += len(made)
    assert count > 10


@recordings.needs_corpus
@pytest.mark.parametrize("name", ["openai_chat", "anthropic_messages"])
def test_of_an_edited_answer_the_frames_of_other_parts_are_as_they_came(name: str) -> None:
    """The first text is changed; every call's frames must still be there, byte for byte."""
    count = 0
    for _, body in streams(name):
        dialect = DIALECTS[name]
        frames = dialect.stream_decoder("text/event-stream").feed(body)
        events = [event for frame in frames for event in frame.events]
        choices = fold(events).choices
        parts = choices[0].parts if choices else ()
        calls = [part for part in parts if isinstance(part, ToolCall)]
        if not calls or not parts or not isinstance(parts[0], Text) or is_broken(name, body):
            continue
        on = turn_of()
        request = replace(asked(), dialect=name)
        watched = watching(on, request, answers({"hold": "response"}))
        edit = replace(parts[0], text="edited")
        encoder = Counted(dialect.stream_encoder(REPLY))
        passing = Passing(raw=True, repeats=dialect.repeats)
        out = b""
        for frame in frames:
            seen = shown(on, watched, [frame.events], lambda hold, e=edit: instead(hold, e))
            out += passing.through(frame, tuple(seen.events), encoder)
        made = {
            frame.raw
            for frame in frames
            if frame.events and all(_is_of_call(event) for event in frame.events)
        }
        assert b"edited" in out
        assert [raw for raw in made if raw not in out] == []
        count += bool(made)
    assert count > 2


def instead(hold: Hold, first: Text) -> Answer:
    assert hold.response is not None
    choice, *others = hold.response.choices
    new = replace(choice, parts=(first, *choice.parts[1:]))
    return Answer(response=replace(hold.response, choices=(new, *others)))


def _is_of_call(event: Event) -> bool:
    return isinstance(event, PartDelta) and event.kind == "arguments"
