"""Is a simple command of a dangerous family? The families are data; here is how they match.

Three-valued: where the answer hangs on words nobody knows it is MAYBE.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

from llmitm.ruleset.tools import CommandsRow, FamilyRow, MatchRow, Place
from llmitm.stages.tools.commands import BELOW, HOLE, HOLES, Simple, plain, unknown
from llmitm.stages.tools.options import Parsed, parsed, same
from llmitm.stages.tools.places import Holds, Places, sure


def judged(simple: Simple, rules: CommandsRow, places: Places) -> tuple[Holds, FamilyRow | None]:
    """How sure it is that the command is of a family, and of which; the surest counts."""
    best: tuple[Holds, FamilyRow | None] = (Holds.NO, None)
    for family, row in rules.rows_for(simple.program):
        if row.fed_by and not set(row.fed_by) & set(simple.fed_by):
            continue
        holds = _matches(simple, row, places)
        if holds > best[0]:
            best = (holds, family)
        if holds is Holds.YES:
            break
    return best


def _matches(simple: Simple, row: MatchRow, places: Places) -> Holds:
    result = Holds.YES
    if row.writes:
        result = _any_place(simple.writes, row.writes, places, simple.folder)
    if result is Holds.NO or not _needs_words(row):
        return result
    values = row.values
    if row.style == "powershell":
        values = tuple(one.lower() for one in values)
    got = parsed(simple.words, values, style=row.style)
    operands = list(got.operands)
    if row.subcommands:
        result = min(result, _subcommand(operands, row.subcommands))
        operands = operands[1:]
    if result is Holds.NO:
        return result
    return min(result, _words(got, operands, row, places, simple.folder))


def _needs_words(row: MatchRow) -> bool:
    return bool(
        row.subcommands or row.flags or row.without or row.operands or row.like or row.min_operands
    )


def _subcommand(operands: Sequence[str], names: Sequence[str]) -> Holds:
    if not operands:
        return Holds.NO
    if unknown(operands[0]):
        return Holds.MAYBE
    return sure(plain(operands[0]).lower() in names)


def _words(
    got: Parsed, operands: Sequence[str], row: MatchRow, places: Places, folder: str | None
) -> Holds:
    flags = min([_flag(got, group, row.style) for group in row.flags], default=Holds.YES)
    if flags is Holds.NO:
        return Holds.NO
    if any(_flag(got, (one,), row.style) is Holds.YES for one in row.without):
        return Holds.NO
    counted = operands[row.skip :]
    where = Holds.YES
    if row.operands or row.like:
        where = _any_place(counted, row.operands, places, folder)
        where = max([where, *(_like(word, row.like) for word in counted)])
        if where is Holds.NO and any(HOLES in word for word in operands):
            where = Holds.MAYBE
    if row.min_operands and len(counted) < row.min_operands:
        where = min(where, sure(False) if not got.many else Holds.MAYBE)
    if flags is Holds.MAYBE and where is Holds.MAYBE and not got.many:
        # One word cannot be a flag and a path at once.
        holes = sum(1 for word in [*got.operands] if unknown(word))
        if holes < 2:
            return Holds.NO
    if row.without and got.open_flags and min(flags, where) is Holds.YES:
        return Holds.MAYBE
    return min(flags, where)


def _flag(got: Parsed, group: Sequence[str], style: str) -> Holds:
    for flag in group:
        wanted = flag.lower() if style in ("powershell", "dos") else flag
        for given, held in got.flags:
            if style == "powershell":
                fits = len(given) > 1 and wanted.startswith(given) and held != "$false"
            else:
                fits = same(given, wanted)
            if fits:
                return Holds.YES
    return Holds.MAYBE if got.open_flags else Holds.NO


def _any_place(
    words: Sequence[str], wanted: Sequence[Place], places: Places, folder: str | None
) -> Holds:
    best = Holds.NO
    for word in words:
        for place in wanted:
            best = max(best, places.lies(word, place, folder))
    return best


def _like(word: str, patterns: Sequence[str]) -> Holds:
    text = plain(word)
    if any(fnmatchcase(text, pattern) for pattern in patterns):
        return Holds.YES
    if not unknown(text):
        return Holds.NO
    known = text.replace(HOLE, "*").replace(HOLES, "*").replace(BELOW, "x")
    head = known.partition("*")[0]
    possible = any(
        pattern.startswith(head[: len(pattern.partition("*")[0])]) or pattern.startswith("*")
        for pattern in patterns
    )
    return Holds.MAYBE if possible and patterns else Holds.NO
