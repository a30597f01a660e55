"""Decides where an exchange goes: static route, model aliases, or a selector in the model field.

Order: a static route beats everything; else the first alias whose pattern matches the model is
applied; the result, like the client's own model, may be a selector (`provider:model?temperature=…`,
`A|B`). A plain model stays with the provider the client sent it to. Never sends anything.
"""

from __future__ import annotations

from llmitm.canon.events import Fault
from llmitm.canon.request import Request
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import (
    NO_PARAMS,
    BadSelector,
    Composite,
    Selector,
    Target,
    is_plain,
    targets,
)
from llmitm.stages.contract import FORWARD, Forward, Refuse, Stage, Turn


class Route(Stage):
    """Turns the model a client asked for into targets, in order of trial."""

    name = "route"

    def __init__(self, ruleset: Ruleset) -> None:
        self._ruleset = ruleset

    def on_request(self, turn: Turn, request: Request) -> Forward | Refuse:
        """The targets, or a refusal that says where the selector is wrong."""
        rules = self._ruleset
        if rules.static_route is not None:
            return _to(rules.static_route, f"static route {label(rules.static_route)}")
        replaced = rules.alias(request.model) if rules.aliases else None
        if replaced is None and is_plain(request.model):
            return FORWARD
        if replaced is not None:
            why = f"alias {request.model} -> {replaced}"
            selector = rules.selector(replaced, "rule")
        else:
            why = f"model {request.model}"
            selector = rules.selector(request.model, "client")
        if isinstance(selector, BadSelector):
            return _refused(f"{why}: {selector}")
        if replaced is None and isinstance(selector, Target) and _is_plain(selector, request):
            return FORWARD
        return _to(selector, why)

    def on_unreadable(self, turn: Turn, why: str) -> Forward | Refuse:
        """Without a static route it goes where the client sent it; with one it cannot."""
        route = self._ruleset.static_route
        if route is None or route.provider == turn.provider:
            return FORWARD
        return _refused(f"{why}; so it cannot go to {label(route)}", code="unreadable_request")


def label(target: Target) -> str:
    """`provider:model`, or the model alone when it stays with the client's provider."""
    return f"{target.provider}:{target.model}" if target.provider else target.model


def _is_plain(target: Target, request: Request) -> bool:
    return not target.provider and target.params == NO_PARAMS and target.model == request.model


def _to(selector: Selector, why: str) -> Forward | Refuse:
    if isinstance(selector, Composite) and selector.operator != "|":
        return _refused(f"{why}: only `|` (one after the other) can be routed, not ^ or !")
    return Forward(targets=tuple(targets(selector)), why=why)


def _refused(say: str, code: str = "invalid_selector") -> Refuse:
    fault = Fault(
        kind="invalid_request",
        status=400,
        code=code,
        param="model" if code == "invalid_selector" else None,
        message=f"llmitm: {say}",
    )
    return Refuse(fault=fault, why=say)
