"""Streams one by one: how chunks become parts, and what else they tell."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dialects.gemini_generate.material import answer_of, body_of, events_of, frames_of
from llmitm.canon.events import (
    End,
    Finish,
    FinishReason,
    Opaque,
    PartDelta,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, Unknown
from llmitm.canon.response import Choice, Response
from llmitm.dialects.contract import Reply
from llmitm.dialects.gemini_generate import CODE_ASSIST, DIALECT

GEMINI = "gemini_generate"


def sse(*chunks: Any, end: bytes = b"\r\n\r\n") -> bytes:
    return b"".join(b"data: " + body_of(chunk) + end for chunk in chunks)


def said(*parts: Any, **candidate: Any) -> dict[str, Any]:
    return {"candidates": [{"content": {"role": "model", "parts": [*parts]}, **candidate}]}


def read(*chunks: Any) -> Response:
    return answer_of(DIALECT.stream_decoder("text/event-stream"), sse(*chunks))


def parts_of(*chunks: Any) -> tuple[Part, ...]:
    return read(*chunks).choices[0].parts


SIGNED = {"text": "", "thoughtSignature": "c2ln"}


@pytest.mark.parametrize(
    ("chunks", "parts"),
    [
        ([said({"text": "a"}), said({"text": "b"})], [Text(text="ab")]),
        ([said({"text": "a"}, {"text": "b"})], [Text(text="a"), Text(text="b")]),
        (
            [said({"text": "a"}), said({"text": "b"}, {"text": "c"}), said({"text": "d"})],
            [Text(text="ab"), Text(text="cd")],
        ),
        (
            [said({"text": "a", "thought": True}), said({"text": "b", "thought": True})],
            [Reasoning(text="ab", summary=True, dialect=GEMINI)],
        ),
        (
            [said({"text": "a", "thought": True}), said({"text": "b"})],
            [Reasoning(text="a", summary=True, dialect=GEMINI), Text(text="b")],
        ),
        ([said({"text": "a"}), said(SIGNED)], [Text(text="a"), Text(text="", signature="c2ln")]),
        (
            [said(SIGNED), said({"text": "a"})],
            [Text(text="", signature="c2ln"), Text(text="a")],
        ),
        ([said({"text": "a"}), said({"text": ""})], [Text(text="a")]),
        ([said({"functionCall": {"name": "f", "args": {}}}, {"text": ""})], None),
        (
            [said({"text": "a"}), said({"executableCode": {}}), said({"text": "b"})],
            [
                Text(text="a"),
                Unknown(dialect=GEMINI, kind="executableCode", value={"executableCode": {}}),
                Text(text="b"),
            ],
        ),
        (
            [said({"inlineData": {"mimeType": "image/png", "data": "AA=="}})],
            [Media(kind="image", mime="image/png", data="AA==")],
        ),
    ],
)
def test_chunks_become_parts(chunks: list[Any], parts: list[Part] | None) -> None:
    expected = parts or [ToolCall(id="", name="f", arguments="{}")]
    assert list(parts_of(*chunks)) == expected
    # The same as a JSON array, and in the Code Assist form.
    array = answer_of(DIALECT.stream_decoder("application/json"), body_of(chunks))
    assert list(array.choices[0].parts) == expected
    wrapped = read(*({"response": chunk, "traceId": "t"} for chunk in chunks))
    assert list(wrapped.choices[0].parts) == expected
    assert wrapped.extras == {"traceId": "t"}


def test_streamed_arguments() -> None:
    def piece(**call: Any) -> Any:
        return said({"functionCall": call})

    def at(path: str, **value: Any) -> dict[str, Any]:
        return {"jsonPath": path, **value}

    chunks = [
        said({"functionCall": {"name": "f", "willContinue": True}, "thoughtSignature": "c2ln"}),
        piece(partialArgs=[at("$.a[0].b", stringValue="x", willContinue=True)], willContinue=True),
        piece(partialArgs=[at("$.a[0].b", stringValue="y")], willContinue=True),
        piece(willContinue=True),
        piece(partialArgs=[at("$.a[1]", numberValue=5)], willContinue=True),
        piece(partialArgs=[at("$['c d']", boolValue=True), at("$.n", nullValue="NULL_VALUE")]),
        piece(name="g", args={"z": 1}),
    ]
    expected = (
        ToolCall(
            id="",
            name="f",
            arguments='{"a":[{"b":"xy"},5],"c d":true,"n":null}',
            signature="c2ln",
        ),
        ToolCall(id="", name="g", arguments='{"z":1}'),
    )
    assert parts_of(*chunks) == expected
    assert parts_of(*chunks[:2]) == (
        ToolCall(id="", name="f", arguments='{"a":[{"b":"x"}]}', signature="c2ln"),
    )


@pytest.mark.parametrize(
    "path", [None, 5, "", "a", "$", "$.", "$.a[", "$.a[9]", "$[0]", "$" + ".a" * 500, "$.a.b.c"]
)
def test_senseless_paths(path: Any) -> None:
    first = said({"functionCall": {"name": "f", "args": {"a": [1]}, "willContinue": True}})
    piece = {"functionCall": {"partialArgs": [{"jsonPath": path, "stringValue": "x"}]}}
    (call,) = parts_of(first, said(piece))
    assert isinstance(call, ToolCall)
    assert json.loads(call.arguments)["a"] == [1]


def test_several_candidates() -> None:
    answer = read(
        {
            "candidates": [
                {"content": {"parts": [{"text": "a"}]}, "index": 0},
                {"content": {"parts": [{"text": "b"}]}, "index": 1, "finishReason": "STOP"},
            ]
        },
        said({"text": "c"}, index=0, finishReason="MAX_TOKENS"),
    )
    assert answer.choices == (
        Choice(index=0, parts=(Text(text="ac"),), finish=Finish("length", "MAX_TOKENS")),
        Choice(index=1, parts=(Text(text="b"),), finish=Finish("stop", "STOP", choice=1)),
    )
    assert answer.ended


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("STOP", "stop"),
        (1, "stop"),
        ("MAX_TOKENS", "length"),
        (2, "length"),
        ("SAFETY", "content_filter"),
        ("MALFORMED_FUNCTION_CALL", "error"),
        ("OTHER", "unknown"),
        ("NEW_WORD", "unknown"),
        (99, "unknown"),
        (True, "unknown"),
    ],
)
def test_finish_reasons(word: Any, reason: FinishReason) -> None:
    answer = read(said({"text": "a"}, finishReason=word))
    assert answer.choices[0].finish == Finish(reason, str(word))
    body = json.loads(DIALECT.encode_response(answer, Reply()).body)
    if word is not True:
        assert body["candidates"][0]["finishReason"] == word


@pytest.mark.parametrize("word", [None, 0, "", "FINISH_REASON_UNSPECIFIED"])
def test_an_unsaid_finish_is_none(word: Any) -> None:
    answer = read(said({"text": "a"}, finishReason=word))
    assert answer.choices[0].finish is None
    assert not answer.ended


def test_a_finish_told_with_every_chunk_counts_once() -> None:
    chunks = [said({"text": text}, finishReason="STOP") for text in "ab"]
    events = events_of(frames_of(DIALECT.stream_decoder("text/event-stream"), sse(*chunks)))
    assert [type(event) for event in events] == [
        Start,
        PartStart,
        PartDelta,
        PartDelta,
        PartEnd,
        Finish,
        End,
    ]


def test_a_call_makes_it_tool_calls() -> None:
    answer = read(said({"functionCall": {"name": "f"}}, finishReason="STOP"))
    assert answer.choices[0].finish == Finish("tool_calls", "STOP")


def test_a_blocked_prompt() -> None:
    body = {
        "promptFeedback": {"blockReason": "PROHIBITED_CONTENT", "safetyRatings": []},
        "usageMetadata": {"promptTokenCount": 4, "totalTokenCount": 4},
        "modelVersion": "m",
    }
    answer = read(body)
    assert answer == fold(DIALECT.decode_response(body_of(body)))
    finish = answer.choices[0].finish
    assert finish is not None
    assert (finish.reason, finish.raw) == ("content_filter", "PROHIBITED_CONTENT")
    assert answer.ended
    assert json.loads(DIALECT.encode_response(answer, Reply()).body) == body
    encoder = DIALECT.stream_encoder(Reply())
    out = encoder.feed(events_of(frames_of(DIALECT.stream_decoder(""), sse(body))))
    assert answer_of(DIALECT.stream_decoder(""), out + encoder.close()) == answer


def test_feedback_beside_candidates_stays_there() -> None:
    chunk = {**said({"text": "a"}, finishReason="STOP"), "promptFeedback": {"safetyRatings": [1]}}
    answer = read(chunk)
    assert answer.extras == {"promptFeedback": {"safetyRatings": [1]}}
    assert answer.choices[0].finish == Finish("stop", "STOP")


def test_metadata_stays_with_the_candidate() -> None:
    rest = {"groundingMetadata": {"webSearchQueries": ["q"]}, "newKey": 1}
    answer = read(said({"text": "a"}, **rest), said(finishReason="STOP", safetyRatings=[]))
    finish = answer.choices[0].finish
    assert finish is not None
    assert finish.extras == {**rest, "safetyRatings": []}
    cut = read(said({"text": "a"}, **rest))
    assert cut.opaque == (Opaque(GEMINI, "candidate", {"index": 0, **rest}),)
    body = json.loads(DIALECT.encode_response(cut, Reply()).body)
    assert body["candidates"][0]["newKey"] == 1


def test_logprobs_come_with_the_text() -> None:
    chosen = [{"token": "a", "logProbability": -0.5, "tokenId": 7}]
    top = [{"candidates": [*chosen, {"token": "b", "logProbability": -2}]}]
    result = {"chosenCandidates": chosen, "topCandidates": top}
    answer = read(said({"text": "a"}, finishReason="STOP", logprobsResult=result))
    (part,) = answer.choices[0].parts
    assert isinstance(part, Text)
    assert part.logprobs == [
        {
            "token": "a",
            "logprob": -0.5,
            "tokenId": 7,
            "top_logprobs": [
                {"token": "a", "logprob": -0.5, "tokenId": 7},
                {"token": "b", "logprob": -2},
            ],
        }
    ]
    body = json.loads(DIALECT.encode_response(answer, Reply()).body)
    assert body["candidates"][0]["logprobsResult"] == result


@pytest.mark.parametrize(
    ("told", "usage"),
    [
        (
            {
                "promptTokenCount": 10,
                "toolUsePromptTokenCount": 5,
                "candidatesTokenCount": 3,
                "thoughtsTokenCount": 2,
                "cachedContentTokenCount": 4,
                "totalTokenCount": 20,
            },
            (15, 5, 20, 4, 2),
        ),
        ({"prompt_token_count": 1}, (1, None, None, None, None)),
        ({"trafficType": "ON_DEMAND"}, (None,) * 5),
        ({"promptTokenCount": "x", "totalTokenCount": True}, (None,) * 5),
    ],
)
def test_usage(told: dict[str, Any], usage: tuple[int | None, ...]) -> None:
    found = read({**said({"text": "a"}), "usageMetadata": told}).usage
    assert found is not None
    assert usage == (
        found.input_tokens,
        found.output_tokens,
        found.total_tokens,
        found.cache_read_tokens,
        found.reasoning_tokens,
    )
    assert found.raw == told


def test_the_first_and_the_last_usage_are_told() -> None:
    chunks = [
        {**said({"text": "a"}), "usageMetadata": {"promptTokenCount": 3, "totalTokenCount": 3 + n}}
        for n in range(5)
    ]
    events = events_of(frames_of(DIALECT.stream_decoder("text/event-stream"), sse(*chunks)))
    told = [event.total_tokens for event in events if isinstance(event, Usage)]
    assert told == [3, 7]
    assert isinstance(events[1], Usage)


def test_unknown_keys_are_kept() -> None:
    first = {**said({"text": "a"}), "createTime": "2026-04-07T16:49:58.3Z", "newKey": 1}
    second = {**first, "newKey": 2, "otherKey": 3, "modelVersion": 5}
    answer = read(first, second)
    assert answer.created_s == 1775580598
    assert answer.extras == {"createTime": "2026-04-07T16:49:58.3Z", "newKey": 1}
    assert [opaque.value for opaque in answer.opaque] == [
        {"newKey": 2},
        {"otherKey": 3},
        {"modelVersion": 5},
    ]


def test_wrapper_keys_are_kept() -> None:
    chunk = {"response": said({"text": "a"}, finishReason="STOP"), "traceId": "t", "new": 1}
    answer = read(chunk)
    encoded = CODE_ASSIST.encode_response(answer, Reply())
    body = json.loads(encoded.body)
    assert (body.pop("response")["candidates"][0]["index"], body) == (0, {"traceId": "t", "new": 1})


@pytest.mark.parametrize("media_type", ["text/event-stream", "application/json; charset=UTF-8", ""])
def test_an_unframed_error_is_read_in_any_media_type(media_type: str) -> None:
    body = b'\n {\n "error": {\n "code": 503, "message": "m", "status": "UNAVAILABLE"}}\n'
    frames = frames_of(DIALECT.stream_decoder(media_type), body, 1)
    assert b"".join(frame.raw for frame in frames) == body
    fault = fold(events_of(frames)).fault
    assert fault is not None
    assert (fault.kind, fault.status, fault.code) == ("overloaded", None, "UNAVAILABLE")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"\xef\xbb",
        b": keep\n\n",
        b"data: {oops\n\n",
        b"<html>",
        b"data: [DONE]\n\n",
        b"[5,{",
    ],
)
def test_what_is_no_answer_is_kept(body: bytes) -> None:
    frames = frames_of(DIALECT.stream_decoder("text/event-stream"), body)
    assert b"".join(frame.raw for frame in frames) == body
    answer = fold(events_of(frames))
    assert not answer.choices
    assert not answer.ended
    DIALECT.decode_response(body)


def test_a_comment_is_a_ping() -> None:
    frames = frames_of(DIALECT.stream_decoder("text/event-stream"), b": keep\n\n")
    assert events_of(frames) == [Ping()]
