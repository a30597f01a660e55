"""The closing lines of a run: what it cost, and how much of that is not known."""

from __future__ import annotations

import pytest

from llmitm.mitm.run_report import report
from llmitm.record.summary import ModelTotals, SummaryRow


def summary(cost_usd: float | None, unpriced: int) -> SummaryRow:
    model = ModelTotals(exchanges=3, input_tokens=1200, output_tokens=None, cost_usd=cost_usd)
    return SummaryRow(
        exchanges=3,
        errors=0,
        losses=0,
        cost_usd=cost_usd,
        unpriced=unpriced,
        models={"gpt-5": model},
        ttft_ms=None,
    )


@pytest.mark.parametrize(
    ("cost_usd", "unpriced", "head", "row"),
    [
        (0.01234, 0, "3 exchanges, 0 errors, $0.0123", "1,200 in, unknown out, $0.0123"),
        (
            0.5,
            2,
            "3 exchanges, 0 errors, $0.5000 (2 of unknown cost)",
            "1,200 in, unknown out, $0.5000",
        ),
        (None, 3, "3 exchanges, 0 errors, cost unknown", "1,200 in, unknown out"),
        (None, 0, "3 exchanges, 0 errors", "1,200 in, unknown out"),
    ],
)
def test_what_it_cost(cost_usd: float | None, unpriced: int, head: str, row: str) -> None:
    lines = report(summary(cost_usd, unpriced)).splitlines()
    assert lines == [f"llmitm: {head}", f"  gpt-5     3 x  {row}"]
