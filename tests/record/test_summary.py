"""Totals of a run, and the journal line."""

from __future__ import annotations

import json
from dataclasses import replace

from llmitm.canon.events import Usage
from llmitm.canon.values import Loss
from llmitm.record.journal import journal_line
from llmitm.record.summary import Summary
from llmitm.stages.contract import Account, Trace

ACCOUNT = Account(
    id="x1",
    provider="openai",
    protocol="openai_chat",
    client="aider",
    model="gpt-5",
    target="anthropic:claude",
    lane="translate",
    stream=True,
    status=200,
    started_s=1000.0,
    duration_s=2.0,
    ttft_s=0.5,
    usage=Usage(input_tokens=100, output_tokens=None, raw={"secret": 1}),
    finish="stop",
    tool_calls=("get_weather",),
    error="",
    ended=True,
    attempts=1,
    losses=(Loss("sampling.seed", "/seed", "anthropic_messages"),),
    notes=(),
    trace=(Trace("route", "Forward", "alias", 12.34),),
    request_bytes=10,
    response_bytes=20,
)


def test_an_empty_run_says_so() -> None:
    assert Summary().row() == {
        "exchanges": 0,
        "errors": 0,
        "losses": 0,
        "cost_usd": None,
        "unpriced": 0,
        "models": {},
        "ttft_ms": None,
    }


def test_totals_are_by_the_model_that_answered_and_unknown_is_not_zero() -> None:
    summary = Summary()
    summary.add(ACCOUNT)
    summary.add(replace(ACCOUNT, usage=None, ttft_s=None, status=429, error="limit"))
    row = summary.row()
    assert row["exchanges"] == 2
    assert row["errors"] == 1
    assert row["losses"] == 2
    assert row["models"] == {
        "claude": {"exchanges": 2, "input_tokens": 100, "output_tokens": None, "cost_usd": None}
    }
    assert row["ttft_ms"] == {"p50": 500.0, "max": 500.0}


def test_costs_add_up_and_unknown_ones_are_told() -> None:
    summary = Summary()
    summary.add(replace(ACCOUNT, cost_usd=0.25))
    summary.add(replace(ACCOUNT, cost_usd=0.5))
    summary.add(replace(ACCOUNT, target="p:other", cost_usd=None))
    summary.add(replace(ACCOUNT, usage=None, cost_usd=None))
    row = summary.row()
    assert (row["cost_usd"], row["unpriced"]) == (0.75, 1)
    costs = {name: each["cost_usd"] for name, each in row["models"].items()}
    assert costs == {"claude": 0.75, "other": None}
    assert json.loads(journal_line(ACCOUNT))["cost_usd"] is None
    assert json.loads(journal_line(replace(ACCOUNT, cost_usd=0.25)))["cost_usd"] == 0.25


def test_the_median_is_right_to_a_bucket() -> None:
    summary = Summary()
    for milliseconds in range(1, 1001):
        summary.add(replace(ACCOUNT, ttft_s=milliseconds / 1000))
    latency = summary.row()["ttft_ms"]
    assert latency is not None
    assert 500 <= latency["p50"] <= 500 * 1.13
    assert latency["max"] == 1000


def test_a_flood_of_model_names_takes_no_more_room() -> None:
    summary = Summary()
    for number in range(1000):
        summary.add(replace(ACCOUNT, target=f"p:model-{number}"))
    models = summary.row()["models"]
    assert len(models) == 201
    assert models["(other models)"]["exchanges"] == 800


def test_a_journal_line_is_json_without_the_providers_own_object() -> None:
    line = journal_line(ACCOUNT)
    assert line.endswith(b"\n")
    row = json.loads(line)
    assert row["usage"] == {
        "input_tokens": 100,
        "output_tokens": None,
        "total_tokens": None,
        "cache_read_tokens": None,
        "cache_write_tokens": None,
        "reasoning_tokens": None,
    }
    assert row["losses"][0]["feature"] == "sampling.seed"
    assert row["trace"] == [{"stage": "route", "effect": "Forward", "why": "alias", "us": 12.3}]
    assert b"secret" not in line
