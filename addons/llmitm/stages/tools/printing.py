"""What well-known programs print, as far as that can be computed: `echo`, `printf`, `base64 -d` …

Never runs anything. A hole stands for what is not known.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
from collections.abc import Callable, Mapping, Sequence

from llmitm.stages.tools.commands import BELOW, HOLE, HOLES, plain, unknown
from llmitm.stages.tools.expanding import unescaped

_MAX = 50_000
_FORMAT = re.compile(r"%(%|[-+ 0#]*\d*(?:\.\d+)?[a-zA-Z])")


def printed(program: str, words: Sequence[str], stdin: str) -> str:
    """What the program prints. words: its arguments, marks inside; stdin: HOLE = not known."""
    show = _PRINTERS.get(program)
    if show is None:
        return HOLE
    text = show([plain(word).replace(HOLES, HOLE) for word in words], stdin)
    return text if len(text) <= _MAX else HOLE


def format_text(form: str, values: Sequence[str]) -> str:
    """What `printf` makes of a format and its values."""
    form = unescaped(form)
    waiting = list(values)
    done: list[str] = []
    while True:
        before = len(waiting)

        def one(found: re.Match[str]) -> str:
            if found[1] == "%":
                return "%"
            text = waiting.pop(0) if waiting else ""
            return unescaped(text) if found[1][-1] == "b" else text

        done.append(_FORMAT.sub(one, form))
        if not waiting or len(waiting) == before:
            return "".join(done)


def _echo(words: Sequence[str], stdin: str) -> str:
    escapes, newline = False, "\n"
    rest = list(words)
    while rest and re.fullmatch(r"-[neE]+", rest[0]):
        flags = rest.pop(0)
        escapes = "e" in flags or (escapes and "E" not in flags)
        newline = "" if "n" in flags else newline
    text = " ".join(rest)
    return (unescaped(text) if escapes else text) + newline


def _printf(words: Sequence[str], stdin: str) -> str:
    rest = list(words[1:] if words[:1] == ["--"] else words)
    if rest[:1] == ["-v"]:
        return ""
    return format_text(rest[0], rest[1:]) if rest else ""


def _cat(words: Sequence[str], stdin: str) -> str:
    return stdin if all(word == "-" or word.startswith("-") for word in words) else HOLE


def _base64(words: Sequence[str], stdin: str) -> str:
    if not any(re.fullmatch(r"-\w*[dD]\w*|--d\w*", word) for word in words) or unknown(stdin):
        return HOLE
    if any(not word.startswith("-") for word in words):
        return HOLE
    return _bytes(lambda: base64.b64decode("".join(stdin.split()) + "==="))


def _xxd(words: Sequence[str], stdin: str) -> str:
    if not any(re.match(r"-\w*r", word) for word in words) or unknown(stdin):
        return HOLE
    if any(not word.startswith("-") for word in words):
        return HOLE
    return _bytes(lambda: bytes.fromhex("".join(stdin.split())))


def _bytes(make: Callable[[], bytes]) -> str:
    try:
        return make().decode("utf-8").replace("\0", "")
    except (binascii.Error, ValueError):
        return HOLE


def _tr(words: Sequence[str], stdin: str) -> str:
    flags = [word for word in words if word.startswith("-") and len(word) > 1]
    sets = [_set(unescaped(word)) for word in words if word not in flags]
    if unknown(stdin) or not sets or "" in sets:
        return HOLE
    if flags in (["-d"], ["--delete"]) and len(sets) == 1:
        return stdin.translate({ord(letter): None for letter in sets[0]})
    if flags or len(sets) != 2:
        return HOLE
    target = sets[1].ljust(len(sets[0]), sets[1][-1])
    return stdin.translate({ord(a): b for a, b in zip(sets[0], target, strict=False)})


def _set(text: str) -> str:
    if "[:" in text:
        return {"[:upper:]": _set("A-Z"), "[:lower:]": _set("a-z")}.get(text, "")

    def one(found: re.Match[str]) -> str:
        first, last = ord(found[1]), ord(found[2])
        return "".join(map(chr, range(first, last + 1))) if first <= last < 0x250 else ""

    return re.sub(r"(.)-(.)", one, text, flags=re.DOTALL)


def _lines(turn: Callable[[str], str]) -> Callable[[Sequence[str], str], str]:
    def show(words: Sequence[str], stdin: str) -> str:
        if unknown(stdin) or words:
            return HOLE
        return "".join(turn(line) + "\n" for line in stdin.splitlines())

    return show


def _rot13(words: Sequence[str], stdin: str) -> str:
    return HOLE if unknown(stdin) or words else codecs.encode(stdin, "rot13")


def _which(words: Sequence[str], stdin: str) -> str:
    names = [word for word in words if not word.startswith("-")]
    return names[0] + "\n" if len(names) == 1 else HOLE


def _find(words: Sequence[str], stdin: str) -> str:
    roots = find_roots(words)
    return "\n".join(roots) + "\n"


def find_roots(words: Sequence[str]) -> list[str]:
    """The paths `find` works on, a mark for what lies below where tests narrow it."""
    roots: list[str] = []
    for word in words:
        if word.startswith("-") or word in ("(", "!", ")"):
            break
        roots.append(word)
    tests = ("-name", "-iname", "-path", "-ipath", "-regex", "-mindepth", "-newer", "-mtime")
    narrowed = any(word in tests for word in words) or ("-type" in words and "f" in words)
    return [f"{root}/{BELOW}" if narrowed else root for root in roots or ["."]]


_PRINTERS: Mapping[str, Callable[[Sequence[str], str], str]] = {
    "echo": _echo,
    "printf": _printf,
    "cat": _cat,
    "tee": lambda words, stdin: stdin,
    "base64": _base64,
    "xxd": _xxd,
    "tr": _tr,
    "rev": _lines(lambda line: line[::-1]),
    "rot13": _rot13,
    "which": _which,
    "find": _find,
}
