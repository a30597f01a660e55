"""Retry: whatever fails before the first byte, the client sees only the attempt that worked."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from end_to_end.stream_layer.authority import Authority
from end_to_end.stream_layer.house import ScriptedTap, house, run
from end_to_end.stream_layer.upstream import Call, upstream
from llmitm.mitm.stream_contract import (
    Act,
    FailAttempt,
    FailedAttempt,
    HoldBack,
    Pass,
    Plan,
    Steering,
    Step,
)

pytestmark = pytest.mark.end_to_end


async def good(call: Call) -> None:
    call.head()
    for part in (b"data: one\n\n", b"data: two\n\n"):
        call.data(part)
    call.end()


async def too_many(call: Call) -> None:
    call.answer(429, b'{"error":"slow down"}', [("retry-after", "1")])


async def silent(call: Call) -> None:
    await call.aborted.wait()


async def breaks_before_head(call: Call) -> None:
    call.break_off()


async def fails_in_stream(call: Call) -> None:
    call.head()
    call.data(b"event: error\ndata: overloaded\n\n")
    await call.aborted.wait()


def hold_first(data: bytes) -> Step:
    if data.startswith(b"event: error"):
        return Step(act=Act.FAIL, why="overloaded")
    return Step(data, Act.COMMIT)


SCRIPTS = {
    "status": too_many,
    "timeout": silent,
    "broken": breaks_before_head,
    "content": fails_in_stream,
}


@pytest.mark.parametrize("kind", SCRIPTS)
def test_next_attempt_reaches_the_client(
    kind: str,
    client_version: str,
    upstream_version: str,
    authority: Authority,
    confdir: Path,
) -> None:
    async def scenario() -> None:
        script = SCRIPTS[kind]
        async with (
            upstream(script, authority, upstream_version) as bad,
            upstream(good, authority, upstream_version) as fine,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            verdict = HoldBack() if kind == "content" else Pass(changes=True)
            tap = ScriptedTap(verdict=verdict, on_feed=hold_first)
            ttfb_s = 0.15 if kind == "timeout" else 20

            def retry(attempt: FailedAttempt) -> None:
                assert attempt.number == 1
                assert not attempt.opened
                attempt.flow.request.port = fine.port
                attempt.flow.request.content = b'{"second":true}'
                attempt.retry()

            proxy.director.plan = lambda flow: Plan(tap=tap, ttfb_s=ttfb_s)
            proxy.director.on_failed = retry
            client = await proxy.client(bad.port, client_version)
            answer = client.request(body=b'{"first":true}')
            assert await answer.head() == 200
            assert await answer.end() == "end"
            assert answer.body == b"data: one\n\ndata: two\n\n"
            assert (await bad.arrival()).body == b'{"first":true}'
            assert (await fine.arrival()).body == b'{"second":true}'
            [failure] = proxy.director.failures
            assert failure.kind == kind
            if kind == "status":
                assert (failure.status, failure.body) == (429, b'{"error":"slow down"}')
                assert failure.headers is not None
                assert failure.headers["retry-after"] == "1"
                assert failure.complete
            if kind in ("timeout", "content"):
                call = bad.calls[0]
                await asyncio.wait_for(call.aborted.wait(), 5)
                assert call.aborted_with == ("closed" if upstream_version == "h1" else 8)
            again = client.request(path="/again")
            assert await again.end() == "end"
            assert proxy.director.count("response") == 1

    run(scenario())


@pytest.mark.parametrize("same_host", [True, False])
def test_connect_refused_then_elsewhere(
    same_host: bool, client_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(good, authority) as fine,
            house(confdir, authority.certificate) as proxy,
        ):
            with socket.socket() as unused:
                unused.bind(("127.0.0.1", 0))
                closed_port = unused.getsockname()[1]

                def retry(attempt: FailedAttempt) -> None:
                    assert attempt.failure.kind == "connect"
                    if not same_host or attempt.number == 3:
                        attempt.flow.request.port = fine.port
                    attempt.retry()

                proxy.director.plan = lambda flow: Plan(tap=ScriptedTap())
                proxy.director.on_failed = retry
                client = await proxy.client(closed_port, client_version)
                for path in ("/1", "/2"):
                    answer = client.request(path=path)
                    assert await answer.head() == 200
                    assert await answer.end() == "end"
                # Each attempt really tried: a failed connection is not remembered.
                assert len(proxy.director.failures) == (6 if same_host else 2)

    run(scenario())


def test_certificate_error_is_readable_and_retried(
    client_version: str,
    upstream_version: str,
    authority: Authority,
    stranger: Authority,
    confdir: Path,
) -> None:
    async def scenario() -> None:
        async with (
            upstream(good, stranger, upstream_version) as bad,
            upstream(good, authority, upstream_version) as fine,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):

            def retry(attempt: FailedAttempt) -> None:
                attempt.flow.request.port = fine.port
                attempt.retry()

            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap())
            proxy.director.on_failed = retry
            client = await proxy.client(bad.port, client_version)
            answer = client.request()
            assert await answer.head() == 200
            assert await answer.end() == "end"
            [failure] = proxy.director.failures
            assert failure.kind == "certificate"
            assert "unable to get local issuer certificate" in failure.message
            assert not bad.calls

    run(scenario())


def test_without_a_verdict_the_stock_thing_happens(
    client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        async with (
            upstream(too_many, authority, upstream_version) as bad,
            upstream(breaks_before_head, authority, upstream_version) as worse,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap())
            client = await proxy.client(bad.port, client_version)
            answer = client.request(path="/429")
            assert await answer.head() == 429
            assert await answer.end() == "end"
            assert answer.body == b'{"error":"slow down"}'
            assert answer.headers["retry-after"] == "1"
            assert answer.headers["content-length"] == str(len(answer.body))
            other = await proxy.client(worse.port, client_version)
            answer = other.request(path="/broken")
            assert await answer.head() == 502
            await answer.end()
            assert proxy.director.count("error", "/broken") == 1
            assert proxy.director.count("response", "/429") == 1

    run(scenario())


def test_reply_of_the_addon(client_version: str, authority: Authority, confdir: Path) -> None:
    async def scenario() -> None:
        async with (
            upstream(too_many, authority) as bad,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap())
            proxy.director.on_failed = lambda attempt: attempt.reply(
                503, {"content-type": "application/json"}, b'{"own":1}'
            )
            client = await proxy.client(bad.port, client_version)
            answer = client.request()
            assert await answer.head() == 503
            assert await answer.end() == "end"
            assert answer.body == b'{"own":1}'
            flow = await proxy.director.next("response")
            assert flow is not None
            assert flow.response is not None
            assert flow.response.status_code == 503

    run(scenario())


def test_large_error_body_is_capped_and_passed_on_whole(
    client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def large(call: Call) -> None:
        call.head(500, [("content-type", "text/plain")])
        for _ in range(40):
            call.data(b"x" * 1000)
        call.end()

    async def scenario() -> None:
        async with (
            upstream(large, authority, upstream_version) as bad,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            from_tap = ScriptedTap()
            proxy.director.plan = lambda flow: Plan(tap=from_tap)
            proxy.director.on_head = lambda flow: decide(proxy.director.steering["/v1"])
            client = await proxy.client(bad.port, client_version)
            answer = client.request()
            assert await answer.head() == 500
            assert await answer.end() == "end"
            assert answer.body == b"x" * 40000
            [failure] = proxy.director.failures
            assert 5000 <= len(failure.body) < 40000 or failure.complete

    run(scenario())


def decide(steering: object) -> None:
    """An addon that decides at the head, over the tap."""
    assert isinstance(steering, Steering)
    steering.verdict = FailAttempt("declared", read_bytes=5000)


def test_forty_parallel_half_fail_over(
    client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def odd_fails(call: Call) -> None:
        if int(call.path.removeprefix("/n")) % 2:
            await too_many(call)
        else:
            await good(call)

    async def scenario() -> None:
        async with (
            upstream(odd_fails, authority, upstream_version) as bad,
            upstream(good, authority, upstream_version) as fine,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):

            def retry(attempt: FailedAttempt) -> None:
                attempt.flow.request.port = fine.port
                attempt.retry()

            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap(), ttfb_s=20)
            proxy.director.on_failed = retry
            one = client_version == "h2"
            clients = [
                await proxy.client(bad.port, client_version) for _ in range(1 if one else 40)
            ]
            answers = [clients[0 if one else n].request(path=f"/n{n}") for n in range(40)]
            ends = await asyncio.gather(*(answer.end() for answer in answers))
            assert ends == ["end"] * 40
            assert {answer.body for answer in answers} == {b"data: one\n\ndata: two\n\n"}
            assert (len(bad.calls), len(fine.calls)) == (40, 20)
            assert len(proxy.director.failures) == 20

    run(scenario())
