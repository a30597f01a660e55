"""Which model names does an alias stand for? Only those it spells out: a pattern is no name."""

from __future__ import annotations

import re

_LITERAL = re.compile(r"(?:\^|\\A)?((?:[^\\.^$*+?{}\[\]|()]|\\[^A-Za-z0-9])+)(?:\$|\\Z)?")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


def literal_name(pattern: str) -> str:
    r"""The one name that a pattern spells out: `gpt-4.1` for `^gpt-4\.1$`; empty = none.

    Only literal characters and escaped ones may stand between the anchors, both of which may be
    left out. A bare `.` is any character, so `gpt-4.1$` is a pattern.
    """
    found = _LITERAL.fullmatch(pattern)
    return _ESCAPED.sub(r"\1", found[1]) if found is not None else ""
