"""Names, words and places of the OpenAI Chat Completions protocol and of its dialects: data only.

Sources: OpenAI API reference (Chat, Streaming, Error codes), and the references of Azure OpenAI,
OpenRouter, Mistral, DeepSeek, Groq, xAI, Z.ai, Together, Ollama (OpenAI compatibility), vLLM.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from llmitm.canon.events import FaultKind, FinishReason
from llmitm.canon.values import Path

NAME = "openai_chat"

OPENAI_DIALECTS = frozenset({"openai_chat", "openai_responses"})
"""Protocols of one provider family, whose file ids and top-level fields are the same."""

ROLES = frozenset({"system", "developer", "user", "assistant", "tool"})

REASONING_FIELDS = ("reasoning_content", "reasoning")
"""Where readable thinking stands in a message or delta, the usual one first."""

FINISH: Mapping[str, FinishReason] = MappingProxyType(
    {
        "stop": "stop",
        "eos": "stop",
        "eos_token": "stop",
        "end_turn": "stop",
        "stop_sequence": "stop",
        "length": "length",
        "max_tokens": "length",
        "model_length": "length",
        "tool_calls": "tool_calls",
        "tool_use": "tool_calls",
        "function_call": "tool_calls",
        "content_filter": "content_filter",
        "sensitive": "content_filter",
        "refusal": "refusal",
        "error": "error",
        "network_error": "error",
        "insufficient_system_resource": "error",
    }
)

FINISH_WORD: Mapping[FinishReason, str] = MappingProxyType(
    {
        "stop": "stop",
        "length": "length",
        "tool_calls": "tool_calls",
        "content_filter": "content_filter",
        "refusal": "stop",
        "pause": "stop",
        "error": "stop",
        "unknown": "stop",
    }
)
"""The word the protocol has for a reason; several reasons have to share one."""

SHARED_REASONS = frozenset({"refusal", "pause", "error"})
"""Reasons whose word says less than the reason."""

NUMBERS: Mapping[str, tuple[str, bool]] = MappingProxyType(
    {
        "temperature": ("temperature", False),
        "top_p": ("top_p", False),
        "top_k": ("top_k", True),
        "frequency_penalty": ("frequency_penalty", False),
        "presence_penalty": ("presence_penalty", False),
        "seed": ("seed", True),
        "n": ("n", True),
        "top_logprobs": ("top_logprobs", True),
    }
)
"""Sampling attribute -> (wire key, whether it must be a whole number)."""

MAX_TOKENS_FIELDS = ("max_completion_tokens", "max_tokens")

SCALARS: Mapping[str, Path] = MappingProxyType(
    {
        "model": ("model",),
        "stream": ("stream",),
        "stream_usage": ("stream_options", "include_usage"),
        "parallel_tool_calls": ("parallel_tool_calls",),
        "verbosity": ("verbosity",),
        "sampling.stop": ("stop",),
        "sampling.logprobs": ("logprobs",),
        **{f"sampling.{name}": (key,) for name, (key, _) in NUMBERS.items()},
    }
)

READ_KEYS = frozenset({"model", "messages", "stream", "tools", "functions"})
"""Request keys that never stay in extras when their type is right."""

AUDIO_MIME: Mapping[str, str] = MappingProxyType(
    {
        "wav": "audio/wav",
        "mp3": "audio/mpeg",
        "flac": "audio/flac",
        "opus": "audio/opus",
        "ogg": "audio/ogg",
        "aac": "audio/aac",
        "m4a": "audio/mp4",
        "pcm16": "audio/L16",
    }
)

AUDIO_FORMAT: Mapping[str, str] = MappingProxyType(
    {mime: name for name, mime in AUDIO_MIME.items()}
    | {"audio/x-wav": "wav", "audio/wave": "wav", "audio/vnd.wave": "wav", "audio/mp3": "mp3"}
)

FOREIGN_FIELDS = frozenset(
    {
        "user",
        "metadata",
        "service_tier",
        "store",
        "prompt_cache_key",
        "prompt_cache_retention",
        "safety_identifier",
    }
)
"""Keys of other OpenAI protocols that mean the same here."""

SERVICE_TIERS: Mapping[str, str] = MappingProxyType({"auto": "auto", "standard_only": "default"})
"""Anthropic's service tiers in this protocol's words."""

CHUNK_KEYS = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "error", "obfuscation", "p"}
)
"""Top-level keys of a chunk that are understood; `obfuscation` and `p` are padding."""

CHOICE_KEYS = frozenset({"index", "delta", "message", "finish_reason", "logprobs"})

DELTA_KEYS = frozenset(
    {
        "role",
        "content",
        "refusal",
        "reasoning_content",
        "reasoning",
        "reasoning_details",
        "tool_calls",
        "function_call",
        "annotations",
        "audio",
    }
)

FAULT_WORDS: Mapping[FaultKind, tuple[str, str | None]] = MappingProxyType(
    {
        "invalid_request": ("invalid_request_error", None),
        "authentication": ("invalid_request_error", "invalid_api_key"),
        "permission": ("permission_error", "permission_denied"),
        "billing": ("insufficient_quota", "insufficient_quota"),
        "not_found": ("invalid_request_error", "not_found"),
        "too_large": ("invalid_request_error", "request_too_large"),
        "context_length": ("invalid_request_error", "context_length_exceeded"),
        "rate_limit": ("rate_limit_error", "rate_limit_exceeded"),
        "overloaded": ("server_error", "server_is_overloaded"),
        "timeout": ("server_error", "timeout"),
        "unavailable": ("server_error", "service_unavailable"),
        "server": ("server_error", "server_error"),
        "cannot_express": ("invalid_request_error", "cannot_express"),
    }
)
"""Kind of fault -> (`error.type`, `error.code` where the fault has none of its own)."""

FAULT_CODES: Mapping[str, FaultKind] = MappingProxyType(
    {
        "context_length_exceeded": "context_length",
        "invalid_api_key": "authentication",
        "authentication_error": "authentication",
        "unauthorized": "authentication",
        "permission_denied": "permission",
        "permission_error": "permission",
        "insufficient_quota": "billing",
        "billing_error": "billing",
        "billing_hard_limit_reached": "billing",
        "insufficient_balance": "billing",
        "model_not_found": "not_found",
        "not_found": "not_found",
        "not_found_error": "not_found",
        "request_too_large": "too_large",
        "rate_limit_exceeded": "rate_limit",
        "rate_limit_error": "rate_limit",
        "rate_limited": "rate_limit",
        "too_many_requests": "rate_limit",
        "requests": "rate_limit",
        "tokens": "rate_limit",
        "overloaded_error": "overloaded",
        "overloaded": "overloaded",
        "server_is_overloaded": "overloaded",
        "engine_overloaded_error": "overloaded",
        "timeout": "timeout",
        "service_unavailable": "unavailable",
        "server_error": "server",
        "internal_server_error": "server",
        "internal_error": "server",
        "api_error": "server",
        "cannot_express": "cannot_express",
        "invalid_request_error": "invalid_request",
        "bad_request": "invalid_request",
    }
)
"""What `error.code` or `error.type` says, in lower case."""

CONTEXT_LENGTH = re.compile(
    r"maximum context length|context[_ ]length[_ ]exceeded|context window|prompt is too long"
    r"|input (?:is )?too long|too many (?:input )?tokens|exceeds? the (?:model'?s )?context"
    r"|exceeds the maximum number of tokens",
    re.IGNORECASE,
)
"""What providers that have no code for it say of a prompt that is too long."""

TELLING = re.compile(
    rb'"(usage|error|x_groq)"\s*:\s*[{\["]|finish_reason"\s*:\s*"|_calls?"|\[DONE\]'
)
"""See `Dialect.telling`."""
