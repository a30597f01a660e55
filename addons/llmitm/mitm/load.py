"""A small, fast HTTP/1.1 client for the bench: one keep-alive connection, direct or by CONNECT.

It parses only what it must (status, content-length or chunked end), so that what is measured is the
proxy and not the client. Never used for real traffic.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import time
from dataclasses import dataclass

_LINE_LIMIT = 1 << 20
_READ_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Sample:
    """One request. Seconds from the moment it was sent: to the first body byte, to the end;
    body_bytes of the answer, framing included; chunks: reads it took."""

    status: int
    first_s: float
    total_s: float
    body_bytes: int
    tail: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where to connect. proxy_port None = straight to `port`; host: what TLS and CONNECT name."""

    host: str
    port: int
    proxy_port: int | None
    ca_file: str


class Connection:
    """One connection; `ask` sends a prepared request and reads the whole answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, place: Place) -> Connection:
        """Connects, through CONNECT where there is a proxy, and does the TLS handshake."""
        context = ssl.create_default_context(cafile=place.ca_file)
        port = place.proxy_port or place.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=_LINE_LIMIT)
        if place.proxy_port is not None:
            target = f"{place.host}:{place.port}"
            writer.write(f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise ConnectionError(f"CONNECT failed: {head!r}")
        await writer.start_tls(context, server_hostname=place.host)
        return cls(reader, writer)

    async def ask(self, request: bytes) -> Sample:
        """Sends the request and reads the answer. Raises ConnectionError when it breaks off."""
        started = time.perf_counter()
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        status = int(head[9:12])
        lower = head.lower()
        length = _content_length(lower)
        data = await self._reader.read(_READ_BYTES)
        first_s = time.perf_counter() - started
        total, tail = len(data), data
        while total < length if length is not None else not tail.endswith(b"0\r\n\r\n"):
            data = await self._reader.read(_READ_BYTES)
            if not data:
                raise ConnectionError(f"the answer broke off after {total} bytes")
            total += len(data)
            tail = (tail + data)[-4096:]
        return Sample(status, first_s, time.perf_counter() - started, total, tail)

    async def close(self) -> None:
        """Closes the connection."""
        self._writer.close()
        with contextlib.suppress(OSError, ssl.SSLError):
            await self._writer.wait_closed()


def _content_length(head: bytes) -> int | None:
    start = head.find(b"content-length:")
    if start < 0:
        return None
    return int(head[start + 15 : head.index(b"\r\n", start)])


def post(host: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """The bytes of a POST request."""
    lines = [f"POST {path} HTTP/1.1", f"host: {host}", "content-type: application/json"]
    lines.extend(f"{name}: {value}" for name, value in headers.items())
    lines.append(f"content-length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
