"""How OpenAI Responses writes an answer, a stream and an error.

Shapes and key order as api.openai.com sends them, the full sequence of events included. Source:
OpenAI API reference (Responses, streaming events), recordings.
"""

from __future__ import annotations

from llmitm.sim.answers import ID, Answer, MadeCall, Trouble
from llmitm.sim.printing import compact, indented, slices
from llmitm.sim.wire_chat import error_value

_ENCRYPTED = "gAAAAABsim" + "c2ltdWxhdGVkIHJlYXNvbmluZw" * 4 + "=="


def usage(answer: Answer) -> dict[str, object]:
    """The `usage` object: cached tokens inside the input, reasoning inside the output."""
    spent = answer.spent
    return {
        "input_tokens": spent.input,
        "input_tokens_details": {"cached_tokens": spent.cached, "cache_write_tokens": 0},
        "output_tokens": spent.output,
        "output_tokens_details": {"reasoning_tokens": spent.reasoning},
        "total_tokens": spent.input + spent.output,
    }


def _response(answer: Answer, status: str, output: list[dict[str, object]]) -> dict[str, object]:
    done = status in {"completed", "incomplete"}
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(answer.finish)
    return {
        "id": f"resp_{ID}",
        "object": "response",
        "created_at": answer.created_s,
        "status": status,
        "background": False,
        "completed_at": answer.created_s + 1 if status == "completed" else None,
        "error": None,
        "frequency_penalty": 0.0,
        "incomplete_details": {"reason": why} if status == "incomplete" else None,
        "instructions": None,
        "max_output_tokens": None,
        "max_tool_calls": None,
        "model": answer.ask.model,
        "output": output,
        "parallel_tool_calls": True,
        "presence_penalty": 0.0,
        "previous_response_id": None,
        "prompt_cache_key": None,
        "prompt_cache_retention": None,
        "reasoning": {"effort": "medium" if answer.reasoning else None, "summary": None},
        "safety_identifier": None,
        "service_tier": "default" if done else "auto",
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}, "verbosity": "medium"},
        "tool_choice": "auto",
        "tools": [],
        "top_logprobs": 0,
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": usage(answer) if done else None,
        "user": None,
        "metadata": {},
    }


def _status(answer: Answer) -> str:
    return "incomplete" if answer.finish in {"length", "content_filter"} else "completed"


def _reasoning(answer: Answer) -> dict[str, object]:
    return {
        "id": f"rs_{ID}",
        "type": "reasoning",
        "encrypted_content": _ENCRYPTED,
        "summary": [{"type": "summary_text", "text": answer.reasoning}],
    }


def _part(text: str) -> dict[str, object]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _message(answer: Answer, status: str) -> dict[str, object]:
    return {
        "id": f"msg_{ID}",
        "type": "message",
        "status": status,
        "content": [] if status == "in_progress" else [_part(answer.text)],
        "role": "assistant",
    }


def _call(call: MadeCall, status: str) -> dict[str, object]:
    given = "" if status == "in_progress" else call.arguments
    if call.custom:
        return {
            "id": f"ctc_{call.id}",
            "type": "custom_tool_call",
            "status": status,
            "call_id": f"call_{call.id}",
            "input": given,
            "name": call.name,
        }
    return {
        "id": f"fc_{call.id}",
        "type": "function_call",
        "status": status,
        "arguments": given,
        "call_id": f"call_{call.id}",
        "name": call.name,
    }


def _output(answer: Answer) -> list[dict[str, object]]:
    out = [_reasoning(answer)] if answer.reasoning else []
    if answer.text or not answer.calls:
        out.append(_message(answer, _status(answer)))
    return out + [_call(call, "completed") for call in answer.calls]


def whole(answer: Answer) -> bytes:
    """The body of a `response`."""
    return indented(_response(answer, _status(answer), _output(answer))) + b"\n"


class _Sequence:
    """Frames with their running `sequence_number`."""

    def __init__(self) -> None:
        self.out: list[bytes] = []

    def say(self, kind: str, **fields: object) -> None:
        value = {"type": kind, **fields, "sequence_number": len(self.out)}
        self.out.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), compact(value)))


