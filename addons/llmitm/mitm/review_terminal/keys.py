"""The keyboard and the state of the terminal: keys as names, and everything put back at the end."""

from __future__ import annotations

import codecs
import contextlib
import sys
import termios
from dataclasses import dataclass
from typing import TextIO

_ESC = "\x1b"
_PASTE, _PASTED = "\x1b[200~", "\x1b[201~"
_PASTE_ON, _PASTE_OFF = "\x1b[?2004h", "\x1b[?2004l"
_MOST_SEQUENCE = 32
_MOST_PASTE = 1_000_000

_SEQUENCES = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "1~": "home",
    "3~": "delete",
    "4~": "end",
    "5~": "pgup",
    "6~": "pgdn",
    "7~": "home",
    "8~": "end",
}
_SINGLE = {"\r": "enter", "\n": "enter", "\t": "tab", "\x7f": "backspace", "\x08": "backspace"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key. name: `a`, `enter`, `ctrl-d`, `paste`; text: what it writes, empty = nothing."""

    name: str
    text: str = ""


class Keyboard:
    """Keys from a terminal's bytes, in any chunks."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._left = ""

    def feed(self, data: bytes) -> list[Key]:
        """The keys that are complete now."""
        self._left += self._decoder.decode(data)
        keys: list[Key] = []
        while self._left:
            taken = self._next()
            if taken is None:
                break
            keys.append(taken)
        return [key for key in keys if key.name]

    @property
    def unsure(self) -> bool:
        """Whether what came may be the Esc key, or the start of a sequence that goes on."""
        return self._left == _ESC

    def settle(self) -> list[Key]:
        """Nothing more has come: it was the Esc key."""
        if not self.unsure:
            return []
        self._left = ""
        return [Key("esc")]

    def _next(self) -> Key | None:
        """One key off the front; None = it is not complete; a key without a name = none of ours."""
        text = self._left
        if text.startswith(_PASTE):
            return self._pasted(text)
        if text[0] != _ESC:
            self._left = text[1:]
            return _plain(text[0])
        if len(text) == 1:
            return None
        if text[1] not in "[O":
            self._left = text[1:]
            return Key("esc")
        for at in range(2, min(len(text), _MOST_SEQUENCE)):
            if "@" <= text[at] <= "~":
                self._left = text[at + 1 :]
                # Shift and the like stand after a semicolon and change nothing here.
                number = text[2:at].partition(";")[0]
                end = f"{number}~" if text[at] == "~" else text[at]
                return Key(_SEQUENCES.get(end, ""))
        if len(text) >= _MOST_SEQUENCE:
            self._left = ""
            return Key("")
        return None

    def _pasted(self, text: str) -> Key | None:
        end = text.find(_PASTED)
        if end < 0 and len(text) < _MOST_PASTE:
            return None
        body = text[len(_PASTE) : end if end >= 0 else _MOST_PASTE]
        self._left = text[end + len(_PASTED) :] if end >= 0 else ""
        return Key("paste", body.replace("\r\n", "\n").replace("\r", "\n"))


def _plain(letter: str) -> Key:
    if letter in _SINGLE:
        return Key(_SINGLE[letter])
    if letter < " ":
        return Key(f"ctrl-{chr(ord(letter) + 96)}")
    return Key(letter, letter)


class Terminal:
    """The terminal's mode: each key at once, not shown. Put back by `leave`, however often."""

    def __init__(self, keys: TextIO = sys.stdin, screen: TextIO = sys.stdout) -> None:
        self.fd = keys.fileno()
        self._screen = screen
        self._before = termios.tcgetattr(self.fd)

    def enter(self) -> None:
        """Each key at once. Ctrl-C and Ctrl-Z stay signals."""
        mode = termios.tcgetattr(self.fd)
        # Neither Ctrl-S, Ctrl-Q, Ctrl-V nor Ctrl-O mean something to the terminal itself.
        mode[0] &= ~(termios.IXON | termios.ICRNL)
        mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
        mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
        termios.tcsetattr(self.fd, termios.TCSADRAIN, mode)
        # What is pasted must not act as keys.
        self._say(_PASTE_ON)

    def leave(self) -> None:
        """As it was."""
        self._say(_PASTE_OFF)
        # A terminal that has gone took its mode with it.
        with contextlib.suppress(termios.error):
            termios.tcsetattr(self.fd, termios.TCSADRAIN, self._before)

    def _say(self, code: str) -> None:
        with contextlib.suppress(OSError):
            self._screen.write(code)
            self._screen.flush()
