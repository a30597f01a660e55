"""What each provider refuses in a request, as far as our encoders answer for it: one list of
complaints a body. Source: the providers' API references (Messages, Chat Completions, Responses,
generateContent)."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any

_CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")


def complaints(name: str, body: bytes) -> list[str]:
    """What this protocol's provider would refuse in this body; empty = nothing."""
    wire = json.loads(body)
    match name:
        case "anthropic_messages":
            return _anthropic(wire)
        case "openai_chat":
            return _chat(wire)
        case "openai_responses":
            return _responses(wire)
        case _:
            return _gemini(wire)


def _twice(words: list[str], what: str) -> list[str]:
    return [f"{what} {word!r} twice" for word, count in Counter(words).items() if count > 1]


def _json_object(text: Any) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (TypeError, ValueError):
        return False


def _blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _anthropic(wire: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    messages = wire["messages"]
    roles = [message["role"] for message in messages]
    if roles != ["user", "assistant"] * (len(roles) // 2) + ["user"] * (len(roles) % 2):
        wrong.append(f"roles do not alternate from the user on: {roles}")
    waiting: list[str] = []
    ids: list[str] = []
    for place, message in enumerate(messages):
        blocks = _blocks(message)
        if not blocks:
            wrong.append(f"message {place} is empty")
        results = [block["tool_use_id"] for block in blocks if block["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            wrong.append(f"message {place} answers {results}, not {waiting}")
        if any(block["type"] != "tool_result" for block in blocks[: len(results)]):
            wrong.append(f"message {place} says something before its results")
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        ids += waiting
        wrong += [f"empty text in {place}" for block in blocks if block.get("text") == ""]
        wrong += [f"bad id {word}" for word in waiting if not _CALL_ID.fullmatch(word)]
        wrong += [
            f"input of {block['name']} is no object"
            for block in blocks
            if block["type"] == "tool_use" and not isinstance(block["input"], dict)
        ]
    if not isinstance(wire.get("max_tokens"), int):
        wrong.append("no max_tokens")
    thinking = wire.get("thinking") or {}
    if thinking.get("type") == "enabled" and not (
        1024 <= thinking["budget_tokens"] < wire["max_tokens"]
    ):
        wrong.append(f"budget {thinking['budget_tokens']} of {wire['max_tokens']}")
    if not 0 <= wire.get("temperature", 0) <= 1:
        wrong.append(f"temperature {wire['temperature']}")
    if wire.get("tool_choice") is not None and not wire.get("tools"):
        wrong.append("tool_choice without tools")
    tools = [tool["name"] for tool in wire.get("tools") or []]
    return wrong + _twice(ids, "call") + _twice(tools, "tool")


def _chat(wire: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    waiting: list[str] = []
    ids: list[str] = []
    for place, message in enumerate(wire["messages"]):
        role = message["role"]
        if role == "tool":
            if message["tool_call_id"] not in waiting:
                wrong.append(f"message {place} answers {message['tool_call_id']}, not {waiting}")
            else:
                waiting.remove(message["tool_call_id"])
            continue
        if waiting:
            wrong.append(f"message {place} follows unanswered calls {waiting}")
        calls = message.get("tool_calls") or []
        waiting = [call["id"] for call in calls]
        ids += waiting
        wrong += [
            f"arguments of {call['function']['name']} are no object"
            for call in calls
            if call["type"] == "function" and not _json_object(call["function"]["arguments"])
        ]
        if role != "assistant" and message.get("content") in (None, []):
            wrong.append(f"message {place} of {role} has no content")
    if waiting:
        wrong.append(f"ends with unanswered calls {waiting}")
    if wire.get("tool_choice") is not None and not wire.get("tools"):
        wrong.append("tool_choice without tools")
    tools = [tool["function"]["name"] for tool in wire.get("tools") or [] if "function" in tool]
    return wrong + _twice(ids, "call") + _twice(tools, "tool")


def _responses(wire: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    items = [item for item in wire["input"] if isinstance(item, dict)]
    calls = ("function_call", "custom_tool_call")
    asked = [item["call_id"] for item in items if item.get("type") in calls]
    told = [item["call_id"] for item in items if str(item.get("type")).endswith("_call_output")]
    if not wire.get("previous_response_id"):
        wrong += [f"result of an unknown call {word}" for word in told if word not in asked]
    wrong += [f"call {word} without a result" for word in asked if word not in told]
    wrong += [
        f"arguments of {item['name']} are no object"
        for item in items
        if item.get("type") == "function_call" and not _json_object(item["arguments"])
    ]
    if wire.get("tool_choice") is not None and not wire.get("tools"):
        wrong.append("tool_choice without tools")
    tools = [tool["name"] for tool in wire.get("tools") or [] if tool["type"] == "function"]
    return wrong + _twice(asked, "call") + _twice(told, "result") + _twice(tools, "tool")


def _gemini(wire: dict[str, Any]) -> list[str]:
    wrong: list[str] = []
    contents = wire["contents"]
    if not contents:
        wrong.append("no contents")
    waiting: list[str] = []
    for place, content in enumerate(contents):
        parts = content["parts"]
        if content["role"] not in ("user", "model"):
            wrong.append(f"role {content['role']}")
        if not parts:
            wrong.append(f"content {place} is empty")
        results = [part["functionResponse"] for part in parts if "functionResponse" in part]
        if sorted(result["name"] for result in results) != sorted(waiting):
            wrong.append(f"content {place} answers {results}, not {waiting}")
        wrong += [
            f"response of {result['name']} is no object"
            for result in results
            if not isinstance(result["response"], dict)
        ]
        waiting = [part["functionCall"]["name"] for part in parts if "functionCall" in part]
        wrong += [
            f"args of {part['functionCall']['name']} are no object"
            for part in parts
            if "functionCall" in part and not isinstance(part["functionCall"].get("args", {}), dict)
        ]
    tools = [
        declared["name"]
        for tool in wire.get("tools") or []
        for declared in tool.get("functionDeclarations", [])
    ]
    return wrong + _twice(tools, "tool")
