"""Errors of chat providers are read in all their forms and written in one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dialects.openai_chat.answers import REPLY, chunk, decoded, encoded, events_of, read
from llmitm.canon.events import End, Fault, FaultKind, Start
from llmitm.canon.fold import fold
from llmitm.dialects.openai_chat import DIALECT


def fault_of(body: Any) -> Fault | None:
    text = body if isinstance(body, str) else json.dumps(body)
    return fold(DIALECT.decode_response(text.encode())).fault


@pytest.mark.parametrize(
    ("body", "kind", "message", "code"),
    [
        (
            {"error": {"message": "no", "type": "x", "code": "invalid_api_key"}},
            "authentication",
            "no",
            "invalid_api_key",
        ),
        ({"error": {"message": "no", "code": 429}}, "rate_limit", "no", "429"),
        ({"error": {"message": "no", "code": "404"}}, "not_found", "no", "404"),
        ({"error": "model loading"}, "server", "model loading", None),
        ({"object": "error", "message": "bad", "code": 400}, "invalid_request", "bad", "400"),
        ({"detail": "Not allowed"}, "server", "Not allowed", None),
        ({"detail": [{"loc": ["body"]}]}, "server", '[{"loc":["body"]}]', None),
        ({"errors": [{"message": "cf", "code": 10000}]}, "server", "cf", "10000"),
        (
            [{"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}],
            "unavailable",
            "busy",
            "503",
        ),
        (
            {"error": {"message": "This model's maximum context length is 5 tokens", "code": 400}},
            "context_length",
            "This model's maximum context length is 5 tokens",
            "400",
        ),
        ("<html>Bad gateway</html>", "server", "<html>Bad gateway</html>", None),
        (
            {"error": {"message": "m", "type": "insufficient_quota"}},
            "billing",
            "m",
            "insufficient_quota",
        ),
    ],
)
def test_bodies(body: Any, kind: FaultKind, message: str, code: str | None) -> None:
    fault = fault_of(body)
    assert fault is not None
    assert (fault.kind, fault.message, fault.code) == (kind, message, code)


@pytest.mark.parametrize("body", [{}, {"id": "x", "choices": []}, {"object": "list"}, "7", ""])
def test_no_error(body: Any) -> None:
    assert fault_of(body) is None


def test_the_providers_own_words_go_along() -> None:
    body = {"error": {"message": "no", "type": "t", "param": "p", "code": "c", "x": 1}, "y": 2}
    fault = fault_of(body)
    assert fault is not None
    assert json.loads(DIALECT.encode_error(fault)) == body


def test_other_protocols_words_become_ours() -> None:
    raw: Any = {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}
    fault = Fault(kind="context_length", message="too long", code="x", raw=raw)
    told = json.loads(DIALECT.encode_error(fault))["error"]
    assert told["code"] == "context_length_exceeded"
    assert told["type"] == "invalid_request_error"
    details: Any = {"code": "no_route", "retryable": False}
    told = json.loads(DIALECT.encode_error(Fault(kind="server", message="m", details=details)))
    assert told["error"]["details"] == details


def test_an_error_in_a_stream() -> None:
    events = read(chunk({"content": "a"}), {"error": {"message": "busy", "code": 503}})
    response = fold(events)
    assert response.fault is not None
    assert response.fault.kind == "unavailable"
    assert encoded(events).endswith(
        b'data: {"error":{"message":"busy","code":503}}\n\ndata: [DONE]\n\n'
    )
    encoder = DIALECT.stream_encoder(REPLY)
    encoder.feed([Fault(kind="server", message="m")])
    assert encoder.feed([Start(id="x"), End()]) == b""
    assert (encoder.close(), encoder.heartbeat()) == (b"", b"")


def test_an_error_of_a_choice() -> None:
    error = {"code": 502, "message": "upstream broke"}
    response = fold(read(chunk({"content": "a"}), chunk({}, finish_reason="error", error=error)))
    assert response.fault is not None
    assert (response.fault.kind, response.fault.message) == ("unavailable", "upstream broke")


@pytest.mark.parametrize("lead", [b"", b"\n\n  \n", b"\xef\xbb\xbf", b": x\n\n"])
def test_a_json_body_where_a_stream_was_asked_for(lead: bytes) -> None:
    body = lead + b'{\n  "error": {\n\n "message": "no",\n "code": 401 }\n}\n'
    for size in (0, 1):
        response = fold(events_of(decoded(body, size)))
        assert response.fault is not None
        assert response.fault.kind == "authentication"
