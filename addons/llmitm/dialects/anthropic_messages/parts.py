"""How a canon part is written as a content block of the Messages API.

Parts of this protocol come out as they were read; those of another are adapted to what the API
takes, and what it does not take is a `Loss`.
Source: Anthropic API reference, Messages, content blocks; vision and PDF support guides.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace
from typing import Literal, assert_never

from llmitm.canon.parts import (
    Media,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from llmitm.canon.request import Tool
from llmitm.canon.values import Extras, Json, Loss, Path, pointer
from llmitm.dialects.anthropic_messages.blocks import content_source_text
from llmitm.dialects.anthropic_messages.tables import IMAGE_TYPES, NAME
from llmitm.dialects.json_text import parse
from llmitm.dialects.telling import telling, told_anew

type Block = dict[str, Json]

_CUSTOM_SCHEMA: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
    "additionalProperties": False,
}


class PartEncoder:
    """Writes parts and tools; collects in `losses` what it could not write.

    own: the extras of what it is given are this protocol's.
    """

    def __init__(self, own: bool, losses: list[Loss]) -> None:
        self.own = own
        self.losses = losses

    def lose(
        self,
        feature: str,
        at: Path = (),
        how: Literal["dropped", "adapted"] = "dropped",
        say: str = "",
    ) -> None:
        """Notes one loss."""
        self.losses.append(Loss(feature, pointer(at), NAME, how, say))

    def content(self, parts: tuple[Part, ...], home: Path) -> Json:
        """The value of a `content` or `system` field that stood at `home` (`()` = nowhere)."""
        if home and len(parts) == 1:
            part = parts[0]
            if isinstance(part, Text) and part.at == home and not part.annotations:
                return part.text
        return list(self.blocks(parts))

    def blocks(self, parts: Iterable[Part]) -> list[Json]:
        """The blocks of these parts, without those that cannot be written."""
        written = [self.part(part) for part in parts]
        return [block for block in written if block is not None]

    def part(self, part: Part) -> Block | None:
        """One block, None if the part cannot be written."""
        match part:
            case Text():
                return self._text(part)
            case ToolCall():
                return self._tool_use(part)
            case ToolResult():
                return self._tool_result(part)
            case Media():
                return self._media(part)
            case Reasoning():
                return self._reasoning(part)
            case Refusal():
                if not part.text.strip():
                    return None
                self.lose("part.refusal", part.at, "adapted", "told as text")
                return {"type": "text", "text": part.text}
            case Unknown():
                if part.dialect != NAME or not isinstance(part.value, dict):
                    self.lose("part.unknown", part.at, say=part.kind)
                    return None
                return part.value
            case _:
                assert_never(part)

    def extras(self, extras: Extras, at: Path) -> Extras:
        """What of `extras` goes on the wire: all of our own, of others' only cache breakpoints."""
        if self.own or not extras:
            return extras
        kept: dict[str, Json] = {}
        for key in telling(extras):
            value = extras[key]
            if key == "cache_control" and isinstance(value, dict):
                kept[key] = value
            else:
                self.lose("field", (*at, key), say=key)
        return kept

    def answer_extras(self, extras: Extras) -> Extras:
        """As `extras`, of the answer itself."""
        if self.own or not extras:
            return extras
        for key in told_anew(extras):
            self.lose("field", (key,), say=key)
        return {}

    def _text(self, part: Text) -> Block | None:
        if self.own:
            block: Block = {"type": "text", "text": part.text, **part.extras}
            if part.annotations:
                block["citations"] = list(part.annotations)
            return block
        if part.annotations:
            self.lose("part.annotations", part.at)
        if part.logprobs is not None:
            self.lose("part.logprobs", part.at)
        if part.signature is not None:
            self.lose("part.reasoning.signature", part.at)
        block = {"type": "text", "text": part.text}
        if part.extras:
            block |= self.extras(part.extras, part.at[:-1])
        return None if not part.text or part.text.isspace() else block

    def _reasoning(self, part: Reasoning) -> Block | None:
        if part.dialect == NAME:
            if part.encrypted is not None and not part.text and part.signature is None:
                return {"type": "redacted_thinking", "data": part.encrypted, **part.extras}
            block: Block = {"type": "thinking", "thinking": part.text}
            if part.signature is not None:
                block["signature"] = part.signature
            return {**block, **part.extras}
        if part.text:
            self.lose("part.reasoning", part.at)
        if part.signature is not None or part.encrypted is not None:
            self.lose("part.reasoning.signature", part.at, say=f"made by {part.dialect}")
        return None

    def _tool_use(self, part: ToolCall) -> Block:
        if part.signature is not None:
            self.lose("part.reasoning.signature", part.at)
        block: Block = {"type": "tool_use", "id": part.id, "name": part.name}
        block["input"] = self.tool_input(part)
        if part.extras:
            block |= self.extras(part.extras, part.at)
        return block

    def tool_input(self, part: ToolCall) -> Json:
        """The `input` of a call; text that is no JSON object goes into its field `input`."""
        if part.kind == "custom":
            self.lose("tool_call.custom", part.at, "adapted", "text in the argument `input`")
            return {"input": part.arguments}
        if not part.arguments.strip():
            return {}
        value: Json
        try:
            value = parse(part.arguments.encode("utf-8", "surrogatepass"))
        except ValueError:
            value = part.arguments
        else:
            if self.own or isinstance(value, dict):
                return value
        self.lose("tool_call.arguments", part.at, "adapted", "put into the argument `input`")
        return {"input": value}

    def _tool_result(self, part: ToolResult) -> Block:
        block: Block = {"type": "tool_result", "tool_use_id": part.call_id}
        if self.own:
            block |= part.extras
            if part.parts:
                block["content"] = self.content(part.parts, _below(part.at, "content"))
        else:
            if part.extras:
                block |= self.extras(part.extras, part.at)
            content = self.blocks([p for p in part.parts if self._fits_result(p)])
            match content:
                case []:
                    pass
                case [{"type": "text", "text": text, **rest}] if not rest:
                    block["content"] = text
                case _:
                    block["content"] = content
        if part.error is not None:
            block["is_error"] = part.error
        return block

    def _fits_result(self, part: Part) -> bool:
        if isinstance(part, ToolCall | ToolResult | Reasoning):
            self.lose("tool_result.media", part.at)
            return False
        return True

    def _media(self, part: Media) -> Block | None:
        if self.own:
            return self._own_media(part)
        if part.detail not in (None, "auto"):
            self.lose("part.image.detail", part.at)
        source = _source(part)
        if source is None:
            how = "file id" if part.file_id is not None else part.mime
            self.lose(f"part.{part.kind}", part.at, say=how)
            return None
        block: Block = {"type": part.kind, "source": source, **self.extras(part.extras, part.at)}
        if part.name and part.kind == "document":
            block["title"] = part.name
        return block

    def _own_media(self, part: Media) -> Block | None:
        extras = dict(part.extras)
        left = extras.pop("source", None)
        source: Block | None
        if part.kind not in ("image", "document"):
            source = None
        elif isinstance(left, dict) and left.get("type") == "content":
            # Only an edit can have made the text differ from what the blocks say.
            same = content_source_text(left) == part.text
            source = left if same else _source(replace(part, mime="text/plain"))
        else:
            source = _source(part, strict=False)
            if source is not None and isinstance(left, dict):
                source = {**source, **left}
        if source is None:
            self.lose(f"part.{part.kind}", part.at)
            return None
        block: Block = {"type": part.kind, "source": source, **extras}
        if part.name is not None and part.kind == "document":
            block["title"] = part.name
        return block

    def tool(self, tool: Tool) -> Block | None:
        """A tool definition, None if this API cannot offer the tool."""
        if tool.kind == "server":
            if tool.dialect == NAME and isinstance(tool.value, dict):
                return tool.value
            self.lose("tool.server", tool.at, say=tool.name)
            return None
        block: Block = {"name": tool.name}
        if tool.description is not None:
            block["description"] = tool.description
        if tool.kind == "custom":
            self.lose("tool.custom", tool.at, "adapted", "takes its text as argument `input`")
            return {**block, "input_schema": _CUSTOM_SCHEMA}
        if self.own:
            block["input_schema"] = tool.parameters
        else:
            block["input_schema"] = _object_schema(tool.parameters)
        # Not strict is the default here: only other protocols' clients spell it out.
        if tool.strict is not None and (self.own or tool.strict):
            block["strict"] = tool.strict
        return {**block, **self.extras(tool.extras, tool.at)}


