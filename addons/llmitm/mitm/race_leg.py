"""One leg of a race: a request to one provider, read until it shows something, ends or fails.

What was read until then is kept as it came and nobody else has seen it: stages and meters only see
the answer of the leg that wins, from its first byte on.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from typing import Any

import httpx
from mitmproxy.connection import Server
from mitmproxy.net.http.status_codes import RESPONSES

from llmitm.canon.events import Fault
from llmitm.canon.statuses import STATUS_BY_KIND
from llmitm.dialects.contract import Frame
from llmitm.errors import StageError
from llmitm.exchange import foreign_answers
from llmitm.exchange.answers import STREAM_TYPES
from llmitm.exchange.attempts import Candidate
from llmitm.exchange.exchange import Exchange
from llmitm.exchange.failure import Failure
from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.meter import is_output
from llmitm.exchange.pipeline import guarded
from llmitm.exchange.readers import Reader, StreamReader, WholeReader
from llmitm.exchange.signed_requests import is_signed
from llmitm.exchange.wire import Headers, header, media_type
from llmitm.mitm.upstreams import Upstreams, request_of

_MOST_ERROR_BYTES = 65536
_ERROR_BODY_S = 5.0


class LegFailed(Exception):
    """The leg is out; `failure` says why."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@dataclass(slots=True, kw_only=True)
