"""Errors of Ollama: `{"error": "…"}`, as a body or a line of a stream <-> `Fault`.

Source: Ollama API reference, errors.
"""

from __future__ import annotations

from llmitm.canon.events import Fault, FaultKind
from llmitm.dialects.json_text import Wire, dump, telling, whole
from llmitm.dialects.ollama_chat.tables import CONTEXT_LENGTH_WORDS, FAULT_WORDS

_LONGEST_MESSAGE = 2000


def decode_fault(value: Wire) -> Fault | None:
    """The fault that an object tells, None if it is no error.

    A proxy in front of the server may put an object under `error`: its `message` is read.
    """
    error = value.get("error")
    code = None
    if isinstance(error, dict):
        said, word = error.get("message"), error.get("code", error.get("type"))
        code = word if isinstance(word, str) else None
        error = said if isinstance(said, str) else ""
    if not isinstance(error, str):
        return None
    status = whole(value.get("StatusCode"))
    return Fault(kind=_kind(error), message=error, status=status, code=code, raw=value)


def text_fault(text: str) -> Fault:
    """The fault of a body that is not JSON: a gateway's page."""
    return Fault(kind=_kind(text), message=text.strip()[:_LONGEST_MESSAGE], raw=text)


def _kind(message: str) -> FaultKind:
    for words, kind in FAULT_WORDS:
        if words.search(message):
            return kind
    return "server"


def encode_error(fault: Fault) -> bytes:
    """A whole error body, and without its line end a line of a stream."""
    message = fault.message
    if fault.kind == "context_length" and _kind(message) != "context_length":
        message = f"{CONTEXT_LENGTH_WORDS}: {message}" if message else CONTEXT_LENGTH_WORDS
    body: Wire = {"error": message}
    match fault.raw:
        case {"error": str(words), **rest} if words == message and telling(rest):
            body |= rest
        case {"error": {"message": str(words)} as error} if words == message:
            body["error"] = error
        case _:
            pass
    if fault.details:
        body["details"] = dict(fault.details)
    return dump(body)
