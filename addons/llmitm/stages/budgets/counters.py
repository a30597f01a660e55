"""How much of each budget is used, and by whom? Bounded in number, kept over restarts by a store.

What is under way counts with an estimate until it is over. Never: holds a name, only digests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from llmitm.ruleset.budgets import NOTHING_USED, Used

MAX_COUNTERS = 10_000
MAX_FLIGHTS = 4096
FLIGHT_S = 3600.0
"""Seconds after which an exchange that nobody has closed no longer counts as under way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What one counter has in one window. start_s, end_s: the window, Unix seconds; unknown:
    answers whose cost is not known; estimated: answers whose tokens are an estimate."""

    start_s: int
    end_s: int
    used: Used = NOTHING_USED
    unknown: int = 0
    estimated: int = 0

    def plus(self, more: Kept) -> Kept:
        """Both together, of this window."""
        return Kept(
            start_s=self.start_s,
            end_s=self.end_s,
            used=self.used.plus(more.used),
            unknown=self.unknown + more.unknown,
            estimated=self.estimated + more.estimated,
        )


class BudgetStore(Protocol):
    """Where counters are kept, over restarts. Bounded; windows that are over go first.

    Keys are digests made with `salt`, which is kept too. Never raises, never waits long: what
    cannot be written is asked for again with the next `add`.
    """

    salt: bytes

    def read(self, key: bytes, start_s: int) -> Kept | None:
        """What is kept of this window; None = nothing."""
        ...

    def add(self, key: bytes, more: Kept) -> Kept | None:
        """Adds to the window that `more` names, on disk before it returns; a newer window takes an
        older one's place. What is kept then, of other processes too; None = it was not written."""
        ...

    def close(self) -> None:
        """The end: what is kept stays."""
        ...


class Unkept:
    """A store that keeps nothing: counters live as long as the process."""

    def __init__(self, salt: bytes) -> None:
        self.salt = salt

    def read(self, key: bytes, start_s: int) -> Kept | None:
        """Nothing."""
        del key, start_s
        return None

    def add(self, key: bytes, more: Kept) -> Kept | None:
        """Not written."""
        del key, more
        return None

    def close(self) -> None:
        """Nothing to do."""


@dataclass(slots=True)
class Counter:
    """One budget for one of those it counts apart. unsaved: what the store has not taken yet;
    flying: the estimates of what is under way, in `flights` exchanges; warned, shown, told: what
    was said in this window, in the list, in an answer, and of unknown costs."""

    kept: Kept
    unsaved: Kept
    flying: Used = NOTHING_USED
    flights: int = 0
    warned: bool = False
    shown: bool = False
    told: bool = False

    @property
    def total(self) -> Used:
        """What is used and what is under way."""
        return self.kept.used.plus(self.flying) if self.flights else self.kept.used

    def land(self, estimate: Used) -> None:
        """One exchange is no longer under way."""
        self.flights = max(self.flights - 1, 0)
        # Sums of estimates in dollars would drift.
        self.flying = self.flying.plus(estimate, -1) if self.flights else NOTHING_USED


@dataclass(frozen=True, slots=True)
class Flight:
    """One exchange under way, as it counts for one counter."""

    key: bytes
    estimate: Used


class Counters:
    """All counters that are in use."""

    def __init__(
        self,
        store: BudgetStore,
        *,
        max_counters: int = MAX_COUNTERS,
        max_flights: int = MAX_FLIGHTS,
    ) -> None:
        self._store = store
        self._most = (max_counters, max_flights)
        self._counters: OrderedDict[bytes, Counter] = OrderedDict()
        self._flights: OrderedDict[str, tuple[float, Sequence[Flight]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counters)

    def at(self, key: bytes, window_s: int, now_s: float) -> Counter:
        """The counter as it stands in the window of this moment.

        A moment before its window (an answer that ended late, a clock that was set back) counts
        for the window it is in.
        """
        start_s = int(now_s // window_s) * window_s
        counter = self._counters.get(key)
        if counter is None:
            empty = Kept(start_s=start_s, end_s=start_s + window_s)
            counter = Counter(self._store.read(key, start_s) or empty, empty)
            self._counters[key] = counter
            if len(self._counters) > self._most[0]:
                self._forget()
            return counter
        self._counters.move_to_end(key)
        if counter.kept.start_s < start_s:
            counter.kept = counter.unsaved = Kept(start_s=start_s, end_s=start_s + window_s)
            counter.warned = counter.shown = counter.told = False
        return counter

    def _forget(self) -> None:
        """The one that was unused longest, if possible one that has nothing under way."""
        newest = next(reversed(self._counters))
        idle = (key for key, each in self._counters.items() if not each.flights and key != newest)
        del self._counters[next(idle, next(iter(self._counters)))]

    def fly(self, turn: str, now_s: float, flights: Sequence[Flight]) -> None:
        """An exchange is under way."""
        for flight in flights:
            counter = self._counters.get(flight.key)
            if counter is not None:
                counter.flying = counter.flying.plus(flight.estimate)
                counter.flights += 1
        self._flights[turn] = (now_s, flights)
        while self._flights:
            oldest = next(iter(self._flights))
            if len(self._flights) <= self._most[1] and (
                self._flights[oldest][0] > now_s - FLIGHT_S
            ):
                break
            self.land(oldest)

    def land(self, turn: str) -> None:
        """It is over."""
        _, flights = self._flights.pop(turn, (0.0, ()))
        for flight in flights:
            counter = self._counters.get(flight.key)
            if counter is not None:
                counter.land(flight.estimate)

    def add(self, key: bytes, counter: Counter, more: Kept) -> None:
        """Counts what an exchange has used. more: its window need not be told right."""
        counter.unsaved = counter.unsaved.plus(more)
        counter.kept = counter.kept.plus(more)
        kept = self._store.add(key, counter.unsaved)
        if kept is not None and kept.start_s == counter.kept.start_s:
            counter.kept = kept
            counter.unsaved = Kept(start_s=kept.start_s, end_s=kept.end_s)
