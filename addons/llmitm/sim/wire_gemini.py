"""How Gemini generateContent writes an answer, a stream (SSE or JSON array) and an error.

Shapes, spacing and CRLF line ends as generativelanguage.googleapis.com sends them; wrapped in
`response` for Code Assist. Source: Gemini API reference (generateContent), recordings.
"""

from __future__ import annotations

import json

from llmitm.sim.answers import ID, Answer, Trouble
from llmitm.sim.printing import indented, spaced

SIGNATURE = "CuIBAXLI2nzsim" + "c2ltdWxhdGVkIHRob3VnaHQ" * 4 + "=="
_FINISH = {"stop": "STOP", "tool_calls": "STOP", "length": "MAX_TOKENS", "content_filter": "SAFETY"}
_STATUS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}


def usage(answer: Answer, output: int | None) -> dict[str, object]:
    """The `usageMetadata` object: thoughts beside `candidatesTokenCount`, not inside; output: None
    = not counted yet."""
    spent = answer.spent
    value: dict[str, object] = {"promptTokenCount": spent.input}
    if spent.cached:
        value["cachedContentTokenCount"] = spent.cached
    if output is not None:
        value["candidatesTokenCount"] = output
    value["totalTokenCount"] = spent.input + (spent.output if output is not None else 0)
    value["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": spent.input}]
    if spent.reasoning and output is not None:
        value["thoughtsTokenCount"] = spent.reasoning
    return value


def _calls(answer: Answer) -> list[dict[str, object]]:
    parts: list[dict[str, object]] = []
    for call in answer.calls:
        # Only the first of parallel calls is signed.
        signed: dict[str, object] = {"thoughtSignature": SIGNATURE} if not parts else {}
        made = {"name": call.name, "args": json.loads(call.arguments), "id": call.id}
        parts.append({"functionCall": made} | signed)
    return parts


def _chunk(
    answer: Answer, parts: list[dict[str, object]], finish: str | None, output: int | None
) -> dict[str, object]:
    candidate: dict[str, object] = {"content": {"parts": parts, "role": "model"}}
    if finish:
        candidate["finishReason"] = finish
    candidate["index"] = 0
    value: dict[str, object] = {
        "candidates": [candidate],
        "usageMetadata": usage(answer, output),
        "modelVersion": answer.ask.model,
        "responseId": ID,
    }
    return {"response": value, "traceId": ID} if answer.ask.wrapped else value


def _output(answer: Answer) -> int:
    return answer.spent.output - answer.spent.reasoning


def whole(answer: Answer) -> bytes:
    """The body of a `GenerateContentResponse`."""
    parts: list[dict[str, object]] = []
    if answer.reasoning:
        parts.append({"text": answer.reasoning, "thought": True})
    if answer.text:
        part: dict[str, object] = {"text": answer.text}
        if answer.reasoning:
            part["thoughtSignature"] = SIGNATURE
        parts.append(part)
    parts += _calls(answer)
    return indented(_chunk(answer, parts, _FINISH[answer.finish], _output(answer))) + b"\n"


def frames(answer: Answer) -> list[bytes]:
    """The stream, a frame an item; the finish reason is in the last chunk, no marker follows."""
    chunks = [
        _chunk(answer, [{"text": piece, "thought": True}], None, None) for piece in answer.thoughts
    ]
    chunks += [_chunk(answer, [{"text": piece}], None, None) for piece in answer.pieces]
    chunks += [_chunk(answer, [part], None, None) for part in _calls(answer)]
    last: dict[str, object] = {"text": ""}
    if answer.reasoning and not answer.calls:
        last["thoughtSignature"] = SIGNATURE
    chunks.append(_chunk(answer, [last], _FINISH[answer.finish], _output(answer)))
    if answer.ask.form == "sse":
        return [b"data: " + spaced(chunk) + b"\r\n\r\n" for chunk in chunks]
    out = [(b"[" if not n else b",\r\n") + indented(chunk) for n, chunk in enumerate(chunks)]
    return [*out, b"\n]\n"]


def _error_value(trouble: Trouble) -> dict[str, object]:
    usual = "INTERNAL" if trouble.status >= 500 else "INVALID_ARGUMENT"
    # Google has no 529: an overloaded model is 503.
    status = 503 if trouble.status == 529 else trouble.status
    value: dict[str, object] = {
        "code": status,
        "message": trouble.message,
        "status": _STATUS.get(status, usual),
    }
    if trouble.retry_after_s is not None:
        value["details"] = [
            {
                "@type": "type.googleapis.com/google.rpc.RetryInfo",
                "retryDelay": f"{trouble.retry_after_s:g}s",
            }
        ]
    return {"error": value}


def error(trouble: Trouble) -> bytes:
    """An error body."""
    return indented(_error_value(trouble)) + b"\n"


def error_frames(trouble: Trouble, answer: Answer, sent: int) -> list[bytes]:
    """An error inside a stream: a chunk with `error`; a JSON array is closed after it."""
    value = _error_value(trouble)
    if answer.ask.form == "array":
        return [(b"," if sent else b"[") + indented(value) + b"\n]\n"]
    return [b"data: " + spaced(value) + b"\r\n\r\n"]
