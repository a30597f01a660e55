"""mitmproxy with the stream layer, in the test's own event loop, and an addon that tests direct."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mitmproxy import http, options
from mitmproxy.tools.dump import DumpMaster

from end_to_end.stream_layer.client import DEADLINE_S, Client
from llmitm.mitm.layer_swap import LayerSwap
from llmitm.mitm.stream import Streams
from llmitm.mitm.stream_contract import (
    Act,
    FailAttempt,
    FailedAttempt,
    Failure,
    Pass,
    Plan,
    Steering,
    Step,
    TapStep,
    Verdict,
)


@dataclass
class ScriptedTap:
    """A tap whose answers a test sets; by default it watches and changes nothing."""

    verdict: Verdict | Callable[[http.Response], Verdict] = field(default_factory=Pass)
    on_feed: Callable[[bytes], TapStep] = lambda data: data
    on_end: Callable[[], TapStep] = lambda: b""
    on_broke: Callable[[str], TapStep] = lambda message: b""
    on_resumed: Callable[[Any], TapStep] = lambda decision: Step(act=Act.GO)
    alive: bytes = b": alive\n\n"
    seen: list[bytes] = field(default_factory=list)

    def head(self, response: http.Response) -> Verdict:
        if response.status_code >= 400 and isinstance(self.verdict, Pass):
            return FailAttempt()
        return self.verdict(response) if callable(self.verdict) else self.verdict

    def feed(self, data: bytes) -> TapStep:
        self.seen.append(data)
        return self.on_feed(data)

    def end(self) -> TapStep:
        return self.on_end()

    def broke(self, message: str) -> TapStep:
        return self.on_broke(message)

    def resumed(self, decision: object) -> TapStep:
        return self.on_resumed(decision)

    def heartbeat(self) -> bytes:
        return self.alive


@dataclass
class Director:
    """The addon. plan: how each request is steered (None: not at all).

    hooks: (name, path) in the order they fired; `next(name)` waits for one.
    """

    streams: Streams
    plan: Callable[[http.HTTPFlow], Plan | None] = lambda flow: None
    on_request: Callable[[http.HTTPFlow], Awaitable[None] | None] = lambda flow: None
    on_head: Callable[[http.HTTPFlow], Awaitable[None] | None] = lambda flow: None
    on_response: Callable[[http.HTTPFlow], Awaitable[None] | None] = lambda flow: None
    at_headers: Callable[[http.HTTPFlow], Plan | None] = lambda flow: None
    on_failed: Callable[[FailedAttempt], Awaitable[None] | None] = lambda attempt: None
    upstream_alpn: tuple[bytes, ...] = ()
    hooks: list[tuple[str, str]] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    flows: dict[str, http.HTTPFlow] = field(default_factory=dict)
    steering: dict[str, Steering] = field(default_factory=dict)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    name = "director"

    async def _note(self, name: str, path: str) -> None:
        async with self.changed:
            self.hooks.append((name, path))
            self.changed.notify_all()

    async def next(self, name: str, path: str = "/v1", count: int = 1) -> http.HTTPFlow | None:
        """Waits until this hook has fired so often for the path."""
        async with self.changed:
            await asyncio.wait_for(
                self.changed.wait_for(lambda: self.hooks.count((name, path)) >= count), DEADLINE_S
            )
        return self.flows.get(path)

    def count(self, name: str, path: str = "/v1") -> int:
        return self.hooks.count((name, path))

    def server_connect(self, data: Any) -> None:
        if self.upstream_alpn:
            data.server.alpn_offers = self.upstream_alpn

    async def requestheaders(self, flow: http.HTTPFlow) -> None:
        plan = self.at_headers(flow)
        if plan is not None:
            self.steering[flow.request.path] = self.streams.steer(flow, plan)
        await self._note("requestheaders", flow.request.path)

    async def request(self, flow: http.HTTPFlow) -> None:
        self.flows[flow.request.path] = flow
        plan = self.plan(flow)
        if plan is not None:
            self.steering[flow.request.path] = self.streams.steer(flow, plan)
        await self._note("request", flow.request.path)
        if waiting := self.on_request(flow):
            await waiting

    async def responseheaders(self, flow: http.HTTPFlow) -> None:
        await self._note("responseheaders", flow.request.path)
        if waiting := self.on_head(flow):
            await waiting

    async def response(self, flow: http.HTTPFlow) -> None:
        await self._note("response", flow.request.path)
        if waiting := self.on_response(flow):
            await waiting

    async def error(self, flow: http.HTTPFlow) -> None:
        await self._note("error", flow.request.path)

    async def llm_attempt_failed(self, attempt: FailedAttempt) -> None:
        self.failures.append(attempt.failure)
        await self._note("llm_attempt_failed", attempt.flow.request.path)
        if waiting := self.on_failed(attempt):
            await waiting


class Complaints(logging.Handler):
    """What mitmproxy logs as an error: a crash of a layer or of an addon."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(self.format(record))


