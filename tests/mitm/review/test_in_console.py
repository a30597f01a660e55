"""Our keys in mitmproxy's console: free ones only, and every command of theirs is one of ours."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from mitmproxy.tools.console import defaultkeys
from mitmproxy.tools.console.keymap import Keymap

from llmitm.mitm.review.commands import ReviewCommands
from llmitm.mitm.review.in_console import CONTEXTS, KEYS, InConsole, bind


@pytest.fixture
def keymap() -> Keymap:
    made = Keymap(None)
    defaultkeys.map(made)
    return made


def test_no_key_of_mitmproxys_own_is_taken(keymap: Keymap) -> None:
    before = {(key, place): keymap.get(place, key) for place in CONTEXTS for key, _, _ in KEYS}
    assert set(before.values()) == {None}
    assert all(keymap.get("global", key) is None for key, _, _ in KEYS)
    bind(keymap)
    for key, does, say in KEYS:
        for place in CONTEXTS:
            bound = keymap.get(place, key)
            assert bound is not None
            assert (bound.command, bound.help) == (does, say)
    assert [each.help for each in keymap.list("flowlist") if each.command.startswith("llm.")]


@pytest.mark.parametrize("contexts", [["flowlist"], ["flowview"], ["flowlist", "flowview"]])
def test_a_users_own_binding_stays(keymap: Keymap, contexts: Sequence[str]) -> None:
    keymap.add("y", "mine", contexts, "Mine")
    bind(keymap)
    for place in CONTEXTS:
        bound = keymap.get(place, "y")
        assert bound is not None
        assert (bound.command == "mine") is (place in contexts)


def test_a_users_global_binding_stays(keymap: Keymap) -> None:
    keymap.add("c", "mine", ["global"], "Mine")
    bind(keymap)
    assert [keymap.get(place, "c") for place in CONTEXTS] == [None, None]


def test_the_keys_commands_are_there() -> None:
    ours = {
        getattr(getattr(kind, name), "command_name", None)
        for kind in (ReviewCommands, InConsole)
        for name in dir(kind)
    }
    for _, does, _ in KEYS:
        assert {word for word in does.split() if word.startswith("llm.")} <= ours
