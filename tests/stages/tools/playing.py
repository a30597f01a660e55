"""An answer played to the stage, event by event, and what the client gets of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llmitm.canon.events import (
    End,
    Event,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.turns import text_of
from llmitm.ruleset.loading import load
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.tool_policies import PolicyRow
from llmitm.stages.contract import Again, Cut, EventEffect, Turn
from llmitm.stages.tools.stage import Tools

SHIPPED = load("", {})
FOUR = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
RESET = {"command": "git reset --hard HEAD~3"}
STATUS = {"command": "git status"}
WIPE = {"command": "rm -rf /"}
LATER = {"command": "ls -la"}


def ruled(**changes: Any) -> Ruleset:
    """The shipped rules; `commands={"effect": "block"}` changes values of a section."""
    tools = SHIPPED.tools
    for name, value in changes.items():
        new = getattr(tools, name).model_copy(update=value) if isinstance(value, dict) else value
        tools = tools.model_copy(update={name: new})
    return replace(SHIPPED, tools=tools)


def policy(**changes: Any) -> PolicyRow:
    return PolicyRow(**{"name": "p", "model_pattern": ".", "default_policy": "allow", **changes})


def asked(*names: str, stream: bool = True, **changes: Any) -> Request:
    user = Message(role="user", parts=(Text(text="go"),))
    tools = tuple(Tool(name=name) for name in names or ("bash",))
    request = Request(dialect="d", model="m", messages=(user,), tools=tools, stream=stream)
    return replace(request, **changes)


def turn_of(**changes: Any) -> Turn:
    said = {"id": "1", "provider": "p", "protocol": "d", "client": "", "model": "m"}
    return Turn(**{**said, "started_s": 0.0, **changes})


def words(index: int, *pieces: str, choice: int = 0) -> list[Event]:
    said = [PartDelta(index, "text", piece, choice) for piece in pieces]
    return [PartStart(index, Text(text=""), choice), *said, PartEnd(index, choice)]


def call(
    index: int, arguments: Any, name: str = "bash", cut: int = 7, choice: int = 0
) -> list[Event]:
    """A call's events; its arguments in pieces of `cut` characters."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    part = ToolCall(id=f"call_{index}", name=name, arguments="")
    pieces = [text[at : at + cut] for at in range(0, len(text), cut)]
    deltas = [PartDelta(index, "arguments", piece, choice) for piece in pieces]
    return [PartStart(index, part, choice), *deltas, PartEnd(index, choice)]


def answer(*parts: Sequence[Event], reason: str = "tool_calls", name: str = "a") -> list[Event]:
    start = Start(id=name, model="m")
    said = [event for part in parts for event in part]
    return [start, *said, Finish(reason, raw=reason), End()]  # pyright: ignore[reportArgumentType]


@dataclass
class Played:
    """What went on to the client, and what ended each answer. ends: Again or Cut, in order."""

    events: list[Event] = field(default_factory=list)
    ends: list[Again | Cut] = field(default_factory=list)

    @property
    def parts(self) -> list[Any]:
        return [part for one in fold(self.events).choices for part in one.parts]

    @property
    def calls(self) -> list[Any]:
        return [json.loads(part.arguments) for part in self.parts if isinstance(part, ToolCall)]

    @property
    def text(self) -> str:
        return text_of(self.parts)

    @property
    def finish(self) -> str:
        return next(e.reason for e in reversed(self.events) if isinstance(e, Finish))

    @property
    def requests(self) -> list[Request]:
        return [end.request for end in self.ends if isinstance(end, Again)]


def started(stage: Tools, request: Request, turn: Turn) -> Request:
    forward = stage.on_request(turn, request)
    turn.request = forward.request or request
    return turn.request


def play(
    stage: Tools,
    answers: Iterable[Sequence[Event]],
    request: Request | None = None,
    turn: Turn | None = None,
) -> Played:
    """The answers one after another, the next where the model is asked again."""
    turn = turn or turn_of()
    started(stage, request or asked(), turn)
    played = Played()
    if not stage.watches(turn):
        return Played(events=[event for one in answers for event in one])
    for number, events in enumerate(answers):
        end = heard(stage, turn, events, played, shift=100 * number)
        if end is None:
            return played
        played.ends.append(end)
        if isinstance(end, Cut):
            return played
    return played


def heard(
    stage: Tools, turn: Turn, events: Sequence[Event], played: Played, shift: int
) -> Again | Cut | None:
    for event in events:
        effect: EventEffect = stage.on_event(turn, event)
        passed = effect.events if isinstance(effect, Again | Cut) else effect
        for one in passed:
            placed = isinstance(one, PartStart | PartDelta | PartDetail | PartEnd)
            moved = replace(one, index=one.index + shift) if shift and placed else one
            played.events.append(moved)
        if isinstance(effect, Again | Cut):
            return effect
    return None
