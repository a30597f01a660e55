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


def _short(way: str) -> str:
    """`chat→anthr` for `openai_chat>anthropic_messages`."""
    source, arrow, target = way.partition(">")
    if not arrow:
        return way
    return f"{_SHORT.get(source, source)}→{_SHORT.get(target, target)}"


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2}f}"
