"""What becomes of a frame on a WebSocket: it passes, others take its place, or an operator decides.

Values only; `websocket` makes them, and whoever moves frames does what they say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmitm.canon.events import Event
from llmitm.exchange.exchange import Exchange
from llmitm.stages.contract import Decided, Hold

GO_TO_HTTP = 1012
INTERNAL_ERROR = 1011
"""Close codes. Source: RFC 6455, section 7.4.1, and its IANA registry."""


class Halt(Protocol):
    """Something on a socket that waits for an operator."""

    exchange: Exchange
    hold: Hold

    def decided(self, decided: Decided) -> Said:
        """What is sent now that it was decided; called once."""
        ...

    def write(self, events: Sequence[Event]) -> Said:
        """Frames of an answer that an operator writes live, in place of `decided`."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What becomes of a frame. passes: it goes on as it is; to_client, to_server: frames that are
    sent then; closes: the close code for the client, 0 = the socket stays open; holds: what waits
    for an operator after that, None = nothing."""

    passes: bool = True
    to_client: tuple[bytes, ...] = ()
    to_server: tuple[bytes, ...] = ()
    closes: int = 0
    holds: Halt | None = None


PASSES = Said()
