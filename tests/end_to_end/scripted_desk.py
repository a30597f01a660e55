"""A desk for tests of the review page: it shows the cards it is given, keeps what it is told, and
answers as a test says. Every message in both directions is held against `llmitm.desk.messages`."""

from __future__ import annotations

import asyncio
import json
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from llmitm import desk
from llmitm.desk.messages import CardView, Message, Stats, read_message

PAGE = Path(desk.__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""As the real server sends it, and stricter: a text that becomes markup is an error."""
PATIENCE_S = 15.0
_MESSAGE: TypeAdapter[Any] = TypeAdapter(Message)
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
}

type Reply = Callable[[dict[str, Any]], None]


class ScriptedDesk:
    """cards: CardView objects as JSON; heard: (type, data) in order; reply: type -> what the desk
    does about it, nothing by default."""

    def __init__(self) -> None:
        self.cards: dict[str, dict[str, Any]] = {}
        self.whole: dict[str, dict[str, Any]] = {}
        self.history: list[dict[str, Any]] = []
        self.approvals: list[dict[str, Any]] = []
        self.tools: list[dict[str, Any]] = []
        self.operator = "ada"
        self.signed_in = True
        self.down = False
        self.heard: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()
        self.reply: dict[str, Reply] = {}
        self.sockets: set[_Socket] = set()
        self.connected = 0
        self.logins: list[dict[str, str]] = []
        self._loop = asyncio.new_event_loop()
        self.url = ""

    def start(self) -> None:
        """Serves from a thread of its own."""
        ready = threading.Event()
        thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        thread.start()
        assert ready.wait(PATIENCE_S)

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)

        async def serve() -> None:
            [bound] = bind_sockets(0, "127.0.0.1")
            given = {"desk": self}
            routes = [
                (r"/llm/ws", _Socket, given),
                (r"/llm/api/v1/(.*)", _Rest, given),
                (r"/llm/(.*)", _Files),
            ]
            HTTPServer(Application(routes)).add_sockets([bound])
            self.url = f"http://127.0.0.1:{bound.getsockname()[1]}/llm/"
            ready.set()

        self._loop.run_until_complete(serve())
        self._loop.run_forever()
        self._loop.close()

    def stop(self) -> None:
        """The server ends; connections break."""
        self.hang_up()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def reset(self) -> None:
        """As at first, for the next test."""
        self.cards.clear()
        self.whole.clear()
        self.history.clear()
        self.approvals.clear()
        self.tools.clear()
        self.reply.clear()
        self.logins.clear()
        self.signed_in = True
        self.down = False
        self.down = False
        self.heard = queue.Queue()

    def stats(self) -> dict[str, Any]:
        """Figures that fit."""
        made = Stats(
            waiting=len(self.cards),
            decided={"approve": 12, "edit": 2, "answer": 1, "reject": 3},
            cancelled=1,
            timeouts=0,
            full=0,
            average_wait_s=21.5,
            longest_wait_s=190.0,
            oldest_age_s=4.0,
            operators=2,
        )
        return made.model_dump()

    def offer(self, card: dict[str, Any]) -> None:
        """A card begins to wait; everybody is told."""
        self.cards[card["request_id"]] = card
        self.say("new_request", card)

    def update(self, card_id: str, **changes: Any) -> None:
        """A card changes."""
        self.cards[card_id] = {**self.cards[card_id], **changes}
        self.say("request_updated", self.cards[card_id])

    def decided(self, card_id: str, action: str, by: str, note: str = "") -> None:
        """A card is over."""
        self.cards.pop(card_id, None)
        told = {"request_id": card_id, "action": action, "by": by, "at": time.time(), "note": note}
        self.say("request_decided", told)

    def say(self, kind: str, data: dict[str, Any]) -> None:
        """One message to every page that is connected."""
        text = _told(kind, data)
        self._loop.call_soon_threadsafe(self._say, text)

    def _say(self, text: str) -> None:
        for socket in list(self.sockets):
            socket.write_message(text)

    def hang_up(self) -> None:
        """Every connection breaks."""
        self._loop.call_soon_threadsafe(lambda: [one.close() for one in list(self.sockets)])

    def wait_for(self, kind: str) -> dict[str, Any]:
        """The data of the next message of this type; others before it are left out."""
        while True:
            told, data = self.heard.get(timeout=PATIENCE_S)
            if told == kind:
                return data

    def said(self, kind: str) -> list[dict[str, Any]]:
        """Every message of this type that has come and was not waited for."""
        with self.heard.mutex:
            return [data for told, data in self.heard.queue if told == kind]

    def snapshot(self) -> str:
        """The first message of a connection."""
        told = {
            "requests": list(self.cards.values()),
            "history": self.history,
            "stats": self.stats(),
            "operator": self.operator,
        }
        return _told("snapshot", told)


def _told(kind: str, data: dict[str, Any]) -> str:
    message = {"type": kind, "data": data}
    _MESSAGE.validate_python(message)
    return json.dumps(message)


class _Socket(WebSocketHandler):
    def initialize(self, desk: ScriptedDesk) -> None:
        self.desk = desk

    def open(self, *_: str) -> None:
        self.desk.sockets.add(self)
        self.desk.connected += 1
        self.write_message(self.desk.snapshot())

    def on_close(self) -> None:
        self.desk.sockets.discard(self)

    def on_message(self, message: str | bytes) -> None:
        said = read_message(message)
        data = json.loads(message)["data"]
        self.desk.heard.put((said.type, data))
        if act := self.desk.reply.get(said.type):
            act(data)


class _Rest(RequestHandler):
    def initialize(self, desk: ScriptedDesk) -> None:
        self.desk = desk

    def check_xsrf_cookie(self) -> None:
        """Of no interest here."""

    def _send(self, status: int, told: Any) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(told))

    def get(self, path: str) -> None:
        desk = self.desk
        if desk.down:
            self._send(503, {"error": {"code": "down", "message": "not now"}})
            return
        if not desk.signed_in:
            self._send(401, {"error": {"code": "unauthorized", "message": "log in first"}})
            return
        steps = path.split("/")
        match steps:
            case ["auth", "me"]:
                self._send(200, {"username": "ada", "operator": "ada", "expires_at": 1.0})
            case ["approvals"]:
                self._send(200, {"approvals": desk.approvals})
            case ["requests", _, "tools"]:
                self._send(200, desk.tools)
            case ["requests", card_id] if card_id in desk.cards:
                told = {**desk.cards[card_id], **desk.whole.get(card_id, {})}
                self._send(200, CardView.model_validate(told).model_dump())
            case _:
                self._send(404, {"error": {"code": "not_found", "message": "no such card"}})

    def post(self, path: str) -> None:
        body = json.loads(self.request.body)
        if path == "auth/login":
            self.desk.logins.append(body)
            self.desk.signed_in = body["password"] == "open"
            status = 200 if self.desk.signed_in else 401
            self._send(status, {"error": {"code": "unauthorized", "message": "no"}})
        else:
            self._send(404, {})

    def delete(self, path: str) -> None:
        _, _, wanted = path.partition("/")
        self.desk.approvals = [one for one in self.desk.approvals if one["id"] != wanted]
        self._send(200, {"revoked": wanted})


class _Files(RequestHandler):
    def get(self, name: str) -> None:
        file = PAGE / (name or "index.html")
        if file.parent != PAGE or not file.is_file():
            self.send_error(404)
            return
        self.set_header("Content-Type", _TYPES[file.suffix])
        self.set_header("Content-Security-Policy", POLICY)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.finish(file.read_bytes())
