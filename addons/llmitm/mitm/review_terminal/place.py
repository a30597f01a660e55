"""Which llmitm is asked, and with which token?

In this order: `--url` with a login or `LLMITM_REVIEW_TOKEN`; `LLMITM_REVIEW_URL`; the file that a
listening llmitm leaves in the state folder for programs of the same user. A password is asked for,
never taken from the command line; no token is ever part of an error.
"""

from __future__ import annotations

import getpass
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote, urlsplit

from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse

from llmitm.mitm.home import state_folder
from llmitm.mitm.review_file import left

URL_VARIABLE, TOKEN_VARIABLE = "LLMITM_REVIEW_URL", "LLMITM_REVIEW_TOKEN"

TIMEOUT_S = 20.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_START = "start one with --set llm_review_listen=127.0.0.1:8082, or name it with --url"


class ReviewTrouble(Exception):
    """Something was not done. code: short and stable, as the API's errors; data: more of it."""

    def __init__(self, code: str, say: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(say)
        self.code = code
        self.data: Mapping[str, Any] = data or {}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the review API is. url: no slash at its end; token: an operator's."""

    url: str
    token: str = field(repr=False)

    @property
    def name(self) -> str:
        """Host and port."""
        return urlsplit(self.url).netloc

    def socket_url(self, token: str) -> str:
        """The WebSocket's address with its token."""
        return f"ws{self.url.removeprefix('http')}/ws?token={quote(token, safe='')}"


def finder(
    url: str, user: str, environ: Mapping[str, str], warn: Callable[[str], object]
) -> Callable[[], Awaitable[Place]]:
    """What finds the place before each connection: a restarted llmitm has another token.

    url, user: as on the command line, empty = not given. A password is asked for once.
    """
    known: list[Place] = []

    async def find() -> Place:
        if known:
            return known[0]
        if not user:
            return found(url, environ)
        base = checked_url(url or environ.get(URL_VARIABLE, "").strip() or _left(environ)[0])
        if urlsplit(base).scheme == "http" and urlsplit(base).hostname not in _LOOPBACK:
            warn(f"the password for {base} is sent unencrypted")
        known.append(Place(base, await login(base, user, _password(user, base))))
        return known[0]

    return find


def found(url: str, environ: Mapping[str, str]) -> Place:
    """The place without a login. Raises ReviewTrouble with what to do where there is none."""
    token = environ.get(TOKEN_VARIABLE, "").strip()
    named = url or environ.get(URL_VARIABLE, "").strip()
    if named and token:
        return Place(checked_url(named), token)
    if not named:
        known, its_token = _left(environ)
        return Place(checked_url(known), token or its_token)
    base = checked_url(named)
    try:
        return Place(base, _left(environ, base)[1])
    except ReviewTrouble as trouble:
        if trouble.code != "gone":
            raise
    raise ReviewTrouble("not_allowed", f"{base} wants a login: give --user or set {TOKEN_VARIABLE}")


def _left(environ: Mapping[str, str], url: str = "") -> tuple[str, str]:
    """(URL, token) as a listening llmitm has left them."""
    try:
        told = left(state_folder(environ), url)
    except OSError as error:
        raise ReviewTrouble("invalid", f"{error.filename}: {error.strerror}") from None
    except ValueError as error:
        raise ReviewTrouble("invalid", str(error)) from None
    if told is None:
        raise ReviewTrouble("gone", f"no llmitm here listens for reviews: {_START}")
    return told


def checked_url(url: str) -> str:
    """`http://host:port` of an address, also of the page's. Raises ReviewTrouble if it is none."""
    try:
        parts = urlsplit(url if "//" in url else f"http://{url}")
        port = parts.port
    except ValueError as error:
        raise ReviewTrouble("invalid", f"{url!r}: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
        raise ReviewTrouble("invalid", f"{url!r} is no address such as http://127.0.0.1:8082")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    prefix = parts.path.rstrip("/").removesuffix("/llm")
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{prefix}"


def _password(user: str, base: str) -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    return getpass.getpass(f"password of {user} at {base}: ")


async def login(base: str, user: str, password: str) -> str:
    """An operator's token. Raises ReviewTrouble."""
    body = json.dumps({"username": user, "password": password})
    headers = {"content-type": "application/json"}
    url = f"{base}/api/v1/auth/login"
    answer = await fetched(HTTPRequest(url, "POST", headers, body, follow_redirects=False), base)
    if answer.code in (401, 403):
        raise ReviewTrouble("not_allowed", f"{base} knows no {user!r} with this password")
    if answer.code == 429:
        raise ReviewTrouble("rate_limited", f"{base}: too many logins, wait a minute")
    token = decoded(answer, base).get("access_token")
    if answer.code != 200 or not isinstance(token, str):
        raise ReviewTrouble("invalid", f"{base}: the login was answered with {answer.code}")
    return token


async def fetched(request: HTTPRequest, base: str) -> HTTPResponse:
    """The answer, whatever its status. Raises ReviewTrouble when nobody answers."""
    request.request_timeout = request.connect_timeout = TIMEOUT_S
    try:
        return await AsyncHTTPClient().fetch(request, raise_error=False)
    except (HTTPClientError, OSError) as error:
        raise unreachable(base, error) from None


def decoded(answer: HTTPResponse, base: str) -> dict[str, Any]:
    """The answer's JSON object; raises ReviewTrouble if it holds none."""
    try:
        body: Any = json.loads(answer.body)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        say = f"{base} answered {answer.code}, which is not the review API of llmitm"
        raise ReviewTrouble("invalid", say)
    return cast("dict[str, Any]", body)


def unreachable(base: str, error: Exception) -> ReviewTrouble:
    """What to say, and to do, when nothing answers there."""
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return ReviewTrouble("gone", f"nothing answers at {base} ({why}): {_START}")
