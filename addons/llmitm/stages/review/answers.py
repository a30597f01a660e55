"""Holds answers and tool calls before the client gets them, as `rules/review.yaml` wants it.

Of an answer that some rule may hold as a whole nothing goes on before it is finished; else only
calls that some rule may hold are kept back, and what comes behind them, so that the order stays.
What was streamed before a call stays. What is let go goes on as it came.

An answer longer than `max_answer_chars` is asked about when it has grown so long, and approved goes
on as it comes. What breaks off while it is kept back is not let go.
Never: decides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import count
from typing import cast

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import ToolCall
from llmitm.canon.response import Response
from llmitm.canon.turns import text_of
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.contract import (
    Again,
    Answer,
    Cut,
    Decided,
    Denied,
    EventEffect,
    Forward,
    Stage,
    Turn,
    Waits,
)
from llmitm.stages.kept_calls import (
    FRESH_INDEX,
    asked_again,
    decided_calls,
    in_place,
    is_another,
    not_allowed,
    not_run,
    parts_of,
    rejection,
    whole,
    words,
)
from llmitm.stages.review.editing import Key, edited, key_of, refused
from llmitm.stages.review.rules import Because, Rules, of_answer, of_call, offers_tools
from llmitm.stages.review.watched import Watched, keep, length, let_go, part_of
from llmitm.stages.review.wishes import ByFilter, NoWishes, Wishes, no_flow

NAME = "review_answers"
MOST_ATTEMPTS = 3
"""How often the model is asked again in one answer."""
_REJECTED = "an operator has rejected this answer"


class ReviewAnswers(Stage):
    """The policy `review_answers`. It stands before whatever puts secrets back into an answer: what
    an operator sees holds none."""

    name = NAME

    def __init__(
        self, ruleset: Ruleset, wishes: Wishes | None = None, by_filter: ByFilter = no_flow
    ) -> None:
        self._rules = Rules(ruleset, wishes or NoWishes(), by_filter)

    def watches(self, turn: Turn) -> bool:
        """Whether some rule may hold the answer or a call of it, or an operator wants to see it."""
        request = turn.request
        if request is None or turn.kind != "generate":
            return False
        rules = self._rules
        wholes, wish = rules.fitting(turn, request, "response"), rules.wished(turn, "response")
        calls, call_wish = (), None
        if offers_tools(request):
            calls = rules.fitting(turn, request, "tool_call")
            call_wish = rules.wished(turn, "tool_call")
        if not (wholes or calls) and wish is None and call_wish is None:
            return False
        watched = Watched(
            request=request, wholes=wholes, calls=calls, wish=wish, call_wish=call_wish
        )
        before = turn.memory.get(NAME)
        if isinstance(before, Watched):
            # Asked again from here: each time from the first request, so that notes do not add up.
            watched.attempts, watched.spoke = before.attempts, before.spoke
            watched.request = before.request if before.attempts else request
        watched.anew()
        turn.memory[NAME] = watched
        turn.keeps_back = bool(wholes) or wish is not None
        return True

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        """The event; nothing while it is kept back; a question when that is complete."""
        watched: Watched = turn.memory[NAME]
        if watched.over or key_of(event) in watched.cut_off:
            return ()
        match event:
            case Start():
                if is_another(watched.start, event):
                    watched.anew()
                watched.start = watched.start if watched.start.id else event
                if not watched.kept:
                    return (event,)
            case Ping():
                return (event,)
            case Fault():
                watched.kept.clear()
                watched.over = True
                return (event,)
            case _:
                pass
        if watched.whole:
            return self._gathered(turn, watched, event)
        if not watched.kept and not self._may_hold(turn, watched, event):
            return (let_go(watched, event, self._rules.max_answer_chars),)
        keep(watched, event)
        if _is_end(event) or watched.chars > self._rules.max_answer_chars:
            return self._go_on(turn, watched)
        return ()

    # -- whole answers ------------------------------------------------------------------------

    def _gathered(self, turn: Turn, watched: Watched, event: Event) -> EventEffect:
        """Nothing, until all of the answer is there."""
        if isinstance(event, Usage) and not watched.kept:
            return (event,)
        keep(watched, event)
        if isinstance(event, Finish):
            watched.finished.add(event.choice)
        is_cut = watched.chars > self._rules.max_answer_chars
        expected = watched.request.sampling.n or 1
        if len(watched.finished) < expected and not isinstance(event, End) and not is_cut:
            return ()
        watched.whole = False
        response = fold((watched.start, *watched.kept))
        because = self._because(turn, watched, response, is_cut=is_cut)
        if because is None:
            return self._go_on(turn, watched)
        watched.asking = "long answer" if is_cut else "answer"
        hold = self._rules.hold(turn, because, response=response)
        return Waits(hold=hold, why=because.say)

    def _because(
        self, turn: Turn, watched: Watched, response: Response, *, is_cut: bool
    ) -> Because | None:
        parts = [part for choice in response.choices for part in choice.parts]
        found = of_answer(
            watched.wholes,
            [part for part in parts if isinstance(part, ToolCall)],
            [text_of(choice.parts) for choice in response.choices],
            turn.verdicts,
            is_cut=is_cut,
        )
        if found is None and watched.wish is not None:
            return Because(watched.wish)
        return found

    def _answer_decided(self, watched: Watched, decided: Decided, *, is_cut: bool) -> EventEffect:
        was = fold((watched.start, *watched.kept))
        if isinstance(decided, Forward):
            return self._pass_on(watched, watched.kept)
        if isinstance(decided, Answer):
            events = edited(watched.kept, was, decided.response)
        elif isinstance(decided, Denied) and decided.form != "error":
            message = decided.message or "This answer was rejected."
            events = edited(watched.kept, was, refused(was, message))
        else:
            return _ended(watched, rejection(decided, _REJECTED))
        passed = self._pass_on(watched, events)
        if not is_cut:
            return passed
        # The rest of the provider's answer has no place behind another one.
        watched.over = True
        return Cut(events=passed, why="an operator's answer took its place")

    def _pass_on(self, watched: Watched, events: Iterable[Event]) -> tuple[Event, ...]:
        """These go on, and calls among them are not asked about once more."""
        going = tuple(events)
        watched.kept, watched.chars = [], 0
        return tuple(let_go(watched, one, self._rules.max_answer_chars) for one in going)

    # -- single calls -------------------------------------------------------------------------

    def _may_hold(self, turn: Turn, watched: Watched, event: Event) -> bool:
        if not isinstance(event, PartStart) or not isinstance(event.part, ToolCall):
            return False
        key = (event.choice, event.index)
        if key in watched.let_go or key in decided_calls(turn):
            return False
        if watched.call_wish is not None or not event.part.name:
            return watched.call_wish is not None or bool(watched.calls)
        return any(row.names(event.part.name) for row in watched.calls)

    def _go_on(self, turn: Turn, watched: Watched) -> EventEffect:
        """What may go on of what is kept back, up to the first call to be asked about."""
        out: list[Event] = []
        limit = self._rules.max_answer_chars
        kept = watched.kept
        place = 0
        while place < len(kept):
            event = kept[place]
            if self._may_hold(turn, watched, event):
                start = cast("PartStart", event)
                key = (start.choice, start.index)
                held = part_of(kept[place:], key)
                is_cut = watched.chars > limit
                if not isinstance(held[-1], PartEnd) and not is_cut:
                    break
                call = whole(held)
                because = of_call(watched.calls, call, turn.verdicts, is_cut=is_cut)
                if because is None and watched.call_wish is not None:
                    because = Because(watched.call_wish)
                if because is not None:
                    del kept[:place]
                    watched.asking = key
                    hold = self._rules.hold(turn, because, call=call)
                    return Waits(hold=hold, events=tuple(out), why=because.say)
                watched.let_go.add(key)
            out.append(let_go(watched, event, limit))
            place += 1
        del kept[:place]
        if not kept:
            watched.chars = 0
        return tuple(out)

    def on_decided(self, turn: Turn, decided: Decided) -> EventEffect:
        """What the operator decided, and what is kept back behind it as far as that may go on."""
        watched: Watched = turn.memory[NAME]
        asking, watched.asking = watched.asking, None
        if isinstance(asking, str):
            return self._answer_decided(watched, decided, is_cut=asking == "long answer")
        assert asking is not None
        effect = self._call_decided(turn, watched, asking, decided)
        if isinstance(effect, Again | Cut | Waits):
            return effect
        first = tuple(effect)
        after = self._go_on(turn, watched)
        if isinstance(after, Again):
            return after
        if isinstance(after, Cut | Waits):
            return replace(after, events=(*first, *after.events))
        return (*first, *after)

    def _call_decided(
        self, turn: Turn, watched: Watched, key: Key, decided: Decided
    ) -> EventEffect:
        """What takes the call's place."""
        watched.let_go.add(key)
        if isinstance(decided, Forward):
            return ()
        held = part_of(watched.kept, key)
        if not isinstance(held[-1], PartEnd):
            watched.cut_off.add(key)
            held.append(PartEnd(key[1], key[0]))
        end, call = cast("PartEnd", held[-1]), whole(held)
        watched.kept = [event for event in watched.kept if key_of(event) != key]
        watched.chars = sum(map(length, watched.kept))
        if isinstance(decided, Answer):
            fresh = count(FRESH_INDEX + (end.index << 8))
            parts = parts_of(decided.response, end.choice)
            if not any(isinstance(part, ToolCall) for part in parts):
                watched.stopped.add(end.choice)
            return self._pass_on_some(watched, in_place(held, parts, fresh))
        if not isinstance(decided, Denied) or decided.form == "error":
            return _ended(watched, rejection(decided, f"an operator has rejected {call.name}"))
        if decided.form == "tool_result" and self._may_ask_again(turn, watched, end.choice):
            watched.attempts += 1
            request = asked_again(
                watched.request, watched.said, call, not_run(call.name, decided.message)
            )
            ends = tuple(PartEnd(index, where) for where, index in sorted(watched.open))
            watched.anew()
            return Again(request=request, events=ends, why=f"{call.name}: an operator said no")
        watched.stopped.add(end.choice)
        text = decided.message or not_allowed(call.name)
        return self._pass_on_some(watched, words(f"\n\n{text}" if watched.spoke else text, end))

    def _pass_on_some(self, watched: Watched, events: Iterable[Event]) -> tuple[Event, ...]:
        limit = self._rules.max_answer_chars
        return tuple(let_go(watched, one, limit) for one in events)

    def _may_ask_again(self, turn: Turn, watched: Watched, choice: int) -> bool:
        """Whether nothing of this answer is in the way: a call that the client runs already cannot
        be taken back. A whole answer has not reached the client at all."""
        request = watched.request
        if (request.sampling.n or 1) > 1 or choice or not turn.may_ask_again:
            return False
        if watched.attempts >= MOST_ATTEMPTS or watched.said_chars > self._rules.max_answer_chars:
            return False
        return not request.stream or not watched.made.get(choice)


def _is_end(event: Event) -> bool:
    return isinstance(event, PartEnd | Finish | End)


def _ended(watched: Watched, fault: Fault) -> Cut:
    """The answer ends with this error."""
    watched.over = True
    watched.kept.clear()
    return Cut(events=(fault,), why=fault.message)
