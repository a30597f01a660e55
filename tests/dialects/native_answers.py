"""Answers of the other protocols for the SDKs of Ollama and Bedrock, and what they must find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dialects.pairs import REPLY, arguments_of, events_in, first_choice, said, thought
from dialects.test_pairs_answers import first_answer
from llmitm.canon.events import Event
from llmitm.canon.fold import fold
from llmitm.canon.parts import ToolCall
from llmitm.canon.response import Response
from llmitm.dialects.catalog import DIALECTS


def answers(
    source: str, bodies: tuple[tuple[str, bool, bytes], ...]
) -> Iterator[tuple[str, list[Event], Response]]:
    """(id, events, the answer) of each that is no error."""
    for name, stream, body in bodies:
        events = first_answer(events_in(source, body, stream=stream))
        response = fold(events)
        if response.fault is None and response.choices:
            yield name, events, response


def whole(target: str, response: Response) -> bytes:
    return DIALECTS[target].encode_response(response, REPLY).body


def streamed(target: str, events: list[Event]) -> bytes:
    """The stream, event by event as it is met on the way."""
    encoder = DIALECTS[target].stream_encoder(REPLY)
    return b"".join(encoder.feed((event,)) for event in events) + encoder.close()


def expected(response: Response, words: Mapping[str, str]) -> dict[str, Any]:
    """What the SDK must find; words: the finish reason in its protocol."""
    parts = first_choice(response)
    finish = response.choices[0].finish if response.choices else None
    calls = [part for part in parts if isinstance(part, ToolCall)]
    reason = finish.reason if finish else "stop"
    if reason in ("stop", "tool_calls", "unknown"):
        hit = finish is not None and finish.stop_sequence is not None
        reason = "tool_calls" if calls else "stop_sequence" if hit else "stop"
    usage = response.usage
    return {
        "text": said(parts),
        "thought": thought(parts),
        "calls": [(call.name, given(call)) for call in calls],
        "finish": words[reason],
        "usage": usage and (usage.input_tokens or 0, usage.output_tokens or 0),
    }


def given(call: ToolCall) -> Any:
    """The arguments as an object, which both protocols want: what is none stands in one."""
    if call.kind == "custom":
        return {"input": call.arguments}
    value = arguments_of(call.arguments)
    return value if isinstance(value, dict) else {"input": value}
