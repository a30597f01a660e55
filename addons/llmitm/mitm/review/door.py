"""What the handlers of one web server share, and what each of them checks before anything else.

A browser that an attacker's page drives is kept out by the Host header (a name that was bent to our
address), by the Origin header, and by XSRF tokens where a cookie says who asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from tornado.httputil import HTTPServerRequest

from llmitm.mitm.review.auth import Logins
from llmitm.mitm.review.hub import Hub
from llmitm.mitm.review.limits import PerMinute
from llmitm.mitm.review.pages import Page
from llmitm.mitm.review.rest import Rest
from llmitm.mitm.review.settings import ReviewSettings

_MOST_ASSETS = 1200
_GIVEN_NAME = re.compile(r"[\w .'-]{1,40}")


@dataclass(slots=True, kw_only=True)
class Door:
    """What is behind the pages, whichever server shows them.

    most_bytes: of one request or message; account: who decides in mitmweb; comes_from_proxy: told
    the other end of a socket, whether it is the proxy's; clock: seconds that only go forward;
    now: seconds since the epoch.
    """

    rest: Rest
    hub: Hub
    page: Page
    most_bytes: int
    account: str
    comes_from_proxy: Callable[[Any], bool]
    clock: Callable[[], float]
    now: Callable[[], float]


@dataclass(slots=True, kw_only=True)
class OwnDoor:
    """What the own port has besides. names: host names by which it may be called, beside every
    address; cookie: the name of the cookie with the token; announce: called when the one-time token
    was spent."""

    door: Door
    settings: ReviewSettings
    logins: Logins
    names: frozenset[str]
    cookie: str
    announce: Callable[[str], None]
    requests: PerMinute = field(init=False)
    logins_asked: PerMinute = field(init=False)
    assets: PerMinute = field(init=False)

    def __post_init__(self) -> None:
        self.requests = PerMinute(self.settings.requests_per_minute)
        self.logins_asked = PerMinute(self.settings.logins_per_minute)
        self.assets = PerMinute(_MOST_ASSETS)

    def host_known(self, host: str) -> bool:
        """Whether a Host header names this server. Addresses all do: to bend one takes a name."""
        name = hostname(host)
        if name is None:
            return False
        try:
            ip_address(name)
        except ValueError:
            return name in self.names or name.endswith(".localhost")
        return True


def own_names(machine: str, settings: ReviewSettings) -> frozenset[str]:
    """By which names the own port may be called: this machine's and those of CORS_ORIGINS."""
    origins = {urlsplit(origin).hostname or "" for origin in settings.cors_origins}
    return frozenset({"localhost", machine.lower(), *origins} - {""})


def hostname(host: str) -> str | None:
    """The name or address in a Host header, without port and brackets; None = there is none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".") or None
    except ValueError:
        return None


def same_origin(origin: str, host: str) -> bool:
    """Whether an Origin header is that of the server itself. The scheme is not compared: before a
    server in the net there may be one that speaks TLS."""
    return urlsplit_netloc(origin) == host.lower()


def urlsplit_netloc(url: str) -> str:
    """`host:port` of an URL, lower case, empty without."""
    try:
        return urlsplit(url).netloc.lower()
    except ValueError:
        return ""


def peer_of(request: HTTPServerRequest) -> Any:
    """The other end of the request's socket, as a socket tells it; None = not known."""
    context: Any = getattr(request.connection, "context", None)
    return getattr(context, "address", None)


def decider(account: str, given: str) -> str:
    """How a decision names who took it: the account, and what name they gave themselves."""
    name = given.strip()
    return f"{name}@{account}" if _GIVEN_NAME.fullmatch(name) else account
