"""Which of a text's lines are code fences, and which only divide? Line by line, as it comes.

Source: CommonMark 0.31, fenced code blocks and thematic breaks; a fence may stand in a list or a
quotation, however deep.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_MARKS = ("```", "~~~", "---", "===", "***", "___", "- -", "* *", "_ _", "###", "+++", "───", "═══")
_FENCE = re.compile(r"[ \t>]*(?:[-*+]|\d{1,9}[.)])?[ \t>]*(`{3,}(?=[^`]*$)|~{3,})(.*)")
_DIVIDER = re.compile(r"[ \t>]*[-=*_~#+|:.─═━┄—–•·](?:[-=*_~#+|:.─═━┄—–•· \t]*)\r?")
_LONGEST_LINE = 200
"""Characters kept of an unfinished line: a longer one is neither a fence nor a divider."""


class Lines:
    """Takes text apart where fences and dividers stand; where it was cut never matters.

    fenced: whether the text is inside a code fence now.
    """

    __slots__ = ("_fence", "_line")

    def __init__(self) -> None:
        self._line = ""
        self._fence = ""

    @property
    def fenced(self) -> bool:
        """Whether the text so far ends inside a code fence."""
        return bool(self._fence)

    def is_plain(self, chunk: str) -> bool:
        """Whether the chunk is outside of fences and ends no line that matters: the usual case.

        Then it was taken; otherwise `split` takes it.
        """
        if self._fence:
            return False
        end = chunk.rfind("\n")
        if end < 0:
            if len(self._line) < _LONGEST_LINE:
                self._line = (self._line + chunk)[:_LONGEST_LINE]
            return True
        ended = self._line + chunk[:end]
        for mark in _MARKS:
            if mark in ended:
                return False
        self._line = chunk[end + 1 :]
        return True

    def split(self, chunk: str) -> Iterator[tuple[str, bool]]:
        """(text, whether what came before it is over) for what lies outside of fences.

        An empty text with True only tells that it is over.
        """
        *ended, last = chunk.split("\n")
        for piece in ended:
            line = self._line + piece
            self._line = ""
            if self._fence:
                if self._closes(line):
                    self._fence = ""
                    yield "", True
            elif opening := _opening(line):
                self._fence = opening
                yield "", True
            else:
                yield piece + "\n", False
                if _divides(line):
                    yield "", True
        self._line = (self._line + last)[:_LONGEST_LINE]
        if last and not self._fence:
            yield last, False

    def _closes(self, line: str) -> bool:
        bare = line.strip(" \t\r>")
        return len(bare) >= len(self._fence) and not bare.strip(self._fence[0])


def _opening(line: str) -> str:
    """The fence that the line opens, empty = it opens none."""
    found = _FENCE.fullmatch(line.removesuffix("\r")) if len(line) < _LONGEST_LINE else None
    return found[1] if found else ""


def _divides(line: str) -> bool:
    bare = line.strip()
    return 3 <= len(bare) < _LONGEST_LINE and _DIVIDER.fullmatch(line) is not None
