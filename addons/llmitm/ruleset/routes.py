"""The shape of `rules/routes.yaml`: where exchanges go, and every limit on the way."""

from __future__ import annotations

from pydantic import Field

from llmitm.ruleset.rows import Regex, Row, Text


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


class TimesRow(Row):
    """How long llmitm waits, in seconds."""

    connect_timeout_s: float = Field(default=15, gt=0, le=600, description="For a connection.")
    ttfb_timeout_s: float = Field(
        default=60, gt=0, le=86400, description="For the first byte of a streamed answer."
    )
    answer_timeout_s: float = Field(
        default=600, gt=0, le=86400, description="For the first byte of an answer in one piece."
    )
    first_event_hold_s: float = Field(
        default=10,
        ge=0,
        le=600,
        description="How long a stream's preamble is held back for its first content.",
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
    max_silent_wait_s: float = Field(
        default=30, ge=0, le=3600, description="Longest wait for the same target."
    )
    min_retry_wait_s: float = Field(
        default=1, ge=0, le=3600, description="Shortest wait before the same target again."
    )


class RoutesFile(Row):
    """`rules/routes.yaml`."""

    static_route: Text | None = Field(
        default=None,
        min_length=1,
        description="`provider:model?temperature=…` for every exchange; beats aliases.",
    )
    aliases: tuple[AliasRow, ...] = Field(default=(), description="Tried in order, first match.")
    limits: LimitsRow = Field(default=LimitsRow(), description="How much llmitm takes in.")
    times: TimesRow = Field(default=TimesRow(), description="How long it waits.")
    failover: FailoverRow = Field(default=FailoverRow(), description="After a failure.")
