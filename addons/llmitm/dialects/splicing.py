"""Edits of a JSON text that leave everything else as it stands, to the character.

One scan that walks only along the edited paths and skips the rest at C speed: about one parse.
Never: knows what the JSON means. Source: RFC 8259; a repeated key means its last occurrence, as in
Python's `json`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from llmitm.canon.values import Json, Path

_SPACE = re.compile(r"[ \t\n\r]*")
_WHITE = " \t\n\r"

# What `JSONDecoder.raw_decode` calls: (value, where it ends), StopIteration if there is none.
_value_at: Callable[[str, int], tuple[Any, int]] = cast("Any", json.JSONDecoder()).scan_once


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a JSON text. Paths speak of the original: other edits never move them.

    set: the value at `path` is replaced or, as a key of an object, added (with the objects
    between); delete: the object key (also when it is missing) or array element goes, with one
    comma; insert: `value` becomes an array element before the one at `path`, in the order given.
    """

    op: Literal["set", "delete", "insert"]
    path: Path
    value: Json = None


class _NoPlace(Exception):
    """An edit has no place in this text; never leaves the module."""


def splice(text: str, edits: Sequence[Edit]) -> str | None:
    """`text` with these edits, everything else kept to the character.

    None if a path does not exist and cannot be added, if edits contradict each other (one lies
    within what another replaces), or if `text` is not JSON.
    """
    if not edits:
        return text
    try:
        root = _plan(edits)
        scan = _Scan(text)
        begin = 1 if text.startswith("\ufeff") else 0
        scan.value(scan.space(begin), root)
    except (_NoPlace, ValueError, RecursionError, IndexError, StopIteration):
        return None
    pieces: list[str] = []
    done = 0
    for start, end, new in scan.changes:
        pieces += (text[done:start], new)
        done = end
    pieces.append(text[done:])
    return "".join(pieces)


