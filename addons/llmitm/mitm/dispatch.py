"""What mitmproxy does for every request, done cheaper and with the same result.

At each hook mitmproxy looks through all of its addons, of which few have that hook, and it compares
the type of every field of every message with the type's declaration. Both together are a third of
the CPU time of a small request. Here it is worked out once which addons can have a hook, and which
types a field may have. Addons of others (scripts) are still asked at every hook, and what does not
fit goes through mitmproxy's own code, which says what is wrong.
Never: another order, another error.
Source: mitmproxy 12.2, `addonmanager`, `http.MessageData`, `utils/typecheck`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from inspect import isawaitable
from types import UnionType
from typing import Any, NamedTuple, Union, get_args, get_origin

from mitmproxy import ctx, exceptions, flow, hooks, http
from mitmproxy.addonmanager import AddonManager, safecall

_FIXED = ("mitmproxy", "llmitm")
"""Whose addons have the same hooks for life."""

_SLOW_CHECK: Callable[[http.MessageData], None] | None = getattr(
    http.MessageData, "__post_init__", None
)
"""None in a Python that runs with `-O`: then nothing is checked."""


class _Taker(NamedTuple):
    """How an addon is asked. own: by its own hook alone; holds: only for what it holds at that
    time; neither: as mitmproxy does."""

    addon: Any
    own: bool = False
    holds: bool = False


class _Safely:
    """mitmproxy's `safecall` for what fails, at no cost for what does not."""

    def __enter__(self) -> None:
        """Nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> bool:
        """Whether the error was logged; raises those that are not to be."""
        if error is None:
            return False
        with safecall():
            raise error
        return True


_SAFELY = _Safely()


class QuickAddons(AddonManager):
    """mitmproxy's chain of addons, which is not looked through at every hook."""

    seen: list[Any]
    takers: dict[str, tuple[_Taker, ...]]

    async def handle_lifecycle(self, event: hooks.Hook) -> None:
        """As stock."""
        args = event.args()
        await self._send(event, args)
        message = args[0]
        if isinstance(message, flow.Flow):
            flows = [message]
            await self._send(hooks.UpdateHook(flows), [flows])

    async def trigger_event(self, event: hooks.Hook) -> None:
        """As stock."""
        await self._send(event, event.args())

    async def _send(self, event: hooks.Hook, args: Sequence[Any]) -> None:
        name = event.name
        left = iter(self.takers_of(name))
        over = False
        while not over:
            try:
                # One for all: who comes after an addon that failed is asked in the next round.
                with _SAFELY:
                    for addon, own, holds in left:
                        if own:
                            waits = getattr(addon, name)(*args)
                            if waits is not None and isawaitable(waits):
                                await waits
                        elif not holds or addon.addons:
                            await self.invoke_addon(addon, event)
                    over = True
            except exceptions.AddonHalt:
                return

    def trigger(self, event: hooks.Hook) -> None:
        """As stock."""
        for addon, _, holds in self.takers_of(event.name):
            if holds and not addon.addons:
                continue
            try:
                with _SAFELY:
                    self.invoke_addon_sync(addon, event)
            except exceptions.AddonHalt:
                return

    def takers_of(self, name: str) -> tuple[_Taker, ...]:
        """Who may have this hook, in the chain's order."""
        # The chain is a public list, which others change in place.
        if self.seen != self.chain:
            self.seen = list(self.chain)
            self.takers = {}
        found = self.takers.get(name)
        if found is None:
            asked = (_taker(addon, name) for addon in self.chain)
            found = self.takers[name] = tuple(one for one in asked if one is not None)
        return found


def _taker(addon: Any, name: str) -> _Taker | None:
    """None = it never has this hook."""
    if type(addon).__module__.partition(".")[0] not in _FIXED:
        return _Taker(addon)
    has = hasattr(addon, name)
    if hasattr(addon, "addons"):
        return _Taker(addon, holds=not has)
    return _Taker(addon, own=callable(getattr(addon, name))) if has else None


def quicken(manager: AddonManager) -> None:
    """From now on this chain is a `QuickAddons`; one that is somebody else's kind stays."""
    if type(manager) is AddonManager:
        manager.__class__ = QuickAddons
        vars(manager).update(seen=list[Any](), takers=dict[str, Any]())


@cache
def _types_of(kind: type) -> tuple[tuple[str, tuple[type, ...]], ...]:
    """The fields of a message and what each of them may be."""
    return tuple((field.name, _plain_types(field.type)) for field in fields(kind))


def _plain_types(declared: Any) -> tuple[type, ...]:
    if get_origin(declared) in (Union, UnionType):
        return tuple(each for one in get_args(declared) for each in _plain_types(one))
    # As mitmproxy has it, a whole number is a float too.
    if declared is float:
        return (float, int)
    return (declared,) if isinstance(declared, type) else ()


def quick_check(self: http.MessageData) -> None:
    """Raises TypeError for a field of the wrong type, as mitmproxy's own check does."""
    values = vars(self)
    for name, types in _types_of(type(self)):
        if type(values[name]) not in types and _SLOW_CHECK is not None:
            _SLOW_CHECK(self)
            return


class Dispatch:
    """The addon: both, once the proxy runs."""

    def running(self) -> None:
        """All options are set and all addons are loaded."""
        quicken(ctx.master.addons)
        if _SLOW_CHECK is not None:
            http.MessageData.__post_init__ = quick_check
