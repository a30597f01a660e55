"""The line an operator sees."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmitm.canon.events import Usage
from llmitm.stages.announce import account_line
from llmitm.stages.contract import Account

PLAIN = Account(
    id="x1",
    provider="openai",
    protocol="openai_chat",
    client="",
    model="gpt-5",
    target="openai:gpt-5",
    lane="verbatim",
    stream=True,
    status=200,
    started_s=0,
    duration_s=2.0,
    ttft_s=None,
    usage=None,
    finish="stop",
    tool_calls=(),
    error="",
    ended=True,
    attempts=1,
    losses=(),
    notes=(),
    trace=(),
    request_bytes=0,
    response_bytes=0,
)


@pytest.mark.parametrize(
    ("account", "line"),
    [
        (PLAIN, "openai_chat gpt-5 = openai:gpt-5 · 2.00s · stop"),
        (
            replace(
                PLAIN,
                client="codex",
                lane="translate",
                target="anthropic:claude",
                ttft_s=0.25,
                usage=Usage(input_tokens=10, output_tokens=5, cache_read_tokens=8),
                tool_calls=("bash", "read"),
                attempts=2,
            ),
            "codex openai_chat gpt-5 → anthropic:claude · 10 (8 cached)→5 tok · ttft 0.25s"
            " · 2.00s · calls bash, read · stop · 2 attempts",
        ),
        (
            replace(PLAIN, lane="local", target="", status=400, error="bad selector", finish=""),
            "openai_chat gpt-5 • · 2.00s · ERROR 400 bad selector",
        ),
        (
            replace(PLAIN, usage=Usage(input_tokens=9, output_tokens=5), cost_usd=0.01234),
            "openai_chat gpt-5 = openai:gpt-5 · 9→5 tok · $0.0123 · 2.00s · stop",
        ),
        (
            replace(PLAIN, cost_usd=0.00001),
            "openai_chat gpt-5 = openai:gpt-5 · <$0.0001 · 2.00s · stop",
        ),
        (
            replace(PLAIN, usage=Usage(output_tokens=5)),
            "openai_chat gpt-5 = openai:gpt-5 · ?→5 tok · 2.00s · stop",
        ),
    ],
)
def test_an_account_as_one_line(account: Account, line: str) -> None:
    assert account_line(account) == line
