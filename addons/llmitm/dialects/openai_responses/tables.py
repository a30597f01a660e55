"""The Responses protocol as data: names, events, finish words, error codes.

Never: code that reads or writes a body. Source: OpenAI API reference, Responses and Responses
streaming events; recorded exchanges of OpenAI, Azure, xAI and DeepSeek.
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Final, Literal

from llmitm.canon.events import FaultKind, FinishReason

NAME: Final = "openai_responses"

FAMILY: Final = frozenset({"openai_responses", "openai_chat"})
"""Protocols of one provider family, whose file ids and top-level fields are the same."""

ROLES: Final = frozenset({"system", "developer", "user", "assistant"})

TEXT_PARTS: Final = frozenset({"input_text", "output_text", "text"})
"""Content parts that hold plain text under `text`."""

CALL_ITEMS: Final = MappingProxyType(
    {"function_call": ("function", "arguments"), "custom_tool_call": ("custom", "input")}
)
"""Item type -> (canon kind of call, the field with its arguments)."""

RESULT_ITEMS: Final = MappingProxyType(
    {"function_call_output": "function", "custom_tool_call_output": "custom"}
)

CALL_TYPES: Final = MappingProxyType({"function": "function_call", "custom": "custom_tool_call"})
CALL_FIELDS: Final = MappingProxyType({"function": "arguments", "custom": "input"})
RESULT_TYPES: Final = MappingProxyType(
    {"function": "function_call_output", "custom": "custom_tool_call_output"}
)

LOGPROBS_INCLUDE: Final = "message.output_text.logprobs"
ENCRYPTED_INCLUDE: Final = "reasoning.encrypted_content"

SAMPLING: Final = MappingProxyType(
    {
        "temperature": "temperature",
        "top_p": "top_p",
        "max_tokens": "max_output_tokens",
        "top_logprobs": "top_logprobs",
    }
)
"""Canon sampling field -> wire key."""

INTEGERS: Final = frozenset({"max_tokens", "top_logprobs"})

SAMPLING_LOST: Final = (
    "top_k",
    "frequency_penalty",
    "presence_penalty",
    "seed",
    "stop",
    "n",
)
"""Canon sampling fields that the protocol cannot say."""

SAME_IN_CHAT: Final = frozenset(
    {
        "metadata",
        "moderation",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "user",
    }
)
"""Top-level keys that mean the same in Chat Completions."""

SERVICE_TIERS: Final = MappingProxyType({"auto": "auto", "standard_only": "default"})
"""Anthropic's `service_tier` -> this protocol's."""

SHOWN_BY: Final = MappingProxyType(
    {
        "auto": "auto",
        "concise": "concise",
        "detailed": "detailed",
        "true": "auto",
        "summarized": "auto",
        "false": None,
        "omitted": None,
        "none": None,
    }
)
"""Any protocol's word for how reasoning is shown -> `reasoning.summary`; unknown words: `auto`."""

IMAGE_DETAILS: Final = frozenset({"auto", "low", "high", "original"})

FLAT_ANNOTATIONS: Final = frozenset(
    {"url_citation", "file_citation", "container_file_citation", "file_path"}
)

BEGINNINGS = ("response.created", "response.queued", "response.in_progress")
"""Events that hold the response object before it has any output."""

TERMINAL_EVENTS: Final = frozenset(
    {
        "response.completed",
        "response.incomplete",
        "response.failed",
        "response.cancelled",
        "response.done",
    }
)

REASONING_EVENTS: Final = (
    "response.reasoning_summary_part.added",
    "response.reasoning_summary_part.done",
    "response.reasoning_summary_text.delta",
    "response.reasoning_summary_text.done",
    "response.reasoning_text.delta",
    "response.reasoning_text.done",
)

DONE_FIELDS: Final = MappingProxyType(
    {
        "response.output_text.done": "text",
        "response.refusal.done": "refusal",
        "response.function_call_arguments.done": "arguments",
        "response.custom_tool_call_input.done": "input",
    }
)
"""Events that repeat a whole text -> the field that holds it."""

