"""What a client is told about a failed attempt."""

from __future__ import annotations

import pytest

from llmitm.canon.events import Fault
from llmitm.exchange.delays import retry_after_s
from llmitm.exchange.failure import (
    Failure,
    fault_of,
    is_failure_status,
    is_retryable,
)


@pytest.mark.parametrize(
    ("failure", "status", "kind", "code"),
    [
        (Failure(kind="connect", message="refused"), 502, "unavailable", "provider_unreachable"),
        (Failure(kind="certificate", message="bad"), 502, "unavailable", "provider_certificate"),
        (Failure(kind="timeout", message="slow"), 504, "timeout", "provider_timeout"),
        (Failure(kind="broken", message="gone"), 502, "unavailable", "provider_broke_off"),
        (Failure(kind="status", message="x", status=429), 429, "rate_limit", "provider_error"),
        (Failure(kind="status", message="x", status=529), 529, "overloaded", "provider_error"),
        (Failure(kind="status", message="x", status=418), 418, "server", "provider_error"),
    ],
)
def test_each_failure_has_a_status_and_a_code(
    failure: Failure, status: int, kind: str, code: str
) -> None:
    fault = fault_of(failure, now_s=0)
    assert (fault.status, fault.kind, fault.code) == (status, kind, code)
    assert fault.message == failure.message


def test_the_providers_own_error_is_kept() -> None:
    own = Fault(kind="overloaded", message="Overloaded", code="overloaded_error")
    fault = fault_of(Failure(kind="fault", message="x", fault=own), now_s=0)
    assert (fault.status, fault.message, fault.code) == (529, "Overloaded", "overloaded_error")


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ((("Retry-After", "3"),), 3.0),
        ((("retry-after-ms", "1500"), ("retry-after", "9")), 1.5),
        ((("retry-after", "Thu, 01 Jan 1970 00:01:40 GMT"),), 60.0),
        ((("retry-after", "soon"),), None),
        ((("retry-after", "-3"),), 0.0),
        ((), None),
    ],
)
def test_retry_after_in_all_its_forms(headers, seconds: float | None) -> None:
    assert retry_after_s(headers, now_s=40.0) == seconds


@pytest.mark.parametrize(
    ("status", "fails"),
    [(200, False), (400, False), (401, False), (404, False), (413, False), (422, False)]
    + [(429, True), (408, True), (500, True), (503, True), (529, True)],
)
def test_which_statuses_another_provider_might_better(status: int, fails: bool) -> None:
    assert is_failure_status(status) is fails


def test_a_bad_request_inside_a_200_is_not_retried() -> None:
    assert not is_retryable(Fault(kind="invalid_request", message=""))
    assert is_retryable(Fault(kind="overloaded", message=""))
