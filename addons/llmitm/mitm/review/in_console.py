"""What only mitmproxy's console has: keys for what is held, and the operator's own editor.

Only keys that nothing is bound to are taken: what a user has bound in `keys.yaml` stays theirs.
mitmproxy's key help (`?`) and its list of bindings (`K`) show ours as its own. Source of the taken
keys: mitmproxy/tools/console/defaultkeys.py, 12.2.3.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from mitmproxy import command, ctx, exceptions, types
from mitmproxy.log import ALERT
from mitmproxy.utils import asyncio_utils

from llmitm.desk.cards import Card
from llmitm.desk.edits import document_of, edited
from llmitm.desk.queue import Queue
from llmitm.desk.review_error import ReviewError
from llmitm.errors import DocumentError
from llmitm.mitm.review.editing import with_mistakes, without_content
from llmitm.mitm.review_terminal.editor import Draft
from llmitm.mitm.review_terminal.place import ReviewTrouble

log = logging.getLogger("llmitm")

NAME = "llmitm-console"
CONTEXTS = ("flowlist", "flowview")
KEYS = (
    ("y", "llm.tell llm.approve @focus", "Approve what is held"),
    ("N", "llm.ask 'Reject, saying: ' llm.reject @focus", "Reject what is held"),
    ("s", "llm.ask 'Answer: ' llm.answer @focus", "Answer in place of the model"),
    ("c", "llm.edit @focus", "Edit what is held as a document"),
    ("t", "llm.queue", "Show what is held"),
)
"""key, command, help."""


class Keymap(Protocol):
    """What is used of mitmproxy's own."""

    def get(self, context: str, key: str) -> object | None:
        """The binding of a key in a context, None = there is none."""
        ...

    def add(self, key: str, command: str, contexts: Sequence[str], help: str = "") -> None:
        """Binds it."""
        ...


class Screen(Protocol):
    """What is used of the console."""

    @property
    def keymap(self) -> Keymap:
        """The keys."""
        ...

    def uistopped(self) -> AbstractContextManager[None]:
        """Gives the terminal away for as long as the context lasts."""
        ...


type Ask = Callable[[str, Callable[[str], None]], None]
"""Asks the operator for a line: (the prompt, who gets the line)."""


class InConsole:
    """See the module. Comes after mitmproxy's own addons: the user's keys are loaded by then."""

    name = NAME

    def __init__(self, screen: Screen, ask: Ask, environ: Mapping[str, str] = os.environ) -> None:
        self._screen = screen
        self._ask = ask
        self._environ = environ
        self._editing: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Binds our keys."""
        bind(self._screen.keymap)

    @command.command("llm.tell")
    def tell(self, cmd: types.Cmd, *args: types.CmdArgs) -> None:
        """Runs a command; what it says goes to the status line (for keys of the console)."""
        said: object = ctx.master.commands.call_strings(cmd, list(args))
        if said:
            log.log(ALERT, "%s", said)

    @command.command("llm.ask")
    def ask(self, prompt: str, cmd: types.Cmd, *args: types.CmdArgs) -> None:
        """Asks for a text and runs a command with it at the end (for keys of the console)."""

        def run(text: str) -> None:
            try:
                self.tell(cmd, *args, types.CmdArgs(text))
            except exceptions.CommandError as error:
                log.log(ALERT, "%s", error)

        self._ask(prompt, run)

    def edit(self, queue: Queue, card: Card, by: str) -> None:
        """Opens the editor. The proxy works on meanwhile, and so does every client's heartbeat;
        what came of it is told in the status line. Raises CommandError."""
        if self._editing is not None and not self._editing.done():
            raise exceptions.CommandError("another document is being edited")
        self._editing = asyncio_utils.create_task(
            self._edit(queue, card, by), name="edit in the console", keep_ref=True
        )

    async def close(self) -> None:
        """The console ends: it gets its terminal back first, the text stays in its file."""
        if self._editing is not None and not self._editing.done():
            self._editing.cancel()
            await asyncio.wait([self._editing])

    async def _edit(self, queue: Queue, card: Card, by: str) -> None:
        given = document_of(card)
        draft = Draft("held.yaml", given, self._environ, self._screen.uistopped)
        try:
            said = await self._edited(draft, given, queue, card, by)
            draft.drop()
        except ReviewTrouble as trouble:
            said = str(trouble)
        log.log(ALERT, "%s", said)

    async def _edited(self, draft: Draft, given: str, queue: Queue, card: Card, by: str) -> str:
        """What came of it. Raises ReviewTrouble that names the file."""
        first, line = given, 0
        while True:
            text = await draft.edit(line)
            if text == first:
                return "Nothing was changed; it is still held."
            if text == given:
                raise draft.trouble("the mistakes are still there, it is still held")
            if without_content(text):
                given, line = first, 0
                draft.file.write_text(first, "utf-8")
                continue
            try:
                queue.decide(card.id, "edit", edited(card, text), by, digest=card.digest)
            except ReviewError as error:
                raise draft.trouble(str(error)) from None
            except DocumentError as error:
                given = with_mistakes(text, error)
                line = 2
                draft.file.write_text(given, "utf-8")
                continue
            return "Edited."


def bind(keymap: Keymap) -> None:
    """Binds our keys where nothing is bound."""
    for key, does, say in KEYS:
        free = [place for place in CONTEXTS if not _taken(keymap, place, key)]
        if free:
            keymap.add(key, does, free, say)
        if len(free) < len(CONTEXTS):
            log.info("llmitm: %s is bound to something else: no key for %s", key, say)


def _taken(keymap: Keymap, context: str, key: str) -> bool:
    return any(keymap.get(place, key) is not None for place in (context, "global"))
