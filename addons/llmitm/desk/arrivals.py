"""The exchanges' side of the queue: what they offer, when they leave, what happens by itself.

The side that operators see stands in `queue`. Sans-io, as it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from llmitm.desk.cards import Card
from llmitm.desk.differences import unified
from llmitm.desk.held import SHUTTING_DOWN, Entry, Held, ReviewLimits, Waiting, effect_word
from llmitm.desk.messages import Ending
from llmitm.desk.standing import Standing
from llmitm.desk.table import LEFT, Table
from llmitm.stages.contract import FORWARD, Decided, Refuse


class Arrivals:
    """rules: bounds; log: takes a line for the decision log; now: seconds since
    the epoch; document_of: the held thing as a document."""

    def __init__(
        self,
        *,
        rules: ReviewLimits,
        log: Callable[[Entry], None],
        now: Callable[[], float],
        document_of: Callable[[Card], str],
    ) -> None:
        self._rules = rules
        self._now = now
        self._table = Table(rules, log, now, document_of)
        self._standing = Standing(rules.standing_max)
        self._closed = False

    def follow(self, rules: ReviewLimits) -> None:
        """From now on these bounds hold; what waits keeps its deadline."""
        self._rules = self._table.rules = rules
        self._table.history.bound(rules.history_max)

    def offer(self, card: Card, waiting: Waiting) -> Decided | None:
        """None: it waits from now on, or waits on as the card it was before its client left.

        Otherwise it is decided at once: by what was decided while its client was away, by a
        standing approval, by its default when too many wait, by the shutdown. The card's id must
        be new; `away` and `cancel` take it, also when an older card was joined. Raises ValueError
        when the id waits already.
        """
        table, digest = self._table, card.digest
        if card.id in table.held or card.id in table.asked:
            raise ValueError(f"card {card.id} waits already")
        if self._closed:
            table.note("shutdown", card, digest=digest, effect="refuse")
            return Refuse(fault=SHUTTING_DOWN)
        decided = self._delivered(card, digest)
        if decided is not None:
            return decided
        for held in table.held.values():
            if held.waiting is None and held.card.same == card.same and held.digest == digest:
                self._rejoin(held, card, waiting)
                return None
        by = self._standing.covers(card, self._now())
        if by is not None:
            self._standing.use(card)
            table.note(
                "standing_used", card, digest=digest, by=by, action="approve", effect="forward"
            )
            self._pass(card, "approve", by, "standing approval")
            return FORWARD
        if len(table.held) >= self._rules.waiting_max:
            note = f"{len(table.held)} wait already"
            table.note("full", card, digest=digest, note=note, effect=effect_word(card.default))
            self._pass(card, "full", "", note)
            return card.default
        held = Held(card, waiting, card.id, digest)
        table.held[card.id] = table.asked[card.id] = held
        table.note("offered", card, digest=digest)
        table.tell_view(held, new=True)
        table.tell_stats()
        return None

    def _delivered(self, card: Card, digest: str) -> Decided | None:
        table = self._table
        for parked in list(table.parked.values()):
            same = parked.card.same == card.same and parked.digest == digest
            if same and parked.until > self._now():
                del table.parked[parked.card.id]
                effect = effect_word(parked.decided)
                table.note("delivered", parked.card, digest=digest, by=parked.by, effect=effect)
                return parked.decided
        return None

    def _rejoin(self, held: Held, card: Card, waiting: Waiting) -> None:
        table = self._table
        held.card = _in_place_of(held.card, card)
        table.asked.pop(held.asked, None)
        table.asked[card.id] = held
        held.asked, held.waiting, held.away_until = card.id, waiting, 0.0
        table.note("rejoined", held.card, digest=held.digest)
        table.tell_view(held)

    def _pass(self, card: Card, action: Ending, by: str, note: str) -> None:
        past = self._table.past(card, action, by, note)
        self._table.history.add(past, waited=False)
        self._table.tell_end(past)

    def away(self, card_id: str) -> None:
        """The client of the exchange that offered this card has left; it may come again.

        Nothing happens when the card is over or another exchange has joined it.
        """
        table = self._table
        held = table.asked.get(card_id)
        if held is None or held.waiting is None:
            return
        if held.opened or self._rules.rejoin_s <= 0 or self._twin(held):
            table.cancel(held, LEFT)
            return
        held.waiting, held.writer = None, ""
        held.away_until = self._now() + self._rules.rejoin_s
        table.note("away", held.card, digest=held.digest)
        table.tell_view(held)

    def _twin(self, held: Held) -> bool:
        """Whether its client has asked for the same again before it was seen to leave."""
        return any(
            other is not held
            and other.waiting is not None
            and other.card.same == held.card.same
            and other.digest == held.digest
            for other in self._table.held.values()
        )

    def cancel(self, card_id: str, why: str) -> None:
        """The exchange that offered this card is over. Nothing happens when the card is."""
        held = self._table.asked.get(card_id)
        if held is not None:
            self._table.cancel(held, why)

    def update(self, card_id: str, card: Card, by: str = "") -> None:
        """Something else is held in this card's place: it was edited where it lies.

        The id and times stay. Raises ReviewError.
        """
        table = self._table
        held = table.open_card(card_id, by)
        before, shown = held.card, held.digest
        held.card = _in_place_of(before, card)
        held.digest = held.card.digest
        if held.digest == shown:
            return
        change = unified(table.document_of(before), table.document_of(held.card))
        table.note("updated", held.card, digest=held.digest, shown=shown, by=by, difference=change)
        table.tell_view(held)

    # Time.

    def due(self) -> float | None:
        """When `expire` has something to do, None = never as things stand."""
        times = [held.due for held in self._table.held.values()]
        times += [parked.until for parked in self._table.parked.values()]
        return min(times, default=None)

    def expire(self) -> None:
        """Does what is due: a deadline's default happens, who stayed away is cancelled."""
        table, now = self._table, self._now()
        for parked in list(table.parked.values()):
            if parked.until <= now and table.parked.pop(parked.card.id, None) is not None:
                table.note("unused", parked.card, digest=parked.digest, by=parked.by)
        for held in sorted(table.held.values(), key=lambda each: each.due):
            if held.due > now or not table.waits(held):
                continue
            if held.card.deadline_s > now:
                table.cancel(held, f"{LEFT} and has not come back")
            elif held.opened:
                table.finish(held, "length", "timeout", "", "the time for writing was over")
            else:
                table.settle(held, "timeout", held.card.default, "", "")

    def close(self, why: str) -> None:
        """Refuses everything that waits and everything that will be offered."""
        table = self._table
        self._closed = True
        for parked in list(table.parked.values()):
            table.note("unused", parked.card, digest=parked.digest, by=parked.by, note=why)
        table.parked.clear()
        self._standing.clear()
        for held in list(table.held.values()):
            if not table.waits(held):
                continue
            if held.opened:
                table.finish(held, "error", "shutdown", "", why)
            else:
                table.settle(held, "shutdown", Refuse(fault=SHUTTING_DOWN), "", why)
        table.log(Entry(at=self._now(), what="closed", note=why))


def _in_place_of(old: Card, card: Card) -> Card:
    return replace(card, id=old.id, created_s=old.created_s, deadline_s=old.deadline_s)
