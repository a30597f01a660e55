"""JSON events of the Responses protocol -> canon events, one stream or one WebSocket turn long.

Knows no framing: `EventReader.read` takes the JSON of one event, from an SSE frame or a WebSocket
message. A message's content parts and each other item become parts, numbered as they come. What
was told only at an item's end or in the final response is made up for then; what was told twice is
not repeated. Never raises, never drops: what is not understood is Opaque, and so are the events of
a further answer in the same body, without a name.
Source: OpenAI API reference, Responses, streaming events; recorded streams.
"""

from __future__ import annotations

from collections.abc import Callable

from pydantic_core import from_json

from llmitm.canon.events import End, Event, Opaque, PartDelta, PartDetail, Ping
from llmitm.canon.parts import ToolCall
from llmitm.canon.values import Json
from llmitm.dialects.openai_responses.faults import decode_fault
from llmitm.dialects.openai_responses.items import (
    PARAGRAPH,
    Voice,
    decode_output_item,
    decode_output_part,
    decode_reasoning,
    message_meta,
)
from llmitm.dialects.openai_responses.parts import Wire
from llmitm.dialects.openai_responses.progress import (
    OpenItem,
    OpenPart,
    Progress,
    place_in,
    text_of,
)
from llmitm.dialects.openai_responses.response import ending_of, start_of, usage_of
from llmitm.dialects.openai_responses.tables import (
    BEGINNINGS,
    CALL_FIELDS,
    CALL_ITEMS,
    DONE_FIELDS,
    NAME,
    REASONING_EVENTS,
    TERMINAL_EVENTS,
)


