"""How OpenAI Chat Completions writes an answer, a stream and an error.

Shapes and key order as api.openai.com sends them, reasoning in entries as openrouter.ai does.
Source: OpenAI API reference (Chat); OpenRouter, reasoning tokens; recordings.
"""

from __future__ import annotations

from llmitm.sim.answers import ID, Answer, Trouble
from llmitm.sim.printing import compact, indented, slices

SIGNATURE = "ErcBCkgICBACGAIiQ" + "c2ltdWxhdGVkIGVudHJpZXM" * 4 + "=="
ENCRYPTED = "EjQKMgEMOdbHk" + "c2ltdWxhdGVkIGRhdGE" * 4 + "=="
_FINGERPRINT = "fp_51ae7f9c21"
_TYPES = {
    400: ("invalid_request_error", None),
    401: ("invalid_request_error", "invalid_api_key"),
    403: ("invalid_request_error", "unsupported_country_region_territory"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("requests", "rate_limit_exceeded"),
}


def usage(answer: Answer) -> dict[str, object]:
    """The `usage` object: cached tokens inside the prompt, reasoning inside the completion."""
    spent = answer.spent
    return {
        "prompt_tokens": spent.input,
        "completion_tokens": spent.output,
        "total_tokens": spent.input + spent.output,
        "prompt_tokens_details": {"cached_tokens": spent.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": spent.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def details(answer: Answer) -> list[dict[str, object]]:
    """The entries of `reasoning_details`: signed thoughts, and what only their maker can read."""
    signed = {"text": answer.reasoning, "signature": SIGNATURE}
    return [_entry("reasoning.text", 0, **signed), _encrypted(answer)]


def _entry(kind: str, index: int, **said: str) -> dict[str, object]:
    return {"type": kind, **said, "format": "anthropic-claude-v1", "index": index}


def _encrypted(answer: Answer) -> dict[str, object]:
    about = {"id": f"call_{answer.calls[0].id}"} if answer.calls else {}
    return _entry("reasoning.encrypted", 1, data=ENCRYPTED, **about)


def whole(answer: Answer) -> bytes:
    """The body of a `chat.completion`."""
    message: dict[str, object] = {
        "role": "assistant",
        "content": None if answer.calls and not answer.text else answer.text,
    }
    if answer.details:
        message["reasoning"] = answer.reasoning
    elif answer.reasoning:
        message["reasoning_content"] = answer.reasoning
    if answer.calls:
        message["tool_calls"] = [
            {
                "id": f"call_{call.id}",
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in answer.calls
        ]
    if answer.details:
        message["reasoning_details"] = details(answer)
    message["refusal"] = None
    message["annotations"] = []
    body: dict[str, object] = {
        "id": f"chatcmpl-{ID}",
        "object": "chat.completion",
        "created": answer.created_s,
        "model": answer.ask.model,
        "choices": [
            {"index": 0, "message": message, "logprobs": None, "finish_reason": answer.finish}
        ],
        "usage": usage(answer),
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }
    return indented(body) + b"\n"


def frames(answer: Answer) -> list[bytes]:
    """The stream, a frame an item; `[DONE]` is the last."""
    head: dict[str, object] = {
        "id": f"chatcmpl-{ID}",
        "object": "chat.completion.chunk",
        "created": answer.created_s,
        "model": answer.ask.model,
        "service_tier": "default",
        "system_fingerprint": _FINGERPRINT,
    }

    def chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
        value = head | {
            "choices": [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]
        }
        if answer.ask.usage_chunk:
            value["usage"] = None
        return b"data: " + compact(value) + b"\n\n"

    first: dict[str, object] = {
        "role": "assistant",
        "content": None if answer.calls else "",
        "refusal": None,
    }
    out = [chunk(first)]
    if answer.details:
        for piece in answer.thoughts:
            entry = _entry("reasoning.text", 0, text=piece)
            out.append(chunk({"reasoning": piece, "reasoning_details": [entry]}))
        proof = _entry("reasoning.text", 0, signature=SIGNATURE)
        out.append(chunk({"reasoning_details": [proof]}))
        late = [chunk({"reasoning_details": [_encrypted(answer)]})]
    else:
        out += [chunk({"reasoning_content": piece}) for piece in answer.thoughts]
        late = []
    # Before a call, and behind a text.
    out += late if answer.calls else []
    out += [chunk({"content": piece}) for piece in answer.pieces]
    out += [] if answer.calls else late
    for index, call in enumerate(answer.calls):
        begin: dict[str, object] = {
            "index": index,
            "id": f"call_{call.id}",
            "type": "function",
            "function": {"name": call.name, "arguments": ""},
        }
        out.append(chunk({"tool_calls": [begin]}))
        out += [
            chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
            for piece in slices(call.arguments, 6)
        ]
    out.append(chunk({}, answer.finish))
    if answer.ask.usage_chunk:
        last = head | {"choices": list[object](), "usage": usage(answer)}
        out.append(b"data: " + compact(last) + b"\n\n")
    out.append(b"data: [DONE]\n\n")
    return out


def error_value(trouble: Trouble) -> dict[str, object]:
    """The `error` object's fields."""
    default = ("server_error", None) if trouble.status >= 500 else ("invalid_request_error", None)
    kind, code = _TYPES.get(trouble.status, default)
    if trouble.code == "insufficient_quota":
        kind = trouble.code
    return {
        "message": trouble.message,
        "type": kind,
        "param": "messages" if trouble.code == "context_length_exceeded" else None,
        "code": trouble.code or code,
    }


def error(trouble: Trouble) -> bytes:
    """An error body."""
    return indented({"error": error_value(trouble)}) + b"\n"


def error_frames(trouble: Trouble, answer: Answer, sent: int) -> list[bytes]:
    """An error inside a stream: a `data:` frame with `error` for `choices`, then nothing."""
    del answer, sent
    return [b"data: " + compact({"error": error_value(trouble)}) + b"\n\n"]
