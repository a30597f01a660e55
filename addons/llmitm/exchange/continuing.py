"""An answer that goes on with another: what a second one says follows in the first one's stream.

Parts get numbers behind those that the client has seen; the second answer's beginning is left out.
Never: decides that an answer is to be continued.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from llmitm.canon.events import Event, PartDelta, PartDetail, PartEnd, PartStart, Start
from llmitm.canon.values import Loss
from llmitm.dialects.contract import Settling, StreamEncoder


class Counted:
    """A stream encoder that knows how many parts of each choice it was given."""

    def __init__(self, encoder: StreamEncoder) -> None:
        self._encoder = encoder
        self.losses: list[Loss] = encoder.losses
        self._offset = 0
        self._next = 0
        self._continued = False

    def go_on(self) -> None:
        """From now on another answer's events come."""
        self._offset = self._next
        self._continued = True

    def feed(self, events: Iterable[Event]) -> bytes:
        """The bytes for these events."""
        if self._continued:
            return self._encoder.feed(list(self._placed(events)))
        events = tuple(events)
        for event in events:
            if isinstance(event, PartStart):
                self._next = max(self._next, event.index + 1)
        return self._encoder.feed(events)

    def _placed(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            if isinstance(event, PartStart):
                self._next = max(self._next, event.index + self._offset + 1)
            if isinstance(event, PartStart | PartDelta | PartDetail | PartEnd):
                yield replace(event, index=event.index + self._offset)
            elif not isinstance(event, Start):
                yield event

    def close(self) -> bytes:
        """What makes the stream well-formed when it ends here."""
        return self._encoder.close()

    def settle(self) -> None:
        """What has ended was told by the provider's own frames."""
        if isinstance(self._encoder, Settling):
            self._encoder.settle()

    def heartbeat(self) -> bytes:
        """A keep-alive."""
        return self._encoder.heartbeat()
