"""The same request again while the first one runs: refused, or given the first one's answer.

Source: `rules/routes.yaml`, `duplicates`. What one answer for several is made of stands in
`sharing`; which requests are the same in `exchange.repeats`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Protocol

from mitmproxy import http

from llmitm.errors import StageError
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.repeats import broken_fault, duplicate_fault, repeated, request_key
from llmitm.exchange.wire import WireRequest
from llmitm.mitm.requests import http_response, wire_request
from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.sharing import Attached, First
from llmitm.mitm.stream import Streams
from llmitm.mitm.stream_contract import Plan, Steering
from llmitm.ruleset.matching import Endpoint

log = logging.getLogger("llmitm")

NO_DEDUP = "x-llmproxy-no-dedup"
"""A request with this header is never a duplicate, and no other one is a duplicate of it."""
IS_DUPLICATE = "x-llmproxy-duplicate-request"
"""Marks the refusal of a duplicate."""


class Opener(Protocol):
    """Who opens exchanges."""

    def enter(
        self,
        flow: http.HTTPFlow,
        exchange: Exchange,
        wire: WireRequest,
        steering: Steering | None = None,
    ) -> object:
        """From now on the flow is this exchange's."""
        ...

    def begin(
        self, flow: http.HTTPFlow, endpoint: Endpoint, key: bytes, waiting: Steering | None = None
    ) -> None:
        """An exchange of its own. waiting: the handle of a flow that was a duplicate until now."""
        ...


class Duplicates:
    """The exchanges under way, by what a request must have in common with theirs."""

    def __init__(self, rulebook: Rulebook, streams: Streams) -> None:
        self._rulebook = rulebook
        self._streams = streams
        self._running: dict[bytes, First] = {}

    def key_of(self, flow: http.HTTPFlow) -> bytes:
        """What makes a request the same as this one; empty = it is to be like no other."""
        house = self._rulebook.house()
        if house.ruleset.routes.duplicates.mode == "off" and not self._running:
            return b""
        if flow.request.headers.pop(NO_DEDUP, None) is not None:
            return b""
        return request_key(house, wire_request(flow))

    def lead(self, key: bytes, steering: Steering) -> None:
        """From now on this is the exchange of that request, until it is over."""
        if self._rulebook.house().ruleset.routes.duplicates.mode != "off":
            self._lead(key, steering, held=False)

    def hold(self, wire: WireRequest, steering: Steering) -> None:
        """It is held: whoever asks the same from now on gets its answer, whatever the rules say
        of duplicates, so that an operator is asked once."""
        if not steering.opened and steering.audience is None:
            self._lead(request_key(self._rulebook.house(), wire), steering, held=True)

    def _lead(self, key: bytes, steering: Steering, *, held: bool) -> None:
        def forget() -> None:
            if self._running.get(key) is first:
                del self._running[key]

        routes = self._rulebook.house().ruleset.routes
        shared = held or routes.duplicates.mode == "attach"
        cap_bytes = routes.limits.max_buffered_bytes if shared else 0
        first = First(steering.flow.id, cap_bytes, forget, shared=shared)
        self._running[key] = first
        steering.audience = first

    def settles(self, flow: http.HTTPFlow, endpoint: Endpoint, key: bytes, opener: Opener) -> bool:
        """True: the same request is under way, and this one is refused or gets its answer."""
        first = self._running.get(key)
        if first is None:
            return False
        house = self._rulebook.house()
        wire = wire_request(flow)
        exchange = repeated(house, endpoint, wire, flow.id)
        exchange.notes.append(f"the same request as {first.flow_id}, which is still running")
        row = house.ruleset.routes.duplicates
        if first.shared:
            plan = Plan(wait=True, keep_bytes=self._rulebook.kept_bytes())
            steering = self._streams.steer(flow, plan)
            opener.enter(flow, exchange, wire, steering)
            anew = partial(self._anew, flow, endpoint, key, opener, steering)
            quiet = exchange.answers.encoder().heartbeat()
            lost = partial(_lost, flow, exchange, steering, anew)
            first.attach(Attached(flow, steering, quiet, lost))
        else:
            opener.enter(flow, exchange, wire)
            answer = exchange.refusal(duplicate_fault(first.flow_id, row.retry_after_s))
            headers = (*answer.headers, (IS_DUPLICATE, "true"))
            flow.response = http_response(answer.status, headers, answer.body)
        return True

    def _anew(
        self,
        flow: http.HTTPFlow,
        endpoint: Endpoint,
        key: bytes,
        opener: Opener,
        steering: Steering,
    ) -> None:
        """Nothing was shared yet: it asks for itself, or waits for another one that now does."""
        if not self.settles(flow, endpoint, key, opener):
            opener.begin(flow, endpoint, key, steering)
        elif flow.response is not None:
            steering.resume()


def _lost(
    flow: http.HTTPFlow,
    exchange: Exchange,
    steering: Steering,
    anew: Callable[[], None],
    begun: bool,
    between: bool,
) -> None:
    """The first exchange broke off. We are inside its connection here, so it is done later."""

    def go_on() -> None:
        if steering.gone.is_set():
            return
        if not begun:
            error = guarded("duplicates", anew)
            if isinstance(error, StageError):
                log.error("llmitm: %s", error, exc_info=error.cause)
                flow.kill()
            return
        exchange.refusal(broken_fault())
        event = exchange.fault_event() if between else b""
        if event:
            steering.finish(event)
        else:
            flow.kill()

    asyncio.get_running_loop().call_soon(go_on)
