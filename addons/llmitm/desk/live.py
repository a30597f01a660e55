"""An answer that an operator writes live: what comes in pieces becomes the events of its parts.

It makes events and, apart from that, takes note of those that were passed on. It
keeps no more of the text than the log takes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

from llmitm.canon.events import Event, FinishReason, PartDelta, PartDetail, PartEnd, PartStart
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall
from llmitm.desk.differences import MOST_CHARACTERS
from llmitm.desk.review_error import ReviewError

type Spoken = Literal["text", "reasoning"]


@dataclass(slots=True)
class LiveAnswer:
    """written: characters so far; calls, ids: how many tool calls with which ids;
    open: index -> part that has not ended yet; next: index of the part after these."""

    written: int = 0
    calls: int = 0
    open: dict[int, Part] = field(default_factory=dict[int, Part])
    next: int = 0
    ids: set[str] = field(default_factory=set[str])
    _kept: list[str] = field(default_factory=list[str])
    _room: int = MOST_CHARACTERS

    @property
    def begun(self) -> bool:
        """Whether anything was written."""
        return self.next > 0

    @property
    def reason(self) -> FinishReason:
        """Why it ends when nobody says why."""
        return "tool_calls" if self.calls else "stop"

    def more(self, kind: Spoken, text: str) -> tuple[Event, ...]:
        """The events of more text or thinking: of the open part, or of a new one."""
        shape = Text if kind == "text" else Reasoning
        for index, part in self.open.items():
            if isinstance(part, shape):
                return (PartDelta(index, kind, text),)
        index = self.next
        part = Text(text="") if kind == "text" else Reasoning()
        return (*self.closing(), PartStart(index, part), PartDelta(index, kind, text))

    def call(self, call: ToolCall) -> tuple[Event, ...]:
        """The events of a whole tool call. Raises ReviewError `invalid` for an id used before."""
        if call.id in self.ids:
            raise ReviewError("invalid", f"two tool calls have the id {call.id!r}")
        index = self.next
        bare = ToolCall(id=call.id, name=call.name, arguments="", kind=call.kind)
        delta = (PartDelta(index, "arguments", call.arguments),) if call.arguments else ()
        return (*self.closing(), PartStart(index, bare), *delta, PartEnd(index))

    def closing(self) -> tuple[Event, ...]:
        """What ends the parts that are open."""
        return tuple(PartEnd(index) for index in self.open)

    def check(self, events: Iterable[Event]) -> None:
        """Raises ReviewError `invalid` for what is no part of choice 0 in a sensible order."""
        opened, following = set(self.open), self.next
        for event in events:
            if not isinstance(event, PartStart | PartDelta | PartDetail | PartEnd) or event.choice:
                raise ReviewError("invalid", f"{type(event).__name__} cannot be written here")
            if isinstance(event, PartStart):
                if event.index != following:
                    raise ReviewError("invalid", f"the next part is {following}")
                opened.add(event.index)
                following += 1
            elif event.index not in opened:
                raise ReviewError("invalid", f"part {event.index} is not open")
            elif isinstance(event, PartEnd):
                opened.discard(event.index)

    def took(self, events: Iterable[Event]) -> None:
        """Takes note of events that are passed on."""
        for event in events:
            match event:
                case PartStart():
                    self.open[event.index] = event.part
                    self.next = event.index + 1
                    if isinstance(event.part, ToolCall):
                        self.calls += 1
                        self.ids.add(event.part.id)
                    self.written += weight(event)
                    self._keep(_opening(event.part, first=not event.index))
                case PartDelta():
                    self.written += weight(event)
                    self._keep(event.text)
                case PartEnd():
                    self.open.pop(event.index, None)
                case _:
                    pass

    def _keep(self, text: str) -> None:
        if self._room > 0 and text:
            self._kept.append(text[: self._room])
            self._room -= len(text)

    def kept(self) -> str:
        """What was written, as lines of a difference; the log's share of it."""
        text = "".join(self._kept)
        more = self.written - len(text)
        lines = "\n".join(f"+{line}" for line in text.splitlines())
        return f"{lines}\n… {more} more characters" if self._room < 0 else lines


def _opening(part: Part, *, first: bool) -> str:
    gap = "" if first else "\n"
    if isinstance(part, ToolCall):
        return f"{gap}[tool call {part.name} {part.id}] {part.arguments}"
    if isinstance(part, Reasoning):
        return f"{gap}[reasoning] {part.text}"
    return gap + (part.text if isinstance(part, Text | Refusal) else "")


def weight(event: Event) -> int:
    """How many characters it brings."""
    if isinstance(event, PartDelta):
        return len(event.text)
    if isinstance(event, PartStart):
        part = event.part
        if isinstance(part, Text | Reasoning | Refusal):
            return len(part.text)
        return len(part.arguments) + len(part.name) if isinstance(part, ToolCall) else 0
    return 0
