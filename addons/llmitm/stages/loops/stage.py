"""Ends an answer that has become a loop, or asks the model once to answer otherwise.

Only what the user sees counts: text and refusals of each choice, not reasoning, not arguments. The
answer's own text stays up to the step that completed the loop, whatever the stream's pieces were;
then one line says why it ends. With `steer` that line says that the model is asked again, and the
second answer follows; the note that steers it goes to the provider in this one request and never
reaches the client, so no later request can hold it. It quotes nothing of the answer: what other
policies keep from the provider stays kept. With `ask` an operator is shown the end of the text that
came: approved, the answer goes on and is not looked at again.
Rules: `rules/loops.yaml`, section `content`. Never: edits an answer that is no loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from llmitm.canon.events import Event, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.parts import Refusal, Text, ToolCall
from llmitm.canon.request import Message, Request
from llmitm.canon.response import Choice, Response
from llmitm.canon.turns import text_of
from llmitm.ruleset.loops import ContentMode
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.asked import asked_of
from llmitm.stages.contract import (
    FORWARD,
    Again,
    Answer,
    Cut,
    Decided,
    Denied,
    EventEffect,
    Forward,
    Hold,
    Stage,
    Turn,
    Waits,
)
from llmitm.stages.kept_calls import parts_of, rejection
from llmitm.stages.loops.detecting import Detector, Found
from llmitm.stages.loops.examples import limits_of

NAME = "loops"
LOOP = "loop"
"""The verdict on an answer that is one."""
_MOST_HEARD = 20_000
_SHOWN = 60
_VISIBLE = frozenset({"text", "refusal"})

NOTE = (
    "Your last attempt at this answer began to repeat itself over and over and was stopped. Do not "
    "go back to what you were repeating. Answer in another way, briefly, and end when it is said."
)
"""What steers the model; the provider alone sees it."""
ASKED_AGAIN = "[Loop detected: the model was asked to answer once more]"
"""What the user sees between the two answers."""


@dataclass(frozen=True, slots=True)
class _Asking:
    """A loop about which an operator is asked. event: as it came; said: what is left of it;
    line_of: a line behind that."""

    found: Found
    event: PartDelta | PartStart
    said: PartDelta | PartStart
    line_of: Callable[[str], tuple[Event, ...]]


@dataclass(slots=True)
class _Watched:
    """One turn. open: parts the client has seen begin; called: choices with tool calls; living:
    choices that are not over; silenced: those that were ended here; allowed: those that an operator
    lets go on; heard: the end of their text, for an operator; asking: what one is asked about;
    looped: whether a loop was found."""

    request: Request
    mode: ContentMode
    detectors: dict[int, Detector] = field(default_factory=dict[int, Detector])
    open: dict[tuple[int, int], None] = field(default_factory=dict[tuple[int, int], None])
    called: set[int] = field(default_factory=set[int])
    living: set[int] = field(default_factory=set[int])
    silenced: set[int] = field(default_factory=set[int])
    steered: bool = False
    allowed: set[int] = field(default_factory=set[int])
    heard: dict[int, str] = field(default_factory=dict[int, str])
    asking: _Asking | None = None
    looped: bool = False


class Loops(Stage):
    """The policy `loops`. It stands behind everything that edits requests: the request it sees is
    the one that is sent again."""

    name = NAME

    def __init__(self, ruleset: Ruleset) -> None:
        self._rules = ruleset.loops.content
        self._defaults = ruleset.rewrites.defaults
        self._limits = limits_of(self._rules)

    def on_request(self, turn: Turn, request: Request) -> Forward:
        """On as it is; remembered, in case it must be asked again."""
        turn.memory[NAME] = request
        return FORWARD

    def watches(self, turn: Turn) -> bool:
        """Whether loops are looked for in this conversation, of this model."""
        request = turn.memory.get(NAME)
        mode = self._mode(turn) if isinstance(request, Request) else None
        if mode is None or not isinstance(request, Request):
            return False
        living = set(range(request.sampling.n or 1))
        turn.memory[NAME] = _Watched(request, mode, living=living)
        return True

    def _mode(self, turn: Turn) -> ContentMode | None:
        """What a loop meets, None = they are not looked for."""
        said = turn.conversation.settings.loop_detection
        provider, model = asked_of(turn)
        defaults = self._defaults(provider, model)
        row = self._rules.row(provider, model)
        tiers = (
            said,
            defaults.loop_detection_enabled if defaults else None,
            row.enabled if row else None,
            self._rules.enabled,
        )
        if not next(tier for tier in tiers if tier is not None):
            return None
        return (row.mode if row else None) or self._rules.mode

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        """The event itself; the end of the answer where it completes a loop."""
        watched: _Watched = turn.memory[NAME]
        effect = self._watched(watched, event)
        if watched.looped:
            turn.verdicts.add(LOOP)
        return effect

    def _watched(self, watched: _Watched, event: Event) -> EventEffect:
        if isinstance(event, PartDelta):
            if event.choice in watched.silenced:
                return ()
            if event.kind not in _VISIBLE or event.choice in watched.allowed:
                return (event,)
            detector = watched.detectors.get(event.choice)
            if detector is None:
                detector = watched.detectors[event.choice] = Detector(self._limits)
            found = detector.feed(event.text)
            if found is None:
                _hear(watched, event.choice, event.text)
                return (event,)
            over = len(event.text) - (detector.fed - found.at)
            said = replace(event, text=event.text[:over])
            _hear(watched, event.choice, said.text)
            return self._stopped(
                watched, found, event, said, lambda line: (replace(said, text=line),)
            )
        return self._other(watched, event)

    def _other(self, watched: _Watched, event: Event) -> EventEffect:
        match event:
            case PartStart():
                return self._began(watched, event)
            case PartEnd():
                watched.open.pop((event.choice, event.index), None)
            case Finish():
                watched.living.discard(event.choice)
            case Start():
                watched.open.clear()
                return (event,)
            case _:
                pass
        choice = getattr(event, "choice", None)
        return () if choice is not None and choice in watched.silenced else (event,)

    def _began(self, watched: _Watched, event: PartStart) -> EventEffect:
        choice, part = event.choice, event.part
        if choice in watched.silenced:
            return ()
        watched.living.add(choice)
        watched.open[choice, event.index] = None
        if isinstance(part, ToolCall):
            # Between two calls an agent may say the same again.
            watched.called.add(choice)
            watched.detectors.pop(choice, None)
        if not isinstance(part, Text | Refusal) or not part.text or choice in watched.allowed:
            return (event,)
        detector = watched.detectors.setdefault(choice, Detector(self._limits))
        found = detector.feed(part.text)
        if found is None:
            _hear(watched, choice, part.text)
            return (event,)
        over = len(part.text) - (detector.fed - found.at)
        _hear(watched, choice, part.text[:over])
        said = replace(event, part=replace(part, text=part.text[:over]))
        kind = "text" if isinstance(part, Text) else "refusal"
        return self._stopped(
            watched, found, event, said, lambda line: (PartDelta(event.index, kind, line, choice),)
        )

    def _stopped(
        self,
        watched: _Watched,
        found: Found,
        event: PartDelta | PartStart,
        said: PartDelta | PartStart,
        line_of: Callable[[str], tuple[Event, ...]],
    ) -> EventEffect:
        """How the answer ends here. said: what is left of the event; line_of: a line behind it."""
        choice = said.choice
        why = f"loop: {shown(found)}"
        watched.looped = True
        watched.open[choice, said.index] = None
        if watched.mode == "ask":
            watched.asking = _Asking(found, event, said, line_of)
            return Waits(hold=_hold(watched, found, choice), why=why)
        alone = watched.living <= {choice} and choice not in watched.called
        if watched.mode == "steer" and alone and not watched.steered:
            ends = [PartEnd(index, where) for where, index in sorted(watched.open)]
            watched.steered = True
            watched.open.clear()
            watched.detectors.clear()
            line = line_of(f"\n\n{ASKED_AGAIN}\n\n")
            again = steered(watched.request)
            return Again(request=again, events=(said, *line, *ends), why=why)
        return _over(watched, choice, (said, *line_of(f"\n\n{cancelled(found)}")), why)

    def on_decided(self, turn: Turn, decided: Decided) -> EventEffect:
        """On as it was, another end of the answer, or the end that a loop meets."""
        watched: _Watched = turn.memory[NAME]
        assert watched.asking is not None
        asking, watched.asking = watched.asking, None
        choice = asking.said.choice
        why = f"loop: {shown(asking.found)}"
        if isinstance(decided, Forward):
            watched.allowed.add(choice)
            watched.detectors.pop(choice, None)
            return (asking.event,)
        if isinstance(decided, Answer):
            said = text_of(parts_of(decided.response, choice))
            line = asking.line_of(f"\n\n{said}") if said else ()
        elif isinstance(decided, Denied) and decided.form != "error":
            line = asking.line_of(f"\n\n{decided.message or cancelled(asking.found)}")
        else:
            return Cut(events=(rejection(decided, "an operator ended this answer"),), why=why)
        return _over(watched, choice, (asking.said, *line), why)


def _hear(watched: _Watched, choice: int, text: str) -> None:
    """Keeps the end of the text, where an operator may be shown it."""
    if watched.mode == "ask":
        watched.heard[choice] = (watched.heard.get(choice, "") + text)[-_MOST_HEARD:]


def _over(watched: _Watched, choice: int, said: tuple[Event, ...], why: str) -> EventEffect:
    """The choice ends after these events, and with the last one the answer."""
    finish = Finish("tool_calls" if choice in watched.called else "stop", choice=choice)
    ends = [PartEnd(index, where) for where, index in sorted(watched.open) if where == choice]
    watched.living.discard(choice)
    watched.silenced.add(choice)
    for end in ends:
        watched.open.pop((end.choice, end.index), None)
    events = (*said, *ends, finish)
    return events if watched.living else Cut(events=events, why=why)


def _hold(watched: _Watched, found: Found, choice: int) -> Hold:
    """The question to an operator; without an answer it is a cut."""
    part = Text(text=watched.heard.get(choice, ""))
    return Hold(
        reason=f"the answer is a loop: {shown(found)}",
        rule=NAME,
        default=Denied(message=cancelled(found), form="refusal"),
        verdicts=(LOOP,),
        response=Response(choices=(Choice(index=choice, parts=(part,)),)),
        why=shown(found),
    )


def cancelled(found: Found) -> str:
    """The line that ends the answer."""
    return f"[Response cancelled: Loop detected - {shown(found)}]"


def shown(found: Found) -> str:
    """`Pattern '…' repeated N times`, the pattern on one line and shortened."""
    pattern = " ".join(found.pattern.split()) or repr(found.pattern)[1:-1]
    if len(pattern) > _SHOWN:
        pattern = f"{pattern[:_SHOWN].rstrip()}…"
    return f"Pattern '{pattern}' repeated {found.repeats} times"


def steered(request: Request) -> Request:
    """The request with the note behind it."""
    note = Message(role="user", parts=(Text(text=NOTE),))
    return replace(request, messages=(*request.messages, note))
