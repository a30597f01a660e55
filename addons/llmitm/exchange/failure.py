"""What can go wrong with one attempt, and what the client is told about it.

A failure before any content may lead to another attempt; which ones may is `is_retryable`.
Source of status meanings: RFC 9110; 529 is Anthropic's "overloaded".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.statuses import KIND_BY_STATUS, STATUS_BY_KIND
from llmitm.exchange.delays import delay_s
from llmitm.exchange.wire import Headers

type FailureKind = Literal["connect", "certificate", "timeout", "broken", "status", "fault", "wire"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One attempt's end without an answer.

    status, headers, body: the provider's response where there was one (`status`, `fault`);
    fault: the error it told, where it could be read.
    """

    kind: FailureKind
    message: str
    status: int = 0
    headers: Headers = ()
    body: bytes = b""
    fault: Fault | None = None


_BY_KIND: Mapping[FailureKind, tuple[int, FaultKind, str]] = MappingProxyType(
    {
        "connect": (502, "unavailable", "provider_unreachable"),
        "certificate": (502, "unavailable", "provider_certificate"),
        "timeout": (504, "timeout", "provider_timeout"),
        "broken": (502, "unavailable", "provider_broke_off"),
        "wire": (502, "server", "provider_wire"),
        "status": (502, "server", "provider_error"),
        "fault": (502, "server", "provider_error"),
    }
)

_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
_RETRYABLE_FAULTS = frozenset({"rate_limit", "overloaded", "timeout", "unavailable", "server"})


def is_failure_status(status: int) -> bool:
    """Whether this response status means: another provider might do better."""
    return status in _RETRYABLE_STATUS or status >= 500


def is_retryable(fault: Fault) -> bool:
    """Whether an error told inside a 200 means: another provider might do better."""
    return fault.kind in _RETRYABLE_FAULTS


def fault_of(failure: Failure, now_s: float) -> Fault:
    """The error as the client should be told, with a status and where known a delay.

    now_s: Unix time, to turn a `Retry-After` date into seconds.
    """
    status, kind, code = _BY_KIND[failure.kind]
    status = failure.status if failure.status >= 400 else status
    fault = failure.fault
    if fault is None:
        if failure.status >= 400:
            kind = KIND_BY_STATUS.get(failure.status, kind)
        fault = Fault(kind=kind, message=failure.message, code=code)
    elif failure.status < 400:
        status = STATUS_BY_KIND[fault.kind]
    if fault.retry_after_s is None:
        fault = replace(fault, retry_after_s=delay_s(failure.headers, failure.body, now_s))
    return replace(fault, status=fault.status or status)
