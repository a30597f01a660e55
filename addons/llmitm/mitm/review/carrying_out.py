"""Carries out what an operator asks: documents are read in a thread, all else at once.

A long document takes seconds to read; the proxy goes on meanwhile. What was decided about by then
is told by the queue, which looks at the digest when the decision comes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from llmitm.canon.values import Json
from llmitm.desk import rulings
from llmitm.desk.cards import Card
from llmitm.desk.messages import (
    Checked,
    CheckEditMessage,
    CheckedMessage,
    EditRequest,
    EditRequestMessage,
    Wish,
)
from llmitm.desk.queue import Queue
from llmitm.desk.review_error import ReviewError
from llmitm.errors import DocumentError
from llmitm.stages.contract import Decided

type Check = Callable[[Card, str], Checked]
"""What an edited document would come to. Called in a thread; raises nothing."""
type Edited = Callable[[Card, str], Decided]
"""What a document that was checked decides. Called in a thread; raises DocumentError alone."""

_MOST_MISTAKES = 10


class Wishes:
    """See the module."""

    def __init__(self, queue: Queue, check: Check, edited: Edited) -> None:
        self._queue = queue
        self._check = check
        self._edited = edited
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="llmitm-documents")

    async def carry_out(self, wish: Wish, by: str) -> CheckedMessage | None:
        """Does it; what its sender alone is told, None = what has changed everybody hears.

        Raises ReviewError; then nothing has changed.
        """
        match wish:
            case CheckEditMessage(data=data):
                card = self._queue.card(data.request_id)
                return CheckedMessage(data=await self._read(self._check, card, data.document))
            case EditRequestMessage(data=data):
                await self._edit(data, by)
            case _:
                rulings.carry_out(self._queue, wish, by)
        return None

    async def _edit(self, said: EditRequest, by: str) -> None:
        card = self._queue.card(said.request_id)
        decided = await self._read(self._settled, card, said)
        self._queue.decide(said.request_id, "edit", decided, by, said.digest, said.note)

    def _settled(self, card: Card, said: EditRequest) -> Decided:
        if said.digest != card.digest:
            raise ReviewError("stale", "something else is held now: look at it again")
        checked = self._check(card, said.document)
        if not checked.ok:
            raise _invalid([(mistake.line, mistake.message) for mistake in checked.errors])
        if checked.warnings and not said.anyway:
            warnings: list[Json] = [warning.model_dump() for warning in checked.warnings]
            say = "; ".join(warning.say for warning in checked.warnings)
            raise ReviewError("confirm", say, {"warnings": warnings})
        try:
            return self._edited(card, said.document)
        except DocumentError as error:
            raise _invalid(error.mistakes) from None

    async def _read[A, R](self, function: Callable[[Card, A], R], card: Card, about: A) -> R:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._reader, function, card, about)

    def close(self) -> None:
        """No more documents are read."""
        self._reader.shutdown(wait=False, cancel_futures=True)


def _invalid(mistakes: Sequence[tuple[int, str]]) -> ReviewError:
    words = [f"line {line}: {say}" if line else say for line, say in mistakes[:_MOST_MISTAKES]]
    left = len(mistakes) - len(words)
    more = [f"and {left} more"] if left > 0 else []
    return ReviewError("invalid", "; ".join([*words, *more]) or "this cannot be sent")
