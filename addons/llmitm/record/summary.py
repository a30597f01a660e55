"""Totals of a run: exchanges, models, tokens, time to first token, errors.

Bounded whatever the traffic: models beyond a limit share one row, latencies fall into buckets.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TypedDict

from llmitm.stages.contract import Account

_MOST_MODELS = 200
_OTHER = "(other models)"
# Upper bounds in milliseconds, each about 12 % above the one before: 1 ms to 20 min.
_BOUNDS_MS = tuple(1.12**step for step in range(124))


class ModelTotals(TypedDict):
    """One model's share. Tokens are None when no exchange told them, the cost when it is not known
    of any."""

    exchanges: int
    input_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None


class Latency(TypedDict):
    """Milliseconds. p50 is exact to the bucket (12 %), max is exact."""

    p50: float
    max: float


class SummaryRow(TypedDict):
    """The summary as JSON. cost_usd: of the answers whose cost is known, None = of none;
    unpriced: answers with tokens whose cost is not known."""

    exchanges: int
    errors: int
    losses: int
    cost_usd: float | None
    unpriced: int
    models: dict[str, ModelTotals]
    ttft_ms: Latency | None


@dataclass(slots=True)
class Summary:
    """Adds accounts up; `row()` at any time."""

    exchanges: int = 0
    errors: int = 0
    losses: int = 0
    cost_usd: float | None = None
    unpriced: int = 0
    _models: dict[str, ModelTotals] = field(default_factory=dict[str, ModelTotals])
    _buckets: list[int] = field(default_factory=lambda: [0] * (len(_BOUNDS_MS) + 1))
    _slowest_ms: float = 0.0

    def add(self, account: Account) -> None:
        """Counts one finished exchange."""
        self.exchanges += 1
        self.errors += bool(account.error) or account.status >= 400
        self.losses += len(account.losses)
        name = account.target.partition(":")[2] or account.model or "(no model)"
        if name not in self._models and len(self._models) >= _MOST_MODELS:
            name = _OTHER
        row = self._models.setdefault(
            name, ModelTotals(exchanges=0, input_tokens=None, output_tokens=None, cost_usd=None)
        )
        row["exchanges"] += 1
        if account.usage is not None:
            row["input_tokens"] = _plus(row["input_tokens"], account.usage.input_tokens)
            row["output_tokens"] = _plus(row["output_tokens"], account.usage.output_tokens)
            self.unpriced += account.cost_usd is None
        row["cost_usd"] = _plus(row["cost_usd"], account.cost_usd)
        self.cost_usd = _plus(self.cost_usd, account.cost_usd)
        if account.ttft_s is not None:
            ttft_ms = account.ttft_s * 1000
            self._buckets[bisect_right(_BOUNDS_MS, ttft_ms)] += 1
            self._slowest_ms = max(self._slowest_ms, ttft_ms)

    def row(self) -> SummaryRow:
        """The totals so far, as plain JSON values."""
        return SummaryRow(
            exchanges=self.exchanges,
            errors=self.errors,
            losses=self.losses,
            cost_usd=self.cost_usd,
            unpriced=self.unpriced,
            models={name: row for name, row in sorted(self._models.items())},
            ttft_ms=self._latency(),
        )

    def _latency(self) -> Latency | None:
        total = sum(self._buckets)
        if not total:
            return None
        seen = 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if seen * 2 >= total:
                bound = _BOUNDS_MS[min(bucket, len(_BOUNDS_MS) - 1)]
                return Latency(
                    p50=round(min(bound, self._slowest_ms), 1), max=round(self._slowest_ms, 1)
                )
        raise AssertionError("the buckets hold every sample")


def _plus[N: (int, float)](total: N | None, more: N | None) -> N | None:
    return total if more is None else (total or 0) + more
