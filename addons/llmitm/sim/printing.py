"""JSON as the providers print it, and text cut into deltas."""

from __future__ import annotations

import json


def compact(value: object) -> bytes:
    """Without any space, UTF-8 (OpenAI, Anthropic)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def indented(value: object) -> bytes:
    """Two spaces a level (OpenAI's and Google's whole bodies)."""
    return json.dumps(value, ensure_ascii=False, indent=2).encode()


def spaced(value: object) -> bytes:
    """A space after a key, none after a comma (Google's streams)."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ": ")).encode()


def slices(text: str, size: int) -> list[str]:
    """`text` in runs of `size` characters."""
    return [text[start : start + size] for start in range(0, len(text), size)]
