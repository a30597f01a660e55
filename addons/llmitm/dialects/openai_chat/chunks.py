"""The chunks of a streamed answer as bytes, what all of them share printed once.

Source: OpenAI API reference, Chat, the chat completion chunk object.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmitm.canon.events import Finish, Start
from llmitm.canon.values import NO_EXTRAS, Extras, Json
from llmitm.dialects.contract import Reply
from llmitm.dialects.openai_chat.answers import answer_id, model_name
from llmitm.dialects.openai_chat.parts import Wire
from llmitm.dialects.openai_chat.tables import NAME
from llmitm.dialects.openai_chat.wire import dump

TAIL = b'},"finish_reason":null}]}\n\n'
"""What follows a delta's last value."""


@dataclass(slots=True)
class OpenPart:
    """A part on its way: how its deltas are written and what waits for its end."""

    prefix: bytes = b""
    suffix: bytes = b""
    call: int = -1
    custom: bool = False
    legacy: bool = False
    arguments: bool = False
    reasoning: bool = False
    details: Json = None
    annotations: list[Json] = field(default_factory=list[Json])
    logprobs: list[Json] = field(default_factory=list[Json])


@dataclass(slots=True)
class OpenChoice:
    """A choice on its way: how many calls it has, and its finish, which waits for the end."""

    index: int
    calls: int = 0
    called: bool = False
    finish: Finish | None = None


class ChunkWriter:
    """Writes chunks to `out`. extras: fields that go beside the choices of the next chunk."""

    def __init__(self, reply: Reply, out: list[bytes]) -> None:
        self.extras: Wire = {}
        self._reply = reply
        self._out = out
        self._start = Start()
        self._head = b""

    def start(self, event: Start) -> None:
        """What the answer is called; what was said before stays."""
        old = self._start
        created = event.created_s if old.created_s is None else old.created_s
        self._start = Start(
            old.id or event.id, old.model or event.model, created, dialect=event.dialect
        )

    @property
    def named(self) -> bool:
        """Whether the provider has told an id."""
        return self._start.id != ""

    def _prefix(self) -> bytes:
        """The part of a chunk before its choices; fixed once the first one is written."""
        if not self._head:
            start, reply = self._start, self._reply
            head: Wire = {
                "id": answer_id(start.id, reply),
                "object": "chat.completion.chunk",
                "created": reply.created_s if start.created_s is None else start.created_s,
                "model": model_name(start.model, reply, start.dialect == NAME),
            }
            self._head = b"data: " + dump(head)[:-1]
        return self._head

    def write(self, choices: list[Json], beside: Wire) -> None:
        """One chunk."""
        if self.extras:
            beside = {**self.extras, **beside}
            self.extras = {}
        fields = dump({"choices": choices, **beside})[1:]
        self._out.append(self._prefix() + b"," + fields + b"\n\n")

    def flush(self) -> None:
        """A chunk for the extras alone, if there are any."""
        if self.extras:
            self.write([], {})

    def say(self, index: int, delta: Wire, beside: Extras = NO_EXTRAS) -> None:
        """One chunk with one choice; beside: its fields besides the delta."""
        choice: Wire = {"index": index, "delta": delta, "finish_reason": None, **beside}
        self.write([choice], {})

    def opening(self, index: int, key: str) -> bytes:
        """A chunk up to the value of one field of its delta; `TAIL` ends it."""
        place = f',"choices":[{{"index":{index},"delta":{{{key}'
        return self._prefix() + place.encode()
