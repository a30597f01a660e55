"""The page and its interface inside mitmweb, at `/llm/`: its login, its XSRF check, its cookie."""

from __future__ import annotations

from typing import Any

from mitmproxy.tools.web import app as web
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import Application, RequestHandler, stream_request_body

from llmitm.mitm.review import replies
from llmitm.mitm.review.auth import Operator
from llmitm.mitm.review.bodies import Collected, declared_length
from llmitm.mitm.review.door import Door, decider, peer_of
from llmitm.mitm.review.pages import PAGE_CSP
from llmitm.mitm.review.socket import LiveSocket
from llmitm.mitm.review.through_proxy import REFUSAL

_READING = ("GET", "HEAD", "OPTIONS")

_LOGIN = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>llmitm review</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body><h1>Log in</h1>
<p>Enter mitmweb's password or the token that it has printed.</p>
<form method="post"><label>Password <input type="password" name="token" autofocus></label>
{xsrf} <button>Log in</button></form></body></html>
"""


class InMitmweb(web.RequestHandler):
    """What all of them do."""

    door: Door

    def initialize(self, door: Door) -> None:
        """door: what is behind it."""
        self.door = door

    def set_default_headers(self) -> None:
        """Headers of every answer."""
        super().set_default_headers()
        replies.set_safe_headers(self)

    def prepare(self) -> None:
        """Refuses what another site asks for."""
        crossed = self.request.headers.get("Sec-Fetch-Site", "none")
        if self.request.method not in _READING and crossed not in ("same-origin", "none"):
            replies.send_error(self, 403, "this was asked by another site")

    def auth_fail(self, invalid_password: bool) -> None:
        """Nobody is logged in."""
        replies.send_error(self, 403, "log in to mitmweb first", {"code": "unauthorized"})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """An error in words, never a traceback."""
        replies.send_error(self, status_code)

    def compute_etag(self) -> None:
        """No tag of the body: what is secret is not to be kept."""
        return

    def _request_summary(self) -> str:
        return replies.summary(self)


@stream_request_body
class WebRest(InMitmweb):
    """Everything below `/llm/api/v1/`."""

    def initialize(self, door: Door) -> None:
        """See `InMitmweb`."""
        super().initialize(door)
        self.collected = Collected(door.most_bytes)

    def prepare(self) -> None:
        """See `InMitmweb`; a body that is said to be too large is refused before it comes."""
        self.collected.admit(self)
        super().prepare()
        if not self._finished and declared_length(self) > self.door.most_bytes:
            replies.send_error(self, 413)

    def data_received(self, chunk: bytes) -> None:
        """A piece of the body."""
        if not self.collected.add(chunk) and not self._finished:
            replies.send_error(self, 413)

    async def _answer(self, path: str) -> None:
        body = self.collected.body()
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if self._finished:
            return
        if body and kind != "application/json":
            replies.send_error(self, 415)
            return
        by = decider(self.door.account, self.get_query_argument("operator", ""))
        reply = await self.door.rest.answer(self.request.method or "", path, body, by)
        replies.send_json(self, reply.status, reply.body)

    get = post = put = patch = delete = _answer


class WebMe(InMitmweb):
    """Who asks."""

    def get(self) -> None:
        """mitmweb knows no names."""
        by = decider(self.door.account, self.get_query_argument("operator", ""))
        told = {"username": self.door.account, "operator": by, "expires_at": 0.0}
        replies.send_json(self, 200, replies.as_json(told))


class WebPage(InMitmweb):
    """The page and its files."""

    def auth_fail(self, invalid_password: bool) -> None:
        """A form that logs in to mitmweb and comes back here."""
        self.set_header("Content-Security-Policy", PAGE_CSP)
        self.set_header("Content-Type", "text/html; charset=UTF-8")
        self.finish(_LOGIN.format(xsrf=self.xsrf_form_html()))

    def get(self, name: str = "") -> None:
        """The page, its address without the token that logged in."""
        if not name and self.get_query_argument("token", ""):
            self.redirect("/llm/", status=303)
            return
        file = self.door.page.file(name) if name else self.door.page.index
        if file is None:
            replies.send_error(self, 404)
            return
        # Made here so that the page finds it.
        assert self.xsrf_token
        replies.send_file(self, file)

    def post(self, name: str = "") -> None:
        """The login form."""
        self.redirect("/llm/", status=303)


class WebToPage(InMitmweb):
    """`/llm`."""

    def get(self) -> None:
        """The page is one step below."""
        self.redirect("/llm/")


class WebSocket(LiveSocket, web.AuthRequestHandler):
    """`/llm/ws`."""

    def initialize(self, door: Door) -> None:
        """door: what is behind it."""
        self.live(door)

    def set_default_headers(self) -> None:
        """Headers of every answer."""
        replies.set_safe_headers(self)

    def auth_fail(self, invalid_password: bool) -> None:
        """Nobody is logged in."""
        replies.send_error(self, 403, "log in to mitmweb first", {"code": "unauthorized"})

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """An error in words, never a traceback."""
        replies.send_error(self, status_code)

    def signed_in(self) -> Operator:
        """mitmweb's own login says who it is: somebody."""
        return Operator(self._door.account)


class Detour(RequestHandler):
    """What comes through the proxy itself, for any page of mitmweb."""

    def set_default_headers(self) -> None:
        """Headers of every answer."""
        replies.set_safe_headers(self)

    def check_xsrf_cookie(self) -> None:
        """It is refused anyway."""

    def prepare(self) -> None:
        """Refused."""
        replies.send_error(self, 403, REFUSAL, {"code": "through_proxy"})


class FromProxy(Matcher):
    """Requests whose other end is the proxy's own."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def match(self, request: HTTPServerRequest) -> dict[str, Any] | None:
        """Matches all of them."""
        return {} if self._door.comes_from_proxy(peer_of(request)) else None


def mount(app: Application, door: Door) -> None:
    """Puts the page into mitmweb, before its own pages."""
    with_door = {"door": door}
    handlers: list[Any] = [
        Rule(FromProxy(door), Detour),
        (r"/llm", WebToPage, with_door),
        (r"/llm/ws", WebSocket, with_door),
        (r"/llm/api/v1/auth/me", WebMe, with_door),
        (r"/llm/api/v1/(.*)", WebRest, with_door),
        (r"/llm/static/(.+)", WebPage, with_door),
        (r"/llm/(.*)", WebPage, with_door),
    ]
    app.add_handlers(r".*", handlers)
