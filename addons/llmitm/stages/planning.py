"""Is the conversation still at its beginning? Then the strong model of the rules answers.

The phase ends with so many answers or so many tool calls that write files, whichever comes first:
`rules/rewrites.yaml`, section `planning`. Then everything goes where it would have gone; nothing
has to be restored. Never: counts (that is the conversation's), changes what is asked.
"""

from __future__ import annotations

from dataclasses import replace

from llmitm.canon.request import Request
from llmitm.ruleset.rewrites import OverridesRow
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import BadSelector, Composite, Params, Selector, Target, targets
from llmitm.stages.contract import FORWARD, Forward, Stage, Turn


class Planning(Stage):
    """Sends early turns to the strong model, with what the rules ask of it."""

    name = "planning"

    def __init__(self, ruleset: Ruleset) -> None:
        self._rules = ruleset.rewrites.planning
        model = self._rules.strong_model if self._rules.enabled else None
        found = None if model is None else ruleset.selector(model, "rule")
        # A wrong one stopped the start; rules made by hand leave the stage off.
        self._route = (
            None
            if found is None or isinstance(found, BadSelector)
            else _asked_more(found, self._rules.overrides)
        )

    def on_request(self, turn: Turn, request: Request) -> Forward:
        """On to the strong model, or as it was."""
        if self._route is None:
            return FORWARD
        talk = turn.conversation
        if not self._rules.lasts(talk.model_turns, talk.file_writes):
            return FORWARD
        if _is_there(turn, request, self._route):
            return FORWARD
        why = f"planning, turn {talk.model_turns + 1} of {self._rules.max_turns}"
        return Forward(route=self._route, why=why)


def _asked_more(route: Selector, overrides: OverridesRow) -> Selector:
    """The selector with the overrides as the parameters of all its targets."""
    if isinstance(route, Composite):
        branches = tuple(_asked_more(branch, overrides) for branch in route.branches)
        return replace(route, branches=branches)
    return replace(route, params=_overridden(route.params, overrides))


def _overridden(params: Params, overrides: OverridesRow) -> Params:
    # An effort and a budget are one matter: what is overridden takes the other's place.
    if overrides.reasoning_effort is not None or overrides.thinking_budget is not None:
        params = replace(
            params,
            reasoning_effort=overrides.reasoning_effort,
            thinking_budget=overrides.thinking_budget,
        )
    if overrides.temperature is not None:
        params = replace(params, temperature=overrides.temperature)
    return params if overrides.top_p is None else replace(params, top_p=overrides.top_p)


def _is_there(turn: Turn, request: Request, strong: Selector) -> bool:
    """Whether it goes to the strong model anyway."""
    now = [Target(model=request.model)] if turn.route is None else [*targets(turn.route)]
    wanted = [*targets(strong)]
    return all(any(_same(one, other, turn.provider) for other in wanted) for one in now)


def _same(now: Target, strong: Target, own: str) -> bool:
    provider = now.provider or own
    return (
        now.model.lower() == strong.model.lower()
        and strong.provider in ("", provider)
        and strong.instance in (None, now.instance)
        and not now.base_url
    )
