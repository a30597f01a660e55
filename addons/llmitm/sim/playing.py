"""One answer performed on one connection: the bytes, their timing, and their breaks.

The only place that writes answers to a socket. Heads and chunk framing are written by hand, so that
every fault of a real provider can be played and a healthy stream costs one write an event.
Source: RFC 9112 (HTTP/1.1 messages).
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from http.client import responses as reasons
from typing import Any, cast

import brotli
import zstandard
from tornado.http1connection import HTTP1Connection
from tornado.iostream import StreamClosedError

from llmitm.sim.answers import ID
from llmitm.sim.received import Log, Received
from llmitm.sim.scenarios import Encoding, Scenario

_ID = ID.encode()
_brotli = cast("Callable[..., Any]", vars(brotli)["Compressor"])  # brotli ships no types
_SMALL = 65_536
_BREATH = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """An answer ready to be sent, `ID` still in it. frames: of a stream, empty = `body` is whole;
    headers: without length, transfer and date."""

    status: int
    headers: bytes
    body: bytes = b""
    frames: tuple[bytes, ...] = ()


def header_lines(pairs: Sequence[tuple[str, str]]) -> bytes:
    """Header lines as bytes, each with its line end."""
    return b"".join(b"%b: %b\r\n" % (k.encode(), v.encode("latin-1")) for k, v in pairs)


class Compressor:
    """Bytes -> bytes in one content-encoding; `piece` flushes: every event is readable at once."""

    def __init__(self, encoding: Encoding) -> None:
        match encoding:
            case "gzip":
                gzip = zlib.compressobj(6, zlib.DEFLATED, 31)
                self.piece: Callable[[bytes], bytes] = lambda data: (
                    gzip.compress(data) + gzip.flush(zlib.Z_SYNC_FLUSH)
                )
                self.end: Callable[[], bytes] = gzip.flush
            case "br":
                br = _brotli(quality=5)
                self.piece = lambda data: br.process(data) + br.flush()
                self.end = br.finish
            case "zstd":
                zstd = zstandard.ZstdCompressor(level=3).compressobj()
                self.piece = lambda data: (
                    zstd.compress(data) + zstd.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
                )
                self.end = zstd.flush
            case "":
                self.piece = lambda data: data
                self.end = lambda: b""


class Performance:
    """Sends one `Rendered` answer as its scenario wants, and writes down how far it got."""

    def __init__(
        self,
        connection: HTTP1Connection,
        entry: Received,
        log: Log,
        clock: Callable[[], float],
    ) -> None:
        if connection.stream is None:
            raise StreamClosedError
        self._connection = connection
        self._stream_of = connection.stream
        self._entry = entry
        self._log = log
        self._clock = clock
        self.task: asyncio.Task[None] | None = None
        connection.set_close_callback(self._client_left)

    def _client_left(self) -> None:
        if self._entry.done:
            return
        self._entry.aborted_at = self._entry.events_sent
        self._log.close(self._entry, self._clock())
        if self.task is not None:
            self.task.cancel()

    def _ended(self) -> None:
        if not self._entry.done:
            self._log.close(self._entry, self._clock())

    def at_once(self, head: bytes, body: bytes, status: int) -> None:
        """Sends a small whole answer without leaving the caller's turn of the loop."""
        self._entry.status = status
        if self._stream_of.closed():
            self._client_left()
            return
        self._entry.events_sent = 1
        # Told before the write: a client that has its answer finds it finished in the log.
        self._ended()
        self._connection.write(head + body)
        self._connection.finish()

    async def play(
        self, scenario: Scenario, rendered: Rendered, head: bytes, id_: bytes, *, chunked: bool
    ) -> None:
        """Sends the answer with its waits and breaks. Ends early when the client leaves."""
        try:
            if scenario.ttfb_s:
                await asyncio.sleep(scenario.ttfb_s)
            if scenario.close_early:
                self._break_off()
                return
            self._entry.status = rendered.status
            if rendered.frames:
                self._stream_of.set_nodelay(True)
                frames = (frame.replace(_ID, id_) for frame in rendered.frames)
                await self._stream(scenario, head, frames, chunked=chunked)
            else:
                await self._whole(scenario, head, rendered.body.replace(_ID, id_))
        except StreamClosedError:
            self._client_left()

    async def _whole(self, scenario: Scenario, head: bytes, body: bytes) -> None:
        if scenario.delay_s:
            await asyncio.sleep(scenario.delay_s)
        if scenario.encoding:
            squeeze = Compressor(scenario.encoding)
            body = squeeze.piece(body) + squeeze.end()
        head += b"content-length: %d\r\n\r\n" % len(body)
        if scenario.cut_after is not None:
            await self._connection.write(head + body[: len(body) // 2])
            self._break_off()
            return
        await self._connection.write(head + body)
        self._entry.events_sent = 1
        self._ended()
        self._connection.finish()

    async def _stream(
        self, scenario: Scenario, head: bytes, frames: Iterable[bytes], *, chunked: bool
    ) -> None:
        stream, entry = self._stream_of, self._entry
        wrap = _chunk if chunked else _as_is
        squeeze = Compressor(scenario.encoding)
        head += b"transfer-encoding: chunked\r\n\r\n" if chunked else b"connection: close\r\n\r\n"
        await stream.write(head)
        held = list[bytes]()
        for number, frame in enumerate(frames):
            if scenario.delay_s:
                await asyncio.sleep(scenario.delay_s)
            if number == scenario.hang_after:
                await asyncio.sleep(scenario.hang_s)
            data = wrap(squeeze.piece(frame))
            if number == scenario.cut_after:
                await stream.write(b"".join(held) + data[: max(1, len(data) // 2)])
                self._break_off()
                return
            held.append(data)
            if len(held) < scenario.batch:
                continue
            pending = stream.write(b"".join(held))
            entry.events_sent += len(held)
            held.clear()
            if stream.writing():
                await pending
            elif number % _BREATH == 0:
                # Lets other connections on, and this one's close be noticed.
                await asyncio.sleep(0)
        entry.events_sent += len(held)
        last = squeeze.end()
        held += [wrap(last)] if last else []
        held += [b"0\r\n\r\n"] if chunked else []
        self._ended()
        if held:
            await self._connection.write(b"".join(held))
        self._connection.finish()
        if not chunked:
            self._connection.close()

    def _break_off(self) -> None:
        """Closes the socket as a crashed provider does, without any goodbye."""
        self._entry.cut = True
        self._ended()
        self._connection.close()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _as_is(data: bytes) -> bytes:
    return data


def head_of(rendered: Rendered, id_: bytes, date: bytes) -> bytes:
    """The response head up to where the length is told."""
    reason = reasons.get(rendered.status, "Overloaded" if rendered.status == 529 else "Unknown")
    return b"HTTP/1.1 %d %b\r\ndate: %b\r\n%b" % (
        rendered.status,
        reason.encode(),
        date,
        rendered.headers.replace(_ID, id_),
    )


def is_quick(scenario: Scenario, rendered: Rendered) -> bool:
    """Whether an answer can be sent in one write at once."""
    return not (
        rendered.frames
        or len(rendered.body) > _SMALL
        or scenario.ttfb_s
        or scenario.delay_s
        or scenario.close_early
        or scenario.encoding
        or scenario.cut_after is not None
    )
