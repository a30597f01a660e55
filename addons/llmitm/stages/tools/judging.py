"""What would one tool call do? Allowed, dangerous, outside the project, or not to be decided.

The one entrance is `judge`. Nothing here runs, reads a file or asks a clock; whoever may look at
the disk gives `resolve`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from functools import partial

from llmitm.canon.values import value
from llmitm.ruleset.tools import InterpreterRow, ShellToolRow, ToolsFile
from llmitm.stages.tools.arguments import Given, commands_in, paths_in
from llmitm.stages.tools.commands import Simple, Unreadable, cleaned, quoted
from llmitm.stages.tools.dos import read_dos
from llmitm.stages.tools.families import judged
from llmitm.stages.tools.other_source import read_code_mode, read_other
from llmitm.stages.tools.parsing import MOST_LOAD
from llmitm.stages.tools.places import Holds, Places, normal, tidy
from llmitm.stages.tools.powershell import read_powershell
from llmitm.stages.tools.python_source import read_python
from llmitm.stages.tools.reading import Reading, Runs, Scope, allowance
from llmitm.stages.tools.running import run_simple
from llmitm.stages.tools.sandbox import Fence
from llmitm.stages.tools.shell import read_shell


@value
class Allowed:
    """Nothing speaks against it."""


@value
class Dangerous:
    """It is of a dangerous family. why: of the family; piece: the command that is, expanded."""

    family: str
    why: str
    piece: str


@value
class Outside:
    """It reaches out of the project folder. path: as written; why: where it leads."""

    path: str
    why: str


@value
class Undecided:
    """Nobody can say what it would do."""

    why: str


@value
class Work:
    """What a verdict took: steps of reading, the load and the work of parsers (see `parsing`).
    Together they bound the time."""

    steps: int = 0
    parser_load: float = 0.0
    parser_work: int = 0


type Verdict = Allowed | Dangerous | Outside | Undecided

ALLOWED = Allowed()

MOST_LOOKS = 12_000
"""Words that are looked at for the shapes of dangerous commands, a word for each shape that its
program can have. A look takes some four microseconds; a long script of people has half of them."""
_LONGEST_ARGUMENTS = 8
"""Times `max_characters`: JSON escapes make a command longer, a file's text stands beside paths."""


def judge(
    name: str,
    arguments: str,
    rules: ToolsFile,
    project_dir: str | None,
    resolve: Callable[[str], str] | None,
) -> Verdict:
    """The verdict on a tool call; never raises.

    name: the tool's, in any case; arguments: JSON as the model wrote it, or a raw command;
    project_dir: absolute, None = not known; resolve: a path -> its real path with symlinks
    followed, None = the files are not on this machine.
    """
    return judge_counting(name, arguments, rules, project_dir, resolve)[0]


def judge_counting(
    name: str,
    arguments: str,
    rules: ToolsFile,
    project_dir: str | None,
    resolve: Callable[[str], str] | None,
) -> tuple[Verdict, Work]:
    """The verdict and the work it took, at most linear in the arguments and limited."""
    project = normal(tidy(project_dir)) if project_dir else ""
    places = Places(rules.commands.places, project, resolve)
    tool = shell_tool(name, rules)
    fenced = rules.sandbox.enabled and not _named(name, rules.sandbox.excluded_tools)
    if tool is not None and (rules.commands.enabled or fenced):
        return _shell_call(tool, cleaned(arguments), rules, places, fenced)
    if fenced and _named(name, rules.sandbox.tools):
        return _file_call(cleaned(arguments), rules, places), Work()
    return ALLOWED, Work()


def shell_tool(name: str, rules: ToolsFile) -> ShellToolRow | None:
    """The row of a tool that runs commands; None = it is none."""
    return next((row for row in rules.commands.tools if _named(name, row.tools)), None)


def _named(name: str, patterns: tuple[str, ...]) -> bool:
    lowered = name.lower()
    return any(fnmatchcase(lowered, pattern.lower()) for pattern in patterns)


