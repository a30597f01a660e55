"""The shape of `rules/routes.yaml`: where exchanges go, and every limit on the way."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from llmitm.ruleset.rows import Regex, Row, Text


def _check_target(pattern: str) -> str:
    if ":" not in pattern and pattern != "*":
        raise ValueError("a pattern of `provider:model` is needed, as `anthropic:*`")
    return pattern.lower()


TargetPattern = Annotated[str, AfterValidator(_check_target)]
"""A pattern (`*`, `?`) of `provider:model`; case is no matter."""


class AliasExampleRow(Row):
    """A model that a client asks for."""

    model: str = Field(min_length=1, description="The model's name as the client wrote it.")
    becomes: str | None = Field(
        description="What all aliases together make of it; null = it stays as it is."
    )


class AliasRow(Row):
    """One rewrite of model names."""

    pattern: Regex = Field(description="Regular expression, tried from the name's beginning.")
    replacement: Text = Field(
        description="What the matched text becomes: a selector, `\\1` is a group."
    )
    examples: tuple[AliasExampleRow, ...] = Field(default=(), description="Tried by the tests.")


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
    signature_conversation_bytes: int = Field(
        default=8_388_608,
        ge=0,
        description="Most of these for one conversation; what it used longest ago goes first.",
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


class BreakerRow(Row):
    """When an instance (provider, place and key) that fails is left alone for a while.

    Rate limits do not count, and neither do failures after the first content.
    """

    enabled: bool = Field(default=True, description="false = every instance is always tried.")
    failure_threshold: int = Field(
        default=3, ge=1, le=1000, description="Failures in a row that open the circuit."
    )
    open_cooldown_s: float = Field(
        default=30, gt=0, le=86400, description="How long it stays open before a trial."
    )
    half_open_success_threshold: int = Field(
        default=1, ge=1, le=100, description="Good trials that close it again."
    )
    half_open_max_inflight: int = Field(default=1, ge=1, le=100, description="Trials at a time.")


class FailoverRow(Row):
    """What happens when a provider fails before its first content."""

    enabled: bool = Field(default=True, description="false = the first failure is the answer.")
    max_failover_hops: int = Field(
        default=5, ge=0, le=50, description="Further attempts after the first, keys included."
    )
    total_timeout_budget_s: float = Field(
        default=90, gt=0, le=86400, description="For all attempts and waits together."
    )
    max_silent_wait_s: float = Field(
        default=30,
        ge=0,
        le=86400,
        description="Longest wait for an instance that said when it can be asked again; 0 = none.",
    )
    min_retry_wait_s: float = Field(
        default=1, ge=0, le=600, description="Shortest wait before the same instance again."
    )
    rate_limit_cooldown_s: float = Field(
        default=30, ge=0, le=86400, description="After a 429 that does not say how long to wait."
    )
    max_rest_s: float = Field(
        default=86400,
        ge=0,
        le=864000,
        description="Longest rest after a rate limit, whatever the provider says; 0 = none rests.",
    )
    key_set_aside_s: float = Field(
        default=3600, ge=0, le=864000, description="After a 401 or 403: the key is not used."
    )
    breaker: BreakerRow = Field(default=BreakerRow(), description="Instances that keep failing.")


class NamedRouteRow(Row):
    """A failover route: a name that is asked for like a model."""

    policy: Literal["k", "m", "km", "mk"] = Field(
        default="m",
        description="`k`: the first element with each of its keys; `m`: each element with its "
        "first key; `km`: each element with all its keys; `mk`: every first key, then every "
        "second one.",
    )
    elements: tuple[Text, ...] = Field(
        min_length=1, description="Selectors (`provider:model`), in order."
    )


class DuplicatesRow(Row):
    """What a client gets that sends a request again while the first one is still running."""

    mode: Literal["off", "attach", "refuse"] = Field(
        default="off",
        description="`off`: it is asked anew; `attach`: the second gets what the first one gets; "
        "`refuse`: 429.",
    )
    retry_after_s: float = Field(
        default=1, ge=0, le=600, description="`refuse`: the Retry-After header."
    )


RouteName = Annotated[str, StringConstraints(pattern=r"^[^\s:/?|^!\[\]]+$", max_length=200)]
"""A named route: no white space and nothing that a selector is written with."""


class RoutesFile(Row):
    """`rules/routes.yaml`."""

    static_route: Text | None = Field(
        default=None,
        min_length=1,
        description="`provider:model?temperature=…` for every exchange; beats aliases.",
    )
    aliases: tuple[AliasRow, ...] = Field(default=(), description="Tried in order, first match.")
    failover_routes: Mapping[RouteName, NamedRouteRow] = Field(
        default={}, description="Named routes; a name is asked for like a model."
    )
    model_preference: Literal["round_robin", "cost", "priority"] = Field(
        default="round_robin",
        description="Which provider a selector without one prefers where several offer the model: "
        "in turn, the lowest `cost`, or the highest `priority` of providers.yaml.",
    )
    duplicates: DuplicatesRow = Field(
        default=DuplicatesRow(), description="The same request again while the first one runs."
    )
    conversation_ids: Literal["client", "own"] = Field(
        default="client",
        description="own = a provider sees a conversation id of llmitm's in place of the client's.",
    )
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
