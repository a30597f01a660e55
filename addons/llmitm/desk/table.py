"""The table of cards that wait, and how each of them ends: once, told to all, in the log.

`queue` decides what happens when; here it happens. Never: reads a clock, looks at who may what.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llmitm.canon.events import Event, FinishReason
from llmitm.desk.cards import Card
from llmitm.desk.chat_view import LISTED, card_view
from llmitm.desk.differences import difference
from llmitm.desk.held import Entry, Held, Parked, ReviewLimits, effect_word
from llmitm.desk.messages import (
    Cancelled,
    Decision,
    Ending,
    Message,
    NewRequest,
    Past,
    RequestCancelled,
    RequestDecided,
    RequestUpdated,
    Stats,
    StatsUpdate,
)
from llmitm.desk.review_error import ReviewError
from llmitm.desk.story import Audience, History
from llmitm.stages.contract import Decided

LEFT = "the client has left"


class Table:
    """held: by card id, oldest first; asked: the same by the id under which the exchange that waits
    now has offered it; parked: decisions whose client is away, by card id."""

    def __init__(
        self,
        rules: ReviewLimits,
        log: Callable[[Entry], None],
        now: Callable[[], float],
        document_of: Callable[[Card], str],
    ) -> None:
        self.rules = rules
        self.now = now
        self.document_of = document_of
        self.held: dict[str, Held] = {}
        self.asked: dict[str, Held] = {}
        self.parked: dict[str, Parked] = {}
        self.history = History(rules.history_max)
        self.audience: Audience[Message] = Audience()
        self.operators = 0
        self.log = log

    def open_card(self, card_id: str, by: str) -> Held:
        """The card, when it waits and nobody else writes. Raises ReviewError."""
        held = self.held.get(card_id)
        if held is None:
            past = self.history.get(card_id)
            if past is None:
                raise ReviewError("not_found", "no such card, or it was over long ago")
            who = past.by or "nobody"
            raise ReviewError(
                "already_decided",
                f"over already: {past.action} by {who}",
                {"by": past.by, "action": past.action},
            )
        if held.writer and held.writer != by:
            raise ReviewError(
                "already_decided",
                f"{held.writer} is writing the answer",
                {"by": held.writer, "action": "answer"},
            )
        return held

    def note(self, what: str, card: Card, **more: Any) -> None:
        """Writes a line about the card to the log; more: fields of `Entry`."""
        entry = Entry(
            at=self.now(),
            what=what,
            request_id=card.id,
            kind=card.kind,
            exchange=card.exchange,
            reason=card.reason,
            rule=card.rule,
            client=card.client,
            provider=card.provider,
            model=card.model,
            **more,
        )
        self.log(entry)

    def waits(self, held: Held) -> bool:
        """Whether it has not ended."""
        return self.held.get(held.card.id) is held

    def remove(self, held: Held) -> None:
        """It waits no more."""
        self.held.pop(held.card.id, None)
        self.asked.pop(held.asked, None)

    def settle(
        self, held: Held, action: Ending, decided: Decided, by: str, note: str, shown: str = ""
    ) -> bool:
        """The card ends so. False: its client turned out to have left, the card is cancelled."""
        card, now = held.card, self.now()
        self.remove(held)
        # Remembered before anybody else gets to run, so that no one finds the card nowhere.
        past = self.past(card, action, by, note)
        self.history.add(past)
        what = action if action in ("timeout", "shutdown") else "decided"
        self.note(
            what,
            card,
            by=by,
            action=action if what == "decided" else "",
            effect=effect_word(decided),
            digest=held.digest,
            shown=shown,
            note=note,
            wait_s=past.wait_s,
            difference=difference(card, decided, self.document_of) if by else "",
        )
        if held.waiting is None:
            if action != "shutdown":
                self.park(held, decided, by, max(held.away_until, now + self.rules.rejoin_s))
        elif not held.waiting.decided(decided):
            return self._undelivered(held, past)
        self.tell_end(past)
        return True

    def park(self, held: Held, decided: Decided, by: str, until: float) -> None:
        """Keeps what was decided for the client that is away."""
        while len(self.parked) >= self.rules.waiting_max:
            oldest = self.parked.pop(next(iter(self.parked)))
            self.note("unused", oldest.card, digest=oldest.digest, by=oldest.by)
        self.parked[held.card.id] = Parked(held.card, held.digest, decided, by, until)

    def write(self, held: Held, events: Sequence[Event]) -> bool:
        """Live text goes out. False: its client turned out to have left, the card is cancelled."""
        waiting = held.waiting
        assert waiting is not None
        if not held.opened:
            held.opened = True
            # It may have ended while it was called.
            if not waiting.begin() or not self.waits(held):
                self.cancel(held, LEFT)
                return False
        if events:
            held.live.took(events)
            if not waiting.write(events) or not self.waits(held):
                self.cancel(held, LEFT)
                return False
        return True

    def finish(self, held: Held, reason: FinishReason, action: Ending, by: str, note: str) -> bool:
        """The live answer ends and with it the card. False as `write`."""
        waiting = held.waiting
        assert waiting is not None
        if not self.write(held, held.live.closing()):
            return False
        self.remove(held)
        past = self.past(held.card, action, by, note)
        self.history.add(past)
        self.note(
            "finished",
            held.card,
            by=by,
            action=action,
            effect=f"written_{reason}",
            digest=held.digest,
            note=note,
            wait_s=past.wait_s,
            difference=held.live.kept(),
        )
        if not waiting.finish(reason):
            return self._undelivered(held, past)
        self.tell_end(past)
        return True

    def _undelivered(self, held: Held, past: Past) -> bool:
        self.note("undelivered", held.card, by=past.by, digest=held.digest, note=LEFT)
        over = self.past(held.card, "cancelled", "", LEFT)
        self.history.amend(over)
        self.tell_end(over)
        return False

    def cancel(self, held: Held, why: str) -> None:
        """The card ends because nobody is there any more. Nothing happens when it is over."""
        if not self.waits(held):
            return
        self.remove(held)
        past = self.past(held.card, "cancelled", "", why)
        self.history.add(past)
        self.note(
            "cancelled",
            held.card,
            by=held.writer,
            digest=held.digest,
            note=why,
            wait_s=past.wait_s,
            difference=held.live.kept(),
        )
        self.tell_end(past)

    def past(self, card: Card, action: Ending, by: str, note: str) -> Past:
        """The card as history shows it."""
        now = self.now()
        return Past(
            request_id=card.id,
            action=action,
            by=by,
            at=now,
            note=note,
            kind=card.kind,
            reason=card.reason,
            rule=card.rule,
            client=card.client,
            model=card.model,
            wait_s=max(0.0, now - card.created_s),
        )

    # What everybody is told.

    def tell_end(self, past: Past) -> None:
        """That a card is over, and the figures."""
        if past.action == "cancelled":
            gone = Cancelled(request_id=past.request_id, reason=past.note)
            self.audience.tell(RequestCancelled(data=gone))
        else:
            decision = Decision(
                request_id=past.request_id,
                action=past.action,
                by=past.by,
                at=past.at,
                note=past.note,
            )
            self.audience.tell(RequestDecided(data=decision))
        self.tell_stats()

    def tell_view(self, held: Held, *, new: bool = False) -> None:
        """How a card looks now."""
        if len(self.audience):
            view = card_view(held, self.document_of, LISTED)
            self.audience.tell(NewRequest(data=view) if new else RequestUpdated(data=view))

    def tell_stats(self) -> None:
        """The figures."""
        if len(self.audience):
            self.audience.tell(StatsUpdate(data=self.stats()))

    def stats(self) -> Stats:
        """The figures."""
        count, now = self.history.count, self.now()
        oldest = min((held.card.created_s for held in self.held.values()), default=None)
        return Stats(
            waiting=len(self.held),
            decided={
                "approve": count("approve"),
                "edit": count("edit"),
                "answer": count("answer"),
                "reject": count("reject"),
            },
            cancelled=count("cancelled"),
            timeouts=count("timeout"),
            full=count("full"),
            average_wait_s=self.history.average_s,
            longest_wait_s=self.history.longest_s,
            oldest_age_s=None if oldest is None else max(0.0, now - oldest),
            operators=self.operators,
        )