class House:
    """A running proxy. `client` opens connections that are closed with it."""

    def __init__(
        self, master: DumpMaster, director: Director, confdir: Path, complaints: Complaints
    ) -> None:
        self.complaints = complaints
        self.master, self.director, self.confdir = master, director, confdir
        self.clients: list[Client] = []
        self.strict = True
        """Whether no stream may be left at all. False where many connections are reset: asyncio
        keeps those errors, and their frames keep whatever ran at that moment."""
        self.proxyserver = master.addons.get("proxyserver")

    @property
    def port(self) -> int:
        return self.proxyserver.listen_addrs()[0][1]

    @property
    def trust(self) -> Path:
        return self.confdir / "mitmproxy-ca-cert.pem"

    async def client(self, port: int, version: str = "h1") -> Client:
        client = await Client.open(self.port, f"127.0.0.1:{port}", version, self.trust)
        self.clients.append(client)
        return client

    async def until(self, reached: Callable[[], bool], what: str) -> None:
        """Waits for a state that no event announces."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not reached():  # noqa: ASYNC110
                    await asyncio.sleep(0.002)
        except TimeoutError:
            tasks = [task.get_name() for task in asyncio.all_tasks()]
            raise AssertionError(f"{what}: {tasks}") from None

    def _forgotten(self) -> bool:
        gc.collect()
        left = list(self.director.streams.live.values())
        if not self.strict:
            left = [stream for stream in left if stream.steering and not stream.closed]
        return not left

    async def settled(self) -> None:
        """No client, no flow, no task is left, and each flow ended exactly once."""
        for client in self.clients:
            await client.close()
        await self.until(lambda: not self.proxyserver.connections, "connections are left")
        await self.until(lambda: not any(map(leftover, asyncio.all_tasks())), "tasks are left")
        await self.until(self._forgotten, "streams are left")
        for path, flow in self.director.flows.items():
            ends = self.director.count("response", path) + self.director.count("error", path)
            assert ends == self.director.count("request", path), (path, self.director.hooks)
            assert not flow.live, path


def leftover(task: asyncio.Task[Any]) -> bool:
    """Whether this task is one of a connection that should be gone."""
    name = task.get_name()
    kinds = ("push", "handle_hook", "wakeup", "server connection", "client handler", "client conn")
    return name.startswith(kinds)


@contextlib.asynccontextmanager
async def house(
    confdir: Path, trusted: Path, *, upstream: str = "h1", swap: bool = True
) -> AsyncIterator[House]:
    """A proxy on a free port; whatever is wrong when the test is through fails it."""
    settings = options.Options(
        listen_host="127.0.0.1",
        listen_port=0,
        confdir=str(confdir),
        ssl_verify_upstream_trusted_ca=str(trusted),
    )
    master = DumpMaster(settings, with_termlog=False, with_dumper=False)
    master.options.update(connection_strategy="lazy", proxy_debug=False)
    streams = Streams()
    director = Director(streams)
    director.upstream_alpn = (b"h2",) if upstream == "h2" else (b"http/1.1",)
    master.addons.add(*([LayerSwap(streams)] if swap else []), director)
    complaints = Complaints()
    logging.getLogger().addHandler(complaints)
    task = asyncio.create_task(master.run())
    here = House(master, director, confdir, complaints)
    try:
        await here.until(lambda: bool(here.proxyserver.listen_addrs()), "the proxy listens")
        yield here
        await here.settled()
    finally:
        master.shutdown()
        await task
        logging.getLogger().removeHandler(complaints)
    assert not complaints.said, complaints.said


def run(test: Coroutine[Any, Any, None]) -> None:
    """One scenario in a loop of its own, with a deadline."""

    async def limited() -> None:
        await asyncio.wait_for(test, 60)

    asyncio.run(limited())
