"""WebSockets to providers: commands are answered in them, and what needs HTTP is sent back to it.

An upgrade that could not do what the rules want is refused with 426, at which clients fall back to
HTTP at once. On the others each frame is shown to `exchange.websocket`. Never raises, never blocks;
where a frame cannot be judged, the rules' `on_error` does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from mitmproxy import ctx, http
from mitmproxy.hooks import UpdateHook

from llmitm.canon.events import Fault
from llmitm.errors import StageError
from llmitm.exchange.answers import JSON_HEADERS
from llmitm.exchange.conversation_ids import conversation_id
from llmitm.exchange.credentials import standing
from llmitm.exchange.house import House
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.shaping import identity_headers
from llmitm.exchange.signature_keys import scope_of
from llmitm.exchange.socket_frames import error_frame
from llmitm.exchange.socket_said import GO_TO_HTTP, INTERNAL_ERROR, PASSES, Halt, Said
from llmitm.exchange.websocket import Socket
from llmitm.exchange.wire import WireRequest
from llmitm.mitm.recorder import Recorder
from llmitm.mitm.requests import client_host, http_response, wire_request
from llmitm.mitm.review.desk import Desk
from llmitm.mitm.review.socket_holding import SocketHolding
from llmitm.mitm.rulebook import Rulebook
from llmitm.mitm.socket_layer import SocketLayer
from llmitm.mitm.stream import Streams
from llmitm.ruleset.matching import Endpoint
from llmitm.stages.contract import Account

log = logging.getLogger("llmitm")

_PROTOCOL = "openai_responses"
_NO_WEBSOCKET = "llmitm: routes are set, and they act on HTTP; ask again without WebSocket"
_SENT_BACK_S = 3600.0
_MOST_SENT_BACK = 256
_REASONS = {GO_TO_HTTP: "ask again over HTTP", INTERNAL_ERROR: "llmitm: internal error"}

type _Chat = tuple[bytes, str]
"""Whose socket it is: the client's scope, and its conversation where a header tells it."""


@dataclass(slots=True)
class _Open:
    """One socket. layer: None before the upgrade;
    kept_bytes: size of the messages that are still shown; held: what waits for an operator."""

    socket: Socket
    endpoint: Endpoint
    chat: _Chat
    layer: SocketLayer | None = None
    kept: int = 0
    kept_bytes: int = 0
    held: list[SocketHolding] = field(default_factory=list[SocketHolding])


