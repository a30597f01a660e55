"""The addon that carries each exchange through the house: request in, attempts, answer out.

One entry per exchange lives in `_running` from the request until mitmproxy says `response` or
`error`, which is when its account is written. Everything that decides lives in the exchange room.
"""

from __future__ import annotations

import asyncio
import logging

from mitmproxy import ctx, http
from mitmproxy.hooks import UpdateHook
from pydantic_core import to_json

from llmitm.canon.events import Fault
from llmitm.errors import StageError
from llmitm.exchange import lanes
from llmitm.exchange.answers import JSON_HEADERS
from llmitm.exchange.attempts import Wait
from llmitm.exchange.closing import close
from llmitm.exchange.counting import counted
from llmitm.exchange.exchange import Exchange, Race, Step
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.verdicts import Held
from llmitm.exchange.wire import WireRequest, WireResponse
from llmitm.mitm import stream_contract as stream
from llmitm.mitm.answer_tap import AnswerTap
from llmitm.mitm.duplicates import Duplicates
from llmitm.mitm.failures import failure_of
from llmitm.mitm.loop_guard import LOOP, is_ours, mark
from llmitm.mitm.race import Races
from llmitm.mitm.recorder import Recorder
from llmitm.mitm.requests import (
    aim,
    aim_at,
    client_host,
    http_response,
    values_of,
    wire_request,
)
from llmitm.mitm.review.desk import Desk
from llmitm.mitm.review.holding import FlowShows, Holding
from llmitm.mitm.review.in_flow import TOLD
from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.running import CONVERSATION, ORIGINAL, PROTOCOLS, Running
from llmitm.mitm.stream import Streams
from llmitm.ruleset.matching import Endpoint
from llmitm.stages.contract import Hold

log = logging.getLogger("llmitm")

_READ_KINDS = frozenset({"generate", "count_tokens", "compact"})


