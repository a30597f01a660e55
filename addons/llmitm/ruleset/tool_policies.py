"""The shapes of the lists in `rules/tools.yaml`: which tools may be used at all, and what a model
is told to do in another way.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import Literal

from pydantic import Field

from llmitm.ruleset.linear import Linear
from llmitm.ruleset.rows import Name, Regex, Row

type Effect = Literal["steer", "replace", "block", "hold", "allow"]
"""What a call meets: `steer`: the model is asked again, up to three times; `replace`: the call
becomes one that prints why; `block`: a text takes its place; `hold`: an operator decides, `block`
when none does in time; `allow`: it is noted."""


class PolicyExampleRow(Row):
    """A tool of some model and client."""

    model: str = Field(description="The model, `provider:model` or `model`.")
    agent: str = Field(default="", description="The client's name.")
    tool: str = Field(description="The tool.")
    allowed: bool | None = Field(
        description="Whether the policy lets it be used; null = the policy is not for these."
    )


class PolicyRow(Row):
    """Which tools some models, asked by some clients, may use."""

    name: Name = Field(description="The policy.")
    enabled: bool = Field(default=True, description="false = it does not count.")
    model_pattern: Regex = Field(
        description="Searched for in `model` and in `provider:model`, as the client wrote it."
    )
    agent_pattern: Regex | None = Field(
        default=None, description="Searched for in the client's name; null = any client."
    )
    allowed_patterns: tuple[Regex, ...] = Field(
        default=(), description="Searched for in a tool's name: it may be used."
    )
    blocked_patterns: tuple[Regex, ...] = Field(
        default=(), description="Likewise: it may not, unless it is allowed."
    )
    default_policy: Literal["allow", "deny"] = Field(
        description="What holds for tools that no pattern names."
    )
    block_message: str | None = Field(
        default=None, description="Why not, for model and user; null = a plain sentence."
    )
    priority: int = Field(default=0, description="Of policies that fit the highest decides.")
    effect: Effect = Field(default="steer", description="What a call of such a tool meets.")
    examples: tuple[PolicyExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    def fits(self, provider: str, model: str, agent: str) -> bool:
        """Whether it is for this model, asked by this client (empty = unknown)."""
        named = model, f"{provider}:{model}" if provider else model
        if not any(self._model.search(text) for text in named):
            return False
        return self.agent_pattern is None or _any((self.agent_pattern,)).search(agent) is not None

    def allows(self, tool: str) -> bool:
        """Whether the tool may be used: allowed beats blocked beats the default."""
        if self.allowed_patterns and self._allowed.search(tool):
            return True
        if self.blocked_patterns and self._blocked.search(tool):
            return False
        return self.default_policy == "allow"

    @cached_property
    def _model(self) -> re.Pattern[str]:
        return _any((self.model_pattern,))

    @cached_property
    def _allowed(self) -> re.Pattern[str]:
        return _any(self.allowed_patterns)

    @cached_property
    def _blocked(self) -> re.Pattern[str]:
        return _any(self.blocked_patterns)


class TriggersRow(Row):
    """Which calls a rule is for; of all that is given something must hold."""

    tool_names: tuple[str, ...] = Field(
        default=(), description="Patterns (`*`) of tool names; empty = any tool."
    )
    phrases: tuple[str, ...] = Field(
        default=(), description="Words in the arguments, in any case; empty = any."
    )
    patterns: tuple[Linear, ...] = Field(
        default=(), description="Linear regular expressions in the arguments; empty = any."
    )
    unless: tuple[Linear, ...] = Field(
        default=(), description="Likewise; the rule is not for a call that has one of them."
    )
    extensions: tuple[str, ...] = Field(
        default=(), description="How a path among the arguments ends; empty = any."
    )


class RateLimitRow(Row):
    """How often a rule may speak; a call beyond that passes."""

    calls_per_window: int = Field(
        default=1, ge=1, le=1000, description="How often the rule acts in the window."
    )
    window_seconds: int = Field(default=60, ge=1, le=86400, description="How long the window is.")


class SteeringExampleRow(Row):
    """A call, and whether the rule is for it."""

    tool: str = Field(description="The tool.")
    arguments: str = Field(description="Its arguments, as JSON text.")
    applies: bool = Field(default=True, description="Whether the rule is for it.")


class SteeringRow(Row):
    """Calls that a model should make in another way."""

    name: Name = Field(description="The rule.")
    enabled: bool = Field(default=True, description="false = it does not count.")
    priority: int = Field(default=50, description="Of rules that fit the highest speaks.")
    triggers: TriggersRow = Field(description="Which calls.")
    message: str = Field(min_length=1, description="What the model is told to do instead.")
    effect: Effect = Field(default="steer", description="What such a call meets.")
    rate_limit: RateLimitRow | None = Field(
        default=RateLimitRow(),
        description="How often in one conversation; null = every time.",
    )
    examples: tuple[SteeringExampleRow, ...] = Field(default=(), description="Tried by the tests.")


def _any(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{pattern})" for pattern in patterns), re.IGNORECASE)
