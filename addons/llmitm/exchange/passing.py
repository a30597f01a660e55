"""Frames that the stages left alone go on as they came, also when they were kept back for a while.

A stage may keep events back and give them later, unchanged: then the frames they came in go on byte
for byte. What it changes is encoded, and so is all that follows where a changed part begins or
ends, or the protocol says later again what a frame said before.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from llmitm.canon.events import Event, PartDelta, PartDetail, Ping
from llmitm.dialects.contract import Frame, Settling, StreamEncoder

_MOST_FRAMES = 1 << 16
"""Frames kept back; of more, what comes later is encoded."""


@dataclass(slots=True)
class _Late:
    """A frame of which not all has gone on. left: events that have not; owed: the bytes of those
    that have, should the frame itself never go."""

    raw: bytes
    left: deque[Event]
    owed: list[bytes] = field(default_factory=list[bytes])


class Passing:
    """The frames of one answer, in a client's own protocol. repeats: as the dialect says;
    raw: whether frames may still go on as they came."""

    def __init__(self, *, raw: bool, repeats: bool) -> None:
        self._raw = raw
        self._edited = not raw
        self._repeats = repeats
        self._late: deque[_Late] = deque()
        self._ahead: list[bytes] = []
        """What announces the next frame's events: it goes with them."""

    def through(self, frame: Frame, events: Sequence[Event], encoder: StreamEncoder) -> bytes:
        """The bytes for the events that the stages made of this frame."""
        if not self._raw:
            return encoder.feed(events)
        if self._waits_for_more(frame):
            self._ahead.append(frame.raw)
            return b""
        if self._ahead and any(not isinstance(event, Ping) for event in frame.events):
            frame = replace(frame, raw=b"".join((*self._ahead, frame.raw)))
            self._ahead.clear()
        same = events == frame.events
        if same and not self._late:
            encoder.feed(events)
            return frame.raw
        if same and not (events or frame.raw.startswith(b":")):
            # It belongs to what is kept back: the closing of a part, an empty piece of it.
            self._keep(_Late(frame.raw, deque()))
            return b""
        if same and not self._repeats:
            encoder.feed(events)
            return frame.raw
        if same and events:
            # It may say again what a stage has kept to itself.
            return self._encoded(events, encoder)
        if not events:
            self._keep(_Late(frame.raw, deque(frame.events)))
            return b""
        return self._sorted(frame, events, encoder)

    def _waits_for_more(self, frame: Frame) -> bool:
        """Whether the frame announces what a stage may still keep back or change."""
        if self._late or frame.events or not frame.raw or frame.raw.startswith(b":"):
            return False
        return frame.announces or bool(self._ahead)

    def rest(self) -> bytes:
        """What was announced and never came, at the end of an untouched answer."""
        ahead = b"".join(self._ahead)
        self._ahead.clear()
        return ahead

    @property
    def untouched(self) -> bool:
        """Whether the client has got nothing but frames as they came, and nothing waits."""
        return not self._edited and not self._late

    def leave(self, encoder: StreamEncoder) -> bytes:
        """From now on all is encoded. What the client must still get of frames that never went on
        whole."""
        if self._raw and isinstance(encoder, Settling):
            encoder.settle()
        self._raw = False
        self._edited = True
        return self._owed()

    def _owed(self) -> bytes:
        owed = b"".join(piece for late in self._late for piece in late.owed)
        self._late.clear()
        self._ahead.clear()
        return owed

    def _replaced(self, event: PartDelta | PartDetail) -> bytes:
        """Forgets the frames of the part that this event changes, and those of which some has gone
        on: what that owes. Frames of other parts may still go on as they came."""
        owed: list[bytes] = []
        kept: deque[_Late] = deque()
        gone = False
        for late in self._late:
            if late.owed:
                owed += late.owed
            # One without events belongs to the frame before it.
            gone = bool(late.owed) or (
                all(_is_of(one, event) for one in late.left) if late.left else gone
            )
            if not gone:
                kept.append(late)
        self._late = kept
        return b"".join(owed)

    def _keep(self, late: _Late) -> None:
        self._late.append(late)
        if len(self._late) > _MOST_FRAMES:
            self._late.clear()

    def _encoded(self, events: Sequence[Event], encoder: StreamEncoder) -> bytes:
        return self.leave(encoder) + encoder.feed(events)

    def _sorted(self, frame: Frame, events: Sequence[Event], encoder: StreamEncoder) -> bytes:
        """Each event in the frame it came in, as soon as that is complete."""
        out: list[bytes] = []
        self._late.append(_Late(frame.raw, deque(frame.events)))
        for place, event in enumerate(events):
            late = next((one for one in self._late if one.left and one.left[0] == event), None)
            if late is None:
                # Changed, or a frame that has been forgotten.
                self._edited = True
                out.append(self._complete())
                if self._repeats or not isinstance(event, PartDelta | PartDetail):
                    out += [self.leave(encoder), encoder.feed(events[place:])]
                    return b"".join(out)
                out += [self._replaced(event), encoder.feed((event,))]
                continue
            late.left.popleft()
            late.owed.append(encoder.feed((event,)))
        out.append(self._complete())
        return b"".join(out)

    def _complete(self) -> bytes:
        """The frames all of whose events have gone on, with the empty ones behind them."""
        out: list[bytes] = []
        kept: deque[_Late] = deque()
        going = False
        for late in self._late:
            going = not late.left and (bool(late.owed) or going)
            if going:
                out.append(late.raw)
            else:
                kept.append(late)
        self._late = kept
        return b"".join(out)


def _is_of(one: Event, changed: PartDelta | PartDetail) -> bool:
    return (
        isinstance(one, PartDelta | PartDetail)
        and one.index == changed.index
        and one.choice == changed.choice
    )
