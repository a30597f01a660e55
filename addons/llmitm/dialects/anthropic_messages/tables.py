"""What the Messages API calls things: names, limits and mappings as data, no behaviour.

Source: Anthropic API reference (Messages, streaming, errors, extended and adaptive thinking,
structured outputs).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from llmitm.canon.events import FaultKind, FinishReason
from llmitm.canon.values import Path

NAME = "anthropic_messages"

FINISH: Mapping[str, FinishReason] = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "tool_use": "tool_calls",
        "pause_turn": "pause",
        "compaction": "pause",
        "refusal": "refusal",
    }
)
"""Wire `stop_reason` -> canon."""

STOP_REASONS: Mapping[FinishReason, str] = MappingProxyType(
    {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
        "refusal": "refusal",
        "pause": "pause_turn",
        "error": "end_turn",
        "unknown": "end_turn",
    }
)
"""Canon -> wire `stop_reason`, for answers of other protocols."""

FAULT_KINDS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "invalid_request_error": "invalid_request",
        "authentication_error": "authentication",
        "billing_error": "billing",
        "permission_error": "permission",
        "not_found_error": "not_found",
        "request_too_large": "too_large",
        "rate_limit_error": "rate_limit",
        "timeout_error": "timeout",
        "api_error": "server",
        "overloaded_error": "overloaded",
    }
)
"""Wire `error.type` -> canon."""

ERROR_TYPES: Mapping[FaultKind, str] = MappingProxyType(
    {
        "invalid_request": "invalid_request_error",
        "authentication": "authentication_error",
        "billing": "billing_error",
        "permission": "permission_error",
        "not_found": "not_found_error",
        "too_large": "request_too_large",
        "context_length": "invalid_request_error",
        "rate_limit": "rate_limit_error",
        "overloaded": "overloaded_error",
        "timeout": "timeout_error",
        "unavailable": "api_error",
        "server": "api_error",
        "cannot_express": "invalid_request_error",
    }
)
"""Canon -> wire `error.type`."""

ROUTING_ERROR = "routing_error"
"""`error.type` of a fault that llmitm's own routing tells (`Fault.details` is filled)."""

CONTEXT_LENGTH = re.compile(r"prompt is too long|exceeds? (the )?context (limit|window)", re.I)
"""What messages say that make agents shorten their history."""

CONTEXT_LENGTH_WORDS = "prompt is too long"

MIN_BUDGET = 1024
"""The least `thinking.budget_tokens`."""

EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""The words that `output_config.effort` takes."""

ADAPTIVE_MODELS = re.compile(
    r"claude-(opus|sonnet)-4-[6-9]|claude-(opus|sonnet|haiku)-[5-9]|claude-(fable|mythos)", re.I
)
"""Models that take `thinking.type: adaptive` (and, from Opus 4.7 on, nothing else), where no
family says so: the same as in `rules/models.yaml`. The fact `thinking` = `adaptive` or `budget`
goes before the family, which goes before this pattern."""

THINKING_MODES: Mapping[str, Literal["on", "off", "adaptive"]] = MappingProxyType(
    {"enabled": "on", "disabled": "off", "adaptive": "adaptive"}
)
THINKING_TYPES = MappingProxyType({mode: word for word, mode in THINKING_MODES.items()})

SHOWN = MappingProxyType({"false": "omitted", "none": "omitted", "omitted": "omitted"})
"""Other protocols' wishes about showing thoughts -> `thinking.display`; the rest: summarized."""

TOOL_MODES: Mapping[str, Literal["auto", "none", "required", "named"]] = MappingProxyType(
    {"auto": "auto", "any": "required", "tool": "named", "none": "none"}
)
TOOL_CHOICE_TYPES = MappingProxyType({mode: word for word, mode in TOOL_MODES.items()})

SERVICE_TIERS = MappingProxyType({"auto": "auto", "default": "standard_only"})
"""Other protocols' `service_tier` -> ours."""

SERVER_CALLS = frozenset({"server_tool_use", "mcp_tool_use"})

IMAGE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

CALL_ID = re.compile(r"[a-zA-Z0-9_-]+")
NOT_IN_CALL_ID = re.compile(r"[^a-zA-Z0-9_-]")

FINISH_FIELDS = ("stop_details", "container", "context_management")
"""Message fields that a stream tells at its end: `Finish.extras`."""

DELTA_EVENT_FIELDS = frozenset({"context_management"})
"""Of these, the ones that stand beside `delta` in a `message_delta` event, not within."""

SCALARS: Mapping[str, Path] = MappingProxyType(
    {
        "model": ("model",),
        "stream": ("stream",),
        "sampling.temperature": ("temperature",),
        "sampling.top_p": ("top_p",),
        "sampling.top_k": ("top_k",),
        "sampling.max_tokens": ("max_tokens",),
        "sampling.stop": ("stop_sequences",),
        "tool_choice": ("tool_choice",),
        "parallel_tool_calls": ("tool_choice",),
        "reasoning.mode": ("thinking",),
        "reasoning.budget_tokens": ("thinking",),
        "reasoning.show": ("thinking",),
        "reasoning.extras": ("thinking",),
        "reasoning.effort": ("output_config", "effort"),
        "response_format": ("output_config", "format"),
        "instructions": ("system",),
    }
)
"""Canon attribute -> where a request keeps it, for edits in place."""

TELLING = re.compile(rb"message_(start|delta|stop)|content_block_start|error")
"""See `Dialect.telling`."""
