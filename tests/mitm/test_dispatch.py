"""The cheaper chain of addons and the cheaper check of messages: the same as mitmproxy's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from mitmproxy import exceptions, hooks, http, options
from mitmproxy.addonmanager import AddonManager
from mitmproxy.proxy.layers.http._hooks import HttpRequestHook
from mitmproxy.test import tflow
from mitmproxy.tools.dump import DumpMaster

from llmitm.mitm.dispatch import QuickAddons, quick_check, quicken

STOCK_CHECK = http.MessageData.__post_init__


class Named:
    """An addon of somebody else's."""

    def __init__(self, name: str, told: list[str]) -> None:
        self.name = name
        self.told = told

    def request(self, flow: http.HTTPFlow) -> None:
        self.told.append(self.name)


class Known(Named):
    """One that counts as ours: its hooks stay as they are."""


Known.__module__ = "llmitm.of_a_test"


class Without:
    """One of ours without the hook."""

    name = "without"


Without.__module__ = "llmitm.of_a_test"


class Fails(Known):
    def request(self, flow: http.HTTPFlow) -> None:
        super().request(flow)
        raise RuntimeError("on purpose")


class Halts(Known):
    def request(self, flow: http.HTTPFlow) -> None:
        super().request(flow)
        raise exceptions.AddonHalt


class Refuses(Known):
    def request(self, flow: http.HTTPFlow) -> None:
        super().request(flow)
        raise exceptions.OptionsError("on purpose")


class Waits(Known):
    async def request(self, flow: http.HTTPFlow) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.told.append(self.name)


class Updated(Known):
    def update(self, flows: list[http.HTTPFlow]) -> None:
        self.told.append(f"{self.name} updated {len(flows)}")


class Holder:
    """As mitmproxy's loader of scripts: what it holds changes while it runs."""

    name = "holder"

    def __init__(self, *addons: Any) -> None:
        self.addons = list(addons)


Holder.__module__ = "llmitm.of_a_test"


class OddHook:
    """A hook that cannot be called."""

    name = "odd"
    request = 1

    def __repr__(self) -> str:
        return "odd"


OddHook.__module__ = "llmitm.of_a_test"


def module_with_a_module_as_hook(told: list[str]) -> ModuleType:
    made = ModuleType("of_a_user")
    vars(made).update(name="of_a_user", request=ModuleType("request"), told=told)
    return made


type Chain = Callable[[list[str]], list[Any]]
CHAINS: dict[str, Chain] = {
    "in order": lambda told: [Named("a", told), Known("b", told), Without(), Known("c", told)],
    "one fails": lambda told: [Fails("a", told), Known("b", told), Fails("c", told)],
    "one halts": lambda told: [Known("a", told), Halts("b", told), Known("c", told)],
    "one waits": lambda told: [Waits("a", told), Known("b", told), Waits("c", told)],
    "update": lambda told: [Updated("a", told), Known("b", told), Updated("c", told)],
    "held": lambda told: [Known("a", told), Holder(Known("b", told), Holder(Named("c", told)))],
    "held, one fails": lambda told: [Holder(Fails("a", told), Known("b", told)), Known("c", told)],
    "nothing held": lambda told: [Holder(), Known("b", told), Holder(Holder())],
    "odd": lambda told: [OddHook(), Known("b", told), module_with_a_module_as_hook(told)],
    "a refusal": lambda told: [Known("a", told), Refuses("b", told), Known("c", told)],
}


def manager_with(addons: list[Any], *, quick: bool) -> AddonManager:
    made = AddonManager(SimpleNamespace(options=options.Options()))
    made.chain = addons
    if quick:
        quicken(made)
        assert isinstance(made, QuickAddons)
    return made


