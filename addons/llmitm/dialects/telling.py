"""Which fields of another protocol tell anything, so that leaving them out is a loss worth saying.

A null, an empty container, the name of a form, a number that only counts places: nothing is lost
with them. Nor with the settings that an answer repeats from its own request.
Source: OpenAI API reference, the response object and its items; Chat, tool calls.
"""

from __future__ import annotations

from llmitm.canon.events import Event, Opaque, PartStart
from llmitm.canon.values import Extras, Json, Loss

AFTER_END = "after the end of the answer"
"""What a loss says of an answer that went on after its end."""

_FORM_ONLY = frozenset({"type", "object", "index", "status", "id", "role", "content", "item"})
"""Keys that tell wire forms, places and items apart. `item` holds such keys of a part's item."""

_FULFILLED: tuple[tuple[str, Json], ...] = (
    # No other protocol keeps answers.
    ("store", False),
    ("truncation", "disabled"),
)
"""Wishes that every protocol fulfils without being told."""

_SAID_ELSEWHERE = ("reasoning.encrypted_content", "message.output_text.logprobs")
"""Entries of `include` that canon has a field for, or that come without being asked for."""

_ECHOES = frozenset(
    {
        "background",
        "billing",
        "completed_at",
        "frequency_penalty",
        "incomplete_details",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "moderation",
        "object",
        "obfuscation",
        "parallel_tool_calls",
        "presence_penalty",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "seed",
        "status",
        "store",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    }
)
"""What an answer repeats of its request, or says of nothing but its own form."""


def tells(key: str, value: Json) -> bool:
    """Whether this field of a request, a message, a part or a tool says something."""
    if value is None or value in ("", [], {}):
        return False
    if key == "item" and isinstance(value, dict):
        return any(tells(inner, said) for inner, said in value.items())
    # Only where they are what such keys usually are: a short word or a number.
    if key in _FORM_ONLY and isinstance(value, str | int | float):
        return False
    if key == "include" and isinstance(value, list):
        return any(entry not in _SAID_ELSEWHERE for entry in value)
    return (key, value) not in _FULFILLED


def telling(extras: Extras) -> list[str]:
    """The keys of these extras of another protocol that say something."""
    if not extras:
        return []
    # Most of what is told is nothing: nulls and empty containers, seen here without a call.
    return [
        key
        for key, value in extras.items()
        if (value or isinstance(value, int | float)) and tells(key, value)
    ]


def told_anew(extras: Extras) -> list[str]:
    """As `telling`, of an answer's own fields: what its request said already tells nothing."""
    return [
        key
        for key in telling(extras)
        if key not in _ECHOES
        and (key, extras[key]) != ("service_tier", "default")
        and not (key == "tool_usage" and _is_zero(extras[key]))
    ]


def _is_zero(value: Json) -> bool:
    if isinstance(value, dict):
        return all(_is_zero(inner) for inner in value.values())
    return value is None or value == 0


def tell_late(event: Event, target: str, losses: list[Loss]) -> None:
    """Notes, once, that an answer went on after its end: no protocol has two answers in one."""
    if isinstance(event, PartStart | Opaque):
        loss = Loss("event.unknown", "", target, say=AFTER_END)
        if loss not in losses:
            losses.append(loss)
