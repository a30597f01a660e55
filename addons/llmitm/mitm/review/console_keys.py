"""Keys of mitmproxy's console for what is held.

Only keys that nothing is bound to are taken: what a user has bound in `keys.yaml` stays theirs.
mitmproxy's key help (`?`) and its list of bindings (`K`) show ours as its own. Source of the taken
keys: mitmproxy/tools/console/defaultkeys.py, 12.2.3.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Protocol, cast

from mitmproxy import ctx

log = logging.getLogger("llmitm")

CONTEXTS = ("flowlist", "flowview")
KEYS = (
    ("y", "llm.approve @focus", "Approve what is held"),
    ("N", "console.command llm.reject @focus ", "Reject what is held, with a message"),
    ("s", "console.command llm.answer @focus ", "Answer in place of the model"),
    ("c", "llm.edit @focus", "Edit what is held, as a document"),
    ("t", "console.command.result llm.queue", "List what is held"),
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


class ConsoleKeys:
    """See the module. Does nothing in mitmproxy's other programs."""

    def running(self) -> None:
        """The user's own keys are loaded by now."""
        keymap: object = getattr(ctx.master, "keymap", None)
        if keymap is not None:
            bind(cast("Keymap", keymap))


def bind(keymap: Keymap) -> None:
    """Binds our keys where nothing is bound."""
    for key, command, say in KEYS:
        free = [one for one in CONTEXTS if not _taken(keymap, one, key)]
        if free:
            keymap.add(key, command, free, say)
        if len(free) < len(CONTEXTS):
            log.info("llmitm: the key %s is yours: %s has no key", key, command.strip())


def _taken(keymap: Keymap, context: str, key: str) -> bool:
    return any(keymap.get(place, key) is not None for place in (context, "global"))
