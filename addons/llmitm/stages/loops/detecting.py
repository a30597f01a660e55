"""Does this text say the same thing over and over? Told while it streams.

Text is looked at in steps of two windows (100 characters), counted from its beginning, so that the
answer never depends on how it was cut. A step costs a bounded number of searches in at most
`buffer` characters: the work is linear in the text, and no more than the buffer is kept. The
interpreter's own search stands in for a rolling hash: it finds the same repetitions, without false
hits, at a twentieth of the cost of hashing each window in Python.

What is found, and after how many characters of a loop whose unit has u of them (a step more at
most, with the shipped limits):

- a unit of 60 to 500, word for word, three times or more: `max(3, ceil(400 / u)) * u`;
- a window of 50, ten times at a mean distance of at most 75, while little between is new:
  `50 + 9 * u`, for u from 25 to 75;
- any unit of 10 to 59, word for word: 1000;
- a unit below 10, and any that is no prose, word for word: 4000;
- prose that differs in its numbers alone (`attempt 12`): twice as often, and up to 1000 more.

Data repeats itself honestly: what is no prose (letters and blanks are less than 90 %, letters less
than half, or it holds cells of a table) is markup, JSON, code, paths, zeros, blanks. Nothing inside
a code fence counts, and a fence starts everything anew; so does a line that only divides, but for
1000 characters word for word.
Never: looks at anything but text. Source: the windows and numbers are those of the public
LLM Interactive Proxy documentation; the measures against false alarms are our own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from unicodedata import category

from llmitm.stages.loops.lines import Lines

_SHORTEST = 60
_REPEATS = 3
_REPEATED_CHARS = 400
_PLAIN_CHARS = 1000
_BARE_CHARS = 4000
_BARE_UNIT = 10
_CANDIDATES = 6
_NUMBERS_EVERY = 10
_PROBED = (60, 110, 165, 245)
"""Places before the end of a text: of a repetition, one at least has no number near it."""
_DIGITS = re.compile(r"\d+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What counts as a loop; lengths in characters.

    window: what the short detector compares; threshold: how often it must come; history: how far
    back it looks; buffer: how far back anything is looked for; longest: the longest unit.
    """

    window: int = 50
    threshold: int = 10
    history: int = 1000
    buffer: int = 2048
    longest: int = 500


@dataclass(frozen=True, slots=True)
class Found:
    """A loop. pattern: its unit as it came last; repeats: how often at least; at: how much of all
    the text fed should stand, in characters, a number that no cutting changes."""

    pattern: str
    repeats: int
    at: int


