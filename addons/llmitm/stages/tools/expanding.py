"""Text after the shell's own arithmetic of words: escapes, braces, parameters. No tree here.

Source: Bash Reference Manual, chapters Quoting, Brace Expansion, Shell Parameter Expansion.
"""

from __future__ import annotations

import re

from llmitm.stages.tools.commands import BREAK, EMPTY, HOLE, HOLES, at_home, quoted

_MAX_WORDS = 64
_FEWEST_LOOKED = 2000
_LOOKED_PER_CHARACTER = 8
_ESCAPE = re.compile(
    r"\\(?:x([0-9A-Fa-f]{1,2})|u([0-9A-Fa-f]{1,4})|U([0-9A-Fa-f]{1,8})|0?([0-7]{1,3})|c(.)|(.))",
    re.DOTALL,
)
_NAMED = {
    **{"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b"},
    **{"f": "\f", "v": "\v", "\\": "\\", "'": "'", '"': '"', "?": "?"},
}
_RANGE = re.compile(r"(-?\d{1,6}|[A-Za-z])\.\.(-?\d{1,6}|[A-Za-z])(?:\.\.-?\d{1,4})?")
_SLICE = re.compile(r":\s*(\d{1,6}|\s-\d{1,6})\s*(?::\s*(-?\d{1,6})\s*)?")
_PARAMETER = re.compile(
    r"\s*\$\{(?P<way>[!#]?)(?P<name>\w+|[@*#?$!-])(?:\[(?P<index>[^\]]*)\])?(?P<rest>.*)\}",
    re.DOTALL,
)


def unescaped(text: str) -> str:
    r"""The text of `$'…'`, `echo -e` or a printf format: `\x72` is `r`."""

    def one(found: re.Match[str]) -> str:
        hexadecimal = found[1] or found[2] or found[3]
        if hexadecimal:
            code = int(hexadecimal, 16)
            return chr(code) if code < 0x110000 and not 0xD800 <= code < 0xE020 else "\ufffd"
        if found[4]:
            return chr(int(found[4], 8) & 255)
        if found[5]:
            return chr(ord(found[5]) & 31)
        return _NAMED.get(found[6], "\\" + found[6])

    return _ESCAPE.sub(one, text).replace("\0", "")


def bare(text: str) -> str:
    """Unquoted literal text: a backslash quotes what follows it."""
    if "\\" not in text:
        return text
    return re.sub(r"\\(.?)", lambda found: quoted(found[1]) or "\\", text, flags=re.DOTALL)


def within_quotes(text: str) -> str:
    """Literal text inside double quotes."""
    return quoted(re.sub(r'\\([$`"\\])', r"\1", text).replace("\\\n", ""))


def fields(text: str) -> list[str]:
    """The words of an expanded text: braces multiplied, split where expansions broke it."""
    found: list[str] = []
    for word in braces(text):
        for part in word.split(BREAK):
            if part:
                found.append(at_home(part).replace(EMPTY, ""))
    return found


def braces(text: str) -> list[str]:
    """`a{b,c}` as `ab`, `ac`; more words than can be followed are one hole."""
    if "{" not in text:
        return [text]
    done: list[str] = []
    waiting = [(text, 0)]
    left = _FEWEST_LOOKED + _LOOKED_PER_CHARACTER * len(text)
    while waiting:
        if left < 0 or len(done) + len(waiting) > _MAX_WORDS:
            return [HOLES]
        word, start = waiting.pop()
        opening = word.find("{", start)
        left -= len(word) - opening if opening >= 0 else 0
        group = _group(word, start)
        if group is None:
            done.append(word)
            continue
        opened, closed, choices = group
        if not choices:
            waiting.append((word, opened + 1))
            continue
        head, tail = word[:opened], word[closed + 1 :]
        if len(choices) + len(waiting) + len(done) > _MAX_WORDS:
            return [HOLES]
        waiting.extend((head + choice + tail, opened) for choice in reversed(choices))
    return done


def _group(word: str, start: int) -> tuple[int, int, list[str]] | None:
    """Where the first brace group stands, and its choices (none = it is no group)."""
    opened = word.find("{", start)
    if opened < 0:
        return None
    depth, cuts, at = 0, [opened], opened
    for at in range(opened, len(word)):
        letter = word[at]
        if letter == "{":
            depth += 1
        elif letter == "}":
            depth -= 1
            if depth == 0:
                break
        elif letter == "," and depth == 1:
            cuts.append(at)
    if depth:
        return (opened, opened, [])
    if len(cuts) > 1:
        ends = [*cuts[1:], at]
        return (opened, at, [word[a + 1 : b] for a, b in zip(cuts, ends, strict=True)])
    return (opened, at, _range(word[opened + 1 : at]))


def _range(text: str) -> list[str]:
    found = _RANGE.fullmatch(text)
    if found is None:
        return []
    if found[1].isalpha() != found[2].isalpha():
        return []
    letters = found[1].isalpha()
    first, last = (ord(found[1]), ord(found[2])) if letters else (int(found[1]), int(found[2]))
    step = 1 if first <= last else -1
    numbers = range(first, last + step, step)
    if len(numbers) > _MAX_WORDS:
        return [HOLES]
    return [chr(number) if letters else str(number) for number in numbers]


def parameter(text: str) -> tuple[str, str, str, str] | None:
    """(`!`, `#` or empty, name, index, the rest) of `${…}`; None = it is none."""
    found = _PARAMETER.fullmatch(text)
    return (found["way"], found["name"], found["index"] or "", found["rest"]) if found else None


def changed(held: str, rest: str) -> str:
    """What `${name…}` makes of a known value; a hole where that is not known."""
    if not rest:
        return held
    if rest in ("^^", ",,", "^", ","):
        size = len(held) if len(rest) == 2 else 1
        part = held[:size].upper() if "^" in rest else held[:size].lower()
        return part + held[size:]
    if rest in ("@Q", "@E", "@P", "@U", "@L"):
        return {"@U": held.upper(), "@L": held.lower()}.get(rest, HOLE)
    if rest[0] == ":" and rest[1:2] in ("-", "="):
        return held or _literal(rest[2:])
    if rest[0] in "-=":
        return held
    if rest[0] == "+" or rest[:2] == ":+":
        return _literal(rest.lstrip(":")[1:])
    if found := _SLICE.fullmatch(rest):
        return _sliced(held, int(found[1]), None if found[2] is None else int(found[2]))
    if rest[0] in "#%/":
        return _cut(held, rest)
    return HOLE


def _sliced(held: str, first: int, size: int | None) -> str:
    if HOLE in held:
        return HOLE
    part = held[first:]
    return part if size is None else part[:size]


def _cut(held: str, rest: str) -> str:
    operator = rest[:2] if rest[:2] in ("##", "%%", "//") else rest[0]
    pattern = rest[len(operator) :]
    if HOLE in held or re.search(r"[$`\\*?\[\"']", pattern):
        return HOLE
    if rest[0] == "#":
        return held.removeprefix(pattern)
    if rest[0] == "%":
        return held.removesuffix(pattern)
    old, _, new = pattern.partition("/")
    if not old:
        return held
    return held.replace(old, new) if operator == "//" else held.replace(old, new, 1)


def _literal(text: str) -> str:
    return HOLE if re.search(r"[$`\\]", text) else text.replace('"', "").replace("'", "")
