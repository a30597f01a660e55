"""Runs the stages in the order of `rules/pipeline.yaml` and keeps the trace of who decided what.

A stage that raises is a `StageError`; its row's `on_error` decides: `forward` goes on as if it had
done nothing, `refuse` answers the client with an error. This is one of the two files that may catch
`Exception`, because mitmproxy itself would fail open.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from llmitm.canon.events import Event, Fault, Finish
from llmitm.canon.parts import Refusal
from llmitm.canon.request import Request
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import value
from llmitm.errors import StageError
from llmitm.stages.contract import (
    FORWARD,
    Account,
    Again,
    Answer,
    Cut,
    Decided,
    Denied,
    EventEffect,
    Forward,
    Hold,
    Refuse,
    RequestEffect,
    ResponseEffect,
    Retry,
    Stage,
    Trace,
    Turn,
    Waits,
    overrides,
    rejected,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the pipeline: a stage and what happens when it fails."""

    stage: Stage
    on_error: Literal["forward", "refuse"] = "forward"


type Ended = Cut | Again | StageError


@dataclass(slots=True)
class Paused:
    """A stage waits for an operator. hold: about what; place: the stage's among the watching ones;
    rest: what comes after it, an event with the first stage that is to see it, an effect with the
    stage whose it is."""

    hold: Hold
    place: int
    rest: list[tuple[Event | Cut | Again | Waits, int]]


@value
class Staged:
    """Events after the stages. end: what stops the answer after them, None = it goes on."""

    events: tuple[Event, ...]
    end: Ended | Paused | None = None


@value
class Watching:
    """The stages that see one turn's answer: event by event, or whole before the client does."""

    pipeline: Pipeline | None
    event: tuple[Step, ...] = ()
    response: tuple[Step, ...] = ()

    def on_events(self, turn: Turn, events: Iterable[Event]) -> Staged:
        """The events that go on in place of these, and what ends, repeats or halts the answer."""
        staged: list[Event] = []
        coming = iter(events)
        for event in coming:
            effect = self._through(turn, event, 0, staged)
            if effect is not None:
                if isinstance(effect, Paused):
                    effect.rest += [(each, 0) for each in coming]
                return Staged(tuple(staged), effect)
        return Staged(tuple(staged))

    def on_decided(self, turn: Turn, paused: Paused, decided: Decided) -> Staged:
        """The events that go on now that it is decided, and what ends or halts the answer then."""
        staged: list[Event] = []
        ended = self._decide(turn, paused.place, decided, staged)
        rest = iter(paused.rest)
        for each, place in rest:
            if ended is not None:
                if isinstance(ended, Paused):
                    ended.rest += [(each, place), *rest]
                break
            if isinstance(each, Cut | Again | Waits):
                ended = self._follow(turn, each, place, staged)
            else:
                ended = self._through(turn, each, place, staged)
        return Staged(tuple(staged), ended)

    def _decide(
        self, turn: Turn, place: int, decided: Decided, staged: list[Event]
    ) -> Ended | Paused | None:
        step = self.event[place]
        try:
            effect = step.stage.on_decided(turn, decided)
        except Exception as cause:  # noqa: BLE001
            # What the stage kept back is lost with it, so that the answer cannot simply go on.
            return StageError(step.stage.name, cause)
        return self._follow(turn, effect, place, staged)

    def _through(
        self, turn: Turn, event: Event, first: int, staged: list[Event]
    ) -> Ended | Paused | None:
        """One event through the stages from `first` on; what is left of it is put to `staged`."""
        for place in range(first, len(self.event)):
            step = self.event[place]
            try:
                effect = step.stage.on_event(turn, event)
            except Exception as cause:  # noqa: BLE001
                if step.on_error == "refuse":
                    return StageError(step.stage.name, cause)
                continue
            if isinstance(effect, Cut | Again | Waits) or len(effect) != 1:
                return self._follow(turn, effect, place, staged)
            event = effect[0]
        staged.append(event)
        return None

    def _follow(
        self, turn: Turn, effect: EventEffect, place: int, staged: list[Event]
    ) -> Ended | Paused | None:
        """What the stage at `place` wants, through the stages behind it."""
        if isinstance(effect, Cut | Again | Waits):
            own, coming = effect, iter(effect.events)
        else:
            own, coming = None, iter(effect)
        for each in coming:
            ended = self._through(turn, each, place + 1, staged)
            if ended is None:
                continue
            if isinstance(ended, Paused):
                ended.rest += [(later, place + 1) for later in coming]
                if own is not None:
                    ended.rest.append((replace(own, events=()), place))
            return ended
        if not isinstance(own, Waits):
            return own
        if turn.may_wait:
            return Paused(own.hold, place, [])
        return self._decide(turn, place, own.hold.default, staged)

    def on_response(
        self, turn: Turn, response: Response
    ) -> tuple[ResponseEffect, tuple[Trace, ...]]:
        """Every stage in reverse order until one does not simply forward."""
        trace: list[Trace] = []
        for step in reversed(self.response):
            assert self.pipeline is not None
            effect = self.pipeline.ask(
                step, trace, lambda s=step, r=response: s.stage.on_response(turn, r)
            )
            match effect:
                case Forward():
                    pass
                case Answer():
                    response = effect.response
                case Refuse() | Retry():
                    return effect, tuple(trace)
        if trace and any(row.effect == "Answer" for row in trace):
            return Answer(response=response), tuple(trace)
        return FORWARD, tuple(trace)


