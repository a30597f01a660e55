"""What providers signed, kept for clients whose protocol cannot carry it (rule 4 of the dialects).

A `Watcher` reads a translated answer and, when it is complete, leaves a `SignedTurn` in the
`SignatureMemory`: its proofs and the keys by which the turn is known again, no text, no arguments.
Bounded by bytes, in all and for each conversation, and by turns; what was longest unused goes
first. Never: encodes, or asks a clock.
Source: Anthropic API reference (extended thinking with tools); Google's guide to thought
signatures; OpenAI guide "Reasoning models" (encrypted reasoning items); OpenRouter, preserving
reasoning blocks (`reasoning_details`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from llmitm.canon.events import End, Event, Finish, PartDelta, PartDetail, PartStart
from llmitm.canon.fold import Folder
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall
from llmitm.canon.request import Message
from llmitm.exchange.signature_keys import (
    Fingerprint,
    context_of,
    id_key,
    is_makers,
    is_proven,
    said_key,
    talk_key,
    text_key,
)
from llmitm.ruleset.routes import LimitsRow

_MOST_PER_KEY = 64
_TURN_BYTES = 512
_KEY_BYTES = 160


@dataclass(frozen=True, slots=True)
class Maker:
    """Who made a proof, and so who alone may get it back."""

    provider: str
    protocol: str


@dataclass(frozen=True, slots=True)
class SignedCall:
    """A call of a signed turn. own_id: the provider gave it its id."""

    keys: tuple[bytes, ...]
    signature: str | None
    own_id: bool


@dataclass(frozen=True, slots=True)
class SignedText:
    """A run of text of a signed turn, without the text."""

    length: int
    signature: str | None


type Piece = Reasoning | SignedCall | SignedText


@dataclass(frozen=True, slots=True, eq=False)
class SignedTurn:
    """One answer. pieces: in wire order, reasoning only with its proof; text: digest and length of
    all its text; talk: key of its conversation; context: digest of what it answered; keys: all by
    which it is found."""

    maker: Maker
    pieces: tuple[Piece, ...]
    talk: bytes
    context: bytes
    text: bytes
    text_length: int
    keys: tuple[bytes, ...]
    size_bytes: int

    @property
    def signed(self) -> bool:
        """Whether anything would be lost with it."""
        return any(
            is_proven(piece) if isinstance(piece, Reasoning) else piece.signature
            for piece in self.pieces
        )


@dataclass(slots=True)
class _Talk:
    """The turns of one conversation, the longest unused first, and what they take."""

    turns: OrderedDict[SignedTurn, None] = field(default_factory=OrderedDict[SignedTurn, None])
    size_bytes: int = 0


class SignatureMemory:
    """Signed turns of all clients, found by key. `salt` makes keys useless elsewhere."""

    def __init__(self, salt: bytes, limits: LimitsRow) -> None:
        self.salt = salt
        self._limits = limits
        self._turns: OrderedDict[SignedTurn, bytes] = OrderedDict()
        self._places: dict[bytes, list[SignedTurn]] = {}
        self._scopes: dict[bytes, int] = {}
        self._talks: dict[bytes, _Talk] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._turns)

    @property
    def turn_bytes(self) -> int:
        """The most that one turn may take."""
        limits = self._limits
        return min(limits.signature_turn_bytes, limits.signature_conversation_bytes)

    def limit(self, limits: LimitsRow) -> None:
        """Other limits from now on."""
        self._limits = limits
        for talk in [*self._talks.values()]:
            self._trim(talk)
        self._shrink()

    def knows(self, scope: bytes) -> bool:
        """Whether anything is kept for this client."""
        return scope in self._scopes

    def find(self, key: bytes) -> Sequence[SignedTurn]:
        """The turns with this key, oldest first."""
        return self._places.get(key, ())

    def touch(self, turn: SignedTurn) -> None:
        """It was used: it goes last."""
        if turn in self._turns:
            self._turns.move_to_end(turn)
            self._talks[turn.talk].turns.move_to_end(turn)

    def put(self, scope: bytes, turn: SignedTurn) -> None:
        """Keeps a turn, unless it is larger than one may be."""
        if turn.size_bytes > self.turn_bytes:
            return
        self._turns[turn] = scope
        self._scopes[scope] = self._scopes.get(scope, 0) + 1
        self.size_bytes += turn.size_bytes
        talk = self._talks.setdefault(turn.talk, _Talk())
        talk.turns[turn] = None
        talk.size_bytes += turn.size_bytes
        for key in turn.keys:
            place = self._places.setdefault(key, [])
            place.append(turn)
            if len(place) > _MOST_PER_KEY:
                oldest = place.pop(0)
                if not any(oldest in self._places.get(other, ()) for other in oldest.keys):
                    self.drop(oldest)
        self._trim(talk)
        self._shrink()

    def drop(self, turn: SignedTurn) -> None:
        """Forgets a turn."""
        scope = self._turns.pop(turn, None)
        if scope is None:
            return
        self.size_bytes -= turn.size_bytes
        talk = self._talks[turn.talk]
        del talk.turns[turn]
        talk.size_bytes -= turn.size_bytes
        if not talk.turns:
            del self._talks[turn.talk]
        self._scopes[scope] -= 1
        if not self._scopes[scope]:
            del self._scopes[scope]
        for key in turn.keys:
            place = self._places.get(key, [])
            if turn in place:
                place.remove(turn)
                if not place:
                    del self._places[key]

    def _trim(self, talk: _Talk) -> None:
        while talk.size_bytes > self._limits.signature_conversation_bytes:
            self.drop(next(iter(talk.turns)))

    def _shrink(self) -> None:
        limits = self._limits
        while self._turns and (
            self.size_bytes > limits.signature_memory_bytes
            or len(self._turns) > limits.signature_turns
        ):
            self.drop(next(iter(self._turns)))


class Watcher:
    """Reads the events of one translated answer, as its provider sent them, its first choice only.

    What it holds is bounded by the memory's limit for a turn: past that it lets go.
    """

    def __init__(
        self, memory: SignatureMemory, scope: bytes, maker: Maker, asked: Sequence[Message]
    ) -> None:
        self._memory = memory
        self._scope = scope
        self._maker = maker
        self._asked = asked
        self._folder = Folder()
        self._folded: set[int] = set()
        self._lengths: dict[int, int] = {}
        self._signatures: dict[int, str] = {}
        self._text = Fingerprint()
        self._text_index = -1
        self._in_order = True
        self._size_bytes = 0
        self._kept: SignedTurn | None = None
        self._full = False

    def feed(self, event: Event) -> None:
        """Takes one event; the end of the answer leaves its turn in the memory."""
        if isinstance(event, PartDelta):
            if not event.choice and not self._full:
                self._delta(event)
        elif isinstance(event, PartStart):
            if not event.choice and not self._full:
                self._start(event)
        elif isinstance(event, PartDetail):
            if not event.choice and not self._full:
                self._detail(event)
        elif isinstance(event, Finish | End) and not self._full:
            self._keep()

    def _grow(self, size: int) -> None:
        self._size_bytes += size
        if self._size_bytes > self._memory.turn_bytes:
            self._full = True
            self._folder = Folder()

    def _start(self, event: PartStart) -> None:
        part = event.part
        if isinstance(part, Text | Refusal):
            self._lengths.setdefault(event.index, 0)
            self._say(event.index, part.text)
            if isinstance(part, Text) and part.signature is not None:
                self._signatures[event.index] = part.signature
                self._grow(len(part.signature))
        elif isinstance(part, Reasoning | ToolCall):
            self._folded.add(event.index)
            self._folder.feed(event)
            self._grow(_size(part))

    def _delta(self, event: PartDelta) -> None:
        if event.index in self._folded or event.kind in ("reasoning", "arguments"):
            self._folded.add(event.index)
            self._folder.feed(event)
            self._grow(len(event.text))
        else:
            self._say(event.index, event.text)

    def _say(self, index: int, text: str) -> None:
        if index < self._text_index:
            # Texts of two parts came mixed: what the client sees has no order known here.
            self._in_order = False
        self._text_index = index
        self._lengths[index] = self._lengths.get(index, 0) + len(text)
        if text:
            self._text.feed(text)

    def _detail(self, event: PartDetail) -> None:
        if event.index in self._folded:
            self._folder.feed(event)
            self._grow(
                len(event.signature or "") + len(event.encrypted or "") + _json_size(event.extras)
            )
        elif event.signature is not None:
            self._signatures[event.index] = event.signature
            self._lengths.setdefault(event.index, 0)
            self._grow(len(event.signature))

    def _keep(self) -> None:
        turn = self._turn()
        if self._kept is not None:
            # The end tells at most a little more than the finish reason did.
            self._memory.drop(self._kept)
        self._kept = turn
        if turn is not None:
            self._memory.put(self._scope, turn)

    def _turn(self) -> SignedTurn | None:
        choices = self._folder.response().choices
        parts = choices[0].parts if choices else ()
        found: dict[int, Part] = dict(zip(sorted(self._folded), parts, strict=True))
        thought = any(isinstance(part, Reasoning) for part in parts)
        calls = [part for part in parts if isinstance(part, ToolCall)]
        signed = thought or self._signatures or any(call.signature for call in calls)
        text = self._text.digest() if self._in_order and self._text.length else b""
        if not signed or not (calls or text):
            return None
        context = context_of(self._asked)
        pieces: list[Piece] = []
        for index in sorted({*found, *self._lengths}):
            part = found.get(index)
            if isinstance(part, ToolCall):
                pieces.append(self._call(part, context))
            elif part is None:
                pieces.append(SignedText(self._lengths[index], self._signatures.get(index)))
            elif isinstance(part, Reasoning) and is_makers(part):
                pieces.append(part)
        keys = tuple(dict.fromkeys(_keys(pieces))) if calls else (text_key(self._scope, text),)
        return SignedTurn(
            maker=self._maker,
            pieces=tuple(pieces),
            talk=talk_key(self._scope, self._asked),
            context=context,
            text=text,
            text_length=self._text.length,
            keys=keys,
            size_bytes=_turn_size(pieces, keys),
        )

    def _call(self, part: ToolCall, context: bytes) -> SignedCall:
        own = id_key(self._scope, part.id) if part.id else said_key(self._scope, part)
        keys = (own, said_key(self._scope, part, context))
        return SignedCall(keys, part.signature, bool(part.id))


def _keys(pieces: Iterable[Piece]) -> Iterable[bytes]:
    for piece in pieces:
        if isinstance(piece, SignedCall):
            yield from piece.keys


def _turn_size(pieces: Iterable[Piece], keys: Sequence[bytes]) -> int:
    """About what a turn takes in memory, in bytes."""
    size = _TURN_BYTES + _KEY_BYTES * len(keys)
    for piece in pieces:
        if isinstance(piece, Reasoning):
            size += _size(piece)
        else:
            size += _KEY_BYTES + len(piece.signature or "")
    return size


def _size(part: Reasoning | ToolCall) -> int:
    size = _TURN_BYTES + len(part.signature or "") + 2 * _json_size(part.extras)
    if isinstance(part, ToolCall):
        return size + len(part.arguments)
    return size + 2 * len(part.text) + len(part.encrypted or "")


def _json_size(value: object) -> int:
    return len(repr(value)) if value else 0
