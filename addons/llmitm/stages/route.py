"""Decides where an exchange goes: static route, commands, model aliases, a selector, a named route.

Order: a static route beats everything and is final; else the one-off route, then the model and
backend that commands have set; else the first alias whose pattern matches the model. The result,
like the client's own model, may be a selector (`provider:model?temperature=…`, `A|B`) or a named
route of the conversation or of the rules. A plain model stays with the provider the client sent it
to. Never sends anything.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from llmitm.canon.events import Fault
from llmitm.canon.request import Request
from llmitm.ruleset.named_routes import named_route
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import (
    NO_PARAMS,
    BadSelector,
    Composite,
    Form,
    Selector,
    Target,
    is_plain,
)
from llmitm.stages.contract import FORWARD, Forward, Refuse, Stage, Turn
from llmitm.stages.conversation import NO_SETTINGS

_MOST_SELECTORS = 1024
_LONGEST_SELECTOR = 256
"""So many selectors, none of them longer, are remembered as they were read."""


class Route(Stage):
    """Turns the model a client asked for into a route."""

    name = "route"

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset
        self._known = lru_cache(_MOST_SELECTORS)(ruleset.selector)

    def on_request(self, turn: Turn, request: Request) -> Forward | Refuse:
        """The route, or a refusal that says where the selector is wrong."""
        rules = self._ruleset
        if rules.static_route is not None:
            why = f"static route {label(rules.static_route)}"
            return Forward(route=rules.static_route, final=True, why=why)
        wanted, form, why = self._wanted(turn, request)
        selector = self._selector(turn, wanted, form)
        backend = turn.conversation.settings.backend
        if backend is not None and form == "client":
            why = f"command backend {backend}"
            place = self._ruleset.selector(f"{backend}:model", "strict")
            asked = Target(model=wanted) if selector is None else selector
            selector = _at(asked, place) if isinstance(place, Target) else place
        if isinstance(selector, BadSelector):
            return _refused(f"{why or f'model {wanted}'}: {selector}")
        if selector is None:
            return self._elsewhere(turn, Target(model=wanted) if why else None, why)
        if not why and isinstance(selector, Target) and _is_plain(selector, request):
            return self._elsewhere(turn, None, "")
        return self._elsewhere(turn, selector, why or f"model {wanted}")

    def _wanted(self, turn: Turn, request: Request) -> tuple[str, Form, str]:
        """(what is asked for, how strictly it is read, by whose word; empty = the client's)."""
        said = turn.conversation
        if said.one_off:
            wanted, said.one_off = said.one_off, ""
            turn.memory[self.name] = wanted
            return wanted, "strict", f"one-off {wanted}"
        settings = said.settings
        if settings.model is not None:
            return settings.model, "rule", f"command model {settings.model}"
        replaced = self._ruleset.alias(request.model) if self._ruleset.aliases else None
        if replaced is not None and settings.backend is None:
            return replaced, "rule", f"alias {request.model} -> {replaced}"
        return request.model, "client", ""

    def _selector(self, turn: Turn, wanted: str, form: Form) -> Selector | BadSelector | None:
        """What is asked for, read; None = a plain name."""
        rules = self._ruleset
        made = turn.conversation.routes.get(wanted)
        if made is not None:
            return named_route(made.policy, made.elements, rules.providers)
        if wanted in rules.named_routes:
            return rules.named_routes[wanted]
        if form == "client" and is_plain(wanted):
            return None
        read = self._known if len(wanted) <= _LONGEST_SELECTOR else rules.selector
        return read(wanted, form)

    def _elsewhere(self, turn: Turn, route: Selector | None, why: str) -> Forward:
        """The route with the place that a command has set for calls to OpenAI."""
        url = turn.conversation.settings.openai_url
        if turn.conversation.settings is NO_SETTINGS or url is None:
            return FORWARD if route is None else Forward(route=route, why=why)
        own = route if route is not None else Target(model=turn.model)
        return Forward(route=self._at(own, turn, url), why=f"{why}, openai_url".lstrip(", "))

    def _at(self, route: Selector, turn: Turn, url: str) -> Selector:
        if isinstance(route, Composite):
            branches = tuple(self._at(branch, turn, url) for branch in route.branches)
            return replace(route, branches=branches)
        provider = route.provider or turn.provider
        if not provider.startswith("openai"):
            return route
        return replace(route, provider=provider, base_url=url)

    def on_unreadable(self, turn: Turn, why: str) -> Forward | Refuse:
        """Without a static route it goes where the client sent it; with one it cannot."""
        route = self._ruleset.static_route
        if route is None or route.provider == turn.provider:
            return FORWARD
        return _refused(f"{why}; so it cannot go to {label(route)}", code="unreadable_request")


def label(target: Target) -> str:
    """`provider:model`, or the model alone when it stays with the client's provider."""
    return f"{target.provider}:{target.model}" if target.provider else target.model


def _at(selector: Selector | BadSelector, place: Target) -> Selector | BadSelector:
    """The same models, each at this provider (and with this key of it)."""
    match selector:
        case BadSelector():
            return selector
        case Target():
            return replace(selector, provider=place.provider, instance=place.instance)
        case Composite():
            branches = (_at(branch, place) for branch in selector.branches)
            kept = tuple(one for one in branches if not isinstance(one, BadSelector))
            return replace(selector, branches=kept)


def _is_plain(target: Target, request: Request) -> bool:
    return not target.provider and target.params == NO_PARAMS and target.model == request.model


def _refused(say: str, code: str = "invalid_selector") -> Refuse:
    fault = Fault(
        kind="invalid_request",
        status=400,
        code=code,
        param="model" if code == "invalid_selector" else None,
        message=f"llmitm: {say}",
        details={"code": code, "retryable": False},
    )
    return Refuse(fault=fault, why=say)
