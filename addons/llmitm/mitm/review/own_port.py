"""The own port: the page and its interface with a login of their own, for `dump` and `console`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_core import to_json
from tornado.web import Application

from llmitm import __version__
from llmitm.mitm.review import replies
from llmitm.mitm.review.auth import Busy, Operator
from llmitm.mitm.review.door import OwnDoor
from llmitm.mitm.review.own_checks import Own, OwnBody
from llmitm.mitm.review.socket import LiveSocket

_LOGIN_BYTES = 8192


class LoginBody(BaseModel):
    """The body of a login. Without a password set, the one-time token stands in its place."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    username: str = Field(max_length=200)
    password: SecretStr = Field(max_length=4096)


class OwnRest(OwnBody):
    """Everything below `/llm/api/v1/` that needs a login."""

    async def _answer(self, path: str) -> None:
        body = self.json_body()
        if body is not None:
            reply = await self.own.door.rest.answer(self.request.method or "", path, body, self.by)
            replies.send_json(self, reply.status, reply.body)

    get = post = put = patch = delete = _answer


class LogIn(OwnBody):
    """`POST /api/v1/auth/login`."""

    needs_login = False

    def most_bytes(self) -> int:
        """A name and a password."""
        return _LOGIN_BYTES

    async def post(self) -> None:
        """A token for a name and a password; 401 for wrong ones, 429 for too many tries."""
        body = self.json_body()
        if body is None:
            return
        wait_s = self.own.logins_asked.ask(self.request.remote_ip or "", self.own.door.clock())
        if wait_s:
            self.set_header("Retry-After", str(int(wait_s)))
            self.refuse(429, "too many logins from this address")
            return
        try:
            given = LoginBody.model_validate_json(body)
        except ValidationError:
            self.refuse(400, "a login is {username, password}")
            return
        try:
            login = await self.own.logins.log_in(given.username, given.password.get_secret_value())
        except Busy:
            self.set_header("Retry-After", "1")
            self.refuse(503)
            return
        if login is None:
            self.refuse(401, "this name and this password do not belong together")
            return
        self.own.announce(self.request.remote_ip or "")
        self.keep_cookie(login)
        told = {
            "access_token": login.token,
            "token_type": "bearer",
            "expires_in": self.own.settings.token_minutes * 60,
        }
        replies.send_json(self, 200, to_json(told))


class LogOut(OwnBody):
    """`POST /api/v1/auth/logout`."""

    def post(self) -> None:
        """The token is worth nothing from now on; its WebSockets are closed."""
        if self.json_body() is None or self.operator is None:
            return
        self.own.logins.sign_out(self.operator)
        self.own.door.hub.sign_out(self.operator.token_id)
        self.clear_cookie(self.own.cookie, path="/")
        replies.send_json(self, 200, b'{"signed_out":true}')


class Me(Own):
    """`GET /api/v1/auth/me`."""

    def get(self) -> None:
        """Who asks, and until when."""
        if self.operator is not None:
            until = self.operator.until_s
            told = {"username": self.operator.name, "operator": self.by, "expires_at": until}
            replies.send_json(self, 200, to_json(told))


class Health(Own):
    """`GET /health`."""

    needs_login = counted = False

    def get(self) -> None:
        """Alive, which version, how many wait."""
        waiting = self.own.door.rest.waiting()
        told = {"status": "ok", "version": __version__, "waiting": waiting}
        replies.send_json(self, 200, to_json(told))


class OwnPage(Own):
    """The page and its files: they hold no secret, so they are there before the login too."""

    needs_login = counted = False

    def get(self, name: str = "") -> None:
        """`?token=` with the one-time token signs in and leaves the address bar at once."""
        token = self.get_query_argument("token", "")
        if token and not name:
            self._sign_in(token)
            return
        page = self.own.door.page
        file = page.file(name) if name else page.index
        if file is None:
            self.refuse(404)
            return
        if not name:
            assert self.xsrf_token
        replies.send_file(self, file)

    head = get

    def _sign_in(self, token: str) -> None:
        own = self.own
        wait_s = own.logins_asked.ask(self.request.remote_ip or "", own.door.clock())
        if wait_s:
            self.set_header("Retry-After", str(int(wait_s)))
            self.refuse(429, "too many logins from this address")
            return
        login = own.logins.spend(token)
        if login is not None:
            own.announce(self.request.remote_ip or "")
            self.keep_cookie(login)
        # With a wrong token the page opens and asks for a login.
        self.redirect("/llm/", status=303)


class ToPage(Own):
    """`/` and `/llm`."""

    needs_login = counted = False

    def get(self) -> None:
        """The page is one step below."""
        self.redirect("/llm/")


class Nothing(Own):
    """Any other address."""

    needs_login = counted = False

    def prepare(self) -> None:
        """404, for whoever may come at all."""
        super().prepare()
        if not self._finished:
            self.refuse(404)


class OwnSocket(LiveSocket, Own):
    """`/ws` and `/llm/ws`."""

    def initialize(self, own: OwnDoor) -> None:
        """See `Own`."""
        Own.initialize(self, own)
        self.live(own.door)

    def _who(self) -> tuple[Operator | None, bool]:
        """A browser cannot give a WebSocket a header, so its address may hold a token."""
        token = self.get_query_argument("token", "")
        return (self.own.logins.operator(token), False) if token else super()._who()

    def check_origin(self, origin: str) -> bool:
        """Looked at in `prepare` already."""
        return True

    def signed_in(self) -> Operator:
        """Who is at the other end."""
        assert self.operator is not None
        return self.operator


def own_application(own: OwnDoor) -> Application:
    """All of the own port."""
    with_own = {"own": own}
    handlers: list[Any] = [(r"/health", Health, with_own)]
    for root in (r"/api/v1", r"/llm/api/v1"):
        handlers += [
            (rf"{root}/auth/login", LogIn, with_own),
            (rf"{root}/auth/logout", LogOut, with_own),
            (rf"{root}/auth/me", Me, with_own),
            (rf"{root}/(.*)", OwnRest, with_own),
        ]
    handlers += [
        (r"(?:/llm)?/ws", OwnSocket, with_own),
        (r"/llm/static/(.+)", OwnPage, with_own),
        (r"/llm/(.*)", OwnPage, with_own),
        (r"/(?:llm)?", ToPage, with_own),
    ]
    return Application(
        handlers,
        default_handler_class=Nothing,
        default_handler_args=with_own,
        # mitmweb's name for it: the page knows one, and cookies do not tell ports apart.
        xsrf_cookie_name="_mitmproxy_xsrf",
        xsrf_cookie_kwargs={"samesite": "Strict"},
        websocket_max_message_size=own.door.most_bytes,
        websocket_ping_interval=20,
    )
