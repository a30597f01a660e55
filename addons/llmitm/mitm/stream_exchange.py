"""One steered exchange: the events that reach a stream, also those that cannot wait for a hook.

mitmproxy queues what happens to a stream while a hook runs. A client that leaves, a kill, a
heartbeat and an early head are handled at once here, all else keeps its turn.
"""

from __future__ import annotations

import asyncio
import time
from typing import Protocol

from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.proxy import events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import GetHttpConnectionCompleted, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestHeaders,
    RequestProtocolError,
    ResponseEndOfMessage,
    ResponseProtocolError,
)
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook

from llmitm.mitm.socket_layer import SocketLayer
from llmitm.mitm.stream_contract import (
    Chunk,
    Failure,
    Finish,
    KillNow,
    OpenNow,
    Push,
    Pushed,
    Resume,
    SendAgain,
    Tick,
    Wake,
)
from llmitm.mitm.stream_taps import TapSide
from llmitm.mitm.stream_upstream import FROM_UPSTREAM, NO_ATTEMPT, Pool


class Board(Protocol):
    """Where streams are found by their flow, and events find their stream."""

    def register(self, flow: http.HTTPFlow, stream: SteeredStream) -> None:
        """From now on the flow can be steered."""
        ...

    def deliver(self, stream: SteeredStream, push: Push) -> bool:
        """Hands the push to the stream's connection; False if that is over."""
        ...


def nothing() -> CommandGenerator[None]:
    """No command at all."""
    yield from ()


