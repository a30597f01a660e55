"""What does one simple command run in the end? Functions, aliases, wrappers, interpreters.

Each level is recorded: `sudo sh -c 'rm -rf /'` is three commands. Which programs are wrappers and
interpreters stands in `rules/tools.yaml`; here is what only code can say.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from llmitm.ruleset.tools import InterpreterRow, WrapperRow
from llmitm.stages.tools.builtins import STATEFUL, Builtin
from llmitm.stages.tools.commands import (
    HOLE,
    HOLES,
    Simple,
    plain,
    quoted,
    single,
    unknown,
)
from llmitm.stages.tools.options import parsed
from llmitm.stages.tools.printing import find_roots, printed
from llmitm.stages.tools.reading import STEPS_PER_COMMAND, Reading, Scope, Stream

_PATH = re.compile(r"[/\\]|\.(?:exe|com|bat|cmd|ps1)$", re.IGNORECASE)
"""A program that is named by where it lies. Windows looks in the present folder too."""


def run_simple(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    """What the command prints; it and all it runs are in `reading.found`."""
    reading.spend(STEPS_PER_COMMAND + len(simple.words))
    with reading.deeper():
        word = simple.words[0]
        if unknown(word) or any(letter in word for letter in "*?["):
            reading.found.append(simple)
            reading.doubt("which program runs is not known")
            return HOLE
        name = plain(word)
        if name in scope.functions and name not in reading.active:
            return _function(reading, name, simple, scope, stream)
        if name in scope.aliases and name not in reading.active:
            return _alias(reading, name, simple, scope, stream)
        program = simple.program
        if program != "git":  # recorded without what stands before its subcommand
            reading.found.append(simple)
        if program in reading.rules.exempt:
            return HOLE
        builtin = _BUILTINS.get(program)
        if builtin is not None:
            return builtin(reading, simple, scope, stream)
        wrapper = reading.wrapper(program)
        if wrapper is not None:
            return _wrapped(reading, wrapper, simple, scope, stream)
        interpreter = reading.interpreter(program)
        if interpreter is not None:
            return _interpreted(reading, interpreter, simple, scope, stream)
        made = reading.runs_file(name, scope) if _PATH.search(name) else None
        if made is not None:
            return _held(reading, "posix", made, simple, scope.child(), stream)
        return printed(program, simple.words[1:], stream.text if stream else "")


def _again(
    reading: Reading, words: Sequence[str], simple: Simple, scope: Scope, stream: Stream | None
) -> str:
    if not words:
        return ""
    inner = Simple(tuple(words), (), (), simple.fed_by, scope.folder)
    return run_simple(reading, inner, scope, stream)


def _function(
    reading: Reading, name: str, simple: Simple, scope: Scope, stream: Stream | None
) -> str:
    outer, scope.arguments = scope.arguments, tuple(map(plain, simple.words[1:]))
    reading.active.append(name)
    try:
        return scope.functions[name](scope, stream)
    finally:
        reading.active.pop()
        scope.arguments = outer


def _alias(reading: Reading, name: str, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    reading.active.append(name)
    try:
        rest = " ".join(shlex.quote(single(plain(word))) for word in simple.words[1:])
        return reading.read("posix", f"{scope.aliases[name]} {rest}", scope, stream)
    finally:
        reading.active.pop()


def _eval(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    return shell_text(reading, " ".join(simple.words[1:]), simple, scope, stream)


def shell_text(
    reading: Reading, text: str, simple: Simple, scope: Scope, stream: Stream | None
) -> str:
    """Reads words of a command as shell text; what is not known in it is doubted."""
    text = plain(text)
    if text.strip(HOLE + HOLES + " \n") == "" and unknown(text):
        reading.doubt("the text a shell is given is not known")
        return HOLE
    holes = {"__hole__": (HOLE,)}
    scope.variables |= holes
    # A hole in shell text may be anything, an operator too.
    if unknown(text):
        reading.doubt("a part of the text a shell is given is not known")
    return reading.read(
        "posix", text.replace(HOLES, HOLE).replace(HOLE, "${__hole__}"), scope, stream
    )


def _source(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    for word in simple.words[1:2]:
        held = scope.file(plain(word))
        if held is not None:
            return _held(reading, "posix", held, simple, scope, None)
    return HOLE


def _held(
    reading: Reading,
    language: str,
    held: Stream,
    simple: Simple,
    scope: Scope,
    stream: Stream | None,
) -> str:
    """Reads a text that the command itself made, or that comes through a pipe."""
    fed = tuple(held.origins)
    reading.found.append(Simple(simple.words[:1], (), (), fed, scope.folder))
    if language == "posix":
        return shell_text(reading, held.text, simple, scope, stream)
    if unknown(held.text):
        reading.doubt(f"the text {simple.program} is given is not known")
        return HOLE
    return reading.read(language, held.text, scope, stream)


def _find(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    words = list(simple.words[1:])
    roots = find_roots(words)
    for at, word in enumerate(words):
        if word == "-delete":
            _again(reading, ["rm", "-r", *roots], simple, scope.child(), None)
        if word in ("-exec", "-execdir", "-ok", "-okdir"):
            end = next((i for i in range(at, len(words)) if words[i] in (";", "+")), len(words))
            inner = [
                part.replace("{}", roots[0]) if plain(part) != "{}" else part
                for part in map(plain, words[at + 1 : end])
            ]
            filled: list[str] = []
            for part in inner:
                filled += roots if part == "{}" else [quoted(part)]
            _again(reading, filled, simple, scope.child(), None)
    return printed("find", words, "")


def _xargs(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    values = (
        "-n",
        "-P",
        "-L",
        "-s",
        "-d",
        "-E",
        "-a",
        "-I",
        "-J",
        "-R",
        "--max-args",
        "--max-procs",
        "--max-lines",
        "--delimiter",
        "--arg-file",
        "--replace",
    )
    got = parsed(simple.words, values, stop=True)
    text = stream.text if stream is not None else HOLE
    given = [HOLES] if unknown(text) or got.has("-a") else [quoted(one) for one in text.split()]
    if len(given) > 64:
        given = [HOLES]
    replaced = next(iter([*got.values_of("-I"), *got.values_of("--replace")]), "")
    inner = list(got.operands) or ["echo"]
    if replaced:
        if not unknown(text):
            given = [quoted(line) for line in text.splitlines() if line] or [HOLE]
        if len(given) > 16:
            given = [HOLE]
        for one in given:
            filled = [word.replace(plain(replaced), one) for word in map(plain, inner)]
            _again(reading, [quoted(word) for word in filled], simple, scope.child(), None)
        return HOLE
    return _again(reading, [*inner, *given], simple, scope.child(), None)


def _git(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    """An alias given with `-c` runs; `-C` and its like are taken out."""
    got = parsed(
        simple.words,
        (
            "-C",
            "-c",
            "--git-dir",
            "--work-tree",
            "--namespace",
            "--exec-path",
            "--config-env",
            "--super-prefix",
        ),
        stop=True,
    )
    rest, fed_by = list(got.operands), simple.fed_by
    aliases: dict[str, str] = {}
    for one in got.values_of("-c"):
        key, _, held = plain(one).partition("=")
        aliases[key] = held
    for folder in got.values_of("-C"):
        simple = Simple(("cd", folder), (), (), (), scope.folder)
        scope = scope.child()
        STATEFUL["cd"](reading, simple, scope, None)
    if any(unknown(one) for one in got.values_of("-c")):
        reading.doubt("what git is set to is not known")
    name = plain(rest[0]) if rest else ""
    text = aliases.get(f"alias.{name}")
    if text is not None and name not in reading.active:
        reading.active.append(name)
        tail = " ".join(shlex.quote(single(plain(word))) for word in rest[1:])
        line = f"{text[1:]} {tail}" if text.startswith("!") else f"git {text} {tail}"
        reading.read("posix", line, scope, stream)
        reading.active.pop()
    for key in ("core.pager", "core.editor", "core.sshCommand", "core.fsmonitor", "diff.external"):
        if key in aliases:
            reading.read("posix", aliases[key], scope.child(), None)
    if rest[:1] == ["submodule"] and "foreach" in rest:
        reading.read("posix", " ".join(map(plain, rest[rest.index("foreach") + 1 :])), scope, None)
    reading.found.append(Simple(("git", *rest), (), (), fed_by, scope.folder))
    return HOLE


def _wrapped(
    reading: Reading, row: WrapperRow, simple: Simple, scope: Scope, stream: Stream | None
) -> str:
    got = parsed(simple.words, (*row.values, *row.code), stop=True)
    for flag in row.code:
        for text in got.values_of(flag):
            shell_text(reading, text, simple, scope.child(), stream)
    rest = list(got.operands)
    scope = scope.child() if row.assignments else scope
    while row.assignments and rest and "=" in rest[0]:
        name, _, held = plain(rest.pop(0)).partition("=")
        scope.variables[name] = (held,)
    rest = rest[row.skip :]
    if not rest:
        return HOLE
    if simple.program == "command" and (got.has("-v") or got.has("-V")):
        return plain(rest[0])
    if row.joined:
        return shell_text(reading, " ".join(rest), simple, scope.child(), stream)
    return _again(reading, rest, simple, scope, stream)


def _interpreted(
    reading: Reading, row: InterpreterRow, simple: Simple, scope: Scope, stream: Stream | None
) -> str:
    # A shell's `-c` takes no value: its text is the first operand, whatever options come between.
    flags = row.values if row.language == "posix" else (*row.values, *row.code)
    got = parsed(simple.words, flags, stop=True)
    language = row.name if row.language == "other" else row.language
    operands = list(got.operands)
    if row.language == "posix":
        codes = operands[:1] if any(got.has(flag) for flag in row.code) else []
        operands = operands[1:]
    elif language in ("powershell", "cmd"):
        codes = _rest(simple.words, row, language)
    else:
        codes = [text for flag in row.code for text in got.values_of(flag)]
        codes += operands[:1] if "" in row.code and not got.has("-f") else []
    for text in codes:
        inner = scope.child()
        inner.arguments = tuple(map(plain, operands[1:]))
        inner.variables["0"] = tuple(map(plain, operands[:1])) or (HOLE,)
        if language == "posix":
            shell_text(reading, text, simple, inner, stream)
        elif unknown(text):
            reading.doubt(f"the text {simple.program} is given is not known")
        else:
            reading.read(language, plain(text), inner, stream)
    if codes:
        return HOLE
    files = [word for word in got.operands[:1] if word not in ("-", "/dev/stdin")]
    held = scope.file(plain(files[0])) if files and not got.has("-s") else stream
    if files and not got.has("-s") and unknown(files[0]):
        reading.doubt(f"what {simple.program} runs is not known")
    if held is not None:
        _held(reading, language, held, simple, scope.child(), None)
    return HOLE


def _rest(words: Sequence[str], row: InterpreterRow, language: str) -> list[str]:
    """The text after the flag that begins it; an encoded one with its flag."""
    values = {one.lower() for one in row.values}
    at = 1
    while at < len(words):
        word = plain(words[at]).lower()
        if language == "cmd" and re.match(r"/[ckr]", word):
            glued = [words[at][2:]] if len(word) > 2 else []
            return [" ".join([*glued, *words[at + 1 :]])]
        if word in values:
            at += 1
        elif language == "powershell" and re.fullmatch(r"[-/](e|en|enc\w*|ec)", word):
            return [" ".join(["-e", *words[at + 1 : at + 2]])]
        elif language == "powershell" and re.fullmatch(r"[-/]c\w*", word):
            return [" ".join(words[at + 1 :])]
        elif not word.startswith(("-", "/")) and language == "powershell":
            return [" ".join(words[at:])]
        at += 1
    return []


_BUILTINS: Mapping[str, Builtin] = {
    **STATEFUL,
    "eval": _eval,
    "source": _source,
    ".": _source,
    "find": _find,
    "xargs": _xargs,
    "git": _git,
}
