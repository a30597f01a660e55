"""The addon that carries each exchange through the house: request in, attempts, answer out.

One entry per exchange lives in `_running` from the request until mitmproxy says `response` or
`error`, which is when its account is written. Everything that decides lives in the exchange room.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from http import HTTPStatus

from mitmproxy import ctx, http
from mitmproxy.hooks import UpdateHook

from llmitm.canon.events import Fault
from llmitm.errors import StageError
from llmitm.exchange import lanes
from llmitm.exchange.answers import JSON_HEADERS
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.failure import Failure
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.wire import WireRequest, WireResponse
from llmitm.mitm import stream_contract as stream
from llmitm.mitm.answer_tap import AnswerTap
from llmitm.mitm.recorder import Recorder
from llmitm.mitm.requests import (
    aim,
    aim_at,
    client_host,
    header_list,
    http_response,
    wire_request,
)
from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.stream import Streams
from llmitm.ruleset.matching import Endpoint

log = logging.getLogger("llmitm")

PROTOCOLS = "llmitm_protocols"
"""Flow metadata: `[protocol of flow.request, protocol of flow.response]`."""
ORIGINAL = "llmitm_original"
"""Flow metadata: the client's request body where another one was sent, decoded, with its protocol
and model: `{"protocol", "model", "body"}`."""


_NO_WEBSOCKET = "llmitm: routes are set, and they act on HTTP; ask again without WebSocket"


@dataclass(slots=True)
class Running:
    """One exchange under way."""

    exchange: Exchange
    wire: WireRequest
    tap: AnswerTap
    steering: stream.Steering | None = None
    aimed: bool = False
    secrets: dict[str, str] = field(default_factory=dict[str, str], repr=False)


class Intercept:
    """See the module."""

    name = "llmitm-intercept"

    def __init__(self, rulebook: Rulebook, streams: Streams, recorder: Recorder) -> None:
        self._rulebook = rulebook
        self._streams = streams
        self._recorder = recorder
        self._running: dict[str, Running] = {}

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A body too large to look at is passed on unseen, and noted."""
        limit = self._rulebook.house().ruleset.routes.limits.max_body_bytes
        length = flow.request.headers.get("content-length", "")
        if length.isdigit() and int(length) > limit and self._endpoint(flow) is not None:
            flow.request.stream = True
            flow.comment = f"llmitm: {length} bytes are over max_body_bytes, passed on unseen"

    def _endpoint(self, flow: http.HTTPFlow) -> Endpoint | None:
        request = flow.request
        return self._rulebook.house().ruleset.match(
            client_host(flow), request.port, request.method, request.path
        )

    def request(self, flow: http.HTTPFlow) -> None:
        """Opens an exchange for a model call; other calls to a provider only get its base URL."""
        if flow.response is not None or flow.request.stream:
            return
        endpoint = self._endpoint(flow)
        if endpoint is not None and endpoint.kind == "websocket" and self._needs_http():
            fault = Fault(kind="invalid_request", message=_NO_WEBSOCKET, status=426)
            body = self._rulebook.house().dialects[endpoint.protocol].encode_error(fault)
            flow.response = http_response(426, (*JSON_HEADERS, ("upgrade", "HTTP/1.1")), body)
            flow.comment = "WebSocket refused: routes are set, and they act on HTTP"
            return
        if endpoint is None or endpoint.kind != "generate":
            self._redirect(flow)
            return
        opened = guarded("intercept", self._open, flow, endpoint)
        if isinstance(opened, StageError):
            # mitmproxy would send the request on as if no rule existed.
            self._running.pop(flow.id, None)
            log.error("llmitm: %s", opened, exc_info=opened.cause)
            flow.response = http_response(500, JSON_HEADERS, self._internal(endpoint, opened))

    def _open(self, flow: http.HTTPFlow, endpoint: Endpoint) -> None:
        wire = wire_request(flow)
        house = self._rulebook.house()
        exchange = Exchange.open(house, endpoint, wire, flow.id)
        running = Running(exchange, wire, AnswerTap(exchange, lambda out: self._aim(flow, out)))
        self._running[flow.id] = running
        flow.metadata[PROTOCOLS] = [endpoint.protocol, endpoint.protocol]
        flow.comment = " · ".join(exchange.decision.comments)
        match exchange.start():
            case Outgoing() as outgoing:
                self._aim(flow, outgoing)
                steering = self._streams.steer(flow, self._plan(running))
                running.tap.opened = lambda: steering.opened
                running.steering = steering
            case WireResponse() as answer:
                flow.response = http_response(answer.status, answer.headers, answer.body)
            case _ as hold:
                raise AssertionError(f"no stage holds yet: {hold}")

    def _internal(self, endpoint: Endpoint, error: StageError) -> bytes:
        fault = Fault(kind="server", message=f"llmitm: {error}", code="internal_error", status=500)
        dialect = self._rulebook.house().dialects.get(endpoint.protocol)
        return dialect.encode_error(fault) if dialect else str(error).encode()

    def _needs_http(self) -> bool:
        """Whether a WebSocket would slip past a route; clients fall back to HTTP at once."""
        house = self._rulebook.house()
        ruleset = house.ruleset
        return house.pipeline.decides and bool(ruleset.static_route or ruleset.aliases)

    def _redirect(self, flow: http.HTTPFlow) -> None:
        """Any other call to a provider follows its base URL, and nothing else of it changes."""
        ruleset = self._rulebook.house().ruleset
        host, port, path = client_host(flow), flow.request.port, flow.request.path
        provider = ruleset.owner(host, port, path)
        url = ruleset.redirect(provider, path) if provider is not None else None
        if url is not None:
            scheme, host, port, path = lanes.place_of(url)
            aim_at(flow, scheme, host, port, path)

    def _plan(self, running: Running) -> stream.Plan:
        exchange = running.exchange
        plan = stream.Plan(tap=running.tap, secrets=running.secrets)
        if exchange.may_retry:
            times = self._rulebook.house().ruleset.routes.times
            plan.ttfb_s = self._ttfb_s(exchange)
            if exchange.wants_stream:
                answers = exchange.answers
                plan.open_head = http_response(200, answers.stream_headers, b"")
                plan.open_after_s = times.heartbeat_grace_s
                plan.heartbeat_s = times.keepalive_interval_s
        if _keeps_bodies():
            plan.keep_bytes = self._rulebook.house().ruleset.routes.limits.max_buffered_bytes
        return plan

    def _ttfb_s(self, exchange: Exchange) -> float | None:
        """How long this attempt may take to begin; None = for ever, when it is the last one."""
        if not exchange.may_retry or exchange.outgoing is None:
            return None
        ruleset = self._rulebook.house().ruleset
        return ruleset.ttfb_timeout_s(exchange.outgoing.provider, exchange.wants_stream)

    def _aim(self, flow: http.HTTPFlow, outgoing: Outgoing) -> None:
        running = self._running[flow.id]
        if outgoing.body is not None and ORIGINAL not in flow.metadata:
            incoming = running.exchange.incoming
            flow.metadata[ORIGINAL] = {
                "protocol": incoming.endpoint.protocol,
                "model": running.exchange.turn.model,
                "body": incoming.body,
            }
        flow.metadata[PROTOCOLS][0] = outgoing.protocol
        running.secrets = aim(flow, outgoing, running.wire, first=not running.aimed)
        if running.steering is not None:
            running.steering.plan.secrets = running.secrets
        running.aimed = True

    def llm_attempt_failed(self, attempt: stream.FailedAttempt) -> None:
        """Asks the exchange for the next attempt, or tells the client in its own protocol."""
        running = self._running.get(attempt.flow.id)
        if running is None:
            return
        failure = running.tap.failure or _failure(attempt.failure)
        running.tap.failure = None
        match running.exchange.failed(failure):
            case Outgoing() as outgoing:
                self._aim(attempt.flow, outgoing)
                if running.steering is not None:
                    running.steering.plan.ttfb_s = self._ttfb_s(running.exchange)
                attempt.retry(fresh=True)
            case WireResponse() as answer:
                body = running.exchange.fault_event() if attempt.opened else answer.body
                attempt.reply(answer.status, dict(answer.headers), body)

    def response(self, flow: http.HTTPFlow) -> None:
        """The exchange is complete."""
        assert flow.response is not None
        self._finish(flow, flow.response.status_code, "")

    def error(self, flow: http.HTTPFlow) -> None:
        """The exchange broke off: the client left, the upstream broke, or it was killed."""
        status = flow.response.status_code if flow.response else 0
        self._finish(flow, status, flow.error.msg if flow.error else "broken off")

    def _finish(self, flow: http.HTTPFlow, status: int, error: str) -> None:
        running = self._running.pop(flow.id, None)
        if running is None:
            return
        account = running.exchange.close(status, error)
        self._recorder.record(account)
        lines = running.exchange.house.pipeline.on_close(running.exchange.turn, account)
        if lines:
            flow.comment = " · ".join(lines)
        if account.error:
            log.warning("llmitm: %s", " · ".join(lines) or account.error)
        if ctx.master.addons.get("view") is not None:
            ctx.master.addons.trigger(UpdateHook([flow]))


def _keeps_bodies() -> bool:
    """Whether somebody will look at finished flows: mitmweb, the console, or a flow file."""
    return (
        ctx.master.addons.get("view") is not None
        or ctx.options.store_streamed_bodies
        or bool(ctx.options.save_stream_file)
    )


def _failure(failure: stream.Failure) -> Failure:
    """The stream layer's failure in the exchange's words."""
    match failure.kind:
        case "invalid":
            kind = "wire"
        case "content":
            kind = "fault"
        case other:
            kind = other
    message = failure.message
    if failure.status is not None:
        message = f"answered {failure.status} {_phrase(failure.status)}".rstrip()
    return Failure(
        kind=kind,
        message=message,
        status=failure.status or 0,
        headers=header_list(failure.headers),
        body=failure.body if failure.complete else b"",
    )


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
