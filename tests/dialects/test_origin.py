"""Edits of a JSON text touch only what they name, and say when they cannot."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.dialects.origin import Edit, splice

TEXT = '{ "a" : [1, {"b": "x\\u00e9"},  3 ],\n "c":{} , "d": null }'


@pytest.mark.parametrize(
    ("edits", "expected"),
    [
        ([], TEXT),
        ([Edit("set", ("a", 1, "b"), "y")], TEXT.replace('"x\\u00e9"', '"y"')),
        ([Edit("set", ("a", 0), [2])], TEXT.replace("[1,", "[[2],")),
        ([Edit("delete", ("a", 0))], TEXT.replace("1, ", "")),
        ([Edit("delete", ("a", 2))], TEXT.replace(",  3", "")),
        ([Edit("delete", ("c",))], TEXT.replace(',\n "c":{}', "")),
        ([Edit("delete", ("nope",))], TEXT),
        ([Edit("insert", ("a", 0), 0)], TEXT.replace("[1", "[0, 1")),
        ([Edit("insert", ("a", 3), 4)], TEXT.replace("3 ]", "3, 4 ]")),
        ([Edit("set", ("c", "e", "f"), 1)], TEXT.replace("{} ,", '{"e":{"f":1}} ,')),
    ],
)
def test_splice(edits: list[Edit], expected: str) -> None:
    assert splice(TEXT, edits) == expected


@pytest.mark.parametrize(
    ("text", "edits"),
    [
        (TEXT, [Edit("set", ("a", 7), 1)]),
        (TEXT, [Edit("set", ("a", "b"), 1)]),
        (TEXT, [Edit("insert", ("a", 9), 1)]),
        (TEXT, [Edit("set", ("a",), 1), Edit("set", ("a", 0), 2)]),
        (TEXT, [Edit("delete", ())]),
        ("not json", [Edit("set", ("a",), 1)]),
        ('{"a":', [Edit("set", ("a",), 1)]),
        ("7", [Edit("set", ("a",), 1)]),
        ("[1, , 2]", [Edit("set", (2,), 1)]),
        ("[1, 2", [Edit("set", (0,), 1)]),
        ("[1, 2,", [Edit("set", (0,), 1)]),
        ("[1 2]", [Edit("set", (0,), 1)]),
    ],
)
def test_what_cannot_be_done_is_none(text: str, edits: list[Edit]) -> None:
    assert splice(text, edits) is None


def test_a_repeated_key_means_its_last() -> None:
    assert splice('{"a":1,"a":2}', [Edit("set", ("a",), 3)]) == '{"a":1,"a":3}'
    assert splice('{"a":1,"b":0,"a":2}', [Edit("delete", ("a",))]) == '{"b":0}'


KEYS = st.sampled_from(["a", "b", "ü", 'q"'])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=15,
)


def places(value: Any, at: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of everything inside `value`."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found: list[tuple[str | int, ...]] = []
    for key, inner in items:
        found += [(*at, key), *places(inner, (*at, key))]
    return found


@given(VALUES, st.data(), st.sampled_from([None, 1, 3]))
def test_an_edit_does_what_it_says(value: Any, data: Any, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    paths = places(value)
    if not paths:
        return
    path = data.draw(st.sampled_from(paths))
    operations = ["set", "delete"] + (["insert"] if isinstance(path[-1], int) else [])
    operation = data.draw(st.sampled_from(operations))
    expected = copy.deepcopy(value)
    holder = expected
    for step in path[:-1]:
        holder = holder[step]
    match operation:
        case "set":
            holder[path[-1]] = "new"
        case "delete":
            del holder[path[-1]]
        case _:
            holder.insert(path[-1], "new")
    spliced = splice(text, [Edit(operation, path, "new")])
    assert spliced is not None
    assert json.loads(spliced) == expected


@given(VALUES, st.data())
def test_several_edits_do_not_move_each_other(value: Any, data: Any) -> None:
    text = json.dumps({"root": value, "n": 0})
    leaves = [p for p in places(value) if not places(_at(value, p))]
    chosen = data.draw(st.lists(st.sampled_from(leaves), unique=True)) if leaves else []
    edits = [Edit("set", ("root", *path), number) for number, path in enumerate(chosen)]
    spliced = splice(text, [*edits, Edit("set", ("n",), 9)])
    assert spliced is not None
    result = json.loads(spliced)
    assert result["n"] == 9
    for number, path in enumerate(chosen):
        assert _at(result["root"], path) == number


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for step in path:
        value = value[step]
    return value
