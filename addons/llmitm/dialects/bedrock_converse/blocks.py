"""Content blocks of the Converse API -> canon parts. Total: what has another shape is `Unknown`.

A block is an object with one key that names its kind. Empty marks in `extras` (`{}`) keep the form
a text came in: `citationsContent`, `guardContent`, `json`.
Source: Amazon Bedrock API reference, ContentBlock, ToolResultContentBlock, SystemContentBlock.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import NO_EXTRAS, Json, Path
from llmitm.dialects.bedrock_converse.tables import MEDIA, MIMES, NAME, MediaKind
from llmitm.dialects.json_text import Wire, dump_text, without

_ERRORS = {"error": True, "success": False}


def decode_blocks(values: Sequence[Json], home: Path) -> tuple[Part, ...]:
    """The parts of a list of blocks that stood at `home`."""
    return tuple([decode_block(value, (*home, place)) for place, value in enumerate(values)])


def decode_block(value: Json, at: Path) -> Part:
    """The part that one block tells."""
    if not isinstance(value, dict) or len(value) != 1:
        return Unknown(dialect=NAME, kind="", value=value, at=at)
    kind, body = next(iter(value.items()))
    part: Part | None = None
    if kind == "text":
        if isinstance(body, str):
            return Text(text=body, at=(*at, "text"))
    elif kind == "json":
        return Text(text=dump_text(body), extras={"json": {}}, at=())
    elif isinstance(body, dict):
        part = _object(kind, body, at)
    return part or Unknown(dialect=NAME, kind=kind, value=value, at=at)


def _object(kind: str, body: Wire, at: Path) -> Part | None:
    match kind:
        case "toolUse":
            return _tool_use(body, at)
        case "toolResult":
            return _tool_result(body, at)
        case "reasoningContent":
            return _reasoning(body, at)
        case "citationsContent":
            return _cited(body, at)
        case "guardContent":
            return _guarded(body, at)
        case _ if kind in MEDIA:
            return _media(MEDIA[kind], body, at)
        case _:
            return None


def _tool_use(body: Wire, at: Path) -> Part | None:
    match body:
        case {"type": "server_tool_use"}:
            return None  # The provider runs it: nobody else may take it for a call.
        case {"toolUseId": str(ident), "name": str(name), "input": given}:
            return ToolCall(
                id=ident,
                name=name,
                arguments=dump_text(given),
                extras=without(body, "toolUseId", "name", "input"),
                at=at,
            )
        case _:
            return None


def _tool_result(body: Wire, at: Path) -> Part | None:
    status = body.get("status")
    match body:
        case {"type": _}:
            return None  # The result of a tool the provider ran.
        case {"toolUseId": str(ident), "content": list(content)} if status in (
            None,
            "error",
            "success",
        ):
            known = ["toolUseId", "content"] + (["status"] if status is not None else [])
            return ToolResult(
                call_id=ident,
                parts=decode_blocks(content, (*at, "toolResult", "content")),
                error=_ERRORS[status] if isinstance(status, str) else None,
                extras=without(body, *known),
                at=at,
            )
        case _:
            return None


def _reasoning(body: Wire, at: Path) -> Part | None:
    if len(body) != 1:
        return None
    match body:
        case {"reasoningText": {"text": str(text), **rest}}:
            signature = rest.get("signature")
            signed = isinstance(signature, str)
            return Reasoning(
                text=text,
                signature=signature if isinstance(signature, str) else None,
                dialect=NAME,
                extras=without(rest, "signature") if signed else rest,
                at=at,
            )
        case {"redactedContent": str(data)}:
            return Reasoning(encrypted=data, dialect=NAME, at=at)
        case _:
            return None


def _cited(body: Wire, at: Path) -> Part | None:
    content, citations = body.get("content"), body.get("citations")
    if not isinstance(content, list) or not isinstance(citations, list):
        return None
    texts = [item["text"] for item in content if isinstance(item, dict) and "text" in item]
    words = [text for text in texts if isinstance(text, str)]
    if len(words) != len(content):
        return None
    mark: Wire = dict(without(body, "content", "citations"))
    plain = content == [{"text": text} for text in words] and len(words) == 1
    if not plain:
        mark["content"] = content
    return Text(
        text="".join(words),
        annotations=tuple(citations),
        # Citations alone say the form.
        extras={"citationsContent": mark} if mark or not citations else NO_EXTRAS,
        at=(*at, "citationsContent", "content", 0, "text") if plain else (),
    )


def _guarded(body: Wire, at: Path) -> Part | None:
    match body:
        case {"text": {"text": str(text), **rest}} if len(body) == 1:
            return Text(
                text=text, extras={"guardContent": rest}, at=(*at, "guardContent", "text", "text")
            )
        case _:
            return None


def _media(kind: MediaKind, body: Wire, at: Path) -> Part | None:
    source, word = body.get("source"), body.get("format")
    if not isinstance(source, dict) or len(source) != 1:
        return None
    left: Wire = dict(without(body, "source"))
    mime = MIMES.get(word, "") if isinstance(word, str) else ""
    if mime:
        del left["format"]
    name = left.pop("name", None) if kind == "document" else None
    if name is not None and not isinstance(name, str):
        left["name"], name = name, None
    data = kept = text = None
    match source:
        case {"bytes": str(data)}:
            pass
        case {"text": str(text)}:
            pass
        case {"s3Location": {"uri": str(kept), **rest}}:
            # A place in the client's own bucket: nobody but AWS can read there.
            if rest:
                left["s3Location"] = rest
        case {"content": list(content)}:
            text = text_of_content(content)
            left["source"] = source
        case _:
            return None
    return Media(
        kind=kind,
        mime=mime,
        data=data,
        file_id=kept,
        text=text,
        name=name,
        extras=left,
        at=at,
    )


def text_of_content(content: Sequence[Json]) -> str:
    """The text of a document that is given as a list of chunks."""
    texts = [item.get("text") for item in content if isinstance(item, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
