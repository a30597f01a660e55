"""The shape of `rules/loops.yaml`: when a model goes round in circles, and what happens then."""

from __future__ import annotations

import re
from functools import cached_property
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from llmitm.ruleset.rewrites import (
    ModelExampleRow,
    ModelPattern,
    first_fit,
    model_pattern,
)
from llmitm.ruleset.rows import Name, Row

type ContentMode = Literal["cut", "steer", "ask"]
type ToolMode = Literal["break", "chance_then_break"]


def _tool_mode(value: object) -> object:
    return "chance_then_break" if value == "chance" else value


ToolModeField = Annotated[ToolMode, BeforeValidator(_tool_mode)]
"""`chance` is short for `chance_then_break`."""


class ContentModelRow(Row):
    """What is different for some models."""

    name: Name = Field(description="The entry.")
    models: tuple[ModelPattern, ...] = Field(
        min_length=1, description="Patterns (`*`, `?`) of `provider:model` or `model`."
    )
    enabled: bool | None = Field(default=None, description="null = as for all.")
    mode: ContentMode | None = Field(default=None, description="null = as for all.")
    examples: tuple[ModelExampleRow, ...] = Field(default=(), description="Tried by the tests.")


class ContentExampleRow(Row):
    """An answer, and whether it is a loop."""

    name: Name = Field(description="The example.")
    before: str = Field(default="", description="Its beginning.")
    text: str = Field(description="What comes again and again; `{n}` counts.")
    times: int = Field(default=100, ge=1, le=10000, description="How often.")
    loop: bool = Field(default=True, description="Whether that is a loop.")
    within: int | None = Field(
        default=None, ge=1, description="Characters of the loop within which it is found."
    )


class ContentRow(Row):
    """Loops in the visible text of an answer. Lengths in characters."""

    enabled: bool = Field(default=True, description="false = text is not looked at.")
    mode: ContentMode = Field(
        default="cut",
        description="`cut`: the answer ends with a line that says why; `steer`: the model is asked "
        "once more, then `cut`; `ask`: an operator decides, `cut` when none does in time.",
    )
    buffer_size: int = Field(
        default=2048, ge=256, le=65536, description="How far back a loop is looked for."
    )
    max_pattern_length: int = Field(
        default=500, ge=60, le=8192, description="The longest unit of a loop."
    )
    content_chunk_size: int = Field(
        default=50, ge=16, le=1000, description="The window that is compared."
    )
    content_loop_threshold: int = Field(
        default=10, ge=3, le=100, description="How often a window must come."
    )
    max_history_length: int = Field(
        default=1000, ge=100, le=65536, description="How far back windows are counted."
    )
    models: tuple[ContentModelRow, ...] = Field(
        default=(), description="What is different for some models; first match wins."
    )
    examples: tuple[ContentExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    def row(self, provider: str, model: str) -> ContentModelRow | None:
        """What is different for this model, None = nothing is."""
        return first_fit(self._rows, provider, model) if self.models else None

    @cached_property
    def _rows(self) -> tuple[tuple[re.Pattern[str], ContentModelRow], ...]:
        return tuple((model_pattern(row.models), row) for row in self.models)


class ToolModelRow(Row):
    """What is different for some models."""

    name: Name = Field(description="The entry.")
    models: tuple[ModelPattern, ...] = Field(
        min_length=1, description="Patterns (`*`, `?`) of `provider:model` or `model`."
    )
    enabled: bool | None = Field(default=None, description="null = as for all.")
    max_repeats: int | None = Field(default=None, ge=2, le=1000, description="null = as for all.")
    ttl_s: int | None = Field(default=None, ge=1, le=86400, description="null = as for all.")
    mode: ToolModeField | None = Field(default=None, description="null = as for all.")
    examples: tuple[ModelExampleRow, ...] = Field(default=(), description="Tried by the tests.")


class ToolCallExampleRow(Row):
    """One call that was made."""

    tool: str = Field(description="The tool.")
    arguments: str = Field(default="{}", description="Its arguments, as JSON text.")
    result: str = Field(default="ok", description="What it gave.")
    at_s: float = Field(default=0, ge=0, description="When, in seconds.")


class ToolExampleRow(Row):
    """Calls after one user message, and which of them is stopped first."""

    name: Name = Field(description="The example.")
    calls: tuple[ToolCallExampleRow, ...] = Field(min_length=1, description="Oldest first.")
    times: int = Field(default=1, ge=1, le=100, description="How often all of them, in this order.")
    stopped: int | None = Field(
        default=None, ge=1, description="The number of the first that is stopped; null = none is."
    )


class ToolsRow(Row):
    """Loops of tool calls: the same tool with the same arguments."""

    enabled: bool = Field(default=True, description="false = calls are not looked at.")
    max_repeats: int = Field(
        default=4, ge=2, le=1000, description="The call of this number is stopped."
    )
    ttl_s: int = Field(
        default=120, ge=1, le=86400, description="Seconds within which equal calls count."
    )
    mode: ToolModeField = Field(
        default="break",
        description="`break`: a text takes the call's place; `chance_then_break`: the model is "
        "first asked to change its approach.",
    )
    interleaved: Literal["same_results", "any", "never"] = Field(
        default="same_results",
        description="Whether equal calls with others between them count: only while all their "
        "results are the same too, always, or never.",
    )
    models: tuple[ToolModelRow, ...] = Field(
        default=(), description="What is different for some models; first match wins."
    )
    examples: tuple[ToolExampleRow, ...] = Field(default=(), description="Tried by the tests.")

    def row(self, provider: str, model: str) -> ToolModelRow | None:
        """What is different for this model, None = nothing is."""
        return first_fit(self._rows, provider, model) if self.models else None

    @cached_property
    def _rows(self) -> tuple[tuple[re.Pattern[str], ToolModelRow], ...]:
        return tuple((model_pattern(row.models), row) for row in self.models)


class LoopsFile(Row):
    """`rules/loops.yaml`."""

    content: ContentRow = Field(default=ContentRow(), description="Loops in the text.")
    tools: ToolsRow = Field(default=ToolsRow(), description="Loops of tool calls.")
