"""JSON text <-> values for this protocol: total in both directions, fast for small frames.

Never: knows what a field means. Source: RFC 8259.
"""

from __future__ import annotations

import json

from pydantic_core import PydanticSerializationError, from_json, to_json

from llmitm.canon.values import Json
from llmitm.dialects.splicing import print_json

BOM = b"\xef\xbb\xbf"


def parse(body: bytes) -> Json:
    """The value of a whole body; a byte order mark and white space around it are no matter.

    Raises ValueError for anything that is not one JSON value in UTF-8.
    """
    try:
        return json.loads(body.removeprefix(BOM))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def parse_small(data: bytes) -> Json:
    """As `parse`, quicker for the frames of a stream."""
    try:
        return from_json(data, allow_inf_nan=False)
    except ValueError:
        return parse(data)


def dump(value: Json) -> bytes:
    """Compact UTF-8 JSON; lone surrogates, which UTF-8 cannot carry, as escapes."""
    try:
        return to_json(value, inf_nan_mode="null")
    except PydanticSerializationError:
        return print_json(value).encode()


def whole(value: Json) -> int | None:
    """`value` if it is an integer (a boolean is none)."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def string(value: Json) -> str | None:
    """`value` if it is a string."""
    return value if isinstance(value, str) else None


def says(value: Json) -> bool:
    """Whether a field tells anything: nulls and empty containers do not."""
    return value not in (None, "", [], {})
