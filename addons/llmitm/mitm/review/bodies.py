"""The body of a request as it comes: counted, kept up to a bound, the rest read and thrown away."""

from __future__ import annotations

from typing import Any

from tornado.web import RequestHandler

_READ_ON_BYTES = 16 << 20


class Collected:
    """A body of at most `most` bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._chunks: list[bytes] = []
        self._bytes = 0

    def admit(self, one: RequestHandler) -> None:
        """Lets more come than is kept: who is still sending could not read that it is too much."""
        connection: Any = one.request.connection
        connection.set_max_body_size(self._most + _READ_ON_BYTES)

    def add(self, chunk: bytes) -> bool:
        """Keeps a piece; False = it is too much, and nothing is kept any more."""
        self._bytes += len(chunk)
        if self._bytes > self._most:
            self._chunks.clear()
            return False
        self._chunks.append(chunk)
        return True

    def body(self) -> bytes:
        """All of it."""
        return b"".join(self._chunks)


def declared_length(one: RequestHandler) -> int:
    """How long the body is said to be; 0 = it is not said."""
    text = one.request.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else 0
