"""Errors of the Messages API: body or in-stream event <-> `Fault`.

The shape that agents read to shorten their history ("prompt is too long") is kept both ways.
Source: Anthropic API reference, errors; streaming, error events.
"""

from __future__ import annotations

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.values import Json
from llmitm.dialects.anthropic_messages.tables import (
    CONTEXT_LENGTH,
    CONTEXT_LENGTH_WORDS,
    ERROR_TYPES,
    FAULT_KINDS,
    ROUTING_ERROR,
)
from llmitm.dialects.json_text import dump

_LONGEST_MESSAGE = 2000


def decode_fault(value: dict[str, Json]) -> Fault | None:
    """The fault that an error object tells, None if it is none.

    Besides the API's own `{type: error, error: {type, message}}` it knows the forms of those who
    stand before it: Vertex (`error.status`), Bedrock (`message`), gateways (`error`: string).
    """
    error = value.get("error")
    if isinstance(error, str):
        return Fault(kind=_kind("", error), message=error, raw=value)
    if isinstance(error, dict):
        word = error.get("type")
        code = word if isinstance(word, str) else None
        text = error.get("message")
        message = text if isinstance(text, str) else ""
        if code is None and not message and value.get("type") != "error":
            return None
        return Fault(kind=_kind(code or "", message), message=message, code=code, raw=value)
    if value.get("type") == "error":
        return Fault(kind="server", message="", raw=value)
    text = next((value[key] for key in ("message", "Message", "detail") if key in value), None)
    if isinstance(text, str) and "content" not in value and value.get("type") != "message":
        return Fault(kind=_kind("", text), message=text, raw=value)
    return None


def text_fault(text: str) -> Fault:
    """The fault of a body that is not JSON: a gateway's error page."""
    return Fault(kind="server", message=text[:_LONGEST_MESSAGE], raw=text)


def _kind(code: str, message: str) -> FaultKind:
    if CONTEXT_LENGTH.search(message) and code in ("", "invalid_request_error"):
        return "context_length"
    return FAULT_KINDS.get(code, "server")


def encode_error(fault: Fault) -> bytes:
    """A whole error body; the same JSON stands in an in-stream `error` event."""
    return dump(fault_value(fault))


def fault_value(fault: Fault) -> Json:
    """`{"type": "error", "error": {…}}`; what the API itself had added is kept."""
    error: dict[str, Json] = {}
    rest: dict[str, Json] = {}
    match fault.raw:
        case {"type": "error", "error": {"type": str(), "message": str(), **more}, **top}:
            # The API's own object: a request id and details go along.
            error, rest = dict(more), dict(top)
            word = fault.code if fault.code is not None else ERROR_TYPES[fault.kind]
        case _:
            word = ROUTING_ERROR if "code" in fault.details else ERROR_TYPES[fault.kind]
    message = fault.message
    if fault.kind == "context_length" and not CONTEXT_LENGTH.search(message):
        message = f"{CONTEXT_LENGTH_WORDS}: {message}" if message else CONTEXT_LENGTH_WORDS
    error = {"type": word, "message": message, **error}
    if fault.details:
        error["details"] = dict(fault.details)
    return {"type": "error", "error": error, **rest}
