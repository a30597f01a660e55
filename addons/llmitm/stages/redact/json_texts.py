r"""JSON text with other words in its strings: every other character stays as it was written.

Secrets are looked for in what the text says, not in how it is escaped: `\u0041` is an A, and what
follows `\n` begins a line. Never: knows what a secret is.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic_core import from_json

# A string that is never closed reaches to the end: no text is read twice.
_STRING = re.compile(r'"((?:[^"\\]++|\\.)*+)(?:"|\\?\Z)', re.DOTALL)
_BARE = re.compile(r"[\w.+-]*")

type Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Piece:
    """A stretch of the text. start, end: where it was written; at: where it stands in the reading;
    said: what it says; string: it is the inside of a string."""

    start: int
    end: int
    at: int
    said: str
    string: bool

    @property
    def until(self) -> int:
        return self.at + len(self.said)


def escaped(text: str) -> str:
    """The text as the inside of a JSON string."""
    inside = json.dumps(text, ensure_ascii=False)
    try:
        inside.encode()
    except UnicodeEncodeError:
        inside = json.dumps(text)
    return inside[1:-1]


def said(text: str) -> str:
    """`Reading(text).said`, without the places: several times as fast where the text is JSON."""
    if "\\" not in text:
        return text
    try:
        from_json(text)
    except (ValueError, TypeError):  # TypeError: half characters
        return Reading(text).said
    # JSON has backslashes in its strings alone. As the inside of one string it reads the same.
    one = text.replace(r"\\", r"\u005c").replace(r"\"", r"\u0022").replace('"', r"\"")
    read: str = from_json(f'"{one}"')
    return read


class Reading:
    """A JSON text as it reads with its escapes resolved."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._pieces = list(_pieces(text))
        self.said = "".join(piece.said for piece in self._pieces)

    def replaced(self, spans: Sequence[Span], word: Callable[[int, str], str]) -> str:
        """The text with other words where `spans` of `said` stand; in order, without overlaps.

        word: (number of the span, the text there) -> what takes its place. A span over several
        strings is one in each; a bare value (a number) that is touched becomes a string.
        """
        starts = [piece.at for piece in self._pieces]
        touched: dict[int, list[tuple[int, int, int]]] = {}
        for number, (start, end) in enumerate(spans):
            place = bisect_right(starts, start) - 1
            while place < len(self._pieces) and self._pieces[place].at < end:
                piece = self._pieces[place]
                inside = max(start, piece.at) - piece.at, min(end, piece.until) - piece.at
                if inside[0] < inside[1]:
                    touched.setdefault(place, []).append((number, *inside))
                place += 1
        out: list[str] = []
        done = 0
        for place, parts in touched.items():
            piece = self._pieces[place]
            write = _in_string if piece.string else _bare
            out += (self._text[done : piece.start], write(piece, parts, self._text, word))
            done = piece.end
        out.append(self._text[done:])
        return "".join(out)


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    done = at = 0

    def add(start: int, end: int, said: str, *, string: bool) -> None:
        nonlocal at
        if start < end:
            pieces.append(_Piece(start, end, at, said, string))
            at += len(said)

    for found in _STRING.finditer(text):
        start, end = found.span(1)
        add(done, start, text[done:start], string=False)
        add(start, end, _said(found[1]), string=True)
        done = end
    add(done, len(text), text[done:], string=False)
    return pieces


def _said(inside: str) -> str:
    if "\\" not in inside:
        return inside
    try:
        said: str = json.loads(f'"{inside}"', strict=False)
    except ValueError:
        return inside
    return said


def _in_string(
    piece: _Piece,
    parts: list[tuple[int, int, int]],
    text: str,
    word: Callable[[int, str], str],
) -> str:
    """The inside of a string; it stays as it is written but for the words, where it can."""
    same = text[piece.start : piece.end] == piece.said
    keep = str if same else escaped
    out: list[str] = []
    done = 0
    for number, start, end in parts:
        out += (keep(piece.said[done:start]), escaped(word(number, piece.said[start:end])))
        done = end
    out.append(keep(piece.said[done:]))
    return "".join(out)


def _bare(
    piece: _Piece,
    parts: list[tuple[int, int, int]],
    text: str,
    word: Callable[[int, str], str],
) -> str:
    """Numbers that hold a secret become strings; braces and the like are no secret."""
    del text
    said = piece.said
    out: list[str] = []
    done = 0
    for number, start, end in parts:
        for value in _BARE.finditer(said, done):
            if value.end() > start and value.start() < end and value[0]:
                new = json.dumps(word(number, value[0]))
                out += (said[done : value.start()], new)
                done = value.end()
            if value.start() >= end:
                break
    out.append(said[done:])
    return "".join(out)
