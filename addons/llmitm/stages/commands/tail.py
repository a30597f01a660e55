"""Which commands does the user's newest message hold, and what is the request without them?

Only the last message of the user counts, and only if neither the assistant nor a tool spoke after
it; what a client added around the user's words is not looked at. Where a client has joined an
earlier message to the last one, the earlier one's commands are cut out but not found again.
Never: runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from llmitm.canon.parts import Media, Part, Text, ToolResult, Unknown
from llmitm.canon.request import Message, Request
from llmitm.canon.values import value
from llmitm.stages.commands.added import find_own, own, without_own
from llmitm.stages.commands.grammar import Found
from llmitm.stages.conversation import Block

type Ran = Callable[[str], Block | None]


@value(kw_only=True)
class Tail:
    """The commands of a request's newest message, in order; none if all of them ran before.

    texts: the whole text parts that hold them; request: without them; alone: nothing else is said
    in the message, and no tool result waits for the model; empty: no message is left at all.
    """

    found: tuple[Found, ...]
    texts: tuple[str, ...]
    request: Request
    alone: bool
    empty: bool


def commands_in(
    request: Request,
    prefix: str,
    mode: str,
    added: Sequence[re.Pattern[str]] = (),
    own_parts: int | None = None,
    ran: Ran | None = None,
) -> Tail | None:
    """The commands in the newest message; None = there is nothing to run or to cut.

    prefix: empty = nothing is a command now;
    ran: the block of a text part whose commands have run, None = of none is known;
    own_parts: how many of its last parts (tool results aside) are of this message, where an earlier
    one was joined to it; None = all.
    """
    place = newest(request.messages)
    if place < 0:
        return None
    message = request.messages[place]
    if ran is None and not (prefix and _may_hold(message.parts, prefix)):
        return None
    first = _first_own(message.parts, own_parts)
    last = _last_words(message.parts, added)
    done = _done(message.parts[:last], ran, added) if ran is not None else {}
    found = _find(message.parts, first, prefix, mode, added, done)
    if not done and not any(found.values()):
        return None
    cuts = found | done
    left = [
        (at, each)
        for at, part in enumerate(message.parts)
        for each in _cut(part, cuts.get(at, ()), added)
    ]
    says = any(_says(each, added) for at, each in left if at >= first)
    parts = tuple(each for _, each in left)
    messages = _with(request.messages, place, parts)
    return Tail(
        found=tuple(each for at in sorted(found) for each in found[at]),
        texts=tuple(
            part.text
            for at, part in enumerate(message.parts)
            if isinstance(part, Text) and found.get(at)
        ),
        request=replace(request, messages=messages),
        alone=not says and not _after_tools(request, place),
        empty=not any(each.parts for each in messages if each.role not in ("system", "developer")),
    )


def _may_hold(parts: Sequence[Part], prefix: str) -> bool:
    return any(isinstance(part, Text) and prefix in part.text for part in parts)


def newest(messages: Sequence[Message]) -> int:
    """The place of the user's message that nobody has answered yet; -1 = there is none."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == "user":
            return place
        if messages[place].role in ("assistant", "tool"):
            break
    return -1


def _first_own(parts: Sequence[Part], own_parts: int | None) -> int:
    """Where the message's own parts begin."""
    if own_parts is None:
        return 0
    left = own_parts
    for place in range(len(parts) - 1, -1, -1):
        if isinstance(parts[place], ToolResult):
            return place + 1
        left -= 1
        if left <= 0:
            return place
    return 0


def _last_words(parts: Sequence[Part], added: Sequence[re.Pattern[str]]) -> int:
    """The place of the last part with words of the user's own; 0 = there is none."""
    for place in range(len(parts) - 1, 0, -1):
        part = parts[place]
        if isinstance(part, Text):
            start, end = own(part.text, added)
            if start < end:
                return place
    return 0


def _done(
    parts: Sequence[Part], ran: Ran, added: Sequence[re.Pattern[str]]
) -> dict[int, tuple[Found, ...]]:
    """The commands that have run, by the part that holds them."""
    done: dict[int, tuple[Found, ...]] = {}
    for place, part in enumerate(parts):
        block = ran(part.text) if isinstance(part, Text) else None
        if block is not None and isinstance(part, Text):
            found = find_own(part.text, block.prefix, block.mode, added)
            if found:
                done[place] = found
    return done


def _find(
    parts: Sequence[Part],
    first: int,
    prefix: str,
    mode: str,
    added: Sequence[re.Pattern[str]],
    done: Mapping[int, tuple[Found, ...]],
) -> dict[int, tuple[Found, ...]]:
    """The commands by the part that holds them.

    Modes other than `anywhere` go on to an earlier part while the later ones hold nothing else.
    """
    if not any(isinstance(part, Text) and prefix and prefix in part.text for part in parts):
        return {}
    found: dict[int, tuple[Found, ...]] = {}
    for place in range(len(parts) - 1, first - 1, -1):
        part = parts[place]
        if not isinstance(part, Text) or place in done:
            continue
        found[place] = find_own(part.text, prefix, mode, added)
        if mode != "anywhere":
            start, end = own(without_own(part.text, found[place], added), added)
            if start < end:
                break
    return found


def _cut(
    part: Part, found: tuple[Found, ...], added: Sequence[re.Pattern[str]]
) -> tuple[Part, ...]:
    if not found or not isinstance(part, Text):
        return (part,)
    left = without_own(part.text, found, added)
    return (replace(part, text=left),) if left else ()


def _says(part: Part, added: Sequence[re.Pattern[str]]) -> bool:
    if isinstance(part, Text):
        start, end = own(part.text, added)
        return start < end
    return isinstance(part, Media | Unknown | ToolResult)


def _after_tools(request: Request, place: int) -> bool:
    """Whether tool results that no model has seen yet stand before or in this message."""
    for message in reversed(request.messages[: place + 1]):
        if message.role == "assistant":
            return False
        if any(isinstance(part, ToolResult) for part in message.parts):
            return True
    return False


def _with(
    messages: tuple[Message, ...], place: int, parts: tuple[Part, ...]
) -> tuple[Message, ...]:
    changed = (replace(messages[place], parts=parts),) if parts else ()
    return (*messages[:place], *changed, *messages[place + 1 :])
