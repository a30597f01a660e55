"""The shape of `rules/rewrites.yaml`: what is changed in a request before it is sent.

Everything is off or empty unless a file or a variable says otherwise.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from llmitm.canon.values import Json
from llmitm.ruleset.models import Effort
from llmitm.ruleset.rows import Name, Regex, Row, compiled

type Verbosity = Literal["low", "medium", "high"]
type Mode = Literal["high", "medium", "low", "none"]


def _lowered(pattern: str) -> str:
    if not pattern.strip():
        raise ValueError("an empty pattern fits no model")
    return pattern.lower()


ModelPattern = Annotated[str, AfterValidator(_lowered)]
"""A pattern (`*`, `?`) of `provider:model` or `model`; case is no matter."""


class ModelExampleRow(Row):
    """A model, and whether the row is for it."""

    model: str = Field(description="As `provider:model`.")
    applies: bool = Field(default=True, description="Whether the row is for it.")


class ModelDefaultsRow(Row):
    """What is asked of a model where the client, a selector and the chat say nothing."""

    name: Name = Field(description="The entry.")
    models: tuple[ModelPattern, ...] = Field(
        min_length=1, description="Patterns (`*`, `?`) of `provider:model` or `model`."
    )
    temperature: float | None = Field(default=None, ge=0, le=2, description="Temperature.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")
    top_k: int | None = Field(default=None, ge=1, le=1_000_000, description="Top-k sampling.")
    max_tokens: int | None = Field(default=None, ge=1, description="Output limit in tokens.")
    verbosity: Verbosity | None = Field(default=None, description="How long answers are.")
    reasoning_effort: Effort | None = Field(default=None, description="How hard to think.")
    thinking_budget: int | None = Field(
        default=None, ge=-1, description="Thinking tokens; 0 = none, -1 = as the model likes."
    )
    gemini_generation_config: Mapping[str, Json] = Field(
        default={}, description="Entries of Gemini's `generationConfig`, for Gemini's protocol."
    )
    loop_detection_enabled: bool | None = Field(
        default=None, description="Whether loops in the text are looked for; null = as usual."
    )
    tool_loop_detection_enabled: bool | None = Field(
        default=None, description="Whether loops of tool calls are looked for; null = as usual."
    )
    tool_loop_max_repeats: int | None = Field(
        default=None, ge=2, le=100, description="Equal tool calls in a row that are a loop."
    )
    tool_loop_ttl_s: int | None = Field(
        default=None, ge=1, le=86400, description="Seconds within which they count."
    )
    tool_loop_mode: Literal["break", "chance_then_break"] | None = Field(
        default=None, description="What a loop of tool calls meets."
    )
    examples: tuple[ModelExampleRow, ...] = Field(default=(), description="Tried by the tests.")


class ReasoningModeRow(Row):
    """What one mode asks for."""

    max_reasoning_tokens: int | None = Field(
        default=None, ge=-1, description="Thinking tokens; 0 = none, -1 = as the model likes."
    )
    reasoning_effort: Effort | None = Field(default=None, description="How hard to think.")
    user_prompt_prefix: str = Field(default="", description="Put before the user's last text.")
    user_prompt_suffix: str = Field(default="", description="Put after it.")
    temperature: float | None = Field(default=None, ge=0, le=2, description="Temperature.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")


class ReasoningAliasRow(Row):
    """What the commands max, medium, low and no-think mean for some models."""

    name: Name = Field(description="The entry.")
    models: tuple[ModelPattern, ...] = Field(
        min_length=1, description="Patterns (`*`, `?`) of `provider:model` or `model`."
    )
    high: ReasoningModeRow | None = Field(
        default=None, description="`max`; null = effort high, and so on for the others."
    )
    medium: ReasoningModeRow | None = Field(default=None, description="`medium`.")
    low: ReasoningModeRow | None = Field(default=None, description="`low`.")
    none: ReasoningModeRow | None = Field(default=None, description="`no-think`.")
    examples: tuple[ModelExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    def mode(self, mode: Mode) -> ReasoningModeRow | None:
        """What the mode asks for, None = just the effort of that name."""
        match mode:
            case "high":
                return self.high
            case "medium":
                return self.medium
            case "low":
                return self.low
            case "none":
                return self.none


_HEADER_TEXT = r"^[\x20-\x7e]*$"


class HeaderRow(Row):
    """One header that tells who calls."""

    mode: Literal["passthrough", "override", "default"] = Field(
        default="passthrough",
        description="As the client sent it, always `override_value`, or `default_value` where the "
        "client sent none.",
    )
    override_value: str = Field(default="", pattern=_HEADER_TEXT, description="For `override`.")
    default_value: str = Field(default="", pattern=_HEADER_TEXT, description="For `default`.")

    @model_validator(mode="after")
    def _check_value(self) -> Self:
        if self.mode == "override" and not self.override_value.strip():
            raise ValueError("mode override needs override_value")
        if self.mode == "default" and not self.default_value.strip():
            raise ValueError("mode default needs default_value")
        return self

    def value(self, sent: str) -> str:
        """The header's value, empty = it is not sent. sent: the client's, empty = it sent none."""
        if self.mode == "override":
            return self.override_value
        return (sent or self.default_value) if self.mode == "default" else sent


HEADER_NAMES: Mapping[str, str] = {
    "user_agent": "User-Agent",
    "url": "HTTP-Referer",
    "title": "X-Title",
}
"""Field of an identity -> the header it is sent in."""


class ProviderIdentityRow(Row):
    """Who calls, for one provider."""

    name: Name = Field(description="The provider.")
    user_agent: HeaderRow | None = Field(default=None, description="null = as for all.")
    url: HeaderRow | None = Field(default=None, description="null = as for all.")
    title: HeaderRow | None = Field(default=None, description="null = as for all.")


class IdentityExampleRow(Row):
    """Headers as a client sends them, and what a provider gets."""

    provider: str = Field(description="Where they go.")
    sent: Mapping[str, str] = Field(default={}, description="By the client: name -> value.")
    becomes: Mapping[str, str] = Field(default={}, description="What of the three is sent.")


class IdentityRow(Row):
    """Who a provider is told is calling."""

    user_agent: HeaderRow = Field(default=HeaderRow(), description="`User-Agent`.")
    url: HeaderRow = Field(default=HeaderRow(), description="`HTTP-Referer`.")
    title: HeaderRow = Field(default=HeaderRow(), description="`X-Title`.")
    providers: tuple[ProviderIdentityRow, ...] = Field(
        default=(), description="Where one provider is told something else."
    )
    examples: tuple[IdentityExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    def headers(self, provider: str) -> tuple[tuple[str, HeaderRow], ...]:
        """(header, what becomes of it) for a provider; empty = all pass as the client sent them."""
        return self._by_provider.get(provider, self._usual)

    @cached_property
    def _usual(self) -> tuple[tuple[str, HeaderRow], ...]:
        return self._active(None)

    @cached_property
    def _by_provider(self) -> Mapping[str, tuple[tuple[str, HeaderRow], ...]]:
        return {row.name: self._active(row) for row in self.providers}

    def _active(self, own: ProviderIdentityRow | None) -> tuple[tuple[str, HeaderRow], ...]:
        rows = (
            (header, getattr(own, name, None) or getattr(self, name))
            for name, header in HEADER_NAMES.items()
        )
        return tuple((header, row) for header, row in rows if row.mode != "passthrough")


class AuxiliaryExampleRow(Row):
    """A request, and whether it is a side call."""

    text: str = Field(description="What the user's messages say.")
    instructions: str = Field(default="", description="What the instructions say.")
    client: str = Field(default="", description="The client's name, empty = unknown.")
    messages: int = Field(default=1, ge=0, description="System and user messages.")
    tools: bool = Field(default=False, description="Whether tools are on offer.")
    auxiliary: bool = Field(default=True, description="Whether it is a side call.")


class AuxiliaryClientRow(Row):
    """How one client's side calls are known."""

    name: Name = Field(description="The client, as in clients.yaml.")
    instructions: Regex = Field(description="Searched for in the instructions.")


