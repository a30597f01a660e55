"""Recorded exchanges of real providers, from the shared corpus when it is there.

A test that needs them calls `load(name)` and gets an empty list without the folder; use
`needs_corpus` to say so in the report.
"""

from __future__ import annotations

import functools
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "corpus"

needs_corpus = pytest.mark.skipif(
    not CORPUS.is_dir(), reason="the folder of recorded exchanges is not beside this checkout"
)


@functools.cache
def load(name: str) -> list[dict[str, Any]]:
    """All exchanges of one file: `openai-chat`, `openai-responses`, `anthropic-messages`,
    `gemini`, `other`."""
    file = CORPUS / f"{name}.jsonl.gz"
    if not file.is_file():
        return []
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
