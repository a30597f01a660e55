"""Request bodies of one megabyte for the bench, in each of the four big protocols' own form.

`many`: an agent's history, some 2,100 small items: a user's word, the model's, its tool call, the
result. `few`: a chat of a hundred long messages. Never: measures.
Source: the request forms as the official SDKs write them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

MEGABYTE = 1_000_000

type Shape = Literal["many", "few"]
type Object = dict[str, object]

LINE = 'The quick brown fox jumps over the lazy dog; it\'s "fine" – naïve, isn’t it?\n'
_ROUNDS: dict[Shape, int] = {"many": 525, "few": 50}
_SCHEMA: Object = {"type": "object", "properties": {"path": {"type": "string"}}}
_TOOL = "read_file"
_SAYS = "Reads a file of the project."


@dataclass(frozen=True, slots=True)
class Round:
    """What is said in one round. call: id, empty = no tool was called; told: the tool's result."""

    asked: str
    said: str
    call: str = ""
    arguments: str = ""
    told: str = ""


def rounds(shape: Shape) -> list[Round]:
    """A conversation whose bodies come to about a megabyte."""
    count = _ROUNDS[shape]
    if shape == "few":
        text = LINE * (MEGABYTE // (2 * count) // len(LINE.encode()))
        return [Round(text, text) for _ in range(count)]
    return [
        Round(
            LINE * 4,
            f"I look at number {place}.",
            call=f"call_{place:05}",
            arguments=json.dumps({"path": f"src/number_{place}.py", "lines": [place, place + 40]}),
            told=LINE * 15,
        )
        for place in range(count)
    ]


def body_of(protocol: str, model: str, told: list[Round], *, stream: bool) -> Object:
    """The body of a request that ends with one more short question.

    Raises ValueError for a protocol without a writer here.
    """
    last = [*told, Round("Say something.", "")]
    match protocol:
        case "openai_chat":
            return {"model": model, "messages": [*_chat(last)], "stream": stream} | _chat_tools(
                told
            )
        case "openai_responses":
            head: Object = {"model": model, "input": [*_responses(last)], "stream": stream}
            return head | _responses_tools(told)
        case "anthropic_messages":
            head = {"model": model, "max_tokens": 900, "messages": [*_anthropic(last)]}
            return head | {"stream": stream} | _anthropic_tools(told)
        case "gemini_generate":
            return {"contents": [*_gemini(last)]} | _gemini_tools(told)
        case _:
            raise ValueError(f"no requests for {protocol}")


def _called(told: list[Round]) -> bool:
    return any(one.call for one in told)


def _chat_tools(told: list[Round]) -> Object:
    function = {"name": _TOOL, "description": _SAYS, "parameters": _SCHEMA}
    return {"tools": [{"type": "function", "function": function}]} if _called(told) else {}


def _responses_tools(told: list[Round]) -> Object:
    tool = {"type": "function", "name": _TOOL, "description": _SAYS, "parameters": _SCHEMA}
    return {"tools": [{**tool, "strict": False}]} if _called(told) else {}


def _anthropic_tools(told: list[Round]) -> Object:
    tool = {"name": _TOOL, "description": _SAYS, "input_schema": _SCHEMA}
    return {"tools": [tool]} if _called(told) else {}


def _gemini_tools(told: list[Round]) -> Object:
    function = {"name": _TOOL, "description": _SAYS, "parameters": _SCHEMA}
    return {"tools": [{"functionDeclarations": [function]}]} if _called(told) else {}


def _chat(told: list[Round]) -> Iterator[Object]:
    for one in told:
        yield {"role": "user", "content": one.asked}
        if one.call:
            function = {"name": _TOOL, "arguments": one.arguments}
            call = {"id": one.call, "type": "function", "function": function}
            yield {"role": "assistant", "content": one.said, "tool_calls": [call]}
            yield {"role": "tool", "tool_call_id": one.call, "content": one.told}
        elif one.said:
            yield {"role": "assistant", "content": one.said}


def _responses(told: list[Round]) -> Iterator[Object]:
    for one in told:
        yield {"role": "user", "content": [{"type": "input_text", "text": one.asked}]}
        if one.said:
            said = {"type": "output_text", "text": one.said, "annotations": list[object]()}
            yield {"type": "message", "role": "assistant", "content": [said]}
        if one.call:
            head = {"type": "function_call", "call_id": one.call, "name": _TOOL}
            yield {**head, "arguments": one.arguments}
            yield {"type": "function_call_output", "call_id": one.call, "output": one.told}


def _anthropic(told: list[Round]) -> Iterator[Object]:
    content: list[Object] = []
    for one in told:
        yield {"role": "user", "content": [*content, {"type": "text", "text": one.asked}]}
        content = []
        said: Object = {"type": "text", "text": one.said}
        if one.call:
            head = {"type": "tool_use", "id": one.call, "name": _TOOL}
            use: Object = {**head, "input": json.loads(one.arguments)}
            yield {"role": "assistant", "content": [said, use]}
            content = [{"type": "tool_result", "tool_use_id": one.call, "content": one.told}]
        elif one.said:
            yield {"role": "assistant", "content": [said]}


def _gemini(told: list[Round]) -> Iterator[Object]:
    for one in told:
        yield {"role": "user", "parts": [{"text": one.asked}]}
        if one.call:
            call = {"id": one.call, "name": _TOOL, "args": json.loads(one.arguments)}
            yield {"role": "model", "parts": [{"text": one.said}, {"functionCall": call}]}
            response = {"id": one.call, "name": _TOOL, "response": {"output": one.told}}
            yield {"role": "user", "parts": [{"functionResponse": response}]}
        elif one.said:
            yield {"role": "model", "parts": [{"text": one.said}]}
