"""What was used of the budgets, kept in one private file over restarts.

One SQLite database, WAL, `synchronous=NORMAL`: a killed process loses nothing that was counted, and
several may count in the same file at once. Bounded: windows that are over go first. Never: holds a
name (keys are salted digests), raises, waits longer than a moment.
Source: SQLite documentation, Write-Ahead Logging, UPSERT, RETURNING.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from llmitm.record.memory_file import set_aside
from llmitm.ruleset.budgets import Used
from llmitm.stages.budgets.counters import Kept

MAX_ROWS = 50_000
_VERSION = 1
_BUSY_S = 0.05
_SALT_BYTES = 32
_TRIM_EVERY = 256
_RUINED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS counts (
    key BLOB PRIMARY KEY, start_s INTEGER NOT NULL, end_s INTEGER NOT NULL,
    requests INTEGER NOT NULL, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    total_tokens INTEGER NOT NULL, cost_usd REAL NOT NULL,
    unknown INTEGER NOT NULL, estimated INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS counts_end ON counts (end_s);
"""
_COLUMNS = (
    "start_s, end_s, requests, input_tokens, output_tokens, total_tokens, cost_usd, unknown, "
    "estimated"
)
_SUMMED = (
    "requests",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "cost_usd",
    "unknown",
    "estimated",
)
# A newer window takes the older one's place; of an older one nothing is counted any more.
_ADD = (
    "INSERT INTO counts VALUES (?,?,?,?,?,?,?,?,?,?) ON CONFLICT (key) DO UPDATE SET "  # noqa: S608
    + ", ".join(
        f"{name} = CASE WHEN excluded.start_s > start_s THEN excluded.{name} "
        f"WHEN excluded.start_s < start_s THEN {name} ELSE {name} + excluded.{name} END"
        for name in _SUMMED
    )
    + ", end_s = max(end_s, excluded.end_s), start_s = max(start_s, excluded.start_s) "
    + f"RETURNING {_COLUMNS}"
)
_READ = f"SELECT {_COLUMNS} FROM counts WHERE key = ? AND start_s = ?"  # noqa: S608
_TRIM = """DELETE FROM counts WHERE key IN (SELECT key FROM counts ORDER BY end_s
           LIMIT max(0, (SELECT count(*) FROM counts) - ?))"""


class DiskBudgetStore:
    """The `BudgetStore` on disk. salt: made with the file and kept in it.

    A file that is no database is set aside; without a file the counters live as long as the
    process. say: gets one line about each kind of trouble.
    """

    salt: bytes

    def __init__(self, path: Path, *, say: Callable[[str], None], max_rows: int = MAX_ROWS) -> None:
        self._path = path
        self._say = say
        self._said: set[str] = set()
        self._most = max_rows
        self._writes = 0
        self.salt = secrets.token_bytes(_SALT_BYTES)
        self._db: sqlite3.Connection | None = self._opened()

    def read(self, key: bytes, start_s: int) -> Kept | None:
        """What is kept of this window; None = nothing."""
        if self._db is None:
            return None
        try:
            row = self._db.execute(_READ, (key, start_s)).fetchone()
        except sqlite3.Error as trouble:
            self._troubled(trouble)
            return None
        return None if row is None else _kept(row)

    def add(self, key: bytes, more: Kept) -> Kept | None:
        """Adds to the window that `more` names; what is kept then, None = it was not written."""
        if self._db is None:
            return None
        used = more.used
        values = (
            *(key, more.start_s, more.end_s, used.requests, used.input_tokens),
            *(used.output_tokens, used.total_tokens, used.cost_usd, more.unknown, more.estimated),
        )
        try:
            rows = self._db.execute(_ADD, values).fetchall()
            self._writes += 1
            if self._writes % _TRIM_EVERY == 0:
                self._db.execute(_TRIM, (self._most,))
        except sqlite3.Error as trouble:
            self._troubled(trouble)
            return None
        return _kept(rows[0])

    def close(self) -> None:
        """Lets the file go."""
        if self._db is not None:
            with suppress(sqlite3.Error):
                self._db.execute(_TRIM, (self._most,))
            with suppress(sqlite3.Error):
                self._db.close()
            self._db = None

    def _opened(self) -> sqlite3.Connection | None:
        for _ in range(2):
            try:
                return self._open()
            except sqlite3.Error as trouble:
                if not self._aside(trouble):
                    return None
            except OSError as trouble:
                self._tell("open", f"{trouble}; budgets are counted in memory only")
                return None
        return None

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600))
        if self._path.stat().st_mode & 0o077:
            self._path.chmod(0o600)
        db = sqlite3.connect(
            self._path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, _VERSION):
                raise sqlite3.NotSupportedError(f"made by a newer version (schema {version})")
            db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={_VERSION};COMMIT;")
            db.execute("INSERT OR IGNORE INTO facts VALUES ('salt', ?)", (self.salt,))
            self.salt = bytes(
                db.execute("SELECT value FROM facts WHERE name = 'salt'").fetchone()[0]
            )
        except sqlite3.Error:
            db.close()
            raise
        return db

    def _aside(self, trouble: sqlite3.Error) -> bool:
        """Whether it was a broken file, now out of the way."""
        if getattr(trouble, "sqlite_errorcode", 0) & 0xFF not in _RUINED:
            self._tell("open", f"{trouble}; budgets are counted in memory only")
            return False
        try:
            place = set_aside(self._path)
        except OSError as error:
            self._tell("open", f"{trouble}, and cannot be set aside ({error})")
            return False
        self._tell(f"broken {place}", f"{trouble}; set aside as {place.name}")
        return True

    def _troubled(self, trouble: sqlite3.Error) -> None:
        code = getattr(trouble, "sqlite_errorcode", 0) & 0xFF
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            self._tell("busy", f"{trouble}; counted in memory until it is free")
            return
        assert self._db is not None
        with suppress(sqlite3.Error):
            self._db.close()
        self._db = None
        if code in _RUINED and self._aside(trouble):
            # The salt stays: the counters in memory go into the new file.
            self._db = self._opened()
            return
        self._tell("write", f"{trouble}; budgets are counted in memory only")

    def _tell(self, kind: str, line: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            self._say(f"{self._path}: {line}")


def _kept(row: tuple[Any, ...]) -> Kept:
    return Kept(
        start_s=row[0],
        end_s=row[1],
        used=Used(
            requests=row[2],
            input_tokens=row[3],
            output_tokens=row[4],
            total_tokens=row[5],
            cost_usd=row[6],
        ),
        unknown=row[7],
        estimated=row[8],
    )
