"""Requests of Ollama's `POST /api/chat` and `POST /api/generate`, both ways.

Without the field `stream` the API streams, so `Request.stream` is True then.
Source: Ollama API reference, generate a completion, generate a chat completion.
"""

from __future__ import annotations

from llmitm.canon.parts import Part, Refusal, Text, ToolCall
from llmitm.canon.request import Message, Request
from llmitm.canon.turns import text_of
from llmitm.canon.values import Facts, Json, Loss
from llmitm.dialects.contract import Encoded
from llmitm.dialects.json_text import Wire, dump, parse, taken, telling
from llmitm.dialects.ollama_chat.messages import decode_images, decode_message
from llmitm.dialects.ollama_chat.parts import PartEncoder
from llmitm.dialects.ollama_chat.settings import (
    foreign_think,
    format_field,
    option_fields,
    take_format,
    take_reasoning,
    take_sampling,
    take_tools,
    think_field,
)
from llmitm.dialects.ollama_chat.tables import FAMILY, GENERATE_NAME
from llmitm.errors import ClientWireError

_SHARED = frozenset({"keep_alive", "options", "truncate", "shift"})
"""Fields that both calls know."""


def decode_request(body: bytes, *, dialect: str) -> Request:
    """A request from the body of one of the two calls.

    body: UTF-8 JSON object. Chat messages come oldest first; `prompt` is the one message of a
    generate call, its `system` the instructions. Every field without a place is in `extras`, the
    options that canon lacks in `extras["options"]`.
    Raises ClientWireError with a JSON pointer (`/messages/3/content`) if the shape is wrong.
    Source: Ollama API reference.
    """
    try:
        value = parse(body)
    except ValueError as error:
        raise ClientWireError("", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ClientWireError("", "the body is not a JSON object")
    left = dict(value)
    model = left.pop("model", "")
    if not isinstance(model, str):
        raise ClientWireError("/model", "the model's name must be a string")
    stream = left.get("stream")
    if isinstance(stream, bool):
        del left["stream"]
    instructions: tuple[Part, ...] = ()
    if dialect == GENERATE_NAME:
        messages = _prompt(left)
        if system := taken(left, "system"):
            instructions = (Text(text=system, at=("system",)),)
    else:
        listed = left.pop("messages", None)
        if listed is not None and not isinstance(listed, list):
            raise ClientWireError("/messages", "must be a list of messages")
        messages = tuple([decode_message(item, place) for place, item in enumerate(listed or ())])
    return Request(
        dialect=dialect,
        model=model,
        messages=messages,
        instructions=instructions,
        tools=take_tools(left),
        sampling=take_sampling(left),
        reasoning=take_reasoning(left),
        response_format=take_format(left),
        stream=stream is not False,
        extras=left,
    )


def _prompt(left: Wire) -> tuple[Message, ...]:
    """The message that a generate call holds; none where it only loads a model."""
    prompt = left.get("prompt")
    if prompt is not None and not isinstance(prompt, str):
        raise ClientWireError("/prompt", "must be a string")
    images = left.get("images")
    parts: list[Part] = []
    if isinstance(prompt, str):
        del left["prompt"]
        parts.append(Text(text=prompt, at=("prompt",)))
    if isinstance(images, list) and images:
        del left["images"]
        parts += decode_images(images, ("images",))
    return (Message(role="user", parts=tuple(parts), at=("prompt",)),) if parts else ()


def encode_request(request: Request, facts: Facts, *, target: str) -> Encoded:
    """The body of a call for a request of any protocol, and what it cannot carry.

    A request of this protocol comes out as it was read, except that `stream` is always said.
    """
    del facts
    losses: list[Loss] = []
    names = {
        part.id: part.name
        for message in request.messages
        for part in message.parts
        if isinstance(part, ToolCall) and part.id
    }
    encoder = PartEncoder(request.dialect in FAMILY, losses, names)
    body: Wire = {"model": request.model}
    if target == GENERATE_NAME:
        body |= _generate_fields(request, encoder)
    else:
        body["messages"] = _chat_messages(request, encoder)
    if request.tools:
        body |= _tools(request, encoder)
    body |= _settings(request, encoder)
    return Encoded(dump(body), tuple(losses))


def _chat_messages(request: Request, encoder: PartEncoder) -> list[Json]:
    messages: list[Json] = []
    system = [p.text for p in request.instructions if isinstance(p, Text | Refusal) and p.text]
    if len(system) < len(request.instructions):
        encoder.fields(request.instructions)
    if system:
        messages.append({"role": "system", "content": "\n\n".join(system)})
    for message in request.messages:
        if message.role == "developer":
            encoder.lose("message.role", message.at, "adapted", "sent as system")
        messages += encoder.messages(message)
    return messages


def _generate_fields(request: Request, encoder: PartEncoder) -> Wire:
    """`system`, `prompt` and `images`; a conversation becomes a transcript in the prompt."""
    fields: Wire = {}
    instructions = list(request.instructions)
    messages = list(request.messages)
    while messages and messages[0].role in ("system", "developer"):
        instructions += messages.pop(0).parts
    if system := text_of(instructions):
        fields["system"] = system
    if len(messages) == 1 and messages[0].role == "user":
        made = encoder.fields(messages[0].parts)
        said = bool(made.text) or any(isinstance(part, Text) for part in messages[0].parts)
        if said or not encoder.own:
            fields["prompt"] = "\n".join(made.text)
        if made.images:
            fields["images"] = made.images
        return fields
    if messages:
        encoder.lose("message.role", (), "adapted", "the conversation is one prompt")
        lines: list[str] = []
        images: list[Json] = []
        for message in messages:
            made = encoder.fields(message.parts)
            images += made.images
            lines.append(f"{message.role}: {text_of(message.parts)}")
        fields["prompt"] = "\n\n".join(lines)
        if images:
            fields["images"] = images
    return fields


def _tools(request: Request, encoder: PartEncoder) -> Wire:
    choice = request.tool_choice
    if choice is not None and choice.mode == "none":
        encoder.lose("tool_choice", (), "adapted", "the tools are not offered")
        return {}
    if choice is not None and (choice.mode != "auto" or choice.names):
        encoder.lose("tool_choice", say=choice.mode)
    tools = encoder.tools(request.tools)
    return {"tools": tools} if tools else {}


def _settings(request: Request, encoder: PartEncoder) -> Wire:
    fields: Wire = {"stream": request.stream}
    options = option_fields(request.sampling)
    extras = dict(request.extras)
    if encoder.own:
        rest = extras.get("options")
        if options or isinstance(rest, dict):
            extras["options"] = options | (rest if isinstance(rest, dict) else {})
        think = think_field(request.reasoning)
    else:
        if options:
            fields["options"] = options
        think = foreign_think(request, encoder)
        extras = _foreign_extras(request, encoder)
    if think is not None:
        fields["think"] = think
    form = format_field(request.response_format)
    if form is not None:
        fields["format"] = form
    if request.sampling.logprobs is not None:
        fields["logprobs"] = request.sampling.logprobs
    if request.sampling.top_logprobs is not None:
        fields["top_logprobs"] = request.sampling.top_logprobs
    return {**fields, **extras}


def _foreign_extras(request: Request, encoder: PartEncoder) -> Wire:
    if request.sampling.n is not None and request.sampling.n > 1:
        encoder.lose("sampling.n")
    if request.parallel_tool_calls is False:
        encoder.lose("parallel_tool_calls")
    if request.verbosity is not None:
        encoder.lose("verbosity")
    if request.previous_response_id is not None:
        encoder.lose("previous_response_id")
    if request.response_format is not None:
        encoder.extras(request.response_format.extras)
    kept: Wire = {}
    for key in telling(request.extras):
        value = request.extras[key]
        if key in _SHARED and request.dialect in FAMILY:
            kept[key] = value
        elif (key, value) != ("store", False):
            encoder.lose("field", (key,), say=key)
    return kept
