"""Who would be asked for this request, in which order, and why? Nothing is sent.

The real chooser, the real attempts and the real lanes decide; here every attempt is taken to fail
as a provider does that is unavailable, so that the next one is seen. Never: shows a key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from llmitm.canon.events import Fault
from llmitm.canon.values import Loss
from llmitm.exchange.attempts import Attempts, Candidate, Wait
from llmitm.exchange.choosing import fits, size_in_tokens
from llmitm.exchange.credentials import Standing, path_without_key
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.failure import Failure
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.wire import CREDENTIAL_HEADERS
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Composite, Selector, Target, targets

_UNAVAILABLE = Failure(kind="status", message="answered 503 Service Unavailable", status=503)

_POLICIES: Mapping[str, str] = MappingProxyType(
    {
        "k": "the first element with each of its keys",
        "m": "each element with its first key",
        "km": "each element with all its keys",
        "mk": "every first key, then every second one",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreseen:
    """One attempt. out: what would be sent, None = it cannot be (`fault` says why); key: the name
    of the variable, or whose key it is; why: one clause each; ttfb_s: how long its first byte may
    take, None = for ever."""

    label: str
    key: str
    why: tuple[str, ...]
    out: Outgoing | None = None
    fault: Fault | None = None
    ttfb_s: float | None = None

    @property
    def url(self) -> str:
        """Where it would be sent, without a key in the query; empty = nowhere."""
        out = self.out
        if out is None:
            return ""
        usual = {"https": 443, "http": 80}.get(out.scheme)
        host = f"[{out.host}]" if ":" in out.host else out.host
        port = "" if out.port == usual else f":{out.port}"
        return f"{out.scheme}://{host}{port}{path_without_key(out.path)}"

    @property
    def losses(self) -> tuple[Loss, ...]:
        """What the request would lose."""
        return self.out.losses if self.out is not None else ()


@dataclass(slots=True, kw_only=True)
class Forecast:
    """What would happen after the stages. attempts: in order, those that cannot be made included;
    left_out: (label, why) of what would not be asked; race: all at once; fault: what the client
    gets when there is nobody to ask; fate: what it gets when all fail."""

    attempts: list[Foreseen] = field(default_factory=list[Foreseen])
    left_out: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    race: bool = False
    fault: Fault | None = None
    fate: str = ""

    @property
    def possible(self) -> list[Foreseen]:
        """The attempts that can be made."""
        return [one for one in self.attempts if one.out is not None]


def foresee(exchange: Exchange) -> Forecast:
    """The forecast for an exchange that was opened and goes on after its stages."""
    house, turn = exchange.house, exchange.turn
    request, body_bytes = exchange.decision.request, len(exchange.incoming.body)
    now_s = house.clock()
    made = Forecast()
    tokens = size_in_tokens(request, body_bytes)
    for target in targets(turn.route) if turn.route is not None else ():
        if not fits(target, tokens):
            limit = target.marks.max_context
            why = f"max_context {limit} is less than the request's {tokens} tokens or so"
            made.left_out.append((_named(target), why))
    chosen = house.chooser.choose(turn, request, body_bytes, exchange.client, now_s)
    if isinstance(chosen, Fault):
        made.fault = chosen
        return made
    made.race = chosen.race
    attempts = Attempts(chosen.candidates, house.instances, now_s)
    exchange.attempts = attempts
    asked = list(chosen.candidates) if chosen.race else _in_turn(exchange, attempts, now_s, made)
    if chosen.race:
        for candidate in asked:
            made.attempts.append(_foreseen(exchange, candidate))
    why = _why_not_asked(exchange)
    made.left_out += [(_label(one), why) for one in chosen.candidates if one not in asked]
    made.left_out += _beyond_policy(turn.route, tokens, chosen.candidates)
    if made.attempts and not made.possible:
        made.fault = made.attempts[-1].fault
    made.fate = _fate(exchange, made)
    return made


def _beyond_policy(
    route: Selector | None, tokens: int, candidates: Sequence[Candidate]
) -> list[tuple[str, str]]:
    """The elements of a named route that its policy never asks."""
    if not isinstance(route, Composite) or not route.policy:
        return []
    why = f"policy {route.policy}: {_POLICIES.get(route.policy, '')}"
    asked = [one.target for one in candidates if one.target is not None]
    return [
        (_named(target), why)
        for target in targets(route)
        if fits(target, tokens) and not any(_same(target, one) for one in asked)
    ]


def _in_turn(
    exchange: Exchange, attempts: Attempts, now_s: float, made: Forecast
) -> list[Candidate]:
    """One after the other, as each of them fails."""
    asked: list[Candidate] = []
    while True:
        candidate = attempts.next(now_s)
        if candidate is None or isinstance(candidate, Wait):
            return asked
        asked.append(candidate)
        one = _foreseen(exchange, candidate)
        made.attempts.append(one)
        if one.fault is not None:
            attempts.skipped(one.fault, now_s)
        elif not exchange.managed:
            return asked
        else:
            attempts.failed(_UNAVAILABLE, None, now_s)


def _foreseen(exchange: Exchange, candidate: Candidate) -> Foreseen:
    built = exchange.send_to(candidate)
    why = tuple(_reasons(exchange, candidate))
    rules = exchange.house.ruleset
    if isinstance(built, Fault):
        key = _key(exchange, candidate, None)
        return Foreseen(label=_label(candidate), key=key, why=why, fault=built)
    ttfb_s = rules.ttfb_timeout_s(built.provider, exchange.wants_stream)
    return Foreseen(
        label=_label(candidate),
        key=_key(exchange, candidate, built),
        why=why,
        out=built,
        ttfb_s=ttfb_s if exchange.may_retry else None,
    )


def _label(candidate: Candidate) -> str:
    return candidate.label.removesuffix(":")


def _named(target: Target) -> str:
    number = f".{target.instance}" if target.instance is not None else ""
    return f"{target.provider}{number}:{target.model}" if target.provider else target.model


def _key(exchange: Exchange, candidate: Candidate, out: Outgoing | None) -> str:
    """Whose key it carries: a variable's name, never its value."""
    number = candidate.instance.number
    held = exchange.house.ruleset.providers.get(candidate.instance.provider)
    if candidate.key is not None and held is not None:
        sources = held.key_set.sources
        source = sources[number - 1] if number <= len(sources) else ""
        return source if source not in ("", "rules") else f"keys of providers.yaml, number {number}"
    if out is None:
        return "none"
    if out.headers is None:
        return "the client's own"
    proofs = {name.lower() for name, _ in out.headers} & CREDENTIAL_HEADERS
    return "the client's own" if proofs else "none"


