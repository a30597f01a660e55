"""Failover routes of a conversation: made, filled, listed, emptied and deleted by command."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from llmitm.ruleset.selectors import Composite
from llmitm.stages.commands.calls import Command, Desk, Wrong, nearest, one, taken
from llmitm.stages.commands.grammar import Arg
from llmitm.stages.commands.parameters import selector
from llmitm.stages.conversation import NamedRoute, Policy

_NAME = re.compile(r"[^\s:/?|^!\[\]]{1,200}")
_POLICIES: Mapping[str, Policy] = MappingProxyType({"k": "k", "m": "m", "km": "km", "mk": "mk"})
_MOST_ROUTES = 100
_MOST_ELEMENTS = 100


def _create(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    found = taken(args, ("name", "policy"))
    if isinstance(found, Wrong):
        return found
    name, word = found.named.get("name", ""), found.named.get("policy", "").lower()
    if not name or not word:
        return Wrong("both are needed: name=N and policy=k|m|km|mk")
    if not _NAME.fullmatch(name):
        return Wrong(f"{name!r} is no route's name: white space and : / ? | ^ ! [ ] are not for it")
    if name in desk.ruleset.named_routes:
        return Wrong(f"{name} is a route of the rules; choose another name")
    policy = _POLICIES.get(word)
    if policy is None:
        return Wrong(f"unknown policy {word!r}; there is k, m, km, mk")
    held = desk.routes.get(name)
    if held is None and len(desk.routes) >= _MOST_ROUTES:
        return Wrong(f"there are {_MOST_ROUTES} routes already; delete one first")
    desk.routes[name] = NamedRoute(name=name, policy=policy, elements=held.elements if held else ())
    return _state(desk.routes[name], desk.prefix)


def _state(route: NamedRoute, prefix: str) -> str:
    if route.elements:
        return f"Route {route.name} (policy {route.policy}): {', '.join(route.elements)}."
    add = f"{prefix}route-append(name={route.name}, backend:model)"
    return f"Route {route.name} (policy {route.policy}) is empty; fill it with {add}."


def _own(desk: Desk, name: str) -> NamedRoute | Wrong:
    """The conversation's own route of this name."""
    if not name:
        return Wrong("say which route: name=N")
    if name in desk.routes:
        return desk.routes[name]
    if name in desk.ruleset.named_routes:
        return Wrong(f"{name} is a route of the rules and cannot be changed here")
    if not desk.routes:
        return Wrong(f"there is no route {name!r}; {desk.prefix}create-failover-route makes one")
    return Wrong(f"there is no route {name!r}{nearest(name, desk.routes)}")


def _delete(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    name = one(args, ("name",))
    route = name if isinstance(name, Wrong) else _own(desk, name)
    if isinstance(route, Wrong):
        return route
    del desk.routes[route.name]
    return f"Route {route.name} is deleted."


def _list_all(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    found = taken(args, ())
    if isinstance(found, Wrong):
        return found
    rows = [f"{route.name}:{route.policy}" for route in desk.routes.values()]
    rows += [
        f"{name}:{route.policy or 'm'} (rules)" for name, route in desk.ruleset.named_routes.items()
    ]
    return ", ".join(rows) or "There are no failover routes."


def _list(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    name = one(args, ("name",))
    if isinstance(name, Wrong):
        return name
    if name in desk.ruleset.named_routes and name not in desk.routes:
        row = desk.ruleset.routes.failover_routes[name]
        return f"Route {name} of the rules (policy {row.policy}): {', '.join(row.elements)}."
    route = _own(desk, name)
    if isinstance(route, Wrong):
        return route
    return _state(route, desk.prefix)


def _adds(end: Literal["first", "last"]) -> Callable[[Desk, tuple[Arg, ...]], str | Wrong]:
    def run(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
        found = taken(args, ("name", "element"), _MOST_ELEMENTS)
        if isinstance(found, Wrong):
            return found
        route = _own(desk, found.named.get("name", ""))
        if isinstance(route, Wrong):
            return route
        given = tuple(item for item in (found.named.get("element"), *found.words) if item)
        if not given:
            return Wrong("say what to add: backend:model, or element=backend:model")
        for text in given:
            element = selector(desk, text, strict=True)
            if isinstance(element, Wrong):
                return element
            if isinstance(element, Composite):
                return Wrong(f"{text!r} is several models; a route's element is one")
        elements = (*given, *route.elements) if end == "first" else (*route.elements, *given)
        if len(elements) > _MOST_ELEMENTS:
            return Wrong(f"a route has at most {_MOST_ELEMENTS} elements")
        desk.routes[route.name] = NamedRoute(
            name=route.name, policy=route.policy, elements=elements
        )
        return _state(desk.routes[route.name], desk.prefix)

    return run


def _clear(desk: Desk, args: tuple[Arg, ...]) -> str | Wrong:
    name = one(args, ("name",))
    route = name if isinstance(name, Wrong) else _own(desk, name)
    if isinstance(route, Wrong):
        return route
    desk.routes[route.name] = NamedRoute(name=route.name, policy=route.policy)
    return _state(desk.routes[route.name], desk.prefix)


ROUTE_COMMANDS: tuple[Command, ...] = (
    Command(
        name="create-failover-route",
        usage="(name=N, policy=k|m|km|mk)",
        say="Makes a failover route of this chat; ask for it as model N. k: its first element "
        "with every key; m: each element with its first key; km: each with all its keys; "
        "mk: every first key, then every second one.",
        examples=("create-failover-route(name=main, policy=m)",),
        run=_create,
    ),
    Command(
        name="delete-failover-route",
        usage="(name=N)",
        say="Deletes a route.",
        examples=("delete-failover-route(name=main)",),
        run=_delete,
    ),
    Command(
        name="list-failover-routes",
        aliases=("list-failover-route",),
        usage="",
        say="Lists the routes with their policies.",
        examples=("list-failover-routes",),
        run=_list_all,
        tells=True,
    ),
    Command(
        name="route-list",
        usage="(name=N)",
        say="Lists a route's elements.",
        examples=("route-list(name=main)",),
        run=_list,
        tells=True,
    ),
    Command(
        name="route-append",
        usage="(name=N, backend:model, …)",
        say="Adds elements to a route's end.",
        examples=(
            "route-append(name=main, openrouter:gpt-4, openrouter:sonnet-3.5)",
            "route-append(name=main, element=openai:gpt-5)",
        ),
        run=_adds("last"),
    ),
    Command(
        name="route-prepend",
        usage="(name=N, backend:model, …)",
        say="Puts elements before a route's first.",
        examples=("route-prepend(name=main, openai:gpt-5)",),
        run=_adds("first"),
    ),
    Command(
        name="route-clear",
        usage="(name=N)",
        say="Takes all elements out of a route.",
        examples=("route-clear(name=main)",),
        run=_clear,
    ),
)
