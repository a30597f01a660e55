"""What do the shell's own commands change? Folder, variables, arguments, aliases, files loaded.

Each is a function of the reading, the command, the scope it changes and its input; what it gives is
what the command prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from llmitm.stages.tools.commands import HOLE, HOLES, HOME, Simple, plain, unknown
from llmitm.stages.tools.options import parsed
from llmitm.stages.tools.printing import format_text, printed
from llmitm.stages.tools.reading import Reading, Scope, Stream

type Builtin = Callable[[Reading, Simple, Scope, Stream | None], str]


def _cd(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    operands = [word for word in simple.words[1:] if not word.startswith("-") or word == "-"]
    target = operands[0] if operands else HOME
    if unknown(target) or target == "-" or len(operands) > 1:
        scope.folder = None
        return ""
    text = target
    if text.startswith(("/", HOME)) or text[1:2] == ":":
        scope.folder = text
    elif scope.folder is not None:
        scope.folder = f"{scope.folder}/{text}" if scope.folder else text
    return ""


def _popd(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    scope.folder = None
    return ""


def _pwd(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    return HOLE if scope.folder is None else plain(scope.folder or ".") + "\n"


def _set(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    words = [plain(word) for word in simple.words[1:]]
    if "--" in words:
        scope.arguments = tuple(words[words.index("--") + 1 :])
    elif words and words[0][:1] not in "-+":
        scope.arguments = tuple(words)
    return ""


def _shift(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    if scope.arguments is not None:
        count = plain(simple.words[1]) if len(simple.words) > 1 else "1"
        scope.arguments = scope.arguments[int(count) if count.isdecimal() else 0 :]
    return ""


def _read(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    names = [plain(word) for word in simple.words[1:] if plain(word).isidentifier()]
    line = stream.text.split("\n", 1)[0] if stream is not None else HOLE
    parts = line.split(None, max(0, len(names) - 1)) if not unknown(line) else []
    for index, name in enumerate(names or ["REPLY"]):
        held = parts[index] if index < len(parts) else ""
        scope.variables[name] = (HOLE if unknown(line) else held,)
    return ""


def _printf(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    words = [plain(word).replace(HOLES, HOLE) for word in simple.words[1:]]
    if words[:1] == ["-v"] and len(words) > 2:
        scope.variables[words[1]] = (format_text(words[2], words[3:]),)
        return ""
    return printed("printf", words, "")


def _aliases(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    for word in simple.words[1:]:
        name, equals, text = plain(word).partition("=")
        if equals:
            scope.aliases[name] = text
    return ""


def _unread(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    reading.doubt(f"what {simple.program} sets is not known")
    return ""


def _download(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    """What is loaded into a file may be run later in the same command."""
    got = parsed(simple.words, ("-o", "--output", "-O", "--output-document"))
    for flag in ("-o", "--output", "-O", "--output-document"):
        for target in got.values_of(flag):
            scope.keep(plain(target), Stream(HOLE, (simple.program,)))
    for word in simple.words[1:]:
        if "://" in word and (got.has("-O") or simple.program == "wget"):
            scope.keep(plain(word).rsplit("/", 1)[-1], Stream(HOLE, (simple.program,)))
    return HOLE


STATEFUL: Mapping[str, Builtin] = {
    "cd": _cd,
    "pushd": _cd,
    "popd": _popd,
    "pwd": _pwd,
    "set": _set,
    "shift": _shift,
    "read": _read,
    "printf": _printf,
    "alias": _aliases,
    "mapfile": _unread,
    "readarray": _unread,
    "curl": _download,
    "wget": _download,
}
"""Name -> what it changes."""
