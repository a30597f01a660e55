"""Whole bodies of the Responses protocol: response objects and errors <-> events.

Everything of the response object that is no part, usage or finish is in `End.extras`; so is a
`status` that no finish tells (`queued`, `in_progress`, `cancelled`).
Source: OpenAI API reference, Responses, the response object.
"""

from __future__ import annotations

from llmitm.canon.events import Event, Fault, Finish, Opaque, Start, Usage
from llmitm.canon.fold import unfold
from llmitm.canon.parts import Part, ToolCall
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import Extras, Json
from llmitm.dialects.contract import Encoded, Reply
from llmitm.dialects.openai_responses.faults import decode_fault, encode_error
from llmitm.dialects.openai_responses.items import decode_output_item
from llmitm.dialects.openai_responses.parts import Wire, extras_of, json_bytes, parsed
from llmitm.dialects.openai_responses.tables import FINISH_BY_DETAIL, NAME
from llmitm.dialects.openai_responses.writer import Writer

__all__ = ["decode_response", "encode_error", "encode_response"]

_TAKEN = frozenset({"id", "created_at", "model", "output", "usage", "status", "object"})


def decode_response(body: bytes) -> list[Event]:
    """The events of a whole body: a response object in any state, an error, or something unknown.

    Never raises. A body that is neither is one Opaque and no End.
    """
    try:
        wire = parsed(body)
    except ValueError:
        return [Opaque(NAME, "", body.decode("utf-8", "replace"))]
    if not isinstance(wire, dict):
        return [Opaque(NAME, "", wire)]
    if "output" not in wire and (wire.get("error") or wire.get("detail")):
        return [decode_fault(wire)]
    if wire.get("object") != "response" and not isinstance(wire.get("output"), list):
        return [Opaque(NAME, _text(wire.get("object")), wire)]
    return list(unfold(response_of(wire)))


def _text(value: Json) -> str:
    return value if isinstance(value, str) else ""


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def response_of(wire: Wire) -> Response:
    """The answer that a whole response object tells."""
    output = wire.get("output")
    parts: list[Part] = []
    for place, item in enumerate(output if isinstance(output, list) else ()):
        parts += decode_output_item(item, ("output", place))
    ending = ending_of(wire, any(isinstance(part, ToolCall) for part in parts))
    return Response(
        id=_text(wire.get("id")),
        model=_text(wire.get("model")),
        created_s=created_s(wire.get("created_at")),
        choices=(Choice(parts=tuple(parts), finish=ending[0]),)
        if parts or ending[0] is not None
        else (),
        usage=usage_of(wire.get("usage")),
        fault=ending[1],
        ended=True,
        end_extras=ending[2],
        dialect=NAME,
    )


def created_s(value: Json) -> int | None:
    """`created_at` in whole seconds; some providers send fractions."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _count(value)


def start_of(wire: Wire) -> Start:
    """The Start that `response.created` tells."""
    rest: Wire = {key: value for key, value in wire.items() if key not in _TAKEN}
    return Start(
        _text(wire.get("id")),
        _text(wire.get("model")),
        created_s(wire.get("created_at")),
        extras_of(rest),
        NAME,
    )


def ending_of(wire: Wire, calls: bool) -> tuple[Finish | None, Fault | None, Extras]:
    """(finish, fault, extras of the End) of a response object. calls: it holds tool calls."""
    rest: Wire = {key: value for key, value in wire.items() if key not in _TAKEN}
    if not isinstance(wire.get("created_at"), int) and wire.get("created_at") is not None:
        rest["created_at"] = wire["created_at"]
    if wire.get("object") not in ("response", None):
        rest["object"] = wire["object"]
    status = wire.get("status")
    finish: Finish | None = None
    fault: Fault | None = None
    match status:
        case "completed":
            finish = Finish("tool_calls" if calls else "stop", "completed")
        case "incomplete":
            details = wire.get("incomplete_details")
            reason = _text(details.get("reason")) if isinstance(details, dict) else ""
            finish = Finish(FINISH_BY_DETAIL.get(reason, "unknown"), reason or "incomplete")
            if reason not in FINISH_BY_DETAIL:
                rest["status"] = status
        case "failed":
            error = wire.get("error")
            fault = decode_fault(error if isinstance(error, dict) else {})
        case "cancelled":
            finish = Finish("unknown", "cancelled")
            rest["status"] = status
        case _:
            if "status" in wire:
                rest["status"] = status
    return finish, fault, extras_of(rest)


def usage_of(value: Json) -> Usage | None:
    """OpenAI's own counts already include cached and reasoning tokens."""
    if not isinstance(value, dict):
        return None
    sent, made = value.get("input_tokens_details"), value.get("output_tokens_details")
    sent = sent if isinstance(sent, dict) else {}
    made = made if isinstance(made, dict) else {}
    return Usage(
        input_tokens=_count(value.get("input_tokens")),
        output_tokens=_count(value.get("output_tokens")),
        total_tokens=_count(value.get("total_tokens")),
        cache_read_tokens=_count(sent.get("cached_tokens")),
        cache_write_tokens=_count(sent.get("cache_write_tokens")),
        reasoning_tokens=_count(made.get("reasoning_tokens")),
        raw=value,
    )


def encode_response(response: Response, reply: Reply) -> Encoded:
    """The response object of an answer, complete or not; an error body if there is only a fault."""
    if response.fault is not None and not response.choices and not response.id:
        return Encoded(encode_error(response.fault))
    if not response.ended and not response.choices and response.fault is None and response.opaque:
        only = response.opaque[0]
        if only.dialect == NAME:
            # A body of a kind this protocol has and canon has not goes out as it came.
            value = only.value
            raw = value.encode(errors="replace") if isinstance(value, str) else json_bytes(value)
            return Encoded(raw)
    writer = Writer(reply)
    return Encoded(json_bytes(writer.whole(response)), tuple(writer.losses))
