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
    """Pieces of one entry (same type, index and id) become one, as in a whole answer.

    Words follow the entry before them; a signature alone may come later. Encrypted data always
    comes whole, so that two of it are two entries, whatever their index.
    """
    for item in more:
        place = _place_of(into, item) if isinstance(item, dict) else -1
        if place < 0:
            into.append(item)
        else:
            into[place] = _joined(into[place], item)


def join_details(before: list[Json], more: list[Json]) -> list[Json]:
    """The entries of one message whose reasoning came in two parts, in order.

    A signature that came after the message's text goes to the words that it signs.
    """
    made = list(before)
    for item in more:
        place = -1
        if isinstance(item, dict) and not _words(item):
            place = _place_of(before, item)
        if place < 0:
            made.append(item)
        else:
            made[place] = _joined(made[place], item)
    return made


def _place_of(into: list[Json], item: Wire) -> int:
    """The entry that this is a piece of, -1 = it begins one."""
    if not into or item.get("data"):
        return -1
    if _words(item):
        return len(into) - 1 if _same_entry(into[-1], item) else -1
    for place in range(len(into) - 1, -1, -1):
        if _same_entry(into[place], item):
            return place
    return -1


def _words(item: Wire) -> bool:
    return bool(item.get("text") or item.get("summary"))


def _same_entry(entry: Json, item: Wire) -> bool:
    if not isinstance(entry, dict) or entry.get("data"):
        return False
    if entry.get("type") != item.get("type") or entry.get("index") != item.get("index"):
        return False
    if (old := entry.get("id")) and (new := item.get("id")) and old != new:
        return False
    # What is signed is complete: more words, or another signature, are of another entry.
    proof, told = entry.get("signature"), item.get("signature")
    return not proof or proof == told or not (told or _words(item))


def _joined(entry: Json, item: Json) -> Json:
    assert isinstance(entry, dict)
    assert isinstance(item, dict)
    joined = dict(entry)
    for key, value in item.items():
        before = joined.get(key)
        if key in ("text", "summary") and isinstance(before, str):
            joined[key] = before + value if isinstance(value, str) else before
        elif value not in (None, "") or key not in joined:
            joined[key] = value
    return joined


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
