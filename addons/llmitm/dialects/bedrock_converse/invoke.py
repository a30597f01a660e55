"""InvokeModel calls whose bodies are written in another protocol (Claude models: Messages).

The bodies are that protocol's own, without model and stream, which stand in the path; a stream is
an AWS event stream whose chunks hold the other protocol's events as base64.
Source: Amazon Bedrock API reference, InvokeModelWithResponseStream; Anthropic Claude Messages on
Bedrock.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from dataclasses import replace

from llmitm.canon.events import Event, Fault
from llmitm.canon.values import Json, Loss
from llmitm.dialects.bedrock_converse.encoder import event_message, exception_message
from llmitm.dialects.bedrock_converse.faults import encode_error
from llmitm.dialects.bedrock_converse.stream import Events, rest_events, trouble_of
from llmitm.dialects.contract import Dialect, Frame, Reply, StreamDecoder
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE, EventFrame, EventStreamSplitter
from llmitm.dialects.framing_sse import SseSplitter, named_frame
from llmitm.dialects.json_text import parse_small

NAME = "bedrock_invoke"


def invoke_dialect(body: Dialect) -> Dialect:
    """InvokeModel with bodies of `body`, a protocol whose streams are server-sent events."""

    def decoder(media_type: str) -> StreamDecoder:
        kind = media_type.partition(";")[0].strip()
        if kind and kind != MEDIA_TYPE:
            return body.stream_decoder(media_type)
        return ChunkDecoder(body)

    def encoder(reply: Reply) -> ChunkEncoder:
        return ChunkEncoder(body, reply)

    return replace(
        body, name=NAME, stream_decoder=decoder, stream_encoder=encoder, encode_error=encode_error
    )


class ChunkDecoder:
    """Event stream chunks of one answer; never raises."""

    def __init__(self, body: Dialect) -> None:
        self._splitter = EventStreamSplitter()
        self._inner = body.stream_decoder("text/event-stream")

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that `data` completes."""
        return [Frame(frame.raw, self._events(frame)) for frame in self._splitter.feed(data)]

    def close(self) -> list[Frame]:
        """The unfinished rest, then the ends of parts still open."""
        frames = [Frame(frame.raw, rest_events(frame)) for frame in self._splitter.close()]
        events = tuple(event for frame in self._inner.close() for event in frame.events)
        return [*frames, Frame(b"", events)] if events else frames

    def _events(self, frame: EventFrame) -> Events:
        if not frame.intact:
            return ()
        trouble = trouble_of(frame)
        if trouble is not None:
            return trouble
        try:
            value = parse_small(frame.payload)
            data = value.get("bytes") if isinstance(value, dict) else None
            told = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
            said = parse_small(told) if told else None
        except (ValueError, binascii.Error):
            return ()
        kind = said.get("type") if isinstance(said, dict) else None
        # A line end inside would end the event: one line is all JSON needs.
        told = told.replace(b"\r", b"").replace(b"\n", b"")
        event = named_frame(kind if isinstance(kind, str) and kind.isidentifier() else "", told)
        return tuple(e for inner in self._inner.feed(event) for e in inner.events)


class ChunkEncoder:
    """Events of one answer as event stream chunks; never raises."""

    def __init__(self, body: Dialect, reply: Reply) -> None:
        self._inner = body.stream_encoder(reply)
        self._splitter = SseSplitter()
        self._done = False

    @property
    def losses(self) -> list[Loss]:
        """What could not be carried."""
        return self._inner.losses

    @losses.setter
    def losses(self, losses: list[Loss]) -> None:
        self._inner.losses = losses

    def feed(self, events: Iterable[Event]) -> bytes:
        """The chunks for these events; a Fault ends the stream with an exception."""
        if self._done:
            return b""
        before: list[Event] = []
        for event in events:
            if isinstance(event, Fault):
                self._done = True
                return self._chunks(self._inner.feed(before)) + exception_message(event)
            before.append(event)
        return self._chunks(self._inner.feed(before))

    def close(self) -> bytes:
        """What makes the stream well-formed when it ends here."""
        if self._done:
            return b""
        self._done = True
        return self._chunks(self._inner.close())

    def heartbeat(self) -> bytes:
        """The inner protocol's own keep-alive."""
        return self._chunks(self._inner.heartbeat())

    def _chunks(self, data: bytes) -> bytes:
        pieces: list[bytes] = []
        for frame in self._splitter.feed(data):
            if frame.data is not None:
                told: Json = {"bytes": base64.b64encode(frame.data).decode()}
                pieces.append(event_message("chunk", told))
        return b"".join(pieces)