class AuxiliaryRow(Row):
    """Titles and summaries, written by a cheap model."""

    enabled: bool = Field(default=False, description="true = they go to `target`.")
    target: str | None = Field(
        default=None, min_length=1, description="`provider:model`, or several as `A|B`."
    )
    max_message_count: int = Field(
        default=3, ge=1, le=100, description="More system and user messages are a real talk."
    )
    with_tools: bool = Field(
        default=False, description="true = also requests that offer tools, as real work does."
    )
    patterns: tuple[Regex, ...] = Field(
        default=(), description="Searched for in system and user text, case is no matter."
    )
    clients: tuple[AuxiliaryClientRow, ...] = Field(
        default=(), description="What known clients write into the instructions of side calls."
    )
    examples: tuple[AuxiliaryExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    @model_validator(mode="after")
    def _check_target(self) -> Self:
        if self.enabled and self.target is None:
            raise ValueError("enabled needs a target")
        return self

    def fits(self, messages: int, tools: bool) -> bool:
        """Whether a request of this size may be a side call at all: asked before its text is."""
        return messages <= self.max_message_count and (self.with_tools or not tools)

    def tells(self, client: str, instructions: str, text: str) -> str:
        """What in it tells a side call, empty = nothing does. text: of system and user messages."""
        for row in self.clients:
            if row.name == client and compiled(row.instructions).search(instructions):
                return f"{client}'s side call"
        for pattern in self._compiled:
            found = pattern.search(instructions) or pattern.search(text)
            if found is not None:
                return f"{' '.join(found[0].split())[:60]!r}"
        return ""

    @cached_property
    def _compiled(self) -> tuple[re.Pattern[str], ...]:
        return tuple(re.compile(pattern, re.IGNORECASE) for pattern in self.patterns)


class OverridesRow(Row):
    """What is asked of the strong model, over what the client asks for."""

    temperature: float | None = Field(default=None, ge=0, le=2, description="Temperature.")
    top_p: float | None = Field(default=None, ge=0, le=1, description="Nucleus sampling.")
    reasoning_effort: Effort | None = Field(default=None, description="How hard to think.")
    thinking_budget: int | None = Field(
        default=None, ge=-1, description="Thinking tokens; 0 = none, -1 = as the model likes."
    )


class PlanningExampleRow(Row):
    """A conversation's counters, and whether its next request goes to the strong model."""

    model_turns: int = Field(ge=0, description="Answered requests so far.")
    file_writes: int = Field(default=0, ge=0, description="Tool calls that wrote, so far.")
    strong: bool = Field(description="Whether the strong model is asked.")


class PlanningRow(Row):
    """A strong model for the beginning of a conversation, while nothing is written yet."""

    enabled: bool = Field(default=False, description="true = early turns go to `strong_model`.")
    strong_model: str | None = Field(
        default=None, min_length=1, description="`provider:model`; a plain model stays where it is."
    )
    max_turns: int = Field(default=10, ge=1, description="Answers after which the phase is over.")
    max_file_writes: int = Field(
        default=1,
        ge=0,
        description="Tool calls that write files after which it is over; 0 = writes never end it, "
        "only `max_turns` does.",
    )
    overrides: OverridesRow = Field(
        default=OverridesRow(), description="Asked of the strong model, as with `?…` behind it."
    )
    examples: tuple[PlanningExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    @model_validator(mode="after")
    def _check_model(self) -> Self:
        if self.enabled and self.strong_model is None:
            raise ValueError("enabled needs a strong_model")
        return self

    def lasts(self, model_turns: int, file_writes: int) -> bool:
        """Whether the phase is still on."""
        wrote = self.max_file_writes > 0 and file_writes >= self.max_file_writes
        return model_turns < self.max_turns and not wrote


class RewritesFile(Row):
    """`rules/rewrites.yaml`."""

    model_defaults: tuple[ModelDefaultsRow, ...] = Field(
        default=(), description="What is asked of models by default; first match wins."
    )
    reasoning_aliases: tuple[ReasoningAliasRow, ...] = Field(
        default=(), description="What max, medium, low and no-think mean; first match wins."
    )
    thinking_budget: int | None = Field(
        default=None,
        ge=-1,
        description="Thinking tokens for every request, whatever asks for something else; 0 = no "
        "thinking, -1 = as the model likes. The chat cannot change it.",
    )
    identity: IdentityRow = Field(default=IdentityRow(), description="Who is calling.")
    auxiliary: AuxiliaryRow = Field(default=AuxiliaryRow(), description="Titles and summaries.")
    planning: PlanningRow = Field(default=PlanningRow(), description="A strong beginning.")

    @cached_property
    def shapes(self) -> bool:
        """Whether anything here changes requests by their model alone."""
        return bool(self.model_defaults) or self.thinking_budget is not None

    @property
    def locks_reasoning(self) -> bool:
        """Whether the commands reasoning-effort and thinking-budget have nothing to say."""
        return self.thinking_budget is not None

    def defaults(self, provider: str, model: str) -> ModelDefaultsRow | None:
        """What is asked of this model by default, None = nothing is."""
        return first_fit(self._defaults, provider, model) if self.model_defaults else None

    def reasoning(self, provider: str, model: str, mode: Mode) -> ReasoningModeRow | None:
        """What a mode means for this model, None = just the effort of that name."""
        row = first_fit(self._aliases, provider, model) if self.reasoning_aliases else None
        return None if row is None else row.mode(mode)

    @cached_property
    def _defaults(self) -> tuple[tuple[re.Pattern[str], ModelDefaultsRow], ...]:
        return tuple((model_pattern(row.models), row) for row in self.model_defaults)

    @cached_property
    def _aliases(self) -> tuple[tuple[re.Pattern[str], ReasoningAliasRow], ...]:
        return tuple((model_pattern(row.models), row) for row in self.reasoning_aliases)


def is_for(row: ModelDefaultsRow | ReasoningAliasRow, provider: str, model: str) -> bool:
    """Whether the row's patterns fit the model."""
    return first_fit(((model_pattern(row.models), row),), provider, model) is not None


def model_pattern(models: Iterable[str]) -> re.Pattern[str]:
    """One pattern for all of these."""
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in models))


def first_fit[T](rows: Iterable[tuple[re.Pattern[str], T]], provider: str, model: str) -> T | None:
    """The first row whose pattern fits `provider:model` or the model alone, None = none does."""
    name = model.lower()
    full = f"{provider}:{name}"
    for pattern, row in rows:
        if pattern.match(full) or pattern.match(name):
            return row
    return None
