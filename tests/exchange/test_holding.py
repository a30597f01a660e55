"""Holds: nothing of an answer goes on until it was decided, and then all of it does, in order."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence

import pytest

from llmitm.canon.events import Event, Fault, Finish, PartDelta, PartEnd, PartStart
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, Request
from llmitm.canon.response import Choice, Response
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.exchange.meter import Meter
from llmitm.exchange.pipeline import Paused, Pipeline, Step
from llmitm.exchange.readers import StreamReader
from llmitm.exchange.tap import Tap
from llmitm.stages.contract import (
    FORWARD,
    Answer,
    Cut,
    Decided,
    Denied,
    EventEffect,
    Forward,
    Hold,
    Refuse,
    RequestEffect,
    Stage,
    Turn,
    Waits,
)


def turn() -> Turn:
    return Turn(
        id="1", provider="openai", protocol="openai_chat", client="", model="m", started_s=0
    )


class Asks(Stage):
    """Keeps each tool call back until somebody has decided."""

    name = "asks"

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        kept: dict[int, list[Event]] = turn.memory.setdefault(self.name, {})
        if isinstance(event, PartStart) and isinstance(event.part, ToolCall):
            kept[event.index] = [event]
            return ()
        if not isinstance(event, PartDelta | PartEnd) or event.index not in kept:
            return (event,)
        kept[event.index].append(event)
        if isinstance(event, PartEnd):
            return Waits(hold=Hold(reason="a call", default=Denied(message="late")))
        return ()

    def on_decided(self, turn: Turn, decided: Decided) -> EventEffect:
        kept: dict[int, list[Event]] = turn.memory[self.name]
        events = tuple(kept.pop(next(i for i, each in kept.items() if each[-1] == PartEnd(i))))
        match decided:
            case Forward():
                return events
            case Answer(response=response):
                (part,) = response.choices[0].parts
                return (PartStart(events[0].index, part), PartEnd(events[0].index))
            case Refuse(fault=fault):
                return Cut(events=(fault,))
            case Denied(message=message):
                index = events[0].index
                said = (PartStart(index, Text(text=message)), PartEnd(index))
                return Cut(events=(*said, Finish("stop")))


class Doubles(Stage):
    """Gives every delta of a text twice, and waits after each second one."""

    name = "doubles"

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        if isinstance(event, PartDelta) and event.kind == "text":
            return Waits(hold=Hold(reason="a text"), events=(event, event))
        return (event,)

    def on_decided(self, turn: Turn, decided: Decided) -> EventEffect:
        return (PartDelta(0, "text", "!"),)


def delta(delta: dict[str, object], finish: str | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    body = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": [choice]}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


def call(index: int, name: str, arguments: str, **more: object) -> dict[str, object]:
    function = {"name": name, "arguments": arguments} if name else {"arguments": arguments}
    return {"tool_calls": [{"index": index, "function": function, **more}]}


STREAM = b"".join(
    (
        delta({"role": "assistant", "content": "I look"}),
        delta(call(0, "ls", "", id="a", type="function")),
        delta(call(0, "", '{"p":1}')),
        delta(call(1, "rm", "", id="b", type="function")),
        delta(call(1, "", '{"p":2}')),
        delta({}, "tool_calls"),
        b"data: [DONE]\n\n",
    )
)


def tap_of(*stages: Stage, may_retry: bool = False) -> tuple[Tap, Turn]:
    dialect = DIALECTS["openai_chat"]
    now = turn()
    pipeline = Pipeline(tuple(Step(stage) for stage in stages), lambda: 0.0)
    request = Request(dialect="openai_chat", model="m", messages=(), stream=True)
    decision = pipeline.on_request(now, request)
    tap = Tap(
        reader=StreamReader(dialect.stream_decoder("text/event-stream"), ""),
        meter=Meter(),
        clock=lambda: 0.0,
        note=lambda line: None,
        encoder=dialect.stream_encoder(Reply(model="m", id="x")),
        watching=decision.watching,
        turn=now,
        may_retry=may_retry,
        raw_unedited=True,
    )
    return tap, now


def run(
    tap: Tap, chunks: Sequence[bytes], decisions: Sequence[Decided]
) -> tuple[list[bytes], list[str]]:
    """What went out before each hold and after the last, and how it ended."""
    left, out, actions = list(decisions), [b""], []
    for feed in (*(lambda each=each: tap.feed(each) for each in chunks), tap.end):
        step = feed()
        while True:
            out[-1] += step.out
            actions.append(step.action)
            if step.action != "hold":
                break
            out.append(b"")
            step = tap.decided(left.pop(0))
        if step.action != "go":
            break
    assert not left
    return out, actions


def cuts(data: bytes, seed: int) -> list[bytes]:
    roll = random.Random(seed)
    borders = sorted({0, len(data), *(roll.randrange(len(data)) for _ in range(roll.randrange(9)))})
    return [data[a:b] for a, b in itertools.pairwise(borders)]


@pytest.mark.parametrize("seed", range(40))
def test_approved_calls_pass_byte_for_byte_however_the_stream_is_cut(seed: int) -> None:
    tap, _ = tap_of(Asks(), may_retry=seed % 2 == 1)
    out, actions = run(tap, cuts(STREAM, seed), (FORWARD, FORWARD))
    assert b"".join(out) == STREAM
    assert actions.count("hold") == 2
    assert b"I look" in out[0]
    assert b"ls" not in out[0]
    assert b"rm" not in out[1]


@pytest.mark.parametrize("seed", range(20))
def test_an_edited_call_takes_the_place_of_the_old_one(seed: int) -> None:
    tap, _ = tap_of(Asks())
    edited = Response(
        choices=(Choice(parts=(ToolCall(id="a", name="ls", arguments='{"p":9}'),)),),
    )
    out, _ = run(tap, cuts(STREAM, seed), (Answer(response=edited), FORWARD))
    text = b"".join(out).decode()
    assert '\\"p\\":9' in text
    assert '\\"p\\":1' not in text
    assert '\\"p\\":2' in text
    assert text.endswith("data: [DONE]\n\n")


def test_a_denied_call_ends_the_answer_and_the_next_one_never_goes_on() -> None:
    tap, _ = tap_of(Asks())
    out, actions = run(tap, [STREAM], (Denied(message="no such thing"),))
    assert actions == ["hold", "cut"]
    assert b"no such thing" in out[1]
    assert b"rm" not in b"".join(out)


def test_a_refused_call_ends_in_an_error_of_the_protocol() -> None:
    tap, _ = tap_of(Asks())
    fault = Fault(kind="permission", message="not today", status=403)
    out, actions = run(tap, [STREAM], (Refuse(fault=fault),))
    assert actions == ["hold", "cut"]
    assert b"not today" in out[1]


def test_where_nobody_can_be_asked_the_default_happens_at_once() -> None:
    tap, now = tap_of(Asks())
    now.may_wait = False
    out, actions = run(tap, [STREAM], ())
    assert actions == ["cut"]
    assert b"late" in out[0]


def test_two_stages_wait_one_after_the_other_and_lose_nothing() -> None:
    pipeline = Pipeline((Step(Doubles()), Step(Asks()), Step(Doubles2())), lambda: 0.0)
    now = turn()
    watching = pipeline.on_request(
        now, Request(dialect="openai_chat", model="m", messages=())
    ).watching
    events: list[Event] = [PartDelta(0, "text", "a"), PartDelta(0, "text", "b"), PartEnd(0)]
    said: list[Event] = []
    staged = watching.on_events(now, events)
    holds = 0
    while isinstance(staged.end, Paused):
        said += staged.events
        holds += 1
        staged = watching.on_decided(now, staged.end, FORWARD)
    said += staged.events
    # Each of the two texts is doubled twice and followed by each stage's own mark.
    assert holds == 2 + 2 * 3
    texts = "".join(event.text for event in said if isinstance(event, PartDelta))
    assert texts == "aa!aa!!!!bb!bb!!!!"
    assert said[-1] == PartEnd(0)


class Doubles2(Doubles):
    """A second one behind the first."""

    name = "doubles2"


class Broken(Asks):
    """Forgets how to decide."""

    def on_decided(self, turn: Turn, decided: Decided) -> EventEffect:
        raise ValueError("a bug")


def test_a_stage_that_fails_to_decide_never_lets_the_call_through() -> None:
    tap, _ = tap_of(Broken())
    out, actions = run(tap, [STREAM], (FORWARD,))
    assert actions == ["hold", "cut"]
    assert b"a bug" in out[1]
    assert b"ls" not in b"".join(out)


class HoldsRequests(Stage):
    """Holds every request."""

    name = "holds"

    def on_request(self, turn: Turn, request: Request) -> RequestEffect:
        return Hold(reason="all", default=Denied(message="nobody came", form="refusal"))


class Guards(Stage):
    """Marks what it has seen."""

    name = "guards"
    guards = True

    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_request(self, turn: Turn, request: Request) -> RequestEffect:
        self.seen.append(request.model)
        return FORWARD


def asked(model: str) -> Request:
    return Request(
        dialect="openai_chat",
        model=model,
        messages=(Message(role="user", parts=(Text(text="hi"),)),),
    )


def test_an_edited_request_is_checked_again_and_goes_through_the_rest() -> None:
    before, after, now = Guards(), Guards(), turn()
    pipeline = Pipeline((Step(before), Step(HoldsRequests()), Step(after)), lambda: 0.0)
    held = pipeline.on_request(now, asked("one"))
    assert isinstance(held.end, Hold)
    assert (before.seen, after.seen) == (["one"], [])
    gone_on = pipeline.on_decided(now, held, Forward(request=asked("two")))
    assert gone_on.end is None
    assert gone_on.request.model == "two"
    assert (before.seen, after.seen) == (["one", "two"], ["two"])


def test_an_approved_request_goes_through_the_rest_only() -> None:
    before, after, now = Guards(), Guards(), turn()
    pipeline = Pipeline((Step(before), Step(HoldsRequests()), Step(after)), lambda: 0.0)
    gone_on = pipeline.on_decided(now, pipeline.on_request(now, asked("one")), FORWARD)
    assert gone_on.request == asked("one")
    assert (before.seen, after.seen) == (["one"], ["one"])


@pytest.mark.parametrize("form", ["error", "refusal"])
def test_a_denied_request_is_an_error_or_a_refusal(form: str) -> None:
    now = turn()
    pipeline = Pipeline((Step(HoldsRequests()),), lambda: 0.0)
    held = pipeline.on_request(now, asked("one"))
    end = pipeline.on_decided(now, held, Denied(message="no", form=form)).end
    if form == "error":
        assert isinstance(end, Refuse)
        assert (end.fault.status, end.fault.message) == (403, "no")
    else:
        assert isinstance(end, Answer)
        assert end.response.choices[0].finish == Finish("refusal")


def test_a_request_that_nobody_can_be_asked_about_gets_the_default() -> None:
    now = turn()
    now.may_wait = False
    decision = Pipeline((Step(HoldsRequests()),), lambda: 0.0).on_request(now, asked("one"))
    assert isinstance(decision.end, Answer)
    assert "nobody can be asked" in decision.comments[0]
