"""The stream tap: what happens to each chunk of an answer on its way to the client.

Verbatim, the chunk itself goes on and decoders only watch; otherwise frames are decoded, shown to
the stages and encoded in the client's protocol. The tap never raises: this is one of the two files
that may catch `Exception`. Work is proportional to the chunk; nothing of the text is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmitm.canon.events import Event, Fault
from llmitm.canon.statuses import STATUS_BY_KIND
from llmitm.canon.values import value
from llmitm.dialects.contract import Frame, StreamEncoder
from llmitm.errors import StageError
from llmitm.exchange.failure import Failure, is_retryable
from llmitm.exchange.meter import Meter, is_content
from llmitm.exchange.passing import Passing
from llmitm.exchange.pipeline import NOBODY, Ended, Paused, Staged, Watching
from llmitm.exchange.readers import Reader, SkimReader
from llmitm.stages.contract import Again, Decided, Hold, Turn

_PREAMBLE_BYTES = 1 << 16


@value
class Step:
    """What the tap wants after one chunk.

    out: bytes for the client now; action: `go` on, `fail` this attempt (nothing reached the client
    yet), `cut` (out is the last of the answer: end it well-formed and stop the provider), `again`
    (stop the provider and ask once more, what it says follows after out), `hold` (feed nothing
    more until `decided` was called).
    """

    out: bytes = b""
    action: Literal["go", "fail", "cut", "again", "hold"] = "go"
    failure: Failure | None = None
    again: Again | None = None
    hold: Hold | None = None


NOTHING = Step()
NO_FRAME = Frame(b"", ())


@dataclass(frozen=True, slots=True)
class _Waits:
    """Where the tap stopped to wait. frames: those behind the one it stopped in; closing: they were
    the last."""

    paused: Paused
    frames: tuple[Frame, ...]
    closing: bool


@dataclass(slots=True, kw_only=True)
class Tap:
    """One attempt's answer on its way.

    encoder: None = verbatim; may_retry: another attempt is possible, so hold the preamble back
    until the first content; note: told when watching had to stop; raw_unedited: the encoder speaks
    the provider's own protocol, so frames that no stage changed go on as they came; repeats: only
    until the first change, since later frames say again what was changed.
    """

    reader: Reader
    meter: Meter
    clock: Callable[[], float]
    note: Callable[[str], None]
    encoder: StreamEncoder | None = None
    watching: Watching = NOBODY
    turn: Turn | None = None
    may_retry: bool = False
    raw_unedited: bool = False
    repeats: bool = False
    _held: list[bytes] | None = None
    _held_bytes: int = 0
    _skim: SkimReader | None = None
    _blind: bool = False
    _done: bool = False
    _waits: _Waits | None = None
    _passing: Passing = field(init=False)

    def __post_init__(self) -> None:
        self._passing = Passing(raw=self.raw_unedited, repeats=self.repeats)
        if self.may_retry:
            self._held = []
        if self.encoder is None and isinstance(self.reader, SkimReader):
            self._skim = self.reader

    def passes(self, data: bytes) -> bool:
        """Whether this chunk may go on as it is, without `feed`: the verbatim lane's short cut."""
        skim = self._skim
        return skim is not None and self._held is None and not self._done and skim.dull(data)

    def feed(self, data: bytes) -> Step:
        """What to do with one chunk of the provider's body."""
        if self._done:
            return NOTHING
        return self._take(data, closing=False)

    def end(self) -> Step:
        """The provider's body is complete."""
        if self._done:
            return NOTHING
        step = self._take(b"", closing=True)
        return step if step.action != "go" or self._done else self._over(step)

    def _over(self, step: Step) -> Step:
        """What follows the last frame."""
        self._done = True
        tail = b""
        if self._passing.untouched:
            tail = self._passing.rest()
        elif self.encoder is not None:
            try:
                tail = self._passing.leave(self.encoder) + self.encoder.close()
            except Exception as cause:  # noqa: BLE001
                return self._blinded(cause)
        return Step(step.out + self._release() + tail)

    def decided(self, decided: Decided) -> Step:
        """It was decided about what an earlier `hold` was for."""
        waits, self._waits = self._waits, None
        assert waits is not None
        assert self.turn is not None
        assert self.encoder is not None
        try:
            staged = self.watching.on_decided(self.turn, waits.paused, decided)
            # No frame of its own: what the stages kept back belongs to earlier ones.
            pieces = [self._passing.through(NO_FRAME, staged.events, self.encoder)]
            if staged.end is None:
                step = self._rewrite(waits.frames, self.encoder, pieces, closing=waits.closing)
            else:
                step = self._ended(pieces, staged.end, self.encoder, waits.frames, waits.closing)
        except Exception as cause:  # noqa: BLE001
            return self._blinded(cause)
        if waits.closing and step.action == "go" and not self._done:
            return self._over(step)
        return step

    def broke(self, message: str) -> Step:
        """The provider's body broke off.

        Verbatim, also where stages looked on and changed nothing, passes the break on (action
        `go`); otherwise the client's stream ends with the protocol's in-stream error. Before any
        content, `fail`.
        """
        fault = Fault(kind="unavailable", message=message, code="provider_broke_off")
        if self._held is not None:
            self._done = True
            return Step(action="fail", failure=Failure(kind="broken", message=message))
        self.meter.fault = self.meter.fault or fault
        if self.encoder is None or self._done:
            self._done = True
            return NOTHING
        if self.raw_unedited and self._passing.untouched:
            rest = self._take(b"", closing=True)
            self._done = True
            return rest if rest.action != "go" else Step(rest.out + self._passing.rest())
        self._done = True
        try:
            return Step(self._passing.leave(self.encoder) + self.encoder.feed((fault,)), "cut")
        except Exception as cause:  # noqa: BLE001
            return self._blinded(cause)

    def heartbeat(self) -> bytes:
        """A keep-alive in the client's protocol, empty when the client is served verbatim."""
        return self.encoder.heartbeat() if self.encoder is not None and not self._done else b""

    def _take(self, data: bytes, *, closing: bool) -> Step:
        if self._blind:
            return Step(data) if self.encoder is None else NOTHING
        try:
            frames = self.reader.close() if closing else self.reader.feed(data)
            if self.encoder is None:
                return self._watch(frames, data)
            return self._rewrite(frames, self.encoder, [], closing=closing)
        except Exception as cause:  # noqa: BLE001
            return self._blinded(cause, data)

    def _watch(self, frames: Iterable[Frame], data: bytes) -> Step:
        now_s = self.clock()
        decided = self._held is None
        for frame in frames:
            for event in frame.events:
                self.meter.feed(event, now_s)
                if not decided:
                    if isinstance(event, Fault) and is_retryable(event):
                        return self._fail(event)
                    decided = is_content(event) or isinstance(event, Fault)
        return self._pass(data, decided)

    def _rewrite(
        self,
        frames: Sequence[Frame],
        encoder: StreamEncoder,
        pieces: list[bytes],
        *,
        closing: bool,
    ) -> Step:
        now_s = self.clock()
        decided = self._held is None
        for place, frame in enumerate(frames):
            for event in frame.events:
                self.meter.feed(event, now_s)
                if not decided:
                    if isinstance(event, Fault) and is_retryable(event):
                        return self._fail(event)
                    decided = is_content(event) or isinstance(event, Fault)
            staged = self._staged(frame.events)
            pieces.append(self._passing.through(frame, staged.events, encoder))
            if staged.end is not None:
                return self._ended(pieces, staged.end, encoder, frames[place + 1 :], closing)
        return self._pass(b"".join(pieces), decided)

    def _ended(
        self,
        pieces: list[bytes],
        end: Ended | Paused,
        encoder: StreamEncoder,
        rest: Sequence[Frame],
        closing: bool,
    ) -> Step:
        """A stage has ended the answer: with what it said, with an error, or with another one; or
        it waits."""
        if isinstance(end, Paused):
            self._waits = _Waits(end, tuple(rest), closing)
            return Step(self._release() + b"".join(pieces), "hold", hold=end.hold)
        self._done = True
        pieces.append(self._passing.leave(encoder))
        if isinstance(end, Again):
            if self._held is not None:
                # Nothing has reached the client: the next answer takes this one's place.
                return Step(action="again", again=end)
            return Step(b"".join(pieces), "again", again=end)
        if isinstance(end, StageError):
            fault = Fault(kind="server", message=f"llmitm: {end}")
            pieces.append(encoder.feed((fault,)))
        else:
            self.note(f"cut: {end.why}")
            pieces.append(encoder.close())
        return Step(self._release() + b"".join(pieces), "cut")

    def _staged(self, events: tuple[Event, ...]) -> Staged:
        if self.turn is None or not self.watching.event:
            return Staged(events)
        return self.watching.on_events(self.turn, events)

    def _pass(self, out: bytes, decided: bool) -> Step:
        if self._held is None:
            return Step(out) if out else NOTHING
        self._held.append(out)
        self._held_bytes += len(out)
        if decided or self._held_bytes > _PREAMBLE_BYTES:
            return Step(self._release())
        return NOTHING

    def _release(self) -> bytes:
        held, self._held = self._held, None
        return b"".join(held) if held else b""

    @property
    def holding(self) -> bool:
        """Whether nothing has been let through to the client yet."""
        return self._held is not None

    def _fail(self, fault: Fault) -> Step:
        self._done = True
        failure = Failure(
            kind="fault", message=fault.message, status=STATUS_BY_KIND[fault.kind], fault=fault
        )
        return Step(action="fail", failure=failure)

    def _blinded(self, cause: Exception, data: bytes = b"") -> Step:
        """A codec failed on real bytes: say so, and go on without looking where possible."""
        self._blind = True
        say = f"{type(cause).__name__}: {cause}"
        self.note(f"stopped reading the answer: {say}")
        if self.encoder is None:
            return Step(self._release() + data)
        self._done = True
        fault = Fault(kind="server", message=f"llmitm could not read the answer: {say}")
        self.meter.fault = self.meter.fault or fault
        try:
            out = self.encoder.feed((fault,))
        except Exception:  # noqa: BLE001
            out = b""
        return Step(self._release() + out, "cut")
