"""What does `llmitm run` say at the end? Text for standard error, plain, a few lines."""

from __future__ import annotations

from llmitm.record.summary import SummaryRow
from llmitm.stages.announce import cost

NOTHING = """\
llmitm: nothing was intercepted. Check that
  - the command talks to a host of rules/providers.yaml (llmitm rules show),
  - it obeys HTTPS_PROXY (Node programs: 22.21 or newer), and NO_PROXY does not name that host,
  - it was not handed over to a process that had already been started without this environment.
"""


def report(summary: SummaryRow | None) -> str:
    """The closing lines. summary: None = the proxy left none."""
    if summary is None:
        return "llmitm: the proxy left no summary\n"
    if summary["exchanges"] == 0:
        return NOTHING
    latency = summary["ttft_ms"]
    parts = [
        _count(summary["exchanges"], "exchange"),
        _count(summary["errors"], "error"),
        *([_count(summary["losses"], "loss", "losses")] if summary["losses"] else []),
    ]
    if summary["cost_usd"] is not None or summary["unpriced"]:
        parts.append(_cost(summary["cost_usd"], summary["unpriced"]))
    if latency is not None:
        parts.append(f"first token after {_time(latency['p50'])} (at most {_time(latency['max'])})")
    lines = [f"llmitm: {', '.join(parts)}"]
    models = [(_safe(name), row) for name, row in summary["models"].items()]
    rows = sorted(models, key=lambda item: -item[1]["exchanges"])
    width = max((len(name) for name, _ in rows), default=0)
    for name, row in rows:
        tokens = f"{_tokens(row['input_tokens'])} in, {_tokens(row['output_tokens'])} out"
        if row["cost_usd"] is not None:
            tokens += f", {cost(row['cost_usd'])}"
        lines.append(f"  {name:<{width}}  {row['exchanges']:>4} x  {tokens}")
    return "\n".join(lines) + "\n"


def _safe(name: str) -> str:
    """A name as the client sent it, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)[:80]


def _count(number: int, one: str, many: str = "") -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _cost(usd: float | None, unpriced: int) -> str:
    """`$0.0123`, and of how many answers that does not tell."""
    if usd is None:
        return "cost unknown"
    return f"{cost(usd)} ({unpriced} of unknown cost)" if unpriced else cost(usd)


def _tokens(number: int | None) -> str:
    return "unknown" if number is None else f"{number:,}"


def _time(ms: float) -> str:
    return f"{ms / 1000:.1f} s" if ms >= 1000 else f"{ms:.0f} ms"
