"""One exchange under way: what it is, how it is steered, and what its flow says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

from llmitm.exchange.exchange import Exchange
from llmitm.exchange.wire import WireRequest
from llmitm.mitm import stream_contract as stream
from llmitm.mitm.answer_tap import AnswerTap
from llmitm.mitm.requests import http_response

PROTOCOLS = "llmitm_protocols"
"""Flow metadata: `[protocol of flow.request, protocol of flow.response]`."""
ORIGINAL = "llmitm_original"
"""Flow metadata: the client's request body where another one was sent, decoded, with its protocol
and model: `{"protocol", "model", "body"}`."""
CONVERSATION = "llmitm_conversation"
"""Flow metadata: the key of the conversation in the memory, empty = none was looked for."""


@dataclass(slots=True)
class Running:
    """One exchange under way."""

    exchange: Exchange
    wire: WireRequest
    tap: AnswerTap
    steering: stream.Steering | None = None
    aimed: bool = False
    secrets: dict[str, str] = field(default_factory=dict[str, str], repr=False)

    def sending_plan(self, keep_bytes: int) -> stream.Plan:
        """How its first attempt is steered."""
        if self.exchange.may_retry:
            plan = self.waiting_plan()
            plan.ttfb_s = self.ttfb_s()
        else:
            plan = stream.Plan(tap=self.tap, secrets=self.secrets)
            if self.exchange.turn.keeps_back:
                plan.heartbeat_s = self.exchange.house.ruleset.routes.times.keepalive_interval_s
        plan.keep_bytes = keep_bytes
        return plan

    def waiting_plan(self) -> stream.Plan:
        """How a client is kept alive while nothing comes for it."""
        exchange = self.exchange
        plan = stream.Plan(tap=self.tap, secrets=self.secrets)
        if exchange.wants_stream:
            times = exchange.house.ruleset.routes.times
            plan.open_head = http_response(200, exchange.answers.stream_headers, b"")
            plan.open_after_s = times.heartbeat_grace_s
            plan.heartbeat_s = times.keepalive_interval_s
        return plan

    def ttfb_s(self) -> float | None:
        """How long this attempt may take to begin; None = for ever, when it is the last one."""
        exchange = self.exchange
        if not exchange.may_retry or exchange.outgoing is None:
            return None
        ruleset = exchange.house.ruleset
        return ruleset.ttfb_timeout_s(exchange.outgoing.provider, exchange.wants_stream)
