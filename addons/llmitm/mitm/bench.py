"""`llmitm bench`: what llmitm costs, next to bare mitmdump, in one interleaved run.

Ways: straight to the sim; bare mitmdump with a pass-through stream callable; llmitm verbatim;
llmitm translating, one way per dialect pair. Workloads: small requests, a 1 MB history, streams of
500 events as fast as they come, and of an event every two milliseconds. Every way takes its turn in
every round, so that a change of the machine's mood hits all alike. Beside it, without a proxy: what
one megabyte costs the dialects themselves (`bench_dialects`), what each policy costs and redaction
per megabyte (`bench_policies`). Never asserts: a bench measures,
tests prove.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from llmitm.desk.bench_table import Result, bench_table, pairs_table, policies_table
from llmitm.mitm.bench_bodies import MEGABYTE, Round, body_of, rounds
from llmitm.mitm.bench_dialects import measured
from llmitm.mitm.bench_policies import policies, redaction
from llmitm.mitm.load import Connection, Place, Sample, post
from llmitm.mitm.processes import Child, bare_proxy, llmitm_proxy, sim_process

HOSTS = {
    "openai_chat": "api.openai.com",
    "openai_responses": "api.openai.com",
    "anthropic_messages": "api.anthropic.com",
    "gemini_generate": "generativelanguage.googleapis.com",
}
PROVIDERS = {
    "openai_chat": "together",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic",
    "gemini_generate": "gemini",
}
WORKLOADS = ("small", "history", "stream", "paced")
EVENTS = {"stream": 500, "paced": 40}
"""Streamed events by workload: as fast as the provider can, or one every two milliseconds."""

MODELS = {"stream": "sim-events-500", "paced": "sim-drip-2"}


@dataclass(frozen=True, slots=True)
class Way:
    """One way for a request. target: provider it is rerouted to, empty = its own."""

    name: str
    proxy: str
    protocol: str = "openai_chat"
    target: str = ""


@dataclass(slots=True)
class Tally:
    """All samples of one way and workload, and the CPU seconds the proxy spent on them."""

    samples: list[Sample] = field(default_factory=list[Sample])
    cpu_s: float = 0.0


def ways(pairs: Sequence[str]) -> list[Way]:
    """The ways to compare. pairs: `from>to` protocol pairs to translate."""
    found = [Way("direct", ""), Way("mitmdump", "bare"), Way("verbatim", "llmitm")]
    for pair in pairs:
        source, _, target = pair.partition(">")
        found.append(Way(pair, "llmitm", source, PROVIDERS[target]))
    return found


def request_for(way: Way, workload: str) -> bytes:
    """The prepared request of one way and workload."""
    stream = workload in EVENTS
    model = MODELS.get(workload, "sim-text")
    if way.target:
        model = f"{way.target}:{model}"
    told = rounds("few") if workload == "history" else list[Round]()
    path, headers = _address(way.protocol, model, stream=stream)
    body = body_of(way.protocol, model, told, stream=stream)
    return post(HOSTS[way.protocol], path, json.dumps(body).encode(), headers)


def _address(protocol: str, model: str, *, stream: bool) -> tuple[str, dict[str, str]]:
    """Path and headers of a request."""
    match protocol:
        case "openai_chat":
            return "/v1/chat/completions", {"authorization": "Bearer sk-bench"}
        case "openai_responses":
            return "/v1/responses", {"authorization": "Bearer sk-bench"}
        case "anthropic_messages":
            return "/v1/messages", {"x-api-key": "sk-bench", "anthropic-version": "2023-06-01"}
        case "gemini_generate":
            method = "streamGenerateContent?alt=sse" if stream else "generateContent"
            path = f"/v1beta/models/{model.replace(':', '%3A')}:{method}"
            return path, {"x-goog-api-key": "bench"}
        case _:
            raise ValueError(f"no requests for {protocol}")


async def measure(
    connection: Connection, request: bytes, count: int, proxy: Child | None, tally: Tally
) -> None:
    """`count` requests one after the other, added to the tally."""
    before = proxy.cpu_s() if proxy else 0.0
    for _ in range(count):
        sample = await connection.ask(request)
        if sample.status != 200:
            raise ConnectionError(f"answered {sample.status}: {sample.tail[:400]!r}")
        tally.samples.append(sample)
    if proxy:
        tally.cpu_s += proxy.cpu_s() - before


async def run(arguments: argparse.Namespace, console: Console) -> dict[str, object]:
    """The whole bench. Returns what goes into the JSON file."""
    counts = {
        "small": arguments.small,
        "history": arguments.history,
        "stream": arguments.streams,
        "paced": arguments.paced,
    }
    all_ways = ways(arguments.pairs)
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="llmitm-bench-")))
        sim = stack.enter_context(sim_process(folder / "sim", sorted(set(HOSTS.values()))))
        proxies = {
            "bare": stack.enter_context(bare_proxy(folder / "bare", sim)),
            "llmitm": stack.enter_context(llmitm_proxy(folder / "llmitm", sim)),
        }
        connections: dict[str, Connection] = {}
        for way in all_ways:
            proxy = proxies.get(way.proxy)
            ca = proxy.ca if proxy else sim.ca
            place = Place(
                HOSTS[way.protocol], 443 if proxy else sim.port, proxy and proxy.port, str(ca)
            )
            connections[way.name] = await Connection.open(place)
            stack.push_async_callback(connections[way.name].close)
        tallies = {(way.name, load): Tally() for way in all_ways for load in WORKLOADS}
        requests = {key: request_for(_named(all_ways, key[0]), key[1]) for key in tallies}
        for way in all_ways:
            for load in WORKLOADS:
                await measure(connections[way.name], requests[way.name, load], 3, None, Tally())
        with console.status("measuring …") as status:
            for number in range(arguments.rounds):
                for load in WORKLOADS:
                    for way in all_ways:
                        status.update(f"round {number + 1}/{arguments.rounds}: {load} {way.name}")
                        await measure(
                            connections[way.name],
                            requests[way.name, load],
                            counts[load],
                            proxies.get(way.proxy),
                            tallies[way.name, load],
                        )
            memory = await _memory(arguments, proxies["llmitm"], connections, requests, status)
        rss = {name: proxy.rss_bytes() for name, proxy in proxies.items()}
    return _report(all_ways, tallies, arguments, memory, rss)


def _named(all_ways: Sequence[Way], name: str) -> Way:
    return next(way for way in all_ways if way.name == name)


async def _memory(
    arguments: argparse.Namespace,
    proxy: Child,
    connections: Mapping[str, Connection],
    requests: Mapping[tuple[str, str], bytes],
    status: object,
) -> dict[str, float]:
    """Growth of llmitm's resident memory over many small exchanges, in megabytes."""
    if not arguments.memory:
        return {}
    connection, request = connections["verbatim"], requests["verbatim", "small"]
    await measure(connection, request, min(500, arguments.memory), None, Tally())
    before = proxy.rss_bytes()
    await measure(connection, request, arguments.memory, None, Tally())
    after = proxy.rss_bytes()
    return {
        "exchanges": arguments.memory,
        "before_mb": round(before / MEGABYTE, 1),
        "after_mb": round(after / MEGABYTE, 1),
        "growth_mb": round((after - before) / MEGABYTE, 2),
    }


