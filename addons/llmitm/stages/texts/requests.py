"""What becomes of a request's texts: the same object where no rule finds anything.

Every rule goes from the oldest text to the newest, so that what `once` has changed in a
conversation is changed at the same place whenever the client sends its history again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from llmitm.canon.parts import Part, Text, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.canon.values import Json
from llmitm.ruleset.text_rules import TextRule

_SYSTEM = frozenset({"system", "developer"})
_SYSTEM_IN_MESSAGES = frozenset({"openai_chat", "ollama_chat"})
_OPENING_CHARS = 4096


def opening(request: Request) -> tuple[str, str]:
    """(the instructions, the user's first message): as much of either as a conversation is known
    by."""
    told = [*request.instructions]
    for message in request.messages:
        if message.role in _SYSTEM:
            told += message.parts
    first = next((one for one in request.messages if _has_own_text(one)), None)
    return _head(told), _head(first.parts) if first is not None else ""


def _head(parts: Iterable[Part]) -> str:
    text = ""
    for part in parts:
        if isinstance(part, Text):
            text += part.text[:_OPENING_CHARS]
            if len(text) >= _OPENING_CHARS:
                break
    return text[:_OPENING_CHARS]


def _has_own_text(message: Message) -> bool:
    return message.role == "user" and any(isinstance(part, Text) for part in message.parts)


def edited(request: Request, rules: Iterable[TextRule]) -> tuple[Request, list[str]]:
    """(the request after these rules, the names of those that changed it)."""
    changed: list[str] = []
    for rule in rules:
        after = _Edit(rule).request(request)
        if after is not request:
            changed.append(rule.name)
            request = after
    return request, changed


@dataclass(slots=True)
class _Edit:
    """One rule on its way through one request. over: a `once` rule has found its place."""

    rule: TextRule
    over: bool = False

    def request(self, request: Request) -> Request:
        if self.rule.where == "system":
            return self._system(request)
        messages: list[Message] = []
        same = True
        for message in request.messages:
            after = message if self.over else self._message(message)
            same = same and after is message
            messages.append(after)
        return request if same else replace(request, messages=tuple(messages))

    def _message(self, message: Message) -> Message:
        if self.rule.where == "user":
            if not _has_own_text(message):
                return message
            parts = self._texts(message.parts)
        else:
            parts = self._results(message.parts)
        return message if parts is message.parts else replace(message, parts=parts)

    def _text(self, text: str) -> str:
        after = text if self.over else self.rule.apply(text)
        if after != text and self.rule.once:
            self.over = True
        return after

    def _texts(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """The parts with their texts changed; a whole-text rule means the first or the last."""
        places = [place for place, part in enumerate(parts) if isinstance(part, Text)]
        if self.rule.find is None:
            places = places[:1] if self.rule.do == "prepend" else places[-1:]
        made = list(parts)
        same = True
        for place in places:
            part = parts[place]
            assert isinstance(part, Text)
            text = self._text(part.text)
            if text != part.text:
                made[place] = replace(part, text=text)
                same = False
        return parts if same else tuple(made)

    def _results(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        made: list[Part] = []
        same = True
        for part in parts:
            after = self._result(part) if isinstance(part, ToolResult) and not self.over else part
            same = same and after is part
            made.append(after)
        return parts if same else tuple(made)

    def _result(self, result: ToolResult) -> ToolResult:
        if result.value is None:
            parts = self._texts(result.parts)
            return result if parts is result.parts else replace(result, parts=parts)
        # The same result in two forms: both are changed, and `once` counts them as one.
        value = self._value(result.value)
        was_over, self.over = self.over, False
        parts = self._texts(result.parts)
        self.over = self.over or was_over
        if value == result.value and parts is result.parts:
            return result
        return replace(result, parts=parts, value=value)

    def _value(self, value: Json) -> Json:
        leaves = list(_strings(value))
        if self.rule.find is None and leaves:
            place = 0 if self.rule.do == "prepend" else len(leaves) - 1
            leaves[place] = self._text(leaves[place])
        elif self.rule.find is not None:
            leaves = [self._text(leaf) for leaf in leaves]
        left = iter(leaves)
        return _filled(value, lambda: next(left))

    def _system(self, request: Request) -> Request:
        if self.rule.find is None:
            return self._whole_system(request)
        instructions = self._texts(request.instructions)
        if instructions is not request.instructions:
            request = replace(request, instructions=instructions)
        return self._system_messages(request, range(len(request.messages)))

    def _system_messages(self, request: Request, places: Iterable[int]) -> Request:
        messages = list(request.messages)
        same = True
        for place in places:
            message = messages[place]
            if message.role not in _SYSTEM:
                continue
            parts = self._texts(message.parts)
            if parts is not message.parts:
                messages[place] = replace(message, parts=parts)
                same = False
        return request if same else replace(request, messages=tuple(messages))

    def _whole_system(self, request: Request) -> Request:
        """Before the first or behind the last of the instructions; these alone where there are
        none."""
        if any(isinstance(part, Text) for part in request.instructions):
            parts = self._texts(request.instructions)
            return replace(request, instructions=parts)
        places = [
            place
            for place, message in enumerate(request.messages)
            if message.role in _SYSTEM and any(isinstance(part, Text) for part in message.parts)
        ]
        if places:
            place = places[0] if self.rule.do == "prepend" else places[-1]
            return self._system_messages(request, (place,))
        told = Text(text=self.rule.text)
        if request.dialect in _SYSTEM_IN_MESSAGES:
            first = Message(role="system", parts=(told,))
            return replace(request, messages=(first, *request.messages))
        return replace(request, instructions=(*request.instructions, told))


def _strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)


def _filled(value: Json, leaf: Callable[[], str]) -> Json:
    """The same value with other texts, in the order of `_strings`."""
    if isinstance(value, str):
        return leaf()
    if isinstance(value, list):
        return [_filled(each, leaf) for each in value]
    if isinstance(value, dict):
        return {key: _filled(each, leaf) for key, each in value.items()}
    return value
