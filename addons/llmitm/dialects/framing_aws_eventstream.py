"""Splits AWS event streams into their messages and builds messages, byte-faithfully.

A frame's raw bytes are the whole message, so joined frames are the stream. Checksums are checked
and told, never raised; where a length cannot be right the rest of the stream is one last frame.
Never parses a payload. Source: Smithy specification, Amazon event stream encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType
from typing import NamedTuple
from zlib import crc32

MEDIA_TYPE = "application/vnd.amazon.eventstream"

_PRELUDE = Struct(">III")
_NUMBER = Struct(">I")
_SHORT = Struct(">H")
_OVERHEAD = 16
_MOST_BYTES = 24 << 20
_MOST_REMEMBERED = 64
# Value type -> its length: true, false, byte, short, int, long, timestamp, UUID.
_FIXED = MappingProxyType({0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16})
_BYTES, _STRING = 6, 7
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


class EventFrame(NamedTuple):
    """One message. headers: those whose value is a string (`:event-type`, `:message-type`, …);
    intact: both checksums are right and the headers could be read, else headers and payload are
    empty and only `raw` counts."""

    raw: bytes
    headers: Mapping[str, str]
    payload: bytes
    intact: bool


class EventStreamSplitter:
    """Feed chunks, get complete messages; `close()` gives the rest.

    Work is proportional to the chunk, not to what is pending.
    """

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        # How many bytes the pending message has; 0 = not known yet, -1 = its length is nonsense.
        self._wanted = 0
        self._headers: dict[bytes, Mapping[str, str] | None] = {}

    def feed(self, chunk: bytes) -> list[EventFrame]:
        """Messages completed by `chunk`."""
        if not chunk:
            return []
        self._pieces.append(chunk)
        self._size += len(chunk)
        if self._wanted < 0 or self._size < (self._wanted or _PRELUDE.size):
            return []
        data = b"".join(self._pieces)
        frames: list[EventFrame] = []
        start, size = 0, len(data)
        self._wanted = 0
        while size - start >= _PRELUDE.size:
            total, head_bytes, check = _PRELUDE.unpack_from(data, start)
            sane = _OVERHEAD + head_bytes <= total <= _MOST_BYTES
            if not sane or crc32(data[start : start + 8]) != check:
                self._wanted = -1
                break
            if size - start < total:
                self._wanted = total
                break
            frames.append(self._frame(data[start : start + total], head_bytes))
            start += total
        rest = data[start:]
        self._pieces = [rest] if rest else []
        self._size = len(rest)
        return frames

    def _frame(self, raw: bytes, head_bytes: int) -> EventFrame:
        end = _PRELUDE.size + head_bytes
        body_end = len(raw) - _NUMBER.size
        block = raw[_PRELUDE.size : end]
        headers = self._headers.get(block)
        if headers is None and block not in self._headers:
            headers = _read_headers(block)
            if len(self._headers) < _MOST_REMEMBERED:
                self._headers[block] = headers
        if headers is None or crc32(raw[:body_end]) != _NUMBER.unpack_from(raw, body_end)[0]:
            return EventFrame(raw, _NO_HEADERS, b"", False)
        return EventFrame(raw, headers, raw[end:body_end], True)

    def close(self) -> list[EventFrame]:
        """The rest as a last frame, if there is any: a message cut off, or no event stream."""
        rest = b"".join(self._pieces)
        self._pieces.clear()
        self._size = self._wanted = 0
        return [EventFrame(rest, _NO_HEADERS, b"", False)] if rest else []


def _read_headers(block: bytes) -> Mapping[str, str] | None:
    """The string headers of one message, None if the block is not well-formed."""
    found: dict[str, str] = {}
    at, size = 0, len(block)
    while at < size:
        name_end = at + 1 + block[at]
        if name_end >= size:
            return None
        name = block[at + 1 : name_end].decode("utf-8", "replace")
        kind = block[name_end]
        at = name_end + 1
        if kind in _FIXED:
            at += _FIXED[kind]
        elif kind in (_BYTES, _STRING) and at + _SHORT.size <= size:
            end = at + _SHORT.size + _SHORT.unpack_from(block, at)[0]
            if kind == _STRING:
                found[name] = block[at + _SHORT.size : end].decode("utf-8", "replace")
            at = end
        else:
            return None
    return MappingProxyType(found) if at == size else None


def header_block(headers: Mapping[str, str]) -> bytes:
    """The headers of a message, each a string of at most 65,535 bytes."""
    pieces: list[bytes] = []
    for name, text in headers.items():
        key, said = name.encode()[:255], text.encode()[:0xFFFF]
        pieces += (bytes((len(key),)), key, bytes((_STRING,)), _SHORT.pack(len(said)), said)
    return b"".join(pieces)


def message(block: bytes, payload: bytes) -> bytes:
    """One message from its header block and its payload, checksums included."""
    total = _OVERHEAD + len(block) + len(payload)
    lengths = _NUMBER.pack(total) + _NUMBER.pack(len(block))
    head = lengths + _NUMBER.pack(crc32(lengths)) + block + payload
    return head + _NUMBER.pack(crc32(head))
