"""Puts remembered proofs back into a request for their maker, and tells what another one loses.

The client's words stay the client's: only reasoning and signatures are added, in the order in
which the provider sent them. Reasoning that the client merely echoes, without its proof, gives way
to the proven one. Never: adds what the client carried itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall
from llmitm.canon.request import Message, Request
from llmitm.canon.values import Loss, pointer
from llmitm.exchange.signature_keys import is_makers, mark_of
from llmitm.exchange.signature_places import Finder, Match, Slot, regions, runs_of, text_mark
from llmitm.exchange.signatures import Maker, SignatureMemory, SignedCall, SignedText, SignedTurn

_FEATURE = "part.reasoning.signature"
# Their APIs refuse reasoning that they did not make, and a client echoes what it was shown.
_REFUSE_ECHOES = frozenset({"anthropic_messages", "openai_responses"})

type Recall = Callable[[Request, str, str], tuple[Request, tuple[Loss, ...]]]
"""(request, provider, protocol) -> the request with what this provider made, and what it lost."""


def restored(
    memory: SignatureMemory, scope: bytes, request: Request, maker: Maker
) -> tuple[Request, tuple[Loss, ...]]:
    """The request for `maker` with its own proofs, and one loss for each turn of another maker.

    The very same request where nothing is known of it.
    """
    if not memory.knows(scope):
        return request, ()
    messages = request.messages
    runs = list(runs_of(messages))
    used: set[SignedTurn] = set()
    matches: dict[int, list[Match]] = {}
    slots: dict[int, list[Slot]] = {}
    # The newest first: of equal turns the last one said is the last one kept.
    for run in reversed(runs):
        slots[run[0]] = [
            Slot(place, part) for place in range(*run) for part in messages[place].parts
        ]
        finder = Finder(memory, scope, messages[: run[0]], used)
        matches[run[0]] = finder.find(slots[run[0]])
    changed: dict[int, Message] = {}
    losses: list[Loss] = []
    placed: set[SignedTurn] = set()
    for begin, end in runs:
        if not matches[begin]:
            continue
        for region, match in regions(slots[begin], matches[begin]):
            memory.touch(match.turn)
            if match.turn.maker == maker:
                _Return(slots[begin], region, match, match.turn in placed, losses, maker).write()
            else:
                losses += _lost(messages[begin], slots[begin], region, match, maker)
            placed.add(match.turn)
        changed |= _rewritten(messages, begin, end, slots[begin])
    if not changed:
        return request, tuple(losses)
    kept = (changed.get(place, message) for place, message in enumerate(messages))
    spoken = tuple(
        message
        for message, before in zip(kept, messages, strict=True)
        if message.parts or not before.parts
    )
    return replace(request, messages=spoken), tuple(losses)


def _lost(
    first: Message, slots: Sequence[Slot], region: tuple[int, int], match: Match, maker: Maker
) -> Iterator[Loss]:
    """What is lost of a turn that another provider made; its echoes go where they would harm."""
    for slot in slots[slice(*region)]:
        part = slot.part
        if isinstance(part, Reasoning) and not is_makers(part):
            refused = part.dialect in _REFUSE_ECHOES and part.dialect == maker.protocol
            slot.now = [] if refused else [_bare(part)]
    if match.turn.signed:
        places = [slots[place].part.at for place in match.calls.values()]
        at = places[0] if places else first.at
        say = f"made by {match.turn.maker.provider}"
        yield Loss(_FEATURE, pointer(at), maker.protocol, say=say)


def _bare(part: Reasoning) -> Reasoning:
    """The same without the empty proof that a protocol's form demands."""
    return part if part.signature is None else replace(part, signature=None)


def _rewritten(
    messages: Sequence[Message], begin: int, end: int, slots: Sequence[Slot]
) -> dict[int, Message]:
    """The messages of a run whose parts are others now."""
    parts: dict[int, list[Part]] = {place: [] for place in range(begin, end)}
    for slot in slots:
        parts[slot.message] += (slot.part,) if slot.now is None else slot.now
    return {
        place: replace(messages[place], parts=tuple(now))
        for place, now in parts.items()
        if len(now) != len(messages[place].parts)
        or any(new is not old for new, old in zip(now, messages[place].parts, strict=True))
    }