def _reasons(exchange: Exchange, candidate: Candidate) -> list[str]:
    turn, rules = exchange.turn, exchange.house.ruleset
    provider = candidate.instance.provider
    said: list[str] = []
    route, target = turn.route, candidate.target
    if route is None or target is None:
        said.append("where the client sent it; no rule routes it elsewhere")
    else:
        tokens = size_in_tokens(exchange.decision.request, len(exchange.incoming.body))
        if isinstance(route, Target):
            said.append("the only target of its route")
        said += _places(route, target, bool(turn.conversation.model_turns), tokens)
        if target.marks.max_context is not None:
            said.append(f"fits max_context {target.marks.max_context}")
        written = _written(route, target)
        if not written.provider and written.model != turn.model:
            offers = exchange.house.chooser.eligible(written.model)
            said.append(
                f"{provider} offers {written.model}; model_preference "
                f"{rules.routes.model_preference} among {', '.join(offers)}"
                if provider in offers
                else f"nobody is known to offer {written.model}: the client's own provider"
            )
        elif not written.provider:
            said.append("stays with the provider that the client called")
        if candidate.instance.base_url:
            said.append("at the place that a command has set")
    said += _key_reasons(candidate, exchange.client, turn.provider, rules)
    if turn.conversation.holder == candidate.instance.label:
        said.append("it holds this conversation's signatures or state")
    return said


