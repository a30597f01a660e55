"""What Bedrock's Converse API calls things: names and mappings as data, no behaviour.

Source: Amazon Bedrock API reference (Converse, ConverseStream, InvokeModelWithResponseStream).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from llmitm.canon.events import FaultKind, FinishReason
from llmitm.canon.values import Path

NAME = "bedrock_converse"

FINISH: Mapping[str, FinishReason] = MappingProxyType(
    {
        "end_turn": "stop",
        "stop_sequence": "stop",
        "tool_use": "tool_calls",
        "max_tokens": "length",
        "model_context_window_exceeded": "length",
        "guardrail_intervened": "content_filter",
        "content_filtered": "content_filter",
        "malformed_model_output": "error",
        "malformed_tool_use": "error",
    }
)
"""Wire `stopReason` -> canon."""

STOP_REASONS: Mapping[FinishReason, str] = MappingProxyType(
    {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "content_filtered",
        "refusal": "content_filtered",
        "pause": "end_turn",
        "error": "malformed_model_output",
        "unknown": "end_turn",
    }
)
"""Canon -> wire `stopReason`, for answers of other protocols."""

FAULT_KINDS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "validationexception": "invalid_request",
        "accessdeniedexception": "permission",
        "unrecognizedclientexception": "authentication",
        "expiredtokenexception": "authentication",
        "incompletesignatureexception": "authentication",
        "invalidsignatureexception": "authentication",
        "resourcenotfoundexception": "not_found",
        "throttlingexception": "rate_limit",
        "servicequotaexceededexception": "rate_limit",
        "modelnotreadyexception": "unavailable",
        "serviceunavailableexception": "unavailable",
        "modeltimeoutexception": "timeout",
        "internalserverexception": "server",
        "modelerrorexception": "server",
        "modelstreamerrorexception": "server",
    }
)
"""Exception name in lower case -> canon; a stream writes them with a small first letter."""

EXCEPTIONS: Mapping[FaultKind, str] = MappingProxyType(
    {
        "invalid_request": "ValidationException",
        "authentication": "UnrecognizedClientException",
        "permission": "AccessDeniedException",
        "billing": "AccessDeniedException",
        "not_found": "ResourceNotFoundException",
        "too_large": "ValidationException",
        "context_length": "ValidationException",
        "rate_limit": "ThrottlingException",
        "overloaded": "ServiceUnavailableException",
        "timeout": "ModelTimeoutException",
        "unavailable": "ServiceUnavailableException",
        "server": "InternalServerException",
        "cannot_express": "ValidationException",
    }
)
"""Canon -> exception name of an error body."""

STREAM_EXCEPTIONS: Mapping[FaultKind, str] = MappingProxyType(
    {
        "invalid_request": "validationException",
        "context_length": "validationException",
        "too_large": "validationException",
        "cannot_express": "validationException",
        "rate_limit": "throttlingException",
        "overloaded": "serviceUnavailableException",
        "unavailable": "serviceUnavailableException",
        "timeout": "modelStreamErrorException",
    }
)
"""Canon -> exception inside a stream, which knows five of them; the rest: internal server."""

FAULT_WORDS: tuple[tuple[re.Pattern[str], FaultKind], ...] = (
    (re.compile(r"too long|context (length|window)|too many input tokens", re.I), "context_length"),
    (re.compile(r"too many (requests|tokens)|throttl|rate exceeded|quota", re.I), "rate_limit"),
    (re.compile(r"security token|signature|credential|authenticat", re.I), "authentication"),
    (re.compile(r"not authorized|access denied|don't have access", re.I), "permission"),
    (re.compile(r"internal (server )?(error|failure)|unexpected error", re.I), "server"),
    (re.compile(r"unavailable|unable to process your request", re.I), "unavailable"),
)
"""A body tells its exception only in a header: the first pattern that is found names the kind."""

CONTEXT_LENGTH_WORDS = "Input is too long for requested model."

MIMES: Mapping[str, str] = MappingProxyType(
    {
        "png": "image/png",
        "jpeg": "image/jpeg",
        "gif": "image/gif",
        "webp": "image/webp",
        "pdf": "application/pdf",
        "csv": "text/csv",
        "doc": "application/msword",
        "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
        "xls": "application/vnd.ms-excel",
        "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        "html": "text/html",
        "txt": "text/plain",
        "md": "text/markdown",
        "mp4": "video/mp4",
        "mov": "video/quicktime",
        "mkv": "video/x-matroska",
        "webm": "video/webm",
        "mpeg": "video/mpeg",
        "three_gp": "video/3gpp",
        "mp3": "audio/mpeg",
        "wav": "audio/wav",
        "flac": "audio/flac",
        "ogg": "audio/ogg",
        "aac": "audio/aac",
    }
)
"""Wire `format` -> media type."""

FORMATS: Mapping[str, str] = MappingProxyType(
    {mime: word for word, mime in MIMES.items()} | {"image/jpg": "jpeg"}
)

type MediaKind = Literal["image", "document", "video", "audio"]
MEDIA: Mapping[str, MediaKind] = MappingProxyType(
    {"image": "image", "document": "document", "video": "video", "audio": "audio"}
)

SAYS_NOTHING = frozenset({"id", "index", "object", "status", "type"})
"""Keys of other protocols' objects that only describe them: dropped without a loss."""

NOT_IN_NAME = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
"""What a document's name may not hold."""

SAMPLING: Mapping[str, str] = MappingProxyType(
    {"temperature": "temperature", "topP": "top_p", "maxTokens": "max_tokens"}
)
"""Key of `inferenceConfig` -> field of `Sampling`; `stopSequences` is handled beside it."""

BUDGETS: Mapping[str, int] = MappingProxyType(
    {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16384, "xhigh": 32768, "max": 49152}
)
"""Reasoning effort -> `thinking.budget_tokens` of Claude models."""

EFFORTS = ("low", "medium", "high", "xhigh", "max")
"""The words of `outputConfig.effort`."""

SCALARS: Mapping[str, Path] = MappingProxyType(
    {
        "sampling.temperature": ("inferenceConfig", "temperature"),
        "sampling.top_p": ("inferenceConfig", "topP"),
        "sampling.max_tokens": ("inferenceConfig", "maxTokens"),
        "sampling.stop": ("inferenceConfig", "stopSequences"),
        "sampling.top_k": ("additionalModelRequestFields", "top_k"),
        "tool_choice": ("toolConfig", "toolChoice"),
        "instructions": ("system",),
        "response_format": ("outputConfig", "textFormat"),
    }
)
"""Canon attribute -> where a request keeps it, for edits in place."""

TELLING = re.compile(rb"messageSt|contentBlockStart|metadata|xception")
"""See `Dialect.telling`; it counts for server-sent events only, which this protocol never sends."""
