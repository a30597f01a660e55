"""Splits a byte stream into server-sent events and prints them, byte-faithfully.

A frame's raw bytes include its terminator, so joined frames are the stream. Comments, unknown
fields and CR, LF, CRLF line ends are kept. Never decodes JSON, never drops a byte.
Source: WHATWG HTML, server-sent events, section "interpreting an event stream".
"""

from __future__ import annotations

import re
from typing import NamedTuple

_BLANK = re.compile(rb"\r\n\r\n|\n\n|\r\r|\r\n\n|\n\r\n|\n\r")
_LINE = re.compile(rb"\r\n|\n|\r")
_LONGEST_TERMINATOR = 4

HEARTBEAT = b": keepalive".ljust(2048) + b"\n\n"
"""A comment, which every client skips; padded, because what stands between us and a client may
gather small pieces before it passes them on."""


class SseFrame(NamedTuple):
    """One event. event: the `event:` field, empty without; data: `data:` lines joined by LF,
    None when there was no data line (a comment, a blank)."""

    raw: bytes
    event: str
    data: bytes | None


class SseSplitter:
    """Feed chunks, get complete frames; `close()` gives the unterminated rest."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._scanned = b""

    def feed(self, chunk: bytes) -> list[SseFrame]:
        """Frames completed by `chunk`. Work is proportional to the chunk, not to what is pending.

        A terminator that ends exactly at the chunk's end closes its frame at once, except after
        a lone CR, which may yet be half of a CRLF.
        """
        if self._scanned:
            window = self._scanned + chunk
            offset = len(self._scanned)
        else:
            window, offset = chunk, 0
        frames: list[SseFrame] = []
        start = 0
        for match in _BLANK.finditer(window):
            end = match.end()
            if end <= offset and window[end - 1] != 0x0D:
                continue
            if end == len(window) and window[end - 1] == 0x0D:
                break
            head = b"".join(self._pieces)[: -offset or None] if self._pieces else b""
            self._pieces.clear()
            frames.append(parse_frame(head + window[start:end] if head else window[start:end]))
            start, offset = end, 0
        self._keep(window, start, chunk)
        return frames

    def _keep(self, window: bytes, start: int, chunk: bytes) -> None:
        if start:
            rest = window[start:]
            if rest:
                self._pieces.append(rest)
            self._scanned = rest[-_LONGEST_TERMINATOR:]
        else:
            if chunk:
                self._pieces.append(chunk)
            self._scanned = window[-_LONGEST_TERMINATOR:]

    def close(self) -> list[SseFrame]:
        """The rest as a last frame, if there is any."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._scanned = b""
        return [parse_frame(rest)] if rest else []


def parse_frame(raw: bytes) -> SseFrame:
    """The fields of one frame given with or without its terminator."""
    if raw.startswith(b"data: "):
        # What nearly every provider sends: one data line, ended by LF LF or CRLF CRLF.
        ends = raw.find(b"\n")
        if ends == len(raw) - 2 and raw.endswith(b"\n\n") and b"\r" not in raw:
            return SseFrame(raw, "", raw[6:-2])
        if ends == len(raw) - 3 and raw.endswith(b"\r\n\r\n") and raw.find(b"\r") == ends - 1:
            return SseFrame(raw, "", raw[6:-4])
    event = ""
    data: list[bytes] = []
    for line in _LINE.split(raw):
        name, _, value = line.partition(b":")
        if name == b"data":
            data.append(value[1:] if value.startswith(b" ") else value)
        elif name == b"event":
            event = value.strip().decode("utf-8", "replace")
    return SseFrame(raw, event, b"\n".join(data) if data else None)


def data_frame(data: bytes) -> bytes:
    """`data: …` with its blank line."""
    return b"data: " + data + b"\n\n"


def named_frame(event: str, data: bytes) -> bytes:
    """`event: …` and `data: …` with their blank line."""
    return b"event: " + event.encode() + b"\ndata: " + data + b"\n\n"
