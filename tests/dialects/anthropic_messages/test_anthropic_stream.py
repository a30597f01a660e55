"""Streams of the Messages API: every kind of block and event, cut and misshapen ones."""

from __future__ import annotations

import json

import pytest

from dialects.anthropic_messages.answers import REPLY, block, decoded, encoded, events_of, sse
from llmitm.canon.events import End, Finish, Opaque, PartDetail, PartEnd, PartStart, Ping, Usage
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Reasoning, Text, ToolCall, Unknown
from llmitm.dialects.anthropic_messages import DIALECT
from llmitm.dialects.anthropic_messages.tables import NAME

FRAMES: list[bytes] = [
    b'{"type":"message_start","message":%s}',
    b'{"type":"content_block_start","index":%s,"content_block":{"type":"text","text":""}}',
    b'{"type":"content_block_start","index":0,"content_block":%s}',
    b'{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":%s,"name":"n","input":{}}}',
    b'{"type":"content_block_delta","index":0,"delta":%s}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":%s}}',
    b'{"type":"content_block_delta","index":0,"delta":{"type":%s}}',
    b'{"type":"content_block_stop","index":%s}',
    b'{"type":"message_delta","delta":%s,"usage":{"output_tokens":1}}',
    b'{"type":"message_delta","delta":{"stop_reason":%s},"usage":{}}',
    b'{"type":"message_delta","delta":{},"usage":%s}',
    b'{"type":"error","error":%s}',
    b'{"type":%s}',
    b"%s",
]


@pytest.mark.parametrize(
    "shape", [b"1", b"[]", b"{}", b"null", b'"s"', b"true", b"1e999", b"{", b'"\\ud800"']
)
@pytest.mark.parametrize("frame", FRAMES)
def test_frames_of_a_wrong_shape_never_raise(frame: bytes, shape: bytes) -> None:
    data = b"data: " + (frame % shape) + b"\n\n"
    encoded(events_of(decoded(data * 2)))


BEGIN = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "container": None,
        "new": 1,
        "usage": {
            "input_tokens": 10,
            "cache_read_input_tokens": 5,
            "cache_creation_input_tokens": 2,
            "output_tokens": 1,
        },
    },
}


