"""Several providers are asked at once; the client gets the first answer that shows something.

Each leg is a request of our own (`race_leg`); the flow waits meanwhile (`Plan.wait`). The winner's
answer goes through the same tap as any other, from its first byte, and is pushed to the client.
Losers are cancelled as soon as there is a winner, all of them when the client leaves.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial

from mitmproxy import flow as mitm_flow
from mitmproxy import http
from mitmproxy.utils import asyncio_utils

from llmitm.canon.events import Fault
from llmitm.exchange.attempts import Candidate
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.failure import Failure, fault_of
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.wire import WireResponse
from llmitm.mitm import stream_contract as stream
from llmitm.mitm.answer_tap import AnswerTap
from llmitm.mitm.race_leg import Leg, LegFailed
from llmitm.mitm.requests import http_headers, http_response
from llmitm.mitm.stream import connection_handler
from llmitm.mitm.upstreams import Upstreams
from llmitm.stages.contract import Decided

log = logging.getLogger("llmitm")

_DRAIN_BYTES = 65536
"""After so many bytes the leg is read no further until the client has taken them."""
_OF_THE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})


class Races:
    """The races under way."""

    def __init__(self) -> None:
        self._upstreams = Upstreams()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(
        self,
        exchange: Exchange,
        tap: AnswerTap,
        steering: stream.Steering,
        aim: Callable[[Outgoing], None],
    ) -> None:
        """Runs the race of `exchange`. steering: of its flow, with a plan that waits;
        aim: shows an outgoing request in the flow."""
        heat = Heat(
            exchange=exchange, tap=tap, steering=steering, aim=aim, upstreams=self._upstreams
        )
        flow = steering.flow
        task = asyncio_utils.create_task(
            heat.run(), name=f"race {flow.id}", keep_ref=True, client=flow.client_conn.peername
        )
        self._tasks.add(task)
        task.add_done_callback(partial(self._ended, flow))

    def done(self) -> None:
        """The proxy shuts down: its loop waits for what is cancelled here."""
        for task in self._tasks:
            task.cancel()

    def _ended(self, flow: http.HTTPFlow, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:
            log.error("llmitm: the race broke off: %s", error, exc_info=error)
            if flow.killable:
                flow.kill()


@dataclass(slots=True, kw_only=True)
class Heat:
    """One race, from the first request to the last byte of the answer."""

    exchange: Exchange
    tap: AnswerTap
    steering: stream.Steering
    aim: Callable[[Outgoing], None]
    upstreams: Upstreams
    _legs: list[Leg] = field(default_factory=list[Leg])
    _tasks: list[asyncio.Task[Leg | None]] = field(default_factory=list[asyncio.Task[Leg | None]])
    _released: asyncio.Event = field(default_factory=asyncio.Event)
    _won: bool = False
    _cancelled: bool = False
    _held: list[bytes] | None = None
    _response: http.Response | None = None
    _unsent: list[bytes] = field(default_factory=list[bytes])
    _undrained: int = 0

    async def run(self) -> None:
        """The whole race; ends early when the client is gone. Leaves no task and no connection."""
        racing = asyncio.ensure_future(self._race())
        gone = asyncio.ensure_future(self.steering.gone.wait())
        try:
            await asyncio.wait({racing, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            racing.cancel()
            self._cancel()
            # A task that is cancelled again while it closes its connection would leave that open:
            # each is cancelled once, and nothing here passes a cancellation on (`gather` would).
            await asyncio.wait({racing, gone, *self._tasks})
            for leg in self._legs:
                await leg.aclose()
        if not racing.cancelled():
            racing.result()

    async def _race(self) -> None:
        leg = await self._first()
        if self.steering.gone.is_set():
            return
        if leg is None:
            self._refuse()
        else:
            await self._deliver(leg)

    # -- who is first -------------------------------------------------------------------------

    async def _first(self) -> Leg | None:
        """The first leg with output; else the first that ended without any; None: all failed."""
        attempts = self.exchange.attempts
        assert attempts is not None
        legs = attempts.race(self.exchange.house.clock())
        longest_s = max(map(_handicap_s, legs))
        legs = sorted(legs, key=_handicap_s, reverse=True)
        self._tasks = [
            asyncio.ensure_future(self._ask(one, longest_s - _handicap_s(one))) for one in legs
        ]
        pending: set[asyncio.Task[Leg | None]] = set(self._tasks)
        blank: Leg | None = None
        while pending:
            done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            # In the order of the legs: a tie is no matter of chance.
            ended = [task.result() for task in self._tasks if task in done]
            for leg in ended:
                if leg is not None and leg.shown:
                    return leg
                blank = blank or leg
        return blank

    async def _ask(self, candidate: Candidate, delay_s: float) -> Leg | None:
        """The leg once it shows something or ends; None: it failed, which is written down."""
        if delay_s > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._released.wait(), delay_s)
        exchange = self.exchange.leg(candidate)
        built = exchange.send_to(candidate)
        if isinstance(built, Fault):
            exchange.cannot(built)
            self._lost(exchange)
            return None
        assert self.exchange.attempts is not None
        self.exchange.attempts.count += 1
        leg = Leg(
            candidate=candidate,
            exchange=exchange,
            outgoing=built,
            upstreams=self.upstreams,
            server=self.steering.flow.server_conn,
        )
        self._legs.append(leg)
        try:
            await leg.run()
        except LegFailed as failed:
            exchange.learn(failed.failure)
            leg.over = True
            self._lost(exchange)
            await leg.aclose()
            return None
        except asyncio.CancelledError:
            await leg.aclose()
            raise
        if not leg.shown:
            self._released.set()
        return leg

    def _lost(self, exchange: Exchange) -> None:
        """A leg failed for good: those that wait start now, and its error may be the last."""
        if not self._won:
            self.exchange.adopt(exchange)
        self._released.set()

    def _cancel(self) -> None:
        """Ends the legs that run; what became of them is not known."""
        if self._cancelled:
            return
        self._cancelled = True
        for task in self._tasks:
            task.cancel()
        for leg in self._legs:
            attempts = leg.exchange.attempts
            if not leg.over and attempts is not None:
                leg.over = True
                attempts.left(leg.exchange.house.clock())

    def _refuse(self) -> None:
        """All failed: the last provider's error, in the client's protocol."""
        exchange = self.exchange
        if exchange.outgoing is not None:
            self.aim(exchange.outgoing)
        step = exchange.resume()
        assert isinstance(step, WireResponse)
        self._reply(step)

    # -- the winner's answer ------------------------------------------------------------------

    async def _deliver(self, leg: Leg) -> None:
        """The leg's answer becomes the exchange's, and the others end."""
        exchange = self.exchange
        self._won = leg.over = True
        self._cancel()
        for other in self._legs:
            if other is not leg and (other.shown or other.ended):
                # Its task is done, so nothing else closes it now.
                await other.aclose()
        if self.steering.gone.is_set():
            return
        exchange.adopt(leg.exchange)
        others = [other.label for other in self._legs if other is not leg]
        if others:
            exchange.notes.append(f"{leg.label} was faster than {', '.join(others)}")
        self.aim(leg.outgoing)
        kept = [pair for pair in leg.headers if pair[0].lower() not in _OF_THE_CONNECTION]
        response = http.Response.make(leg.status, b"", http_headers(tuple(kept)))
        response.headers.pop("content-length", None)
        response.timestamp_start = time.time()
        self._response = response
        verdict = self.tap.head(response)
        match verdict:
            case stream.Pass():
                self.steering.plan.open_head = response
            case stream.HoldBack():
                self._held = []
            case stream.FailAttempt(why=why):
                self._fail(Failure(kind="wire", message=why))
                return
        await self._pass_on(leg)

    async def _pass_on(self, leg: Leg) -> None:
        async with aclosing(leg.chunks()) as chunks:
            try:
                async for chunk in chunks:
                    if not await self._performed(self.tap.feed(chunk)):
                        return
                    if self._undrained >= _DRAIN_BYTES and not await self._drained():
                        return
            except LegFailed as failed:
                self._broke(failed.failure.message)
                return
        await self._performed(self.tap.end(), ended=True)

    async def _performed(self, step: stream.TapStep, *, ended: bool = False) -> bool:
        """As `_perform`; where the answer is held, once it was decided."""
        while isinstance(step, stream.Step) and step.act is stream.Act.HOLD:
            decided: asyncio.Future[Decided] = asyncio.get_running_loop().create_future()
            # Each hold is decided once; a decision after the end of the race finds nobody.
            self.tap.resume = lambda said, to=decided: to.done() or to.set_result(said)
            if not self._perform(stream.Step(step.out)):
                return False
            if self._held is None:
                self._flush()
            step = self.tap.resumed(await decided)
        return self._perform(step, ended=ended)

    def _perform(self, step: stream.TapStep, *, ended: bool = False) -> bool:
        """Does what the tap says; True: the answer goes on."""
        if isinstance(step, bytes):
            step = stream.Step(step)
        match step.act:
            case stream.Act.FAIL:
                self._fail(self.tap.failure or Failure(kind="wire", message=step.why))
            case stream.Act.AGAIN:
                # The tap has aimed the flow: from here on it goes the way of a single attempt.
                self.steering.resume()
            case stream.Act.CUT:
                self._finish(step.out)
            case _ if ended:
                self._finish(step.out)
            case _ if self._held is not None:
                self._held.append(step.out)
                return True
            case _:
                self._send(step.out)
                return not self.steering.closed
        return False

    def _send(self, out: bytes) -> None:
        """To the client as soon as the leg has to wait for more, so that what came in one read
        goes out in one write."""
        if not out:
            return
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(out)
        self._undrained += len(out)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent:
            self.steering.push(b"".join(unsent))

    def _finish(self, out: bytes) -> None:
        if self._held is None or self._response is None:
            self._flush()
            self.steering.finish(out)
            return
        response = self._response
        headers = tuple(response.headers.items(multi=True))
        body = b"".join((*self._held, out))
        self._reply(WireResponse(status=response.status_code, headers=headers, body=body))

    def _broke(self, message: str) -> None:
        """The winner broke off: a well-formed end if the tap has one, else the break is told."""
        step = self.tap.broke(message)
        if isinstance(step, stream.Step) and step.act is not stream.Act.GO:
            self._perform(step)
            return
        self._flush()
        flow = self.steering.flow
        if flow.killable:
            flow.kill()
            flow.error = mitm_flow.Error(message)

    def _fail(self, failure: Failure) -> None:
        """The winner is of no use after all; nobody else is left to be asked."""
        step = self.exchange.failed(failure)
        if not isinstance(step, WireResponse):
            step = self.exchange.refusal(fault_of(failure, self.exchange.house.now()))
        self._reply(step)

    def _reply(self, answer: WireResponse) -> None:
        """A whole answer, or the rest of one that has begun."""
        steering = self.steering
        # From now on it must not be begun in another way.
        steering.plan.open_head = None
        if steering.opened:
            event = self.exchange.fault_event() if answer.status >= 400 else b""
            steering.finish(event or answer.body)
            return
        steering.flow.response = http_response(answer.status, answer.headers, answer.body)
        steering.resume()

    async def _drained(self) -> bool:
        """Waits while the client takes no more; False: its connection is gone."""
        self._flush()
        self._undrained = 0
        # A push is delivered in a turn of the loop of its own.
        await asyncio.sleep(0)
        client = self.steering.flow.client_conn
        handler = connection_handler(client)
        if handler is None:
            return False
        transport = handler.transports.get(client)
        if transport is not None and transport.writer is not None:
            try:
                await transport.writer.drain()
            except OSError:
                return False
        return True


def _handicap_s(candidate: Candidate) -> float:
    return candidate.target.marks.handicap_s if candidate.target else 0.0
