"""Reading a document field by field, so that all mistakes come out at once, each with its line.

Never raises on what somebody wrote: a field that is not what it must be counts as what it was.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from llmitm.canon.values import Json
from llmitm.dialects.splicing import Edit, print_json, splice
from llmitm.ruleset.documents import Node, plain
from llmitm.ruleset.yaml_text import Block, Written, writable

DEEPEST_JSON = 24
"""Levels of JSON that are written as YAML; what goes deeper stands as JSON text."""
_MOST_MISTAKES = 100


@dataclass(slots=True)
class Mistakes:
    """All that is wrong: (line, what). Of very many the first are kept."""

    found: list[tuple[int, str]] = field(default_factory=list[tuple[int, str]])

    def add(self, node: Node, say: str) -> None:
        """Something is wrong where this node was written."""
        if len(self.found) < _MOST_MISTAKES:
            self.found.append((node.place.line, say))


class Fields:
    """The keys of one mapping of a document. what: how a person calls it (`message`)."""

    def __init__(self, node: Node, what: str, mistakes: Mistakes) -> None:
        self.node = node
        self.what = what
        self.mistakes = mistakes
        self._left: dict[str, Node] = {}
        if isinstance(node.value, dict):
            self._left = dict(node.value)
        else:
            mistakes.add(node, f"{what} must be a mapping (`key: value` lines), not {shape(node)}")

    def take(self, key: str) -> Node | None:
        """The value of this key, None when it is not there."""
        return self._left.pop(key, None)

    def names(self) -> list[str]:
        """The keys that nobody has taken."""
        return list(self._left)

    def done(self, allowed: Iterable[str] = ()) -> None:
        """Whatever nobody has taken is a mistake. allowed: for its text."""
        told = ", ".join(allowed)
        for key, node in self._left.items():
            may = f"; allowed: {told}" if told else ""
            self.mistakes.add(node, f"{self.what} has no `{key}`{may}")
        self._left.clear()

    def text(self, key: str, was: str | None) -> str | None:
        """Text, None when the key is not there (or null)."""
        node = self.take(key)
        if node is None or node.value is None:
            return None
        return self.as_text(node, key, was or "")

    def needed(self, key: str, was: str) -> str:
        """Text that must be there."""
        node = self.take(key)
        if node is None:
            self.mistakes.add(self.node, f"{self.what} must have `{key}`")
            return was
        return self.as_text(node, key, was)

    def as_text(self, node: Node, key: str, was: str) -> str:
        """The text of a node."""
        if isinstance(node.value, str):
            return node.value
        self.mistakes.add(node, f"`{key}` must be text (quote it), not {shape(node)}")
        return was

    def flag(self, key: str, was: bool | None) -> bool | None:
        """true or false, None when the key is not there (or null)."""
        node = self.take(key)
        if node is None or node.value is None or isinstance(node.value, bool):
            return node.value if node is not None and isinstance(node.value, bool) else None
        self.mistakes.add(node, f"`{key}` must be true or false, not {shape(node)}")
        return was

    def whole(self, key: str, was: int | None) -> int | None:
        """A whole number, None when the key is not there (or null)."""
        node = self.take(key)
        if node is None or node.value is None:
            return None
        if isinstance(node.value, int) and not isinstance(node.value, bool):
            return node.value
        self.mistakes.add(node, f"`{key}` must be a whole number, not {shape(node)}")
        return was

    def number(self, key: str, was: float | None) -> float | None:
        """A number, None when the key is not there (or null)."""
        node = self.take(key)
        if node is None or node.value is None:
            return None
        value = node.value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return was if value == was else value
        self.mistakes.add(node, f"`{key}` must be a number, not {shape(node)}")
        return was

    def word[T: str](self, key: str, was: T, words: tuple[T, ...]) -> T:
        """One of these words; what it was when the key is not there."""
        node = self.take(key)
        if node is None:
            return was
        if node.value == was:
            return was
        if node.value in words:
            return cast("T", node.value)
        self.mistakes.add(node, f"`{key}` must be one of {', '.join(words)}")
        return was

    def texts(self, key: str, was: tuple[str, ...]) -> tuple[str, ...]:
        """A list of texts, empty when the key is not there."""
        node = self.take(key)
        if node is None or node.value is None:
            return ()
        if isinstance(node.value, list):
            return tuple(self.as_text(item, key, "") for item in node.value)
        self.mistakes.add(node, f"`{key}` must be a list of texts, not {shape(node)}")
        return was

    def json(self, key: str, was: Json) -> Json:
        """JSON as `json_written` wrote it, None when the key is not there; `was` itself if same."""
        node = self.take(key)
        if node is None:
            return None
        value = plain(node)
        shown = json_written(was)
        if isinstance(value, str) and isinstance(shown, Block):
            if value == shown.text:
                return was
            try:
                value = json.loads(value, parse_constant=_refused)
            except (ValueError, RecursionError) as error:
                self.mistakes.add(node, f"`{key}` is not JSON: {error}")
                return was
        return was if same_json(value, was) else value

    def items(self, key: str) -> list[Node] | None:
        """A list, None when the key is not there (null is an empty one)."""
        node = self.take(key)
        if node is None:
            return None
        return self.as_items(node, key)

    def as_items(self, node: Node, key: str) -> list[Node]:
        """The items of a list."""
        if isinstance(node.value, list):
            return node.value
        if node.value is not None:
            say = f"`{key}` must be a list (`- ` before each item), not {shape(node)}"
            self.mistakes.add(node, say)
        return []

    def place(self, key: str, count: int) -> int | None:
        """A number from 1 to `count` as an index from 0; None when it is not there or wrong."""
        node = self.take(key)
        if node is None:
            return None
        value = node.value
        if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= count:
            return value - 1
        if not count:
            say = f"`{key}` names something that was there before, and here was nothing"
        else:
            say = f"`{key}` must be a number from 1 to {count}: what was there before"
        self.mistakes.add(node, f"{say}; leave it out for something new")
        return None


def shape(node: Node) -> str:
    """What a node is, for a message."""
    match node.value:
        case None:
            return "nothing"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "text"
        case list():
            return "a list"
        case dict():
            return "a mapping"


def json_written(value: Json) -> Written:
    """JSON as YAML, or as a block of JSON text where YAML is not fit to hold it."""
    return value if writable(value, DEEPEST_JSON) else Block(print_json(value))


def object_of(text: str) -> dict[str, Json] | None:
    """The JSON object that `text` is, if it can stand in a document as YAML; else None."""
    try:
        value: Json = json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and writable(value, DEEPEST_JSON) else None


def _refused(name: str) -> Json:
    raise ValueError(f"{name} is not JSON")


def same_json(one: Json, other: Json) -> bool:
    """Whether both are the same to the type: 1, 1.0 and true are three values."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same_json(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same_json, one, other))
    return type(one) is type(other) and (
        one == other if isinstance(one, str) else repr(one) == repr(other)
    )


def edited_json(text: str, old: Json, new: Json) -> str:
    """The JSON text `text`, which means `old`, changed so that it means `new`; what is the same in
    both keeps its characters."""
    edits: list[Edit] = []
    _differences(old, new, (), edits)
    return splice(text, edits) or print_json(new)


def _differences(old: Json, new: Json, at: tuple[str | int, ...], edits: list[Edit]) -> None:
    if isinstance(old, dict) and isinstance(new, dict):
        edits += [Edit("delete", (*at, key)) for key in old if key not in new]
        for key, value in new.items():
            if key in old:
                _differences(old[key], value, (*at, key), edits)
            else:
                edits.append(Edit("set", (*at, key), value))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for place, (was, now) in enumerate(zip(old, new, strict=True)):
            _differences(was, now, (*at, place), edits)
    elif not same_json(old, new):
        edits.append(Edit("set", at, new))
