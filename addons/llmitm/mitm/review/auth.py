"""Who is the operator? Passwords, one-time tokens, and the signed tokens that a login gives.

A token is tornado's signed value (HMAC-SHA256) in URL-safe letters. Its key is derived from
SECRET_KEY, the name and the password's hash: who changes the password signs everybody out. Without
a password the key is of this process alone. Never logs a password or a token.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import argon2
from tornado.web import create_signed_value, decode_signed_value

from llmitm.mitm.home import write_private
from llmitm.mitm.review.settings import ReviewSettings

REVOKED_FILE = "review-signed-out.json"
_NAME = "llmitm-review"
_LONGEST_TOKEN = 2048
_LONGEST_PASSWORD = 1024
_MOST_REVOKED = 10_000
_MOST_CHECKING = 8
_MACHINE = "machine"
"""Id of the token for programs of the same user; all others are hexadecimal."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Somebody who is signed in. name: as decisions name them; token_id: empty = no token of ours
    (mitmweb); until_s: seconds since the epoch, 0 = as long as the server is there."""

    name: str
    token_id: str = ""
    until_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Login:
    """What a login gives."""

    operator: Operator
    token: str = field(repr=False)


class Busy(RuntimeError):
    """Too many passwords are being checked at this moment."""


class Logins:
    """See the module. folder: where it is kept who has signed out; now: seconds since the epoch."""

    def __init__(
        self,
        settings: ReviewSettings,
        folder: Path,
        now: Callable[[], float],
        hasher: argon2.PasswordHasher | None = None,
    ) -> None:
        self._settings = settings
        self._now = now
        self._hasher = hasher or argon2.PasswordHasher()
        password_hash = settings.password_hash.get_secret_value()
        self._hash = password_hash or self._hasher.hash(secrets.token_urlsafe(32))
        self.has_password = bool(password_hash)
        self._one_time = "" if self.has_password else secrets.token_urlsafe(32)
        self._machine = secrets.token_urlsafe(32)
        bound_to = password_hash or secrets.token_urlsafe(32)
        key = settings.secret_key.get_secret_value().encode()
        told = f"{_NAME}\0{settings.username}\0{bound_to}".encode()
        self._key = hmac.new(key, told, "sha256").hexdigest()
        self._gone = SignedOut(folder / REVOKED_FILE, now)
        # One at a time: each check takes as much memory as the hash says, often 64 MiB.
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="llmitm-login")
        self._checking = 0

    @property
    def one_time_token(self) -> str:
        """Good for one login; another one is made when it is spent. Empty with a password."""
        return self._one_time

    @property
    def machine_token(self) -> str:
        """For programs of the same user on this machine, good as long as this object lives."""
        return self._machine

    async def log_in(self, username: str, password: str) -> Login | None:
        """A login with the password, or with the one-time token where there is none.

        A wrong name takes as long as a wrong password. Raises Busy.
        """
        if not self.has_password:
            known = self.same(username, self._settings.username)
            return self.spend(password) if known else None
        if self._checking >= _MOST_CHECKING:
            raise Busy
        self._checking += 1
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(self._pool, self._verify, password)
        finally:
            self._checking -= 1
        known = self.same(username, self._settings.username)
        return self._issue() if known and right else None

    def spend(self, token: str) -> Login | None:
        """A login with the one-time token, which is a new one from then on."""
        if not self._one_time or not self.same(token, self._one_time):
            return None
        self._one_time = secrets.token_urlsafe(32)
        return self._issue()

    def _verify(self, password: str) -> bool:
        # What is too long is checked too, cut, so that it takes as long as any other.
        cut = password[:_LONGEST_PASSWORD]
        try:
            self._hasher.verify(self._hash, cut)
        except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
            return False
        except UnicodeEncodeError:
            return False
        return len(password) <= _LONGEST_PASSWORD

    def _issue(self) -> Login:
        now = self._now()
        until = now + self._settings.token_minutes * 60
        operator = Operator(self._settings.username, secrets.token_hex(12), until)
        value = json.dumps([operator.token_id, operator.name, now, until])
        signed = create_signed_value(self._key, _NAME, value, version=2, clock=self._now)
        return Login(operator, base64.urlsafe_b64encode(signed).decode().rstrip("="))

    def operator(self, token: str) -> Operator | None:
        """Whose token this is; None = nobody's, run out, or signed out."""
        if not token or len(token) > _LONGEST_TOKEN:
            return None
        if self.same(token, self._machine):
            return Operator(self._settings.username, _MACHINE)
        try:
            signed = base64.b64decode(
                token + "=" * (-len(token) % 4), altchars=b"-_", validate=True
            )
        except (ValueError, binascii.Error):
            return None
        days = self._settings.token_minutes / (24 * 60)
        value = decode_signed_value(
            self._key, _NAME, signed, max_age_days=days, clock=self._now, min_version=2
        )
        if value is None:
            return None
        # Signed with our key, so it is what `_issue` wrote.
        token_id, name, since, until = cast("tuple[str, str, float, float]", json.loads(value))
        if self._now() >= until or self._gone.holds(token_id, since):
            return None
        return Operator(name, token_id, until)

    def sign_out(self, operator: Operator) -> None:
        """The operator's token is worth nothing from now on, after a restart too."""
        if operator.token_id == _MACHINE:
            self._machine = secrets.token_urlsafe(32)
        elif operator.token_id:
            self._gone.add(operator.token_id, operator.until_s)

    def close(self) -> None:
        """No more passwords are checked."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    @staticmethod
    def same(one: str, other: str) -> bool:
        """Whether two texts are equal, in a time that does not tell where they differ."""
        a, b = one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass")
        return hmac.compare_digest(a, b)


class SignedOut:
    """Tokens that were given back before they ran out, kept in a file.

    At most 10,000: one more, and every token made until then is worth nothing.
    """

    def __init__(self, file: Path, now: Callable[[], float]) -> None:
        self._file = file
        self._now = now
        self._until: dict[str, float] = {}
        self._before = 0.0
        self._read()

    def holds(self, token_id: str, since: float) -> bool:
        """Whether the token is worth nothing."""
        return token_id in self._until or since <= self._before

    def add(self, token_id: str, until: float) -> None:
        """Adds one. A file that cannot be written is no reason to keep the operator signed in."""
        now = self._now()
        self._until = {each: at for each, at in self._until.items() if at > now}
        self._until[token_id] = until
        if len(self._until) > _MOST_REVOKED:
            self._until, self._before = {}, now
        content = json.dumps({"before": self._before, "until": self._until})
        try:
            write_private(self._file, content.encode())
        except OSError:
            return

    def _read(self) -> None:
        try:
            kept = json.loads(self._file.read_bytes())
            self._before = float(kept["before"])
            self._until = {str(each): float(at) for each, at in kept["until"].items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Who has signed out cannot be told any more, so everybody has.
            self._until, self._before = {}, self._now()
