"""Errors inside streams, and streams that are none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.events import (
    Event,
    Fault,
    Opaque,
    Ping,
    Start,
)
from llmitm.canon.fold import fold
from llmitm.dialects.contract import Reply
from llmitm.dialects.openai_responses import DIALECT
from llmitm.dialects.openai_responses.tables import NAME

type Wire = dict[str, Any]

CREATED: Wire = {
    "type": "response.created",
    "response": {"id": "resp_1", "object": "response", "model": "m", "created_at": 5},
}


def final(kind: str = "completed", **more: Any) -> Wire:
    response = {"id": "resp_1", "object": "response", "model": "m", "status": kind, "output": []}
    return {"type": f"response.{kind}", "response": {**response, **more}}


def event(kind: str, **more: Any) -> Wire:
    return {"type": f"response.{kind}", "output_index": 0, **more}


def told(*wires: Wire) -> list[Event]:
    body = b"".join(b"data: " + json.dumps(wire).encode() + b"\n\n" for wire in wires)
    decoder = DIALECT.stream_decoder("text/event-stream")
    return [e for f in (*decoder.feed(body), *decoder.close()) for e in f.events]


ERROR: Wire = {"type": "rate_limit_error", "code": "rate_limit_exceeded", "message": "slow"}


@pytest.mark.parametrize(
    "wire",
    [
        {"type": "error", **{k: v for k, v in ERROR.items() if k != "type"}, "param": None},
        {"type": "error", "error": ERROR, "sequence_number": 3},
        {"type": "error", "status": 429, "error": ERROR, "headers": {"Retry-After": "1"}},
        {"error": ERROR},
        final("failed", error={"code": "rate_limit_exceeded", "message": "slow"}),
    ],
)
def test_errors_in_a_stream(wire: Wire) -> None:
    (fault,) = [e for e in told(CREATED, wire) if isinstance(e, Fault)]
    assert (fault.kind, fault.code, fault.message) == ("rate_limit", "rate_limit_exceeded", "slow")
    if wire.get("status") == 429:
        assert (fault.status, fault.retry_after_s) == (429, 1.0)


def test_a_failed_response_is_written_as_one() -> None:
    error = {"code": "server_error", "message": "broken"}
    wire = final("failed", error=error, created_at=7, usage=None)["response"]
    response = fold(DIALECT.decode_response(json.dumps(wire).encode()))
    assert response.fault is not None
    assert json.loads(DIALECT.encode_response(response, Reply()).body) == wire


def test_odd_frames() -> None:
    body = (
        b": hello\n\ndata: [DONE]\n\nevent: x\ndata: not json\n\ndata: [1]\n\n"
        b'data: {"type":"response.in_progress","response":{"id":"r"}}\r\n\r\n'
        b'data: {"type":"keepalive"}\n\n'
    )
    decoder = DIALECT.stream_decoder("text/event-stream")
    frames = [*decoder.feed(body), *decoder.close()]
    assert b"".join(f.raw for f in frames) == body
    assert [e for f in frames for e in f.events] == [
        Ping(),
        Opaque(NAME, "", "not json"),
        Opaque(NAME, "", [1]),
        Start("r", dialect=NAME),
        Opaque(NAME, "keepalive", {"type": "keepalive"}),
    ]


def test_a_body_where_a_stream_was_expected() -> None:
    decoder = DIALECT.stream_decoder("text/event-stream")
    raw = b'{\n  "error": {"message": "no", "code": "invalid_api_key"}\n}'
    (frame,) = [*decoder.feed(raw), *decoder.close()]
    (fault,) = frame.events
    assert isinstance(fault, Fault)
    assert fault.kind == "authentication"
