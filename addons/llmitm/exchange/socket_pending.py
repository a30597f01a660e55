"""A request on a WebSocket that waits for an operator, and the answer that is written to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from llmitm.canon.events import Event
from llmitm.canon.fold import Folder
from llmitm.canon.response import Response
from llmitm.dialects.contract import StreamEncoder
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.socket_frames import frames_of
from llmitm.exchange.socket_said import Halt, Said
from llmitm.stages.contract import Decided, Hold


@dataclass(frozen=True, slots=True)
class Call:
    """A request's frame. data: as it came; asked: with what the provider has not seen of earlier
    turns; lane: its stream on the socket."""

    data: bytes
    asked: bytes
    lane: str


class Carrier(Protocol):
    """The socket that the request came on."""

    def decided(self, exchange: Exchange, call: Call, decided: Decided) -> Said:
        """What becomes of the frame."""
        ...

    def ended(self, exchange: Exchange, response: Response) -> None:
        """The exchange is complete: this was written."""
        ...


@dataclass(slots=True)
class Pending(Halt):
    """See the module."""

    socket: Carrier
    exchange: Exchange
    hold: Hold
    call: Call
    _encoder: StreamEncoder | None = None
    _written: Folder = field(default_factory=Folder)

    def decided(self, decided: Decided) -> Said:
        """What becomes of it."""
        return self.socket.decided(self.exchange, self.call, decided)

    def write(self, events: Sequence[Event]) -> Said:
        """Frames of an answer that an operator writes live; the last events end the exchange."""
        exchange = self.exchange
        if self._encoder is None:
            exchange.local = True
            self._encoder = replace(exchange.answers, stream=True).encoder()
        for event in events:
            exchange.meter.feed(event, exchange.house.clock())
            self._written.feed(event)
        out = self._encoder.feed(events)
        if exchange.meter.ended:
            out += self._encoder.close()
            self.socket.ended(exchange, self._written.response())
        return Said(passes=False, to_client=frames_of(out, self.call.lane))