class Leg:
    """One leg. exchange: its own copy; held: what came so far; shown: there was output in it;
    ended: the answer is complete; over: it failed, and that is on record."""

    candidate: Candidate
    exchange: Exchange
    outgoing: Outgoing
    upstreams: Upstreams
    server: Server
    status: int = 0
    headers: Headers = ()
    held: list[bytes] = field(default_factory=list[bytes])
    shown: bool = False
    ended: bool = False
    over: bool = False
    _body: AsyncIterator[bytes] | None = None
    _stream: httpx.AsyncByteStream | None = None
    _close: Callable[[], Awaitable[None]] | None = None

    @property
    def label(self) -> str:
        """`provider:model`."""
        return self.outgoing.label

    async def run(self) -> None:
        """Reads until the answer shows something or ends. Raises LegFailed."""
        limit_s = self.candidate.target.marks.ttft_timeout_s if self.candidate.target else None
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                await self._read()
        except (httpx.TransportError, OSError) as error:
            if not limit.expired():
                raise LegFailed(failure_of(error)) from error
            say = f"nothing to show within {limit_s:g} s"
            raise LegFailed(Failure(kind="timeout", message=say)) from None

    async def _read(self) -> None:
        house, outgoing = self.exchange.house, self.outgoing
        wire = self.exchange.incoming.wire
        transport = self.upstreams.transport(self.server, outgoing.host)
        headers = outgoing.headers if outgoing.headers is not None else wire.headers
        if not is_signed(wire):
            # Another leg's head may already be with the client.
            headers = (
                *((name, value) for name, value in headers if name.lower() != "accept-encoding"),
                ("accept-encoding", "identity"),
            )
        body = outgoing.body if outgoing.body is not None else wire.body
        via = self.server.via is not None
        request = request_of(outgoing, wire.method, headers, body, via=via)
        request.extensions["trace"] = self._traced
        response = await transport.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        self._stream = response.stream
        self._body = aiter(response.stream)
        self.status = response.status_code
        self.headers = tuple(
            (name.decode("utf-8", "surrogateescape"), value.decode("utf-8", "surrogateescape"))
            for name, value in response.headers.raw
        )
        if not 200 <= self.status < 300:
            raise LegFailed(await self._refused(self._body))
        reader = self._reader()
        size, cap_bytes = 0, house.ruleset.routes.limits.max_buffered_bytes
        async for chunk in self._body:
            self.held.append(chunk)
            size += len(chunk)
            if self._shows(self._frames(reader.feed, chunk)):
                return
            if size > cap_bytes:
                say = f"nothing to show in {cap_bytes} bytes"
                raise LegFailed(Failure(kind="wire", message=say))
        self.ended = True
        self._shows(self._frames(reader.close))

    def _shows(self, frames: Iterable[Frame]) -> bool:
        """Whether there is output; raises LegFailed for an error that comes before it."""
        for frame in frames:
            for event in frame.events:
                if isinstance(event, Fault):
                    status = STATUS_BY_KIND[event.kind]
                    raise LegFailed(
                        Failure(kind="fault", message=event.message, status=status, fault=event)
                    )
                if is_output(event):
                    self.shown = True
                    return True
        return False

    def _frames(self, step: Callable[..., Sequence[Frame]], *about: bytes) -> Sequence[Frame]:
        frames = guarded("race", step, *about)
        if isinstance(frames, StageError):
            say = f"stopped reading the answer: {frames}"
            raise LegFailed(Failure(kind="wire", message=say)) from frames.cause
        return frames

    def _reader(self) -> Reader:
        """What makes events of this answer; whoever passes it on later says what is odd in it."""
        house, protocol = self.exchange.house, self.outgoing.protocol
        kind, coding = media_type(self.headers), header(self.headers, "content-encoding")
        if kind in STREAM_TYPES or (kind == "application/json" and protocol.startswith("gemini")):
            decoder = foreign_answers.stream_decoder(house.dialects, protocol, kind, _say_nothing)
            return StreamReader(decoder, coding)
        return WholeReader(
            lambda body: foreign_answers.decode_whole(house.dialects, protocol, body, _say_nothing),
            coding,
            house.ruleset.routes.limits.max_decompressed_bytes,
        )

    async def _refused(self, body: AsyncIterator[bytes]) -> Failure:
        """The failure that a status is, with its body if it comes in time and is no larger than
        error bodies are."""
        pieces: list[bytes] = []
        size, whole = 0, False
        try:
            async with asyncio.timeout(_ERROR_BODY_S):
                async for chunk in body:
                    pieces.append(chunk)
                    size += len(chunk)
                    if size > _MOST_ERROR_BYTES:
                        break
                else:
                    whole = True
        except (TimeoutError, httpx.TransportError, OSError):
            whole = False
        return Failure(
            kind="status",
            message=f"answered {self.status} {RESPONSES.get(self.status, '')}".rstrip(),
            status=self.status,
            headers=self.headers,
            body=b"".join(pieces) if whole else b"",
        )

    async def chunks(self) -> AsyncGenerator[bytes]:
        """The whole body: what is held, then what comes. Raises LegFailed if it breaks off."""
        held, self.held = self.held, []
        for chunk in held:
            yield chunk
        if self.ended or self._body is None:
            return
        try:
            async for chunk in self._body:
                yield chunk
        except (httpx.TransportError, OSError) as error:
            raise LegFailed(failure_of(error)) from error

    async def _traced(self, event: str, about: Mapping[str, Any]) -> None:
        """Told of each step of the request. A connection that is cancelled in its TLS handshake is
        closed by nobody else."""
        if event == "connection.connect_tcp.complete":
            self._close = about["return_value"].aclose

    async def aclose(self) -> None:
        """Closes the connection, however far it or the answer has come. Not while `run` runs."""
        stream, self._stream = self._stream, None
        body, self._body = self._body, None
        close, self._close = self._close, None
        self.held = []
        if stream is not None:
            await stream.aclose()
        if isinstance(body, AsyncGenerator):
            await body.aclose()
        if close is not None:
            await close()


def failure_of(error: httpx.TransportError | OSError) -> Failure:
    """A transport's error in the exchange's words."""
    say = str(error) or type(error).__name__
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            message = f"Certificate verify failed: {cause.verify_message}"
            return Failure(kind="certificate", message=message)
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        return Failure(kind="connect", message=say)
    if isinstance(error, httpx.LocalProtocolError):
        return Failure(kind="wire", message=say)
    return Failure(kind="broken", message=say)


def _say_nothing(_: str) -> None:
    """The exchange notes the same when it reads the answer."""
