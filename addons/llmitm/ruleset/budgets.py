"""The shape of `rules/budgets.yaml`: how much may be used, by whom, in which time.

No limit is set unless a file says so.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, Self

from pydantic import Field, model_validator

from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, error_at
from llmitm.ruleset.rewrites import ModelPattern, first_fit, model_pattern
from llmitm.ruleset.rows import Name, Row

type Per = Literal["client", "model", "provider", "conversation", "client_key"]
type Measure = Literal["requests", "input_tokens", "output_tokens", "total_tokens", "cost_usd"]
type Verdict = Literal["passes", "warns", "refuses"]

MEASURES: tuple[Measure, ...] = (
    "requests",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cost_usd",
)
WINDOW_S: Mapping[str, int] = {"minute": 60, "hour": 3600, "day": 86400}
"""Seconds of each window. Unix time counts days of UTC."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What was used of a budget."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cost_usd: float = 0.0

    def plus(self, other: Used, sign: int = 1) -> Used:
        """Both together; sign -1 takes `other` away again."""
        return Used(
            requests=self.requests + sign * other.requests,
            input_tokens=self.input_tokens + sign * other.input_tokens,
            output_tokens=self.output_tokens + sign * other.output_tokens,
            total_tokens=self.total_tokens + sign * other.total_tokens,
            cost_usd=self.cost_usd + sign * other.cost_usd,
        )

    def of(self, measure: Measure) -> float:
        """One of the numbers."""
        match measure:
            case "requests":
                return self.requests
            case "input_tokens":
                return self.input_tokens
            case "output_tokens":
                return self.output_tokens
            case "total_tokens":
                return self.total_tokens
            case "cost_usd":
                return self.cost_usd


NOTHING_USED = Used()


class BudgetExampleRow(Row):
    """What was used already, and what the next request meets."""

    requests: int = Field(default=0, ge=0, description="Requests.")
    input_tokens: int = Field(default=0, ge=0, description="Tokens of prompts.")
    output_tokens: int = Field(default=0, ge=0, description="Tokens of answers.")
    total_tokens: int = Field(default=0, ge=0, description="Both.")
    cost_usd: float = Field(default=0, ge=0, description="US dollars.")
    verdict: Verdict = Field(default="passes", description="What happens.")

    @property
    def used(self) -> Used:
        """The numbers."""
        return Used(
            requests=self.requests,
            input_tokens=self.input_tokens,
            output_tokens=self.output_tokens,
            total_tokens=self.total_tokens,
            cost_usd=self.cost_usd,
        )


class BudgetRow(Row):
    """One limit, or several over one window."""

    name: Name = Field(description="The budget.")
    enabled: bool = Field(default=True, description="false = it does not count.")
    per: tuple[Per, ...] = Field(
        default=(),
        description="Each of these has a count of its own (several: each combination); empty = "
        "one count for all. `client_key` is the credential a client calls with.",
    )
    models: tuple[ModelPattern, ...] = Field(
        default=(), description="Patterns (`*`, `?`) of `provider:model` or `model`; empty = all."
    )
    clients: tuple[str, ...] = Field(default=(), description="Names of clients.yaml; empty = all.")
    providers: tuple[str, ...] = Field(
        default=(), description="Patterns (`*`, `?`) of providers; empty = all."
    )
    window: Literal["minute", "hour", "day"] = Field(
        default="day", description="When it begins anew, by UTC."
    )
    requests: int | None = Field(default=None, ge=1, description="Requests.")
    input_tokens: int | None = Field(
        default=None, ge=1, description="Tokens of prompts, cached ones too."
    )
    output_tokens: int | None = Field(
        default=None, ge=1, description="Tokens of answers, reasoning too."
    )
    total_tokens: int | None = Field(default=None, ge=1, description="Both.")
    cost_usd: float | None = Field(
        default=None, gt=0, description="US dollars by the prices of models.yaml."
    )
    unknown_cost: Literal["allow", "refuse"] = Field(
        default="allow",
        description="What meets a model without a price, where `cost_usd` is set: it passes and "
        "is told and counted as unknown, or it is refused.",
    )
    warn_at: float = Field(
        default=0.8, gt=0, le=1, description="Share of a limit from which on a line warns, once."
    )
    show: bool = Field(
        default=False,
        description="true = the warning also stands below the next answer without tool calls; the "
        "client keeps it in its history.",
    )
    examples: tuple[BudgetExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.limits:
            raise ValueError(f"limits nothing; give one of {', '.join(MEASURES)}")
        return self

    @cached_property
    def limits(self) -> tuple[tuple[Measure, float], ...]:
        """What is limited, and to how much."""
        numbers: tuple[float | None, ...] = (
            self.requests,
            self.input_tokens,
            self.output_tokens,
            self.total_tokens,
            self.cost_usd,
        )
        return tuple(
            (measure, number)
            for measure, number in zip(MEASURES, numbers, strict=True)
            if number is not None
        )

    @property
    def window_s(self) -> int:
        """Its window in seconds."""
        return WINDOW_S[self.window]

    def fits(self, client: str, provider: str, model: str) -> bool:
        """Whether it is for such a request."""
        if self.clients and client not in self.clients:
            return False
        if self._providers is not None and not self._providers.match(provider):
            return False
        models = self._models
        return models is None or first_fit(((models, True),), provider, model) is not None

    def over(self, used: Used) -> Measure | None:
        """The first limit that is reached, None = none is."""
        for what, most in self.limits:
            if used.of(what) >= most:
                return what
        return None

    def near(self, used: Used) -> Measure | None:
        """The limit of which most is used, if that is enough for a warning."""
        shares: dict[Measure, float] = {what: used.of(what) / most for what, most in self.limits}
        fullest = max(shares, key=lambda what: shares[what])
        return fullest if shares[fullest] >= self.warn_at else None

    def limit(self, measure: Measure) -> float:
        """The number that limits it."""
        return next(most for what, most in self.limits if what == measure)

    def verdict(self, used: Used) -> Verdict:
        """What the next request meets."""
        if self.over(used) is not None:
            return "refuses"
        return "warns" if self.near(used) is not None else "passes"

    @cached_property
    def _models(self) -> re.Pattern[str] | None:
        return model_pattern(self.models) if self.models else None

    @cached_property
    def _providers(self) -> re.Pattern[str] | None:
        patterns = "|".join(fnmatch.translate(pattern) for pattern in self.providers)
        return re.compile(patterns) if patterns else None


class BudgetsFile(Row):
    """`rules/budgets.yaml`."""

    expected_output_tokens: int = Field(
        default=1000,
        ge=1,
        description="Tokens that an answer is taken to have while it is under way, and for good "
        "where the provider does not tell, if the request does not set a lower limit.",
    )
    budgets: tuple[BudgetRow, ...] = Field(default=(), description="All of them hold at once.")

    @cached_property
    def active(self) -> tuple[BudgetRow, ...]:
        """Those that count."""
        return tuple(row for row in self.budgets if row.enabled)


def failed_budget_examples(file: BudgetsFile, tree: Node) -> Iterator[RuleError]:
    """The examples that do not hold."""
    for index, row in enumerate(file.budgets):
        for number, example in enumerate(row.examples):
            got = row.verdict(example.used)
            if got != example.verdict:
                path = ("budgets", index, "examples", number)
                yield error_at(tree, path, f"{row.name} {got}")
