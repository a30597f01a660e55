"""The page "supported and not supported" is what the code does, and nothing is lost silently."""

from __future__ import annotations

from typing import get_args

import pytest

from docs_support import KINDS, PAGE, page, rows
from llmitm.canon.features import FEATURES
from llmitm.ruleset.providers import Kind
from support_probes import SOURCES, answer_probes, request_probes

GAPS = {
    # Counts beyond prompt and answer, and a paused turn.
    ("usage", "ollama_chat"),
    ("usage", "bedrock_converse"),
    ("finish.reason", "bedrock_converse"),
}
"""(feature, target) that goes without a word; nothing may join them."""


def test_the_page_is_as_the_code_has_it() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "refresh it: python tests/docs_support.py"


def test_every_feature_has_a_row_and_every_kind_of_call_a_word() -> None:
    told = {
        probe.feature
        for source in SOURCES
        for probes in (request_probes, answer_probes)
        for probe, _ in rows(source, probes)
    }
    assert told == set(FEATURES)
    assert set(KINDS) == set(get_args(Kind.__value__))


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_disappears_without_a_word(source: str) -> None:
    unsaid = {
        (probe.feature, target)
        for probes in (request_probes, answer_probes)
        for probe, cells in rows(source, probes)
        for target, verdict in cells.items()
        if verdict == "unsaid"
    }
    assert unsaid <= GAPS


@pytest.mark.parametrize("source", SOURCES)
def test_the_plain_things_are_carried_everywhere(source: str) -> None:
    cells = {
        (probe.feature, probe.what): {verdicts.get(name, "carried") for name in SOURCES}
        for probes in (request_probes, answer_probes)
        for probe, verdicts in rows(source, probes)
    }
    for plain in (
        ("instructions", ""),
        ("part.image", "base64"),
        ("part.document", "base64"),
        ("sampling.temperature", ""),
        ("sampling.max_tokens", ""),
        ("tool_choice", "one by name"),
        ("response_format", "schema"),
        ("part.reasoning", "in an answer"),
        ("finish.reason", "length"),
        ("usage", "input and output"),
        ("usage", "read from cache"),
    ):
        assert cells[plain] == {"carried"}, plain
