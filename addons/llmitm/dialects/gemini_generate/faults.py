"""Google's error object, both ways: `{"error": {code, message, status, details}}`.

Source: Google Cloud API design guide, Errors (google.rpc.Status, ErrorInfo, RetryInfo).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from llmitm.canon.events import Fault, FaultKind
from llmitm.canon.values import NO_EXTRAS, Json
from llmitm.dialects.gemini_generate.tables import (
    BY_HTTP,
    FAULT_PHRASES,
    FAULTS,
    STATUSES,
    TYPE_URL,
)
from llmitm.dialects.gemini_generate.wire import dump, whole

_TOO_LONG = "The input token count exceeds the maximum number of tokens allowed."
_OWN_DOMAIN = "llmitm"
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


def read_fault(body: dict[str, Json], *, in_stream: bool) -> Fault:
    """The fault that an object with an `error` key tells; total.

    in_stream: it came inside an answer that had begun, so its code is no HTTP status.
    """
    error = body.get("error")
    if not isinstance(error, dict):
        told = body.get("error_description", body.get("message", error))
        return Fault(
            kind="server",
            message=told if isinstance(told, str) else "",
            code=error if isinstance(error, str) else None,
            raw=body,
        )
    code, status = whole(error.get("code")), error.get("status")
    message, details = error.get("message"), error.get("details")
    text = message if isinstance(message, str) else ""
    word = status if isinstance(status, str) else None
    entries: list[dict[str, Json]] = []
    if isinstance(details, list):
        entries = [item for item in details if isinstance(item, dict)]
    return Fault(
        kind=_kind(code, word, text, entries),
        message=text,
        status=None if in_stream else code,
        code=word,
        retry_after_s=_retry_after(entries, text),
        details=_own_details(entries),
        raw=error,
    )


def _kind(
    code: int | None, status: str | None, text: str, details: list[dict[str, Json]]
) -> FaultKind:
    reasons = [text, *(str(item.get("reason", "")) for item in details)]
    for pattern, kind in FAULT_PHRASES:
        if any(pattern.search(reason) for reason in reasons):
            return kind
    # A proxy in between may tell 413 or 502, which no status of google.rpc names.
    if code is not None and (status not in STATUSES or code in (402, 413)):
        return BY_HTTP.get(code) or ("server" if code >= 500 else "invalid_request")
    return STATUSES[status][0] if status is not None and status in STATUSES else "server"


def _retry_after(details: list[dict[str, Json]], text: str) -> float | None:
    for item in details:
        delay = item.get("retryDelay")
        if isinstance(delay, str) and (match := _SECONDS.fullmatch(delay)):
            return float(match[1])
        if isinstance(delay, dict):
            seconds = whole(delay.get("seconds"))
            if seconds is not None:
                return seconds + (whole(delay.get("nanos")) or 0) / 1e9
    match = re.search(r"retry in (\d{1,9}(?:\.\d{1,9})?)s", text)
    return float(match[1]) if match else None


def _own_details(entries: list[dict[str, Json]]) -> Mapping[str, Json]:
    for item in entries:
        metadata = item.get("metadata")
        if item.get("domain") == _OWN_DOMAIN and isinstance(metadata, dict):
            read: dict[str, Json] = {"code": item.get("reason")}
            read.update({key: _plain(value) for key, value in metadata.items()})
            return read
    return NO_EXTRAS


def _plain(value: Json) -> Json:
    """What a metadata string stood for."""
    if value in ("true", "false"):
        return value == "true"
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) < 10 else value


def write_fault(fault: Fault) -> dict[str, Json]:
    """The error body; the provider's own object where this protocol made it.

    llmitm's own details become an `ErrorInfo` of the domain `llmitm`, `retry_after_s` a
    `RetryInfo`.
    """
    if isinstance(fault.raw, dict):
        raw = fault.raw
        if isinstance(raw.get("code"), int) and isinstance(raw.get("status"), str):
            if read_fault({"error": raw}, in_stream=fault.status is None) == fault:
                return {"error": raw}
        elif raw.get("error") is not None and read_fault(raw, in_stream=True) == fault:
            return raw
    code, status = FAULTS[fault.kind]
    if fault.status is not None and fault.status >= 400:
        code = fault.status
    known = STATUSES.get(fault.code) if fault.code is not None else None
    if fault.code is not None and known is not None and known[1] // 100 == code // 100:
        status = fault.code
    message = fault.message
    if fault.kind == "context_length" and not FAULT_PHRASES[0][0].search(message):
        # Only Google's own sentence tells its clients to compact the conversation.
        message = f"{_TOO_LONG} {message}".rstrip()
    error: dict[str, Json] = {"code": code, "message": message, "status": status}
    details: list[Json] = []
    if fault.details:
        told = fault.details.get("code")
        details.append(
            {
                "@type": TYPE_URL + "ErrorInfo",
                "reason": told if isinstance(told, str) else fault.kind.upper(),
                "domain": _OWN_DOMAIN,
                "metadata": {
                    key: value if isinstance(value, str) else dump(value).decode()
                    for key, value in fault.details.items()
                },
            }
        )
    if fault.retry_after_s is not None:
        details.append({"@type": TYPE_URL + "RetryInfo", "retryDelay": f"{fault.retry_after_s:g}s"})
    if details:
        error["details"] = details
    return {"error": error}


def encode_error(fault: Fault) -> bytes:
    """A whole error body of this protocol."""
    return dump(write_fault(fault))
