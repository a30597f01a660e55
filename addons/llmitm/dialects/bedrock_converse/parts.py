"""How a canon part is written as a content block of the Converse API.

Parts of this protocol come out as they were read; those of another are adapted to what the API
takes, and what it does not take is a `Loss`.
Source: Amazon Bedrock API reference, ContentBlock, ToolSpecification.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Literal, assert_never

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Tool
from llmitm.canon.values import Extras, Json, Loss, Path, pointer
from llmitm.dialects.bedrock_converse.blocks import text_of_content
from llmitm.dialects.bedrock_converse.tables import FORMATS, NAME, NOT_IN_NAME, SAYS_NOTHING
from llmitm.dialects.json_text import Wire, parse_text, telling

_CUSTOM_SCHEMA: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}
_S3 = "s3://"
_NO_SCHEMA: Json = {"type": "object", "properties": {}}


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

    def extras(self, extras: Extras, at: Path = ()) -> Extras:
        """What of `extras` goes on the wire: all of our own, nothing of others'."""
        if self.own or not extras:
            return extras
        for key in telling(extras):
            if key not in SAYS_NOTHING:
                self.lose("field", (*at, key) if at else (), say=key)
        return {}

    def blocks(self, parts: Iterable[Part]) -> list[Json]:
        """The blocks of these parts, without those that cannot be written."""
        written: list[Json] = []
        for part in parts:
            if isinstance(part, Unknown) and part.dialect == NAME:
                written.append(part.value)
            elif (block := self.part(part)) is not None:
                written.append(block)
        return written

    def tools(self, tools: Iterable[Tool]) -> list[Json]:
        """The definitions of these tools, without those that cannot be written."""
        written: list[Json] = []
        for tool in tools:
            if tool.kind == "server" and tool.dialect == NAME:
                written.append(tool.value)
            elif (made := self.tool(tool)) is not None:
                written.append(made)
        return written

    def part(self, part: Part) -> Wire | None:
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
                return {"text": part.text}
            case Unknown():
                if part.dialect == NAME and isinstance(part.value, dict):
                    return part.value
                self.lose("part.unknown", part.at, say=part.kind)
                return None
            case _:
                assert_never(part)

    def _text(self, part: Text) -> Wire | None:
        if not self.own:
            self.tell_text(part)
            # The API refuses empty text.
            return {"text": part.text} if part.text.strip() else None
        cited, guarded = part.extras.get("citationsContent"), part.extras.get("guardContent")
        if isinstance(guarded, dict):
            return {"guardContent": {"text": {"text": part.text, **guarded}}}
        if part.annotations or isinstance(cited, dict):
            mark = dict(cited) if isinstance(cited, dict) else {}
            said = mark.pop("content", None)
            content: Json = [{"text": part.text}]
            if isinstance(said, list) and _joined(said) == part.text:
                content = said
            body: Wire = {"content": content, "citations": list(part.annotations), **mark}
            return {"citationsContent": body}
        if "json" in part.extras:
            try:
                return {"json": parse_text(part.text)}
            except ValueError:
                pass
        return {"text": part.text}

    def tell_text(self, part: Text) -> None:
        """Notes what of another protocol's text has no place here."""
        if part.annotations:
            self.lose("part.annotations", part.at)
        if part.logprobs is not None:
            self.lose("part.logprobs", part.at)
        if part.signature is not None:
            self.lose("part.reasoning.signature", part.at)
        self.extras(part.extras, part.at[:-1])

    def _tool_use(self, part: ToolCall) -> Wire:
        if part.signature is not None:
            self.lose("part.reasoning.signature", part.at)
        use: Wire = {"toolUseId": part.id, "name": part.name, "input": self._input(part)}
        return {"toolUse": {**use, **self.extras(part.extras, part.at)}}

    def _input(self, part: ToolCall) -> Json:
        if part.kind == "custom":
            self.lose("tool_call.custom", part.at, "adapted", "text in the argument `input`")
            return {"input": part.arguments}
        if not part.arguments.strip():
            return {}
        value: Json
        try:
            value = parse_text(part.arguments)
        except ValueError:
            value = part.arguments
        else:
            if self.own or isinstance(value, dict):
                return value
        self.lose("tool_call.arguments", part.at, "adapted", "put into the argument `input`")
        return {"input": value}

    def _tool_result(self, part: ToolResult) -> Wire:
        content = self.blocks(p for p in part.parts if self._fits_result(p))
        result: Wire = {"toolUseId": part.call_id, "content": content}
        if part.error is not None:
            result["status"] = "error" if part.error else "success"
        return {"toolResult": {**result, **self.extras(part.extras, part.at)}}

    def _fits_result(self, part: Part) -> bool:
        if isinstance(part, ToolCall | ToolResult | Reasoning):
            self.lose("tool_result.media", part.at)
            return False
        return True

    def _reasoning(self, part: Reasoning) -> Wire | None:
        if part.dialect != NAME:
            if part.text:
                self.lose("part.reasoning", part.at)
            if part.signature is not None or part.encrypted is not None:
                self.lose("part.reasoning.signature", part.at, say=f"made by {part.dialect}")
            return None
        if part.encrypted is not None and not part.text:
            return {"reasoningContent": {"redactedContent": part.encrypted}}
        said: Wire = {"text": part.text}
        if part.signature is not None:
            said["signature"] = part.signature
        return {"reasoningContent": {"reasoningText": {**said, **part.extras}}}

    def _media(self, part: Media) -> Wire | None:
        extras = dict(self.extras(part.extras, part.at))
        bucket, whole = extras.pop("s3Location", None), extras.pop("source", None)
        word = FORMATS.get(part.mime.partition(";")[0].strip().lower())
        data = part.data
        if part.url is not None and part.url.startswith("data:") and not self.own:
            head, _, data = part.url[5:].partition(",")
            word = FORMATS.get(head.partition(";")[0], word)
        if not self.own and part.detail not in (None, "auto"):
            self.lose("part.image.detail", part.at)
        source: Wire
        if isinstance(whole, dict) and _joined_source(whole) == part.text:
            source = whole
        elif data is not None:
            source = {"bytes": data}
        elif part.file_id is not None and (self.own or part.file_id.startswith(_S3)):
            source = {
                "s3Location": {"uri": part.file_id, **(bucket if isinstance(bucket, dict) else {})}
            }
        elif part.url is not None and part.url.startswith(_S3):
            source = {"s3Location": {"uri": part.url}}
        elif part.text is not None and part.kind == "document":
            source = {"text": part.text}
            if not self.own:
                source = {"bytes": base64.b64encode(part.text.encode("utf-8", "replace")).decode()}
                word = word or "txt"
        else:
            self.lose(f"part.{part.kind}", part.at, say="file id" if part.file_id else "URL")
            return None
        if word is None and not self.own:
            self.lose(f"part.{part.kind}", part.at, say=part.mime)
            return None
        body: Wire = {} if word is None or "format" in extras else {"format": word}
        if part.kind == "document" and (part.name is not None or not self.own):
            body["name"] = part.name if self.own else _document_name(part.name)
        return {part.kind: {**body, "source": source, **extras}}

    def tool(self, tool: Tool) -> Wire | None:
        """A tool definition, None if this API cannot offer the tool."""
        if tool.kind == "server":
            if tool.dialect == NAME and isinstance(tool.value, dict):
                return tool.value
            self.lose("tool.server", tool.at, say=tool.name)
            return None
        spec: Wire = {"name": tool.name}
        if tool.description is not None and (self.own or tool.description):
            spec["description"] = tool.description
        schema: Json = tool.parameters
        if tool.kind == "custom":
            self.lose("tool.custom", tool.at, "adapted", "takes its text as argument `input`")
            schema = _CUSTOM_SCHEMA
        elif not self.own and not (isinstance(schema, dict) and schema):
            schema = _NO_SCHEMA
        if schema is not None or not (self.own and tool.at):
            spec["inputSchema"] = {"json": _NO_SCHEMA if schema is None else schema}
        if tool.strict is not None and (self.own or tool.strict):
            spec["strict"] = tool.strict
        return {"toolSpec": {**spec, **self.extras(tool.extras, tool.at)}}


def _joined(content: list[Json]) -> str:
    texts = [item.get("text") for item in content if isinstance(item, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def _joined_source(source: Wire) -> str | None:
    content = source.get("content")
    return text_of_content(content) if isinstance(content, list) else None


def _document_name(name: str | None) -> str:
    """A name in the letters the API takes; it must have one."""
    cleaned = " ".join(NOT_IN_NAME.sub(" ", name or "").split())
    return cleaned[:200] or "document"
