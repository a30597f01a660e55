"""The end of an exchange: its account, and what it teaches about its instance and conversation."""

from __future__ import annotations

from llmitm.exchange.exchange import Exchange
from llmitm.ruleset.models import cost_usd
from llmitm.stages.contract import Account


def close(exchange: Exchange, status: int, error: str = "") -> Account:
    """The account of the exchange. status: what the client got; error: why it broke off."""
    meter, out = exchange.meter, exchange.outgoing
    first_s = meter.first_content_s
    _settle(exchange, status, error)
    return Account(
        id=exchange.turn.id,
        provider=exchange.turn.provider,
        protocol=exchange.turn.protocol,
        client=exchange.turn.client,
        model=exchange.turn.model,
        target=out.label if out else "",
        lane="local" if exchange.local or out is None else out.lane,
        stream=exchange.wants_stream,
        status=status,
        started_s=exchange.turn.started_s,
        duration_s=exchange.house.clock() - exchange.opened_s,
        ttft_s=None if first_s is None else first_s - exchange.opened_s,
        usage=meter.usage,
        finish=meter.finish,
        tool_calls=tuple(meter.tool_calls),
        error=error or (meter.fault.message if meter.fault else ""),
        ended=not error and (meter.ended or bool(meter.finish)),
        attempts=exchange.attempts.count if exchange.attempts else 0,
        losses=tuple(exchange.losses),
        notes=tuple(exchange.notes),
        trace=tuple(exchange.trace),
        request_bytes=len(exchange.incoming.wire.body),
        response_bytes=exchange.response_bytes,
        response_id=meter.response_id,
        cost_usd=_cost_usd(exchange),
    )


def _cost_usd(exchange: Exchange) -> float | None:
    """By the price of the model that was asked, or as the provider names the one that answered."""
    usage, out = exchange.meter.usage, exchange.outgoing
    if usage is None or out is None or exchange.local:
        return None
    models = exchange.house.ruleset.models
    return cost_usd(usage, models.price(out.model) or models.price(exchange.meter.model))


def _settle(exchange: Exchange, status: int, error: str) -> None:
    """What this exchange teaches about its instance and its conversation."""
    attempts = exchange.attempts
    if attempts is None or attempts.current is None or not exchange.managed:
        return
    now_s = exchange.house.clock()
    if error or exchange.meter.fault is not None or not 200 <= status < 300:
        attempts.left(now_s)
        return
    attempts.answered(now_s)
    out = exchange.outgoing
    stateful = out is not None and out.protocol == exchange.turn.protocol == "openai_responses"
    if exchange.meter.signed or stateful:
        exchange.turn.conversation.holder = attempts.current.instance.label
