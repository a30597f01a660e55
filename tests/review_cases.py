"""Cards, exchanges and a desk for the tests of the review queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from llmitm.canon.events import Event, FinishReason
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.response import Choice, Response
from llmitm.desk.cards import Card
from llmitm.desk.messages import Message as Told
from llmitm.desk.queue import Entry, Queue, ReviewLimits
from llmitm.stages.contract import Answer, Decided

WEATHER = Tool(name="weather", parameters={"type": "object"})
PATCH = Tool(kind="custom", name="patch")
SEARCH = Tool(kind="server", name="search")


def request(text: str = "hello", **more: Any) -> Request:
    fields: dict[str, Any] = {
        "dialect": "openai_chat",
        "model": "gpt-x",
        "messages": (Message(role="user", parts=(Text(text=text),)),),
        "tools": (WEATHER, PATCH, SEARCH),
    }
    return Request(**fields | more)


def card(name: str = "c1", text: str = "hello", **more: Any) -> Card:
    fields: dict[str, Any] = {
        "id": name,
        "kind": "request",
        "exchange": f"flow-{name}",
        "same": f"same-{name}",
        "reason": "every request",
        "created_s": 0.0,
        "deadline_s": 300.0,
        "request": request(text),
    }
    return Card(**fields | more)


def call_card(name: str = "t1", **more: Any) -> Card:
    call = ToolCall(id="call_1", name="weather", arguments='{"city": "Oslo"}')
    return card(name, kind="tool_call", call=call, response=answer("I look").response, **more)


def response_card(name: str = "r1", **more: Any) -> Card:
    return card(name, kind="response", response=answer("as the model said").response, **more)


def answer(text: str) -> Answer:
    return Answer(response=Response(choices=(Choice(parts=(Text(text=text),)),), ended=True))


def document_of(shown: Card) -> str:
    """Stands for the YAML transcript: a line for each thing."""
    held = shown.call or shown.response or shown.request
    return "\n".join(str(held).split("), "))


@dataclass
class Exchange:
    """A `Waiting` that lets nothing be done to it twice, too late or in the wrong order."""

    gone: bool = False
    over: bool = False
    begun: bool = False
    decisions: list[Decided] = field(default_factory=list[Decided])
    events: list[Event] = field(default_factory=list[Event])
    reason: FinishReason | None = None
    on_call: Callable[[], None] = lambda: None
    on_write: Callable[[], object] = lambda: None

    def decided(self, decided: Decided) -> bool:
        assert not self.begun
        return self._called(decided)

    def begin(self) -> bool:
        assert not self.over
        assert not self.begun
        self.begun = True
        return self._alive()

    def write(self, events: Sequence[Event]) -> bool:
        assert not self.over
        assert self.begun
        assert events
        self.events += events
        return self._alive()

    def finish(self, reason: FinishReason) -> bool:
        assert self.begun
        self.reason = reason
        return self._called(None)

    def _called(self, decided: Decided | None) -> bool:
        assert not self.over, "a second decision, or one for a client that has left"
        self.over = True
        if self.gone:
            return False
        if decided is not None:
            self.decisions.append(decided)
        self.on_call()
        return True

    def _alive(self) -> bool:
        self.over = self.gone
        if not self.gone:
            self.on_write()
        return not self.gone

    @property
    def text(self) -> Response:
        return fold(self.events)


class Desk:
    """A queue with a clock that stands until it is moved, its log and one listener."""

    def __init__(self, **limits: Any) -> None:
        self.now = 0.0
        self.log: list[Entry] = []
        self.told: list[Told] = []
        self.exchanges: list[Exchange] = []
        self.queue = Queue(
            rules=ReviewLimits(**limits),
            log=self.log.append,
            now=lambda: self.now,
            document_of=document_of,
        )
        self.queue.listen(self.told.append)

    def offer(self, shown: Card, **more: Any) -> Exchange:
        exchange = Exchange(**more)
        assert self.queue.offer(shown, exchange) is None
        self.exchanges.append(exchange)
        return exchange

    def at(self, now: float) -> None:
        self.now = now
        self.queue.expire()

    @property
    def types(self) -> list[str]:
        return [message.type for message in self.told if message.type != "stats_update"]

    @property
    def what(self) -> list[str]:
        return [entry.what for entry in self.log]
