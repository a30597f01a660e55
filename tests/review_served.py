"""The operator's page and its interface, served on loopback for tests, with clocks of their own."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import argon2
from mitmproxy.test import taddons
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

from llmitm.canon.parts import Text
from llmitm.canon.request import Message
from llmitm.desk.cards import Card
from llmitm.desk.messages import Checked, EditWarning, Mistake
from llmitm.mitm.review.carrying_out import Check, Edited
from llmitm.mitm.review.server import ReviewServer
from llmitm.stages.contract import Decided, Forward
from review_cases import Desk, Exchange, answer

PASSWORD = "correct horse battery"
# The least that argon2 can do: a test is not about how long it takes.
QUICK = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
HASH = QUICK.hash(PASSWORD)


def check(card: Card, document: str) -> Checked:
    """Stands for the reading of documents: words in it say what is wrong with it."""
    errors = [Mistake(line=3, message="no such role")] if "wrong" in document else []
    warnings = [EditWarning(say="the cache is lost", cost_usd=0.5)] if "dear" in document else []
    return Checked(
        request_id=card.id, ok=not errors, errors=tuple(errors), warnings=tuple(warnings)
    )


def edited(card: Card, document: str) -> Decided:
    if card.kind != "request":
        return answer(document)
    message = Message(role="user", parts=(Text(text=document),))
    request = type(card.request)(dialect="openai_chat", model="gpt-x", messages=(message,))
    return Forward(request=request)


@dataclass
class Heard(logging.Handler):
    """Every line of the log, to look for what must not be there."""

    lines: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        logging.Handler.__init__(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage() + str(record.exc_info or ""))

    __hash__ = logging.Handler.__hash__


@dataclass
class Served:
    """desk: the queue behind it; seconds: what both clocks say; exchanges: a test's own list."""

    desk: Desk
    server: ReviewServer
    heard: Heard
    seconds: list[float]
    context: taddons.context
    port: int = 0
    sockets: list[WebSocketClientConnection] = field(default_factory=list)
    exchanges: list[Exchange] = field(default_factory=list[Exchange])

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def later(self, seconds: float) -> None:
        self.seconds[0] += seconds

    async def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        token: str = "",
        headers: dict[str, str] | None = None,
        raw: bytes | None = None,
    ) -> HTTPResponse:
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault("Content-Type", "application/json")
        request = HTTPRequest(
            self.root + path,
            method=method,
            headers=sent,
            body=data,
            allow_nonstandard_methods=True,
            follow_redirects=False,
            decompress_response=False,
        )
        return await AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False)

    async def log_in(self, password: str = PASSWORD, username: str = "admin") -> str:
        body = {"username": username, "password": password}
        told = await self.ask("POST", "/api/v1/auth/login", body)
        assert told.code == 200, told.body
        return json.loads(told.body)["access_token"]

    async def socket(self, token: str, query: str = "", **more: Any) -> WebSocketClientConnection:
        url = f"ws://127.0.0.1:{self.port}/ws?token={quote(token)}{query}"
        opened = await websocket_connect(HTTPRequest(url, **more))
        self.sockets.append(opened)
        return opened


async def said(socket: WebSocketClientConnection) -> dict[str, Any]:
    """The next message; fails when the connection is closed or nothing comes."""
    text = await asyncio.wait_for(socket.read_message(), 20)
    assert text is not None, f"closed: {socket.close_code} {socket.close_reason}"
    return json.loads(text)


async def said_until(socket: WebSocketClientConnection, kind: str) -> dict[str, Any]:
    """The data of the next message of this type."""
    while True:
        message = await said(socket)
        if message["type"] == kind:
            return message["data"]


async def say(socket: WebSocketClientConnection, kind: str, **data: Any) -> None:
    await socket.write_message(json.dumps({"type": kind, "data": data}))


async def closed(socket: WebSocketClientConnection) -> int | None:
    """The code with which the other side closed, what is still said left out."""
    while await asyncio.wait_for(socket.read_message(), 20) is not None:
        pass
    return socket.close_code


@asynccontextmanager
async def served(
    folder: Path,
    environ: dict[str, str] | None = None,
    listen: str = "127.0.0.1:0",
    documents: tuple[Check, Edited] = (check, edited),
    **limits: Any,
) -> AsyncIterator[Served]:
    """The own port with a password, unless `environ` says otherwise."""
    home = {"LLMITM_HOME": str(folder / "home")}
    known = {"OPERATOR_PASSWORD_HASH": HASH, "RATE_LIMIT_PER_MINUTE": "100000"}
    seconds = [1_700_000_000.0]
    desk = Desk(**limits)
    server = ReviewServer(
        desk.queue,
        *documents,
        environ={**home, **(known if environ is None else environ)},
        clock=lambda: seconds[0],
        now=lambda: seconds[0],
    )
    heard = Heard()
    logging.getLogger().addHandler(heard)
    level = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    try:
        with taddons.context(server) as context:
            context.configure(server, llm_review_listen=listen)
            server.running()
            made = Served(desk, server, heard, seconds, context)
            made.port = int(
                server.urls()[0].partition("//")[2].partition("/")[0].rpartition(":")[2]
            )
            try:
                yield made
            finally:
                for each in made.sockets:
                    each.close()
                server.done()
    finally:
        logging.getLogger().removeHandler(heard)
        logging.getLogger().setLevel(level)


def port_of(server: ReviewServer) -> int:
    """Where its own port is."""
    port = urlsplit(server.urls()[0]).port
    assert port is not None
    return port


class Started:
    """An addon that tells when mitmproxy has started."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    def running(self) -> None:
        self.event.set()


def run(story: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end."""
    asyncio.run(asyncio.wait_for(story, 60))


def errors_of(response: HTTPResponse) -> dict[str, Any]:
    """The error in an answer."""
    return json.loads(response.body)["error"]


def kinds(messages: Sequence[dict[str, Any]]) -> list[str]:
    return [message["type"] for message in messages]
