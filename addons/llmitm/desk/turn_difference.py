"""Where the new part of a conversation begins, so that an operator need not read it all again.

Keeps digests, never texts; of conversations that were not heard of for long, nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from itertools import islice

from llmitm.canon.digests import digest
from llmitm.canon.request import Message
from llmitm.desk.edit_effects import said_in

_MOST_CONVERSATIONS = 1024
_MOST_MESSAGES = 8192


class Turns:
    """What the last request of each conversation had. most: conversations that are remembered."""

    def __init__(self, most: int = _MOST_CONVERSATIONS) -> None:
        self._most = most
        self._last: OrderedDict[str, tuple[tuple[bytes, ...], int]] = OrderedDict()

    def new_from(self, conversation: str, messages: Sequence[Message]) -> int:
        """Index of the first message that the conversation's last request did not have in that
        place; 0 for its first request, or where the conversation is not known (empty).

        The same request once more gives the same answer. Cache breakpoints do not count.
        """
        if not conversation:
            return 0
        had, first = self._last.get(conversation, ((), 0))
        has = tuple(_digest(message) for message in islice(messages, _MOST_MESSAGES))
        if has != had:
            pairs = enumerate(zip(had, has, strict=False))
            differs = (place for place, (one, other) in pairs if one != other)
            first = next(differs, min(len(had), len(has)))
        self._last[conversation] = (has, first)
        self._last.move_to_end(conversation)
        while len(self._last) > self._most:
            self._last.popitem(last=False)
        return first

    def __len__(self) -> int:
        return len(self._last)


def _digest(message: Message) -> bytes:
    return digest(b"", (message.role, message.name or "", *said_in(message.parts)))
