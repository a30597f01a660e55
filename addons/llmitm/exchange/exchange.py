"""One request/response pair from open to close, as seen by whoever moves the bytes.

    exchange = Exchange.open(house, endpoint, wire, exchange_id)
    step = exchange.start()             # Outgoing: send it; WireResponse: give it to the client
    verdict = exchange.head(status, headers)        # Pass(tap) | Buffer | Failure
    step = exchange.failed(failure)     # the next Outgoing, or the error for the client
    account = exchange.close(status)    # once, at the end

Sans-io: the clock is a function, ids are arguments, nothing is sent here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmitm.canon.events import Event, Fault, PartStart
from llmitm.canon.fold import fold
from llmitm.canon.values import Loss
from llmitm.dialects.contract import Reply, StreamDecoder
from llmitm.exchange import codings, foreign_answers, lanes
from llmitm.exchange.answers import STREAM_TYPES, Answers, framing_of
from llmitm.exchange.failure import Failure, fault_of, is_failure_status, is_retryable
from llmitm.exchange.house import House, read, recall_for, watcher_for
from llmitm.exchange.lanes import Incoming, Outgoing
from llmitm.exchange.meter import Meter
from llmitm.exchange.pipeline import Decision
from llmitm.exchange.tap import SkimReader, StreamReader, Tap, WholeReader, no_events
from llmitm.exchange.verdicts import Buffer, Pass
from llmitm.exchange.wire import Headers, WireRequest, WireResponse, header, media_type, query_of
from llmitm.ruleset.matching import Endpoint
from llmitm.stages.contract import Account, Answer, Forward, Hold, Refuse, Retry, Trace, Turn

MOST_RETRIES = 3
"""How often a stage may have the model asked again within one exchange."""


@dataclass(slots=True, kw_only=True)
class Exchange:
    """See the module's docstring for the order of calls."""

    house: House
    turn: Turn
    incoming: Incoming
    decision: Decision
    meter: Meter = field(default_factory=Meter)
    outgoing: Outgoing | None = None
    attempts: int = 0
    retries: int = 0
    notes: list[str] = field(default_factory=list[str])
    losses: list[Loss] = field(default_factory=list[Loss])
    trace: list[Trace] = field(default_factory=list[Trace])
    response_bytes: int = 0
    local: bool = False
    opened: bool = False
    """The client's stream was begun while it waited, so nothing but events can follow."""
    _opened_s: float = 0.0
    _closed: bool = False
    _skipped: Fault | None = None

    @classmethod
    def open(
        cls, house: House, endpoint: Endpoint, wire: WireRequest, exchange_id: str
    ) -> Exchange:
        """Reads the request and runs the stages on it. Never raises for what a client sent."""
        opened_s = house.clock()
        notes: list[str] = []
        incoming = read(house, endpoint, wire, notes)
        request = incoming.request
        turn = Turn(
            id=exchange_id,
            provider=endpoint.provider,
            protocol=endpoint.protocol,
            client=house.client_of(wire.headers),
            model=request.model if request else endpoint.model,
            started_s=house.now(),
        )
        if request is not None:
            decision = house.pipeline.on_request(turn, request)
        else:
            decision = house.pipeline.on_unreadable(turn, "; ".join(notes))
        exchange = cls(house=house, turn=turn, incoming=incoming, decision=decision, notes=notes)
        exchange.trace.extend(decision.trace)
        exchange._opened_s = opened_s
        return exchange

    @property
    def answers(self) -> Answers:
        """How llmitm speaks to this client in its own protocol."""
        request = self.incoming.request
        query = query_of(self.incoming.wire.path)
        reply = Reply(
            model=self.turn.model,
            id=self.turn.id,
            created_s=int(self.turn.started_s),
            stream_usage=bool(request and request.stream_usage),
            framing=framing_of(self.turn.protocol, self.wants_stream, query),
            custom_tools=frozenset(
                tool.name for tool in (request.tools if request else ()) if tool.kind == "custom"
            ),
        )
        return Answers(self.house.dialects[self.turn.protocol], reply, self.wants_stream)

    @property
    def wants_stream(self) -> bool:
        """Whether the client asked for a stream."""
        return bool(self.incoming.request and self.incoming.request.stream)

    def start(self) -> Outgoing | WireResponse | Hold:
        """The first thing to do: send this, answer with this, or hold."""
        match self.decision.end:
            case Answer(response=response):
                self.local = True
                return self._marked(self.answers.response(response, self.losses))
            case Refuse(fault=fault):
                self.local = True
                return self.refusal(fault)
            case Hold() as hold:
                return hold
            case None:
                return self._next_attempt()

    def _next_attempt(self) -> Outgoing | WireResponse:
        targets, wire = self.decision.targets or (None,), self.incoming.wire
        while self.attempts < len(targets):
            target = targets[self.attempts]
            self.attempts += 1
            built = lanes.build(
                self.incoming,
                self.decision.request,
                target,
                self.house.ruleset,
                self.house.dialects,
                recall_for(self.house, wire),
            )
            if isinstance(built, Outgoing):
                self.outgoing = built
                self.meter = Meter(watcher_for(self.house, wire, self.decision.request, built))
                self.losses = list(built.losses)
                return built
            self._skipped = built
            self.notes.append(built.message)
        assert self._skipped is not None
        return self.refusal(self._skipped)

    @property
    def may_retry(self) -> bool:
        """Whether a further attempt is possible after this one fails: a target, a hop, time."""
        failover = self.house.ruleset.routes.failover
        return (
            failover.enabled
            and self.attempts < len(self.decision.targets)
            and self.attempts <= failover.max_failover_hops
            and self.house.clock() - self._opened_s < failover.total_timeout_budget_s
        )

    def failed(self, failure: Failure) -> Outgoing | WireResponse:
        """What to do when an attempt failed before any content: the next, or the error."""
        self.meter.fault = None
        if self.outgoing is not None:
            self.notes.append(f"{self.outgoing.label}: {failure.message}")
        if self.may_retry:
            step = self._next_attempt()
            if isinstance(step, Outgoing):
                return step
        return self.refusal(self._provider_fault(failure))

    def _provider_fault(self, failure: Failure) -> Fault:
        if failure.fault is None and failure.body and self.outgoing is not None:
            dialect = self.house.dialects[self.outgoing.protocol]
            events = dialect.decode_response(failure.body)
            fault = next((event for event in events if isinstance(event, Fault)), None)
            failure = replace(failure, fault=fault)
        return fault_of(failure, self.house.now())

    def refusal(self, fault: Fault) -> WireResponse:
        """The error for the client, as a body in its own protocol."""
        self.meter.fault = fault
        return self._marked(self.answers.fault(fault))

    def fault_event(self) -> bytes:
        """The error of the last `refusal`, for a client whose stream has begun."""
        fault = self.meter.fault
        if fault is None or not self.wants_stream:
            return b""
        return self.answers.encoder().feed((fault,))

    def head(self, status: int, headers: Headers) -> Pass | Buffer | Failure:
        """What to do with a provider's answer, from its status line and headers."""
        assert self.outgoing is not None
        failed = (self.may_retry and is_failure_status(status)) or (self.opened and status >= 400)
        if failed:
            return Failure(
                kind="status",
                message=f"answered {status}",
                status=status,
                headers=headers,
            )
        streamed = status < 400 and self._is_stream(headers)
        verbatim = self.outgoing.lane != "translate" and not self.house.pipeline.buffers
        verbatim = verbatim and (streamed or not self.opened)
        if verbatim and not (self.may_retry and not streamed):
            return Pass(self._verbatim_tap(headers, streamed), None, self._marked_head(headers))
        if verbatim or not streamed or not self.wants_stream or self.house.pipeline.buffers:
            return Buffer(self.house.ruleset.routes.limits.max_buffered_bytes)
        answers = self.answers
        tap = Tap(
            reader=self._stream_reader(headers),
            meter=self.meter,
            clock=self.house.clock,
            note=self.notes.append,
            encoder=answers.encoder(),
            pipeline=self.house.pipeline,
            turn=self.turn,
            may_retry=self.may_retry,
        )
        return Pass(tap, 200, self._own_headers(answers.stream_headers, headers))

    def _verbatim_tap(self, headers: Headers, streamed: bool) -> Tap:
        edits = streamed and self.house.pipeline.edits_events and self.incoming.request is not None
        coding = header(headers, "content-encoding")
        reader: StreamReader | SkimReader | WholeReader
        if streamed and (edits or media_type(headers) != "text/event-stream"):
            reader = self._stream_reader(headers)
        elif streamed and self.outgoing is not None:
            reader = foreign_answers.skim_reader(
                self.house.dialects, self.outgoing.protocol, coding, self.notes.append
            )
        else:
            reader = WholeReader(
                self._decode_whole if media_type(headers) == "application/json" else no_events,
                coding,
                self.house.ruleset.routes.limits.max_decompressed_bytes,
            )
        return Tap(
            reader=reader,
            meter=self.meter,
            clock=self.house.clock,
            note=self.notes.append,
            encoder=self.answers.encoder() if edits else None,
            pipeline=self.house.pipeline if edits else None,
            turn=self.turn if edits else None,
            may_retry=self.may_retry,
            raw_unedited=True,
        )

    def _is_stream(self, headers: Headers) -> bool:
        kind = media_type(headers)
        return kind in STREAM_TYPES or (
            kind == "application/json"
            and self.outgoing is not None
            and self.outgoing.protocol.startswith("gemini")
            and self.wants_stream
        )

    def _stream_reader(self, headers: Headers) -> StreamReader:
        return StreamReader(self._stream_decoder(headers), header(headers, "content-encoding"))

    def _stream_decoder(self, headers: Headers) -> StreamDecoder:
        assert self.outgoing is not None
        return foreign_answers.stream_decoder(
            self.house.dialects, self.outgoing.protocol, media_type(headers), self.notes.append
        )

    def _decode_whole(self, body: bytes) -> list[Event]:
        assert self.outgoing is not None
        declared = self.outgoing.protocol
        return foreign_answers.decode_whole(self.house.dialects, declared, body, self.notes.append)

    def whole(
        self, status: int, headers: Headers, body: bytes
    ) -> WireResponse | Outgoing | Failure | None:
        """What to do with a buffered body: give the client this, ask again, or try elsewhere.

        None = the client gets the provider's answer as it is.
        """
        assert self.outgoing is not None
        try:
            events = self._decoded(status, headers, body)
        except codings.CodingError as error:
            return Failure(kind="wire", message=str(error), headers=headers, body=body)
        now_s = self.house.clock()
        for event in events:
            self.meter.feed(event, now_s)
        fault = self.meter.fault
        if status >= 400 or (fault and not any(isinstance(each, PartStart) for each in events)):
            return self._whole_failure(status, headers, body)
        return self._whole_answer(events)

    def _decoded(self, status: int, headers: Headers, body: bytes) -> list[Event]:
        cap_bytes = self.house.ruleset.routes.limits.max_buffered_bytes
        plain = codings.decode(body, header(headers, "content-encoding"), cap_bytes)
        if status >= 400 or not self._is_stream(headers):
            return self._decode_whole(plain)
        decoder = self._stream_decoder(headers)
        frames = [*decoder.feed(plain), *decoder.close()]
        return [event for frame in frames for event in frame.events]

    def _whole_failure(
        self, status: int, headers: Headers, body: bytes
    ) -> WireResponse | Failure | None:
        assert self.outgoing is not None
        fault = self.meter.fault
        failure = Failure(
            kind="status" if status >= 400 else "fault",
            message=fault.message if fault else f"answered {status}",
            status=status if status >= 400 else 0,
            headers=headers,
            body=body,
            fault=fault,
        )
        retryable = is_failure_status(status) or (fault is not None and is_retryable(fault))
        if self.may_retry and retryable:
            return failure
        if self.outgoing.lane != "translate":
            return None
        return self.refusal(fault_of(failure, self.house.now()))

    def _whole_answer(self, events: list[Event]) -> WireResponse | Outgoing | Failure | None:
        assert self.outgoing is not None
        pipeline = self.house.pipeline
        if pipeline.buffers:
            effect, trace = pipeline.on_response(self.turn, fold(events))
            self.trace.extend(trace)
            match effect:
                case Answer(response=response):
                    return self._marked(self.answers.response(response, self.losses))
                case Refuse(fault=refused):
                    return self.refusal(refused)
                case Retry(request=request) if self.retries < MOST_RETRIES:
                    self.retries += 1
                    self.attempts -= 1
                    self.decision = replace(self.decision, request=request)
                    return self._next_attempt()
                case Hold() | Retry() | Forward():
                    pass
        if self.outgoing.lane != "translate" and not self.opened:
            return None
        return self._marked(self.answers.events(events, self.losses))

    def _own_headers(self, own: Headers, theirs: Headers) -> Headers:
        kept = tuple(
            (name, value)
            for name, value in theirs
            if name.lower().startswith("x-ratelimit") or name.lower() == "request-id"
        )
        return own + kept + self._marks()

    def _marked_head(self, headers: Headers) -> Headers | None:
        assert self.outgoing is not None
        return None if self.outgoing.lane == "verbatim" else headers + self._marks()

    def _marked(self, response: WireResponse) -> WireResponse:
        return replace(response, headers=response.headers + self._marks())

    def _marks(self) -> Headers:
        marks = [("x-llmitm-exchange", self.turn.id)]
        if self.outgoing is not None and self.outgoing.rerouted:
            marks.append(("x-llmitm-route", self.outgoing.label))
        dropped = sum(loss.how == "dropped" for loss in self.losses)
        if dropped:
            marks.append(("x-llmitm-losses", str(dropped)))
        return tuple(marks)

    def close(self, status: int, error: str = "") -> Account:
        """The account of the exchange. status: what the client got; error: why it broke off."""
        meter, out = self.meter, self.outgoing
        first_s = meter.first_content_s
        problem = error or (meter.fault.message if meter.fault else "")
        return Account(
            id=self.turn.id,
            provider=self.turn.provider,
            protocol=self.turn.protocol,
            client=self.turn.client,
            model=self.turn.model,
            target=out.label if out else "",
            lane="local" if self.local or out is None else out.lane,
            stream=self.wants_stream,
            status=status,
            started_s=self.turn.started_s,
            duration_s=self.house.clock() - self._opened_s,
            ttft_s=None if first_s is None else first_s - self._opened_s,
            usage=meter.usage,
            finish=meter.finish,
            tool_calls=tuple(meter.tool_calls),
            error=problem,
            ended=not error and (meter.ended or bool(meter.finish)),
            attempts=self.attempts,
            losses=tuple(self.losses),
            notes=tuple(self.notes),
            trace=tuple(self.trace),
            request_bytes=len(self.incoming.wire.body),
            response_bytes=self.response_bytes,
        )
