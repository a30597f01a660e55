"""Breaks JSON values and bodies in random ways, the same way for the same dice."""

from __future__ import annotations

import copy
import random
from collections.abc import Sequence
from typing import Any

ODD: list[Any] = [
    *(None, True, False, 0, -1, 1.5, 10**30, "", "x", "\ud83d", [], {}, [[]], [None]),
    *({"a": []}, "stop", {"text": 5}, [{"text": 3}], {"text": "t"}, {"name": []}),
]


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values within."""
    found = [way] if way else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            found += places(item, (*way, key))
    return found


def bent(value: Any, dice: random.Random, odd: Sequence[Any] = ODD) -> Any:
    """`value` with up to three values replaced (by odd ones), taken away, renamed or added."""
    value = copy.deepcopy(value)
    for _ in range(dice.randint(1, 3)):
        ways = places(value)
        if not ways:
            break
        *way, last = dice.choice(ways)
        node = value
        for step in way:
            node = node[step]
        deed = dice.random()
        if deed < 0.6:
            node[last] = copy.deepcopy(dice.choice(odd))
        elif deed < 0.8:
            del node[last]
        elif isinstance(node, dict):
            node[f"new_{last}"] = node.pop(last)
        else:
            node.insert(0, copy.deepcopy(dice.choice(odd)))
    return value


def broken(body: bytes, dice: random.Random) -> bytes:
    """`body` with some bytes flipped, or cut off somewhere, or neither."""
    made = bytearray(body)
    if made and dice.random() < 0.3:
        for _ in range(dice.randint(1, 4)):
            made[dice.randrange(len(made))] = dice.randrange(256)
    return bytes(made[: dice.randrange(len(made) + 1)] if dice.random() < 0.3 else made)
