"""What is held, as mitmproxy's own flow shows it, and what was edited there.

A held request stands in the flow as it would leave in the client's protocol, secrets replaced; a
held answer stands there as the client would get it. What is saved there is what is held from then
on, for every operator: whoever approves it, or resumes the flow, has approved that. When the hold
ends, the flow has its own content again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from mitmproxy import http

from llmitm.canon.events import Event, FinishReason
from llmitm.canon.fold import fold
from llmitm.desk.cards import Card
from llmitm.errors import ClientWireError, StageError
from llmitm.exchange.house import completed
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.wire import media_type
from llmitm.mitm.requests import client_host, http_response
from llmitm.mitm.review.holding import Waits
from llmitm.stages.contract import FORWARD, Answer, Decided, Forward, Hold

log = logging.getLogger("llmitm")

UNUSED = "what was edited in mitmproxy is not used: it was decided elsewhere"
HEAD_UNUSED = "only bodies can be edited while held: the other changes are not used"
TOLD = frozenset({UNUSED, HEAD_UNUSED})
"""Notes of an exchange that its line in the flow list tells too."""


type _Saved = tuple[str, bytes]
"""What is saved in a flow: the request's path, which may name the model, and the body."""


class FlowEdits:
    """One held flow. `show` when the hold begins, `hide` when it ends.

    For the queue it is the exchange that waits (`desk.queue.Waiting`): an approval approves what is
    saved in the flow.
    """

    def __init__(self, holding: Waits, hold: Hold) -> None:
        self._holding = holding
        self._hold = hold
        self._shown: _Saved = ("", b"")
        self._request_before: Any = None
        self._response_before: http.Response | None = None
        self._head: tuple[object, ...] = ()
        self._read: tuple[_Saved, Decided, str] | None = None
        self._saved: Decided = FORWARD

    def show(self) -> None:
        """Puts what is held where mitmproxy's editors find it."""
        holding, flow = self._holding, self._holding.flow
        if holding.in_flow == "request":
            self._request_before = flow.request.get_state()
            body = self._leaving()
            if body is not None:
                flow.request.content = body
        elif self._hold.response is not None:
            answer = holding.exchange.answers.response(self._hold.response, [])
            self._response_before = flow.response
            flow.response = http_response(answer.status, answer.headers, answer.body)
        self._shown = self._now()
        self._head = self._head_now()
        _forget_backup(flow)

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

    def _now(self) -> _Saved:
        flow = self._holding.flow
        if self._holding.in_flow == "request":
            return flow.request.path, flow.request.get_content(strict=False) or b""
        if self._hold.response is None or flow.response is None:
            return self._shown
        return "", flow.response.get_content(strict=False) or b""

    def read(self) -> tuple[Decided, str]:
        """(what was decided by resuming the flow, what is wrong with the edit or nothing)."""
        now = self._now()
        if now == self._shown:
            return FORWARD, ""
        if self._read is None or self._read[0] != now:
            self._read = (now, *self._parsed(now[1]))
        return self._read[1:]

    def _parsed(self, body: bytes) -> tuple[Decided, str]:
        exchange, flow = self._holding.exchange, self._holding.flow
        dialect = exchange.house.dialects[exchange.turn.protocol]
        if self._holding.in_flow == "request":
            try:
                edited = dialect.decode_request(body)
            except ClientWireError as error:
                return FORWARD, str(error)
            request = flow.request
            # The model may stand in the path, and have been edited there.
            endpoint = exchange.house.ruleset.match(
                client_host(flow), request.port, request.method, request.path
            )
            if endpoint is None or endpoint.protocol != exchange.turn.protocol:
                endpoint = exchange.incoming.endpoint
            edited = completed(edited, endpoint)
            return Forward(request=edited, why="edited in mitmproxy"), ""
        events = guarded("edit", self._events, body)
        if isinstance(events, StageError):
            return FORWARD, str(events.cause)
        answer = fold(events)
        if not answer.choices:
            return FORWARD, "there is no answer in it"
        return Answer(response=answer, why="edited in mitmproxy"), ""

    def saved(self, card: Card) -> Card | None:
        """The card as what is saved in the flow makes it, None = what is there is not understood.

        From then on an approval approves that. card: as it was offered.
        """
        decided, mistake = self.read()
        if mistake:
            return None
        self._saved = decided
        if isinstance(decided, Forward) and decided.request is not None:
            return replace(card, request=decided.request)
        if isinstance(decided, Answer):
            return replace(card, response=decided.response)
        return card

    # -- as the exchange that waits -----------------------------------------------------------

    def decided(self, decided: Decided) -> bool:
        """It goes on as decided, approved as it is saved. False: it is over."""
        if decided == FORWARD:
            decided = self._saved
        self._tell_unused(decided)
        return self._holding.decided(decided)

    def begin(self) -> bool:
        """An operator begins to write the answer. False: it is over."""
        self._tell_unused(None)
        return self._holding.begin()

    def write(self, events: Sequence[Event]) -> bool:
        """More of that answer. False: the client has left."""
        return self._holding.write(events)

    def finish(self, reason: FinishReason) -> bool:
        """The answer is complete."""
        return self._holding.finish(reason)

    def _tell_unused(self, decided: Decided | None) -> None:
        """Says of edits in the flow that they do not go on."""
        used = self._read is not None and self._read[1] is decided
        told = [UNUSED] if self.changed and not used else []
        if self._head_now() != self._head:
            told.append(HEAD_UNUSED)
        for say in told:
            self._holding.exchange.notes.append(say)
            log.warning("llmitm: %s: %s", self._holding.flow.request.pretty_url, say)

    def _head_now(self) -> tuple[object, ...]:
        """What of the message is no body."""
        flow = self._holding.flow
        if self._holding.in_flow == "answer":
            response = flow.response if self._hold.response is not None else None
            return (response.status_code, _headers(response)) if response is not None else ()
        request = flow.request
        return (request.method, request.scheme, request.host, request.port, _headers(request))

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
            # mitmproxy takes a state apart when it is set.
            before, self._request_before = self._request_before, None
            if before is not None:
                flow.request.set_state(before)
        elif self._hold.response is not None:
            flow.response = self._response_before
        _forget_backup(flow)


def _headers(message: http.Message) -> list[tuple[bytes, bytes]]:
    return [field for field in message.headers.fields if field[0].lower() != b"content-length"]


def _forget_backup(flow: http.HTTPFlow) -> None:
    """What mitmproxy's Revert would bring back: the flow as it was edited first, held or not."""
    flow._backup = None  # pyright: ignore[reportPrivateUsage]
