"""Errors of Bedrock: body, or exception in a stream <-> `Fault`.

A body holds only words (`{"message": …}`); its exception's name is in a header, or in `__type`.
Source: Amazon Bedrock API reference, Converse, errors; AWS JSON protocols, error bodies.
"""

from __future__ import annotations

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.values import Json
from llmitm.dialects.bedrock_converse.tables import (
    CONTEXT_LENGTH_WORDS,
    EXCEPTIONS,
    FAULT_KINDS,
    FAULT_WORDS,
    STREAM_EXCEPTIONS,
)
from llmitm.dialects.json_text import Wire, dump, parse

_LONGEST_MESSAGE = 2000


def decode_fault(value: Wire) -> Fault | None:
    """The fault that an error body tells, None if it is none."""
    text = next((value[key] for key in ("message", "Message") if key in value), None)
    name = next((value[key] for key in ("__type", "code") if key in value), None)
    if not isinstance(text, str) and not isinstance(name, str):
        return None
    code = name.rpartition("#")[2].partition(":")[0] if isinstance(name, str) else ""
    message = text if isinstance(text, str) else ""
    return Fault(kind=_kind(code, message), message=message, code=code or None, raw=value)


def exception_fault(name: str, payload: bytes, words: str = "") -> Fault:
    """The fault of an exception message in a stream. words: said in a header."""
    value: Json
    try:
        value = parse(payload) if payload else None
    except ValueError:
        value = payload.decode("utf-8", "replace")
    message = words
    if isinstance(value, dict):
        said = value.get("message", value.get("Message"))
        message = said if isinstance(said, str) else message
    raw: Json = {"exception": name, "payload": value}
    return Fault(kind=_kind(name, message), message=message or name, code=name or None, raw=raw)


def text_fault(text: str) -> Fault:
    """The fault of a body that is not JSON: a gateway's error page."""
    return Fault(kind="server", message=text.strip()[:_LONGEST_MESSAGE], raw=text)


def _kind(name: str, message: str) -> FaultKind:
    known = FAULT_KINDS.get(name.lower())
    if known is not None and known != "invalid_request":
        return known
    for words, kind in FAULT_WORDS:
        if words.search(message) and (known is None or kind == "context_length"):
            return kind
    return "invalid_request"


def encode_error(fault: Fault) -> bytes:
    """A whole error body; its own provider's comes out as it was."""
    if isinstance(fault.raw, dict) and decode_fault(fault.raw) == fault:
        return dump(fault.raw)
    body: Wire = {"__type": EXCEPTIONS[fault.kind], "message": _words(fault)}
    if fault.details:
        body["details"] = dict(fault.details)
    return dump(body)


def encode_exception(fault: Fault) -> tuple[str, bytes]:
    """(name, payload) of the exception that ends a stream."""
    match fault.raw:
        case {"exception": str(name), "payload": dict(payload)} if name == fault.code:
            return name, dump(payload)
        case _:
            name = STREAM_EXCEPTIONS.get(fault.kind, "internalServerException")
            return name, dump({"message": _words(fault)})


def _words(fault: Fault) -> str:
    if fault.kind == "context_length" and _kind("", fault.message) != "context_length":
        return f"{CONTEXT_LENGTH_WORDS} {fault.message}".strip()
    return fault.message
