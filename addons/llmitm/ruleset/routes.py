"""The shape of `rules/routes.yaml`: where exchanges go, and every limit on the way."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from llmitm.ruleset.rows import Regex, Row, Text


def _check_target(pattern: str) -> str:
    if ":" not in pattern and pattern != "*":
        raise ValueError("a pattern of `provider:model` is needed, as `anthropic:*`")
    return pattern.lower()


TargetPattern = Annotated[str, AfterValidator(_check_target)]
"""A pattern (`*`, `?`) of `provider:model`; case is no matter."""


class AliasRow(Row):
    """One rewrite of model names."""

    pattern: Regex = Field(description="Regular expression, tried from the name's beginning.")
    replacement: Text = Field(
        description="What the matched text becomes: a selector, `\\1` is a group."
    )


class LimitsRow(Row):
    """How much llmitm takes in."""

    max_body_bytes: int = Field(
        default=104_857_600, ge=1024, description="Longest request body, compressed as it came."
    )
    max_decompressed_bytes: int = Field(
        default=67_108_864, ge=1024, description="Longest body after gzip, br or zstd."
    )
    max_buffered_bytes: int = Field(
        default=67_108_864, ge=1024, description="Longest answer held back for a policy."
    )
    signature_memory_bytes: int = Field(
        default=33_554_432,
        ge=0,
        description="Reasoning signatures kept for clients that cannot carry them; 0 = none.",
    )
    signature_turn_bytes: int = Field(
        default=2_097_152, ge=1024, description="Largest of these for one turn of the assistant."
    )
    signature_turns: int = Field(
        default=20_000, ge=0, description="Most turns whose signatures are kept; 0 = none."
    )


class TimesRow(Row):
    """How long llmitm waits, in seconds."""

    ttfb_timeout_s: float = Field(
        default=60, gt=0, le=86400, description="For the first byte of a streamed answer."
    )
    answer_timeout_s: float = Field(
        default=600, gt=0, le=86400, description="For the first byte of an answer in one piece."
    )
    heartbeat_grace_s: float = Field(
        default=5,
        ge=0,
        le=600,
        description="Silence before a waiting client's stream is opened with a heartbeat.",
    )
    keepalive_interval_s: float = Field(
        default=8, gt=0, le=600, description="Between heartbeats to a waiting client."
    )


class FailoverRow(Row):
    """What happens when a provider fails before its first content."""

    enabled: bool = Field(default=True, description="false = the first failure is the answer.")
    max_failover_hops: int = Field(
        default=5, ge=0, le=50, description="Further attempts after the first, keys included."
    )
    total_timeout_budget_s: float = Field(
        default=90, gt=0, le=86400, description="For all attempts together."
    )


class RoutesFile(Row):
    """`rules/routes.yaml`."""

    static_route: Text | None = Field(
        default=None,
        min_length=1,
        description="`provider:model?temperature=…` for every exchange; beats aliases.",
    )
    aliases: tuple[AliasRow, ...] = Field(default=(), description="Tried in order, first match.")
    losses: Literal["allow", "refuse"] = Field(
        default="allow",
        description="refuse = a request that would lose something on its way to another protocol "
        "is answered 422 instead of being sent.",
    )
    refuse_losses: tuple[TargetPattern, ...] = Field(
        default=(),
        description="Targets with `losses: refuse`: patterns (`*`, `?`) of `provider:model`.",
    )
    limits: LimitsRow = Field(default=LimitsRow(), description="How much llmitm takes in.")
    times: TimesRow = Field(default=TimesRow(), description="How long it waits.")
    failover: FailoverRow = Field(default=FailoverRow(), description="After a failure.")

    def refuses_losses(self, provider: str, model: str) -> bool:
        """Whether a request that loses something must not be sent there."""
        if self.losses == "refuse" or not self.refuse_losses:
            return self.losses == "refuse"
        target = f"{provider}:{model}".lower()
        return any(fnmatchcase(target, pattern) for pattern in self.refuse_losses)
