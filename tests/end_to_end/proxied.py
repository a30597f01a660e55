"""A running proxy as tests see it: its URL, its CA, its journal."""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx
import httpx2

from llmitm.mitm.processes import Child, llmitm_proxy


def trusting(ca: Path, *, http2: bool = False) -> ssl.SSLContext:
    """A client's TLS context that trusts this CA alone. http2: it speaks nothing else."""
    if not http2:
        return ssl.create_default_context(cafile=ca)
    context = _OnlyHttp2(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(ca)
    return context


class _OnlyHttp2(ssl.SSLContext):
    """httpx puts HTTP/1.1 first, and mitmproxy then takes that where no server has chosen."""

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        super().set_alpn_protocols(["h2"])


class _Heard(httpx2.SyncByteStream):
    """A body that somebody listens to."""

    def __init__(self, stream: httpx2.SyncByteStream, heard: Callable[[bytes], object]) -> None:
        self._stream = stream
        self._heard = heard

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._heard(chunk)
            yield chunk

    def close(self) -> None:
        self._stream.close()


@dataclass
class Proxied:
    """A running proxy and its journal. For the SDKs: http2: they speak that to it; heard: shown
    each chunk of an answer as it comes; sent: told when a request is out."""

    proxy: Child
    journal: Path
    read: int = field(default=0)
    http2: bool = False
    heard: Callable[[bytes], object] | None = None
    sent: Callable[[], object] | None = None

    @property
    def url(self) -> str:
        """The proxy's URL."""
        return f"http://127.0.0.1:{self.proxy.port}"

    def client(self, *, http2: bool = False, timeout: float = 30) -> httpx.Client:
        """An HTTP client behind the proxy that trusts its CA."""
        trust = trusting(self.proxy.ca, http2=http2)
        return httpx.Client(proxy=self.url, verify=trust, http2=http2, timeout=timeout)

    def connect(self, target: str) -> socket.socket:
        """A tunnel to `host:port` through the proxy."""
        plain = socket.create_connection(("127.0.0.1", self.proxy.port), 20)
        plain.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += plain.recv(1)
        assert b" 200 " in head.split(b"\r\n", 1)[0]
        return plain

    def sdk_client(self) -> httpx2.Client:
        """The same for the SDKs, which bring their own copy of the library."""
        trust = trusting(self.proxy.ca, http2=self.http2)
        client = httpx2.Client(proxy=self.url, verify=trust, http2=self.http2, timeout=30)
        heard, sent = self.heard, self.sent

        def request(asked: httpx2.Request) -> None:
            if sent is not None:
                asked.extensions["trace"] = lambda name, _: (
                    name.endswith("send_request_body.complete") and sent()
                )

        def response(answer: httpx2.Response) -> None:
            if heard is not None:
                assert isinstance(answer.stream, httpx2.SyncByteStream)
                answer.stream = _Heard(answer.stream, heard)

        client.event_hooks = {"request": [request], "response": [response]}
        return client

    def rows(self, count: int = 1) -> list[dict[str, Any]]:
        """The next `count` rows of the journal; a row is written just after its answer ended."""
        until = time.monotonic() + 10
        while time.monotonic() < until:
            text = self.journal.read_text() if self.journal.exists() else ""
            # The last one may be read while it is written.
            lines = text[: text.rfind("\n") + 1].splitlines()
            if len(lines) >= self.read + count:
                rows = [json.loads(line) for line in lines[self.read : self.read + count]]
                self.read += count
                return rows
            time.sleep(0.005)
        raise AssertionError(f"the journal has no {count} new rows")

    def skip(self) -> None:
        """Forgets rows written so far."""
        self.read = len(self.journal.read_text().splitlines()) if self.journal.exists() else 0


class Server(Protocol):
    """What the proxy sends to in place of every provider."""

    port: int
    ca: Path


@contextmanager
def behind(
    folder: Path,
    server: Server,
    settings: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Generator[Proxied]:
    """A proxy of its own whose providers are all `server`."""
    journal = folder / "journal.jsonl"
    child = Child(0, server.port, server.ca)
    with llmitm_proxy(folder, child, [f"llm_journal={journal}", *settings], variables) as proxy:
        yield Proxied(proxy, journal)
