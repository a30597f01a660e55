"""One exchange over HTTP that waits for an operator: decide it, or write its answer.

Everything is called from the event loop. What is decided about a request goes on through
`Exchange.decided`, about an answer through the tap that keeps it; an answer that an operator writes
live is pushed into the client's stream, or collected where the client wants it in one piece.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mitmproxy import http

from llmitm.canon.events import End, Event, Finish, FinishReason, Start
from llmitm.canon.fold import fold
from llmitm.desk.held import Waiting
from llmitm.dialects.contract import StreamEncoder
from llmitm.errors import StageError
from llmitm.exchange.exchange import Exchange, Step
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.told import answer_id, told, with_id
from llmitm.exchange.verdicts import Held
from llmitm.exchange.wire import WireRequest
from llmitm.mitm import stream_contract as stream
from llmitm.mitm.answer_tap import AnswerTap
from llmitm.stages.contract import Answer, Decided

log = logging.getLogger("llmitm")


class Waits(Waiting, Protocol):
    """Something held, as the desk knows it. in_flow: mitmproxy's own flow shows it, and may be
    edited and resumed; gone: set when its client is; stream: the client takes an answer as it is
    written; leave: called when it waits no longer, before anything else happens."""

    flow: http.HTTPFlow
    leave: Callable[[], None]

    @property
    def exchange(self) -> Exchange:
        """Whose it is."""
        ...

    @property
    def gone(self) -> asyncio.Event:
        """See the class."""
        ...

    @property
    def in_flow(self) -> FlowShows | None:
        """What the flow shows of it; None = nothing."""
        ...

    @property
    def stream(self) -> bool:
        """See the class."""
        ...

    @property
    def over(self) -> bool:
        """Whether nobody is there any more to be answered."""
        ...


type FlowShows = Literal["request", "answer"]


@dataclass(slots=True, kw_only=True)
class Holding:
    """See the module and `Waits`.

    of: what is held, the request or something of its answer; go: does the exchange's next step.
    """

    flow: http.HTTPFlow
    exchange: Exchange
    wire: WireRequest
    tap: AnswerTap
    steering: stream.Steering
    go: Callable[[Step | Held], None]
    of: FlowShows = "request"
    leave: Callable[[], None] = lambda: None
    _events: list[Event] = field(default_factory=list[Event])
    _encoder: StreamEncoder | None = None

    @property
    def gone(self) -> asyncio.Event:
        """Set when the client is."""
        return self.steering.gone

    @property
    def in_flow(self) -> FlowShows | None:
        """What the flow shows of it."""
        return self.of

    @property
    def stream(self) -> bool:
        """Whether the client takes an answer as it is written."""
        return self.exchange.wants_stream

    @property
    def over(self) -> bool:
        """Whether nobody is there any more to be answered."""
        return self.steering.closed or self.steering.gone.is_set()

    def decided(self, decided: Decided) -> bool:
        """It goes on as decided. False: it is over."""
        if self.over:
            return False
        self.leave()
        if self.of == "answer":
            # The tap may have stopped in this very turn of the loop, and is asked in a later one.
            asyncio.get_running_loop().call_soon(self._resume, decided)
        else:
            said = with_id(self.exchange, decided)
            self._act(lambda: self.go(self.exchange.decided(said)))
        return True

    def _resume(self, decided: Decided) -> None:
        self.tap.resume(decided)

    def _act(self, act: Callable[[], None]) -> None:
        done = guarded("desk", act)
        if isinstance(done, StageError):
            log.error("llmitm: %s", done, exc_info=done.cause)
            if self.flow.killable:
                self.flow.kill()

    # -- an answer written live ---------------------------------------------------------------

    def begin(self) -> bool:
        """An operator begins to write the answer. False: it is over."""
        if self.over:
            return False
        self.leave()
        exchange = self.exchange
        exchange.notes.append("an operator writes the answer")
        if self.of == "request":
            exchange.local = True
            if exchange.wants_stream:
                self._encoder = exchange.encoder()
        return self.write((Start(id=answer_id(exchange), model=exchange.turn.model),))

    def write(self, events: Sequence[Event]) -> bool:
        """More of that answer. False: the client has left."""
        if self.over:
            return False
        self._events += events
        if self._encoder is None:
            return True
        now_s = self.exchange.house.clock()
        for event in events:
            self.exchange.meter.feed(event, now_s)
        return self.steering.push(self._encoder.feed(events))

    def finish(self, reason: FinishReason) -> bool:
        """The answer is complete."""
        ends = (Finish(reason), End())
        if self._encoder is None:
            if self.over:
                return False
            answer = Answer(response=fold((*self._events, *ends)), why="written by an operator")
            self._events.clear()
            return self.decided(answer)
        if not self.write(ends):
            return False
        encoder, self._encoder = self._encoder, None
        told(self.exchange, fold(self._events))
        self._events.clear()
        return self.steering.finish(encoder.close())
