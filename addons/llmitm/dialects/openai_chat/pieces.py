"""Pieces of reasoning details and audio in a stream, joined as a whole answer holds them.

Source: OpenRouter, reasoning tokens (`reasoning_details` in streams); OpenAI API reference, audio.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

from llmitm.canon.events import PartDetail
from llmitm.canon.values import Json
from llmitm.dialects.openai_chat.messages import proofs
from llmitm.dialects.openai_chat.parts import Wire


def detail_event(place: int, details: list[Json], choice: int) -> PartDetail:
    """The event that gives a reasoning part all its details and what proves it."""
    signature, encrypted = proofs(details)
    return PartDetail(
        index=place,
        signature=signature,
        encrypted=encrypted,
        extras={"reasoning_details": details},
        choice=choice,
    )


def add_details(into: list[Json], more: Iterable[Json]) -> None:
    """Pieces of one entry (same type, index and id) become one, as in a whole answer."""
    for item in more:
        last = into[-1] if into else None
        if not (isinstance(item, dict) and isinstance(last, dict) and _same_entry(last, item)):
            into.append(item)
            continue
        joined = dict(last)
        for key, value in item.items():
            before = joined.get(key)
            if key in ("text", "summary", "data") and isinstance(before, str):
                joined[key] = before + value if isinstance(value, str) else before
            elif value is not None or key not in joined:
                joined[key] = value
        into[-1] = joined


def _same_entry(last: Wire, item: Wire) -> bool:
    if last.get("type") != item.get("type") or last.get("index") != item.get("index"):
        return False
    new = item.get("id")
    return new is None or last.get("id") in (None, new)


def join_base64(before: str, more: str) -> str:
    """Base64 pieces as one; each of them may end in padding of its own."""
    if not before.endswith("="):
        return before + more
    try:
        return base64.b64encode(
            base64.b64decode(before, validate=True) + base64.b64decode(more, validate=True)
        ).decode()
    except (binascii.Error, ValueError):
        return before + more
