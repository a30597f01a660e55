"""Messages of another protocol as items of this one: carried, adapted, or reported as lost.

Calls without an id (Gemini) get one made from their order, results the id of the call they answer.
Reasoning only goes back to whom it came from. Never: raises, or drops anything in silence.
Source: OpenAI API reference, Responses, input items; guide "Function calling".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message
from llmitm.canon.values import Extras, Json, Loss, Path, pointer
from llmitm.dialects.openai_responses.items import encode_reasoning
from llmitm.dialects.openai_responses.parts import Wire, encode_media, encode_text
from llmitm.dialects.openai_responses.tables import (
    CALL_FIELDS,
    CALL_TYPES,
    FAMILY,
    IMAGE_DETAILS,
    NAME,
    RESULT_TYPES,
)
from llmitm.dialects.telling import telling


class Carrier:
    """Turns the messages of one request into items, in order; appends to `losses`."""

    def __init__(self, source: str, losses: list[Loss]) -> None:
        self._source = source
        self._losses = losses
        self._calls = 0
        self._waiting: list[tuple[str, str]] = []
        self._kinds: dict[str, Literal["function", "custom"]] = {}

    def lose(self, feature: str, at: Path, say: str = "", adapted: bool = False) -> None:
        """Reports one loss."""
        how = "adapted" if adapted else "dropped"
        self._losses.append(Loss(feature, pointer(at), NAME, how, say))

    def lose_extras(self, extras: Extras, at: Path) -> None:
        """Reports every key that says something."""
        if extras:
            for key in telling(extras):
                self.lose("field", (*at, key))

    def items(self, message: Message) -> list[Json]:
        """The items of one message."""
        if message.name is not None:
            self.lose("message.name", (*message.at, "name"))
        self.lose_extras(message.extras, message.at)
        role = "user" if message.role == "tool" else message.role
        items: list[Json] = []
        run: list[Wire] = []
        for part in message.parts:
            if isinstance(part, ToolCall | ToolResult | Reasoning):
                made = self._item(part)
                if made is None:
                    continue
            elif isinstance(part, Unknown) and part.dialect == NAME:
                made = part.value
            else:
                content = self._content(part, role)
                if content is not None:
                    run.append(content)
                continue
            if run:
                items.append({"role": role, "content": _short(run)})
                run = []
            items.append(made)
        if run:
            items.append({"role": role, "content": _short(run)})
        return items

    def _item(self, part: ToolCall | ToolResult | Reasoning) -> Json:
        match part:
            case ToolCall():
                return self._call(part)
            case ToolResult():
                return self._result(part)
            case Reasoning() if part.dialect == NAME:
                return encode_reasoning(part)
            case Reasoning():
                self.lose("part.reasoning", part.at)
                if part.signature is not None or part.encrypted is not None:
                    self.lose("part.reasoning.signature", part.at)
                return None

    def _call(self, part: ToolCall) -> Json:
        if part.signature is not None:
            self.lose("part.reasoning.signature", part.at)
        self.lose_extras(part.extras, part.at)
        self._calls += 1
        call_id = part.id or f"call_{self._calls}"
        if not part.id:
            self._waiting.append((part.name, call_id))
        self._kinds[call_id] = part.kind
        arguments = part.arguments or ("{}" if part.kind == "function" else "")
        wire: Wire = {"type": CALL_TYPES[part.kind], "call_id": call_id, "name": part.name}
        wire[CALL_FIELDS[part.kind]] = arguments
        return wire

    def _result(self, part: ToolResult) -> Json:
        if part.error:
            self.lose("tool_result.error", part.at)
        self.lose_extras(part.extras, part.at)
        call_id = part.call_id or self._answered(part.name)
        kind = self._kinds.get(call_id, part.kind)
        contents: list[Wire] = []
        for inner in part.parts:
            made = self._content(inner, "user", "tool_result.media")
            if made is not None:
                contents.append(made)
        output: Json = _short(contents) if contents else ""
        return {"type": RESULT_TYPES[kind], "call_id": call_id, "output": output}

    def _answered(self, name: str | None) -> str:
        """The oldest call without an id that this result may answer; a new id without one."""
        for place, (called, call_id) in enumerate(self._waiting):
            if name in (None, "", called):
                del self._waiting[place]
                return call_id
        self._calls += 1
        return f"call_{self._calls}"

    def _content(self, part: Part, role: str, media: str = "") -> Wire | None:
        """A content part; media: the feature that is lost with a medium, empty = by its kind."""
        match part:
            case Text():
                return self._text(part, role)
            case Refusal():
                self.lose_extras(part.extras, part.at)
                if role == "assistant":
                    return {"type": "refusal", "refusal": part.text}
                self.lose("part.refusal", part.at, "as text", adapted=True)
                return {"type": "input_text", "text": part.text}
            case Media():
                made = None if role == "assistant" else self._medium(part)
                if made is None:
                    self.lose(media or f"part.{part.kind}", part.at)
                return made
            case _:
                self.lose("part.unknown", part.at)
                return None

    def _text(self, part: Text, role: str) -> Wire:
        home = part.at[:-1]
        if part.signature is not None:
            self.lose("part.reasoning.signature", home)
        if part.annotations:
            self.lose("part.annotations", home)
        if part.logprobs is not None:
            self.lose("part.logprobs", home)
        self.lose_extras(part.extras, home)
        return encode_text(part, role, own=False)

    def _medium(self, part: Media) -> Wire | None:
        self.lose_extras(part.extras, part.at)
        if part.text is not None:
            self.lose(f"part.{part.kind}", part.at, "as text", adapted=True)
            text = f"{part.name}\n\n{part.text}" if part.name else part.text
            return {"type": "input_text", "text": text}
        if part.file_id is not None and self._source not in FAMILY:
            return None
        if part.url is not None and not part.url.startswith(("http:", "https:", "data:")):
            return None
        detail = part.detail
        if detail is not None and (part.kind != "image" or detail not in IMAGE_DETAILS):
            self.lose("part.image.detail", part.at)
            detail = None
        name, mime = part.name, part.mime
        if part.kind == "document" and part.data is not None:
            mime = mime or "application/pdf"
            name = name or f"document.{mime.rpartition('/')[2]}"
        if part.kind == "image" and name is not None:
            self.lose("field", (*part.at, "name"))
        return encode_media(replace(part, detail=detail, name=name, mime=mime))


def _short(parts: list[Wire]) -> Json:
    """A string where one text says it all, as every server of this protocol reads it."""
    if len(parts) == 1 and parts[0].get("type") in ("input_text", "output_text"):
        return parts[0]["text"]
    return [*parts]
