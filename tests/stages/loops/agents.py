"""Agents that replay their history, in the four protocols' own bodies."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from llmitm.canon.request import Request
from llmitm.dialects.catalog import DIALECTS


@dataclass(frozen=True)
class Made:
    """A call and what it gave; user = the user's words before it, None = nothing was said."""

    tool: str
    arguments: Any
    result: str = "ok"
    user: str | None = None


def request_in(dialect: str, made: Sequence[Made], user: str = "go") -> Request:
    """The request of an agent in this protocol after these calls."""
    return DIALECTS[dialect].decode_request(json.dumps(_BODIES[dialect](made, user)).encode())


def _chat(made: Sequence[Made], user: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": user}]
    for place, one in enumerate(made):
        if one.user is not None:
            messages.append({"role": "user", "content": one.user})
        call = {"name": one.tool, "arguments": json.dumps(one.arguments)}
        messages.append(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [{"id": f"call_{place}", "type": "function", "function": call}],
            }
        )
        messages.append({"role": "tool", "tool_call_id": f"call_{place}", "content": one.result})
    tool = {"type": "function", "function": {"name": "bash", "parameters": {"type": "object"}}}
    return {"model": "m", "messages": messages, "tools": [tool]}


def _responses(made: Sequence[Made], user: str) -> Any:
    items: list[Any] = [{"role": "user", "content": user}]
    for place, one in enumerate(made):
        if one.user is not None:
            items.append({"role": "user", "content": one.user})
        call = {"call_id": f"call_{place}", "name": one.tool}
        items.append({"type": "function_call", "arguments": json.dumps(one.arguments), **call})
        output = {"call_id": f"call_{place}", "output": one.result}
        items.append({"type": "function_call_output", **output})
    tool = {"type": "function", "name": "bash", "parameters": {"type": "object"}}
    return {"model": "m", "input": items, "tools": [tool]}


def _anthropic(made: Sequence[Made], user: str) -> Any:
    messages: list[Any] = [{"role": "user", "content": user}]
    for place, one in enumerate(made):
        if one.user is not None:
            messages.append({"role": "user", "content": one.user})
        use = {"type": "tool_use", "id": f"toolu_{place}", "name": one.tool, "input": one.arguments}
        messages.append({"role": "assistant", "content": [use]})
        result = {"type": "tool_result", "tool_use_id": f"toolu_{place}", "content": one.result}
        # An agent's own reminder beside the result is nothing the user said.
        reminder = {"type": "text", "text": "<system-reminder>Mind the list.</system-reminder>"}
        messages.append({"role": "user", "content": [result, reminder]})
    tool = {"name": "bash", "input_schema": {"type": "object"}}
    return {"model": "m", "max_tokens": 99, "messages": messages, "tools": [tool]}


def _gemini(made: Sequence[Made], user: str) -> Any:
    contents: list[Any] = [{"role": "user", "parts": [{"text": user}]}]
    for one in made:
        if one.user is not None:
            contents.append({"role": "user", "parts": [{"text": one.user}]})
        call = {"name": one.tool, "args": one.arguments}
        contents.append({"role": "model", "parts": [{"functionCall": call}]})
        response = {"name": one.tool, "response": {"output": one.result}}
        contents.append({"role": "user", "parts": [{"functionResponse": response}]})
    tool = {"functionDeclarations": [{"name": "bash", "parameters": {"type": "object"}}]}
    return {"contents": contents, "tools": [tool]}


_BODIES = {
    "openai_chat": _chat,
    "openai_responses": _responses,
    "anthropic_messages": _anthropic,
    "gemini_generate": _gemini,
}
PROTOCOLS = tuple(_BODIES)
