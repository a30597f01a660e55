"""What steering costs over a stock stream callable: printed (`pytest -s`), never asserted."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest
from mitmproxy import http

from end_to_end.stream_layer.authority import Authority
from end_to_end.stream_layer.house import ScriptedTap, house, run
from end_to_end.stream_layer.upstream import Call, upstream
from llmitm.mitm.stream_contract import Pass, Plan

pytestmark = pytest.mark.end_to_end

CHUNKS = 500
EVENT = b"data: " + b"x" * 180 + b"\n\n"


async def scripted(call: Call) -> None:
    chunks = CHUNKS if call.path == "/long" else 1
    call.head(200, [("content-length", str(chunks * len(EVENT)))])
    for n in range(chunks):
        call.data(EVENT)
        if n % 10 == 0:
            await asyncio.sleep(0)
    call.end()


def stream_stock(flow: http.HTTPFlow) -> None:
    assert flow.response is not None
    flow.response.stream = lambda data: data


PLANS = {
    "stock": None,
    "watch": Plan(tap=ScriptedTap(verdict=Pass()), ttfb_s=60),
    "change": Plan(
        tap=ScriptedTap(verdict=Pass(changes=True)),
        ttfb_s=60,
        heartbeat_s=15,
        open_after_s=15,
        open_head=http.Response.make(200),
    ),
}


def test_cost(
    client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    async def scenario() -> None:
        best = dict.fromkeys([(kind, path) for kind in PLANS for path in ("/short", "/long")], 9e9)
        async with (
            upstream(scripted, authority, upstream_version) as server,
            house(confdir, authority.certificate, upstream=upstream_version) as proxy,
        ):
            clients = {kind: await proxy.client(server.port, client_version) for kind in PLANS}
            for _ in range(4):
                for (kind, path), before in best.items():
                    plan = PLANS[kind]
                    proxy.director.plan = lambda flow, plan=plan: plan
                    proxy.director.on_head = stream_stock if plan is None else (lambda flow: None)
                    times = 25 if path == "/short" else 2
                    started = time.process_time()
                    for _ in range(times):
                        answer = clients[kind].request(path=path)
                        assert await answer.end() == "end"
                    spent = (time.process_time() - started) / times
                    best[kind, path] = min(before, spent)
        print(
            f"\n{client_version} client, {upstream_version} upstream (client and upstream included)"
        )
        for kind in PLANS:
            each = (best[kind, "/long"] - best[kind, "/short"]) / (CHUNKS - 1)
            more = best[kind, "/short"] - best["stock", "/short"]
            print(
                f"  {kind:7} {best[kind, '/short'] * 1e3:6.2f} ms/request ({more * 1e6:+5.0f} us)"
                f"  {each * 1e6:6.1f} us/chunk"
            )

    run(scenario())
