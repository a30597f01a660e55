"""Views of a conversation that several rooms need: merged turns, plain text, system text."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain, groupby

from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolResult
from llmitm.canon.request import Message, Request, Role


def merge(messages: Iterable[Message]) -> list[Message]:
    """Neighbours of one speaker made one message; `tool` counts as `user`'s side.

    The merged message keeps the first one's name, extras and place.
    """
    merged: list[Message] = []
    for role, run in groupby(messages, _side):
        first, *more = run
        if more or first.role != role:
            parts = tuple(chain(first.parts, *(message.parts for message in more)))
            first = Message(
                role=role, parts=parts, name=first.name, extras=first.extras, at=first.at
            )
        merged.append(first)
    return merged


def _side(message: Message) -> Role:
    return "user" if message.role == "tool" else message.role


def split_instructions(request: Request) -> tuple[tuple[Part, ...], tuple[Message, ...]]:
    """(instructions, the rest): leading system and developer messages join the instructions."""
    parts: list[Part] = list(request.instructions)
    for place, message in enumerate(request.messages):
        if message.role not in ("system", "developer"):
            return tuple(parts), request.messages[place:]
        parts.extend(message.parts)
    return tuple(parts), ()


def text_of(parts: Iterable[Part]) -> str:
    """The plain text of these parts, in order, without reasoning; tool results included."""
    pieces: list[str] = []
    for part in parts:
        if isinstance(part, Text | Refusal):
            pieces.append(part.text)
        elif isinstance(part, ToolResult):
            pieces.append(text_of(part.parts))
    return "".join(pieces)


def reasoning_of(parts: Iterable[Part]) -> str:
    """The readable thinking in these parts, in order."""
    return "".join(part.text for part in parts if isinstance(part, Reasoning))
