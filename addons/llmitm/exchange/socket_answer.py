"""One answer on a WebSocket, frame by frame, through the tap: also while an operator decides.

While it is held, the provider's frames are kept here, at most `limit_bytes` of them; beyond, the
answer is cut off with an error of the protocol. Sans-io; never blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmitm.canon.events import Event, Fault
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.socket_frames import ENDINGS, frames_of, read_frame
from llmitm.exchange.socket_said import PASSES, Halt, Said
from llmitm.exchange.tap import Step, Tap
from llmitm.stages.contract import Decided, Hold


@dataclass(slots=True, kw_only=True)
class SocketAnswer:
    """See the module. lane: its stream on the socket; then: told what is sent after a hold;
    cut: the client's answer has ended, the provider's has not; over: nothing more comes of it."""

    exchange: Exchange
    tap: Tap
    lane: str
    limit_bytes: int
    then: Callable[[SocketAnswer, Said], Said]
    cut: bool = False
    over: bool = False
    _held: list[bytes] | None = None
    _held_bytes: int = 0

    def feed(self, data: bytes) -> Said:
        """What becomes of a frame of the provider."""
        if self._held is not None:
            return self._kept(self._held, data)
        if self.cut:
            wire = read_frame(data)
            self.over = wire is not None and wire.get("type") in ENDINGS
            return Said(passes=False)
        if self.tap.encoder is None and len(data) > self.limit_bytes:
            self.exchange.notes.append(f"a frame of {len(data)} bytes passed on unread")
            return PASSES
        step = self.tap.feed(data)
        if self.tap.encoder is None:
            self._look()
            return PASSES
        said = self._said(step)
        return PASSES if said.holds is None and said.to_client == (data,) else said

    def _kept(self, held: list[bytes], data: bytes) -> Said:
        self._held_bytes += len(data)
        if self._held_bytes <= self.limit_bytes:
            held.append(data)
            return Said(passes=False)
        self._held, self.cut = None, True
        message = f"llmitm: more than {self.limit_bytes} bytes came while the answer was held"
        assert self.tap.encoder is not None
        out = self.tap.encoder.feed((Fault(kind="server", message=message, code="held_too_long"),))
        return Said(passes=False, to_client=frames_of(out, self.lane))

    def _look(self) -> None:
        meter = self.exchange.meter
        self.over = not self.cut and (meter.ended or meter.fault is not None)

    def _said(self, step: Step) -> Said:
        """The frames for the client, and whether the answer goes on."""
        meter, encoder = self.exchange.meter, self.tap.encoder
        assert encoder is not None
        out = step.out
        if step.action == "go" and (meter.ended or meter.fault is not None):
            step = self.tap.end()
            out += step.out
        if step.action == "hold":
            assert step.hold is not None
            self._held, self._held_bytes = [], 0
            waits = AnswerHalt(answer=self, exchange=self.exchange, hold=step.hold)
            return Said(passes=False, to_client=frames_of(out, self.lane), holds=waits)
        if step.action != "go":
            # Its last frames may have been read before it was held.
            self.cut = not meter.ended
            self.over = meter.ended
            out += b"" if step.action == "cut" else encoder.close()
        else:
            self._look()
        return Said(passes=False, to_client=frames_of(out, self.lane))

    def decided(self, decided: Decided) -> Said:
        """What is sent now, of what was held and of what has come since."""
        waiting, self._held = self._held or [], None
        if self.cut:
            return Said(passes=False)
        said = self._said(self.tap.decided(decided))
        out = list(said.to_client)
        for place, data in enumerate(waiting):
            if said.holds is not None:
                assert self._held is not None
                self._held += waiting[place:]
                break
            said = self.feed(data)
            out += (data,) if said.passes else said.to_client
        return Said(passes=False, to_client=tuple(out), holds=said.holds)


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHalt(Halt):
    """Something of an answer that waits."""

    answer: SocketAnswer
    exchange: Exchange
    hold: Hold

    def decided(self, decided: Decided) -> Said:
        """What is sent now."""
        return self.answer.then(self.answer, self.answer.decided(decided))

    def write(self, events: Sequence[Event]) -> Said:
        """Only requests are answered live."""
        raise NotImplementedError
