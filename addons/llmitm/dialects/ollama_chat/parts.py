"""How canon messages and tools are written for Ollama's native API.

Messages of this protocol come out as they were read; those of another are adapted to what the API
takes, and what it does not take is a `Loss`.
Source: Ollama API reference, generate a chat completion; tool calling.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, assert_never

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Tool
from llmitm.canon.values import Extras, Json, Loss, Path, pointer
from llmitm.dialects.json_text import Wire, parse_text, telling
from llmitm.dialects.ollama_chat.tables import FAMILY, NAME, SAYS_NOTHING

_CUSTOM_SCHEMA: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}


@dataclass(slots=True)
class Fields:
    """What the parts of one message come to."""

    text: list[str] = field(default_factory=list[str])
    thinking: list[str] = field(default_factory=list[str])
    images: list[Json] = field(default_factory=list[Json])
    calls: list[Json] = field(default_factory=list[Json])

    def put(self, message: Wire, joint: str) -> Wire:
        """`message` with these fields; empty ones are left out, except the text."""
        message["content"] = joint.join(self.text)
        if self.thinking:
            message["thinking"] = joint.join(self.thinking)
        if self.images:
            message["images"] = self.images
        if self.calls:
            message["tool_calls"] = self.calls
        return message


class PartEncoder:
    """Writes messages and tools; collects in `losses` what it could not write.

    own: the extras of what it is given are this protocol's; names: call id -> tool, for results.
    """

    def __init__(
        self, own: bool, losses: list[Loss], names: Mapping[str, str] | None = None
    ) -> None:
        self.own = own
        self.losses = losses
        self._names = names or {}

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

    def messages(self, message: Message) -> list[Json]:
        """The wire messages of one message: tool results go into messages of their own, first."""
        if message.name is not None:
            self.lose("message.name", message.at, say=message.name)
        extras = self.extras(message.extras, message.at)
        results = [part for part in message.parts if isinstance(part, ToolResult)]
        rest = message.parts
        if results:
            rest = tuple([part for part in rest if not isinstance(part, ToolResult)])
        written: list[Json] = [self._result(part) for part in results]
        if self.own and len(written) == 1 and isinstance(written[0], dict):
            written = [{**written[0], **extras}]
        if rest or not results:
            role = message.role
            if role == "developer":
                role = "system"
            if role == "tool":
                role = "user"
            fields = self.fields(rest)
            # A message of this protocol holds one text; where it has more, some were joined to it.
            made = fields.put({"role": role}, "" if self.own and role == "assistant" else "\n")
            # Without its results, a message may have nothing more to say.
            if len(made) > 2 or made["content"] or not results:
                written.append({**made, **extras})
        return written

    def fields(self, parts: Iterable[Part]) -> Fields:
        """The fields that these parts come to."""
        fields = Fields()
        for part in parts:
            self._add(part, fields)
        return fields

    def _add(self, part: Part, fields: Fields) -> None:
        match part:
            case Text():
                self._text(part, fields)
            case Reasoning():
                if part.signature is not None or part.encrypted is not None:
                    say = f"made by {part.dialect}"
                    self.lose("part.reasoning.signature", part.at, say=say)
                if part.text:
                    fields.thinking.append(part.text)
            case Refusal():
                self.lose("part.refusal", part.at, "adapted", "told as text")
                fields.text.append(part.text)
            case Media():
                self._media(part, fields)
            case ToolCall():
                fields.calls.append(self.call(part))
            case ToolResult():
                self.lose("tool_result.media", part.at, say="a result within a result")
            case Unknown():
                if part.dialect != NAME:
                    self.lose("part.unknown", part.at, say=part.kind)
                elif part.kind == "image":
                    fields.images.append(part.value)
                else:
                    fields.calls.append(part.value)
            case _:
                assert_never(part)

    def _text(self, part: Text, fields: Fields) -> None:
        if part.annotations:
            self.lose("part.annotations", part.at)
        if part.logprobs is not None and not self.own:
            self.lose("part.logprobs", part.at)
        if part.signature is not None:
            self.lose("part.reasoning.signature", part.at)
        if part.extras:
            self.extras(part.extras, part.at[:-1])
        if part.text:
            fields.text.append(part.text)

    def _media(self, part: Media, fields: Fields) -> None:
        if part.detail not in (None, "auto"):
            self.lose("part.image.detail", part.at)
        self.extras(part.extras, part.at)
        data = part.data
        if part.url is not None and part.url.startswith("data:"):
            data = part.url.partition(",")[2]
        if part.kind == "image" and data is not None:
            fields.images.append(data)
        elif part.kind == "document" and part.text is not None:
            self.lose("part.document", part.at, "adapted", "told as text")
            fields.text.append(part.text)
        else:
            self.lose(f"part.{part.kind}", part.at, say="only base64 images are taken")

    def call(self, part: ToolCall) -> Wire:
        """One entry of `tool_calls`."""
        if part.signature is not None:
            self.lose("part.reasoning.signature", part.at)
        extras = dict(self.extras(part.extras, part.at))
        about = extras.pop("function", None)
        function: Wire = {"name": part.name, "arguments": self._arguments(part)}
        call: Wire = {"id": part.id} if part.id else {}
        if isinstance(about, dict):
            function |= about
        return {**call, "function": function, **extras}

    def _arguments(self, part: ToolCall) -> Json:
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
        if isinstance(value, dict):
            return value
        self.lose("tool_call.arguments", part.at, "adapted", "put into the argument `input`")
        return {"input": value}

    def _result(self, part: ToolResult) -> Wire:
        if part.error and not self.own:
            self.lose("tool_result.error", part.at)
        self.extras(part.extras, part.at)
        message = self.fields(part.parts).put({"role": "tool"}, "" if self.own else "\n")
        name = part.name or self._names.get(part.call_id)
        if name is not None:
            message["tool_name"] = name
        if part.call_id:
            message["tool_call_id"] = part.call_id
        return message

    def tools(self, tools: Iterable[Tool]) -> list[Json]:
        """The definitions of these tools, without those that cannot be written."""
        written: list[Json] = []
        for tool in tools:
            if tool.kind == "server" and tool.dialect in FAMILY:
                written.append(tool.value)
            elif (made := self.tool(tool)) is not None:
                written.append(made)
        return written

    def tool(self, tool: Tool) -> Wire | None:
        """A tool definition, None if this API cannot offer the tool."""
        if tool.kind == "server":
            if tool.dialect in FAMILY and isinstance(tool.value, dict):
                return tool.value
            self.lose("tool.server", tool.at, say=tool.name)
            return None
        function: Wire = {"name": tool.name}
        if tool.description is not None:
            function["description"] = tool.description
        if tool.kind == "custom":
            self.lose("tool.custom", tool.at, "adapted", "takes its text as argument `input`")
            tool = replace(tool, parameters=_CUSTOM_SCHEMA)
        if tool.parameters is not None:
            function["parameters"] = tool.parameters
        elif not self.own:
            function["parameters"] = {"type": "object", "properties": {}}
        if tool.strict and not self.own:
            self.lose("tool.strict", tool.at)
        extras = dict(self.extras(tool.extras, tool.at))
        outer = extras.pop("tool", None)
        beside = outer if isinstance(outer, dict) else {}
        return {"type": "function", "function": {**function, **extras}, **beside}
