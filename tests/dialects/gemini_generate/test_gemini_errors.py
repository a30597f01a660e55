"""Errors both ways: what Google's error object means, and what is told to Google's clients."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.fold import fold
from llmitm.canon.response import Response
from llmitm.dialects.contract import Reply
from llmitm.dialects.gemini_generate import DIALECT

TYPE = "type.googleapis.com/google.rpc."


def fault_of(body: Any) -> Fault:
    fault = fold(DIALECT.decode_response(json.dumps(body).encode())).fault
    assert fault is not None
    return fault


@pytest.mark.parametrize(
    ("code", "status", "message", "kind"),
    [
        (400, "INVALID_ARGUMENT", "bad", "invalid_request"),
        (400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid one.", "authentication"),
        (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed.",
            "context_length",
        ),
        (400, "FAILED_PRECONDITION", "Please enable billing on your project", "billing"),
        (400, "FAILED_PRECONDITION", "User location is not supported", "invalid_request"),
        (401, "UNAUTHENTICATED", "", "authentication"),
        (403, "PERMISSION_DENIED", "", "permission"),
        (404, "NOT_FOUND", "", "not_found"),
        (413, "INVALID_ARGUMENT", "", "too_large"),
        (400, "INVALID_ARGUMENT", "Request payload size exceeds the limit", "too_large"),
        (429, "RESOURCE_EXHAUSTED", "quota", "rate_limit"),
        (500, "INTERNAL", "", "server"),
        (503, "UNAVAILABLE", "The model is overloaded.", "overloaded"),
        (504, "DEADLINE_EXCEEDED", "", "timeout"),
        (502, None, "", "unavailable"),
        (418, "NEW", "", "invalid_request"),
        (None, None, "", "server"),
    ],
)
def test_kinds(code: int | None, status: str | None, message: str, kind: FaultKind) -> None:
    error = {"code": code, "message": message, "status": status}
    body = {"error": {key: value for key, value in error.items() if value is not None}}
    fault = fault_of(body)
    assert (fault.kind, fault.status, fault.code, fault.message) == (kind, code, status, message)
    assert fault_of([body]) == fault
    if code is not None and status is not None:
        assert json.loads(DIALECT.encode_error(fault)) == body


@pytest.mark.parametrize(
    ("details", "seconds"),
    [
        ([{"@type": TYPE + "RetryInfo", "retryDelay": "34.07s"}], 34.07),
        ([{"@type": TYPE + "RetryInfo", "retryDelay": {"seconds": 3, "nanos": 500000000}}], 3.5),
        ([{"@type": TYPE + "RetryInfo", "retryDelay": "soon"}], None),
        ([5, None], None),
        ("x", None),
    ],
)
def test_retry_delays(details: Any, seconds: float | None) -> None:
    error = {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": details}
    fault = fault_of({"error": error})
    assert fault.retry_after_s == seconds
    assert json.loads(DIALECT.encode_error(fault)) == {"error": error}


def test_a_delay_in_the_message_counts() -> None:
    error = {"code": 429, "message": "Please retry in 12.5s.", "status": "RESOURCE_EXHAUSTED"}
    assert fault_of({"error": error}).retry_after_s == 12.5


@pytest.mark.parametrize("error", ["unauthorized_client", None, [], 5])
def test_other_error_bodies(error: Any) -> None:
    fault = fault_of({"error": error, "error_description": "why"})
    assert fault.kind == "server"
    assert "error" in json.loads(DIALECT.encode_error(fault))


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("invalid_request", 400, "INVALID_ARGUMENT"),
        ("authentication", 401, "UNAUTHENTICATED"),
        ("rate_limit", 429, "RESOURCE_EXHAUSTED"),
        ("overloaded", 503, "UNAVAILABLE"),
        ("cannot_express", 422, "INVALID_ARGUMENT"),
    ],
)
def test_faults_of_others(kind: FaultKind, code: int, status: str) -> None:
    fault = Fault(kind=kind, message="m", raw={"type": "error", "error": {"type": "x"}})
    body = json.loads(DIALECT.encode_error(fault))
    assert body == {"error": {"code": code, "message": "m", "status": status}}
    assert json.loads(DIALECT.encode_response(Response(fault=fault), Reply()).body) == body


def test_delay_and_own_details_are_told() -> None:
    fault = Fault(
        kind="unavailable",
        message="m",
        status=502,
        retry_after_s=2.5,
        details={"code": "NO_ROUTE", "retryable": True, "attempts": 3},
    )
    body = json.loads(DIALECT.encode_error(fault))
    assert body["error"]["details"] == [
        {
            "@type": TYPE + "ErrorInfo",
            "reason": "NO_ROUTE",
            "domain": "llmitm",
            "metadata": {"code": "NO_ROUTE", "retryable": "true", "attempts": "3"},
        },
        {"@type": TYPE + "RetryInfo", "retryDelay": "2.5s"},
    ]
    back = fault_of(body)
    assert (back.status, back.retry_after_s) == (502, 2.5)
    assert back.details == fault.details


def test_a_context_that_is_too_long_is_told_in_googles_words() -> None:
    body = json.loads(DIALECT.encode_error(Fault(kind="context_length", message="too long")))
    assert body["error"]["message"].endswith(
        "exceeds the maximum number of tokens allowed. too long"
    )
    assert fault_of(body).kind == "context_length"
