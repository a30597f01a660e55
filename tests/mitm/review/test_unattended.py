"""Rules that hold while nobody can decide: what is said at the start, and when nothing is."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import exceptions
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.addons.view import View
from mitmproxy.test import taddons

from llmitm.desk.edits import edited
from llmitm.mitm.review.desk import Desk
from llmitm.mitm.review.server import ReviewServer
from llmitm.mitm.rulebook import Rulebook

HOLDS = "rules: [{name: all, hold: request}, {name: off, hold: response, enabled: false}]\n"


@contextmanager
def started(
    tmp_path: Path, review: str, *more: object, options: dict[str, Any] | None = None
) -> Iterator[Desk]:
    """The desk of a proxy with these rules and other addons, before it runs."""
    rules = tmp_path / "laid-over"
    rules.mkdir()
    (rules / "review.yaml").write_text(review)
    environ = {"LLMITM_HOME": str(tmp_path / "home")}
    rulebook = Rulebook(environ=environ)
    desk = Desk(rulebook, environ)
    server = ReviewServer(desk.queue, desk.check, edited, environ=environ)
    with taddons.context(Proxyserver(), rulebook, server, *more) as context:
        context.configure(rulebook, llm_rules=str(rules), **(options or {}))
        context.configure(desk)
        yield desk
        rulebook.done()


def test_it_is_said_once_as_a_warning_with_the_next_step(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with started(tmp_path, HOLDS) as desk, caplog.at_level(logging.INFO, "llmitm"):
        desk.running()
    [record] = [one for one in caplog.records if one.name == "llmitm"]
    # mitmdump ends when an error is logged while it starts.
    assert record.levelno == logging.WARNING
    said = record.getMessage()
    assert said.count("\n") == 0
    assert "(all)" in said
    assert "--set llm_review_listen=127.0.0.1:8082" in said


def test_of_many_rules_some_are_named(tmp_path: Path) -> None:
    rows = ", ".join(f"{{name: r{number}, hold: request}}" for number in range(5))
    with started(tmp_path, f"rules: [{rows}]\n") as desk:
        assert "(r0, r1, r2 and 2 more)" in desk.unattended()


@pytest.mark.parametrize(
    ("review", "more", "options"),
    [
        ("rules: []\n", [], {}),
        (f"enabled: false\n{HOLDS}", [], {}),
        (HOLDS, [], {"llm_review_listen": "127.0.0.1:0"}),
        (HOLDS, [], {"llm_observe": True}),
        (HOLDS, [View], {}),
    ],
    ids=["no rule", "switched off", "a port", "only watched", "mitmproxy's list"],
)
def test_nothing_is_said(
    tmp_path: Path, review: str, more: list[type], options: dict[str, Any]
) -> None:
    with started(tmp_path, review, *(one() for one in more), options=options) as desk:
        assert desk.unattended() == ""


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("MAX_REQUEST_SIZE", "abc", "1024..268435456"),
        ("RATE_LIMIT_PER_MINUTE", "0", "1..1000000"),
        ("HILT_API_KEYS", "k," * 1001, "more than 1000 keys"),
    ],
)
def test_a_bad_variable_is_an_error_of_the_options(
    tmp_path: Path, name: str, value: str, allowed: str
) -> None:
    environ = {"LLMITM_HOME": str(tmp_path), name: value}
    rulebook = Rulebook(environ=environ)
    with taddons.context(Proxyserver(), rulebook) as context:
        context.configure(rulebook)
        desk = Desk(rulebook, environ)
        # What `load` raises, mitmproxy shows with a traceback.
        assert not hasattr(desk, "load")
        with pytest.raises(exceptions.OptionsError) as error:
            desk.configure(set())
        rulebook.done()
    assert name in str(error.value)
    assert allowed in str(error.value)
