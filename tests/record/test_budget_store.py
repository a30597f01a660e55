"""The file that budgets are counted in: restarts, other processes, damage."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from llmitm.record.budget_store import DiskBudgetStore
from llmitm.ruleset.budgets import Used
from llmitm.stages.budgets.counters import Kept

ONE = Kept(
    start_s=60,
    end_s=120,
    used=Used(requests=1, input_tokens=2, output_tokens=3, total_tokens=5, cost_usd=0.25),
    unknown=1,
    estimated=2,
)


def store_at(path: Path, said: list[str] | None = None, max_rows: int = 50_000) -> DiskBudgetStore:
    lines = [] if said is None else said
    return DiskBudgetStore(path, say=lines.append, max_rows=max_rows)


def test_what_was_added_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "budgets.sqlite3"
    store = store_at(path)
    assert store.read(b"k", 60) is None
    assert store.add(b"k", ONE) == ONE
    twice = ONE.plus(ONE)
    assert store.add(b"k", ONE) == twice
    salt = store.salt
    store.close()
    again = store_at(path)
    assert (again.read(b"k", 60), again.salt) == (twice, salt)
    assert again.read(b"other", 60) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_newer_window_takes_the_place_of_the_older_one(tmp_path: Path) -> None:
    store = store_at(tmp_path / "b")
    store.add(b"k", ONE)
    later = Kept(start_s=120, end_s=180, used=Used(requests=7))
    assert store.add(b"k", later) == later
    assert store.read(b"k", 60) is None
    # What comes late for a window that is over counts for none.
    assert store.add(b"k", ONE) == later


def test_two_processes_count_together(tmp_path: Path) -> None:
    one, other = store_at(tmp_path / "b"), store_at(tmp_path / "b")
    assert one.salt == other.salt
    one.add(b"k", ONE)
    assert other.add(b"k", ONE) == ONE.plus(ONE)


def test_a_killed_process_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b"
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from llmitm.record.budget_store import DiskBudgetStore\n"
        "from llmitm.ruleset.budgets import Used\n"
        "from llmitm.stages.budgets.counters import Kept\n"
        "store = DiskBudgetStore(Path(sys.argv[1]), say=print)\n"
        "for _ in range(50):\n"
        "    store.add(b'k', Kept(start_s=60, end_s=120, used=Used(requests=1)))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", program, str(path)], check=False)
    assert ended.returncode == -9
    kept = store_at(path).read(b"k", 60)
    assert kept is not None
    assert kept.used.requests == 50


@pytest.mark.parametrize(
    "content", [b"no database at all " * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_broken_file_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "b"
    path.write_bytes(content)
    said: list[str] = []
    store = store_at(path, said)
    assert store.add(b"k", ONE) == ONE
    assert [line for line in said if "set aside" in line] == said
    assert len(said) == 1
    assert (tmp_path / "b.broken-1").read_bytes() == content


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "b"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    said: list[str] = []
    store = store_at(path, said)
    assert store.add(b"k", ONE) is None
    assert "newer version" in said[0]


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    said: list[str] = []
    store = store_at(tmp_path / "file" / "b", said)
    assert store.read(b"k", 60) is None
    assert store.add(b"k", ONE) is None
    assert "in memory only" in said[0]
    store.close()


def test_somebody_else_writes(tmp_path: Path) -> None:
    said: list[str] = []
    store = store_at(tmp_path / "b", said)
    other = sqlite3.connect(tmp_path / "b", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert store.add(b"k", ONE) is None
    assert store.add(b"k", ONE) is None
    assert len(said) == 1
    other.execute("ROLLBACK")
    other.close()
    assert store.add(b"k", ONE) == ONE


def test_the_file_is_bounded(tmp_path: Path) -> None:
    store = store_at(tmp_path / "b", max_rows=10)
    for number in range(600):
        row = Kept(start_s=number, end_s=number + 60, used=Used(requests=1))
        store.add(str(number).encode(), row)
    store.close()
    with sqlite3.connect(tmp_path / "b") as db:
        rows = db.execute("SELECT end_s FROM counts ORDER BY end_s").fetchall()
    assert [row[0] for row in rows] == list(range(650, 660))
