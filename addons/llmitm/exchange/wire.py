"""HTTP messages as plain values, and the few header operations an exchange needs.

Header names compare without case; order and repetition are kept. Never: sockets, mitmproxy.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote

from llmitm.canon.values import value

type Headers = tuple[tuple[str, str], ...]

CREDENTIAL_HEADERS = frozenset(
    {"authorization", "x-api-key", "x-goog-api-key", "api-key", "cookie", "proxy-authorization"}
)
"""Headers that prove who the client is; they never leave for another provider."""


@value(kw_only=True)
class WireRequest:
    """A request as the client sent it. path: with query; body: as on the wire, still encoded;
    local: the client runs on this machine."""

    method: str
    scheme: str
    host: str
    port: int
    path: str
    headers: Headers
    body: bytes
    local: bool = True


@value(kw_only=True)
class WireResponse:
    """A whole response to hand to the client."""

    status: int
    headers: Headers
    body: bytes


def header(headers: Iterable[tuple[str, str]], name: str) -> str:
    """The first value of a header, empty when absent. name: lower case."""
    for key, text in headers:
        if key.lower() == name:
            return text
    return ""


def media_type(headers: Iterable[tuple[str, str]]) -> str:
    """`text/event-stream` for `Text/Event-Stream; charset=utf-8`; empty when absent."""
    return header(headers, "content-type").partition(";")[0].strip().lower()


def query_of(path: str) -> str:
    """The query of a path, without its `?`."""
    return path.partition("?")[2]


def with_model(path: str, old: str, new: str) -> str:
    """The path of a protocol that names the model in it, with another model."""
    route, mark, query = path.partition("?")
    found = list(re.finditer("".join(_encoded_or_not(each) for each in old), route)) if old else []
    if not found:
        return path
    start, end = found[-1].span()
    return route[:start] + quote(new, safe="/:") + route[end:] + mark + query


def _encoded_or_not(character: str) -> str:
    """A pattern for it: clients differ in what they encode in a path."""
    encoded = "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))
    return f"(?:{re.escape(character)}|(?i:{encoded}))"
