"""`GET /v1/models` and `GET /v1/models/{model}` of Anthropic.

Source: Anthropic API reference, Models; `created_at` is the epoch where a date is not known, and
capabilities and limits are null where nothing is said about them.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmitm.dialects.json_text import Wire, dump
from llmitm.dialects.model_lists import OWNER, UNDATED, extend_data, read_data


def _entry(name: str) -> Wire:
    return {
        "type": "model",
        "id": name,
        "display_name": f"{name} ({OWNER})",
        "created_at": UNDATED,
        "lifecycle": "active",
        "capabilities": None,
        "max_input_tokens": None,
        "max_tokens": None,
    }


def read_models(body: bytes) -> tuple[str, ...]:
    """The names a page of the list holds, in order; empty = it is no list. Never raises."""
    return read_data(body)


def extend_models(body: bytes, names: Sequence[str]) -> bytes | None:
    """The last page with the names that are not there yet at its end, `last_id` following.

    None = no such list, or `has_more`. Every byte of the provider's own entries stays. Never
    raises.
    """
    return extend_data(body, names, _entry)


def encode_model(name: str) -> bytes:
    """The answer about one model that llmitm offers."""
    return dump(_entry(name))
