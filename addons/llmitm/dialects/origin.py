"""How an edited request keeps its own bytes: only the touched JSON values are replaced.

`patch_request` finds the edits that lead from one `Request` to another, `splice` makes them.
Never: re-serializes what was not touched, knows a protocol (that is the `PatchTable`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from llmitm.canon.parts import Part, Text, ToolResult
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import NO_EXTRAS, Facts, Json, Loss, Path
from llmitm.dialects.contract import Encoded
from llmitm.dialects.splicing import Edit, splice

__all__ = ["Edit", "PatchTable", "patch_request", "splice"]

_LISTS = ("dialect", "messages", "instructions", "tools", "extras")


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchTable:
    """Where one protocol keeps what canon names, and how its pieces are written.

    scalars: canon attribute (`model`, `sampling.temperature`, `reasoning` or `reasoning.effort`)
    -> JSON path; an attribute without a row cannot be patched. A row `instructions` serves
    changes of them that are more than new text in its old place.
    messages, tools: the arrays; encode_message: the wire elements of a changed or new message;
    encode_tool, encode_part: the object of a changed or new tool, of a changed part with `at`
    (a changed Text just sets the string at its `at`), None = cannot be written by itself;
    encode_scalar: (attribute, request) -> what to write, None = delete the key;
    extras: where `Request.extras` are keys of, None = they cannot be patched;
    losses: what the encoders above could not carry. They may append to it while they run; then
    the table must be made anew for every call.
    """

    scalars: Mapping[str, Path]
    messages: Path
    tools: Path
    encode_message: Callable[[Message, Facts], list[Json]]
    encode_tool: Callable[[Tool], Json | None]
    encode_part: Callable[[Part], Json | None]
    encode_scalar: Callable[[str, Request], Json]
    extras: Path | None = ()
    losses: Sequence[Loss] = ()


class _NoEdit(Exception):
    """A difference has no edit; never leaves the module."""


def patch_request(
    original: bytes, before: Request, after: Request, facts: Facts, table: PatchTable
) -> Encoded | None:
    """The original body changed only where `after` differs from `before`.

    before: what `original` decodes to, with its `at`s; after: an edited copy of it.
    None if any difference has no edit; the caller then encodes the whole request.
    """
    try:
        text = original.decode()
        edits = _edits(before, after, facts, table)
    except (_NoEdit, UnicodeDecodeError):
        return None
    patched = splice(text, edits)
    if patched is None:
        return None
    return Encoded(patched.encode() if edits else original, tuple(table.losses))


def _edits(before: Request, after: Request, facts: Facts, table: PatchTable) -> list[Edit]:
    if before.dialect != after.dialect:
        raise _NoEdit
    edits: list[Edit] = []
    for item in fields(before):
        if item.name not in _LISTS:
            old, new = getattr(before, item.name), getattr(after, item.name)
            _scalar_edits(item.name, (old, new), after, table, edits)
    if before.extras != after.extras:
        _extras_edits(before, after, table.extras, edits)
    _instructions_edits(before, after, table, edits)
    _message_edits(before, after, facts, table, edits)
    _tool_edits(before, after, table, edits)
    return edits


def _scalar_edits(
    name: str, pair: tuple[object, object], after: Request, table: PatchTable, edits: list[Edit]
) -> None:
    old, new = pair
    if old is new or old == new:
        return
    path = table.scalars.get(name)
    if path is not None:
        value = table.encode_scalar(name, after)
        edits.append(Edit("delete", path) if value is None else Edit("set", path, value))
        return
    shape = new if old is None else old
    if not is_dataclass(shape):
        raise _NoEdit
    for item in fields(shape):
        # What is missing on one side counts as not said there.
        absent: Any = NO_EXTRAS if item.name == "extras" else None
        below = (getattr(old, item.name, absent), getattr(new, item.name, absent))
        _scalar_edits(f"{name}.{item.name}", below, after, table, edits)


def _extras_edits(before: Request, after: Request, prefix: Path | None, edits: list[Edit]) -> None:
    if prefix is None:
        raise _NoEdit
    old, new = before.extras, after.extras
    _object_edits(old, new, prefix, edits)


def _object_edits(
    old: Mapping[str, Json], new: Mapping[str, Json], at: Path, edits: list[Edit]
) -> None:
    """Edits of the keys that differ, as deep as both sides have objects there."""
    edits += [Edit("delete", (*at, key)) for key in old if key not in new]
    for key, value in new.items():
        before = old.get(key)
        if isinstance(before, dict) and isinstance(value, dict):
            _object_edits(before, value, (*at, key), edits)
        elif key not in old or before != value:
            edits.append(Edit("set", (*at, key), value))


def _instructions_edits(
    before: Request, after: Request, table: PatchTable, edits: list[Edit]
) -> None:
    if before.instructions == after.instructions:
        return
    inside = _part_edits(before.instructions, after.instructions, table)
    if inside is None:
        _scalar_edits(
            "instructions", (before.instructions, after.instructions), after, table, edits
        )
    else:
        edits += inside


def _part_edits(
    old: tuple[Part, ...], new: tuple[Part, ...], table: PatchTable
) -> list[Edit] | None:
    """Edits of parts in their places; None if the list itself changed."""
    if len(old) != len(new):
        return None
    edits: list[Edit] = []
    for was, now in zip(old, new, strict=True):
        if was is now or was == now:
            continue
        if not was.at or was.at != now.at or type(was) is not type(now):
            return None
        if isinstance(was, Text) and isinstance(now, Text):
            if replace(was, text=now.text) != now:
                return None
            edits.append(Edit("set", was.at, now.text))
            continue
        if isinstance(was, ToolResult) and isinstance(now, ToolResult):
            inside = None
            if was.value is None and replace(was, parts=now.parts) == now:
                inside = _part_edits(was.parts, now.parts, table)
            if inside is not None:
                edits += inside
                continue
        value = table.encode_part(now)
        if value is None:
            return None
        edits.append(Edit("set", was.at, value))
    return edits


def _element_edits(
    was: Message, now: Message, written: Json, table: PatchTable
) -> list[Edit] | None:
    """Edits for parts that have gone or come, each an element of an array in the message.

    written: the whole message as it would be written, None = nothing has come. None if a part is
    not an element by itself, or if an array were left empty.
    """
    places = {part.at: number for number, part in enumerate(was.parts)}
    spots = [_element(part.at, was.at) for part in was.parts]
    if len(set(spots)) != len(spots) or () in spots:
        return None
    at = [places.get(part.at, -1) if part.at else -1 for part in now.parts]
    kept = [place for place in at if place >= 0]
    if not kept or kept != sorted(set(kept)):
        return None
    if {spot[:-1] for spot in spots} != {spots[place][:-1] for place in kept}:
        return None
    edits = _part_edits(
        tuple(was.parts[place] for place in kept),
        tuple(part for part, place in zip(now.parts, at, strict=True) if place >= 0),
        table,
    )
    if -1 in at and now.parts != _results_first(now.parts):
        # Encoders write them so: what was written is then not in the order of the parts.
        return None
    come = _new_elements(spots, at, written)
    if edits is None or come is None:
        return None
    gone = [Edit("delete", spot) for place, spot in enumerate(spots) if place not in kept]
    return edits + gone + come


def _results_first(parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of a message with the results of tools before everything else."""
    return tuple(sorted(parts, key=lambda part: not isinstance(part, ToolResult)))


