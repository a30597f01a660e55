"""Answers played through stages by the pipeline itself, with an operator who decides at once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from llmitm.canon.events import Event, PartDelta
from llmitm.canon.fold import fold
from llmitm.canon.parts import Part, ToolCall
from llmitm.canon.request import Request
from llmitm.canon.turns import text_of
from llmitm.errors import StageError
from llmitm.exchange.pipeline import Paused, Step, Watching
from llmitm.stages.contract import Again, Cut, Decided, Forward, Hold, Stage, Turn

type Operator = Callable[[Hold], Decided]


@dataclass
class Shown:
    """What the client gets, what an operator was asked, and how the answer ended, None = by itself.

    before: how many events the client had at each question."""

    events: list[Event] = field(default_factory=list)
    holds: list[Hold] = field(default_factory=list)
    before: list[int] = field(default_factory=list)
    end: Cut | Again | StageError | None = None

    @property
    def parts(self) -> list[Part]:
        return [part for choice in fold(self.events).choices for part in choice.parts]

    @property
    def calls(self) -> list[ToolCall]:
        return [part for part in self.parts if isinstance(part, ToolCall)]

    @property
    def text(self) -> str:
        return text_of(self.parts)

    @property
    def finish(self) -> str:
        finish = fold(self.events).choices[0].finish
        return "" if finish is None else finish.reason


def approve(_: Hold) -> Decided:
    return Forward()


def by_default(hold: Hold) -> Decided:
    return hold.default


def one_by_one(*decisions: Decided) -> Operator:
    coming = iter(decisions)
    return lambda _: next(coming)


def watching(turn: Turn, request: Request, *stages: Stage) -> Watching:
    """The stages that look at the answer of this request."""
    for stage in stages:
        effect = stage.on_request(turn, request)
        assert isinstance(effect, Forward), effect
        request = effect.request or request
    turn.request = request
    return Watching(None, tuple(Step(one, "refuse") for one in stages if one.watches(turn)))


def shown(
    turn: Turn,
    watched: Watching,
    frames: Iterable[Sequence[Event]],
    operator: Operator = approve,
) -> Shown:
    """The events, frame by frame, through the stages."""
    seen = Shown()
    for frame in frames:
        staged = watched.on_events(turn, frame)
        seen.events += staged.events
        while isinstance(staged.end, Paused):
            seen.holds.append(staged.end.hold)
            seen.before.append(len(seen.events))
            staged = watched.on_decided(turn, staged.end, operator(staged.end.hold))
            seen.events += staged.events
        if staged.end is not None:
            seen.end = staged.end
            return seen
    return seen


def one_each(events: Iterable[Event]) -> list[list[Event]]:
    return [[event] for event in events]


def cut_finer(events: Iterable[Event], size: int) -> list[Event]:
    """The same answer with its texts in pieces of `size` characters."""
    out: list[Event] = []
    for event in events:
        if isinstance(event, PartDelta) and event.text:
            pieces = (event.text[at : at + size] for at in range(0, len(event.text), size))
            out += [replace(event, text=piece) for piece in pieces]
        else:
            out.append(event)
    return out
