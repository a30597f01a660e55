"""What the dialects of chat streams do, one row a peculiarity."""

from __future__ import annotations

from typing import Any

import pytest

from dialects.openai_chat.answers import REPLY, chunk, chunks, decoded, encoded, events_of, read
from llmitm.canon.events import Event, Finish, PartEnd, Ping, Usage
from llmitm.canon.fold import fold
from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.response import Response
from llmitm.canon.turns import reasoning_of, text_of
from llmitm.dialects.openai_chat import DIALECT


def answer(*values: Any, done: bool = True) -> Response:
    return fold(read(*values, done=done))


def call(index: int | None, arguments: str = "", **more: Any) -> dict[str, Any]:
    inner = {"arguments": arguments}
    if "name" in more:
        inner["name"] = more.pop("name")
    place = {} if index is None else {"index": index}
    return {"tool_calls": [{**place, "function": inner, **more}]}


THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}


@pytest.mark.parametrize(
    ("delta", "reasoning", "text"),
    [
        ({"reasoning_content": "hm", "content": None}, "hm", ""),
        ({"reasoning": "hm", "content": ""}, "hm", ""),
        ({"reasoning": "hm", "reasoning_content": "hm"}, "hm", ""),
        ({"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "hm", ""),
        (
            {"reasoning": "hm", "reasoning_details": [{"type": "reasoning.text", "text": "hm"}]},
            "hm",
            "",
        ),
        ({"content": [THINKING]}, "hm", ""),
        ({"content": [THINKING, {"type": "text", "text": "a"}]}, "hm", "a"),
        ({"content": "a"}, "", "a"),
    ],
)
def test_reasoning_in_all_its_places(delta: Any, reasoning: str, text: str) -> None:
    parts = answer(chunk(delta)).choices[0].parts
    assert (reasoning_of(parts), text_of(parts)) == (reasoning, text)


def test_reasoning_details_are_joined_and_kept() -> None:
    first = {"type": "reasoning.text", "text": "h", "index": 0, "signature": None}
    more = {"type": "reasoning.text", "text": "m", "index": 0}
    proof = {"type": "reasoning.text", "signature": "s", "index": 0}
    secret = {"type": "reasoning.encrypted", "data": "x", "index": 1}
    response = answer(
        *(chunk({"reasoning_details": [item]}) for item in (first, more, proof)),
        chunk({"content": "a"}),
        chunk({"reasoning_details": [secret]}, finish_reason="stop"),
    )
    parts = response.choices[0].parts
    joined: Any = {"type": "reasoning.text", "text": "hm", "index": 0, "signature": "s"}
    assert parts == (
        Reasoning(
            text="hm",
            signature="s",
            dialect="openai_chat",
            extras={"reasoning_details": [joined]},
        ),
        Text(text="a"),
        Reasoning(encrypted="x", dialect="openai_chat", extras={"reasoning_details": [secret]}),
    )


@pytest.mark.parametrize(
    "deltas",
    [
        [call(0, id="a", name="f"), call(0, "{}"), call(1, id="b", name="g"), call(1, "[]")],
        [call(0, id="a", name="f"), call(1, id="b", name="g"), call(1, "[]"), call(0, "{}")],
        [call(None, "{}", id="a", name="f"), call(None, "[]", id="b", name="g")],
        [call(None, id="a", name="f"), call(None, "{}"), call(None, "[]", id="b", name="g")],
        [call(0, "{}", id="a", name="f"), call(0, "[]", id="b", name="g")],
        [call(0, id="a"), call(0, "{}", name="f"), call(1, "[]", id="b", name="g")],
        [call(0, "{", id="a", name="f"), call(0, "}", id="a", name="f")]
        + [call(1, "[]", id="b", name="g")],
    ],
)
def test_tool_calls_with_and_without_index(deltas: list[Any]) -> None:
    events = read(*map(chunk, deltas), chunk({}, finish_reason="tool_calls"))
    calls = fold(events).choices[0].parts
    assert calls == (
        ToolCall(id="a", name="f", arguments="{}"),
        ToolCall(id="b", name="g", arguments="[]"),
    )
    assert sum(isinstance(event, PartEnd) for event in events) == 2


def test_arguments_as_an_object_and_other_calls() -> None:
    custom = {"index": 1, "id": "b", "type": "custom", "custom": {"name": "g", "input": "x y"}}
    response = answer(
        chunk(
            {"tool_calls": [{"index": 0, "id": "a", "function": {"name": "f", "arguments": {}}}]}
        ),
        chunk({"tool_calls": [custom]}),
        chunk({"function_call": {"name": "h", "arguments": "{"}}),
        chunk({"function_call": {"arguments": "}"}}),
        chunk({}, finish_reason="stop"),
    )
    assert response.choices[0].parts == (
        ToolCall(id="a", name="f", arguments="{}"),
        ToolCall(id="b", name="g", arguments="x y", kind="custom"),
        ToolCall(id="", name="h", arguments="{}", extras={"type": "function_call"}),
    )
    finish = response.choices[0].finish
    assert finish is not None
    assert finish.reason == "stop"


USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


@pytest.mark.parametrize(
    "tail",
    [
        [{**chunk({}), "choices": [], "usage": USAGE}],
        [{**chunk({}, finish_reason="stop"), "usage": USAGE}],
        [{**chunk({}), "usage": USAGE}, {**chunk({}), "usage": {**USAGE, "total_tokens": None}}],
        [{**chunk({}), "x_groq": {"id": "r", "usage": USAGE}}],
        [{"usage": USAGE}],
    ],
)
def test_usage_wherever_it_stands(tail: list[Any]) -> None:
    usage = answer(chunk({"content": "a"}), *tail).usage
    assert usage is not None
    assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (3, 4, 7)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {**USAGE, "total_tokens": 12, "completion_tokens_details": {"reasoning_tokens": 5}},
            Usage(input_tokens=3, output_tokens=9, total_tokens=12, reasoning_tokens=5),
        ),
        (
            {**USAGE, "completion_tokens_details": {"reasoning_tokens": 2}},
            Usage(input_tokens=3, output_tokens=4, total_tokens=7, reasoning_tokens=2),
        ),
        (
            {**USAGE, "prompt_cache_hit_tokens": 1},
            Usage(input_tokens=3, output_tokens=4, total_tokens=7, cache_read_tokens=1),
        ),
        (
            {"prompt_tokens": 3, "prompt_tokens_details": {"cached_tokens": 0}},
            Usage(input_tokens=3, cache_read_tokens=0),
        ),
        ({"prompt_tokens": True, "total_tokens": "7"}, Usage()),
    ],
)
def test_usage_is_canonical(raw: Any, expected: Usage) -> None:
    told = answer({**chunk({}), "usage": raw}).usage
    assert told == Usage(
        **{name: getattr(expected, name) for name in Usage.__slots__ if name != "raw"}, raw=raw
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["stop"], "stop"),
        (["", "stop"], "stop"),
        (["tool_calls", "tool_calls"], "tool_calls"),
        (["eos"], "stop"),
        (["odd"], "unknown"),
    ],
)
def test_finish_reasons(words: list[str], reason: str) -> None:
    events = read(chunk({"content": "a"}), *(chunk({}, finish_reason=word) for word in words))
    finishes = [event for event in events if isinstance(event, Finish)]
    assert [finish.reason for finish in finishes] == [reason]


