"""Messages of a chat request: their wire objects <-> canon messages.

`at` tells the exact wire form apart where canon does not: a string content (`…/content`) from an
array of one text (`…/content/0/text`), the reasoning field's name, a legacy `function_call`.
Source: OpenAI API reference, Chat; OpenRouter, reasoning tokens; Mistral, reasoning.
"""

from __future__ import annotations

import json
from typing import cast, get_args

from pydantic_core import to_json

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Role
from llmitm.canon.values import NO_EXTRAS, Json, Path, pointer
from llmitm.dialects.openai_chat.parts import Wire, decode_part, rest_of
from llmitm.dialects.openai_chat.tables import NAME, REASONING_FIELDS
from llmitm.errors import ClientWireError

_ROLES = frozenset(get_args(Role.__value__))


def decode_message(value: Json, at: Path) -> Message:
    """One element of `messages`; ClientWireError if it is no object or names no role."""
    if not isinstance(value, dict):
        raise ClientWireError(pointer(at), "a message must be an object")
    role = value.get("role")
    if not isinstance(role, str):
        raise ClientWireError(pointer((*at, "role")), "must be a string")
    if role in ("tool", "function"):
        return _decode_result(value, role, at)
    rest: Wire = dict(value)
    del rest["role"]
    known: Role = "user"
    if role in _ROLES:
        known = cast("Role", role)
    else:
        rest["role"] = role
    parts: list[Part] = []
    if role == "assistant":
        parts += take_reasoning(rest, at)
    parts += _take_content(rest, at)
    if not rest:
        return Message(role=known, parts=tuple(parts), at=at)
    if isinstance(refusal := rest.get("refusal"), str):
        del rest["refusal"]
        parts.append(Refusal(text=refusal, at=(*at, "refusal")))
    if isinstance(audio := rest.get("audio"), dict) and isinstance(audio.get("id"), str):
        del rest["audio"]
        parts.append(decode_audio(audio, (*at, "audio")))
    parts += take_calls(rest, at)
    name = rest.pop("name") if isinstance(rest.get("name"), str) else None
    return Message(
        role=known,
        parts=tuple(parts),
        name=cast("str | None", name),
        extras=rest or NO_EXTRAS,
        at=at,
    )


def _take_content(rest: Wire, at: Path) -> list[Part]:
    """The parts of `content`, which leaves `rest`; null stays only where a string is due."""
    content = rest.get("content")
    here = (*at, "content")
    if isinstance(content, str):
        del rest["content"]
        return [Text(text=content, at=here)]
    if isinstance(content, list):
        if content:
            del rest["content"]
        return [decode_part(item, (*here, place)) for place, item in enumerate(content)]
    if content is None:
        rest.pop("content", None)
        return []
    del rest["content"]
    return [Unknown(dialect=NAME, kind="", value=content, at=here)]


def take_reasoning(rest: Wire, at: Path = ()) -> list[Part]:
    """The thinking that stands beside `content`: its keys leave `rest`.

    A second field with text, and every null, stays in `rest`.
    """
    text, field = "", ""
    for key in REASONING_FIELDS:
        if isinstance(value := rest.get(key), str):
            text, field = value, key
            del rest[key]
            break
    details = rest.get("reasoning_details")
    extras: Wire = {}
    signature = encrypted = None
    if isinstance(details, list) and details:
        del rest["reasoning_details"]
        extras["reasoning_details"] = details
        signature, encrypted = proofs(details)
        if not field:
            text, field = details_text(details), "reasoning_details"
    if not field:
        return []
    return [
        Reasoning(
            text=text,
            signature=signature,
            encrypted=encrypted,
            dialect=NAME,
            extras=extras or NO_EXTRAS,
            at=(*at, field),
        )
    ]


