"""The names of Gemini's protocol: keys, finish reasons, error statuses, limits. Data only.

Source: Gemini API reference (generateContent, v1beta), Vertex AI reference (GenerateContent),
google.rpc.Status, google/ai/generativelanguage/v1beta/generative_service.proto.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from llmitm.canon.events import FaultKind, FinishReason

NAME: Final = "gemini_generate"
CODE_ASSIST_NAME: Final = "gemini_code_assist"
FAMILY: Final = frozenset({NAME, CODE_ASSIST_NAME})

_KEYS: Final = """
    systemInstruction toolConfig generationConfig safetySettings cachedContent
    generateContentRequest serviceTier modelArmorConfig
    thoughtSignature inlineData fileData functionCall functionResponse executableCode
    codeExecutionResult toolCall toolResponse videoMetadata mediaResolution partMetadata
    mimeType fileUri displayName willContinue partialArgs jsonPath stringValue numberValue
    boolValue nullValue
    functionDeclarations parametersJsonSchema responseJsonSchema googleSearch
    googleSearchRetrieval codeExecution urlContext fileSearch computerUse googleMaps
    enterpriseWebSearch mcpServers functionCallingConfig allowedFunctionNames
    streamFunctionCallArguments retrievalConfig includeServerSideToolInvocations
    topP topK maxOutputTokens stopSequences presencePenalty frequencyPenalty candidateCount
    responseLogprobs responseMimeType responseSchema thinkingConfig thinkingBudget
    thinkingLevel includeThoughts responseModalities speechConfig
    finishReason finishMessage safetyRatings citationMetadata groundingMetadata
    urlContextMetadata logprobsResult avgLogprobs tokenCount promptFeedback blockReason
    usageMetadata modelVersion responseId createTime turnToken modelStatus traceId
    promptTokenCount candidatesTokenCount totalTokenCount cachedContentTokenCount
    thoughtsTokenCount toolUsePromptTokenCount totalTokens
"""

SNAKE: Final[Mapping[str, str]] = MappingProxyType(
    {re.sub(r"(?<=[a-z])([A-Z])", r"_\1", key).lower(): key for key in _KEYS.split()}
    | {"parameters_json_schema": "parametersJsonSchema"}
)
"""Every key that also occurs in snake case, to its usual form."""

BESIDE: Final = frozenset(
    {
        "thought",
        "thoughtSignature",
        "videoMetadata",
        "mediaResolution",
        "partMetadata",
        "mediaProcessing",
        "speechMetadata",
        "audioMetadata",
        "documentMetadata",
        "spreadsheetMetadata",
    }
)
"""Keys of a part that stand beside its one kind of content."""

OUTER_KEYS: Final = frozenset(
    {"project", "user_prompt_id", "userPromptId", "enabled_credit_types", "enabledCreditTypes"}
)
"""Keys that the Code Assist form keeps beside `request`."""

INNER_ONLY_KEYS: Final = frozenset({"session_id", "sessionId"})
"""Keys inside `request` that only Code Assist knows; the plain form rejects them."""

OUTER_ANSWER_KEYS: Final = frozenset({"traceId", "consumedCredits", "remainingCredits"})
"""Keys that the Code Assist form keeps beside `response`."""

FINISH: Final[Mapping[str, FinishReason]] = MappingProxyType(
    {
        "FINISH_REASON_UNSPECIFIED": "unknown",
        "STOP": "stop",
        "MAX_TOKENS": "length",
        "SAFETY": "content_filter",
        "RECITATION": "content_filter",
        "OTHER": "unknown",
        "LANGUAGE": "content_filter",
        "BLOCKLIST": "content_filter",
        "PROHIBITED_CONTENT": "content_filter",
        "SPII": "content_filter",
        "MALFORMED_FUNCTION_CALL": "error",
        "IMAGE_SAFETY": "content_filter",
        "UNEXPECTED_TOOL_CALL": "error",
        "TOO_MANY_TOOL_CALLS": "error",
        "IMAGE_PROHIBITED_CONTENT": "content_filter",
        "IMAGE_RECITATION": "content_filter",
        "IMAGE_OTHER": "error",
        "NO_IMAGE": "error",
        "MISSING_THOUGHT_SIGNATURE": "error",
        "MALFORMED_RESPONSE": "error",
        "ESCALATION": "content_filter",
        "MODEL_ARMOR": "content_filter",
        "PUP_LIMITED_DISABLED": "content_filter",
        "CONTINUATION": "pause",
    }
)

FINISH_NUMBERS: Final = (
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
)
"""Finish reasons by their number in the proto, for `$alt=json;enum-encoding=int`."""

FINISH_WORDS: Final[Mapping[FinishReason, tuple[str, bool]]] = MappingProxyType(
    {
        "stop": ("STOP", True),
        "tool_calls": ("STOP", True),
        "length": ("MAX_TOKENS", True),
        "content_filter": ("SAFETY", True),
        "refusal": ("SAFETY", False),
        "pause": ("STOP", False),
        "error": ("OTHER", False),
        "unknown": ("OTHER", True),
    }
)
"""What to write for a reason, and whether it says the same."""

STATUSES: Final[Mapping[str, tuple[FaultKind, int]]] = MappingProxyType(
    {
        "INVALID_ARGUMENT": ("invalid_request", 400),
        "FAILED_PRECONDITION": ("invalid_request", 400),
        "OUT_OF_RANGE": ("invalid_request", 400),
        "UNAUTHENTICATED": ("authentication", 401),
        "PERMISSION_DENIED": ("permission", 403),
        "NOT_FOUND": ("not_found", 404),
        "ALREADY_EXISTS": ("invalid_request", 409),
        "ABORTED": ("server", 409),
        "RESOURCE_EXHAUSTED": ("rate_limit", 429),
        "CANCELLED": ("timeout", 499),
        "INTERNAL": ("server", 500),
        "DATA_LOSS": ("server", 500),
        "UNKNOWN": ("server", 500),
        "UNIMPLEMENTED": ("invalid_request", 501),
        "UNAVAILABLE": ("overloaded", 503),
        "DEADLINE_EXCEEDED": ("timeout", 504),
    }
)
"""google.rpc.Code by name: what it means, its HTTP status."""

BY_HTTP: Final[Mapping[int, FaultKind]] = MappingProxyType(
    {
        400: "invalid_request",
        401: "authentication",
        402: "billing",
        403: "permission",
        404: "not_found",
        408: "timeout",
        413: "too_large",
        429: "rate_limit",
        499: "timeout",
        500: "server",
        502: "unavailable",
        503: "overloaded",
        504: "timeout",
        529: "overloaded",
    }
)

FAULTS: Final[Mapping[FaultKind, tuple[int, str]]] = MappingProxyType(
    {
        "invalid_request": (400, "INVALID_ARGUMENT"),
        "authentication": (401, "UNAUTHENTICATED"),
        "permission": (403, "PERMISSION_DENIED"),
        "billing": (403, "PERMISSION_DENIED"),
        "not_found": (404, "NOT_FOUND"),
        "too_large": (413, "INVALID_ARGUMENT"),
        "context_length": (400, "INVALID_ARGUMENT"),
        "rate_limit": (429, "RESOURCE_EXHAUSTED"),
        "overloaded": (503, "UNAVAILABLE"),
        "timeout": (504, "DEADLINE_EXCEEDED"),
        "unavailable": (503, "UNAVAILABLE"),
        "server": (500, "INTERNAL"),
        "cannot_express": (422, "INVALID_ARGUMENT"),
    }
)
"""The HTTP status and google.rpc.Code that tell a kind of fault."""

FAULT_PHRASES: Final[tuple[tuple[re.Pattern[str], FaultKind], ...]] = (
    (
        re.compile(r"token count.{0,40}exceeds|exceeds the maximum number of tokens"),
        "context_length",
    ),
    (re.compile(r"(?i)payload size exceeds|request is too large"), "too_large"),
    (re.compile(r"API_KEY_INVALID|API key not valid|API key expired"), "authentication"),
    (re.compile(r"(?i)\bbilling\b.{0,60}(enable|disabled|account)|enable billing"), "billing"),
)
"""What a message says more precisely than its status."""

TYPE_URL: Final = "type.googleapis.com/google.rpc."

SKIP_SIGNATURE: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""What Google documents to send with a function call that no Gemini model made: the bytes
`skip_thought_signature_validator`; Gemini 3 and later reject calls without any signature."""

