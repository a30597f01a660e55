"""The table of `llmitm explain`: what a terminal gets, whatever stands in the report."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from llmitm.desk.explain_table import explain_table
from llmitm.ruleset.routes import RoutesFile

ROUTES = RoutesFile()
ATTEMPT: dict[str, Any] = {
    "label": "openai.1:gpt-5",
    "lane": "patch",
    "protocol": "openai_chat",
    "url": "https://api.openai.com/v1/chat/completions",
    "key": "OPENAI_API_KEY",
    "first_byte_s": 60.0,
    "why": ["branch 1 of 2, one after the other", "key 1 of 2"],
    "changes": ["temperature 0.5 by the selector"],
    "losses": [
        {"feature": "verbosity", "path": "/verbosity", "how": "dropped", "say": "no such field"},
        {"feature": "sampling.seed", "path": "", "how": "adapted", "say": ""},
    ],
    "problem": None,
}


def report(**changes: Any) -> dict[str, Any]:
    return {
        "request": {
            "url": "https://api.openai.com/v1/chat/completions",
            "provider": "openai",
            "protocol": "openai_chat",
            "model": "gpt-5",
            "stream": True,
            "client": "codex",
            "conversation_id": "",
            "key": "own",
        },
        "stages": [{"stage": "route", "effect": "forward", "why": "", "where": ""}],
        "answered_here": None,
        "race": False,
        "attempts": [ATTEMPT],
        "left_out": [],
        "when_all_fail": "the client gets the last error",
        "limits": {
            **ROUTES.failover.model_dump(),
            **ROUTES.times.model_dump(),
            "duplicates": "off",
            "losses": "allow",
        },
        "notes": [],
        "error": None,
        **changes,
    }


def shown(row: dict[str, Any], width: int = 80, **console: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False, **console).print(explain_table(row))
    return out.getvalue()


@pytest.mark.parametrize("width", [40, 80, 200])
def test_every_fact_is_there_and_nothing_is_cut(width: int) -> None:
    text = " ".join(shown(report(), width).split())
    for fact in (
        "codex",
        "openai.1:gpt-5 patch openai_chat",
        "OPENAI_API_KEY",
        "key 1 of 2",
        "temperature 0.5 by the selector",
        "the client gets the last error",
    ):
        assert fact in text
    squeezed = shown(report(), width).replace(" ", "").replace("\n", "")
    assert "https://api.openai.com/v1/chat/completions" in squeezed
    assert "lostverbosity/verbositynosuchfield" in squeezed
    assert "adaptedsampling.seed" in squeezed


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    wild = "\x1b[31mred\x07[bold]"
    attempt = {**ATTEMPT, "label": wild, "why": [wild], "url": wild, "changes": [wild]}
    stages = [{"stage": "route", "effect": "refuse", "why": wild, "where": ""}]
    error = {"status": 400, "code": "c", "message": wild, "selector": wild, "at": 1}
    left = [{"target": wild, "why": wild}]
    text = shown(
        report(
            attempts=[attempt],
            stages=stages,
            error=error,
            left_out=left,
            notes=[wild],
            answered_here=wild,
            request={**report()["request"], "model": wild, "client": wild},
        )
    )
    assert "\x1b" not in text
    assert "\x07" not in text
    assert text.count("[bold]") >= 9


@pytest.mark.parametrize("before", ["", "openai:a|", "openai:日本|", "e\u0301:x|"])
def test_the_caret_stands_below_the_fault(before: str) -> None:
    selector = f"{before}nobody:x"
    row = {"status": 400, "code": "c", "message": "m", "selector": selector, "at": len(before) + 1}
    lines = shown(report(attempts=[], error=row)).splitlines()
    at = next(place for place, line in enumerate(lines) if line.strip() == selector)
    assert cell_len(lines[at + 1].rstrip()) - 1 == cell_len(f"  {before}")


def test_what_is_off_is_said() -> None:
    limits = {**report()["limits"], "enabled": False, "losses": "refuse", "duplicates": "attach"}
    text = shown(report(limits=limits))
    assert "failover is off" in text
    assert "what would lose something is not sent" in text
    assert "duplicates  attach" in text
