"""The page "supported and not supported" is what the code does, and nothing is lost silently."""

from __future__ import annotations

from typing import get_args

import pytest

from docs_support import KINDS, PAGE, page, rows
from llmitm.canon.features import FEATURES
from llmitm.ruleset.providers import Kind
from support_probes import SOURCES, answer_probes, request_probes


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
    assert not unsaid


RICH = SOURCES[:4]
"""Protocols that know documents and a choice of tools and count what a cache had."""

PLAIN = (
    ("instructions", ""),
    ("part.image", "base64"),
    ("sampling.temperature", ""),
    ("sampling.max_tokens", ""),
    ("response_format", "schema"),
    ("part.reasoning", "in an answer"),
    ("finish.reason", "length"),
    ("usage", "input and output"),
)


def cells_of(source: str, targets: tuple[str, ...]) -> dict[tuple[str, str], set[str]]:
    return {
        (probe.feature, probe.what): {verdicts.get(name, "carried") for name in targets}
        for probes in (request_probes, answer_probes)
        for probe, verdicts in rows(source, probes)
    }


@pytest.mark.parametrize("source", SOURCES)
def test_the_plain_things_are_carried_everywhere(source: str) -> None:
    cells = cells_of(source, SOURCES)
    for plain in PLAIN:
        assert cells[plain] == {"carried"}, plain


@pytest.mark.parametrize("source", RICH)
def test_more_is_carried_among_the_rich(source: str) -> None:
    cells = cells_of(source, RICH)
    for plain in (
        ("part.document", "base64"),
        ("tool_choice", "one by name"),
        ("usage", "read from cache"),
    ):
        assert cells[plain] == {"carried"}, plain


def test_a_row_is_there_only_where_the_protocol_can_say_it() -> None:
    """Ollama asks for thinking by a word or not at all, and knows no strict tools."""
    cells = cells_of("ollama_chat", SOURCES)
    assert ("reasoning.effort", "") in cells
    for absent in (("reasoning.budget_tokens", ""), ("reasoning.mode", "adaptive")):
        assert absent not in cells
    assert ("tool.strict", "") not in cells
    assert ("finish.stop_sequence", "") not in cells_of("bedrock_converse", SOURCES)
