"""What lies before `llmitm translate`: is it compressed, is it binary, which protocol does it show.

Compression is known by its first bytes; brotli has none of its own, so it is tried on what is
nothing else. Never: reads a file, raises anything but ClientWireError.
Source: RFC 1952 (gzip), RFC 8878 (zstd), RFC 7932 (br); Smithy specification, event streams.
"""

from __future__ import annotations

import re
from zlib import crc32

from llmitm.canon.values import Json
from llmitm.dialects.framing_aws_eventstream import EventFrame, EventStreamSplitter
from llmitm.dialects.json_text import parse
from llmitm.dialects.recognise import shape_of
from llmitm.errors import ClientWireError
from llmitm.exchange.codings import CodingError, decode

MOST_BYTES = 256 << 20
"""More than this does not come out of a compressed input."""

_MAGIC = ((b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"))
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_PRELUDE_BYTES = 12
_SHOWN_BYTES = 8


def uncompressed(body: bytes) -> tuple[bytes, str]:
    """(the body without its content coding, the coding's name or empty).

    Raises ClientWireError for a coding whose data is broken or that decodes to too much.
    """
    for magic, coding in _MAGIC:
        if body.startswith(magic):
            try:
                return decode(body, coding, MOST_BYTES), coding
            except CodingError as error:
                raise ClientWireError("", f"the input is {coding}, but {error}") from None
    if not body or is_text(body) or is_event_stream(body):
        return body, ""
    try:
        plain = decode(body, "br", MOST_BYTES)
    except CodingError:
        return body, ""
    known = is_event_stream(plain) or shape_of(plain)
    return (plain, "br") if known else (body, "")


def is_text(body: bytes) -> bool:
    """Whether it is UTF-8 without control characters, as all protocols but one are."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return _CONTROL.search(text) is None


def is_event_stream(body: bytes) -> bool:
    """Whether it begins as an AWS event stream: two lengths and their checksum."""
    return len(body) >= _PRELUDE_BYTES and crc32(body[:8]) == int.from_bytes(body[8:12])


def event_frames(body: bytes) -> list[EventFrame]:
    """The messages of an AWS event stream; a cut or broken rest is a last one, not intact."""
    splitter = EventStreamSplitter()
    return [*splitter.feed(body), *splitter.close()]


def event_dialect(body: bytes) -> str:
    """The protocol of an AWS event stream, empty where only an error is told."""
    for frame in event_frames(body):
        kind = frame.headers.get(":event-type", "")
        if kind:
            return "bedrock_invoke" if kind == "chunk" else "bedrock_converse"
    return ""


def broken(body: bytes) -> str:
    """What is wrong with an AWS event stream, empty when it is whole."""
    frames = event_frames(body)
    bad = [place for place, frame in enumerate(frames) if not frame.intact]
    if not bad:
        return ""
    at = sum(len(frame.raw) for frame in frames[: bad[0]])
    return f"message {bad[0] + 1} (byte {at}) is cut short or its checksum is wrong"


def readable(body: bytes) -> list[Json]:
    """The messages of an AWS event stream as a person reads them: headers, and the payload."""
    return [
        {**frame.headers, "payload": _payload(frame.payload)}
        for frame in event_frames(body)
        if frame.intact
    ]


def _payload(data: bytes) -> Json:
    try:
        return parse(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def first_bytes(body: bytes) -> str:
    """How a binary input begins, for a message: `50 4b 03 04 …`."""
    return body[:_SHOWN_BYTES].hex(" ") + (" …" if len(body) > _SHOWN_BYTES else "")
