"""Where in a client's history the remembered turns stand.

A call is found by its provider's id, else by what it says, a turn without calls by its words; where
nothing but words tells a turn, what it answered must be the same too. Never: changes anything.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmitm.canon.parts import Part, Refusal, Text, ToolCall
from llmitm.canon.request import Message
from llmitm.exchange.signature_keys import Fingerprint, context_of, id_key, said_key, text_key
from llmitm.exchange.signatures import SignatureMemory, SignedCall, SignedTurn


@dataclass(slots=True)
class Slot:
    """One part of a run of assistant messages, and what takes its place, None = it stays."""

    message: int
    part: Part
    now: list[Part] | None = None

    def put(self, *parts: Part) -> None:
        """More of what takes its place."""
        self.now = [*(self.now or ()), *parts]


@dataclass(slots=True)
class Match:
    """A remembered turn and the places of its calls: piece -> slot."""

    turn: SignedTurn
    calls: dict[int, int]


def runs_of(messages: Sequence[Message]) -> Iterator[tuple[int, int]]:
    """(first, behind the last) of each row of assistant messages."""
    begin = -1
    for place, message in enumerate(messages):
        if message.role == "assistant":
            begin = place if begin < 0 else begin
        elif begin >= 0:
            yield begin, place
            begin = -1
    if begin >= 0:
        yield begin, len(messages)


class Finder:
    """Finds the turns of one run; each remembered turn without ids stands for one turn only."""

    def __init__(
        self,
        memory: SignatureMemory,
        scope: bytes,
        before: Sequence[Message],
        used: set[SignedTurn],
    ) -> None:
        self._memory = memory
        self._scope = scope
        self._before = before
        self._used = used
        self._context: bytes | None = None

    def find(self, slots: Sequence[Slot]) -> list[Match]:
        """The turns in the order of their first calls."""
        found: dict[SignedTurn, Match] = {}
        called = False
        for place, slot in enumerate(slots):
            if not isinstance(slot.part, ToolCall):
                continue
            called = True
            hit = self._call(slot.part, found)
            if hit is not None:
                turn, piece = hit
                found.setdefault(turn, Match(turn, {})).calls[piece] = place
        if not called and slots:
            turn = self._said(slots)
            if turn is not None:
                found[turn] = Match(turn, {})
        self._used.update(found)
        return list(found.values())

    def _call(
        self, call: ToolCall, found: dict[SignedTurn, Match]
    ) -> tuple[SignedTurn, int] | None:
        if call.id:
            key = id_key(self._scope, call.id)
            for turn in reversed(self._memory.find(key)):
                for place in _free(turn, key, found):
                    return turn, place
        keys = (said_key(self._scope, call, self._place()), said_key(self._scope, call))
        for key in keys:
            for turn in reversed(self._memory.find(key)):
                if turn in self._used and turn not in found:
                    continue
                for place in _free(turn, key, found):
                    # With another id it is another call, however much it says the same.
                    if not (call.id and _own_id(turn, place)):
                        return turn, place
        return None

    def _said(self, slots: Sequence[Slot]) -> SignedTurn | None:
        """The turn of these words; only right after the words that it answered."""
        digest, length = text_mark(slots)
        if not length:
            return None
        for turn in reversed(self._memory.find(text_key(self._scope, digest))):
            if turn not in self._used and turn.context == self._place():
                return turn
        return None

    def _place(self) -> bytes:
        if self._context is None:
            self._context = context_of(self._before)
        return self._context


def _free(turn: SignedTurn, key: bytes, found: dict[SignedTurn, Match]) -> Iterator[int]:
    """The turn's calls with this key that no part of the run stands for yet."""
    taken = found[turn].calls if turn in found else ()
    for place, piece in enumerate(turn.pieces):
        if isinstance(piece, SignedCall) and key in piece.keys and place not in taken:
            yield place


def _own_id(turn: SignedTurn, place: int) -> bool:
    piece = turn.pieces[place]
    return isinstance(piece, SignedCall) and piece.own_id


def text_mark(slots: Sequence[Slot]) -> tuple[bytes, int]:
    """Digest and length of all the text in these slots."""
    mark = Fingerprint()
    for slot in slots:
        if isinstance(slot.part, Text | Refusal):
            mark.feed(slot.part.text)
    return mark.digest(), mark.length


def regions(
    slots: Sequence[Slot], matches: Sequence[Match]
) -> Iterator[tuple[tuple[int, int], Match]]:
    """The slots of each turn in a run: up to its last call, the last one's up to the end."""
    begin = 0
    for number, match in enumerate(matches):
        if match.calls:
            # Calls of two turns that a client mixed: those before this region stay as they are.
            match.calls = {piece: at for piece, at in match.calls.items() if at >= begin}
            if not match.calls:
                continue
        last = number == len(matches) - 1
        end = len(slots) if last else max(match.calls.values()) + 1
        yield (begin, end), match
        begin = end
