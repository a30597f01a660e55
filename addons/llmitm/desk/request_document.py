"""A request as a YAML document that an operator reads and edits, and back.

Settings first, then tools by name, instructions, and every message with its number. What an edit
leaves alone comes back as the very same object, so that the wire is patched only where it changed.
Never: raises anything but DocumentError.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, cast

from llmitm.canon.parts import Part, Text
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Role,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.desk.document_fields import Fields, Mistakes, json_written, same_json, shape
from llmitm.desk.document_parts import content_written, parts_written
from llmitm.desk.document_reading import read_content, read_parts
from llmitm.ruleset.documents import Node
from llmitm.ruleset.yaml_text import Block, Written

ROLES: tuple[Role, ...] = ("system", "developer", "user", "assistant", "tool")

_NUMBERS = ("temperature", "top_p", "frequency_penalty", "presence_penalty")
_COUNTS = ("max_tokens", "top_k", "seed", "n", "top_logprobs")
_SAMPLING = (
    "max_tokens", "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty",
    "seed", "n", "logprobs", "top_logprobs",
)  # fmt: skip
_MODES: tuple[Literal["auto", "none", "required", "named"], ...] = (
    "auto", "none", "required", "named",
)  # fmt: skip
_THINKS = ("on", "off", "adaptive")
_FORMATS: tuple[Literal["text", "json_object", "json_schema"], ...] = (
    "text", "json_object", "json_schema",
)  # fmt: skip


def written_request(request: Request) -> dict[str, Written]:
    """The document as data."""
    shown: dict[str, Written] = {"model": request.model, "stream": request.stream}
    shown |= _sampled(request.sampling)
    if request.reasoning is not None:
        shown["reasoning"] = _told(request.reasoning, ("mode", "effort", "budget_tokens", "show"))
    if request.verbosity is not None:
        shown["verbosity"] = request.verbosity
    if request.response_format is not None:
        shown["response_format"] = _format(request.response_format)
    if request.previous_response_id is not None:
        shown["previous_response_id"] = request.previous_response_id
    if request.stream_usage is not None:
        shown["stream_usage"] = request.stream_usage
    if request.tools:
        shown["tools"] = [tool.name for tool in request.tools]
    if request.tool_choice is not None:
        choice = request.tool_choice
        shown["tool_choice"] = {"mode": choice.mode, "names": list(choice.names)}
    if request.parallel_tool_calls is not None:
        shown["parallel_tool_calls"] = request.parallel_tool_calls
    if request.instructions:
        shown["instructions"] = _instructions(request.instructions)
    shown["messages"] = [
        _message(place, message) for place, message in enumerate(request.messages, 1)
    ]
    return shown


def _sampled(sampling: Sampling) -> dict[str, Written]:
    shown = _told(sampling, _SAMPLING)
    return {**shown, "stop": list(sampling.stop)} if sampling.stop else shown


def _told(value: object, names: tuple[str, ...]) -> dict[str, Written]:
    pairs = ((name, getattr(value, name)) for name in names)
    return {name: told for name, told in pairs if told is not None}


def _format(form: ResponseFormat) -> dict[str, Written]:
    shown = _told(form, ("kind", "name", "description", "strict"))
    return shown if form.schema is None else {**shown, "schema": json_written(form.schema)}


def _instructions(parts: tuple[Part, ...]) -> Written:
    match parts:
        case (Text(text=text),):
            return Block(text)
        case _:
            return parts_written(parts)


def _message(place: int, message: Message) -> dict[str, Written]:
    shown: dict[str, Written] = {"message": place, "role": message.role}
    if message.name is not None:
        shown["name"] = message.name
    return shown | content_written(message.parts)


def request_of(root: Node, was: Request, mistakes: Mistakes) -> Request:
    """The request that an edited document says; `was` itself when nothing changed."""
    fields = Fields(root, "the document", mistakes)
    model = fields.needed("model", was.model)
    stream = fields.take("stream")
    if stream is not None and stream.value is not was.stream:
        mistakes.add(stream, "`stream` cannot be changed: the client waits for that sort of answer")
    made: dict[str, object] = {
        "model": model,
        "sampling": _sampling(fields, was.sampling),
        "reasoning": _reasoning(fields, was.reasoning, mistakes),
        "verbosity": fields.text("verbosity", was.verbosity),
        "response_format": _response_format(fields, was.response_format, mistakes),
        "previous_response_id": fields.text("previous_response_id", was.previous_response_id),
        "stream_usage": fields.flag("stream_usage", was.stream_usage),
        "tools": _tools(fields, was.tools, mistakes),
        "tool_choice": _tool_choice(fields, was.tool_choice, mistakes),
        "parallel_tool_calls": fields.flag("parallel_tool_calls", was.parallel_tool_calls),
        "instructions": _read_instructions(fields, was.instructions, mistakes),
        "messages": _messages(fields, was.messages, mistakes),
    }
    fields.done(("stream", *made))
    return _changed(was, made)


def _changed[T](was: T, made: dict[str, object]) -> T:
    """`was` with these fields, itself if they are all as before."""
    new = {
        name: value
        for name, value in made.items()
        if (old := getattr(was, name)) is not value and not _same(old, value)
    }
    return replace(cast("Any", was), **new) if new else was


def _same(old: object, new: object) -> bool:
    # Lists of parts are new only where something changed, and `at` would not count.
    return old == new and not isinstance(old, tuple)


def _sampling(fields: Fields, was: Sampling) -> Sampling:
    made: dict[str, object] = {}
    for name in _NUMBERS:
        made[name] = fields.number(name, getattr(was, name))
    for name in _COUNTS:
        made[name] = fields.whole(name, getattr(was, name))
    made["logprobs"] = fields.flag("logprobs", was.logprobs)
    stop = fields.texts("stop", was.stop)
    made["stop"] = was.stop if stop == was.stop else stop
    return _changed(was, made)


def _reasoning(
    fields: Fields, was: ReasoningConfig | None, mistakes: Mistakes
) -> ReasoningConfig | None:
    node = fields.take("reasoning")
    if node is None or node.value is None:
        return None
    inner = Fields(node, "`reasoning`", mistakes)
    before = was or ReasoningConfig()
    mode = inner.text("mode", before.mode)
    if mode is not None and mode not in _THINKS and mode != before.mode:
        mistakes.add(node, f"`mode` must be one of {', '.join(_THINKS)}")
        mode = before.mode
    made: dict[str, object] = {
        "mode": mode,
        "effort": inner.text("effort", before.effort),
        "budget_tokens": inner.whole("budget_tokens", before.budget_tokens),
        "show": inner.text("show", before.show),
    }
    inner.done(made)
    return _changed(before, made)


def _response_format(
    fields: Fields, was: ResponseFormat | None, mistakes: Mistakes
) -> ResponseFormat | None:
    node = fields.take("response_format")
    if node is None or node.value is None:
        return None
    inner = Fields(node, "`response_format`", mistakes)
    before = was or ResponseFormat(kind="text")
    made: dict[str, object] = {
        "kind": inner.word("kind", before.kind, _FORMATS),
        "name": inner.text("name", before.name),
        "description": inner.text("description", before.description),
        "strict": inner.flag("strict", before.strict),
    }
    schema = inner.json("schema", before.schema)
    inner.done((*made, "schema"))
    after = _changed(before, made)
    return after if schema is before.schema else replace(after, schema=schema)


def _tool_choice(fields: Fields, was: ToolChoice | None, mistakes: Mistakes) -> ToolChoice | None:
    node = fields.take("tool_choice")
    if node is None or node.value is None:
        return None
    inner = Fields(node, "`tool_choice`", mistakes)
    before = was or ToolChoice(mode="auto")
    mode = inner.word("mode", before.mode, _MODES)
    names = inner.texts("names", before.names)
    inner.done(("mode", "names"))
    if mode == "named" and not names:
        mistakes.add(node, "`named` needs the tool's name in `names`")
    if was is not None and (mode, names) == (was.mode, was.names):
        return was
    # The wire form that it had says the old choice.
    return replace(before, mode=mode, names=names, value=None, dialect="")


def _tools(fields: Fields, was: tuple[Tool, ...], mistakes: Mistakes) -> tuple[Tool, ...]:
    nodes = fields.items("tools") or []
    waiting: dict[str, list[Tool]] = {}
    for tool in was:
        waiting.setdefault(tool.name, []).append(tool)
    made: list[Tool] = []
    for node in nodes:
        if isinstance(node.value, str):
            name = node.value
            if waiting.get(name):
                made.append(waiting[name].pop(0))
            else:
                say = f"there was no tool `{name}` (any more); a new one needs name, description "
                mistakes.add(node, say + "and parameters")
            continue
        tool = _tool(Fields(node, "a tool", mistakes), waiting)
        if tool is not None:
            made.append(tool)
    same = len(made) == len(was) and all(one is other for one, other in zip(made, was, strict=True))
    return was if same else tuple(made)


def _tool(fields: Fields, waiting: dict[str, list[Tool]]) -> Tool | None:
    if not isinstance(fields.node.value, dict):
        return None
    name = fields.needed("name", "")
    before = waiting[name].pop(0) if waiting.get(name) else Tool(name=name)
    if before.kind != "function":
        say = f"`{name}` is a {before.kind} tool: only its name can stand here"
        fields.mistakes.add(fields.node, say)
        return before
    description = fields.text("description", before.description)
    parameters = fields.json("parameters", before.parameters)
    fields.done(("name", "description", "parameters"))
    if description == before.description and same_json(parameters, before.parameters):
        return before
    return replace(before, description=description, parameters=parameters)


def _read_instructions(
    fields: Fields, was: tuple[Part, ...], mistakes: Mistakes
) -> tuple[Part, ...]:
    node = fields.take("instructions")
    if node is None or node.value is None:
        return ()
    if isinstance(node.value, str):
        if len(was) == 1 and isinstance(was[0], Text):
            return was if node.value == was[0].text else (replace(was[0], text=node.value),)
        return (Text(text=node.value),)
    if not isinstance(node.value, list):
        mistakes.add(node, f"`instructions` must be text or a list of parts, not {shape(node)}")
        return was
    return read_parts(node.value, was, mistakes)


def _messages(fields: Fields, was: tuple[Message, ...], mistakes: Mistakes) -> tuple[Message, ...]:
    nodes = fields.items("messages")
    if nodes is None:
        mistakes.add(fields.node, "the document must have `messages`")
        return was
    made: list[Message] = []
    used: dict[int, int] = {}
    for node in nodes:
        inner = Fields(node, "a message", mistakes)
        place = inner.place("message", len(was))
        if place is not None and place in used:
            say = f"message {place + 1} stands twice, first on line {used[place]}"
            mistakes.add(node, f"{say}; leave `message` out for a new one")
            place = None
        if place is not None:
            used[place] = node.place.line
        if isinstance(node.value, dict):
            made.append(_read_message(inner, None if place is None else was[place], mistakes))
    same = len(made) == len(was) and all(one is other for one, other in zip(made, was, strict=True))
    return was if same else tuple(made)


def _read_message(fields: Fields, was: Message | None, mistakes: Mistakes) -> Message:
    if was is not None and not fields.names():
        # `message: 3` alone is enough.
        return was
    before = was or Message(role="user", parts=())
    if was is None and "role" not in fields.names():
        mistakes.add(fields.node, f"a new message must have `role`: {', '.join(ROLES)}")
    made: dict[str, object] = {
        "role": fields.word("role", before.role, ROLES),
        "name": fields.text("name", before.name),
    }
    parts = read_content(fields, before.parts, mistakes)
    fields.done(("message", *made, "text", "parts"))
    after = _changed(before, made)
    return after if parts is before.parts else replace(after, parts=parts)
