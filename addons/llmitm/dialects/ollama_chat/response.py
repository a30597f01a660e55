"""Whole answers in Ollama's native form. The other direction is in `stream`.

Source: Ollama API reference, generate a completion, generate a chat completion.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from llmitm.canon.events import Finish, Opaque, Usage
from llmitm.canon.parts import Media, Part, Reasoning, Text
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import Extras, Json, Loss
from llmitm.dialects.contract import Encoded, Reply
from llmitm.dialects.json_text import Wire, dump
from llmitm.dialects.ollama_chat.faults import encode_error
from llmitm.dialects.ollama_chat.parts import Fields, PartEncoder
from llmitm.dialects.ollama_chat.tables import DONE_REASONS, FINISH, GENERATE_NAME, NAME

_NO_TIME = "1970-01-01T00:00:00Z"


def encode_response(response: Response, reply: Reply, *, target: str) -> Encoded:
    """A whole body of the chat or the generate call, or an error body after a fault."""
    losses: list[Loss] = []
    if response.fault is not None:
        return Encoded(encode_error(response.fault))
    own = response.dialect == NAME
    opaque = own_opaque(response.opaque)
    if not response.choices and not own and len(opaque) == 1:
        return Encoded(dump(opaque[0].value))
    encoder = PartEncoder(own, losses)
    if len(response.choices) > 1:
        encoder.lose("choices")
    choice = response.choices[0] if response.choices else Choice()
    fields = encoder.fields(answer_parts(choice.parts, encoder))
    created = created_at(response.extras, response.created_s, reply, own)
    if not own:
        encoder.extras(response.extras)
    body = head(model_name(response.model, reply, own), created)
    body |= content(fields, target)
    body |= logprobs(choice.parts, own)
    for frame in response.opaque:
        if frame.dialect != NAME or not isinstance(frame.value, dict):
            encoder.lose("event.unknown", say=frame.event)
        elif frame.event == "message" and isinstance(inside := body.get("message"), dict):
            inside |= frame.value
        elif frame.event in ("", "message"):
            body |= frame.value
    if choice.finish is not None or response.ended or not own:
        body |= ending(choice.finish, response.usage, own)
        tell_finish(choice.finish, encoder)
        tell_usage(response.usage, encoder)
    else:
        body["done"] = False
    return Encoded(dump({**body, **encoder.extras(response.end_extras)}), tuple(losses))


def own_opaque(frames: Sequence[Opaque]) -> list[Opaque]:
    """The frames of this protocol."""
    return [frame for frame in frames if frame.dialect == NAME]


def answer_parts(parts: Sequence[Part], encoder: PartEncoder) -> list[Part]:
    """What of an answer's parts can be said; a call whose arguments broke off says `{}`."""
    kept: list[Part] = []
    for part in parts:
        if unshown(part, encoder):
            continue
        if isinstance(part, Reasoning) and not part.text and not part.signature:
            if part.encrypted is not None:
                encoder.lose("part.reasoning.signature", say=f"made by {part.dialect}")
            continue
        kept.append(part)
    return kept


def unshown(part: Part, encoder: PartEncoder) -> bool:
    """Whether this is an image of another protocol's answer, which is noted as lost.

    The API answers with none, and its Python client gives up an answer that holds one.
    """
    if encoder.own or not (isinstance(part, Media) and part.kind == "image"):
        return False
    encoder.lose("part.image", say="not in an answer")
    return True


def logprobs(parts: Sequence[Part], own: bool) -> Wire:
    """The field `logprobs`, where the text brought some of this protocol."""
    found: list[Json] = []
    for part in parts:
        if own and isinstance(part, Text) and isinstance(part.logprobs, list):
            found += part.logprobs
    return {"logprobs": found} if found else {}


def head(model: str, created: str) -> Wire:
    """What every object begins with."""
    return {"model": model, "created_at": created}


def content(fields: Fields, target: str) -> Wire:
    """The message, or the fields of a generate answer."""
    if target != GENERATE_NAME:
        return {"message": fields.put({"role": "assistant", "content": ""}, "")}
    body: Wire = {"response": "".join(fields.text)}
    if fields.thinking:
        body["thinking"] = "".join(fields.thinking)
    if fields.calls:
        body["tool_calls"] = fields.calls
    return body


def model_name(model: str, reply: Reply, own: bool) -> str:
    """The model told: its own provider's word, or the name that the client asked for."""
    return (model or reply.model) if own else (reply.model or model)


def created_at(extras: Extras, created_s: int | None, reply: Reply, own: bool) -> str:
    """When the answer was made, RFC 3339."""
    said = extras.get("created_at")
    if own and isinstance(said, str):
        return said
    try:
        moment = datetime.fromtimestamp(created_s or reply.created_s, UTC)
    except (ValueError, OverflowError, OSError):
        return _NO_TIME
    return moment.isoformat().replace("+00:00", "Z")


def ending(finish: Finish | None, usage: Usage | None, own: bool) -> Wire:
    """The fields of the closing object."""
    fields: Wire = {"done": True}
    if finish is None:
        if not own:
            fields["done_reason"] = "stop"
    elif own and (finish.raw is None or finish.raw in FINISH or finish.reason == "unknown"):
        if finish.raw is not None:
            fields["done_reason"] = finish.raw
    else:
        fields["done_reason"] = DONE_REASONS[finish.reason]
    if usage is None:
        return fields
    if own and isinstance(usage.raw, dict):
        return fields | usage.raw
    counts = (("prompt_eval_count", usage.input_tokens), ("eval_count", usage.output_tokens))
    return fields | {key: value for key, value in counts if value is not None}


def tell_finish(finish: Finish | None, encoder: PartEncoder) -> None:
    """Notes what of a finish has no place here."""
    if finish is None or encoder.own:
        return
    if finish.reason in ("content_filter", "refusal", "pause", "error", "unknown"):
        encoder.lose("finish.reason", say=finish.raw or finish.reason)
    if finish.stop_sequence is not None:
        encoder.lose("finish.stop_sequence", say=finish.stop_sequence)
    encoder.extras(finish.extras)


def tell_usage(usage: Usage | None, encoder: PartEncoder) -> None:
    """Notes the counts that have no field here, which knows the prompt's and the answer's alone."""
    if usage is None or encoder.own:
        return
    for count, say in (
        (usage.cache_read_tokens, "tokens read from the cache"),
        (usage.cache_write_tokens, "tokens written to the cache"),
        (usage.reasoning_tokens, "reasoning tokens"),
    ):
        if count:
            encoder.lose("usage", say=say)
