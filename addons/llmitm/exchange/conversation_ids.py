"""The id that a client gives to its conversation, read from where its rule row says it stands.

Source: `rules/clients.yaml`, `conversation`. Never: guesses one.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic_core import from_json

from llmitm.canon.request import Request
from llmitm.canon.values import Json
from llmitm.exchange.wire import Headers, header
from llmitm.ruleset.clients import ClientRow, SourceRow

_MOST_CHARACTERS = 1000
# The wrapper of Gemini Code Assist: canon keeps what stands below it beside the rest.
_WRAPPERS = ("request",)


def conversation_id(row: ClientRow, headers: Headers, request: Request | None) -> str:
    """The conversation's id as the client wrote it, empty = it wrote none."""
    for source in row.conversation:
        found = _at(source, headers, request)
        if found:
            return found[:_MOST_CHARACTERS]
    return ""


def _at(source: SourceRow, headers: Headers, request: Request | None) -> str:
    if source.header is not None:
        text: Json = header(headers, source.header.lower())
    elif request is not None and source.body is not None:
        text = _below(request.extras, path_below(request.extras, source.body))
    else:
        return ""
    if source.key is not None and isinstance(text, str):
        try:
            text = from_json(text)
        except ValueError:
            return ""
        text = text.get(source.key) if isinstance(text, dict) else None
    return text if isinstance(text, str) else ""


def path_below(extras: Mapping[str, Json], pointer: str) -> list[str]:
    """Where in a request's extras that place of its body stands; never empty."""
    path = pointer.lstrip("/").split("/")
    wrapped = len(path) > 1 and path[0] in _WRAPPERS and path[0] not in extras
    return path[1:] if wrapped else path


def _below(extras: Mapping[str, Json], path: list[str]) -> Json:
    value: Json | Mapping[str, Json] = extras
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value if not isinstance(value, Mapping) else None
