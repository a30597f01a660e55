"""What Ollama's native API calls things: names and mappings as data, no behaviour.

Source: Ollama API reference (generate a completion, generate a chat completion), OpenAPI file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from llmitm.canon.events import FaultKind, FinishReason
from llmitm.canon.values import Path

NAME = "ollama_chat"
GENERATE_NAME = "ollama_generate"
FAMILY = frozenset({NAME, GENERATE_NAME})

OPTIONS: Mapping[str, str] = MappingProxyType(
    {
        "temperature": "temperature",
        "top_p": "top_p",
        "top_k": "top_k",
        "frequency_penalty": "frequency_penalty",
        "presence_penalty": "presence_penalty",
        "seed": "seed",
        "num_predict": "max_tokens",
    }
)
"""Key of `options` -> field of `Sampling`; `stop` is handled beside it."""

WHOLE_OPTIONS = frozenset({"top_k", "seed", "num_predict"})

EFFORTS = ("low", "medium", "high", "max")
"""The words that `think` takes besides true and false."""

EFFORT_WORDS: Mapping[str, str] = MappingProxyType({"minimal": "low", "xhigh": "high"})
"""Other protocols' efforts -> the nearest word here."""

FINISH: Mapping[str, FinishReason] = MappingProxyType({"stop": "stop", "length": "length"})
"""Wire `done_reason` -> canon. `load` and `unload` answer an empty prompt: unknown here."""

DONE_REASONS: Mapping[FinishReason, str] = MappingProxyType(
    {
        "stop": "stop",
        "length": "length",
        "tool_calls": "stop",
        "content_filter": "stop",
        "refusal": "stop",
        "pause": "stop",
        "error": "stop",
        "unknown": "stop",
    }
)
"""Canon -> wire `done_reason`, for answers of other protocols."""

COUNT = re.compile(r".*_(count|duration)")
"""Keys of the closing object that `Usage.raw` holds: counts, and times in nanoseconds."""

FAULT_WORDS: tuple[tuple[re.Pattern[str], FaultKind], ...] = (
    (
        re.compile(r"context (length|window|size)|input length exceeds|too long", re.I),
        "context_length",
    ),
    (re.compile(r"not found|no such model|try pulling", re.I), "not_found"),
    (re.compile(r"unauthori[sz]ed|sign ?in|invalid api key", re.I), "authentication"),
    (re.compile(r"forbidden|subscription", re.I), "permission"),
    (re.compile(r"too many requests|rate limit|usage limit", re.I), "rate_limit"),
    (re.compile(r"server busy|maximum pending|overloaded", re.I), "overloaded"),
    (re.compile(r"timed? ?out", re.I), "timeout"),
    (
        re.compile(r"does not support|invalid|required|missing|unexpected|unmarshal", re.I),
        "invalid_request",
    ),
)
"""The API tells errors in words only: the first pattern that is found names the kind."""

CONTEXT_LENGTH_WORDS = "the input length exceeds the context length"

IMAGE_STARTS: tuple[tuple[str, str], ...] = (
    ("iVBORw0KGgo", "image/png"),
    ("/9j/", "image/jpeg"),
    ("R0lGOD", "image/gif"),
    ("UklGR", "image/webp"),
)
"""How base64 of an image begins -> its media type, which the API does not tell."""

SAYS_NOTHING = frozenset({"id", "index", "object", "status", "type", "created_at"})
"""Keys of other protocols' objects that only describe them: dropped without a loss."""

SCALARS: Mapping[str, Path] = MappingProxyType(
    {
        "model": ("model",),
        "stream": ("stream",),
        **{f"sampling.{name}": ("options", key) for key, name in OPTIONS.items()},
        "sampling.stop": ("options", "stop"),
        "sampling.logprobs": ("logprobs",),
        "sampling.top_logprobs": ("top_logprobs",),
        "reasoning": ("think",),
        "response_format": ("format",),
    }
)
"""Canon attribute -> where a request keeps it, for edits in place."""

TELLING = re.compile(rb'"done":\s*true|tool_calls|error')
"""See `Dialect.telling`."""
