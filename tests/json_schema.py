"""As much of JSON schema as the published schemas use; a keyword that is not known here fails."""

from __future__ import annotations

import re
from typing import Any

_SAYS_NOTHING = {"title", "description", "default", "discriminator", "$defs", "examples"}
_TYPES: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def faults(value: Any, schema: dict[str, Any], root: dict[str, Any], at: str = "") -> list[str]:
    """Why the value is not what the schema asks for, empty = it is. root: where `$ref` points."""
    found: list[str] = []
    for word, asked in schema.items():
        if word not in _SAYS_NOTHING:
            found += _RULES[word](value, asked, schema, root, at)
    return found


def _ref(value: Any, asked: str, _: Any, root: dict[str, Any], at: str) -> list[str]:
    target: Any = root
    for step in asked.removeprefix("#/").split("/"):
        target = target[step]
    return faults(value, target, root, at)


def _any_of(value: Any, asked: list[Any], _: Any, root: dict[str, Any], at: str) -> list[str]:
    tried = [faults(value, each, root, at) for each in asked]
    return [] if any(not each for each in tried) else [f"{at}: none of {min(tried, key=len)}"]


def _one_of(value: Any, asked: list[Any], _: Any, root: dict[str, Any], at: str) -> list[str]:
    tried = [faults(value, each, root, at) for each in asked]
    fitting = sum(not each for each in tried)
    return [] if fitting == 1 else [f"{at}: {fitting} of oneOf fit: {tried}"]


def _type(value: Any, asked: str, _: Any, __: Any, at: str) -> list[str]:
    if asked in ("number", "integer"):
        kinds = (int,) if asked == "integer" else (int, float)
        right = isinstance(value, kinds) and not isinstance(value, bool)
    else:
        right = isinstance(value, _TYPES[asked])
    return [] if right else [f"{at}: {value!r:.60} is no {asked}"]


def _properties(
    value: Any, asked: dict[str, Any], schema: dict[str, Any], root: dict[str, Any], at: str
) -> list[str]:
    if not isinstance(value, dict):
        return []
    found = [
        fault
        for name, each in asked.items()
        if name in value
        for fault in faults(value[name], each, root, f"{at}/{name}")
    ]
    if schema.get("additionalProperties") is False:
        found += [f"{at}/{name}: not known" for name in value if name not in asked]
    return found


def _additional(
    value: Any, asked: Any, schema: dict[str, Any], root: dict[str, Any], at: str
) -> list[str]:
    if not isinstance(asked, dict) or not isinstance(value, dict):
        return []
    known = schema.get("properties", {})
    return [
        fault
        for name, each in value.items()
        if name not in known
        for fault in faults(each, asked, root, f"{at}/{name}")
    ]


def _items(value: Any, asked: Any, _: Any, root: dict[str, Any], at: str) -> list[str]:
    if not isinstance(value, list):
        return []
    return [f for n, each in enumerate(value) for f in faults(each, asked, root, f"{at}/{n}")]


def _required(value: Any, asked: list[str], _: Any, __: Any, at: str) -> list[str]:
    held = value if isinstance(value, dict) else {}
    return [f"{at}/{name}: missing" for name in asked if name not in held]


def _true(say: str, test: Any) -> Any:
    def rule(value: Any, asked: Any, _: Any, __: Any, at: str) -> list[str]:
        return [] if test(value, asked) else [f"{at}: {value!r:.60} is not {say} {asked}"]

    return rule


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_RULES: dict[str, Any] = {
    "$ref": _ref,
    "anyOf": _any_of,
    "oneOf": _one_of,
    "type": _type,
    "properties": _properties,
    "additionalProperties": _additional,
    "items": _items,
    "required": _required,
    "enum": _true("one of", lambda value, asked: value in asked),
    "const": _true("equal to", lambda value, asked: value == asked),
    "minimum": _true("at least", lambda value, asked: not _number(value) or value >= asked),
    "maximum": _true("at most", lambda value, asked: not _number(value) or value <= asked),
    "minLength": _true(
        "as long as", lambda value, asked: not isinstance(value, str) or len(value) >= asked
    ),
    "maxLength": _true(
        "as short as", lambda value, asked: not isinstance(value, str) or len(value) <= asked
    ),
    "maxItems": _true(
        "as few as", lambda value, asked: not isinstance(value, list) or len(value) <= asked
    ),
    "pattern": _true(
        "like", lambda value, asked: not isinstance(value, str) or bool(re.search(asked, value))
    ),
    "format": lambda *_: [],
    "writeOnly": lambda *_: [],
}
