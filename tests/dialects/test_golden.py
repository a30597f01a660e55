"""The own corpus in every pair of dialects is what the golden files say, losses included."""

from __future__ import annotations

from pathlib import Path

import pytest

from dialects.corpus import CORPUS, own_answers, own_requests
from dialects.golden import GOLDEN, golden_texts
from dialects.pairs import NAMES, events_in
from llmitm.canon.fold import fold
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS

TEXTS = dict(golden_texts())


def test_every_case_has_its_golden_file_and_nothing_else_is_there() -> None:
    found = {file.relative_to(GOLDEN) for file in GOLDEN.rglob("*") if file.is_file()}
    assert found == set(TEXTS), "run: python tests/dialects/refresh_golden.py"


@pytest.mark.parametrize("name", sorted(TEXTS), ids=str)
def test_golden(name: Path) -> None:
    """A change that is meant: `python tests/dialects/refresh_golden.py`, then read the diff."""
    assert TEXTS[name] == (GOLDEN / name).read_bytes().decode()


@pytest.mark.parametrize("source", NAMES)
def test_the_own_corpus_shows_what_it_is_for(source: str) -> None:
    """Every subject that it is written for is there, so that no pair goes without."""
    assert {file.name for file in CORPUS.iterdir()} == {"requests", "answers", "golden"}
    requests = [request for _, request in own_requests(source)]
    answers = [fold(events_in(source, body, stream=s)) for _, s, body in own_answers(source)]
    assert subjects_of_requests(requests) >= {
        "instructions", "image", "calls", "parallel", "results", "reasoning", "signature",
        "schema", "tools", "choice", "sampling",
    }  # fmt: skip
    assert subjects_of_answers(answers) >= {
        "text", "calls", "parallel", "cached", "length", "fault", "cut",
    }  # fmt: skip


def subjects_of_requests(requests: list[Request]) -> set[str]:
    told: set[str] = set()
    for request in requests:
        kinds = [type(p).__name__ for message in request.messages for p in message.parts]
        per_message = [
            sum(type(p).__name__ == "ToolCall" for p in message.parts)
            for message in request.messages
        ]
        told |= {
            subject
            for subject, there in (
                ("instructions", request.instructions or request.messages[0].role == "system"),
                ("image", "Media" in kinds),
                ("calls", "ToolCall" in kinds),
                ("parallel", sum(per_message) > 1),
                ("results", "ToolResult" in kinds),
                ("reasoning", "Reasoning" in kinds),
                ("signature", signed(request)),
                ("schema", request.response_format and request.response_format.schema),
                ("tools", request.tools),
                ("choice", request.tool_choice),
                ("sampling", request.sampling.temperature is not None),
            )
            if there
        }
    return told


def signed(request: Request) -> bool:
    return any(
        getattr(part, "signature", None) or getattr(part, "encrypted", None)
        for message in request.messages
        for part in message.parts
    )


def subjects_of_answers(answers: list[Response]) -> set[str]:
    told: set[str] = set()
    for answer in answers:
        parts = answer.choices[0].parts if answer.choices else ()
        kinds = [type(part).__name__ for part in parts]
        finish = answer.choices[0].finish if answer.choices else None
        told |= {
            subject
            for subject, there in (
                ("text", "Text" in kinds),
                ("calls", "ToolCall" in kinds),
                ("parallel", kinds.count("ToolCall") > 1),
                ("cached", answer.usage and answer.usage.cache_read_tokens),
                ("length", finish and finish.reason == "length"),
                ("fault", answer.fault and not answer.choices),
                ("cut", answer.fault and answer.choices),
            )
            if there
        }
    return told


@pytest.mark.parametrize("name", NAMES)
def test_own_requests_come_back_without_a_loss(name: str) -> None:
    for case, request in own_requests(name):
        assert DIALECTS[name].encode_request(request, DEFAULT_FACTS).losses == (), case