def test_a_finish_is_never_made_up() -> None:
    for done in (True, False):
        response = answer(chunk({"content": "a"}), chunk({}, finish_reason=""), done=done)
        assert (response.choices[0].finish, response.ended) == (None, done)


def test_what_comes_late_still_lands() -> None:
    response = answer(
        {**chunk({}), "choices": [], "id": "", "model": "", "created": 0, "filter": [1]},
        chunk({"role": "assistant", "content": "a"}),
        {**chunk({"content": "b"}), "id": "other"},
        chunk({}, finish_reason="stop"),
        chunk({}, finish_reason=None, content_filter_results={"x": 1}),
        {**chunk({}), "choices": [{"index": 0, "finish_reason": None}], "timings": {"t": 1}},
    )
    assert (response.id, response.model, response.created_s) == ("c", "m", 1)
    assert response.extras == {"filter": [1], "timings": {"t": 1}}
    finish = response.choices[0].finish
    assert finish is not None
    assert finish.extras == {"content_filter_results": {"x": 1}}
    assert text_of(response.choices[0].parts) == "ab"


def test_several_choices_logprobs_refusals_audio_annotations() -> None:
    second = chunk({"refusal": "no"})
    second["choices"][0]["index"] = 1
    probs = [{"token": "a", "logprob": -0.1}]
    note = {"type": "url_citation", "url_citation": {"url": "u"}}
    response = answer(
        chunk({"content": "", "annotations": [note]}),
        chunk({"content": "a"}, logprobs={"content": probs, "refusal": None}),
        second,
        chunk({"audio": {"id": "au", "data": "QQ==", "transcript": "x"}}),
        chunk({"audio": {"data": "Qg==", "transcript": "y"}}),
        chunk({}, finish_reason="stop"),
    )
    assert response.choices[0].parts == (
        Text(text="a", annotations=(note,), logprobs=probs),
        Media(kind="audio", data="QUI=", file_id="au", extras={"transcript": "xy"}),
    )
    assert response.choices[1].parts == (Refusal(text="no"),)
    events = read(*chunks(encoded(read(second))))
    assert text_of(fold(events).choices[1].parts) == "no"


