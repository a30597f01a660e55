"""What becomes of a reply's text when it comes piece by piece? The same as if it came whole.

Only what may still begin a match waits: a literal's length less one, or the longest match of a
pattern. Never: looks at more of the text than that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from llmitm.ruleset.text_rules import TextRule


@dataclass(slots=True)
class Spent:
    """What one choice has seen. done: names of the rules that have changed something in it."""

    done: set[str] = field(default_factory=set[str])


class _Stream(Protocol):
    def feed(self, text: str) -> str: ...

    def close(self, *, last: bool) -> str: ...


class _Literal:
    """Replaces a literal."""

    def __init__(self, rule: TextRule, find: str, spent: Spent) -> None:
        self._rule, self._find, self._spent = rule, find, spent
        self._put = rule.put(find)
        self._tail = ""

    def feed(self, text: str) -> str:
        rule, find = self._rule, self._find
        text = self._tail + text
        self._tail = ""
        if rule.once and rule.name in self._spent.done:
            return text
        place = text.find(find)
        if place >= 0:
            self._spent.done.add(rule.name)
            if rule.once:
                return text[:place] + self._put + text[place + len(find) :]
        # What a match has taken cannot begin another one.
        end = _last_end(text, find, place)
        before, rest = text[:end], text[end:]
        held = _begun(rest, find)
        self._tail = rest[len(rest) - held :]
        rest = rest[: len(rest) - held]
        return before.replace(find, self._put) + rest

    def close(self, *, last: bool) -> str:
        del last
        text, self._tail = self._tail, ""
        return text


def _last_end(text: str, find: str, place: int) -> int:
    """Where the last match ends, of those from the left that do not overlap; 0 = there is none."""
    end = 0
    while place >= 0:
        end = place + len(find)
        place = text.find(find, end)
    return end


def _begun(text: str, find: str) -> int:
    """How many characters at the end of `text` may be the beginning of `find`."""
    start = max(0, len(text) - len(find) + 1)
    while (start := text.find(find[0], start)) >= 0:
        if find.startswith(text[start:]):
            return len(text) - start
        start += 1
    return 0


class _Pattern:
    """Replaces what a regular expression finds."""

    def __init__(self, rule: TextRule, find: re.Pattern[str], spent: Spent) -> None:
        self._rule, self._find, self._spent = rule, find, spent
        self._before: str = ""
        self._tail: str = ""

    def feed(self, text: str) -> str:
        return self._take(text, closing=False)

    def close(self, *, last: bool) -> str:
        del last
        return self._take("", closing=True)

    def _take(self, text: str, *, closing: bool) -> str:
        rule, done = self._rule, self._spent.done
        text = "".join((self._before, self._tail, text))
        at = len(self._before)
        # A match that begins here or earlier is known for good, its right neighbour too.
        settled = len(text) if closing else len(text) - rule.longest - 1
        pieces: list[str] = []
        found: re.Match[str] | None
        while not (rule.once and rule.name in done):
            found = self._find.search(text, at)
            if found is None or found.start() > settled:
                break
            done.add(rule.name)
            pieces.append(text[at : found.start()] + rule.put(found))
            at = found.end()
        cut = len(text) if rule.once and rule.name in done else max(at, settled + 1)
        pieces.append(text[at:cut])
        self._tail = text[cut:]
        # One character on the left, for word boundaries and beginnings of lines.
        self._before = text[max(cut, 1) - 1 : cut]
        return "".join(pieces)


class _Before:
    """Puts a text before the first text of the answer."""

    def __init__(self, rule: TextRule, spent: Spent) -> None:
        self._rule, self._spent = rule, spent

    def feed(self, text: str) -> str:
        if not text or self._rule.name in self._spent.done:
            return text
        self._spent.done.add(self._rule.name)
        return self._rule.text + text

    def close(self, *, last: bool) -> str:
        del last
        return ""


class _Behind:
    """Puts a text behind the last text of the answer."""

    def __init__(self, rule: TextRule, spent: Spent) -> None:
        self._rule, self._spent = rule, spent

    def feed(self, text: str) -> str:
        return text

    def close(self, *, last: bool) -> str:
        if not last:
            return ""
        self._spent.done.add(self._rule.name)
        return self._rule.text


class Chain:
    """One part's text through all rules, in order. waits_for_end: it matters whether this is the
    last text of the answer."""

    def __init__(self, rules: Sequence[TextRule], spent: Spent) -> None:
        self._streams = [_stream(rule, spent) for rule in rules]
        self.waits_for_end = any(isinstance(each, _Behind) for each in self._streams)

    def feed(self, text: str) -> str:
        """As much of the new text as is settled."""
        for stream in self._streams:
            text = stream.feed(text) if text else text
        return text

    def close(self, *, last: bool) -> str:
        """The rest. last: no more text follows in this choice."""
        text = ""
        for stream in self._streams:
            text = (stream.feed(text) if text else "") + stream.close(last=last)
        return text


def _stream(rule: TextRule, spent: Spent) -> _Stream:
    if isinstance(rule.find, str):
        return _Literal(rule, rule.find, spent)
    if rule.find is not None:
        return _Pattern(rule, rule.find, spent)
    return _Before(rule, spent) if rule.do == "prepend" else _Behind(rule, spent)
