"""An answer of every protocol, told in every other one, whole and streamed, says the same."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, get_args

import pytest

import recordings
from dialects.corpus import own_answers
from dialects.pairs import (
    NAMES,
    PAIRS,
    REPLY,
    answers_of,
    calls_in,
    events_in,
    first_choice,
    said,
    thought,
)
from llmitm.canon.events import End, Event, Fault, FaultKind
from llmitm.canon.fold import fold, unfold
from llmitm.canon.response import Response
from llmitm.canon.values import Loss
from llmitm.dialects.catalog import DIALECTS

COUNTS = (
    *("input_tokens", "output_tokens", "total_tokens"),
    *("cache_read_tokens", "cache_write_tokens", "reasoning_tokens"),
)
# What may differ once one of these losses is told.
EXCUSES: dict[str, tuple[str, ...]] = {
    "text": ("part.refusal", "part.unknown"),
    "calls": ("tool_call.custom", "tool_call.arguments"),
    "thought": ("part.reasoning",),
    "finish": ("finish.reason",),
    **{name: ("usage",) for name in COUNTS},
}
# Where a protocol has a required number for a count that nobody told, it is 0.
REQUIRED: dict[str, tuple[str, ...]] = {
    "openai_chat": ("input_tokens", "output_tokens", "total_tokens"),
    "openai_responses": tuple(name for name in COUNTS if name != "cache_write_tokens"),
    "anthropic_messages": ("input_tokens", "output_tokens", "total_tokens"),
    "gemini_generate": (),
}

# Kinds of fault that a protocol has no word for, and the word it takes instead.
NEAREST: dict[tuple[str, FaultKind], FaultKind] = {
    ("openai_responses", "cannot_express"): "invalid_request",
    ("anthropic_messages", "cannot_express"): "invalid_request",
    ("gemini_generate", "cannot_express"): "invalid_request",
    ("anthropic_messages", "unavailable"): "server",
    ("gemini_generate", "unavailable"): "overloaded",
    ("gemini_generate", "billing"): "permission",
}


def first_answer(events: Sequence[Event]) -> list[Event]:
    """Up to the protocol's own end: what comes after it is another answer, which no client of
    another protocol would read."""
    for place, event in enumerate(events):
        if isinstance(event, End):
            return list(events[: place + 1])
    return list(events)


def told(response: Response) -> dict[str, Any]:
    parts = first_choice(response)
    finish = response.choices[0].finish if response.choices else None
    return {
        "text": said(parts),
        "calls": calls_in(parts),
        "thought": thought(parts),
        "finish": finish.reason if finish else None,
    } | {name: getattr(response.usage, name, None) for name in COUNTS}


def as_stream(target: str, events: Iterable[Event]) -> tuple[bytes, list[Loss]]:
    """Event by event, as the stream tap does it."""
    encoder = DIALECTS[target].stream_encoder(REPLY)
    data = b"".join(encoder.feed([event]) for event in events) + encoder.close()
    return data, encoder.losses


def differences(
    source: Response, back: Response, losses: Iterable[Loss], target: str
) -> dict[str, Any]:
    """Field -> (said, read back) wherever no loss and no rule of the target explains it."""
    lost = {loss.feature for loss in losses}
    before, after = told(source), told(back)
    wrong = {
        name: (before[name], after[name])
        for name in before
        if before[name] != after[name] and not lost.intersection(EXCUSES[name])
    }
    for name in REQUIRED[target]:
        if before[name] is None and after[name] == 0:
            wrong.pop(name, None)
    if target == "gemini_generate" and not before["cache_write_tokens"]:
        wrong.pop("cache_write_tokens", None)
    if "finish" in wrong:
        # Clients run tools only if they are told to, and a stream must end with some reason.
        usual = "tool_calls" if after["calls"] else "stop"
        if wrong["finish"] in ((None, usual), ("stop", usual)):
            del wrong["finish"]
    return wrong


def troubles(source: str, target: str, answer: tuple[str, bool, bytes]) -> dict[str, Any]:
    _, stream, body = answer
    events = first_answer(events_in(source, body, stream=stream))
    response = fold(events)
    dialect = DIALECTS[target]
    wrong: dict[str, Any] = {}
    data, losses = as_stream(target, events)
    back = fold(events_in(target, data, stream=True))
    if response.fault is not None:
        heard = fold(dialect.decode_response(dialect.encode_error(response.fault))).fault
        for way, fault in (("streamed", back.fault), ("whole", heard)):
            kind = response.fault.kind
            if fault is None or fault.kind != NEAREST.get((target, kind), kind):
                wrong[f"fault {way}"] = (response.fault.kind, fault)
            elif response.fault.message not in fault.message:
                wrong[f"fault {way}"] = (response.fault.message, fault.message)
        if said(first_choice(back)) != said(first_choice(response)):
            wrong["text before the fault"] = said(first_choice(back))
        return wrong
    if found := differences(response, back, losses, target):
        wrong["streamed"] = found
    whole = dialect.encode_response(response, REPLY)
    back = fold(dialect.decode_response(whole.body))
    if found := differences(response, back, whole.losses, target):
        wrong["whole"] = found
    return wrong


@recordings.needs_corpus
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_recorded_answers_say_the_same(source: str, target: str) -> None:
    answers = answers_of(source)
    assert len(answers) > 300
    wrong = {answer[0]: found for answer in answers if (found := troubles(source, target, answer))}
    assert wrong == {}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_own_answers_say_the_same(source: str, target: str) -> None:
    answers = own_answers(source)
    assert len(answers) >= 10
    for answer in answers:
        assert troubles(source, target, answer) == {}, answer[0]


@pytest.mark.parametrize("target", NAMES)
@pytest.mark.parametrize("kind", get_args(FaultKind.__value__))
def test_every_kind_of_fault_is_read_back(kind: FaultKind, target: str) -> None:
    fault = Fault(kind=kind, message="m", code="a code of nobody's")
    data, _ = as_stream(target, [fault])
    heard = [
        fold(events_in(target, data, stream=True)).fault,
        fold(DIALECTS[target].decode_response(DIALECTS[target].encode_error(fault))).fault,
    ]
    assert [found and found.kind for found in heard] == [NEAREST.get((target, kind), kind)] * 2


@recordings.needs_corpus
@pytest.mark.parametrize("name", NAMES)
def test_a_recorded_stream_folds_as_the_whole_body_of_its_own_protocol(name: str) -> None:
    """Written whole and read again, a stream's answer is the answer that its events fold to."""
    for ident, stream, body in answers_of(name):
        if not stream:
            continue
        response = fold(first_answer(events_in(name, body, stream=True)))
        if response.fault is None:
            whole = DIALECTS[name].encode_response(response, REPLY)
            again = fold(DIALECTS[name].decode_response(whole.body))
            assert differences(response, again, whole.losses, name) == {}, ident


def stable(target: str, events: Sequence[Event], times: int = 10) -> bool:
    """The same bytes each time, whole and streamed, in one piece or event by event."""
    response = fold(events)
    whole = DIALECTS[target].encode_response(response, REPLY)
    data, losses = as_stream(target, events)
    unfolded, _ = as_stream(target, unfold(response))
    return all(
        DIALECTS[target].encode_response(response, REPLY) == whole
        and as_stream(target, events) == (data, losses)
        and as_stream(target, unfold(response))[0] == unfolded
        for _ in range(times - 1)
    )


@recordings.needs_corpus
@pytest.mark.parametrize("target", NAMES)
def test_encoding_an_answer_ten_times_gives_the_same_bytes(target: str) -> None:
    for source in NAMES:
        for ident, stream, body in answers_of(source)[::40]:
            assert stable(target, events_in(source, body, stream=stream)), ident


@pytest.mark.parametrize("target", NAMES)
def test_encoding_an_own_answer_ten_times_gives_the_same_bytes(target: str) -> None:
    for source in NAMES:
        for case, stream, body in own_answers(source):
            assert stable(target, events_in(source, body, stream=stream)), case
