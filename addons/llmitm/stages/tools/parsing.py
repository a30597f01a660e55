"""The tree of a text, or none where its parse would take too long.

Tree-sitter takes time quadratic in how often some characters stand in a text that is no sensible
program, and it holds the event loop meanwhile. For each of them it was measured how many take some
40 milliseconds, in the worst of two hundred kinds of nonsense; the squares of the shares add up to
the load, which is limited for one whole judgement. A long script of people has a tenth of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from tree_sitter import Language, Parser, Tree

from llmitm.stages.tools.commands import Unreadable
from llmitm.stages.tools.reading import Reading

MOST_LOAD = 1.0
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
    return Parser(language).parse(_BEYOND.sub(_letters, source))


def _letters(found: re.Match[bytes]) -> bytes:
    return b"x" * len(found[0])
