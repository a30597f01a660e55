"""What goes out as a stream for events of this protocol and of any other."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from dialects.gemini_generate.material import answer_of, media_type
from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall
from llmitm.canon.response import Response
from llmitm.dialects.contract import Reply
from llmitm.dialects.gemini_generate import DIALECT

GEMINI = "gemini_generate"


def chunks_of(out: bytes, framing: str = "sse") -> list[Any]:
    if framing == "json_array":
        return list(json.loads(out))
    return [json.loads(line[6:]) for line in out.split(b"\n") if line.startswith(b"data: ")]


def read_back(out: bytes) -> Response:
    return answer_of(DIALECT.stream_decoder(media_type(out)), out)


def written(events: list[Event], reply: Reply = Reply()) -> tuple[bytes, list[str]]:  # noqa: B008
    encoder = DIALECT.stream_encoder(reply)
    out = encoder.feed(events) + encoder.close()
    assert encoder.feed([PartDelta(0, "text", "late")]) == b""
    return out, [f"{loss.feature} {loss.how}" for loss in encoder.losses]


def test_text_goes_out_at_once() -> None:
    encoder = DIALECT.stream_encoder(Reply(model="asked", id="i"))
    assert (
        encoder.feed([Start("r1", "m", dialect="openai_chat"), PartStart(0, Text(text=""))]) == b""
    )
    (chunk,) = chunks_of(encoder.feed([PartDelta(0, "text", "hé\n")]))
    assert chunk == {
        "candidates": [{"content": {"parts": [{"text": "hé\n"}], "role": "model"}, "index": 0}],
        "modelVersion": "m",
        "responseId": "r1",
    }
    ending = [Finish("stop", "stop"), Usage(input_tokens=3, output_tokens=4), End()]
    (last,) = chunks_of(encoder.feed([PartEnd(0), *ending]))
    assert last["candidates"][0]["finishReason"] == "STOP"
    assert last["usageMetadata"] == {
        "promptTokenCount": 3,
        "candidatesTokenCount": 4,
        "totalTokenCount": 7,
    }
    assert encoder.close() == b""
    assert encoder.losses == []


def test_the_reply_gives_what_the_provider_did_not() -> None:
    out, _ = written([PartDelta(0, "text", "a")], Reply(model="asked", id="i"))
    assert all((c["modelVersion"], c["responseId"]) == ("asked", "i") for c in chunks_of(out))


FOREIGN: list[Event] = [
    Start("r1", "claude", 5, {"type": "message", "container": {"id": "c"}}, "anthropic_messages"),
    Usage(input_tokens=9, cache_read_tokens=2, cache_write_tokens=3, raw={"input_tokens": 4}),
    PartStart(0, Reasoning(dialect="anthropic_messages")),
    PartDelta(0, "reasoning", "hm"),
    PartDetail(index=0, signature="x"),
    PartEnd(0),
    PartStart(1, Text(text="")),
    PartDelta(1, "text", "a"),
    PartEnd(1),
    PartStart(2, Text(text="", extras={"citations": [1]})),
    PartDelta(2, "text", "b"),
    PartDetail(index=2, annotations=({"type": "url_citation", "url": "https://a.b"},)),
    PartEnd(2),
    PartStart(3, ToolCall(id="c1", name="f", arguments="")),
    PartStart(4, ToolCall(id="c2", name="g", arguments="")),
    PartDelta(3, "arguments", '{"x":'),
    PartDelta(4, "arguments", ""),
    PartDelta(3, "arguments", " 1.0}"),
    PartEnd(3),
    PartEnd(4),
    Ping(),
    Finish("tool_calls", "tool_use", stop_sequence="s"),
    Usage(output_tokens=7, reasoning_tokens=2),
    Opaque("anthropic_messages", "new_event", {}),
    End(),
]


@pytest.mark.parametrize("framing", ["sse", "json_array"])
def test_events_of_another_protocol(framing: Any) -> None:
    out, losses = written(FOREIGN, Reply(framing=framing))
    decoder = DIALECT.stream_decoder(
        "text/event-stream" if framing == "sse" else "application/json"
    )
    answer = answer_of(decoder, out)
    assert answer.choices[0].parts == (
        Reasoning(text="hm", summary=True, dialect=GEMINI),
        Text(text="a"),
        Text(text="b"),
        ToolCall(id="c1", name="f", arguments='{"x":1.0}'),
        ToolCall(id="c2", name="g", arguments="{}"),
    )
    finish = answer.choices[0].finish
    assert finish is not None
    assert (finish.reason, finish.raw) == ("tool_calls", "STOP")
    assert finish.extras == {"citationMetadata": {"citationSources": [{"uri": "https://a.b"}]}}
    usage = answer.usage
    assert usage is not None
    assert usage.raw == {
        "promptTokenCount": 9,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 2,
        "totalTokenCount": 16,
        "cachedContentTokenCount": 2,
    }
    assert losses == [
        "field dropped",
        "part.reasoning.signature dropped",
        "field dropped",
        "part.annotations adapted",
        "event.unknown dropped",
        "finish.stop_sequence dropped",
        "usage dropped",
    ]
    assert chunks_of(out, framing)
    # The whole body says the same.
    whole = DIALECT.encode_response(fold(FOREIGN), Reply())
    body = fold(DIALECT.decode_response(whole.body))
    assert (body.choices[0].parts, body.usage) == (answer.choices[0].parts, usage)


@pytest.mark.parametrize(
    ("finish", "word", "losses"),
    [
        (Finish("stop", "end_turn"), "STOP", []),
        (Finish("length", "length"), "MAX_TOKENS", []),
        (Finish("content_filter"), "SAFETY", []),
        (Finish("refusal", "refusal"), "SAFETY", ["finish.reason adapted"]),
        (Finish("pause", "pause_turn"), "STOP", ["finish.reason adapted"]),
        (Finish("error"), "OTHER", ["finish.reason adapted"]),
        (Finish("unknown", "eh"), "OTHER", []),
        (Finish("content_filter", "RECITATION"), "RECITATION", []),
        (Finish("stop", "1"), 1, []),
    ],
)
def test_finish_words(finish: Finish, word: Any, losses: list[str]) -> None:
    out, lost = written([PartDelta(0, "text", "a"), finish])
    assert chunks_of(out)[-1]["candidates"][0]["finishReason"] == word
    assert lost == losses


def test_a_refusal_is_text() -> None:
    out, losses = written([PartStart(0, Refusal(text="")), PartDelta(0, "refusal", "no")])
    assert read_back(out).choices[0].parts == (Text(text="no"),)
    assert losses == ["part.refusal adapted"]


def test_a_custom_call_and_a_broken_one() -> None:
    out, losses = written(
        [
            PartStart(0, ToolCall(id="1", name="f", arguments="", kind="custom")),
            PartDelta(0, "arguments", "ls"),
            PartStart(1, ToolCall(id="2", name="g", arguments="")),
            PartDelta(1, "arguments", '{"a":'),
        ]
    )
    assert [part.arguments for part in read_back(out).choices[0].parts] == [  # type: ignore[union-attr]
        '{"input":"ls"}',
        '{"input":"{\\"a\\":"}',
    ]
    assert losses == ["tool_call.custom adapted", "tool_call.arguments adapted"]


def test_a_late_signature_of_our_own() -> None:
    out, losses = written(
        [
            Start(dialect=GEMINI),
            PartStart(0, Text(text="")),
            PartDelta(0, "text", "a"),
            PartDetail(index=0, signature="c2ln"),
            PartEnd(0),
            PartStart(1, ToolCall(id="", name="f", arguments="{}")),
            PartDetail(index=1, signature="c2lo"),
            PartEnd(1),
        ]
    )
    assert read_back(out).choices[0].parts == (
        Text(text="a"),
        Text(text="", signature="c2ln"),
        ToolCall(id="", name="f", arguments="{}", signature="c2lo"),
    )
    assert losses == []


@pytest.mark.parametrize("framing", ["sse", "json_array"])
@pytest.mark.parametrize("begun", [False, True])
def test_a_fault_ends_the_stream(framing: Any, begun: bool) -> None:
    encoder = DIALECT.stream_encoder(Reply(framing=framing))
    events: list[Event] = [PartDelta(0, "text", "a")] if begun else []
    out = encoder.feed([*events, Fault(kind="overloaded", message="m"), PartDelta(0, "text", "b")])
    assert encoder.close() == b""
    assert encoder.heartbeat() == b""
    last = chunks_of(out, framing)[-1]
    assert last == {"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}
    decoder = DIALECT.stream_decoder(
        "text/event-stream" if framing == "sse" else "application/json"
    )
    answer = answer_of(decoder, out)
    assert answer.fault is not None
    assert (answer.fault.kind, answer.ended) == ("overloaded", False)
    assert bool(answer.choices) == begun


@pytest.mark.parametrize("framing", ["sse", "json_array"])
def test_a_cut_stream_is_closed_well_formed(framing: Any) -> None:
    encoder = DIALECT.stream_encoder(Reply(framing=framing))
    out = encoder.heartbeat()
    out += encoder.feed([PartStart(0, ToolCall(id="1", name="f", arguments=""))])
    out += encoder.feed([PartDelta(0, "arguments", "{}")])
    out += encoder.heartbeat() + encoder.close()
    chunks = chunks_of(out, framing)
    assert chunks[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"] == "f"
    assert chunks[-1]["candidates"][0]["finishReason"] == "STOP"


def test_several_answers_are_told_apart() -> None:
    events: list[Event] = [
        PartDelta(0, "text", "a", 0),
        PartDelta(0, "text", "b", 1),
        PartDelta(0, "text", "c", 0),
        Finish("stop", choice=1),
        Finish("length", choice=0),
    ]
    answer = read_back(written(events)[0])
    assert [
        (choice.parts, choice.finish and choice.finish.reason) for choice in answer.choices
    ] == [
        ((Text(text="ac"),), "length"),
        ((Text(text="b"),), "stop"),
    ]


def test_the_heartbeat_is_white_space() -> None:
    assert re.fullmatch(rb"\s+", DIALECT.stream_encoder(Reply()).heartbeat())
