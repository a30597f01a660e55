"""Parts of messages and answers in a document: how each kind is written.

What is not shown (signatures, media, cache breakpoints, opaque blocks) comes along by the part's
number, `keep: 2`. Never: reads (that is `document_reading`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import Json
from llmitm.desk.document_fields import json_written, object_of
from llmitm.dialects.gemini_generate.parts import result_text
from llmitm.ruleset.yaml_text import Block, Written

VALUE_KEYS = ("output", "result", "error")
"""A structured result that is an object with one of these alone, and text in it, is that text."""


def content_written(parts: Sequence[Part]) -> dict[str, Written]:
    """`text` for content that is one text, else `parts`."""
    match parts:
        case [Text(text=text)]:
            return {"text": Block(text)}
        case _:
            return {"parts": parts_written(parts)}


def parts_written(parts: Sequence[Part]) -> list[Written]:
    """The items of a list of parts, each with its number."""
    return [{"keep": place, **part_written(part)} for place, part in enumerate(parts, 1)]


def part_written(part: Part) -> dict[str, Written]:
    """What is shown of a part; its first key names its kind."""
    match part:
        case Text():
            return {"text": Block(part.text)}
        case ToolCall():
            return call_written(part)
        case ToolResult():
            return _result(part)
        case Reasoning():
            return _reasoning(part)
        case Refusal():
            return {"refusal": Block(part.text)}
        case Media():
            return _media(part)
        case Unknown():
            return {"other": part.kind or "unknown"}
        case _:
            assert_never(part)


def call_written(call: ToolCall) -> dict[str, Written]:
    """A tool call: `tool_call` (the name), `id`, `arguments` as a mapping where they are one."""
    shown: dict[str, Written] = {"tool_call": call.name, "id": call.id}
    if call.kind != "function":
        shown["kind"] = call.kind
    value = object_of(call.arguments) if call.kind == "function" else None
    shown["arguments"] = _prose(call.arguments) if value is None else value
    return shown


def _prose(text: str) -> Written:
    return Block(text) if "\n" in text else text


def _result(part: ToolResult) -> dict[str, Written]:
    shown: dict[str, Written] = {"tool_result": part.call_id}
    if part.name is not None:
        shown["name"] = part.name
    if part.kind != "function":
        shown["kind"] = part.kind
    if part.error is not None:
        shown["error"] = part.error
    if shows_value(part):
        shown["value"] = json_written(part.value)
        return shown
    return shown | content_written(part.parts)


def shows_value(part: ToolResult) -> bool:
    """Whether the result stands as structured data: its parts are no more than the text of it."""
    if part.value is None or text_in(part.value) is not None:
        return False
    text = result_text(part.value)
    match part.parts:
        case ():
            return not text
        case (Text() as alone,):
            return alone == Text(text=text)
        case _:
            return False


def text_in(value: Json) -> str | None:
    """The text that a structured result is, None when it is more than a text."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in VALUE_KEYS:
        (text,) = value.values()
        return text if isinstance(text, str) else None
    return value if isinstance(value, str) else None


def _reasoning(part: Reasoning) -> dict[str, Written]:
    if not part.text and (part.encrypted or part.signature):
        hidden = len(part.encrypted or part.signature or "")
        return {"hidden_reasoning": f"{hidden} characters that only its maker can read"}
    shown: dict[str, Written] = {"reasoning": Block(part.text)}
    if part.summary:
        shown["summary"] = True
    if part.signature or part.encrypted:
        shown["signed"] = True
    return shown


def _media(part: Media) -> dict[str, Written]:
    if part.text is not None:
        return {part.kind: part.name or part.mime or "text", "text": Block(part.text)}
    if part.url is not None and not part.url.startswith("data:"):
        return {part.kind: part.url}
    if part.file_id is not None:
        return {part.kind: f"file {part.file_id}"}
    data = part.data if part.data is not None else part.url or ""
    words = (part.mime, part.name or "", f"{len(data) * 3 // 4} bytes")
    return {part.kind: ", ".join(word for word in words if word)}