class Sockets:
    """See the module."""

    def __init__(
        self, rulebook: Rulebook, streams: Streams, recorder: Recorder, desk: Desk
    ) -> None:
        self._rulebook = rulebook
        self._desk = desk
        self._streams = streams
        self._recorder = recorder
        self._upgrading: dict[str, _Open] = {}
        self._open: dict[str, _Open] = {}
        self._sent_back: dict[_Chat, float] = {}

    # -- the upgrade --------------------------------------------------------------------------

    def request(self, flow: http.HTTPFlow) -> None:
        """Refuses an upgrade whose requests must come over HTTP, and remembers the others."""
        if flow.response is not None or flow.request.method != "GET":
            return
        request, house = flow.request, self._rulebook.house()
        endpoint = house.ruleset.match(
            client_host(flow), request.port, request.method, request.path
        )
        if endpoint is None or endpoint.kind != "websocket":
            return
        opened = guarded("sockets", self._opened, flow, house, endpoint)
        if isinstance(opened, StageError):
            log.error("llmitm: %s", opened, exc_info=opened.cause)
        if not isinstance(opened, _Open):
            fault = Fault(kind="invalid_request", message=_NO_WEBSOCKET, status=426)
            body = house.dialects[endpoint.protocol].encode_error(fault)
            flow.response = http_response(426, (*JSON_HEADERS, ("upgrade", "HTTP/1.1")), body)
            flow.comment = "WebSocket refused: routes are set, and they act on HTTP"
        elif endpoint.protocol == _PROTOCOL:
            self._upgrading[flow.id] = opened

    def _opened(self, flow: http.HTTPFlow, house: House, endpoint: Endpoint) -> _Open | None:
        """The socket that the upgrade leads to; None = its requests must come over HTTP."""
        wire = wire_request(flow)
        if self._needs_http(house, endpoint, wire):
            return None

        def told(account: Account, lines: Sequence[str]) -> None:
            self._record(flow, account, lines)

        socket = Socket(self._rulebook.house, endpoint, wire, flow.id, told)
        return _Open(socket, endpoint, _chat(house, wire))

    def _needs_http(self, house: House, endpoint: Endpoint, wire: WireRequest) -> bool:
        """Whether a WebSocket would slip past what the rules or this client's commands want."""
        rules = house.ruleset
        if house.pipeline.decides and (rules.static_route or rules.aliases):
            return True
        if standing(wire, endpoint.provider, rules).wants == "stored":
            return True
        if identity_headers(wire.headers, endpoint.provider, rules) is not None:
            return True
        since = self._sent_back.get(_chat(house, wire))
        return since is not None and house.clock() - since < _SENT_BACK_S

    def response(self, flow: http.HTTPFlow) -> None:
        """An upgrade that the provider refused is over."""
        if flow.websocket is None:
            self._upgrading.pop(flow.id, None)

    def error(self, flow: http.HTTPFlow) -> None:
        """An upgrade that broke off is over."""
        self._upgrading.pop(flow.id, None)
        self._end(flow, "broken off")

    # -- the frames ---------------------------------------------------------------------------

    def websocket_start(self, flow: http.HTTPFlow) -> None:
        """From now on its frames are looked at."""
        opened = self._upgrading.pop(flow.id, None)
        stream = self._streams.live.get(flow.id)
        layer = stream.child_layer if stream is not None else None
        if opened is not None and isinstance(layer, SocketLayer):
            opened.layer = layer
            self._open[flow.id] = opened

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """Lets the newest frame pass, or does what takes its place."""
        opened = self._open.get(flow.id)
        if opened is None or flow.websocket is None or not flow.websocket.messages:
            return
        message = flow.websocket.messages[-1]
        if message.is_text and not message.injected and opened.layer is not None:
            socket = opened.socket
            look = socket.from_client if message.from_client else socket.from_server
            said = guarded("sockets", look, message.content)
            if isinstance(said, StageError):
                log.error("llmitm: %s", said, exc_info=said.cause)
                said = guarded("sockets", self._failed, opened, said)
            if isinstance(said, StageError):
                said = Said(passes=False, closes=INTERNAL_ERROR)
            if said is not PASSES:
                self._do(flow, opened, opened.layer, said)
        self._trim(flow, opened)

    def _do(self, flow: http.HTTPFlow, opened: _Open, layer: SocketLayer, said: Said) -> None:
        assert flow.websocket is not None
        if not said.passes:
            flow.websocket.messages[-1].drop()
        for data in said.to_server:
            layer.say(data, to_client=False)
        for data in said.to_client:
            layer.say(data, to_client=True)
        if said.closes == GO_TO_HTTP:
            while len(self._sent_back) >= _MOST_SENT_BACK:
                del self._sent_back[next(iter(self._sent_back))]
            self._sent_back[opened.chat] = self._rulebook.house().clock()
        if said.closes:
            layer.close(said.closes, _REASONS[said.closes])
        if said.holds is not None:
            self._hold(flow, opened, layer, said.holds)

    def _hold(self, flow: http.HTTPFlow, opened: _Open, layer: SocketLayer, halt: Halt) -> None:
        def say(said: Said) -> bool:
            self._do(flow, opened, layer, replace(said, passes=True))
            return self._streams.wake(flow)

        holding = SocketHolding(
            flow=flow, halt=halt, say=say, done=lambda: opened.held.remove(holding)
        )
        if not opened.held:
            self._beat_later(flow, opened, layer)
        opened.held.append(holding)
        if halt.hold.call is None and halt.hold.response is None:
            self._desk.hold_request(holding, halt.hold)
        else:
            self._desk.hold_answer(holding, halt.hold)

    def _beat_later(self, flow: http.HTTPFlow, opened: _Open, layer: SocketLayer) -> None:
        """Pings the client for as long as something of its socket is held."""
        every_s = self._rulebook.house().ruleset.routes.times.keepalive_interval_s

        def beat() -> None:
            if opened.held:
                layer.ping()
                self._streams.wake(flow)
                self._beat_later(flow, opened, layer)

        asyncio.get_running_loop().call_later(every_s, beat)

    def _failed(self, opened: _Open, error: StageError) -> Said:
        """mitmproxy would send the frame on as if no rule existed."""
        house = self._rulebook.house()
        if all(step.on_error == "forward" for step in house.pipeline.steps):
            return PASSES
        fault = Fault(kind="server", message=f"llmitm: {error}", code="internal_error", status=500)
        frame = error_frame(house.dialects[opened.endpoint.protocol], fault)
        return Said(passes=False, to_client=(frame,), closes=INTERNAL_ERROR)

    def _trim(self, flow: http.HTTPFlow, opened: _Open) -> None:
        """mitmproxy keeps every message for ever; the oldest go, the newest always stays."""
        assert flow.websocket is not None
        messages = flow.websocket.messages
        opened.kept_bytes += sum(len(each.content) for each in messages[opened.kept :])
        limit, gone = self._rulebook.kept_bytes(), 0
        while opened.kept_bytes > limit and gone < len(messages) - 1:
            opened.kept_bytes -= len(messages[gone].content)
            gone += 1
        del messages[:gone]
        opened.kept = len(messages)

    # -- the end ------------------------------------------------------------------------------

    def websocket_end(self, flow: http.HTTPFlow) -> None:
        """The socket is closed."""
        code = flow.websocket.close_code if flow.websocket is not None else None
        self._end(flow, f"the WebSocket was closed, {code or 'no code'}")

    def _end(self, flow: http.HTTPFlow, why: str) -> None:
        opened = self._open.pop(flow.id, None)
        if opened is not None:
            held, opened.held = opened.held, []
            for holding in held:
                holding.gone.set()
                self._desk.over(holding.exchange.turn.id, why)
            ended = guarded("sockets", opened.socket.closed, why)
            if isinstance(ended, StageError):
                log.error("llmitm: %s", ended, exc_info=ended.cause)

    def _record(self, flow: http.HTTPFlow, account: Account, lines: Sequence[str]) -> None:
        self._recorder.record(account)
        if lines:
            flow.comment = " · ".join(lines)
        if account.error:
            log.warning("llmitm: %s", " · ".join(lines) or account.error)
        if ctx.master.addons.get("view") is not None:
            ctx.master.addons.trigger(UpdateHook([flow]))


def _chat(house: House, wire: WireRequest) -> _Chat:
    row = house.client_of(wire.headers)
    conversation = conversation_id(row, wire.headers, None) if row is not None else ""
    return scope_of(wire.headers, wire.path, house.memory.salt), conversation
