"""The queue of everything that waits for an operator: who decides, what then happens, who is told.

The first decision wins, and each card ends exactly once. Sans-io: the exchange behind a card is a
`Waiting`, the clock and the log are given, timers and sockets belong to others. Every table is
bounded by `ReviewLimits`. Never: catches what a `Waiting`, a listener or the log raises; they may
not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from llmitm.canon.events import Event, FinishReason
from llmitm.canon.parts import ToolCall
from llmitm.desk.arrivals import Arrivals
from llmitm.desk.cards import Card
from llmitm.desk.chat_view import WHOLE, card_view, list_caps
from llmitm.desk.fitting import check_fits
from llmitm.desk.held import (
    Entry,
    Held,
    ReviewLimits,
    Waiting,
)
from llmitm.desk.live import weight
from llmitm.desk.messages import (
    Action,
    Approval,
    CardView,
    Ending,
    Message,
    Past,
    Snapshot,
    SnapshotMessage,
    State,
    Stats,
)
from llmitm.desk.review_error import ReviewError
from llmitm.desk.table import LEFT
from llmitm.stages.contract import FORWARD, Decided

__all__ = ["Entry", "Queue", "ReviewError", "ReviewLimits", "Waiting"]


class Queue(Arrivals):
    """See the module; made as `Arrivals` is."""

    # by: the operator's name; digest: of what was shown, empty = not told.

    def decide(
        self,
        card_id: str,
        action: Action,
        decided: Decided,
        by: str,
        digest: str = "",
        note: str = "",
        minutes: float = 0,
    ) -> None:
        """The card ends so. minutes: with `approve`, for so long everything of its sort goes on,
        what waits of it now too. Raises ReviewError."""
        table = self._table
        held = table.open_card(card_id, by)
        self._check_digest(held, digest)
        if held.opened:
            raise ReviewError("not_allowed", "an answer is being written: finish it")
        check_fits(held.card, action, decided)
        if minutes:
            self._check_minutes(held, action, minutes)
        if not table.settle(held, action, decided, by, note, digest):
            raise ReviewError("gone", LEFT)
        if minutes:
            self._stand(held, by, minutes)

    def _check_digest(self, held: Held, digest: str) -> None:
        if digest and digest != held.digest:
            raise ReviewError("stale", "something else is held now: look at it again")

    def _check_minutes(self, held: Held, action: Action, minutes: float) -> None:
        most = self._rules.standing_minutes_max
        if action != "approve" or not 0 < minutes <= most:
            raise ReviewError(
                "invalid", f"minutes: more than 0, at most {most:g}, with an approval"
            )
        self._standing.check_room(held.card, self._now())

    def _stand(self, like: Held, by: str, minutes: float) -> None:
        """Everything of this sort goes on for a while, what waits of it now too."""
        table, now = self._table, self._now()
        self._standing.grant(like.card, by, now, now + minutes * 60)
        table.note("standing", like.card, by=by, digest=like.digest, note=f"{minutes:g} minutes")
        for held in list(table.held.values()):
            same = held.card.sort == like.card.sort and not held.writer
            if same and self._standing.covers(held.card, now) and table.waits(held):
                self._standing.use(held.card)
                table.settle(held, "approve", FORWARD, by, "standing approval")

    def begin(self, card_id: str, by: str, digest: str = "") -> None:
        """From now on `by` alone writes an answer to this request. Raises ReviewError."""
        held = self._table.open_card(card_id, by)
        if held.writer:
            return
        self._check_digest(held, digest)
        if held.card.kind != "request":
            raise ReviewError("not_allowed", "only a held request can be answered live")
        if held.waiting is None:
            raise ReviewError("gone", f"{LEFT}: answer as a whole, it gets it if it comes again")
        held.writer, held.began_s = by, self._now()
        before = held.card
        self._extend(held)
        self._table.note("begun", held.card, by=by, digest=held.digest, shown=digest)
        if held.card is before:
            self._table.tell_view(held)

    def _extend(self, held: Held) -> None:
        """Who writes gets time, but not for ever."""
        rules = self._rules
        until = min(self._now() + rules.writing_idle_s, held.began_s + rules.writing_most_s)
        if until <= held.card.deadline_s:
            return
        held.card = replace(held.card, deadline_s=until)
        # Not for every word: each time all that is shown of the card is told again.
        if until - held.told_s >= rules.writing_idle_s / 4 or not held.live.begun:
            held.told_s = until
            self._table.tell_view(held)

    def _writing(self, card_id: str, by: str) -> Held:
        held = self._table.held.get(card_id)
        if held is not None and held.writer != by:
            words = f"{held.writer} is writing the answer" if held.writer else "begin first"
            raise ReviewError("not_allowed", words, {"by": held.writer} if held.writer else {})
        return self._table.open_card(card_id, by)

    def write(self, card_id: str, events: Sequence[Event], by: str) -> None:
        """More of the live answer, parts of choice 0. Raises ReviewError."""
        held = self._writing(card_id, by)
        held.live.check(events)
        if held.live.written + sum(map(weight, events)) > self._rules.written_max:
            raise ReviewError("invalid", f"the answer is longer than {self._rules.written_max}")
        if not self._table.write(held, events):
            raise ReviewError("gone", LEFT)
        self._extend(held)

    def say(self, card_id: str, by: str, content: str = "", reasoning: str = "") -> None:
        """More text or thinking of the live answer, thinking first. Raises ReviewError."""
        held = self._writing(card_id, by)
        if reasoning:
            self.write(card_id, held.live.more("reasoning", reasoning), by)
        if content:
            self.write(card_id, held.live.more("text", content), by)

    def add_call(self, card_id: str, by: str, call: ToolCall) -> None:
        """A whole tool call of the live answer. Raises ReviewError."""
        self.write(card_id, self._writing(card_id, by).live.call(call), by)

    def finish(self, card_id: str, reason: FinishReason | None, by: str, note: str = "") -> None:
        """The live answer is complete. reason: None = `tool_calls` with calls, else `stop`.

        Raises ReviewError.
        """
        held = self._writing(card_id, by)
        if not self._table.finish(held, reason or held.live.reason, "answer", by, note):
            raise ReviewError("gone", LEFT)

    def drop_writer(self, by: str) -> None:
        """The operator is not connected any more: answers that were begun end, the other cards
        wait again."""
        table = self._table
        for held in list(table.held.values()):
            if held.writer != by or not table.waits(held):
                continue
            if held.opened:
                table.finish(
                    held, held.live.reason, "answer", by, "the operator's connection broke"
                )
            else:
                held.writer = ""
                table.note("writer_left", held.card, by=by, digest=held.digest)
                table.tell_view(held)

    def online(self, operators: int) -> None:
        """How many operators are connected now."""
        if operators != self._table.operators:
            self._table.operators = operators
            self._table.tell_stats()

    def standing(self) -> list[Approval]:
        """The standing approvals, oldest first."""
        return self._standing.rows(self._now())

    def revoke(self, approval: str, by: str) -> None:
        """Takes a standing approval back. Raises ReviewError."""
        row = self._standing.revoke(approval, self._now())
        note = " ".join(word for word in row.sort if word)
        self._table.log(Entry(at=self._now(), what="revoked", by=by, note=note))

    # Views.

    def waiting(self) -> list[Card]:
        """What waits, oldest first."""
        return [held.card for held in self._table.held.values()]

    def card(self, card_id: str) -> Card:
        """The card that waits. Raises ReviewError."""
        return self._found(card_id).card

    def state(self, card_id: str) -> State | Ending:
        """How it stands with a card, or how it ended. Raises ReviewError."""
        held = self._table.held.get(card_id)
        if held is not None:
            return held.state
        past = self._table.history.get(card_id)
        if past is None:
            raise ReviewError("not_found", "no such card, or it was over long ago")
        return past.action

    def view(self, card_id: str) -> CardView:
        """The whole card as JSON shows it. Raises ReviewError."""
        return card_view(self._found(card_id), self._table.document_of, WHOLE)

    def views(self) -> list[CardView]:
        """What waits as lists show it, oldest first."""
        caps = list_caps(len(self._table.held))
        return [
            card_view(held, self._table.document_of, caps) for held in self._table.held.values()
        ]

    def _found(self, card_id: str) -> Held:
        held = self._table.held.get(card_id)
        return held if held is not None else self._table.open_card(card_id, "")

    def past(self, card_id: str) -> Past | None:
        """The card that is over, None = none is remembered."""
        return self._table.history.get(card_id)

    def history(self) -> list[Past]:
        """What is over, newest first."""
        return self._table.history.rows()

    def stats(self) -> Stats:
        """The figures."""
        return self._table.stats()

    def snapshot(self, operator: str) -> SnapshotMessage:
        """How everything stands, for who has just begun to listen."""
        data = Snapshot(
            requests=tuple(self.views()),
            history=tuple(self.history()),
            stats=self.stats(),
            operator=operator,
        )
        return SnapshotMessage(data=data)

    def listen(self, told: Callable[[Message], None]) -> Callable[[], None]:
        """Everything that happens from now on; the result ends it. A listener may not raise; what
        it makes happen while it is told comes after what it is told."""
        return self._table.audience.listen(told)
