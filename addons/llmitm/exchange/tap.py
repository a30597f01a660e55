"""The stream tap: what happens to each chunk of an answer on its way to the client.

Verbatim, the chunk itself goes on and decoders only watch; otherwise frames are decoded, shown to
the stages and encoded in the client's protocol. The tap never raises: this is one of the two files
that may catch `Exception`. Work is proportional to the chunk; nothing of the text is kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from llmitm.canon.events import Event, Fault
from llmitm.canon.statuses import STATUS_BY_KIND
from llmitm.canon.values import value
from llmitm.dialects.contract import Frame, StreamDecoder, StreamEncoder
from llmitm.errors import StageError
from llmitm.exchange.codings import Watcher
from llmitm.exchange.failure import Failure, is_retryable
from llmitm.exchange.meter import Meter, is_content
from llmitm.exchange.passing import Passing
from llmitm.exchange.pipeline import NOBODY, Staged, Watching
from llmitm.stages.contract import Again, Cut, Turn

_PREAMBLE_BYTES = 1 << 16


@value
class Step:
    """What the tap wants after one chunk.

    out: bytes for the client now; action: `go` on, `fail` this attempt (nothing reached the client
    yet), `cut` (out is the last of the answer: end it well-formed and stop the provider), `again`
    (stop the provider and ask once more, what it says follows after out).
    """

    out: bytes = b""
    action: Literal["go", "fail", "cut", "again"] = "go"
    failure: Failure | None = None
    again: Again | None = None


NOTHING = Step()


class Reader(Protocol):
    """Provider bytes -> frames; `close` at the end of the body."""

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Frames completed by this chunk."""
        ...

    def close(self) -> Sequence[Frame]:
        """What is left."""
        ...


class StreamReader:
    """A streamed body, its content coding removed."""

    def __init__(self, decoder: StreamDecoder, coding: str) -> None:
        self._decoder = decoder
        self._watcher = Watcher(coding) if coding not in ("", "identity") else None

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Frames completed by this chunk."""
        if self._watcher is not None:
            data = self._watcher.feed(data)
        return self._decoder.feed(data) if data else ()

    def close(self) -> Sequence[Frame]:
        """What is left."""
        return self._decoder.close()


class SkimReader:
    """A streamed body that is only counted: after the first content, frames that tell nothing more
    than "here is more text" are left unread. `feed` gives the frames that were read.

    Complete frames go to the decoder as they are; a chunk costs one search, not a parse.
    """

    def __init__(self, decoder: StreamDecoder, telling: re.Pattern[bytes], coding: str) -> None:
        self._decoder = decoder
        self._telling = telling
        self._watcher = Watcher(coding) if coding not in ("", "identity") else None
        self._pending: list[bytes] = []
        self._tail = b""
        self._settled = False

    def look_for(self, telling: re.Pattern[bytes]) -> None:
        """From now on these are the frames that tell something."""
        self._telling = telling

    def dull(self, data: bytes) -> bool:
        """Whether this chunk is whole frames that tell nothing; then it need not be fed."""
        return (
            self._settled
            and not self._pending
            and self._watcher is None
            and data.endswith(b"\n\n")
            and self._telling.search(data) is None
        )

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames completed by this chunk, if any of them tells something."""
        if self._watcher is not None:
            data = self._watcher.feed(data)
        window = self._tail + data
        end = max(window.rfind(b"\n\n") + 2, window.rfind(b"\n\r\n") + 3)
        if end < 3:
            self._pending.append(data)
            self._tail = window[-3:]
            return ()
        end -= len(self._tail)
        pending, rest = self._pending, data[end:]
        whole = b"".join((*pending, data[:end])) if pending else data[:end]
        self._pending = [rest] if rest else []
        self._tail = rest[-3:]
        if self._settled and self._telling.search(whole) is None:
            return ()
        frames = self._decoder.feed(whole)
        if not self._settled:
            self._settled = any(is_content(event) for frame in frames for event in frame.events)
        return frames

    def close(self) -> Sequence[Frame]:
        """What is left."""
        rest = b"".join(self._pending)
        self._pending = []
        return [*(self._decoder.feed(rest) if rest else ()), *self._decoder.close()]


class WholeReader:
    """A body that is one document: decoded when it is complete, unless it passes the cap."""

    def __init__(self, decode: Callable[[bytes], list[Event]], coding: str, cap_bytes: int) -> None:
        self._decode = decode
        self._watcher = Watcher(coding)
        self._cap_bytes = cap_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Nothing yet."""
        if self._size <= self._cap_bytes:
            plain = self._watcher.feed(data)
            self._size += len(plain)
            self._pieces.append(plain)
        return ()

    def close(self) -> Sequence[Frame]:
        """The whole body as one frame; nothing when it was too large to look at."""
        if self._size > self._cap_bytes or not self._size:
            return ()
        body = b"".join(self._pieces)
        return (Frame(body, tuple(self._decode(body))),)


def no_events(_: bytes) -> list[Event]:
    """The decoder for a body of a media type that no protocol answers with."""
    return []


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
        if step.action != "go" or self._done:
            return step
        self._done = True
        tail = b""
        if self.encoder is not None and not self._passing.untouched:
            try:
                tail = self._passing.leave(self.encoder) + self.encoder.close()
            except Exception as cause:  # noqa: BLE001
                return self._blinded(cause)
        return Step(step.out + self._release() + tail)

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
            return rest if rest.action != "go" else Step(rest.out)
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
            return self._rewrite(frames, self.encoder)
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

    def _rewrite(self, frames: Iterable[Frame], encoder: StreamEncoder) -> Step:
        now_s = self.clock()
        decided = self._held is None
        pieces: list[bytes] = []
        for frame in frames:
            for event in frame.events:
                self.meter.feed(event, now_s)
                if not decided:
                    if isinstance(event, Fault) and is_retryable(event):
                        return self._fail(event)
                    decided = is_content(event) or isinstance(event, Fault)
            staged = self._staged(frame.events)
            pieces.append(self._passing.through(frame, staged.events, encoder))
            if staged.end is not None:
                return self._ended(pieces, staged.end, encoder)
        return self._pass(b"".join(pieces), decided)

    def _ended(
        self, pieces: list[bytes], end: Cut | Again | StageError, encoder: StreamEncoder
    ) -> Step:
        """A stage has ended the answer: with what it said, with an error, or with another one."""
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
