"""Refuses what would go over a limit on requests, tokens or cost, and warns before.

Limits stand in `rules/budgets.yaml`. A request counts for the model and provider it is about to go
to (of several, the first), its answer for those that gave it. Requests under way count with an
estimate, so that many at once cannot pass together. Tokens and cost count in the window in which
an answer ends. Never: guesses a price; where the cost is not known, that is counted and told.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import ceil

from llmitm.canon.digests import digest
from llmitm.canon.events import Event, Fault, Finish, PartDelta, PartEnd, PartStart, Start, Usage
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Request
from llmitm.canon.values import Json
from llmitm.ruleset.budgets import BudgetRow, Measure, Used
from llmitm.ruleset.models import PriceRow, cost_usd
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Target, targets
from llmitm.stages.asked import prompt_tokens
from llmitm.stages.budgets.counters import BudgetStore, Counter, Counters, Flight, Kept
from llmitm.stages.contract import FORWARD, Account, EventEffect, Forward, Refuse, Stage, Turn

NAME = "budgets"
CODE = "usage_limit_reached"
UNKNOWN_CODE = "cost_unknown"
_SOON_S = 5.0
"""When to ask again where only what is under way fills a limit."""
_WORDS: dict[Measure, str] = {
    "requests": "requests",
    "input_tokens": "input tokens",
    "output_tokens": "output tokens",
    "total_tokens": "tokens",
    "cost_usd": "US dollars",
}


@dataclass(slots=True)
class _Watched:
    """One turn. estimate: what it was taken to use; lines: warnings for its answer, with the
    counters that they are of."""

    estimate: Used
    lines: list[tuple[Counter, str]] = field(default_factory=list[tuple[Counter, str]])
    next_index: int = 0
    calls: bool = False


class Budgets(Stage):
    """The policy `budgets`. It stands behind everything that routes: only then is it known whose
    limits count."""

    name = NAME

    def __init__(self, ruleset: Ruleset, store: BudgetStore) -> None:
        self._rows = ruleset.budgets.active
        self._expected = ruleset.budgets.expected_output_tokens
        self._price = ruleset.models.price
        self._salt = store.salt
        self._counters = Counters(store)
        self._estimates = any(what != "requests" for row in self._rows for what, _ in row.limits)

    def on_request(self, turn: Turn, request: Request) -> Forward | Refuse:
        """On, with a line where much is used; refused where a limit is reached."""
        if not self._rows:
            return FORWARD
        provider, model = _goes_to(turn, request)
        now_s = turn.started_s
        price = self._price(model)
        rows = [row for row in self._rows if row.fits(turn.client, provider, model)]
        found: list[tuple[BudgetRow, bytes, Counter]] = []
        for row in rows:
            if row.cost_usd is not None and price is None and row.unknown_cost == "refuse":
                return _unknown(row, model)
            key = self._key(row, turn, provider, model)
            counter = self._counters.at(key, row.window_s, now_s)
            reached = row.over(counter.total)
            if reached is not None:
                return _reached(row, counter, reached, now_s)
            found.append((row, key, counter))
        estimate = self._estimate(request, price)
        # Also where none fits: another model may answer, and count.
        watched = turn.memory[NAME] = _Watched(estimate)
        if not found:
            return FORWARD
        lines = [
            line
            for row, _, counter in found
            for line in _warnings(row, counter, watched, model, priced=price is not None)
        ]
        self._counters.fly(turn.id, now_s, [Flight(key, estimate) for _, key, _ in found])
        if not lines:
            return Forward(why=f"within {', '.join(row.name for row, _, _ in found)}")
        return Forward(comment=" · ".join(lines), why="; ".join(lines))

    def _key(self, row: BudgetRow, turn: Turn, provider: str, model: str) -> bytes:
        talk = turn.conversation.key or f"{turn.scope.hex()} {turn.client_conversation}"
        values = {
            "client": turn.client,
            "provider": provider,
            "model": model.lower(),
            "conversation": talk,
            "client_key": turn.scope.hex(),
        }
        # The window is part of it: another one counts anew.
        texts = (NAME, row.name, row.window, *(f"{each}={values[each]}" for each in row.per))
        return digest(self._salt, texts)

    def _estimate(self, request: Request, price: PriceRow | None) -> Used:
        if not self._estimates:
            return Used(requests=1)
        prompt = prompt_tokens(request)
        most = request.sampling.max_tokens
        answer = self._expected if most is None else min(self._expected, max(most, 0))
        cost = cost_usd(Usage(input_tokens=prompt, output_tokens=answer), price)
        return Used(
            requests=1,
            input_tokens=prompt,
            output_tokens=answer,
            total_tokens=prompt + answer,
            cost_usd=cost or 0.0,
        )

    def watches(self, turn: Turn) -> bool:
        """Whether a warning is to be put into the answer."""
        watched = turn.memory.get(NAME)
        return isinstance(watched, _Watched) and bool(watched.lines)

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        """The event; before the end of an answer without tool calls, the warning."""
        watched: _Watched = turn.memory[NAME]
        match event:
            case PartStart(choice=0):
                watched.next_index = max(watched.next_index, event.index + 1)
                watched.calls = watched.calls or isinstance(event.part, ToolCall)
            case Start():
                watched.calls = False
            case Finish(choice=0) if watched.lines and not watched.calls:
                text = "\n\n" + "\n".join(f"[llmitm: {line}]" for _, line in watched.lines)
                for counter, _ in watched.lines:
                    counter.shown = True
                watched.lines.clear()
                place = watched.next_index
                said = PartDelta(place, "text", text)
                return (PartStart(place, Text(text="")), said, PartEnd(place), event)
            case _:
                pass
        return (event,)

    def on_close(self, turn: Turn, account: Account) -> str | None:
        """Counts what the exchange has used; a line where that is not known, once in a window."""
        watched = turn.memory.get(NAME)
        if not isinstance(watched, _Watched):
            return None
        self._counters.land(turn.id)
        if account.lane == "local":
            return None
        line: str | None = None
        provider, model = _answered(turn, account)
        ended_s = account.started_s + account.duration_s
        more = self._used(account, watched.estimate, model)
        for row in self._rows:
            if row.fits(turn.client, provider, model):
                key = self._key(row, turn, provider, model)
                counter = self._counters.at(key, row.window_s, ended_s)
                self._counters.add(key, counter, more)
                if more.unknown and row.cost_usd is not None and not counter.told:
                    counter.told = True
                    line = _not_counted(row, model)
        return line

    def _used(self, account: Account, estimate: Used, model: str) -> Kept:
        """What to count. What is not told counts as estimated, unless the answer is an error."""
        usage = account.usage or Usage()
        failed = account.status >= 400 and account.usage is None
        told = usage.input_tokens is not None and usage.output_tokens is not None
        if failed:
            estimate = Used()
        prompt = estimate.input_tokens if usage.input_tokens is None else usage.input_tokens
        answer = estimate.output_tokens if usage.output_tokens is None else usage.output_tokens
        cost = account.cost_usd
        if cost is None and not told:
            filled = replace(usage, input_tokens=prompt, output_tokens=answer)
            cost = cost_usd(filled, self._price(model))
        total = usage.total_tokens if told and usage.total_tokens is not None else prompt + answer
        used = Used(
            requests=1,
            input_tokens=prompt,
            output_tokens=answer,
            total_tokens=max(total, prompt + answer),
            cost_usd=cost or 0.0,
        )
        return Kept(
            start_s=0,
            end_s=0,
            used=used,
            unknown=int(cost is None and not failed),
            estimated=int(not told and not failed),
        )


def _goes_to(turn: Turn, request: Request) -> tuple[str, str]:
    """(provider, model) that is asked first, as far as it is decided."""
    first = Target(model="") if turn.route is None else next(iter(targets(turn.route)))
    return first.provider or turn.provider, first.model or request.model


def _answered(turn: Turn, account: Account) -> tuple[str, str]:
    label, colon, model = account.target.partition(":")
    provider = label.partition(".")[0]
    return provider or turn.provider, model if colon else account.model


def _warnings(
    row: BudgetRow, counter: Counter, watched: _Watched, model: str, *, priced: bool
) -> list[str]:
    """What is to be said now, each once in a window."""
    lines: list[str] = []
    near = row.near(counter.total)
    if near is not None:
        line = f"budget {row.name}: {_share(row, counter, near)} used, resets {_reset(counter)}"
        if row.show and not counter.shown:
            watched.lines.append((counter, line))
        if not counter.warned:
            counter.warned = True
            lines.append(line)
    if row.cost_usd is not None and not priced and not counter.told:
        counter.told = True
        lines.append(_not_counted(row, model))
    return lines


def _not_counted(row: BudgetRow, model: str) -> str:
    return f"budget {row.name}: the cost of {model} is not known, so it is not counted"


def _share(row: BudgetRow, counter: Counter, measure: Measure) -> str:
    used, limit = counter.total.of(measure), row.limit(measure)
    if measure == "cost_usd":
        return f"${used:.2f} of ${limit:.2f}"
    return f"{used:,.0f} of {limit:,.0f} {_WORDS[measure]}"


def _reset(counter: Counter) -> str:
    minute = counter.kept.end_s % 86400 // 60
    return f"at {minute // 60:02}:{minute % 60:02} UTC"


def _reached(row: BudgetRow, counter: Counter, measure: Measure, now_s: float) -> Refuse:
    kept = counter.kept
    soon = row.over(kept.used) is None
    reset_s = max(kept.end_s - now_s, 1.0)
    say = (
        f"llmitm: the usage limit {row.name!r} is reached: {_share(row, counter, measure)} "
        f"per {row.window}; it resets {_reset(counter)}"
    )
    if soon:
        say += "; part of it is an estimate for requests that are under way"
    details: dict[str, Json] = {
        "code": CODE,
        "retryable": soon,
        "budget": row.name,
        "per": list(row.per),
        "measure": measure,
        "used": round(counter.total.of(measure), 6),
        "limit": row.limit(measure),
        "window": row.window,
        "resets_at_s": kept.end_s,
        "in_flight": counter.flights,
        "unknown_cost": kept.unknown,
        "estimated": kept.estimated,
    }
    fault = Fault(
        kind="rate_limit",
        message=say,
        status=429,
        code=CODE,
        retry_after_s=float(ceil(min(reset_s, _SOON_S) if soon else reset_s)),
        details=details,
    )
    return Refuse(fault=fault, why=f"{row.name}: {_share(row, counter, measure)}")


def _unknown(row: BudgetRow, model: str) -> Refuse:
    say = (
        f"llmitm: the usage limit {row.name!r} takes no model without a price, and models.yaml "
        f"has none for {model}"
    )
    details: dict[str, Json] = {"code": UNKNOWN_CODE, "retryable": False, "budget": row.name}
    fault = Fault(kind="permission", message=say, status=403, code=UNKNOWN_CODE, details=details)
    return Refuse(fault=fault, why=f"{row.name}: no price for {model}")
