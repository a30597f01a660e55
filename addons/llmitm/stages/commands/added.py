"""Which stretch of a user's text did the user write, and which did the client add around it?

A client's own patterns (`added` in `rules/clients.yaml`) tell. Commands are looked for only in what
the user wrote, and only that counts as text. In the replayed history the same stretch is found
again, so both stages ask here. What stands between two of the user's words is no word either.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from llmitm.stages.commands.grammar import Found, find, without


def own(text: str, added: Sequence[re.Pattern[str]]) -> tuple[int, int]:
    """(from, to) of what the user wrote, without white space; empty = all of it was added.

    What a pattern matches is taken off the beginning and the end, as often as one does.
    """
    start, end = _trimmed(text, 0, len(text))
    ends = [found.span() for one in added for found in one.finditer(text)] if end else []
    by_start = {span[0]: span for span in sorted(ends) if span[1] > span[0]}
    by_end = {span[1]: span for span in sorted(ends, reverse=True) if span[1] > span[0]}
    while start < end and start in by_start and by_start[start][1] <= end:
        start, end = _trimmed(text, by_start[start][1], end)
    while start < end and end in by_end and by_end[end][0] >= start:
        start, end = _trimmed(text, start, by_end[end][0])
    return start, end


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def find_own(
    text: str, prefix: str, mode: str, added: Sequence[re.Pattern[str]]
) -> tuple[Found, ...]:
    """The commands in what the user wrote of `text`; whatever was added ends a line."""
    if not prefix or prefix not in text:
        return ()
    masked = text
    for each in added:
        masked = each.sub(lambda found: "\n" * len(found[0]), masked)
    return find(masked, prefix, mode)


def without_own(text: str, found: Sequence[Found], added: Sequence[re.Pattern[str]]) -> str:
    """`text` without these commands; what the client added stays as it is.

    Empty if nothing but white space is left.
    """
    return without(text, found)
