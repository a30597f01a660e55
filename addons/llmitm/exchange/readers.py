"""What reads a provider's body: frame by frame, only where it tells something, or as a whole.

Each takes bytes as received, its content coding removed here. Never: decides, writes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Protocol

from llmitm.canon.events import Event
from llmitm.dialects.contract import Frame, StreamDecoder
from llmitm.exchange.codings import Watcher
from llmitm.exchange.meter import is_content


class Reader(Protocol):
    """Provider bytes -> frames; `close` at the end of the body."""

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Frames completed by this chunk."""
        ...

    def close(self) -> Sequence[Frame]:
        """What is left."""
        ...


class StreamReader:
    """A streamed body, its content coding removed."""

    def __init__(self, decoder: StreamDecoder, coding: str) -> None:
        self._decoder = decoder
        self._watcher = Watcher(coding) if coding not in ("", "identity") else None

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Frames completed by this chunk."""
        if self._watcher is not None:
            data = self._watcher.feed(data)
        return self._decoder.feed(data) if data else ()

    def close(self) -> Sequence[Frame]:
        """What is left."""
        return self._decoder.close()


class SkimReader:
    """A streamed body that is only counted: after the first content, frames that tell nothing more
    than "here is more text" are left unread. `feed` gives the frames that were read.

    Complete frames go to the decoder as they are; a chunk costs one search, not a parse.
    """

    def __init__(self, decoder: StreamDecoder, telling: re.Pattern[bytes], coding: str) -> None:
        self._decoder = decoder
        self._telling = telling
        self._watcher = Watcher(coding) if coding not in ("", "identity") else None
        self._pending: list[bytes] = []
        self._tail = b""
        self._settled = False

    def look_for(self, telling: re.Pattern[bytes]) -> None:
        """From now on these are the frames that tell something."""
        self._telling = telling

    def dull(self, data: bytes) -> bool:
        """Whether this chunk is whole frames that tell nothing; then it need not be fed."""
        return (
            self._settled
            and not self._pending
            and self._watcher is None
            and data.endswith(b"\n\n")
            and self._telling.search(data) is None
        )

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames completed by this chunk, if any of them tells something."""
        if self._watcher is not None:
            data = self._watcher.feed(data)
        window = self._tail + data
        end = max(window.rfind(b"\n\n") + 2, window.rfind(b"\n\r\n") + 3)
        if end < 3:
            self._pending.append(data)
            self._tail = window[-3:]
            return ()
        end -= len(self._tail)
        pending, rest = self._pending, data[end:]
        whole = b"".join((*pending, data[:end])) if pending else data[:end]
        self._pending = [rest] if rest else []
        self._tail = rest[-3:]
        if self._settled and self._telling.search(whole) is None:
            return ()
        frames = self._decoder.feed(whole)
        if not self._settled:
            self._settled = any(is_content(event) for frame in frames for event in frame.events)
        return frames

    def close(self) -> Sequence[Frame]:
        """What is left."""
        rest = b"".join(self._pending)
        self._pending = []
        return [*(self._decoder.feed(rest) if rest else ()), *self._decoder.close()]


class WholeReader:
    """A body that is one document: decoded when it is complete, unless it passes the cap."""

    def __init__(self, decode: Callable[[bytes], list[Event]], coding: str, cap_bytes: int) -> None:
        self._decode = decode
        self._watcher = Watcher(coding)
        self._cap_bytes = cap_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Nothing yet."""
        if self._size <= self._cap_bytes:
            plain = self._watcher.feed(data)
            self._size += len(plain)
            self._pieces.append(plain)
        return ()

    def close(self) -> Sequence[Frame]:
        """The whole body as one frame; nothing when it was too large to look at."""
        if self._size > self._cap_bytes or not self._size:
            return ()
        body = b"".join(self._pieces)
        return (Frame(body, tuple(self._decode(body))),)


def no_events(_: bytes) -> list[Event]:
    """The decoder for a body of a media type that no protocol answers with."""
    return []
