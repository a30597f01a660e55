"""What do the shell's own commands change? Folder, variables, arguments, aliases, files loaded.

Each is a function of the reading, the command, the scope it changes and its input; what it gives is
what the command prints.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise

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


_TARGETS = frozenset({"-o", "--output", "-O", "--output-document"})
_FOLDERS = frozenset({"-P", "--directory-prefix", "--output-dir"})


def _download(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    """What is loaded into a file may be run later in the same command."""
    # For curl `-O` takes no value: the file is called as in the URL.
    values = (_TARGETS | _FOLDERS) - ({"-O"} if simple.program == "curl" else set())
    flags = parsed(simple.words, sorted(values)).flags
    # Spelled out: `--output` is not short for `--output-dir`.
    folder = next((plain(held) for flag, held in flags if flag in _FOLDERS), "")
    names = [held for flag, held in flags if flag in _TARGETS and held]
    names += [
        word.partition("?")[0].rsplit("/", 1)[-1] for word in simple.words[1:] if "://" in word
    ]
    # PowerShell shortens its flags.
    names += [
        word
        for flag, word in pairwise(simple.words[1:])
        if len(flag) > 2
        and any(one.startswith(flag.lower()) for one in ("-outfile", "-destination"))
    ]
    if simple.program in ("certutil", "bitsadmin"):
        names += simple.words[-1:]
    loaded = Stream(HOLE, (simple.program,))
    for name in names:
        scope.keep(_inside(folder, name), loaded)
    return HOLE


def _inside(folder: str, name: str) -> str:
    return f"{folder}/{plain(name)}" if folder else plain(name)


def _start(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    """Windows starts a file by its name."""
    for word in simple.words[1:]:
        reading.runs_file(plain(word), scope)
    return ""


def _tee(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    """Writes what it reads into files, and prints it."""
    given = stream if stream is not None else Stream()
    for target in parsed(simple.words, ()).operands:
        scope.keep(plain(target), given)
    return given.text


def _moved(reading: Reading, simple: Simple, scope: Scope, stream: Stream | None) -> str:
    """A file that the command made has another name, or lies in another folder."""
    operands = [plain(word) for word in parsed(simple.words, ("-t", "-m", "-o", "-g")).operands]
    for source in operands[:-1]:
        held = scope.file(source)
        if held is not None:
            scope.keep(operands[-1], held)
            scope.keep(f"{operands[-1]}/{source.rsplit('/', 1)[-1]}", held)
    return ""


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
    "invoke-webrequest": _download,
    "iwr": _download,
    "invoke-restmethod": _download,
    "irm": _download,
    "start-bitstransfer": _download,
    "certutil": _download,
    "bitsadmin": _download,
    "start-process": _start,
    "saps": _start,
    "invoke-item": _start,
    "ii": _start,
    "tee": _tee,
    "mv": _moved,
    "cp": _moved,
    "ln": _moved,
    "install": _moved,
}
"""Name -> what it changes."""
