"""The body of `POST /v1/chat/completions` <-> canon Request.

Known keys of an unexpected type and unknown keys stay in `Request.extras` as they were read.
Never: looks at headers or paths. Source: OpenAI API reference, Chat, "Create chat completion".
"""

from __future__ import annotations

import json
from typing import Any, cast

from pydantic_core import from_json

from llmitm.canon.parts import Text
from llmitm.canon.request import Request, Sampling, Tool, ToolChoice
from llmitm.canon.values import NO_EXTRAS, Facts, Json, Loss, pointer
from llmitm.dialects.contract import Encoded
from llmitm.dialects.json_text import dump
from llmitm.dialects.limits import fit
from llmitm.dialects.openai_chat.messages import decode_message
from llmitm.dialects.openai_chat.messages_out import MessageEncoder
from llmitm.dialects.openai_chat.parts import Wire, rest_of
from llmitm.dialects.openai_chat.tables import (
    FOREIGN_FIELDS,
    MAX_TOKENS_FIELDS,
    NAME,
    NUMBERS,
    OPENAI_DIALECTS,
    SERVICE_TIERS,
)
from llmitm.dialects.openai_chat.tools import (
    decode_response_format,
    decode_tool,
    decode_tool_choice,
    encode_reasoning_config,
    encode_response_format,
    encode_tool,
    encode_tool_choice,
    take_reasoning_config,
)
from llmitm.dialects.telling import telling, tells
from llmitm.errors import ClientWireError


def decode_request(body: bytes) -> Request:
    """A chat request from the body of `POST /v1/chat/completions`.

    body: UTF-8 JSON object, a byte order mark and white space around it allowed. Messages come
    oldest first, system and developer messages among them; an absent `model` is empty.
    Raises ClientWireError with a JSON pointer (`/messages/3/role`) if the shape is wrong.
    Source: OpenAI API reference, Chat.
    """
    rest = load_object(body)
    listed = rest.pop("messages", None)
    if not isinstance(listed, list):
        raise ClientWireError("/messages", "must be an array")
    messages = tuple([decode_message(item, ("messages", at)) for at, item in enumerate(listed)])
    model = rest.get("model")
    if isinstance(model, str):
        del rest["model"]
    elif model is not None:
        raise ClientWireError("/model", "must be a string")
    stream = rest.get("stream")
    if isinstance(stream, bool):
        del rest["stream"]
    elif stream is not None:
        raise ClientWireError("/stream", "must be true or false")
    tools = _take_tools(rest)
    parallel = rest.get("parallel_tool_calls")
    if isinstance(parallel, bool):
        del rest["parallel_tool_calls"]
    verbosity = rest.get("verbosity")
    if isinstance(verbosity, str):
        del rest["verbosity"]
    form = decode_response_format(rest.get("response_format"))
    if form is not None:
        del rest["response_format"]
    return Request(
        dialect=NAME,
        model=model if isinstance(model, str) else "",
        messages=messages,
        tools=tools,
        tool_choice=_take_choice(rest),
        parallel_tool_calls=parallel if isinstance(parallel, bool) else None,
        sampling=_take_sampling(rest),
        reasoning=take_reasoning_config(rest),
        response_format=form,
        verbosity=verbosity if isinstance(verbosity, str) else None,
        stream=stream is True,
        stream_usage=_take_stream_usage(rest),
        extras=rest or NO_EXTRAS,
    )


