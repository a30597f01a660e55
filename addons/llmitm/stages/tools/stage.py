"""Keeps tools from a model that may not use them, and stops calls that should not be run.

Tools that no policy allows are taken out of the request. In the answer a call that some rule is for
is kept back until it is complete. One that nothing is said against goes on as it came. Otherwise
the rule's effect happens: the model is asked again with a note (`steer`; the client sees only what
it says then), the call becomes one that prints why (`replace`), a text takes its place (`block`),
an operator is asked about it (`hold`), or it goes on and is noted (`allow`). Text that was streamed
before the call stays. Once another call of the same answer has reached the client, the model is not
asked again: that one is blocked.
Rules: `rules/tools.yaml`. Never: runs anything, or keeps a text that steers.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from typing import cast

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
from llmitm.canon.request import Request
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.tool_policies import PolicyRow
from llmitm.stages.asked import asked_of
from llmitm.stages.contract import (
    FORWARD,
    Account,
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
    words,
)
from llmitm.stages.provider_calls import Calls, place_of, replaced, start_of
from llmitm.stages.tools.offers import offered, policy_for
from llmitm.stages.tools.projects import project_dir
from llmitm.stages.tools.replacing import printing
from llmitm.stages.tools.rulings import Ruling, Rulings
from llmitm.stages.tools.steering import MOST_ATTEMPTS, ended, note, told
from llmitm.stages.tools.watched import (
    DANGEROUS,
    Watched,
    blocked,
    finish,
    hold,
    instead,
    outcome,
    passed,
    placed,
)

NAME = "tools"
MOST_CONVERSATIONS = 1024
_TOOLS_ELSEWHERE = ("cachedContent", "prompt")
"""Top-level keys of a request by which tools come that it does not list."""


class Tools(Stage):
    """The policy `tools`. It stands behind the commands, and before whatever puts secrets back into
    an answer: what it sends to the model again comes from the answer as the provider gave it.

    resolve: a path -> its real path, None = the clients' files are not on this machine.
    """

    name = NAME

    def __init__(self, ruleset: Ruleset, resolve: Callable[[str], str] | None = None) -> None:
        self._rules = ruleset.tools
        self._rulings = Rulings(ruleset.tools, resolve)
        self._calls = Calls(ruleset.tools.provider_calls)
        self._project_patterns = ruleset.clients.project_dir
        self._projects: OrderedDict[str, str] = OrderedDict()

    def on_request(self, turn: Turn, request: Request) -> Forward:
        """The request without the tools that may not be used."""
        if not self._rulings.any:
            return FORWARD
        policy = policy_for(self._rules.policies, *asked_of(turn), turn.client)
        left, gone = (request, ()) if policy is None else offered(request, policy.allows)
        turn.memory[NAME] = Watched(left, policy)
        if policy is None or not gone:
            return FORWARD
        why = f"policy {policy.name}: without {', '.join(gone)}"
        return Forward(request=left, comment=f"tools: {why}", why=why)

    def watches(self, turn: Turn) -> bool:
        """Whether the answer may hold a call that some rule is for."""
        watched = turn.memory.get(NAME)
        if not isinstance(watched, Watched):
            return False
        watched.anew()
        decided_calls(turn).clear()
        if turn.request is not None and not watched.attempts:
            # Each time it is asked again from here, so that the notes do not add up.
            watched.request = turn.request
        request = watched.request
        if any(key in request.extras for key in _TOOLS_ELSEWHERE):
            return True
        policy = watched.policy
        if policy is not None and _stops_something(policy):
            return bool(request.tools)
        return any(self._cares(watched, tool.name) for tool in request.tools)

    def _cares(self, watched: Watched, name: str) -> bool:
        known = watched.cares.get(name)
        if known is None:
            known = watched.cares[name] = self._rulings.cares(name, watched.policy)
        return known

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        """The event; nothing while a call is kept back; what is left of it when it is judged."""
        watched: Watched = turn.memory[NAME]
        match event:
            case PartDelta() | PartDetail():
                held = watched.held.get((event.choice, event.index)) if watched.held else None
                if held is not None:
                    held.append(event)
                    return ()
                watched.said.append(event)
                if isinstance(event, PartDelta) and event.kind == "text" and event.text:
                    return (placed(watched, event),)
            case PartStart():
                return self._begin(watched, event)
            case PartEnd():
                held = watched.held.get((event.choice, event.index)) if watched.held else None
                if held is not None:
                    held.append(event)
                    return self._released(turn, watched, event.choice)
                watched.open.pop((event.choice, event.index), None)
                watched.said.append(event)
            case Finish() | End() | Fault():
                return self._end(turn, watched, event)
            case Start():
                if is_another(watched.start, event):
                    watched.anew()
                    decided_calls(turn).clear()
                watched.start = watched.start if watched.start.id else event
            case Opaque():
                return self._announced(watched, event)
            case _:
                pass
        return (event,)

    def _announced(self, watched: Watched, event: Opaque) -> EventEffect:
        """The event, kept back where it tells of a call that is not complete."""
        held = watched.announced.get(place_of(event)) if watched.announced else None
        if held is None:
            name, place = self._calls.announced(event)
            if not name or place is None or not self._cares(watched, name):
                return (event,)
            held = watched.announced[place] = []
        held.append(event)
        return ()

    def _begin(self, watched: Watched, event: PartStart) -> EventEffect:
        part = event.part
        key = (event.choice, event.index)
        call = self._calls.of(part)
        if call is not None and self._keeps(watched, event.choice, call.name):
            before = watched.announced.pop(part.at[-1], []) if part.at else []
            watched.held[key] = [*before, event]
            return ()
        watched.said.append(event)
        watched.open[key] = None
        if call is not None:
            watched.calls[event.choice] = watched.calls.get(event.choice, 0) + 1
        if isinstance(part, Text) and part.text:
            return (placed(watched, event),)
        return (event,)

    def _keeps(self, watched: Watched, choice: int, name: str) -> bool:
        """Whether the call is kept back: for itself, or behind one that is, to come in order."""
        if not name or self._cares(watched, name):
            return True
        return any(where == choice for where, _ in watched.held)

    def _end(self, turn: Turn, watched: Watched, event: Finish | End | Fault) -> EventEffect:
        """The event, after what was still kept back; without a call left there is none to answer.

        A call that broke off is judged by what came of it; after a fault it is worth nothing.
        """
        if isinstance(event, Fault):
            watched.held.clear()
            watched.announced.clear()
            return (event,)
        watched.closing = event
        return self._closed(turn, watched, event)

    def _closed(self, turn: Turn, watched: Watched, event: Finish | End) -> EventEffect:
        out: list[Event] = []
        kept = dict.fromkeys(choice for choice, _ in watched.held)
        for choice in kept if isinstance(event, End) else (event.choice,):
            effect = self._released(turn, watched, choice, over=True)
            if isinstance(effect, Again | Cut | Waits):
                return replace(effect, events=(*out, *effect.events))
            out += effect
        watched.closing = None
        if isinstance(event, Finish) and event.choice in watched.stopped:
            event = finish(watched, event)
        return (*out, event)

    def _released(
        self, turn: Turn, watched: Watched, choice: int, *, over: bool = False
    ) -> EventEffect:
        """What is made of the calls that were kept back, in order, as far as they are complete.

        over: what is not complete will never be.
        """
        sent = watched.calls.get(choice, 0)
        out: list[Event] = []
        for key in [key for key in watched.held if key[0] == choice]:
            held = watched.held[key]
            if not isinstance(held[-1], PartEnd):
                if not over:
                    break
                held.append(PartEnd(key[1], choice))
            del watched.held[key]
            effect = self._judge(turn, watched, held, sent)
            if isinstance(effect, Again):
                # What was made of the calls before has not reached the client.
                return effect
            if isinstance(effect, Cut | Waits):
                return replace(effect, events=(*out, *effect.events))
            out += effect
        return tuple(out)

    def _judge(self, turn: Turn, watched: Watched, held: Sequence[Event], sent: int) -> EventEffect:
        """What is made of one call. sent: how many of its choice have reached the client."""
        call, end = self._calls.whole(held), cast("PartEnd", held[-1])
        ruling = None
        if self._cares(watched, call.name):
            ruling = self._rulings.of(
                call,
                watched.policy,
                lambda: self._project(turn),
                turn.conversation.key or turn.scope.hex(),
                turn.started_s,
            )
        if ruling is not None:
            watched.noted.append(f"{call.name} {ruling.effect} ({ruling.rule})")
        if ruling is None or ruling.effect == "allow":
            if ruling is not None and ruling.danger:
                turn.verdicts.add(DANGEROUS)
            return passed(watched, tuple(held))
        if ruling.effect == "replace":
            arguments = printing(call, told(call.name, ruling), self._rules)
            if arguments is not None:
                return passed(watched, replaced(held, arguments))
        elif ruling.effect == "steer" and self._may_ask_again(turn, watched, end.choice, sent):
            return self._steer(turn, watched, call, ruling, end)
        elif ruling.effect == "hold":
            watched.asking = (tuple(held), call, ruling)
            return Waits(hold=hold(call, ruling), why=f"{call.name}: {ruling.rule}")
        return blocked(watched, told(call.name, ruling), end)

    def on_decided(self, turn: Turn, decided: Decided) -> EventEffect:
        """What the operator has decided about the call, and what was kept back behind it."""
        watched: Watched = turn.memory[NAME]
        assert watched.asking is not None
        (held, call, ruling), watched.asking = watched.asking, None
        end = cast("PartEnd", held[-1])
        decided_calls(turn).add((end.choice, end.index))
        effect = self._call_decided(turn, watched, held, decided)
        if isinstance(effect, Again | Cut | Waits):
            return effect
        watched.noted.append(f"{call.name} {outcome(decided)} by an operator ({ruling.rule})")
        closing = watched.closing
        if closing is not None:
            after = self._closed(turn, watched, closing)
        else:
            after = self._released(turn, watched, end.choice)
        if isinstance(after, Again):
            # Only of a whole answer, none of which has reached the client.
            return after
        if isinstance(after, Cut | Waits):
            return replace(after, events=(*effect, *after.events))
        return (*effect, *after)

    def _call_decided(
        self, turn: Turn, watched: Watched, held: Sequence[Event], decided: Decided
    ) -> EventEffect:
        end, call = cast("PartEnd", held[-1]), self._calls.whole(held)
        if isinstance(decided, Forward):
            return passed(watched, tuple(held))
        if isinstance(decided, Answer):
            parts = parts_of(decided.response, end.choice)
            first = parts[0] if len(parts) == 1 else None
            if isinstance(first, ToolCall) and isinstance(start_of(held).part, Unknown):
                return passed(watched, replaced(held, first.arguments))
            held = held[held.index(start_of(held)) :]
            fresh = count(FRESH_INDEX + (end.index << 8))
            return instead(watched, in_place(held, parts, fresh), end.choice)
        if not isinstance(decided, Denied) or decided.form == "error":
            fault = rejection(decided, f"an operator has rejected {call.name}")
            return Cut(events=(fault,), why=fault.message)
        sent = watched.calls.get(end.choice, 0)
        again = decided.form == "tool_result" and watched.attempts < MOST_ATTEMPTS
        if again and self._may_ask_again(turn, watched, end.choice, sent):
            said = not_run(call.name, decided.message)
            return self._ask_again(watched, call, said, f"{call.name}: an operator said no")
        text = decided.message or not_allowed(call.name)
        return blocked(watched, text, end)

    def _may_ask_again(self, turn: Turn, watched: Watched, choice: int, sent: int) -> bool:
        """Whether nothing of this answer is in the way: a call that the client runs already cannot
        be taken back. A whole answer has not reached the client at all."""
        request = watched.request
        if (request.sampling.n or 1) > 1 or choice or not turn.may_ask_again:
            return False
        if watched.attempts >= MOST_ATTEMPTS:
            # Then the turn ends, and no call may be left without its result.
            return not watched.calls.get(choice)
        return not request.stream or not sent

    def _steer(
        self, turn: Turn, watched: Watched, call: ToolCall, ruling: Ruling, end: PartEnd
    ) -> EventEffect:
        """The model is asked again; after three times a text ends its turn."""
        why = f"{call.name}: {ruling.rule}"
        if watched.attempts >= MOST_ATTEMPTS:
            choice = end.choice
            last = words(ended(call.name, ruling), end)
            ends = [PartEnd(index, where) for where, index in sorted(watched.open)]
            return Cut(events=(*ends, *last, Finish("stop", choice=choice)), why=why)
        said = note(call.name, ruling, watched.attempts + 1)
        return self._ask_again(watched, call, said, why)

    def _ask_again(self, watched: Watched, call: ToolCall, said: str, why: str) -> Again:
        watched.attempts += 1
        asked = asked_again(watched.request, watched.said, call, said)
        ends = tuple(PartEnd(index, where) for where, index in sorted(watched.open))
        watched.apart = watched.spoke and watched.request.stream
        watched.anew()
        return Again(request=asked, events=ends, why=why)

    def _project(self, turn: Turn) -> str | None:
        """The project folder, remembered: a request that goes on from an answer may not tell it."""
        watched: Watched = turn.memory[NAME]
        found = project_dir(turn, watched.request, self._project_patterns(turn.client))
        key = turn.conversation.key
        if not key:
            return found
        if found is None:
            return self._projects.get(key)
        self._projects[key] = found
        self._projects.move_to_end(key)
        if len(self._projects) > MOST_CONVERSATIONS:
            self._projects.popitem(last=False)
        return found

    def on_close(self, turn: Turn, account: Account) -> str | None:
        """What was done with calls."""
        watched = turn.memory.get(NAME)
        if not isinstance(watched, Watched) or not watched.noted:
            return None
        return f"tools: {'; '.join(watched.noted)}"


def _stops_something(policy: PolicyRow) -> bool:
    return policy.default_policy == "deny" or bool(policy.blocked_patterns)
