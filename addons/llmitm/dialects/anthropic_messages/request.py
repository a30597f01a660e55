"""Requests of the Messages API: `POST /v1/messages` and `/v1/messages/count_tokens`, both ways.

Also the same bodies behind Vertex and Bedrock paths, where `model` and `stream` are missing.
Source: Anthropic API reference, Messages.
"""

from __future__ import annotations

from llmitm.canon.parts import Part, Text
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import Facts, Json, Loss, Path, pointer
from llmitm.dialects.anthropic_messages.blocks import decode_content
from llmitm.dialects.anthropic_messages.foreign import foreign_body
from llmitm.dialects.anthropic_messages.parts import PartEncoder
from llmitm.dialects.anthropic_messages.settings import (
    format_field,
    older_format,
    own_fields,
    take_format,
    take_reasoning,
    take_sampling,
    take_tool_choice,
    take_tools,
    thinking_field,
    tool_choice_field,
)
from llmitm.dialects.anthropic_messages.tables import NAME, SCALARS
from llmitm.dialects.contract import Encoded
from llmitm.dialects.json_text import dump, parse, without
from llmitm.dialects.limits import fit
from llmitm.dialects.origin import PatchTable
from llmitm.dialects.origin import patch_request as patch
from llmitm.errors import ClientWireError

type Body = dict[str, Json]

_SYSTEM: Path = ("system",)