def load_object(body: bytes) -> Wire:
    """The JSON object in `body`; ClientWireError if it is none."""
    text = body.removeprefix(b"\xef\xbb\xbf")
    try:
        value: Any = _parsed(text)
    except UnicodeDecodeError as error:
        raise ClientWireError("", "the body is not UTF-8") from error
    except RecursionError as error:
        raise ClientWireError("", "the body is nested too deeply") from error
    except ValueError as error:
        raise ClientWireError("", f"the body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise ClientWireError("", "the body must be an object")
    return cast("Wire", value)


def _parsed(text: bytes) -> Any:
    try:
        return from_json(text)
    except ValueError:
        # Reads what the quick parser does not, lone surrogates and deep nesting, or says why not.
        return json.loads(text.decode())


def _take_tools(rest: Wire) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for key in ("tools", "functions"):
        value = rest.get(key)
        if value is not None and not isinstance(value, list):
            raise ClientWireError(pointer((key,)), "must be an array")
        if value:
            del rest[key]
            tools += [decode_tool(item, (key, place)) for place, item in enumerate(value)]
    return tuple(tools)


def _take_choice(rest: Wire) -> ToolChoice | None:
    choice = decode_tool_choice(rest.get("tool_choice"))
    if choice is not None:
        del rest["tool_choice"]
        return choice
    legacy = rest.get("function_call")
    if legacy is None:
        return None
    del rest["function_call"]
    if isinstance(legacy, dict) and isinstance(name := legacy.get("name"), str):
        known = ToolChoice(mode="named", names=(name,), dialect=NAME)
    else:
        mode = "none" if legacy == "none" else "auto"
        known = ToolChoice(mode=mode, dialect=NAME)
    return ToolChoice(
        mode=known.mode, names=known.names, dialect=NAME, extras={"function_call": legacy}
    )


def _take_stream_usage(rest: Wire) -> bool | None:
    options = rest.get("stream_options")
    if not isinstance(options, dict) or not isinstance(options.get("include_usage"), bool):
        return None
    left = dict(rest_of(options, "include_usage"))
    if left:
        rest["stream_options"] = left
    else:
        del rest["stream_options"]
    return options["include_usage"] is True


def _take_sampling(rest: Wire) -> Sampling:
    found: dict[str, Any] = {}
    for attribute, (key, whole) in NUMBERS.items():
        value = rest.get(key)
        if type(value) is int or (type(value) is float and not whole):
            found[attribute] = rest.pop(key)
    for key in MAX_TOKENS_FIELDS:
        if type(rest.get(key)) is int:
            found["max_tokens"] = rest.pop(key)
            break
    stop = rest.get("stop")
    if isinstance(stop, str):
        found["stop"] = (rest.pop("stop"),)
    elif isinstance(stop, list) and stop and all(isinstance(item, str) for item in stop):
        found["stop"] = tuple(cast("list[str]", rest.pop("stop")))
    if isinstance(rest.get("logprobs"), bool):
        found["logprobs"] = rest.pop("logprobs")
    return Sampling(**found)


def encode_request(request: Request, facts: Facts) -> Encoded:
    """The body for a provider with these facts, and what it could not carry.

    facts: name of the output limit, role of instructions, field of reasoning text, whether
    `stream_options.include_usage` is understood, whether `verbosity` is (`extras`).
    The same request gives the same bytes.
    Source: OpenAI API reference, Chat.
    """
    losses: list[Loss] = []
    own = request.dialect == NAME
    if not own:
        request, told = fit(request, facts, NAME)
        losses += told
    wire: Wire = {"model": request.model} if request.model else {}
    wire["messages"] = _encode_messages(request, facts, losses)
    wire |= encode_sampling(request.sampling, facts)
    for tool in request.tools:
        encoded = encode_tool(tool, request.dialect, losses)
        if encoded is not None:
            key = "functions" if own and tool.at[:1] == ("functions",) else "tools"
            cast("list[Json]", wire.setdefault(key, [])).append(encoded)
    choice = request.tool_choice
    if own and choice is not None and "function_call" in choice.extras:
        wire["function_call"] = choice.extras["function_call"]
    elif choice is not None and (own or "tools" in wire):
        wire["tool_choice"] = encode_tool_choice(request, losses)
    if request.parallel_tool_calls is not None and (own or "tools" in wire):
        wire["parallel_tool_calls"] = request.parallel_tool_calls
    if request.reasoning is not None:
        wire |= encode_reasoning_config(request.reasoning, request.dialect, facts, losses)
    if request.response_format is not None:
        wire["response_format"] = encode_response_format(request.response_format, request.dialect)
    wire |= _verbosity(request, facts, losses)
    if request.stream:
        wire["stream"] = True
    extras = dict(request.extras) if own else _foreign_extras(request, losses)
    options = _stream_options(request, extras.pop("stream_options", None), facts)
    if options is not None:
        wire["stream_options"] = options
    wire |= {key: value for key, value in extras.items() if key not in wire}
    if request.previous_response_id is not None:
        losses.append(Loss("previous_response_id", "/previous_response_id", NAME))
    return Encoded(dump(wire), tuple(losses))


def _verbosity(request: Request, facts: Facts, losses: list[Loss]) -> Wire:
    if request.verbosity is None:
        return {}
    if facts.extras.get("verbosity") is False:
        losses.append(Loss("verbosity", "", NAME, say="the provider refuses it"))
        return {}
    return {"verbosity": request.verbosity}


def _stream_options(request: Request, given: Json, facts: Facts) -> Json:
    """`stream_options`, None = say nothing."""
    own = request.dialect == NAME
    usage = request.stream_usage
    if not own and request.stream and usage is None:
        # Clients of the other protocols always get usage.
        usage = True
    if usage is not None and facts.stream_usage:
        given = {"include_usage": usage, **(given if isinstance(given, dict) else {})}
    return given if own or request.stream else None


def _encode_messages(request: Request, facts: Facts, losses: list[Loss]) -> list[Json]:
    encoder = MessageEncoder(request.dialect, facts, losses)
    wires = encoder.encode_all(request.messages)
    texts: list[str] = []
    for part in request.instructions:
        if isinstance(part, Text):
            texts.append(part.text)
            if request.dialect != NAME:
                losses.extend(
                    Loss("field", pointer((*part.at[:-1], key)), NAME)
                    for key in telling(part.extras)
                )
        else:
            losses.append(Loss("instructions", pointer(part.at), NAME))
    if texts:
        wires.insert(0, {"role": facts.system_role, "content": "\n\n".join(texts)})
    return wires


def encode_sampling(sampling: Sampling, facts: Facts) -> Wire:
    """The sampling keys that were said."""
    wire: Wire = {}
    for attribute, (key, _) in NUMBERS.items():
        value = getattr(sampling, attribute)
        if value is not None:
            wire[key] = value
    if sampling.max_tokens is not None:
        wire[facts.max_tokens_field] = sampling.max_tokens
    if sampling.stop:
        wire["stop"] = list(sampling.stop)
    if sampling.logprobs is not None:
        wire["logprobs"] = sampling.logprobs
    return wire


def _foreign_extras(request: Request, losses: list[Loss]) -> Wire:
    """What another protocol's top-level fields are called here; the rest are losses."""
    kept: Wire = {}
    family = request.dialect in OPENAI_DIALECTS
    for key, value in request.extras.items():
        if family and key in FOREIGN_FIELDS and value is not None:
            kept[key] = value
        elif not tells(key, value):
            continue
        elif key == "metadata" and isinstance(value, dict) and set(value) == {"user_id"}:
            kept["user"] = value["user_id"]
        elif key == "service_tier" and isinstance(value, str) and value in SERVICE_TIERS:
            kept[key] = SERVICE_TIERS[value]
        else:
            losses.append(Loss("field", pointer((key,)), NAME))
    return kept
