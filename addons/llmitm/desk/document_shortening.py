"""Messages that nobody edited need not be parsed: `- message: N` alone says the same.

A long conversation is read in the time that the edited messages take. Lines keep their numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from llmitm.ruleset.documents import Node

_BEGINS = re.compile(r"^- message: (\d+)\n", re.M)


@dataclass(frozen=True, slots=True)
class Short:
    """text: the document with some messages left out; left_out: line -> number of the message."""

    text: str
    left_out: dict[int, int]

    def stands(self, root: Node) -> bool:
        """Whether each message that was left out was read as an item of `messages`. If not, an
        edit before it (a quote that is not closed) gives its lines another meaning."""
        messages = root.value.get("messages") if isinstance(root.value, dict) else None
        items = messages.value if messages is not None else None
        if not isinstance(items, list):
            return False
        found = {
            item.place.line: number.value
            for item in items
            if isinstance(item.value, dict)
            and len(item.value) == 1
            and (number := item.value.get("message")) is not None
        }
        return all(found.get(line) == number for line, number in self.left_out.items())


def shortened(text: str, original: str) -> Short:
    """The document `text` without what stands in `original` too."""
    known = {number: chunk for _, number, chunk in _chunks(original)}
    kept: list[str] = []
    left_out: dict[int, int] = {}
    line, done = 1, 0
    for start, number, chunk in _chunks(text):
        if known.get(number) != chunk:
            continue
        before = text[done:start]
        line += before.count("\n")
        left_out[line] = number
        lines = chunk.count("\n")
        kept += (before, f"- message: {number}", "\n" * lines)
        line += lines
        done = start + len(chunk)
    kept.append(text[done:])
    return Short("".join(kept), left_out)


def _chunks(text: str) -> list[tuple[int, int, str]]:
    """(where it begins, its number, its lines) of each message."""
    found = list(_BEGINS.finditer(text))
    ends = [*(one.start() for one in found[1:]), len(text)]
    return [
        (one.start(), int(one[1]), text[one.start() : end])
        for one, end in zip(found, ends, strict=False)
        if len(one[1]) < 10
    ]