class EventReader:
    """Reads one answer's events in order.

    one_body: what follows the answer's end is told as Opaque; else it is the next answer of a
    connection.
    """

    def __init__(self, *, one_body: bool = False) -> None:
        self._now = Progress()
        self._one_body = one_body
        self._over = self._further = False
        self._handlers: dict[str, Callable[[Wire, list[Event]], bool]] = {
            **dict.fromkeys(BEGINNINGS, self._created),
            "response.output_item.added": self._item_added,
            "response.output_item.done": self._item_done,
            "response.content_part.added": self._part_added,
            "response.content_part.done": self._part_done,
            "response.output_text.delta": self._text_delta,
            "response.refusal.delta": self._text_delta,
            "response.output_text.annotation.added": self._annotation,
            **dict.fromkeys(DONE_FIELDS, self._text_done),
            "response.function_call_arguments.delta": self._call_delta,
            "response.custom_tool_call_input.delta": self._call_delta,
            **dict.fromkeys(REASONING_EVENTS, self._reasoning),
            **dict.fromkeys(TERMINAL_EVENTS, self._terminal),
            "error": self._error,
        }

    def read(self, data: bytes) -> tuple[Event, ...]:
        """The canon events of one JSON event (a WebSocket frame, the data of an SSE frame).

        Not JSON or no object: Opaque.
        """
        try:
            wire: Json = from_json(data)
        except ValueError:
            text = data.decode("utf-8", "replace")
            return () if text.strip() == "[DONE]" else (Opaque(NAME, "", text),)
        if not isinstance(wire, dict):
            return (Opaque(NAME, "", wire),)
        return self.take(wire)

    def take(self, wire: Wire) -> tuple[Event, ...]:
        """The canon events of one event that was parsed already."""
        kind = wire.get("type")
        if self._over and (self._further or self._begins(wire)):
            self._further = True
            return (Opaque(NAME, "", wire),)
        if kind == "response.output_text.delta":
            quick = self._quick(wire)
            if quick is not None:
                return quick
        if not isinstance(kind, str):
            return (decode_fault(wire),) if wire.get("error") else (Opaque(NAME, "", wire),)
        handler = self._handlers.get(kind)
        if handler is None:
            return (Opaque(NAME, kind, wire),)
        out: list[Event] = []
        if not handler(wire, out):
            return (Opaque(NAME, kind, wire),)
        return tuple(out)

    def _begins(self, wire: Wire) -> bool:
        """Whether another answer begins here: no protocol has two of them in one body."""
        response = wire.get("response")
        if wire.get("type") not in BEGINNINGS or not isinstance(response, dict):
            return False
        return response.get("id") != self._now.started

    def close(self) -> tuple[Event, ...]:
        """The ends of parts that are still open."""
        out: list[Event] = []
        self._now.end_parts(out)
        return tuple(out)

    def _quick(self, wire: Wire) -> tuple[Event, ...] | None:
        """The events of the common delta, None if it needs a closer look."""
        item = self._now.items.get(place_in(wire, "output_index"))
        part = item.parts.get(place_in(wire, "content_index")) if item is not None else None
        delta = wire.get("delta")
        if part is None or part.ended or part.kind != "text" or not isinstance(delta, str):
            return None
        if wire.get("logprobs"):
            return None
        part.pieces.append(delta)
        return (PartDelta(part.index, "text", delta),)

    def _created(self, wire: Wire, out: list[Event]) -> bool:
        response = wire.get("response")
        if not isinstance(response, dict):
            return False
        start = start_of(response)
        if self._now.started is None or (start.id and start.id != self._now.started):
            if self._now.started:
                # Another answer on the same connection: its places begin anew.
                self._now.end_parts(out)
                self._now.items = {}
            self._now.started = start.id
            out.append(start)
        else:
            out.append(Ping())
        return True

    def _item_added(self, wire: Wire, out: list[Event]) -> bool:
        item = wire.get("item")
        if not isinstance(item, dict):
            return False
        self._now.ensure_start(out)
        state = self._now.new_item(place_in(wire, "output_index"), item)
        if state.kind in CALL_ITEMS:
            self._start_call(state, item, out)
        elif state.kind not in ("message", "reasoning"):
            out.append(Opaque(NAME, "response.output_item.added", wire))
        return True

    def _start_call(self, state: OpenItem, item: Wire, out: list[Event]) -> OpenPart:
        field_name = CALL_FIELDS[CALL_ITEMS[state.kind][0]]
        filled: Wire = {"call_id": "", "name": "", field_name: "", **item}
        filled.pop("status", None)
        part = decode_output_item(filled)[0]
        if not isinstance(part, ToolCall):
            part = ToolCall(id="", name="", arguments="")
        self._now.calls = True
        return self._now.start_part(state, 0, part, out)

    def _part_added(self, wire: Wire, out: list[Event]) -> bool:
        part = wire.get("part")
        state = self._message_state(wire, out)
        if not isinstance(part, dict) or state is None:
            return False
        if state.kind == "reasoning":
            return self._mark(state, "content", place_in(wire, "content_index"), out)
        place = place_in(wire, "content_index")
        if place not in state.parts:
            self._start_content(state, wire, part, out)
        return True

    def _start_content(self, state: OpenItem, wire: Wire, part: Wire, out: list[Event]) -> OpenPart:
        for opened in state.parts.values():
            self._now.end(opened, out)
        place = place_in(wire, "content_index")
        meta = None if state.parts else _begun(message_meta(state.wire))
        at = ("output", place_in(wire, "output_index"), "content", place)
        return self._now.start_part(state, place, decode_output_part(part, meta, at), out)

    def _message_state(self, wire: Wire, out: list[Event]) -> OpenItem | None:
        """The item a content event speaks of; one that was never announced is made."""
        place = place_in(wire, "output_index")
        state = self._now.items.get(place)
        if state is None:
            self._now.ensure_start(out)
            kind = "reasoning" if "reasoning" in str(wire.get("type")) else "message"
            state = self._now.new_item(place, {"type": kind, "id": wire.get("item_id")})
        return None if state.done else state

    def _part_done(self, wire: Wire, out: list[Event]) -> bool:
        part = wire.get("part")
        state = self._message_state(wire, out)
        if not isinstance(part, dict):
            return False
        if state is None:
            return True
        if state.kind == "reasoning":
            return True
        opened = state.parts.get(place_in(wire, "content_index"))
        if opened is None:
            opened = self._start_content(state, wire, part, out)
        else:
            final = decode_output_part(part, None)
            self._now.catch_up(opened, text_of(final), out)
            self._now.catch_up_details(opened, final, out)
        return True

    def _content(self, wire: Wire, kind: str, out: list[Event]) -> OpenPart | None:
        """The open part of a text or refusal event."""
        state = self._message_state(wire, out)
        if state is None or state.kind != "message":
            return None
        opened = state.parts.get(place_in(wire, "content_index"))
        if opened is None:
            empty: Wire = {"type": kind, "refusal" if kind == "refusal" else "text": ""}
            opened = self._start_content(state, wire, empty, out)
        return opened

    def _text_delta(self, wire: Wire, out: list[Event]) -> bool:
        kind = "refusal" if wire["type"] == "response.refusal.delta" else "output_text"
        opened = self._content(wire, kind, out)
        delta, logprobs = wire.get("delta"), wire.get("logprobs")
        if opened is None or opened.ended or not isinstance(delta, str):
            return False
        if isinstance(logprobs, list) and logprobs:
            opened.logprobs = max(opened.logprobs, 0) + len(logprobs)
            out.append(PartDetail(index=opened.index, logprobs=logprobs))
        opened.pieces.append(delta)
        out.append(PartDelta(opened.index, opened.kind, delta))
        return True

    def _annotation(self, wire: Wire, out: list[Event]) -> bool:
        opened = self._content(wire, "output_text", out)
        if opened is None or "annotation" not in wire:
            return False
        opened.annotations += 1
        out.append(PartDetail(index=opened.index, annotations=(wire["annotation"],)))
        return True

    def _text_done(self, wire: Wire, out: list[Event]) -> bool:
        name = DONE_FIELDS[str(wire["type"])]
        text = wire.get(name)
        if name in ("text", "refusal"):
            kind = "refusal" if name == "refusal" else "output_text"
            opened = self._content(wire, kind, out)
        else:
            opened = self._call(wire, out)
        if opened is not None and isinstance(text, str):
            self._now.catch_up(opened, text, out)
        return True

    def _call(self, wire: Wire, out: list[Event]) -> OpenPart | None:
        place = place_in(wire, "output_index")
        state = self._now.items.get(place)
        if state is None:
            kind = "custom_tool_call" if "custom" in str(wire["type"]) else "function_call"
            item: Wire = {"type": kind}
            if isinstance(wire.get("item_id"), str):
                item["id"] = wire["item_id"]
            self._now.ensure_start(out)
            return self._start_call(self._now.new_item(place, item), item, out)
        return state.parts.get(0) if state.kind in CALL_ITEMS else None

    def _call_delta(self, wire: Wire, out: list[Event]) -> bool:
        opened, delta = self._call(wire, out), wire.get("delta")
        if opened is None or opened.ended or not isinstance(delta, str):
            return False
        opened.pieces.append(delta)
        out.append(PartDelta(opened.index, "arguments", delta))
        return True

    def _mark(self, state: OpenItem, voice: Voice, place: int, out: list[Event]) -> bool:
        """Goes on to paragraph `place` of a reasoning item; False if it tells the other text."""
        if state.voice is None:
            state.voice = voice
            told = {key: v for key, v in state.wire.items() if key not in ("summary", "content")}
            begun = decode_reasoning(_begun(told), voice=voice)
            self._now.start_part(state, 0, begun, out)
        elif state.voice == voice and place > state.mark:
            opened = state.parts[0]
            if opened.pieces:
                opened.pieces.append(PARAGRAPH)
                out.append(PartDelta(opened.index, "reasoning", PARAGRAPH))
        state.mark = place
        return state.voice == voice

    def _reasoning(self, wire: Wire, out: list[Event]) -> bool:
        kind = str(wire["type"])
        voice: Voice = "summary" if "summary" in kind else "content"
        state = self._message_state(wire, out)
        if state is None or state.kind != "reasoning":
            return False
        told = self._mark(state, voice, place_in(wire, f"{voice}_index"), out)
        delta = wire.get("delta")
        if kind.endswith("_text.delta") and told and isinstance(delta, str):
            opened = state.parts[0]
            opened.pieces.append(delta)
            out.append(PartDelta(opened.index, "reasoning", delta))
        # The second text of an item, and the whole of the first, come with the item's end.
        return True

    def _item_done(self, wire: Wire, out: list[Event]) -> bool:
        item = wire.get("item")
        if not isinstance(item, dict):
            return False
        self._now.finish_item(place_in(wire, "output_index"), item, out)
        return True

    def _terminal(self, wire: Wire, out: list[Event]) -> bool:
        response = wire.get("response")
        if not isinstance(response, dict):
            return False
        if self._now.started is None:
            start = start_of(response)
            self._now.started = start.id
            out.append(start)
        output = response.get("output")
        for place, item in enumerate(output if isinstance(output, list) else ()):
            self._now.finish_item(self._now.place_of(place, item), item, out)
        self._now.end_parts(out)
        self._over = self._one_body
        usage = usage_of(response.get("usage"))
        if usage is not None:
            out.append(usage)
        finish, fault, extras = ending_of(response, self._now.calls)
        out.extend(event for event in (finish, fault) if event is not None)
        out.append(End(extras))
        return True

    def _error(self, wire: Wire, out: list[Event]) -> bool:
        out.append(decode_fault(wire))
        return True


def _begun(meta: Wire) -> Wire:
    """What is told of an item at its beginning; that it is in progress says nothing."""
    if meta.get("status") == "in_progress":
        return {key: value for key, value in meta.items() if key != "status"}
    return meta
