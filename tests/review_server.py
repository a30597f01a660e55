"""A review port for tests: the real queue behind a small tornado server on a thread of its own.

The documents are the test's own: a text that holds BAD has two mistakes, one with COSTLY a warning.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from llmitm.canon.events import Event, FinishReason
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, Request, Tool
from llmitm.desk.cards import Card
from llmitm.desk.messages import (
    Checked,
    CheckEditMessage,
    CheckedMessage,
    EditRequestMessage,
    EditWarning,
    Mistake,
    error_message,
    read_message,
)
from llmitm.desk.queue import Entry, Queue, ReviewError, ReviewLimits
from llmitm.desk.rulings import carry_out
from llmitm.stages.contract import Decided, Forward

TOKEN = "token-of-the-tests"
PASSWORD = "a good password"


class Client:
    """The exchange behind a card: what became of it."""

    def __init__(self) -> None:
        self.decisions: list[Decided] = []
        self.events: list[Event] = []
        self.began = 0
        self.reason: FinishReason | None = None
        self.over = threading.Event()
        self.changed = threading.Event()

    def decided(self, decided: Decided) -> bool:
        self.decisions.append(decided)
        self.over.set()
        return True

    def begin(self) -> bool:
        self.began += 1
        return True

    def write(self, events: Sequence[Event]) -> bool:
        self.events += events
        self.changed.set()
        return True

    def finish(self, reason: FinishReason) -> bool:
        self.reason = reason
        self.over.set()
        return True

    def cancelled(self) -> None:
        self.over.set()

    @property
    def text(self) -> str:
        return "".join(getattr(event, "text", "") for event in self.events)


class ReviewServer:
    """Listens on a free port while the context lasts."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.said: list[Any] = []
        self.port = 0
        self.loop = asyncio.new_event_loop()
        self.sockets: set[WebSocketHandler] = set()
        self.queue = Queue(
            rules=ReviewLimits(),
            log=self.log.append,
            now=time.time,
            document_of=lambda card: f"model: {card.model}\nsay: {card.id}\n",
        )
        self._ready = threading.Event()
        self._server: HTTPServer | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> ReviewServer:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(20)

    def do[R](self, act: Callable[[], R]) -> R:
        """Does it on the server's thread; what came of it."""

        async def done() -> R:
            return act()

        return asyncio.run_coroutine_threadsafe(done(), self.loop).result(20)

    def hold(self, card: Card) -> Client:
        client = Client()
        assert self.do(lambda: self.queue.offer(card, client)) is None
        return client

    def stop_listening(self) -> None:
        """As if the process had ended: nobody answers any more."""

        def stop() -> None:
            assert self._server is not None
            self._server.stop()
            for socket in list(self.sockets):
                socket.close()

        self.do(stop)

    def listen_again(self) -> None:
        self.do(self._listen)

    def _listen(self) -> None:
        application = Application(
            [
                ("/ws", _Socket, {"server": self}),
                ("/api/v1/auth/login", _Login),
                ("/llm/api/v1/requests/(.*)", _Requests, {"server": self}),
            ]
        )
        self._server = HTTPServer(application)
        sockets = bind_sockets(self.port, "127.0.0.1", reuse_port=False)
        self._server.add_sockets(sockets)
        self.port = sockets[0].getsockname()[1]

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)

        async def start() -> None:
            self._listen()
            self._ready.set()

        self.loop.run_until_complete(start())
        self.loop.run_forever()
        self._server.stop() if self._server is not None else None
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()


class _Login(RequestHandler):
    def post(self) -> None:
        said = json.loads(self.request.body)
        if said != {"username": "anna", "password": PASSWORD}:
            self.set_status(401)
            self.finish({"error": {"code": "unauthorized", "message": "no"}})
            return
        self.finish({"access_token": TOKEN, "token_type": "bearer", "expires_in": 60})


