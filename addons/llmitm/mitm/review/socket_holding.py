"""Something on a WebSocket that waits for an operator: decide it, or write its answer."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from mitmproxy import http

from llmitm.canon.events import End, Event, Finish, FinishReason, Start
from llmitm.errors import StageError
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.socket_said import INTERNAL_ERROR, Halt, Said
from llmitm.exchange.told import answer_id, with_id
from llmitm.stages.contract import Decided

log = logging.getLogger("llmitm")


@dataclass(slots=True, kw_only=True)
class SocketHolding:
    """See the module and `holding.Waits`. say: does what becomes of it; False: the socket is gone;
    done: called once nothing of it waits any more.

    mitmproxy's list shows the socket as a whole, so that nothing of it is resumed or edited there.
    """

    flow: http.HTTPFlow
    halt: Halt
    say: Callable[[Said], bool]
    done: Callable[[], None]
    leave: Callable[[], None] = lambda: None
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    in_flow: None = None
    stream: bool = True

    @property
    def exchange(self) -> Exchange:
        """Whose it is."""
        return self.halt.exchange

    @property
    def over(self) -> bool:
        """Whether nobody is there any more to be answered."""
        return self.gone.is_set()

    def decided(self, decided: Decided) -> bool:
        """It goes on as decided. False: it is over."""
        if self.over:
            return False
        self.leave()
        self.done()
        hold = self.halt.hold
        if hold.response is None and hold.call is None:
            decided = with_id(self.exchange, decided)
        return self._said(lambda: self.halt.decided(decided))

    def begin(self) -> bool:
        """An operator begins to write the answer. False: it is over."""
        if self.over:
            return False
        self.leave()
        self.exchange.notes.append("an operator writes the answer")
        own = answer_id(self.exchange)
        return self.write((Start(id=own, model=self.exchange.turn.model),))

    def write(self, events: Sequence[Event]) -> bool:
        """More of that answer. False: the client has left."""
        return not self.over and self._said(lambda: self.halt.write(events))

    def finish(self, reason: FinishReason) -> bool:
        """The answer is complete."""
        if not self.write((Finish(reason), End())):
            return False
        self.done()
        return True

    def _said(self, act: Callable[[], Said]) -> bool:
        said = guarded("desk", act)
        if isinstance(said, StageError):
            log.error("llmitm: %s", said, exc_info=said.cause)
            said = Said(passes=False, closes=INTERNAL_ERROR)
        return self.say(said)
