"""Random interleavings of everything that can happen to the queue, held against what must hold."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from llmitm.canon.events import Fault
from llmitm.canon.parts import ToolCall
from llmitm.desk.cards import Card
from llmitm.desk.messages import Message, NewRequest, RequestCancelled, RequestDecided
from llmitm.desk.queue import Entry, Queue, ReviewError, ReviewLimits
from llmitm.record.decision_log import DecisionLog, verify
from llmitm.stages.contract import FORWARD, Decided, Denied, Forward, Refuse
from review_cases import Exchange, answer, call_card, card, document_of, request, response_card

ENDS = {"decided", "finished", "timeout", "cancelled", "shutdown", "full", "standing_used"}
OPERATORS = ("ann", "bob", "eve")
NO = Refuse(fault=Fault(kind="permission", status=403, message="no"))
LIMITS = ReviewLimits(
    waiting_max=8, history_max=20, rejoin_s=20, standing_max=2, writing_idle_s=15, writing_most_s=60
)


class Listener:
    """Follows the story from a snapshot on, and may act in the middle of it."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.heard: list[Message] = []
        self.first = len(play.story)
        self.open = {view.request_id for view in play.queue.snapshot("ann").data.requests}
        self.leave = play.queue.listen(self.told)

    def told(self, message: Message) -> None:
        self.heard.append(message)
        if isinstance(message, NewRequest):
            assert message.data.request_id not in self.open
            self.open.add(message.data.request_id)
            if self.play.random.random() < 0.1:
                self.play.decide(message.data.request_id)
        elif isinstance(message, RequestDecided | RequestCancelled):
            self.open.discard(message.data.request_id)