def ran(chain: Chain, caplog: pytest.LogCaptureFixture, *, quick: bool) -> list[str]:
    """What was called, what was logged and raised."""
    told: list[str] = []
    caplog.clear()
    manager = manager_with(chain(told), quick=quick)
    try:
        asyncio.run(manager.handle_lifecycle(HttpRequestHook(tflow.tflow())))
    except exceptions.OptionsError as error:
        told.append(f"raised {error}")
    return told + [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("name", CHAINS)
def test_hooks_are_called_as_mitmproxy_calls_them(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    stock = ran(CHAINS[name], caplog, quick=False)
    assert stock
    assert ran(CHAINS[name], caplog, quick=True) == stock


@pytest.mark.parametrize("name", ["in order", "one fails", "one halts", "held", "odd"])
def test_hooks_without_a_wait_too(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)

    def triggered(*, quick: bool) -> list[str]:
        told: list[str] = []
        caplog.clear()
        manager = manager_with(CHAINS[name](told), quick=quick)
        manager.trigger(HttpRequestHook(tflow.tflow()))
        return told + [record.getMessage() for record in caplog.records]

    stock = triggered(quick=False)
    assert stock
    assert triggered(quick=True) == stock


def test_an_addon_that_comes_or_goes_later_is_seen() -> None:
    told: list[str] = []
    holder = Holder()
    first, second = Known("first", told), Known("second", told)
    manager = manager_with([first, holder], quick=True)
    hook = HttpRequestHook(tflow.tflow())
    manager.trigger(hook)
    manager.chain.append(second)
    holder.addons.append(Named("held", told))
    manager.trigger(hook)
    manager.chain.remove(first)
    manager.trigger(hook)
    assert told == ["first", "first", "held", "second", "held", "second"]


def test_a_hook_that_an_addon_of_a_user_gets_later_is_called() -> None:
    told: list[str] = []
    addon = SimpleNamespace(name="of_a_user")
    manager = manager_with([addon], quick=True)
    hook = HttpRequestHook(tflow.tflow())
    manager.trigger(hook)
    addon.request = lambda _flow: told.append("called")
    manager.trigger(hook)
    assert told == ["called"]


def test_every_hook_of_every_stock_addon_is_called() -> None:
    async def make() -> DumpMaster:
        return DumpMaster(options.Options(), with_termlog=False)

    manager = asyncio.run(make()).addons
    quicken(manager)
    assert isinstance(manager, QuickAddons)
    for name in hooks.all_hooks:
        having = [addon for addon in manager.chain if hasattr(addon, name)]
        asked = [taker.addon for taker in manager.takers_of(name)]
        assert [addon for addon in asked if hasattr(addon, name)] == having


def test_a_chain_of_another_kind_stays() -> None:
    class Other(AddonManager):
        pass

    made = Other(SimpleNamespace(options=options.Options()))
    quicken(made)
    assert type(made) is Other


@pytest.fixture
def both_checks() -> Iterator[Callable[[Callable[[], object]], list[str]]]:
    def check(make: Callable[[], object]) -> list[str]:
        outcomes: list[str] = []
        for each in (STOCK_CHECK, quick_check):
            http.MessageData.__post_init__ = each
            try:
                make()
                outcomes.append("fine")
            except TypeError as error:
                outcomes.append(str(error))
        return outcomes

    yield check
    http.MessageData.__post_init__ = STOCK_CHECK


class Text(str):
    """A string of a kind of its own."""


FIELDS: dict[str, Any] = {
    "http_version": b"HTTP/1.1",
    "headers": http.Headers(),
    "content": b"",
    "trailers": None,
    "timestamp_start": 1.0,
    "timestamp_end": None,
}
REQUEST: dict[str, Any] = {
    **FIELDS,
    "host": "a.example",
    "port": 443,
    "method": b"GET",
    "scheme": b"https",
    "authority": b"",
    "path": b"/",
}
RESPONSE: dict[str, Any] = {**FIELDS, "status_code": 200, "reason": b"OK"}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (http.RequestData, {}),
        (http.RequestData, {"host": Text("a.example")}),
        (http.RequestData, {"content": None, "trailers": http.Headers(), "timestamp_end": 2.0}),
        (http.RequestData, {"timestamp_start": 1, "timestamp_end": 2}),
        (http.RequestData, {"port": True}),
        (http.RequestData, {"port": "443"}),
        (http.RequestData, {"host": b"a.example"}),
        (http.RequestData, {"path": None}),
        (http.RequestData, {"content": "text"}),
        (http.ResponseData, {}),
        (http.ResponseData, {"status_code": "200"}),
        (http.ResponseData, {"headers": [(b"a", b"b")]}),
        (http.ResponseData, {"trailers": {}}),
        (http.ResponseData, {"timestamp_end": "now"}),
    ],
)
def test_messages_are_checked_as_mitmproxy_checks_them(
    both_checks: Callable[[Callable[[], object]], list[str]],
    kind: Callable[..., object],
    change: dict[str, Any],
) -> None:
    fields = (REQUEST if kind is http.RequestData else RESPONSE) | change
    stock, quick = both_checks(lambda: kind(**fields))
    assert quick == stock
