"""The tree of a text, or none where its parse would take too long.

Tree-sitter takes time quadratic in how often some characters stand in a text that is no sensible
program, and it holds the event loop meanwhile. For each of them it was measured how many take some
40 milliseconds, in the worst of two hundred kinds of nonsense; the squares of the shares add up to
the load, which is limited for one whole judgement. A long script of people has a tenth of it.

What this does not foresee is counted while the parser works, and ends it: its own reports, which
are dear once it has met an error, and how often it leaves the piece of text that it was given. A
script of 32 000 characters has 600 of `MOST_WORK` units, each some 20 microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tree_sitter import Language, Parser, Tree

from llmitm.stages.tools.commands import Unreadable
from llmitm.stages.tools.reading import Reading

MOST_LOAD = 0.6
MOST_WORK = 1200
"""Units of parser's work in one judgement."""
_PIECE = 1024
_ERROR_UNITS = 20
_ERROR_BYTES = 800
"""A report after an error costs so many units, and the square of so many bytes of text more."""
_BEYOND = re.compile(rb"(?!\xe2\x80[\x90-\x9f])[\xe0-\xf7][\x80-\xbf]{2,3}")
"""Characters from U+0800 on, but for the dashes and quotes that PowerShell knows."""
DEAR_IN_BASH: Mapping[str, int] = {
    "|": 900,
    "(": 700,
    ")": 1500,
    "<": 1300,
    ">": 3000,
    "{": 2000,
    "[": 950,
    "&": 2000,
    "~": 2300,
}
DEAR_IN_POWERSHELL: Mapping[str, int] = {
    "{": 700,
    "(": 900,
    "&": 900,
    "<": 900,
    ">": 900,
    "!": 1500,
    "-": 1400,
    "$": 1500,
    "\\": 3000,
    "|": 900,
}


def load(source: bytes, dear: Mapping[str, int]) -> float:
    """How dear the parse may be: 1 = some 40 milliseconds. dear: character -> how many take so
    long."""
    return sum((source.count(sign.encode()) / most) ** 2 for sign, most in dear.items())


def parsed_tree(
    reading: Reading, language: Language, source: bytes, dear: Mapping[str, int]
) -> Tree:
    """The tree of the source. Raises Unreadable when the parse may be too dear."""
    reading.parser_load += load(source, dear)
    if reading.parser_load > MOST_LOAD:
        raise Unreadable("it takes too long to be parsed")
    # Scanners of grammars look such characters up in tables that end before them, and crash. To a
    # shell they are letters; the places stay the same.
    text = _BEYOND.sub(_letters, source)
    dear_report = _ERROR_UNITS + (len(text) // _ERROR_BYTES) ** 2

    def piece(place: int, _: object) -> bytes:
        reading.parser_work += 1
        # The parser takes no text for the end of it, and comes to its own.
        return text[place : place + _PIECE] if reading.parser_work <= MOST_WORK else b""

    def is_over(_: int, has_error: bool) -> bool:
        reading.parser_work += dear_report if has_error else 1
        return reading.parser_work > MOST_WORK

    try:
        tree = Parser(language).parse(piece, progress_callback=is_over)
    except ValueError:
        tree = None
    if tree is None or reading.parser_work > MOST_WORK:
        raise Unreadable("it takes too long to be parsed")
    return tree


def _letters(found: re.Match[bytes]) -> bytes:
    return b"x" * len(found[0])
