"""The file that a memory of conversations is kept in: tables, rows, bounds.

One SQLite database, WAL, `synchronous=NORMAL`: a killed process loses nothing, and several may
use the file at once. Source: SQLite documentation, Write-Ahead Logging, PRAGMA statements.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, cast

from llmitm.stages.conversation import Block, Conversation, NamedRoute, Settings

_VERSION = 1
_BUSY_S = 0.2
_OPENING_TRIES = 5
_MOST_TOUCHED = 512
_TRIMS = 64
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blocks (
    scope BLOB NOT NULL, key BLOB NOT NULL, kind TEXT NOT NULL, conversation TEXT NOT NULL,
    prefix TEXT NOT NULL, mode TEXT NOT NULL, replaces TEXT NOT NULL, used INTEGER NOT NULL,
    PRIMARY KEY (scope, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS blocks_used ON blocks (used);
CREATE TABLE IF NOT EXISTS prefixes (
    scope BLOB NOT NULL, prefix TEXT NOT NULL, PRIMARY KEY (scope, prefix)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS conversations (
    key TEXT PRIMARY KEY, content TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS conversations_used ON conversations (used);
CREATE TABLE IF NOT EXISTS aliases (
    other TEXT PRIMARY KEY, key TEXT NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS aliases_used ON aliases (used);
"""
_TRIM = (
    """DELETE FROM blocks WHERE (scope, key) IN (SELECT scope, key FROM blocks ORDER BY used
       LIMIT max(0, (SELECT count(*) FROM blocks) - ?1))""",
    """DELETE FROM conversations WHERE key IN (SELECT key FROM conversations ORDER BY used
       LIMIT max(0, (SELECT count(*) FROM conversations) - ?2))""",
    """DELETE FROM aliases WHERE other IN (SELECT other FROM aliases ORDER BY used
       LIMIT max(0, (SELECT count(*) FROM aliases) - ?1))""",
    "DELETE FROM aliases WHERE key NOT IN (SELECT key FROM conversations)",
    "DELETE FROM prefixes WHERE scope NOT IN (SELECT DISTINCT scope FROM blocks)",
)
_BY_KEY = "SELECT key, content FROM conversations WHERE key=?"
_BY_ALIAS = """SELECT key, content FROM conversations
               WHERE key=(SELECT key FROM aliases WHERE other=?)"""
_LOCKED = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_RUINED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Broken(Exception):
    """The file is no database, or a damaged one."""


class Busy(Exception):
    """Somebody else is writing right now."""


@contextmanager
def _told_apart() -> Generator[None]:
    """Damage and a lock get exceptions of their own."""
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _RUINED:
            raise Broken(str(error)) from None
        if code in _LOCKED:
            raise Busy(str(error)) from None
        raise


