"""`llmitm review log`: entries for people and scripts, and a broken chain."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llmitm.desk.review_board import ended
from llmitm.mitm.console import main
from llmitm.mitm.review_terminal.wording import entry
from llmitm.record.decision_log import DecisionLog


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LLMITM_HOME", str(tmp_path))
    path = tmp_path / "decisions.jsonl"
    written = DecisionLog(path, lambda say: None)
    for number in range(60):
        row = {"at": 1_700_000_000.0 + number, "what": "decided", "action": "approve"}
        written.append({**row, "by": "anna", "request_id": f"id-{number}", "note": "a\x1b[2Jb"})
    written.close()
    return path


def run(capsys: Any, *words: str) -> tuple[int, str, str]:
    code = main(["review", "log", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def test_entries(log: Path, capsys: Any) -> None:
    code, out, _ = run(capsys)
    lines = out.splitlines()
    assert (code, len(lines)) == (0, 50)
    assert "approved by anna  id-59" in lines[-1]
    assert "\x1b" not in out
    assert len(run(capsys, "--last", "0")[1].splitlines()) == 60
    told = json.loads(run(capsys, "--last", "1", "--json")[1])
    assert told["ok"] is True
    assert [row["request_id"] for row in told["entries"]] == ["id-59"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"what": "offered"}, "held"),
        ({"what": "decided", "action": "answer", "effect": "answer"}, "answered by admin"),
        ({"what": "decided", "action": "edit", "effect": "forward_edited"}, "edited by admin"),
        ({"what": "finished", "action": "answer", "effect": "written_stop"}, "answered by admin"),
        ({"what": "timeout", "effect": "forward"}, "time ran out: it went on"),
        ({"what": "full", "effect": "refuse"}, f"{ended('full')}: the client was refused"),
        ({"what": "of a later version"}, "of a later version"),
    ],
)
def test_an_entry_in_words(row: dict[str, str], said: str) -> None:
    by = {"by": "admin"} if said.endswith("admin") else {}
    assert entry({**row, **by}) == said


def test_a_whole_chain(log: Path, capsys: Any) -> None:
    code, out, _ = run(capsys, "--verify")
    assert code == 0
    assert "60 lines, all in order" in out
    told = json.loads(run(capsys, "--verify", "--json")[1])
    assert (told["ok"], told["lines"], told["broken"]) == (True, 60, None)
    assert run(capsys, "--verify", "--last-hash", told["last"])[0] == 0
    assert run(capsys, "--verify", "--last-hash", "0" * 63 + "1")[0] == 1


def test_a_changed_line_is_found(log: Path, capsys: Any, tmp_path: Path) -> None:
    lines = log.read_text().splitlines(keepends=True)
    other = tmp_path / "other.jsonl"
    other.write_text("".join([*lines[:9], lines[9].replace("anna", "bert"), *lines[10:]]))
    code, out, _ = run(capsys, "--verify", "--file", str(other))
    assert code == 1
    assert out.startswith(f"{other}:10: ")
    assert json.loads(run(capsys, "--verify", "--json", "--file", str(other))[1])["broken"] == 10


def test_no_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setenv("LLMITM_HOME", str(tmp_path))
    code, out, err = run(capsys, "--verify")
    assert (code, out) == (1, "")
    assert "decisions.jsonl: No such file" in err
    code, out, _ = run(capsys, "--json")
    assert (code, json.loads(out)["ok"]) == (1, False)
