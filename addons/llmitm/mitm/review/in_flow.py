"""What is held, as mitmproxy's own flow shows it, and what was edited there.

A held request stands in the flow as it would leave in the client's protocol, secrets replaced; a
held answer stands there as the client would get it. Whoever resumes the flow has approved that,
or what they made of it. When the hold ends, the flow has its own content again.
"""

from __future__ import annotations

from mitmproxy import http

from llmitm.canon.events import Event
from llmitm.canon.fold import fold
from llmitm.errors import ClientWireError, StageError
from llmitm.exchange.house import completed
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.wire import media_type
from llmitm.mitm.requests import http_response
from llmitm.mitm.review.holding import Waits
from llmitm.stages.contract import FORWARD, Answer, Decided, Forward, Hold


class FlowEdits:
    """One held flow. `show` when the hold begins, `hide` when it ends."""

    def __init__(self, holding: Waits, hold: Hold) -> None:
        self._holding = holding
        self._hold = hold
        self._shown = b""
        self._request_before: bytes | None = None
        self._response_before: http.Response | None = None

    def show(self) -> None:
        """Puts what is held where mitmproxy's editors find it."""
        holding, flow = self._holding, self._holding.flow
        if holding.in_flow == "request":
            self._request_before = flow.request.raw_content
            body = self._leaving()
            if body is not None:
                flow.request.content = body
            self._shown = flow.request.content or b""
        elif self._hold.response is not None:
            answer = holding.exchange.answers.response(self._hold.response, [])
            self._response_before = flow.response
            flow.response = http_response(answer.status, answer.headers, answer.body)
            self._shown = answer.body

    def _leaving(self) -> bytes | None:
        """The body with what the stages have changed, None = they have changed nothing."""
        exchange = self._holding.exchange
        incoming = exchange.incoming
        after = self._hold.shown or exchange.decision.request
        if incoming.request is None or after is incoming.request:
            return None
        dialect = exchange.house.dialects[incoming.endpoint.protocol]
        facts = exchange.house.ruleset.facts(incoming.endpoint.provider, after.model)
        patched = dialect.patch_request(incoming.body, incoming.request, after, facts)
        return (patched or dialect.encode_request(after, facts)).body

    @property
    def changed(self) -> bool:
        """Whether something was edited in the flow."""
        return self._now() != self._shown

    def _now(self) -> bytes:
        flow = self._holding.flow
        if self._holding.in_flow == "request":
            return flow.request.get_content(strict=False) or b""
        if self._hold.response is None or flow.response is None:
            return self._shown
        return flow.response.get_content(strict=False) or b""

    def read(self) -> tuple[Decided, str]:
        """(what was decided by resuming the flow, what is wrong with the edit or nothing)."""
        if not self.changed:
            return FORWARD, ""
        exchange, body = self._holding.exchange, self._now()
        dialect = exchange.house.dialects[exchange.turn.protocol]
        if self._holding.in_flow == "request":
            try:
                edited = dialect.decode_request(body)
            except ClientWireError as error:
                return FORWARD, str(error)
            edited = completed(edited, exchange.incoming.endpoint)
            return Forward(request=edited, why="edited in mitmproxy"), ""
        events = guarded("edit", self._events, body)
        if isinstance(events, StageError):
            return FORWARD, str(events.cause)
        answer = fold(events)
        if not answer.choices:
            return FORWARD, "there is no answer in it"
        return Answer(response=answer, why="edited in mitmproxy"), ""

    def _events(self, body: bytes) -> list[Event]:
        exchange = self._holding.exchange
        dialect = exchange.house.dialects[exchange.turn.protocol]
        if not self._holding.stream:
            return dialect.decode_response(body)
        decoder = dialect.stream_decoder(media_type(exchange.answers.stream_headers))
        frames = [*decoder.feed(body), *decoder.close()]
        return [event for frame in frames for event in frame.events]

    def hide(self) -> None:
        """Gives the flow its own content back."""
        flow = self._holding.flow
        if self._holding.in_flow == "request":
            flow.request.raw_content = self._request_before
        elif self._hold.response is not None:
            flow.response = self._response_before
