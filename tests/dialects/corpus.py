"""The own corpus in `tests/corpus`: requests and answers of each protocol, written for the tests.

`requests/<dialect>/<case>.json`, `answers/<dialect>/<case>.json` (whole) or `.sse` (streamed),
`golden/…`: what each case becomes in each other protocol, losses included.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

from llmitm.canon.request import Request
from llmitm.dialects.catalog import DIALECTS

CORPUS = Path(__file__).resolve().parents[1] / "corpus"


@functools.cache
def own_requests(name: str) -> tuple[tuple[str, Request], ...]:
    """(case, request) of this protocol, in order of their names."""
    found: list[tuple[str, Request]] = []
    for file in sorted((CORPUS / "requests" / name).glob("*.json")):
        request = DIALECTS[name].decode_request(file.read_bytes())
        if name == "gemini_generate":
            request = replace(request, model="gemini-3-pro")
        found.append((file.stem, request))
    return tuple(found)


@functools.cache
def own_answers(name: str) -> tuple[tuple[str, bool, bytes], ...]:
    """(case, is a stream, body) of this protocol, in order of their names."""
    files = sorted((CORPUS / "answers" / name).iterdir())
    return tuple((file.stem, file.suffix == ".sse", file.read_bytes()) for file in files)
