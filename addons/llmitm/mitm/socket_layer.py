"""mitmproxy's WebSocket layer, which can also be told to say something and to close.

What is asked for in a `websocket_message` hook is done right after it, in that order, before the
next frame of either side is looked at; what is asked for at another time, after `Streams.wake`.
Whole frames only: the stock layer cuts edited messages in pieces of 4,000 bytes, also in the middle
of a character.
"""

from __future__ import annotations

import time

import wsproto
from mitmproxy import http, websocket
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator
from mitmproxy.proxy.layers.websocket import (
    WebsocketEndHook,
    WebsocketLayer,
    WebsocketMessageHook,
)
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import Opcode

from llmitm.mitm.stream_contract import Pushed

_TO_SERVER = 1001
"""What the provider is told when we close: going away. Source: RFC 6455, section 7.4.1."""


class SocketLayer(WebsocketLayer):
    """One WebSocket connection."""

    def __init__(self, context: Context, flow: http.HTTPFlow) -> None:
        super().__init__(context, flow)
        self._said: list[tuple[bool, bytes | None]] = []
        self._code = 0
        self._reason = ""

    def say(self, data: bytes, *, to_client: bool) -> None:
        """Sends a text frame of ours. data: UTF-8."""
        self._said.append((to_client, data))

    def ping(self) -> None:
        """Pings the client, which answers by itself and knows that somebody is there."""
        self._said.append((True, None))

    def close(self, code: int, reason: str) -> None:
        """Closes the socket after what was said. code: for the client."""
        self._code, self._reason = code, reason

    def relay_messages(self, event: events.Event) -> CommandGenerator[None]:
        """As stock, with what was asked for in between, or when `Streams.wake` was called."""
        if isinstance(event, Pushed):
            yield from self._say_all()
            if self._code:
                yield from self._close()
            return
        relayed = super().relay_messages(event)
        for command in relayed:
            yield command
            if isinstance(command, WebsocketMessageHook):
                yield from self._say_all()
                if self._code:
                    relayed.close()
                    yield from self._close()
                    return

    def _say_all(self) -> CommandGenerator[None]:
        said, self._said = self._said, []
        for to_client, data in said:
            socket = self.client_ws if to_client else self.server_ws
            if socket.state is not wsproto.ConnectionState.OPEN:
                continue
            if data is None:
                yield socket.send2(Ping())
                continue
            self._show(data, to_client=to_client)
            yield socket.send2(TextMessage(data=data.decode("utf-8", "replace")))

    def _show(self, data: bytes, *, to_client: bool) -> None:
        """Puts our frame where people look at the others."""
        if self.flow.websocket is not None:
            message = websocket.WebSocketMessage(Opcode.TEXT, not to_client, data, injected=True)
            self.flow.websocket.messages.append(message)

    def _close(self) -> CommandGenerator[None]:
        shown = self.flow.websocket
        if shown is not None:
            shown.timestamp_end = time.time()
            shown.closed_by_client = False
            shown.close_code, shown.close_reason = self._code, self._reason
        for socket, code in ((self.server_ws, _TO_SERVER), (self.client_ws, self._code)):
            if socket.state in (
                wsproto.ConnectionState.OPEN,
                wsproto.ConnectionState.REMOTE_CLOSING,
            ):
                yield socket.send2(CloseConnection(code=code, reason=self._reason))
            yield commands.CloseConnection(socket.conn)
        yield WebsocketEndHook(self.flow)
        self.flow.live = False
        vars(self)["_handle_event"] = self.done
