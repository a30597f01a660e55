"""Every operator who is connected: each hears each message, and who does not listen is dropped.

A message is printed once, however many hear it. Bounded: connections, and what waits for each.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable

from llmitm.desk.messages import Message
from llmitm.mitm.review.auth import Operator
from llmitm.mitm.review.limits import network_of
from llmitm.mitm.review.printing import printed

MOST_LINES = 64
MOST_LINES_OF_ADDRESS = 32
MOST_WAITING = 512
MOST_WAITING_CHARACTERS = 32 << 20

TOO_SLOW = (1013, "too slow: too much waits to be read")
SIGNED_OUT = (1008, "signed out")
SHUTDOWN = (1001, "the proxy shuts down")


class Line:
    """What one connection has still to be told. write: puts a message on the wire at once;
    close: (code, reason) -> closes the connection."""

    def __init__(
        self,
        operator: Operator,
        by: str,
        write: Callable[[str], None],
        close: Callable[[int, str], None],
    ) -> None:
        self.operator = operator
        self.by = by
        self._write = write
        self._close = close
        self._texts: deque[str] = deque()
        self._characters = 0
        self._more = asyncio.Event()
        self.over = False

    def say(self, text: str) -> None:
        """Puts a message at the end; who has not read for too long is cut off."""
        if self.over:
            return
        full = self._characters + len(text) > MOST_WAITING_CHARACTERS and self._texts
        if full or len(self._texts) >= MOST_WAITING:
            self.end(*TOO_SLOW)
            return
        self._texts.append(text)
        self._characters += len(text)
        self._more.set()

    def end(self, code: int, reason: str) -> None:
        """Closes the connection; what waits is forgotten."""
        if self.over:
            return
        self.forget()
        self._close(code, reason)

    def last_words(self) -> None:
        """Puts on the wire what waits: there will be no time for it later."""
        for text in self._texts:
            self._write(text)
        self._texts.clear()

    def forget(self) -> None:
        """The connection is over."""
        self.over = True
        self._texts.clear()
        self._characters = 0
        self._more.set()

    async def next(self) -> str | None:
        """The next message, as soon as there is one; None when the line is over."""
        while not self._texts and not self.over:
            self._more.clear()
            await self._more.wait()
        if self.over:
            return None
        text = self._texts.popleft()
        self._characters -= len(text)
        return text


class Hub:
    """See the module. listen: hears the queue's messages from then on, its result ends it; it is
    used while somebody is connected. online: told how many are, whenever that changes; left: told
    the name of somebody who has no connection any more."""

    def __init__(
        self,
        listen: Callable[[Callable[[Message], None]], Callable[[], None]],
        online: Callable[[int], None],
        left: Callable[[str], None],
    ) -> None:
        self._listen = listen
        self._online = online
        self._left = left
        self._lines: dict[Line, str] = {}
        self._stop: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._lines)

    def has_room(self, address: str) -> bool:
        """Whether one more from this address may connect."""
        counted = Counter(self._lines.values())
        return (
            len(self._lines) < MOST_LINES and counted[network_of(address)] < MOST_LINES_OF_ADDRESS
        )

    def join(self, line: Line, address: str) -> None:
        """From now on this one hears everything."""
        self._lines[line] = network_of(address)
        if self._stop is None:
            self._stop = self._listen(self.told)
        self._online(len(self._lines))

    def leave(self, line: Line) -> None:
        """The connection is over."""
        line.forget()
        if self._lines.pop(line, None) is None:
            return
        if not self._lines and self._stop is not None:
            self._stop()
            self._stop = None
        if all(other.by != line.by for other in self._lines):
            self._left(line.by)
        self._online(len(self._lines))

    def told(self, message: Message) -> None:
        """Says it to everybody."""
        if self._lines:
            text = printed(message)
            for line in list(self._lines):
                line.say(text)

    def sign_out(self, token_id: str) -> None:
        """Closes what was opened with this token."""
        for line in list(self._lines):
            if token_id and line.operator.token_id == token_id:
                line.end(*SIGNED_OUT)

    def close(self, *, own_port: bool = False) -> None:
        """Closes everything. own_port: only what has logged in there."""
        for line in list(self._lines):
            if line.operator.token_id or not own_port:
                line.last_words()
                line.end(*SHUTDOWN)
