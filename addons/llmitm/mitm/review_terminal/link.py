"""One connection to the review API: messages in and out, and which one answers what was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.iostream import StreamClosedError
from tornado.websocket import (
    WebSocketClientConnection,
    WebSocketClosedError,
    WebSocketError,
    websocket_connect,
)

from llmitm.desk.review_board import Board, Data, Held, News, Past, decided
from llmitm.mitm.review_terminal.place import (
    TIMEOUT_S,
    Place,
    ReviewTrouble,
    decoded,
    fetched,
    unreachable,
)

_MOST_BYTES = 256 * 1024 * 1024
_PING_S = 20.0
_SETTLES = frozenset({"request_decided", "request_cancelled", "error"})


class Link:
    """A connection that keeps its board up to date while `run` runs."""

    def __init__(self, place: Place, board: Board, told: Callable[[News], object]) -> None:
        self.place = place
        self.board = board
        self._told = told
        self._socket: WebSocketClientConnection | None = None
        self._asked: list[tuple[str, frozenset[str], asyncio.Future[tuple[str, Data]]]] = []

    async def open(self) -> None:
        """Connects; afterwards the board has what waits. Raises ReviewTrouble."""
        url, place = self.place.socket_url(self.place.token), self.place
        try:
            self._socket = await websocket_connect(
                HTTPRequest(url, connect_timeout=TIMEOUT_S, request_timeout=TIMEOUT_S),
                ping_interval=_PING_S,
                max_message_size=_MOST_BYTES,
            )
        except HTTPClientError as error:
            if error.code in (401, 403):
                say = f"{place.url} does not accept the token: log in again with --user"
                raise ReviewTrouble("not_allowed", say) from None
            if error.code == 429:
                raise ReviewTrouble("rate_limited", f"{place.url}: too often, wait") from None
            raise unreachable(place.url, error) from None
        except (OSError, StreamClosedError, WebSocketError) as error:
            raise unreachable(place.url, error) from None
        while not self.board.connected:
            try:
                await asyncio.wait_for(self._one(), TIMEOUT_S)
            except TimeoutError:
                raise ReviewTrouble("gone", f"{place.url} tells nothing") from None

    async def run(self) -> ReviewTrouble:
        """Takes messages in until the connection ends; why it ended."""
        try:
            while True:
                await self._one()
        except ReviewTrouble as ended:
            self.board.connected = False
            for _, _, future in self._asked:
                if not future.done():
                    future.set_exception(ended)
            return ended

    async def _one(self) -> None:
        """Takes one message in."""
        assert self._socket is not None
        text = await self._socket.read_message()
        if text is None:
            raise ReviewTrouble("gone", self._why_closed())
        try:
            message: Any = json.loads(text)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        told = cast("dict[str, object]", message)
        kind, data = told.get("type"), told.get("data")
        if isinstance(kind, str):
            self._take(kind, cast("Data", data) if isinstance(data, dict) else {})

    def _why_closed(self) -> str:
        reason = self._socket.close_reason if self._socket is not None else None
        code = self._socket.close_code if self._socket is not None else None
        if code in (1008, 4001, 4401, 4403) and not self.board.connected:
            return f"{self.place.url} does not accept the token: log in again with --user"
        return f"{self.place.url} has closed the connection" + (f": {reason}" if reason else "")

    def _take(self, kind: str, data: Data) -> None:
        mine = self._settle(kind, data)
        news = self.board.apply(kind, data)
        # Whoever asked tells about an error itself.
        if news is not None and not (mine and news.error):
            self._told(news)

    def _settle(self, kind: str, data: Data) -> bool:
        about = data.get("request_id")
        for at, (request_id, kinds, future) in enumerate(self._asked):
            # An error that names no request is about the oldest thing asked.
            if kind in kinds and (about == request_id or (kind == "error" and not about)):
                del self._asked[at]
                if not future.done():
                    future.set_result((kind, data))
                return True
        return False

    async def send(self, kind: str, data: Data) -> None:
        """Sends one message. Raises ReviewTrouble when nobody is there any more."""
        if self._socket is None:
            raise ReviewTrouble("gone", "not connected")
        try:
            await self._socket.write_message(json.dumps({"type": kind, "data": data}))
        except (WebSocketClosedError, StreamClosedError):
            raise ReviewTrouble("gone", self._why_closed()) from None

    async def ask(self, kind: str, data: Data, *answers: str) -> tuple[str, Data]:
        """Sends and waits for what settles it: a decision, a cancel, an error, or one of `answers`.

        Raises ReviewTrouble when nothing comes.
        """
        future: asyncio.Future[tuple[str, Data]] = asyncio.get_running_loop().create_future()
        entry = (str(data.get("request_id", "")), _SETTLES.union(answers), future)
        self._asked.append(entry)
        try:
            await self.send(kind, data)
            return await asyncio.wait_for(future, TIMEOUT_S)
        except TimeoutError:
            say = f"no reply within {TIMEOUT_S:.0f} s; look whether it still waits"
            raise ReviewTrouble("gone", say) from None
        finally:
            if entry in self._asked:
                self._asked.remove(entry)

    async def decide(self, action: str, kind: str, data: Data) -> Past:
        """The decision, once it counts. Raises ReviewTrouble when another one does, or none."""
        answer, told = await self.ask(kind, data)
        if answer == "error":
            raise refused(told)
        if answer == "request_cancelled":
            raise ReviewTrouble("gone", f"it is over: {told.get('reason') or 'cancelled'}", told)
        past = Past.of(told)
        if past.action != action or (self.board.operator and past.by != self.board.operator):
            raise ReviewTrouble("already_decided", f"already {decided(past)}", told)
        return past

    async def whole(self, request_id: str) -> Held:
        """Everything of a held thing, nothing left out. Raises ReviewTrouble."""
        return Held.of(await self.rest("GET", f"requests/{quote(request_id, safe='')}"))

    async def rest(self, method: str, path: str) -> Data:
        """What a REST address answers. path: below `/llm/api/v1/`. Raises ReviewTrouble."""
        base = self.place.url
        headers = {"authorization": f"Bearer {self.place.token}"}
        request = HTTPRequest(f"{base}/llm/api/v1/{path}", method, headers, follow_redirects=False)
        answer = await fetched(request, base)
        data = decoded(answer, base)
        if answer.code != 200:
            told: object = data.get("error", data)
            raise refused(cast("Data", told) if isinstance(told, dict) else data)
        return data

    def close(self) -> None:
        """Ends the connection."""
        if self._socket is not None:
            self._socket.close()


def refused(data: Data) -> ReviewTrouble:
    """An `error` message as what is raised."""
    code = str(data.get("code") or "invalid")
    if code == "already_decided" and data.get("action"):
        past = Past.of(data)
        return ReviewTrouble(code, f"already {decided(past)}", data)
    if code == "stale":
        return ReviewTrouble(code, "it has changed since it was shown: look at it again", data)
    return ReviewTrouble(code, str(data.get("message") or code), data)
