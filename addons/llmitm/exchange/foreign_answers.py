"""A provider that answers in another protocol than the rules declare is recognised, said, and read.

The declared protocol is tried first and costs nothing more; only an answer it finds nothing in is
looked at twice, and of a stream only the first event. Never: changes a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from llmitm.canon.events import Event, Opaque, Ping, Start
from llmitm.dialects.contract import Dialect, Frame, StreamDecoder
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE
from llmitm.dialects.framing_json_array import ArrayFrame, JsonArraySplitter
from llmitm.dialects.framing_sse import SseFrame, SseSplitter
from llmitm.dialects.recognise import frame_dialect, same_family
from llmitm.exchange.readers import SkimReader

type Note = Callable[[str], None]

_STREAM_TYPE = "text/event-stream"
_TEXT_STREAMS = frozenset({_STREAM_TYPE, "application/json", "application/x-ndjson"})
_BLANK = b"\xef\xbb\xbf \t\r\n"


def decode_whole(
    dialects: Mapping[str, Dialect], declared: str, body: bytes, note: Note
) -> list[Event]:
    """The events of a body in the declared protocol, or in the one that it really is in."""
    events = dialects[declared].decode_response(body)
    if not all(isinstance(event, Opaque | Ping | Start) for event in events):
        return events
    seen = frame_dialect(body)
    if same_family(declared, seen) or seen not in dialects:
        return events
    note(_said(seen, declared))
    return dialects[seen].decode_response(body)


def stream_decoder(
    dialects: Mapping[str, Dialect], declared: str, media_type: str, note: Note
) -> StreamDecoder:
    """A decoder of the declared protocol, or of the one that the first event shows."""
    if media_type == MEDIA_TYPE:
        # Binary: no other protocol is carried so.
        return dialects[declared].stream_decoder(media_type)
    if media_type not in _TEXT_STREAMS:
        return dialects[declared].stream_decoder(media_type)
    return _FirstEventDecides(dialects, declared, media_type, note)


def skim_reader(
    dialects: Mapping[str, Dialect], declared: str, coding: str, note: Note
) -> SkimReader:
    """A reader for a stream of events that is only counted, in whichever protocol it really is."""
    decoder = _FirstEventDecides(dialects, declared, _STREAM_TYPE, note)
    reader = SkimReader(decoder, dialects[declared].telling, coding)
    decoder.switched = lambda dialect: reader.look_for(dialect.telling)
    return reader


class _FirstEventDecides:
    """Passes on to one decoder, which the first frame with data chooses. See `StreamDecoder`.

    switched: told when it is another protocol's.
    """

    switched: Callable[[Dialect], None] | None = None

    def __init__(
        self, dialects: Mapping[str, Dialect], declared: str, media_type: str, note: Note
    ) -> None:
        self._dialects = dialects
        self._declared = declared
        self._media_type = media_type
        self._note = note
        self._decoder = dialects[declared].stream_decoder(media_type)
        self._decided = False
        self._splitter: SseSplitter | JsonArraySplitter | None = None

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames that `data` completes."""
        if self._decided:
            return self._decoder.feed(data)
        if self._splitter is None:
            start = data.lstrip(_BLANK)[:1]
            if not start:
                return self._decoder.feed(data)
            # What is announced as events may be one error object.
            self._splitter = JsonArraySplitter() if start in (b"{", b"[") else SseSplitter()
        return self._first(self._splitter.feed(data), self._splitter)

    def close(self) -> Sequence[Frame]:
        """What is left when the stream ends."""
        if self._decided or self._splitter is None:
            return self._decoder.close()
        return [*self._first(self._splitter.close(), self._splitter), *self._decoder.close()]

    def _first(
        self,
        frames: Sequence[SseFrame] | Sequence[ArrayFrame],
        splitter: SseSplitter | JsonArraySplitter,
    ) -> Sequence[Frame]:
        for frame in frames:
            if frame.data:
                self._choose(frame.data)
                break
        else:
            # Comments tell nothing, and the declared protocol passes them on as well as any other.
            return self._decoder.feed(b"".join(frame.raw for frame in frames))
        rest = b"".join(frame.raw for frame in (*frames, *splitter.close()))
        return self._decoder.feed(rest)

    def _choose(self, data: bytes) -> None:
        self._decided = True
        seen = frame_dialect(data)
        if same_family(self._declared, seen) or seen not in self._dialects:
            return
        self._note(_said(seen, self._declared))
        self._decoder = self._dialects[seen].stream_decoder(self._media_type)
        if self.switched is not None:
            self.switched(self._dialects[seen])


def _said(seen: str, declared: str) -> str:
    return f"answered in {seen} although {declared} was declared"
