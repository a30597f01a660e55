"""Requests of the Responses protocol: body -> Request -> body, and small edits of a body.

Each item of `input` is one message. Whatever has no canon field stays in extras, explicit nulls
included. `text` without its format and an `include` are kept there whole. Also reads the
`response.create` frames of the WebSocket form, whose `type` stays in extras.
Never: talks of another protocol's fields except as losses (`adapt`, `carry`).
Source: OpenAI API reference, Responses, create.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import assert_never, cast

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Request, ResponseFormat, Sampling, Tool
from llmitm.canon.values import Facts, Json, Loss, pointer
from llmitm.dialects.contract import Encoded
from llmitm.dialects.limits import fit
from llmitm.dialects.openai_responses.adapt import (
    encode_foreign_settings,
    encode_reasoning_config,
    encode_tool,
    encode_tools,
    sampling_losses,
)
from llmitm.dialects.openai_responses.carry import Carrier
from llmitm.dialects.openai_responses.inputs import decode_input, encode_items
from llmitm.dialects.openai_responses.items import encode_call, encode_reasoning, encode_result
from llmitm.dialects.openai_responses.parts import (
    Wire,
    encode_own,
    extras_of,
    json_bytes,
    parsed,
    take_str,
)
from llmitm.dialects.openai_responses.settings import (
    decode_format,
    decode_reasoning_config,
    decode_tool,
    decode_tool_choice,
    encode_format,
    encode_tool_choice,
)
from llmitm.dialects.openai_responses.tables import INTEGERS, LOGPROBS_INCLUDE, NAME, SAMPLING
from llmitm.dialects.origin import PatchTable
from llmitm.dialects.origin import patch_request as patch_with
from llmitm.dialects.telling import telling
from llmitm.errors import ClientWireError


def decode_request(body: bytes) -> Request:
    """A request from the body of `POST /v1/responses` or a `response.create` frame.

    body: UTF-8 JSON object, also with a byte order mark. A field of the wrong type that can be
    passed on stays in extras. Raises ClientWireError with a JSON pointer if `input`, an item of
    it, `tools`, `model` or `stream` has the wrong type.
    """
    try:
        wire = parsed(body)
    except ValueError as trouble:
        raise ClientWireError("", f"not JSON: {trouble}") from None
    if not isinstance(wire, dict):
        raise ClientWireError("", "must be a JSON object")
    rest: Wire = dict(wire)
    model = rest.pop("model", "")
    if not isinstance(model, str):
        raise ClientWireError("/model", "must be a string")
    stream = rest.get("stream")
    if isinstance(stream, bool):
        del rest["stream"]
    elif stream is not None:
        raise ClientWireError("/stream", "must be true or false")
    messages = decode_input(rest)
    tools = _decode_tools(rest)
    choice = decode_tool_choice(rest.get("tool_choice"))
    if choice is not None:
        del rest["tool_choice"]
    given = rest.get("reasoning")
    if isinstance(given, dict):
        del rest["reasoning"]
    instructions = take_str(rest, "instructions")
    parallel = rest.get("parallel_tool_calls")
    if isinstance(parallel, bool):
        del rest["parallel_tool_calls"]
    form, verbosity = _decode_text(rest)
    return Request(
        dialect=NAME,
        model=model,
        messages=messages,
        instructions=(
            () if instructions is None else (Text(text=instructions, at=("instructions",)),)
        ),
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
        sampling=_decode_sampling(rest),
        reasoning=decode_reasoning_config(given) if isinstance(given, dict) else None,
        response_format=form,
        verbosity=verbosity,
        stream=stream is True,
        previous_response_id=take_str(rest, "previous_response_id"),
        extras=extras_of(rest),
    )


def _decode_text(rest: Wire) -> tuple[ResponseFormat | None, str | None]:
    """(format, verbosity) out of `text`; what else is in it stays."""
    text = rest.get("text")
    if not isinstance(text, dict):
        return None, None
    form, word = decode_format(text.get("format")), text.get("verbosity")
    verbosity = word if isinstance(word, str) else None
    taken = {"format"} if form is not None else set[str]()
    taken |= {"verbosity"} if verbosity is not None else set()
    left = {key: item for key, item in text.items() if key not in taken}
    if left or not taken:
        rest["text"] = left
    else:
        del rest["text"]
    return form, verbosity


def _decode_tools(rest: Wire) -> tuple[Tool, ...]:
    given = rest.get("tools")
    if given is None or given == []:
        return ()
    del rest["tools"]
    if not isinstance(given, list):
        raise ClientWireError("/tools", "must be a list")
    return tuple(decode_tool(tool, ("tools", place)) for place, tool in enumerate(given))


def _decode_sampling(rest: Wire) -> Sampling:
    found: dict[str, float | int] = {}
    for name, key in SAMPLING.items():
        value = rest.get(key)
        wanted = int if name in INTEGERS else int | float
        if isinstance(value, wanted) and not isinstance(value, bool):
            found[name] = value
            del rest[key]
    include = rest.get("include")
    return Sampling(
        temperature=found.get("temperature"),
        top_p=found.get("top_p"),
        max_tokens=cast("int | None", found.get("max_tokens")),
        top_logprobs=cast("int | None", found.get("top_logprobs")),
        logprobs=True if isinstance(include, list) and LOGPROBS_INCLUDE in include else None,
    )


def encode_request(request: Request, facts: Facts) -> Encoded:
    """The body of this request; what the protocol cannot say are the losses.

    A request of this protocol is written as it was read (JSON-equal, an unsaid `stream: false`
    apart). For others `store` is false unless they said otherwise: they expect no server state.
    """
    losses: list[Loss] = []
    own = request.dialect == NAME
    if not own:
        request, told = fit(request, facts, NAME)
        losses += told
    wire: Wire = dict(request.extras) if own else {}
    if request.model:
        wire["model"] = request.model
    if request.instructions:
        wire["instructions"] = _instructions(request.instructions, own, losses)
    messages = request.messages
    if len(messages) == 1 and own and messages[0].at == ("input",) and _is_string(messages[0]):
        wire["input"] = cast("Text", messages[0].parts[0]).text
    elif messages or not own:
        carrier = Carrier(request.dialect, losses)
        items: list[Json] = []
        for message in messages:
            items += encode_items(message, carrier) if own else carrier.items(message)
        wire["input"] = items
    if own:
        _encode_own_settings(request, facts, wire, losses)
    else:
        encode_foreign_settings(request, facts, wire, losses)
    if request.stream:
        wire["stream"] = True
    return Encoded(json_bytes(wire), tuple(losses))


def _instructions(parts: tuple[Part, ...], own: bool, losses: list[Loss]) -> str:
    texts: list[str] = []
    for part in parts:
        if isinstance(part, Text):
            texts.append(part.text)
            if not own:
                losses.extend(
                    Loss("field", pointer((*part.at[:-1], key)), NAME)
                    for key in telling(part.extras)
                )
        else:
            losses.append(Loss("instructions", pointer(part.at), NAME))
    return "\n\n".join(texts)


def _is_string(message: Message) -> bool:
    match message.parts:
        case (Text() as part,):
            return not message.extras and part.at == ("input",)
        case _:
            return False


def _encode_own_settings(request: Request, facts: Facts, wire: Wire, losses: list[Loss]) -> None:
    tools = encode_tools(request.tools, losses)
    if tools:
        wire["tools"] = tools
    sampling_losses(request.sampling, losses)
    if request.reasoning is not None:
        wire["reasoning"] = encode_reasoning_config(request.reasoning, facts, losses, own=True)
    for name in (
        "tool_choice",
        "parallel_tool_calls",
        "previous_response_id",
        "response_format",
        "verbosity",
    ):
        value = _encode_scalar(name, request)
        if value is None:
            continue
        if name in ("response_format", "verbosity"):
            text, key = wire.get("text"), "format" if name == "response_format" else name
            wire["text"] = {**(text if isinstance(text, dict) else {}), key: value}
        else:
            wire[name] = value
    for name, key in SAMPLING.items():
        value = getattr(request.sampling, name)
        if value is not None:
            wire[key] = value
    include = include_of(request)
    if include is not None:
        wire["include"] = include


def include_of(request: Request) -> Json:
    """`include` with or without log probabilities, as `sampling.logprobs` wants it."""
    include = request.extras.get("include")
    names = include if isinstance(include, list) else []
    if bool(request.sampling.logprobs) == (LOGPROBS_INCLUDE in names):
        return include
    if request.sampling.logprobs:
        return [*names, LOGPROBS_INCLUDE]
    return [name for name in names if name != LOGPROBS_INCLUDE]


def _written(tool: Tool) -> Json | None:
    return encode_tool(tool, [])


def _encode_scalar(name: str, request: Request) -> Json:
    section, _, field = name.partition(".")
    match section:
        case "tool_choice":
            customs = frozenset(tool.name for tool in request.tools if tool.kind == "custom")
            choice = request.tool_choice
            return None if choice is None else encode_tool_choice(choice, customs)
        case "response_format":
            form = request.response_format
            return None if form is None else encode_format(form, own=True)
        case "instructions":
            return _instructions(request.instructions, True, []) if request.instructions else None
        case "sampling" | "reasoning":
            if field == "logprobs":
                return include_of(request)
            holder = getattr(request, section)
            return None if holder is None else getattr(holder, field)
        case _:
            return getattr(request, name)


def encode_message(message: Message, facts: Facts) -> list[Json]:
    """The items of one message of this protocol, as they stand in `input`."""
    return encode_items(message, Carrier(NAME, []))


def _encode_part(part: Part) -> Json | None:
    match part:
        case ToolCall():
            return encode_call(part)
        case ToolResult():
            return encode_result(part)
        case Reasoning():
            return encode_reasoning(part) if part.dialect == NAME else None
        case Unknown():
            return part.value if part.dialect == NAME else None
        case Text():
            return None
        case Media() | Refusal():
            return encode_own(part, "user")
        case _:
            assert_never(part)


PATCH = PatchTable(
    scalars=MappingProxyType(
        {
            "model": ("model",),
            "stream": ("stream",),
            "instructions": ("instructions",),
            "parallel_tool_calls": ("parallel_tool_calls",),
            "previous_response_id": ("previous_response_id",),
            "tool_choice": ("tool_choice",),
            "response_format": ("text", "format"),
            "verbosity": ("text", "verbosity"),
            "reasoning.effort": ("reasoning", "effort"),
            "reasoning.show": ("reasoning", "summary"),
            "sampling.logprobs": ("include",),
            **{f"sampling.{name}": (key,) for name, key in SAMPLING.items()},
        }
    ),
    messages=("input",),
    tools=("tools",),
    encode_message=encode_message,
    encode_tool=_written,
    encode_part=_encode_part,
    encode_scalar=_encode_scalar,
)


def patch_request(original: bytes, before: Request, after: Request, facts: Facts) -> Encoded | None:
    """The original body with only the touched JSON paths changed; None if that cannot be.

    A changed `text` needs the whole body: its format is a canon field, the rest of it is not.
    A changed or new message next to a string `input` needs it too.
    """
    if before.extras.get("text") != after.extras.get("text"):
        return None
    string = len(before.messages) == 1 and before.messages[0].at == ("input",)
    if string and [m.at for m in after.messages] != [("input",)]:
        return None
    return patch_with(original, before, after, facts, PATCH)
