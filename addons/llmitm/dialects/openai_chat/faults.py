"""Errors of chat providers: body or chunk <-> `Fault`.

Besides `{"error": {message, type, param, code}}` the forms of gateways and other servers are read:
a string under `error`, `object: "error"` (vLLM, Mistral), `detail` (FastAPI), `errors`
(Cloudflare), an array around the object (Google). Source: OpenAI API reference, Error codes.
"""

from __future__ import annotations

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.statuses import KIND_BY_STATUS
from llmitm.canon.values import Json
from llmitm.dialects.openai_chat.parts import Wire
from llmitm.dialects.openai_chat.tables import (
    CONTEXT_LENGTH,
    FAULT_CODES,
    FAULT_WORDS,
)
from llmitm.dialects.openai_chat.wire import dump, string, whole

_LONGEST_MESSAGE = 2000
_LOWEST_STATUS, _HIGHEST_STATUS = 400, 599


def decode_fault(wire: Wire) -> Fault | None:
    """The fault that an object tells, None if it is no error."""
    error: Json = wire.get("error")
    if error is None and isinstance(errors := wire.get("errors"), list) and errors:
        error = errors[0]
    if error is None and _is_bare(wire):
        error = wire
    if error is None or error is False:
        return None
    inner: Wire = error if isinstance(error, dict) else {"message": error}
    message = _message(inner)
    kind_said = string(inner.get("type"))
    code = inner.get("code", wire.get("code") if inner is not wire else None)
    status = _status(code) or _status(inner.get("status")) or _status(wire.get("status"))
    code_said = str(code) if whole(code) is not None else string(code)
    return Fault(
        kind=_kind(code_said, kind_said, string(inner.get("status")), status, message),
        message=message or code_said or kind_said or "the provider told no reason",
        code=code_said or kind_said,
        param=string(inner.get("param")),
        raw=wire,
    )


def _is_bare(wire: Wire) -> bool:
    """Whether the object itself is an error: nothing of an answer, but an error's words."""
    if "choices" in wire:
        return False
    if wire.get("object") == "error" or wire.get("type") == "error":
        return True
    return any(wire.get(key) for key in ("message", "detail", "msg")) and "id" not in wire


def _message(inner: Wire) -> str:
    for key in ("message", "detail", "msg", "error"):
        value = inner.get(key)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, list | dict) and value:
            return dump(value).decode()[:_LONGEST_MESSAGE]
    return ""


def _status(value: Json) -> int | None:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdigit():
        value = int(value)
    number = whole(value)
    return number if number and _LOWEST_STATUS <= number <= _HIGHEST_STATUS else None


def _kind(
    code: str | None, kind: str | None, word: str | None, status: int | None, message: str
) -> FaultKind:
    said: list[FaultKind] = [
        FAULT_CODES[text.lower()]
        for text in (code, word, kind)
        if text is not None and text.lower() in FAULT_CODES
    ]
    found: FaultKind | None = next((name for name in said if name != "invalid_request"), None)
    vague = found is None or found == "server"
    if vague and CONTEXT_LENGTH.search(message) and status in (None, 400, 413, 422):
        return "context_length"
    if found is not None:
        return found
    if status is not None:
        usual: FaultKind = "server" if status >= 500 else "invalid_request"
        return KIND_BY_STATUS.get(status, usual)
    if "invalid_request" in said:
        return "invalid_request"
    return "server"


def text_fault(text: str) -> Fault:
    """The fault of a body that is not JSON: a gateway's error page."""
    return Fault(kind="server", message=text.strip()[:_LONGEST_MESSAGE], raw=text)


def encode_error(fault: Fault) -> bytes:
    """A whole error body; the same JSON stands in an error chunk."""
    return dump(fault_value(fault))


def fault_value(fault: Fault) -> Wire:
    """`{"error": {message, type, param, code}}`; what the provider had added is kept."""
    kind, usual = FAULT_WORDS[fault.kind]
    error: Wire = {"message": fault.message, "type": kind, "param": fault.param}
    # Another protocol's code goes along unless this protocol reads something else from it.
    meant = _kind(fault.code, kind, None, _status(fault.code), fault.message)
    error["code"] = fault.code if fault.code and meant == fault.kind else usual
    rest: Wire = {}
    match fault.raw:
        case {"error": {"message": str(message), **more}, **top} if (
            message == fault.message and "type" not in top and "status" not in more
        ):
            # This protocol's own form: its words, and fields beside them, go along.
            error, rest = {"message": message, **more}, dict(top)
        case _:
            pass
    if fault.kind == "context_length":
        # Agents compact their history on exactly this code.
        error["code"] = usual
    if fault.details:
        error["details"] = dict(fault.details)
    return {"error": error, **rest}
