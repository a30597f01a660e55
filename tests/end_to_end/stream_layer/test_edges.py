"""The corners: holding back, late hooks, slow error bodies, plans without a tap, odd clients."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from mitmproxy import http

from end_to_end.stream_layer.authority import Authority
from end_to_end.stream_layer.client import DEADLINE_S
from end_to_end.stream_layer.house import ScriptedTap, house, run
from end_to_end.stream_layer.upstream import Call, upstream
from llmitm.mitm.stream_contract import Act, FailAttempt, FailedAttempt, HoldBack, Pass, Plan, Step

pytestmark = pytest.mark.end_to_end

BODY = b"data: one\n\ndata: two\n\n"


async def good(call: Call) -> None:
    call.head()
    call.data(BODY[:11])
    call.data(BODY[11:])
    call.end()


async def head_then_silence(call: Call) -> None:
    call.head()
    await call.aborted.wait()


async def error_then_silence(call: Call) -> None:
    call.head(429, [("content-type", "text/plain")])
    call.data(b"slow ")
    await call.aborted.wait()


async def head_then_break(call: Call) -> None:
    call.head(200, [("content-length", "100")])
    call.data(b"partial")
    asyncio.get_running_loop().call_soon(call.break_off)


@pytest.mark.parametrize(
    ("script", "kind", "body"),
    [
        (head_then_silence, "timeout", b""),
        (error_then_silence, "status", b"slow "),
        (head_then_break, "broken", b""),
    ],
)
def test_failure_while_held_back(
    script: object,
    kind: str,
    body: bytes,
    client_version: str,
    upstream_version: str,
    authority: Authority,
    confdir: Path,
) -> None:
    async def scenario() -> None:
        async with (
            upstream(script, authority, upstream_version) as bad,  # type: ignore[arg-type]
            upstream(good, authority, upstream_version) as fine,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):

            def verdict(response: http.Response) -> HoldBack | FailAttempt:
                return FailAttempt(body_s=0.1) if response.status_code == 429 else HoldBack()

            def retry(attempt: FailedAttempt) -> None:
                assert not attempt.opened
                attempt.flow.request.port = fine.port
                attempt.retry(fresh=True)

            tap = ScriptedTap(verdict=verdict)
            proxy.director.plan = lambda flow: Plan(tap=tap, ttfb_s=0.15)
            proxy.director.on_failed = retry
            client = await proxy.client(bad.port, client_version)
            answer = client.request()
            assert await answer.end() == "end"
            assert answer.body == BODY
            assert answer.headers["content-length"] == str(len(BODY))
            [failure] = proxy.director.failures
            assert (failure.kind, failure.body, failure.complete) == (kind, body, False)
            if kind != "broken":
                await asyncio.wait_for(bad.calls[0].aborted.wait(), 5)

    run(scenario())


@pytest.mark.parametrize("changes", [True, False])
def test_held_back_to_the_end_can_be_edited(
    changes: bool, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(good, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            pieces: list[bytes] = []

            def collect(data: bytes) -> bytes:
                pieces.append(data)
                return b""

            tap = ScriptedTap(
                verdict=HoldBack(changes=changes),
                on_feed=collect if changes else (lambda data: data),
                on_end=lambda: b"".join(pieces).upper(),
            )
            proxy.director.plan = lambda flow: Plan(tap=tap)
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            assert await answer.end() == "end"
            assert answer.body == (BODY.upper() if changes else BODY)
            assert ("content-length" in answer.headers) is changes
            flow = await proxy.director.next("response")
            assert flow is not None
            assert flow.response is not None
            assert flow.response.content == answer.body

    run(scenario())


def test_held_back_beyond_its_cap_streams(
    client_version: str, authority: Authority, confdir: Path
) -> None:
    async def slow(call: Call) -> None:
        call.head()
        for _ in range(4):
            call.data(b"x" * 100)
        await go.wait()
        call.end()

    go = asyncio.Event()

    async def scenario() -> None:
        async with (
            upstream(slow, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            tap = ScriptedTap(verdict=HoldBack(cap_bytes=250))
            proxy.director.plan = lambda flow: Plan(tap=tap)
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            await answer.until(b"x" * 400)
            go.set()
            assert await answer.end() == "end"

    run(scenario())


def test_unwanted_content_is_passed_on_without_a_verdict(
    client_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(good, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):

            def doubt(data: bytes) -> Step:
                first = len(tap.seen) == 1
                return Step(data, Act.FAIL if first else Act.GO, "doubtful")

            tap = ScriptedTap(verdict=HoldBack(), on_feed=doubt)
            proxy.director.plan = lambda flow: Plan(tap=tap)
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            assert await answer.end() == "end"
            assert answer.body == BODY
            assert [failure.kind for failure in proxy.director.failures] == ["content"]

    run(scenario())


def test_hold_at_the_end(client_version: str, authority: Authority, confdir: Path) -> None:
    async def scenario() -> None:
        async with (
            upstream(good, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            tap = ScriptedTap(
                verdict=Pass(changes=True),
                on_end=lambda: Step(b"data: wait\n\n", Act.HOLD),
                on_resumed=lambda decision: b"data: done\n\n",
            )
            proxy.director.plan = lambda flow: Plan(tap=tap, heartbeat_s=0.02)
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            await answer.until(b"data: wait\n\n: alive\n\n")
            assert proxy.director.steering["/v1"].resume()
            assert await answer.end() == "end"
            assert answer.body.endswith(b"data: done\n\n")

    run(scenario())


@pytest.mark.parametrize("script", [head_then_break, error_then_silence])
def test_a_plan_without_a_tap_retries(
    script: object,
    client_version: str,
    upstream_version: str,
    authority: Authority,
    confdir: Path,
) -> None:
    async def scenario() -> None:
        async with (
            upstream(script, authority, upstream_version) as bad,  # type: ignore[arg-type]
            upstream(good, authority, upstream_version) as fine,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):

            def judge(flow: http.HTTPFlow) -> None:
                assert flow.response is not None
                if flow.response.status_code == 429:
                    proxy.director.steering["/v1"].verdict = FailAttempt(read_bytes=0)

            def retry(attempt: FailedAttempt) -> None:
                attempt.flow.request.port = fine.port
                attempt.retry()

            proxy.director.plan = lambda flow: Plan(ttfb_s=5)
            proxy.director.on_head = judge
            proxy.director.on_failed = retry
            client = await proxy.client(bad.port, client_version)
            answer = client.request()
            assert await answer.end() == "end"
            assert answer.body == BODY
            assert len(proxy.director.failures) == 1

    run(scenario())


def test_http10_client_gets_an_answer_without_chunks(authority: Authority, confdir: Path) -> None:
    async def scenario() -> None:
        async with upstream(good, None) as server, house(confdir, authority.certificate) as proxy:
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap(verdict=Pass(changes=True)))
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            address = f"127.0.0.1:{server.port}"
            writer.write(f"GET http://{address}/v1 HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            raw = await asyncio.wait_for(reader.read(), DEADLINE_S)
            head, _, body = raw.partition(b"\r\n\r\n")
            assert b"chunked" not in head
            assert body == BODY
            writer.close()

    run(scenario())


@pytest.mark.parametrize("how", ["leave", "kill"])
def test_gone_during_the_response_hook(
    how: str, client_version: str, authority: Authority, confdir: Path
) -> None:
    """The exchange was complete: it stays a `response`, and no `error` follows."""

    async def scenario() -> None:
        async with (
            upstream(good, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap(verdict=Pass(changes=True)))
            gone = asyncio.Event()

            async def wait(flow: http.HTTPFlow) -> None:
                await proxy.director.steering["/v1"].gone.wait()
                gone.set()

            proxy.director.on_response = wait
            client = await proxy.client(server.port, client_version)
            answer = client.request()
            await proxy.director.next("response")
            if how == "leave":
                answer.leave()
            else:
                proxy.director.flows["/v1"].kill()
                assert await answer.end() in ("closed", "reset 2")
            await asyncio.wait_for(gone.wait(), 5)
            flow = proxy.director.flows["/v1"]
            await proxy.until(lambda: not flow.live, "the flow ends")
            assert proxy.director.count("error") == 0

    run(scenario())


@pytest.mark.parametrize("push", ["finish", "resume"])
def test_pushes_before_the_request_is_complete(
    push: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with upstream(good, None) as server, house(confdir, authority.certificate) as proxy:
            proxy.director.at_headers = lambda flow: Plan(wait=True, tap=ScriptedTap())
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
            address = f"127.0.0.1:{server.port}"
            writer.write(
                f"POST http://{address}/v1 HTTP/1.1\r\nHost: {address}\r\n"
                "Connection: close\r\nContent-Length: 4\r\n\r\n".encode()
            )
            await proxy.director.next("requestheaders")
            steering = proxy.director.steering["/v1"]
            assert steering.finish(b"pushed") if push == "finish" else steering.resume()
            writer.write(b"body")
            raw = await asyncio.wait_for(reader.read(), DEADLINE_S)
            assert raw.startswith(b"HTTP/1.1 200")
            assert (b"pushed" if push == "finish" else b"data: two") in raw
            assert len(server.calls) == (0 if push == "finish" else 1)
            writer.close()

    run(scenario())


def test_many_exchanges_leave_no_connections(authority: Authority, confdir: Path) -> None:
    """One long-lived HTTP/2 client: what its exchanges used is forgotten."""

    async def scenario() -> None:
        async with (
            upstream(good, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap(), ttfb_s=60, heartbeat_s=60)
            client = await proxy.client(server.port, "h2")
            streams = proxy.director.streams
            for n in range(60):
                answer = client.request(path=f"/{n}")
                assert await answer.end() == "end"
            assert server.connections == 60
            answer = client.request(path="/last")
            await proxy.director.next("request", "/last")
            layer = streams.live[proxy.director.flows["/last"].id].pool
            assert await answer.end() == "end"
            assert len(layer.connections) < 30  # type: ignore[attr-defined]
            assert not layer.streams  # type: ignore[attr-defined]
            assert not layer.command_sources  # type: ignore[attr-defined]
            del layer

    run(scenario())


def test_eager_connections(authority: Authority, confdir: Path) -> None:
    async def scenario() -> None:
        async with (
            upstream(head_then_silence, authority) as bad,
            upstream(good, authority) as fine,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.master.options.update(connection_strategy="eager")

            def retry(attempt: FailedAttempt) -> None:
                attempt.flow.request.port = fine.port
                attempt.retry()

            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap(verdict=HoldBack()), ttfb_s=0.1)
            proxy.director.on_failed = retry
            client = await proxy.client(bad.port)
            for path in ("/1", "/2"):
                answer = client.request(path=path)
                assert await answer.end() == "end"
                assert answer.body == BODY

    run(scenario())
