"""The decision log: the chain, every way to break it, damage, several writers, a full disk."""

from __future__ import annotations

import errno
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from llmitm.record.decision_log import FIRST, DecisionLog, verify


def log_at(path: Path, said: list[str] | None = None) -> DecisionLog:
    return DecisionLog(path, ([] if said is None else said).append)


def filled(path: Path, lines: int = 5) -> DecisionLog:
    log = log_at(path)
    for number in range(lines):
        log.append({"what": "decided", "n": number, "note": "ä\ud800 \u2028 x"})
    return log


def test_lines_are_chained_private_and_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "decisions.jsonl"
    filled(path).close()
    again = log_at(path)
    again.append({"what": "decided", "n": 5})
    found = verify(path)
    assert (found.lines, found.broken, found.last) == (6, None, again.last)
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [row["n"] for row in rows] == list(range(6))
    assert [row["prev"] for row in rows] == [FIRST] + [row["hash"] for row in rows[:-1]]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_row_cannot_bring_its_own_chain(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log_at(path).append({"prev": "x", "hash": "y", "n": 1})
    assert verify(path).broken is None


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        (lambda lines: [lines[0], lines[1].replace(b'"n":1', b'"n":7'), *lines[2:]], 2),
        (lambda lines: [*lines[:2], *lines[3:]], 3),
        (lambda lines: [lines[0], lines[0], *lines[1:]], 2),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: lines[1:], 1),
        (lambda lines: [*lines[:4], lines[4][:-9]], 5),
        (lambda lines: [*lines[:3], b"{}\n", *lines[3:]], 4),
        (lambda lines: [*lines[:3], b"[1]\n", *lines[3:]], 4),
        (lambda lines: [*lines[:3], b"\n", *lines[3:]], 4),
        (lambda lines: [*lines[:3], b"\xff\n", *lines[3:]], 4),
        (lambda lines: [lines[0].replace(b'"n":', b'"n": '), *lines[1:]], 1),
        (lambda lines: [lines[0][:-2] + b',"n":0}\n', *lines[1:]], 1),
    ],
)
def test_every_change_is_found_at_its_line(tmp_path: Path, change: object, broken: int) -> None:
    path = tmp_path / "log"
    filled(path).close()
    assert callable(change)
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    found = verify(path)
    assert (found.broken, found.lines) == (broken, broken - 1)
    assert found.say


def test_a_cut_end_shows_against_a_noted_hash(tmp_path: Path) -> None:
    path = tmp_path / "log"
    last = filled(path).last
    assert verify(path, last).broken is None
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    assert verify(path).broken is None
    assert verify(path, last).broken == 4


def test_an_empty_log_is_in_order_and_a_missing_one_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.touch()
    assert verify(path).last == FIRST
    with pytest.raises(FileNotFoundError):
        verify(tmp_path / "none")


def test_what_a_crash_left_of_a_line_is_taken_off_and_told(tmp_path: Path) -> None:
    path = tmp_path / "log"
    filled(path, 2).close()
    with path.open("ab") as file:
        file.write(b'{"half":')
    log_at(path).append({"n": 9})
    rows = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [row.get("what") for row in rows] == ["decided", "decided", "torn_line_removed", None]
    assert rows[2]["bytes"] == 8
    assert verify(path).broken is None
    path.write_bytes(b'{"only half')
    log_at(path).append({"n": 1})
    assert verify(path).lines == 2


def test_after_a_damaged_line_it_goes_on_and_verify_says_where(tmp_path: Path) -> None:
    path = tmp_path / "log"
    filled(path, 2).close()
    with path.open("ab") as file:
        file.write(b"x" * 9_000_000 + b"\n")
    said: list[str] = []
    log_at(path, said).append({"n": 3})
    rows = path.read_bytes().splitlines()
    assert json.loads(rows[-1])["n"] == 3
    assert json.loads(rows[-2])["what"] == "damaged_line_found"
    assert (verify(path).broken, said) == (3, [])


def test_two_logs_on_one_file_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "log"
    one, two = log_at(path), log_at(path)
    for number in range(20):
        (one if number % 3 else two).append({"n": number})
    assert verify(path).lines == 20


@pytest.mark.skipif(sys.platform == "win32", reason="no file lock there")
def test_processes_that_write_at_once_make_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "log"
    program = (
        "import sys; from pathlib import Path; from llmitm.record.decision_log import DecisionLog\n"
        "log = DecisionLog(Path(sys.argv[1]), sys.exit)\n"
        "for n in range(200): log.append({'n': n})\n"
    )
    started = [subprocess.Popen([sys.executable, "-c", program, str(path)]) for _ in range(3)]
    assert [each.wait(60) for each in started] == [0, 0, 0]
    found = verify(path)
    assert (found.lines, found.broken) == (600, None)


def test_a_full_disk_loses_a_line_not_the_chain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = tmp_path / "log", list[str]()
    log = log_at(path, said)
    log.append({"n": 0})
    real = os.write

    def half(fd: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", nothing)
        return real(fd, data[:20])

    def nothing(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "write", half)
    log.append({"n": 1})
    log.append({"n": 2})
    monkeypatch.setattr(os, "write", real)
    log.append({"n": 3})
    assert (verify(path).lines, verify(path).broken, log.lost) == (2, None, 2)
    assert said == ["log: cannot write the decision log: No space left on device"]


def test_a_line_that_is_no_json_or_too_long_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    log = log_at(tmp_path / "log", said)
    log.append({"n": float("nan")})
    log.append({"n": 1})
    log.append({"n": "x" * 5_000_000})
    assert (verify(tmp_path / "log").lines, log.lost, len(said)) == (1, 2, 2)


@pytest.mark.skipif(sys.platform == "win32", reason="no such links there")
def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    said: list[str] = []
    log_at(tmp_path / "log", said).append({"n": 1})
    assert len(said) == 1
    assert not (tmp_path / "elsewhere").exists()