def _key_reasons(candidate: Candidate, client: Standing, own: str, rules: Ruleset) -> list[str]:
    provider, number = candidate.instance.provider, candidate.instance.number
    said: list[str] = []
    if candidate.key is None:
        return said
    if provider == own:
        if client.client_key:
            said.append("a stored key, as the client showed a client key")
        elif rules.use_keys(provider) == "always":
            said.append("a stored key, as use_keys is always")
        elif client.wants == "stored":
            said.append("a stored key, as the client's own is none")
    count = len(rules.keys(provider))
    if candidate.target is not None and candidate.target.instance is not None:
        said.append(f"key {number} was asked for")
    elif count > 1:
        said.append(f"key {number} of {count}")
    return said


def _places(route: Selector, target: Target, begun: bool, tokens: int) -> list[str]:
    """Where the target stands in the route, from the outside in."""
    if isinstance(route, Target):
        return []
    for place, branch in enumerate(route.branches, 1):
        if _find(branch, target) is None:
            continue
        count = len(route.branches)
        if route.policy:
            meaning = _POLICIES.get(route.policy, "")
            said = f"element {place} of {count}, policy {route.policy}: {meaning}"
        elif route.operator == "|":
            said = f"branch {place} of {count}, one after the other"
        elif route.operator == "!":
            said = f"branch {place} of {count}, all at once; the first content wins"
        else:
            said = f"branch {place} of {count}, {_chance(route, branch, begun, tokens)}"
        return [said, *_places(branch, target, begun, tokens)]
    return []


def _chance(route: Composite, branch: Selector, begun: bool, tokens: int) -> str:
    """How likely a branch of `^` comes first."""
    if _opens(branch) and not begun:
        return "first: it opens the conversation"
    rivals = [
        each
        for each in route.branches
        if any(fits(one, tokens) for one in targets(each)) and (begun or not _opens(each))
    ]
    share = _weight(branch) / sum(_weight(each) for each in rivals)
    by_lot = f"weight {_weight(branch):g}: {share:.0%} by lot"
    return by_lot if share == 1 else f"{by_lot}, here in the written order"


def _opens(branch: Selector) -> bool:
    return isinstance(branch, Target) and branch.marks.first


def _weight(branch: Selector) -> float:
    return branch.marks.weight if isinstance(branch, Target) else 1.0


def _find(route: Selector, target: Target) -> Target | None:
    return next((one for one in targets(route) if _same(one, target)), None)


def _same(written: Target, target: Target) -> bool:
    """Whether the target is this one, perhaps with the provider that was found for it."""
    if written == target:
        return True
    other = (written.model, written.instance, written.params, written.marks, written.base_url)
    mine = (target.model, target.instance, target.params, target.marks, target.base_url)
    return not written.provider and other == mine


def _written(route: Selector, target: Target) -> Target:
    return _find(route, target) or target


def _why_not_asked(exchange: Exchange) -> str:
    failover = exchange.house.ruleset.routes.failover
    if not exchange.managed:
        return "the client's own call is tried once"
    if not failover.enabled:
        return "failover is off: the first failure is the answer"
    return f"max_failover_hops {failover.max_failover_hops}: no more attempts after the first"


def _fate(exchange: Exchange, made: Forecast) -> str:
    """What the client gets when every attempt fails."""
    protocol, possible = exchange.turn.protocol, made.possible
    if not possible:
        return "nothing is sent; the client gets this error"
    if not exchange.managed:
        return "the client gets the provider's own error; nobody else is asked"
    if made.race:
        return f"the client gets the last error in {protocol}, with all attempts in its details"
    if len(made.attempts) == 1 and possible[0].out and possible[0].out.lane != "translate":
        return "the client gets the provider's own error as it is"
    return f"the client gets the last error in {protocol}, with every attempt in details.attempts"