class Detector:
    """One stretch of text, from its beginning. After a loop was found nothing more is looked at."""

    __slots__ = (
        "_bare_from",
        "_bare_unit",
        "_cell",
        "_floor",
        "_limits",
        "_lines",
        "_looked",
        "_over",
        "_pieces",
        "_step",
        "_steps",
        "_text",
        "_waiting",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._step = 2 * limits.window
        self._cell = limits.window // 2
        self._lines = Lines()
        self._pieces: list[str] = []
        self._waiting = 0
        self._looked = 0
        self._steps = 0
        self._text = ""
        # Where in `_text` what counts begins: behind the last line that divides.
        self._floor = 0
        self._bare_unit = 0
        self._bare_from = 0
        self._over = False

    @property
    def fed(self) -> int:
        """How many characters came."""
        return self._looked + self._waiting

    def feed(self, text: str) -> Found | None:
        """The loop that this text completes, None = none so far."""
        self._pieces.append(text)
        self._waiting += len(text)
        if self._waiting < self._step:
            return None
        return self._look()

    def _look(self) -> Found | None:
        text, step = "".join(self._pieces), self._step
        start = 0
        while len(text) - start >= step:
            chunk = text[start : start + step]
            start += step
            self._looked += step
            if self._over:
                continue
            if self._lines.is_plain(chunk):
                self._text += chunk
            else:
                self._sort(chunk)
            found = self._search()
            if found is not None:
                self._over = True
                self._text = ""
                self._pieces = [text[start:]]
                self._waiting = len(text) - start
                return found
        self._pieces = [text[start:]]
        self._waiting = len(text) - start
        return None

    def _sort(self, chunk: str) -> None:
        """Keeps what is outside of fences."""
        for piece, over in self._lines.split(chunk):
            self._text += piece
            if over:
                self._floor = len(self._text)
            if over and not piece and self._lines.fenced:
                self._text = ""
                self._floor = 0

    def _search(self) -> Found | None:
        drop = len(self._text) - self._limits.buffer
        if drop > 0:
            self._text = self._text[drop:]
            self._floor = max(0, self._floor - drop)
        self._steps += 1
        text = self._text
        if self._lines.fenced or len(text) < 2 * self._step:
            return None
        found = self._tail(text) or self._windows(text)
        if found is None and self._steps % _NUMBERS_EVERY == 0:
            found = self._numbered(text)
        return found

    def _tail(self, text: str) -> Found | None:
        """Whether the text ends with one unit again and again."""
        for unit in self._distances(text):
            if not _is_primitive(text[-unit:]):
                continue
            need = self._needed(text, unit)
            if len(text) - need < self._floor:
                need = max(need, _PLAIN_CHARS)
            if need > len(text):
                if self._goes_on(text, unit) >= need:
                    return self._found(text[-unit:], need // unit)
            elif text.endswith(text[len(text) - need : -unit]):
                return self._found(text[-unit:], need // unit)
        return None

    def _distances(self, text: str) -> Iterator[int]:
        """How far back the text's last characters stood before, the nearest first."""
        cell = self._cell
        last = text[-cell:]
        lowest, highest = max(0, len(text) - cell - self._limits.longest), len(text) - 1
        for _ in range(_CANDIDATES):
            place = text.rfind(last, lowest, highest)
            if place < 0:
                return
            yield len(text) - cell - place
            highest = place + cell - 1

    def _needed(self, text: str, unit: int) -> int:
        """How many characters a unit of this length must fill, word for word."""
        if unit < _BARE_UNIT or not _is_prose(text[-unit:]):
            return _BARE_CHARS
        return _PLAIN_CHARS if unit < _SHORTEST else unit * _often(unit)

    def _goes_on(self, text: str, unit: int) -> int:
        """For how many characters this unit has filled everything, also before the buffer.

        It may have begun up to a step earlier, which counts as if it had.
        """
        if text[unit:] != text[:-unit]:
            return 0
        if self._bare_unit != unit or len(text) < self._limits.buffer:
            self._bare_unit, self._bare_from = unit, self._looked - len(text)
        return self._looked - self._bare_from + self._step

    def _windows(self, text: str) -> Found | None:
        """Whether some window of the newest text keeps coming back."""
        cell, often, length = self._cell, self._limits.threshold, len(text)
        start = max(self._floor, length - self._limits.history)
        # The text moves on by other lengths than a loop does, so two places see all of it in time.
        for place in (length - cell, length - cell - self._limits.window):
            if place < start or text.count(text[place : place + cell], start) < often:
                continue
            first = max(self._floor, place - cell)
            for begin in range(first, min(place, length - self._limits.window) + 1):
                found = self._window(text, begin)
                if found is not None:
                    return found
        return None

    def _window(self, text: str, begin: int) -> Found | None:
        window, often = self._limits.window, self._limits.threshold
        said = text[begin : begin + window]
        if 2 * _letters(said) < window:
            return None
        places = _places(text, said, self._floor)
        if len(places) < often or not self._is_dense(places[-often:]):
            return None
        units = _units(text, places[-often:])
        if not _is_prose("".join(units)):
            return None
        if _is_stale(units):
            return self._found(units[-1], len(places))
        often *= 2
        if len(places) < often or not self._is_dense(places[-often:]):
            return None
        units = [_DIGITS.sub("0", unit) for unit in _units(text, places[-often:])]
        return self._found(units[-1], len(places)) if _is_stale(units) else None

    def _is_dense(self, places: list[int]) -> bool:
        mean = (places[-1] - places[0]) / (len(places) - 1)
        return self._cell <= mean <= 1.5 * self._limits.window

    def _numbered(self, text: str) -> Found | None:
        """Whether prose repeats itself but for its numbers."""
        text = text[self._floor :]
        tails = (text[-back : self._cell - back] for back in _PROBED)
        if max(map(text.count, tails)) <= _REPEATS:
            return None
        even = _DIGITS.sub("0", text)
        for unit in self._distances(even):
            said = even[-unit:]
            if unit < self._cell or not _is_prose(said) or not _is_primitive(said):
                continue
            need = unit * max(_REPEATS, min(2 * _often(unit), len(even) // unit))
            if need <= len(even) and even.endswith(even[len(even) - need : -unit]):
                return self._found(said, need // unit)
        return None

    def _found(self, unit: str, repeats: int) -> Found:
        return Found(_turned(unit), max(2, repeats), self._looked)


def _often(unit: int) -> int:
    """How often a unit of prose must come, word for word."""
    return max(_REPEATS, -(-_REPEATED_CHARS // unit))


def _units(text: str, places: list[int]) -> list[str]:
    return [text[begin:end] for begin, end in pairwise(places)]


def _places(text: str, said: str, start: int) -> list[int]:
    places: list[int] = []
    place = text.find(said, start)
    while place >= 0:
        places.append(place)
        place = text.find(said, place + 1)
    return places


def _is_primitive(unit: str) -> bool:
    """Whether the unit is not itself made of a smaller one."""
    return (unit + unit).find(unit, 1) == len(unit)


def _is_stale(units: list[str]) -> bool:
    """Whether little of this is new."""
    return 3 * len(set(units)) <= len(units)


def _letters(text: str) -> int:
    letters = sum(map(str.isalpha, text))
    if not text.isascii():
        # Vowel signs, say of Hindi or Thai.
        letters += sum(category(character)[0] == "M" for character in text)
    return letters


def _is_prose(text: str) -> bool:
    letters, blanks = _letters(text), text.count(" ")
    return 10 * (letters + blanks) >= 9 * len(text) and letters >= blanks and text.count("|") < 2


def _turned(unit: str) -> str:
    """The unit from the beginning of a line or a sentence, where it has one."""
    for mark in ("\n", ". "):
        place = unit.find(mark)
        if place >= 0:
            place += len(mark)
            return unit[place:] + unit[:place]
    return unit