def decode_request(body: bytes) -> Request:
    """A request from the body of `POST /v1/messages` or of `…/count_tokens`.

    body: UTF-8 JSON object. Messages come oldest first; `system` becomes `instructions`; an
    absent `max_tokens` stays None; an absent `model` (Vertex, Bedrock) is empty. Every other
    field is in `extras`, also one whose type is not as documented.
    Raises ClientWireError with a JSON pointer (`/messages/3/content`) if the shape is wrong.
    Source: Anthropic API reference, Messages.
    """
    try:
        value = parse(body)
    except ValueError as error:
        raise ClientWireError("", f"the body is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise ClientWireError("", "the body is not a JSON object")
    left = dict(value)
    messages = left.pop("messages", None)
    if not isinstance(messages, list):
        raise ClientWireError("/messages", "a list of messages is required")
    model = left.get("model", "")
    if not isinstance(model, str):
        raise ClientWireError("/model", "the model's name must be a string")
    if model:
        del left["model"]
    instructions = decode_content(left.get("system"), _SYSTEM)
    if instructions:
        del left["system"]
    stream = left.get("stream")
    if isinstance(stream, bool):
        del left["stream"]
    choice, parallel = take_tool_choice(left)
    return Request(
        dialect=NAME,
        model=model,
        messages=tuple([_message(item, place) for place, item in enumerate(messages)]),
        instructions=instructions or (),
        tools=take_tools(left),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        sampling=take_sampling(left),
        reasoning=take_reasoning(left),
        response_format=take_format(left),
        stream=stream is True,
        extras=left,
    )


def _message(value: Json, place: int) -> Message:
    at: Path = ("messages", place)
    if not isinstance(value, dict):
        raise ClientWireError(pointer(at), "a message must be an object")
    role = value.get("role")
    if role not in ("user", "assistant", "system"):
        raise ClientWireError(pointer((*at, "role")), "must be user, assistant or system")
    parts = decode_content(value.get("content"), (*at, "content"))
    if parts is None:
        raise ClientWireError(pointer((*at, "content")), "must be a string or a list of blocks")
    return Message(role=role, parts=parts, extras=without(value, "role", "content"), at=at)


def encode_request(request: Request, facts: Facts) -> Encoded:
    """The body of `POST /v1/messages` for a request of any protocol, and what it cannot carry.

    A request of this protocol comes out as it was read; one of another is brought within what the
    model's family accepts, and the limit the API demands is `facts.max_tokens_default` when the
    client gave none.
    """
    losses: list[Loss] = []
    if request.dialect != NAME:
        request, told = fit(request, facts, NAME)
        losses += told
    encoder = PartEncoder(request.dialect == NAME, losses)
    body = _own_body(request, encoder) if encoder.own else foreign_body(request, facts, encoder)
    return Encoded(dump(body), tuple(losses))


def _own_body(request: Request, encoder: PartEncoder) -> Body:
    body: Body = {}
    if request.model:
        body["model"] = request.model
    if request.instructions:
        body["system"] = encoder.content(request.instructions, _SYSTEM)
    body["messages"] = _own_messages(request.messages, encoder)
    if request.tools:
        tools = [encoder.tool(tool) for tool in request.tools]
        body["tools"] = [tool for tool in tools if tool is not None]
    return body | own_fields(request)


def _own_messages(messages: tuple[Message, ...], encoder: PartEncoder) -> list[Json]:
    """One element a message; one that was put in joins a neighbour of the same role."""
    written: list[Body] = []
    put_in = False
    for message in messages:
        element = _element(message, encoder)
        before = written[-1] if written else None
        if before and before["role"] == element["role"] and (put_in or not message.at):
            before["content"] = [*_as_list(before["content"]), *_as_list(element["content"])]
        else:
            written.append(element)
        put_in = not message.at
    return list(written)


def _as_list(content: Json) -> list[Json]:
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _element(message: Message, encoder: PartEncoder) -> Body:
    role = "user" if message.role in ("tool", "developer") else message.role
    home = (*message.at, "content") if message.at else ()
    # The API refuses empty text; only what was read that way goes back that way.
    parts = tuple([p for p in message.parts if not isinstance(p, Text) or p.text or p.at])
    return {"role": role, "content": encoder.content(parts, home), **message.extras}


def encode_message(message: Message, facts: Facts) -> list[Json]:
    """The one element of `messages` for a message in a request of this protocol."""
    del facts
    return [_element(message, PartEncoder(True, []))]


def patch_request(original: bytes, before: Request, after: Request, facts: Facts) -> Encoded | None:
    """`original` with only the touched JSON paths changed, None where that cannot be done."""
    kept = ("output_config", "output_format")
    if any(before.extras.get(key) != after.extras.get(key) for key in kept):
        return None
    older = older_format(before) is not None
    if older and (before.response_format is None) != (after.response_format is None):
        return None
    losses: list[Loss] = []
    encoder = PartEncoder(True, losses)

    def message(item: Message, facts: Facts) -> list[Json]:
        del facts
        return [_element(item, encoder)]

    def part(item: Part) -> Json | None:
        return encoder.part(item)

    def tool(item: Tool) -> Json | None:
        return encoder.tool(item)

    scalars = dict(SCALARS)
    if older:
        scalars["response_format"] = ("output_format",)
    table = PatchTable(
        scalars=scalars,
        messages=("messages",),
        tools=("tools",),
        encode_message=message,
        encode_tool=tool,
        encode_part=part,
        encode_scalar=_scalar,
        losses=losses,
    )
    return patch(original, before, after, facts, table)


def _scalar(name: str, request: Request) -> Json:
    """What to write for a changed attribute of canon, None = the key goes."""
    match name:
        case "model":
            return request.model
        case "stream":
            return request.stream
        case "instructions":
            parts = request.instructions
            return PartEncoder(True, []).content(parts, _SYSTEM) if parts else None
        case "tool_choice" | "parallel_tool_calls":
            return tool_choice_field(request.tool_choice, request.parallel_tool_calls)
        case "sampling.stop":
            return list(request.sampling.stop) or None
        case "reasoning.effort":
            return request.reasoning.effort if request.reasoning else None
        case "response_format":
            form = request.response_format
            if form is None:
                return None
            return {**format_field(form), **(older_format(request) or {})}
        case _ if name.startswith("reasoning."):
            return thinking_field(request.reasoning)
        case _:
            return getattr(request.sampling, name.removeprefix("sampling."))
