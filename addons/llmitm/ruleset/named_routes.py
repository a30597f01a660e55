"""Failover routes that are asked for like a model: their elements read as selectors.

Used for the routes of `rules/routes.yaml` and for those that commands in a chat make.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from llmitm.ruleset.routes import RoutesFile
from llmitm.ruleset.selectors import BadSelector, Composite, Target, parse_selector


def named_route(
    policy: str, elements: Sequence[str], known: Collection[str]
) -> Composite | BadSelector:
    """The route as `|` with a policy. Each element is one `provider:model`, strictly."""
    branches: list[Target] = []
    for element in elements:
        selector = parse_selector(element, known, "strict")
        if isinstance(selector, BadSelector):
            return BadSelector(selector.at, f"{element!r}: {selector.say}")
        if isinstance(selector, Composite):
            return BadSelector(1, f"{element!r}: must be one provider:model, not a composite")
        branches.append(selector)
    if not branches:
        return BadSelector(1, "the route has no elements")
    return Composite(operator="|", branches=tuple(branches), policy=policy)


def named_routes(
    file: RoutesFile,
    known: Collection[str],
    expand: Callable[[tuple[str | int, ...], str], str | None],
    fail: Callable[[tuple[str | int, ...], str], None],
) -> Mapping[str, Composite]:
    """The routes by name. What is wrong with one goes to `fail` with its place in the file."""
    found: dict[str, Composite] = {}
    for name, row in file.failover_routes.items():
        texts: list[str] = []
        for index, element in enumerate(row.elements):
            path = ("failover_routes", name, "elements", index)
            text = expand(path, element)
            if text is None:
                continue
            one = named_route(row.policy, (text,), known)
            if isinstance(one, BadSelector):
                fail(path, str(one))
            else:
                texts.append(text)
        route = named_route(row.policy, texts, known)
        if isinstance(route, Composite):
            found[name] = route
    return found
