"""From a route to the candidates of an exchange: providers, keys and their order.

Order: as written for `|`, by lot for `^`, by policy for named routes; within a provider its keys in
turn. An instance that holds the conversation's signatures or state comes first. Never: sends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, zip_longest

from llmitm.canon.events import Fault
from llmitm.canon.request import Request
from llmitm.canon.values import value
from llmitm.errors import RuleError
from llmitm.exchange.attempts import Candidate
from llmitm.exchange.credentials import Standing
from llmitm.exchange.instances import Instance, Instances
from llmitm.exchange.routing_faults import (
    no_instance,
    no_thinker,
    not_configured,
    race_needs_stream,
    too_long,
)
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Composite, Selector, Target, targets
from llmitm.stages.contract import Turn

_CHARACTERS_PER_TOKEN = 4
CONTEXT_FIELD = "request_context_tokens"
"""Top-level field of a request in which a client may tell its size in tokens."""


@value(kw_only=True)
class Chosen:
    """The candidates in order of trial; race: all of them are asked at once."""

    candidates: tuple[Candidate, ...]
    race: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Chooser:
    """What all choices share. roll: a number from 0 to 1 by lot; eligible: providers that offer a
    model, for selectors that name none."""

    ruleset: Ruleset
    instances: Instances
    roll: Callable[[], float]
    eligible: Callable[[str], Sequence[str]]

    def choose(
        self, turn: Turn, request: Request, body_bytes: int, client: Standing, now_s: float
    ) -> Chosen | Fault:
        """The candidates for this turn's route, or why there are none."""
        pick = _Pick(self, turn, client, now_s)
        route = turn.route
        if route is None:
            own = pick.of_target(None)
            return own if isinstance(own, Fault) else Chosen(candidates=tuple(own))
        if any(one.marks.thinker for one in targets(route)):
            return no_thinker()
        fitting = _fitting(route, size_in_tokens(request, body_bytes))
        if fitting is None:
            return too_long(turn.model)
        try:
            candidates = pick.of(fitting)
        except RuleError as error:
            return not_configured(error)
        if isinstance(candidates, Fault):
            return candidates
        race = isinstance(route, Composite) and route.operator == "!" and len(candidates) > 1
        if race and not request.stream:
            return race_needs_stream()
        held = tuple(self._held_first(turn, request, candidates))
        return Chosen(candidates=held, race=race and len(held) > 1)

    def _held_first(
        self, turn: Turn, request: Request, candidates: Sequence[Candidate]
    ) -> Sequence[Candidate]:
        holder = turn.conversation.holder
        if not holder or len(candidates) < 2:
            return candidates
        held = [one for one in candidates if one.instance.label == holder]
        if not held or request.previous_response_id:
            # Server-side state is nowhere else: another instance could only fail.
            return held or candidates
        return [*held, *(one for one in candidates if one.instance.label != holder)]