def test_blocks_of_a_stream() -> None:
    data = sse(
        BEGIN,
        *block(
            0,
            {"type": "thinking", "thinking": "", "signature": ""},
            {"type": "thinking_delta", "thinking": "hm"},
            {"type": "signature_delta", "signature": "sig"},
        ),
        *block(1, {"type": "redacted_thinking", "data": "xx"}),
        *block(
            2,
            {"type": "text", "text": "A"},
            {"type": "text_delta", "text": "b", "odd": 1},
            {"type": "citations_delta", "citation": {"c": 1}},
        ),
        *block(
            3,
            {"type": "tool_use", "id": "t1", "name": "n", "input": {}},
            {"type": "input_json_delta", "partial_json": ""},
            {"type": "input_json_delta", "partial_json": '{"a":'},
            {"type": "input_json_delta", "partial_json": "1}"},
        ),
        *block(4, {"type": "tool_use", "id": "t2", "name": "n", "input": {"b": 2}}),
        *block(5, {"type": "tool_use", "id": "t3", "name": "n", "input": {}}),
        *block(
            6,
            {"type": "server_tool_use", "id": "s", "name": "web", "input": {}},
            {"type": "input_json_delta", "partial_json": '{"q":"x"}'},
        ),
        *block(7, {"type": "web_search_tool_result", "tool_use_id": "s", "content": []}),
        *block(
            8,
            {"type": "compaction", "content": None},
            {"type": "compaction_delta", "content": "sum", "encrypted_content": "e"},
        ),
        {"type": "ping"},
        {"type": "brand_new", "x": 1},
        {
            "type": "message_delta",
            "delta": {
                "stop_reason": "refusal",
                "stop_sequence": None,
                "stop_details": {"type": "refusal"},
            },
            "usage": {"output_tokens": 9},
            "context_management": {},
            "odd": 2,
        },
        {"type": "message_stop", "metrics": 1},
    )
    frames = decoded(data)
    events = events_of(frames)
    response = fold(events)
    assert (response.id, response.model, response.extras) == ("msg_1", "claude", {"new": 1})
    assert response.dialect == NAME
    assert response.choices[0].parts == (
        Reasoning(text="hm", signature="sig", dialect=NAME),
        Reasoning(encrypted="xx", dialect=NAME),
        Text(text="Ab", annotations=({"c": 1},), extras={"odd": 1}),
        ToolCall(id="t1", name="n", arguments='{"a":1}'),
        ToolCall(id="t2", name="n", arguments='{"b":2}'),
        ToolCall(id="t3", name="n", arguments="{}"),
        Unknown(
            dialect=NAME,
            kind="server_tool_use",
            value={"type": "server_tool_use", "id": "s", "name": "web", "input": {"q": "x"}},
        ),
        Unknown(
            dialect=NAME,
            kind="web_search_tool_result",
            value={"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        ),
        Unknown(
            dialect=NAME,
            kind="compaction",
            value={"type": "compaction", "content": "sum", "encrypted_content": "e"},
        ),
    )
    assert response.choices[0].finish == Finish(
        "refusal",
        "refusal",
        extras={
            "stop_details": {"type": "refusal"},
            "context_management": {},
            "message_delta": {"odd": 2},
        },
    )
    usage = response.usage
    assert usage is not None
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.total_tokens,
        usage.cache_read_tokens,
        usage.cache_write_tokens,
    )
    assert counts == (17, 9, 26, 5, 2)
    assert response.opaque == (Opaque(NAME, "brand_new", {"type": "brand_new", "x": 1}),)
    assert response.end_extras == {"metrics": 1}
    assert Ping() in events
    again = fold(
        events_of(
            decoded(encoded(e for e in events if not isinstance(e, PartDetail) or not e.extras))
        )
    )
    assert again.choices[0].parts[3:] == response.choices[0].parts[3:]
    assert (again.choices[0].finish, again.usage, again.opaque, again.end_extras) == (
        response.choices[0].finish,
        response.usage,
        response.opaque,
        response.end_extras,
    )


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("pause_turn", "pause"),
        ("compaction", "pause"),
        ("refusal", "refusal"),
        ("brand_new", "unknown"),
    ],
)
def test_stop_reasons_survive(wire: str, reason: str) -> None:
    body = {
        "id": "m",
        "type": "message",
        "role": "assistant",
        "model": "c",
        "content": [],
        "stop_reason": wire,
        "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1},
    }
    response = fold(DIALECT.decode_response(json.dumps(body).encode()))
    finish = response.choices[0].finish
    assert finish is not None
    assert (finish.reason, finish.raw) == (reason, wire)
    assert json.loads(DIALECT.encode_response(response, REPLY).body) == body
    assert wire.encode() in encoded(unfold(response))


def test_a_cut_stream_ends_its_parts_but_tells_no_finish() -> None:
    data = (
        sse(
            BEGIN,
            *block(
                0,
                {"type": "server_tool_use", "id": "s", "name": "w", "input": {}},
                {"type": "input_json_delta", "partial_json": '{"q'},
            )[:-1],
            *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "so"})[:-1],
        )
        + b'event: content_block_delta\ndata: {"type":"conte'
    )
    events = events_of(decoded(data))
    assert events[-3:] == [
        PartStart(
            0,
            Unknown(
                dialect=NAME,
                kind="server_tool_use",
                value={"type": "server_tool_use", "id": "s", "name": "w", "input": '{"q'},
            ),
        ),
        PartEnd(0),
        PartEnd(1),
    ]
    assert not any(isinstance(event, Finish | End | Opaque) for event in events)
    closed = events_of(decoded(encoded(events)))
    assert [type(event) for event in closed[-3:]] == [Usage, Finish, End]


@pytest.mark.parametrize(
    "junk", [b"\xef\xbb\xbf", b": hello\n\n", b"\n\n", b"retry: 3\n\n", b"\r\n\r\n"]
)
def test_what_stands_before_a_stream_is_no_matter(junk: bytes) -> None:
    data = sse(BEGIN, {"type": "message_stop"})
    assert fold(events_of(decoded(junk + data))) == fold(events_of(decoded(data)))


@pytest.mark.parametrize("end", [b"\n\n", b"\n", b""])
def test_the_last_blank_line_may_be_missing(end: bytes) -> None:
    data = sse(BEGIN, {"type": "message_stop"}).rstrip(b"\n") + end
    assert fold(events_of(decoded(data))).ended
