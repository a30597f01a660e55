"""Nobody decides through the proxy: whoever is held by it could let themselves go on.

Requests that come through the proxy and mean the review page or mitmweb are refused: by what they
name (CONNECT, request, connection), and, since a name can hide where it leads, by the socket they
come from: both ends of a connection from this proxy to its own page are in this process.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from mitmproxy import connection, http
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from pydantic_core import to_json

REFUSAL = (
    "llmitm: the operator's page cannot be reached through the proxy that it decides about; "
    "open it directly"
)
_MOST_SOCKETS = 100_000

type Address = tuple[str, int]


class ThroughProxy:
    """See the module. ports: where the page is served now, each (address it listens on, port)."""

    def __init__(self, ports: Callable[[], Iterable[Address]]) -> None:
        self._ports = ports
        self._sockets: dict[Address, None] = {}

    def http_connect(self, flow: http.HTTPFlow) -> None:
        """A tunnel to the page is not opened."""
        self._refuse(flow)

    def request(self, flow: http.HTTPFlow) -> None:
        """A request for the page is answered with 403."""
        self._refuse(flow)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """No connection is opened either, whatever protocol it was asked for with."""
        if data.server.address and self._ours(data.server.address[0], data.server.address[1]):
            data.server.error = REFUSAL

    def server_connected(self, data: ServerConnectionHookData) -> None:
        """Remembers the proxy's own end of a connection to one of the page's ports."""
        peer = _pair(data.server.peername)
        ports = {port for _, port in self._ports()}
        mine = _pair(data.server.sockname)
        if peer and mine and peer[1] in ports and len(self._sockets) < _MOST_SOCKETS:
            self._sockets[mine] = None

    def server_disconnected(self, data: ServerConnectionHookData) -> None:
        """The connection is over."""
        if mine := _pair(data.server.sockname):
            self._sockets.pop(mine, None)

    def comes_from_proxy(self, peer: Any) -> bool:
        """Whether this is the proxy's own end of a connection. peer: as a socket tells it."""
        pair = _pair(peer)
        # More connections to our ports than are remembered: none of them can be told.
        return pair in self._sockets or len(self._sockets) >= _MOST_SOCKETS

    def _refuse(self, flow: http.HTTPFlow) -> None:
        if flow.response is not None:
            return
        request = flow.request
        # Where it goes is what counts; an origin-form request may only say so in its Host header.
        named = {request.host, request.pretty_host}
        if any(self._ours(host, request.port) for host in named):
            body = to_json({"error": {"code": "through_proxy", "message": REFUSAL}})
            headers = {"content-type": "application/json", "cache-control": "no-store"}
            flow.response = http.Response.make(403, body, headers)
            flow.comment = REFUSAL

    def _ours(self, host: str, port: int) -> bool:
        ports = [listens for listens, known in self._ports() if known == port]
        if not ports:
            return False
        name = host.rstrip(".").lower()
        address = _address(name)
        if address is None:
            return name in ("localhost", *_NAMES) or name.endswith((".localhost", *_DOTTED_NAMES))
        if address.is_loopback or address.is_unspecified:
            return True
        return any(_listens_on(listens, address) for listens in ports)


_NAMES = ("ip6-localhost", "ip6-loopback", "localhost.localdomain")
_DOTTED_NAMES = tuple(f".{name}" for name in _NAMES)


def _listens_on(listens: str, address: IPv4Address | IPv6Address) -> bool:
    found = _address(listens)
    if found is None or found.is_unspecified:
        # On every address of this machine: which ones those are is asked of the socket later.
        return False
    return found == address


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that a host is, in the odd forms too that a resolver takes (`127.1`, `0x7f.1`);
    None = a name."""
    bare = host.removeprefix("[").removesuffix("]").partition("%")[0]
    try:
        found = ip_address(bare)
    except ValueError:
        try:
            found = IPv4Address(socket.inet_aton(bare))
        except (OSError, ValueError):
            return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found


def _pair(name: connection.Address | None) -> Address | None:
    """(host, port) of a socket's name, an IPv4 address in IPv6's clothes as IPv4."""
    if not name:
        return None
    address = _address(str(name[0]))
    return (str(address) if address is not None else str(name[0]), int(name[1]))
