"""`GET /v1beta/models` and `GET /v1beta/models/{model}` of Gemini; publisher models of Vertex AI.

Names stand as clients write them, without `models/` or `publishers/google/models/`.
Source: Gemini API reference, Models; Vertex AI reference, `publishers.models.list`.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmitm.canon.values import Json
from llmitm.dialects.json_text import Wire, dump
from llmitm.dialects.model_lists import OWNER, appended, names_under, parsed, rows_of
from llmitm.dialects.splicing import Edit

_MODELS = "models/"
_PUBLISHED = "publishers/google/models/"


def _entry(name: str) -> Wire:
    return {
        "name": f"{_MODELS}{name}",
        "version": "",
        "displayName": f"{name} ({OWNER})",
        "description": f"Offered by {OWNER}.",
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def _published(name: str, prefix: str) -> Wire:
    return {"name": f"{prefix}{name}", "displayName": f"{name} ({OWNER})"}


def _lists(body: bytes) -> tuple[Wire, str, list[Wire]] | None:
    """(the whole object, the key of its list, the entries); None = no list of offered models."""
    value: Json = parsed(body)
    if not isinstance(value, dict):
        return None
    for key in ("models", "publisherModels"):
        rows = rows_of(value.get(key))
        if rows is not None:
            return value, key, rows
    return None


def _bare(name: str) -> str:
    """The name as clients write it; empty = somebody's tuned model."""
    if name.startswith(_MODELS):
        return name.removeprefix(_MODELS)
    publisher, slash, rest = name.partition("/models/")
    return rest if slash and publisher.startswith("publishers/") else ""


def read_models(body: bytes) -> tuple[str, ...]:
    """The names a page of the list holds, in order; empty = it is no list. Never raises."""
    found = _lists(body)
    names = names_under(found[2], "name") if found is not None else ()
    return tuple(bare for bare in map(_bare, names) if bare)


def extend_models(body: bytes, names: Sequence[str]) -> bytes | None:
    """The last page with the names that are not there yet at its end.

    None = no such list (one of tuned models is none), or `nextPageToken`. Every byte of the
    provider's own entries stays. Never raises.
    """
    found = _lists(body)
    if found is None:
        return None
    whole, key, rows = found
    told = names_under(rows, "name")
    if whole.get("nextPageToken") or not all(map(_bare, told)) or (rows and not told):
        return None
    known = set(map(_bare, told))
    fresh = [name for name in dict.fromkeys(names) if name not in known]
    if not fresh:
        return body
    prefix = told[-1].removesuffix(_bare(told[-1])) if told else _PUBLISHED
    entries = [_entry(name) if key == "models" else _published(name, prefix) for name in fresh]
    return appended(body, [Edit("insert", (key, len(rows)), entry) for entry in entries])


def encode_model(name: str) -> bytes:
    """The answer about one model that llmitm offers."""
    return dump(_entry(name))
