"""`usageMetadata`, both ways.

Gemini counts thoughts and the prompts of its own tools beside, the cache inside. Source: Gemini
API reference, UsageMetadata.
"""

from __future__ import annotations

from llmitm.canon.events import Event, Usage
from llmitm.canon.values import Json
from llmitm.dialects.gemini_generate.compose import Composer
from llmitm.dialects.gemini_generate.wire import camel, whole


def read_usage(raw: dict[str, Json]) -> Usage:
    """Canon's inclusive counts: input with tool-use prompts, output with thoughts."""
    fields = camel(raw)
    prompt, tool_use = (
        whole(fields.get("promptTokenCount")),
        whole(fields.get("toolUsePromptTokenCount")),
    )
    answer, thoughts = (
        whole(fields.get("candidatesTokenCount")),
        whole(fields.get("thoughtsTokenCount")),
    )
    return Usage(
        input_tokens=_sum(prompt, tool_use),
        output_tokens=_sum(answer, thoughts),
        total_tokens=whole(fields.get("totalTokenCount")),
        cache_read_tokens=whole(fields.get("cachedContentTokenCount")),
        reasoning_tokens=thoughts,
        raw=raw,
    )


def _sum(first: int | None, second: int | None) -> int | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def write_usage(usage: Usage, composer: Composer) -> dict[str, Json]:
    """`usageMetadata`: the provider's own object where it says the same."""
    if isinstance(usage.raw, dict) and read_usage(usage.raw) == usage:
        return usage.raw
    fields: dict[str, Json] = {}
    if usage.input_tokens is not None:
        fields["promptTokenCount"] = usage.input_tokens
    if usage.output_tokens is not None:
        fields["candidatesTokenCount"] = max(0, usage.output_tokens - (usage.reasoning_tokens or 0))
    if usage.reasoning_tokens is not None:
        fields["thoughtsTokenCount"] = usage.reasoning_tokens
    total = usage.total_tokens
    if total is None:
        total = _sum(usage.input_tokens, usage.output_tokens)
    if total is not None:
        fields["totalTokenCount"] = total
    if usage.cache_read_tokens is not None:
        fields["cachedContentTokenCount"] = usage.cache_read_tokens
    if usage.cache_write_tokens:
        composer.lose("usage", (), "tokens written to the cache")
    return fields


def read_count(value: Json) -> list[Event]:
    """The events of a `countTokens` answer; empty for anything else."""
    if isinstance(value, dict) and "candidates" not in value:
        total = whole(camel(value).get("totalTokens"))
        if total is not None:
            return [Usage(input_tokens=total, raw=value)]
    return []