def details_text(details: list[Json]) -> str:
    """The readable text of OpenRouter's `reasoning_details`."""
    pieces: list[str] = []
    for item in details:
        if isinstance(item, dict):
            for key in ("text", "summary"):
                if isinstance(piece := item.get(key), str):
                    pieces.append(piece)
                    break
    return "".join(pieces)


def proofs(details: list[Json]) -> tuple[str | None, str | None]:
    """(first signature, first encrypted data) in `reasoning_details`."""
    found: dict[str, str] = {}
    for item in details:
        if isinstance(item, dict):
            for key in ("signature", "data"):
                if isinstance(value := item.get(key), str) and not found.get(key):
                    found[key] = value
    return found.get("signature"), found.get("data")


def decode_audio(wire: Wire, at: Path = ()) -> Media:
    """An answer's audio, or the reference to it in a later request."""
    data, name = wire.get("data"), wire.get("id")
    return Media(
        kind="audio",
        data=data if isinstance(data, str) else None,
        file_id=name if isinstance(name, str) else None,
        extras=rest_of(
            wire,
            "data" if isinstance(data, str) else "",
            "id" if isinstance(name, str) else "",
        ),
        at=at,
    )


def take_calls(rest: Wire, at: Path = ()) -> list[Part]:
    """The tool calls of a message, legacy `function_call` included; their keys leave `rest`."""
    parts: list[Part] = []
    calls = rest.get("tool_calls")
    if isinstance(calls, list) and calls:
        del rest["tool_calls"]
        parts += [decode_call(call, (*at, "tool_calls", place)) for place, call in enumerate(calls)]
    legacy = rest.get("function_call")
    if isinstance(legacy, dict) and legacy.get("name") and isinstance(legacy["name"], str):
        del rest["function_call"]
        call = decode_call({"type": "function_call", "function": legacy}, (*at, "function_call"))
        parts.append(call)
    return parts


def decode_call(value: Json, at: Path = ()) -> ToolCall | Unknown:
    """One tool call; what is none stays Unknown.

    extras hold the rest of the object, and of its `function` under that key; arguments that are
    not a string stay there too.
    """
    extras: Wire = dict(value) if isinstance(value, dict) else {}
    kind = extras.get("type")
    key, field = ("custom", "input") if kind == "custom" else ("function", "arguments")
    function = extras.pop(key, None)
    if not isinstance(function, dict):
        return Unknown(dialect=NAME, kind=kind if isinstance(kind, str) else "", value=value, at=at)
    inner: Wire = dict(function)
    name, given = taken_text(inner, "name"), inner.get(field)
    if isinstance(given, str):
        del inner[field]
    call_id = taken_text(extras, "id")
    if kind == key:
        del extras["type"]
    if inner:
        extras[key] = inner
    return ToolCall(
        id=call_id,
        name=name,
        arguments=given if isinstance(given, str) else arguments_text(given),
        kind=key,
        extras=extras or NO_EXTRAS,
        at=at,
    )


def taken_text(rest: Wire, key: str) -> str:
    """The string under `key`, which leaves `rest`; empty, and left there, if it is none."""
    value = rest.get(key)
    if isinstance(value, str):
        del rest[key]
        return value
    return ""


def arguments_text(value: Json) -> str:
    """Arguments that a provider sent as an object, as the text they should have been."""
    if value is None:
        return ""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _decode_result(value: Wire, role: str, at: Path) -> Message:
    rest: Wire = dict(value)
    if role == "tool":
        del rest["role"]
    parts = tuple(_take_content(rest, at))
    call_id, name = taken_text(rest, "tool_call_id"), rest.get("name")
    if isinstance(name, str):
        del rest["name"]
    result = ToolResult(
        call_id=call_id, parts=parts, name=name if isinstance(name, str) else None, at=at
    )
    return Message(role="tool", parts=(result,), extras=rest or NO_EXTRAS, at=at)


def json_text(value: Json) -> str:
    """`value` as compact JSON text."""
    return to_json(value).decode()
