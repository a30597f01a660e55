"""What one megabyte costs the dialects alone: read, patched, translated; no proxy, no socket.

Each figure is the best of several tries, taken in turn with `json.loads` + `json.dumps` of the same
body, in CPU time: what else the machine does hardly counts. Never asserts.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import replace

from llmitm.canon.parts import Text
from llmitm.canon.request import Request
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.mitm.bench_bodies import Shape, body_of, rounds

TRIES = 25


def measured(pairs: Iterable[str], tries: int = TRIES) -> list[dict[str, object]]:
    """One row per shape of body and way: `read` and `patch` per protocol, then every pair.

    pairs: `from>to`. Rows: shape, way (`read openai_chat`, `openai_chat>gemini_generate`),
    body_bytes, messages, ms (read first, then written), ratio to parsing and printing the body.
    """
    targets: dict[str, list[str]] = {}
    for pair in pairs:
        source, _, target = pair.partition(">")
        targets.setdefault(source, []).append(target)
    shapes: tuple[Shape, ...] = ("many", "few")
    return [
        row
        for shape in shapes
        for source, names in targets.items()
        for row in _rows(shape, source, names, tries)
    ]


def _rows(shape: Shape, source: str, targets: list[str], tries: int) -> list[dict[str, object]]:
    wire = body_of(source, "sim-text", rounds(shape), stream=True)
    # As most clients print it: UTF-8, without spaces.
    body = json.dumps(wire, ensure_ascii=False, separators=(",", ":")).encode()
    dialect = DIALECTS[source]

    def read() -> None:
        dialect.decode_request(body)

    def patch() -> None:
        before = dialect.decode_request(body)
        dialect.patch_request(body, before, edited(before), DEFAULT_FACTS)

    def translation(target: str) -> Callable[[], object]:
        encode = DIALECTS[target].encode_request
        return lambda: encode(dialect.decode_request(body), DEFAULT_FACTS)

    ways: dict[str, Callable[[], object]] = {f"read {source}": read, f"patch {source}": patch}
    ways |= {f"{source}>{target}": translation(target) for target in targets}
    messages = len(dialect.decode_request(body).messages)
    rows: list[dict[str, object]] = []
    for way, work in ways.items():
        ms, ratio = _best(work, lambda: json.dumps(json.loads(body)), tries)
        row = {"shape": shape, "way": way, "body_bytes": len(body), "messages": messages}
        rows.append({**row, "ms": round(ms, 2), "ratio": round(ratio, 2)})
    return rows


def _best(
    work: Callable[[], object], yardstick: Callable[[], object], tries: int
) -> tuple[float, float]:
    """(CPU milliseconds of `work`, their ratio to those of `yardstick`), the best of all tries."""
    work_s = yardstick_s = float("inf")
    for _ in range(tries):
        work_s = min(work_s, _cpu_s(work))
        yardstick_s = min(yardstick_s, _cpu_s(yardstick))
    return work_s * 1000, work_s / yardstick_s


def _cpu_s(task: Callable[[], object]) -> float:
    started = time.process_time()
    task()
    return time.process_time() - started


def edited(request: Request) -> Request:
    """The request with one text in the middle changed, as a policy would; others stay the same."""
    messages = list(request.messages)
    for place in range(len(messages) // 2, len(messages)):
        message = messages[place]
        parts = list(message.parts)
        for at, part in enumerate(parts):
            if isinstance(part, Text) and part.at:
                parts[at] = replace(part, text=f"{part.text} Edited.")
                messages[place] = replace(message, parts=tuple(parts))
                return replace(request, messages=tuple(messages))
    return request
