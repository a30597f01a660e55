"""Requests of `POST /model/{model}/converse` and `…/converse-stream`, both ways.

The model and whether it streams stand in the path: the caller fills them in.
Source: Amazon Bedrock API reference, Converse.
"""

from __future__ import annotations

from dataclasses import replace

from llmitm.canon.parts import Part
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.canon.values import Facts, Json, Loss, Path, pointer
from llmitm.dialects.bedrock_converse.blocks import decode_blocks
from llmitm.dialects.bedrock_converse.foreign import foreign_body
from llmitm.dialects.bedrock_converse.parts import PartEncoder
from llmitm.dialects.bedrock_converse.settings import (
    inference_field,
    output_field,
    take_output,
    text_format_field,
    thinking_field,
    tool_choice_field,
)
from llmitm.dialects.bedrock_converse.tables import NAME, SAMPLING, SCALARS
from llmitm.dialects.contract import Encoded
from llmitm.dialects.json_text import Wire, dump, number, parse, whole, without
from llmitm.dialects.origin import PatchTable
from llmitm.dialects.origin import patch_request as patch
from llmitm.errors import ClientWireError

_MODEL_FIELDS = "additionalModelRequestFields"


def decode_request(body: bytes) -> Request:
    """A request from the body of a Converse call; `model` is empty and `stream` False.

    body: UTF-8 JSON object. `system` becomes `instructions`; a Claude model's `thinking` and
    `top_k` are read from `additionalModelRequestFields`. Every other field is in `extras`, also
    one whose type is not as documented.
    Raises ClientWireError with a JSON pointer (`/messages/3/content`) if the shape is wrong.
    Source: Amazon Bedrock API reference, Converse.
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
    system = left.get("system")
    instructions: tuple[Part, ...] = ()
    if isinstance(system, list) and system:
        del left["system"]
        instructions = decode_blocks(system, ("system",))
    tools, choice = _take_tools(left)
    given = _take_sampling(left)
    reasoning = _take_model_fields(left, given)
    form, effort = _take_output(left)
    if effort is not None:
        reasoning = replace(reasoning or ReasoningConfig(), effort=effort)
    return Request(
        dialect=NAME,
        model="",
        messages=tuple([_message(item, place) for place, item in enumerate(messages)]),
        instructions=instructions,
        tools=tools,
        tool_choice=choice,
        sampling=_sampling(given),
        reasoning=reasoning,
        response_format=form,
        extras=left,
    )


def _message(value: Json, place: int) -> Message:
    at: Path = ("messages", place)
    if not isinstance(value, dict):
        raise ClientWireError(pointer(at), "a message must be an object")
    role, content = value.get("role"), value.get("content")
    if role not in ("user", "assistant", "system"):
        raise ClientWireError(pointer((*at, "role")), "must be user or assistant")
    if not isinstance(content, list):
        raise ClientWireError(pointer((*at, "content")), "must be a list of content blocks")
    return Message(
        role=role,
        parts=decode_blocks(content, (*at, "content")),
        extras=without(value, "role", "content"),
        at=at,
    )


def _inner(left: Wire, key: str) -> Wire | None:
    value = left.get(key)
    return dict(value) if isinstance(value, dict) else None


def _put_back(left: Wire, key: str, inner: Wire) -> None:
    """What was not taken stays; an object that is now empty goes, one that always was stays."""
    if inner or not left[key]:
        left[key] = inner
    else:
        del left[key]


def _take_tools(left: Wire) -> tuple[tuple[Tool, ...], ToolChoice | None]:
    config = _inner(left, "toolConfig")
    if config is None:
        return (), None
    tools: tuple[Tool, ...] = ()
    listed = config.get("tools")
    if isinstance(listed, list) and listed:
        del config["tools"]
        home: Path = ("toolConfig", "tools")
        tools = tuple([_tool(item, (*home, place)) for place, item in enumerate(listed)])
    choice: ToolChoice | None = None
    match config.get("toolChoice"):
        case {"auto": _} as said if said == {"auto": {}}:
            choice = ToolChoice(mode="auto")
        case {"any": _} as said if said == {"any": {}}:
            choice = ToolChoice(mode="required")
        case {"tool": {"name": str(name)}} as said if said == {"tool": {"name": name}}:
            choice = ToolChoice(mode="named", names=(name,))
        case _:
            pass
    if choice is not None:
        del config["toolChoice"]
    _put_back(left, "toolConfig", config)
    return tools, choice


def _tool(value: Json, at: Path) -> Tool:
    if isinstance(value, dict) and len(value) == 1:
        spec = value.get("toolSpec")
        if isinstance(spec, dict) and isinstance(name := spec.get("name"), str):
            return _function(spec, name, at)
        kind, inner = next(iter(value.items()))
        said = inner.get("name") if isinstance(inner, dict) else None
        name = said if isinstance(said, str) else kind
        return Tool(kind="server", name=name, dialect=NAME, value=value, at=at)
    return Tool(kind="server", name="", dialect=NAME, value=value, at=at)


def _function(spec: Wire, name: str, at: Path) -> Tool:
    left = dict(without(spec, "name"))
    description, strict, schema = (left.get(k) for k in ("description", "strict", "inputSchema"))
    if isinstance(description, str):
        del left["description"]
    if isinstance(strict, bool):
        del left["strict"]
    parameters: Json = None
    if isinstance(schema, dict) and len(schema) == 1 and schema.get("json") is not None:
        parameters = schema["json"]
        del left["inputSchema"]
    return Tool(
        name=name,
        description=description if isinstance(description, str) else None,
        parameters=parameters,
        strict=strict if isinstance(strict, bool) else None,
        extras=left,
        at=at,
    )


def _take_sampling(left: Wire) -> Wire:
    """Sampling fields by canon's names, taken out of `inferenceConfig`."""
    given: Wire = {}
    config = _inner(left, "inferenceConfig")
    if config is None:
        return given
    for key, name in SAMPLING.items():
        value = whole(config.get(key)) if name == "max_tokens" else number(config.get(key))
        if value is not None:
            given[name] = value
            del config[key]
    stop = config.get("stopSequences")
    if isinstance(stop, list) and stop and all(isinstance(word, str) for word in stop):
        given["stop"] = stop
        del config["stopSequences"]
    _put_back(left, "inferenceConfig", config)
    return given


