"""Many exchanges at once, each with its own luck: no crash, no hang, one end each, nothing left."""

from __future__ import annotations

import asyncio
import random
import socket
from pathlib import Path

import pytest
from mitmproxy import http

from end_to_end.stream_layer.authority import Authority
from end_to_end.stream_layer.client import Answer, Client
from end_to_end.stream_layer.house import House, ScriptedTap, house, run
from end_to_end.stream_layer.upstream import Call, upstream
from llmitm.mitm.stream_contract import Act, FailedAttempt, HoldBack, Pass, Plan, Step

pytestmark = pytest.mark.end_to_end

EXCHANGES = 60


async def turns(luck: random.Random, most: int) -> None:
    for _ in range(luck.randrange(most)):
        await asyncio.sleep(0)


def scripted(luck: random.Random):
    async def script(call: Call) -> None:
        await turns(luck, 20)
        fate = luck.random()
        if fate < 0.1:
            call.break_off()
        elif fate < 0.2:
            call.answer(luck.choice([429, 500, 503]), b"no")
        elif fate < 0.3:
            await call.aborted.wait()
        else:
            call.head()
            for _ in range(luck.randrange(1, 8)):
                call.data(b"data: x\n\n")
                await turns(luck, 6)
            if fate < 0.4:
                call.break_off()
            elif fate < 0.5:
                await call.aborted.wait()
            else:
                call.end()

    return script


def lucky_tap(luck: random.Random) -> ScriptedTap:
    def step(data: bytes) -> bytes | Step:
        if luck.random() < 0.8:
            return data
        act = luck.choice([Act.COMMIT, Act.CUT, Act.FAIL, Act.AGAIN, Act.HOLD])
        return Step(data, act)

    return ScriptedTap(
        verdict=luck.choice([Pass(changes=True), HoldBack(), HoldBack(cap_bytes=10)]),
        on_feed=step,
        on_end=lambda: step(b""),
        on_broke=lambda message: step(b""),
        on_resumed=lambda decision: step(b"data: y\n\n"),
    )


async def meddle(luck: random.Random, proxy: House, answer: Answer, path: str) -> None:
    """What client and operator do to one exchange: leave, kill, push, resume, or nothing."""
    while answer.ended is None:
        await turns(luck, 60)
        steering = proxy.director.steering.get(path)
        fate = luck.random()
        if fate < 0.02:
            answer.leave()
            return
        if steering is None:
            continue
        if fate < 0.04 and steering.flow.killable:
            steering.flow.kill()
        elif fate < 0.06:
            steering.finish(b"data: finished\n\n")
        elif fate < 0.1:
            steering.push(b"data: pushed\n\n")
        elif fate < 0.5:
            steering.resume()


@pytest.mark.parametrize("seed", [1, 2])
def test_soak(
    seed: int, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    luck = random.Random(seed)

    async def exchange(proxy: House, client: Client, number: int) -> None:
        path = f"/{number}"
        answer = client.request(path=path)
        await meddle(luck, proxy, answer, path)

    async def scenario() -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            closed = unused.getsockname()[1]
        async with (
            upstream(scripted(luck), authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            proxy.strict = False

            async def decide(attempt: FailedAttempt) -> None:
                await turns(luck, 10)
                if attempt.number < 5 and luck.random() < 0.8:
                    attempt.flow.request.port = luck.choice([closed, server.port, server.port])
                    attempt.retry(fresh=luck.random() < 0.5)
                elif luck.random() < 0.5:
                    attempt.reply(503, {"content-type": "text/plain"}, b"gave up")

            async def dawdle(flow: http.HTTPFlow) -> None:
                await turns(luck, 15)

            proxy.director.plan = lambda flow: Plan(
                tap=lucky_tap(luck),
                wait=luck.random() < 0.2,
                ttfb_s=0.1,
                open_head=http.Response.make(200),
                open_after_s=luck.choice([None, 0.0, 0.02]),
                heartbeat_s=0.02,
                keep_bytes=luck.choice([0, 20, 10000]),
            )
            proxy.director.on_failed = decide
            proxy.director.on_request = proxy.director.on_head = dawdle
            proxy.director.on_response = dawdle
            one = await proxy.client(server.port, client_version)
            clients = [one] * EXCHANGES
            if client_version == "h1":
                clients = [await proxy.client(server.port) for _ in range(EXCHANGES)]
            await asyncio.wait_for(
                asyncio.gather(*(exchange(proxy, clients[n], n) for n in range(EXCHANGES))), 30
            )
            ends = [
                proxy.director.count("response", f"/{n}") + proxy.director.count("error", f"/{n}")
                for n in range(EXCHANGES)
            ]
            assert max(ends) == 1

    run(scenario())
