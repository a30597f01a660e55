"""Puts a one-line account of each exchange where an operator sees it: the flow list.

Answers the question "what was this?": who asked whom for what, how it ended, what it cost.
Never changes traffic.
"""

from __future__ import annotations

from llmitm.canon.request import Request
from llmitm.stages.contract import Account, Forward, Stage, Turn

_ARROW = {"verbatim": "=", "patch": "~", "translate": "→", "local": "•"}


class Announce(Stage):
    """The account of an exchange as a line."""

    name = "announce"

    def on_request(self, turn: Turn, request: Request) -> Forward:
        """While it runs: client, model and size of the conversation."""
        client = f"{turn.client} " if turn.client else ""
        return Forward(
            comment=f"{client}{turn.protocol} {turn.model} · {len(request.messages)} messages …",
            why="shown",
        )

    def on_close(self, turn: Turn, account: Account) -> str:
        """When it is over: the account as one line."""
        return account_line(account)


def account_line(account: Account) -> str:
    """`codex openai_responses gpt-5 = openai:gpt-5 · 1200→340 tok · $0.0049 · ttft 0.4s · stop`.

    `=` verbatim, `~` patched, `→` translated, `•` answered here.
    """
    route = _ARROW[account.lane]
    if account.target:
        route += f" {account.target}"
    words = [word for word in (account.client, account.protocol, account.model, route) if word]
    facts = [" ".join(words)]
    usage = account.usage
    if usage is not None and (usage.input_tokens is not None or usage.output_tokens is not None):
        cached = f" ({usage.cache_read_tokens} cached)" if usage.cache_read_tokens else ""
        facts.append(f"{_count(usage.input_tokens)}{cached}→{_count(usage.output_tokens)} tok")
    if account.cost_usd is not None:
        facts.append(cost(account.cost_usd))
    if account.ttft_s is not None:
        facts.append(f"ttft {account.ttft_s:.2f}s")
    facts.append(f"{account.duration_s:.2f}s")
    if account.tool_calls:
        facts.append("calls " + ", ".join(account.tool_calls))
    if account.finish:
        facts.append(account.finish)
    if account.attempts > 1:
        facts.append(f"{account.attempts} attempts")
    if account.losses:
        facts.append(f"{len(account.losses)} losses")
    if account.error:
        facts.append(f"ERROR {account.status} {account.error}"[:160])
    return " · ".join(facts)


def cost(usd: float) -> str:
    """`$0.0123`; what is too small to be seen so is `<$0.0001`, never nothing."""
    return "<$0.0001" if 0 < usd < 0.0001 else f"${usd:.4f}"


def _count(tokens: int | None) -> str:
    return "?" if tokens is None else str(tokens)
