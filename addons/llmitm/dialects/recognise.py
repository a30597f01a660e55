"""Which protocol a body or a stream looks like, by the names at its top alone.

For people who ask what they have in hand, and for providers that answer in another protocol than
`rules/providers.yaml` declares. Never: decodes anything, raises, or guesses where a shape is
shared: then the answer is empty.
Source: the API references of the protocols, each one's request, answer, error and stream event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from llmitm.canon.values import Json
from llmitm.dialects.framing_json_array import JsonArraySplitter
from llmitm.dialects.framing_sse import SseSplitter
from llmitm.dialects.json_text import parse

type Shape = Literal["request", "answer", "sse", "array", "lines", ""]

_CHAT, _RESPONSES = "openai_chat", "openai_responses"
_MESSAGES, _GEMINI, _CODE_ASSIST = "anthropic_messages", "gemini_generate", "gemini_code_assist"
_OLLAMA, _BEDROCK = "ollama_chat", "bedrock_converse"

_SAME_WRAPPED = frozenset(
    {
        frozenset({_GEMINI, _CODE_ASSIST}),
        frozenset({_OLLAMA, "ollama_generate"}),
        frozenset({_MESSAGES, "bedrock_invoke"}),
    }
)
"""Pairs of protocols whose decoders read either's answers."""

_FRAMES_LOOKED_AT = 64

_MESSAGES_EVENTS = frozenset(
    {
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
        "ping",
    }
)

_REQUEST_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "contents": _GEMINI,
        "generationConfig": _GEMINI,
        "systemInstruction": _GEMINI,
        "system_instruction": _GEMINI,
        "input": _RESPONSES,
        "previous_response_id": _RESPONSES,
        "max_output_tokens": _RESPONSES,
        "inferenceConfig": _BEDROCK,
        "toolConfig": _BEDROCK,
        "system": _MESSAGES,
        "stop_sequences": _MESSAGES,
        "anthropic_version": _MESSAGES,
        "max_completion_tokens": _CHAT,
        "stream_options": _CHAT,
        "response_format": _CHAT,
        "frequency_penalty": _CHAT,
        "presence_penalty": _CHAT,
        "reasoning_effort": _CHAT,
        "logit_bias": _CHAT,
        "functions": _CHAT,
        "n": _CHAT,
        "stop": _CHAT,
        "keep_alive": _OLLAMA,
    }
)
"""Top-level keys of requests that one protocol alone has, the most telling first."""

_BLOCKS = frozenset(
    {"tool_use", "tool_result", "thinking", "redacted_thinking", "document", "server_tool_use"}
)
_CHAT_PARTS = frozenset({"image_url", "input_audio", "file", "refusal"})


def request_dialect(value: Json) -> str:
    """The name of the protocol that this request is written in; empty = it could be several."""
    if not isinstance(value, dict):
        return ""
    if value.get("type") == "response.create":
        return _RESPONSES
    wrapped = value.get("request")
    if isinstance(wrapped, dict) and isinstance(wrapped.get("contents"), list):
        return _CODE_ASSIST
    messages = value.get("messages")
    for key, name in _REQUEST_KEYS.items():
        if key in value and (key != "system" or isinstance(messages, list)):
            return _BEDROCK if name == _MESSAGES and _is_bedrock(messages) else name
    tools = value.get("tools")
    for tool in tools if isinstance(tools, list) else ():
        if isinstance(tool, dict):
            if "input_schema" in tool:
                return _MESSAGES
            if "function" in tool:
                return _CHAT
    return _by_messages(messages)


def _by_messages(messages: Json) -> str:
    for message in messages if isinstance(messages, list) else ():
        if not isinstance(message, dict):
            continue
        if message.get("role") in ("system", "developer", "tool") or "tool_calls" in message:
            return _CHAT
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if not isinstance(block, dict):
                continue
            kind = block.get("type")
            if (
                kind in _BLOCKS
                or "cache_control" in block
                or (kind == "image" and "source" in block)
            ):
                return _MESSAGES
            if kind in _CHAT_PARTS:
                return _CHAT
    return _BEDROCK if _is_bedrock(messages) else ""


def _is_bedrock(messages: Json) -> bool:
    """Whether content blocks are named by their key and have no type."""
    match messages:
        case [{"content": [dict(block), *_]}, *_]:
            return "type" not in block and bool(
                block.keys() & {"text", "toolUse", "toolResult", "image"}
            )
        case _:
            return False


