"""`llmitm review log`: what the decision log of this machine holds, and whether it is whole."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, cast

from llmitm.desk.review_card import one_line
from llmitm.mitm.home import state_folder
from llmitm.mitm.review_terminal import wording
from llmitm.mitm.review_terminal.plain import FAILED, OK, print_json
from llmitm.record.decision_log import verify

LOG_FILE = "decisions.jsonl"
"""The decision log, in the state folder."""

_MOST_LINE = 4_000_000


def main(given: argparse.Namespace) -> int:
    """Prints entries, oldest first, or the verdict of `--verify`; the exit code: 1 = it cannot be
    read, or its chain is broken."""
    path = Path(given.file) if given.file else state_folder(os.environ) / LOG_FILE
    try:
        if given.verify:
            return _verified(path, given.last_hash, as_json=given.json)
        rows = _rows(path, given.last)
    except OSError as error:
        say = f"{path}: {error.strerror}"
        if given.json:
            print_json({"ok": False, "error": {"code": "not_found", "message": say}})
        else:
            sys.stderr.write(f"llmitm review: {say}\n")
        return FAILED
    if given.json:
        print_json({"ok": True, "entries": rows})
    else:
        sys.stdout.writelines(f"{_worded(row)}\n" for row in rows)
    return OK


def _verified(path: Path, last: str, *, as_json: bool) -> int:
    found = verify(path, last)
    whole = found.broken is None
    if as_json:
        told = {"ok": whole, "lines": found.lines, "broken": found.broken, "say": found.say}
        print_json({**told, "last": found.last})
    elif whole:
        sys.stdout.write(f"{path}: {found.lines} lines, all in order; the last is {found.last}\n")
    else:
        sys.stdout.write(f"{path}:{found.broken}: {found.say} ({found.lines} lines in order)\n")
    return OK if whole else FAILED


def _rows(path: Path, most: int) -> list[dict[str, Any]]:
    """The last entries, 0 = all of them. Lines that are none are left out: see `--verify`."""
    rows = _read(path)
    return list(deque(rows, most)) if most > 0 else list(islice(rows, None))


def _read(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        while line := file.readline(_MOST_LINE):
            try:
                row: Any = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(row, dict):
                yield cast("dict[str, Any]", row)


def _worded(row: dict[str, Any]) -> str:
    at = row.get("at")
    when = ""
    if isinstance(at, (int, float)):
        when = f"{datetime.fromtimestamp(at, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
    about = [str(row.get(name) or "") for name in ("kind", "client", "model", "reason", "note")]
    facts = [when, wording.entry(row), str(row.get("request_id") or "")]
    return "  ".join(one_line(fact) for fact in (*facts, " · ".join(filter(None, about))) if fact)
