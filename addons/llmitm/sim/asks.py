"""What a request asks for, as far as a scripted answer depends on it.

Reads the four protocols on its own, independent of `dialects`, and leniently: a real provider's
checks are not imitated beyond "the body is a JSON object". Never: decides what to answer.
Source: OpenAI API reference (Chat, Responses), Anthropic API reference (Messages), Gemini API
reference (generateContent), and recorded requests of real clients.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast

from pydantic_core import from_json

type Protocol = Literal["openai_chat", "openai_responses", "anthropic_messages", "gemini_generate"]
type Form = Literal["whole", "sse", "array"]
type Object = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool on offer. schema: JSON Schema of its arguments; custom: it takes free text."""

    name: str
    schema: Object = field(default_factory=dict[str, object], hash=False)
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. form: how the answer is to come; usage_chunk: chat's `include_usage`;
    wrapped: Gemini Code Assist; prompt: the last user text, empty = none; results: texts of the
    tool results the request ends with, empty = it does not end with any."""

    protocol: Protocol
    model: str = ""
    form: Form = "whole"
    usage_chunk: bool = False
    wrapped: bool = False
    tools: tuple[Tool, ...] = ()
    prompt: str = ""
    results: tuple[str, ...] = ()


class NotAnObject(ValueError):
    """The body is not a JSON object."""


def obj(value: object) -> Object:
    """`value` if it is a JSON object, else an empty one."""
    return cast("Object", value) if isinstance(value, dict) else {}


def items(value: object) -> list[object]:
    """`value` if it is a JSON array, else an empty one."""
    return cast("list[object]", value) if isinstance(value, list) else []


def text_of(value: object) -> str:
    """`value` if it is a string, else an empty one."""
    return value if isinstance(value, str) else ""


def parse(body: bytes) -> Object:
    """The JSON object in `body`. Raises NotAnObject."""
    try:
        value: object = from_json(body)
    except ValueError as error:
        raise NotAnObject(str(error)) from error
    if not isinstance(value, dict):
        raise NotAnObject("the body is not a JSON object")
    return cast("Object", value)


def _joined(content: object) -> str:
    """The text of a content value: a string, or a list of parts with `text`."""
    if isinstance(content, str):
        return content
    return "\n".join(text for part in items(content) if (text := text_of(obj(part).get("text"))))


def _last_text(content: object) -> str:
    """The last text part: agents put context of their own into the parts before it."""
    if isinstance(content, str):
        return content
    texts = (text_of(obj(part).get("text")) for part in reversed(items(content)))
    return next((text for text in texts if text), "")


def _either(value: Object, *keys: str) -> object:
    return next((value[key] for key in keys if key in value), None)


def chat(body: Object) -> Ask:
    """The ask of a `…/chat/completions` body."""
    prompt, results = "", list[str]()
    for message in reversed(items(body.get("messages"))):
        turn = obj(message)
        role = turn.get("role")
        if role == "tool":
            if not prompt:
                results.insert(0, _joined(turn.get("content")))
        elif role == "user":
            prompt = _last_text(turn.get("content"))
            break
    if _closed_by(items(body.get("messages")), lambda turn: turn.get("role") == "user"):
        results = []
    options = obj(body.get("stream_options"))
    return Ask(
        protocol="openai_chat",
        model=text_of(body.get("model")),
        form="sse" if body.get("stream") is True else "whole",
        usage_chunk=options.get("include_usage") is True,
        tools=() if body.get("tool_choice") == "none" else tuple(_chat_tools(body)),
        prompt=prompt,
        results=tuple(results),
    )


def _closed_by(turns: list[object], test: Callable[[Object], bool]) -> bool:
    return bool(turns) and test(obj(turns[-1]))


def _chat_tools(body: Object) -> Iterator[Tool]:
    for tool in items(body.get("tools")):
        function = obj(obj(tool).get("function"))
        if name := text_of(function.get("name")):
            yield Tool(name, obj(function.get("parameters")))


def responses(body: Object) -> Ask:
    """The ask of a `…/responses` body."""
    given = body.get("input")
    turns: list[object] = (
        [{"role": "user", "content": given}] if isinstance(given, str) else items(given)
    )
    prompt, results = "", list[str]()
    for item in reversed(turns):
        turn = obj(item)
        if turn.get("type") in {"function_call_output", "custom_tool_call_output"}:
            output = turn.get("output")
            results.insert(0, _joined(output))
        elif turn.get("role") == "user":
            prompt = _last_text(turn.get("content"))
            break
    if _closed_by(turns, lambda turn: turn.get("role") == "user"):
        results = []
    return Ask(
        protocol="openai_responses",
        model=text_of(body.get("model")),
        form="sse" if body.get("stream") is True else "whole",
        tools=() if body.get("tool_choice") == "none" else tuple(_response_tools(body)),
        prompt=prompt,
        results=tuple(results),
    )


def _response_tools(body: Object) -> Iterator[Tool]:
    for entry in items(body.get("tools")):
        tool = obj(entry)
        name = text_of(tool.get("name"))
        if name and tool.get("type") == "function":
            yield Tool(name, obj(tool.get("parameters")))
        elif name and tool.get("type") == "custom":
            yield Tool(name, custom=True)


def messages(body: Object) -> Ask:
    """The ask of a `/v1/messages` body."""
    prompt, results = "", list[str]()
    turns = items(body.get("messages"))
    for message in reversed(turns):
        turn = obj(message)
        if turn.get("role") != "user":
            continue
        parts = [obj(part) for part in items(turn.get("content"))]
        found = [
            _joined(part.get("content")) for part in parts if part.get("type") == "tool_result"
        ]
        if found:
            results[:0] = found
            continue
        prompt = _last_text(turn.get("content"))
        break
    if not _closed_by(turns, _holds_tool_result):
        results = []
    return Ask(
        protocol="anthropic_messages",
        model=text_of(body.get("model")),
        form="sse" if body.get("stream") is True else "whole",
        tools=()
        if obj(body.get("tool_choice")).get("type") == "none"
        else tuple(_message_tools(body)),
        prompt=prompt,
        results=tuple(results),
    )


def _holds_tool_result(turn: Object) -> bool:
    return any(obj(part).get("type") == "tool_result" for part in items(turn.get("content")))


def _message_tools(body: Object) -> Iterator[Tool]:
    for entry in items(body.get("tools")):
        tool = obj(entry)
        name = text_of(tool.get("name"))
        # A server tool has a versioned type and no schema; the client cannot run it.
        if name and "input_schema" in tool:
            yield Tool(name, obj(tool.get("input_schema")))


def generate(body: Object, *, model: str, form: Form, wrapped: bool) -> Ask:
    """The ask of a Gemini body; wrapped: nested under `request` (Code Assist)."""
    if wrapped:
        model = text_of(body.get("model")) or model
        body = obj(body.get("request"))
    prompt, results = "", list[str]()
    turns = items(body.get("contents"))
    for content in reversed(turns):
        turn = obj(content)
        if turn.get("role") == "model":
            continue
        parts = [obj(part) for part in items(turn.get("parts"))]
        answers = (obj(_either(part, "functionResponse", "function_response")) for part in parts)
        found = [_result_text(answer.get("response")) for answer in answers if answer]
        if found:
            results[:0] = found
            continue
        prompt = _last_text(turn.get("parts"))
        break
    if not _closed_by(turns, _holds_function_response):
        results = []
    mode = obj(
        _either(
            obj(_either(body, "toolConfig", "tool_config")),
            "functionCallingConfig",
            "function_calling_config",
        )
    ).get("mode")
    return Ask(
        protocol="gemini_generate",
        model=model,
        form=form,
        wrapped=wrapped,
        tools=() if mode == "NONE" else tuple(_gemini_tools(body)),
        prompt=prompt,
        results=tuple(results),
    )


def _holds_function_response(turn: Object) -> bool:
    return any(
        _either(obj(part), "functionResponse", "function_response") is not None
        for part in items(turn.get("parts"))
    )


def _result_text(response: object) -> str:
    """A function response's text: its only value if that is a string, else its JSON."""
    value = obj(response)
    if len(value) == 1 and isinstance(only := next(iter(value.values())), str):
        return only
    return json.dumps(response, ensure_ascii=False)


def _gemini_tools(body: Object) -> Iterator[Tool]:
    for entry in items(body.get("tools")):
        listed = _either(obj(entry), "functionDeclarations", "function_declarations")
        for declared in items(listed):
            tool = obj(declared)
            schema = _either(tool, "parametersJsonSchema", "parameters_json_schema", "parameters")
            if name := text_of(tool.get("name")):
                yield Tool(name, obj(schema))