def _file_call(arguments: str, rules: ToolsFile, places: Places) -> Verdict:
    sandbox = rules.sandbox
    if len(arguments) > rules.commands.max_characters * _LONGEST_ARGUMENTS:
        return Undecided("the arguments are too long to be read")
    paths, readable = paths_in(arguments, sandbox)
    if not places.project:
        return Undecided("the project folder is not known") if sandbox.strict_mode else ALLOWED
    fence = Fence(sandbox, places)
    for path in paths:
        why = fence.why_outside(quoted(path) if not path.startswith("~") else path, "")
        if why:
            return Outside(path, why)
    if sandbox.strict_mode and not readable:
        return Undecided("no path could be read")
    return ALLOWED


def _shell_call(
    tool: ShellToolRow, arguments: str, rules: ToolsFile, places: Places, fenced: bool
) -> tuple[Verdict, Work]:
    commands = rules.commands
    if len(arguments) > commands.max_characters:
        return Undecided(f"it is longer than {commands.max_characters} characters"), Work()
    given = (
        Given(texts=[arguments])
        if tool.language == "javascript"
        else commands_in(arguments, commands)
    )
    reading = Reading(commands, allowance(len(arguments)), {})
    reading.languages = _languages(reading)
    try:
        _read(tool, given, reading, places)
    except Unreadable as error:
        reading.doubt(error.say)
    except RecursionError:
        reading.doubt("it is nested too deeply")
    load = reading.parser_load if reading.parser_load <= MOST_LOAD else 0.0
    work = Work(reading.steps, load, reading.parser_work)
    return _verdict(reading, rules, places, fenced), work


def _languages(reading: Reading) -> Mapping[str, Runs]:
    own: dict[str, Runs] = {
        row.name: partial(_other, reading, row)
        for row in reading.rules.interpreters
        if row.language == "other"
    }
    own["posix"] = partial(read_shell, reading, run_simple)
    own["python"] = partial(read_python, reading)
    own["powershell"] = partial(read_powershell, reading)
    own["cmd"] = partial(read_dos, reading)
    own["javascript"] = partial(read_code_mode, reading)
    return own


def _other(reading: Reading, row: InterpreterRow, *rest: object) -> str:
    text, scope, stream = rest
    return read_other(reading, row, text, scope, stream)  # pyright: ignore[reportArgumentType]


def _read(tool: ShellToolRow, given: Given, reading: Reading, places: Places) -> None:
    if given.broken:
        reading.doubt("the arguments are not JSON")
    if not given.texts and not given.lists and not tool.optional and given.strings:
        reading.doubt("no command was found in the arguments")
    for text in given.texts:
        reading.read(tool.language, text, _scope(given))
    for words in given.lists:
        scope = _scope(given)
        run_simple(
            reading, Simple(tuple(map(quoted, words)), (), (), (), scope.folder), scope, None
        )


def _scope(given: Given) -> Scope:
    scope = Scope()
    scope.folder = given.folder
    return scope


def _verdict(reading: Reading, rules: ToolsFile, places: Places, fenced: bool) -> Verdict:
    doubtful = ""
    if rules.commands.enabled:
        found = _danger(reading, rules, places)
        if isinstance(found, Dangerous):
            return found
        doubtful = found
    if fenced and places.project:
        fence = Fence(rules.sandbox, places)
        for simple in reading.found:
            outside = fence.outside(simple)
            if outside is not None:
                return Outside(*outside)
            if rules.sandbox.strict_mode and fence.unreadable(simple):
                doubtful = doubtful or f"which paths it uses is not known: {simple.text}"
    elif fenced and rules.sandbox.strict_mode:
        doubtful = doubtful or "the project folder is not known"
    if reading.doubts or doubtful:
        return Undecided(doubtful or reading.doubts[0])
    return ALLOWED


def _danger(reading: Reading, rules: ToolsFile, places: Places) -> Dangerous | str:
    """The first dangerous command, or what is doubtful about them; empty = nothing is."""
    doubtful = ""
    looks = 0
    for simple in reading.found:
        words = len(simple.words) + len(simple.writes)
        looks += words * len(rules.commands.rows_for(simple.program))
        if looks > MOST_LOOKS:
            return doubtful or "it has more words than can be judged"
        if simple.program in rules.commands.exempt:
            continue
        holds, family = judged(simple, rules.commands, places)
        if family is not None and holds is Holds.YES:
            return Dangerous(family.name, family.why, simple.text)
        if family is not None and not doubtful:
            doubtful = f"whether it is {family.name} is not known: {simple.text}"
    return doubtful
