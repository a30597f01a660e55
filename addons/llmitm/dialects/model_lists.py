"""Models lists of any protocol: reading the names, and adding entries without touching the others.

Never: knows one protocol's entries (those stand in each folder's `models.py`). Total: no bytes make
anything here raise. Source: OpenAI, Anthropic and Gemini API references, Models.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from llmitm.canon.values import Json
from llmitm.dialects.json_text import Wire, parse
from llmitm.dialects.splicing import Edit, splice

OWNER = "llmitm"
"""Who owns an entry that llmitm added."""
UNDATED = "1970-01-01T00:00:00Z"
"""The time of an entry that has none."""

_TITLES = ("name", "display_name")
_DEEPEST = 6
_EMPTY: Mapping[type, Json] = MappingProxyType(
    {str: "", bool: False, int: 0, float: 0, list: None, type(None): None}
)

type Entry = Callable[[str], Wire]
"""The entry of a model with this name."""


def parsed(body: bytes) -> Json:
    """The value of a body, None where it is not JSON."""
    try:
        return parse(body)
    except ValueError:
        return None


def rows_of(value: Json) -> list[Wire] | None:
    """The entries of a list, None where something else stands among them."""
    if not isinstance(value, list):
        return None
    rows = [row for row in value if isinstance(row, dict)]
    return rows if len(rows) == len(value) else None


def names_under(rows: Sequence[Wire] | None, key: str) -> tuple[str, ...]:
    """The names that stand under `key`, each once, in order; empty = none."""
    found = (row.get(key) for row in rows or ())
    return tuple(dict.fromkeys(name for name in found if isinstance(name, str) and name))


def appended(body: bytes, edits: Sequence[Edit]) -> bytes | None:
    """The body with these edits, everything else kept to the byte; None where they do not fit."""
    try:
        text = splice(body.decode(), edits)
    except UnicodeDecodeError:
        return None
    return text.encode() if text is not None else None


def read_data(body: bytes) -> tuple[str, ...]:
    """The ids of `{"data": [{"id": …}, …]}`, or of such an array alone; empty = no such list."""
    value = parsed(body)
    rows = rows_of(value.get("data") if isinstance(value, dict) else value)
    return names_under(rows, "id")


def alike(rows: Sequence[Wire]) -> Wire:
    """What an entry needs to look like all of these: the fields that each of them has.

    A value on which several agree (`type: base`) stays, any other is an empty one of its kind: the
    clients of a host may rely on fields that only this host has, and nothing untrue is said.
    """
    told = _alike(rows, 0)
    return told if isinstance(told, dict) else {}


def _alike(values: Sequence[Json], depth: int) -> Json:
    rows = [value for value in values if isinstance(value, dict)]
    if rows and len(rows) == len(values) and depth < _DEEPEST:
        keys = [key for key in rows[0] if all(key in row for row in rows)]
        return {key: _alike([row[key] for row in rows], depth + 1) for key in keys}
    kinds = {type(value) for value in values}
    if len(kinds) != 1 or not kinds <= _EMPTY.keys():
        return None
    if len(values) > 1 and all(value == values[0] for value in values) and list not in kinds:
        return values[0]
    return list[Json]() if list in kinds else _EMPTY[kinds.pop()]


def extend_data(
    body: bytes, names: Sequence[str], entry: Entry, *, adapt: bool = False
) -> bytes | None:
    """The same list with an entry for each name that is not there yet, at its end.

    `last_id` follows, and `first_id` where the list was empty. adapt: the entries also get the
    fields that all of the host's have. None: not such a list, or `has_more` says that it is not
    the last page.
    """
    value = parsed(body)
    fields = value if isinstance(value, dict) else {}
    rows = rows_of(fields.get("data") if isinstance(value, dict) else value)
    if rows is None or fields.get("has_more") not in (None, False):
        return None
    known = names_under(rows, "id")
    if rows and not known:
        return None
    fresh = [name for name in dict.fromkeys(names) if name not in known]
    if not fresh:
        return body
    place = ("data", len(rows)) if isinstance(value, dict) else (len(rows),)
    looks = alike(rows) if adapt else {}
    edits = [Edit("insert", place, _fitted(looks, entry(name), name)) for name in fresh]
    if "last_id" in fields:
        edits.append(Edit("set", ("last_id",), fresh[-1]))
    if "first_id" in fields and not rows:
        edits.append(Edit("set", ("first_id",), fresh[0]))
    return appended(body, edits)


def _fitted(looks: Wire, entry: Wire, name: str) -> Wire:
    titles: Wire = {key: name for key in _TITLES if isinstance(looks.get(key), str)}
    return {**looks, **titles, **entry}
