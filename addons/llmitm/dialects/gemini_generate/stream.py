"""Streamed answers, both ways: server-sent events and the JSON array.

Source: Gemini API reference, streamGenerateContent; a stream has no mark of its end: it is
complete when every candidate told a finish reason.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmitm.canon.events import Event, Opaque, Ping
from llmitm.dialects.contract import Frame, Reply, StreamDecoder, StreamEncoder
from llmitm.dialects.framing_json_array import JsonArraySplitter
from llmitm.dialects.framing_sse import SseSplitter
from llmitm.dialects.gemini_generate.chunks import ChunkReader
from llmitm.dialects.gemini_generate.encoder import GeminiEncoder
from llmitm.dialects.gemini_generate.tables import CODE_ASSIST_NAME, NAME
from llmitm.dialects.gemini_generate.wire import BOM, parse

_PING = (Ping(),)


class GeminiDecoder:
    """The frames of one streamed answer.

    media_type says which framing to expect; a body that begins like the other one (an error
    object where events were announced) is read as what it is.
    """

    def __init__(self, media_type: str) -> None:
        self._sse = not media_type.partition(";")[0].strip().lower().endswith("json")
        self._splitter: SseSplitter | JsonArraySplitter | None = None
        self._head = b""
        self._reader = ChunkReader()

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames that `data` completes."""
        if self._splitter is None:
            data = self._head + data
            start = data.removeprefix(BOM).lstrip()[:1]
            if not start or (len(data) < len(BOM) and BOM.startswith(data)):
                self._head = data
                return ()
            self._head = b""
            if start in (b"[", b"{"):
                self._splitter = JsonArraySplitter()
            elif self._sse or start in (b"d", b"e", b":", b"i", b"r"):
                self._splitter = SseSplitter()
            else:
                self._splitter = JsonArraySplitter()
        return [
            Frame(item.raw, self._events(item.raw, item.data)) for item in self._splitter.feed(data)
        ]

    def close(self) -> Sequence[Frame]:
        """What is left, the parts still open, the finish reasons that were told."""
        frames: list[Frame] = []
        if self._splitter is not None:
            for item in self._splitter.close():
                frames.append(Frame(item.raw, self._events(item.raw, item.data)))
        elif self._head:
            frames.append(Frame(self._head))
            self._head = b""
        events = self._reader.finish()
        self._reader = ChunkReader()
        if events:
            last = frames.pop() if frames else Frame(b"")
            frames.append(Frame(last.raw, (*last.events, *events)))
        return frames

    def _events(self, raw: bytes, data: bytes | None) -> tuple[Event, ...]:
        if data is None:
            return _PING if raw.startswith(b":") else ()
        try:
            value = parse(data)
        except ValueError:
            return (Opaque(NAME, "", data.decode("utf-8", "replace")),)
        return tuple(self._reader.read(value))


def decoder(media_type: str) -> StreamDecoder:
    """A decoder for one answer of this media type."""
    return GeminiDecoder(media_type)


def encoder(reply: Reply) -> StreamEncoder:
    """An encoder for one answer in the plain form."""
    return GeminiEncoder(reply, NAME)


def code_assist_encoder(reply: Reply) -> StreamEncoder:
    """An encoder for one answer with every chunk under `response`."""
    return GeminiEncoder(reply, CODE_ASSIST_NAME)
