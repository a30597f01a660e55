"""A call as the events of an answer tell it: of the client's own tools, or of one that a provider
defines and the client runs (`local_shell_call`, `shell_call`).

The second kind is no part that canon knows: `provider_calls` in `rules/tools.yaml` says which items
are calls, under which tool's name they are judged, and where what they would do stands. Never:
judges anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import cast

from llmitm.canon.events import Event, Opaque, PartDelta, PartDetail, PartStart
from llmitm.canon.parts import Part, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import Json
from llmitm.ruleset.tools import ProviderCallRow
from llmitm.stages.kept_calls import with_arguments


class Calls:
    """Tells calls from other parts."""

    def __init__(self, rows: Iterable[ProviderCallRow]) -> None:
        self._rows: Mapping[str, ProviderCallRow] = {row.kind: row for row in rows}

    def of(self, part: Part) -> ToolCall | None:
        """The call that this part is or begins; None = it is none, or the provider runs it."""
        if isinstance(part, ToolCall):
            return part
        if not isinstance(part, Unknown):
            return None
        item, row = self._item(part.value)
        if row is None:
            return None
        told = {key: item[key] for key in row.arguments if key in item}
        name = item.get("call_id") or item.get("id")
        return ToolCall(
            id=name if isinstance(name, str) else "",
            name=row.tool,
            arguments=json.dumps(told, ensure_ascii=False),
        )

    def result(self, part: Part) -> ToolResult | None:
        """What such a call gave, where this part tells it; None = it tells none."""
        value = part.value if isinstance(part, Unknown) else None
        if not isinstance(value, dict):
            return None
        kind, name = value.get("type"), value.get("call_id") or value.get("id")
        if not isinstance(kind, str) or kind.removesuffix("_output") not in self._rows:
            return None
        if not kind.endswith("_output") or not isinstance(name, str):
            return None
        text = Text(text=json.dumps(value.get("output"), ensure_ascii=False))
        return ToolResult(call_id=name, parts=(text,))

    def names(self) -> frozenset[str]:
        """The names of the tools whose calls these are."""
        return frozenset(row.tool for row in self._rows.values())

    def announced(self, event: Opaque) -> tuple[str, Json]:
        """(the tool of a call of which this event tells before it is complete, its place in the
        answer); an empty name where it tells of none."""
        value = event.value
        item, row = self._item(value.get("item") if isinstance(value, dict) else None)
        return ("", None) if row is None or not item else (row.tool, place_of(event))

    def _item(self, value: Json) -> tuple[Mapping[str, Json], ProviderCallRow | None]:
        """(the item, its row); no row where it is none of them."""
        if not isinstance(value, dict):
            return {}, None
        kind, where = value.get("type"), value.get("environment")
        row = self._rows.get(kind) if isinstance(kind, str) else None
        run_by = where.get("type") if isinstance(where, dict) else None
        if row is not None and run_by in row.provider_environments:
            row = None
        return value, row

    def whole(self, events: Sequence[Event]) -> ToolCall:
        """The complete call that these events tell."""
        part = self.of(start_of(events).part)
        assert part is not None
        pieces: list[str] = []
        signature, extras = part.signature, part.extras
        for event in events:
            if isinstance(event, PartDelta):
                pieces.append(event.text)
            elif isinstance(event, PartDetail):
                signature = event.signature or signature
                extras = {**extras, **event.extras} if event.extras else extras
        arguments = part.arguments + "".join(pieces)
        return replace(part, arguments=arguments, signature=signature, extras=extras)


def place_of(event: Opaque) -> Json:
    """The place in the answer of the item that the event tells of; None = of none."""
    return event.value.get("output_index") if isinstance(event.value, dict) else None


def start_of(events: Sequence[Event]) -> PartStart:
    """The beginning of the part; what only announced it may stand before."""
    return next(event for event in events if isinstance(event, PartStart))


def replaced(held: Sequence[Event], arguments: str) -> tuple[Event, ...]:
    """The same call with other arguments. What told the old ones is left out."""
    start = start_of(held)
    if isinstance(start.part, Unknown):
        value = {**cast("dict[str, Json]", start.part.value), **json.loads(arguments)}
        return (replace(start, part=replace(start.part, value=value)), held[-1])
    return with_arguments(held[held.index(start) :], arguments)
