"""The replayed history without commands, their answers and anything else that llmitm put in.

Everything is known again by what it says (`marks`), nothing is guessed. The user's newest message
is left alone: its commands have yet to run. Never: decides whose conversation it is.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from llmitm.canon.parts import Part, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.stages.commands.added import find_own, own, without_own
from llmitm.stages.commands.marks import (
    BLOCK_END,
    MARK,
    MARK_OPENING,
    answer_key,
    command_key,
    tag_key,
)
from llmitm.stages.conversation import Block, Memory


@dataclass(slots=True)
class Stripped:
    """What is left, and how many pieces were taken out.

    messages: the same tuple when nothing was; tagged, commanded: the conversation that the latest
    mark or else command belongs to, empty = there is none.
    """

    messages: tuple[Message, ...]
    cuts: int = 0
    tagged: str = ""
    commanded: str = ""


@dataclass(slots=True)
class _Walk:
    """One walk over a history. hollow: the user's last message held nothing but commands;
    tools: what tools gave back since the last answer of a model is on its way to it."""

    memory: Memory
    scope: bytes
    prefixes: frozenset[str]
    added: Sequence[re.Pattern[str]]
    result: Stripped
    kept: list[Message] = field(default_factory=list[Message])
    gaps: set[int] = field(default_factory=set[int])
    hollow: bool = False
    tools: bool = False

    def user(self, message: Message) -> None:
        before = self.result.cuts
        parts = message.parts
        if any(self._may_hold(part) for part in parts):
            parts = tuple(left for part in parts for left in self._user_part(part))
        self.tools |= any(isinstance(part, ToolResult) for part in message.parts)
        self.hollow = self.result.cuts > before and not says_anything(parts, self.added)
        if parts or not message.parts:
            self.kept.append(_with(message, parts))
        else:
            self._gap()

    def newest(self, message: Message) -> None:
        """A message whose commands have yet to run.

        Some clients drop our answer and join the commands to what was said next: what stands
        before other words can only have run already, where commands must come last.
        """
        words = [at for at, part in enumerate(message.parts) if self._has_words(part)]
        last = words[-1] if words else 0
        parts = tuple(left for part in message.parts[:last] for left in self._user_part(part, True))
        self.kept.append(_with(message, parts + message.parts[last:]))

    def _has_words(self, part: Part) -> bool:
        """Whether the user says something here beside commands."""
        if not isinstance(part, Text):
            return False
        text = part.text
        for prefix in self.prefixes:
            text = without_own(text, find_own(text, prefix, "anywhere", self.added), self.added)
        return says_anything((Text(text=text),), self.added)

    def _may_hold(self, part: Part) -> bool:
        if isinstance(part, Text):
            for prefix in self.prefixes:
                if prefix in part.text:
                    return True
        return False

    def _user_part(self, part: Part, newest: bool = False) -> tuple[Part, ...]:
        if not isinstance(part, Text) or not self._may_hold(part):
            return (part,)
        text = part.text
        start, end = own(text, self.added)
        for said in (text, text[start:end]) if self.added else (text,):
            block = self._block(command_key(self.memory, self.scope, said), "command")
            if block is not None:
                break
        else:
            return (part,)
        if newest and block.mode == "anywhere":
            return (part,)
        self.result.commanded = block.conversation
        # A client that has set the lines anew has hidden them from the stricter modes.
        for mode in (block.mode, "anywhere"):
            found = find_own(text, block.prefix, mode, self.added)
            if found:
                self.result.cuts += 1
                left = without_own(text, found, self.added)
                return (replace(part, text=left),) if left.strip() else ()
        return (part,)

    def assistant(self, message: Message) -> None:
        calls = any(isinstance(part, ToolCall) for part in message.parts)
        # Commands alone were answered here, also where a client has cut our mark off the answer;
        # beside the results of tools they never count as alone.
        if self.hollow and not self.tools and not calls:
            self._marked(message)
            self.result.cuts += 1
            self._gap()
            return
        parts = self._marked(message)
        if parts is message.parts and not calls and self._is_answer(parts):
            self.result.cuts += 1
            self._gap()
            return
        if parts:
            self.hollow = self.tools = False
            self.kept.append(_with(message, parts))
        elif not message.parts:
            self.kept.append(message)
        else:
            self._gap()

    def _is_answer(self, parts: Sequence[Part]) -> bool:
        """Whether these are the first words of a local answer whose mark a client has cut off."""
        text = next((p.text for p in parts if isinstance(p, Text) and p.text.strip()), "")
        if not text:
            return False
        return self._block(answer_key(self.memory, self.scope, text), "tag") is not None

    def other(self, message: Message) -> None:
        """A tool's result, or what the system says."""
        self.tools |= message.role == "tool"
        self.kept.append(message)

    def _marked(self, message: Message) -> tuple[Part, ...]:
        """What is left of an assistant's parts; the same tuple if it holds no mark of ours."""
        for part in message.parts:
            if isinstance(part, Text) and MARK_OPENING in part.text:
                break
        else:
            return message.parts
        before = self.result.cuts
        left: list[Part] = []
        inside = False
        parts = message.parts
        for place, part in enumerate(parts):
            if not isinstance(part, Text):
                left.append(part)
                continue
            if inside:
                head, end, text = part.text.partition(BLOCK_END)
                text = text.lstrip("\r\n") if end else head
                inside = not end
                if inside:
                    continue
            else:
                text = part.text
            closes = any(isinstance(p, Text) and BLOCK_END in p.text for p in parts[place + 1 :])
            first = not any(isinstance(p, Text) and p.text.strip() for p in left)
            text, inside, local = self._cut(text, first, closes)
            if local:
                # The whole message is an answer of ours; calls that a client put to it are not.
                calls = any(isinstance(p, ToolCall) for p in parts)
                return tuple(p for p in parts if calls and not isinstance(p, Text))
            if text == part.text:
                left.append(part)
            elif text.strip():
                left.append(replace(part, text=text))
        return message.parts if self.result.cuts == before else tuple(left)

    def _cut(self, text: str, first: bool, closes_later: bool) -> tuple[str, bool, bool]:
        """(`text` without blocks, whether one is still open, whether it is a local answer).

        first: no text of the message stands before it.
        """
        at = 0
        while (mark := MARK.search(text, at)) is not None:
            block = self._block(tag_key(self.memory, self.scope, mark[1]), "tag")
            if block is None:
                at = mark.end()
                continue
            self.result.tagged = block.conversation
            self.result.cuts += 1
            before = text[: mark.start()]
            _, end, rest = text[mark.end() :].partition(BLOCK_END)
            if end:
                text, at = before + rest.lstrip("\r\n"), mark.start()
            elif closes_later:
                return before, True, False
            else:
                # A block whose end was cut off has nothing of the model's behind it.
                return "", False, bool(before.strip()) or not first
        return text, False, False

    def _block(self, key: bytes, kind: str) -> Block | None:
        block = self.memory.block(self.scope, key)
        return block if block is not None and block.kind == kind else None

    def _gap(self) -> None:
        self.gaps.add(len(self.kept))


