"""What the sim received and how far each answer got: a bounded log, safe to read from any thread.

Never: redacts. It is a test double's log; keep real keys away from a sim.
"""

from __future__ import annotations

import base64
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MAX_ENTRIES = 2_000
MAX_BODY_BYTES = 64_000_000


@dataclass(slots=True, kw_only=True)
class Received:
    """One request and the fate of its answer.

    index: counts up from 0 for the life of the sim; at_s: seconds since the sim started;
    headers: names as written by tornado (`X-Api-Key`), in order; scenario: empty where none was
    played; status: 0 = no head was sent; events_sent: stream events, 1 for a whole body;
    aborted_at: events sent when the client went away, None = it did not; done: the answer ended,
    whichever way; cut: the sim itself broke it off.
    """

    index: int
    at_s: float
    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes
    protocol: str = ""
    scenario: str = ""
    status: int = 0
    events_sent: int = 0
    aborted_at: int | None = None
    cut: bool = False
    done: bool = False
    done_s: float | None = None

    def header(self, name: str) -> str | None:
        """The first value of a header, in any case; None if it was not sent."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)

    def as_json(self) -> dict[str, object]:
        """For `GET /_sim/requests`: `body` is text, or `body_base64` is set if it is not UTF-8."""
        value: dict[str, object] = {
            "index": self.index,
            "at_s": round(self.at_s, 6),
            "method": self.method,
            "path": self.path,
            "headers": [list(pair) for pair in self.headers],
            "protocol": self.protocol,
            "scenario": self.scenario,
            "status": self.status,
            "events_sent": self.events_sent,
            "aborted_at": self.aborted_at,
            "cut": self.cut,
            "done": self.done,
            "body": None,
        }
        try:
            value["body"] = self.body.decode()
        except UnicodeDecodeError:
            value["body_base64"] = base64.b64encode(self.body).decode()
        return value


class Log:
    """The newest `max_entries` requests whose bodies fit into `max_body_bytes` together."""

    def __init__(
        self, max_entries: int = MAX_ENTRIES, max_body_bytes: int = MAX_BODY_BYTES
    ) -> None:
        self._entries: deque[Received] = deque()
        self._max_entries = max_entries
        self._max_body_bytes = max_body_bytes
        self._body_bytes = 0
        self._next = 0
        self._changed = threading.Condition()

    def add(
        self, at_s: float, method: str, path: str, headers: list[tuple[str, str]], body: bytes
    ) -> Received:
        """A new entry; the oldest give way."""
        with self._changed:
            entry = Received(
                index=self._next, at_s=at_s, method=method, path=path, headers=headers, body=body
            )
            self._next += 1
            self._entries.append(entry)
            self._body_bytes += len(body)
            while len(self._entries) > 1 and (
                len(self._entries) > self._max_entries or self._body_bytes > self._max_body_bytes
            ):
                self._body_bytes -= len(self._entries.popleft().body)
            self._changed.notify_all()
        return entry

    def close(self, entry: Received, at_s: float) -> None:
        """The answer of `entry` has ended; whoever waits looks again."""
        with self._changed:
            entry.done = True
            entry.done_s = at_s
            self._changed.notify_all()

    def all(self) -> tuple[Received, ...]:
        """The entries, oldest first."""
        with self._changed:
            return tuple(self._entries)

    @property
    def count(self) -> int:
        """Requests since the start, those that were dropped from the log included."""
        return self._next

    def clear(self) -> None:
        """Forgets the entries; the index goes on counting."""
        with self._changed:
            self._entries.clear()
            self._body_bytes = 0

    def wait(
        self, test: Callable[[tuple[Received, ...]], bool], timeout_s: float = 5.0
    ) -> tuple[Received, ...]:
        """The entries as soon as `test` of them holds. Blocks: never call it on the sim's own loop.

        Raises TimeoutError after `timeout_s`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: test(tuple(self._entries)), timeout_s):
                raise TimeoutError(f"the sim's log did not get there: {len(self._entries)} entries")
            return tuple(self._entries)