class Play:
    """One random story."""

    def __init__(self, seed: int, path: Path) -> None:
        self.random = random.Random(seed)
        self.path = path
        self.now = 0.0
        self.file = DecisionLog(path, pytest.fail)
        self.log: list[Entry] = []
        self.story: list[Message] = []
        self.queue = Queue(
            rules=LIMITS, log=self.logged, now=lambda: self.now, document_of=document_of
        )
        self.queue.listen(self.story.append)
        self.listeners = [Listener(self)]
        self.count = 0
        self.asked: dict[str, Exchange] = {}
        self.given: Counter[str] = Counter()
        self.at_once: Counter[str] = Counter()
        self.exchanges: list[Exchange] = []

    def logged(self, entry: Entry) -> None:
        self.log.append(entry)
        self.file.append(entry.row())

    def step(self) -> None:
        acts = [
            (self.offer, 22),
            (self.decide, 16),
            (self.live, 30),
            (self.away, 10),
            (self.gone, 5),
            (self.cancel, 4),
            (self.pass_time, 10),
            (self.drop_writer, 4),
            (self.update, 3),
            (self.listen, 3),
            (self.revoke, 2),
        ]
        act = self.random.choices([act for act, _ in acts], [weight for _, weight in acts])[0]
        act()
        self.check()

    def offer(self, depth: int = 0) -> None:
        self.count += 1
        name = f"c{self.count}"
        same = f"same-{self.random.randrange(12)}"
        make = self.random.choice((card, card, response_card, call_card))
        shown: Card = make(
            name,
            same=same,
            client=self.random.choice(("one", "two")),
            created_s=self.now,
            deadline_s=self.now + self.random.choice((5, 30, 100)),
            default=self.random.choice((FORWARD, NO, answer("late"))),
            may_approve=self.random.random() < 0.9,
            verdicts=self.random.choice(((), (), ("loop",))),
        )
        exchange = Exchange()
        if depth < 2 and self.random.random() < 0.3:
            # The exchange goes on at once and something else of it is held.
            exchange.on_call = lambda: self.offer(depth + 1)
        if self.random.random() < 0.3:
            # The client is seen to leave while it is written to.
            exchange.on_write = lambda: self.random.random() < 0.2 and self.leaves(name)
        self.exchanges.append(exchange)
        self.asked[name] = exchange
        decided = self.queue.offer(shown, exchange)
        if decided is not None:
            self.at_once[name] += 1
            exchange.over = True

    def some(self) -> str:
        known = [each.id for each in self.queue.waiting()]
        known += [past.request_id for past in self.queue.history()[:3]] + ["unknown"]
        return self.random.choice(known)

    def decision(self, shown: Card | None) -> tuple[str, Decided]:
        edited = Forward(request=request(f"edited {self.random.random()}"))
        return self.random.choice(
            [
                ("approve", FORWARD),
                ("approve", FORWARD),
                ("edit", edited if shown is None or shown.kind == "request" else answer("edited")),
                ("answer", answer("in its place")),
                ("reject", NO),
                ("reject", Denied(message="no", form="tool_result")),
                ("edit", FORWARD),
            ]
        )

    def decide(self, name: str = "") -> None:
        name = name or self.some()
        shown = next((each for each in self.queue.waiting() if each.id == name), None)
        action, decided = self.decision(shown)
        digest = shown.digest if shown is not None else ""
        if self.random.random() < 0.1:
            digest = "0" * 64
        minutes = 1 if self.random.random() < 0.2 else 0
        by = self.random.choice(OPERATORS)
        try:
            self.queue.decide(name, action, decided, by, digest, "", minutes)  # type: ignore[arg-type]
        except ReviewError as error:
            self.refused(error, name)
        else:
            assert digest != "0" * 64
            self.given[name] += 1

    def refused(self, error: ReviewError, name: str) -> None:
        if error.code == "already_decided":
            assert error.data["action"]
        elif error.code == "not_found":
            assert name not in {each.id for each in self.queue.waiting()}

    def live(self) -> None:
        name, by = self.some(), self.random.choice(OPERATORS)
        writers = [(view.request_id, view.writer) for view in self.queue.views() if view.writer]
        if writers and self.random.random() < 0.8:
            name, by = self.random.choice(writers)
        act = self.random.randrange(4)
        try:
            match act:
                case 0:
                    self.queue.begin(name, by)
                case 1:
                    self.queue.say(name, by, "some text", self.random.choice(("", "thinking")))
                case 2:
                    call = ToolCall(id=f"k{self.random.random()}", name="weather", arguments="{}")
                    self.queue.add_call(name, by, call)
                case _:
                    self.queue.finish(name, None, by)
                    self.given[name] += 1
        except ReviewError as error:
            self.refused(error, name)

    def away(self) -> None:
        name = self.random.choice(list(self.asked) or ["unknown"])
        if name in self.asked:
            self.leaves(name)

    def leaves(self, name: str) -> None:
        self.asked[name].over = True
        self.queue.away(name)

    def gone(self) -> None:
        if self.exchanges:
            self.random.choice(self.exchanges).gone = True

    def cancel(self) -> None:
        name = self.random.choice(list(self.asked) or ["unknown"])
        exchange = self.asked.get(name)
        if exchange is not None:
            exchange.over = True
        self.queue.cancel(name, "reset")

    def pass_time(self) -> None:
        self.now += self.random.choice((0.5, 3, 10, 40))
        self.queue.expire()
        due = self.queue.due()
        assert due is None or due > self.now

    def drop_writer(self) -> None:
        self.queue.drop_writer(self.random.choice(OPERATORS))

    def update(self) -> None:
        name = self.some()
        try:
            self.queue.update(name, card(text=f"now {self.random.random()}"), "ann")
        except ReviewError as error:
            self.refused(error, name)

    def listen(self) -> None:
        if self.random.random() < 0.5 and len(self.listeners) > 1:
            self.listeners.pop().leave()
        else:
            self.listeners.append(Listener(self))

    def revoke(self) -> None:
        for approval in self.queue.standing():
            self.queue.revoke(approval.id, "ann")

    def check(self) -> None:
        """What holds at every moment."""
        table = self.queue._table
        assert len(table.held) == len(table.asked) <= LIMITS.waiting_max
        assert len(table.parked) <= LIMITS.waiting_max
        assert len(self.queue.history()) <= LIMITS.history_max
        assert len(self.queue.standing()) <= LIMITS.standing_max
        waiting = {each.id for each in self.queue.waiting()}
        for listener in self.listeners:
            assert listener.open == waiting
            assert listener.heard == self.story[listener.first :]
        stats = self.queue.stats()
        assert stats.waiting == len(waiting)
        assert sum(len(each.decisions) > 1 for each in self.exchanges) == 0

    def end(self) -> None:
        """What holds when all is over."""
        shown = [each.data.request_id for each in self.story if isinstance(each, NewRequest)]
        told = Counter(
            each.data.request_id
            for each in self.story
            if isinstance(each, RequestDecided | RequestCancelled)
        )
        assert max(Counter(shown).values(), default=1) == 1
        assert set(shown) <= set(told)
        assert set(told.values()) <= {1}
        undelivered = {each.request_id for each in self.log if each.what == "undelivered"}
        ended = Counter(each.request_id for each in self.log if each.what in ENDS)
        assert set(ended.values()) <= {1}
        assert set(told) == {each for each in ended if each in told}
        offered = {each.request_id for each in self.log if each.what == "offered"}
        assert offered == set(shown)
        assert offered <= set(ended)
        parked = {each.request_id for each in self.log if each.what in ("delivered", "unused")}
        assert not parked & undelivered
        once = Counter(each.request_id for each in self.log if each.what in ("delivered", "unused"))
        assert set(once.values()) <= {1}
        assert set(self.given.values()) <= {1}
        table = self.queue._table
        assert not table.held
        assert not table.asked
        assert not table.parked
        found = verify(self.path, self.file.last)
        assert (found.broken, found.lines) == (None, len(self.log))
        stats = self.queue.stats()
        sums = stats.cancelled + stats.timeouts + stats.full + sum(stats.decided.values())
        shutdowns = sum(
            isinstance(each, RequestDecided) and each.data.action == "shutdown"
            for each in self.story
        )
        assert sums + shutdowns == len(told)


@pytest.mark.parametrize("seed", range(60))
def test_each_card_ends_once_whatever_happens(seed: int, tmp_path: Path) -> None:
    play = Play(seed, tmp_path / "log")
    for _ in range(250):
        play.step()
    if seed % 2:
        play.queue.close("the proxy ends")
    else:
        for exchange in play.exchanges:
            exchange.on_call = exchange.on_write = lambda: None
        while (due := play.queue.due()) is not None:
            play.now = max(play.now, due)
            play.queue.expire()
    play.check()
    play.end()
