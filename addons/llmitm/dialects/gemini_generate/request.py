"""Requests of `generateContent`, `streamGenerateContent` and `countTokens`, both ways.

The plain form and the Code Assist form (the request under `request`) are both read by either
dialect. Model and streaming live in the URL. Never: reads answers.
Source: Gemini API reference, GenerateContentRequest, CountTokensRequest; the Code Assist form as
gemini-cli sends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from llmitm.canon.parts import Part, ToolCall
from llmitm.canon.request import Message, Request
from llmitm.canon.turns import merge, split_instructions
from llmitm.canon.values import Facts, Json, Loss, Path, pointer
from llmitm.dialects.contract import Encoded
from llmitm.dialects.gemini_generate.compose import Composer, Fields
from llmitm.dialects.gemini_generate.generation import Generation, read_generation, write_generation
from llmitm.dialects.gemini_generate.parts import read_contents, read_instructions
from llmitm.dialects.gemini_generate.tables import (
    CODE_ASSIST_NAME,
    FAMILY,
    INNER_ONLY_KEYS,
    NO_SIGNATURE_MODELS,
    OUTER_KEYS,
)
from llmitm.dialects.gemini_generate.tools import (
    read_tool_config,
    read_tools,
    write_tool_choice,
    write_tools,
)
from llmitm.dialects.gemini_generate.wire import (
    Wire,
    dump,
    parse,
    source_of,
    spelled,
    without,
)
from llmitm.dialects.limits import fit
from llmitm.dialects.telling import telling
from llmitm.errors import ClientWireError

_SECTIONS = ("contents", "systemInstruction", "tools", "toolConfig", "generationConfig")
_PREFIX = "models/"


@dataclass(frozen=True, slots=True)
class Body:
    """A request body taken apart: the request itself, and what stands around it.

    prefix: where the request is in `outer`; `()` when they are the same.
    """

    outer: dict[str, Json]
    inner: dict[str, Json]
    prefix: Path

    @property
    def wrapper(self) -> str:
        """The key that the request is under, empty when it is the whole body."""
        return str(self.prefix[0]) if self.prefix else ""

    def model(self) -> str:
        """The model's name as the body tells it, empty when only the URL does."""
        for fields in (self.outer, self.inner):
            model = fields.get("model")
            if isinstance(model, str):
                return model.removeprefix(_PREFIX)
        return ""

    def key(self, name: str) -> str:
        """How the request spells this key."""
        return spelled(self.inner, name)

    def get(self, name: str) -> Json:
        """The request's value of this key in either spelling."""
        return self.inner.get(self.key(name))


def open_body(value: Json) -> Body | None:
    """The request in a body of any form; None if it is no object."""
    if not isinstance(value, dict):
        return None
    if "contents" not in value:
        for name in ("request", "generateContentRequest"):
            key = spelled(value, name)
            inner = value.get(key)
            if isinstance(inner, dict):
                return Body(value, inner, (key,))
    return Body(value, value, ())


def decode_request(body: bytes, dialect: str) -> Request:
    """A request from the body of `…:generateContent`, `…:streamGenerateContent`, `…:countTokens`.

    body: UTF-8 JSON object in the plain or the Code Assist form; `dialect` is the name it gets.
    `model` stays empty where only the URL has it, `stream` stays False: the caller fills them in.
    `extras` holds the keys beside, of the request and of what is around it, and under
    `generationConfig` and `toolConfig` what these have more than canon.
    Raises ClientWireError with a JSON pointer (`/contents/3/parts`) if the shape is wrong.
    Source: Gemini API reference, GenerateContentRequest.
    """
    try:
        value = parse(body)
    except ValueError as error:
        raise ClientWireError("", f"not JSON: {error}") from None
    form = open_body(value)
    if form is None:
        raise ClientWireError("", "the body must be a JSON object")
    at = form.prefix
    contents = form.get("contents")
    if contents is None:
        raise ClientWireError(pointer((*at, "contents")), "contents are missing")
    messages = read_contents(contents, (*at, "contents"))
    instructions = read_instructions(
        form.get("systemInstruction"), (*at, form.key("systemInstruction"))
    )
    tools = read_tools(form.get("tools"), (*at, "tools"))
    generation = read_generation(form.get("generationConfig"))
    choice, tool_rest = read_tool_config(form.get("toolConfig"))
    extras = without(form.inner, [form.key(name) for name in _SECTIONS])
    if at:
        extras = {**without(form.outer, (form.wrapper,)), **extras}
    model = form.model()
    if model:
        del extras["model"]
    for name, rest in (("generationConfig", generation.rest), ("toolConfig", tool_rest)):
        if rest:
            extras[name] = rest
    return Request(
        dialect=dialect,
        model=model,
        messages=messages,
        instructions=instructions,
        tools=tools,
        tool_choice=choice,
        sampling=generation.sampling,
        reasoning=generation.reasoning,
        response_format=generation.response_format,
        extras=Wire(extras, form.outer, (messages, instructions, tools)),
    )


