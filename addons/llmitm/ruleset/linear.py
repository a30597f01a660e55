"""Is a regular expression's time linear in the text, and what must a text hold for it to match?

A pattern passes if what can be tried from one place of a text is bounded, whatever the text is:
no back reference, nothing repeated that can itself be read in several ways, no open-ended repeat
but at the very end. Never: changes what a pattern means.

Python's engine tells where a match is. Whether there is one at all is asked of pydantic's engine,
Rust's `regex`, which reads a text once, quickly, whatever the pattern.
Source: documentation of Python's `re` and of the Rust crate `regex`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from re import _constants as codes  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from re import _parser as parser  # pyright: ignore[reportAttributeAccessIssue, reportUnknownVariableType]
from typing import Annotated, Any, cast

from pydantic import AfterValidator
from pydantic_core import SchemaError, SchemaValidator, core_schema

from llmitm.ruleset.rows import compiled

_MOST_WAYS = 1_000
_MOST_REPEATS = 20_000
_MOST_COPIES = 64
"""How often the quick engine counts a repeat: beyond, "at least so often" is asked."""
_CLOSE = 3
_OTHER = 128
"""Stands for every character beyond ASCII in a set of characters."""
_ALL = frozenset(range(_OTHER + 1))
_REPEATS = frozenset({"MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"})
_SINGLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN"})

type Item = tuple[Any, Any]

_CATEGORIES: dict[str, str] = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": "[^0-9]",
    "CATEGORY_SPACE": r"\s\x1c-\x1f",
    "CATEGORY_NOT_SPACE": r"[^ \t\n\r\x0b\x0c]",
    "CATEGORY_WORD": r"\w\p{N}",
    "CATEGORY_NOT_WORD": "[^A-Za-z0-9_]",
}
"""What of them is true of a character for certain, or more."""
_SURELY: dict[str, str] = {
    "CATEGORY_DIGIT": "0-9",
    "CATEGORY_SPACE": r" \t\n\r\x0b\x0c",
    "CATEGORY_WORD": "A-Za-z0-9_",
}
"""The same or less, for what a set leaves out."""


def _check(pattern: str) -> str:
    compiled(pattern)
    tree = _parse(pattern)
    ways = _ways(list(tree), frozenset())
    if ways > _MOST_WAYS:
        raise ValueError(
            f"there are {ways} ways to read one text, at most {_MOST_WAYS} are allowed: "
            "let neighbours differ in their characters"
        )
    try:
        quick(quick_text(pattern))
    except SchemaError as error:
        say = str(error).splitlines()
        raise ValueError(f"not supported: {say[-1] if say else error}") from None
    return pattern


Linear = Annotated[str, AfterValidator(_check)]
"""A Python regular expression whose search takes time linear in the text."""


def quick_text(pattern: str, before: str = "") -> str:
    """`pattern` in the quick engine's words: it matches wherever `pattern` does, or more often.

    before: put in front, in those words.
    """
    tree = _parse(pattern)
    flags = "i" if tree.state.flags & re.IGNORECASE else ""
    return f"(?:{before}(?{flags}:{_written(list(tree))}))"


def longest(pattern: str) -> int:
    """The most characters that `pattern` can match; a very large number without a limit."""
    return int(_parse(pattern).getwidth()[1])


def _parse(pattern: str) -> Any:
    return cast("Any", parser).parse(pattern)


def literal_text(text: str) -> str:
    """Exactly this text, in the quick engine's words."""
    return "".join(map(_literal, map(ord, text)))


def quick(text: str) -> SchemaValidator:
    """`isinstance_python` says whether the pattern, in the quick engine's words, matches somewhere.

    Of a text with half characters (lone surrogates) it always says no.
    """
    return SchemaValidator(core_schema.str_schema(pattern=text, strict=True))


def _ways(items: Sequence[Item], after: frozenset[int] | None) -> int:
    """In how many ways one stretch of text can be read as `items`.

    after: what can follow them, empty = nothing does, None = cannot be told.
    """
    ways = 1
    for place, (op, value) in enumerate(items):
        rest = items[place + 1 :]
        ways *= _ways_of(str(op), value, _first(rest, after) if rest else after)
        if ways > _MOST_WAYS * _MOST_REPEATS:
            break
    return ways


def _ways_of(name: str, value: Any, after: frozenset[int] | None) -> int:
    if name in _REPEATS:
        return _ways_of_repeat(value, None if name == "MIN_REPEAT" and not after else after)
    if name == "BRANCH":
        ways = [_ways(list(branch), after) for branch in value[1]]
        return max(ways) if _are_apart([list(branch) for branch in value[1]]) else sum(ways)
    if name == "SUBPATTERN":
        return _ways(list(value[3]), after)
    if name == "ATOMIC_GROUP":
        return _ways(list(value), after)
    if name in ("ASSERT", "ASSERT_NOT"):
        return _ways(list(value[1]), None)
    if name.startswith("GROUPREF"):
        raise ValueError("refers back to a group, which cannot be searched for in linear time")
    return 1


