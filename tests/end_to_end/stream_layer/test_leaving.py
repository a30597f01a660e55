"""A client that leaves, and a flow that is killed, at every stage: nothing hangs, nothing is left.

`House.settled` looks for tasks, streams and flows that are left after each scenario.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from mitmproxy import http
from mitmproxy.flow import Error

from end_to_end.stream_layer.authority import Authority
from end_to_end.stream_layer.client import Answer
from end_to_end.stream_layer.house import Director, House, ScriptedTap, house, run
from end_to_end.stream_layer.upstream import Call, Upstream, upstream
from llmitm.mitm.stream_contract import Act, FailedAttempt, Pass, Plan, Step

pytestmark = pytest.mark.end_to_end

STAGES = (
    "request_hook",
    "wait",
    "connecting",
    "before_head",
    "head_hook",
    "opened_before_head",
    "midway",
    "held_midway",
    "between",
    "intercepted",
)


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port that takes the connection and never speaks TLS."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(16)
        yield listener.getsockname()[1]


async def scripted(call: Call) -> None:
    """`/before_head` never answers, `/between` fails, the others send one event and wait."""
    if "before_head" in call.path:
        await call.aborted.wait()
    elif "between" in call.path:
        call.answer(503, b"no")
    else:
        call.head()
        call.data(b"data: one\n\n")
        await call.aborted.wait()


def direct(stage: str, director: Director) -> None:
    """Makes the addon wait at `stage`, until the exchange is gone."""

    async def hold(_: object) -> None:
        await director.steering[f"/{stage}"].gone.wait()

    async def decide(attempt: FailedAttempt) -> None:
        await hold(attempt)
        attempt.retry()

    def feed(data: bytes) -> bytes | Step:
        return Step(data, Act.HOLD) if stage == "held_midway" else data

    director.plan = lambda flow: Plan(
        tap=ScriptedTap(verdict=Pass(changes=True), on_feed=feed),
        wait=stage == "wait",
        open_head=http.Response.make(200) if stage.startswith("opened") else None,
        open_after_s=0.01,
        heartbeat_s=0.02,
    )
    director.on_failed = decide
    if stage == "request_hook":
        director.on_request = hold
    elif stage == "head_hook":
        director.on_head = hold
    elif stage == "intercepted":
        director.on_request = lambda flow: flow.intercept()


async def reach(stage: str, proxy: House, server: Upstream, version: str, closed: int) -> Answer:
    """Brings one request to `stage`."""
    direct(stage, proxy.director)
    client = await proxy.client(closed if stage == "connecting" else server.port, version)
    path = f"/{stage}"
    answer = client.request(path=path)
    await proxy.director.next("request", path)
    match stage:
        case "connecting":
            handler = next(iter(proxy.proxyserver.connections.values()))
            await proxy.until(
                lambda: any(to.peername and to.peername[1] == closed for to in handler.transports),
                "the TCP connection stands",
            )
        case "before_head" | "opened_before_head":
            await server.arrival()
            if stage.startswith("opened"):
                await answer.until(b": alive")
        case "head_hook":
            await proxy.director.next("responseheaders", path)
        case "midway" | "held_midway":
            await answer.until(b"one")
        case "between":
            await proxy.director.next("llm_attempt_failed", path)
        case _:
            pass
    return answer


@pytest.mark.parametrize("stage", STAGES)
def test_client_leaves(
    stage: str, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(scripted, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            with deaf() as closed:
                answer = await reach(stage, proxy, server, client_version, closed)
                answer.leave()
                await proxy.director.next("error", f"/{stage}")
                await finished(stage, proxy, server, upstream_version)
                if client_version == "h2":
                    # The connection still serves, and nothing of the old stream is left on it.
                    await proxy.until(lambda: not live_streams(proxy), "streams are left")

    run(scenario())


@pytest.mark.parametrize("stage", STAGES)
def test_kill(
    stage: str, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(scripted, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            with deaf() as closed:
                answer = await reach(stage, proxy, server, client_version, closed)
                flow = proxy.director.flows[f"/{stage}"]
                assert flow.killable
                flow.kill()
                assert await answer.end() in ("closed", "reset 2")
                await proxy.director.next("error", f"/{stage}")
                assert flow.error is not None
                assert flow.error.msg == Error.KILLED_MESSAGE
                await finished(stage, proxy, server, upstream_version)

    run(scenario())


async def finished(stage: str, proxy: House, server: Upstream, upstream_version: str) -> None:
    """The upstream saw the abort, the handle is closed, and the error came once."""
    if stage in ("before_head", "opened_before_head", "head_hook", "midway", "held_midway"):
        call = server.calls[0]
        await asyncio.wait_for(call.aborted.wait(), 5)
        assert call.aborted_with in ("closed", 8)
    if stage in ("request_hook", "wait", "connecting", "intercepted"):
        assert not server.calls
    if stage == "connecting":
        await proxy.until(lambda: not connecting(), "the connection attempt is given up")
    await asyncio.wait_for(proxy.director.steering[f"/{stage}"].gone.wait(), 5)
    assert proxy.director.count("error", f"/{stage}") == 1
    assert proxy.director.count("response", f"/{stage}") == 0
    assert len(server.calls) <= 1


def connecting() -> list[str]:
    names = [task.get_name() for task in asyncio.all_tasks()]
    return [name for name in names if name.startswith("server connection")]


def live_streams(proxy: House) -> list[str]:
    return [
        stream.flow.request.path
        for stream in proxy.director.streams.live.values()
        if stream.flow.request.method != "CONNECT" and not stream.closed
    ]


@pytest.mark.parametrize("opened", [True, False])
def test_kill_does_not_wait_for_a_hook(
    opened: bool, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    """The client is let go at once, even if an addon goes on waiting for something else."""

    async def scenario() -> None:
        stubborn = asyncio.Event()

        async def wait(_: object) -> None:
            await stubborn.wait()

        async with (
            upstream(scripted, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(
                tap=ScriptedTap(),
                open_head=http.Response.make(200) if opened else None,
                open_after_s=0.01,
                heartbeat_s=0.01,
            )
            proxy.director.on_head = wait
            client = await proxy.client(server.port, client_version)
            answer = client.request(path="/head_hook")
            if opened:
                await answer.until(b": alive")
            await proxy.director.next("responseheaders", "/head_hook")
            proxy.director.flows["/head_hook"].kill()
            assert await answer.end() in ("closed", "reset 2")
            await asyncio.wait_for(server.calls[0].aborted.wait(), 5)
            assert not proxy.director.count("error", "/head_hook")
            stubborn.set()
            await proxy.director.next("error", "/head_hook")

    run(scenario())
