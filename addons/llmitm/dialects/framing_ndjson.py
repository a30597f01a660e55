"""Splits newline-delimited JSON into its lines, byte-faithfully.

A frame's raw bytes include its line end, so joined frames are the stream. Never parses a line,
never drops a byte. Source: the NDJSON convention (one JSON value a line, LF or CRLF).
"""

from __future__ import annotations

from typing import NamedTuple


class LineFrame(NamedTuple):
    """One line. data: its text without white space around it, None for a blank line."""

    raw: bytes
    data: bytes | None


class NdjsonSplitter:
    """Feed chunks, get complete lines; `close()` gives the unterminated rest."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, chunk: bytes) -> list[LineFrame]:
        """Lines completed by `chunk`. Work is proportional to the chunk, not to what is pending."""
        head, newline, rest = chunk.partition(b"\n")
        if not newline:
            if chunk:
                self._pieces.append(chunk)
            return []
        self._pieces.append(head + newline)
        frames = [_line(b"".join(self._pieces))]
        self._pieces.clear()
        if rest:
            lines = rest.split(b"\n")
            frames += [_line(line + b"\n") for line in lines[:-1]]
            if lines[-1]:
                self._pieces.append(lines[-1])
        return frames

    def close(self) -> list[LineFrame]:
        """The rest as a last frame, if there is any."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        return [_line(rest)] if rest else []


def _line(raw: bytes) -> LineFrame:
    return LineFrame(raw, raw.strip() or None)


def line(data: bytes) -> bytes:
    """`data` as one line; it must hold no line feed (compact JSON never does)."""
    return data + b"\n"
