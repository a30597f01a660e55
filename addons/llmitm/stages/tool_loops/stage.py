"""Stops a tool call that was made with the same arguments again and again.

What counts: the calls since the user's last words, from the history of the request (so an agent
that goes round over several requests is caught), where the request only names the answer it goes
on from those that were let through, and those of the answer itself. A call that could be the last
of a loop is held back until it is complete, then let through as it came, or a text takes its
place: no call without a result, and no result without a call, comes into anybody's history. A
stopped call is not counted twice: it never becomes history.
With `chance_then_break` the model is first asked once more, with a note behind the request that
only the provider sees; where calls of the same answer have already reached the client, the text
itself asks for another approach. Rules: `rules/loops.yaml`, section `tools`.
Never: stops a call that comes in a row for the first time, or reads a clock.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
)
from llmitm.canon.parts import Text, ToolCall, Unknown
from llmitm.canon.request import Message, Request
from llmitm.canon.values import Json
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.contract import FORWARD, Again, Cut, EventEffect, Forward, Stage, Turn
from llmitm.stages.provider_calls import Calls, place_of, start_of
from llmitm.stages.tool_loops.calls import MOST_CALLS, Call, answer, calls_of, has_user_words
from llmitm.stages.tool_loops.counting import repeated
from llmitm.stages.tool_loops.limits import Limits, limits_of

NAME = "tool_loops"
LOOP = "tool_loop"
"""The verdict on an answer of which a call was stopped."""
MOST_CONVERSATIONS = 500
MOST_STOPPED = 8
"""Calls stopped in one answer before all of it is."""


@dataclass(slots=True)
class _Known:
    """What outlives a turn. times: call key -> when it was first seen; passed: calls that were let
    through, for requests without their history; chances: signature -> when one was given."""

    times: dict[str, float] = field(default_factory=dict[str, float])
    passed: list[Call] = field(default_factory=list[Call])
    chances: dict[str, float] = field(default_factory=dict[str, float])


@dataclass(slots=True)
class _Watched:
    """One turn. history: calls before it; made: calls of this answer, by choice; held: parts kept
    back; open: parts the client has seen begin; stopped: how many calls of a choice were;
    announced: what told of calls before they were complete, kept back, by place;
    doubtful: held parts of an answer that another one may have taken the place of; asked: whether
    the model was asked once more; looped: whether a call was stopped."""

    request: Request
    limits: Limits
    known: _Known
    history: list[Call]
    now_s: float
    kinds: Calls
    made: dict[int, list[Call]] = field(default_factory=dict[int, list[Call]])
    held: dict[tuple[int, int], list[Event]] = field(
        default_factory=dict[tuple[int, int], "list[Event]"]
    )
    running: dict[tuple[int, int], list[Event]] = field(
        default_factory=dict[tuple[int, int], "list[Event]"]
    )
    open: dict[tuple[int, int], None] = field(default_factory=dict[tuple[int, int], None])
    stopped: dict[int, int] = field(default_factory=dict[int, int])
    doubtful: set[tuple[int, int]] = field(default_factory=set[tuple[int, int]])
    announced: dict[Json, list[Event]] = field(default_factory=dict[Json, "list[Event]"])
    asked: bool = False
    looped: bool = False


class ToolLoops(Stage):
    """The policy `tool_loops`. It stands behind everything that edits requests: the request it sees
    is the one that is sent again.

    added: client name -> patterns of what it puts around its user's words by itself.
    """

    name = NAME

    def __init__(
        self, ruleset: Ruleset, added: Callable[[str], Sequence[re.Pattern[str]]] | None = None
    ) -> None:
        self._rules = ruleset.loops.tools
        self._kinds = Calls(ruleset.tools.provider_calls)
        self._defaults = ruleset.rewrites.defaults
        self._added = added or ruleset.clients.added
        self._table: OrderedDict[str, _Known] = OrderedDict()

    def on_request(self, turn: Turn, request: Request) -> Forward:
        """On as it is; remembered for what the model answers."""
        turn.memory[NAME] = request
        return FORWARD

    def watches(self, turn: Turn) -> bool:
        """Whether tools are on offer, and their loops looked for."""
        request = turn.memory.get(NAME)
        if not isinstance(request, Request):
            return False
        names = self._kinds.names()
        if all(tool.kind == "server" and tool.name not in names for tool in request.tools):
            return False
        limits = limits_of(turn, self._rules, self._defaults)
        if limits is None:
            return False
        known = self._known(turn)
        history = self._history(turn, request, known)
        turn.memory[NAME] = _Watched(request, limits, known, history, turn.started_s, self._kinds)
        return True

    def _known(self, turn: Turn) -> _Known:
        """What is known of the conversation; of one without a key nothing is kept."""
        key = turn.conversation.key
        if not key:
            return _Known()
        known = self._table.get(key)
        if known is None:
            known = self._table[key] = _Known()
            if len(self._table) > MOST_CONVERSATIONS:
                self._table.popitem(last=False)
        else:
            self._table.move_to_end(key)
        return known

    def _history(self, turn: Turn, request: Request, known: _Known) -> list[Call]:
        added = self._added(turn.client)
        if request.previous_response_id is not None:
            if has_user_words(request, added):
                known.passed.clear()
                known.chances.clear()
            answer(known.passed, request, self._kinds)
            # What has no result was never run: an answer that did not arrive, say.
            known.passed = [call for call in known.passed if call.is_answered]
            return list(known.passed)
        calls = calls_of(request, added, self._kinds)
        recent = known.passed
        for call in calls:
            seen_s = known.times.get(call.key)
            call.at_s = _taken(recent, call, turn.started_s) if seen_s is None else seen_s
        known.times = {call.key: call.at_s for call in calls}
        known.passed = []
        if not calls:
            known.chances.clear()
        return calls

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        """The event; nothing while a call is held back; what takes its place when it is judged."""
        watched: _Watched = turn.memory[NAME]
        match event:
            case PartDelta() | PartDetail():
                if isinstance(event, PartDelta) and event.kind != "arguments":
                    return (event,)
                key = (event.choice, event.index)
                held = watched.held.get(key)
                if held is not None:
                    held.append(event)
                    watched.doubtful.discard(key)
                    return ()
                running = watched.running.get(key)
                if running is not None:
                    running.append(event)
            case PartStart():
                return _begin(watched, event)
            case PartEnd():
                effect = _end(watched, event)
                if watched.looped:
                    turn.verdicts.add(LOOP)
                return effect
            case Finish():
                return _finish(watched, event)
            case End() | Fault():
                return (*_released(watched), event)
            case Opaque():
                return _announced(watched, event)
            case Start():
                watched.open.clear()
                watched.doubtful.update(watched.held)
            case _:
                pass
        return (event,)


def _taken(recent: list[Call], call: Call, now_s: float) -> float:
    """When the call was let through, else now; a recent one stands for one call of the history."""
    same = [one for one in recent if one.name == call.name]
    named = [one for one in same if one.id and one.id == call.id]
    for one in named or same:
        recent.remove(one)
        return one.at_s
    return now_s


def _begin(watched: _Watched, event: PartStart) -> EventEffect:
    key = (event.choice, event.index)
    call = watched.kinds.of(event.part)
    if call is None:
        watched.open[key] = None
        return (event,)
    at = event.part.at if isinstance(event.part, Unknown) else ()
    before = watched.announced.pop(at[-1], []) if at else []
    if _may_loop(watched, event.choice, call.name):
        watched.held[key] = [*before, event]
        watched.doubtful.discard(key)
        return ()
    watched.open[key] = None
    watched.running[key] = [event]
    return (*before, event)


def _announced(watched: _Watched, event: Opaque) -> EventEffect:
    """The event, kept back where it tells of a call that could be one too many."""
    held = watched.announced.get(place_of(event)) if watched.announced else None
    if held is None:
        name, place = watched.kinds.announced(event)
        if not name or place is None or not _may_loop(watched, 0, name):
            return (event,)
        held = watched.announced[place] = []
    held.append(event)
    return ()


def _may_loop(watched: _Watched, choice: int, name: str) -> bool:
    """Whether the call that begins could be one too many."""
    if not name or watched.stopped.get(choice):
        return True
    made = (*watched.history, *watched.made.get(choice, ()))
    same = sum(call.name == name for call in made)
    begun = (*watched.running.values(), *watched.held.values())
    parts = (watched.kinds.of(start_of(events).part) for events in begun)
    running = sum(part is not None and part.name == name for part in parts)
    return same + running + 1 >= watched.limits.max_repeats


def _end(watched: _Watched, event: PartEnd) -> EventEffect:
    key = (event.choice, event.index)
    held = watched.held.pop(key, None)
    if held is None:
        watched.open.pop(key, None)
        running = watched.running.pop(key, None)
        if running is not None:
            _let_through(watched, event.choice, watched.kinds.whole(running))
        return (event,)
    part = watched.kinds.whole(held)
    made = [*watched.history, *watched.made.get(event.choice, ())]
    repeats = repeated(made, part, watched.limits, watched.now_s)
    if not repeats:
        _let_through(watched, event.choice, part)
        return (*held, event)
    return _stop(watched, event, part, repeats)


def _let_through(watched: _Watched, choice: int, part: ToolCall) -> None:
    call = Call.of(part, at_s=watched.now_s)
    watched.made.setdefault(choice, []).append(call)
    known = watched.known
    for chance in [one for one in known.chances if one != call.signature]:
        del known.chances[chance]
    known.passed = [*known.passed[1 - MOST_CALLS :], call]


def _stop(watched: _Watched, end: PartEnd, part: ToolCall, repeats: int) -> EventEffect:
    choice, limits = end.choice, watched.limits
    watched.looped = True
    why = f"tool loop: {part.name} {repeats} times within {limits.ttl_s} s"
    chance = limits.mode == "chance_then_break" and _give_chance(watched, part)
    alone = not any(watched.made.values()) and not watched.running and not watched.stopped
    if chance and alone and not watched.asked and (watched.request.sampling.n or 1) == 1:
        watched.asked = True
        ends = tuple(PartEnd(index, where) for where, index in sorted(watched.open))
        watched.held.clear()
        watched.open.clear()
        request = _noted(watched.request, part, repeats, limits)
        return Again(request=request, events=ends, why=why)
    text = told(part.name, repeats, limits.ttl_s)
    if chance:
        text += f" {_OTHERWISE}"
    before = watched.stopped.get(choice, 0)
    watched.stopped[choice] = before + 1
    events = (
        PartStart(end.index, Text(text=""), choice),
        PartDelta(end.index, "text", f"\n\n{text}" if before else text, choice),
        PartEnd(end.index, choice),
    )
    if before + 1 < MOST_STOPPED:
        return events
    last = _finish(watched, Finish("tool_calls", choice=choice))
    return Cut(events=(*events, *last), why=f"{why}, again and again")


def _give_chance(watched: _Watched, part: ToolCall) -> bool:
    """Whether the model may try once more; it has had its chance then."""
    chances = watched.known.chances
    new = Call.of(part).signature
    given_s = chances.get(new)
    if given_s is not None and watched.now_s - given_s <= watched.limits.ttl_s:
        return False
    chances[new] = watched.now_s
    return True


def _finish(watched: _Watched, event: Finish) -> tuple[Event, ...]:
    """The finish, after what was still held; `stop` where no call is left."""
    released = _released(watched, event.choice)
    called = watched.made.get(event.choice) or released
    if watched.stopped.get(event.choice) and not called and event.reason == "tool_calls":
        event = replace(event, reason="stop", raw=None)
    return (*released, event)


def _released(watched: _Watched, choice: int | None = None) -> tuple[Event, ...]:
    """What was held of calls that never became complete, as it came."""
    keys = [key for key in watched.held if choice in (None, key[0])]
    held = [(key, watched.held.pop(key)) for key in keys]
    told = [event for events in watched.announced.values() for event in events]
    watched.announced.clear()
    kept = (event for key, events in held if key not in watched.doubtful for event in events)
    return (*kept, *told)


def told(name: str, repeats: int, ttl_s: int) -> str:
    """What takes the call's place."""
    return (
        f"[Tool call loop detected: '{name}' was invoked with identical parameters {repeats} times "
        f"within {ttl_s} seconds. This call was not passed on.]"
    )


_OTHERWISE = "Another approach is needed: other parameters, another tool, or an answer without one."


def _noted(request: Request, part: ToolCall, repeats: int, limits: Limits) -> Request:
    """The request with a note behind it; of the call it quotes the name alone."""
    text = (
        f"You were about to call the tool `{part.name}` with the same parameters for the "
        f"{repeats}th time within {limits.ttl_s} seconds. It would give nothing new. {_OTHERWISE}"
    )
    note = Message(role="user", parts=(Text(text=text),))
    return replace(request, messages=(*request.messages, note))