def call_names(messages: tuple[Message, ...]) -> Mapping[str, str]:
    """The function's name for every call id in this history."""
    return {
        part.id: part.name
        for message in messages
        for part in message.parts
        if isinstance(part, ToolCall) and part.id
    }


def composer_for(request: Request, facts: Facts, target: str) -> Composer:
    """What writes the parts of this request.

    facts.extras `media_in_results`: False for models that take no media inside a function's
    response (before Gemini 3); `sign_calls`: whether calls of other models need a signature,
    by default all but Gemini 1 and 2.
    """
    own = request.dialect in FAMILY
    sign = facts.extras.get("sign_calls")
    if not isinstance(sign, bool):
        sign = not request.model.removeprefix(_PREFIX).startswith(NO_SIGNATURE_MODELS)
    return Composer(
        target=target,
        own=own,
        names=call_names(request.messages),
        media_in_results=facts.extras.get("media_in_results") is not False,
        sign_calls=sign and not own,
    )


def encode_request(request: Request, facts: Facts, target: str) -> Encoded:
    """The body for `target`, the Code Assist form for that dialect.

    A request of this protocol keeps, section by section, the form its client gave it as long as
    it was not edited. One of another protocol loses what has no counterpart; facts.extras
    `project` is what the Code Assist form names as project.
    """
    told: tuple[Loss, ...] = ()
    if request.dialect not in FAMILY:
        request, told = fit(request, facts, target)
    composer = composer_for(request, facts, target)
    source = open_body(source_of(request.extras)) if composer.own else None
    inner = _sections(request, facts, composer, source)
    outer: Fields = {}
    _place_extras(request, composer, source, inner, outer)
    body = _wrapped(request, facts, target, source, (inner, outer))
    return Encoded(dump(body), (*told, *composer.losses))


def encode_message(message: Message, composer: Composer) -> list[Json]:
    """The contents that say this one message; empty when nothing of it can be said."""
    content = composer.content(message)
    return [] if content is None else [content]


def _sections(request: Request, facts: Facts, composer: Composer, source: Body | None) -> Fields:
    """The keys that canon has fields for, each as it was read unless it was edited."""
    instructions, messages = _speech(request, composer)
    inner: Fields = {}
    made = _made(request, source)
    if source is not None and messages is made[0]:
        inner["contents"] = source.get("contents")
    else:
        if isinstance(made[0], tuple):
            composer.same = {id(message) for message in cast("tuple[Message, ...]", made[0])}
        contents = [item for message in messages for item in encode_message(message, composer)]
        inner["contents"] = contents if composer.own else _merged(contents)
    kept = source is not None and (
        instructions is made[1]
        or read_instructions(source.get("systemInstruction"), ()) == instructions
    )
    if not _keep("systemInstruction", kept, source, inner) and instructions:
        system = composer.parts(instructions)
        if system and not inner["contents"]:
            composer.adapt("instructions", (), "as the user's message")
            inner["contents"] = [{"role": "user", "parts": [*system]}]
        elif system:
            inner["systemInstruction"] = {"parts": [*system]}
    kept = source is not None and (
        request.tools is made[2] or read_tools(source.get("tools"), ()) == request.tools
    )
    if not _keep("tools", kept, source, inner) and request.tools:
        tools = write_tools(request.tools, composer)
        if tools:
            inner["tools"] = tools
    _write_configs(request, facts, composer, source, inner)
    return inner


def _merged(contents: list[Json]) -> list[Json]:
    """Contents whose roles alternate, also where a message between two could not be said."""
    merged: list[Json] = []
    for content in contents:
        last = merged[-1] if merged else None
        if (
            isinstance(last, dict)
            and isinstance(content, dict)
            and last["role"] == content["role"]
            and isinstance(before := last["parts"], list)
            and isinstance(after := content["parts"], list)
        ):
            merged[-1] = {**last, "parts": [*before, *after]}
        else:
            merged.append(content)
    return merged


def _made(request: Request, source: Body | None) -> tuple[object, ...]:
    """What the request's source was read as: messages, instructions, tools."""
    extras = request.extras
    if source is None or not isinstance(extras, Wire) or not isinstance(extras.made, tuple):
        return (None, None, None)
    return cast("tuple[object, ...]", extras.made)


