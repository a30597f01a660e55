"""A request of every protocol, encoded in every other one, says the same: minus declared losses."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

import recordings
from dialects.corpus import own_requests
from dialects.pairs import (
    FILES,
    NAMES,
    PAIRS,
    calls_in,
    media_in,
    requests_of,
    results_in,
    said,
    wire_bytes,
)
from dialects.wire_rules import complaints
from llmitm.canon.request import Request
from llmitm.canon.turns import merge, split_instructions, text_of
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Encoded

SAMPLING = (
    *("temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty", "seed"),
    *("max_tokens", "stop", "n", "logprobs", "top_logprobs"),
)
# What may differ once one of these losses is told.
EXCUSES: dict[str, tuple[str, ...]] = {
    "system": ("instructions", "message.role", "response_format", "part.unknown"),
    "turns": (
        *("message.role", "part.image", "part.audio", "part.video", "part.document"),
        *("part.unknown", "part.refusal", "tool_result.media", "tool_call.arguments"),
        "tool_call.custom",
    ),
    "tools": ("tool.server", "tool.custom"),
    "tool_choice": ("tool_choice", "tool.server"),
    "parallel": ("parallel_tool_calls",),
    "format": ("response_format",),
    "previous": ("previous_response_id",),
    **{name: (f"sampling.{name}",) for name in SAMPLING},
    "top_logprobs": ("sampling.logprobs",),
}
# Same meaning in every protocol: what a provider does when nothing is said.
SILENT: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "logprobs": (False,),
    "parallel": (True,),
    "format": (("text", None),),
    "tool_choice": (("auto", ()),),
}


def squeezed(text: str) -> str:
    """Without white space: parts joined by a blank line or by nothing read the same."""
    return "".join(text.split())


def schema_core(schema: Any) -> Any:
    """A schema without what the Messages API demands of each object."""
    if isinstance(schema, dict):
        return {
            key: schema_core(value)
            for key, value in schema.items()
            if not (key == "additionalProperties" and value is False)
        }
    return [schema_core(item) for item in schema] if isinstance(schema, list) else schema


def turns_of(request: Request) -> tuple[str, list[Any]]:
    """(system text, turns as (role, text, calls, result texts, number of media))."""
    instructions, rest = split_instructions(request)
    spoken = [
        message
        for message in rest
        if said(message.parts)
        or calls_in(message.parts)
        or results_in(message.parts)
        or media_in(message.parts)
    ]
    turns = [
        (
            turn.role,
            squeezed(said(turn.parts)),
            calls_in(turn.parts),
            [squeezed(text_of(result.parts)) for result in results_in(turn.parts)],
            len(media_in(turn.parts)),
        )
        for turn in merge(spoken)
    ]
    return squeezed(said(instructions)), turns


def told(request: Request) -> dict[str, Any]:
    system, turns = turns_of(request)
    choice, form = request.tool_choice, request.response_format
    fields: dict[str, Any] = {
        "model": request.model,
        "stream": request.stream,
        "system": system,
        "turns": turns,
        "tools": [(tool.name, tool.kind, tool.description or "") for tool in request.tools],
        "tool_choice": (choice.mode, choice.names) if choice and request.tools else None,
        "parallel": request.parallel_tool_calls,
        "format": (form.kind, schema_core(form.schema)) if form else None,
        "previous": request.previous_response_id,
    } | {name: getattr(request.sampling, name) for name in SAMPLING}
    return {
        name: None if value in SILENT.get(name, ()) else value for name, value in fields.items()
    }


def passed(source: Request, target: str) -> tuple[Encoded, Request]:
    """Encoded for `target`, and what `target` reads there: model and stream are in its path."""
    encoded = DIALECTS[target].encode_request(source, DEFAULT_FACTS)
    back = DIALECTS[target].decode_request(encoded.body)
    if target == "gemini_generate":
        back = replace(back, model=source.model, stream=source.stream)
    return encoded, back


def differences(source: Request, target: str) -> dict[str, Any]:
    """Field -> (said, read back) wherever no loss and no rule of the target explains it."""
    encoded, back = passed(source, target)
    lost = {loss.feature for loss in encoded.losses}
    before, after = told(source), told(back)
    wrong = {
        name: (before[name], after[name])
        for name in before
        if before[name] != after[name] and not lost.intersection(EXCUSES.get(name, ()))
    }
    if target == "anthropic_messages":
        if before["max_tokens"] is None and after["max_tokens"] >= DEFAULT_FACTS.max_tokens_default:
            # The protocol demands a limit; a budget for thinking is laid on top of it.
            wrong.pop("max_tokens", None)
        if not before["tools"] and any(turn[2] for turn in before["turns"]):
            # Calls in the history must have a tool to be of: offered, and forbidden.
            wrong.pop("tools", None)
            if after["tool_choice"] == ("none", ()):
                wrong.pop("tool_choice", None)
        if complaints(source.dialect, own_bytes(source)):
            wrong.pop("turns", None)
    return wrong


def own_bytes(source: Request) -> bytes:
    return DIALECTS[source.dialect].encode_request(source, DEFAULT_FACTS).body


def unlawful(source: Request, target: str) -> list[str]:
    """What the target's provider would refuse although the source's would not."""
    encoded, _ = passed(source, target)
    wrong = complaints(target, encoded.body)
    if not wrong or complaints(source.dialect, own_bytes(source)):
        return []
    if any(loss.feature == "previous_response_id" for loss in encoded.losses):
        return [word for word in wrong if "answers" not in word]
    return wrong


@recordings.needs_corpus
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_recorded_requests_say_the_same(source: str, target: str) -> None:
    requests = requests_of(source)
    assert len(requests) > 250
    wrong = {name: found for name, made in requests if (found := differences(made, target))}
    assert wrong == {}


@recordings.needs_corpus
@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_recorded_requests_become_what_the_provider_takes(source: str, target: str) -> None:
    wrong = {name: found for name, made in requests_of(source) if (found := unlawful(made, target))}
    assert wrong == {}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_own_requests_say_the_same_and_are_taken(source: str, target: str) -> None:
    requests = own_requests(source)
    assert len(requests) >= 10
    for name, request in requests:
        assert differences(request, target) == {}, name
        assert unlawful(request, target) == [], name


def stable(source: Request, target: str, times: int = 10) -> bool:
    """The same bytes each time, also from a request decoded anew."""
    encode = DIALECTS[target].encode_request
    first = encode(source, DEFAULT_FACTS)
    return all(encode(source, DEFAULT_FACTS) == first for _ in range(times - 1))


@recordings.needs_corpus
@pytest.mark.parametrize("target", NAMES)
def test_encoding_a_request_ten_times_gives_the_same_bytes(target: str) -> None:
    for source in NAMES:
        for name, request in requests_of(source)[::8]:
            assert stable(request, target), name


@pytest.mark.parametrize("target", NAMES)
def test_encoding_an_own_request_ten_times_gives_the_same_bytes(target: str) -> None:
    for source in NAMES:
        for name, request in own_requests(source):
            assert stable(request, target), name


@recordings.needs_corpus
@pytest.mark.parametrize("source", NAMES)
def test_a_body_decoded_twice_is_encoded_alike_everywhere(source: str) -> None:
    bodies = [
        wire_bytes(exchange["request_json"])
        for exchange in recordings.load(FILES[source])[::10]
        if isinstance(exchange["request_json"], dict)
    ]
    for body, target in itertools.product(bodies, NAMES):
        first, second = (
            DIALECTS[target].encode_request(DIALECTS[source].decode_request(body), DEFAULT_FACTS)
            for _ in range(2)
        )
        assert first == second
