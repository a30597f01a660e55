"""What has happened at the desk: cards that are over, figures, and everybody who is told."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

from llmitm.desk.told import Ending, Past


class History:
    """The last cards that are over, by id, the oldest forgotten first; and figures of all."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._past: dict[str, Past] = {}
        self._endings: Counter[Ending] = Counter()
        self._waited = 0
        self._waited_s = 0.0
        self._longest_s = 0.0

    def bound(self, most: int) -> None:
        """From now on so many are remembered."""
        self._most = most

    def add(self, past: Past, *, waited: bool = True) -> None:
        """One more. waited: counts for how long cards wait."""
        self._past.pop(past.request_id, None)
        self._past[past.request_id] = past
        while len(self._past) > self._most:
            del self._past[next(iter(self._past))]
        self._endings[past.action] += 1
        if waited:
            self._waited += 1
            self._waited_s += past.wait_s
            self._longest_s = max(self._longest_s, past.wait_s)

    def amend(self, past: Past) -> None:
        """It ended otherwise than it was added."""
        before = self._past.get(past.request_id)
        if before is not None:
            self._past[past.request_id] = past
            self._endings[before.action] -= 1
            self._endings[past.action] += 1

    def get(self, request_id: str) -> Past | None:
        """The card that is over, None = none is remembered."""
        return self._past.get(request_id)

    def rows(self) -> list[Past]:
        """The newest first."""
        return list(reversed(self._past.values()))

    def count(self, ending: Ending) -> int:
        """How many cards ended so, ever."""
        return self._endings[ending]

    @property
    def average_s(self) -> float | None:
        """How long cards waited, None = none did."""
        return self._waited_s / self._waited if self._waited else None

    @property
    def longest_s(self) -> float | None:
        """How long the longest waited, None = none did."""
        return self._longest_s if self._waited else None


class Audience[M]:
    """Everybody who listens. All hear the same messages in the same order, also when one of them
    makes something happen while it is told. A listener may not raise."""

    def __init__(self) -> None:
        self._listeners: dict[int, Callable[[M], None]] = {}
        self._next = 0
        self._telling = False
        self._outbox: deque[tuple[M, tuple[int, ...]]] = deque()

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(self, told: Callable[[M], None]) -> Callable[[], None]:
        """From the next message on; the result ends it."""
        number = self._next
        self._next += 1
        self._listeners[number] = told
        return lambda: self._leave(number)

    def _leave(self, number: int) -> None:
        self._listeners.pop(number, None)

    def tell(self, message: M) -> None:
        """To everybody who listens now."""
        # Who begins to listen later has seen how things stood then: this is no news to them.
        self._outbox.append((message, tuple(self._listeners)))
        if self._telling:
            return
        self._telling = True
        try:
            while self._outbox:
                each, to = self._outbox.popleft()
                for number in to:
                    told = self._listeners.get(number)
                    if told is not None:
                        told(each)
        finally:
            self._telling = False
