"""`GET /v1/models` and `GET /v1/models/{model}` of OpenAI and of those who copied it.

Source: OpenAI API reference, Models; some hosts answer with the bare array of entries.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmitm.dialects.json_text import Wire, dump
from llmitm.dialects.model_lists import OWNER, extend_data, read_data


def _entry(name: str) -> Wire:
    return {"id": name, "object": "model", "created": 0, "owned_by": OWNER}


def read_models(body: bytes) -> tuple[str, ...]:
    """The names a list holds, in order; empty = it is no list. Never raises."""
    return read_data(body)


def extend_models(body: bytes, names: Sequence[str]) -> bytes | None:
    """The list with the names that are not there yet at its end; None = no such list.

    Every byte of the provider's own entries stays. Hosts that say more of each model than OpenAI
    does get entries with these fields as well. Never raises.
    """
    return extend_data(body, names, _entry, adapt=True)


def encode_model(name: str) -> bytes:
    """The answer about one model that llmitm offers."""
    return dump(_entry(name))
