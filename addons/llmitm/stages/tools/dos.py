"""Which simple commands does a text for cmd.exe run? Carets, quotes, `&`, `%VARIABLES%`.

Source: Microsoft's reference of Windows commands, cmd.
"""

from __future__ import annotations

import re

from llmitm.stages.tools.commands import HOLE, Simple, Unreadable, quoted
from llmitm.stages.tools.reading import STEPS_PER_COMMAND, Reading, Scope, Stream
from llmitm.stages.tools.running import run_simple

_TOKEN = re.compile(
    r"(?P<end>&&|\|\||[&|\n()])|(?P<out>\d?>>?)|(?P<in><)|(?P<space>[ \t\r,;=]+)"
    r'|(?P<word>(?:"[^"\n]*"?|\^.|[^\s&|<>()",;=^]|\^)+)',
    re.DOTALL,
)
_LONGEST = 8191
"""Of a command line, by Microsoft's documentation of cmd.exe."""
_VARIABLE = re.compile(r"%([^%\s]+)%|!(\w+)!")


def read_dos(reading: Reading, text: str, scope: Scope, stream: Stream | None) -> str:
    """What the text prints, which is never known; its commands are in `reading.found`."""
    if len(text) > _LONGEST:
        raise Unreadable(f"cmd.exe runs no line of more than {_LONGEST} characters")
    words: list[str] = []
    writes: list[str] = []
    fed_by: list[str] = []
    target = False
    for found in _TOKEN.finditer(text + "\n"):
        reading.spend()
        if found["end"]:
            if words:
                program = _run(reading, words, writes, fed_by, scope)
                fed_by = [*fed_by[-19:], program] if found["end"] == "|" else []
            words, writes, target = [], [], False
        elif found["out"]:
            target = True
        elif found["word"]:
            word = _word(found["word"], scope)
            if target:
                writes.append(word)
                target = False
            else:
                words += _slashes(word) if words else [word]
    return HOLE


def _run(
    reading: Reading, words: list[str], writes: list[str], fed_by: list[str], scope: Scope
) -> str:
    words[0] = words[0].lstrip("@")
    name = words[0].lower()
    if name == "set" and len(words) > 2:
        scope.variables[words[1].lower()] = (" ".join(words[2:]),)
        return "set"
    if name in ("if", "for", "call", "start", "else", "do"):
        # What follows a condition is a command too; which word begins it is not worth knowing.
        for at in range(1, min(len(words), 8)):
            reading.spend(STEPS_PER_COMMAND * (1 + len(writes)))
            simple = Simple(tuple(map(quoted, words[at:])), tuple(writes), (), tuple(fed_by))
            reading.found.append(simple)
            if name in ("call", "start"):
                reading.runs_file(words[at], scope)
        return name
    simple = Simple(tuple(map(quoted, words)), tuple(writes), (), tuple(fed_by), scope.folder)
    if writes:
        reading.spend(STEPS_PER_COMMAND * len(writes))
        reading.found.append(Simple((":redirect", words[0]), tuple(writes), (), (), scope.folder))
    run_simple(reading, simple, scope, None)
    return simple.program


def _word(text: str, scope: Scope) -> str:
    text = re.sub(r"\^(.?)", r"\1", text, flags=re.DOTALL).replace('"', "")

    def known(found: re.Match[str]) -> str:
        name = (found[1] or found[2]).lower()
        if name in ("userprofile", "homepath"):
            return "\ue005"
        return " ".join(scope.variables.get(name, (HOLE,)))

    return _VARIABLE.sub(known, text)


def _slashes(word: str) -> list[str]:
    """`/s/q` as two words."""
    return re.findall(r"/[A-Za-z]", word) if re.fullmatch(r"(?:/[A-Za-z]){2,}", word) else [word]
