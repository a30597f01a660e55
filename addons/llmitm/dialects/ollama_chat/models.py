"""`GET /api/tags` of Ollama.

The digest is 64 hexadecimal digits, of which clients print the first twelve. Details of one model
come from `POST /api/show`, which is no models call.
Source: Ollama API reference, List models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from llmitm.dialects.json_text import Wire
from llmitm.dialects.model_lists import OWNER, UNDATED, appended, names_under, parsed, rows_of
from llmitm.dialects.splicing import Edit


def _entry(name: str) -> Wire:
    return {
        "name": name,
        "model": name,
        "modified_at": UNDATED,
        "size": 0,
        "digest": hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest(),
        "details": {
            "parent_model": "",
            "format": "",
            "family": OWNER,
            "families": [OWNER],
            "parameter_size": "",
            "quantization_level": "",
        },
    }


def _rows(body: bytes) -> list[Wire] | None:
    value = parsed(body)
    return rows_of(value.get("models")) if isinstance(value, dict) else None


def read_models(body: bytes) -> tuple[str, ...]:
    """The names a list holds, in order; empty = it is no list. Never raises."""
    return names_under(_rows(body), "name")


def extend_models(body: bytes, names: Sequence[str]) -> bytes | None:
    """The list with the names that are not there yet at its end; None = no such list.

    Every byte of the provider's own entries stays. Never raises.
    """
    rows = _rows(body)
    if rows is None:
        return None
    known = names_under(rows, "name")
    if rows and not known:
        return None
    fresh = [name for name in dict.fromkeys(names) if name not in known]
    if not fresh:
        return body
    return appended(body, [Edit("insert", ("models", len(rows)), _entry(name)) for name in fresh])