def _below(at: Path, key: str) -> Path:
    return (*at, key) if at else ()


def _object_schema(schema: Json) -> Json:
    if not isinstance(schema, dict) or not schema:
        return {"type": "object", "properties": {}}
    return schema if "type" in schema else {"type": "object", **schema}


def _source(part: Media, strict: bool = True) -> Block | None:
    """The `source` of an image or document; strict: only what the API is known to take."""
    if part.kind not in ("image", "document"):
        return None
    if part.url is not None:
        return _url_source(part, strict)
    if part.data is not None:
        return _data_source(part, strict)
    if part.text is not None and part.kind == "document":
        return {"type": "text", "media_type": part.mime or "text/plain", "data": part.text}
    if part.file_id is not None and not strict:
        return {"type": "file", "file_id": part.file_id}
    return None


def _url_source(part: Media, strict: bool) -> Block | None:
    url = part.url or ""
    if strict and url.startswith("data:"):
        head, comma, data = url[5:].partition(",")
        mime, _, coding = head.partition(";")
        if not comma or not coding.endswith("base64"):
            return None
        return _data_source(replace(part, url=None, data=data, mime=mime or part.mime), strict)
    if strict and not url.startswith(("https://", "http://")):
        return None
    return {"type": "url", "url": url}


def _data_source(part: Media, strict: bool) -> Block | None:
    mime = part.mime.partition(";")[0].strip().lower()
    known = IMAGE_TYPES if part.kind == "image" else {"application/pdf"}
    if mime == "image/jpg":
        mime = "image/jpeg"
    if not strict:
        return {"type": "base64", "media_type": part.mime, "data": part.data}
    if mime in known:
        return {"type": "base64", "media_type": mime, "data": part.data}
    if part.kind == "document" and mime.startswith("text/"):
        try:
            text = base64.b64decode(part.data or "", validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        return {"type": "text", "media_type": "text/plain", "data": text}
    return None
