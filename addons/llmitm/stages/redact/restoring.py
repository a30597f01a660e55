"""An answer with its secrets back: wherever it was cut into events, the client reads the same.

Only what may be the beginning of a placeholder is kept back, and goes out with the next event of
its part, at the latest with the part's end. Thinking that turns out to be signed stays as the model
wrote it, or its signature would prove another text: from its first placeholder on it waits for the
end of its part. Never: puts back what was not replaced in this conversation.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import Literal

from llmitm.canon.events import (
    DeltaKind,
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
)
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.ruleset.redact import PLACEHOLDER
from llmitm.stages.redact.json_texts import escaped
from llmitm.stages.redact.placeholders import PLACEHOLDER_CHARS, PREFIX, Placeholders
from llmitm.stages.redact.replacing import Items, looked_at

_BEGINNING = re.compile(f"{PREFIX}[a-z2-7]*")


@dataclass(slots=True)
class _Open:
    """A part that goes on. form: `json` = its secrets are put back as the inside of a string;
    held: what is kept back; waits: thinking whose placeholders wait for its end; sealed: nothing
    is put back any more."""

    kind: DeltaKind
    form: Literal["text", "json"]
    held: str = ""
    waits: bool = False
    sealed: bool = False


class Restoring:
    """Puts the secrets of one conversation back into one answer. items: as `Rows` has them."""

    def __init__(self, placeholders: Placeholders, items: Items) -> None:
        self._placeholders = placeholders
        self._items = items
        self._parts: dict[tuple[int, int], _Open] = {}

    def feed(self, event: Event) -> tuple[Event, ...]:
        """The events that take this one's place."""
        match event:
            case PartDelta():
                return self._delta(event)
            case PartStart():
                return (self._start(event),)
            case PartDetail():
                return (*self._seal(event), event)
            case PartEnd():
                return (*self._flush(event.choice, event.index), event)
            case Finish():
                return (*self._flush_all(event.choice), event)
            case End() | Fault():
                return (*self._flush_all(None), event)
            case _:
                return (event,)

    def _start(self, event: PartStart) -> PartStart:
        match event.part:
            case Text() | Refusal():
                kind: DeltaKind = "text" if isinstance(event.part, Text) else "refusal"
                part, said = _Open(kind, "text"), event.part.text
            case Reasoning():
                part, said = _Open("reasoning", "text"), event.part.text
                part.sealed = _is_signed(event.part.signature, event.part.encrypted)
            case ToolCall():
                form = "json" if event.part.kind == "function" else "text"
                part, said = _Open("arguments", form), event.part.arguments
            case Unknown():
                return self._item(event, event.part)
            case _:
                return event
        self._parts[event.choice, event.index] = part
        if not said:
            return event
        out = self._taken(part, said)
        return event if out == said else replace(event, part=_with_text(event.part, out))

    def _item(self, event: PartStart, item: Unknown) -> PartStart:
        value = item.value
        for key, inner in looked_at(item, self._items):
            text = json.dumps(inner)
            new = self._restored(_Open("arguments", "json"), text)
            if new != text and isinstance(value, dict):
                value = {**value, key: json.loads(new)}
        return event if value is item.value else replace(event, part=replace(item, value=value))

    def _delta(self, event: PartDelta) -> tuple[Event, ...]:
        place = event.choice, event.index
        part = self._parts.get(place)
        if part is None:
            form = "json" if event.kind == "arguments" else "text"
            part = self._parts[place] = _Open(event.kind, form)
        out = self._taken(part, event.text)
        if out == event.text:
            return (event,)
        return (replace(event, text=out),) if out else ()

    def _taken(self, part: _Open, text: str) -> str:
        """What of the text, and of what was held before it, can go out now."""
        if part.sealed:
            return text
        if part.held:
            text = part.held + text
            part.held = ""
        if part.waits:
            part.held = text
            return ""
        if PREFIX[0] not in text:
            return text
        if part.kind == "reasoning":
            known = (found for found in PLACEHOLDER.finditer(text) if self._known(found))
            first = next(known, None)
            if first is not None:
                part.waits, part.held = True, text[first.start() :]
                return text[: first.start()]
        keep = _beginning(text)
        part.held = text[keep:]
        return self._restored(part, text[:keep])

    def _known(self, found: re.Match[str]) -> bool:
        return self._placeholders.secret(found[0]) is not None

    def _restored(self, part: _Open, text: str) -> str:
        def written(found: re.Match[str]) -> str:
            secret = self._placeholders.secret(found[0])
            if secret is None:
                return found[0]
            return escaped(secret) if part.form == "json" else secret

        return PLACEHOLDER.sub(written, text) if PREFIX in text else text

    def _seal(self, event: PartDetail) -> tuple[Event, ...]:
        """Thinking that is signed goes out as the model wrote it."""
        part = self._parts.get((event.choice, event.index))
        if part is None or part.kind != "reasoning" or part.sealed:
            return ()
        if not _is_signed(event.signature, event.encrypted):
            return ()
        part.sealed = True
        held, part.held = part.held, ""
        return (PartDelta(event.index, part.kind, held, event.choice),) if held else ()

    def _flush(self, choice: int, index: int) -> tuple[Event, ...]:
        part = self._parts.pop((choice, index), None)
        if part is None or not part.held:
            return ()
        return (PartDelta(index, part.kind, self._restored(part, part.held), choice),)

    def _flush_all(self, choice: int | None) -> tuple[Event, ...]:
        places = [place for place in self._parts if choice is None or place[0] == choice]
        return tuple(event for place in places for event in self._flush(*place))


def _beginning(text: str) -> int:
    """Where the end of the text may be the beginning of a placeholder; its length if nowhere."""
    at = text.find(PREFIX[0], max(len(text) - PLACEHOLDER_CHARS + 1, 0))
    while at >= 0:
        tail = text[at:]
        if PREFIX.startswith(tail) or _BEGINNING.fullmatch(tail):
            return at
        at = text.find(PREFIX[0], at + 1)
    return len(text)


def _is_signed(signature: str | None, encrypted: str | None) -> bool:
    return bool(signature) or bool(encrypted)


def _with_text(part: Part, text: str) -> Part:
    if isinstance(part, ToolCall):
        return replace(part, arguments=text)
    if isinstance(part, Text | Refusal | Reasoning):
        return replace(part, text=text)
    return part