def _write_configs(
    request: Request, facts: Facts, composer: Composer, source: Body | None, inner: Fields
) -> None:
    rest = request.extras.get("toolConfig") if composer.own else None
    tool_rest = rest if isinstance(rest, dict) else {}
    kept = source is not None and (
        read_tool_config(source.get("toolConfig")) == (request.tool_choice, tool_rest)
    )
    if not _keep("toolConfig", kept, source, inner):
        calling = write_tool_choice(request, composer)
        config: Fields = dict(tool_rest)
        if calling:
            config["functionCallingConfig"] = calling
        if config:
            inner["toolConfig"] = config
    elif request.parallel_tool_calls is False:
        composer.lose("parallel_tool_calls")
    rest = request.extras.get("generationConfig") if composer.own else None
    now = Generation(
        request.sampling,
        request.reasoning,
        request.response_format,
        rest if isinstance(rest, dict) else {},
    )
    kept = source is not None and read_generation(source.get("generationConfig")) == now
    if not _keep("generationConfig", kept, source, inner):
        generation = write_generation(request, now.rest, composer, facts)
        if generation:
            inner["generationConfig"] = generation


def _keep(name: str, kept: bool, source: Body | None, inner: Fields) -> bool:
    """Writes a section as it was read (or leaves it absent as it was), if `kept`."""
    if source is None or not kept:
        return False
    key = source.key(name)
    if key in source.inner:
        inner[key] = source.inner[key]
    return True


def _speech(request: Request, composer: Composer) -> tuple[tuple[Part, ...], tuple[Message, ...]]:
    """(system instruction, contents). There is no system role: later system text is the user's."""
    if composer.own:
        return request.instructions, request.messages
    instructions, messages = split_instructions(request)
    spoken: list[Message] = []
    for message in messages:
        if message.role in ("system", "developer"):
            composer.adapt("message.role", message.at, f"{message.role} as user")
            spoken.append(replace(message, role="user"))
        else:
            spoken.append(message)
    return instructions, tuple(merge(spoken))


def _place_extras(
    request: Request, composer: Composer, source: Body | None, inner: Fields, outer: Fields
) -> None:
    """Puts every extra key where it belongs: into the request, around it, or among the losses."""
    if not composer.own:
        if request.verbosity is not None:
            composer.lose("verbosity")
        if request.previous_response_id is not None:
            composer.lose("previous_response_id", ("previous_response_id",))
        for key in telling(request.extras):
            value = request.extras[key]
            if key == "service_tier" and value in ("flex", "priority", "standard", "default"):
                inner["serviceTier"] = "standard" if value == "default" else value
            else:
                composer.lose("field", (key,))
        return
    around = source.outer.keys() - source.inner.keys() if source and source.prefix else ()
    wrapped = bool(_wrapper(request, composer.target, source))
    for key, value in request.extras.items():
        if key in ("generationConfig", "toolConfig"):
            continue
        if key in OUTER_KEYS or key in around:
            if wrapped:
                outer[key] = value
            else:
                composer.lose("field", (key,))
        elif key in INNER_ONLY_KEYS and not wrapped and request.dialect == CODE_ASSIST_NAME:
            composer.lose("field", ("request", key))
        else:
            inner[key] = value


def _wrapper(request: Request, target: str, source: Body | None) -> str:
    """The key to put the request under, empty for none: as it came, or as `target` has it."""
    if source is not None and request.dialect == target:
        return source.wrapper
    return "request" if target == CODE_ASSIST_NAME else ""


def _wrapped(
    request: Request,
    facts: Facts,
    target: str,
    source: Body | None,
    made: tuple[Fields, Fields],
) -> Fields:
    """The whole body: the request, with the model where this form has one."""
    inner, outer = made
    wrapper = _wrapper(request, target, source)
    if source is not None and request.dialect == target:
        for place, fields in ((source.inner, inner), (source.outer, outer)):
            model = place.get("model")
            if model is not None and request.model == source.model():
                fields["model"] = model
            elif isinstance(model, str):
                prefix = _PREFIX if model.startswith(_PREFIX) else ""
                fields["model"] = prefix + request.model.removeprefix(_PREFIX)
        return {**outer, wrapper: inner} if wrapper else inner
    if not wrapper:
        return inner
    project = outer.pop("project", None) or facts.extras.get("project")
    head: Fields = {"model": request.model.removeprefix(_PREFIX)}
    if project is not None:
        head["project"] = project
    return {**head, **outer, wrapper: inner}
