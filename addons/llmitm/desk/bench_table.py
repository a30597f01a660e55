"""The bench's results as a table for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_SHORT = {
    "openai_chat": "chat",
    "openai_responses": "resp",
    "anthropic_messages": "anthr",
    "gemini_generate": "gemini",
}

_SHAPES = ("many", "few")
"""Of a 1 MB body: a history of many small items, or a few long ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One way and workload. ratio, cpu_ratio: to bare mitmdump's median and CPU in the same run;
    for paced streams the ratio of what is added to the direct way. event_us: microseconds added
    per streamed event, None for whole answers; None = not measured."""

    way: str
    workload: str
    requests: int
    p50_ms: float
    p99_ms: float
    per_s: float
    ttfb_ms: float
    event_us: float | None
    cpu_ms: float | None
    ratio: float
    cpu_ratio: float | None

    def row(self) -> dict[str, object]:
        """As JSON, rounded to what was measured."""
        return {
            name: round(value, 3) if isinstance(value, float) else value
            for name, value in asdict(self).items()
        }


def bench_table(report: Mapping[str, Any]) -> RenderableType:
    """The table, the memory line, and where it was measured."""
    table = Table(title=f"{report['date']}, {report['machine']}, {report['rounds']} rounds")
    table.pad_edge = False
    table.add_column("ms", no_wrap=True)
    for name in ("p50", "p99", "req/s", "ttfb", "µs/ev", "cpu", "×bare", "×cpu"):
        table.add_column(name, justify="right", no_wrap=True)
    workload = ""
    for row in report["results"]:
        if row["workload"] != workload:
            workload = row["workload"]
            table.add_section()
            table.add_row(Text(workload, style="bold"))
        table.add_row(
            "  " + _short(row["way"]),
            *(
                _number(row[name])
                for name in ("p50_ms", "p99_ms", "per_s", "ttfb_ms", "event_us", "cpu_ms")
            ),
            _number(row["ratio"]),
            _number(row["cpu_ratio"]),
        )
    lines: list[RenderableType] = [table]
    memory = report["memory"]
    if memory:
        lines.append(
            Text(
                f"memory: {memory['growth_mb']} MB more after {memory['exchanges']} exchanges "
                f"({memory['before_mb']} → {memory['after_mb']} MB)"
            )
        )
    lines.append(Text("resident: " + ", ".join(f"{k} {v} MB" for k, v in report["rss_mb"].items())))
    return Group(*lines)


def pairs_table(report: Mapping[str, Any]) -> str:
    """What translating costs, a row per dialect pair, as a Markdown table; empty without bodies.

    report: as `bench_table`'s, with `bodies`: rows of a 1 MB body's shape, way, ms and ratio.
    """
    bodies: list[Mapping[str, Any]] = report.get("bodies", [])
    if not bodies:
        return ""
    results: list[Mapping[str, Any]] = report["results"]
    streams = {row["way"]: row for row in results if row["workload"] == "stream"}
    shapes = {
        shape: {row["way"]: row for row in bodies if row["shape"] == shape} for shape in _SHAPES
    }
    lines = [
        "| | µs per event | × bare | 1 MB in many items, ms | × json | in few, ms | × json |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for way in dict.fromkeys(row["way"] for row in bodies):
        stream = streams.get(way, {})
        cells = [stream.get("event_us"), stream.get("ratio")]
        for shape in _SHAPES:
            row = shapes[shape].get(way, {})
            cells += [row.get("ms"), row.get("ratio")]
        lines.append(f"| {_short(way)} | {' | '.join(map(_number, cells))} |")
    return "\n".join(lines)


def policies_table(report: Mapping[str, Any]) -> str:
    """What each policy costs, and redaction per megabyte of prompt, as two Markdown tables.

    report: as `bench_table`'s, with `policies` (rows of policy, request_us, event_us) and
    `redaction` (rows of pieces, messages, ms_per_mb); empty without.
    """
    if not report.get("policies"):
        return ""
    lines = ["| policy | µs per small request | µs per streamed event |", "|---|---:|---:|"]
    for row in report["policies"]:
        cells = (_number(row["request_us"]), _number(row["event_us"]))
        lines.append(f"| {row['policy']} | {' | '.join(cells)} |")
    lines += ["", "| a prompt of 1 MB in pieces of | messages | redaction, ms per MB |"]
    lines.append("|---|---:|---:|")
    lines += [
        f"| {row['pieces']} | {row['messages']:,} | {_number(row['ms_per_mb'])} |"
        for row in report["redaction"]
    ]
    return "\n".join([*lines, ""])


def _short(way: str) -> str:
    """`chat→anthr` for `openai_chat>anthropic_messages`, `read chat` for `read openai_chat`."""
    source, arrow, target = way.partition(">")
    if not arrow:
        verb, _, name = way.rpartition(" ")
        return f"{verb} {_SHORT[name]}" if verb and name in _SHORT else way
    return f"{_SHORT.get(source, source)}→{_SHORT.get(target, target)}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
