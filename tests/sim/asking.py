"""The same question in the four protocols, as plain JSON, and what came back."""

from __future__ import annotations

import json
from typing import Any

PROTOCOLS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def question(
    protocol: str, model: str, prompt: str = "hello", *, stream: bool = False, tools: bool = False
) -> tuple[str, dict[str, Any]]:
    """(path, body) of one request."""
    name = "get_weather"
    turns = [{"role": "user", "content": prompt}]
    match protocol:
        case "openai_chat":
            body: dict[str, Any] = {"model": model, "messages": turns, "stream": stream}
            if tools:
                body["tools"] = [
                    {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
                ]
            return "/v1/chat/completions", body
        case "openai_responses":
            body = {"model": model, "input": turns, "stream": stream}
            if tools:
                body["tools"] = [{"type": "function", "name": name, "parameters": SCHEMA}]
            return "/v1/responses", body
        case "anthropic_messages":
            body = {"model": model, "messages": turns, "stream": stream, "max_tokens": 99}
            if tools:
                body["tools"] = [{"name": name, "input_schema": SCHEMA}]
            return "/v1/messages", body
        case _:
            body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}]}
            if tools:
                declared = [{"name": name, "parametersJsonSchema": SCHEMA}]
                body["tools"] = [{"functionDeclarations": declared}]
            verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
            return f"/v1beta/models/{model}:{verb}", body


def events(text: str) -> list[Any]:
    """The JSON of every `data:` line of an SSE text; `[DONE]` as that string."""
    found = list[Any]()
    for line in text.splitlines():
        if line.startswith("data: "):
            found.append(line[6:] if line == "data: [DONE]" else json.loads(line[6:]))
    return found


def text_of(protocol: str, value: Any) -> str:
    """The answer's text in a whole body."""
    match protocol:
        case "openai_chat":
            return value["choices"][0]["message"]["content"] or ""
        case "openai_responses":
            parts = [p for item in value["output"] for p in item.get("content", [])]
            return "".join(part["text"] for part in parts)
        case "anthropic_messages":
            return "".join(b["text"] for b in value["content"] if b["type"] == "text")
        case _:
            parts = value["candidates"][0]["content"]["parts"]
            return "".join(p.get("text", "") for p in parts if not p.get("thought"))


def streamed_text(protocol: str, told: list[Any]) -> str:
    """The answer's text in the events of a stream."""
    text = ""
    for event in told:
        match protocol:
            case "openai_chat":
                choices = [] if event == "[DONE]" else event.get("choices", [])
                text += "".join(c["delta"].get("content") or "" for c in choices)
            case "openai_responses":
                text += event["delta"] if event["type"] == "response.output_text.delta" else ""
            case "anthropic_messages":
                text += event.get("delta", {}).get("text", "")
            case _:
                text += text_of(protocol, event)
    return text
