"""What is remembered of one turn whose answer, or calls of it, may be held.

Never: decides what is held.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from llmitm.canon.events import (
    End,
    Event,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
)
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Request
from llmitm.ruleset.review import ReviewRuleRow
from llmitm.stages.review.editing import Key, key_of


@dataclass(slots=True, kw_only=True)
class Watched:
    """One turn. wholes, calls: rules that may hold the answer, or calls of it; wish, call_wish: why
    an operator wants to see it.

    Of the present answer: start: its first event; whole: all of it is kept back; kept: events kept
    back, in order; begun: parts that began among them; chars: how long they are; finished: choices
    that are; let_go: calls that may go on; cut_off: parts of which nothing more goes on; open:
    parts the client has seen begin; made: calls of a choice that went on; stopped: choices that
    lost a call; said: what went on, with its length; over: nothing more goes on.
    asking: what an operator is asked about; attempts: how often the model was asked again.
    """

    request: Request
    wholes: tuple[ReviewRuleRow, ...]
    calls: tuple[ReviewRuleRow, ...]
    wish: str | None
    call_wish: str | None
    attempts: int = 0
    spoke: bool = False
    asking: Literal["answer", "long answer"] | Key | None = None
    start: Start = field(default_factory=Start)
    whole: bool = False
    kept: list[Event] = field(default_factory=list[Event])
    begun: set[Key] = field(default_factory=set[Key])
    chars: int = 0
    finished: set[int] = field(default_factory=set[int])
    let_go: set[Key] = field(default_factory=set[Key])
    cut_off: set[Key] = field(default_factory=set[Key])
    open: dict[Key, None] = field(default_factory=dict[Key, None])
    made: dict[int, int] = field(default_factory=dict[int, int])
    stopped: set[int] = field(default_factory=set[int])
    said: list[Event] = field(default_factory=list[Event])
    said_chars: int = 0
    over: bool = False

    def anew(self) -> None:
        """Another answer begins."""
        self.start = Start()
        self.whole = bool(self.wholes) or self.wish is not None
        self.chars = self.said_chars = 0
        self.asking, self.over = None, False
        for held in (self.kept, self.begun, self.finished, self.let_go, self.cut_off, self.open):
            held.clear()
        for held in (self.made, self.stopped, self.said):
            held.clear()


def keep(watched: Watched, event: Event) -> None:
    """The event is kept back. A part that begins once more takes its own place: of an answer that
    another one has taken the place of, only beginnings were seen."""
    key = key_of(event)
    if isinstance(event, PartStart) and key is not None:
        if key in watched.begun:
            watched.kept = [each for each in watched.kept if key_of(each) != key]
        watched.begun.add(key)
    watched.kept.append(event)
    watched.chars += length(event)


def length(event: Event) -> int:
    """How much the event holds, in characters; an event without text is not free either."""
    if isinstance(event, PartDelta):
        return len(event.text) + 1
    if isinstance(event, PartStart):
        part = event.part
        texts = (getattr(part, name, None) for name in ("text", "arguments", "data"))
        return 1 + sum(len(text) for text in texts if isinstance(text, str))
    return 1


def part_of(kept: list[Event], key: Key) -> list[Event]:
    """The events of the part, with its end where no more can come."""
    found: list[Event] = []
    for event in kept:
        if key_of(event) == key:
            found.append(event)
            if isinstance(event, PartEnd):
                return found
        elif isinstance(event, End) or (isinstance(event, Finish) and event.choice == key[0]):
            return [*found, PartEnd(key[1], key[0])]
    return found


def let_go(watched: Watched, event: Event, limit: int) -> Event:
    """The event goes on to the client; a finish says `stop` where no call is left."""
    match event:
        case PartStart(part=part):
            key = (event.choice, event.index)
            watched.open[key] = None
            if isinstance(part, ToolCall):
                watched.let_go.add(key)
                watched.made[event.choice] = watched.made.get(event.choice, 0) + 1
            watched.spoke = watched.spoke or (isinstance(part, Text) and bool(part.text))
        case PartDelta():
            watched.spoke = watched.spoke or (event.kind == "text" and bool(event.text))
        case PartEnd():
            watched.open.pop((event.choice, event.index), None)
        case Finish() if event.choice in watched.stopped and event.reason == "tool_calls":
            if not watched.made.get(event.choice):
                return replace(event, reason="stop", raw=None)
        case _:
            pass
    if isinstance(event, PartStart | PartDelta | PartDetail | PartEnd) and (
        watched.said_chars <= limit
    ):
        watched.said.append(event)
        watched.said_chars += length(event)
        if watched.said_chars > limit:
            watched.said.clear()
    return event
