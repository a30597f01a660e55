"""The client half of a steered stream: its one answer, opened once, framed by us, ended once.

The head is sent at most once, whoever comes first: the grace period, a push, or an attempt's
answer. Every way out (finish, break, client gone, killed) passes `close` exactly once.
"""

from __future__ import annotations

import time

from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import DropStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook

from llmitm.mitm.socket_layer import SocketLayer
from llmitm.mitm.stream_contract import Plan
from llmitm.mitm.stream_upstream import Pool, UpstreamSide


class ClientSide(UpstreamSide):
    """Opens, feeds, keeps alive and ends the client's answer."""

    def __init__(self, context: Context, stream_id: int, pool: Pool) -> None:
        super().__init__(context, stream_id, pool)
        self.opened: http.Response | None = None
        self.fixed_length = False
        self.finishing = False
        self.closed = False
        self.held: list[bytes] | None = None
        self.kept: list[bytes] | None = None
        self.kept_bytes = 0
        self.last_sent = 0.0
        self.open_at: float | None = None

    def follow(self, plan: Plan) -> None:
        """Starts the clock of a plan."""
        self.last_sent = time.monotonic()
        self.open_at = None
        if plan.open_head is not None and plan.open_after_s is not None:
            self.open_at = self.last_sent + plan.open_after_s
        self.rearm()

    def frame(self, response: http.Response, *, changes: bool) -> None:
        """Makes the head fit a body whose length is not known (`changes`) or not told."""
        headers = response.headers
        if changes:
            headers.pop("content-length", None)
        if self.flow.request.is_http2 or self.flow.request.is_http3:
            headers.pop("transfer-encoding", None)
        elif self.flow.request.http_version == "HTTP/1.0":
            # It ends with the connection, there is no other frame for it.
            if changes:
                headers.pop("transfer-encoding", None)
        elif "content-length" not in headers and (changes or "transfer-encoding" not in headers):
            headers["transfer-encoding"] = "chunked"

    def send_head(self, response: http.Response, *, changes: bool) -> CommandGenerator[None]:
        """Begins the client's answer; once it has begun, the head the client has stays."""
        if self.opened is not None:
            self.flow.response = self.opened
            return
        self.frame(response, changes=changes)
        self.flow.response = response
        yield from self.put_head(response)

    def put_head(self, response: http.Response) -> CommandGenerator[None]:
        """Sends this head as it is."""
        assert self.steering is not None
        self.opened = response
        self.steering.opened = True
        self.fixed_length = "content-length" in response.headers
        if self.plan.keep_bytes or self.context.options.store_streamed_bodies:
            self.kept = []
        self.last_sent = time.monotonic()
        self.rearm()
        yield SendHttp(ResponseHeaders(self.stream_id, response, False), self.context.client)

    def open_early(self) -> CommandGenerator[bool]:
        """Begins the answer with the plan's head; False if it has none or it is too late."""
        head = self.plan.open_head
        if self.opened is None and head is not None and not self.finishing and not self.closed:
            response = head.copy()
            response.data.content = None
            response.timestamp_start = time.time()
            self.frame(response, changes=True)
            yield from self.put_head(response)
        return self.opened is not None

    def emit(self, data: bytes) -> CommandGenerator[None]:
        """Bytes for the client; never an empty chunk, which would end an HTTP/1 answer."""
        if not data:
            return
        if self.held is not None:
            self.held.append(data)
            return
        self.last_sent = time.monotonic()
        if self.kept is not None:
            self.keep(data)
        yield SendHttp(ResponseData(self.stream_id, data), self.context.client)

    def keep(self, data: bytes) -> None:
        """Stores a sent chunk while the body is small enough."""
        assert self.kept is not None
        self.kept_bytes += len(data)
        if self.kept_bytes <= self.plan.keep_bytes or self.context.options.store_streamed_bodies:
            self.kept.append(data)
        else:
            self.kept = None

    def beat(self, now: float) -> CommandGenerator[None]:
        """Opens a silent answer, or keeps an opened one alive, when it is time."""
        if self.finishing or self.closed:
            return
        if self.opened is None:
            if self.open_at is not None and now >= self.open_at:
                self.open_at = None
                yield from self.open_early()
            return
        every, tap = self.plan.heartbeat_s, self.plan.tap
        if every is None or tap is None or self.fixed_length or now < self.last_sent + every:
            return
        self.last_sent = now
        alive = tap.heartbeat()
        if alive:
            yield SendHttp(ResponseData(self.stream_id, alive), self.context.client)

    def client_deadline(self) -> float | None:
        """When `beat` has something to do, in monotonic seconds."""
        if self.finishing or self.closed:
            return None
        if self.opened is None:
            return self.open_at
        if self.plan.heartbeat_s is None or self.plan.tap is None or self.fixed_length:
            return None
        return self.last_sent + self.plan.heartbeat_s

    def finish(self, *, changes: bool) -> CommandGenerator[None]:
        """Ends the answer well-formed: whole if nothing was sent yet, else the stream's end."""
        self.ttfb_at = None
        held, self.held = self.held, None
        response = self.flow.response
        if held is not None and self.opened is None and response is not None:
            response.data.content = b"".join(held)
            if changes:
                response.headers.pop("transfer-encoding", None)
                response.headers["content-length"] = str(len(response.data.content))
            yield from self.send_response()
            return
        if held:
            yield from self.emit(b"".join(held))
        self.flow.response = self.opened
        if self.opened is not None and self.kept is not None and self.kept_bytes:
            self.opened.data.content = b"".join(self.kept)
        yield from self.send_response(already_streamed=True)

    def send_response(self, already_streamed: bool = False) -> CommandGenerator[None]:
        """As stock, but a whole answer becomes the rest of one that has begun."""
        if self.steering is not None:
            response = self.flow.response
            if self.opened is not None and not already_streamed and response is not None:
                yield from self.emit(response.raw_content or b"")
                already_streamed = True
                self.flow.response = response = self.opened
            self.finishing = True
            if response is not None and not (
                self.flow.request.is_http2 or self.flow.request.is_http3
            ):
                # HTTP/1 trailers are not implemented in mitmproxy: they would end in a crash.
                response.trailers = None
        yield from super().send_response(already_streamed)

    def flow_done(self) -> CommandGenerator[None]:
        """As stock; an upgraded connection keeps its upstream, a WebSocket gets our layer."""
        if self.steering is not None:
            if self.steering.audience is not None:
                self.steering.audience.ended()
            response = self.flow.response
            self.close(keep_upstream=response is not None and response.status_code == 101)
        if self.flow.websocket is None:
            yield from super().flow_done()
            return
        self.child_layer = SocketLayer(self.context, self.flow)
        vars(self)["_handle_event"] = self.passthrough
        yield from self.child_layer.handle_event(events.Start())
        yield SendHttp(ResponseEndOfMessage(self.stream_id), self.context.client)

    def break_off(self, message: str, code: ErrorCode) -> CommandGenerator[None]:
        """Ends the exchange as failed: an error page, or a broken stream once it has begun."""
        yield from self.abandon()
        report = not self.finishing
        self.finishing = True
        if report:
            self.flow.error = mitm_flow.Error(message)
            yield HttpErrorHook(self.flow)
            if self.closed:
                return
        if self.client_state != self.state_errored:
            yield SendHttp(
                ResponseProtocolError(self.stream_id, message, code), self.context.client
            )
        yield from self.drop()

    def lose_client(self, message: str) -> CommandGenerator[None]:
        """The client went away: the upstream is aborted, nothing more is sent."""
        yield from self.abandon()
        self.client_state = self.state_errored
        report = not self.finishing
        self.finishing = True
        yield from self.drop()
        if report:
            self.flow.error = mitm_flow.Error(message)
            yield HttpErrorHook(self.flow)

    def drop(self) -> CommandGenerator[None]:
        """Forgets the stream."""
        self.client_state = self.server_state = self.state_errored
        self.flow.live = False
        self.close(keep_upstream=False)
        yield DropStream(self.stream_id)

    def close(self, *, keep_upstream: bool) -> None:
        """The exchange is over; who waits for it is woken."""
        self.closed = True
        self.held = None
        if not keep_upstream:
            self.pool.take_back_id(self.attempt_id)
        if self.steering is not None:
            self.steering.closed = True
            self.steering.gone.set()
            if self.steering.audience is not None:
                self.steering.audience.closed()
        vars(self.flow).pop("kill", None)
