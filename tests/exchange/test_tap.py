"""The tap: verbatim bytes, the preamble held back, faults, breaks, and codecs that fail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from llmitm.canon.events import End, Event, Fault, Finish, PartDelta, Ping, Start
from llmitm.canon.request import Request
from llmitm.canon.values import Loss
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Frame
from llmitm.exchange.meter import Meter
from llmitm.exchange.pipeline import Pipeline, Step
from llmitm.exchange.readers import SkimReader, StreamReader, WholeReader
from llmitm.exchange.tap import Tap
from llmitm.stages.contract import Stage, Turn
from recordings import load, needs_corpus

ASKED = Request(dialect="q", model="m", messages=())
WORDS: dict[bytes, tuple[Event, ...]] = {
    b"s": (Start("id"),),
    b"p": (Ping(),),
    b"f": (Fault(kind="overloaded", message="busy"),),
    b"b": (Fault(kind="invalid_request", message="bad"),),
    b"e": (Finish("stop"), End()),
}


class Letters:
    """One byte a frame: see WORDS; anything else is a text delta, `!` breaks the decoder."""

    def feed(self, data: bytes) -> Sequence[Frame]:
        if b"!" in data:
            raise ValueError("a bug")
        letters = [data[at : at + 1] for at in range(len(data))]
        return [
            Frame(one, WORDS.get(one, (PartDelta(0, "text", one.decode()),))) for one in letters
        ]

    def close(self) -> Sequence[Frame]:
        return ()


class Capitals:
    """Encodes text deltas in capitals, faults as `<message>`."""

    def __init__(self) -> None:
        self.losses: list[Loss] = []

    def feed(self, events: Iterable[Event]) -> bytes:
        out = b""
        for event in events:
            if isinstance(event, PartDelta):
                if event.text == "?":
                    raise ValueError("another bug")
                out += event.text.upper().encode()
            elif isinstance(event, Fault):
                out += f"<{event.message}>".encode()
        return out

    def close(self) -> bytes:
        return b"."

    def heartbeat(self) -> bytes:
        return b":"


def make(**options) -> tuple[Tap, Meter, list[str]]:
    meter, notes = Meter(), []
    tap = Tap(reader=Letters(), meter=meter, clock=lambda: 1.0, note=notes.append, **options)
    return tap, meter, notes


def test_verbatim_gives_back_the_same_bytes_and_counts() -> None:
    tap, meter, _ = make()
    chunk = b"sabce"
    assert tap.feed(chunk).out is chunk
    assert tap.end().out == b""
    assert (meter.finish, meter.ended, meter.first_content_s) == ("stop", True, 1.0)


def test_the_preamble_waits_for_content() -> None:
    tap, _, _ = make(may_retry=True)
    assert tap.feed(b"s").out == b""
    assert tap.feed(b"p").out == b""
    assert tap.holding
    assert tap.feed(b"a").out == b"spa"
    assert not tap.holding
    assert tap.feed(b"f").out == b"f"


def test_a_fault_before_content_fails_the_attempt_once() -> None:
    tap, _, _ = make(may_retry=True)
    tap.feed(b"s")
    step = tap.feed(b"f")
    assert step.action == "fail"
    assert step.out == b""
    assert step.failure is not None
    assert (step.failure.kind, step.failure.status) == ("fault", 529)
    assert tap.feed(b"a").out == b""
    assert tap.end().out == b""


def test_a_fault_that_no_other_provider_would_better_is_passed_on() -> None:
    tap, _, _ = make(may_retry=True)
    assert tap.feed(b"sb").out == b"sb"


def test_without_another_attempt_a_fault_is_passed_on() -> None:
    tap, meter, _ = make()
    assert tap.feed(b"sf").out == b"sf"
    assert meter.fault is not None


def test_an_answer_that_ends_in_its_preamble_is_released() -> None:
    tap, _, _ = make(may_retry=True)
    tap.feed(b"sp")
    assert tap.end().out == b"sp"


def test_a_preamble_without_end_is_released_at_its_cap() -> None:
    tap, _, _ = make(may_retry=True)
    assert tap.feed(b"p" * 60_000).out == b""
    assert len(tap.feed(b"p" * 10_000).out) == 70_000


def test_translation_encodes_and_closes() -> None:
    tap, _, _ = make(encoder=Capitals())
    assert tap.feed(b"sac").out == b"AC"
    assert tap.end().out == b"."
    assert tap.heartbeat() == b""


@pytest.mark.parametrize(("fed", "action"), [(b"", "fail"), (b"a", "go")])
def test_a_break_is_passed_on_verbatim_and_fails_before_content(fed: bytes, action: str) -> None:
    tap, _, _ = make(may_retry=True)
    tap.feed(fed)
    step = tap.broke("gone")
    assert (step.action, step.out) == (action, b"")


def test_a_break_ends_a_translated_stream_with_an_error_event() -> None:
    tap, meter, _ = make(encoder=Capitals())
    tap.feed(b"a")
    step = tap.broke("gone")
    assert (step.out, step.action) == (b"<gone>", "cut")
    assert meter.fault is not None
    assert tap.feed(b"more").out == b""


def test_a_decoder_that_fails_blinds_the_verbatim_lane_and_nothing_more() -> None:
    tap, _, notes = make()
    assert tap.feed(b"a!").out == b"a!"
    assert tap.feed(b"b").out == b"b"
    assert tap.end().out == b""
    assert "ValueError: a bug" in notes[0]


@pytest.mark.parametrize("bad", [b"!", b"?"])
def test_a_codec_that_fails_ends_a_translated_stream_with_an_error(bad: bytes) -> None:
    tap, _, notes = make(encoder=Capitals())
    assert tap.feed(b"a").out == b"A"
    step = tap.feed(bad)
    assert step.action == "cut"
    assert b"could not read" in step.out
    assert notes


class Hide(Stage):
    name = "hide"

    def on_event(self, turn: Turn, event: Event) -> Sequence[Event]:
        if isinstance(event, PartDelta) and event.text == "x":
            return ()
        if isinstance(event, PartDelta) and event.text == "z":
            raise RuntimeError("boom")
        return (event,)


def edited(on_error) -> Tap:
    turn = Turn(id="1", provider="p", protocol="q", client="", model="m", started_s=0)
    pipeline = Pipeline((Step(Hide(), on_error),), lambda: 0.0)
    watching = pipeline.on_request(turn, ASKED).watching
    return make(encoder=Capitals(), watching=watching, turn=turn, raw_unedited=True)[0]


def test_frames_that_no_stage_changed_go_on_as_they_came() -> None:
    assert edited("forward").feed(b"axb").out == b"ab"


def test_a_failing_stage_ends_the_stream_when_its_rule_says_so() -> None:
    assert edited("forward").feed(b"az").out == b"az"
    step = edited("refuse").feed(b"az")
    assert step.action == "cut"
    assert step.out.startswith(b"a")
    assert b"stage hide" in step.out


def test_a_whole_body_is_decoded_at_its_end_unless_it_is_too_large() -> None:
    def decode(body: bytes) -> list[Event]:
        return [PartDelta(0, "text", body.decode())]

    reader = WholeReader(decode, "", 10)
    assert reader.feed(b"ab") == ()
    reader.feed(b"cd")
    assert reader.close()[0].events == (PartDelta(0, "text", "abcd"),)
    large = WholeReader(decode, "", 3)
    large.feed(b"abcd")
    large.feed(b"efgh")
    assert large.close() == ()


RECORDED = {
    "openai_chat": "openai-chat",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic-messages",
    "gemini_generate": "gemini",
}


@needs_corpus
@pytest.mark.parametrize("chunk", [7, 333, 1 << 20])
@pytest.mark.parametrize("protocol", RECORDED)
def test_skimming_counts_what_reading_counts(protocol: str, chunk: int) -> None:
    dialect = DIALECTS[protocol]
    streams = [
        row["response_body"].encode()
        for row in load(RECORDED[protocol])
        if row["stream"] and row["response_body"].lstrip()[:1] not in ("[", "{")
    ]
    assert len(streams) > 50
    for body in streams[:: 1 if chunk > 300 else 5]:
        read = metered(StreamReader(dialect.stream_decoder("text/event-stream"), ""), body, chunk)
        decoder = dialect.stream_decoder("text/event-stream")
        assert metered(SkimReader(decoder, dialect.telling, ""), body, chunk) == read


def metered(reader, body: bytes, chunk: int) -> tuple:
    meter = Meter()
    frames = [
        frame for at in range(0, len(body), chunk) for frame in reader.feed(body[at : at + chunk])
    ]
    for frame in [*frames, *reader.close()]:
        for event in frame.events:
            meter.feed(event, 0.0)
    return (
        meter.usage,
        meter.finish,
        meter.tool_calls,
        meter.fault,
        meter.ended,
        meter.model,
        meter.response_id,
    )


def test_skimming_leaves_text_unread_and_loses_no_bytes() -> None:
    dialect = DIALECTS["openai_chat"]
    text = b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":null}]}\n\n'
    end = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    reader = SkimReader(dialect.stream_decoder("text/event-stream"), dialect.telling, "")
    assert reader.feed(text)
    assert not [frame for _ in range(50) for frame in reader.feed(text)]
    events = [event for frame in reader.feed(end[:-1]) for event in frame.events]
    events += [event for frame in reader.close() for event in frame.events]
    assert any(isinstance(event, Finish) for event in events)
    assert any(isinstance(event, End) for event in events)
