"""A text in the operator's own editor; what was typed is never lost.

The text lives in a private file below the state folder. The file is removed when it has served its
purpose, else it stays and is named.
"""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from llmitm.mitm.home import state_folder
from llmitm.mitm.review_terminal.place import ReviewTrouble

FOLDER = "review-drafts"
_VARIABLES = ("LLMITM_EDITOR", "VISUAL", "EDITOR")
_USUAL = ("sensible-editor", "vi", "nano")
# Editors that go to a line with `+N`.
_WITH_LINE = re.compile(r"^(n?vim?|view|nano|pico|emacs|emacsclient|kak|micro|joe|ne|mg)$")

type Suspended = Callable[[], AbstractContextManager[None]]
"""Gives the terminal away for as long as the context lasts."""


class Draft:
    """A text that is being edited. suspended: the screen steps aside meanwhile."""

    def __init__(
        self, name: str, text: str, environ: Mapping[str, str], suspended: Suspended
    ) -> None:
        folder = state_folder(environ, FOLDER)
        handle, path = tempfile.mkstemp(prefix="draft-", suffix=f"-{name}", dir=folder)
        self.file = Path(path)
        self._environ = environ
        self._suspended = suspended
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
            out.write(text)

    async def edit(self, line: int = 0) -> str:
        """The text after the editor. line: where to begin, 1-based, 0 = anywhere.

        Raises ReviewTrouble, which names the file, when the editor fails.
        """
        words = editor_of(self._environ)
        if line and _WITH_LINE.match(Path(words[0]).name):
            words.append(f"+{line}")
        with self._suspended():
            try:
                process = await asyncio.create_subprocess_exec(*words, str(self.file))
                code = await process.wait()
            except OSError as error:
                raise self.trouble(f"{words[0]}: {error.strerror}; set $EDITOR") from None
        if code != 0:
            raise self.trouble(f"{words[0]} ended with {code}, nothing was sent")
        try:
            return self.file.read_bytes().decode("utf-8")
        except OSError as error:
            raise self.trouble(f"cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise self.trouble(f"is not UTF-8 at byte {error.start}") from None

    def trouble(self, say: str, code: str = "invalid") -> ReviewTrouble:
        """The same with where the text is."""
        return ReviewTrouble(code, f"{say}; your text is in {self.file}")

    def drop(self) -> None:
        """The text is not needed any more."""
        self.file.unlink(missing_ok=True)


def editor_of(environ: Mapping[str, str]) -> list[str]:
    """The editor's command. Raises ReviewTrouble with what to do when there is none."""
    for name in _VARIABLES:
        if environ.get(name, "").strip():
            try:
                return shlex.split(environ[name])
            except ValueError as error:
                raise ReviewTrouble("invalid", f"${name}: {error}") from None
    for usual in _USUAL:
        if shutil.which(usual, path=environ.get("PATH")):
            return [usual]
    raise ReviewTrouble("invalid", "no editor found: set $EDITOR")
