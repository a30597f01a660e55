"""The log of what operators decided: JSON lines that only grow, each bound to the one before.

A line has `prev`, the `hash` of the line before it (64 zeros for the first), and `hash`, the
SHA-256 of its own canonical JSON without `hash` (keys sorted, no white space, ASCII). To change,
take out or put in a line breaks the chain there. What is cut off at the end shows only against a
hash that was noted elsewhere: see `verify`. Several processes may write to one file.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from llmitm.canon.values import Json

if sys.platform != "win32":
    import fcntl

FIRST = "0" * 64
_MOST_LINE = 4_000_000
_READ = 65_536


@dataclass(frozen=True, slots=True)
class Verdict:
    """lines: whole lines that are in order; broken: 1-based number of the first that is not,
    None = all are; say: what is wrong with it, empty = nothing; last: hash of the last one in
    order, 64 zeros = there is none."""

    lines: int
    broken: int | None
    say: str
    last: str


class DecisionLog:
    """Appends lines. A line that cannot be written is told to `trouble`, once until it works
    again, and is lost: decisions go on. The file is opened when the first line is written."""

    def __init__(self, path: Path, trouble: Callable[[str], None]) -> None:
        self._path = path
        self._trouble = trouble
        self._troubled = False
        self._fd: int | None = None
        self._size = -1
        self._last = FIRST
        self.lost = 0

    def append(self, row: Mapping[str, Json]) -> None:
        """Writes one line. Its keys `prev` and `hash` are the log's own."""
        try:
            self._append(row)
        except (OSError, ValueError) as error:
            self.lost += 1
            self._size = -1
            if not self._troubled:
                self._troubled = True
                said = error.strerror if isinstance(error, OSError) else str(error)
                self._trouble(f"{self._path.name}: cannot write the decision log: {said}")
            return
        self._troubled = False

    def _append(self, row: Mapping[str, Json]) -> None:
        if self._fd is None:
            self._fd = _open(self._path)
        with _locked(self._fd):
            size = os.fstat(self._fd).st_size
            if size != self._size:
                # Opened just now, or another process has written.
                size = self._resume(size)
            line, last = _line(row, self._last)
            try:
                _write(self._fd, line)
            except OSError:
                # Half a line would break the chain for those that follow.
                os.ftruncate(self._fd, size)
                raise
            self._size = size + len(line)
            self._last = last

    def _resume(self, size: int) -> int:
        """The size from which to go on; what a crash left of a line is taken off and told."""
        assert self._fd is not None
        whole, tail = _last_line(self._fd, size)
        torn, found = size - whole, _hash_in(tail)
        if torn:
            os.ftruncate(self._fd, whole)
        # After a damaged line `verify` stops, but what comes is better written than lost.
        self._last = found or (sha256(tail).hexdigest() if tail else FIRST)
        said: list[dict[str, Json]] = []
        if tail and found is None:
            said.append({"what": "damaged_line_found"})
        if torn:
            said.append({"what": "torn_line_removed", "bytes": torn})
        for row in said:
            line, self._last = _line(row, self._last)
            _write(self._fd, line)
            whole += len(line)
        return whole

    @property
    def last(self) -> str:
        """The hash of the last line this process wrote, for `verify`."""
        return self._last

    def close(self) -> None:
        """Lets the file go. Another `append` opens it again."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd, self._size = None, -1


def verify(path: Path, last: str = "") -> Verdict:
    """Whether the log is as it was written. last: a hash that must be in it, empty = none is known.

    Raises OSError when it cannot be read.
    """
    prev, lines, seen = FIRST, 0, not last
    with path.open("rb") as file:
        while line := file.readline(_MOST_LINE):
            say, told = _wrong(line, prev)
            if say:
                return Verdict(lines, lines + 1, say, prev)
            prev = told
            lines += 1
            seen = seen or prev == last
    if not seen:
        return Verdict(lines, lines + 1, "lines are missing at the end", prev)
    return Verdict(lines, None, "", prev)


def _wrong(line: bytes, prev: str) -> tuple[str, str]:
    """(what is wrong with a line, empty = nothing; its hash)."""
    if not line.endswith(b"\n"):
        return "the line is not complete, or longer than any that is written", ""
    row = _row(line)
    if row is None:
        return "not a line of this log", ""
    told = row.pop("hash", None)
    if not isinstance(told, str):
        return "not a line of this log", ""
    if row.get("prev") != prev:
        return "not bound to the line before it: a line was changed, taken out or put in", told
    if line != _line(row, prev)[0] or sha256(_canonical(row)).hexdigest() != told:
        return "changed after it was written", told
    return "", told


def _row(line: bytes) -> dict[str, Json] | None:
    try:
        row: Json = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def _canonical(row: Mapping[str, Json]) -> bytes:
    return json.dumps(row, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _line(row: Mapping[str, Json], prev: str) -> tuple[bytes, str]:
    """(the line, its hash). Raises ValueError when it is too long or no JSON."""
    bound = {**row, "prev": prev}
    bound.pop("hash", None)
    found = sha256(_canonical(bound)).hexdigest()
    line = _canonical({**bound, "hash": found}) + b"\n"
    if len(line) > _MOST_LINE:
        raise ValueError(f"a line of {len(line)} bytes is too long")
    return line, found


def _hash_in(line: bytes) -> str | None:
    """The hash that a line tells, None = it is no line of a log."""
    row = _row(line)
    found = row.get("hash") if row is not None else None
    return found if isinstance(found, str) else None


def _open(path: Path) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A link that somebody else has put there is not followed.
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    return os.open(path, flags | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0), 0o600)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


def _last_line(fd: int, size: int) -> tuple[int, bytes]:
    """(size up to the end of the last whole line, that line), (0, b"") when there is none.

    Of a line longer than any of this log only its end.
    """
    held, start = b"", size
    while start > 0 and held.count(b"\n") < 2:
        step = min(_READ, start)
        start -= step
        os.lseek(fd, start, os.SEEK_SET)
        held = os.read(fd, step) + held
        if len(held) > 2 * _MOST_LINE:
            break
    whole, newline, _ = held.rpartition(b"\n")
    if not newline:
        return 0, b""
    return start + len(whole) + 1, whole.rpartition(b"\n")[2] + b"\n"


@contextmanager
def _locked(fd: int) -> Generator[None]:
    """Nobody else appends meanwhile; held for one short line."""
    if sys.platform == "win32":
        yield
    else:
        fcntl.flock(fd, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(fd, fcntl.LOCK_UN)
