"""The scripted provider: TLS on loopback, four protocols on their normal paths, HTTP/1.1 only.

tornado speaks HTTP/1.1 and nothing newer; ALPN offers just that. A WebSocket upgrade is answered
with 426, which makes clients fall back to HTTP. Never: imports `dialects`; the frames are written
independently, so that a codec bug cannot hide behind the sim.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import hashlib
import time
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path

from tornado import netutil
from tornado.http1connection import HTTP1Connection
from tornado.httpserver import HTTPServer
from tornado.httputil import (
    HTTPConnection,
    HTTPHeaders,
    HTTPMessageDelegate,
    HTTPServerConnectionDelegate,
    RequestStartLine,
    ResponseStartLine,
)

from llmitm.sim import asks, extras
from llmitm.sim.answers import ID
from llmitm.sim.asks import Ask, NotAnObject
from llmitm.sim.certificates import Identity, identity
from llmitm.sim.playing import Performance, Rendered, head_of, header_lines, is_quick
from llmitm.sim.printing import compact
from llmitm.sim.received import Log, Received
from llmitm.sim.rendering import Renderer, refused
from llmitm.sim.routing import Place, place_of
from llmitm.sim.scenarios import NATURAL, Scenario, Scenarios

MAX_REQUEST_BYTES = 256_000_000
_MAX_FAILURES = 10_000
_ID = ID.encode()
_JSON = header_lines([("content-type", "application/json"), ("cache-control", "no-store")])


class Sim(HTTPServerConnectionDelegate):
    """A provider on 127.0.0.1 (and ::1 where there is one).

    folder: for its certificates (see `certificates`); hosts: further names it answers for;
    scenarios: added to the table, or replacing rows of it by name; default: the scenario played
    when a request names none (by header `x-sim-scenario`, model name, or API key, in this order).
    Start and stop it inside one running asyncio loop; `log` may be read and `default` be set from
    anywhere.
    """

    def __init__(
        self,
        folder: Path,
        *,
        port: int = 0,
        hosts: Iterable[str] = (),
        scenarios: Iterable[Scenario] = (),
        default: Scenario = NATURAL,
        log: Log | None = None,
    ) -> None:
        self.folder = folder
        self.port = port
        self.scenarios = Scenarios(scenarios)
        self.default = default
        self.log = log or Log()
        self._hosts = tuple(hosts)
        self._renderer = Renderer(int(time.time()))
        self._failures: dict[tuple[str, bytes], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: HTTPServer | None = None
        self._identity: Identity | None = None
        self._started = time.monotonic()
        self._answers = 0
        self._date = (0, b"")

    @property
    def ca(self) -> Path:
        """The CA certificate's file. Raises RuntimeError before the start."""
        if self._identity is None:
            raise RuntimeError("the sim has not been started")
        return self._identity.ca

    @property
    def url(self) -> str:
        """`https://127.0.0.1:PORT`, no slash at the end."""
        return f"https://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Binds and serves; `port` is then the real one. Raises OSError."""
        now = datetime.datetime.now(datetime.UTC)
        self._identity = identity(self.folder, self._hosts, now)
        sockets = netutil.bind_sockets(self.port, "127.0.0.1", backlog=1024)
        self.port = int(sockets[0].getsockname()[1])
        # No IPv6 here, or the port is taken there: clients come to 127.0.0.1.
        with contextlib.suppress(OSError):
            sockets += netutil.bind_sockets(self.port, "::1", backlog=1024)
        self._started = time.monotonic()
        server = HTTPServer(
            self,
            ssl_options=self._identity.context(),
            max_body_size=MAX_REQUEST_BYTES,
            max_buffer_size=MAX_REQUEST_BYTES,
        )
        server.add_sockets(sockets)
        self._server = server

    async def stop(self) -> None:
        """Stops listening, breaks off what is being sent, closes every connection."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await server.close_all_connections()

    def start_request(
        self, server_conn: object, request_conn: HTTPConnection
    ) -> HTTPMessageDelegate:
        """Tornado's call for each request."""
        del server_conn
        if not isinstance(request_conn, HTTP1Connection):
            raise TypeError("the sim speaks HTTP/1.1 only")
        return _Incoming(self, request_conn)

    def now(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def answer(
        self, connection: HTTP1Connection, line: RequestStartLine, headers: HTTPHeaders, body: bytes
    ) -> None:
        """Takes a whole request and sees to its answer. Called by `_Incoming`."""
        place = place_of(line.method, line.path)
        if place.extra in {"requests", "health"}:
            self._tell(connection, line, place)
            return
        pairs = list(headers.get_all())
        entry = self.log.add(self.now(), line.method, line.path, pairs, body)
        entry.protocol = place.protocol
        scenario, rendered = self._choose(entry, place, headers, body)
        entry.scenario = scenario.name
        self._perform(connection, entry, scenario, rendered, chunked=line.version == "HTTP/1.1")

    def _perform(
        self,
        connection: HTTP1Connection,
        entry: Received,
        scenario: Scenario,
        rendered: Rendered,
        *,
        chunked: bool,
    ) -> None:
        self._answers += 1
        id_ = b"%020x" % (0x51A0_0000_0000_0000_0000 + self._answers)
        head = head_of(rendered, id_, self._http_date())
        show = Performance(connection, entry, self.log, self.now)
        if is_quick(scenario, rendered):
            body = rendered.body.replace(_ID, id_)
            head += b"content-length: %d\r\n\r\n" % len(body)
            show.at_once(head, body, rendered.status)
            return
        show.task = asyncio.ensure_future(show.play(scenario, rendered, head, id_, chunked=chunked))
        self._tasks.add(show.task)
        show.task.add_done_callback(self._tasks.discard)

    def _choose(
        self, entry: Received, place: Place, headers: HTTPHeaders, body: bytes
    ) -> tuple[Scenario, Rendered]:
        plain = self.scenarios.exact("sim-text") or NATURAL
        if "websocket" in headers.get("Upgrade", "").lower():
            return plain, refused(place.protocol, 426, say="WebSockets are not spoken here.")
        if not place.generates:
            return plain, self._extra(place, headers, body)
        try:
            ask = _ask(place, asks.parse(body))
        except NotAnObject as error:
            say = f"We could not parse the JSON body of your request: {error}"
            return plain, refused(place.protocol, 400, say=say)
        scenario = self._scenario(ask, headers)
        if scenario is None:
            say = f"unknown scenario in x-sim-scenario: {headers.get('X-Sim-Scenario')}"
            return plain, refused(place.protocol, 400, say=say)
        if self._fails(scenario, entry.path, body):
            failed = refused(
                place.protocol,
                scenario.fail_status,
                code=scenario.code,
                say=scenario.message,
                retry_after_s=scenario.retry_after_s,
            )
            return Scenario(name=scenario.name, ttfb_s=scenario.ttfb_s), failed
        return scenario, self._renderer.good(scenario, ask)

    def _scenario(self, ask: Ask, headers: HTTPHeaders) -> Scenario | None:
        wanted = headers.get("X-Sim-Scenario")
        if wanted is not None:
            return self.scenarios.exact(wanted)
        if by_model := self.scenarios.named(ask.model):
            return by_model
        key = headers.get("X-Api-Key") or headers.get("X-Goog-Api-Key") or headers.get("Api-Key")
        key = key or headers.get("Authorization", "").removeprefix("Bearer ")
        return self.scenarios.named(key) or self.default

    def _fails(self, scenario: Scenario, path: str, body: bytes) -> bool:
        if not scenario.fail_status:
            return False
        if scenario.fail_times is None:
            return True
        each = scenario.fail_scope == "request"
        digest = hashlib.blake2b(path.encode() + b"\n" + body).digest() if each else b""
        key = (scenario.name, digest)
        failed = self._failures.pop(key, 0)
        if failed < scenario.fail_times:
            while len(self._failures) >= _MAX_FAILURES:
                del self._failures[next(iter(self._failures))]
            self._failures[key] = failed + 1
            return True
        if not each:
            self._failures[key] = failed
        return False

    def _extra(self, place: Place, headers: HTTPHeaders, body: bytes) -> Rendered:
        vendor = "openai"
        if place.protocol == "gemini_generate" or "X-Goog-Api-Key" in headers:
            vendor = "gemini"
        elif "Anthropic-Version" in headers:
            vendor = "anthropic"
        match place.extra:
            case "models":
                names = [row.name for row in self.scenarios.all()]
                made = extras.models(vendor, names)
            case "model":
                made = extras.one_model(vendor, place.model)
            case "anthropic_count":
                made = extras.anthropic_count(body)
            case "gemini_count":
                made = extras.gemini_count(body)
            case "embeddings":
                try:
                    made = extras.embeddings(asks.parse(body))
                except NotAnObject as error:
                    return refused(place.protocol, 400, say=str(error))
            case _:
                return refused(place.protocol, 404, say="Unknown request URL.")
        return Rendered(status=200, headers=_JSON, body=made)

    def _tell(self, connection: HTTP1Connection, line: RequestStartLine, place: Place) -> None:
        """The sim's own endpoints: never logged, never scripted."""
        if place.extra == "health":
            value: dict[str, object] = {"ok": True, "requests": self.log.count}
        elif line.method == "DELETE":
            self.log.clear()
            value = {"ok": True}
        else:
            value = {"requests": [entry.as_json() for entry in self.log.all()]}
        body = compact(value)
        rendered = Rendered(status=200, headers=_JSON)
        head = head_of(rendered, b"", self._http_date())
        connection.write(head + b"content-length: %d\r\n\r\n" % len(body) + body)
        connection.finish()

    def _http_date(self) -> bytes:
        second = int(time.time())
        if self._date[0] != second:
            self._date = (second, formatdate(second, usegmt=True).encode())
        return self._date[1]


def _ask(place: Place, body: asks.Object) -> Ask:
    match place.protocol:
        case "openai_chat":
            return asks.chat(body)
        case "openai_responses":
            return asks.responses(body)
        case "anthropic_messages":
            return asks.messages(body)
        case "gemini_generate":
            return asks.generate(body, model=place.model, form=place.form, wrapped=place.wrapped)


class _Incoming(HTTPMessageDelegate):
    """One request while it arrives."""

    def __init__(self, sim: Sim, connection: HTTP1Connection) -> None:
        self._sim = sim
        self._connection = connection
        self._line: RequestStartLine | None = None
        self._headers = HTTPHeaders()
        self._parts: list[bytes] = []

    def headers_received(
        self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders
    ) -> None:
        if isinstance(start_line, RequestStartLine):
            self._line = start_line
        self._headers = headers

    def data_received(self, chunk: bytes) -> None:
        self._parts.append(chunk)

    def finish(self) -> None:
        if self._line is not None:
            body = b"".join(self._parts)
            self._sim.answer(self._connection, self._line, self._headers, body)

    def on_connection_close(self) -> None:
        self._parts.clear()