NO_SIGNATURE_MODELS: Final = ("gemini-1", "gemini-2", "gemma", "learnlm")
"""Model families that do not ask for signatures."""

MAX_TEMPERATURE: Final = 2.0
MAX_STOP: Final = 5

LEVELS: Final[Mapping[str, tuple[str, bool]]] = MappingProxyType(
    {
        "minimal": ("MINIMAL", True),
        "low": ("LOW", True),
        "medium": ("MEDIUM", True),
        "high": ("HIGH", True),
        "xhigh": ("XHIGH", True),
        "max": ("XHIGH", False),
    }
)
"""Reasoning effort as `thinkingLevel`, and whether it says the same."""

SERVER_TOOLS: Final[tuple[tuple[str, str], ...]] = (
    ("web_search", "googleSearch"),
    ("code_interpreter", "codeExecution"),
    ("code_execution", "codeExecution"),
    ("web_fetch", "urlContext"),
)
"""Another protocol's server tool by the beginning of its name, and Gemini's that does the same."""

MIME_DEFAULTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "image": "image/jpeg",
        "audio": "audio/wav",
        "video": "video/mp4",
        "document": "application/pdf",
    }
)

MIME_BY_SUFFIX: Final[Mapping[str, str]] = MappingProxyType(
    {
        "png": "image/png",
        "jpg": "image/jpeg",
        "jpeg": "image/jpeg",
        "webp": "image/webp",
        "gif": "image/gif",
        "heic": "image/heic",
        "wav": "audio/wav",
        "mp3": "audio/mp3",
        "ogg": "audio/ogg",
        "flac": "audio/flac",
        "mp4": "video/mp4",
        "mov": "video/quicktime",
        "webm": "video/webm",
        "pdf": "application/pdf",
        "txt": "text/plain",
        "md": "text/markdown",
        "html": "text/html",
        "csv": "text/csv",
    }
)

TELLING = re.compile(
    rb"finish_?[rR]eason|usage_?[mM]etadata|function_?[cC]all|prompt_?[fF]eedback|error"
)
"""See `Dialect.telling`."""
