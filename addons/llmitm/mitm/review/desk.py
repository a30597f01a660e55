"""The desk: holds exchanges for an operator, and sees to it that each of them goes on.

    desk.hold_request(holding, hold)    # a request, before it leaves
    desk.hold_answer(holding, hold)     # something of an answer, before the client gets it
    desk.over(exchange_id, why)         # the exchange has ended, however

What is held is marked in mitmproxy's own list and is resumed, edited and killed there as anything
mitmproxy intercepts; who decides first wins. Never: decides.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256

from mitmproxy import ctx, exceptions, http
from mitmproxy.addons.view import View
from mitmproxy.flow import Flow
from mitmproxy.hooks import UpdateHook
from mitmproxy.utils import asyncio_utils

from llmitm.desk.cards import Card, Kind
from llmitm.desk.client_gate import ClientGate, client_gate
from llmitm.desk.edits import check, document_of
from llmitm.desk.held import Entry, ReviewLimits
from llmitm.desk.messages import Checked
from llmitm.desk.queue import Queue
from llmitm.desk.review_error import ReviewError
from llmitm.desk.turn_difference import Turns
from llmitm.errors import RuleError
from llmitm.exchange.choosing import size_in_tokens
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.repeats import request_key
from llmitm.mitm.home import state_folder
from llmitm.mitm.review.holding import Waits
from llmitm.mitm.review.in_flow import FlowEdits
from llmitm.mitm.rulebook import Rulebook
from llmitm.record.decision_log import DecisionLog
from llmitm.stages.contract import Hold, Refuse

log = logging.getLogger("llmitm")

MARK = ":raised_hand:"
"""How mitmproxy's list marks what is held; `~marker raised_hand` finds it."""
DECISIONS_FILE = "decisions.jsonl"
BY_MITMPROXY = "mitmproxy"
"""Who has decided, where it was mitmproxy's own resume."""


@dataclass(slots=True, kw_only=True)
class _Held:
    """One thing held. edits: what an operator may change in the flow itself, None = nothing;
    marked: the flow's mark before; watch: waits for mitmproxy's own resume."""

    card: Card
    holding: Waits
    edits: FlowEdits | None
    marked: str
    watch: asyncio.Task[None] | None = None


