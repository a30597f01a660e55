"""Who is asked next? The attempts of one exchange: in which order, for how long, and when to wait.

An untried alternative comes before waiting; waiting is for when nothing else is left. Never: sends,
reads a clock, shows a key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import SecretStr

from llmitm.canon.events import Fault
from llmitm.canon.values import value
from llmitm.exchange.failure import Failure, is_retryable
from llmitm.exchange.instances import Instance, Instances
from llmitm.exchange.wire import Headers, header
from llmitm.ruleset.selectors import Target

_NEVER = frozenset({400, 404, 413, 422})
_KEY_REFUSED = frozenset({401, 402, 403})
_NEVER_KINDS = frozenset({"invalid_request", "not_found", "too_large", "context_length"})
_KEY_KINDS = frozenset({"authentication", "permission", "billing"})


@value(kw_only=True)
class Candidate:
    """One way to have the request answered.

    target: None = the client's own provider and model; key: None = the client's own credential,
    or none at all where the call is not to the client's own provider.
    """

    target: Target | None
    instance: Instance
    model: str
    key: SecretStr | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """`openai.2:gpt-5`."""
        return f"{self.instance.label}:{self.model}"


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be asked for so long; then `resume`. label: who is waited for."""

    seconds: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One attempt that failed. status: 0 = there was no answer."""

    label: str
    status: int
    message: str

    def row(self) -> dict[str, str | int]:
        """As it stands in an error's `details.attempts`."""
        return {"target": self.label, "status": self.status, "message": self.message}


type Verdict = Literal["next", "wait", "never"]


