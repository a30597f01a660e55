"""A request without its secrets: the texts that people, tools and models wrote, nothing else.

Never touched: signatures, signed or encrypted thinking, images, ids, tools on offer, items that
only one protocol knows (but for those of the rules). What was not edited is the same object.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Request
from llmitm.canon.values import Json
from llmitm.ruleset.redact import RedactMode
from llmitm.stages.redact.finding import Finder, Found
from llmitm.stages.redact.json_texts import Reading, said
from llmitm.stages.redact.placeholders import Placeholders

type Items = Mapping[str, tuple[str, ...]]

_REMEMBERED_CHARS = 1 << 10
_BATCH_MESSAGES = 1 << 7


@dataclass(slots=True, kw_only=True)
class Replacing:
    """One walk over one request, and what came of it.

    placeholders: gives the conversation's table, asked only when there is a secret; items: as
    `Rows` has them; acting: the modes in force, what is found in others is left; rules: rule -> how
    often it was found; refusing, asking: the first rule that refuses or asks, empty = none does;
    new: how many secrets this conversation had not seen.
    """

    finder: Finder
    placeholders: Callable[[], Placeholders]
    items: Items
    acting: frozenset[RedactMode]
    one_way_text: str
    rules: dict[str, int] = field(default_factory=dict[str, int])
    refusing: str = ""
    asking: str = ""
    new: int = 0

    def request(self, request: Request) -> Request:
        """The request with something else where secrets stood; the same object without any."""
        instructions = request.instructions
        if self._may_hold(instructions):
            instructions = self._parts(instructions)
        messages = self._messages(request.messages)
        if instructions is request.instructions and messages is request.messages:
            return request
        return replace(request, instructions=instructions, messages=messages)

    def _messages(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        """In batches: only those are looked at closely that may hold something."""
        changed: list[Message] | None = None
        for first in range(0, len(messages), _BATCH_MESSAGES):
            batch = messages[first : first + _BATCH_MESSAGES]
            if not self._may_hold([part for one in batch for part in one.parts]):
                continue
            for place, message in enumerate(batch, first):
                new = self._message(message)
                if new is not message:
                    changed = changed or list(messages)
                    changed[place] = new
        return messages if changed is None else tuple(changed)

    def _may_hold(self, parts: Sequence[Part]) -> bool:
        """Whether something might be found in these parts."""
        texts = [part.text for part in parts if type(part) is Text]
        clean: list[bytes] = []
        if len(texts) < len(parts):
            for part in parts:
                if type(part) is not Text:
                    self._gather(part, texts, clean)
        if self.finder.may_hold(texts):
            return True
        for key in clean:
            self.finder.remember(key)
        return False

    def _gather(self, part: Part, texts: list[str], clean: list[bytes]) -> None:
        """All of a part that is looked at. clean: digests of what is then known as clean."""
        match part:
            case ToolCall():
                if part.kind == "function":
                    _gather_json(part.arguments, self.finder, texts, clean)
                else:
                    texts.append(part.arguments)
            case ToolResult():
                for inner in part.parts:
                    self._gather(inner, texts, clean)
                if part.value is not None and not isinstance(part.value, bool):
                    _gather_json(_printed(part.value), self.finder, texts, clean)
            case Reasoning():
                if part.signature is None and part.encrypted is None:
                    texts.append(part.text)
            case Text() | Refusal():
                texts.append(part.text)
            case Media():
                texts.append(part.text or "")
            case Unknown():
                for _, value in looked_at(part, self.items):
                    _gather_json(_printed(value), self.finder, texts, clean)

    def _message(self, message: Message) -> Message:
        parts = self._parts(message.parts)
        return message if parts is message.parts else replace(message, parts=parts)

    def _parts(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        return _each(parts, self._part)

    def _part(self, part: Part) -> Part:
        match part:
            case Text() | Refusal():
                text = self.text(part.text)
                return part if text is part.text else replace(part, text=text)
            case ToolCall():
                said = part.arguments
                text = self.json_text(said) if part.kind == "function" else self.text(said)
                return part if text is said else replace(part, arguments=text)
            case ToolResult():
                parts, value = self._parts(part.parts), self._value(part.value)
                if parts is part.parts and value is part.value:
                    return part
                return replace(part, parts=parts, value=value)
            case Reasoning() if part.signature is None and part.encrypted is None:
                text = self.text(part.text)
                return part if text is part.text else replace(part, text=text)
            case Media() if part.text is not None:
                text = self.text(part.text)
                return part if text is part.text else replace(part, text=text)
            case Unknown():
                value = part.value
                for key, inner in looked_at(part, self.items):
                    new = self._value(inner)
                    if new is not inner and isinstance(value, dict):
                        value = {**value, key: new}
                return part if value is part.value else replace(part, value=value)
            case _:
                return part

    def text(self, text: str) -> str:
        """Plain text without its secrets; the same object without any."""
        found = self._acting(self.finder.find(text)) if text else ()
        if not found:
            return text
        out: list[str] = []
        done = 0
        for one in found:
            out += (text[done : one.start], self._word(one, text[one.start : one.end]))
            done = one.end
        out.append(text[done:])
        return "".join(out)

    def json_text(self, text: str) -> str:
        """JSON text (of arguments) without its secrets, still JSON; the same object without any."""
        finder = self.finder
        if "\\" not in text:
            if not finder.find(text):
                return text
            return self._reading(text, Reading(text))[0]
        key = finder.digest(text) if len(text) >= _REMEMBERED_CHARS else None
        if key is not None and finder.is_clean(key):
            return text
        new, clean = self._reading(text, Reading(text))
        if clean and key is not None:
            finder.remember(key)
        return new

    def _reading(self, text: str, reading: Reading) -> tuple[str, bool]:
        """(the text without its secrets, whether it held none at all)."""
        all_found = self.finder.find(reading.said)
        found = self._acting(all_found)
        if not found:
            return text, not all_found
        spans = [(one.start, one.end) for one in found]
        return reading.replaced(spans, lambda at, secret: self._word(found[at], secret)), False

    def _value(self, value: Json) -> Json:
        if value is None or isinstance(value, bool):
            return value
        text = _printed(value)
        new = self.json_text(text)
        return value if new is text else json.loads(new)

    def _acting(self, found: Sequence[Found]) -> Sequence[Found]:
        return [one for one in found if one.mode in self.acting] if found else found

    def _word(self, found: Found, secret: str) -> str:
        """What takes the secret's place."""
        self.rules[found.rule] = self.rules.get(found.rule, 0) + 1
        match found.mode:
            case "one_way":
                return self.one_way_text
            case "block":
                self.refusing = self.refusing or found.rule
            case "ask":
                self.asking = self.asking or found.rule
            case "replace":
                pass
        placeholder, new = self.placeholders().of(secret)
        self.new += new
        return placeholder


def looked_at(part: Unknown, items: Items) -> list[tuple[str, Json]]:
    """The keys of an item that are looked at, with what they hold."""
    keys = items.get(part.kind)
    if not keys or not isinstance(part.value, dict):
        return []
    return [(key, part.value[key]) for key in keys if key in part.value]


def _gather_json(text: str, finder: Finder, texts: list[str], clean: list[bytes]) -> None:
    if "\\" in text and len(text) >= _REMEMBERED_CHARS:
        key = finder.digest(text)
        if finder.is_clean(key):
            return
        clean.append(key)
    texts.append(said(text))


def _printed(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _each[T](items: tuple[T, ...], change: Callable[[T], T]) -> tuple[T, ...]:
    """The items changed one by one; the same tuple if none was."""
    changed: list[T] | None = None
    for place, item in enumerate(items):
        new = change(item)
        if new is not item:
            if changed is None:
                changed = list(items)
            changed[place] = new
    return items if changed is None else tuple(changed)
