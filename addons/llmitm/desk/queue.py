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
from llmitm.desk.cards import Card
from llmitm.desk.chat_view import WHOLE, card_view, list_caps
from llmitm.desk.differences import unified
from llmitm.desk.fitting import check_fits
from llmitm.desk.held import (
    SHUTTING_DOWN,
    Entry,
    Held,
    ReviewLimits,
    Waiting,
    effect_word,
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
from llmitm.desk.standing import Standing
from llmitm.desk.table import LEFT, Table
from llmitm.stages.contract import FORWARD, Decided, Refuse

__all__ = ["Entry", "Queue", "ReviewError", "ReviewLimits", "Waiting"]


class Queue:
    """See the module. rules: bounds; log: takes a line for the decision log; now: seconds since
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

    # The exchanges' side.

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
            if held.due > now or table.held.get(held.card.id) is not held:
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
            if table.held.get(held.card.id) is not held:
                continue
            if held.opened:
                table.finish(held, "error", "shutdown", "", why)
            else:
                table.settle(held, "shutdown", Refuse(fault=SHUTTING_DOWN), "", why)
        table.log(Entry(at=self._now(), what="closed", note=why))

    # The operators' side. by: the operator's name; digest: of what was shown, empty = not told.

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
            self._stand(held, action, by, minutes)
        if not table.settle(held, action, decided, by, note, digest):
            raise ReviewError("gone", LEFT)
        if minutes:
            self._approve_sort(held.card, by)

    def _check_digest(self, held: Held, digest: str) -> None:
        if digest and digest != held.digest:
            raise ReviewError("stale", "something else is held now: look at it again")

    def _stand(self, held: Held, action: Action, by: str, minutes: float) -> None:
        most = self._rules.standing_minutes_max
        if action != "approve" or not 0 < minutes <= most:
            raise ReviewError("invalid", f"minutes: 0 to {most:g}, with an approval")
        now = self._now()
        self._standing.grant(held.card, by, now, now + minutes * 60)
        self._table.note(
            "standing", held.card, by=by, digest=held.digest, note=f"{minutes:g} minutes"
        )

    def _approve_sort(self, like: Card, by: str) -> None:
        table = self._table
        for held in list(table.held.values()):
            covered = held.card.sort == like.sort and self._standing.covers(held.card, self._now())
            if covered and not held.writer and table.held.get(held.card.id) is held:
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
        self._extend(held)
        self._table.note("begun", held.card, by=by, digest=held.digest, shown=digest)
        self._table.tell_view(held)

    def _extend(self, held: Held) -> None:
        """Who writes gets time, but not for ever."""
        rules = self._rules
        until = min(self._now() + rules.writing_idle_s, held.began_s + rules.writing_most_s)
        if until > held.card.deadline_s:
            held.card = replace(held.card, deadline_s=until)

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
            if held.writer != by or table.held.get(held.card.id) is not held:
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


def _in_place_of(old: Card, card: Card) -> Card:
    return replace(card, id=old.id, created_s=old.created_s, deadline_s=old.deadline_s)
