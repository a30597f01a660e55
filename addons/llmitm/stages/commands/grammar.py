"""Where are the commands in a text, and what do they say? And what is left without them?

A command is `PREFIX name` or `PREFIX name(…)`, stands on one line, starts that line or follows
white space, and is followed by white space or the end. `find` is total: any text, no exception, in
time linear in its length. Never: what a command means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from llmitm.canon.values import value

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_KEY = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)\s*=\s*")
_FENCE = re.compile(r" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)$", re.DOTALL)
_PAIRS = {"(": ")", "[": "]", "{": "}"}
_BEFORE_QUOTE = "([{,:="


@value
class Arg:
    """One argument. key: as written, empty for a bare word; value: without its quotes."""

    key: str
    value: str


@value
class Found:
    """A command. text[start:end] is all of it; problem: why its arguments cannot be read (they
    are then empty), empty = they can."""

    start: int
    end: int
    name: str
    args: tuple[Arg, ...] = ()
    problem: str = ""


def find(text: str, prefix: str, mode: str) -> tuple[Found, ...]:
    """The commands in `text`, in order.

    mode: `end`: those that the text ends with; `strict`: those on its last lines that hold nothing
    but commands; `anywhere`: all outside code fences. White space and blank lines never matter.
    Nothing is found in what `without` leaves.
    """
    if not prefix or prefix not in text:
        return ()
    if mode == "anywhere":
        return tuple(_outside_fences(text, prefix))
    found: list[Found] = []
    end = len(text)
    while end >= 0:
        start = text.rfind("\n", 0, end) + 1
        if text[start:end].strip():
            run = _last_run(text, list(_on_line(text, start, end, prefix)), end)
            whole = bool(run) and not text[start : run[-1].start].strip()
            if whole or mode == "end":
                found += run
            if not whole:
                break
        end = start - 1
    return tuple(reversed(found))


def without(text: str, found: Sequence[Found]) -> str:
    """`text` without these commands and the white space that they leave behind.

    A line that held nothing else goes with them, one space stays between words; all else stays as
    it is. Empty if nothing but white space is left.
    """
    if not found:
        return text
    pieces: list[str] = []
    at, done = 0, 0
    gone = False  # nothing but commands and blank lines since the last line that was kept
    for line in _lines(text):
        at += len(line)
        first = done
        while done < len(found) and found[done].start < at:
            done += 1
        here = found[first:done]
        left = _cut_line(line, here, at - len(line)) if here else line
        if left.strip():
            pieces.append(left)
            gone = False
        elif here:
            gone = True
            if not any(piece.strip() for piece in pieces):
                pieces.clear()
        elif pieces or not gone:
            pieces.append(left)
    while gone and pieces and not pieces[-1].strip():
        pieces.pop()
    if gone and pieces:
        pieces[-1] = pieces[-1].rstrip("\r\n")
    left = "".join(pieces)
    return left if left.strip() else ""


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def _cut_line(line: str, found: Sequence[Found], offset: int) -> str:
    body = line.rstrip("\r\n")
    kept: list[str] = []
    at, blank = 0, True
    for one in found:
        between = body[at : one.start - offset]
        blank = blank and not between.strip()
        kept.append(between if blank else between.rstrip())
        at = one.end - offset
        while blank and at < len(body) and body[at].isspace():
            at += 1
    rest = body[at:]
    return "".join(kept) + (rest if rest.strip() else "") + line[len(body) :]


def _last_run(text: str, found: list[Found], end: int) -> list[Found]:
    """The commands that the line ends with, the last one first."""
    run: list[Found] = []
    for one in reversed(found):
        if text[one.end : end].strip():
            break
        run.append(one)
        end = one.start
    return run


def _outside_fences(text: str, prefix: str) -> Iterator[Found]:
    at, fence = 0, ""
    for line in _lines(text):
        end = at + len(line.rstrip("\r\n"))
        body = text[at:end]
        if fence:
            if body.strip().startswith(fence) and not body.strip().strip(fence[0]):
                fence = ""
        elif not (fence := _opens(body)):
            here = list(_on_line(text, at, end, prefix))
            yield from here
            if here:  # what is left of the line may open one
                fence = _opens(_cut_line(body, here, at))
        at += len(line)


def _opens(line: str) -> str:
    found = _FENCE.match(line)
    return (found[1] or found[2]) if found else ""


def _on_line(text: str, start: int, end: int, prefix: str) -> Iterator[Found]:
    at = start
    while True:
        at = text.find(prefix, at, end)
        if at < 0:
            return
        if at > start and not text[at - 1].isspace():
            at += 1
            continue
        name = _NAME.match(text, at + len(prefix), end)
        if name is None:
            at += 1
            continue
        found = _command(text, at, name[0], name.end(), end)
        at = found.end
        if at >= end or text[at].isspace():
            yield found


def _command(text: str, start: int, name: str, at: int, end: int) -> Found:
    """The command whose name ends at `at`; it ends there too if no `(` follows."""
    bracket = at
    while bracket < end and text[bracket].isspace():
        bracket += 1
    if bracket >= end or text[bracket] != "(":
        return Found(start, at, name)
    close, commas, problem = _close(text, bracket, end)
    if problem:
        stop = start + len(text[start:end].rstrip())
        return Found(start, stop, name, (), problem)
    args: list[Arg] = []
    inside = text[bracket + 1 : close]
    begin = bracket + 1
    for comma in (*commas, close) if inside.strip() else ():
        item = text[begin:comma].strip()
        begin = comma + 1
        if not item:
            problem = "there is nothing between two commas"
            break
        key = _KEY.match(item)
        word, problem = _unquoted(item[key.end() :] if key else item)
        if problem:
            break
        args.append(Arg(key[1] if key else "", word))
    return Found(start, close + 1, name, () if problem else tuple(args), problem)


def _close(text: str, at: int, end: int) -> tuple[int, list[int], str]:
    """(where the bracket at `at` closes, its top-level commas, or what is wrong)."""
    stack: list[str] = []
    commas: list[int] = []
    quote, before = "", ""
    while at < end:
        character = text[at]
        if quote:
            if character == "\\":
                at += 1
            elif character == quote:
                quote = ""
        elif character in "\"'" and before in _BEFORE_QUOTE:
            quote = character
        elif character in _PAIRS:
            stack.append(character)
        elif character in ")]}":
            opened = stack.pop()
            if _PAIRS[opened] != character:
                return end, [], f"`{opened}` is closed by `{character}`"
            if not stack:
                return at, commas, ""
        elif character == "," and len(stack) == 1:
            commas.append(at)
        if not character.isspace():
            before = character
        at += 1
    what = quote or stack[-1]
    return end, [], f"`{what}` is never closed"


def _unquoted(word: str) -> tuple[str, str]:
    r"""(the word without its quotes, or what is wrong). `\` takes the next character as it is."""
    if not word or word[0] not in "\"'":
        return word, ""
    close, pieces = 1, list[str]()
    while word[close] != word[0]:
        if word[close] == "\\" and word[close + 1] in "\\\"'":
            close += 1
        pieces.append(word[close])
        close += 1
    if close + 1 < len(word):
        return "", f"text follows the closing {word[0]}"
    return "".join(pieces), ""
