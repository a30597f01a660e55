"""How Anthropic Messages writes an answer, a stream and an error.

Shapes and key order as api.anthropic.com sends them, named events and pings included. Source:
Anthropic API reference (Messages, streaming, errors), recordings.
"""

from __future__ import annotations

import json

from llmitm.sim.answers import ID, Answer, MadeCall, Trouble
from llmitm.sim.printing import compact, slices

SIGNATURE = "EqoBCkgIARABGAIiQ" + "c2ltdWxhdGVkIHNpZ25hdHVyZQ" * 4 + "=="
_FINISH = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def usage(answer: Answer, output: int) -> dict[str, object]:
    """The `usage` object: cache reads beside `input_tokens`, not inside."""
    spent = answer.spent
    return {
        "input_tokens": spent.input - spent.cached,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": spent.cached,
        "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
        "output_tokens": output,
        "service_tier": "standard",
    }


def _message(
    answer: Answer, content: list[dict[str, object]], stop: str | None, output: int
) -> dict[str, object]:
    return {
        "model": answer.ask.model,
        "id": f"msg_01{ID}",
        "type": "message",
        "role": "assistant",
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": usage(answer, output),
    }


def _call(call: MadeCall, value: object) -> dict[str, object]:
    return {"type": "tool_use", "id": f"toolu_01{call.id}", "name": call.name, "input": value}


def whole(answer: Answer) -> bytes:
    """The body of a `message`."""
    content: list[dict[str, object]] = []
    if answer.reasoning:
        content.append({"type": "thinking", "thinking": answer.reasoning, "signature": SIGNATURE})
    if answer.text:
        content.append({"type": "text", "text": answer.text})
    content += [_call(call, json.loads(call.arguments)) for call in answer.calls]
    return compact(_message(answer, content, _FINISH[answer.finish], answer.spent.output))


def _frame(kind: str, **fields: object) -> bytes:
    value = compact({"type": kind, **fields})
    # The real API pads its frames with blanks before the last brace; parsers must not mind.
    pad = b" " * (len(value) % 5)
    return b"event: %b\ndata: %b%b}\n\n" % (kind.encode(), value[:-1], pad)


def frames(answer: Answer) -> list[bytes]:
    """The stream, a frame an item, from `message_start` to `message_stop`."""
    out = [_frame("message_start", message=_message(answer, [], None, 1))]
    index = 0
    if answer.reasoning:
        deltas = [{"type": "thinking_delta", "thinking": piece} for piece in answer.thoughts]
        deltas.append({"type": "signature_delta", "signature": SIGNATURE})
        out += _block(index, {"type": "thinking", "thinking": "", "signature": ""}, deltas)
        index += 1
    if answer.text:
        deltas = [{"type": "text_delta", "text": piece} for piece in answer.pieces]
        out += _block(index, {"type": "text", "text": ""}, deltas)
        index += 1
    for call in answer.calls:
        parts = ["", *slices(call.arguments, 6)]
        deltas = [{"type": "input_json_delta", "partial_json": part} for part in parts]
        out += _block(index, _call(call, {}), deltas)
        index += 1
    if answer.pings:
        out.insert(min(2, len(out)), b'event: ping\ndata: {"type": "ping"}\n\n')
    ending: dict[str, object] = {"stop_reason": _FINISH[answer.finish], "stop_sequence": None}
    spent = usage(answer, answer.spent.output)
    del spent["cache_creation"], spent["service_tier"]
    out.append(_frame("message_delta", delta=ending, usage=spent))
    out.append(_frame("message_stop"))
    return out


def _block(index: int, block: dict[str, object], deltas: list[dict[str, str]]) -> list[bytes]:
    return [
        _frame("content_block_start", index=index, content_block=block),
        *(_frame("content_block_delta", index=index, delta=delta) for delta in deltas),
        _frame("content_block_stop", index=index),
    ]


def _error_value(trouble: Trouble) -> dict[str, str]:
    usual = "api_error" if trouble.status >= 500 else "invalid_request_error"
    return {"type": _TYPES.get(trouble.status, usual), "message": trouble.message}


def error(trouble: Trouble) -> bytes:
    """An error body."""
    return compact({"type": "error", "error": _error_value(trouble), "request_id": f"req_011{ID}"})


def error_frames(trouble: Trouble, answer: Answer, sent: int) -> list[bytes]:
    """An error inside a stream: `event: error`, then nothing."""
    del answer, sent
    return [_frame("error", error=_error_value(trouble))]
