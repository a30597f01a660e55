"""What would run: simple commands after expansion, and the marks inside their words.

A word is text in which private characters stand for what the shell would do with it. Text that
comes in is cleaned of them first, so they mean what is said here only.
"""

from __future__ import annotations

from llmitm.canon.values import value

HOLE = "\ue000"
"""Text nobody can know, inside quotes: one word."""
HOLES = "\ue001"
"""Text nobody can know, outside quotes: none, one or many words."""
BREAK = "\ue002"
"""Where an unquoted expansion ends a word."""
EMPTY = "\ue003"
"""Quotes stood here: the word exists even if nothing else is in it."""
BELOW = "\ue004"
"""Some name below a folder, as `find` prints them; never `..`, never empty."""

HOME = "\ue005"
"""The user's home folder."""

_ACTIVE = "*?[]{},~"
_QUOTED = "\ue010\ue011\ue012\ue013\ue014\ue015\ue016\ue017"
_QUOTE = str.maketrans(_ACTIVE, _QUOTED)
_PLAIN = str.maketrans(_QUOTED, _ACTIVE, EMPTY + BREAK)
_CLEAN = {code: "\ufffd" for code in range(0xE000, 0xE020)}


class Unreadable(Exception):
    """The text is too deep or too long to be read; `say` tells it."""

    def __init__(self, say: str) -> None:
        super().__init__(say)
        self.say = say


def cleaned(text: str) -> str:
    """The text without characters that are marks here, and without NUL."""
    return text.translate(_CLEAN).replace("\0", "")


def quoted(text: str) -> str:
    """The text as quotes make it: nothing in it is a pattern, a brace or a tilde."""
    return text.translate(_QUOTE)


def plain(text: str) -> str:
    """The text without the marks of quoting; holes stay."""
    return text.translate(_PLAIN)


def unknown(text: str) -> bool:
    """Whether a part of it is not known."""
    return HOLE in text or HOLES in text


def single(text: str) -> str:
    """The text as one word: what may be many words is one."""
    return text.replace(HOLES, HOLE)


@value
class Simple:
    """One simple command as it would run.

    words: the program first, marks inside; writes: where output goes; fed_by: programs whose output
    it reads or is made of; folder: where it runs, None = not known, empty = the project.
    """

    words: tuple[str, ...]
    writes: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    fed_by: tuple[str, ...] = ()
    folder: str | None = ""

    @property
    def program(self) -> str:
        """The program's bare name in lower case."""
        return program_name(self.words[0]) if self.words else ""

    @property
    def text(self) -> str:
        """The command for people, at most 200 characters."""
        shown = " ".join(plain(word) for word in self.words)
        shown += "".join(f" > {plain(target)}" for target in self.writes)
        return readable(shown)


def readable(text: str) -> str:
    """Marked text for people, at most 200 characters."""
    for mark in (HOLE, HOLES, BELOW):
        text = text.replace(mark, "…")
    return plain(text).replace(HOME, "~")[:200]


def at_home(word: str) -> str:
    """The word with the home folder in place of a leading `~` that no quotes protect."""
    if not word.startswith("~"):
        return word
    _, slash, rest = word.partition("/")
    return HOME + slash + rest


def program_name(word: str) -> str:
    """`rm` for `/bin/RM.exe`."""
    name = plain(word).replace("\\", "/").rsplit("/", 1)[-1].lower()
    for ending in (".exe", ".cmd", ".bat", ".com"):
        name = name.removesuffix(ending)
    return name
