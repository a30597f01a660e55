"""The addon that serves the operator: inside mitmweb, on a port of its own, or both.

Without a password it listens on loopback alone and says an address with a token that is good once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from mitmproxy import ctx, exceptions
from mitmproxy.addonmanager import Loader
from pydantic_core import to_json
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets

from llmitm.desk.queue import Queue
from llmitm.errors import RuleError
from llmitm.mitm.home import state_folder
from llmitm.mitm.in_mitmweb import loaded, mitmweb
from llmitm.mitm.review.auth import Logins
from llmitm.mitm.review.carrying_out import Check, Edited, Wishes
from llmitm.mitm.review.door import Door, OwnDoor, own_names
from llmitm.mitm.review.hub import Hub
from llmitm.mitm.review.own_port import own_application
from llmitm.mitm.review.pages import page_folder, read_page
from llmitm.mitm.review.rest import Rest
from llmitm.mitm.review.schema import document
from llmitm.mitm.review.settings import (
    ReviewSettings,
    is_loopback,
    listen_address,
    most_bytes,
    operator_name,
    review_settings,
)
from llmitm.mitm.review.through_proxy import Address, ThroughProxy
from llmitm.mitm.review_file import ReviewFile

log = logging.getLogger("llmitm")

_IDLE_S = 75.0
_BODY_S = 60.0
_MOST_HEADER_BYTES = 32 << 10
_OPTION = "llm_review_listen"


class ReviewServer:
    """See the module.

    queue: what waits; check, edited: of a document that an operator has edited, see `carrying_out`;
    environ: where the settings of the own port come from; page: the folder of the page's files,
    None = as shipped; clock, now: seconds, that only go forward and since the epoch.

    through: refuses what comes through the proxy; an addon of its own, because it must see a
    request before any other part does, while the server is closed after the desk.
    """

    def __init__(
        self,
        queue: Queue,
        check: Check,
        edited: Edited,
        environ: Mapping[str, str] = os.environ,
        page: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._now = now
        self._page = page or page_folder()
        self._environ = environ
        self._queue = queue
        self._wishes = Wishes(queue, check, edited)
        self._hub = Hub(queue.listen, queue.online, queue.drop_writer)
        self.through = ThroughProxy(self._ports)
        self._schema = b""
        self._door: Door | None = None
        self._listen: tuple[str, int] | None = None
        self._settings: ReviewSettings | None = None
        self._own: OwnDoor | None = None
        self._server: HTTPServer | None = None
        self._file: ReviewFile | None = None
        self._bound: tuple[Address, ...] = ()
        self._running = False
        self._closing: asyncio.Task[None] | None = None

    def load(self, loader: Loader) -> None:
        """The option."""
        loader.add_option(
            _OPTION,
            str,
            "",
            "Address and port of the operator's page and its interface (127.0.0.1:8082); "
            "empty = none. In mitmweb they are at /llm/ without it.",
        )

    def configure(self, updated: set[str]) -> None:
        """Checks the address and what must be set to listen there."""
        if _OPTION not in updated:
            return
        text: str = ctx.options.llm_review_listen
        try:
            listen = listen_address(text) if text else None
            settings = review_settings(self._environ) if listen else None
        except (RuleError, ValueError) as error:
            raise exceptions.OptionsError(f"llmitm: {_OPTION}: {error}") from None
        needs_password = listen is not None and not is_loopback(listen[0])
        if needs_password and settings and not settings.password_hash.get_secret_value():
            raise exceptions.OptionsError(
                f"llmitm: {_OPTION}: {text} can be reached from other machines, so "
                "OPERATOR_PASSWORD_HASH must be set; `llmitm review hash-password` makes one"
            )
        self._listen, self._settings = listen, settings
        if self._running:
            self._close_own()
            self._open_own()

    def running(self) -> None:
        """Puts the page into mitmweb if this is mitmweb, and opens the own port if there is one."""
        self._running = True
        app = mitmweb()
        if app is not None:
            try:
                loaded("in_mitmweb", "mount")(app, self._behind())
            except RuleError as error:
                _complain("llmitm: no review page: %s", error)
        self._open_own()

    def done(self) -> None:
        """Closes every connection and the port."""
        self._running = False
        self._hub.close()
        self._close_own()
        self._wishes.close()

    def urls(self) -> tuple[str, ...]:
        """Where the own port is, with the one-time token where there is no password."""
        token = self._own.logins.one_time_token if self._own is not None else ""
        query = f"?token={token}" if token else ""
        return tuple(f"http://{_written(*address)}/llm/{query}" for address in self._bound)

    def _ports(self) -> Iterable[Address]:
        if self._running and mitmweb() is not None:
            options = cast("Any", ctx.options)
            yield (options.web_host or "0.0.0.0", options.web_port)  # noqa: S104
        yield from self._bound

    def _behind(self) -> Door:
        """What is behind the pages. Raises RuleError."""
        if self._door is None:
            self._door = Door(
                rest=Rest(self._queue, self._wishes, self._described),
                hub=self._hub,
                page=read_page(self._page),
                most_bytes=most_bytes(self._environ),
                account=operator_name(self._environ),
                comes_from_proxy=self.through.comes_from_proxy,
                clock=self._clock,
                now=self._now,
            )
        return self._door

    def _described(self) -> bytes:
        if not self._schema:
            self._schema = to_json(document())
        return self._schema

    def _open_own(self) -> None:
        listen, settings = self._listen, self._settings
        if listen is None or settings is None:
            return
        try:
            door = self._behind()
            folder = state_folder(self._environ)
            sockets = bind_sockets(listen[1], listen[0], flags=0)
        except (RuleError, OSError) as error:
            _complain(f"llmitm: no review page at {_written(*listen)}: %s", error)
            return
        self._bound = tuple(each.getsockname()[:2] for each in sockets)
        own = OwnDoor(
            door=door,
            settings=settings,
            logins=Logins(settings, folder, self._now),
            names=own_names(socket.gethostname(), settings),
            cookie=f"llmitm-review-{self._bound[0][1]}",
            announce=self._signed_in,
        )
        self._own = own
        server = HTTPServer(
            own_application(own),
            idle_connection_timeout=_IDLE_S,
            body_timeout=_BODY_S,
            max_header_size=_MOST_HEADER_BYTES,
            max_body_size=settings.most_bytes,
        )
        server.add_sockets(sockets)
        self._server = server
        if settings.review_file:
            self._leave(ReviewFile(folder, _here(*self._bound[0]), own.logins.machine_token))
        self._say_where()

    def _leave(self, file: ReviewFile) -> None:
        self._file = file
        try:
            file.leave()
        except OSError as error:
            log.warning("llmitm: `llmitm review` will want a login: %s", error.strerror)

    def _say_where(self) -> None:
        for url in self.urls():
            log.info("llmitm: the review page is at %s", url)

    def _signed_in(self, address: str) -> None:
        log.info("llmitm: an operator has logged in from %s", address)
        if self._own is not None and not self._own.logins.has_password:
            self._say_where()

    def _close_own(self) -> None:
        self._hub.close(own_port=True)
        if self._file is not None:
            self._file.take_away()
            self._file = None
        if self._own is not None:
            self._own.logins.close()
        if self._server is not None:
            server, self._server = self._server, None
            server.stop()
            loop = asyncio.get_running_loop()
            self._closing = loop.create_task(server.close_all_connections())
        self._own, self._bound = None, ()


def _here(host: str, port: int) -> str:
    """The address for a program on this machine."""
    reached = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://{_written(reached, port)}"


def _complain(line: str, error: Exception) -> None:
    """While mitmproxy starts, an error in its log ends it."""
    log.error(line, error)


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