FINISH_BY_DETAIL: Final[MappingProxyType[str, FinishReason]] = MappingProxyType(
    {
        "max_output_tokens": "length",
        "max_tokens": "length",
        "max_prompt_tokens": "length",
        "content_filter": "content_filter",
    }
)
"""`incomplete_details.reason` -> canon."""

type _Ending = tuple[Literal["completed", "incomplete", "failed"], str | None]

STATUS_BY_FINISH: Final[MappingProxyType[FinishReason, _Ending]] = MappingProxyType(
    {
        "stop": ("completed", None),
        "tool_calls": ("completed", None),
        "refusal": ("completed", None),
        "pause": ("completed", None),
        "unknown": ("completed", None),
        "length": ("incomplete", "max_output_tokens"),
        "content_filter": ("incomplete", "content_filter"),
        "error": ("failed", None),
    }
)
"""Canon finish -> (`status`, `incomplete_details.reason`)."""

FAULT_BY_CODE: Final[MappingProxyType[str, FaultKind]] = MappingProxyType(
    {
        "context_length_exceeded": "context_length",
        "string_above_max_length": "context_length",
        "invalid_api_key": "authentication",
        "invalid_authentication": "authentication",
        "account_deactivated": "permission",
        "unsupported_country_region_territory": "permission",
        "insufficient_quota": "billing",
        "billing_hard_limit_reached": "billing",
        "billing_not_active": "billing",
        "usage_not_included": "billing",
        "usage_limit_reached": "rate_limit",
        "rate_limit_exceeded": "rate_limit",
        "model_not_found": "not_found",
        "not_found": "not_found",
        "previous_response_not_found": "not_found",
        "DeploymentNotFound": "not_found",
        "server_is_overloaded": "overloaded",
        "slow_down": "overloaded",
        "engine_overloaded": "overloaded",
        "vector_store_timeout": "timeout",
        "timeout": "timeout",
        "server_error": "server",
        "invalid_prompt": "invalid_request",
        "request_too_large": "too_large",
    }
)

FAULT_BY_TYPE: Final[MappingProxyType[str, FaultKind]] = MappingProxyType(
    {
        "invalid_request_error": "invalid_request",
        "authentication_error": "authentication",
        "permission_error": "permission",
        "permission_denied": "permission",
        "not_found_error": "not_found",
        "insufficient_quota": "billing",
        "billing_error": "billing",
        "requests": "rate_limit",
        "tokens": "rate_limit",
        "rate_limit_error": "rate_limit",
        "usage_limit_reached": "rate_limit",
        "too_many_requests": "rate_limit",
        "overloaded_error": "overloaded",
        "service_unavailable_error": "unavailable",
        "timeout_error": "timeout",
        "server_error": "server",
        "api_error": "server",
        "internal_server_error": "server",
    }
)

TYPE_AND_CODE: Final[MappingProxyType[FaultKind, tuple[str, str | None]]] = MappingProxyType(
    {
        "invalid_request": ("invalid_request_error", None),
        "authentication": ("invalid_request_error", "invalid_api_key"),
        "permission": ("permission_error", "permission_denied"),
        "billing": ("insufficient_quota", "insufficient_quota"),
        "not_found": ("invalid_request_error", "not_found"),
        "too_large": ("invalid_request_error", "request_too_large"),
        "context_length": ("invalid_request_error", "context_length_exceeded"),
        "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
        "overloaded": ("service_unavailable_error", "server_is_overloaded"),
        "timeout": ("server_error", "timeout"),
        "unavailable": ("service_unavailable_error", "service_unavailable"),
        "server": ("server_error", "server_error"),
        "cannot_express": ("invalid_request_error", "cannot_express"),
    }
)
"""Fault kind -> (`error.type`, `error.code` where the fault brings none)."""

TELLING = re.compile(
    rb"response\.(created|in_progress|queued|completed|incomplete|failed)|output_item|error"
)
"""See `Dialect.telling`."""