@pytest.mark.parametrize(
    "tail",
    [b"", b"data: ", b'data: {"choices":[{"delta":{"content":"zz', b"data: [DO", b": x", b"\xc3"],
)
def test_a_cut_stream_keeps_what_was_whole(tail: bytes) -> None:
    head = b'data: {"id":"c","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n'
    response = fold(events_of(decoded(head + tail)))
    assert response.choices[0].parts == (Text(text="a"),)
    assert (response.ended, response.fault, response.opaque) == (False, None, ())


def test_comments_white_space_and_a_missing_blank_line() -> None:
    data = b": OPENROUTER PROCESSING\n\n" * 2
    data += b' data: {"id":"c","choices":[{"delta":{"content":"a"}}]}\n\ndata:[DONE]'
    events = events_of(decoded(data))
    assert sum(isinstance(event, Ping) for event in events) == 2
    response = fold(events)
    assert (response.choices[0].parts, response.ended) == ((Text(text="a"),), True)


def test_strange_frames_are_kept() -> None:
    events = read("hello", [1], {"odd": 1}, chunk({"content": [{"type": "odd"}]}))
    response = fold(events)
    assert [item.value for item in response.opaque] == ["hello", [1], {"odd": 1}]
    assert isinstance(response.choices[0].parts[0], Unknown)
    assert fold(read(*chunks(encoded(events)))).choices[0].parts == response.choices[0].parts


def test_the_order_of_what_is_written() -> None:
    from_other: list[Event] = [
        *read(chunk({"content": "a"}), {**chunk({}, finish_reason="stop"), "usage": USAGE})
    ]
    told = chunks(encoded(from_other, REPLY))
    assert told[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert told[1]["choices"][0]["delta"] == {"content": "a"}
    assert told[-2]["choices"][0]["finish_reason"] == "stop"
    assert (told[-1]["choices"], told[-1]["usage"]) == ([], USAGE)
    assert encoded(from_other, REPLY).endswith(b"data: [DONE]\n\n")


def test_a_json_answer_is_read_whole() -> None:
    decoder = DIALECT.stream_decoder("application/json; charset=utf-8")
    body = b'\n\n  {"id":"c","choices":[{"message":{"content":"a"},"finish_reason":"stop"}]}'
    assert list(decoder.feed(body[:9])) == []
    assert list(decoder.feed(body[9:])) == []
    (frame,) = decoder.close()
    assert frame.raw == body
    assert fold(frame.events).choices[0].parts == (Text(text="a"),)
