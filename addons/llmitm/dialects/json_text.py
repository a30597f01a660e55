"""JSON text <-> values for dialects: total in both directions, fast for small frames.

Never: knows what a field means. Source: RFC 8259.
"""

from __future__ import annotations

import json
from typing import NoReturn

from pydantic_core import PydanticSerializationError, from_json, to_json

from llmitm.canon.values import NO_EXTRAS, Extras, Json
from llmitm.dialects.splicing import print_json

BOM = b"\xef\xbb\xbf"

type Wire = dict[str, Json]


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def parse(body: bytes) -> Json:
    """The value of a whole body; a byte order mark and white space around it are no matter.

    Raises ValueError for anything that is not one JSON value in UTF-8.
    """
    text = body.removeprefix(BOM)
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        pass
    # Reads what the quick parser does not, lone surrogates and deep nesting, or says why not.
    try:
        return json.loads(text, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_small(data: bytes) -> Json:
    """As `parse`, of a frame of a stream, which has no byte order mark."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return parse(data)


def parse_text(text: str) -> Json:
    """As `parse`, of text that may hold half characters."""
    return parse(text.encode("utf-8", "surrogatepass"))


def dump(value: Json) -> bytes:
    """Compact UTF-8 JSON; lone surrogates, which UTF-8 cannot carry, as escapes."""
    try:
        return to_json(value)
    except PydanticSerializationError:
        return print_json(value).encode()


def dump_text(value: Json) -> str:
    """Compact JSON as text, in the key order of `value`."""
    return dump(value).decode()


def without(fields: Wire, *known: str) -> Extras:
    """The fields that are not among `known`."""
    rest = {key: value for key, value in fields.items() if key not in known}
    return rest or NO_EXTRAS


def telling(extras: Extras) -> list[str]:
    """The keys that say something: nulls and empty containers do not."""
    return [key for key, value in extras.items() if value not in (None, "", [], {})]


def whole(value: Json) -> int | None:
    """`value` if it is an integer (a boolean is none)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def number(value: Json) -> float | None:
    """`value` if it is a number (a boolean is none)."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def taken(fields: Wire, key: str) -> str:
    """The text under `key`, taken out of `fields`; empty, and left there, if it is none."""
    value = fields.get(key)
    if isinstance(value, str) and value:
        del fields[key]
        return value
    return ""
