"""The shape of `rules/models.yaml`: what model families accept and cost.

A family's row becomes `Facts`, which is how the encoders see it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Literal

from pydantic import Field

from llmitm.canon.events import Usage
from llmitm.canon.values import EFFORT_BUDGETS, Facts
from llmitm.ruleset.rows import Name, Row

_MOST_NAMES = 1024
_LONGEST_NAME = 256
"""What was found for so many names, none of them longer, is remembered."""

type Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class FamilyRow(Row):
    """Models that accept the same."""

    name: Name = Field(description="The family.")
    models: tuple[str, ...] = Field(
        min_length=1, description="Patterns (`*`, `?`) of names without vendor and variant."
    )
    takes_temperature: bool = Field(default=True, description="false = it is refused.")
    temperature_max: float = Field(default=2, ge=0, le=2, description="Highest temperature.")
    takes_top_p: bool = Field(default=True, description="false = it is refused.")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] | None = Field(
        default=None, description="Chat: where the limit must stand; null = as the provider says."
    )
    system_role: Literal["system", "developer", "user"] | None = Field(
        default=None,
        description="Chat: the role of instructions; user = it knows no role for them (in every "
        "protocol); null = as the provider says.",
    )
    reasoning: Literal["none", "effort", "budget", "adaptive", "level", "always"] | None = Field(
        default=None,
        description="How thinking is asked for: not at all, effort word, token budget, adaptive "
        "with effort, Gemini level, or it cannot be changed; null = unknown.",
    )
    takes_off: bool = Field(default=True, description="false = it cannot be told not to think.")
    efforts: tuple[Effort, ...] = Field(
        default=(), description="Effort words it takes; empty = unknown."
    )
    budget_min: int | None = Field(default=None, ge=0, description="Smallest thinking budget.")
    budget_max: int | None = Field(default=None, ge=0, description="Largest thinking budget.")
    min_output_tokens: int | None = Field(
        default=None, ge=1, description="A smaller explicit output limit is raised to this."
    )


class PriceRow(Row):
    """What models cost, in US dollars per million tokens. null = not known."""

    name: Name = Field(description="The price list entry.")
    models: tuple[str, ...] = Field(min_length=1, description="Patterns, as in families.")
    input: float | None = Field(default=None, ge=0, description="Prompt, not from cache.")
    output: float | None = Field(default=None, ge=0, description="Answer, reasoning included.")
    cache_read: float | None = Field(default=None, ge=0, description="Prompt read from cache.")
    cache_write: float | None = Field(default=None, ge=0, description="Prompt written to cache.")


class ModelsFile(Row):
    """`rules/models.yaml`."""

    effort_budgets: Mapping[Effort, int] = Field(
        default={}, description="Thinking tokens that each effort word stands for."
    )
    families: tuple[FamilyRow, ...] = Field(default=(), description="First match wins.")
    prices: tuple[PriceRow, ...] = Field(default=(), description="First match wins.")

    def family(self, model: str) -> FamilyRow | None:
        """The family of a model, None = none is listed.

        A name may bring a provider in front (`openrouter:stepfun/step-3.5-flash:free`).
        """
        return (self._find_family if len(model) > _LONGEST_NAME else self._known_family)(model)

    def _find_family(self, model: str) -> FamilyRow | None:
        found = _first(self._families, short_name(model))
        before, colon, after = model.partition(":")
        if found is None and colon and "/" not in before:
            found = _first(self._families, short_name(after))
        return found

    def price(self, model: str) -> PriceRow | None:
        """The prices of a model, None = none are listed."""
        return (self._find_price if len(model) > _LONGEST_NAME else self._known_price)(model)

    def _find_price(self, model: str) -> PriceRow | None:
        return _first(self._prices, short_name(model))

    @cached_property
    def _known_family(self) -> Callable[[str], FamilyRow | None]:
        return lru_cache(_MOST_NAMES)(self._find_family)

    @cached_property
    def _known_price(self) -> Callable[[str], PriceRow | None]:
        return lru_cache(_MOST_NAMES)(self._find_price)

    def facts(self, model: str, facts: Facts) -> Facts:
        """A provider's peculiarities with those of the model's family laid over them."""
        if self._budgets != facts.effort_budgets:
            facts = replace(facts, effort_budgets=self._budgets)
        family = self.family(model)
        if family is None:
            return facts
        return replace(
            facts,
            max_tokens_field=family.max_tokens_field or facts.max_tokens_field,
            system_role=family.system_role or facts.system_role,
            takes_temperature=family.takes_temperature,
            temperature_max=family.temperature_max,
            takes_top_p=family.takes_top_p,
            reasoning=family.reasoning,
            takes_off=family.takes_off,
            efforts=family.efforts,
            budget_min=family.budget_min,
            budget_max=family.budget_max,
            min_output_tokens=family.min_output_tokens,
        )

    @cached_property
    def _budgets(self) -> Mapping[str, int]:
        return {**EFFORT_BUDGETS, **self.effort_budgets}

    @cached_property
    def _families(self) -> tuple[tuple[re.Pattern[str], FamilyRow], ...]:
        return tuple((_pattern(row.models), row) for row in self.families)

    @cached_property
    def _prices(self) -> tuple[tuple[re.Pattern[str], PriceRow], ...]:
        return tuple((_pattern(row.models), row) for row in self.prices)


def cost_usd(usage: Usage | None, price: PriceRow | None) -> float | None:
    """What an answer cost, in US dollars; None = not known.

    Reads and writes of the cache stand inside `usage.input_tokens` and have prices of their own. A
    number that was not told, or tokens of a kind without a price, make the whole unknown.
    """
    if usage is None or price is None:
        return None
    if usage.input_tokens is None or usage.output_tokens is None:
        return None
    read, written = usage.cache_read_tokens or 0, usage.cache_write_tokens or 0
    parts = (
        (max(usage.input_tokens - read - written, 0), price.input),
        (read, price.cache_read),
        (written, price.cache_write),
        (usage.output_tokens, price.output),
    )
    cost = 0.0
    for tokens, per_million in parts:
        if tokens and per_million is None:
            return None
        cost += tokens * (per_million or 0.0) / 1e6
    return cost


def short_name(model: str) -> str:
    """`claude-sonnet-4.5` for `anthropic/Claude-Sonnet-4.5:beta`: no vendor, no variant.

    Bedrock's `us.anthropic.` goes too, and Vertex's `@date` becomes `-date`.
    """
    name = model.lower().rpartition("/")[2].partition(":")[0].replace("@", "-")
    for prefix in ("us.", "eu.", "apac.", "global."):
        name = name.removeprefix(prefix)
    return name.removeprefix("anthropic.")


def _pattern(models: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in models))


def _first[T](rows: Iterable[tuple[re.Pattern[str], T]], name: str) -> T | None:
    # resellers write 4.5 where vendors write 4-5
    other = name.replace(".", "-")
    for pattern, row in rows:
        if pattern.match(name) or (other != name and pattern.match(other)):
            return row
    return None
