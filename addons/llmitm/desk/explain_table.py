"""What `llmitm explain` found, for people: the request, the stages, the attempts, the limits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_EFFECTS = {"refuse": "red", "answer": "cyan", "off": "dim", "not run": "dim"}
_LANES = {"verbatim": "green", "patch": "yellow", "translate": "magenta"}

_LIMITS = (
    (
        "attempts",
        "at most {max_failover_hops} after the first, {total_timeout_budget_s:g} s in all",
    ),
    (
        "first byte",
        "{ttfb_timeout_s:g} s of a stream, {answer_timeout_s:g} s of a whole answer; the last "
        "attempt has no limit",
    ),
    (
        "waiting",
        "at most {max_silent_wait_s:g} s for an instance that rests, at least "
        "{min_retry_wait_s:g} s; heartbeats after {heartbeat_grace_s:g} s, then each "
        "{keepalive_interval_s:g} s",
    ),
    (
        "rests",
        "{rate_limit_cooldown_s:g} s after a 429 that names no time, at most {max_rest_s:g} s; a "
        "refused key {key_set_aside_s:g} s",
    ),
)


def explain_table(report: Mapping[str, Any]) -> RenderableType:
    """The whole report; a title a section, empty sections left out."""
    parts: list[RenderableType] = [_request(report["request"]), Text(), _stages(report["stages"])]
    if report["answered_here"] is not None:
        parts += [Text(), _title("answered here, nothing is sent")]
        parts.append(Text(_safe(report["answered_here"]), style="cyan"))
    if report["attempts"]:
        parts += [Text(), _attempts(report)]
    if report["left_out"]:
        parts += [Text(), _title("left out")]
        parts += [
            Text(f"  {_safe(row['target'])}: {_safe(row['why'])}") for row in report["left_out"]
        ]
    parts += [Text(_safe(f"note: {note}"), style="dim") for note in report["notes"]]
    if report["attempts"]:
        parts += [Text(), *_fate(report)]
    if report["error"] is not None:
        parts += [Text(), *_error(report["error"])]
    return Group(*parts)


def _title(text: str) -> Text:
    return Text(text, style="bold")


def _request(row: Mapping[str, Any]) -> RenderableType:
    told = [
        f"{row['protocol']}, {'streamed' if row['stream'] else 'in one piece'}",
        f"the client's key is {'its own' if row['key'] == 'own' else 'replaced by a stored one'}",
        *([f"client {row['client']}"] if row["client"] else []),
    ]
    text = Text("a client asks ", style="bold")
    text.append(_safe(row["provider"]), style="cyan")
    text.append(" for ")
    text.append(_safe(row["model"]) or "a model that cannot be read", style="cyan")
    return Group(text, Text(_safe(f"  {row['url']}\n  {', '.join(told)}"), overflow="fold"))


def _stages(rows: list[Mapping[str, Any]]) -> RenderableType:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for name in ("stage", "effect"):
        table.add_column(name, no_wrap=True)
    table.add_column("why", overflow="fold")
    for row in rows:
        where = f"  [{row['where']}]" if row["where"] else ""
        table.add_row(
            Text(f"  {row['stage']}"),
            Text(row["effect"], style=_EFFECTS.get(row["effect"], "")),
            Text(_safe((row["why"] or "–") + where)),
        )
    return Group(_title("stages"), table)


def _attempts(report: Mapping[str, Any]) -> RenderableType:
    order = "all at once" if report["race"] else "in this order, until one answers"
    return Group(
        _title(f"attempts, {order}"),
        *(_attempt(number, row) for number, row in enumerate(report["attempts"], 1)),
    )


def _attempt(number: int, row: Mapping[str, Any]) -> RenderableType:
    text = Text(f"{number:>3}  ")
    text.append(_safe(row["label"]), style="bold cyan")
    if row["lane"]:
        text.append(f"  {row['lane']}", style=_LANES.get(row["lane"], ""))
        text.append(f"  {row['protocol']}")
    return Group(text, _named_lines(_lines(row), "     "))


def _named_lines(rows: Iterable[tuple[str, str]], margin: str) -> Table:
    """Names in one column, what is said of each in another that folds."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, line in rows:
        style = {"problem": "red", "lost": "yellow"}.get(name, "")
        table.add_row(Text(f"{margin}{name}"), Text(_safe(line), style=style))
    return table


def _lines(row: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if row["problem"]:
        yield "problem", row["problem"]
    if row["url"]:
        yield "to", row["url"]
        limit = row["first_byte_s"]
        yield "key", row["key"]
        if limit is not None:
            yield "limit", f"first byte within {limit:g} s"
    for why in row["why"]:
        yield "why", why
    for change in row["changes"]:
        yield "changed", change
    for loss in row["losses"]:
        name = "lost" if loss["how"] == "dropped" else "adapted"
        yield name, " ".join(word for word in (loss["feature"], loss["path"], loss["say"]) if word)


def _fate(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    limits: Mapping[str, Any] = report["limits"]
    yield _title("when all fail")
    yield Text(_safe(f"  {report['when_all_fail']}"))
    yield _title("limits")
    if not limits["enabled"]:
        yield Text("  failover is off: the first failure is the answer")
    yield _named_lines(_limit_lines(limits), "  ")
    yield Text(
        "  Who rests now, and which instance holds a conversation, only a running proxy knows "
        "(llm.instances, llm.settings).",
        style="dim",
    )


def _limit_lines(limits: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, form in _LIMITS:
        yield name, form.format_map(limits)
    breaker = limits["breaker"]
    if breaker["enabled"]:
        failures, rest_s = breaker["failure_threshold"], breaker["open_cooldown_s"]
        yield "breaker", f"{failures} failures in a row, then {rest_s:g} s of rest"
    if limits["losses"] == "refuse":
        yield "losses", "refused: what would lose something is not sent"
    if limits["duplicates"] != "off":
        yield "duplicates", limits["duplicates"]


def _error(row: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield _title(f"the client gets an error: {row['status']} {row['code']}")
    yield Text(_safe(f"  {row['message']}"), style="red")
    if row["selector"] is not None:
        yield Text(_safe(f"  {row['selector']}"), no_wrap=True, overflow="ignore")
        before = cell_len(_safe(row["selector"][: row["at"] - 1]))
        yield Text(" " * (before + 2) + "^", style="red", no_wrap=True, overflow="ignore")


def _safe(text: str) -> str:
    """The text without what a terminal would obey; line ends stay."""
    return "".join(each if each.isprintable() or each == "\n" else "?" for each in text)
