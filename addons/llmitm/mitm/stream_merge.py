"""Body chunks that arrive in one read go through a steered stream as one.

A provider that is faster than the proxy fills the socket with many small chunks. mitmproxy carries
each of them alone through every layer, with a TLS record and a system call of its own. Nothing
waits here: what one read brought is handed on before that read is done with. Bytes and order stay;
only the borders between HTTP/1 chunks, which mean nothing, are not kept.
"""

from __future__ import annotations

from collections.abc import Mapping

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.layers.http import HttpStream
from mitmproxy.proxy.layers.http._base import ReceiveHttp
from mitmproxy.proxy.layers.http._events import ResponseData

from llmitm.mitm.stream_upstream import UpstreamSide


class Merged:
    """An upstream connection as its pool sees it while one read is handled."""

    def __init__(self, connection: Layer, streams: Mapping[int, HttpStream]) -> None:
        self._connection = connection
        self._streams = streams

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """The connection's commands, neighbouring chunks of one steered stream made one."""
        pieces: list[bytes] = []
        stream_id = 0
        for command in self._connection.handle_event(event):
            data = self._chunk(command)
            if data is not None and (not pieces or data.stream_id == stream_id):
                stream_id = data.stream_id
                pieces.append(data.data)
                continue
            if pieces:
                yield ReceiveHttp(ResponseData(stream_id, b"".join(pieces)))
                pieces = []
            if data is not None:
                stream_id, pieces = data.stream_id, [data.data]
            else:
                yield command
        if pieces:
            yield ReceiveHttp(ResponseData(stream_id, b"".join(pieces)))

    def _chunk(self, command: commands.Command) -> ResponseData | None:
        if type(command) is not ReceiveHttp or type(command.event) is not ResponseData:
            return None
        stream = self._streams.get(command.event.stream_id)
        if isinstance(stream, UpstreamSide) and stream.steering is not None:
            return command.event
        return None