NOBODY = Watching(None)
"""No stage looks at the answer: it passes unread."""


@value(kw_only=True)
class Decision:
    """What the request hooks came to; where it goes stands in `turn.route`.

    end: the effect that ended the run, None = goes on; rest: the stages that a hold has kept from
    being asked; watching: the stages that see the answer.
    """

    request: Request
    end: Answer | Refuse | Hold | None = None
    rest: tuple[Step, ...] = ()
    comments: tuple[str, ...] = ()
    trace: tuple[Trace, ...] = ()
    watching: Watching = NOBODY


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of a turn, split by the hooks they override."""

    steps: tuple[Step, ...]
    clock: Callable[[], float]
    _request: tuple[Step, ...] = field(init=False)
    _count: tuple[Step, ...] = field(init=False)
    _guarding: tuple[Step, ...] = field(init=False)
    _unreadable: tuple[Step, ...] = field(init=False)
    _event: tuple[Step, ...] = field(init=False)
    _response: tuple[Step, ...] = field(init=False)
    _close: tuple[Step, ...] = field(init=False)

    def __post_init__(self) -> None:
        for hook in ("request", "unreadable", "event", "response", "close"):
            rows = tuple(step for step in self.steps if overrides(step.stage, f"on_{hook}"))
            object.__setattr__(self, f"_{hook}", rows)
        counting = tuple(step for step in self._request if step.stage.counts)
        object.__setattr__(self, "_count", counting)
        guarding = tuple(step for step in self._request if step.stage.guards)
        object.__setattr__(self, "_guarding", guarding)

    @property
    def decides(self) -> bool:
        """Whether some stage may refuse what it cannot read, as routing does."""
        return bool(self._unreadable)

    @property
    def counts(self) -> bool:
        """Whether some stage looks at token counts."""
        return bool(self._count)

    def on_request(self, turn: Turn, request: Request) -> Decision:
        """Every stage in turn until one answers or refuses."""
        return self._asked(turn, request, self._request if turn.kind == "generate" else self._count)

    def on_again(self, turn: Turn, request: Request) -> Decision:
        """The same for a request that a stage has made of one that went out before; it is not
        held, since its answer has begun."""
        return self._asked(turn, request, self._guarding, may_wait=False)

    def on_decided(self, turn: Turn, held: Decision, decided: Decided) -> Decision:
        """What comes of a request that was held: an edited one is checked again by the stages that
        guard, then the stages that were not asked yet are."""
        match decided:
            case Forward(request=edited):
                steps, request = held.rest, held.request
                if edited is not None and edited is not held.request:
                    request = edited
                    steps = (*(each for each in self._guarding if each not in steps), *steps)
                elif isinstance(held.end, Hold) and held.end.approved.request is not None:
                    request = held.end.approved.request
                after = self._asked(turn, request, steps)
                return replace(after, comments=held.comments + after.comments)
            case Denied():
                return replace(held, end=denied(decided), rest=(), trace=())
            case Answer() | Refuse():
                return replace(held, end=decided, rest=(), trace=())

    def _asked(
        self, turn: Turn, request: Request, steps: Sequence[Step], *, may_wait: bool = True
    ) -> Decision:
        comments: list[str] = []
        trace: list[Trace] = []
        end: Answer | Refuse | Hold | None = None
        rest: tuple[Step, ...] = ()
        final = False
        for place, step in enumerate(steps):
            effect = self.ask(step, trace, lambda s=step, r=request: s.stage.on_request(turn, r))
            if isinstance(effect, Hold) and not (may_wait and turn.may_wait):
                comments.append(f"not held ({effect.reason}): nobody can be asked here")
                default = effect.default
                effect = denied(default) if isinstance(default, Denied) else default
            if not isinstance(effect, Forward):
                end, rest = effect, tuple(steps[place + 1 :])
                break
            request = effect.request or request
            if effect.route is not None and not final:
                turn.route, final = effect.route, effect.final
            if effect.comment:
                comments.append(effect.comment)
        turn.request = request
        watching = NOBODY if end is not None else self._watching(turn, trace)
        return Decision(
            request=request,
            end=end,
            rest=rest if isinstance(end, Hold) else (),
            comments=tuple(comments),
            trace=tuple(trace),
            watching=watching,
        )

    def _watching(self, turn: Turn, trace: list[Trace]) -> Watching:
        if not self._event and not self._response:
            return NOBODY
        event = tuple(step for step in self._event if self._watches(step, turn, trace))
        response = tuple(step for step in self._response if self._watches(step, turn, trace))
        return Watching(self, event, response) if event or response else NOBODY

    def _watches(self, step: Step, turn: Turn, trace: list[Trace]) -> bool:
        try:
            return step.stage.watches(turn)
        except Exception as cause:  # noqa: BLE001
            trace.append(
                Trace(step.stage.name, "Forward", str(StageError(step.stage.name, cause)), 0)
            )
            return step.on_error == "refuse"

    def on_unreadable(self, turn: Turn, why: str) -> Decision:
        """What the stages make of a request that could not be read: on as it is, or refused."""
        unread = Request(dialect=turn.protocol, model=turn.model, messages=())
        trace: list[Trace] = []
        for step in self._unreadable:
            effect = self.ask(step, trace, lambda s=step: s.stage.on_unreadable(turn, why))
            if isinstance(effect, Refuse):
                return Decision(request=unread, end=effect, trace=tuple(trace))
        return Decision(request=unread, trace=tuple(trace))

    def on_close(self, turn: Turn, account: Account) -> list[str]:
        """The lines that stages have for the operator's list. A stage that fails has none."""
        lines: list[str] = []
        for step in self._close:
            try:
                line = step.stage.on_close(turn, account)
            except Exception as cause:  # noqa: BLE001
                line = str(StageError(step.stage.name, cause))
            if line:
                lines.append(line)
        return lines

    def ask[E: (RequestEffect, ResponseEffect)](
        self, step: Step, trace: list[Trace], ask: Callable[[], E]
    ) -> E | Forward | Refuse:
        """What a stage decides, or what its row says where it fails; the trace tells."""
        started = self.clock()
        effect: E | Forward | Refuse
        try:
            effect = ask()
            why = effect.why
        except Exception as cause:  # noqa: BLE001
            error = StageError(step.stage.name, cause)
            effect, why = (FORWARD if step.on_error == "forward" else _refusal(error)), str(error)
        cost_us = (self.clock() - started) * 1e6
        trace.append(Trace(step.stage.name, type(effect).__name__, why, cost_us))
        return effect


def guarded[**P, T](
    name: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs
) -> T | StageError:
    """What `call` gives, or its failure as a value, for hooks around which mitmproxy fails open."""
    try:
        return call(*args, **kwargs)
    except Exception as cause:  # noqa: BLE001
        return StageError(name, cause)


def denied(said: Denied) -> Refuse | Answer:
    """An operator's no to what is no tool call: an error, or a refusal of the model's own."""
    message = said.message or "llmitm: the operator has rejected this"
    if said.form == "error":
        return Refuse(fault=rejected(message), why=said.why)
    said_by_model = Choice(parts=(Refusal(text=message),), finish=Finish("refusal"))
    return Answer(response=Response(choices=(said_by_model,), ended=True), why=said.why)


def _refusal(error: StageError) -> Refuse:
    fault = Fault(
        kind="server",
        message=f"llmitm: {error}; its rule says refuse",
        status=500,
        code="policy_failed",
    )
    return Refuse(fault=fault, why=str(error))
