"""Steered streams: retry, continue, cut, hold with heartbeat and push, for any HTTP exchange.

mitmproxy streams only what its own upstream sends. `SteeredLayer` takes the place of its HttpLayer
(`layer_swap.LayerSwap` installs it) and lifts that limit for flows that an addon asks for; all
others run the stock code, byte for byte.

    streams = Streams()
    addons = [LayerSwap(streams), MyAddon(streams)]

    class MyAddon:
        def request(self, flow):
            streams.steer(flow, Plan(tap=MyTap(), ttfb_s=20, heartbeat_s=10))

        async def llm_attempt_failed(self, attempt):
            attempt.flow.request.host = "other.example"
            attempt.retry()                       # or attempt.reply(503, {...}, b"...")

- retry: every failure before the tap let a byte go, a status the tap's `head` declared one, or
  a first event it did not like (`HoldBack`, then `Act.FAIL`) comes to `llm_attempt_failed`.
- continue: the same after bytes went out (`Act.AGAIN`, or `Act.FAIL` and `retry()`); the next
  answer's head is swallowed, its body goes through the same tap.
- cut: `Act.CUT`, or `Steering.finish`.
- hold: any hook may wait (`requestheaders`, `request`, `responseheaders`, `llm_attempt_failed`;
  also wait for `Steering.gone`); `Plan.wait` waits without a hook; `Act.HOLD` waits in mid-stream.
  `Plan.open_head` with `open_after_s` begins the answer meanwhile, `heartbeat_s` keeps it alive.
- push: `Steering.push`, `finish`, `resume`, `open`, from the event loop's thread.

Steer in `requestheaders` or `request`. The hooks: `responseheaders` for each attempt's answer,
then `response` once or `error` once. `flow.kill()` of a steered flow takes effect at once.
Not covered: request streaming (the plan is dropped with a warning), client replay, HTTP/1 trailers.

Source: mitmproxy 12.2, `proxy/layers/http`; the contract tests are the proof for a new version.
"""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary

from mitmproxy import ctx, http
from mitmproxy.addons.proxyserver import Proxyserver
from mitmproxy.connection import Client, Connection, ConnectionState, Server
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import (
    GetHttpConnection,
    HttpLayer,
    HTTPMode,
    HttpStream,
    RegisterHttpConnection,
)
from mitmproxy.proxy.layers.http._http2 import Http2Client
from mitmproxy.proxy.server import ConnectionHandler
from mitmproxy.utils import asyncio_utils

from llmitm.mitm.stream_contract import KillNow, Plan, Push, Pushed, Steering, Wake
from llmitm.mitm.stream_exchange import SteeredStream
from llmitm.mitm.stream_merge import Merged
from llmitm.mitm.stream_upstream import NO_ATTEMPT

PRUNE_FROM = 16
"""With fewer connections there is nothing worth forgetting."""


class Streams:
    """The live exchanges of one proxy, by flow: where an addon takes hold of one."""

    def __init__(self) -> None:
        self.live: WeakValueDictionary[str, SteeredStream] = WeakValueDictionary()

    def steer(self, flow: http.HTTPFlow, plan: Plan) -> Steering:
        """The handle on `flow`, which from now on follows `plan`.

        Call it in `requestheaders` or `request`; a second call replaces the plan.
        Raises ValueError for a flow that is not live, is a CONNECT, or already has an answer.
        """
        stream = self.live.get(flow.id)
        if stream is None or stream.flow is not flow or stream.closed or not flow.live:
            raise ValueError("the flow is not a live exchange of this proxy")
        if stream.steering is not None:
            stream.steering.plan = plan
        elif flow.request.method == "CONNECT" or flow.response is not None:
            raise ValueError("it is too late to steer this flow, or it is a CONNECT")
        else:
            found = self.live

            def deliver(push: Push) -> bool:
                # Not the stream itself: an addon may keep its handle for long.
                target = found.get(flow.id)
                return target is not None and self.deliver(target, push)

            stream.steering = Steering(flow=flow, plan=plan, deliver=deliver)
            self.kill_at_once(flow, stream.steering)
        stream.follow(plan)
        return stream.steering

    def kill_at_once(self, flow: http.HTTPFlow, steering: Steering) -> None:
        """Makes `flow.kill()` end the exchange now; stock mitmproxy only looks after hooks."""

        def kill() -> None:
            # A paused flow is not woken by the stock method.
            flow.resume()
            http.HTTPFlow.kill(flow)
            steering.gone.set()
            steering.deliver(KillNow())

        flow.kill = kill

    def wake(self, flow: http.HTTPFlow) -> bool:
        """Lets the WebSocket of this flow say what it was asked to; False if it is over."""
        stream = self.live.get(flow.id)
        return stream is not None and self.deliver(stream, Wake())

    def register(self, flow: http.HTTPFlow, stream: SteeredStream) -> None:
        """Called by each stream before the first hook of its flow."""
        self.live[flow.id] = stream

    def deliver(self, stream: SteeredStream, push: Push) -> bool:
        """Hands a push to the stream's connection; False if one of them is over."""
        handler = connection_handler(stream.flow.client_conn)
        if handler is None or stream.closed:
            return False
        asyncio_utils.create_task(
            handler.server_event(Pushed(stream, push)),
            name=f"push {type(push).__name__}",
            keep_ref=True,
            client=stream.flow.client_conn.peername,
        )
        return True


