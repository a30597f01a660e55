"""What is a command given, and what does it give back? Arguments, a desk, an answer or a fault.

A command works on a `Desk`, a copy of what the conversation has set; nothing is in force until all
commands of a message went well.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from llmitm.canon.values import value
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.commands.grammar import Arg
from llmitm.stages.conversation import NamedRoute, Settings

_MOST_LISTED = 12


@value
class Wrong:
    """A command that cannot be run. say: why, and what would be right."""

    say: str


@dataclass(slots=True, kw_only=True)
class Desk:
    """What commands may look at and change. prefix: what commands begin with where these were
    written; is_directory: whether a path is an existing folder."""

    settings: Settings
    routes: dict[str, NamedRoute]
    one_off: str
    ruleset: Ruleset
    prefix: str
    is_directory: Callable[[str], bool]

    def locked(self) -> Wrong | None:
        """Why a model cannot be chosen; None = it can."""
        if self.ruleset.static_route is None:
            return None
        return Wrong("the rules set a static_route, which decides alone where every request goes")

    def thinking_locked(self) -> Wrong | None:
        """Why it cannot be said how much a model thinks; None = it can."""
        if not self.ruleset.rewrites.locks_reasoning:
            return None
        return Wrong("the rules set a thinking_budget, which holds for every request")


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """One command. usage: how it is written after its name; examples: whole commands without the
    prefix; tells: its answer is wanted even where the message goes on to the model; again: may be
    run again when a client repeats its request."""

    name: str
    usage: str
    say: str
    examples: tuple[str, ...]
    run: Callable[[Desk, tuple[Arg, ...]], str | Wrong]
    aliases: tuple[str, ...] = ()
    tells: bool = False
    again: bool = False

    def format(self, prefix: str) -> str:
        """`!/route-list(name=N)`."""
        return f"{prefix}{self.name}{self.usage}"


@dataclass(frozen=True, slots=True)
class Taken:
    """Arguments by their names, and the words that had none."""

    named: Mapping[str, str] = field(default_factory=dict[str, str])
    words: tuple[str, ...] = ()


def same(key: str) -> str:
    """A parameter's name as it is compared: lower case, with dashes."""
    return key.lower().replace("_", "-")


def taken(args: Iterable[Arg], names: tuple[str, ...], most_words: int = 0) -> Taken | Wrong:
    """The arguments by name. names: those there are; most_words: how many may stand without one."""
    named: dict[str, str] = {}
    words: list[str] = []
    for arg in args:
        key = same(arg.key)
        if not key:
            words.append(arg.value)
        elif key not in names:
            return Wrong(f"unknown parameter {arg.key!r}{nearest(key, names)}")
        elif key in named:
            return Wrong(f"{key} is given twice")
        else:
            named[key] = arg.value
    if len(words) > most_words:
        if not names and not most_words:
            return Wrong("it takes no parameters")
        known = f"; its parameters: {', '.join(names)}" if names else ""
        return Wrong(f"{words[most_words]!r} has no place here{known}")
    return Taken(named, tuple(words))


def one(args: Iterable[Arg], names: tuple[str, ...]) -> str | Wrong:
    """The single argument, under any of `names` or without one; empty = there is none."""
    found = taken(args, names, 1)
    if isinstance(found, Wrong):
        return found
    given = [*found.named.values(), *found.words]
    if len(given) > 1:
        return Wrong(f"only one value is wanted, not {len(given)}")
    return given[0].strip() if given else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean X?`, or the list of what there is; empty if there is nothing."""
    names = sorted(known)
    near = difflib.get_close_matches(same(word), names, 3, 0.6)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    if not names:
        return ""
    more = ", …" if len(names) > _MOST_LISTED else ""
    return f"; there is {', '.join(names[:_MOST_LISTED])}{more}"
