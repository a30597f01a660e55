"""What is remembered of one turn whose calls are judged, and what each call becomes of it.

Never: judges a call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from llmitm.canon.events import End, Event, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Request
from llmitm.ruleset.tool_policies import PolicyRow
from llmitm.stages.contract import Answer, Decided, Denied, Forward, Hold
from llmitm.stages.kept_calls import words
from llmitm.stages.provider_calls import start_of
from llmitm.stages.tools.rulings import Ruling
from llmitm.stages.tools.steering import told

DANGEROUS = "dangerous_command"
"""The verdict on a call that some rule for commands or the sandbox is against."""

type Key = tuple[int, int]


@dataclass(slots=True)
class Watched:
    """One turn. cares: tool name -> whether a rule is for it; noted: what was done, for the list.

    Of the present answer: start: its first event; said: its events, but for calls that were
    stopped; held: calls kept back, in order, the last event a PartEnd when they are complete;
    announced: place in the answer -> what told of a call that has not begun;
    open: parts the client has seen begin; calls: how many of a choice went on to the client;
    stopped: choices that lost a call; spoke: the client has seen text of it.
    attempts: how often the model was asked again; apart: its new text needs a line of its own.
    asking: the call an operator is asked about and what it met; closing: what comes behind it.
    """

    request: Request
    policy: PolicyRow | None
    attempts: int = 0
    apart: bool = False
    spoke: bool = False
    cares: dict[str, bool] = field(default_factory=dict[str, bool])
    start: Start = field(default_factory=Start)
    said: list[Event] = field(default_factory=list[Event])
    held: dict[Key, list[Event]] = field(default_factory=dict[Key, "list[Event]"])
    announced: dict[Any, list[Event]] = field(default_factory=dict[Any, "list[Event]"])
    open: dict[Key, None] = field(default_factory=dict[Key, None])
    calls: dict[int, int] = field(default_factory=dict[int, int])
    stopped: set[int] = field(default_factory=set[int])
    noted: list[str] = field(default_factory=list[str])
    asking: tuple[Sequence[Event], ToolCall, Ruling] | None = None
    closing: Finish | End | None = None

    def anew(self) -> None:
        """Another answer begins."""
        self.asking = self.closing = None
        self.start = Start()
        self.said.clear()
        self.held.clear()
        self.announced.clear()
        self.open.clear()
        self.calls.clear()
        self.stopped.clear()


def placed[E: (PartDelta, PartStart)](watched: Watched, event: E) -> E:
    """The text, on a line of its own where an earlier answer's text stands before it."""
    watched.spoke = True
    if not watched.apart:
        return event
    watched.apart = False
    if isinstance(event, PartDelta):
        return replace(event, text=f"\n\n{event.text}")
    part = cast("Text", event.part)
    return replace(event, part=replace(part, text=f"\n\n{part.text}"))


def passed(watched: Watched, events: tuple[Event, ...]) -> tuple[Event, ...]:
    """The call goes on to the client."""
    choice = start_of(events).choice
    watched.calls[choice] = watched.calls.get(choice, 0) + 1
    watched.said += events
    return events


def instead(watched: Watched, events: tuple[Event, ...], choice: int) -> tuple[Event, ...]:
    """An operator's parts in the call's place."""
    calls = sum(isinstance(e, PartStart) and isinstance(e.part, ToolCall) for e in events)
    watched.calls[choice] = watched.calls.get(choice, 0) + calls
    if not calls:
        watched.stopped.add(choice)
    watched.said += events
    return events


def hold(call: ToolCall, ruling: Ruling) -> Hold:
    """The question to an operator; without an answer the call is blocked."""
    return Hold(
        reason=f"{call.name}: {ruling.rule}. {ruling.why}",
        rule=ruling.rule,
        default=Denied(message=told(call.name, ruling), form="refusal"),
        verdicts=(DANGEROUS,) if ruling.danger else (),
        call=call,
        why=ruling.rule,
    )


def outcome(decided: Decided) -> str:
    """What an operator did with a call, in one word."""
    if isinstance(decided, Forward):
        return "approved"
    return "changed" if isinstance(decided, Answer) else "rejected"


def blocked(watched: Watched, text: str, end: PartEnd) -> tuple[Event, ...]:
    """A text in the call's place."""
    watched.stopped.add(end.choice)
    if watched.spoke:
        text = f"\n\n{text}"
    watched.spoke = True
    return words(text, end)


def finish(watched: Watched, event: Finish) -> Finish:
    """The finish; `stop` where no call is left."""
    if event.reason != "tool_calls" or watched.calls.get(event.choice):
        return event
    return replace(event, reason="stop", raw=None)
