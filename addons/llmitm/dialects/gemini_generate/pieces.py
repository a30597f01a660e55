"""Puts together a function call whose arguments are streamed as pieces with JSON paths.

Total: a path that makes no sense is left out. Source: Vertex AI reference, PartialArg
(`streamFunctionCallArguments`), RFC 9535 for the paths.
"""

from __future__ import annotations

import re
from itertools import pairwise

from llmitm.canon.values import Json
from llmitm.dialects.gemini_generate.wire import camel

_STEP = re.compile(r"""\.([^.\[\]]+)|\[(\d{1,6})\]|\['([^']*)'\]|\["([^"]*)"\]""")
_MAX_DEPTH = 100


class PartialArgs:
    """The arguments of one call while they come in."""

    def __init__(self, args: Json = None) -> None:
        self._args: dict[str, Json] = dict(args) if isinstance(args, dict) else {}
        self._strings: dict[tuple[str | int, ...], list[str]] = {}

    def add(self, pieces: Json) -> None:
        """Takes one chunk's `partialArgs`; more of a string is appended to it."""
        if not isinstance(pieces, list):
            return
        for piece in pieces:
            if not isinstance(piece, dict):
                continue
            fields = camel(piece)
            path = _path(fields.get("jsonPath"))
            value = _value(fields)
            if isinstance(value, str):
                known = self._strings.get(path)
                if known is not None:
                    known.append(value)
                    continue
                self._strings[path] = [value]
            _put(self._args, path, value)

    def result(self) -> dict[str, Json]:
        """The arguments as far as they came."""
        for path, pieces in self._strings.items():
            if len(pieces) > 1:
                _put(self._args, path, "".join(pieces))
                pieces[:] = ["".join(pieces)]
        return self._args


def _path(text: Json) -> tuple[str | int, ...]:
    if not isinstance(text, str) or not text.startswith("$"):
        return ()
    steps: list[str | int] = []
    at = 1
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or len(steps) == _MAX_DEPTH:
            return ()
        name, index, single, double = match.groups()
        steps.append(int(index) if index is not None else name or single or double or "")
        at = match.end()
    return tuple(steps)


def _value(fields: dict[str, Json]) -> Json:
    for key in ("stringValue", "numberValue", "boolValue"):
        if key in fields:
            return fields[key]
    return None


def _put(args: dict[str, Json], path: tuple[str | int, ...], value: Json) -> None:
    if not path:
        return
    node: Json = args
    for step, following in pairwise(path):
        node = _child(node, step, [] if isinstance(following, int) else {})
    last = path[-1]
    if isinstance(node, dict) and isinstance(last, str):
        node[last] = value
    elif isinstance(node, list) and isinstance(last, int):
        if last == len(node):
            node.append(value)
        elif last < len(node):
            node[last] = value


def _child(node: Json, step: str | int, fresh: Json) -> Json:
    """What is at `step`; `fresh` is put there where nothing was."""
    if isinstance(node, dict) and isinstance(step, str):
        return node.setdefault(step, fresh)
    if isinstance(node, list) and isinstance(step, int):
        if step == len(node):
            node.append(fresh)
        return node[step] if step < len(node) else None
    return None
