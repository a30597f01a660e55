"""Continue, cut, hold with heartbeat, push: what the client sees and what the upstream sees."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from mitmproxy import http

from end_to_end.stream_layer.authority import Authority
from end_to_end.stream_layer.house import ScriptedTap, house, run
from end_to_end.stream_layer.upstream import Call, upstream
from llmitm.mitm.stream_contract import Act, FailedAttempt, HoldBack, Pass, Plan, Step

pytestmark = pytest.mark.end_to_end

HEAD = {"content-type": "text/event-stream"}


def open_head() -> http.Response:
    return http.Response.make(200, b"", HEAD)


async def endless(call: Call) -> None:
    """One event, then nothing until somebody gives up."""
    call.head()
    call.data(b"data: one\n\n")
    await call.aborted.wait()


async def one(call: Call) -> None:
    call.head()
    call.data(b"data: one\n\n")
    call.end()


async def two(call: Call) -> None:
    call.head()
    call.data(b"data: two\n\n")
    call.end()


async def breaks_midway(call: Call) -> None:
    call.head()
    call.data(b"data: one\n\n")
    await asyncio.sleep(0)
    call.break_off()


def cut_at(part: bytes) -> Callable[[bytes], bytes | Step]:
    def feed(data: bytes) -> bytes | Step:
        return Step(b"data: cut\n\n", Act.CUT) if part in data else data

    return feed


def aborted_code(version: str) -> str | int:
    return "closed" if version == "h1" else 8


def test_cut(
    client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(endless, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            tap = ScriptedTap(verdict=Pass(changes=True), on_feed=cut_at(b"one"))
            proxy.director.plan = lambda flow: Plan(tap=tap, keep_bytes=1000)
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            assert await answer.end() == "end"
            assert answer.body == b"data: cut\n\n"
            await asyncio.wait_for(server.calls[0].aborted.wait(), 5)
            assert server.calls[0].aborted_with == aborted_code(upstream_version)
            # The client's connection goes on.
            again = client.request(path="/2")
            assert await again.end() == "end"
            flow = await proxy.director.next("response")
            assert flow is not None
            assert flow.response is not None
            assert flow.response.content == b"data: cut\n\n"

    run(scenario())


def test_cut_while_held_back_is_sent_whole(
    client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(endless, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            tap = ScriptedTap(verdict=HoldBack(), on_feed=cut_at(b"one"))
            proxy.director.plan = lambda flow: Plan(tap=tap)
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            assert await answer.end() == "end"
            assert answer.body == b"data: cut\n\n"
            assert answer.headers["content-length"] == str(len(answer.body))
            await asyncio.wait_for(server.calls[0].aborted.wait(), 5)

    run(scenario())


@pytest.mark.parametrize("moment", ["feed", "end", "broke"])
@pytest.mark.parametrize("by_hook", [True, False])
def test_continue(
    moment: str,
    by_hook: bool,
    client_version: str,
    upstream_version: str,
    authority: Authority,
    confdir: Path,
) -> None:
    scripts = {"feed": endless, "end": one, "broke": breaks_midway}

    async def scenario() -> None:
        async with (
            upstream(scripts[moment], authority, upstream_version) as first,
            upstream(two, authority, upstream_version) as second,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):

            def on(this: str, out: bytes) -> Step:
                [flow] = proxy.director.flows.values()
                if moment != this or flow.request.port == second.port:
                    return Step(out)
                if not by_hook:
                    flow.request.port = second.port
                    flow.request.content = b"more"
                return Step(out, Act.FAIL if by_hook else Act.AGAIN)

            def retry(attempt: FailedAttempt) -> None:
                assert attempt.opened
                attempt.flow.request.port = second.port
                attempt.flow.request.content = b"more"
                attempt.retry()

            tap = ScriptedTap(
                verdict=Pass(changes=True),
                on_feed=lambda data: on("feed", data),
                on_end=lambda: on("end", b""),
                on_broke=lambda message: on("broke", b""),
            )
            proxy.director.plan = lambda flow: Plan(tap=tap)
            proxy.director.on_failed = retry
            client = await proxy.client(first.port, client_version)
            answer = client.request()
            assert await answer.end() == "end"
            assert answer.status == 200
            assert answer.body == b"data: one\n\ndata: two\n\n"
            assert (await second.arrival()).body == b"more"
            if moment == "feed":
                await asyncio.wait_for(first.calls[0].aborted.wait(), 5)
            assert proxy.director.count("llm_attempt_failed") == int(by_hook)
            assert proxy.director.count("response") == 1

    run(scenario())


@pytest.mark.parametrize("where", ["request", "wait", "first_byte", "between", "midway"])
def test_hold_with_heartbeat(
    where: str, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        go = asyncio.Event()

        async def late(call: Call) -> None:
            if where == "first_byte":
                await go.wait()
            if where == "between" and len(server.calls) == 1:
                call.answer(529, b"overloaded")
                return
            call.head()
            call.data(b"data: one\n\n")
            call.data(b"data: two\n\n")
            call.end()

        async def wait(_: object) -> None:
            await go.wait()

        async def retry(attempt: FailedAttempt) -> None:
            await go.wait()
            attempt.retry()

        def feed(data: bytes) -> bytes | Step:
            return Step(data, Act.HOLD) if where == "midway" and b"one" in data else data

        async with (
            upstream(late, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            tap = ScriptedTap(
                verdict=Pass(changes=True),
                on_feed=feed,
                on_resumed=lambda decision: str(decision).encode(),
            )
            proxy.director.plan = lambda flow: Plan(
                tap=tap,
                wait=where == "wait",
                open_head=open_head(),
                open_after_s=0.03,
                heartbeat_s=0.03,
            )
            if where == "request":
                proxy.director.on_request = wait
            proxy.director.on_failed = retry
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            assert await answer.head() == 200
            await answer.until(b": alive\n\n: alive\n\n")
            assert answer.headers["content-type"] == "text/event-stream"
            if where in ("request", "wait"):
                assert not server.calls
            go.set()
            if where in ("wait", "midway"):
                assert proxy.director.steering["/v1"].resume("data: decided\n\n")
            assert await answer.end() == "end"
            parts = answer.body.replace(b": alive\n\n", b"")
            decided = b"data: decided\n\n" if where == "midway" else b""
            assert parts.replace(decided, b"") == b"data: one\n\ndata: two\n\n"
            assert decided in parts
            assert proxy.director.count("response") == 1

    run(scenario())


def test_hold_then_failure_after_the_head(
    client_version: str, authority: Authority, confdir: Path
) -> None:
    """An error after an early head can only be told in the stream: by the addon, or by the tap."""

    async def refuses(call: Call) -> None:
        await go.wait()
        call.answer(500, b"no")

    go = asyncio.Event()

    async def scenario() -> None:
        async with (
            upstream(refuses, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            tap = ScriptedTap(on_broke=lambda message: Step(message.encode(), Act.CUT))
            proxy.director.plan = lambda flow: Plan(
                tap=tap, open_head=open_head(), open_after_s=0.01
            )

            def decide(attempt: FailedAttempt) -> None:
                if attempt.flow.request.path == "/reply":
                    attempt.reply(500, {}, b"data: told\n\n")

            proxy.director.on_failed = decide
            for path, body in (("/reply", b"data: told\n\n"), ("/tap", b"500")):
                go.clear()
                client = await proxy.client(server.port, client_version)
                answer = client.request(path=path)
                assert await answer.head() == 200
                go.set()
                assert await answer.end() == "end"
                assert answer.body.startswith(body)

    run(scenario())


@pytest.mark.parametrize("early", [True, False])
def test_push_whole_answer_live(
    early: bool, client_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(one, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(
                tap=ScriptedTap(), wait=True, open_head=open_head()
            )
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            await proxy.director.next("request")
            steering = proxy.director.steering["/v1"]
            if early:
                assert steering.open()
                assert await answer.head() == 200
                assert not answer.body
            for n in range(3):
                assert steering.push(b"data: %d\n\n" % n)
                await answer.until(b"data: %d\n\n" % n)
            assert steering.finish(b"data: end\n\n")
            assert await answer.end() == "end"
            assert answer.body == b"data: 0\n\ndata: 1\n\ndata: 2\n\ndata: end\n\n"
            assert not server.calls
            await proxy.director.next("response")
            await asyncio.wait_for(steering.gone.wait(), 5)
            assert not steering.push(b"too late")

    run(scenario())


def test_push_finish_at_once_has_a_length(
    client_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(one, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(wait=True, open_head=open_head())
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            await proxy.director.next("request")
            proxy.director.steering["/v1"].finish(b"whole")
            assert await answer.end() == "end"
            assert (answer.body, answer.headers["content-length"]) == (b"whole", "5")

    run(scenario())


def test_push_finish_aborts_a_running_upstream(
    client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(endless, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap(verdict=Pass(changes=True)))
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            await answer.until(b"one")
            assert proxy.director.steering["/v1"].push(b"data: own\n\n")
            assert proxy.director.steering["/v1"].finish(b"data: bye\n\n")
            assert await answer.end() == "end"
            assert answer.body == b"data: one\n\ndata: own\n\ndata: bye\n\n"
            await asyncio.wait_for(server.calls[0].aborted.wait(), 5)
            assert server.calls[0].aborted_with == aborted_code(upstream_version)

    run(scenario())


@pytest.mark.parametrize("changes", [True, False])
def test_break_in_mid_stream(
    changes: bool, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    """A tap that watches passes the break on; one that writes may end the answer well."""

    async def scenario() -> None:
        async with (
            upstream(breaks_midway, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            tap = ScriptedTap(verdict=Pass(changes=changes))
            if changes:
                tap.on_broke = lambda message: Step(b"data: error\n\n", Act.CUT)
            proxy.director.plan = lambda flow: Plan(tap=tap)
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            ended = await answer.end()
            if changes:
                assert ended == "end"
                assert answer.body == b"data: one\n\ndata: error\n\n"
                await proxy.director.next("response")
            else:
                assert ended == ("closed" if client_version == "h1" else "reset 2")
                assert answer.body == b"data: one\n\n"
                await proxy.director.next("error")

    run(scenario())


def test_a_tap_that_raises_ends_only_its_exchange(
    client_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(one, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):

            def raises(data: bytes) -> bytes:
                raise LookupError("a bug of the tap")

            tap = ScriptedTap(verdict=Pass(changes=True), on_feed=raises)
            proxy.director.plan = lambda flow: Plan(tap=tap) if flow.request.path == "/v1" else None
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            assert await answer.end() in ("closed", "reset 2")
            client = await proxy.client(server.port, client_version)
            answer = client.request(path="/other")
            assert await answer.end() == "end"
            assert any("the tap raised" in said for said in proxy.complaints.said)
            proxy.complaints.said.clear()

    run(scenario())
