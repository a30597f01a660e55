"""What the queue keeps of a card while it waits, its bounds, and what it writes to the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol

from llmitm.canon.events import Event, Fault, FinishReason
from llmitm.canon.values import Json, value
from llmitm.desk.cards import Card
from llmitm.desk.live import LiveAnswer
from llmitm.desk.said import MOST_STANDING_MINUTES
from llmitm.desk.told import State
from llmitm.stages.contract import Answer, Decided, Denied, Forward, Refuse

SHUTTING_DOWN = Fault(
    kind="unavailable",
    status=503,
    code="shutting_down",
    message="llmitm is shutting down; nobody has decided about this request",
)


class Waiting(Protocol):
    """The exchange behind a card. False everywhere: it is over, its client has left.

    It is given one decision at most: `decided`, or `finish` after `begin` and any number of
    `write`. None of them may raise.
    """

    def decided(self, decided: Decided) -> bool:
        """Goes on like this."""
        ...

    def begin(self) -> bool:
        """An answer is going to be written live in the model's place."""
        ...

    def write(self, events: Sequence[Event]) -> bool:
        """More of that answer: parts of choice 0, without `Start`, `Finish` and `End`."""
        ...

    def finish(self, reason: FinishReason) -> bool:
        """That answer is complete; all its parts have ended."""
        ...


@value(kw_only=True)
class ReviewLimits:
    """Bounds. waiting_max: cards at once, a further one gets its default; history_max: cards that
    are over and still shown; rejoin_s: how long a card waits for a client that has left, 0 = not;
    standing_max: standing approvals at once; standing_minutes_max: how long one may last;
    writing_idle_s: an answer that is written live may pause so long without being ended by the
    deadline; writing_most_s: it is ended so long after it began, whatever is written;
    written_max: characters of one such answer."""

    waiting_max: int = 1000
    history_max: int = 500
    rejoin_s: float = 60.0
    standing_max: int = 100
    standing_minutes_max: float = MOST_STANDING_MINUTES
    writing_idle_s: float = 120.0
    writing_most_s: float = 1800.0
    written_max: int = 2_000_000


@dataclass(slots=True)
class Held:
    """A card that waits. waiting: None = its client is away, until `away_until` at most.

    asked: id of the card as the exchange that waits now has offered it; digest: of the card;
    writer: who writes an answer live, empty = nobody, since `began_s`; told_s: the deadline that
    operators were last told while it was written; opened: `begin` was called.
    """

    card: Card
    waiting: Waiting | None
    asked: str
    digest: str
    away_until: float = 0.0
    writer: str = ""
    began_s: float = 0.0
    told_s: float = 0.0
    opened: bool = False
    live: LiveAnswer = field(default_factory=LiveAnswer)

    @property
    def state(self) -> State:
        """In one word."""
        if self.waiting is None:
            return "away"
        return "writing" if self.writer else "waiting"

    @property
    def due(self) -> float:
        """When something happens by itself."""
        if self.waiting is None:
            return min(self.away_until, self.card.deadline_s)
        return self.card.deadline_s


@dataclass(frozen=True, slots=True)
class Parked:
    """What was decided while the client was away, for when it comes again until `until`."""

    card: Card
    digest: str
    decided: Decided
    by: str
    until: float


@value(kw_only=True)
class Entry:
    """One line of the decision log. at: seconds since the epoch; what: `offered`, `rejoined`,
    `away`, `decided`, `undelivered`, `delivered`, `unused`, `begun`, `writer_left`, `finished`,
    `timeout`, `cancelled`, `shutdown`, `full`, `standing`, `standing_used`, `revoked`, `updated`,
    `closed`.

    by: who (for `cancelled`: who was writing), empty = nobody; action: what an operator decided;
    effect: what happens by that, in one word; digest: of what is held; shown: the digest that the
    operator named, empty = none; difference: unified, of the documents, capped; wait_s: None =
    not over.
    """

    at: float
    what: str
    request_id: str = ""
    by: str = ""
    action: str = ""
    effect: str = ""
    digest: str = ""
    shown: str = ""
    note: str = ""
    difference: str = ""
    kind: str = ""
    exchange: str = ""
    reason: str = ""
    rule: str = ""
    client: str = ""
    provider: str = ""
    model: str = ""
    wait_s: float | None = None

    def row(self) -> dict[str, Json]:
        """As JSON values, what is empty left out."""
        return {name: each for name, each in asdict(self).items() if each not in ("", None)}


def effect_word(decided: Decided | None) -> str:
    """What a decision does, in one word; empty for none."""
    match decided:
        case Forward():
            return "forward" if decided.request is None else "forward_edited"
        case Answer():
            return "answer"
        case Refuse():
            return "refuse"
        case Denied():
            return f"denied_{decided.form}"
        case None:
            return ""
