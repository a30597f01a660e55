"""Whole answers of the Messages API, both ways, error bodies included.

Source: Anthropic API reference, Messages, response; errors.
"""

from __future__ import annotations

from llmitm.canon.events import Event, Finish, Opaque
from llmitm.canon.fold import unfold
from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, Unknown
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Loss
from llmitm.dialects.anthropic_messages.answers import (
    answer_id,
    cache_exceeds,
    call_id,
    decode_finish,
    decode_usage,
    lose_finish,
    model_name,
    stop_reason,
    usage_fields,
)
from llmitm.dialects.anthropic_messages.blocks import decode_block
from llmitm.dialects.anthropic_messages.faults import decode_fault, encode_error, text_fault
from llmitm.dialects.anthropic_messages.parts import PartEncoder
from llmitm.dialects.anthropic_messages.tables import FINISH_FIELDS, NAME, SERVER_CALLS
from llmitm.dialects.contract import Encoded, Reply
from llmitm.dialects.json_text import dump, parse

__all__ = ["decode_response", "encode_error", "encode_response"]

type Body = dict[str, Json]


def decode_response(body: bytes) -> list[Event]:
    """The events of a whole body: a message, an error, or an `Opaque` for other JSON.

    Never raises: what is not JSON (a gateway's page) is a Fault that holds its text; an empty
    body has no events. A token count (`count_tokens`) is an Opaque.
    """
    if not body.strip():
        return []
    try:
        value = parse(body)
    except ValueError:
        return [text_fault(body.decode("utf-8", "replace"))]
    if not isinstance(value, dict):
        return [Opaque(NAME, "", value)]
    content = value.get("content")
    if isinstance(content, list) and (value.get("type") == "message" or "role" in value):
        return list(unfold(_message(value, content)))
    fault = decode_fault(value)
    if fault is not None:
        return [fault]
    kind = value.get("type")
    return [Opaque(NAME, kind if isinstance(kind, str) else "", value)]


def _message(value: Body, content: list[Json]) -> Response:
    left = dict(value)
    del left["content"]
    for key, constant in (("type", "message"), ("role", "assistant")):
        if left.get(key) == constant:
            del left[key]
    usage = left.get("usage")
    if isinstance(usage, dict):
        del left["usage"]
    finish: Finish | None = None
    reason = left.get("stop_reason")
    if isinstance(reason, str):
        said: Body = {key: left.pop(key) for key in FINISH_FIELDS if key in left}
        finish = decode_finish(reason, left.get("stop_sequence"), said)
    for key in ("stop_reason", "stop_sequence"):
        if left.get(key) is None or (finish is not None and isinstance(left[key], str)):
            left.pop(key, None)
    return Response(
        id=_taken(left, "id"),
        model=_taken(left, "model"),
        choices=(
            Choice(
                parts=tuple(
                    [decode_block(item, ("content", place)) for place, item in enumerate(content)]
                ),
                finish=finish,
            ),
        ),
        usage=decode_usage(usage, usage) if isinstance(usage, dict) else None,
        ended=True,
        extras=left or NO_EXTRAS,
        dialect=NAME,
    )


def _taken(left: Body, key: str) -> str:
    value = left.get(key)
    if isinstance(value, str) and value:
        del left[key]
        return value
    return ""


def encode_response(response: Response, reply: Reply) -> Encoded:
    """A whole message body, or an error body where the answer ended in a fault."""
    losses: list[Loss] = []
    if response.fault is not None:
        return Encoded(encode_error(response.fault))
    own = response.dialect == NAME
    if not response.choices and not response.id and len(response.opaque) == 1:
        alone = response.opaque[0]
        if alone.dialect == NAME:
            return Encoded(dump(alone.value))
    encoder = PartEncoder(own, losses)
    if len(response.choices) > 1:
        encoder.lose("choices")
    for frame in response.opaque:
        encoder.lose("event.unknown", say=frame.event)
    choice = response.choices[0] if response.choices else Choice()
    ident = answer_id(response.id, reply)
    content: list[Json] = [
        block
        for place, part in enumerate(choice.parts)
        if (block := answer_block(part, call_id(part, ident, place), encoder)) is not None
    ]
    called = any(isinstance(block, dict) and block.get("type") == "tool_use" for block in content)
    finish = choice.finish
    body: Body = {
        "id": ident,
        "type": "message",
        "role": "assistant",
        "model": model_name(response.model, reply, own),
        "content": content,
        "stop_reason": None if own and finish is None else stop_reason(finish, own, called),
        "stop_sequence": finish.stop_sequence if finish else None,
    }
    if response.usage is not None or not own:
        body["usage"] = usage_fields(response.usage, own)
        if not own and cache_exceeds(response.usage):
            encoder.lose("usage", (), "adapted", "more cached tokens than there were")
    body |= encoder.answer_extras(response.extras)
    if finish is not None:
        lose_finish(finish, encoder)
        body |= encoder.extras(_flat(finish.extras), ())
    body |= encoder.answer_extras(response.end_extras)
    return Encoded(dump(body), tuple(losses))


def _flat(extras: Extras) -> Extras:
    beside = extras.get("message_delta")
    if not isinstance(beside, dict):
        return extras
    return {**{key: extras[key] for key in extras if key != "message_delta"}, **beside}


def answer_block(part: Part, ident: str, encoder: PartEncoder) -> Json:
    """One block of an answer, None if it cannot be written; ident: the id of a tool call.

    Unlike in a request, thinking of another protocol is shown, without a signature.
    """
    if isinstance(part, Reasoning) and part.dialect != NAME:
        if part.signature is not None or part.encrypted is not None:
            encoder.lose("part.reasoning.signature", say=f"made by {part.dialect}")
        encoder.extras(part.extras, ())
        if not part.text:
            return None
        return {"type": "thinking", "thinking": part.text, "signature": ""}
    if isinstance(part, Media) and not encoder.own:
        encoder.lose(f"part.{part.kind}", say="not in an answer")
        return None
    block = encoder.part(part)
    if isinstance(part, Text) and block is None and part.text:
        # Only requests must not hold white space alone.
        return {"type": "text", "text": part.text}
    if isinstance(part, ToolCall) and block is not None:
        block["id"] = ident
    if isinstance(part, Unknown) and block is not None and part.kind in SERVER_CALLS:
        # Text stands for an input that broke off in mid-stream.
        return {**block, "input": {}} if isinstance(block.get("input"), str) else block
    return block