def open_file(path: Path, salt: bytes, most: tuple[int, int]) -> MemoryFile:
    """The file at `path`, made with this salt (mode 0600, its folder 0700) if it is absent.

    most: blocks (and as many aliases), conversations. Raises Broken, OSError, sqlite3.Error.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    if path.stat().st_mode & 0o077:
        path.chmod(0o600)
    trouble: Busy | None = None
    for _ in range(_OPENING_TRIES):
        db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        try:
            with _told_apart():
                return MemoryFile(db, salt, most)
        except Busy as error:
            db.close()
            trouble = error
        except (Broken, sqlite3.Error):
            db.close()
            raise
    raise sqlite3.OperationalError(str(trouble))


def set_aside(path: Path) -> Path:
    """Where the file is now that nobody looks for it there. Raises OSError."""
    count = 1
    while (place := path.with_name(f"{path.name}.broken-{count}")).exists():
        count += 1
    path.replace(place)
    for end in ("-wal", "-shm"):
        beside = path.with_name(path.name + end)
        if beside.exists():
            beside.replace(place.with_name(place.name + end))
    return place


class MemoryFile:
    """An open file. salt: the one it was made with. Every method raises Broken or sqlite3.Error."""

    def __init__(self, db: sqlite3.Connection, salt: bytes, most: tuple[int, int]) -> None:
        self._db = db
        self._most = most
        self._writes = 0
        self._touched: dict[tuple[str, bytes | str, bytes], None] = {}
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        version = self._one("PRAGMA user_version")
        if version not in (0, _VERSION):
            raise sqlite3.NotSupportedError(f"made by a newer version (schema {version})")
        with self._change():
            for statement in _SCHEMA.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA user_version={_VERSION}")
            db.execute("INSERT OR IGNORE INTO facts VALUES ('salt', ?)", (salt,))
        self.salt = bytes(cast("bytes", self._one("SELECT value FROM facts WHERE name='salt'")))
        tables = ("blocks", "conversations", "aliases")
        newest = [self._one(f"SELECT max(used) FROM {name}") for name in tables]  # noqa: S608
        self._used = max(cast("int", used or 0) for used in newest)
        self._version = self._one("PRAGMA data_version")

    def _one(self, query: str, *values: object) -> object:
        row = self._db.execute(query, values).fetchone()
        return None if row is None else row[0]

    @contextmanager
    def _change(self) -> Generator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    def others_wrote(self) -> bool:
        """Whether another process has written since this was last asked."""
        with _told_apart():
            version = self._one("PRAGMA data_version")
        changed, self._version = version != self._version, version
        return changed

    def scopes(self) -> dict[bytes, frozenset[str]]:
        """The command prefixes of every scope that has blocks."""
        found: dict[bytes, set[str]] = {}
        with _told_apart():
            for scope, prefix in self._db.execute("SELECT scope, prefix FROM prefixes"):
                found.setdefault(bytes(scope), set()).update([prefix] if prefix else [])
        return {scope: frozenset(prefixes) for scope, prefixes in found.items()}

    def block(self, scope: bytes, key: bytes) -> Block | None:
        """The block with this key."""
        query = "SELECT kind, conversation, prefix, mode, replaces FROM blocks"
        with _told_apart():
            row = self._db.execute(f"{query} WHERE scope=? AND key=?", (scope, key)).fetchone()
        if row is None or row[0] not in ("command", "tag", "response"):
            return None
        self.touch_block(scope, key)
        return Block(kind=row[0], conversation=row[1], prefix=row[2], mode=row[3], replaces=row[4])

    def conversation(self, key: str) -> Conversation | None:
        """The conversation with this key, or the one that it is an alias of."""
        wanted = (_storable(key),)
        with _told_apart():
            row = (
                self._db.execute(_BY_KEY, wanted).fetchone()
                or self._db.execute(_BY_ALIAS, wanted).fetchone()
            )
        if row is None:
            return None
        self.touch_conversation(row[0])
        return _read(row[0], row[1])

    def has_conversation(self, key: str) -> bool:
        """Whether it is kept under this very key."""
        with _told_apart():
            return self._one("SELECT 1 FROM conversations WHERE key=?", _storable(key)) is not None

    def has_names(self) -> bool:
        """Whether there is any alias at all."""
        with _told_apart():
            return self._one("SELECT 1 FROM aliases LIMIT 1") is not None

    def has_alias(self, other: str) -> bool:
        """Whether this is an alias of anything."""
        with _told_apart():
            return self._one("SELECT 1 FROM aliases WHERE other=?", _storable(other)) is not None

    def touch_block(self, scope: bytes, key: bytes) -> None:
        """It was used; written down with the next change."""
        self._touch(("blocks", scope, key))

    def touch_conversation(self, key: str) -> None:
        """It was used; written down with the next change."""
        self._touch(("conversations", key, b""))

    def _touch(self, place: tuple[str, bytes | str, bytes]) -> None:
        # Pulled out first: what was used last must come last.
        self._touched.pop(place, None)
        self._touched[place] = None
        if len(self._touched) > _MOST_TOUCHED:
            del self._touched[next(iter(self._touched))]

    def write(
        self,
        blocks: Mapping[tuple[bytes, bytes], Block],
        conversations: Mapping[str, Conversation],
        aliases: Mapping[str, str],
    ) -> None:
        """Keeps all of these at once; an alias of nothing (`""`) goes. Raises also Busy."""
        with _told_apart(), self._change():
            self._write_touched()
            for (scope, key), block in blocks.items():
                self._db.execute(
                    "INSERT OR REPLACE INTO blocks VALUES (?,?,?,?,?,?,?,?)",
                    (
                        *(scope, key, block.kind, _storable(block.conversation)),
                        *(_storable(block.prefix), _storable(block.mode)),
                        *(_storable(block.replaces), self._next()),
                    ),
                )
                self._db.execute(
                    "INSERT OR IGNORE INTO prefixes VALUES (?,?)", (scope, _storable(block.prefix))
                )
            for key, conversation in conversations.items():
                self._db.execute(
                    "INSERT OR REPLACE INTO conversations VALUES (?,?,?)",
                    (_storable(key), _written(conversation), self._next()),
                )
            for other, key in aliases.items():
                self._db.execute("DELETE FROM aliases WHERE other=?", (_storable(other),))
                if key:
                    self._db.execute(
                        "INSERT INTO aliases VALUES (?,?,?)",
                        (_storable(other), _storable(key), self._next()),
                    )
            self._trim()
        self._touched.clear()

    def _next(self) -> int:
        self._used += 1
        return self._used

    def _write_touched(self) -> None:
        for table, first, second in self._touched:
            if table == "blocks":
                self._db.execute(
                    "UPDATE blocks SET used=? WHERE scope=? AND key=?",
                    (self._next(), first, second),
                )
            else:
                self._db.execute(
                    "UPDATE conversations SET used=? WHERE key=?",
                    (self._next(), _storable(str(first))),
                )

    def _trim(self) -> None:
        """Now and then: counting every time would cost more than a few rows too many."""
        self._writes += 1
        if self._writes % max(1, min(self._most) // _TRIMS):
            return
        for statement in _TRIM:
            values = self._most[: 2 if "?2" in statement else 1 if "?1" in statement else 0]
            self._db.execute(statement, values)

    def close(self) -> None:
        """Writes down what was used and lets the file go."""
        # The order of use is all that may be lost.
        with suppress(sqlite3.Error), self._change():
            self._write_touched()
        with suppress(sqlite3.Error):
            self._db.close()


def _storable(text: str) -> str:
    """`text` as UTF-8 can hold it: a client's id may be anything that JSON can say."""
    return text.encode("utf-8", "replace").decode()


def _written(conversation: Conversation) -> str:
    settings = {
        key: dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value
        for key in (each.name for each in fields(Settings))
        if (value := getattr(conversation.settings, key)) is not None
    }
    content = {
        "tag": conversation.tag,
        "settings": settings,
        "routes": {name: asdict(route) for name, route in conversation.routes.items()},
        "one_off": conversation.one_off,
        "last_command": conversation.last_command,
        "last_answer": conversation.last_answer,
    }
    return json.dumps(content)


def _read(key: str, content: str) -> Conversation | None:
    """None if another version wrote it in a way that this one cannot read."""
    known = {each.name for each in fields(Settings)}
    try:
        given: dict[str, Any] = json.loads(content)
        routes = {
            name: NamedRoute(
                name=route["name"], policy=route["policy"], elements=tuple(route["elements"])
            )
            for name, route in given["routes"].items()
        }
        settings = {name: said for name, said in given["settings"].items() if name in known}
        return Conversation(
            key=key,
            tag=given["tag"],
            settings=Settings(**settings),
            routes=routes,
            one_off=given["one_off"],
            last_command=given["last_command"],
            last_answer=given["last_answer"],
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