class _Requests(RequestHandler):
    def initialize(self, server: ReviewServer) -> None:
        self.server = server

    def get(self, request_id: str) -> None:
        if self.request.headers.get("authorization") != f"Bearer {TOKEN}":
            self.set_status(401)
            self.finish({"code": "unauthorized", "message": "no"})
            return
        try:
            self.finish(self.server.queue.view(request_id).model_dump(mode="json"))
        except ReviewError as error:
            self.set_status(404)
            self.finish(error_message(error, request_id).data.model_dump(mode="json"))


class _Socket(WebSocketHandler):
    def initialize(self, server: ReviewServer) -> None:
        self.server = server

    def get(self, *args: Any, **kwargs: Any) -> Any:
        if self.get_argument("token", "") != TOKEN:
            self.set_status(401)
            return self.finish()
        return super().get(*args, **kwargs)

    def open(self, *_: str, **__: str) -> None:
        queue = self.server.queue
        self.server.sockets.add(self)
        self._end = queue.listen(self._tell)
        self._tell(queue.snapshot("anna"))

    def _tell(self, message: Any) -> None:
        with contextlib.suppress(Exception):
            self.write_message(message.model_dump_json())

    def on_message(self, message: str | bytes) -> None:
        wish = None
        try:
            wish = read_message(message)
            self.server.said.append(wish)
            match wish:
                case CheckEditMessage():
                    self._tell(CheckedMessage(data=_checked(wish)))
                case EditRequestMessage():
                    self._edited(wish)
                case _:
                    carry_out(self.server.queue, wish, "anna")
        except ReviewError as error:
            about = wish.data.request_id if wish is not None else None
            self._tell(error_message(error, about))

    def _edited(self, wish: EditRequestMessage) -> None:
        data = wish.data
        checked = _checked(wish)
        if checked.warnings and not data.anyway:
            warned: list[Any] = [warning.model_dump() for warning in checked.warnings]
            raise ReviewError("confirm", "the edit has a price", {"warnings": warned})
        card = self.server.queue.card(data.request_id)
        edited = Forward(request=asked(data.document))
        self.server.queue.decide(card.id, "edit", edited, "anna", data.digest, data.note)

    def on_close(self) -> None:
        self.server.sockets.discard(self)
        self._end()
        self.server.queue.drop_writer("anna")


def _checked(wish: CheckEditMessage | EditRequestMessage) -> Checked:
    document = wish.data.document
    errors: tuple[Mistake, ...] = ()
    warnings: tuple[EditWarning, ...] = ()
    if "BAD" in document:
        line = document[: document.index("BAD")].count("\n") + 1
        errors = (
            Mistake(line=line, message="this is bad"),
            Mistake(line=0, message="so is the whole"),
        )
    if "COSTLY" in document:
        warnings = (EditWarning(say="the cached prefix is written again", cost_usd=0.25),)
    return Checked(request_id=wish.data.request_id, ok=not errors, errors=errors, warnings=warnings)


def asked(text: str, *more: Message) -> Request:
    """A request whose last message is `text`."""
    return Request(
        dialect="anthropic_messages",
        model="sim-text",
        messages=(*more, Message(role="user", parts=(Text(text=text),))),
        tools=(Tool(name="get_weather", parameters={"type": "object"}),),
    )


def card(name: str, text: str = "What is the weather?", **more: Any) -> Card:
    """Something held, offered now."""
    now = time.time()
    given: dict[str, Any] = {
        "kind": "request",
        "exchange": f"flow-{name}",
        "same": name,
        "reason": "first use",
        "created_s": now,
        "deadline_s": now + 300,
        "request": asked(text),
        "rule": "all",
        "client": "claude-code",
        "provider": "anthropic",
        "model": "claude-test",
        "protocol": "anthropic_messages",
        "stream": True,
        "tokens": 1234,
        "cost_usd": 0.0123,
    }
    return Card(id=name, **{**given, **more})


WEATHER = ToolCall(id="call_1", name="get_weather", arguments='{"city": "Paris"}')
