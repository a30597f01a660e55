"""How llmitm speaks to one client: answers, streams and errors in the client's own protocol."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil
from types import MappingProxyType
from typing import Literal

from llmitm.canon.events import Event, Fault
from llmitm.canon.fold import fold, unfold
from llmitm.canon.response import Response
from llmitm.canon.statuses import STATUS_BY_KIND
from llmitm.canon.values import Loss, value
from llmitm.dialects.contract import Dialect, Reply, StreamEncoder
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE
from llmitm.exchange.wire import Headers, WireResponse

STREAM_TYPES = frozenset({"text/event-stream", "application/x-ndjson", MEDIA_TYPE})
"""Content types of streams."""

type Framing = Literal["sse", "json_array", "ndjson", "aws_eventstream"]

_FRAMINGS: Mapping[str, Framing] = MappingProxyType(
    {
        "ollama_chat": "ndjson",
        "ollama_generate": "ndjson",
        "bedrock_converse": "aws_eventstream",
        "bedrock_invoke": "aws_eventstream",
    }
)
_CONTENT_TYPES: Mapping[Framing, str] = MappingProxyType(
    {
        "json_array": "application/json",
        "ndjson": "application/x-ndjson",
        "aws_eventstream": MEDIA_TYPE,
    }
)

JSON_HEADERS: Headers = (("content-type", "application/json"),)


def framing_of(protocol: str, stream: bool, query: str) -> Framing:
    """How a stream of this protocol is framed; query: of the client's URL."""
    if protocol.startswith("gemini"):
        return "json_array" if stream and "alt=sse" not in query else "sse"
    return _FRAMINGS.get(protocol, "sse")


@value
class Answers:
    """The client's dialect, what its request fixed for the reply, and whether it wants a stream."""

    dialect: Dialect
    reply: Reply
    stream: bool

    def encoder(self) -> StreamEncoder:
        """A fresh encoder for one streamed answer."""
        return self.dialect.stream_encoder(self.reply)

    @property
    def stream_headers(self) -> Headers:
        """The response head of a stream in this protocol."""
        kind = _CONTENT_TYPES.get(self.reply.framing)
        if kind is not None:
            return (("content-type", kind),)
        return (("content-type", "text/event-stream; charset=utf-8"), ("cache-control", "no-cache"))

    def events(self, events: Iterable[Event], losses: list[Loss]) -> WireResponse:
        """A complete answer from its events. What could not be carried is added to `losses`."""
        if not self.stream:
            return self.response(fold(events), losses)
        encoder = self.encoder()
        body = encoder.feed(events) + encoder.close()
        losses.extend(encoder.losses)
        return WireResponse(status=200, headers=self.stream_headers, body=body)

    def response(self, response: Response, losses: list[Loss]) -> WireResponse:
        """A complete answer, streamed if the client asked for a stream."""
        if self.stream:
            return self.events(unfold(response), losses)
        encoded = self.dialect.encode_response(response, self.reply)
        losses.extend(encoded.losses)
        return WireResponse(status=200, headers=JSON_HEADERS, body=encoded.body)

    def fault(self, fault: Fault) -> WireResponse:
        """An error body with its status and, where known, `Retry-After` in whole seconds."""
        headers = JSON_HEADERS
        if fault.retry_after_s is not None:
            headers += (("retry-after", str(ceil(fault.retry_after_s))),)
        return WireResponse(
            status=fault.status or STATUS_BY_KIND[fault.kind],
            headers=headers,
            body=self.dialect.encode_error(fault),
        )
