"""No recorded answer of a real provider is taken for a loop, in whatever protocol it came.

The answers of protocols without a dialect here (Cohere, completions, Bedrock's InvokeModel and
others) are read by what all have in common: JSON, in one piece or in many, with text in it.
"""

from __future__ import annotations

import base64
import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from llmitm.canon.events import PartDelta, PartStart
from llmitm.canon.parts import Refusal, Text
from llmitm.stages.loops.detecting import Detector, Limits
from recordings import load, needs_corpus
from stages.loops.answers import FILES, recorded

CORPUS_FILES = ("openai-chat", "openai-responses", "anthropic-messages", "gemini", "other")
_TEXTS = {"text", "content", "delta", "completion", "generation", "outputText", "response", "bytes"}
_INNER = re.compile(rb'"bytes"\s*:\s*"([A-Za-z0-9+/=]+)"')
_FEWEST = {
    "openai-chat": 572,
    "openai-responses": 390,
    "anthropic-messages": 334,
    "gemini": 342,
    "other": 168,
}
"""How many exchanges of each file there are at least; all are looked at."""


def documents(row: dict[str, Any]) -> Iterator[Any]:
    """Every JSON document of an answer: of its body, of each event, of each inner chunk."""
    body = row["response_body"] or ""
    data = base64.b64decode(body) if row.get("body_encoding") == "base64" else body.encode()
    inner = [base64.b64decode(found) for found in _INNER.findall(data)]
    lines = [line.removeprefix(b"data:").strip() for line in data.splitlines()]
    # Binary frames: the JSON object between the head of one and the head of the next.
    framed = re.findall(rb"\{\"[^\x00-\x08]{2,}?\}(?=[\x00-\x08]|$)", data)
    for pieces in ([data], inner, lines, framed):
        found = [one for one in map(read, pieces) if isinstance(one, dict | list)]
        if found:
            yield from found
            return


def read(data: bytes) -> Any:
    """The JSON value, None = it is none."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def told(document: Any, path: str, texts: dict[str, list[str]]) -> None:
    """Adds the document's texts, by where they stand in it."""
    if isinstance(document, dict):
        path += f"({document.get('type') or ''})"
        for key, value in document.items():
            if isinstance(value, str) and key in _TEXTS:
                texts.setdefault(f"{path}/{key}", []).append(value)
            else:
                told(value, f"{path}/{key}", texts)
    elif isinstance(document, list):
        for value in document:
            told(value, path, texts)


def looped(text: str) -> str:
    found = Detector(Limits()).feed(text)
    return "" if found is None else found.pattern


@needs_corpus
@pytest.mark.parametrize("name", CORPUS_FILES)
def test_no_text_of_a_recorded_answer_is_a_loop(name: str) -> None:
    rows = load(name)
    seen: Counter[str] = Counter()
    for row in rows:
        texts: dict[str, list[str]] = {}
        for document in documents(row):
            told(document, "", texts)
        seen[row["protocol"]] += bool(texts)
        for path, parts in texts.items():
            assert looped("".join(parts)) == "", (row["id"], path)
    assert len(rows) >= _FEWEST[name]
    without = {"anthropic-count-tokens", "gemini-count-tokens", "models-list"}
    assert [one for one, count in seen.items() if not count and one not in without] == []


@needs_corpus
def test_every_answer_that_a_dialect_reads_is_among_them() -> None:
    answers = texts = characters = 0
    for dialect in FILES:
        for ident, events in recorded(dialect):
            answers += 1
            said: dict[int, list[str]] = {}
            for event in events:
                if isinstance(event, PartDelta) and event.kind in ("text", "refusal"):
                    said.setdefault(event.choice, []).append(event.text)
                elif isinstance(event, PartStart) and isinstance(event.part, Text | Refusal):
                    said.setdefault(event.choice, []).append(event.part.text)
            for parts in said.values():
                texts += 1
                characters += len("".join(parts))
                assert looped("".join(parts)) == "", ident
    assert answers >= 1_711
    assert texts >= 1_211
    assert characters >= 377_000
