"""WebSockets: untouched, unless a route would be slipped past."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from origin_server import Origin
from proxied import Proxied, behind, trusting

pytestmark = pytest.mark.end_to_end

UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
SERVER_SAYS_HI = b"\x81\x02hi"


def upgraded(proxied: Proxied) -> ssl.SSLSocket:
    """A TLS connection through CONNECT, on which the upgrade was asked for."""
    plain = proxied.connect("api.openai.com:443")
    tls = trusting(proxied.proxy.ca).wrap_socket(plain, server_hostname="api.openai.com")
    tls.settimeout(20)
    tls.sendall(UPGRADE)
    return tls


def read_until(tls: ssl.SSLSocket, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        more = tls.recv(4096)
        assert more, seen
        seen += more
    return seen


def test_a_websocket_passes_untouched(tmp_path: Path) -> None:
    with (
        Origin(tmp_path / "origin", lambda _: [ACCEPTED, SERVER_SAYS_HI]) as server,
        behind(tmp_path / "p", server) as proxied,
        upgraded(proxied) as tls,
    ):
        seen = read_until(tls, SERVER_SAYS_HI)
        assert seen.startswith(b"HTTP/1.1 101 ")
        assert b"x-llmitm" not in seen.lower()
    assert server.received[0].header("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="


def test_with_routes_the_client_is_sent_back_to_http(proxied: Proxied) -> None:
    with upgraded(proxied) as tls:
        seen = read_until(tls, b"}")
    assert seen.startswith(b"HTTP/1.1 426 ")
    assert b"without WebSocket" in seen
