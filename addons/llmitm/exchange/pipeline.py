"""Runs the stages in the order of `rules/pipeline.yaml` and keeps the trace of who decided what.

A stage that raises is a `StageError`; its row's `on_error` decides: `forward` goes on as if it had
done nothing, `refuse` answers the client with an error. This is one of the two files that may catch
`Exception`, because mitmproxy itself would fail open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from llmitm.canon.events import Event, Fault
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.errors import StageError
from llmitm.stages.contract import (
    FORWARD,
    Account,
    Answer,
    Forward,
    Hold,
    Refuse,
    RequestEffect,
    ResponseEffect,
    Retry,
    Stage,
    Target,
    Trace,
    Turn,
    overrides,
)


@dataclass(frozen=True, slots=True)
class Step:
    """One row of the pipeline: a stage and what happens when it fails."""

    stage: Stage
    on_error: Literal["forward", "refuse"] = "forward"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the request hooks came to. end: the effect that ended the run, None = goes on."""

    request: Request
    targets: tuple[Target, ...] = ()
    end: Answer | Refuse | Hold | None = None
    comments: tuple[str, ...] = ()
    trace: tuple[Trace, ...] = ()


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The stages of a turn, split by the hooks they override."""

    steps: tuple[Step, ...]
    clock: Callable[[], float]
    _request: tuple[Step, ...] = field(init=False)
    _unreadable: tuple[Step, ...] = field(init=False)
    _event: tuple[Step, ...] = field(init=False)
    _response: tuple[Step, ...] = field(init=False)
    _close: tuple[Step, ...] = field(init=False)

    def __post_init__(self) -> None:
        for hook in ("request", "unreadable", "event", "response", "close"):
            rows = tuple(step for step in self.steps if overrides(step.stage, f"on_{hook}"))
            object.__setattr__(self, f"_{hook}", rows)

    @property
    def decides(self) -> bool:
        """Whether some stage may refuse what it cannot read, as routing does."""
        return bool(self._unreadable)

    @property
    def buffers(self) -> bool:
        """Whether some stage wants the whole answer before the client gets any of it."""
        return bool(self._response)

    @property
    def edits_events(self) -> bool:
        """Whether some stage looks at single events."""
        return bool(self._event)

    def on_request(self, turn: Turn, request: Request) -> Decision:
        """Every stage in turn until one answers, refuses or holds."""
        targets: tuple[Target, ...] = ()
        comments: list[str] = []
        trace: list[Trace] = []
        for step in self._request:
            effect = self._ask(step, trace, lambda s=step, r=request: s.stage.on_request(turn, r))
            match effect:
                case Forward():
                    request = effect.request or request
                    targets = effect.targets or targets
                    if effect.comment:
                        comments.append(effect.comment)
                case Answer() | Refuse() | Hold():
                    return Decision(
                        request=request,
                        targets=targets,
                        end=effect,
                        comments=tuple(comments),
                        trace=tuple(trace),
                    )
        return Decision(
            request=request, targets=targets, comments=tuple(comments), trace=tuple(trace)
        )

    def on_unreadable(self, turn: Turn, why: str) -> Decision:
        """What the stages make of a request that could not be read: on as it is, or refused."""
        unread = Request(dialect=turn.protocol, model=turn.model, messages=())
        trace: list[Trace] = []
        for step in self._unreadable:
            effect = self._ask(step, trace, lambda s=step: s.stage.on_unreadable(turn, why))
            if isinstance(effect, Refuse):
                return Decision(request=unread, end=effect, trace=tuple(trace))
        return Decision(request=unread, trace=tuple(trace))

    def on_event(self, turn: Turn, event: Event) -> tuple[Sequence[Event], StageError | None]:
        """The events that go on in place of this one, and the error that must end the stream."""
        events: Sequence[Event] = (event,)
        for step in self._event:
            after: list[Event] = []
            for each in events:
                try:
                    after.extend(step.stage.on_event(turn, each))
                except Exception as cause:  # noqa: BLE001
                    if step.on_error == "refuse":
                        return (), StageError(step.stage.name, cause)
                    after.append(each)
            events = after
        return events, None

    def on_response(
        self, turn: Turn, response: Response
    ) -> tuple[ResponseEffect, tuple[Trace, ...]]:
        """Every stage in reverse order until one does not simply forward."""
        trace: list[Trace] = []
        for step in reversed(self._response):
            effect = self._ask(step, trace, lambda s=step, r=response: s.stage.on_response(turn, r))
            match effect:
                case Forward():
                    pass
                case Answer():
                    response = effect.response
                case Refuse() | Hold() | Retry():
                    return effect, tuple(trace)
        if trace and any(row.effect == "Answer" for row in trace):
            return Answer(response=response), tuple(trace)
        return FORWARD, tuple(trace)

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

    def _ask[E: (RequestEffect, ResponseEffect)](
        self, step: Step, trace: list[Trace], ask: Callable[[], E]
    ) -> E | Forward | Refuse:
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


def _refusal(error: StageError) -> Refuse:
    fault = Fault(
        kind="server",
        message=f"llmitm: {error}; its rule says refuse",
        status=500,
        code="policy_failed",
    )
    return Refuse(fault=fault, why=str(error))
