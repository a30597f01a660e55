"""What holds for one turn: the rules, the model's own, and what was set in the chat over both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from llmitm.ruleset.loops import ToolMode, ToolsRow
from llmitm.ruleset.rewrites import ModelDefaultsRow
from llmitm.stages.asked import asked_of
from llmitm.stages.contract import Turn


@dataclass(frozen=True, slots=True)
class Limits:
    """What a loop of tool calls is, and what it meets."""

    max_repeats: int
    ttl_s: int
    mode: ToolMode
    interleaved: Literal["same_results", "any", "never"]


def limits_of(
    turn: Turn, rules: ToolsRow, defaults_of: Callable[[str, str], ModelDefaultsRow | None]
) -> Limits | None:
    """What holds, None = loops of tool calls are not looked for."""
    provider, model = asked_of(turn)
    said = turn.conversation.settings
    defaults, row = defaults_of(provider, model), rules.row(provider, model)
    if not _first(
        rules.enabled,
        said.tool_loop_detection,
        defaults and defaults.tool_loop_detection_enabled,
        row and row.enabled,
    ):
        return None
    return Limits(
        _first(
            rules.max_repeats,
            said.tool_loop_max_repeats,
            defaults and defaults.tool_loop_max_repeats,
            row and row.max_repeats,
        ),
        _first(
            rules.ttl_s,
            said.tool_loop_ttl_s,
            defaults and defaults.tool_loop_ttl_s,
            row and row.ttl_s,
        ),
        _first(
            rules.mode,
            said.tool_loop_mode,
            defaults and defaults.tool_loop_mode,
            row and row.mode,
        ),
        rules.interleaved,
    )


def _first[T](usual: T, *tiers: T | None) -> T:
    """The first tier that says anything, else the usual."""
    return next((tier for tier in tiers if tier is not None), usual)