@dataclass(frozen=True, slots=True)
class _Pick:
    chooser: Chooser
    turn: Turn
    client: Standing
    now_s: float

    def of(self, route: Selector) -> list[Candidate] | Fault:
        """The candidates of a selector."""
        if isinstance(route, Target):
            return self._with_provider(route)
        branches = [self.of(branch) for branch in self._ordered(route)]
        for branch in branches:
            if isinstance(branch, Fault):
                return branch
        lists = [branch for branch in branches if not isinstance(branch, Fault)]
        if route.operator == "!":
            return [min(one, key=self._rests) for one in lists if one]
        return _by_policy(route.policy, [self._awake_first(one) for one in lists], lists)

    def _ordered(self, route: Composite) -> Sequence[Target | Composite]:
        if route.operator != "^":
            return route.branches
        branches = list(route.branches)
        order: list[Target | Composite] = []
        if not self.turn.conversation.model_turns:
            # The first request of a conversation goes to the branch marked so.
            order = [one for one in branches if isinstance(one, Target) and one.marks.first]
            branches = [one for one in branches if one not in order]
        while branches:
            weights = [one.marks.weight if isinstance(one, Target) else 1.0 for one in branches]
            left = self.chooser.roll() * sum(weights)
            place = 0
            while place < len(branches) - 1 and left >= weights[place]:
                left -= weights[place]
                place += 1
            order.append(branches.pop(place))
        return order

    def _with_provider(self, target: Target) -> list[Candidate] | Fault:
        if target.provider or target.model == self.turn.model:
            return self.of_target(target)
        offering = list(self.chooser.eligible(target.model))
        if not offering:
            return self.of_target(target)
        found: list[Candidate] = []
        for provider in self._preferred(target.model, offering):
            candidates = self.of_target(replace(target, provider=provider))
            if isinstance(candidates, Fault):
                return candidates
            found += candidates
        return found

    def _preferred(self, model: str, offering: list[str]) -> list[str]:
        ruleset = self.chooser.ruleset
        match ruleset.routes.model_preference:
            case "cost":
                return sorted(offering, key=ruleset.cost)
            case "priority":
                return sorted(offering, key=lambda name: -ruleset.priority(name))
            case "round_robin":
                turn = self.chooser.instances.turn(f"model {model}") % len(offering)
                return offering[turn:] + offering[:turn]

    def of_target(self, target: Target | None) -> list[Candidate] | Fault:
        """One provider with each of its keys, the one whose turn it is first."""
        own = self.turn.provider
        provider = (target.provider if target else "") or own
        base_url = target.base_url if target else ""
        model = (target.model if target else "") or self.turn.model
        ruleset = self.chooser.ruleset
        keys = ruleset.keys(provider)
        number = target.instance if target else None
        if number is not None and not 1 <= number <= len(keys):
            return no_instance(provider, number, ruleset)
        if base_url and not (keys and ruleset.key_may_go_to(provider, base_url)):
            instance = Instance(provider, 0, base_url, self.turn.scope)
            return [Candidate(target=target, instance=instance, model=model)]
        if number is not None:
            numbers = [number]
        elif not keys or (provider == own and not base_url and self.client.wants == "own"):
            instance = Instance(provider, 0, "", self.turn.scope)
            return [Candidate(target=target, instance=instance, model=model)]
        else:
            start = self.chooser.instances.turn(provider) % len(keys) if len(keys) > 1 else 0
            numbers = [*range(start + 1, len(keys) + 1), *range(1, start + 1)]
        return [
            Candidate(
                target=target,
                instance=Instance(provider, each, base_url),
                model=model,
                key=keys[each - 1],
            )
            for each in numbers
        ]

    def _awake_first(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """In the order of key numbers, those that rest last: "first key" means the first awake."""
        return sorted(candidates, key=lambda one: (self._rests(one), one.instance.number))

    def _rests(self, one: Candidate) -> bool:
        return self.chooser.instances.ready_in_s(one.instance, one.model, self.now_s) > 0


def _by_policy(
    policy: str, by_number: Sequence[list[Candidate]], in_turn: Sequence[list[Candidate]]
) -> list[Candidate]:
    match policy:
        case "k":
            return by_number[0]
        case "m":
            return [one[0] for one in by_number if one]
        case "km":
            return list(chain.from_iterable(by_number))
        case "mk":
            rounds = chain.from_iterable(zip_longest(*by_number))
            return [one for one in rounds if one is not None]
        case _:
            return list(chain.from_iterable(in_turn))


def _fitting(route: Selector, tokens: int) -> Selector | None:
    """The route without the branches that are too small for the request; None = none is left."""
    if isinstance(route, Target):
        return route if fits(route, tokens) else None
    branches = tuple(one for one in (_fitting(each, tokens) for each in route.branches) if one)
    return replace(route, branches=branches) if branches else None


def fits(target: Target, tokens: int) -> bool:
    """Whether a branch takes a request of this size."""
    limit = target.marks.max_context
    return limit is None or tokens <= limit


def without_told_size(request: Request) -> Request:
    """The request without the client's word on its size, which is for us alone."""
    if CONTEXT_FIELD not in request.extras:
        return request
    extras = {key: each for key, each in request.extras.items() if key != CONTEXT_FIELD}
    return replace(request, extras=extras)


def size_in_tokens(request: Request, body_bytes: int) -> int:
    """The size of the request: as the client tells it, else about four bytes a token."""
    told = request.extras.get(CONTEXT_FIELD)
    if isinstance(told, int) and not isinstance(told, bool) and told >= 0:
        return told
    return body_bytes // _CHARACTERS_PER_TOKEN
