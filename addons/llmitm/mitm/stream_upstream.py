"""The upstream half of a steered stream: attempts, each under a stream id of its own.

Every attempt talks to the pool of connections under a fresh (negative) id. When it is abandoned the
id is forgotten, so whatever the old connection still says reaches nobody, on HTTP/1 and HTTP/2
alike, and an HTTP/2 connection may serve the next attempt too. Connecting does not block the
stream: a timeout, a client that leaves and a kill are seen while it lasts.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Protocol

from mitmproxy import http
from mitmproxy.connection import Connection
from mitmproxy.net.http.validate import validate_headers
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import GetHttpConnection, HttpStream, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)

from llmitm.mitm.stream_contract import Plan, Steering

NO_ATTEMPT = 0
"""The stream id that no attempt and no client has."""

FROM_UPSTREAM = frozenset(
    {ResponseHeaders, ResponseData, ResponseTrailers, ResponseEndOfMessage, ResponseProtocolError}
)


@dataclass
class AttemptConnection(GetHttpConnection):
    """Asks the pool for a connection that has not failed and is not to be avoided.

    The stock command would get the cached error of a failed connection back.
    """

    avoid: set[Connection] = field(default_factory=set[Connection])
    abandoned: set[Connection] = field(default_factory=set[Connection])

    __hash__ = GetHttpConnection.__hash__

    def connection_spec_matches(self, connection: Connection) -> bool:
        """Whether this connection, established or in the making, would do."""
        return (
            not connection.error
            and connection not in self.avoid
            and connection not in self.abandoned
            and super().connection_spec_matches(connection)
        )


class Pool(Protocol):
    """What an attempt needs of the layer that owns the connections."""

    abandoned: set[Connection]

    def lend_id(self, stream: HttpStream) -> int:
        """A fresh stream id under which the upstream's events come to `stream`."""
        ...

    def take_back_id(self, stream_id: int) -> None:
        """Nothing comes under this id any more."""
        ...

    def unqueue(self, connection: Connection, stream_id: int) -> bool:
        """True if the request still waited for a free HTTP/2 stream and will now never be sent."""
        ...

    def cancel_connect(self, command: GetHttpConnection) -> CommandGenerator[None]:
        """Stops waiting for a connection, and its making if nobody else waits for it."""
        ...

    def prune(self) -> None:
        """Forgets connections that are closed and unused."""
        ...


class UpstreamSide(HttpStream):
    """Starts, re-identifies and abandons attempts."""

    steering: Steering | None = None

    def __init__(self, context: Context, stream_id: int, pool: Pool) -> None:
        super().__init__(context, stream_id)
        self.pool = pool
        self.attempt_id = NO_ATTEMPT
        self.connecting: AttemptConnection | None = None
        self.attached = False
        self.complete = False
        self.used: set[Connection] = set()
        self.ttfb_at: float | None = None

    @property
    def plan(self) -> Plan:
        """The plan of a steered stream."""
        assert self.steering is not None
        return self.steering.plan

    def rearm(self) -> None:
        """A deadline was set: the timer must not be later."""

    def connect_upstream(self, *, fresh: bool = False) -> CommandGenerator[None]:
        """Starts an attempt with `flow.request` as it is now.

        The reply may come while the command is being yielded: nothing may follow it.
        """
        assert self.steering is not None
        self.steering.attempts += 1
        self.complete = False
        self.attempt_id = self.pool.lend_id(self)
        self.pool.prune()
        request, server = self.flow.request, self.flow.server_conn
        command = AttemptConnection(
            (request.host, request.port),
            request.scheme == "https",
            server.via,
            server.transport_protocol,
            avoid=set(self.used) if fresh else set(),
            abandoned=self.pool.abandoned,
        )
        # Anything but True: the reply is routed to this stream, which goes on meanwhile.
        command.blocking = self
        self.connecting = command
        ttfb_s = self.plan.ttfb_s
        self.ttfb_at = None if ttfb_s is None else time.monotonic() + ttfb_s
        self.rearm()
        yield command

    def attach(self, connection: Connection) -> None:
        """From now on this connection is the stream's upstream."""
        self.connecting = None
        self.attached = True
        self.used.add(connection)
        self.context.server = self.flow.server_conn = connection  # type: ignore[assignment]

    def send_request(self) -> CommandGenerator[None]:
        """The whole request, as stock mitmproxy sends it."""
        request, server, own = self.flow.request, self.context.server, self.attempt_id
        if self.plan.secrets:
            request = request.copy()
            request.headers.update(self.plan.secrets)
        content = request.raw_content
        done = not (content or request.trailers)
        yield SendHttp(RequestHeaders(own, request, done), server)
        if content and self.attempt_id == own:
            yield SendHttp(RequestData(own, content), server)
        if request.trailers and self.attempt_id == own:
            yield SendHttp(RequestTrailers(own, request.trailers), server)
        if self.attempt_id == own:
            yield SendHttp(RequestEndOfMessage(own), server)

    def abandon(self) -> CommandGenerator[None]:
        """Ends the attempt: an unfinished upstream is told, nothing of it arrives any more."""
        self.ttfb_at = None
        own, self.attempt_id = self.attempt_id, NO_ATTEMPT
        pending, self.connecting = self.connecting, None
        attached, self.attached = self.attached, False
        self.pool.take_back_id(own)
        # What the attempt said while a hook ran waits in this queue.
        self._paused_event_queue = deque(
            event for event in self._paused_event_queue if event.__class__ not in FROM_UPSTREAM
        )
        if pending is not None:
            yield from self.pool.cancel_connect(pending)
        elif attached and not self.complete:
            server = self.context.server
            if not self.pool.unqueue(server, own):
                yield SendHttp(RequestProtocolError(own, "abandoned", ErrorCode.CANCEL), server)

    def invalid(self, response: http.Response) -> str:
        """Why this head must not be trusted, empty if it may be."""
        if self.context.options.validate_inbound_headers:
            try:
                validate_headers(response)
            except ValueError as error:
                return f"invalid response headers: {error}"
        return ""
