"""Requests of ours that come back to us: known by a header, refused with 508.

Whatever goes elsewhere than the client sent it carries `x-llmproxy-loop-guard` with a word that
only this process knows. Never: marks what goes where the client sent it.
Source: mitmproxy 12.2, `addons/proxyserver`, which itself refuses to connect to its own ports.
"""

from __future__ import annotations

from mitmproxy import http

from llmitm.canon.events import Fault
from llmitm.exchange.lanes import LOOP_GUARD
from llmitm.mitm.requests import values_of

LOOP = Fault(
    kind="invalid_request",
    status=508,
    code="request_loop",
    message="llmitm: request loop detected: this request was sent by this proxy, and a rule or a "
    "base URL has sent it back",
    details={"code": "request_loop", "retryable": False},
)

_LOOP_GUARD = LOOP_GUARD.encode()
_SELF_CONNECT = "Request destination unknown."
"""How mitmproxy begins its refusal to connect to itself."""


def is_ours(flow: http.HTTPFlow, guard: str) -> bool:
    """Whether this request was sent by this proxy."""
    return values_of(flow.request.headers, _LOOP_GUARD) == [guard.encode()]


def mark(flow: http.HTTPFlow, meant: tuple[str, int], goes: tuple[str, int], guard: str) -> None:
    """Marks the request if it goes elsewhere (host, port) than the client meant it to."""
    if meant != goes:
        flow.request.headers[LOOP_GUARD] = guard


def is_self_connect(message: str) -> bool:
    """Whether a failed attempt was one to connect to this proxy."""
    return _SELF_CONNECT in message