class SteeredStream(TapSide):
    """One exchange. Without a plan it is mitmproxy's HttpStream."""

    def __init__(self, context: Context, stream_id: int, pool: Pool, board: Board) -> None:
        super().__init__(context, stream_id, pool)
        self.board = board
        self.timer: asyncio.TimerHandle | None = None
        self.early: list[Push] = []

    # -- events in ----------------------------------------------------------------------------

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Every event comes in here, also while a hook runs."""
        if self.steering is None:
            return super().handle_event(event)
        return self.steered_event(event)

    def steered_event(self, event: events.Event) -> CommandGenerator[None]:
        """Maps the attempt's stream id to ours and back; drops what older attempts say."""
        kind = event.__class__
        if kind in FROM_UPSTREAM:
            if event.stream_id == self.attempt_id:  # type: ignore[attr-defined]
                event.stream_id = self.stream_id  # type: ignore[attr-defined]
            elif event.stream_id != self.stream_id:  # type: ignore[attr-defined]
                return
            if kind is ResponseEndOfMessage or kind is ResponseProtocolError:
                self.complete = True
        elif self._paused is not None and (yield from self.while_paused(event)):
            return
        for command in super().handle_event(event):
            if isinstance(command, SendHttp):
                if command.connection is self.context.client:
                    if self.steering is not None and self.steering.audience is not None:
                        self.steering.audience.sent(command.event)
                elif command.event.stream_id == self.stream_id:
                    command.event.stream_id = self.attempt_id
            yield command

    def while_paused(self, event: events.Event) -> CommandGenerator[bool]:
        """What cannot wait until the running hook is done; True: the event is settled."""
        assert self.steering is not None
        if isinstance(event, RequestProtocolError):
            yield from self.abandon()
            self.steering.gone.set()
            self.flow.resume()
            return False
        if not isinstance(event, Pushed):
            return False
        match event.push:
            case Tick():
                yield from self.beat(time.monotonic())
                self.rearm()
            case OpenNow():
                yield from self.open_early()
            case KillNow():
                if not self.closed:
                    yield from self.abandon()
                    yield from self.kill_client()
                    yield from self.drop()
            case _:
                return False
        return True

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        if isinstance(event, Pushed):
            return self.pushed(event.push)
        if isinstance(event, GetHttpConnectionCompleted):
            return self.connected(event)
        return super()._handle_event(event)

    def state_wait_for_request_headers(self, event: RequestHeaders) -> CommandGenerator[None]:
        """As stock, with the flow known to `Streams` before its first hook."""
        if event.replay_flow is None:
            event.replay_flow = http.HTTPFlow(self.context.client, self.context.server)
        self.board.register(event.replay_flow, self)
        return super().state_wait_for_request_headers(event)

    def passthrough(self, event: events.Event) -> CommandGenerator[None]:
        """After an upgrade only the layer above is of interest; pushes to it still pass, and it
        can be woken."""
        socket = isinstance(self.child_layer, SocketLayer)
        if (
            isinstance(event, Pushed)
            and event.stream is self
            and not (socket and isinstance(event.push, Wake))
        ):
            return nothing()
        return super().passthrough(event)

    # -- errors and kills ---------------------------------------------------------------------

    def handle_protocol_error(
        self, event: RequestProtocolError | ResponseProtocolError
    ) -> CommandGenerator[None]:
        """Stock for a stock flow; else the client left, or the attempt broke."""
        if self.steering is None:
            yield from super().handle_protocol_error(event)
        elif self.closed:
            return
        elif isinstance(event, RequestProtocolError):
            yield from self.lose_client(event.message)
        else:
            yield from self.broke(event.message, event.code)

    def check_killed(self, emit_error_hook: bool) -> CommandGenerator[bool]:
        """As stock, and the upstream is told."""
        killed = yield from super().check_killed(emit_error_hook)
        if killed and self.steering is not None and not self.closed:
            yield from self.abandon()
            yield from self.drop()
        return killed

    def check_body_size(self, request: bool) -> CommandGenerator[bool]:
        """As stock, and the handle is closed."""
        exceeded = yield from super().check_body_size(request)
        if exceeded and self.steering is not None and not self.closed:
            yield from self.drop()
        return exceeded

    def kill_client(self) -> CommandGenerator[None]:
        """Breaks the client's stream."""
        error = ResponseProtocolError(self.stream_id, "killed", ErrorCode.KILL)
        yield SendHttp(error, self.context.client)

    def killed(self) -> CommandGenerator[None]:
        """`flow.kill()` while no hook runs."""
        yield from self.abandon()
        yield from self.kill_client()
        report, self.finishing = not self.finishing, True
        yield from self.drop()
        if report:
            if self.flow.error is None:
                self.flow.error = mitm_flow.Error(mitm_flow.Error.KILLED_MESSAGE)
            yield HttpErrorHook(self.flow)

    # -- pushes and time ----------------------------------------------------------------------

    def pushed(self, push: Push) -> CommandGenerator[None]:
        """A push, once no hook runs."""
        if self.closed or self.steering is None:
            return
        match push:
            case Tick():
                yield from self.tick()
            case KillNow():
                yield from self.killed()
            case OpenNow():
                yield from self.open_early()
            case _ if not self.finishing:
                yield from self.answer_pushed(push)
            case _:
                pass

    def answer_pushed(self, push: Push) -> CommandGenerator[None]:
        """A push that is a part of the answer or leads to one."""
        match push:
            case _ if self.client_state != self.state_done:
                self.early.append(push)
            case SendAgain():
                # Nothing was sent under this id yet, unless something else came first.
                if self.attempt_id == NO_ATTEMPT:
                    yield from self.attempt()
            case Chunk(data=data):
                if self.held is not None or (yield from self.open_early()):
                    yield from self.emit(data)
            case Finish(data=data):
                yield from self.finish_pushed(data)
            case Resume(decision=decision):
                yield from self.resume(decision)
            case _:
                pass

    def early_pushes(self) -> CommandGenerator[None]:
        """In their order, now that the request is complete."""
        early, self.early = self.early, []
        for push in early:
            if isinstance(push, Resume) and self.plan.wait:
                self.plan.wait = False
            else:
                yield from self.pushed(push)

    def attempt_later(self) -> None:
        """As an event to itself."""
        self.board.deliver(self, SendAgain())

    def finish_pushed(self, data: bytes) -> CommandGenerator[None]:
        """The addon ends the answer, whoever wrote it so far."""
        yield from self.abandon()
        self.waiting = None
        if self.opened is None and self.held is None:
            head = self.plan.open_head
            self.flow.response = head.copy() if head is not None else http.Response.make(200)
            self.held, self.changes = [], True
        yield from self.emit(data)
        yield from self.cut()

    def resume(self, decision: object) -> CommandGenerator[None]:
        """The end of `Plan.wait`, or of a tap's hold."""
        if self.server_state == self.state_wait:
            if self.flow.response is not None:
                yield from self.send_response()
            else:
                yield from self.attempt()
        elif self.waiting is not None and self.tap is not None:
            waiting, self.waiting = self.waiting, None
            attempt = self.attempt_id
            yield from self.perform(self.ask(self.tap.resumed, decision))
            # A hook that this leads to pauses the stream here, and comes back here.
            for event in waiting:
                if self.closed or self.finishing or self.attempt_id != attempt:
                    return
                if self.server_state == self.state_tap:
                    yield from self.state_tap(event)

    def tick(self) -> CommandGenerator[None]:
        """A deadline came while no hook runs."""
        now = time.monotonic()
        if self.ttfb_at is not None and now >= self.ttfb_at:
            yield from self.timed_out()
        elif self.error_at is not None and now >= self.error_at:
            self.error_at = None
            yield from self.declared_failure()
        else:
            yield from self.beat(now)
            self.rearm()

    def timed_out(self) -> CommandGenerator[None]:
        """The upstream did not begin its answer in time."""
        self.ttfb_at = None
        self.held = None
        message = f"no answer within {self.plan.ttfb_s:g} s"
        yield from self.failed(Failure(kind="timeout", message=message))

    def rearm(self) -> None:
        """Sets the timer to the next deadline; a later one than needed is replaced."""
        deadlines = (self.ttfb_at, self.error_at, self.client_deadline())
        when = min((at for at in deadlines if at is not None), default=None)
        if when is None:
            return
        delay_s = max(0.0, when - time.monotonic())
        loop = asyncio.get_running_loop()
        timer = self.timer
        if timer is not None and not timer.cancelled() and timer.when() <= loop.time() + delay_s:
            return
        if timer is not None:
            timer.cancel()
        self.timer = loop.call_later(delay_s, self.ring)

    def ring(self) -> None:
        """The timer's callback."""
        self.timer = None
        self.board.deliver(self, Tick())

    def close(self, *, keep_upstream: bool) -> None:
        """As above, and no timer is left."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        super().close(keep_upstream=keep_upstream)
