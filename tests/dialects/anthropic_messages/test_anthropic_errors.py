"""Errors of the Messages API as body and within a stream; bodies that are no messages."""

from __future__ import annotations

import json

import pytest

from dialects.anthropic_messages.answers import REPLY, decoded, encoded, events_of
from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.fold import fold
from llmitm.dialects.anthropic_messages import DIALECT
from llmitm.dialects.anthropic_messages.tables import ERROR_TYPES, FAULT_KINDS

FAULTS: list[tuple[bytes, FaultKind, str, str | None]] = [
    *(
        (
            json.dumps({"type": "error", "error": {"type": word, "message": "m"}}).encode(),
            kind,
            "m",
            word,
        )
        for word, kind in FAULT_KINDS.items()
    ),
    (
        b'{"type":"error","error":{"type":"invalid_request_error",'
        b'"message":"prompt is too long: 9 tokens > 8 maximum"},"request_id":"r"}',
        "context_length",
        "prompt is too long: 9 tokens > 8 maximum",
        "invalid_request_error",
    ),
    (
        b'{"type":"error","error":{"type":"brand_new","message":"m","details":{"a":1}}}',
        "server",
        "m",
        "brand_new",
    ),
    (b'{"type":"error"}', "server", "", None),
    (b'{"error":"plain"}', "server", "plain", None),
    (
        b'{"error":{"code":429,"message":"quota","status":"RESOURCE_EXHAUSTED"}}',
        "server",
        "quota",
        None,
    ),
    (
        b'{"message":"The provided model identifier is invalid."}',
        "server",
        "The provided model identifier is invalid.",
        None,
    ),
    (b"<html>502</html>", "server", "<html>502</html>", None),
]


@pytest.mark.parametrize(("body", "kind", "message", "code"), FAULTS)
def test_errors(body: bytes, kind: FaultKind, message: str, code: str | None) -> None:
    (fault,) = DIALECT.decode_response(body)
    assert isinstance(fault, Fault)
    assert (fault.kind, fault.message, fault.code) == (kind, message, code)
    written = json.loads(DIALECT.encode_error(fault))
    assert written["type"] == "error"
    assert written["error"]["message"] == message
    if code is not None:
        assert written == json.loads(body)
        streamed = b"event: error\ndata: " + body + b"\n\n"
        assert events_of(decoded(streamed)) == [fault]
        assert json.loads(encoded([fault]).split(b"data: ")[1]) == json.loads(body)
    assert events_of(decoded(body, 3)) == ([] if body.startswith(b"<") else [fault])
    assert events_of(decoded(body, 3, "application/json; charset=utf-8")) == [fault]


@pytest.mark.parametrize("kind", list(ERROR_TYPES))
def test_faults_of_others_take_our_shape(kind: FaultKind) -> None:
    fault = Fault(
        kind=kind, message="m", status=400, code="their_code", raw={"error": {"message": "m"}}
    )
    error = json.loads(DIALECT.encode_error(fault))["error"]
    assert error["type"] == ERROR_TYPES[kind]
    assert error["message"] == ("prompt is too long: m" if kind == "context_length" else "m")


def test_routing_faults_keep_their_details() -> None:
    fault = Fault(
        kind="not_found", message="m", details={"code": "unknown_model", "retryable": False}
    )
    assert json.loads(DIALECT.encode_error(fault)) == {
        "type": "error",
        "error": {
            "type": "routing_error",
            "message": "m",
            "details": {"code": "unknown_model", "retryable": False},
        },
    }


def test_other_json_stays_opaque_and_comes_back() -> None:
    body = b'{"input_tokens":14}'
    response = fold(DIALECT.decode_response(body))
    assert DIALECT.encode_response(response, REPLY).body == body
    assert DIALECT.decode_response(b" \n") == []