def answer_dialect(value: Json) -> str:
    """The name of the protocol of this whole answer, error body or stream event; empty = unsure.

    An error body of the OpenAI protocols looks the same in both, so it has no name.
    """
    if isinstance(value, list):
        return next((name for item in value[:4] if (name := answer_dialect(item))), "")
    if not isinstance(value, dict):
        return ""
    kind = value.get("type")
    if isinstance(kind, str):
        if kind in _MESSAGES_EVENTS:
            return _MESSAGES
        if kind.startswith("response."):
            return _RESPONSES
        if kind == "message" and isinstance(value.get("content"), list):
            return _MESSAGES
        if kind == "error":
            return _MESSAGES if isinstance(value.get("error"), dict) else _RESPONSES
    for looks, name in _ANSWERS:
        if looks(value):
            return name
    return ""


def _looks_chat(value: dict[str, Json]) -> bool:
    kind = value.get("object")
    return isinstance(value.get("choices"), list) or (
        isinstance(kind, str) and kind.startswith("chat.completion")
    )


def _looks_responses(value: dict[str, Json]) -> bool:
    return value.get("object") == "response" or (
        isinstance(value.get("output"), list) and "status" in value
    )


def _looks_gemini(value: dict[str, Json]) -> bool:
    error = value.get("error")
    return bool(
        value.keys() & {"candidates", "promptFeedback", "usageMetadata", "totalTokens"}
    ) or (
        isinstance(error, dict)
        and isinstance(error.get("code"), int)
        and isinstance(error.get("status"), str)
    )


def _looks_code_assist(value: dict[str, Json]) -> bool:
    inner = value.get("response")
    return isinstance(inner, dict) and _looks_gemini(inner)


def _looks_ollama(value: dict[str, Json]) -> bool:
    return isinstance(value.get("done"), bool) and "message" in value


def _looks_ollama_generate(value: dict[str, Json]) -> bool:
    return isinstance(value.get("done"), bool) and "response" in value


def _looks_bedrock(value: dict[str, Json]) -> bool:
    output = value.get("output")
    return "stopReason" in value and isinstance(output, dict) and "message" in output


_ANSWERS: tuple[tuple[Callable[[dict[str, Json]], bool], str], ...] = (
    (_looks_chat, _CHAT),
    (_looks_responses, _RESPONSES),
    (_looks_code_assist, _CODE_ASSIST),
    (_looks_ollama, _OLLAMA),
    (_looks_ollama_generate, "ollama_generate"),
    (_looks_bedrock, _BEDROCK),
    (_looks_gemini, _GEMINI),
)


def frame_dialect(data: bytes) -> str:
    """As `answer_dialect`, of the data of one frame of a stream; empty for what is no JSON."""
    try:
        return answer_dialect(parse(data))
    except ValueError:
        return ""


def stream_dialect(body: bytes, shape: Shape) -> str:
    """The protocol of a stream that is there as a whole, by the first frames that tell."""
    # JSON values that only follow each other are split as the elements of an array are.
    splitter = SseSplitter() if shape == "sse" else JsonArraySplitter()
    frames = [*splitter.feed(body), *splitter.close()]
    data = [frame.data for frame in frames[:_FRAMES_LOOKED_AT] if frame.data]
    return next((name for each in data if (name := frame_dialect(each))), "")


def shape_of(body: bytes) -> Shape:
    """What this is: a request, a whole answer or error (`answer`), a stream as server-sent events,
    as a JSON array or as JSON lines; empty = none of these.
    """
    text = body.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] not in (b"{", b"["):
        lines = text.splitlines()[:_FRAMES_LOOKED_AT]
        fields = (b"data:", b"event:", b"id:", b"retry:", b":")
        return "sse" if any(line.startswith(fields) for line in lines) else ""
    if text[:1] == b"[":
        return "array"
    try:
        value = parse(text)
    except ValueError:
        head, more, _ = text.partition(b"\n")
        return "lines" if more and frame_dialect(head) else ""
    if not isinstance(value, dict):
        return ""
    if answer_dialect(value) or isinstance(value.get("error"), dict | str):
        return "answer"
    known = request_dialect(value) or "messages" in value
    return "request" if known else ""


def same_family(declared: str, seen: str) -> bool:
    """Whether what was seen may be read as what was declared: the same, or the same wrapped."""
    return not seen or declared == seen or frozenset((declared, seen)) in _SAME_WRAPPED