def _report(
    all_ways: Sequence[Way],
    tallies: Mapping[tuple[str, str], Tally],
    arguments: argparse.Namespace,
    memory: Mapping[str, float],
    rss: Mapping[str, int],
) -> dict[str, object]:
    results = [
        _result(
            way.name,
            load,
            tallies[way.name, load],
            tallies["mitmdump", load],
            tallies["direct", load],
        )
        for load in WORKLOADS
        for way in all_ways
    ]
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}",
        "rounds": arguments.rounds,
        "results": [result.row() for result in results],
        "memory": dict(memory),
        "rss_mb": {name: round(size / MEGABYTE, 1) for name, size in rss.items()},
    }


def _result(way: str, load: str, tally: Tally, bare: Tally, direct: Tally) -> Result:
    totals = sorted(sample.total_s for sample in tally.samples)
    p50, bare_p50, direct_p50 = (
        statistics.median(sample.total_s for sample in each.samples)
        for each in (tally, bare, direct)
    )
    events = EVENTS.get(load, 0)
    paced = load == "paced" and way != "direct"
    return Result(
        way=way,
        workload=load,
        requests=len(totals),
        p50_ms=p50 * 1000,
        p99_ms=totals[min(len(totals) - 1, int(len(totals) * 0.99))] * 1000,
        per_s=len(totals) / sum(totals),
        ttfb_ms=statistics.median(sample.first_s for sample in tally.samples) * 1000,
        event_us=(p50 - direct_p50) / events * 1e6 if events and way != "direct" else None,
        cpu_ms=tally.cpu_s / len(totals) * 1000 if tally.cpu_s else None,
        # A paced stream mostly waits: there the ratio is of what the proxies add.
        ratio=(p50 - direct_p50) / (bare_p50 - direct_p50) if paced else p50 / bare_p50,
        cpu_ratio=tally.cpu_s / bare.cpu_s if tally.cpu_s and bare.cpu_s else None,
    )


def parser() -> argparse.ArgumentParser:
    """The command line of `llmitm bench`."""
    made = argparse.ArgumentParser(prog="llmitm bench", description="cost next to bare mitmdump")
    made.add_argument("--rounds", type=int, default=6, help="rounds (default 6)")
    made.add_argument("--small", type=int, default=200, help="small requests per round and way")
    made.add_argument("--history", type=int, default=12, help="1 MB requests per round and way")
    made.add_argument("--streams", type=int, default=12, help="500-event streams per round and way")
    made.add_argument("--paced", type=int, default=12, help="paced streams per round and way")
    made.add_argument(
        "--memory", type=int, default=10_000, help="exchanges for the memory figure, 0 = none"
    )
    made.add_argument(
        "--pairs",
        type=lambda text: [pair for pair in text.split(",") if pair],
        default=["openai_chat>anthropic_messages", "anthropic_messages>openai_chat"],
        help="`from>to` pairs to translate, with commas between; `all` = every pair",
    )
    made.add_argument("--json", type=Path, help="write the results there")
    return made


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the bench and prints the table. 0 = measured, 1 = something did not answer."""
    arguments = parser().parse_args(argv)
    if arguments.pairs == ["all"]:
        arguments.pairs = [f"{one}>{two}" for one in HOSTS for two in HOSTS if one != two]
    console = Console(stderr=True)
    try:
        with console.status("measuring one megabyte …"):
            alone = {
                "bodies": measured(arguments.pairs),
                "policies": policies(),
                "redaction": redaction(),
            }
        report = asyncio.run(run(arguments, console)) | alone
    except (ConnectionError, OSError, TimeoutError) as error:
        console.print(f"llmitm bench: {error}", style="red")
        return 1
    if arguments.json:
        arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    Console().print(bench_table(report))
    for table in (policies_table(report), pairs_table(report)):
        Console().print(table, markup=False, highlight=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