def print_json(value: Json) -> str:
    """`value` as compact JSON that UTF-8 can carry: lone surrogates stay escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


@dataclass(slots=True)
class _Node:
    """The edits at and below one place."""

    op: Literal["set", "delete"] | None = None
    value: Json = None
    below: dict[str | int, _Node] = field(default_factory=dict[str | int, "_Node"])
    inserts: dict[int, list[Json]] = field(default_factory=dict[int, list[Json]])


def _plan(edits: Sequence[Edit]) -> _Node:
    root = _Node()
    for edit in edits:
        node = root
        *way, last = edit.path or ("",)
        for step in way:
            node = node.below.setdefault(step, _Node())
        if edit.op == "insert":
            if not edit.path or not isinstance(last, int) or last < 0:
                raise _NoPlace
            node.inserts.setdefault(last, []).append(edit.value)
            continue
        if edit.path:
            node = node.below.setdefault(last, _Node())
        elif edit.op == "delete":
            raise _NoPlace
        node.op, node.value = edit.op, edit.value
    _check(root)
    return root


def _check(node: _Node) -> None:
    if node.op is not None and (node.below or node.inserts):
        raise _NoPlace
    for child in node.below.values():
        _check(child)


def _grown(node: _Node) -> Json:
    """The value that these edits make where nothing stood before."""
    if node.op == "set":
        return node.value
    if node.inserts and not node.below:
        return [value for place in sorted(node.inserts) for value in node.inserts[place]]
    made: dict[str, Json] = {}
    for key, child in node.below.items():
        if not isinstance(key, str) or node.inserts:
            raise _NoPlace
        if child.op != "delete":
            made[key] = _grown(child)
    return made


type _Change = tuple[int, int, str]


class _Scan:
    """One walk over the text; `changes` are (start, end, new text), in order."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.changes: list[_Change] = []

    def space(self, at: int) -> int:
        """The first place from `at` on that is no white space."""
        found = _SPACE.match(self._text, at)
        return found.end() if found else at

    def skip(self, at: int) -> int:
        """Where the value that begins at `at` ends."""
        return _value_at(self._text, at)[1]

    def value(self, at: int, node: _Node) -> int:
        """Applies `node` to the value at `at`; where that value ends."""
        first = self._text[at]
        if node.op == "set":
            end = self.skip(at)
            self.changes.append((at, end, print_json(node.value)))
        elif first == "{" and not node.inserts:
            end = self._object(at, node)
        elif first == "[":
            end = self._array(at, node)
        elif self._text.startswith("null", at):
            end = at + 4
            self.changes.append((at, end, print_json(_grown(node))))
        else:
            raise _NoPlace
        return end

    def _object(self, start: int, node: _Node) -> int:
        text, below = self._text, node.below
        items: list[tuple[int, int]] = []
        dead: set[int] = set()
        nested: dict[int, list[_Change]] = {}
        # A repeated key: the last one counts for what is set, all of them for what is deleted.
        met: dict[str | int, int] = {}
        colon = ":"
        at = self.space(start + 1)
        while text[at] != "}":
            key, end = _value_at(text, at)
            opening = self.space(self._expect(self.space(end), ":"))
            colon = text[end:opening]
            child = below.get(key) if isinstance(key, str) else None
            if child is None:
                end = self.skip(opening)
            elif child.op == "delete":
                end = self.skip(opening)
                dead.add(len(items))
                met[key] = len(items)
            else:
                nested.pop(met.get(key, -1), None)
                outer, self.changes = self.changes, []
                end = self.value(opening, child)
                met[key] = len(items)
                nested[len(items)], self.changes = self.changes, outer
            items.append((at, end))
            at = self._next(end, "}")
        added: list[str] = []
        for key, child in below.items():
            if not isinstance(key, str):
                raise _NoPlace
            if key not in met and child.op != "delete":
                added.append(f"{print_json(key)}{colon}{print_json(_grown(child))}")
        self._emit((start, at), items, dead, nested, {len(items): added} if added else {})
        return at + 1

    def _array(self, start: int, node: _Node) -> int:
        text, below = self._text, node.below
        items: list[tuple[int, int]] = []
        dead: set[int] = set()
        nested: dict[int, list[_Change]] = {}
        met = 0
        at = self.space(start + 1)
        while text[at] != "]":
            child = below.get(len(items)) if below else None
            if child is None:
                end = _value_at(text, at)[1]
            elif child.op == "delete":
                end = self.skip(at)
                dead.add(len(items))
                met += 1
            else:
                met += 1
                outer, self.changes = self.changes, []
                end = self.value(at, child)
                nested[len(items)], self.changes = self.changes, outer
            items.append((at, end))
            at = self._next(end, "]")
        if met != len(below) or any(place > len(items) for place in node.inserts):
            raise _NoPlace
        inserts = {p: [print_json(v) for v in values] for p, values in node.inserts.items()}
        self._emit((start, at), items, dead, nested, inserts)
        return at + 1

    def _expect(self, at: int, char: str) -> int:
        if self._text[at] != char:
            raise _NoPlace
        return at + 1

    def _next(self, end: int, closing: str) -> int:
        """After a member: where the next one begins, or where the container closes."""
        text = self._text
        at = self.space(end) if text[end] in _WHITE else end
        if text[at] == closing:
            return at
        at = self._expect(at, ",")
        if text[at] in _WHITE:
            at = self.space(at)
        if text[at] == closing:
            raise _NoPlace
        return at

    def _emit(
        self,
        outside: tuple[int, int],
        items: list[tuple[int, int]],
        dead: set[int],
        nested: dict[int, list[_Change]],
        inserts: dict[int, list[str]],
    ) -> None:
        """The changes of one container, its commas kept right."""
        if not dead and not inserts:
            for changes in nested.values():
                self.changes += changes
            return
        opened, closed = outside[0] + 1, outside[1]
        lead = self._text[opened : items[0][0]] if items else ""
        if len(dead) == len(items):
            new = [piece for place in sorted(inserts) for piece in inserts[place]]
            if new or items:
                tail = self._text[items[-1][1] : closed] if items and new else ""
                body = f"{lead}{f',{lead}'.join(new)}{tail}" if new else ""
                self.changes.append((opened, closed, body))
            return
        gap = self._text[self._comma(items[0][1]) : items[1][0]] if len(items) > 1 else lead
        kept = False
        for place in range(len(items) + 1):
            for piece in inserts.get(place, ()):
                if kept:
                    spot = items[place - 1][1]
                    self.changes.append((spot, spot, f",{gap}{piece}"))
                else:
                    spot = items[place][0]
                    self.changes.append((spot, spot, f"{piece},{gap}"))
            if place in dead:
                cut = (
                    (items[place - 1][1], items[place][1])
                    if kept
                    else (items[place][0], items[place + 1][0])
                )
                self.changes.append((*cut, ""))
            elif place < len(items):
                kept = True
                self.changes += nested.get(place, ())

    def _comma(self, end: int) -> int:
        return self.space(end) + 1