class Intercept:
    """See the module."""

    name = "llmitm-intercept"

    def __init__(
        self, rulebook: Rulebook, streams: Streams, recorder: Recorder, desk: Desk
    ) -> None:
        self._rulebook = rulebook
        self._desk = desk
        self._streams = streams
        self._recorder = recorder
        self._running: dict[str, Running] = {}
        self._races = Races()
        self._duplicates = Duplicates(rulebook, streams)

    def done(self) -> None:
        """The proxy shuts down."""
        self._races.done()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """A body too large to look at is passed on unseen, and noted."""
        limit = self._rulebook.house().ruleset.routes.limits.max_body_bytes
        lengths = values_of(flow.request.headers, b"content-length")
        length = int(lengths[0]) if len(lengths) == 1 and lengths[0].isdigit() else 0
        if length > limit and self._endpoint(flow) is not None:
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
        if endpoint is None or endpoint.kind not in _READ_KINDS:
            self._redirect(flow)
            return
        if is_ours(flow, self._rulebook.house().guard):
            self._refuse(flow, endpoint, LOOP)
            return
        act = self._open if endpoint.kind == "generate" else self._count
        opened = guarded("intercept", act, flow, endpoint)
        if isinstance(opened, StageError):
            # mitmproxy would send the request on as if no rule existed.
            self._running.pop(flow.id, None)
            log.error("llmitm: %s", opened, exc_info=opened.cause)
            say = f"llmitm: {opened}"
            fault = Fault(kind="server", message=say, code="internal_error", status=500)
            self._refuse(flow, endpoint, fault)

    def _refuse(self, flow: http.HTTPFlow, endpoint: Endpoint, fault: Fault) -> None:
        dialect = self._rulebook.house().dialects.get(endpoint.protocol)
        body = dialect.encode_error(fault) if dialect else fault.message.encode()
        flow.response = http_response(fault.status or 500, JSON_HEADERS, body)
        flow.comment = fault.message

    def _count(self, flow: http.HTTPFlow, endpoint: Endpoint) -> None:
        """A token count goes on without what must not reach a provider."""
        house = self._rulebook.house()
        wire = wire_request(flow)
        changes = house.pipeline.counts or house.ruleset.routes.conversation_ids == "own"
        out = counted(house, endpoint, wire, flow.id) if changes else None
        match out:
            case None:
                self._redirect(flow)
            case Outgoing():
                # A count is not steered: nobody would put the client's own key in later.
                for name, text in aim(flow, out, wire, first=True).items():
                    flow.request.headers[name] = text
                mark(flow, (wire.host, wire.port), (out.host, out.port), house.guard)
            case WireResponse():
                flow.response = http_response(out.status, out.headers, out.body)

    def _open(self, flow: http.HTTPFlow, endpoint: Endpoint) -> None:
        key = self._duplicates.key_of(flow)
        if not key or not self._duplicates.settles(flow, endpoint, key, self):
            self.begin(flow, endpoint, key)

    def enter(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        wire: WireRequest,
        steering: stream.Steering | None = None,
    ) -> Running:
        """From now on the flow is this exchange's."""
        tap = AnswerTap(exchange, lambda out: self._aim(flow, out))
        running = Running(exchange, wire, tap, steering)
        self._running[flow.id] = running
        protocol = exchange.turn.protocol
        flow.metadata[PROTOCOLS] = [protocol, protocol]
        flow.metadata[CONVERSATION] = exchange.turn.conversation.key
        flow.comment = " · ".join(exchange.decision.comments)
        return running

    def begin(
        self,
        flow: http.HTTPFlow,
        endpoint: Endpoint,
        key: bytes,
        waiting: stream.Steering | None = None,
    ) -> None:
        """An exchange of its own. waiting: the handle of a flow that was a duplicate until now."""
        wire = wire_request(flow)
        exchange = Exchange.open(self._rulebook.house(), endpoint, wire, flow.id)
        running = self.enter(flow, exchange, wire, waiting)
        self._go(flow, running, exchange.start())
        if key and running.steering is not None and flow.response is None:
            self._duplicates.lead(key, running.steering)

    def _go(self, flow: http.HTTPFlow, running: Running, step: Step | Held) -> None:
        """Does what the exchange says; a flow that waits goes on then."""
        waiting = running.steering
        match step:
            case Outgoing():
                self._aim(flow, step)
                if waiting is None or waiting.plan.tap is None or not waiting.opened:
                    self._steer(flow, running, running.sending_plan(self._rulebook.kept_bytes()))
                else:
                    waiting.plan.ttfb_s = running.ttfb_s()
                if waiting is not None:
                    waiting.resume()
            case WireResponse() if waiting is not None and waiting.opened:
                waiting.finish(running.exchange.fault_event() or step.body)
            case WireResponse():
                flow.response = http_response(step.status, step.headers, step.body)
                if waiting is not None:
                    waiting.resume()
            case Wait():
                self._waits(flow, running)
                self._later(flow, running, step)
            case Race():
                steering = self._waits(flow, running)
                self._races.start(
                    running.exchange, running.tap, steering, lambda out: self._aim(flow, out)
                )
            case Held(hold=hold):
                steering = self._waits(flow, running)
                self._duplicates.hold(running.wire, steering)
                self._desk.hold_request(self._holding(flow, running), hold)

    def _waits(self, flow: http.HTTPFlow, running: Running) -> stream.Steering:
        """The handle of a flow that waits, its client kept alive."""
        if running.steering is not None and running.steering.opened:
            return running.steering
        plan = running.waiting_plan()
        plan.wait = True
        plan.keep_bytes = self._rulebook.kept_bytes()
        return self._steer(flow, running, plan)

    def _holding(self, flow: http.HTTPFlow, running: Running, of: FlowShows = "request") -> Holding:
        """What the desk may do with this exchange."""
        assert running.steering is not None
        return Holding(
            flow=flow,
            exchange=running.exchange,
            wire=running.wire,
            tap=running.tap,
            steering=running.steering,
            go=lambda step: self._go(flow, running, step),
            of=of,
        )

    def _held(self, flow: http.HTTPFlow, running: Running, hold: Hold) -> None:
        """Something of the answer is held: its client is kept alive meanwhile."""
        steering = running.steering
        assert steering is not None
        alive = running.waiting_plan()
        plan = steering.plan
        plan.open_head = plan.open_head or alive.open_head
        plan.open_after_s, plan.heartbeat_s = alive.open_after_s, alive.heartbeat_s
        self._streams.steer(flow, plan)
        self._desk.hold_answer(self._holding(flow, running, "answer"), hold)

    def _steer(self, flow: http.HTTPFlow, running: Running, plan: stream.Plan) -> stream.Steering:
        steering = self._streams.steer(flow, plan)
        running.tap.opened = lambda: steering.opened
        running.tap.held = lambda hold: self._held(flow, running, hold)
        running.tap.resume = steering.resume
        running.steering = steering
        return steering

    def _later(self, flow: http.HTTPFlow, running: Running, wait: Wait) -> None:
        """Goes on when the wait is over, unless the client has left by then."""
        loop = asyncio.get_running_loop()
        loop.call_later(wait.seconds, self._waited, flow, running)

    def _waited(self, flow: http.HTTPFlow, running: Running) -> None:
        steering = running.steering
        if self._running.get(flow.id) is not running or steering is None or steering.gone.is_set():
            return
        step = guarded("intercept", running.exchange.resume)
        if isinstance(step, StageError):
            log.error("llmitm: %s", step, exc_info=step.cause)
            flow.kill()
        else:
            self._go(flow, running, step)

    def _redirect(self, flow: http.HTTPFlow) -> None:
        """Any other call to a provider follows its base URL, and nothing else of it changes."""
        ruleset = self._rulebook.house().ruleset
        host, port, path = client_host(flow), flow.request.port, flow.request.path
        provider = ruleset.owner(host, port, path)
        url = ruleset.redirect(provider, path) if provider is not None else None
        if url is None:
            return
        guard = self._rulebook.house().guard
        if is_ours(flow, guard):
            body = to_json({"error": {"message": LOOP.message, "code": LOOP.code}})
            flow.response = http_response(508, JSON_HEADERS, body)
            flow.comment = LOOP.message
            return
        place = lanes.place_of(url)
        aim_at(flow, *place)
        mark(flow, (host, port), place[1:3], guard)

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
        wire = running.wire
        running.secrets = aim(flow, outgoing, wire, first=not running.aimed)
        goes = (outgoing.host, outgoing.port)
        mark(flow, (wire.host, wire.port), goes, running.exchange.house.guard)
        if running.steering is not None:
            running.steering.plan.secrets = running.secrets
        running.aimed = True

    async def llm_attempt_failed(self, attempt: stream.FailedAttempt) -> None:
        """Asks the exchange for the next attempt, or tells the client in its own protocol."""
        running = self._running.get(attempt.flow.id)
        if running is None or running.steering is None:
            return
        failure = running.tap.failure or failure_of(attempt.failure)
        running.tap.failure = None
        exchange, steering = running.exchange, running.steering
        step = exchange.failed(failure)
        while isinstance(step, Wait):
            if not steering.opened:
                self._streams.steer(attempt.flow, running.waiting_plan())
            if await _left(steering, step.seconds):
                return
            step = exchange.resume()
        match step:
            case Outgoing() as outgoing:
                self._aim(attempt.flow, outgoing)
                steering.plan.ttfb_s = running.ttfb_s()
                attempt.retry(fresh=True)
            case WireResponse() as answer:
                body = exchange.fault_event() if steering.opened else answer.body
                attempt.reply(answer.status, dict(answer.headers), body)
            case Race():
                raise AssertionError("a race is not run a second time")

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
        account = close(running.exchange, status, error)
        self._desk.over(flow.id, error)
        self._recorder.record(account)
        lines = running.exchange.house.pipeline.on_close(running.exchange.turn, account)
        lines = [*lines, *(note for note in account.notes if note in TOLD)]
        if lines:
            flow.comment = " · ".join(lines)
        if account.error:
            log.warning("llmitm: %s", " · ".join(lines) or account.error)
        if ctx.master.addons.get("view") is not None:
            ctx.master.addons.trigger(UpdateHook([flow]))


async def _left(steering: stream.Steering, seconds: float) -> bool:
    """Waits; True = the client left meanwhile."""
    try:
        await asyncio.wait_for(steering.gone.wait(), seconds)
    except TimeoutError:
        return False
    return True
