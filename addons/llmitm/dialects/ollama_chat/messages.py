"""Messages of Ollama's chat, and the prompt of its generate call -> canon.

A message keeps text, thinking, images and calls in fields of their own: that order is the parts'.
Source: Ollama API reference, generate a chat completion.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Role
from llmitm.canon.values import Json, Path, pointer
from llmitm.dialects.json_text import Wire, dump_text, without
from llmitm.dialects.ollama_chat.tables import IMAGE_STARTS, NAME
from llmitm.errors import ClientWireError

_ROLES: Mapping[str, Role] = MappingProxyType(
    {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
)


def decode_message(value: Json, place: int) -> Message:
    """The message at a place of `messages`. Raises ClientWireError for a wrong shape."""
    at: Path = ("messages", place)
    if not isinstance(value, dict):
        raise ClientWireError(pointer(at), "a message must be an object")
    role, content = value.get("role"), value.get("content", "")
    if not isinstance(role, str) or role not in _ROLES:
        raise ClientWireError(pointer((*at, "role")), "must be system, user, assistant or tool")
    if not isinstance(content, str):
        raise ClientWireError(pointer((*at, "content")), "must be a string")
    left = dict(without(value, "role", "content"))
    parts = _parts(left, content, at)
    if role == "tool":
        parts = (_result(left, parts, at),)
    return Message(role=_ROLES[role], parts=parts, extras=left, at=at)


def _result(left: Wire, parts: tuple[Part, ...], at: Path) -> ToolResult:
    name, ident = left.get("tool_name"), left.get("tool_call_id")
    if isinstance(name, str):
        del left["tool_name"]
    if isinstance(ident, str):
        del left["tool_call_id"]
    return ToolResult(
        call_id=ident if isinstance(ident, str) else "",
        name=name if isinstance(name, str) else None,
        parts=parts,
        at=at,
    )


def _parts(left: Wire, content: str, at: Path) -> tuple[Part, ...]:
    """All parts of a message; fields that were understood are taken out of `left`."""
    parts: list[Part] = []
    thinking = left.get("thinking")
    if isinstance(thinking, str) and thinking:
        del left["thinking"]
        parts.append(Reasoning(text=thinking, dialect=NAME, at=(*at, "thinking")))
    images, calls = left.get("images"), left.get("tool_calls")
    others: list[Part] = []
    if isinstance(images, list) and images:
        del left["images"]
        others += decode_images(images, (*at, "images"))
    if isinstance(calls, list) and calls:
        del left["tool_calls"]
        others += [
            decode_call(call, (*at, "tool_calls", place)) for place, call in enumerate(calls)
        ]
    if content or not (parts or others):
        parts.append(Text(text=content, at=(*at, "content")))
    return (*parts, *others)


def decode_images(images: list[Json], home: Path) -> list[Part]:
    """Base64 images; the media type is read from how the data begins."""
    return [
        Media(kind="image", mime=_mime(image), data=image, at=(*home, place))
        if isinstance(image, str)
        else Unknown(dialect=NAME, kind="image", value=image, at=(*home, place))
        for place, image in enumerate(images)
    ]


def _mime(data: str) -> str:
    return next((mime for start, mime in IMAGE_STARTS if data.startswith(start)), "")


def decode_call(value: Json, at: Path) -> Part:
    """One entry of `tool_calls`; of another shape than documented, `Unknown`."""
    match value:
        case {"function": {"name": str(name), "arguments": dict(arguments), **about}, **rest}:
            ident = rest.get("id")
            extras: Wire = dict(without(rest, "id") if isinstance(ident, str) else rest)
            if about:
                extras["function"] = about
            return ToolCall(
                id=ident if isinstance(ident, str) else "",
                name=name,
                arguments=dump_text(arguments),
                extras=extras,
                at=at,
            )
        case _:
            return Unknown(dialect=NAME, kind="tool_call", value=value, at=at)
