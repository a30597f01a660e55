"""Reasoning and tool calls of an answer while they are written.

Source: OpenAI API reference, Responses, streaming events; recorded streams of OpenAI, xAI (summary)
and DeepSeek (reasoning text).
"""

from __future__ import annotations

from pydantic_core import from_json

from llmitm.canon.events import PartDetail
from llmitm.canon.parts import Reasoning, ToolCall
from llmitm.canon.values import Json
from llmitm.dialects.openai_responses.items import encode_reasoning
from llmitm.dialects.openai_responses.output import NUMBER, Item, Output, delta_prefix
from llmitm.dialects.openai_responses.parts import Wire, json_bytes
from llmitm.dialects.openai_responses.tables import CALL_FIELDS, CALL_TYPES, NAME


class ReasoningItem(Item):
    """A reasoning item. One of another protocol is only written once it has text."""

    def __init__(self, out: Output, part: Reasoning) -> None:
        self._out = out
        self._mine = out.own and part.dialect == NAME
        self._summary = part.summary or part.dialect != NAME
        self._part = part
        self._extras: Wire = dict(part.extras) if self._mine else {}
        self._encrypted = part.encrypted if part.dialect == NAME else None
        self._pieces: list[str] = []
        self._announced = False
        self._name = part.item_id or ""
        self._prefix = b""
        if not self._mine:
            out.lose_extras(part.extras)
            if part.signature is not None or part.encrypted != self._encrypted:
                out.lose("part.reasoning.signature")
        if part.dialect == NAME:
            self._announce()
        if part.text:
            self.delta(part.text)

    def _announce(self) -> None:
        self._announced = True
        super().__init__(self._out)
        if not self._name:
            self._name = self.out.name("rs")
        self.added(self._item())

    def _item(self) -> Wire:
        own = self._out.own
        return encode_reasoning(
            Reasoning(
                text="".join(self._pieces),
                summary=self._summary,
                encrypted=self._encrypted,
                item_id=self._part.item_id if own else self._name,
                dialect=NAME,
                extras=self._extras,
            )
        )

    def _where(self) -> Wire:
        key = "summary_index" if self._summary else "content_index"
        return {"item_id": self._name, "output_index": self.place, key: 0}

    def _bracket(self, kind: str) -> None:
        if self._summary:
            part, event = "summary_text", "response.reasoning_summary_part"
        else:
            part, event = "reasoning_text", "response.content_part"
        text = "".join(self._pieces)
        self.out.emit(f"{event}.{kind}", {**self._where(), "part": {"type": part, "text": text}})

    @property
    def _event(self) -> str:
        return "response.reasoning_summary_text" if self._summary else "response.reasoning_text"

    def delta(self, text: str) -> None:
        """More of the thinking."""
        if not self._announced:
            self._announce()
        kind = f"{self._event}.delta"
        if not self._prefix:
            self._bracket("added")
            key = "summary_index" if self._summary else "content_index"
            self._prefix = delta_prefix(kind, self._name, self.place, f'"{key}":0,')
        self._pieces.append(text)
        self.out.emit_delta(kind, self._prefix, json_bytes(text), NUMBER)

    def detail(self, event: PartDetail) -> None:
        """The encrypted form, extras."""
        if self._mine:
            self._extras |= event.extras
        else:
            self._out.lose_extras(event.extras)
        if event.encrypted is not None and self._part.dialect == NAME:
            self._encrypted = event.encrypted
        elif event.encrypted is not None or event.signature is not None:
            self._out.lose("part.reasoning.signature")

    def end(self) -> None:
        """The thinking is complete."""
        if not self._announced:
            return
        if self._prefix:
            text = "".join(self._pieces)
            self.out.emit(f"{self._event}.done", {**self._where(), "text": text})
            self._bracket("done")
        self.done(self._item())


class CallItem(Item):
    """A call of the client's tool.

    A call of a custom tool that the provider only knew as a function is held back until it is
    complete: its text stands inside the JSON arguments.
    """

    def __init__(self, out: Output, part: ToolCall, custom: frozenset[str]) -> None:
        super().__init__(out)
        self._part = part
        self._kind = "custom" if part.name in custom else part.kind
        self._held = self._kind != part.kind
        self._pieces: list[str] = []
        self._extras: Wire = dict(part.extras) if out.own else {}
        self._name = part.item_id or out.name("ctc" if self._kind == "custom" else "fc")
        self._call_id = part.id or (part.id if out.own else out.name("call"))
        if not out.own:
            out.lose_extras(part.extras)
        if part.signature is not None:
            out.lose("part.reasoning.signature")
        event = "function_call_arguments" if self._kind == "function" else "custom_tool_call_input"
        self._event = f"response.{event}"
        self._prefix = delta_prefix(f"{self._event}.delta", self._name, self.place)
        self.added(self._item("in_progress", ""))
        if part.arguments:
            self.delta(part.arguments)

    def _item(self, status: str, arguments: str) -> Wire:
        wire: Wire = {"type": CALL_TYPES[self._kind], "status": status}
        if self._part.item_id is not None or not self.out.own:
            wire["id"] = self._name
        wire |= {
            "call_id": self._call_id,
            "name": self._part.name,
            CALL_FIELDS[self._kind]: arguments,
        }
        return {**wire, **self._extras}

    def delta(self, text: str) -> None:
        """More of the arguments."""
        self._pieces.append(text)
        if not self._held:
            self._send(text)

    def _send(self, text: str) -> None:
        self.out.emit_delta(f"{self._event}.delta", self._prefix, json_bytes(text), NUMBER)

    def detail(self, event: PartDetail) -> None:
        """Extras; a signature cannot be carried."""
        if event.signature is not None:
            self.out.lose("part.reasoning.signature")
        if self.out.own:
            self._extras |= event.extras
        else:
            self.out.lose_extras(event.extras)

    def end(self) -> None:
        """The arguments are complete; none at all are `{}`, as clients parse them."""
        text = "".join(self._pieces)
        if self._held:
            text = unwrapped(text)
            self._send(text)
        elif not text and self._kind == "function" and not self.out.own:
            text = "{}"
            self._send(text)
        where: Wire = {"item_id": self._name, "output_index": self.place}
        fields: Wire = {**where, CALL_FIELDS[self._kind]: text}
        if self._kind == "function":
            fields["name"] = self._part.name
        self.out.emit(f"{self._event}.done", fields)
        self.done(self._item("completed", text))


def unwrapped(arguments: str) -> str:
    """The free text inside `{"input": "…"}`, else `arguments`."""
    try:
        value: Json = from_json(arguments)
    except ValueError:
        return arguments
    match value:
        case {"input": str(text)}:
            return text
        case _:
            return arguments
