"""Broken forms of a body, drawn from a seeded dice: cut, flipped, of the wrong shape, too deep."""

from __future__ import annotations

import copy
import json
import random
from typing import Any

# A value of every JSON kind, and the odd ones of each: half characters, huge numbers, lone words.
ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1.5, 10**30, 1e300, "", "x", "\ud83d", "null", "{", "[DONE]"),
    *([], {}, [[]], [None], [{}], {"a": []}, {"type": "text"}, {"type": 5}, [{"type": None}]),
    *({"text": {}}, {"parts": 5}, [{"text": 3}], {"index": "0"}, {"id": [], "name": {}}),
    *({"type": "tool_use", "input": "text"}, {"type": "function", "function": None}),
)


def body_of(value: Any) -> bytes:
    """JSON that may hold half characters (escaped)."""
    return json.dumps(value).encode()


def places(value: Any, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [way] if way else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            found += places(item, (*way, key))
    return found


def bent(value: Any, dice: random.Random) -> Any:
    """`value` with up to three values replaced, taken away, renamed, doubled or swapped."""
    value = copy.deepcopy(value)
    for _ in range(dice.randint(1, 3)):
        ways = places(value)
        if not ways:
            return copy.deepcopy(dice.choice(ODD))
        *way, last = dice.choice(ways)
        node = value
        for step in way:
            node = node[step]
        deed = dice.random()
        if deed < 0.5:
            node[last] = copy.deepcopy(dice.choice(ODD))
        elif deed < 0.7:
            del node[last]
        elif deed < 0.8:
            *way, other = dice.choice(ways)
            source: Any = value
            try:
                for step in (*way, other):
                    source = source[step]
            except (KeyError, IndexError, TypeError):
                continue
            node[last] = copy.deepcopy(source)
        elif isinstance(node, dict):
            node[f"new_{last}"] = node.pop(last)
        else:
            node.insert(0, copy.deepcopy(dice.choice(ODD)))
    return value


def broken(body: bytes, dice: random.Random) -> bytes:
    """`body` with bytes flipped, a piece doubled or taken out, or cut off somewhere."""
    made = bytearray(body)
    for _ in range(dice.randint(1, 3)):
        at, until = sorted(dice.randrange(len(made) + 1) for _ in range(2))
        match dice.randrange(4):
            case 0:
                for _ in range(dice.randint(1, 4) if made else 0):
                    made[dice.randrange(len(made))] = dice.randrange(256)
            case 1:
                del made[until:]
            case 2:
                del made[at : min(until, at + 50)]
            case _:
                made[at:at] = made[at : min(until, at + 200)]
    return bytes(made)


def bent_answer(body: bytes, dice: random.Random) -> bytes:
    """An answer whose JSON (of one or two frames, in a stream) has the wrong shape."""
    lines = body.splitlines(keepends=True)
    framed = [place for place, line in enumerate(lines) if line.startswith(b"data: {")]
    try:
        if not framed:
            return body_of(bent(json.loads(body), dice))
        for place in dice.sample(framed, min(len(framed), 2)):
            lines[place] = b"data: " + body_of(bent(json.loads(lines[place][6:]), dice)) + b"\n"
    except ValueError:
        return broken(body, dice)
    if dice.random() < 0.3:
        # Frames lost, doubled, out of order.
        dice.shuffle(lines) if dice.random() < 0.3 else lines.pop(dice.randrange(len(lines)))
    return b"".join(lines)


def deep(depth: int, kind: str = "[") -> str:
    """JSON nested `depth` times in lists or objects."""
    return "[" * depth + "]" * depth if kind == "[" else '{"a":' * depth + "1" + "}" * depth
