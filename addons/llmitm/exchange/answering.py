"""What an exchange does with a provider's answer: pass it on, translate it, buffer it, or fail it.

`head` decides from status line and headers, `whole` from a buffered body. Never: sends.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmitm.canon.events import End, Event, Fault, Finish, PartStart, Usage
from llmitm.canon.fold import fold
from llmitm.dialects.contract import StreamDecoder
from llmitm.errors import StageError
from llmitm.exchange import codings, foreign_answers
from llmitm.exchange.answers import STREAM_TYPES
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.failure import Failure, fault_of, is_failure_status, is_retryable
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.pipeline import Paused, Staged
from llmitm.exchange.readers import SkimReader, StreamReader, WholeReader, no_events
from llmitm.exchange.tap import Tap
from llmitm.exchange.verdicts import Buffer, Held, Pass
from llmitm.exchange.wire import Headers, WireResponse, header, media_type
from llmitm.stages.contract import Again, Answer, Cut, Decided, Forward, Refuse, Retry

type _Whole = WireResponse | Outgoing | Failure | Held | None


@dataclass(frozen=True, slots=True)
class _Waits:
    """A whole answer that waits. events: the provider's; staged: what the stages made of the first
    of them."""

    paused: Paused
    events: list[Event]
    staged: tuple[Event, ...]


@dataclass(slots=True)
class Answering:
    """The answer side of one exchange."""

    exchange: Exchange
    _waits: _Waits | None = None

    @property
    def _out(self) -> Outgoing:
        out = self.exchange.outgoing
        assert out is not None
        return out

    def head(self, status: int, headers: Headers) -> Pass | Buffer | Failure:
        """What to do with a provider's answer, from its status line and headers."""
        exchange = self.exchange
        if self._fails(status, headers):
            return Failure(
                kind="status", message=f"answered {status}", status=status, headers=headers
            )
        watching = exchange.decision.watching
        streamed = status < 400 and self._is_stream(headers)
        verbatim = self._out.lane != "translate" and not watching.response
        verbatim = verbatim and (streamed or not (exchange.opened or watching.event))
        coding = header(headers, "content-encoding").strip().lower()
        if exchange.opened and coding not in ("", "identity"):
            # The client's head is out and names no coding.
            verbatim = False
        may_retry = exchange.may_retry
        if verbatim and (streamed or not may_retry):
            tap = self._verbatim_tap(headers, streamed)
            marked = self._out.lane != "verbatim"
            return Pass(tap, None, headers + exchange.marks() if marked else None)
        if verbatim or not streamed or not exchange.wants_stream or watching.response:
            return Buffer(exchange.house.ruleset.routes.limits.max_buffered_bytes)
        answers = exchange.answers
        tap = Tap(
            reader=self._stream_reader(headers),
            meter=exchange.meter,
            clock=exchange.house.clock,
            note=exchange.notes.append,
            encoder=exchange.encoder(),
            watching=watching,
            turn=exchange.turn,
            may_retry=may_retry,
        )
        return Pass(tap, 200, self._own_headers(answers.stream_headers, headers))

    def _fails(self, status: int, headers: Headers) -> bool:
        exchange = self.exchange
        if status < 400:
            return False
        if exchange.opened:
            return True
        attempts = exchange.attempts
        if attempts is None or not exchange.managed:
            return False
        if attempts.tried:
            return True
        return attempts.would_go_on(status, headers, exchange.house.clock())

    def _verbatim_tap(self, headers: Headers, streamed: bool) -> Tap:
        exchange = self.exchange
        watching = exchange.decision.watching
        edits = streamed and (bool(watching.event) or exchange.speaking is not None)
        coding = header(headers, "content-encoding")
        reader: StreamReader | SkimReader | WholeReader
        if streamed and (edits or media_type(headers) != "text/event-stream"):
            reader = self._stream_reader(headers)
        elif streamed:
            reader = foreign_answers.skim_reader(
                exchange.house.dialects, self._out.protocol, coding, exchange.notes.append
            )
        else:
            reader = WholeReader(
                self._decode_whole if media_type(headers) == "application/json" else no_events,
                coding,
                exchange.house.ruleset.routes.limits.max_decompressed_bytes,
            )
        tap = Tap(
            reader=reader,
            meter=exchange.meter,
            clock=exchange.house.clock,
            note=exchange.notes.append,
            may_retry=exchange.may_retry,
            raw_unedited=exchange.speaking is None,
            repeats=exchange.house.dialects[self._out.protocol].repeats,
        )
        if edits:
            tap.encoder = exchange.encoder()
            tap.watching, tap.turn = watching, exchange.turn
        return tap

    def _is_stream(self, headers: Headers) -> bool:
        kind = media_type(headers)
        return kind in STREAM_TYPES or (
            kind == "application/json"
            and self._out.protocol.startswith("gemini")
            and self.exchange.wants_stream
        )

    def _stream_reader(self, headers: Headers) -> StreamReader:
        return StreamReader(self._stream_decoder(headers), header(headers, "content-encoding"))

    def _stream_decoder(self, headers: Headers) -> StreamDecoder:
        exchange = self.exchange
        return foreign_answers.stream_decoder(
            exchange.house.dialects,
            self._out.protocol,
            media_type(headers),
            exchange.notes.append,
        )

    def _decode_whole(self, body: bytes) -> list[Event]:
        exchange = self.exchange
        return foreign_answers.decode_whole(
            exchange.house.dialects, self._out.protocol, body, exchange.notes.append
        )

    @property
    def may_pass_unread(self) -> bool:
        """Whether a body too long to be held may go on as it comes: nobody has to see it."""
        exchange = self.exchange
        watching = exchange.decision.watching
        return (
            self._out.lane != "translate"
            and not exchange.opened
            and not watching.response
            and all(step.on_error == "forward" for step in watching.event)
        )

    def whole(self, status: int, headers: Headers, body: bytes) -> _Whole:
        """What to do with a buffered body: give the client this, ask again, try elsewhere, or hold
        it until `decided` was called.

        None = the client gets the provider's answer as it is.
        """
        meter = self.exchange.meter
        try:
            events = self._decoded(status, headers, body)
        except codings.CodingError as error:
            return Failure(kind="wire", message=str(error), headers=headers, body=body)
        now_s = self.exchange.house.clock()
        for event in events:
            meter.feed(event, now_s)
        fault = meter.fault
        if status >= 400 or (fault and not any(isinstance(each, PartStart) for each in events)):
            return self._whole_failure(status, headers, body)
        watching = self.exchange.decision.watching
        return self._settled(events, (), watching.on_events(self.exchange.turn, events))

    def decided(self, decided: Decided) -> _Whole:
        """The same, when it was decided about what an earlier `Held` was for."""
        waits, self._waits = self._waits, None
        assert waits is not None
        exchange = self.exchange
        after = exchange.decision.watching.on_decided(exchange.turn, waits.paused, decided)
        return self._settled(waits.events, waits.staged, after)

    def _decoded(self, status: int, headers: Headers, body: bytes) -> list[Event]:
        cap_bytes = self.exchange.house.ruleset.routes.limits.max_buffered_bytes
        plain = codings.decode(body, header(headers, "content-encoding"), cap_bytes)
        if status >= 400 or not self._is_stream(headers):
            return self._decode_whole(plain)
        decoder = self._stream_decoder(headers)
        frames = [*decoder.feed(plain), *decoder.close()]
        return [event for frame in frames for event in frame.events]

    def _whole_failure(
        self, status: int, headers: Headers, body: bytes
    ) -> WireResponse | Failure | None:
        exchange = self.exchange
        fault = exchange.meter.fault
        failure = Failure(
            kind="status" if status >= 400 else "fault",
            message=fault.message if fault else f"answered {status}",
            status=status if status >= 400 else 0,
            headers=headers,
            body=body,
            fault=fault,
        )
        retryable = is_failure_status(status) or (fault is not None and is_retryable(fault))
        if exchange.may_retry and retryable:
            return failure
        if self._out.lane != "translate":
            return None
        return exchange.refusal(fault_of(failure, exchange.house.now()))

    def _settled(self, events: list[Event], before: tuple[Event, ...], after: Staged) -> _Whole:
        """What the stages made of the whole answer. before: what they had made before a hold."""
        exchange = self.exchange
        staged = before + after.events
        match after.end:
            case Paused() as paused:
                self._waits = _Waits(paused, events, staged)
                return Held(paused.hold)
            case StageError() as error:
                say = f"llmitm: {error}; its rule says refuse"
                return exchange.refusal(
                    Fault(kind="server", message=say, status=500, code="policy_failed")
                )
            case Again() as again:
                return exchange.again(again)
            case Cut(why=why):
                exchange.notes.append(f"cut: {why}")
                staged = _closed(_with_usage(staged, events))
            case None:
                pass
        said = next((event for event in staged if isinstance(event, Fault)), None)
        if said is not None and said not in events:
            return exchange.refusal(said)
        return self._reviewed(events, staged)

    def _reviewed(self, events: list[Event], staged: tuple[Event, ...]) -> _Whole:
        """The same, past the stages that see it whole."""
        exchange = self.exchange
        watching = exchange.decision.watching
        if watching.response:
            effect, trace = watching.on_response(exchange.turn, fold(staged))
            exchange.trace.extend(trace)
            match effect:
                case Answer(response=response):
                    return exchange.marked(exchange.answers.response(response, exchange.losses))
                case Refuse(fault=refused):
                    return exchange.refusal(refused)
                case Retry(request=request, why=why):
                    return exchange.again(Again(request=request, why=why))
                case Forward():
                    pass
        unedited = staged == tuple(events)
        if unedited and self._out.lane != "translate" and not exchange.opened:
            return None
        return exchange.marked(exchange.answers.events(staged, exchange.losses))

    def _own_headers(self, own: Headers, theirs: Headers) -> Headers:
        kept = tuple(
            (name, value)
            for name, value in theirs
            if name.lower().startswith("x-ratelimit") or name.lower() == "request-id"
        )
        return own + kept + self.exchange.marks()


def _with_usage(staged: tuple[Event, ...], events: list[Event]) -> tuple[Event, ...]:
    """The same with what the answer cost, where that was told behind the place of the cut."""
    told = tuple(event for event in events if isinstance(event, Usage) and event not in staged)
    end = len(staged) - (bool(staged) and isinstance(staged[-1], End))
    return (*staged[:end], *told, *staged[end:])


def _closed(events: tuple[Event, ...]) -> tuple[Event, ...]:
    """The same with a finish reason and an end, where a stage has cut them off."""
    if not any(isinstance(event, Finish) for event in events):
        events += (Finish("stop"),)
    return events if isinstance(events[-1], End) else (*events, End())
