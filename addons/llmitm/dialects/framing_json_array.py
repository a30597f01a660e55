"""Splits a streamed JSON array into its elements, byte-faithfully.

Serves `[{…}, {…}]` as it grows, and as well JSON values that just follow each other (a plain
error object where an array was expected). A frame's raw bytes hold what stood before its element
(bracket, comma, white space), so joined frames are the stream. Never parses an element, never
raises; text that is no JSON comes out in some frame. Source: RFC 8259.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_STRING = re.compile(rb'[^"\\]*(?:\\.[^"\\]*)*', re.DOTALL)
_MARK = re.compile(rb'["\[\]{},]')
# The bytes of a byte order mark begin no JSON value.
_BARE = re.compile(rb'[^\s,\[\]{}":\xef\xbb\xbf]')
_QUOTE, _BACKSLASH, _COMMA, _BRACKET = 0x22, 0x5C, 0x2C, 0x5B


class ArrayFrame(NamedTuple):
    """One element. data: its JSON text, None when there is none (the closing bracket)."""

    raw: bytes
    data: bytes | None


class JsonArraySplitter:
    """Feed chunks, get complete elements; `close()` gives the unterminated rest.

    Work is proportional to the chunk, not to what is pending.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._depth = 0
        # The depth of the elements: 1 in an array, 0 without one, None before the first mark.
        self._base: int | None = None
        self._in_string = False
        self._escaped = False
        # Whether an element has begun, and where in the pending bytes.
        self._started = False
        self._lead = 0

    def feed(self, chunk: bytes) -> list[ArrayFrame]:
        """Elements completed by `chunk`, each as soon as its last byte is there.

        A number, true, false or null ends with what follows it.
        """
        frames: list[ArrayFrame] = []
        start = at = 0
        size = len(chunk)
        while at < size:
            if self._in_string:
                at = self._string(chunk, at)
                continue
            match = _MARK.search(chunk, at)
            here = match.start() if match else size
            if not self._started:
                bare = _BARE.search(chunk, at, here)
                if bare is not None:
                    self._begin(bare.start() - start)
            if match is None:
                break
            at = here + 1
            end = self._mark(chunk[here], here, start)
            if end >= 0:
                frames.append(self._frame(chunk[start:end]))
                start = end
        if start < size:
            self._pieces.append(chunk[start:])
        return frames

    def _mark(self, mark: int, here: int, start: int) -> int:
        """Where an element ends because of this mark, -1 if none does."""
        base = self._base or 0
        if mark == _QUOTE:
            self._begin(here - start)
            self._in_string = True
        elif mark in b"[{":
            if self._base is None and mark == _BRACKET:
                self._base = self._depth = 1
                return -1
            self._begin(here - start)
            self._depth += 1
        elif self._depth == base:
            # The bare value before a comma or the array's end.
            return here if self._started else -1
        elif mark != _COMMA:
            self._depth -= 1
            return here + 1 if self._depth == base else -1
        return -1

    def _begin(self, offset: int) -> None:
        if not self._started:
            self._started = True
            self._lead = sum(map(len, self._pieces)) + offset
            if self._base is None:
                self._base = 0

    def _string(self, chunk: bytes, at: int) -> int:
        """Where the scan goes on after the string that `at` lies in, or as much as is there."""
        if self._escaped:
            self._escaped = False
            at += 1
        match = _STRING.match(chunk, at)
        end = match.end() if match else at
        if end == len(chunk):
            return end
        if chunk[end] == _BACKSLASH:
            self._escaped = True
        else:
            self._in_string = False
        return end + 1

    def _frame(self, last: bytes) -> ArrayFrame:
        self._pieces.append(last)
        raw = b"".join(self._pieces)
        self._pieces.clear()
        data = raw[self._lead :].strip()
        self._started = False
        self._lead = 0
        return ArrayFrame(raw, data or None)

    def close(self) -> list[ArrayFrame]:
        """The rest as a last frame, if there is any: the array's end, or a cut element."""
        rest = b"".join(self._pieces)
        data = rest[self._lead :].strip() if self._started else b""
        self._pieces.clear()
        self._depth, self._base, self._lead = 0, None, 0
        self._started = self._in_string = self._escaped = False
        return [ArrayFrame(rest, data or None)] if rest else []


def first_element(data: bytes) -> bytes:
    """The bytes that open an array with this element."""
    return b"[" + data


def next_element(data: bytes) -> bytes:
    """The bytes that add this element to an array."""
    return b",\r\n" + data
