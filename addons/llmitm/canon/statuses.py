"""HTTP statuses and kinds of fault, both ways. Source: RFC 9110; 529 is Anthropic's own."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmitm.canon.events import FaultKind

KIND_BY_STATUS: Mapping[int, FaultKind] = MappingProxyType(
    {
        400: "invalid_request",
        401: "authentication",
        402: "billing",
        403: "permission",
        404: "not_found",
        408: "timeout",
        413: "too_large",
        422: "invalid_request",
        429: "rate_limit",
        500: "server",
        502: "unavailable",
        503: "unavailable",
        504: "timeout",
        529: "overloaded",
    }
)
"""What a status means when the body does not say more."""

STATUS_BY_KIND: Mapping[FaultKind, int] = MappingProxyType(
    {
        "invalid_request": 400,
        "authentication": 401,
        "billing": 402,
        "permission": 403,
        "not_found": 404,
        "too_large": 413,
        "context_length": 400,
        "rate_limit": 429,
        "overloaded": 529,
        "timeout": 504,
        "unavailable": 503,
        "server": 500,
        "cannot_express": 422,
    }
)
"""The status a fault is told with when it came without one."""