def stripped(
    request: Request, memory: Memory, scope: bytes, added: Sequence[re.Pattern[str]] = ()
) -> Stripped:
    """The request's messages without what is known to be ours or commands that have run.

    added: what the client itself puts around the user's words.
    """
    messages = request.messages
    result = Stripped(messages)
    if not memory.knows(scope):
        return result
    walk = _Walk(memory, scope, memory.prefixes(scope), added, result)
    newest = newest_user(messages)
    for place, message in enumerate(messages):
        if message.role == "assistant":
            walk.assistant(message)
        elif message.role == "user" and place != newest:
            walk.user(message)
        elif message.role == "user":
            walk.newest(message)
        else:
            walk.other(message)
    if result.cuts:
        result.messages = _joined(walk.kept, walk.gaps, _alternates(messages))
    return result


def newest_user(messages: Sequence[Message]) -> int:
    """The place of the user's last message if no assistant has answered it yet, else -1."""
    for place in range(len(messages) - 1, -1, -1):
        if messages[place].role == "user":
            return place
        if messages[place].role == "assistant":
            break
    return -1


def says_anything(parts: Sequence[Part], added: Sequence[re.Pattern[str]]) -> bool:
    """Whether anything here is more than text that the client adds by itself, or white space."""
    for part in parts:
        if not isinstance(part, Text):
            return True
        start, end = own(part.text, added)
        if start < end:
            return True
    return False


def _with(message: Message, parts: tuple[Part, ...]) -> Message:
    same = parts is message.parts or (
        len(parts) == len(message.parts)
        and all(left is part for left, part in zip(parts, message.parts, strict=True))
    )
    return message if same else replace(message, parts=parts)


def _alternates(messages: Sequence[Message]) -> bool:
    """Whether no two neighbours are both the assistant's."""
    return not any(one.role == other.role == "assistant" for one, other in pairwise(messages))


def _joined(kept: list[Message], gaps: set[int], alternates: bool) -> tuple[Message, ...]:
    """Neighbours of one role that only a removal brought together made one, in the later place."""
    roles = ("user", "assistant") if alternates else ("user",)
    made: list[Message] = []
    for place, message in enumerate(kept):
        if place in gaps and made and made[-1].role == message.role and message.role in roles:
            made[-1] = _together(made[-1], message)
        else:
            made.append(message)
    return tuple(made)


def _together(earlier: Message, later: Message) -> Message:
    parts = (*earlier.parts, *later.parts)
    results = tuple(part for part in parts if isinstance(part, ToolResult))
    rest = tuple(part for part in parts if not isinstance(part, ToolResult))
    return replace(later, parts=(*results, *rest))
