"""Events of an answer -> the official event sequence of the Responses protocol, and its object.

Knows no framing: `feed` gives (event type, JSON) pairs, for server-sent events and WebSocket
frames alike. Item ids the provider gave none for are made from the answer's id and the item's
place. Never raises; extras, ids and annotations of another protocol are reported, not written.
Source: OpenAI API reference, Responses, streaming events.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import assert_never

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import merge_usage, unfold
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.response import Response
from llmitm.canon.values import Extras, Json, Loss
from llmitm.dialects.contract import Reply
from llmitm.dialects.openai_responses.faults import error_object
from llmitm.dialects.openai_responses.items import item_of
from llmitm.dialects.openai_responses.output import Item, Output, response_skeleton, usage_object
from llmitm.dialects.openai_responses.output_items import CallItem, ReasoningItem
from llmitm.dialects.openai_responses.output_message import ContentPart, MessageItem
from llmitm.dialects.openai_responses.parts import Wire
from llmitm.dialects.openai_responses.tables import NAME, STATUS_BY_FINISH
from llmitm.dialects.telling import AFTER_END, tell_late, told_anew

type Written = tuple[str, bytes]
"""An event's type and its JSON."""

type _Open = ContentPart | ReasoningItem | CallItem


class Writer:
    """Writes one answer; `losses` is what could not be written."""

    def __init__(self, reply: Reply) -> None:
        self.losses: list[Loss] = []
        self._reply = reply
        self._out = Output(self.losses)
        self._head = Start()
        self._begun = False
        self._closed = self._left = False
        self._end_extras: Extras = {}
        self._open: dict[int, _Open] = {}
        self._message: MessageItem | None = None
        self._served: dict[str, int] = {}
        self._usage: Usage | None = None
        self._finish: Finish | None = None
        self._final: Wire = {}

    def feed(self, events: Iterable[Event]) -> list[Written]:
        """What these events give; after the end only what this protocol itself said there."""
        for event in events:
            if not self._closed:
                self._event(event)
            elif self._left:
                break
            elif self._out.own and isinstance(event, Opaque) and event.dialect == NAME:
                self._out.repeat(event.value)
            else:
                tell_late(event, NAME, self.losses)
        return self._out.take()

    def alive(self) -> list[Written]:
        """Says once more that the answer is being made; nothing before it has begun, since its
        first event tells the provider's own id."""
        if self._begun and not self._closed:
            self._out.emit("response.in_progress", {"response": self._object("in_progress", {})})
        return self._out.take()

    def settle(self) -> None:
        """The message whose parts have all ended is over, and need not be told to be."""
        if self._message is not None and not self._message.is_open:
            self._leave_message()
            self._out.take()

    def close(self) -> list[Written]:
        """What makes the stream complete when it ends here."""
        if not self._closed:
            self._begin()
            self._terminate(None)
        self._left = True
        return self._out.take()

    def whole(self, response: Response) -> Wire:
        """The response object of this answer. The writer is used up."""
        self._end_extras = response.end_extras
        for event in unfold(response):
            if not self._closed:
                self._event(event)
        if not self._closed:
            self._begin()
            self._terminate(None, cut=self._finish is None)
        return self._final

    def _event(self, event: Event) -> None:
        match event:
            case PartDelta() | PartDetail() | PartStart() | PartEnd() | Finish():
                if event.choice:
                    self._out.lose("choices")
                else:
                    self._in_choice(event)
            case Start():
                if not self._begun:
                    self._head = event
                    self._begin()
            case Usage():
                self._usage = merge_usage(self._usage, event)
            case Fault():
                self._begin()
                self._terminate(event)
            case Opaque():
                self._opaque(event)
            case End():
                self._end_extras = event.extras
                self._begin()
                self._terminate(None)
            case Ping():
                pass
            case _:
                assert_never(event)

    def _in_choice(self, event: PartDelta | PartDetail | PartStart | PartEnd | Finish) -> None:
        match event:
            case PartDelta():
                self._delta(event)
            case PartDetail():
                part = self._open.get(event.index)
                if part is not None:
                    part.detail(event)
            case PartStart():
                self._begin()
                self._part_start(event.index, event.part)
            case PartEnd():
                self._part_end(event.index)
            case Finish():
                self._finish = event
                if event.stop_sequence is not None:
                    self._out.lose("finish.stop_sequence")
            case _:
                assert_never(event)

    def _begin(self) -> None:
        if self._begun:
            return
        self._begun = True
        head, out = self._head, self._out
        out.own = head.dialect == NAME
        out.stem = (head.id or self._reply.id).removeprefix("resp_") or "0"
        for kind in ("response.created", "response.in_progress"):
            out.emit(kind, {"response": self._object("in_progress", {})})

    def _object(self, status: str, end_extras: Extras) -> Wire:
        """The response object as it is now, output and usage left out."""
        head, reply, own = self._head, self._reply, self._out.own
        model = head.model or reply.model if own else reply.model or head.model
        created = reply.created_s if head.created_s is None else head.created_s
        said: Wire = {} if own else response_skeleton()
        for extras in (head.extras, end_extras):
            if own:
                said |= extras
            else:
                self._foreign_fields(extras, said)
        wire: Wire = {
            "id": head.id or reply.id or "resp_0",
            "object": "response",
            "created_at": created,
            "status": status,
            **said,
        }
        wire["model"] = model
        wire["output"] = []
        wire.setdefault("usage", None)
        return wire

    def _foreign_fields(self, extras: Extras, said: Wire) -> None:
        for key in told_anew(extras):
            value = extras[key]
            if key == "service_tier" and isinstance(value, str):
                said[key] = value
            else:
                self._out.lose("field", "/" + key)

    def _part_start(self, index: int, part: Part) -> None:
        self._part_end(index)
        out = self._out
        match part:
            case Text() | Refusal():
                message = self._message_for(part)
                self._open[index] = message.open(part)
                if part.text:
                    self._open[index].delta(part.text)
            case Reasoning():
                self._leave_message()
                self._open[index] = ReasoningItem(out, part)
            case ToolCall():
                self._leave_message()
                self._open[index] = CallItem(out, part, self._reply.custom_tools)
            case Unknown() if part.dialect == NAME:
                self._unknown(part)
            case Media() if part.kind == "image" and part.data is not None:
                self._leave_message()
                image: Wire = {"type": "image_generation_call", "status": "completed"}
                self._whole_item({**image, "id": out.name("ig"), "result": part.data})
            case Media():
                out.lose(f"part.{part.kind}")
            case ToolResult() | Unknown():
                out.lose("part.unknown")
            case _:
                assert_never(part)

    def _message_for(self, part: Text | Refusal) -> MessageItem:
        meta = item_of(part) if self._out.own else None
        message = self._message
        # A text that a policy put into a provider's own answer: the message before it may be over.
        added = self._out.own and meta is None and not part.at
        joins = meta is None or (message is not None and meta.get("id") == message.meta.get("id"))
        if message is not None and joins and not added:
            return message
        self._leave_message()
        self._message = MessageItem(self._out, meta)
        return self._message

    def _leave_message(self) -> None:
        """No further part joins the message; it ends with the last of its open parts."""
        if self._message is not None:
            self._message.leave()
            self._message = None

    def _unknown(self, part: Unknown) -> None:
        if part.at[-2:-1] == ("content",):
            if self._message is None:
                self._message = MessageItem(self._out, None)
            self._message.whole_part(part.value)
            return
        self._leave_message()
        self._whole_item(part.value)

    def _whole_item(self, value: Json) -> None:
        name = value.get("id") if isinstance(value, dict) else None
        place = self._served.get(name) if isinstance(name, str) else None
        item = Item(self._out, place)
        if place is None:
            item.added(value)
        if isinstance(name, str):
            self._served[name] = -1
        item.done(value)

    def _delta(self, event: PartDelta) -> None:
        part = self._open.get(event.index)
        if part is None:
            self._begin()
            part = self._implied(event)
        part.delta(event.text)

    def _implied(self, event: PartDelta) -> _Open:
        part: Part
        match event.kind:
            case "text":
                part = Text(text="")
            case "refusal":
                part = Refusal(text="")
            case "reasoning":
                part = Reasoning()
            case "arguments":
                part = ToolCall(id="", name="", arguments="")
            case _:
                assert_never(event.kind)
        self._part_start(event.index, part)
        return self._open[event.index]

    def _part_end(self, index: int) -> None:
        part = self._open.pop(index, None)
        if part is not None:
            part.end()

    def _opaque(self, event: Opaque) -> None:
        value, out = event.value, self._out
        if event.dialect != NAME or not isinstance(value, dict):
            if value != "[DONE]":
                out.lose("event.unknown", say=event.event)
            return
        if not event.event and isinstance(value.get("type"), str):
            out.lose("event.unknown", say=AFTER_END)
            return
        self._begin()
        item = value.get("item")
        name = item.get("id") if isinstance(item, dict) else value.get("item_id")
        wire: Wire = {key: v for key, v in value.items() if key not in ("type", "sequence_number")}
        if not isinstance(name, str):
            out.emit(event.event, wire)
            return
        if event.event == "response.output_item.added" and name not in self._served:
            self._leave_message()
            self._served[name] = Item(out, None).place
        place = self._served.get(name, -1)
        # An item that is complete has told everything already.
        if place >= 0:
            out.emit(event.event, {**wire, "output_index": place})

    def _terminate(self, fault: Fault | None, cut: bool = False) -> None:
        for index in sorted(self._open):
            self._part_end(index)
        self._leave_message()
        out = self._out
        status, detail = self._status(fault, cut)
        wire = self._object(status, self._end_extras)
        wire["status"] = status
        if detail is not None and not wire.get("incomplete_details"):
            wire["incomplete_details"] = {"reason": detail}
        wire["output"] = out.items()
        if self._usage is not None:
            wire["usage"] = usage_object(self._usage, out)
        if fault is not None:
            error = error_object(fault)
            if not wire.get("error"):
                wire["error"] = {"code": error["code"], "message": error["message"]}
            # Flat as documented, and nested as it is really sent: the SDK raises on `error`.
            out.emit("error", {**error, "error": error, "type": "error"})
        kind = status if status not in ("cancelled", "cancelling") else "incomplete"
        out.emit(f"response.{kind}", {"response": wire})
        self._final = wire
        self._closed = True

    def _status(self, fault: Fault | None, cut: bool) -> tuple[str, str | None]:
        said = self._end_extras.get("status") if self._out.own else None
        if fault is not None:
            return "failed", None
        if isinstance(said, str):
            return said, None
        if self._finish is None:
            return ("incomplete" if cut and not self._end_extras else "completed"), None
        finish = self._finish
        if finish.reason in ("pause", "error"):
            self._out.lose("finish.reason", say=finish.reason)
        elif finish.reason in ("refusal", "unknown") and not self._out.own:
            self._out.lose("finish.reason", say=finish.raw or finish.reason, adapted=True)
        return STATUS_BY_FINISH[finish.reason]