class Attempts:
    """The candidates of one exchange and how far it is through them.

    started_s: when the request came, on the clock of every `now_s`.
    """

    def __init__(
        self, candidates: Sequence[Candidate], instances: Instances, started_s: float
    ) -> None:
        self.candidates = candidates
        self._instances = instances
        self._started_s = started_s
        self._untried = list(candidates)
        self._waitable: list[tuple[float, Candidate]] = []
        self._over = False
        self._trial = False
        self.count = 0
        self.current: Candidate | None = None
        self.tried: list[Tried] = []

    def only(self) -> None:
        """Takes the only candidate, whatever is known of it: a client's own call is its own."""
        self.current = self._untried.pop()
        self.count = 1

    def next(self, now_s: float) -> Candidate | Wait | None:
        """Who is asked now, how long to wait, or None: there is nobody left."""
        failover = self._instances.failover
        self.current = None
        if self._over or (self.count and not self._may_go_on(now_s)):
            return None
        ready = [one for one in self._untried if not self._rest_s(one, now_s)]
        for one in ready:
            if self._instances.admits(one.instance, now_s):
                return self._take(one, now_s)
        seconds, soonest = min(self._waits(now_s), key=lambda pair: pair[0], default=(0.0, None))
        if soonest is not None:
            if seconds <= 0:
                return self._take(soonest, now_s)
            fits = now_s + seconds - self._started_s < failover.total_timeout_budget_s
            if failover.enabled and seconds <= failover.max_silent_wait_s and fits:
                return Wait(seconds, soonest.label)
        return self._last_resort(ready, now_s)

    def _waits(self, now_s: float) -> list[tuple[float, Candidate]]:
        """(seconds, candidate) of those who said when they can be asked."""
        again = [
            (max(until_s - now_s, self._rest_s(one, now_s)), one) for until_s, one in self._waitable
        ]
        resting = [
            (seconds, one)
            for one in self._untried
            if (seconds := self._rest_s(one, now_s))
            and not self._instances.guessed(one.instance, one.model)
        ]
        return again + resting

    def _last_resort(self, ready: list[Candidate], now_s: float) -> Candidate | None:
        """Better an open circuit, or a key of which nobody said how long it rests, than no answer;
        at first even one that does rest: it alone can say so."""
        if ready:
            return self._take(ready[0], now_s)
        left = [
            one
            for one in self._untried
            if not self.count or self._instances.guessed(one.instance, one.model)
        ]
        soonest = min(left, key=lambda one: self._rest_s(one, now_s), default=None)
        return None if soonest is None else self._take(soonest, now_s)

    def race(self, now_s: float) -> tuple[Candidate, ...]:
        """All that can be asked now, at once; those that rest only when all of them do. Nobody is
        left for `next` afterwards."""
        asked, self._untried = self._untried, []
        ready = [
            one
            for one in asked
            if not self._rest_s(one, now_s) and self._instances.admits(one.instance, now_s)
        ]
        return tuple(ready or asked)

    def alone(self, one: Candidate, now_s: float) -> Attempts:
        """The attempts of one leg of a race, its call under way. What it tried is told here too."""
        leg = Attempts((), self._instances, self._started_s)
        leg.tried = self.tried
        leg._take(one, now_s)
        return leg

    def _take(self, one: Candidate, now_s: float) -> Candidate:
        if one in self._untried:
            self._untried.remove(one)
        else:
            self._waitable = [pair for pair in self._waitable if pair[1] != one]
        self.count += 1
        self.current = one
        self._trial = self._instances.began(one.instance, now_s)
        return one

    def _rest_s(self, one: Candidate, now_s: float) -> float:
        return self._instances.ready_in_s(one.instance, one.model, now_s)

    def _may_go_on(self, now_s: float) -> bool:
        failover = self._instances.failover
        return (
            failover.enabled
            and self.count <= failover.max_failover_hops
            and now_s - self._started_s < failover.total_timeout_budget_s
        )

    def has_alternative(self, now_s: float) -> bool:
        """Whether somebody else could still be asked if this attempt failed now."""
        return bool(self._untried) and not self._over and self._may_go_on(now_s)

    def would_go_on(self, status: int, headers: Headers, now_s: float) -> bool:
        """Whether an answer with this head is a failure after which somebody is asked again."""
        if not self._may_go_on(now_s):
            return False
        if status == 400 and self._untried:
            # Google says so of a key that is not valid: only the body tells.
            return True
        verdict = _verdict(status, None, headers)
        if verdict == "never":
            return False
        return bool(self._untried) or verdict == "wait"

    def failed(self, failure: Failure, delay_s: float | None, now_s: float) -> None:
        """The current attempt failed. delay_s: how long its provider wants to be left alone."""
        one = self.current
        if one is None:
            return
        status = failure.status
        self.tried.append(Tried(label=one.label, status=status, message=failure.message))
        verdict = _verdict(status, failure.fault, failure.headers)
        limited = status == 429 or (
            failure.fault is not None and failure.fault.kind == "rate_limit"
        )
        refused = status in _KEY_REFUSED or (
            failure.fault is not None and failure.fault.kind in _KEY_KINDS
        )
        if verdict != "never" or refused:
            self._rest(one, delay_s, now_s, limited=limited, refused=refused, status=status)
        told = limited or refused or verdict == "never"
        self._ended("unknown" if told else "bad", now_s)
        if verdict == "never":
            self._over = True
        elif verdict == "wait" and delay_s is not None:
            wait_s = max(delay_s, self._instances.failover.min_retry_wait_s)
            self._waitable.append((now_s + wait_s, one))
        self.current = None

    def _rest(
        self,
        one: Candidate,
        delay_s: float | None,
        now_s: float,
        *,
        limited: bool,
        refused: bool,
        status: int,
    ) -> None:
        failover = self._instances.failover
        if refused and one.instance.number:
            model = "" if status == 401 else one.model
            self._instances.rest(one.instance, model, now_s + failover.key_set_aside_s)
        elif limited or delay_s is not None:
            rest_s = failover.rate_limit_cooldown_s if delay_s is None else delay_s
            rest_s = min(rest_s, failover.max_rest_s)
            told = delay_s is not None
            self._instances.rest(one.instance, one.model, now_s + rest_s, told=told)

    def skipped(self, fault: Fault, now_s: float) -> None:
        """The current attempt could not even be made; it does not count."""
        if self.current is not None:
            self.count -= 1
            row = Tried(label=self.current.label, status=0, message=fault.message)
            self.tried.append(row)
            self._ended("unknown", now_s)
            self.current = None

    def answered(self, now_s: float) -> None:
        """The current attempt gave an answer."""
        self._ended("good", now_s)

    def left(self, now_s: float) -> None:
        """Nothing can be said of the current attempt: the client is gone."""
        self._ended("unknown", now_s)

    def _ended(self, outcome: Literal["good", "bad", "unknown"], now_s: float) -> None:
        if self.current is not None:
            self._instances.ended(self.current.instance, outcome, now_s, trial=self._trial)


def _verdict(status: int, fault: Fault | None, headers: Headers) -> Verdict:
    """What a failure means: `never` ask again, ask the `next` one, or also `wait` for this one."""
    said = header(headers, "x-should-retry").strip().lower()
    if status in _KEY_REFUSED or (fault is not None and fault.kind in _KEY_KINDS):
        return "next"
    if status in _NEVER or (fault is not None and fault.kind in _NEVER_KINDS):
        return "wait" if said == "true" else "never"
    if said == "false":
        return "next"
    if status >= 500 or status in (0, 408, 409, 425, 429) or said == "true":
        return "wait"
    if fault is not None and is_retryable(fault):
        return "wait"
    return "never" if status >= 300 else "next"
