"""The shape of `rules/models.yaml`: what model families accept and cost."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from llmitm.ruleset.rows import Name, Row

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
    system_role: Literal["system", "developer"] | None = Field(
        default=None, description="Chat: the role of instructions; null = as the provider says."
    )
    reasoning: Literal["none", "effort", "budget", "adaptive", "level", "always"] | None = Field(
        default=None,
        description="How thinking is asked for: not at all, effort word, token budget, adaptive "
        "with effort, Gemini level, or it cannot be changed; null = unknown.",
    )
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
        """The family of a model, None = none is listed."""
        name = short_name(model)
        return next((row for row in self.families if _listed(name, row.models)), None)

    def price(self, model: str) -> PriceRow | None:
        """The prices of a model, None = none are listed."""
        name = short_name(model)
        return next((row for row in self.prices if _listed(name, row.models)), None)


def short_name(model: str) -> str:
    """`claude-sonnet-4.5` for `anthropic/Claude-Sonnet-4.5:beta`: no vendor, no variant.

    Bedrock's `us.anthropic.` goes too, and Vertex's `@date` becomes `-date`.
    """
    name = model.lower().rpartition("/")[2].partition(":")[0].replace("@", "-")
    for prefix in ("us.", "eu.", "apac.", "global."):
        name = name.removeprefix(prefix)
    return name.removeprefix("anthropic.")


def _listed(name: str, patterns: tuple[str, ...]) -> bool:
    # resellers write 4.5 where vendors write 4-5
    names = (name, name.replace(".", "-"))
    return any(fnmatch.fnmatchcase(one, pattern) for pattern in patterns for one in names)
