"""Errors of the Responses protocol: bodies, stream events, failed responses <-> Fault.

Source: OpenAI API reference, Error codes; Responses, `error` and `response.failed` events.
"""

from __future__ import annotations

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.values import Json
from llmitm.dialects.openai_responses.parts import Wire, json_bytes
from llmitm.dialects.openai_responses.tables import FAULT_BY_CODE, FAULT_BY_TYPE, TYPE_AND_CODE


def _string(value: Json) -> str | None:
    return value if isinstance(value, str) else None


def decode_fault(wire: Wire) -> Fault:
    """The fault of an error object, or of an object that holds one under `error`.

    A WebSocket error frame also tells `status` and headers.
    """
    error = wire.get("error")
    inner: Wire = error if isinstance(error, dict) else wire
    kind_said, code = _string(inner.get("type")), inner.get("code")
    if isinstance(code, int) and not isinstance(code, bool):
        code = str(code)
    code = _string(code)
    status = wire.get("status", wire.get("status_code"))
    message = _string(inner.get("message")) or _string(error) or _string(wire.get("detail"))
    return Fault(
        kind=_kind(code, kind_said),
        message=message or code or "the provider told an error without a message",
        status=status if isinstance(status, int) and not isinstance(status, bool) else None,
        code=code,
        param=_string(inner.get("param")),
        retry_after_s=_retry_after_s(wire.get("headers")),
        raw=wire,
    )


def _kind(code: str | None, kind_said: str | None) -> FaultKind:
    return (
        FAULT_BY_CODE.get(code or "")
        or FAULT_BY_TYPE.get(code or "")
        or FAULT_BY_CODE.get(kind_said or "")
        or FAULT_BY_TYPE.get(kind_said or "")
        or "server"
    )


def _retry_after_s(headers: Json) -> float | None:
    if not isinstance(headers, dict):
        return None
    for key, value in headers.items():
        if key.lower() == "retry-after" and isinstance(value, str | int | float):
            try:
                return max(0.0, float(value))
            except ValueError:
                return None
    return None


def error_object(fault: Fault) -> Wire:
    """`{"type", "code", "message", "param"}`, routing details beside them where there are any."""
    kind, code = TYPE_AND_CODE[fault.kind]
    said = _said_type(fault.raw) or kind
    wire: Wire = {
        "type": said,
        # Another protocol's code goes along unless this protocol reads something else from it.
        "code": fault.code if fault.code and _kind(fault.code, said) == fault.kind else code,
        "message": fault.message,
        "param": fault.param,
    }
    if fault.kind == "context_length":
        # Agents compact their history on exactly this code.
        wire["code"] = code
    if fault.details:
        wire["details"] = dict(fault.details)
    return wire


def _said_type(raw: Json) -> str | None:
    """The type that an OpenAI error body told; other protocols' have no `param`."""
    match raw:
        case {"error": {"type": str(kind), "param": _, "code": _}}:
            return kind
        case _:
            return None


def encode_error(fault: Fault) -> bytes:
    """A whole error body."""
    return json_bytes({"error": error_object(fault)})