def _take_model_fields(left: Wire, given: Wire) -> ReasoningConfig | None:
    fields = _inner(left, _MODEL_FIELDS)
    if fields is None:
        return None
    top_k = whole(fields.get("top_k"))
    if top_k is not None:
        given["top_k"] = top_k
        del fields["top_k"]
    reasoning: ReasoningConfig | None = None
    match fields.get("thinking"):
        case {"type": "enabled", "budget_tokens": int(budget), **rest} if budget is not True:
            reasoning = ReasoningConfig(mode="on", budget_tokens=budget, extras=rest)
        case {"type": "disabled", **rest}:
            reasoning = ReasoningConfig(mode="off", extras=rest)
        case {"type": "adaptive", **rest}:
            reasoning = ReasoningConfig(mode="adaptive", extras=rest)
        case _:
            pass
    if reasoning is not None:
        del fields["thinking"]
    _put_back(left, _MODEL_FIELDS, fields)
    return reasoning


def _take_output(left: Wire) -> tuple[ResponseFormat | None, str | None]:
    config = _inner(left, "outputConfig")
    if config is None:
        return None, None
    taken = take_output(config)
    _put_back(left, "outputConfig", config)
    return taken


def _sampling(given: Wire) -> Sampling:
    def real(name: str) -> float | None:
        return number(given.get(name))

    stop = given.get("stop")
    return Sampling(
        temperature=real("temperature"),
        top_p=real("top_p"),
        top_k=whole(given.get("top_k")),
        max_tokens=whole(given.get("max_tokens")),
        stop=tuple(str(word) for word in stop) if isinstance(stop, list) else (),
    )


def encode_request(request: Request, facts: Facts) -> Encoded:
    """The body of a Converse call for a request of any protocol, and what it cannot carry.

    A request of this protocol comes out as it was read.
    """
    losses: list[Loss] = []
    encoder = PartEncoder(request.dialect == NAME, losses)
    body = _own_body(request, encoder) if encoder.own else foreign_body(request, facts, encoder)
    return Encoded(dump(body), tuple(losses))


def _own_body(request: Request, encoder: PartEncoder) -> Wire:
    body: Wire = {"messages": [_element(message, encoder) for message in request.messages]}
    if request.instructions:
        body["system"] = encoder.blocks(request.instructions)
    extras = dict(request.extras)
    form = request.response_format
    if form is not None and form.kind != "text" and text_format_field(form) is None:
        encoder.lose("response_format")
    tools: Wire = {}
    if request.tools:
        tools["tools"] = encoder.tools(request.tools)
    if (choice := tool_choice_field(request.tool_choice)) is not None:
        tools["toolChoice"] = choice
    fields: Wire = {}
    if request.sampling.top_k is not None:
        fields["top_k"] = request.sampling.top_k
    if (thinking := thinking_field(request.reasoning)) is not None:
        fields["thinking"] = thinking
    made = {
        "inferenceConfig": inference_field(request.sampling),
        "toolConfig": tools,
        _MODEL_FIELDS: fields,
        "outputConfig": output_field(form, request.reasoning and request.reasoning.effort),
    }
    for key, field in made.items():
        rest = extras.pop(key, None)
        if isinstance(rest, dict):
            body[key] = {**field, **rest}
        elif field:
            body[key] = field
        elif rest is not None or key in request.extras:
            body[key] = rest
    return {**body, **extras}


def _element(message: Message, encoder: PartEncoder) -> Wire:
    role = message.role if message.role in ("assistant", "system") else "user"
    return {"role": role, "content": encoder.blocks(message.parts), **message.extras}


def patch_request(original: bytes, before: Request, after: Request, facts: Facts) -> Encoded | None:
    """`original` with only the touched JSON paths changed, None where that cannot be done.

    The model and the wish for a stream are in the path, so changing them leaves the body alone.
    """
    losses: list[Loss] = []
    encoder = PartEncoder(True, losses)

    def message(item: Message, facts: Facts) -> list[Json]:
        del facts
        return [_element(item, encoder)]

    def part(item: Part) -> Json | None:
        return encoder.part(item)

    def tool(item: Tool) -> Json | None:
        return encoder.tool(item)

    table = PatchTable(
        scalars=SCALARS,
        messages=("messages",),
        tools=("toolConfig", "tools"),
        encode_message=message,
        encode_tool=tool,
        encode_part=part,
        encode_scalar=_scalar,
        extras=None,
        losses=losses,
    )
    return patch(original, before, _in_path(before, after), facts, table)


def _in_path(before: Request, after: Request) -> Request:
    """`after` with the model and the stream of `before`."""
    return replace(after, model=before.model, stream=before.stream)


def _scalar(name: str, request: Request) -> Json:
    """What to write for a changed attribute of canon, None = the key goes."""
    match name:
        case "instructions":
            return PartEncoder(True, []).blocks(request.instructions) or None
        case "tool_choice":
            return tool_choice_field(request.tool_choice)
        case "response_format":
            return text_format_field(request.response_format)
        case "sampling.stop":
            return list(request.sampling.stop) or None
        case _:
            return getattr(request.sampling, name.removeprefix("sampling."))