def frames(answer: Answer) -> list[bytes]:
    """The stream, a frame an item, from `response.created` to `response.completed`."""
    tell = _Sequence()
    tell.say("response.created", response=_response(answer, "in_progress", []))
    tell.say("response.in_progress", response=_response(answer, "in_progress", []))
    index = 0
    if answer.reasoning:
        _tell_reasoning(tell, answer)
        index = 1
    if answer.text or not answer.calls:
        _tell_message(tell, answer, index)
        index += 1
    for call in answer.calls:
        _tell_call(tell, call, index)
        index += 1
    status = _status(answer)
    tell.say(f"response.{status}", response=_response(answer, status, _output(answer)))
    return tell.out


def _tell_reasoning(tell: _Sequence, answer: Answer) -> None:
    item = _reasoning(answer)
    place: dict[str, object] = {"item_id": item["id"], "output_index": 0, "summary_index": 0}
    tell.say("response.output_item.added", item=item | {"summary": list[object]()}, output_index=0)
    part: dict[str, object] = {"type": "summary_text", "text": ""}
    tell.say("response.reasoning_summary_part.added", **place, part=part)
    for piece in answer.thoughts:
        tell.say("response.reasoning_summary_text.delta", delta=piece, **place)
    tell.say("response.reasoning_summary_text.done", **place, text=answer.reasoning)
    tell.say(
        "response.reasoning_summary_part.done", **place, part=part | {"text": answer.reasoning}
    )
    tell.say("response.output_item.done", item=item, output_index=0)


def _tell_call(tell: _Sequence, call: MadeCall, index: int) -> None:
    stem = "custom_tool_call_input" if call.custom else "function_call_arguments"
    field = "input" if call.custom else "arguments"
    done = _call(call, "completed")
    place: dict[str, object] = {"item_id": done["id"], "output_index": index}
    tell.say("response.output_item.added", item=_call(call, "in_progress"), output_index=index)
    for piece in slices(call.arguments, 6):
        tell.say(f"response.{stem}.delta", delta=piece, **place)
    tell.say(f"response.{stem}.done", **{field: call.arguments}, **place)
    tell.say("response.output_item.done", item=done, output_index=index)


def _tell_message(tell: _Sequence, answer: Answer, index: int) -> None:
    place: dict[str, object] = {
        "content_index": 0,
        "item_id": f"msg_{ID}",
        "output_index": index,
    }
    tell.say("response.output_item.added", item=_message(answer, "in_progress"), output_index=index)
    tell.say("response.content_part.added", **place, part=_part(""))
    for number, piece in enumerate(answer.pieces):
        tell.say(
            "response.output_text.delta",
            **place,
            delta=piece,
            logprobs=[],
            obfuscation="Yq3vT8mXw1Lz"[: 12 - number % 8],
        )
    tell.say("response.output_text.done", **place, text=answer.text, logprobs=[])
    tell.say("response.content_part.done", **place, part=_part(answer.text))
    tell.say(
        "response.output_item.done", item=_message(answer, _status(answer)), output_index=index
    )


def error(trouble: Trouble) -> bytes:
    """An error body."""
    value = error_value(trouble)
    if value["param"]:
        value["param"] = "input"
    return indented({"error": value}) + b"\n"


def error_frames(trouble: Trouble, answer: Answer, sent: int) -> list[bytes]:
    """An error inside a stream: `error` as the first event, `response.failed` later on."""
    value = error_value(trouble)
    code = value["code"] or value["type"]
    if sent == 0:
        first = {
            "type": "error",
            "code": code,
            "message": trouble.message,
            "param": None,
            "sequence_number": 0,
        }
        return [b"event: error\ndata: " + compact(first) + b"\n\n"]
    failed = _response(answer, "failed", []) | {"error": {"code": code, "message": trouble.message}}
    last = {"type": "response.failed", "response": failed, "sequence_number": sent}
    return [b"event: response.failed\ndata: " + compact(last) + b"\n\n"]
