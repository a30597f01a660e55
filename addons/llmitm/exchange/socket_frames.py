"""JSON frames of a Responses WebSocket: what can be told of one without reading it, and how ours
are made.

A client's `response.create` is a Responses request beside its `type`; each server frame is one
event of the streamed answer. Never: keeps state.
Source: OpenAI API reference, Responses, WebSocket events.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from llmitm.canon.events import Fault
from llmitm.canon.statuses import STATUS_BY_KIND
from llmitm.canon.values import Json
from llmitm.dialects.contract import Dialect, Frame
from llmitm.dialects.framing_sse import SseSplitter
from llmitm.dialects.json_text import dump, parse
from llmitm.dialects.openai_responses.reader import EventReader
from llmitm.dialects.splicing import Edit, splice
from llmitm.exchange.meter import is_content

type Wire = dict[str, Json]

CREATE = "response.create"
STEER = "response.steer"
LANE = "stream_id"
"""Names one of several answers that share a socket."""

ENDINGS = frozenset({"response.completed", "response.incomplete", "response.failed", "error"})
"""The last event of an answer."""

_CREATES = re.compile(rb'"type"\s*:\s*"response\.create"')
_MODEL = b'"model"'
_MODELS = re.compile(rb'"model"\s*:\s*"([^"]*)"')
_ESCAPED = '"\\/'


def creates(data: bytes) -> bool:
    """Whether the frame looks like a request; good enough to count it, not to let it pass."""
    return _CREATES.search(data) is not None


def models_in(data: bytes) -> tuple[bytes, ...]:
    """All that stands where a model may stand, in order: equal ones ask for the same model."""
    found: list[bytes] = []
    # Looking for the key as a plain string is many times as fast as the pattern alone.
    at = data.find(_MODEL)
    while at >= 0:
        match = _MODELS.match(data, at)
        if match is not None:
            found.append(match[1])
        at = data.find(_MODEL, at + 1)
    return tuple(found)


def finder(text: str) -> Callable[[bytes], bool]:
    """What tells whether `text` stands in JSON, however its characters are escaped there."""
    plain = text.encode("utf-8", "surrogatepass")
    escapes = (b"\\u", *(b"\\" + letter.encode() for letter in text if letter in _ESCAPED))
    spelled = re.compile(b"".join(_spellings(letter) for letter in text))

    def found(data: bytes) -> bool:
        if plain in data:
            return True
        return any(each in data for each in escapes) and spelled.search(data) is not None

    return found


def _spellings(letter: str) -> bytes:
    units = letter.encode("utf-16-be", "surrogatepass")
    escaped = b"".join(
        rb"\\u(?i:%04x)" % int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)
    )
    ways = [re.escape(letter.encode("utf-8", "surrogatepass")), escaped]
    if letter in _ESCAPED:
        ways.append(rb"\\" + re.escape(letter.encode()))
    return b"(?:" + b"|".join(ways) + b")"


def read_frame(data: bytes) -> Wire | None:
    """The frame's object; None = it is none."""
    try:
        wire = parse(data)
    except ValueError:
        return None
    return wire if isinstance(wire, dict) else None


def lane_of(wire: Wire | None) -> str:
    """The lane a frame belongs to, empty = the only one."""
    lane = wire.get(LANE) if wire is not None else None
    return lane if isinstance(lane, str) else ""


def lane_in(data: bytes) -> str:
    """The lane of a frame that was not read."""
    return lane_of(read_frame(data)) if b'"stream_id"' in data else ""


def items_of(wire: Wire) -> list[Json]:
    """The items of a request's `input`."""
    given = wire.get("input")
    if isinstance(given, str):
        return [{"type": "message", "role": "user", "content": given}]
    return list(given) if isinstance(given, list) else []


def with_items(data: bytes, items: Sequence[Json]) -> bytes:
    """The frame with these items as its `input`, all else to the byte."""
    edited = splice(data.decode("utf-8", "surrogateescape"), [Edit("set", ("input",), list(items))])
    if edited is not None:
        return edited.encode("utf-8", "surrogateescape")
    wire = read_frame(data) or {}
    return dump({**wire, "input": list(items)})


def assistant_item(text: str) -> Json:
    """An answer's text as a client replays it."""
    content: list[Json] = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "role": "assistant", "content": content}


def frames_of(stream: bytes, lane: str = "") -> tuple[bytes, ...]:
    """The frames of a streamed answer: the data of its server-sent events."""
    splitter = SseSplitter()
    found = [*splitter.feed(stream), *splitter.close()]
    frames = [frame.data for frame in found if frame.data]
    return tuple(_on(frame, lane) for frame in frames)


def _on(frame: bytes, lane: str) -> bytes:
    wire = read_frame(frame) if lane else None
    return frame if wire is None or LANE in wire else dump({**wire, LANE: lane})


def error_frame(dialect: Dialect, fault: Fault, lane: str = "") -> bytes:
    """The error event of a request that was refused."""
    body = read_frame(dialect.encode_error(fault)) or {}
    status = fault.status or STATUS_BY_KIND[fault.kind]
    return _on(dump({"type": "error", "status": status, **body}), lane)


def steer_failed_frame(steer: Wire, say: str) -> bytes:
    """The answer to steering input that was not taken; the client gets its input back."""
    error: Wire = {"type": "invalid_request_error", "code": "invalid_input", "message": say}
    told: Wire = {key: steer[key] for key in ("input", "previous_response_id") if key in steer}
    failed: Wire = {"type": "response.steer.failed", "sequence_number": 0}
    return dump({**failed, "error": error, "steer": told})


class FrameReader:
    """The server's frames of one answer as the stream tap reads them.

    telling: of frames only to be counted, those without it are left unread after the first content;
    None = all are read. A frame's `raw` is the server-sent event that `frames_of` takes apart.
    """

    def __init__(self, telling: re.Pattern[bytes] | None = None) -> None:
        self._reader = EventReader()
        self._telling = telling
        self._settled = False

    def feed(self, data: bytes) -> Sequence[Frame]:
        """This frame's events."""
        telling = self._telling
        if telling is None:
            # Line ends stand between JSON values only; in an event they would end the data.
            line = data.replace(b"\r", b" ").replace(b"\n", b" ")
            return (Frame(b"data: %b\n\n" % line, self._reader.read(data)),)
        if self._settled and telling.search(data) is None:
            return ()
        events = self._reader.read(data)
        self._settled = self._settled or any(is_content(event) for event in events)
        return (Frame(b"", events),)

    def close(self) -> Sequence[Frame]:
        """The ends of parts that were left open."""
        return (Frame(b"", self._reader.close()),)
