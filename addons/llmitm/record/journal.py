"""One JSON line per finished exchange: who, what, how it ended, what it cost, what was lost.

Holds no message text, no headers, no keys. Field names are stable; unknown numbers are null
(`cost_usd` too: a price that is not known is not nothing).
"""

from __future__ import annotations

from dataclasses import asdict

from pydantic_core import to_json

from llmitm.stages.contract import Account


def journal_line(account: Account) -> bytes:
    """The account as one line of JSON, with its newline."""
    row = asdict(account)
    if account.usage is not None:
        # The provider's own object is opaque and may hold anything.
        row["usage"].pop("raw")
    row["trace"] = [
        {"stage": each.stage, "effect": each.effect, "why": each.why, "us": round(each.cost_us, 1)}
        for each in account.trace
    ]
    return to_json(row) + b"\n"