def _ways_of_repeat(value: Any, after: frozenset[int] | None) -> int:
    low, high, body = value
    items: list[Item] = list(body)
    single = _characters(*items[0]) if len(items) == 1 and str(items[0][0]) in _SINGLE else None
    if high == codes.MAXREPEAT:
        if after is None or after or single is None:
            raise ValueError(
                "`*`, `+` and `{n,}` may only repeat one character or set at the very end; "
                "elsewhere say how often at most, as {1,200}"
            )
        return 1
    if high > _MOST_REPEATS:
        raise ValueError(f"repeats up to {high} times, at most {_MOST_REPEATS} are allowed")
    if single is None:
        again = _first(items, None)
        apart, following = low == high, after
        if again is None or after is None:
            following = after if high <= 1 else None
        else:
            # The next character may tell whether it is there once more.
            apart = apart or not again & after
            following = after if high <= 1 else again | after
        inner = _ways(items, following)
        if high > 1 and inner > 1:
            raise ValueError("repeats something that can be read in several ways")
        return inner if apart else inner + high - low
    if low == high or (after is not None and not after & single):
        return 1
    return high - low + 1


def _are_apart(branches: Sequence[Sequence[Item]]) -> bool:
    """Whether the first character tells which branch it can be."""
    seen: set[int] = set()
    for branch in branches:
        first = _first(branch, None)
        if first is None or seen & first:
            return False
        seen |= first
    return True


def _first(items: Sequence[Item], after: frozenset[int] | None) -> frozenset[int] | None:
    """What the text that `items` match can begin with: ASCII characters and `_OTHER`."""
    found: frozenset[int] = frozenset()
    for op, value in items:
        own = _characters(op, value)
        if own is None:
            return None
        found |= own
        if not (str(op) in _REPEATS and value[0] == 0):
            return found
    return None if after is None else found | after


def _characters(op: Any, value: Any) -> frozenset[int] | None:
    """What one item can begin with, if it is there at all; None = cannot be told."""
    name = str(op)
    if name == "LITERAL":
        return _folded(value)
    if name == "NOT_LITERAL":
        return _ALL - ({value} if value < _OTHER else set())
    if name == "ANY":
        return _ALL
    if name == "IN":
        return _set_of(value)
    if name in _REPEATS:
        return _first(list(value[2]), None)
    if name == "SUBPATTERN":
        return _first(list(value[3]), None)
    if name == "BRANCH":
        firsts = [_first(list(branch), None) for branch in value[1]]
        known = [one for one in firsts if one is not None]
        return frozenset[int]().union(*known) if len(known) == len(firsts) else None
    return None


def _folded(code: int) -> frozenset[int]:
    """The character in either case; what is beyond ASCII as one."""
    text = chr(code)
    return frozenset(min(ord(c), _OTHER) for c in text + text.lower() + text.upper())


def _set_of(items: Sequence[Item]) -> frozenset[int]:
    found: set[int] = set()
    negated = False
    for op, value in items:
        name = str(op)
        if name == "NEGATE":
            negated = True
        elif name == "LITERAL":
            found |= _folded(value)
        elif name == "RANGE":
            low, high = value
            found.update(*(_folded(code) for code in range(low, min(high, _OTHER - 1) + 1)))
            if high >= _OTHER:
                found.add(_OTHER)
        else:
            test = re.compile(_CATEGORY_TESTS[str(value)])
            found |= {code for code in range(_OTHER) if test.match(chr(code))} | {_OTHER}
    return (_ALL - found) | {_OTHER} if negated else frozenset(found)


_CATEGORY_TESTS: dict[str, str] = {
    "CATEGORY_DIGIT": r"\d",
    "CATEGORY_NOT_DIGIT": r"\D",
    "CATEGORY_SPACE": r"\s",
    "CATEGORY_NOT_SPACE": r"\S",
    "CATEGORY_WORD": r"\w",
    "CATEGORY_NOT_WORD": r"\W",
}


def _written(items: Sequence[Item]) -> str:
    """The items for the quick engine, which then matches wherever Python's does, or more often."""
    return "".join(_written_item(op, value) for op, value in items)


def _written_item(op: Any, value: Any) -> str:
    name = str(op)
    if name == "LITERAL":
        return _literal(value)
    if name == "NOT_LITERAL":
        return f"[^{_literal(value)}]"
    if name == "ANY":
        return "(?s:.)"
    if name == "IN":
        return _written_set(value)
    if name == "BRANCH":
        return f"(?:{'|'.join(_written(list(branch)) for branch in value[1])})"
    if name == "SUBPATTERN":
        on = "i" if value[1] & re.IGNORECASE else ""
        off = "-i" if value[2] & re.IGNORECASE else ""
        return f"(?{on}{off}:{_written(list(value[3]))})"
    if name == "ATOMIC_GROUP":
        return f"(?:{_written(list(value))})"
    if name in _REPEATS:
        low, high, body = value
        least = min(low, _MOST_COPIES)
        most = str(high) if high - least <= _CLOSE and high <= _MOST_COPIES else ""
        return f"(?:{_written(list(body))}){{{least},{most}}}"
    return ""  # what takes no character: beginnings, ends, looks ahead and behind


def _written_set(items: Sequence[Item]) -> str:
    negated = any(str(op) == "NEGATE" for op, _ in items)
    found: list[str] = []
    for op, value in items:
        name = str(op)
        if name == "LITERAL":
            found.append(_literal(value))
        elif name == "RANGE":
            found.append(f"{_literal(value[0])}-{_literal(value[1])}")
        elif name == "CATEGORY":
            found.append((_SURELY if negated else _CATEGORIES).get(str(value), ""))
    inside = "".join(found)
    if not inside:
        return "(?s:.)"
    return f"[{'^' if negated else ''}{inside}]"


def _literal(code: int) -> str:
    character = chr(code)
    return character if character.isalnum() and code < _OTHER else f"\\x{{{code:x}}}"
