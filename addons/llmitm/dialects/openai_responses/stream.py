"""Streams of the Responses protocol: server-sent events <-> canon events.

The JSON of one event, without a frame, is read by `reader.EventReader` and written by
`writer.Writer`; WebSocket messages are exactly that JSON.
Source: OpenAI API reference, Responses, streaming events.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from llmitm.canon.events import Event, Ping
from llmitm.canon.values import Loss
from llmitm.dialects.contract import Frame, Reply
from llmitm.dialects.framing_sse import HEARTBEAT, SseFrame, SseSplitter
from llmitm.dialects.openai_responses.reader import EventReader
from llmitm.dialects.openai_responses.response import decode_response
from llmitm.dialects.openai_responses.writer import Writer

_ANNOUNCES = b'"response.output_item.added"'


class SseDecoder:
    """Server-sent events -> frames with their canon events."""

    def __init__(self) -> None:
        self._splitter = SseSplitter()
        self._reader = EventReader(one_body=True)

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames that `data` completes."""
        return [self._frame(frame) for frame in self._splitter.feed(data)]

    def close(self) -> Sequence[Frame]:
        """The rest; a JSON body that stands where a stream was expected is read as one."""
        frames = [self._rest(frame) for frame in self._splitter.close()]
        ends = self._reader.close()
        return [*frames, Frame(b"", ends)] if ends else frames

    def _frame(self, frame: SseFrame) -> Frame:
        data = frame.data
        if data is None:
            return Frame(frame.raw, (Ping(),) if frame.raw.startswith(b":") else ())
        events = self._reader.read(data) if data else ()
        return Frame(frame.raw, events, announces=not events and _ANNOUNCES in data)

    def _rest(self, frame: SseFrame) -> Frame:
        if frame.data is None and frame.raw.lstrip().startswith(b"{"):
            return Frame(frame.raw, tuple(decode_response(frame.raw)))
        return self._frame(frame)


class SseEncoder:
    """Canon events -> the official event sequence as server-sent events."""

    def __init__(self, reply: Reply) -> None:
        self._writer = Writer(reply)
        self.losses: list[Loss] = self._writer.losses

    def feed(self, events: Iterable[Event]) -> bytes:
        """The bytes for these events."""
        return _joined(self._writer.feed(events))

    def close(self) -> bytes:
        """What makes the stream well-formed when it ends here."""
        return _joined(self._writer.close())

    def settle(self) -> None:
        """What has ended was told by the provider's own frames."""
        self._writer.settle()

    def heartbeat(self) -> bytes:
        """An event that clients count as a sign of life; a comment before the answer has begun."""
        return _joined(self._writer.alive()) or HEARTBEAT


def _joined(written: list[tuple[str, bytes]]) -> bytes:
    return b"".join(b"event: %b\ndata: %b\n\n" % (_name(kind), data) for kind, data in written)


def _name(kind: str) -> bytes:
    """The kind as an SSE field: a provider's odd word must not end the line or the encoding."""
    return kind.encode() if kind.isascii() and kind.isprintable() else b"message"


def stream_decoder(media_type: str) -> SseDecoder:
    """A decoder for one answer; the protocol streams in one form only."""
    return SseDecoder()


def stream_encoder(reply: Reply) -> SseEncoder:
    """An encoder for one answer."""
    return SseEncoder(reply)
