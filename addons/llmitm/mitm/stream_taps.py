"""Between the two halves: what becomes of a head, a chunk, an end, a failure.

The states of `server_state`: `state_wait` (no upstream yet), `state_head`, `state_error_body` (the
body of an answer that was declared a failure), `state_tap`, and stock mitmproxy's own two for a
plan without a tap. A hold keeps the upstream's events here until `resume`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from traceback import format_exception

from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.http import GetHttpConnectionCompleted, SendHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    HttpEvent,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import HttpResponseHeadersHook

from llmitm.errors import StageError
from llmitm.exchange.pipeline import guarded
from llmitm.mitm.stream_client import ClientSide
from llmitm.mitm.stream_contract import (
    Act,
    FailAttempt,
    FailedAttempt,
    Failure,
    HoldBack,
    LlmAttemptFailedHook,
    Pass,
    Reply,
    Retry,
    Step,
    Tap,
    TapStep,
)
from llmitm.mitm.stream_upstream import Pool

BODYLESS = frozenset({204, 304})
TAP_RAISED = Step(act=Act.CUT, why="the answer could not be processed")

logger = logging.getLogger(__name__)


class TapSide(ClientSide):
    """Asks the plan's tap and does what it says."""

    def __init__(self, context: Context, stream_id: int, pool: Pool) -> None:
        super().__init__(context, stream_id, pool)
        self.tap: Tap | None = None
        self.changes = False
        self.cap_bytes = 0
        self.held_bytes = 0
        self.ended = False
        self.waiting: list[HttpEvent] | None = None
        self.failing: FailAttempt | None = None
        self.error_body: list[bytes] = []
        self.error_at: float | None = None

    def make_server_connection(self) -> CommandGenerator[bool]:
        """Stock calls this when the request is complete; a steered stream goes its own way."""
        if self.steering is None:
            return (yield from super().make_server_connection())
        if self.flow.request.stream:
            yield commands.Log("A streamed request cannot be steered.", logging.WARNING)
            self.close(keep_upstream=False)
            self.steering = None
            return (yield from super().make_server_connection())
        if self.plan.wait:
            self.server_state = self.state_wait
        yield from self.early_pushes()
        if not self.plan.wait and not self.finishing:
            yield from self.attempt()
        return False

    def early_pushes(self) -> CommandGenerator[None]:
        """What was pushed before the request was complete (see `stream_exchange`)."""
        yield from ()

    def attempt(self, *, fresh: bool = False) -> CommandGenerator[None]:
        """Starts the next attempt; what the last one left is gone."""
        self.ended = False
        self.held = None
        self.failing = self.error_at = None
        self.error_body = []
        self.flow.response = None
        self.response_body_buf.clear()
        self.server_state = self.state_head
        yield from self.connect_upstream(fresh=fresh)

    def state_wait(self, event: events.Event) -> CommandGenerator[None]:
        """No upstream was contacted: it can have nothing to say."""
        raise AssertionError(f"unexpected {event}")

    def connected(self, event: GetHttpConnectionCompleted) -> CommandGenerator[None]:
        """The pool's answer to `connect_upstream`."""
        if event.command is not self.connecting:
            return
        connection, error = event.reply
        if connection is None:
            self.connecting = None
            reason = error or "no connection"
            certificate = reason.startswith("Certificate verify failed")
            kind = "certificate" if certificate else "connect"
            yield from self.failed(Failure(kind=kind, message=reason), ErrorCode.CONNECT_FAILED)
            return
        self.attach(connection)
        yield from self.send_request()

    def failed(
        self, failure: Failure, code: ErrorCode = ErrorCode.GENERIC_SERVER_ERROR
    ) -> CommandGenerator[None]:
        """Asks the addons about a failed attempt and does what they say."""
        assert self.steering is not None
        self.ttfb_at = self.error_at = None
        if failure.kind not in ("status", "content"):
            # An answer may still be passed on; all else has nothing to wait for.
            yield from self.abandon()
            self.flow.response = None
        number, opened = self.steering.attempts, self.opened is not None
        ask = FailedAttempt(self.flow, failure, number, opened)
        yield LlmAttemptFailedHook(ask)
        if (yield from self.check_killed(True)) or self.closed:
            return
        match ask.verdict:
            case Retry(fresh=fresh):
                yield from self.abandon()
                yield from self.attempt(fresh=fresh)
            case Reply(response=response):
                yield from self.abandon()
                self.held = None
                response.timestamp_start = time.time()
                self.flow.response = response
                yield from self.send_response()
            case None:
                yield from self.let_go(failure, code)

    def let_go(self, failure: Failure, code: ErrorCode) -> CommandGenerator[None]:
        """No addon decided: the upstream's own answer if there is one, else the break."""
        response = self.flow.response
        if failure.kind == "status" and self.opened is None and response is not None:
            yield from self.pass_on(response)
        elif failure.kind == "content" and self.held is not None:
            yield from self.commit()
            if self.ended:
                yield from self.finish(changes=self.changes)
        elif self.opened is not None:
            tap = self.plan.tap
            step = b"" if tap is None else self.ask(tap.broke, failure.message)
            yield from self.end_broken(step, failure.message, code)
        else:
            yield from self.break_off(failure.message, code)

    def pass_on(self, response: http.Response) -> CommandGenerator[None]:
        """The error answer goes to the client as the upstream gave it, read or still coming."""
        body = b"".join(self.error_body)
        if self.ended:
            response.data.content = body
            yield from self.send_response()
            return
        response.stream = True
        self.server_state = self.state_stream_response_body
        yield from self.send_head(response, changes=False)
        yield from self.emit(body)

    def state_head(self, event: ResponseHeaders) -> CommandGenerator[None]:
        """The head of an attempt's answer: hooks, then the verdict."""
        self.ttfb_at = None
        response = self.flow.response = event.response
        problem = self.invalid(response)
        if problem:
            failure = Failure(kind="invalid", message=problem)
            yield from self.failed(failure, ErrorCode.RESPONSE_VALIDATION_FAILED)
            return
        if not event.end_stream and (yield from self.check_body_size(False)):
            return
        yield HttpResponseHeadersHook(self.flow)
        if (yield from self.check_killed(True)) or self.closed:
            return
        assert self.steering is not None
        response = self.flow.response
        verdict, self.steering.verdict = self.steering.verdict, None
        self.tap = tap = self.plan.tap
        status = response.status_code
        if status == 101 or (tap is None and verdict is None):
            yield from self.stock_answer(event)
            return
        if verdict is None and tap is not None:
            verdict = tap.head(response)
        bodyless = self.flow.request.method == "HEAD" or status < 200 or status in BODYLESS
        match verdict:
            case FailAttempt():
                self.failing = verdict
                self.error_at = time.monotonic() + verdict.body_s
                self.rearm()
                self.server_state = self.state_error_body
                if verdict.read_bytes <= 0:
                    yield from self.declared_failure()
            case Pass() if not bodyless and tap is not None and not event.end_stream:
                self.changes = verdict.changes
                self.server_state = self.state_tap
                yield from self.send_head(response, changes=verdict.changes)
            case Pass() | HoldBack() if not bodyless and tap is not None:
                self.changes = verdict.changes
                self.cap_bytes = verdict.cap_bytes if isinstance(verdict, HoldBack) else 0
                self.held, self.held_bytes = [], 0
                self.server_state = self.state_tap
                if self.plan.ttfb_s is not None:
                    self.ttfb_at = time.monotonic() + self.plan.ttfb_s
                    self.rearm()
            case _:
                yield from self.stock_answer(event)

    def stock_answer(self, event: ResponseHeaders) -> CommandGenerator[None]:
        """mitmproxy's own way: streamed if an addon said so, else buffered."""
        response = self.flow.response
        assert response is not None
        if event.end_stream or not (response.stream or self.opened is not None):
            self.server_state = self.state_consume_response_body
        else:
            stream = response.stream or True
            self.server_state = self.state_stream_response_body
            yield from self.send_head(response, changes=callable(stream))
            self.flow.response.stream = stream  # type: ignore[union-attr]

    # -- the body ---------------------------------------------------------------------------

    def state_error_body(self, event: HttpEvent) -> CommandGenerator[None]:
        """Reads the text of a failure, as much of it as was asked for."""
        assert self.failing is not None
        if isinstance(event, ResponseData):
            self.error_body.append(event.data)
            if sum(map(len, self.error_body)) >= self.failing.read_bytes:
                yield from self.declared_failure()
        elif isinstance(event, ResponseEndOfMessage):
            self.ended = True
            yield from self.declared_failure()

    def declared_failure(self) -> CommandGenerator[None]:
        """The attempt whose head (or first bytes) an addon called a failure."""
        response, failing = self.flow.response, self.failing
        assert response is not None
        assert failing is not None
        why = failing.why or f"{response.status_code} {response.reason}".strip()
        body = b"".join(self.error_body)
        most, whole = failing.read_bytes, self.ended and len(body) <= failing.read_bytes
        yield from self.failed(Failure.of("status", why, response, body[:most], whole))

    def state_tap(self, event: HttpEvent) -> CommandGenerator[None]:
        """A chunk or the end of an answer, through the tap."""
        if self.waiting is not None:
            self.waiting.append(event)
            return
        assert self.tap is not None
        if isinstance(event, ResponseData):
            step = self.ask(self.tap.feed, event.data)
            if isinstance(step, bytes) and self.held is None and self.kept is None:
                # The hot path of a long stream.
                if step:
                    self.last_sent = time.monotonic()
                    yield SendHttp(ResponseData(self.stream_id, step), self.context.client)
                return
            yield from self.perform(step)
        elif isinstance(event, ResponseTrailers):
            if self.flow.response is not None:
                self.flow.response.trailers = event.trailers
        elif isinstance(event, ResponseEndOfMessage):
            self.ended = True
            yield from self.perform(self.ask(self.tap.end))
        elif isinstance(event, ResponseProtocolError):
            yield from self.broke(event.message, event.code)

    def ask(self, question: Callable[..., TapStep], *about: object) -> TapStep:
        """What the tap says; a tap that raises against its contract ends its exchange only."""
        if not isinstance(said := guarded("tap", question, *about), StageError):
            return said
        # Raised further the client would hang; as an object in a log it would keep the exchange.
        logger.error("the tap raised\n%s", "".join(format_exception(said.cause)))
        return TAP_RAISED

    def perform(self, step: TapStep) -> CommandGenerator[None]:
        """Sends or keeps what the tap gave, then acts."""
        if isinstance(step, bytes):
            step = Step(step)
        if step is TAP_RAISED:
            yield from self.break_off(step.why, ErrorCode.GENERIC_SERVER_ERROR)
            return
        yield from self.emit(step.out)
        match step.act:
            case Act.GO | Act.COMMIT:
                if step.act is Act.COMMIT and not (self.ended and self.held is not None):
                    yield from self.commit()
                elif self.held is not None and not self.ended:
                    self.held_bytes += len(step.out)
                    if self.held_bytes >= self.cap_bytes:
                        yield from self.commit()
                if self.ended:
                    yield from self.finish(changes=self.changes)
            case Act.FAIL:
                why = step.why or "the answer is not usable"
                response = self.flow.response
                yield from self.failed(Failure.of("content", why, response, b"", self.ended))
            case Act.CUT:
                yield from self.cut()
            case Act.AGAIN:
                yield from self.again()
            case Act.HOLD:
                yield from self.hold(commits=step.commits)

    def hold(self, *, commits: bool) -> CommandGenerator[None]:
        """What comes from now on waits for `resume`."""
        self.waiting = []
        self.ttfb_at = None
        if commits:
            yield from self.commit()

    def commit(self) -> CommandGenerator[None]:
        """Head and kept bytes go to the client; from now on it streams."""
        held, self.held = self.held, None
        if held is None:
            return
        self.ttfb_at = None
        response = self.flow.response
        assert response is not None
        yield from self.send_head(response, changes=self.changes)
        yield from self.emit(b"".join(held))

    def cut(self) -> CommandGenerator[None]:
        """Ends the client's answer here and aborts the upstream."""
        yield from self.abandon()
        self.waiting = None
        if self.fixed_length and not self.ended:
            # Fewer bytes than the content-length promised: this cannot end well-formed.
            yield from self.break_off("answer cut", ErrorCode.GENERIC_SERVER_ERROR)
        else:
            yield from self.finish(changes=self.changes)

    def again(self) -> CommandGenerator[None]:
        """The request, rewritten by the tap, is sent once more into the same client stream."""
        self.waiting = None
        if self.fixed_length:
            yield from self.break_off("answer continued", ErrorCode.GENERIC_SERVER_ERROR)
        else:
            yield from self.abandon()
            self.held = None
            self.ended = False
            self.server_state = self.state_head
            self.attempt_later()

    def attempt_later(self) -> None:
        """`attempt`, once the event that led here is done with (see `stream_exchange`): before, the
        connection that has just delivered the end of an answer takes no request."""

    def broke(self, message: str, code: ErrorCode) -> CommandGenerator[None]:
        """The upstream failed, in whatever phase the answer is."""
        if self.finishing:
            return
        if self.server_state == self.state_tap and self.waiting is not None:
            self.waiting.append(ResponseProtocolError(self.stream_id, message, code))
        elif self.server_state == self.state_error_body:
            yield from self.declared_failure()
        elif self.server_state == self.state_stream_response_body:
            yield from self.break_off(message, code)
        elif self.opened is None or self.server_state != self.state_tap or self.tap is None:
            yield from self.failed(Failure(kind="broken", message=message), code)
        else:
            step = self.ask(self.tap.broke, message)
            match step:
                case Step(act=Act.FAIL) if not self.fixed_length:
                    yield from self.emit(step.out)
                    yield from self.failed(Failure(kind="broken", message=message), code)
                case Step(act=Act.AGAIN) if not self.fixed_length:
                    yield from self.emit(step.out)
                    yield from self.again()
                case _:
                    yield from self.end_broken(step, message, code)

    def end_broken(self, step: TapStep, message: str, code: ErrorCode) -> CommandGenerator[None]:
        """The tap's last word on a break: a well-formed end, or the break passed on."""
        if isinstance(step, bytes):
            step = Step(step)
        self.held = None
        yield from self.emit(step.out)
        if step.act is Act.CUT and step is not TAP_RAISED:
            yield from self.cut()
        else:
            yield from self.break_off(message, code)
