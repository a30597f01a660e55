"""How far a streamed answer has come: which items and parts are open and what was told of them.

So that what comes again at an item's end or in the final response is not told twice, and what
comes only there is told at all. Never: reads an event's fields (that is `reader`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmitm.canon.events import DeltaKind, Event, PartDelta, PartDetail, PartEnd, PartStart, Start
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.values import Extras, Json
from llmitm.dialects.openai_responses.items import Voice, decode_output_item
from llmitm.dialects.openai_responses.parts import Wire
from llmitm.dialects.openai_responses.tables import NAME


@dataclass(slots=True)
class OpenPart:
    """A part that was started: what was told of it so far."""

    index: int
    part: Part
    pieces: list[str]
    kind: DeltaKind
    annotations: int = 0
    logprobs: int = -1
    ended: bool = False


@dataclass(slots=True)
class OpenItem:
    """An item of the answer. parts: by content index (0 for what is no message); index: reserved
    for a part that is not started yet; voice: which text of a reasoning item is being told, and
    mark: its last summary or content index."""

    kind: str
    name: str
    wire: Wire
    index: int
    parts: dict[int, OpenPart] = field(default_factory=dict[int, OpenPart])
    voice: Voice | None = None
    mark: int = 0
    done: bool = False


def place_in(wire: Wire, key: str) -> int:
    """The index under `key`, 0 without one."""
    value = wire.get(key)
    return value if isinstance(value, int) else 0


def text_of(part: Part) -> str:
    """The text that deltas of this part add up to."""
    match part:
        case Text() | Refusal() | Reasoning():
            return part.text
        case ToolCall():
            return part.arguments
        case _:
            return ""


def _emptied(part: Part) -> Part:
    match part:
        case Text():
            return replace(part, text="", annotations=(), logprobs=None)
        case Refusal() | Reasoning():
            return replace(part, text="")
        case ToolCall():
            return replace(part, arguments="")
        case _:
            return part


def _kind_of(part: Part) -> DeltaKind | None:
    match part:
        case Text():
            return "text"
        case Refusal():
            return "refusal"
        case Reasoning():
            return "reasoning"
        case ToolCall():
            return "arguments"
        case _:
            return None


class Progress:
    """The state of one answer. items: by output index; started: its id, None before its Start;
    calls: whether it holds a tool call."""

    def __init__(self) -> None:
        self.items: dict[int, OpenItem] = {}
        self.next = 0
        self.started: str | None = None
        self.calls = False

    def ensure_start(self, out: list[Event]) -> None:
        """A Start if the answer had none yet."""
        if self.started is None:
            self.started = ""
            out.append(Start(dialect=NAME))

    def new_item(self, place: int, wire: Wire) -> OpenItem:
        """A new item at this place of the output."""
        kind, name = wire.get("type"), wire.get("id")
        state = OpenItem(
            kind if isinstance(kind, str) else "",
            name if isinstance(name, str) else "",
            wire,
            self.next,
        )
        self.next += 1
        self.items[place] = state
        return state

    def start_part(self, state: OpenItem, place: int, part: Part, out: list[Event]) -> OpenPart:
        """Starts a part with whatever text and details it brings already."""
        self.ensure_start(out)
        index = state.index
        if state.parts:
            index = self.next
            self.next += 1
        text = text_of(part)
        opened = OpenPart(index, _emptied(part), [], _kind_of(part) or "text")
        state.parts[place] = opened
        out.append(PartStart(index, opened.part))
        self.catch_up(opened, text, out)
        if isinstance(part, Text):
            self.catch_up_details(opened, part, out)
        return opened

    def catch_up(self, opened: OpenPart, text: str, out: list[Event]) -> None:
        """Tells what of the whole `text` was not told; what was told otherwise stays told."""
        told = "".join(opened.pieces)
        if len(text) > len(told) and text.startswith(told) and not opened.ended:
            more = text[len(told) :]
            opened.pieces = [text]
            out.append(PartDelta(opened.index, opened.kind, more))

    def catch_up_details(self, opened: OpenPart, final: Part, out: list[Event]) -> None:
        """Tells what of the final part's other fields was not told."""
        encrypted: str | None = None
        annotations: tuple[Json, ...] = ()
        logprobs: Json = None
        extras: Extras = {}
        started = opened.part
        if isinstance(final, Text | Refusal | Reasoning | ToolCall) and not isinstance(
            started, Unknown
        ):
            old = getattr(started, "extras", {})
            extras = {k: v for k, v in final.extras.items() if k not in old or old[k] != v}
            if extras:
                opened.part = replace(started, extras={**old, **extras})
        if isinstance(final, Text):
            annotations = final.annotations[opened.annotations :]
            opened.annotations += len(annotations)
            if isinstance(final.logprobs, list) and len(final.logprobs) > opened.logprobs:
                logprobs = final.logprobs[max(opened.logprobs, 0) :]
                opened.logprobs = len(final.logprobs)
        elif isinstance(final, Reasoning) and final.encrypted is not None:
            known = started.encrypted if isinstance(started, Reasoning) else None
            encrypted = None if final.encrypted == known else final.encrypted
        if encrypted is not None or annotations or logprobs is not None or extras:
            out.append(
                PartDetail(
                    index=opened.index,
                    encrypted=encrypted,
                    annotations=annotations,
                    logprobs=logprobs,
                    extras=extras,
                )
            )

    def end(self, opened: OpenPart, out: list[Event]) -> None:
        """The end of one part, once."""
        if not opened.ended:
            opened.ended = True
            out.append(PartEnd(opened.index))

    def end_parts(self, out: list[Event]) -> None:
        """The ends of all parts."""
        for state in self.items.values():
            for opened in state.parts.values():
                self.end(opened, out)

    def finish_item(self, place: int, item: Json, out: list[Event]) -> None:
        """What the whole `item` tells that its events did not, and its end."""
        self.ensure_start(out)
        state = self.items.get(place)
        if state is None:
            state = self.new_item(place, item if isinstance(item, dict) else {})
        if state.done:
            return
        state.done = True
        finals = decode_output_item(item, ("output", place), state.voice)
        if len(state.parts) > 0 and isinstance(finals[0], Unknown) and len(finals) == 1:
            finals = []
        for content, final in enumerate(finals):
            self.calls = self.calls or isinstance(final, ToolCall)
            opened = state.parts.get(content)
            if opened is None:
                opened = self.start_part(state, content, final, out)
            else:
                self.catch_up(opened, text_of(final), out)
            self.catch_up_details(opened, final, out)
        for opened in state.parts.values():
            self.end(opened, out)

    def place_of(self, place: int, item: Json) -> int:
        """Where the item of the final output was announced: by its id, else by its place."""
        name = item.get("id") if isinstance(item, dict) else None
        if isinstance(name, str) and name:
            for known, state in self.items.items():
                if state.name == name:
                    return known
            if place in self.items and self.items[place].name:
                return max(self.items) + 1
        return place
