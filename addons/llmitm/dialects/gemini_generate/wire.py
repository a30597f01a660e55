"""JSON of this protocol: parsing, printing, both spellings of its keys, and its extras.

Never: knows what a field means. Source: RFC 8259; ProtoJSON, which accepts every key in camel and
in snake case.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import NoReturn

from pydantic_core import PydanticSerializationError, from_json, to_json

from llmitm.canon.values import NO_EXTRAS, Extras, Json
from llmitm.dialects.gemini_generate.tables import SNAKE

BOM = b"\xef\xbb\xbf"
MAX_DEPTH = 200


class Wire(dict[str, Json]):
    """Extras that were read from this protocol, and the JSON value that they were read from.

    As a mapping it holds only what canon has no field for. `source` is the whole value, None when
    it was not kept: an encoder of this protocol writes it again, in the client's own spelling, as
    long as it still decodes to what stands beside these extras. `made` is what it decoded to,
    where keeping that makes no circle: what is still the same object needs no comparison.
    """

    __slots__ = ("made", "source")

    def __init__(
        self, extras: Mapping[str, Json] = NO_EXTRAS, source: Json = None, made: object = None
    ) -> None:
        if extras:
            super().__init__(extras)
        self.source = source
        self.made = made


def source_of(extras: Extras) -> Json:
    """The value these extras were read from, None when unknown."""
    return extras.source if isinstance(extras, Wire) else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse(data: bytes) -> Json:
    """The value of one JSON text; a byte order mark and white space around it are no matter.

    Raises ValueError for anything that is not one JSON value in UTF-8.
    """
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        pass
    # Reads what the quick parser does not: lone surrogates, a byte order mark.
    try:
        value: Json = json.loads(data.removeprefix(BOM), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if _depth(value) > MAX_DEPTH:
        raise ValueError("nested too deeply")
    return value


def _depth(value: Json) -> int:
    depth = 0
    level = [value]
    while level:
        depth += 1
        below: list[Json] = []
        for item in level:
            if isinstance(item, dict):
                below += item.values()
            elif isinstance(item, list):
                below += item
        level = below
    return depth


def dump(value: Json) -> bytes:
    """Compact UTF-8 JSON; lone surrogates, which UTF-8 cannot carry, as escapes."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return json.dumps(value, separators=(",", ":")).encode()


def dump_text(value: Json) -> str:
    """Compact JSON as text, in the key order of `value`."""
    return dump(value).decode()


def camel(fields: dict[str, Json]) -> dict[str, Json]:
    """The object with the keys of this protocol in camel case; itself when they all are."""
    for key in fields:
        if "_" in key:
            return {SNAKE.get(key, key): value for key, value in fields.items()}
    return fields


def spelled(fields: Mapping[str, Json], key: str) -> str:
    """How this object spells `key`; `key` itself when it does not have it."""
    if key in fields:
        return key
    return next((own for own in fields if SNAKE.get(own) == key), key)


def without(fields: Mapping[str, Json], known: Collection[str]) -> dict[str, Json]:
    """The fields that are not among `known`."""
    return {key: value for key, value in fields.items() if key not in known}


def number(value: Json) -> float | None:
    """`value` if it is a number (a boolean is none); integers stay integers."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def whole(value: Json) -> int | None:
    """`value` if it is a whole number, however written (`40.0`)."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value // 1:
        return None
    return int(value)


def flag(value: Json) -> bool | None:
    """`value` if it is true or false."""
    return value if isinstance(value, bool) else None


def unix_seconds(time: Json) -> int | None:
    """Unix seconds of an RFC 3339 time."""
    if not isinstance(time, str):
        return None
    try:
        moment = datetime.fromisoformat(time)
        return int(moment.timestamp()) if moment.tzinfo else None
    except (ValueError, OverflowError, OSError):
        return None
