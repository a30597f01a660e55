"""The composition: one addon for mitmproxy, with every hook and command of its parts."""

from __future__ import annotations

import inspect

from mitmproxy import hooks

from llmitm.mitm.addons import Llmitm, addons


def composed() -> Llmitm:
    [addon] = addons()
    assert isinstance(addon, Llmitm)
    return addon


def test_no_hook_of_a_part_is_missing() -> None:
    # Importing the product registers its own hooks beside mitmproxy's.
    known = set(hooks.all_hooks)
    addon = composed()
    for part in addon.parts:
        has = {name for name, _ in inspect.getmembers(type(part), inspect.isfunction)} & known
        assert has <= {name for name in known if hasattr(addon, name)}, type(part).__name__


def test_a_hook_that_one_part_awaits_is_asynchronous_for_all_of_them() -> None:
    addon = composed()
    for name in hooks.all_hooks:
        having = [getattr(part, name) for part in addon.parts if hasattr(part, name)]
        waits = any(inspect.iscoroutinefunction(each) for each in having)
        assert not having or inspect.iscoroutinefunction(getattr(addon, name)) is waits, name


def test_commands_are_offered() -> None:
    assert composed().show.command_name == "llm.summary"


def test_parts_are_called_in_their_order() -> None:
    called: list[str] = []

    class One:
        def running(self) -> None:
            called.append("one")

    class Two:
        def running(self) -> None:
            called.append("two")

    Llmitm((One(), Two())).running()
    assert called == ["one", "two"]
