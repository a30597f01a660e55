"""What is written of one answer so far: its events, its finished items, its losses.

Never: decides which item comes next (that is `writer`), knows what an item holds.
Source: OpenAI API reference, Responses, streaming events; the response object.
"""

from __future__ import annotations

from llmitm.canon.events import Usage
from llmitm.canon.values import Extras, Json, Loss
from llmitm.dialects.openai_responses.parts import Wire, json_bytes
from llmitm.dialects.openai_responses.tables import NAME
from llmitm.dialects.telling import AFTER_END, telling


def response_skeleton() -> Wire:
    """What the official response object always says, where the provider's protocol does not."""
    return {
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": None,
        "max_output_tokens": None,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": False,
        "temperature": None,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "metadata": {},
    }


class Output:
    """Collects the events of one answer and its finished items; numbers both.

    own: the answer was made in this protocol, so that its extras may be written; stem: what made
    item ids begin with.
    """

    def __init__(self, losses: list[Loss]) -> None:
        self.own = False
        self.stem = "0"
        self.sequence = 0
        self._losses = losses
        self._told: set[tuple[str, str, str]] = set()
        self._events: list[tuple[str, bytes]] = []
        self._items: list[Json] = []
        self._names = 0

    def take(self) -> list[tuple[str, bytes]]:
        """The events since the last call."""
        events, self._events = self._events, []
        return events

    def emit(self, kind: str, fields: Wire) -> None:
        """One more event; its type and number are added."""
        wire: Wire = {"type": kind, "sequence_number": self.sequence, **fields}
        wire["type"] = kind
        self.sequence += 1
        self._events.append((kind, json_bytes(wire)))

    def repeat(self, value: Json) -> None:
        """An event as it was read, of a further answer that has numbers of its own."""
        kind = value.get("type") if isinstance(value, dict) else None
        if isinstance(kind, str):
            self._events.append((kind, json_bytes(value)))
        else:
            self.lose("event.unknown", say=AFTER_END)

    def emit_delta(self, kind: str, prefix: bytes, delta: bytes, suffix: bytes) -> None:
        """The common event, put together from what was printed before."""
        number = b"%d}" % self.sequence
        self.sequence += 1
        self._events.append((kind, b"".join((prefix, delta, suffix, number))))

    def lose(self, feature: str, path: str = "", say: str = "", adapted: bool = False) -> None:
        """Reports a loss, once."""
        if (feature, path, say) not in self._told:
            self._told.add((feature, path, say))
            how = "adapted" if adapted else "dropped"
            self._losses.append(Loss(feature, path, NAME, how, say))

    def lose_extras(self, extras: Extras) -> None:
        """Reports extras of another protocol."""
        for key in telling(extras):
            self.lose("field", "/" + key)

    def name(self, prefix: str) -> str:
        """A new item id."""
        self._names += 1
        return f"{prefix}_{self.stem}_{self._names}"

    def reserve(self) -> int:
        """The place of one more item."""
        self._items.append(None)
        return len(self._items) - 1

    def put(self, place: int, item: Json) -> None:
        """The finished item of this place."""
        self._items[place] = item

    def items(self) -> list[Json]:
        """The finished items; one that was announced and never came is left out."""
        return [item for item in self._items if item is not None]


class Item:
    """An item with its place in the output."""

    def __init__(self, out: Output, place: int | None = None) -> None:
        self.out = out
        self.place = out.reserve() if place is None else place

    def added(self, item: Json) -> None:
        """Announces it."""
        self.out.emit("response.output_item.added", {"output_index": self.place, "item": item})

    def done(self, item: Json) -> None:
        """Ends it."""
        self.out.put(self.place, item)
        self.out.emit("response.output_item.done", {"output_index": self.place, "item": item})


def delta_prefix(kind: str, name: str, place: int, more: str = "") -> bytes:
    """A delta event as far as its `delta`."""
    quoted = json_bytes(name).decode()
    return f'{{"type":"{kind}","item_id":{quoted},"output_index":{place},{more}"delta":'.encode()


NUMBER = b',"sequence_number":'


def usage_object(usage: Usage, out: Output) -> Wire:
    """`usage` with the provider's own fields where it is of this protocol.

    A count that was not told is 0, as the official object has no null; a missing total is the sum.
    """
    sent, made = usage.input_tokens, usage.output_tokens
    total = usage.total_tokens
    if total is None and sent is not None and made is not None:
        total = sent + made
    if out.own and isinstance(usage.raw, dict):
        wire: Wire = dict(usage.raw)
        for key, value in (
            ("input_tokens", sent),
            ("output_tokens", made),
            ("total_tokens", usage.total_tokens),
        ):
            if value is not None and wire.get(key) != value:
                wire[key] = value
        return wire
    details: Wire = {"cached_tokens": usage.cache_read_tokens or 0}
    if usage.cache_write_tokens is not None:
        details["cache_write_tokens"] = usage.cache_write_tokens
    return {
        "input_tokens": sent or 0,
        "input_tokens_details": details,
        "output_tokens": made or 0,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": total or 0,
    }
