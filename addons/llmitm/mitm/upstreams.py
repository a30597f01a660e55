"""Requests to providers beside the one upstream of a flow, sent the way mitmproxy would.

TLS is verified against what mitmproxy's options say, upstream proxies are passed through, and
nothing is taken from the environment. Each request has a connection of its own, which ends with it.
Source: mitmproxy 12.2, `addons/tlsconfig` and `net/tls` for the meaning of the options.
"""

from __future__ import annotations

import ssl
from collections.abc import Hashable
from pathlib import Path
from urllib.parse import quote

import httpx
from mitmproxy import connection, ctx
from mitmproxy.net.server_spec import ServerSpec

from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.wire import Headers

_VERSIONS = {
    "UNBOUNDED": ssl.TLSVersion.MINIMUM_SUPPORTED,
    "SSL3": ssl.TLSVersion.MINIMUM_SUPPORTED,
    "TLS1": ssl.TLSVersion.TLSv1,
    "TLS1_1": ssl.TLSVersion.TLSv1_1,
    "TLS1_2": ssl.TLSVersion.TLSv1_2,
    "TLS1_3": ssl.TLSVersion.TLSv1_3,
}
_MOST_TRANSPORTS = 16
_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))
_OF_THE_CONNECTION = frozenset(
    {
        *("host", "connection", "keep-alive", "proxy-connection", "proxy-authorization", "te"),
        *("transfer-encoding", "content-length", "upgrade", "expect"),
    }
)


class Upstreams:
    """Sends requests with the options in force; one transport for each set of them."""

    def __init__(self) -> None:
        self._transports: dict[Hashable, httpx.AsyncHTTPTransport] = {}

    def transport(self, server: connection.Server, host: str) -> httpx.AsyncHTTPTransport:
        """The transport for a host. server: of the flow, which knows an upstream proxy.

        Raises ssl.SSLError and OSError for certificates that cannot be loaded.
        """
        certificate = _client_certificate(host)
        via = server.via
        options = (
            ctx.options.ssl_insecure,
            ctx.options.ssl_verify_upstream_trusted_ca,
            ctx.options.ssl_verify_upstream_trusted_confdir,
            ctx.options.tls_version_server_min,
            ctx.options.tls_version_server_max,
            ctx.options.ciphers_server,
            ctx.options.upstream_auth,
        )
        key = (options, certificate, via)
        if key not in self._transports:
            while len(self._transports) >= _MOST_TRANSPORTS:
                # Its connections live on until their requests are done.
                del self._transports[next(iter(self._transports))]
            tls = _tls(certificate)
            self._transports[key] = httpx.AsyncHTTPTransport(
                verify=tls,
                trust_env=False,
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                proxy=None if via is None else _proxy(via, tls),
            )
        return self._transports[key]


def request_of(
    outgoing: Outgoing, method: str, headers: Headers, body: bytes, *, via: bool
) -> httpx.Request:
    """The request as it goes on the wire, with its credentials. headers: those to send;
    via: through an upstream proxy."""
    path = outgoing.path.encode("utf-8", "surrogateescape")
    url = httpx.URL(
        scheme=outgoing.scheme,
        host=outgoing.host,
        port=outgoing.port,
        raw_path=quote(path, safe=_PRINTABLE).encode(),
    )
    kept = [
        (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
        for name, value in headers
        if name.lower() not in _OF_THE_CONNECTION
    ]
    # A URL encodes some more of a path; this is the path as it is. A tunnel would be asked for it.
    extensions = {} if via else {"target": path}
    return httpx.Request(method, url, headers=kept, content=body, extensions=extensions)


def _tls(certificate: str) -> ssl.SSLContext:
    file = ctx.options.ssl_verify_upstream_trusted_ca
    folder = ctx.options.ssl_verify_upstream_trusted_confdir
    if file or folder or ctx.options.ssl_insecure:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    else:
        made = httpx.create_ssl_context(trust_env=False)
        # Python's own default from 3.13 on, which mitmproxy does not share.
        made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.minimum_version = _VERSIONS[ctx.options.tls_version_server_min]
    if ctx.options.tls_version_server_max != "UNBOUNDED":
        made.maximum_version = _VERSIONS[ctx.options.tls_version_server_max]
    if ctx.options.ciphers_server:
        made.set_ciphers(ctx.options.ciphers_server)
    if ctx.options.ssl_insecure:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
        made.options |= ssl.OP_LEGACY_SERVER_CONNECT
    elif file or folder:
        made.load_verify_locations(file, folder)
    if certificate:
        made.load_cert_chain(certificate)
    return made


def _client_certificate(host: str) -> str:
    """The PEM file with our own certificate for this host, empty = none."""
    named = ctx.options.client_certs
    if not named:
        return ""
    place = Path(named).expanduser()
    if place.is_dir():
        place = place / f"{host}.pem"
    return str(place) if place.is_file() else ""


def _proxy(via: ServerSpec, tls: ssl.SSLContext) -> httpx.Proxy:
    scheme, address = via[0], via[1]
    auth = ctx.options.upstream_auth
    user, _, password = auth.partition(":") if auth else ("", "", "")
    return httpx.Proxy(
        httpx.URL(scheme=scheme, host=address[0], port=address[1]),
        ssl_context=tls if scheme == "https" else None,
        auth=(user, password) if auth else None,
    )
