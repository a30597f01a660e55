"""Whole answers of the chat protocol, both ways, error bodies included.

What canon has no field for stays where its own encoder finds it: fields of the body in
`Response.extras`, of a choice in `Finish.extras`, of its message there as `message.<key>`.
Source: OpenAI API reference, Chat, the chat completion object.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from llmitm.canon.events import Event, Fault, Finish, Opaque, Usage
from llmitm.canon.fold import unfold
from llmitm.canon.parts import Media, Part, Reasoning, Text
from llmitm.canon.request import Message
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import NO_EXTRAS, Facts, Json, Loss
from llmitm.dialects.contract import Encoded, Reply
from llmitm.dialects.openai_chat.answers import (
    BROKEN_OFF,
    IN_LOGPROBS,
    IN_MESSAGE,
    answer_id,
    audio_rest,
    decode_usage,
    encode_annotations,
    encode_logprobs,
    encode_usage,
    field_losses,
    finish_losses,
    finish_of,
    finish_word,
    model_name,
    split_extras,
)
from llmitm.dialects.openai_chat.faults import decode_fault, encode_error, text_fault
from llmitm.dialects.openai_chat.messages import decode_message
from llmitm.dialects.openai_chat.messages_out import MessageEncoder
from llmitm.dialects.openai_chat.parts import Wire, decode_part, encode_media
from llmitm.dialects.openai_chat.tables import NAME, REASONING_FIELDS
from llmitm.dialects.openai_chat.wire import dump, parse, whole

_OBJECT = "chat.completion"


def decode_response(body: bytes) -> list[Event]:
    """The events of a whole body: an answer, an error, or an `Opaque` for other JSON.

    Never raises: what is not JSON (a gateway's page) is a Fault that holds its text; an empty
    body has no events.
    """
    if not body.strip():
        return []
    try:
        value = parse(body)
    except ValueError:
        return [text_fault(body.decode("utf-8", "replace"))]
    if isinstance(value, list) and len(value) == 1 and isinstance(value[0], dict):
        fault = decode_fault(value[0])
        return [Opaque(NAME, "", value)] if fault is None else [replace(fault, raw=value)]
    if not isinstance(value, dict):
        return [Opaque(NAME, "", value)]
    choices = value.get("choices")
    fault = decode_fault(value)
    if fault is not None and not choices:
        return [fault]
    if not isinstance(choices, list):
        kind = value.get("object")
        return [Opaque(NAME, kind if isinstance(kind, str) else "", value)]
    return list(unfold(_answer(value, choices, fault)))


def _answer(value: Wire, listed: list[Json], fault: Fault | None) -> Response:
    left = {key: item for key, item in value.items() if key != "choices"}
    if left.get("object") == _OBJECT:
        del left["object"]
    usage: Usage | None = None
    if isinstance(raw := left.get("usage"), dict):
        del left["usage"]
        usage = decode_usage(raw)
    ident, model, created = left.get("id"), left.get("model"), whole(left.get("created"))
    for key, read in (("id", ident), ("model", model)):
        if isinstance(read, str) and read:
            del left[key]
    if created is not None:
        del left["created"]
    choices: dict[int, Choice] = {}
    broken: Wire = {}
    for place, item in enumerate(listed):
        wire: Wire = item if isinstance(item, dict) else {"value": item}
        index = whole(wire.get("index"))
        index = place if index is None or index in choices else index
        choice, rest, choice_fault = _decode_choice(wire, index, ("choices", place))
        choices[index] = choice
        fault = fault or choice_fault
        if choice.finish is None and rest:
            broken[str(index)] = rest
    if broken:
        left[BROKEN_OFF] = broken
    return Response(
        id=ident if isinstance(ident, str) else "",
        model=model if isinstance(model, str) else "",
        created_s=created,
        choices=tuple(choices[index] for index in sorted(choices)),
        usage=usage,
        fault=fault,
        ended=True,
        extras=left or NO_EXTRAS,
        dialect=NAME,
    )


def _decode_choice(
    wire: Wire, index: int, at: tuple[str | int, ...]
) -> tuple[Choice, Wire, Fault | None]:
    """(the choice, its fields without a place, the error it tells)."""
    rest: Wire = {
        key: value
        for key, value in wire.items()
        if key not in ("message", "finish_reason", "logprobs")
        and not (key == "index" and value == index)
    }
    parts: list[Part] = []
    message = wire.get("message")
    if isinstance(message, dict):
        parts = _decode_message(message, (*at, "message"), rest)
    elif "message" in wire:
        rest["message"] = message
    parts = _take_logprobs(wire, parts, rest)
    word = wire.get("finish_reason")
    finish: Finish | None = None
    if isinstance(word, str):
        finish = finish_of(word, index, rest or NO_EXTRAS)
    elif word is not None:
        rest["finish_reason"] = word
    error = wire.get("error")
    fault = decode_fault({"error": error}) if error else None
    return Choice(index=index, parts=tuple(parts), finish=finish), rest, fault


def _decode_message(wire: Wire, at: tuple[str | int, ...], rest: Wire) -> list[Part]:
    """The parts of a message; what is left of it goes to `rest`."""
    kept: Wire = {}
    said = dict(wire)
    if said.get("role") != "assistant" and "role" in said:
        kept["role"] = said.pop("role")
    for key in ("content", "refusal", *REASONING_FIELDS):
        if said.get(key) == "":
            kept[key] = said.pop(key)
    if "audio" in said and audio_rest(said["audio"]):
        kept["audio"] = said.pop("audio")
    annotations = said.pop("annotations") if said.get("annotations") else None
    images = said.pop("images") if said.get("images") else None
    content_was_null = "content" in said and said["content"] is None
    decoded = decode_message({**said, "role": "assistant"}, at)
    kept |= decoded.extras
    if decoded.name is not None:
        kept["name"] = decoded.name
    if "content" not in wire:
        kept.pop("content", None)
    elif content_was_null and kept.get("content", "") is None:
        del kept["content"]
    parts = list(decoded.parts)
    if images is not None and not _add_images(images, parts, at):
        kept["images"] = images
    if annotations is not None and not _annotate(annotations, parts):
        kept["annotations"] = annotations
    rest.update({IN_MESSAGE + key: value for key, value in kept.items()})
    return parts


def _add_images(listed: Json, parts: list[Part], at: tuple[str | int, ...]) -> bool:
    """Whether all of `images` became parts (OpenRouter, image output)."""
    if not isinstance(listed, list):
        return False
    decoded = [decode_part(item, (*at, "images", i)) for i, item in enumerate(listed)]
    images = [part for part in decoded if isinstance(part, Media)]
    if len(images) != len(decoded):
        return False
    parts += images
    return True


def _annotate(annotations: Json, parts: list[Part]) -> bool:
    for place, part in enumerate(parts):
        if isinstance(part, Text) and isinstance(annotations, list):
            parts[place] = replace(part, annotations=tuple(annotations))
            return True
    return False


def _take_logprobs(wire: Wire, parts: list[Part], rest: Wire) -> list[Part]:
    """Log probabilities to the text they are of; what is left of them goes to `rest`."""
    if "logprobs" not in wire:
        return parts
    told = wire["logprobs"]
    if not isinstance(told, dict):
        rest["logprobs"] = told
        return parts
    left = dict(told)
    listed = left.get("content")
    for place, part in enumerate(parts):
        if isinstance(part, Text) and isinstance(listed, list) and listed:
            parts[place] = replace(part, logprobs=left.pop("content"))
            break
    if not left:
        rest[IN_LOGPROBS] = None
    rest.update({IN_LOGPROBS + key: value for key, value in left.items()})
    return parts


def encode_response(response: Response, reply: Reply) -> Encoded:
    """A whole answer body, or an error body where the answer ended in a fault."""
    if response.fault is not None:
        return Encoded(encode_error(response.fault))
    losses: list[Loss] = []
    own = response.dialect == NAME
    if not response.choices and not response.id and len(response.opaque) == 1:
        alone = response.opaque[0]
        if alone.dialect == NAME:
            return Encoded(dump(alone.value))
    told = dict.fromkeys(item.event for item in response.opaque)
    losses += [Loss("event.unknown", "", NAME, say=event) for event in told]
    created = response.created_s
    ident, model = response.id or reply.id, model_name(response.model, reply, own)
    body: Wire = {"id": ident} if own else {"id": answer_id(ident, reply)}
    body |= {"object": _OBJECT, "created": reply.created_s if created is None else created}
    body["model"] = model
    if own:
        # What neither the provider nor the reply told is not made up.
        body = {key: value for key, value in body.items() if value != ""}
    top: Wire = {**response.extras, **response.end_extras}
    broken = top.pop(BROKEN_OFF, None) if own else None
    left: Wire = broken if isinstance(broken, dict) else {}
    choices = response.choices or (() if own else (Choice(),))
    body["choices"] = [
        _encode_choice(choice, left.get(str(choice.index)), own, losses) for choice in choices
    ]
    if response.usage is not None:
        body["usage"] = encode_usage(response.usage, own)
    if own:
        body |= top
    else:
        losses += field_losses(top)
    return Encoded(dump(body), tuple(losses))


def _encode_choice(choice: Choice, broken: Json, own: bool, losses: list[Loss]) -> Wire:
    finish = choice.finish
    outer, beside, probs = split_extras(finish.extras if finish and own else NO_EXTRAS)
    if finish is None and own and isinstance(broken, dict):
        outer, beside, probs = split_extras(broken)
    message = encode_answer(choice.parts, own, losses)
    for key, value in beside.items():
        if message.get(key) is None or key == "role":
            message[key] = value
    called = "tool_calls" in message
    wire: Wire = {"index": choice.index, "message": message}
    listed: list[Json] = []
    for part in choice.parts:
        if isinstance(part, Text):
            listed += encode_logprobs(part, own, losses) or ()
    if listed or probs:
        kept: Wire = {"content": listed, **probs} if listed else probs
        kept.pop("", None)
        if listed and not probs:
            kept["refusal"] = None
        wire["logprobs"] = kept
    elif not own:
        wire["logprobs"] = None
    wire["finish_reason"] = None if own and finish is None else finish_word(finish, own, called)
    if finish is not None and not own:
        losses += [*finish_losses(finish), *field_losses(finish.extras)]
    return {**wire, **outer}


def encode_answer(parts: Iterable[Part], own: bool, losses: list[Loss]) -> Wire:
    """The message of an answer."""
    plain: list[Part] = []
    annotations: list[Json] = []
    images: list[Json] = []
    field = "reasoning_content"
    source = NAME if own else ""
    for part in parts:
        if isinstance(part, Text):
            annotations += encode_annotations(part.annotations, own, losses)
            plain = _joined(plain, replace(part, annotations=(), logprobs=None))
        elif isinstance(part, Media):
            _add_media(part, own, (plain, images), losses)
        else:
            if isinstance(part, Reasoning) and own and part.at and part.at[-1] in REASONING_FIELDS:
                field = str(part.at[-1])
            plain.append(part)
    encoder = MessageEncoder(source, Facts(reasoning_field=field), losses)
    wires = encoder.encode(Message(role="assistant", parts=tuple(plain)))
    message: Wire = {"role": "assistant", "content": None}
    for wire in wires:
        if isinstance(wire, dict):
            message |= wire
    if not own:
        message.setdefault("refusal", None)
    if annotations:
        message["annotations"] = annotations
    if images:
        message["images"] = images
    return message


def _add_media(
    part: Media, own: bool, into: tuple[list[Part], list[Json]], losses: list[Loss]
) -> None:
    """An image goes to the message's images, audio of this protocol stays a part."""
    plain, images = into
    if part.kind == "image":
        wire = encode_media(part, NAME if own else "", losses)
        if wire is not None:
            images.append(wire)
            if not own:
                losses.append(Loss("part.image", "", NAME, "adapted", "in the message's images"))
    elif own and part.kind == "audio" and part.data is not None:
        plain.append(replace(part, data=None, extras={"data": part.data, **part.extras}))
    else:
        losses.append(Loss(f"part.{part.kind}", "", NAME))


def _joined(parts: list[Part], text: Text) -> list[Part]:
    """Texts that came as one string stay one string."""
    string = not text.extras and (not text.at or text.at[-1] == "content")
    if string:
        for place, part in enumerate(parts):
            if isinstance(part, Text) and not part.extras:
                parts[place] = replace(part, text=part.text + text.text)
                return parts
    return [*parts, text]
