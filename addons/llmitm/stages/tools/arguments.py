"""Where does the command stand in a tool call's arguments? Also the paths of file tools.

Total: arguments that are no JSON are a command themselves. A key that stands twice counts twice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from llmitm.ruleset.tools import CommandsRow, SandboxRow

_MAX_LEVELS = 6
_PATCHED = re.compile(
    r"^(?:\*\*\* (?:Add File|Update File|Delete File|Move to):|(?:---|\+\+\+) (?:[ab]/)?)"
    r"[ ]*([^\t\n]+)",
    re.MULTILINE,
)

type Pairs = list[tuple[str, Any]]


class _Mapping:
    """A JSON object with every pair it was written with."""

    __slots__ = ("pairs",)

    def __init__(self, pairs: Pairs) -> None:
        self.pairs = pairs


@dataclass(slots=True)
class Given:
    """texts: shell texts; lists: words of commands that no shell splits; folder: where they run,
    empty = not said; broken: it looks like JSON and is none; strings: other texts, were there
    any."""

    texts: list[str] = field(default_factory=list[str])
    lists: list[list[str]] = field(default_factory=list[list[str]])
    folder: str = ""
    broken: bool = False
    strings: int = 0


def parsed_arguments(arguments: str) -> tuple[Any, bool]:
    """(the JSON value, True), or the text itself and whether it is surely no JSON."""
    try:
        return json.loads(arguments, object_pairs_hook=_Mapping), True
    except (ValueError, RecursionError):
        return arguments, not arguments.lstrip().startswith(("{", '["'))


def commands_in(arguments: str, rules: CommandsRow) -> Given:
    """The commands in a shell tool's arguments."""
    given = Given()
    held, certain = parsed_arguments(arguments)
    given.broken = not certain
    if isinstance(held, str):
        given.texts.append(held)
    else:
        _collect(held, rules, given, 0)
    return given


def _collect(held: Any, rules: CommandsRow, given: Given, level: int) -> None:
    if level > _MAX_LEVELS:
        given.broken = True
        return
    if isinstance(held, _Mapping):
        _object(held.pairs, rules, given, level)
    elif isinstance(held, list):
        _array(cast("list[Any]", held), rules, given, level)
    elif isinstance(held, str):
        given.strings += 1


def _object(pairs: Pairs, rules: CommandsRow, given: Given, level: int) -> None:
    extra = _extra(pairs)
    found = False
    for key, held in pairs:
        name = key.lower()
        if name in rules.folder_keys and isinstance(held, str):
            given.folder = held
        elif name in rules.command_keys:
            found = True
            if isinstance(held, str) and extra:
                given.lists.append([held, *extra])
                given.texts.append(" ".join([held, *extra]))
            elif isinstance(held, str):
                given.texts.append(held)
            else:
                if name.endswith("s") and isinstance(held, list):
                    # `commands` may be several commands as well as the words of one.
                    items = cast("list[Any]", held)
                    given.texts += [one for one in items if isinstance(one, str)]
                _collect(held, rules, given, level + 1)
        elif name in rules.nested_keys:
            inner = parsed_arguments(held)[0] if isinstance(held, str) else held
            if isinstance(inner, str):
                given.texts.append(inner)
            else:
                _collect(inner, rules, given, level + 1)
        elif isinstance(held, str):
            given.strings += 1
    if extra and not found:
        given.lists.append(extra)


def _extra(pairs: Pairs) -> list[str]:
    """The words that stand beside a command under `args`."""
    found: list[str] = []
    for key, held in pairs:
        if key.lower() == "args" and isinstance(held, list):
            found += [str(one) for one in cast("list[Any]", held)]
        elif key.lower() == "args" and isinstance(held, str):
            found.append(held)
    return found


def _array(items: list[Any], rules: CommandsRow, given: Given, level: int) -> None:
    if items and all(isinstance(one, str) for one in items):
        words = cast("list[str]", items)
        if len(words) == 1:
            given.texts.append(words[0])
        else:
            given.lists.append(words)
        return
    for one in items:
        if isinstance(one, str):
            given.texts.append(one)
        else:
            _collect(one, rules, given, level + 1)


def paths_in(arguments: str, rules: SandboxRow) -> tuple[list[str], bool]:
    """The paths in a file tool's arguments, and whether all could be read."""
    held, certain = parsed_arguments(arguments)
    found: list[str] = []
    if isinstance(held, str):
        found += patched_paths(held)
        return found, certain and bool(found)
    readable = certain
    for key, one in _pairs(held, 0):
        name = key.lower()
        if name in rules.path_keys:
            texts = _texts(one)
            readable = readable and texts is not None
            found += texts or ()
        elif name in rules.patch_keys and isinstance(one, str):
            found += patched_paths(one)
    return found, readable and bool(found)


def patched_paths(patch: str) -> list[str]:
    """The files a patch touches."""
    found = [one[1].strip() for one in _PATCHED.finditer(patch)]
    return [one for one in found if one != "/dev/null"]


def _pairs(held: Any, level: int) -> Iterator[tuple[str, Any]]:
    if level > _MAX_LEVELS:
        return
    if isinstance(held, _Mapping):
        for key, one in held.pairs:
            yield key, one
            yield from _pairs(one, level + 1)
    elif isinstance(held, list):
        for one in cast("list[Any]", held):
            yield from _pairs(one, level + 1)


def _texts(held: Any) -> Sequence[str] | None:
    if isinstance(held, str):
        return [held]
    if isinstance(held, list):
        items = cast("list[Any]", held)
        texts = [one for one in items if isinstance(one, str)]
        return texts if len(texts) == len(items) else None
    return None if held is not None else []
