"""Which commands do Perl, Ruby, Node, PHP and awk texts run? Read by calls, not by grammar.

A call of a function that runs shell text counts when its argument is a plain literal; any other
argument is doubted. `code mode` JavaScript of Codex is read the same way.
"""

from __future__ import annotations

import re
from functools import lru_cache

from llmitm.ruleset.tools import InterpreterRow
from llmitm.stages.tools.commands import HOLE, Simple, quoted
from llmitm.stages.tools.expanding import unescaped
from llmitm.stages.tools.reading import Reading, Scope, Stream
from llmitm.stages.tools.running import run_simple

_LITERAL = re.compile(
    r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|`((?:[^`\\]|\\.)*)`)""", re.DOTALL
)
_JOIN = re.compile(r"\s*(?:\+|\.(?!\w))")
_LIST = re.compile(r"\s*,\s*\[([^\]]{0,2000})\]")
_BACKTICKS = re.compile(r"`([^`]{1,5000})`|(?:%x|qx)[({/]([^)}/]{1,5000})[)}/]")
_CALL = re.compile(r"\b(?:tools\s*\.\s*|tools\s*\[\s*['\"])(\w+)(?:['\"]\s*\])?\s*\(")
_KEY = re.compile(r"""["']?\b(cmd|command|workdir|chars|script)["']?\s*(:|,|\})""")
_ASSIGNED = re.compile(r"\b(?:const|let|var)\s+(\w+)\s*=(?=\s*[\"'`])")


@lru_cache(maxsize=64)
def _calls(names: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b[!?]?\s*\(?")


def read_other(
    reading: Reading, row: InterpreterRow, text: str, scope: Scope, stream: Stream | None
) -> str:
    """What the text prints, which is never known; its commands are in `reading.found`."""
    for word in row.hides:
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", text):
            reading.doubt(f"the text for {row.name} uses {word}")
    if row.removes:
        for found in _calls(row.removes).finditer(text):
            target, _ = _literal(text, found.end())
            words = ("rm", "-r", HOLE if target is None else quoted(target))
            run_simple(reading, Simple(words, (), (), (), scope.folder), scope.child(), None)
    if row.runs:
        for found in _calls(row.runs).finditer(text):
            _run(reading, text, found.end(), scope, stream)
    if row.name in ("perl", "ruby", "php"):
        for found in _BACKTICKS.finditer(text):
            reading.read("posix", found[1] or found[2], scope.child(), stream)
    return HOLE


def _run(reading: Reading, text: str, at: int, scope: Scope, stream: Stream | None) -> None:
    reading.spend(4)
    command, end = _literal(text, at)
    if command is None:
        if text[at - 1 : at] == "(":
            reading.doubt("a text runs a command that is not known")
        return
    following = _LIST.match(text, end)
    words = [command]
    if following is not None:
        for one in _LITERAL.finditer(following[1]):
            words.append(unescaped(one[1] or one[2] or one[3] or ""))
    else:
        while (comma := re.compile(r"\s*,").match(text, end)) is not None:
            more, end = _literal(text, comma.end())
            if more is None:
                break
            words.append(more)
    if len(words) > 1:
        simple = Simple(tuple(map(quoted, words)), (), (), (), scope.folder)
        run_simple(reading, simple, scope.child(), None)
        return
    scope.variables["__hole__"] = (HOLE,)
    if HOLE in command:
        reading.doubt("a part of a command is not known")
    reading.read("posix", command.replace(HOLE, "${__hole__}"), scope.child(), stream)


def _literal(text: str, at: int, names: dict[str, str] | None = None) -> tuple[str | None, int]:
    """(the literal that stands there, where it ends); joined literals are one; None = none."""
    parts: list[str] = []
    while True:
        found = _LITERAL.match(text, at)
        if found is None:
            word = re.compile(r"\s*(\w+)").match(text, at)
            held = (names or {}).get(word[1]) if word is not None else None
            if held is None or word is None:
                return ("".join(parts) + HOLE if parts else None), at
            parts.append(held)
            at = word.end()
        else:
            at = found.end()
            body = unescaped(found[1] or found[2] or found[3] or "")
            if found[3] is not None or found[1] is not None:
                body = re.sub(r"[$#]\{[^}]*\}", HOLE, body)
            parts.append(body)
        joint = _JOIN.match(text, at)
        if joint is None:
            return "".join(parts), at
        at = joint.end()


def read_code_mode(reading: Reading, text: str, scope: Scope, stream: Stream | None) -> str:
    """Reads JavaScript that calls tools: `tools.exec_command({cmd: "ls"})`."""
    names: dict[str, str] = {}
    for found in _ASSIGNED.finditer(text):
        held, _ = _literal(text, found.end())
        names[found[1]] = HOLE if held is None or found[1] in names else held
    shells = {name.lower() for row in reading.rules.tools for name in row.tools}
    calls = list(_CALL.finditer(text))
    for index, found in enumerate(calls):
        reading.spend(4)
        if found[1].lower() not in shells:
            continue
        end = calls[index + 1].start() if index + 1 < len(calls) else len(text)
        _tool_call(reading, text[found.end() : end], names, scope)
    mentions = len(re.findall(r"\btools\b", text))
    if mentions > len(calls) or re.search(r"\b(eval|Function|import|require)\s*\(", text):
        reading.doubt("the JavaScript calls what is not known")
    return HOLE


def _tool_call(reading: Reading, text: str, names: dict[str, str], scope: Scope) -> None:
    commands = 0
    inner = scope.child()
    for found in _KEY.finditer(text):
        at = found.end() if found[2] == ":" else found.start()
        held, _ = _literal(text, at, names)
        if found[1] == "workdir":
            inner.folder = held if held and HOLE not in held else None
            continue
        commands += 1
        listed = re.compile(r"\s*\[([^\]]{0,5000})\]").match(text, at)
        if listed is not None and held is None:
            words = [
                unescaped(one[1] or one[2] or one[3] or "") for one in _LITERAL.finditer(listed[1])
            ]
            if words:
                simple = Simple(tuple(map(quoted, words)), (), (), (), inner.folder)
                run_simple(reading, simple, inner.child(), None)
            continue
        if held is None or HOLE in held:
            reading.doubt("a command in the JavaScript is not known")
        if held is not None:
            inner.variables["__hole__"] = (HOLE,)
            reading.read("posix", held.replace(HOLE, "${__hole__}"), inner.child(), None)
    if not commands:
        reading.doubt("a tool is called in the JavaScript with what is not known")
