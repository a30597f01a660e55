"""A scripted HTTP/1.1 or HTTP/2 server over TLS: one coroutine a request decides every byte."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import h11

from end_to_end.stream_layer.authority import Authority

Headers = list[tuple[str, str]]
Script = Callable[["Call"], Awaitable[None]]


@dataclass
class Call:
    """One request and the way to answer it. aborted: the other side stopped the exchange.

    aborted_with: `closed` or the HTTP/2 error code.
    """

    wire: H1Wire | H2Wire
    stream_id: int
    method: str
    path: str
    headers: dict[str, str]
    body: bytes = b""
    aborted: asyncio.Event = field(default_factory=asyncio.Event)
    aborted_with: str | int | None = None

    def head(self, status: int = 200, headers: Headers | None = None) -> None:
        self.wire.head(self, status, headers or [("content-type", "text/event-stream")])

    def data(self, data: bytes) -> None:
        self.wire.data(self, data)

    def end(self, trailers: Headers | None = None) -> None:
        self.wire.end(self, trailers)

    def answer(self, status: int, body: bytes, headers: Headers | None = None) -> None:
        self.head(status, [("content-length", str(len(body))), *(headers or [])])
        if body:
            self.data(body)
        self.end()

    def break_off(self) -> None:
        """The connection is gone at once (HTTP/1), the stream is reset (HTTP/2)."""
        self.wire.break_off(self)

    def abort(self, how: str | int) -> None:
        self.aborted_with = how
        self.aborted.set()


class H1Wire:
    def __init__(self, server: Upstream, writer: asyncio.StreamWriter) -> None:
        self.server, self.writer = server, writer
        self.machine = h11.Connection(h11.SERVER)
        self.call: Call | None = None
        self.upgraded = False

    def received(self, data: bytes) -> None:
        if self.upgraded:
            # One short masked WebSocket text frame, echoed.
            mask, masked = data[2:6], data[6:]
            text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(masked))
            self.writer.write(bytes([0x81, len(text)]) + text)
            return
        self.machine.receive_data(data)
        while True:
            event = self.machine.next_event()
            if isinstance(event, h11.Request):
                headers = {k.decode(): v.decode() for k, v in event.headers}
                self.call = Call(self, 0, event.method.decode(), event.target.decode(), headers)
            elif isinstance(event, h11.Data):
                assert self.call is not None
                self.call.body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert self.call is not None
                self.server.begin(self.call)
            else:
                return

    def lost(self) -> None:
        if self.call is not None and self.machine.our_state is not h11.DONE:
            self.call.abort("closed")

    def _send(self, event: h11.Event) -> None:
        data = self.machine.send(event)
        if data and not self.writer.is_closing():
            self.writer.write(data)

    def head(self, call: Call, status: int, headers: Headers) -> None:
        if status < 200:
            self.upgraded = status == 101
            self._send(h11.InformationalResponse(status_code=status, headers=headers))
        else:
            self._send(h11.Response(status_code=status, headers=headers))

    def data(self, call: Call, data: bytes) -> None:
        self._send(h11.Data(data=data))

    def end(self, call: Call, trailers: Headers | None) -> None:
        self._send(h11.EndOfMessage())
        if self.machine.our_state is h11.DONE and self.machine.their_state is h11.DONE:
            self.machine.start_next_cycle()
            self.call = None
        elif self.machine.our_state is h11.MUST_CLOSE:
            self.writer.close()

    def break_off(self, call: Call) -> None:
        self.writer.transport.abort()


class H2Wire:
    def __init__(self, server: Upstream, writer: asyncio.StreamWriter) -> None:
        self.server, self.writer = server, writer
        self.machine = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        self.machine.initiate_connection()
        self.calls: dict[int, Call] = {}
        self._flush()

    def _flush(self) -> None:
        data = self.machine.data_to_send()
        if data and not self.writer.is_closing():
            self.writer.write(data)

    def received(self, data: bytes) -> None:
        for event in self.machine.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers = dict(event.headers)
                self.calls[event.stream_id] = Call(
                    self, event.stream_id, headers[":method"], headers[":path"], headers
                )
            elif isinstance(event, h2.events.DataReceived):
                self.calls[event.stream_id].body += event.data
                self.machine.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            elif isinstance(event, h2.events.StreamEnded):
                self.server.begin(self.calls[event.stream_id])
            elif isinstance(event, h2.events.StreamReset):
                self.calls[event.stream_id].abort(int(event.error_code))
        self._flush()

    def lost(self) -> None:
        for call in self.calls.values():
            if not call.aborted.is_set():
                call.abort("closed")

    def head(self, call: Call, status: int, headers: Headers) -> None:
        self.machine.send_headers(call.stream_id, [(":status", str(status)), *headers])
        self._flush()

    def data(self, call: Call, data: bytes) -> None:
        self.machine.send_data(call.stream_id, data)
        self._flush()

    def end(self, call: Call, trailers: Headers | None) -> None:
        if trailers:
            self.machine.send_headers(call.stream_id, trailers, end_stream=True)
        else:
            self.machine.end_stream(call.stream_id)
        self.calls.pop(call.stream_id)
        self._flush()

    def break_off(self, call: Call) -> None:
        self.machine.reset_stream(call.stream_id, 2)
        self._flush()


class Upstream:
    """A server on a free port of 127.0.0.1; `calls` are all requests it got, in order."""

    def __init__(self, script: Script, version: str) -> None:
        self.script, self.version = script, version
        self.calls: list[Call] = []
        self.connections = 0
        self.failures: list[BaseException] = []
        self._arrived = asyncio.Condition()
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0

    def begin(self, call: Call) -> None:
        self.calls.append(call)
        # Not at once: mitmproxy makes tasks start eagerly, before a reset that is already here.
        asyncio.get_running_loop().call_soon(self._start, call)

    def _start(self, call: Call) -> None:
        task = asyncio.create_task(self._run(call))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self.failures.append(error)

    async def _run(self, call: Call) -> None:
        async with self._arrived:
            self._arrived.notify_all()
        try:
            await self.script(call)
        except (h11.LocalProtocolError, h2.exceptions.ProtocolError, KeyError):
            # A script that goes on after it was aborted; h2 has forgotten its stream.
            if not call.aborted.is_set():
                raise

    async def arrival(self, number: int = 1) -> Call:
        """The n-th request, once it is complete."""
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.calls) >= number)
        return self.calls[number - 1]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        wire = H2Wire(self, writer) if self.version == "h2" else H1Wire(self, writer)
        try:
            while data := await reader.read(65536):
                wire.received(data)
        except (OSError, h11.RemoteProtocolError, h2.exceptions.ProtocolError) as error:
            # The reader keeps it, and its frames would keep what the proxy has let go.
            error.__traceback__ = None
        wire.lost()
        writer.close()


@contextlib.asynccontextmanager
async def upstream(
    script: Script, authority: Authority | None, version: str = "h1"
) -> AsyncIterator[Upstream]:
    """A running upstream (without TLS if it has no authority); its scripts must not have failed."""
    server = Upstream(script, version)
    tls = None
    if authority is not None:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(authority.leaf)
        tls.set_alpn_protocols(["h2"] if version == "h2" else ["http/1.1"])
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=tls)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for task in list(server._tasks):
            task.cancel()
    assert not server.failures, server.failures
