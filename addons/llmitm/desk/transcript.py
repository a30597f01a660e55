"""An exchange as a chat that a person can read: roles, text, tool calls, results, usage.

Plain text, one block a message; long media and opaque data are named, not printed. Takes canon
values, never bytes, and never changes anything. Output is capped, because mitmproxy renders on its
event loop.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import assert_never

from llmitm.canon.events import Usage
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Request, Sampling, Tool
from llmitm.canon.response import Response
from llmitm.canon.values import Json

MOST_CHARACTERS = 400_000
"""A longer transcript keeps its head and its tail."""

_RULE = "─" * 60


def exchange_text(request: Request, response: Response | None) -> str:
    """The whole chat: settings, tools, every message, and the answer when there is one."""
    blocks = [_settings(request)]
    if request.instructions:
        blocks.append(_block("system", request.instructions))
    blocks.extend(
        _block(
            message.role if not message.name else f"{message.role} ({message.name})", message.parts
        )
        for message in request.messages
    )
    if response is not None:
        blocks.append(response_text(response))
    return capped("\n\n".join(blocks) + "\n")


def response_text(response: Response) -> str:
    """The answer: its parts, why it ended, what it cost."""
    blocks: list[str] = []
    for choice in response.choices:
        number = f" [{choice.index}]" if len(response.choices) > 1 else ""
        blocks.append(_block("assistant" + number, choice.parts))
        if choice.finish is not None:
            raw = choice.finish.raw
            told = f" ({raw})" if raw and raw != choice.finish.reason else ""
            blocks.append(f"finish: {choice.finish.reason}{told}")
    if response.fault is not None:
        code = f" [{response.fault.code}]" if response.fault.code else ""
        blocks.append(f"ERROR {response.fault.kind}{code}: {response.fault.message}")
    if response.usage is not None:
        blocks.append("usage: " + usage_line(response.usage))
    if response.model:
        blocks.append(f"answered by: {response.model}")
    return capped("\n".join(blocks))


def usage_line(usage: Usage) -> str:
    """`1200 in (1000 cached), 340 out (120 reasoning)`; what is not known is left out."""
    if usage.input_tokens is None and usage.output_tokens is None:
        return "not told"
    inside = [
        f"{count} {name}"
        for count, name in (
            (usage.cache_read_tokens, "cached"),
            (usage.cache_write_tokens, "written to cache"),
        )
        if count
    ]
    line = f"{_number(usage.input_tokens)} in" + (f" ({', '.join(inside)})" if inside else "")
    line += f", {_number(usage.output_tokens)} out"
    return line + (f" ({usage.reasoning_tokens} reasoning)" if usage.reasoning_tokens else "")


def capped(text: str) -> str:
    """The text, its middle left out when it is longer than `MOST_CHARACTERS`."""
    if len(text) <= MOST_CHARACTERS:
        return text
    half = MOST_CHARACTERS // 2
    gone = len(text) - 2 * half
    return f"{text[:half]}\n\n… {gone} characters left out …\n\n{text[-half:]}"


def _number(count: int | None) -> str:
    return "?" if count is None else str(count)


def _settings(request: Request) -> str:
    facts = [f"model: {request.model}", f"stream: {'yes' if request.stream else 'no'}"]
    facts.extend(_sampling(request.sampling))
    if request.reasoning is not None:
        reasoning = request.reasoning
        told = [reasoning.mode, reasoning.effort]
        if reasoning.budget_tokens is not None:
            told.append(f"{reasoning.budget_tokens} tokens")
        facts.append("reasoning: " + ", ".join(word for word in told if word))
    if request.response_format is not None:
        facts.append(f"answer as: {request.response_format.kind}")
    if request.tools:
        facts.append(f"tools: {', '.join(_tool(tool) for tool in request.tools)}")
    if request.tool_choice is not None:
        names = " ".join(request.tool_choice.names)
        facts.append(f"tool choice: {request.tool_choice.mode} {names}".rstrip())
    if request.previous_response_id:
        facts.append(f"continues: {request.previous_response_id}")
    return "\n".join(facts)


def _sampling(sampling: Sampling) -> Iterable[str]:
    for name in ("temperature", "top_p", "top_k", "max_tokens", "seed", "n"):
        value = getattr(sampling, name)
        if value is not None:
            yield f"{name}: {value}"
    if sampling.stop:
        yield f"stop: {list(sampling.stop)}"


def _tool(tool: Tool) -> str:
    return tool.name if tool.kind == "function" else f"{tool.name} ({tool.kind})"


def _block(title: str, parts: Iterable[Part]) -> str:
    return f"{_RULE[: 60 - len(title) - 1]} {title}\n" + "\n".join(_part(part) for part in parts)


def _part(part: Part) -> str:
    match part:
        case Text(text=text):
            notes = f"\n[{len(part.annotations)} citations]" if part.annotations else ""
            return text + notes
        case Reasoning():
            return _reasoning(part)
        case ToolCall():
            return f"→ {part.name}({_arguments(part.arguments)})" + _tag(part.id)
        case ToolResult():
            inner = "\n".join(_part(each) for each in part.parts)
            mark = "✗" if part.error else "←"
            return f"{mark} {part.name or 'result'}{_tag(part.call_id)}\n{_indented(inner)}"
        case Refusal(text=text):
            return f"[refusal] {text}"
        case Media():
            return _media(part)
        case Unknown():
            return f"[{part.kind or 'unknown part'}] {_short(part.value)}"
        case _:
            assert_never(part)


def _reasoning(part: Reasoning) -> str:
    if part.text:
        return _indented(part.text, "┊ ")
    return "┊ [hidden reasoning]" if part.encrypted or part.signature else "┊"


def _media(part: Media) -> str:
    if part.text is not None:
        return f"[{part.kind} {part.name or ''}]\n{_indented(part.text)}"
    if part.data is not None:
        where = f"{len(part.data) * 3 // 4} bytes"
    else:
        where = part.url or part.file_id or ""
    words = (part.kind, part.mime, part.name or "", where[:200])
    return "[" + " ".join(word for word in words if word) + "]"


def _arguments(arguments: str) -> str:
    try:
        value = json.loads(arguments)
    except ValueError:
        return arguments
    if not isinstance(value, dict) or len(arguments) < 80:
        return arguments
    return "\n" + _indented(json.dumps(value, ensure_ascii=False, indent=2)) + "\n"


def _tag(call_id: str) -> str:
    return f"  #{call_id}" if call_id else ""


def _short(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 200 else text[:200] + "…"


def _indented(text: str, by: str = "  ") -> str:
    return "\n".join(by + line for line in text.split("\n"))
