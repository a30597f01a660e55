"""One Responses WebSocket, frame by frame: which go on, which are answered here, what is counted.

    socket = Socket(house, endpoint, wire, flow_id, told)
    said = socket.from_client(frame)    # what becomes of it
    said = socket.from_server(frame)
    socket.closed("the client left")    # once, at the end

Every `response.create` is an exchange of its own. What cannot be done on this socket (another
provider, other headers, a second attempt) is refused, and the client comes again over HTTP.
Sans-io; never blocks. Source: OpenAI API reference, Responses, WebSocket events.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from llmitm.canon.events import Fault
from llmitm.canon.fold import unfold
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.turns import text_of
from llmitm.canon.values import Json
from llmitm.dialects.contract import Dialect
from llmitm.exchange.answers import Answers
from llmitm.exchange.closing import close
from llmitm.exchange.counting import counted
from llmitm.exchange.credentials import standing
from llmitm.exchange.exchange import Exchange, Step
from llmitm.exchange.house import House
from llmitm.exchange.lanes import Incoming, Outgoing, untouched
from llmitm.exchange.pipeline import Decision
from llmitm.exchange.socket_answer import SocketAnswer
from llmitm.exchange.socket_frames import (
    CREATE,
    STEER,
    FrameReader,
    Wire,
    assistant_item,
    creates,
    error_frame,
    finder,
    frames_of,
    items_of,
    lane_in,
    lane_of,
    models_in,
    read_frame,
    steer_failed_frame,
    with_items,
)
from llmitm.exchange.socket_pending import Call, Pending
from llmitm.exchange.socket_said import GO_TO_HTTP, INTERNAL_ERROR, PASSES, Said
from llmitm.exchange.tap import Tap
from llmitm.exchange.told import told
from llmitm.exchange.verdicts import Held
from llmitm.exchange.wire import WireRequest, WireResponse
from llmitm.ruleset.matching import Endpoint
from llmitm.stages.contract import Account, Answer, Decided
from llmitm.stages.route import Route

_NEEDS_HTTP = "llmitm: this request cannot go over a WebSocket; ask again over HTTP"
_NO_COMMANDS = "llmitm: commands cannot steer an answer; send them as a request of their own"
_READ_BY_KEY = frozenset(
    {"conversations", "commands", "route", "auxiliary", "planning", "announce"}
)
"""Stages of which it is known what makes them act on a request."""
_WATCHING = frozenset({"announce"})
_MOST_ASKED = 32
_MOST_OWED = 8
_MOST_MODELS = 64


class Socket:
    """See the module. told: gets each account with the stages' lines."""

    def __init__(
        self,
        house: Callable[[], House],
        endpoint: Endpoint,
        wire: WireRequest,
        flow_id: str,
        told: Callable[[Account, Sequence[str]], None],
    ) -> None:
        self._house_now = house
        self._house = house()
        self._endpoint = replace(endpoint, kind="generate")
        self._wire = replace(wire, method="POST")
        self._flow_id = flow_id
        self._told = told
        self._count = 0
        self._asked: dict[str, deque[SocketAnswer]] = {}
        self._owed: dict[str, list[Json]] = {}
        self._pending: dict[str, Exchange] = {}
        self._unread: dict[tuple[bytes, ...], str] = {}
        self._follow(self._house)

    def _follow(self, house: House) -> None:
        """From now on these rules decide."""
        self._house = house
        commands = house.ruleset.commands
        self._sign = finder(commands.prefix) if commands.enabled else None
        self._standing = standing(self._wire, self._endpoint.provider, house.ruleset)
        incoming = self._incoming(b"", None)
        self._scope = house.turn_of(incoming, self._flow_id).scope
        self._only_watches = {step.stage.name for step in house.pipeline.steps} <= _WATCHING
        self._may_skip = not _acts_on_all(house)
        self._unread.clear()

    # -- the client's frames ------------------------------------------------------------------

    def from_client(self, data: bytes) -> Said:
        """What becomes of a text frame of the client."""
        house = self._house_now()
        if house is not self._house:
            self._follow(house)
        if len(data) > house.ruleset.routes.limits.max_body_bytes:
            return PASSES
        if self._only_watches:
            if creates(data):
                self._ask(self._unread_exchange(data, ""), lane_in(data))
            return PASSES
        if self._has_nothing_of_ours(data):
            if not creates(data):
                return PASSES
            model = self._unread.get(models_in(data))
            if model is not None:
                self._ask(self._unread_exchange(data, model), "")
                return PASSES
        wire = read_frame(data)
        kind = wire.get("type") if wire is not None else None
        if wire is None or kind not in (CREATE, STEER):
            return PASSES
        return self._create(data, wire) if kind == CREATE else self._steer(data, wire)

    def _has_nothing_of_ours(self, data: bytes) -> bool:
        """Whether the frame surely needs no reading."""
        if not self._may_skip or self._house.memory.knows(self._scope) or self._house.told:
            return False
        if self._sign is not None and self._sign(data):
            return False
        return b'"stream_id"' not in data

    def _create(self, data: bytes, wire: Wire) -> Said:
        lane = lane_of(wire)
        owed = self._owed.get(str(wire.get("previous_response_id")))
        new = items_of(wire)
        asked = with_items(data, [*owed, *new]) if owed and new else data
        sent = replace(self._wire, body=asked)
        exchange = Exchange.open(self._house, self._endpoint, sent, self._next_id())
        exchange.turn.may_ask_again = False
        if wire.get("generate") is False:
            _not_spoken(exchange)
        said = self._went(exchange, exchange.start(), Call(data, asked, lane))
        if said is PASSES and exchange.turn.route is None and not exchange.decision.watching.event:
            if len(self._unread) >= _MOST_MODELS:
                self._unread.clear()
            self._unread[models_in(data)] = exchange.turn.model
        return said

    def _went(self, exchange: Exchange, step: Step | Held, call: Call) -> Said:
        """What becomes of a request's frame, now that it is known what the exchange wants."""
        lane = call.lane
        if isinstance(step, Held):
            self._pending[exchange.turn.id] = exchange
            return Said(passes=False, holds=Pending(self, exchange, step.hold, call))
        end = exchange.decision.end
        if isinstance(end, Answer):
            return self._answer(exchange, end, lane)
        if isinstance(step, WireResponse):
            return self._refuse(exchange, step.status, lane)
        if not isinstance(step, Outgoing) or not self._fits(exchange, step):
            return self.needs_http(exchange, lane)
        self._ask(exchange, lane)
        body = step.body or call.asked
        return PASSES if body is call.data else Said(passes=False, to_server=(body,))

    def decided(self, exchange: Exchange, call: Call, decided: Decided) -> Said:
        """What becomes of a request's frame that was held, and stood back, until now."""
        self._pending.pop(exchange.turn.id, None)
        said = self._went(exchange, exchange.decided(decided), call)
        return Said(passes=False, to_server=(call.data,)) if said.passes else said

    def _fits(self, exchange: Exchange, out: Outgoing) -> bool:
        """Whether the request may go on over this socket, whose place and head are settled."""
        return (
            not out.rerouted
            and out.headers is None
            and out.lane != "translate"
            and not exchange.may_retry
            and not exchange.decision.watching.response
        )

    def _answer(self, exchange: Exchange, end: Answer, lane: str) -> Said:
        """llmitm's own answer, as the events of a streamed one."""
        exchange.local = True
        answers: Answers = replace(exchange.answers, stream=True)
        body = answers.events(unfold(end.response), exchange.losses).body
        if not self._house.told.knows(exchange.turn.scope, end.response.id):
            self._owe(exchange, end.response)
        self._finish(exchange, 200)
        return Said(passes=False, to_client=frames_of(body, lane))

    def _owe(self, exchange: Exchange, response: Response) -> None:
        """Keeps what the provider has not seen: a client that goes on from this answer sends only
        what is new since."""
        wire = read_frame(exchange.incoming.body)
        limit = self._house.ruleset.routes.limits.max_buffered_bytes
        if wire is None or not response.id or len(exchange.incoming.body) > limit:
            return
        said = "".join(text_of(choice.parts) for choice in response.choices)
        while len(self._owed) >= _MOST_OWED:
            del self._owed[next(iter(self._owed))]
        self._owed[response.id] = [*items_of(wire), assistant_item(said)]

    def _refuse(self, exchange: Exchange, status: int, lane: str) -> Said:
        fault = exchange.meter.fault or Fault(kind="server", message="llmitm: refused")
        frame = error_frame(self._dialect, replace(fault, status=status), lane)
        self._finish(exchange, status)
        closes = INTERNAL_ERROR if fault.code == "policy_failed" else 0
        return Said(passes=False, to_client=(frame,), closes=closes)

    def needs_http(self, exchange: Exchange, lane: str) -> Said:
        """Refuses the request here and closes the socket: the client is to come over HTTP."""
        _not_spoken(exchange)
        fault = Fault(
            kind="invalid_request", status=426, code="websocket_refused", message=_NEEDS_HTTP
        )
        exchange.local, exchange.outgoing = True, None
        exchange.meter.fault = fault
        self._finish(exchange, 426)
        frame = error_frame(self._dialect, fault, lane)
        return Said(passes=False, to_client=(frame,), closes=GO_TO_HTTP)

    def _steer(self, data: bytes, wire: Wire) -> Said:
        """Input for an answer under way; nothing of ours may be in it, and none of it is lost."""
        local = str(wire.get("previous_response_id")) in self._owed
        sent = replace(self._wire, body=data)
        if not local and counted(self._house, self._endpoint, sent, self._next_id()) is None:
            return PASSES
        return Said(passes=False, to_client=(steer_failed_frame(wire, _NO_COMMANDS),))

    # -- the server's frames ------------------------------------------------------------------

    def from_server(self, data: bytes) -> Said:
        """What becomes of a text frame of the provider."""
        lane = self._lane_of_answer(data)
        waiting = self._asked.get(lane)
        if not waiting:
            if b'"response.created"' not in data:
                return PASSES
            # An answer to what was steered.
            self._ask(self._unread_exchange(b"", ""), lane)
            waiting = self._asked[lane]
        asked = waiting[0]
        asked.exchange.response_bytes += len(data)
        return self._of_answer(asked, asked.feed(data))

    def _of_answer(self, asked: SocketAnswer, said: Said) -> Said:
        """The same, after the answer that this was of has ended by it, if it has."""
        waiting = self._asked.get(asked.lane)
        if asked.over and waiting and waiting[0] is asked:
            waiting.popleft()
            if not waiting:
                del self._asked[asked.lane]
            self._finish(asked.exchange, 200)
        return said

    def _lane_of_answer(self, data: bytes) -> str:
        return lane_in(data) if any(self._asked) else ""

    # -- exchanges ----------------------------------------------------------------------------

    @property
    def _dialect(self) -> Dialect:
        return self._house.dialects[self._endpoint.protocol]

    def _next_id(self) -> str:
        self._count += 1
        return f"{self._flow_id}.{self._count}"

    def _incoming(self, data: bytes, request: Request | None) -> Incoming:
        wire = replace(self._wire, body=data)
        return Incoming(wire=wire, endpoint=self._endpoint, body=b"", coding="", request=request)

    def _unread_exchange(self, data: bytes, model: str) -> Exchange:
        """The exchange of a request that passes unread."""
        house = self._house
        incoming = self._incoming(data, None)
        turn = house.turn_of(incoming, self._next_id())
        turn.model = model
        exchange = Exchange(
            house=house,
            turn=turn,
            incoming=incoming,
            decision=Decision(request=Request(dialect=turn.protocol, model=model, messages=())),
            client=self._standing,
        )
        exchange.opened_s = house.clock()
        exchange.outgoing = replace(untouched(incoming, house.ruleset), model=model)
        return exchange

    def _ask(self, exchange: Exchange, lane: str) -> None:
        """The request goes out: the next answer on its lane is its."""
        watching = exchange.decision.watching
        edits = bool(watching.event)
        dialect = self._dialect
        tap = Tap(
            reader=FrameReader(None if edits else dialect.telling),
            meter=exchange.meter,
            clock=self._house.clock,
            note=exchange.notes.append,
            raw_unedited=True,
            repeats=dialect.repeats,
        )
        if edits:
            tap.encoder = exchange.encoder()
            tap.watching, tap.turn = watching, exchange.turn
        waiting = self._asked.setdefault(lane, deque())
        if len(waiting) >= _MOST_ASKED:
            self._finish(waiting.popleft().exchange, 200, "never answered")
        limit_bytes = self._house.ruleset.routes.limits.max_buffered_bytes
        waiting.append(
            SocketAnswer(
                exchange=exchange,
                tap=tap,
                lane=lane,
                limit_bytes=limit_bytes,
                then=self._of_answer,
            )
        )

    def _finish(self, exchange: Exchange, status: int, error: str = "") -> None:
        turn, meter, out = exchange.turn, exchange.meter, exchange.outgoing
        if not turn.model and meter.model:
            turn.model = meter.model
            exchange.outgoing = replace(out, model=meter.model) if out is not None else None
        account = replace(close(exchange, status, error), stream=True)
        lines = exchange.house.pipeline.on_close(turn, account)
        self._told(account, lines)

    def ended(self, exchange: Exchange, response: Response) -> None:
        """Its answer was written here, and is complete."""
        told(exchange, response)
        self._pending.pop(exchange.turn.id, None)
        self._finish(exchange, 200)

    def closed(self, why: str) -> None:
        """The socket is over; answers that were under way broke off."""
        for waiting in self._asked.values():
            for asked in waiting:
                self._finish(asked.exchange, 200, why)
        for exchange in self._pending.values():
            self._finish(exchange, 0, why)
        self._pending.clear()
        self._asked.clear()
        self._owed.clear()


def _not_spoken(exchange: Exchange) -> None:
    """A request that brings no answer, or comes again, is not yet the one that a one-off route is
    for."""
    if Route.name in exchange.turn.memory:
        exchange.turn.conversation.one_off = exchange.turn.memory[Route.name]


def _acts_on_all(house: House) -> bool:
    """Whether some rule may act on a request that holds no command."""
    rules = house.ruleset
    rewrites = rules.rewrites
    return (
        not {step.stage.name for step in house.pipeline.steps} <= _READ_BY_KEY
        or rules.static_route is not None
        or bool(rules.aliases)
        or rewrites.shapes
        or rewrites.auxiliary.enabled
        or rewrites.planning.enabled
    )