def connection_handler(client: Client) -> ConnectionHandler | None:
    """The live handler of a client connection, None once it has gone."""
    addon = ctx.master.addons.get("proxyserver")
    if not isinstance(addon, Proxyserver):
        return None
    # UDP clients (HTTP/3) are known by their addresses.
    addresses = (client.peername, client.sockname)
    return addon.connections.get(client.id) or addon.connections.get(addresses)


class SteeredLayer(HttpLayer):
    """mitmproxy's HTTP layer with streams that can be steered."""

    def __init__(self, context: Context, mode: HTTPMode, board: Streams) -> None:
        super().__init__(context, mode)
        self.board = board
        self.abandoned: set[Connection] = set()
        self.last_id = NO_ATTEMPT

    def make_stream(self, stream_id: int) -> CommandGenerator[None]:
        """One of ours for each request."""
        stream = SteeredStream(self.context.fork(), stream_id, self, self.board)
        self.streams[stream_id] = stream
        yield from self.event_to_child(stream, events.Start())

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, Pushed):
            return self.pass_push(event)
        if (
            isinstance(event, events.ConnectionEvent)
            and event.connection not in self.connections
            and event.connection != self.context.server
        ):
            # The last words of a connection that `prune` has forgotten.
            return no_commands()
        return super()._handle_event(event)

    def event_to_child(
        self, child: layer.Layer | HttpStream, event: events.Event
    ) -> CommandGenerator[None]:
        """As stock, with the chunks of one read from an upstream made one (`stream_merge`)."""
        if isinstance(event, events.DataReceived) and isinstance(event.connection, Server):
            return super().event_to_child(Merged(child, self.streams), event)  # type: ignore[arg-type]
        return super().event_to_child(child, event)

    def register_connection(self, command: RegisterHttpConnection) -> CommandGenerator[None]:
        """As stock; the outcome of a connection that was given up and forgotten is of no use."""
        if command.connection in self.waiting_for_establishment:
            yield from super().register_connection(command)

    def pass_push(self, event: Pushed) -> CommandGenerator[None]:
        """To its stream, or through the tunnel on the way to it; to nobody if it is gone."""
        way = event.stream.context.layers
        for stream in self.streams.values():
            if stream in way:
                yield from self.event_to_child(stream, event)
                return

    # -- what streams need of their pool (stream_upstream.Pool) -------------------------------

    def lend_id(self, stream: HttpStream) -> int:
        """Negative, as no client uses it."""
        self.last_id -= 1
        self.streams[self.last_id] = stream
        return self.last_id

    def take_back_id(self, stream_id: int) -> None:
        """Nothing comes under this id any more."""
        if stream_id < 0:
            self.streams.pop(stream_id, None)

    def unqueue(self, connection: Connection, stream_id: int) -> bool:
        """True if the request still waited for a free HTTP/2 stream and will now never be sent."""
        client = self.connections[connection].context.layers[-1]
        if isinstance(client, Http2Client):
            return client.stream_queue.pop(stream_id, None) is not None
        return False

    def cancel_connect(self, command: GetHttpConnection) -> CommandGenerator[None]:
        """Stops waiting for a connection, and its making if nobody else waits for it."""
        self.command_sources.pop(command, None)
        for connection, waiting in self.waiting_for_establishment.items():
            # By identity: commands for the same address are equal.
            if any(other is command for other in waiting):
                waiting[:] = [other for other in waiting if other is not command]
                if not waiting:
                    self.abandoned.add(connection)
                    yield commands.CloseConnection(connection)
                return

    def prune(self) -> None:
        """Forgets connections that are closed and unused; stock mitmproxy keeps them all."""
        if len(self.connections) < PRUNE_FROM:
            return
        in_use = {stream.context.server for stream in self.streams.values()}
        for connection in list(self.connections):
            if (
                isinstance(connection, Server)
                and connection.state is ConnectionState.CLOSED
                and connection not in in_use
                and connection != self.context.server
                and not self.waiting_for_establishment.get(connection)
                and (connection.error or connection.timestamp_end or connection in self.abandoned)
            ):
                del self.connections[connection]
                self.waiting_for_establishment.pop(connection, None)
                self.abandoned.discard(connection)


def no_commands() -> CommandGenerator[None]:
    """No command at all."""
    yield from ()


def raise_limits(handler: ConnectionHandler, per_address: int) -> None:
    """Lets a client connection have more than mitmproxy's five connections to one address.

    An HTTP/2 client with an HTTP/1 upstream needs one for each request it has in flight.
    """
    handler.max_conns.default_factory = lambda: asyncio.Semaphore(per_address)
