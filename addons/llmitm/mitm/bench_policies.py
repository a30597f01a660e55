"""What every policy of the shipped rules costs by itself, and what redaction costs per megabyte.

In one process, without a proxy or a socket: a policy is asked about a small request of an agent and
shown a streamed answer, in turn with no policy at all, whose time is taken off. Each figure is the
best of several tries, in CPU time. Never asserts.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llmitm.canon.events import End, Event, Finish, PartDelta, PartEnd, PartStart, Start, Usage
from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import Json
from llmitm.exchange.pipeline import NOBODY, Pipeline, Step
from llmitm.mitm.bench_bodies import LINE, MEGABYTE
from llmitm.mitm.rulebook import Kept, build_house
from llmitm.record.ram_memory import RamMemory
from llmitm.ruleset.loading import load
from llmitm.stages.contract import Turn

TRIES = 15
PIECES: dict[str, int] = {"200 bytes": 200, "2 KB": 2_000, "whole": MEGABYTE}
"""How a prompt of a megabyte is cut into messages."""

_REQUESTS = 40
_SECRET = "redact, a secret in the prompt"  # noqa: S105
_ALL = "all of them"
_SALT_BYTES = 32
_CALLS = 5
_DELTAS = 400


type Task = Callable[[], object]
type Ready = Callable[[], Task]
"""Makes a task ready anew for each try: what is kept of an exchange belongs to one turn."""


@dataclass(frozen=True, slots=True)
class Case:
    """Some policies and a request to ask them about."""

    name: str
    steps: tuple[Step, ...]
    request: Request


def policies(tries: int = TRIES) -> list[dict[str, object]]:
    """A row per policy: name, request_us (per small request), event_us (per streamed event).

    event_us: None where the policy does not look at the answer of such a turn.
    """
    steps = _steps()
    request, secret = small_request(), small_request(f"The key is sk-{os.urandom(24).hex()}.")
    cases = [Case(step.stage.name, (step,), request) for step in steps]
    redact = tuple(step for step in steps if step.stage.name == "redact")
    cases += [Case(_SECRET, redact, secret), Case(_ALL, steps, request)]
    nothing = Case("", (), request)
    events = answer()
    rows: list[dict[str, object]] = []
    for case in cases:
        asked_us = _beside(_asking(case), _asking(nothing), tries) / _REQUESTS
        seen_us: float | None = None
        if _watches(case):
            seen_us = _beside(_showing(case, events), _showing(nothing, events), tries)
            seen_us = round(seen_us / len(events), 2)
        rows.append({"policy": case.name, "request_us": round(asked_us, 1), "event_us": seen_us})
    return rows


def redaction(tries: int = TRIES) -> list[dict[str, object]]:
    """A row per size of the pieces that a prompt comes in: pieces, messages, ms_per_mb."""
    redact = tuple(step for step in _steps() if step.stage.name == "redact")
    text = LINE * (MEGABYTE // len(LINE.encode()))
    rows: list[dict[str, object]] = []
    for name, size in PIECES.items():
        cut = [text[at : at + size] for at in range(0, len(text), size)]
        messages = tuple(Message(role="user", parts=(Text(text=piece),)) for piece in cut)
        pipeline = Pipeline(redact, time.perf_counter)
        request = Request(dialect="openai_chat", model="m", messages=messages)
        tasks = [lambda p=pipeline, r=request: p.on_request(_turn(), r)] * tries
        best = min(map(_cpu_us, tasks))
        per_mb = best / 1000 / (len(text.encode()) / MEGABYTE)
        rows.append({"pieces": name, "messages": len(cut), "ms_per_mb": round(per_mb, 2)})
    return rows


def small_request(says: str = "Now look at the tests.") -> Request:
    """A turn of an agent: instructions, a few messages, a tool call with its result."""
    call = ToolCall(id="call_1", name="bash", arguments='{"command": "ls -la src"}')
    schema: dict[str, Json] = {"type": "object", "properties": {"command": {"type": "string"}}}
    return Request(
        dialect="openai_chat",
        model="gpt-5",
        instructions=(Text(text=LINE * 4),),
        messages=(
            Message(role="user", parts=(Text(text=LINE),)),
            Message(role="assistant", parts=(Text(text="I look at it."), call)),
            Message(
                role="tool", parts=(ToolResult(call_id="call_1", parts=(Text(text=LINE * 3),)),)
            ),
            Message(role="user", parts=(Text(text=says),)),
        ),
        tools=(Tool(name="bash", description="Runs a command.", parameters=schema),),
        stream=True,
    )


def answer() -> list[Event]:
    """A streamed answer: prose in small pieces, then calls whose arguments come in pieces too."""
    events: list[Event] = [Start(id="a", model="gpt-5"), PartStart(0, Text(text=""))]
    events += [PartDelta(0, "text", f"word{n * 7919 % 997} ") for n in range(_DELTAS)]
    events.append(PartEnd(0))
    for n in range(1, _CALLS + 1):
        command = f"cd src/part{n} && grep -rn 'def name_{n}' . | sort | head -{n * 10}"
        arguments = json.dumps({"command": command})
        events.append(PartStart(n, ToolCall(id=f"call_{n}", name="bash", arguments="")))
        events += [
            PartDelta(n, "arguments", arguments[at : at + 4]) for at in range(0, len(arguments), 4)
        ]
        events.append(PartEnd(n))
    return [*events, Finish("tool_calls"), Usage(input_tokens=9, output_tokens=9), End()]


def _steps() -> tuple[Step, ...]:
    """The shipped pipeline, with two keys to look for."""
    keys = {name: os.urandom(24).hex() for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY")}
    kept = Kept(RamMemory(os.urandom(_SALT_BYTES)))
    return build_house(load("", keys), kept, observe=False).pipeline.steps


def _turn() -> Turn:
    return Turn(
        id="bench",
        provider="openai",
        protocol="openai_chat",
        client="",
        model="gpt-5",
        started_s=time.time(),
        scope=os.urandom(8),
    )


def _asking(case: Case) -> Ready:
    pipeline = Pipeline(case.steps, time.perf_counter)

    def ready() -> Task:
        turns = [_turn() for _ in range(_REQUESTS)]
        return lambda: [pipeline.on_request(turn, case.request) for turn in turns]

    return ready


def _watches(case: Case) -> bool:
    pipeline = Pipeline(case.steps, time.perf_counter)
    return pipeline.on_request(_turn(), case.request).watching is not NOBODY


def _showing(case: Case, events: Sequence[Event]) -> Ready:
    pipeline = Pipeline(case.steps, time.perf_counter)

    def ready() -> Task:
        turn = _turn()
        watching = pipeline.on_request(turn, case.request).watching
        return lambda: [watching.on_events(turn, (event,)) for event in events]

    return ready


def _beside(work: Ready, nothing: Ready, tries: int) -> float:
    """CPU microseconds of `work` above those of `nothing`, the best of each; never below 0."""
    best = [float("inf"), float("inf")]
    for _ in range(tries):
        for place, each in enumerate((work, nothing)):
            best[place] = min(best[place], _cpu_us(each()))
    return max(best[0] - best[1], 0.0)


def _cpu_us(task: Task) -> float:
    started = time.process_time()
    task()
    return (time.process_time() - started) * 1e6
