"""A client that shows every detail: HTTP/1.1 or HTTP/2 over TLS through the proxy's CONNECT."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h11

DEADLINE_S = 10.0


@dataclass
class Answer:
    """What came for one request. ended: `end`, `reset <code>`, `closed` or None while it lasts.

    chunks: as the frames came; an empty HTTP/1 chunk never counts.
    """

    client: Client
    stream_id: int
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    trailers: dict[str, str] = field(default_factory=dict)
    chunks: list[bytes] = field(default_factory=list)
    ended: str | None = None
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    async def _until(self, reached: object) -> None:
        async def wait() -> None:
            async with self.changed:
                await self.changed.wait_for(reached)  # type: ignore[arg-type]

        try:
            await asyncio.wait_for(wait(), DEADLINE_S)
        except TimeoutError:
            raise AssertionError(f"not reached: {self.status} {self.chunks} {self.ended}") from None

    async def head(self) -> int:
        await self._until(lambda: self.status or self.ended)
        return self.status

    async def until(self, part: bytes) -> bytes:
        """The body as soon as it contains `part`."""
        await self._until(lambda: part in self.body or self.ended)
        assert part in self.body, (self.body, self.ended)
        return self.body

    async def end(self) -> str:
        await self._until(lambda: self.ended)
        assert self.ended is not None
        return self.ended

    def leave(self) -> None:
        """The client does not want it any more: closes (HTTP/1) or resets its stream (HTTP/2)."""
        self.client.leave(self)


class Client:
    """One connection to the proxy, tunnelled to `address`."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.answers: dict[int, Answer] = {}
        self.h1: h11.Connection = h11.Connection(h11.CLIENT)
        self.h2 = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding="utf-8")
        )
        self.task: asyncio.Task[None] | None = None
        self.raw = bytearray()
        """All bytes that came through the tunnel."""
        self.authority = ""

    @classmethod
    async def open(cls, proxy: int, address: str, version: str, trust: Path) -> Client:
        self = cls(version)
        self.authority = address
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", proxy)
        self.writer.write(f"CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        assert b" 200 " in head, head
        tls = ssl.create_default_context(cafile=str(trust))
        tls.verify_flags &= ~ssl.VERIFY_X509_STRICT
        tls.set_alpn_protocols(["h2"] if version == "h2" else ["http/1.1"])
        await self.writer.start_tls(tls, server_hostname=address.rsplit(":", 1)[0])
        if version == "h2":
            self.h2.initiate_connection()
            self._flush()
        self.task = asyncio.create_task(self._read())
        return self

    def _flush(self) -> None:
        self.writer.write(self.h2.data_to_send())

    def request(
        self,
        path: str = "/v1",
        body: bytes = b"{}",
        method: str = "POST",
        headers: list[tuple[str, str]] | None = None,
    ) -> Answer:
        extra = list(headers or [])
        if body:
            extra.append(("content-length", str(len(body))))
        if self.version == "h2":
            stream_id = self.h2.get_next_available_stream_id()
            pseudo = [
                (":method", method),
                (":scheme", "https"),
                (":authority", self.authority),
                (":path", path),
            ]
            self.h2.send_headers(stream_id, pseudo + extra, end_stream=not body)
            if body:
                self.h2.send_data(stream_id, body, end_stream=True)
            self._flush()
        else:
            stream_id = 0
            if self.h1.our_state is h11.DONE:
                self.h1.start_next_cycle()
            head = h11.Request(
                method=method, target=path, headers=[("host", self.authority), *extra]
            )
            data = self.h1.send(head) or b""
            if body:
                data += self.h1.send(h11.Data(data=body)) or b""
            data += self.h1.send(h11.EndOfMessage()) or b""
            self.writer.write(data)
        self.answers[stream_id] = answer = Answer(self, stream_id)
        return answer

    def leave(self, answer: Answer) -> None:
        if self.version == "h2":
            with contextlib.suppress(h2.exceptions.StreamClosedError):
                self.h2.reset_stream(answer.stream_id, 8)
            self._flush()
        else:
            self.writer.transport.abort()

    async def close(self) -> None:
        self.writer.transport.abort()
        if self.task is not None:
            with contextlib.suppress(asyncio.CancelledError):
                await self.task

    async def _read(self) -> None:
        try:
            while data := await self.reader.read(65536):
                self.raw += data
                for answer in self._h2(data) if self.version == "h2" else self._h1(data):
                    async with answer.changed:
                        answer.changed.notify_all()
            if self.version == "h1":
                for answer in self._h1(b""):
                    async with answer.changed:
                        answer.changed.notify_all()
        except (OSError, h11.RemoteProtocolError) as error:
            # The reader keeps it, and its frames would keep what the proxy has let go.
            error.__traceback__ = None
        for answer in self.answers.values():
            async with answer.changed:
                answer.ended = answer.ended or "closed"
                answer.changed.notify_all()

    def _h1(self, data: bytes) -> list[Answer]:
        answer = self.answers.get(0)
        if answer is None:
            return []
        if self.h1.their_state is h11.SWITCHED_PROTOCOL:
            answer.chunks.append(data)
            return [answer]
        self.h1.receive_data(data)
        while True:
            event = self.h1.next_event()
            if isinstance(event, h11.InformationalResponse | h11.Response):
                answer.status = event.status_code
                answer.headers = {k.decode(): v.decode() for k, v in event.headers}
            elif isinstance(event, h11.Data):
                answer.chunks.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                answer.ended = "end"
            else:
                return [answer]

    def _h2(self, data: bytes) -> list[Answer]:
        touched: list[Answer] = []
        for event in self.h2.receive_data(data):
            answer = self.answers.get(getattr(event, "stream_id", 0) or 0)
            if answer is None:
                continue
            touched.append(answer)
            if isinstance(event, h2.events.ResponseReceived):
                answer.headers = dict(event.headers)
                answer.status = int(answer.headers.pop(":status"))
            elif isinstance(event, h2.events.DataReceived):
                if event.data:
                    answer.chunks.append(event.data)
                self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.TrailersReceived):
                answer.trailers = dict(event.headers)
            elif isinstance(event, h2.events.StreamEnded):
                answer.ended = "end"
            elif isinstance(event, h2.events.StreamReset):
                answer.ended = f"reset {int(event.error_code)}"
        self._flush()
        return touched