class _Return:
    """Writes one remembered turn into its region of a run."""

    def __init__(
        self,
        slots: Sequence[Slot],
        region: tuple[int, int],
        match: Match,
        placed: bool,
        losses: list[Loss],
        maker: Maker,
    ) -> None:
        self._slots = slots
        self._region = region
        self._match = match
        self._placed = placed
        self._losses = losses
        self._maker = maker
        self._waiting: list[Part] = []
        inside = slots[slice(*region)]
        turn = match.turn
        self._exact = text_mark(inside) == (turn.text, turn.text_length) or not turn.text_length
        self._carried = {mark_of(slot.part) for slot in inside if is_makers(slot.part)}
        self._signed = {
            slot.part.signature
            for slot in inside
            if isinstance(slot.part, Text) and not slot.part.text
        }
        self._texts = _Texts(
            [place for place in range(*region) if isinstance(slots[place].part, Text | Refusal)],
            slots,
        )

    def write(self) -> None:
        """Fills the slots of the region."""
        last = self._region[0]
        first = True
        for number, piece in enumerate(self._match.turn.pieces):
            match piece:
                case Reasoning():
                    self._reasoning(piece)
                case SignedCall():
                    place = self._match.calls.get(number)
                    if place is not None:
                        self._flush(self._region[0] if first else place)
                        first, last = False, place
                        self._call(piece, place)
                case SignedText() if self._exact:
                    last = self._text(piece, first=first, last=last)
                    first = first and not piece.length
                case SignedText():
                    self._flush(self._region[0] if first else last)
                    first = False
                    self._altered(piece)
        self._fill()
        self._flush(last)

    def _reasoning(self, piece: Reasoning) -> None:
        if not self._placed and mark_of(piece) not in self._carried:
            self._waiting.append(piece)

    def _call(self, piece: SignedCall, place: int) -> None:
        slot = self._slots[place]
        part = slot.part
        if isinstance(part, ToolCall) and part.signature is None and piece.signature is not None:
            part = replace(part, signature=piece.signature)
        slot.put(part)

    def _text(self, piece: SignedText, *, first: bool, last: int) -> int:
        """Places a text that is the very text that the provider sent; gives its last slot."""
        if not piece.length:
            carried = piece.signature in self._signed
            if piece.signature is not None and not (self._placed or carried):
                self._waiting.append(Text(text="", signature=piece.signature))
            return last
        for place, part, ends in self._joined([*self._texts.take(piece.length)]):
            self._flush(self._region[0] if first else place)
            first, last = False, place
            signed = ends and piece.signature is not None and isinstance(part, Text)
            self._slots[place].put(replace(part, signature=piece.signature) if signed else part)
        return last

    def _joined(self, segments: list[tuple[int, Part, bool]]) -> list[tuple[int, Part, bool]]:
        """One text again where a client kept it in the pieces in which it was streamed."""
        texts = [part for _, part, _ in segments if isinstance(part, Text) and _is_plain(part)]
        if len(segments) < 2 or len(texts) < len(segments):
            return segments
        for place, _, _ in segments:
            self._slots[place].put()
        text = "".join(part.text for part in texts)
        return [(segments[0][0], Text(text=text, at=texts[0].at), True)]

    def _altered(self, piece: SignedText) -> None:
        if piece.signature is not None:
            at = self._slots[self._region[0]].part.at
            say = "its text came back changed"
            self._losses.append(Loss(_FEATURE, pointer(at), self._maker.protocol, say=say))

    def _flush(self, place: int) -> None:
        """Puts what waits behind what was written at this slot by now."""
        if self._waiting:
            self._slots[place].put(*self._waiting)
            self._waiting = []

    def _fill(self) -> None:
        """What the turn says nothing of stays as the client sent it; echoes give way."""
        proven = any(isinstance(piece, Reasoning) for piece in self._match.turn.pieces)
        written = {*self._match.calls.values(), *self._texts.taken}
        for place in range(*self._region):
            slot = self._slots[place]
            if place in written:
                continue
            part = slot.part
            if isinstance(part, Text) and not part.text and _is_plain(part):
                # Between reasoning and its call it would part the two.
                slot.put()
            elif not isinstance(part, Reasoning) or is_makers(part):
                slot.put(part)
            elif not proven:
                slot.put(_bare(part))
            else:
                slot.put()


def _is_plain(part: Text) -> bool:
    return not (part.extras or part.annotations or part.signature)


class _Texts:
    """The texts of a region, dealt out in pieces of given lengths."""

    def __init__(self, places: Sequence[int], slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._left = [(place, 0) for place in places]
        self.taken: set[int] = set()

    def take(self, length: int) -> Iterator[tuple[int, Part, bool]]:
        """(slot, part, whether it ends the piece) for the next `length` characters."""
        while length > 0 and self._left:
            place, start = self._left.pop(0)
            part = self._slots[place].part
            assert isinstance(part, Text | Refusal)
            stop = min(len(part.text), start + length)
            self.taken.add(place)
            length -= stop - start
            if stop < len(part.text):
                self._left.insert(0, (place, stop))
            whole = start == 0 and stop == len(part.text)
            yield place, part if whole else replace(part, text=part.text[start:stop]), length == 0
