"""One request/response pair from open to close, as seen by whoever moves the bytes.

    exchange = Exchange.open(house, endpoint, wire, exchange_id)
    step = exchange.start()             # Outgoing: send it; WireResponse: give it to the client;
                                        # Wait: so long, then `resume`; Race: ask all of them;
                                        # Held: nothing, until `decided`
    verdict = exchange.head(status, headers)        # Pass(tap) | Buffer | Failure
    step = exchange.failed(failure)     # what next: as after `start`
    account = close(exchange, status)   # once, at the end: `closing`

Sans-io: the clock is a function, ids are arguments, nothing is sent here.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from llmitm.canon.events import Fault
from llmitm.canon.values import Loss
from llmitm.dialects.contract import Reply, StreamEncoder
from llmitm.exchange import codings, lanes
from llmitm.exchange.answers import Answers, framing_of
from llmitm.exchange.attempts import Attempts, Candidate, Wait
from llmitm.exchange.choosing import without_told_size
from llmitm.exchange.continuing import Counted
from llmitm.exchange.credentials import Standing, standing
from llmitm.exchange.delays import delay_s, retry_after_s
from llmitm.exchange.edited_model import follow_model
from llmitm.exchange.failure import Failure, fault_of, is_retryable
from llmitm.exchange.house import House, ids_for, read, recall_for, watcher_for
from llmitm.exchange.instances import Instance
from llmitm.exchange.lanes import Incoming, Outgoing, Trip
from llmitm.exchange.meter import Meter
from llmitm.exchange.pipeline import Decision
from llmitm.exchange.routing_faults import retries_exhausted
from llmitm.exchange.verdicts import Held
from llmitm.exchange.wire import Headers, WireRequest, WireResponse, header, query_of
from llmitm.ruleset.matching import Endpoint
from llmitm.stages.contract import Again, Answer, Decided, Hold, Refuse, Trace, Turn

MOST_RETRIES = 3
"""How often a stage may have the model asked again within one exchange."""
_FRAMING_HEADERS = frozenset(
    {"content-length", "transfer-encoding", "content-encoding", "connection", "trailer"}
)


@dataclass(frozen=True, slots=True)
class Race:
    """All of these are asked at once; the first content wins."""

    legs: tuple[Candidate, ...]


type Step = Outgoing | WireResponse | Wait | Race


@dataclass(slots=True, kw_only=True)
class Exchange:
    """See the module's docstring for the order of calls; what is done with an answer stands in
    `answering`."""

    house: House
    turn: Turn
    incoming: Incoming
    decision: Decision
    client: Standing
    meter: Meter = field(default_factory=Meter)
    attempts: Attempts | None = None
    outgoing: Outgoing | None = None
    retries: int = 0
    notes: list[str] = field(default_factory=list[str])
    losses: list[Loss] = field(default_factory=list[Loss])
    trace: list[Trace] = field(default_factory=list[Trace])
    response_bytes: int = 0
    local: bool = False
    opened: bool = False
    """The client's stream was begun while it waited, so nothing but events can follow."""
    speaking: Counted | None = None
    """The client's stream where an earlier answer has begun it; the present one goes on in it."""
    opened_s: float = 0.0
    _writing: Counted | None = None
    _skipped: Fault | None = None
    _failure: Failure | None = None
    _answers: Answers | None = None

    @classmethod
    def open(
        cls, house: House, endpoint: Endpoint, wire: WireRequest, exchange_id: str
    ) -> Exchange:
        """Reads the request and runs the stages on it. Never raises for what a client sent."""
        opened_s = house.clock()
        notes: list[str] = []
        incoming = read(house, endpoint, wire, notes)
        turn = house.turn_of(incoming, exchange_id)
        if incoming.request is not None:
            decision = house.pipeline.on_request(turn, incoming.request)
        else:
            decision = house.pipeline.on_unreadable(turn, "; ".join(notes))
        exchange = cls(
            house=house,
            turn=turn,
            incoming=incoming,
            decision=decision,
            client=standing(wire, endpoint.provider, house.ruleset, turn.secrets),
            notes=notes,
        )
        exchange.trace.extend(decision.trace)
        exchange.opened_s = opened_s
        return exchange

    @property
    def answers(self) -> Answers:
        """How llmitm speaks to this client in its own protocol."""
        if self._answers is None:
            self._answers = self._made_answers()
        return self._answers

    def _made_answers(self) -> Answers:
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

    @property
    def managed(self) -> bool:
        """Whether llmitm chose where this goes or with which key, so that it may choose again."""
        return self.turn.route is not None or self.client.wants == "stored"

    def start(self) -> Step | Held:
        """The first thing to do: send this, answer with this, wait or race."""
        match self.decision.end:
            case Answer(response=response):
                self.local = True
                return self.marked(self.answers.response(response, self.losses))
            case Refuse(fault=fault):
                self.local = True
                return self.refusal(fault)
            case Hold() as hold:
                return Held(hold)
            case None:
                return self._choose()

    def decided(self, decided: Decided) -> Step | Held:
        """What to do when it was decided about the request that `start` held."""
        held = self.decision.request.model
        self.decision = self.house.pipeline.on_decided(self.turn, self.decision, decided)
        if self.decision.request.model != held:
            wrong = follow_model(self.decision.request.model, self.turn, self.house.ruleset)
            if wrong is not None:
                return self.refusal(wrong)
        self.trace.extend(self.decision.trace)
        return self.start()

    def _choose(self) -> Step:
        if not self.managed:
            return self._own_call()
        now_s = self.house.clock()
        chosen = self.house.chooser.choose(
            self.turn, self.decision.request, len(self.incoming.body), self.client, now_s
        )
        if isinstance(chosen, Fault):
            self.local = True
            return self.refusal(chosen)
        asked = without_told_size(self.decision.request)
        if asked is not self.decision.request:
            self.decision = replace(self.decision, request=asked)
        self.attempts = Attempts(chosen.candidates, self.house.instances, self.opened_s)
        if chosen.race:
            return Race(chosen.candidates)
        return self.resume()

    def _own_call(self) -> Step:
        """The client's own call with its own key, which nobody asked to send elsewhere."""
        turn = self.turn
        own = Candidate(
            target=None,
            instance=Instance(turn.provider, 0, "", turn.scope),
            model=self.decision.request.model or turn.model,
        )
        self.attempts = Attempts((own,), self.house.instances, self.opened_s)
        self.attempts.only()
        built = self.send_to(own)
        return built if isinstance(built, Outgoing) else self.refusal(built)

    def resume(self) -> Step:
        """Who is asked now: after a failure, or when a wait is over."""
        assert self.attempts is not None
        while True:
            candidate = self.attempts.next(self.house.clock())
            if candidate is None:
                return self._given_up()
            if isinstance(candidate, Wait):
                self.notes.append(f"waits {candidate.seconds:.1f} s for {candidate.label}")
                return candidate
            built = self.send_to(candidate)
            if isinstance(built, Outgoing):
                return built
            self.cannot(built)

    def send_to(self, candidate: Candidate) -> Outgoing | Fault:
        """The request for this candidate, from now on the one under way; or why it cannot be."""
        wire = self.incoming.wire
        built = lanes.build(
            Trip(
                incoming=self.incoming,
                request=self.decision.request,
                candidate=candidate,
                client=self.client,
                settings=self.turn.conversation.settings,
                ruleset=self.house.ruleset,
                dialects=self.house.dialects,
                recall=recall_for(self.house, wire),
                guard=self.house.guard,
                ids=ids_for(self.house, wire),
            )
        )
        if isinstance(built, Outgoing):
            self.outgoing = built
            self.meter = Meter(watcher_for(self.house, wire, self.decision.request, built))
            self.losses = list(built.losses)
            self.notes += [note for note in built.notes if note not in self.notes]
        return built

    def encoder(self) -> StreamEncoder:
        """What writes the client's stream: one for all of it, also over several answers."""
        if self.speaking is not None:
            self.speaking.go_on()
            return self.speaking
        self._writing = Counted(self.answers.encoder())
        return self._writing

    def again(self, again: Again, *, spoken: bool = False) -> Outgoing | WireResponse:
        """The same target asked once more. spoken: some of the answer has reached the client."""
        assert self.attempts is not None
        assert self.attempts.current is not None
        self.retries += 1
        self.notes.append(f"asked again: {again.why}")
        if spoken:
            self.speaking = self._writing
        if self.retries > MOST_RETRIES:
            return self.refusal(retries_exhausted(again.why))
        asked = without_told_size(again.request) if self.managed else again.request
        checked = self.house.pipeline.on_again(self.turn, asked)
        self.trace.extend(checked.trace)
        if isinstance(checked.end, Refuse):
            return self.refusal(checked.end.fault)
        self.decision = replace(self.decision, request=checked.request, watching=checked.watching)
        built = self.send_to(self.attempts.current)
        return built if isinstance(built, Outgoing) else self.refusal(built)

    @property
    def may_retry(self) -> bool:
        """Whether somebody else can be asked if this attempt fails."""
        return (
            self.managed
            and self.attempts is not None
            and self.attempts.has_alternative(self.house.clock())
        )

    def failed(self, failure: Failure) -> Step:
        """What to do when an attempt failed before any content: the next one, or the error."""
        failure = self.learn(failure)
        if self.attempts is None or not self.managed:
            return self.refusal(fault_of(failure, self.house.now()))
        return self.resume()

    def learn(self, failure: Failure) -> Failure:
        """Writes down that the attempt under way failed; the failure, with its error read."""
        failure = replace(failure, body=self._plain(failure))
        self.meter.fault = None
        if self.outgoing is not None:
            self.notes.append(f"{self.outgoing.label}: {failure.message}")
        failure = self._with_fault(failure)
        self._failure = failure
        if self.attempts is None or not self.managed:
            return failure
        now_s = self.house.now()
        delay = retry_after_s(failure.headers, now_s)
        if delay is None and failure.fault is not None:
            delay = failure.fault.retry_after_s
        if delay is None:
            delay = delay_s(failure.headers, failure.body, now_s)
        self.attempts.failed(failure, delay, self.house.clock())
        return failure

    def leg(self, candidate: Candidate) -> Exchange:
        """One leg of a race: what it sends, loses and counts is its own until `adopt`."""
        assert self.attempts is not None
        return replace(
            self,
            meter=Meter(),
            attempts=self.attempts.alone(candidate, self.house.clock()),
            notes=[],
            losses=[],
            trace=[],
        )

    def adopt(self, leg: Exchange) -> None:
        """From now on the leg's attempt is this exchange's: it has won, or it was the last."""
        assert self.attempts is not None
        assert leg.attempts is not None
        self.outgoing, self.meter, self.losses = leg.outgoing, leg.meter, leg.losses
        self.notes += [note for note in leg.notes if note not in self.notes]
        self.attempts.current = leg.attempts.current
        self._failure = leg._failure or self._failure
        self._skipped = leg._skipped or self._skipped

    def cannot(self, fault: Fault) -> None:
        """Writes down that the attempt under way could not even be made."""
        assert self.attempts is not None
        self.attempts.skipped(fault, self.house.clock())
        self._skipped = fault
        self.notes.append(fault.message)

    def _plain(self, failure: Failure) -> bytes:
        limit = self.house.ruleset.routes.limits.max_buffered_bytes
        try:
            return codings.decode(failure.body, header(failure.headers, "content-encoding"), limit)
        except codings.CodingError:
            return b""

    def _with_fault(self, failure: Failure) -> Failure:
        if failure.fault is None and failure.body and self.outgoing is not None:
            events = self.house.dialects[self.outgoing.protocol].decode_response(failure.body)
            fault = next((event for event in events if isinstance(event, Fault)), None)
            return replace(failure, fault=fault)
        return failure

    def _given_up(self) -> WireResponse:
        """What the client gets when nobody is left: the last provider's error, in its protocol."""
        assert self.attempts is not None
        failure, out = self._failure, self.outgoing
        if failure is None:
            assert self._skipped is not None
            return self.refusal(self._skipped)
        fault = fault_of(failure, self.house.now())
        once = len(self.attempts.tried) == 1
        if once and out is not None and out.lane != "translate" and self._passes(failure):
            self.meter.fault = fault
            headers = tuple(
                pair for pair in failure.headers if pair[0].lower() not in _FRAMING_HEADERS
            )
            return WireResponse(status=failure.status, headers=headers, body=failure.body)
        details = {
            "code": fault.code or "temporarily_unavailable",
            "retryable": is_retryable(fault),
            "attempts": [tried.row() for tried in self.attempts.tried],
        }
        return self.refusal(replace(fault, details={**fault.details, **details}))

    def _passes(self, failure: Failure) -> bool:
        """Whether the provider's own error can be given on as it is."""
        return failure.kind == "status" and bool(failure.body) and not self.opened

    def refusal(self, fault: Fault) -> WireResponse:
        """The error for the client, as a body in its own protocol."""
        self.meter.fault = fault
        return self.marked(self.answers.fault(fault))

    def fault_event(self) -> bytes:
        """The error of the last `refusal`, for a client whose stream has begun."""
        fault = self.meter.fault
        if fault is None or not self.wants_stream:
            return b""
        encoder = self.speaking or self.answers.encoder()
        return encoder.feed((fault,))

    def marked(self, response: WireResponse) -> WireResponse:
        """The response with headers that say who made it."""
        return replace(response, headers=response.headers + self.marks())

    def marks(self) -> Headers:
        """Headers for answers that are not the provider's own bytes."""
        marks = [("x-llmitm-exchange", self.turn.id)]
        if self.outgoing is not None and self.outgoing.rerouted:
            marks.append(("x-llmitm-route", self.outgoing.label))
        dropped = sum(loss.how == "dropped" for loss in self.losses)
        if dropped:
            marks.append(("x-llmitm-losses", str(dropped)))
        return tuple(marks)
