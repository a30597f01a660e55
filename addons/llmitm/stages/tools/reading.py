"""What one judgement knows while it reads: variables, files, what was found, how far it may go.

Every step of reading is counted. The allowance grows with the text alone, so the work is linear in
it; what would take more is not read, and said so.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from llmitm.ruleset.tools import CommandsRow, InterpreterRow, WrapperRow
from llmitm.stages.tools.commands import HOLE, Simple, Unreadable

MAX_DEPTH = 90
STEPS_PER_CHARACTER = 40
FEWEST_STEPS = 4000
MOST_STEPS = 8_000
"""Beside what it costs to read the text itself. A step takes about a microsecond."""
STEPS_PER_COMMAND = 12


@dataclass(frozen=True, slots=True)
class Stream:
    """What a command reads. text: HOLE where it is not known; origins: programs that wrote it."""

    text: str = HOLE
    origins: tuple[str, ...] = ()


@dataclass(slots=True)
class Scope:
    """What a shell knows at one point.

    variables: as plain text, holes inside; files: path -> text written by the command itself, with
    who wrote it; folder: empty = the project, None = not known; arguments: `$1`…, None = not known.
    """

    variables: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    functions: dict[str, Callable[[Scope, Stream | None], str]] = field(
        default_factory=dict[str, "Callable[[Scope, Stream | None], str]"]
    )
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, Stream] = field(default_factory=dict[str, Stream])
    folder: str | None = ""
    arguments: tuple[str, ...] | None = None

    def file(self, path: str) -> Stream | None:
        """What the command itself wrote into a file; None = it did not."""
        return self.files.get(self._place(path))

    def keep(self, path: str, stream: Stream) -> None:
        """Remembers what a file holds now."""
        self.files[self._place(path)] = stream

    def _place(self, path: str) -> str:
        place = posixpath.join(self.folder or "", path.replace("\\", "/"))
        return posixpath.normpath(place)

    def child(self) -> Scope:
        """A subshell: what it changes stays there, but for files."""
        return Scope(
            dict(self.variables),
            dict(self.functions),
            dict(self.aliases),
            self.files,
            self.folder,
            self.arguments,
        )


type Runs = Callable[[str, Scope, Stream | None], str]
"""Reads a text in some language: (text, scope, input) -> what it would print."""


@dataclass(slots=True)
class Reading:
    """One judgement in progress.

    found: every simple command; doubts: what could not be read; origins: programs whose output went
    into the word being read; languages: how to read each language; parser_load:
    what parsers may have had to do, parser_work: what they have had to; see `parsing`.
    """

    rules: CommandsRow
    limit: int
    languages: Mapping[str, Runs]
    found: list[Simple] = field(default_factory=list[Simple])
    doubts: list[str] = field(default_factory=list[str])
    origins: list[str] = field(default_factory=list[str])
    active: list[str] = field(default_factory=list[str])
    steps: int = 0
    depth: int = 0
    parser_load: float = 0.0
    parser_work: int = 0

    def spend(self, steps: int = 1) -> None:
        """Counts steps. Raises Unreadable when there were too many."""
        self.steps += steps
        if self.steps > self.limit:
            raise Unreadable("it does too much to be followed")

    @contextmanager
    def deeper(self) -> Generator[None]:
        """One level deeper. Raises Unreadable when that is too deep."""
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise Unreadable("it is nested too deeply")
        try:
            yield
        finally:
            self.depth -= 1

    def doubt(self, say: str) -> None:
        """Notes what could not be decided; the first eight are enough."""
        if len(self.doubts) < 8:
            self.doubts.append(say)

    def read(self, language: str, text: str, scope: Scope, stream: Stream | None = None) -> str:
        """What the text prints, after everything it runs was found."""
        with self.deeper():
            self.spend(1 + len(text) // 4)
            return self.languages[language](text, scope, stream)

    def runs_file(self, name: str, scope: Scope) -> Stream | None:
        """What the command itself wrote into the file that is run; None = it did not.

        A file that is run by its path runs itself, whatever its name is.
        """
        held = scope.file(name)
        if held is not None:
            self.found.append(Simple((":file", name), (), (), held.origins, scope.folder))
        return held

    def wrapper(self, program: str) -> WrapperRow | None:
        """The row of a program that runs another one."""
        return next((row for row in self.rules.wrappers if program in row.programs), None)

    def interpreter(self, program: str) -> InterpreterRow | None:
        """The row of a program that runs source text; a version at its end does not count."""
        bare = program.rstrip("0123456789.-")
        for row in self.rules.interpreters:
            if program in row.programs or bare in row.programs:
                return row
        return None


def allowance(characters: int) -> int:
    """Steps that a text of this length may take."""
    return FEWEST_STEPS + min(STEPS_PER_CHARACTER * characters, characters * 3 // 4 + MOST_STEPS)
