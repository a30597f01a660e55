"""Between mitmproxy's flows and the plain HTTP values of the exchange room."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address

from mitmproxy import http

from llmitm.exchange.lanes import Outgoing
from llmitm.exchange.wire import CREDENTIAL_HEADERS, Headers, WireRequest

HIDDEN = "(put in by llmitm, not shown)"


def wire_request(flow: http.HTTPFlow) -> WireRequest:
    """The client's request as a value."""
    request = flow.request
    return WireRequest(
        method=request.method,
        scheme=request.scheme,
        host=client_host(flow),
        port=request.port,
        path=request.path,
        headers=tuple(request.headers.items(multi=True)),
        body=request.raw_content or b"",
        local=_is_local(flow),
    )


def _is_local(flow: http.HTTPFlow) -> bool:
    """Whether the client runs on this machine."""
    address = _address(flow.client_conn.peername[0].partition("%")[0])
    return address is not None and address.is_loopback


@lru_cache(maxsize=1024)
def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, None for a name."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def client_host(flow: http.HTTPFlow) -> str:
    """The name the client meant: where only an address is known (transparent modes), its SNI."""
    host = flow.request.host
    return host if _address(host) is None else flow.client_conn.sni or host


def aim(
    flow: http.HTTPFlow, outgoing: Outgoing, original: WireRequest, *, first: bool
) -> dict[str, str]:
    """Makes `flow.request` the outgoing request. Values that stay are not touched at all.

    The result is the credentials to put on the wire: flows are shown and saved, so there stands
    only that there is one. first: nothing was changed by an earlier attempt, so nothing has to be
    put back.
    """
    request = flow.request
    secrets: dict[str, str] = {}
    if outgoing.headers is not None:
        fresh = http_headers(outgoing.headers)
        if "host" in request.headers:
            fresh["host"] = request.headers["host"]
        # The host is none of them.
        for name in CREDENTIAL_HEADERS.intersection([key.lower() for key, _ in outgoing.headers]):
            secrets[name], fresh[name] = fresh[name], HIDDEN
        request.headers = fresh
    elif not first:
        request.headers = http_headers(original.headers)
    if outgoing.body is not None:
        request.raw_content = outgoing.body
        request.headers["content-length"] = str(len(outgoing.body))
        request.headers.pop("transfer-encoding", None)
    elif not first:
        request.raw_content = original.body
    aim_at(flow, outgoing.scheme, outgoing.host, outgoing.port, outgoing.path)
    return secrets


def aim_at(flow: http.HTTPFlow, scheme: str, host: str, port: int, path: str) -> None:
    """Sends the request there. mitmproxy's setters keep Host header and authority right."""
    request = flow.request
    if request.scheme != scheme:
        request.scheme = scheme
    if request.port != port:
        request.port = port
    if host not in (request.host, client_host(flow)):
        request.host = host
    if request.path != path:
        request.path = path


def http_headers(headers: Headers) -> http.Headers:
    """mitmproxy's form of a header list."""
    return http.Headers(
        [
            (name.encode("utf-8", "surrogateescape"), value.encode("utf-8", "surrogateescape"))
            for name, value in headers
        ]
    )


def values_of(headers: http.Headers, name: bytes) -> list[bytes]:
    """The values of a header. name: in lower case. mitmproxy's own look-up takes ten times as
    long."""
    return [text for key, text in headers.fields if key.lower() == name]


def drop(headers: http.Headers, names: frozenset[bytes]) -> None:
    """Takes these headers out. names: in lower case."""
    headers.fields = tuple([field for field in headers.fields if field[0].lower() not in names])


def header_list(headers: http.Headers | None) -> Headers:
    """Our form of mitmproxy's headers."""
    return tuple(headers.items(multi=True)) if headers is not None else ()


def http_response(status: int, headers: Headers, body: bytes) -> http.Response:
    """A whole response with its content-length."""
    response = http.Response.make(status, b"", http_headers(headers))
    response.raw_content = body
    response.headers["content-length"] = str(len(body))
    return response
