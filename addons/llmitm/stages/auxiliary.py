"""Is this a side call for a title or a summary? Then a cheap model may answer it.

Clients ask for these beside the real work, often with the user's own words in them. What tells
them stands in `rules/rewrites.yaml`, section `auxiliary`. Never: changes what is asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from llmitm.canon.parts import Part, Text
from llmitm.canon.request import Message, Request
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import BadSelector
from llmitm.stages.contract import FORWARD, Forward, Stage, Turn

_READ = 4096
"""Characters looked at on either end of a text: what is wanted stands there, not in between."""

_ASKING = frozenset({"system", "developer", "user"})


class Auxiliary(Stage):
    """Sends titles and summaries to the target of the rules; that is final."""

    name = "auxiliary"

    def __init__(self, ruleset: Ruleset) -> None:
        self._rules = ruleset.rewrites.auxiliary
        target = self._rules.target if self._rules.enabled else None
        found = None if target is None else ruleset.selector(target, "strict")
        # A wrong one stopped the start; rules made by hand leave the stage off.
        self._route = None if isinstance(found, BadSelector) else found

    def on_request(self, turn: Turn, request: Request) -> Forward:
        """On to the cheap model, or as it was."""
        if self._route is None:
            return FORWARD
        asking = [message for message in request.messages if message.role in _ASKING]
        count = len(asking) + bool(request.instructions)
        if not self._rules.fits(count, bool(request.tools)):
            return FORWARD
        instructions = "\n".join(
            _texts(
                (
                    *request.instructions,
                    *(part for one in asking if one.role != "user" for part in one.parts),
                )
            )
        )
        told = self._rules.tells(turn.client, instructions, _asked(request.messages))
        if not told:
            return FORWARD
        return Forward(route=self._route, final=True, why=f"side call, {told}")


def _asked(messages: tuple[Message, ...]) -> str:
    """The user's texts; of a talk that has answers in it only the last message is the wish."""
    users = [message for message in messages if message.role == "user"]
    if any(message.role in ("assistant", "tool") for message in messages):
        last = messages[-1]
        users = [last] if last.role == "user" else []
    return "\n".join(text for message in users for text in _texts(message.parts))


def _texts(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Text):
            text = part.text
            yield text if len(text) <= 2 * _READ else f"{text[:_READ]}\n{text[-_READ:]}"
