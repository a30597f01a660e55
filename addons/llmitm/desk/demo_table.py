"""The demo on a terminal: scenes as they are played, and what was recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.console import RenderableType
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text


@dataclass(slots=True)
class SceneRow:
    """One scene's state. wrong: what did not come out as scripted, empty = nothing (yet)."""

    title: str
    wrong: str = ""
    answer: str = ""
    detail: str = ""
    started_s: float | None = None
    ended_s: float | None = None

    def begin(self, now_s: float) -> None:
        """The client starts."""
        self.started_s = now_s

    def end(self, now_s: float, said: Mapping[str, Any], wrong: str) -> None:
        """The client ended: said is its line, empty when it had none."""
        self.ended_s = now_s
        self.wrong = wrong
        if not said:
            return
        self.answer = str(said.get("text") or "")
        usage: Mapping[str, Any] = said.get("usage") or {}
        calls = ", ".join(str(call["name"]) for call in said.get("tool_calls") or ())
        facts = [
            f"called {calls}" if calls else "",
            f"{said.get('chunks')} chunks" if said.get("chunks") else "",
            f"first after {said['first_byte_ms']:.0f} ms" if said.get("first_byte_ms") else "",
            f"{usage.get('input')}→{usage.get('output')} tokens" if usage else "",
        ]
        self.detail = " · ".join(fact for fact in facts if fact)


def scene_table(rows: Sequence[SceneRow]) -> RenderableType:
    """The scenes: played, playing, to come."""
    table = Table(title="llmitm: LLM in the middle", show_header=False, expand=False)
    table.add_column(width=2)
    table.add_column(overflow="fold")
    table.add_column(justify="right")
    for row in rows:
        table.add_row(_mark(row), _scene(row), _seconds(row))
    return table


def _mark(row: SceneRow) -> RenderableType:
    if row.started_s is None:
        return Text("·", style="dim")
    if row.ended_s is None:
        return Spinner("dots")
    return Text("✗", style="red") if row.wrong else Text("✓", style="green")


def _scene(row: SceneRow) -> Text:
    text = Text(row.title, style="" if row.started_s is not None else "dim")
    if row.answer:
        text.append(f"\n  “{row.answer}”", style="cyan")
    if row.detail:
        text.append(f"\n  {row.detail}", style="dim")
    if row.wrong:
        text.append(f"\n  {row.wrong}", style="red")
    return text


def _seconds(row: SceneRow) -> str:
    if row.started_s is None or row.ended_s is None:
        return ""
    return f"{row.ended_s - row.started_s:.1f} s"


def recorded_table(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """What the journal holds, a row an exchange. Fits eighty columns."""
    table = Table(title="what was recorded", pad_edge=False)
    for name in ("asked in, for", "lane, answered by"):
        table.add_column(name, overflow="fold")
    for name in ("tries", "tokens", "ttft", "losses"):
        table.add_column(name, justify="right")
    for row in rows:
        usage: Mapping[str, Any] = row["usage"] or {}
        ttft_s = row["ttft_s"]
        table.add_row(
            f"{row['protocol']}\n{row['model']}",
            f"{row['lane']}\n{row['target']}",
            str(row["attempts"]),
            f"{_known(usage.get('input_tokens'))}→{_known(usage.get('output_tokens'))}",
            "–" if ttft_s is None else f"{ttft_s * 1000:.0f} ms",
            str(len(row["losses"])),
        )
    return table


def _known(count: int | None) -> str:
    return "?" if count is None else str(count)
