"""A command's words, told apart: flags, values of flags, operands. No program is special here."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from llmitm.stages.tools.commands import HOLE, HOLES, plain, unknown


@dataclass(slots=True)
class Parsed:
    """flags: as (spelling, value or empty); operands: marked words; open_flags: words that may be
    flags and cannot be read; many: one of them may be any number of words."""

    flags: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    operands: list[str] = field(default_factory=list[str])
    open_flags: list[str] = field(default_factory=list[str])
    many: bool = False

    def has(self, flag: str) -> bool:
        """Whether the flag is there, `--` ones also when shortened."""
        return any(same(one, flag) for one, _ in self.flags)

    def values_of(self, flag: str) -> list[str]:
        """The values the flag was given."""
        return [held for one, held in self.flags if same(one, flag) and held]


def same(given: str, flag: str) -> bool:
    """Whether a flag as given means this one; a long one may be shortened."""
    if flag.startswith("--"):
        return given == flag or (len(given) > 2 and flag.startswith(given))
    return given == flag


def parsed(
    words: Sequence[str], values: Sequence[str], stop: bool = False, style: str = "gnu"
) -> Parsed:
    """The words after the first. values: flags followed by a value; stop: the first operand ends
    the flags; style: `exact` and `powershell` do not bundle letters."""
    got = Parsed()
    rest = list(words[1:])
    if style == "operands":
        got.operands = rest
        return got
    at = 0
    while at < len(rest):
        word, text = rest[at], plain(rest[at])
        at += 1
        if text.startswith((HOLE, HOLES)) or (text.startswith("-") and unknown(text[:3])):
            got.open_flags.append(word)
            got.many = got.many or HOLES in word
            got.operands.append(word)
            if stop:
                got.operands += rest[at:]
                return got
        elif text == "--" and style == "gnu":
            got.flags.append(("--", ""))
            got.operands += rest[at:]
            return got
        elif style == "dos" and re.match(r"/[A-Za-z?](?=$|[/:])", text):
            got.flags += [(part.lower()[:2], "") for part in re.findall(r"/[A-Za-z?]", text)]
        elif len(text) > 1 and text[0] == "-" and style != "dos":
            at += _flag(got, text, rest[at : at + 1], values, style)
        elif stop:
            got.operands += rest[at - 1 :]
            return got
        else:
            got.operands.append(word)
    return got


def _flag(
    got: Parsed, text: str, following: Sequence[str], values: Sequence[str], style: str
) -> int:
    """Adds the flag in `text`; how many of the following words were its value."""
    value = following[0] if following else ""
    if style == "powershell":
        name, _, held = text.lower().partition(":")
        takes = not held and any(one.startswith(name) for one in values)
        got.flags.append((name, held or (value if takes else "")))
        return 1 if takes and following else 0
    name, equals, held = text.partition("=")
    if text.startswith("--"):
        takes = not equals and any(same(name, one) for one in values if one.startswith("--"))
        got.flags.append((name, held or (value if takes else "")))
        return 1 if takes and following else 0
    if style == "exact" or text in values:
        takes = text in values
        got.flags.append((text, value if takes else ""))
        return 1 if takes and following else 0
    for at, letter in enumerate(text[1:], 1):
        flag = f"-{letter}"
        if flag in values:
            inline = text[at + 1 :]
            got.flags.append((flag, inline or value))
            return 0 if inline or not following else 1
        got.flags.append((flag, ""))
    got.flags.append((text, ""))
    return 0
