"""A streamed frame that is like the one before it but for its text need not be read anew.

Most of an answer comes in such frames: the same JSON again and again with another piece of text at
one place. What stands before and after that place is compared as bytes, and only the text is
parsed. Never: takes a frame for alike that reads otherwise; that the place is the right one is
proved once, by parsing the frame with another text there.
"""

from __future__ import annotations

import re

from pydantic_core import from_json

from llmitm.canon.events import Event, PartDelta
from llmitm.canon.values import Json

_STRING = re.compile(rb' *("(?:[^"\\]|\\.)*")', re.DOTALL)
_PROBE = "another\u0000text"
_PROBE_JSON = rb'"another\u0000text"'
_MOST_VAIN = 8
"""After so many frames that were learned in vain the stream counts as one without alike frames."""


class Alike:
    """The last frame read, if a piece of text was all it told. learns: False = none is ever."""

    __slots__ = ("_after", "_before", "_event", "_left")

    def __init__(self, *, learns: bool = True) -> None:
        self._before = self._after = b""
        self._event: PartDelta | None = None
        self._left = _MOST_VAIN if learns else 0

    def read(self, data: bytes) -> tuple[Event, ...] | None:
        """The event of a frame like the last one; None = it must be read, and is the last one
        from now on."""
        event = self._event
        if event is None:
            return None
        before, after = self._before, self._after
        if data.startswith(before) and data.endswith(after):
            try:
                text = from_json(data[len(before) : len(data) - len(after)])
            except ValueError:
                text = None
            if isinstance(text, str) and text:
                self._left = _MOST_VAIN
                return (PartDelta(event.index, event.kind, text, event.choice),)
        self._event = None
        return None

    def learn(
        self, data: bytes, value: dict[str, Json], holder: dict[str, Json], key: str, event: Event
    ) -> None:
        """A frame was read that tells this event and nothing else, and would tell it of any text
        in its place.

        value: all of its JSON, holder: the object in it that has the text under `key`.
        """
        if not self._left or not isinstance(event, PartDelta):
            return
        self._left -= 1
        mark = b'"%s":' % key.encode()
        at = data.find(mark)
        found = _STRING.match(data, at + len(mark)) if at >= 0 else None
        if found is None:
            return
        before, after = data[: found.start(1)], data[found.end(1) :]
        told, holder[key] = holder[key], _PROBE
        try:
            proved = from_json(before + _PROBE_JSON + after) == value
        except ValueError:
            proved = False
        holder[key] = told
        if proved:
            self._before, self._after, self._event = before, after, event
