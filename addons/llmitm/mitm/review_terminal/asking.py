"""Questions at the bottom of the screen: one key of some, or a line of text."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from llmitm.desk.review_screen import Prompt, View
from llmitm.mitm.review_terminal.keys import Key

LONGEST_LINE = 20_000


class Asking:
    """Keys in, answers out. repaint: called after every change of the view."""

    def __init__(self, view: View, repaint: Callable[[], object]) -> None:
        self._view = view
        self.repaint = repaint
        self._keys: asyncio.Queue[Key] = asyncio.Queue()

    def pressed(self, keys: Sequence[Key]) -> None:
        """The operator has pressed these."""
        for key in keys:
            self._keys.put_nowait(key)

    def forget(self) -> None:
        """What was pressed ahead is not meant for what comes now."""
        while not self._keys.empty():
            self._keys.get_nowait()

    async def key(self) -> Key:
        """The next key."""
        return await self._keys.get()

    async def choice(self, label: str, keys: str) -> str:
        """The one of `keys` that is pressed; empty = Esc. Pasted text is no answer."""
        self.forget()
        self._ask(Prompt(label=label, keys=keys))
        try:
            while True:
                key = await self.key()
                name = "\n" if key.name == "enter" else key.name
                if name == "esc":
                    return ""
                if len(name) == 1 and name in keys:
                    return name
        finally:
            self._ask(None)

    async def line(
        self, label: str, text: str = "", complete: Sequence[str] = (), ends: str = "enter"
    ) -> str | None:
        """A line of text; None = Esc. complete: what Tab offers; ends: names of keys that end it,
        with blanks between (which one it was stands in `ended`)."""
        prompt = Prompt(label=label, text=text, at=len(text))
        self._ask(prompt)
        try:
            while True:
                key = await self.key()
                if key.name == "esc":
                    return None
                if key.name in ends.split():
                    self.ended = key.name
                    return prompt.text
                if key.name == "tab":
                    _complete(prompt, complete)
                else:
                    typed(prompt, key)
                self.repaint()
        finally:
            self._ask(None)

    ended = "enter"

    def _ask(self, prompt: Prompt | None) -> None:
        self._view.prompt = prompt
        self.repaint()


def typed(prompt: Prompt, key: Key) -> None:
    """What one key does to the line."""
    text, at = prompt.text, prompt.at
    match key.name:
        case "left":
            prompt.at = max(0, at - 1)
        case "right":
            prompt.at = min(len(text), at + 1)
        case "home" | "ctrl-a":
            prompt.at = 0
        case "end" | "ctrl-e":
            prompt.at = len(text)
        case "backspace" | "ctrl-h" if at:
            prompt.text, prompt.at = text[: at - 1] + text[at:], at - 1
        case "delete":
            prompt.text = text[:at] + text[at + 1 :]
        case "ctrl-u":
            prompt.text, prompt.at = text[at:], 0
        case "ctrl-k":
            prompt.text = text[:at]
        case "ctrl-w":
            start = text[:at].rstrip().rfind(" ") + 1
            prompt.text, prompt.at = text[:start] + text[at:], start
        case _ if key.text:
            more = key.text[: max(0, LONGEST_LINE - len(text))]
            prompt.text, prompt.at = text[:at] + more + text[at:], at + len(more)
        case _:
            pass


def _complete(prompt: Prompt, offered: Sequence[str]) -> None:
    """The rest of the only word that fits, else the next word that does."""
    fitting = [word for word in offered if word.startswith(prompt.text)]
    if prompt.text in offered and len(fitting) <= 1:
        words = list(offered)
        fitting = [words[(words.index(prompt.text) + 1) % len(words)]]
    if fitting:
        prompt.text = fitting[0]
        prompt.at = len(prompt.text)