class Desk:
    """See the module."""

    name = "llmitm-desk"

    def __init__(self, rulebook: Rulebook, environ: Mapping[str, str] = os.environ) -> None:
        self._rulebook = rulebook
        self._environ = environ
        self._log: DecisionLog | None = None
        self._gate: ClientGate | None = None
        self.queue = Queue(
            rules=ReviewLimits(), log=self._write, now=time.time, document_of=document_of
        )
        self._held: dict[str, _Held] = {}
        self._turns = Turns()
        self._timer: asyncio.TimerHandle | None = None

    def configure(self, updated: set[str]) -> None:
        """The bounds that the rules give; who may ask for a person's answer, from the environment.

        Raises OptionsError: from here, and not from `load`, mitmproxy tells it in one line.
        """
        self._let_in()
        rules = self._rulebook.house().ruleset.review
        self.queue.follow(
            ReviewLimits(
                waiting_max=rules.max_waiting, history_max=rules.history, rejoin_s=rules.rejoin_s
            )
        )

    def _let_in(self) -> ClientGate:
        # Made once: it counts.
        if self._gate is None:
            try:
                self._gate = client_gate(self._environ)
            except RuleError as error:
                raise exceptions.OptionsError(f"llmitm: {error}") from None
        return self._gate

    def check(self, card: Card, document: str) -> Checked:
        """What an edited document would come to."""
        return check(card, document, self._rulebook.house().ruleset.models.price)

    def _write(self, entry: Entry) -> None:
        """A line of the decision log, whose file is made with the first one."""
        if self._log is None:
            file = state_folder(self._environ) / DECISIONS_FILE
            self._log = DecisionLog(file, lambda line: log.error("llmitm: %s", line))
        self._log.append(entry.row())

    async def done(self) -> None:
        """The proxy shuts down: every client that waits is told, before its connection ends."""
        waiting = [held.holding.gone for held in self._held.values()]
        self.queue.close("llmitm shuts down")
        if self._timer is not None:
            self._timer.cancel()
        for gone in waiting:
            try:
                await asyncio.wait_for(gone.wait(), _LAST_WORD_S)
            except TimeoutError:
                log.warning("llmitm: a client that waited could not be told of the shutdown")
        if self._log is not None:
            self._log.close()

    # -- what is held -------------------------------------------------------------------------

    def hold_request(self, holding: Waits, hold: Hold) -> None:
        """Holds a request."""
        self._offer(holding, hold, "request")

    def hold_answer(self, holding: Waits, hold: Hold) -> None:
        """Holds a tool call, or the whole answer."""
        self._offer(holding, hold, "tool_call" if hold.call is not None else "response")

    def _offer(self, holding: Waits, hold: Hold, kind: Kind) -> None:
        refused = None if hold.may_approve else self._refused(holding)
        if refused is not None:
            holding.decided(refused)
            return
        card = self._card(holding, hold, kind)
        holding.exchange.notes.append(f"held: {hold.reason}")
        holding.leave = lambda: self._leave(card.exchange)
        edits = FlowEdits(holding, hold) if holding.in_flow is not None else None
        decided = self.queue.offer(card, edits or holding)
        if decided is not None:
            holding.decided(decided)
            return
        # The client may have come again to a card that waits already.
        waits = next((one for one in self.queue.waiting() if one.exchange == card.exchange), card)
        self._show(_Held(card=waits, holding=holding, edits=edits, marked=""))
        self._rearm()

    def _refused(self, holding: Waits) -> Refuse | None:
        """Where a person plays the model: whether this client may ask for that."""
        wire, peer = holding.exchange.incoming.wire, holding.flow.client_conn.peername
        key = next(iter(holding.exchange.turn.secrets), "")
        address = str(peer[0]) if peer else ""
        fault = self._let_in().ask(key, address, len(wire.body), time.monotonic())
        return Refuse(fault=fault, why="not let in") if fault is not None else None

    def _card(self, holding: Waits, hold: Hold, kind: Kind) -> Card:
        exchange, turn = holding.exchange, holding.exchange.turn
        request = hold.shown or exchange.decision.request
        review = exchange.house.ruleset.review
        timeout_s = review.timeout_s if hold.timeout_s is None else hold.timeout_s
        now_s = time.time()
        tokens = size_in_tokens(request, len(exchange.incoming.body))
        conversation = turn.conversation.key
        return Card(
            id=uuid.uuid4().hex,
            kind=kind,
            exchange=turn.id,
            same=_same(exchange, hold, kind),
            reason=hold.reason,
            created_s=now_s,
            deadline_s=now_s + min(timeout_s, self._patience_s(holding)),
            request=request,
            rule=hold.rule,
            verdicts=tuple(sorted({*hold.verdicts, *turn.verdicts})),
            default=hold.default,
            may_approve=hold.may_approve,
            client=turn.client,
            provider=turn.provider,
            model=turn.model,
            protocol=turn.protocol,
            conversation=conversation,
            stream=holding.stream,
            response=hold.response,
            call=hold.call,
            tokens=tokens,
            new_from=self._turns.new_from(conversation, request.messages),
            cost_usd=_cost_usd(exchange, tokens),
        )

    def _patience_s(self, holding: Waits) -> float:
        """How long this client can be kept waiting."""
        turn, house = holding.exchange.turn, holding.exchange.house
        return house.ruleset.clients.patience_s(turn.client, stream=holding.stream)

    # -- mitmproxy's list ---------------------------------------------------------------------

    def _show(self, held: _Held) -> None:
        """Marks the flow, intercepts it, and waits for whoever resumes it there."""
        flow = held.holding.flow
        self._held[held.holding.exchange.turn.id] = held
        held.marked, flow.marked = flow.marked, MARK
        flow.comment = f"held: {held.card.reason}"
        if held.edits is not None:
            held.edits.show()
            flow.intercept()
            held.watch = asyncio_utils.create_task(
                self._watch(held, held.edits), name=f"held {flow.id}", keep_ref=True
            )
        _update(flow)

    def running(self) -> None:
        """Follows what is saved in mitmweb, which tells its list and no hook."""
        view = ctx.master.addons.get("view")
        if isinstance(view, View):
            view.sig_view_update.connect(self._saved)
        if said := self.unattended():
            log.warning("llmitm: %s", said)

    def unattended(self) -> str:
        """Which rules hold although nobody can decide, and what to do; empty = it is not so."""
        names = [row.name for row in self._rulebook.house().ruleset.review.active]
        attended = ctx.options.llm_review_listen or ctx.master.addons.get("view") is not None
        if not names or attended or ctx.options.llm_observe:
            return ""
        named = ", ".join(names[:_MOST_NAMED])
        more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
        return (
            f"nobody can decide about what review rules hold ({named}{more}): each waits for its "
            "timeout. Let an operator in with --set llm_review_listen=127.0.0.1:8082, then run "
            "`llmitm review`"
        )

    def update(self, flows: Sequence[Flow]) -> None:
        """Something of these flows has changed, by whomever."""
        if self._held:
            for flow in flows:
                self._saved(flow)

    def _saved(self, flow: Flow) -> None:
        """What is saved in a held flow is what is held from now on."""
        held = self._held.get(flow.id)
        edits = held.edits if held is not None else None
        card = edits.saved(held.card) if held is not None and edits is not None else None
        if card is None:
            return
        try:
            self.queue.update(card.id, card, by=BY_MITMPROXY)
        except ReviewError as error:
            log.warning("llmitm: an edit in mitmproxy: %s", error)

    async def _watch(self, held: _Held, edits: FlowEdits) -> None:
        """Resumed in mitmproxy: approved, with what was edited there."""
        flow = held.holding.flow
        while True:
            await flow.wait_for_resume()
            if self._held.get(flow.id) is not held or held.holding.over:
                return
            self._saved(flow)
            decided, mistake = edits.read()
            if mistake:
                # Nothing of the edit is lost: it stands in the flow, and is held again.
                flow.comment = f"held: the edit cannot be read: {mistake}"
                log.error("llmitm: the edit cannot be read: %s", mistake)
                flow.intercept()
                _update(flow)
                continue
            action = "edit" if edits.changed else "approve"
            try:
                self.queue.decide(held.card.id, action, decided, by=BY_MITMPROXY)
            except ReviewError as error:
                log.warning("llmitm: %s", error)
                if self._held.get(flow.id) is not held:
                    return
                flow.comment = f"held: {error}"
                flow.intercept()
                _update(flow)
                continue
            return

    def _leave(self, exchange_id: str) -> None:
        """The exchange waits no longer."""
        held = self._held.pop(exchange_id, None)
        if held is None:
            return
        flow = held.holding.flow
        flow.marked = held.marked if held.marked != MARK else ""
        flow.comment = ""
        if held.edits is not None:
            held.edits.hide()
            flow.resume()
        if held.watch is not None:
            held.watch.cancel()
        _update(flow)
        self._rearm()

    def over(self, exchange_id: str, why: str) -> None:
        """The exchange has ended: if it was held, its client has left or it was killed."""
        held = self._held.get(exchange_id)
        if held is None:
            return
        card, flow = held.card, held.holding.flow
        self._leave(exchange_id)
        # Who comes again comes with what it asked before.
        self._put_back(card)
        flow.comment = f"{why or 'ended'} while held"
        if flow.error is not None and flow.error.msg == flow.error.KILLED_MESSAGE:
            self.queue.cancel(card.id, "killed in mitmproxy")
        else:
            self.queue.away(card.id)
        self._rearm()

    def _put_back(self, card: Card) -> None:
        if any(one.id == card.id and one.digest != card.digest for one in self.queue.waiting()):
            with suppress(ReviewError):
                self.queue.update(card.id, card)

    # -- time ---------------------------------------------------------------------------------

    def _rearm(self) -> None:
        """One timer, for whatever is due next."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        due_s = self.queue.due()
        if due_s is not None:
            delay_s = max(0.0, due_s - time.time())
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._expire)

    def _expire(self) -> None:
        self._timer = None
        self.queue.expire()
        self._rearm()


_LAST_WORD_S = 2.0
_MOST_NAMED = 3


def _same(exchange: Exchange, hold: Hold, kind: Kind) -> str:
    """Equal for the same thing asked again by the same client."""
    request = replace(exchange.incoming.wire)
    held = repr((kind, hold.rule, hold.reason, hold.call, hold.response)).encode()
    return sha256(request_key(exchange.house, request) + held).hexdigest()


def _cost_usd(exchange: Exchange, tokens: int) -> float | None:
    price = exchange.house.ruleset.models.price(exchange.decision.request.model)
    return None if price is None or price.input is None else tokens * price.input / 1e6


def _update(flow: http.HTTPFlow) -> None:
    if ctx.master.addons.get("view") is not None:
        ctx.master.addons.trigger(UpdateHook([flow]))
