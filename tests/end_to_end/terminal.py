"""A program in a pseudo-terminal: what it shows, what is typed, how it left the terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping, Sequence
from types import TracebackType

DEADLINE_S = 30
_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|\x1b[=>]")
# The terminal becomes its own, so that keys are signals.
_AT_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_HOME = "\x1b[H"


class Terminal:
    """The program under test, at a screen of `size` (columns, rows)."""

    def __init__(
        self, command: Sequence[str], environ: Mapping[str, str], size: tuple[int, int] = (80, 24)
    ) -> None:
        self.master, self._slave = pty.openpty()
        self.size = size
        self._resize(size)
        self.before = termios.tcgetattr(self._slave)
        self.output = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AT_A_TERMINAL, *command],
            env={**environ, "TERM": "xterm-256color"},
            stdin=self._slave,
            stdout=self._slave,
            stderr=self._slave,
            start_new_session=True,
        )

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(20)
        os.close(self.master)
        os.close(self._slave)

    def _resize(self, size: tuple[int, int]) -> None:
        self.size = size
        fcntl.ioctl(self._slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))

    def resize(self, columns: int, rows: int) -> None:
        """The window gets another size."""
        self.output = b""
        self._resize((columns, rows))
        # A kernel sends it to the foreground group; the master's ioctl does so everywhere.
        self.process.send_signal(signal.SIGWINCH)

    def press(self, keys: str) -> None:
        """Types."""
        os.write(self.master, keys.encode())

    def read(self, seconds: float = 0.1) -> None:
        """Takes in what the program writes within that time."""
        if select.select([self.master], [], [], seconds)[0]:
            try:
                self.output += os.read(self.master, 65536)
            except OSError:
                return

    def text(self) -> str:
        """The newest whole screen, without colours."""
        shown = self.output.decode("utf-8", "replace")
        return plain(shown[shown.rfind(_HOME) + len(_HOME) :] if _HOME in shown else shown)

    def lines(self) -> list[str]:
        """The lines of the newest screen."""
        return self.text().replace("\r", "").split("\n")

    def wait(self, *texts: str, gone: str = "") -> str:
        """Waits until the newest screen shows all of these, and not `gone`; the screen."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            shown = self.text()
            there = all(text in shown for text in texts) and not (gone and gone in shown)
            # A screen comes in several pieces.
            if there and not select.select([self.master], [], [], 0.05)[0]:
                return shown
            assert self.process.poll() is None or select.select([self.master], [], [], 0)[0], shown
            self.read()
        raise AssertionError(f"{texts} not shown:\n{self.text()}")

    def ended(self) -> int:
        """Waits for its end; the exit code."""
        until = time.monotonic() + DEADLINE_S
        while self.process.poll() is None and time.monotonic() < until:
            self.read()
        self.read()
        return self.process.wait(1)

    def restored(self) -> bool:
        """Whether the terminal is as it was: its mode, its screen, its cursor, plain pastes."""
        shown = self.output.decode("utf-8", "replace")
        pairs = (("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"))
        pasting = ("\x1b[?2004h", "\x1b[?2004l")
        on_and_off = all(shown.rfind(on) < shown.rfind(off) for on, off in (*pairs, pasting))
        return on_and_off and termios.tcgetattr(self._slave) == self.before


def plain(text: str) -> str:
    """The text without what a terminal obeys."""
    return _ANSI.sub("", text)
