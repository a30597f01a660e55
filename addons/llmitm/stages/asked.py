"""Who is asked by a turn, and how long is what it asks? Shared by the policies.

Never: decides anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from llmitm.canon.parts import Text, ToolCall, ToolResult
from llmitm.canon.request import Request
from llmitm.canon.turns import text_of
from llmitm.ruleset.selectors import targets
from llmitm.stages.contract import Turn

_CHARS_PER_TOKEN = 4


def asked_of(turn: Turn) -> tuple[str, str]:
    """(provider, model) that is asked, as far as it is decided, the first of several."""
    first = None if turn.route is None else next(iter(targets(turn.route)), None)
    if first is None:
        return turn.provider, turn.model
    return first.provider or turn.provider, first.model or turn.model


def prompt_tokens(request: Request) -> int:
    """How many tokens the prompt is taken to have, from its characters of text."""
    chars = sum(len(part.text) for part in request.instructions if isinstance(part, Text))
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Text):
                chars += len(part.text)
            elif isinstance(part, ToolCall):
                chars += len(part.arguments)
            elif isinstance(part, ToolResult):
                chars += sum(len(each.text) for each in part.parts if isinstance(each, Text))
    return chars // _CHARS_PER_TOKEN


def newest_texts(request: Request) -> Iterator[str]:
    """What the user and tools have said since the model last spoke, newest first."""
    for message in reversed(request.messages):
        if message.role == "assistant":
            return
        if message.role in ("system", "developer"):
            continue
        for part in reversed(message.parts):
            text = text_of((part,)) if isinstance(part, Text | ToolResult) else ""
            if text:
                yield text
