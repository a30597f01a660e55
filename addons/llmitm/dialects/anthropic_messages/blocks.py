"""What a content block of the Messages API means: wire object -> canon part.

Total: a block of an unknown kind or a wrong shape is an `Unknown` that holds it whole.
Source: Anthropic API reference, Messages, content blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Path
from llmitm.dialects.anthropic_messages.tables import NAME
from llmitm.dialects.json_text import dump_text, without

type Block = dict[str, Json]


def decode_content(value: Json, at: Path) -> tuple[Part, ...] | None:
    """The parts of a `content` or `system` value at `at`, None if it is no string or list.

    A string is one Text whose `at` is the value's own place: that tells it from a list of one.
    """
    if isinstance(value, str):
        return (Text(text=value, at=at),)
    if isinstance(value, list):
        return tuple([decode_block(block, (*at, place)) for place, block in enumerate(value)])
    return None


def decode_block(block: Json, at: Path) -> Part:
    """One block as a part."""
    if not isinstance(block, dict):
        return Unknown(dialect=NAME, kind="", value=block, at=at)
    kind = block.get("type")
    if not isinstance(kind, str):
        return Unknown(dialect=NAME, kind="", value=block, at=at)
    reader = _READERS.get(kind)
    part = reader(block, at) if reader else None
    return part or Unknown(dialect=NAME, kind=kind, value=block, at=at)


def _text(block: Block, at: Path) -> Part | None:
    text = block.get("text")
    if not isinstance(text, str):
        return None
    if len(block) == 2:
        return Text(text=text, at=(*at, "text"))
    citations = block.get("citations")
    if isinstance(citations, list) and citations:
        return Text(
            text=text,
            annotations=tuple(citations),
            extras=without(block, "type", "text", "citations"),
            at=(*at, "text"),
        )
    return Text(text=text, extras=without(block, "type", "text"), at=(*at, "text"))


def _thinking(block: Block, at: Path) -> Part | None:
    text = block.get("thinking")
    signature = block.get("signature")
    if not isinstance(text, str) or not isinstance(signature, str | None):
        return None
    known = ("type", "thinking") if signature is None else ("type", "thinking", "signature")
    return Reasoning(
        text=text, signature=signature, dialect=NAME, extras=without(block, *known), at=at
    )


def _redacted(block: Block, at: Path) -> Part | None:
    data = block.get("data")
    if not isinstance(data, str):
        return None
    return Reasoning(encrypted=data, dialect=NAME, extras=without(block, "type", "data"), at=at)


def _tool_use(block: Block, at: Path) -> Part | None:
    call_id, name = block.get("id"), block.get("name")
    if not isinstance(call_id, str) or not isinstance(name, str) or "input" not in block:
        return None
    return ToolCall(
        id=call_id,
        name=name,
        arguments=dump_text(block["input"]),
        extras=without(block, "type", "id", "name", "input"),
        at=at,
    )


def _tool_result(block: Block, at: Path) -> Part | None:
    call_id = block.get("tool_use_id")
    if not isinstance(call_id, str):
        return None
    rest = dict(block)
    del rest["type"], rest["tool_use_id"]
    parts = decode_content(block.get("content"), (*at, "content"))
    if parts:
        del rest["content"]
    error = block.get("is_error")
    if isinstance(error, bool):
        del rest["is_error"]
    return ToolResult(
        call_id=call_id,
        parts=parts or (),
        error=error if isinstance(error, bool) else None,
        extras=rest or NO_EXTRAS,
        at=at,
    )


def _image(block: Block, at: Path) -> Part | None:
    source = block.get("source")
    if not isinstance(source, dict):
        return None
    match source:
        case {"type": "base64", "data": str(data), "media_type": str(mime)}:
            left = without(source, "type", "data", "media_type")
            return Media(kind="image", mime=mime, data=data, extras=_media(block, left), at=at)
        case {"type": "url", "url": str(url)}:
            left = without(source, "type", "url")
            return Media(kind="image", url=url, extras=_media(block, left), at=at)
        case {"type": "file", "file_id": str(file_id)}:
            left = without(source, "type", "file_id")
            return Media(kind="image", file_id=file_id, extras=_media(block, left), at=at)
        case _:
            return None


def _document(block: Block, at: Path) -> Part | None:
    source = block.get("source")
    if not isinstance(source, dict):
        return None
    title = block.get("title")
    name = title if isinstance(title, str) else None
    known = () if name is None else ("title",)
    match source:
        case {"type": "base64", "data": str(data), "media_type": str(mime)}:
            extras = _media(block, without(source, "type", "data", "media_type"), *known)
            return Media(kind="document", mime=mime, data=data, name=name, extras=extras, at=at)
        case {"type": "text", "data": str(text), "media_type": str(mime)}:
            extras = _media(block, without(source, "type", "data", "media_type"), *known)
            return Media(kind="document", mime=mime, text=text, name=name, extras=extras, at=at)
        case {"type": "url", "url": str(url)}:
            extras = _media(block, without(source, "type", "url"), *known)
            return Media(kind="document", url=url, name=name, extras=extras, at=at)
        case {"type": "file", "file_id": str(file_id)}:
            extras = _media(block, without(source, "type", "file_id"), *known)
            return Media(kind="document", file_id=file_id, name=name, extras=extras, at=at)
        case {"type": "content", "content": content}:
            text = _only_text(content)
            extras = _media(block, source, *known)
            if text is not None:
                return Media(kind="document", text=text, name=name, extras=extras, at=at)
            return None
        case _:
            return None


def _only_text(content: Json) -> str | None:
    """The text of a content source made of nothing but text, else None."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return None
    pieces: list[str] = []
    for block in content:
        match block:
            case {"type": "text", "text": str(text)}:
                pieces.append(text)
            case _:
                return None
    return "".join(pieces)


def content_source_text(source: Json) -> str | None:
    """The text that a kept `content` source stands for, None if it is none."""
    match source:
        case {"type": "content", "content": content}:
            return _only_text(content)
        case _:
            return None


def _media(block: Block, source_left: Extras, *known: str) -> Extras:
    rest = without(block, "type", "source", *known)
    return {**rest, "source": dict(source_left)} if source_left else rest


_READERS: Mapping[str, Callable[[Block, Path], Part | None]] = MappingProxyType(
    {
        "text": _text,
        "thinking": _thinking,
        "redacted_thinking": _redacted,
        "tool_use": _tool_use,
        "tool_result": _tool_result,
        "image": _image,
        "document": _document,
    }
)
