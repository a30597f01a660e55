"""The four official SDKs in their normal mode behind the proxy, told apart only by protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
from google import genai
from google.genai import types
from proxied import Proxied

PROTOCOLS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
PROVIDERS = {
    # Speaks Chat alone: with `openai` a Responses client would stay in its own protocol.
    "openai_chat": "together",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic",
    "gemini_generate": "gemini",
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
}


type Told = Callable[[str], object]


@dataclass
class Said:
    """What an SDK understood."""

    text: str = ""
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    finish: str = ""
    tokens: tuple[int | None, int | None] = (None, None)
    refusal: str = ""


def ask(
    proxied: Proxied,
    protocol: str,
    model: str,
    *,
    stream: bool,
    tools: bool = False,
    prompt: str = "",
    told: Told = lambda text: None,
) -> Said:
    """One question in a protocol; raises what the SDK raises. told: hears the text of a stream."""
    prompt = prompt or ("What is the weather in Paris?" if tools else "Hello there.")
    return globals()[f"_{protocol}"](proxied, model, prompt, stream, tools, told)


def _openai(proxied: Proxied) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-client", http_client=proxied.sdk_client(), max_retries=0)


def _openai_chat(
    proxied: Proxied, model: str, prompt: str, stream: bool, tools: bool, told: Told
) -> Said:
    function = {"name": "get_weather", "description": "Weather", "parameters": SCHEMA}
    asked: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": prompt},
        ],
    }
    if tools:
        asked["tools"] = [{"type": "function", "function": function}]
    with _openai(proxied) as client:
        if stream:
            asked["stream_options"] = {"include_usage": True}
            with client.chat.completions.stream(**asked) as events:
                for event in events:
                    if event.type == "content.delta" and event.delta:
                        told(event.delta)
                answer: Any = events.get_final_completion()
        else:
            answer = client.chat.completions.create(**asked)
    choice = answer.choices[0]
    calls = [
        (call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or ()
    ]
    usage = answer.usage
    tokens = (usage.prompt_tokens, usage.completion_tokens) if usage else (None, None)
    message = choice.message
    return Said(message.content or "", calls, choice.finish_reason, tokens, message.refusal or "")


def _openai_responses(
    proxied: Proxied, model: str, prompt: str, stream: bool, tools: bool, told: Told
) -> Said:
    asked: dict[str, Any] = {"model": model, "input": prompt, "instructions": "Be brief."}
    if tools:
        tool = {"type": "function", "name": "get_weather", "parameters": SCHEMA, "strict": False}
        asked["tools"] = [tool]
    with _openai(proxied) as client:
        if stream:
            with client.responses.stream(**asked) as events:
                for event in events:
                    if event.type == "response.output_text.delta":
                        told(event.delta)
                answer: Any = events.get_final_response()
        else:
            answer = client.responses.create(**asked)
    calls = [
        (item.name, json.loads(item.arguments))
        for item in answer.output
        if item.type == "function_call"
    ]
    usage = answer.usage
    tokens = (usage.input_tokens, usage.output_tokens) if usage else (None, None)
    refused = [
        part.refusal
        for item in answer.output
        if item.type == "message"
        for part in item.content
        if part.type == "refusal"
    ]
    return Said(answer.output_text, calls, answer.status, tokens, "".join(refused))


def _anthropic_messages(
    proxied: Proxied, model: str, prompt: str, stream: bool, tools: bool, told: Told
) -> Said:
    asked: dict[str, Any] = {
        "model": model,
        "max_tokens": 1000,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": prompt}],
    }
    if tools:
        asked["tools"] = [{"name": "get_weather", "description": "W", "input_schema": SCHEMA}]
    client = anthropic.Anthropic(
        api_key="sk-client", http_client=proxied.sdk_client(), max_retries=0
    )
    with client:
        if stream:
            with client.messages.stream(**asked) as events:
                for text in events.text_stream:
                    told(text)
                answer: Any = events.get_final_message()
        else:
            answer = client.messages.create(**asked)
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = [(block.name, block.input) for block in answer.content if block.type == "tool_use"]
    usage = answer.usage
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return Said(text, calls, answer.stop_reason, (usage.input_tokens + cached, usage.output_tokens))


def _gemini_generate(
    proxied: Proxied, model: str, prompt: str, stream: bool, tools: bool, told: Told
) -> Said:
    config = types.GenerateContentConfig(
        system_instruction="Be brief.",
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    if tools:
        declared = types.FunctionDeclaration(name="get_weather", parameters_json_schema=SCHEMA)
        config.tools = [types.Tool(function_declarations=[declared])]
    options = types.HttpOptions(httpx_client=proxied.sdk_client())
    client = genai.Client(api_key="client-key", http_options=options)
    said = Said()
    if stream:
        chunks: Any = client.models.generate_content_stream(
            model=model, contents=prompt, config=config
        )
    else:
        chunks = [client.models.generate_content(model=model, contents=prompt, config=config)]
    for chunk in chunks:
        for candidate in chunk.candidates or ():
            for part in (candidate.content and candidate.content.parts) or ():
                if part.text and not part.thought:
                    said.text += part.text
                    told(part.text)
                if part.function_call:
                    said.calls.append(
                        (part.function_call.name or "", part.function_call.args or {})
                    )
            if candidate.finish_reason:
                said.finish = candidate.finish_reason.value
        usage = chunk.usage_metadata
        if usage:
            output = (usage.candidates_token_count or 0) + (usage.thoughts_token_count or 0)
            said.tokens = (usage.prompt_token_count, output)
    return said
