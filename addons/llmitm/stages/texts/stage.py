"""Changes instructions, prompts and tool results on their way out, and replies on their way back.

What is changed stands in `rules/texts.yaml`. A client that replays its history does not know what
was added to it, so every request is changed anew at the same places: the provider sees one text
that only grows. Replies are changed while they stream, with the same result for every way of
cutting them. Never: touches reasoning, tool arguments or what an assistant is said to have said.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from llmitm.canon.events import End, Event, Fault, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.parts import Text
from llmitm.canon.request import Request
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.text_rules import Scope, TextRule
from llmitm.stages.contract import FORWARD, EventEffect, Forward, Stage, Turn
from llmitm.stages.texts.replies import Chain, Spent
from llmitm.stages.texts.requests import edited, opening

NAME = "texts"
_MOST_CONVERSATIONS = 4096


@dataclass(slots=True)
class _Talk:
    """What is known of a conversation whose history the client does not send. opened: for which
    rules its beginning was right; done: `once` rules that have changed something."""

    opened: frozenset[str] = frozenset()
    done: set[str] = field(default_factory=set[str])


@dataclass(slots=True)
class _Reply:
    """One answer on its way. ended: text parts that have ended, whose end waits for what follows;
    once: names to remember for the conversation."""

    rules: tuple[TextRule, ...]
    talk: _Talk | None
    started: str = ""
    spent: dict[int, Spent] = field(default_factory=dict[int, Spent])
    chains: dict[tuple[int, int], Chain] = field(default_factory=dict[tuple[int, int], Chain])
    ended: dict[tuple[int, int], PartEnd] = field(default_factory=dict[tuple[int, int], PartEnd])


class Texts(Stage):
    """The policy `texts`. It stands behind commands, so that nothing of ours is changed."""

    name = NAME
    counts = True

    def __init__(self, ruleset: Ruleset) -> None:
        rules = ruleset.texts
        first = (rules.first,) if rules.first is not None else ()
        self._requests = tuple(rule for rule in rules.rules if rule.where != "reply") + first
        self._replies = tuple(rule for rule in rules.rules if rule.where == "reply")
        self._first = rules.first
        everything = (*self._requests, *self._replies)
        self._openings = tuple(rule for rule in everything if rule.scope.opening is not None)
        self._remembers = bool(self._openings) or any(rule.once for rule in everything)
        self._talks: OrderedDict[str, _Talk] = OrderedDict()

    def on_request(self, turn: Turn, request: Request) -> Forward:
        """The request with its texts changed."""
        if not self._requests and not self._replies:
            return FORWARD
        talk = self._talk(turn)
        goes_on = bool(request.previous_response_id)
        opened = self._opened(request, talk if goes_on else None)
        if talk is not None:
            talk.opened = opened
        if turn.kind == "generate":
            replies = self._fitting(self._replies, turn, opened)
            done = talk.done if talk is not None else frozenset[str]()
            replies = tuple(rule for rule in replies if not (rule.once and rule.name in done))
            if replies:
                turn.memory[NAME] = _Reply(replies, talk)
        rules = self._fitting(self._requests, turn, opened)
        if goes_on:
            # The provider keeps what was said before, and what was added to it.
            done = talk.done if talk is not None else frozenset[str]()
            rules = tuple(
                rule
                for rule in rules
                if rule is not self._first and not (rule.once and rule.name in done)
            )
        after, changed = edited(request, rules)
        if not changed:
            return FORWARD
        if talk is not None and turn.kind == "generate":
            talk.done.update(rule.name for rule in rules if rule.once and rule.name in changed)
        return Forward(request=after, why=f"changed by {', '.join(changed)}")

    def _talk(self, turn: Turn) -> _Talk | None:
        key = turn.conversation.key
        if not self._remembers or not key:
            return None
        talk = self._talks.get(key)
        if talk is None:
            talk = self._talks[key] = _Talk()
            if len(self._talks) > _MOST_CONVERSATIONS:
                self._talks.popitem(last=False)
        else:
            self._talks.move_to_end(key)
        return talk

    def _opened(self, request: Request, known: _Talk | None) -> frozenset[str]:
        """The rules whose `opening` this conversation has."""
        if not self._openings:
            return frozenset()
        told, asked = opening(request)
        found = frozenset(rule.name for rule in self._openings if _begins(rule.scope, told, asked))
        return found | known.opened if known is not None else found

    def _fitting(
        self, rules: tuple[TextRule, ...], turn: Turn, opened: frozenset[str]
    ) -> tuple[TextRule, ...]:
        ids = (turn.client_conversation, turn.conversation.tag)
        return tuple(
            rule
            for rule in rules
            if (rule.scope.opening is None or rule.name in opened)
            and rule.scope.fits(turn.provider, turn.model, turn.client, ids)
        )

    def watches(self, turn: Turn) -> bool:
        """Whether any rule for replies fits this turn."""
        return NAME in turn.memory

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        """The event with its text changed; what may begin a match waits."""
        reply: _Reply = turn.memory[NAME]
        if type(event) is PartDelta:
            return self._delta(reply, event) if event.kind == "text" else (event,)
        match event:
            case PartStart():
                return self._begun(reply, event)
            case PartEnd():
                return self._part_end(reply, event)
            case Finish():
                return (*_flushed(reply, event.choice, last=True), event)
            case End() | Fault():
                choices = {choice for choice, _ in reply.chains}
                last = isinstance(event, End)
                rest = [one for each in sorted(choices) for one in _flushed(reply, each, last=last)]
                return (*rest, event) if rest else (event,)
            case Start():
                if event.id and event.id != reply.started:
                    # Another answer takes the place of what was left of an earlier one.
                    reply.started = event.id
                    reply.chains.clear()
                    reply.ended.clear()
                return (event,)
            case _:
                return (event,)

    def _delta(self, reply: _Reply, event: PartDelta) -> EventEffect:
        text = _chain(reply, event.choice, event.index).feed(event.text)
        if text == event.text:
            return (event,)
        return (replace(event, text=text),) if text else ()

    def _begun(self, reply: _Reply, event: PartStart) -> EventEffect:
        rest = tuple(_ended(reply, event.choice, last=False))
        part = event.part
        if not isinstance(part, Text):
            return (*rest, event) if rest else (event,)
        reply.chains.pop((event.choice, event.index), None)
        chain = _chain(reply, event.choice, event.index)
        text = chain.feed(part.text) if part.text else ""
        if text == part.text:
            return (*rest, event) if rest else (event,)
        begun = replace(event, part=replace(part, text=""))
        return (*rest, begun, *_said(event.choice, event.index, text))

    def _part_end(self, reply: _Reply, event: PartEnd) -> EventEffect:
        chain = reply.chains.get((event.choice, event.index))
        if chain is None:
            return (event,)
        if chain.waits_for_end:
            reply.ended[event.choice, event.index] = event
            return ()
        del reply.chains[event.choice, event.index]
        _remember(reply, event.choice)
        rest = _said(event.choice, event.index, chain.close(last=False))
        return (*rest, event) if rest else (event,)


def _begins(scope: Scope, told: str, asked: str) -> bool:
    wanted = scope.opening
    return wanted is not None and (
        wanted.search(told) is not None or wanted.search(asked) is not None
    )


def _chain(reply: _Reply, choice: int, index: int) -> Chain:
    chain = reply.chains.get((choice, index))
    if chain is None:
        spent = reply.spent.setdefault(choice, Spent())
        chain = reply.chains[choice, index] = Chain(reply.rules, spent)
    return chain


def _said(choice: int, index: int, text: str) -> tuple[PartDelta, ...]:
    return (PartDelta(index, "text", text, choice),) if text else ()


def _ended(reply: _Reply, choice: int, *, last: bool) -> Iterator[Event]:
    """The parts of this choice whose end has waited. last: no more text follows."""
    waiting = [place for place in reply.ended if place[0] == choice]
    for place in waiting:
        chain = reply.chains.pop(place)
        yield from _said(*place, chain.close(last=last and place == waiting[-1]))
        yield reply.ended.pop(place)


def _flushed(reply: _Reply, choice: int, *, last: bool) -> list[Event]:
    """All that still waits in this choice."""
    still_open = [
        place for place in reply.chains if place[0] == choice and place not in reply.ended
    ]
    rest = list(_ended(reply, choice, last=last and not still_open))
    for place in still_open:
        chain = reply.chains.pop(place)
        rest += _said(*place, chain.close(last=last and place == still_open[-1]))
    _remember(reply, choice)
    return rest


def _remember(reply: _Reply, choice: int) -> None:
    """Notes which `once` rules have had their place in this conversation."""
    spent = reply.spent.get(choice)
    if reply.talk is None or spent is None:
        return
    reply.talk.done.update(
        rule.name for rule in reply.rules if rule.once and rule.name in spent.done
    )
