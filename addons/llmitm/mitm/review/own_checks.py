"""What every handler of the own port checks before it does anything, and how it says no."""

from __future__ import annotations

from typing import Any

from tornado.web import HTTPError, RequestHandler, stream_request_body

from llmitm.mitm.review import replies
from llmitm.mitm.review.auth import Login, Operator
from llmitm.mitm.review.bodies import Collected, declared_length
from llmitm.mitm.review.door import OwnDoor, decider, peer_of, same_origin
from llmitm.mitm.review.through_proxy import REFUSAL

_METHODS = ("GET", "POST", "DELETE")
_READING = ("GET", "HEAD", "OPTIONS")


class Own(RequestHandler):
    """What every handler of the own port checks. needs_login: who asks must be signed in;
    counted: it is one of the requests that are counted against the limit."""

    needs_login = True
    counted = True
    own: OwnDoor
    operator: Operator | None

    def initialize(self, own: OwnDoor) -> None:
        """own: what the port's handlers share."""
        self.own = own
        self.operator = None
        self.by_cookie = False

    def set_default_headers(self) -> None:
        """Headers of every answer, errors too."""
        replies.set_safe_headers(self)

    def _request_summary(self) -> str:
        return replies.summary(self)

    def write_error(self, status_code: int, **kwargs: Any) -> None:
        """An error in words, never a traceback."""
        replies.send_error(self, status_code)

    def prepare(self) -> None:
        """Refuses what may not come in. What it refuses has been answered when this returns."""
        if not self._may_come():
            return
        if self.request.method == "OPTIONS":
            return
        self.operator, self.by_cookie = self._who()
        if self.needs_login and self.operator is None:
            self.set_header("WWW-Authenticate", "Bearer")
            self.refuse(401)
        elif self.by_cookie and self.request.method not in _READING:
            self._check_cookie()

    def _may_come(self) -> bool:
        request, own = self.request, self.own
        if own.door.comes_from_proxy(peer_of(request)):
            return self.refuse(403, REFUSAL)
        if not own.host_known(request.headers.get("Host", "")):
            return self.refuse(421)
        counter = own.requests if self.counted else own.assets
        wait_s = counter.ask(request.remote_ip or "", own.door.clock())
        if wait_s:
            self.set_header("Retry-After", str(int(wait_s)))
            return self.refuse(429)
        return self._origin_allowed()

    def _origin_allowed(self) -> bool:
        origin = self.request.headers.get("Origin")
        if origin is None:
            crossed = self.request.headers.get("Sec-Fetch-Site", "none")
            if self.request.method not in _READING and crossed not in ("none", "same-origin"):
                return self.refuse(403, "this was asked by another site")
            return True
        if same_origin(origin, self.request.headers.get("Host", "")):
            return True
        if origin.lower() not in self.own.settings.cors_origins:
            return self.refuse(403, "this was asked by another site; see CORS_ORIGINS")
        # Never with credentials: a script of another site has to show a token of its own.
        self.set_header("Access-Control-Allow-Origin", origin)
        self.set_header("Vary", "Origin")
        self.set_header("Cross-Origin-Resource-Policy", "cross-origin")
        return True

    def _who(self) -> tuple[Operator | None, bool]:
        """(who asks, whether a cookie said so)."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return self.own.logins.operator(token.strip()), False
        found = self.own.logins.operator(self.get_cookie(self.own.cookie) or "")
        origin = self.request.headers.get("Origin")
        if origin is not None and not same_origin(origin, self.request.headers.get("Host", "")):
            return None, False
        return found, found is not None

    def _check_cookie(self) -> None:
        try:
            self.check_xsrf_cookie()
        except HTTPError:
            self.refuse(403, "the X-XSRFToken header is missing or wrong")

    def refuse(self, status: int, message: str = "", **data: Any) -> bool:
        """Answers with an error; False."""
        replies.send_error(self, status, message, data)
        return False

    def options(self, *_: str) -> None:
        """What a browser asks before a script of another site may ask."""
        self.set_header("Access-Control-Allow-Methods", ", ".join(_METHODS))
        self.set_header("Access-Control-Allow-Headers", "Authorization, Content-Type")
        self.set_header("Access-Control-Max-Age", "600")
        self.set_status(204)
        self.finish()

    def compute_etag(self) -> None:
        """No tag of the body: what is secret is not to be kept."""
        return

    @property
    def by(self) -> str:
        """How decisions name who asks."""
        account = self.operator.name if self.operator else ""
        return decider(account, self.get_query_argument("operator", ""))

    def keep_cookie(self, login: Login) -> None:
        """Lets the browser remember the login; scripts cannot read it."""
        seconds = self.own.settings.token_minutes * 60
        self.set_cookie(
            self.own.cookie,
            login.token,
            max_age=seconds,
            httponly=True,
            samesite="Strict",
            path="/",
        )
        # Made here so that the page finds it.
        assert self.xsrf_token


@stream_request_body
class OwnBody(Own):
    """A handler that takes a body, of at most `most_bytes`, and never reads more of it."""

    def most_bytes(self) -> int:
        """How large a body may be."""
        return self.own.door.most_bytes

    def initialize(self, own: OwnDoor) -> None:
        """See `Own`."""
        super().initialize(own)
        self.collected = Collected(self.most_bytes())

    def prepare(self) -> None:
        """See `Own`; a body that is said to be too large is refused before it comes."""
        self.collected.admit(self)
        super().prepare()
        if not self._finished and declared_length(self) > self.most_bytes():
            self.refuse(413)

    def data_received(self, chunk: bytes) -> None:
        """A piece of the body."""
        if not self.collected.add(chunk) and not self._finished:
            self.refuse(413)

    def json_body(self) -> bytes | None:
        """The whole body; None = it has been refused."""
        if self._finished:
            return None
        body = self.collected.body()
        kind = self.request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if body and kind != "application/json":
            self.refuse(415)
            return None
        return body