def _new_elements(spots: list[Path], at: list[int], written: Json) -> list[Edit] | None:
    """Edits for the parts with -1 in `at`, which tells of each part where among `spots` it was."""
    if -1 not in at:
        return []
    home = spots[0][:-1]
    elements = written.get(str(home[-1])) if isinstance(written, dict) else None
    if not isinstance(elements, list) or len(elements) != len(at):
        return None
    if any(spot[:-1] != home for spot in spots):
        return None
    edits: list[Edit] = []
    waiting: list[Json] = []
    last: Path = home
    for element, place in zip(elements, at, strict=True):
        if place < 0:
            waiting.append(element)
            continue
        last = spots[place]
        edits += [Edit("insert", last, new) for new in waiting]
        waiting.clear()
    behind: Path = (*home, int(last[-1]) + 1)
    return edits + [Edit("insert", behind, new) for new in waiting]


def _element(at: Path, owner: Path) -> Path:
    """The array element within `owner` that `at` lies in, `()` = in none."""
    if at[: len(owner)] == owner:
        for place in range(len(owner), len(at)):
            if isinstance(at[place], int):
                return at[: place + 1]
    return ()


def _message_edits(
    before: Request, after: Request, facts: Facts, table: PatchTable, edits: list[Edit]
) -> None:
    def changed(was: Message, now: Message) -> list[Edit]:
        inside = None
        same = (was.role, was.name, was.extras) == (now.role, now.name, now.extras)
        if same:
            inside = _part_edits(was.parts, now.parts, table)
        if same and inside is None:
            inside = _element_edits(was, now, None, table)
        if inside is not None:
            return inside
        elements = table.encode_message(now, facts)
        if len(elements) == 1:
            inside = _element_edits(was, now, elements[0], table) if same else None
            return [Edit("set", was.at, elements[0])] if inside is None else inside
        return [*(Edit("insert", was.at, e) for e in elements), Edit("delete", was.at)]

    def made(new: Message) -> list[Json]:
        return table.encode_message(new, facts)

    edits += _aligned(before.messages, after.messages, table.messages, changed, made)


def _tool_edits(before: Request, after: Request, table: PatchTable, edits: list[Edit]) -> None:
    def written(tool: Tool) -> Json:
        value = table.encode_tool(tool)
        if value is None:
            raise _NoEdit
        return value

    if before.tools and not after.tools:
        if any(tool.at[: len(table.tools)] != table.tools for tool in before.tools):
            # They stood under another key, as chat's older `functions`.
            raise _NoEdit
        edits.append(Edit("delete", table.tools))
        return
    edits += _aligned(
        before.tools,
        after.tools,
        table.tools,
        lambda was, now: [Edit("set", was.at, written(now))],
        lambda new: [written(new)],
    )


def _aligned[T: (Message, Tool)](
    old: tuple[T, ...],
    new: tuple[T, ...],
    array: Path,
    changed: Callable[[T, T], list[Edit]],
    made: Callable[[T], list[Json]],
) -> list[Edit]:
    """Edits that turn one list into the other; elements are the same if their `at` is."""
    if old == new:
        return []
    places = {item.at: place for place, item in enumerate(old) if item.at}
    if len(places) != len(old):
        raise _NoEdit
    edits: list[Edit] = []
    last = -1
    for item in new:
        place = places.get(item.at, -1)
        if place > last:
            edits += [Edit("delete", gone.at) for gone in old[last + 1 : place]]
            if old[place] is not item and old[place] != item:
                edits += changed(old[place], item)
            last = place
        else:
            spot = _spot(old, last + 1, array)
            edits += [Edit("insert", spot, value) for value in made(item)]
    edits += [Edit("delete", gone.at) for gone in old[last + 1 :]]
    return edits


def _spot[T: (Message, Tool)](old: tuple[T, ...], place: int, array: Path) -> Path:
    """The path before which a new element goes that follows the first `place` old ones."""
    if place < len(old):
        return old[place].at
    if not old:
        return (*array, 0)
    *way, index = old[-1].at
    if not isinstance(index, int):
        raise _NoEdit
    return (*way, index + 1)
