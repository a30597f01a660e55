"""One operator's WebSocket, on both servers: a snapshot, then every message; wishes come in.

Messages are taken one after another and no faster than `Pace` allows: who talks faster waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

from tornado.websocket import WebSocketClosedError, WebSocketHandler

from llmitm.mitm.review import replies
from llmitm.mitm.review.auth import Operator
from llmitm.mitm.review.door import Door, decider
from llmitm.mitm.review.hub import SIGNED_OUT, Line
from llmitm.mitm.review.limits import Pace

_BURST = 200
_PER_SECOND = 50.0
_LONGEST_WAIT_S = 5.0


def _look(sent: asyncio.Future[None]) -> None:
    if not sent.cancelled():
        sent.exception()


class LiveSocket(WebSocketHandler):
    """What both servers' sockets do. Its user calls `live` first and has `signed_in`."""

    def live(self, door: Door) -> None:
        """door: what is behind it."""
        self._door = door
        self._line: Line | None = None
        self._pump: asyncio.Task[None] | None = None
        self._until: asyncio.TimerHandle | None = None
        self._pace = Pace(_BURST, _PER_SECOND)

    def signed_in(self) -> Operator:
        """Who is at the other end."""
        raise NotImplementedError

    @property
    def max_message_size(self) -> int:
        """Bytes of one message; a larger one closes the connection with 1009."""
        return self._door.most_bytes

    @property
    def ping_interval(self) -> float:
        """Seconds; who does not answer is gone."""
        return 20.0

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Says how everything stands, then everything that happens."""
        address = self.request.remote_ip or ""
        if not self._door.hub.has_room(address):
            self.close(1013, "too many operators are connected")
            return
        operator = self.signed_in()
        by = decider(operator.name, self.get_query_argument("operator", ""))
        line = Line(operator, by, self._write_now, self._cut)
        self._line = line
        # The snapshot first: what joining makes the queue say comes after it.
        line.say(self._door.rest.snapshot(by))
        self._door.hub.join(line, address)
        loop = asyncio.get_running_loop()
        self._pump = loop.create_task(self._send(line))
        if operator.until_s:
            left = max(0.0, operator.until_s - self._door.now())
            self._until = loop.call_later(left, line.end, *SIGNED_OUT)

    def _write_now(self, text: str) -> None:
        with contextlib.suppress(WebSocketClosedError):
            # Whether it arrived nobody can do anything about.
            self.write_message(text).add_done_callback(_look)

    def _cut(self, code: int, reason: str) -> None:
        # Who does not read does not see the end either: the desk does not wait for that.
        if self._line is not None:
            self._door.hub.leave(self._line)
        self.close(code, reason)

    async def _send(self, line: Line) -> None:
        while (text := await line.next()) is not None:
            try:
                await self.write_message(text)
            except WebSocketClosedError:
                return

    async def on_message(self, message: str | bytes) -> None:
        """Does what the operator asks and says what came of it, to them alone."""
        line = self._line
        if line is None or line.over:
            return
        wait_s = self._pace.wait(self._door.clock())
        if wait_s:
            await asyncio.sleep(min(wait_s, _LONGEST_WAIT_S))
        if not line.over:
            answer = await self._door.rest.hear(message, line.by)
            if answer is not None:
                line.say(answer)

    def on_close(self) -> None:
        """The connection is over, however it went."""
        if self._until is not None:
            self._until.cancel()
        if self._line is not None:
            self._door.hub.leave(self._line)
        if self._pump is not None:
            self._pump.cancel()

    def _request_summary(self) -> str:
        return replies.summary(self)
