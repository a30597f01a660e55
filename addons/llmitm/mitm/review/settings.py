"""What does the environment say about the operator's own port?

Names and defaults are those of HILT's table, so that its settings can be kept. Never shows a value
that is a secret: an error names the variable.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

import argon2
from pydantic import BaseModel, ConfigDict, SecretStr

from llmitm.desk.client_gate import whole_number
from llmitm.errors import RuleError
from llmitm.mitm.home import state_folder, write_private

KEY_FILE = "review-key"
_SHORTEST_KEY = 32
_MOST_ORIGINS = 100
_ORIGINS = "http://localhost:3000,http://localhost:5173"


class ReviewSettings(BaseModel):
    """The operator's own port. username: the one account; password_hash: argon2, empty = none, a
    token made at start is used instead; token_minutes: how long a login lasts; cors_origins:
    other sites whose scripts may use the API with a token of theirs; requests_per_minute and
    logins_per_minute: of one address; most_bytes: of one request or WebSocket message;
    review_file: programs of the same user find a token in the state folder. Without it an agent
    that runs as that user cannot take it from there to decide about its own requests.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    username: str = "admin"
    password_hash: SecretStr = SecretStr("")
    secret_key: SecretStr
    token_minutes: int = 480
    cors_origins: frozenset[str] = frozenset(_ORIGINS.split(","))
    requests_per_minute: int = 60
    logins_per_minute: int = 10
    most_bytes: int = 10 * 1024 * 1024
    review_file: bool = True


def review_settings(environ: Mapping[str, str]) -> ReviewSettings:
    """What the variables say. A signing key that is not given is made once and kept in the state
    folder. Raises RuleError that names the variable.
    """
    return ReviewSettings(
        username=_username(environ),
        password_hash=SecretStr(_password_hash(environ)),
        secret_key=SecretStr(_secret_key(environ)),
        token_minutes=whole_number(environ, "ACCESS_TOKEN_EXPIRE_MINUTES", 480, 1, 7 * 24 * 60),
        cors_origins=_origins(environ),
        requests_per_minute=whole_number(environ, "RATE_LIMIT_PER_MINUTE", 60, 1, 1_000_000),
        most_bytes=most_bytes(environ),
        review_file=_switch(environ, "LLMITM_REVIEW_FILE"),
    )


def most_bytes(environ: Mapping[str, str]) -> int:
    """How large a request or a message of an operator may be. Raises RuleError."""
    return whole_number(environ, "MAX_REQUEST_SIZE", 10 << 20, 1024, 256 << 20)


def operator_name(environ: Mapping[str, str]) -> str:
    """Who decides in mitmweb, which knows no names: OPERATOR_USERNAME, else `mitmweb`.

    Raises RuleError.
    """
    return _username(environ) if environ.get("OPERATOR_USERNAME", "").strip() else "mitmweb"


def _username(environ: Mapping[str, str]) -> str:
    name = environ.get("OPERATOR_USERNAME", "").strip() or "admin"
    if len(name) > 64 or not name.isprintable() or set("@|") & set(name):
        say = "at most 64 printable characters, without @ and |"
        raise RuleError("OPERATOR_USERNAME", 0, "", say)
    return name


def _password_hash(environ: Mapping[str, str]) -> str:
    text = environ.get("OPERATOR_PASSWORD_HASH", "").strip()
    if text:
        try:
            argon2.extract_parameters(text)
        except argon2.exceptions.InvalidHashError:
            say = "is not an argon2 hash; `llmitm review hash-password` makes one"
            raise RuleError("OPERATOR_PASSWORD_HASH", 0, "", say) from None
    return text


def _secret_key(environ: Mapping[str, str]) -> str:
    key = environ.get("SECRET_KEY", "").strip()
    if key:
        if len(key) < _SHORTEST_KEY:
            raise RuleError("SECRET_KEY", 0, "", f"has less than {_SHORTEST_KEY} characters")
        return key
    return _kept_key(state_folder(environ) / KEY_FILE)


def _kept_key(file: Path) -> str:
    try:
        kept = file.read_text(encoding="ascii").strip()
        if len(kept) >= _SHORTEST_KEY:
            return kept
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise RuleError(str(file), 0, "", f"cannot be read: {type(error).__name__}") from None
    key = secrets.token_urlsafe(48)
    try:
        write_private(file, key.encode())
    except OSError as error:
        raise RuleError(str(file), 0, "", f"cannot be written: {error.strerror}") from None
    return key


def _switch(environ: Mapping[str, str], name: str) -> bool:
    word = environ.get(name, "").strip().lower()
    if word not in ("", "yes", "no"):
        raise RuleError(name, 0, "", f"{word[:40]!r} is neither yes nor no")
    return word != "no"


def _origins(environ: Mapping[str, str]) -> frozenset[str]:
    listed = environ.get("CORS_ORIGINS", _ORIGINS)
    origins = [text.strip().rstrip("/").lower() for text in listed.split(",") if text.strip()]
    for origin in origins:
        parts = urlsplit(origin)
        if parts.scheme not in ("http", "https") or not parts.netloc or parts.path or parts.query:
            say = f"{origin[:80]!r} is not an origin such as https://desk.example"
            raise RuleError("CORS_ORIGINS", 0, "", say)
    if len(origins) > _MOST_ORIGINS:
        raise RuleError("CORS_ORIGINS", 0, "", f"more than {_MOST_ORIGINS} origins")
    return frozenset(origins)


def listen_address(text: str) -> tuple[str, int]:
    """(host, port) of `127.0.0.1:8082`, `[::1]:8082` or `8082` (loopback). Port 0 = a free one.

    Raises ValueError that says what is allowed.
    """
    host, colon, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if colon else "127.0.0.1"
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536):
        raise ValueError(f"{text!r}: the port must be a number in 0..65535")
    if host == "localhost":
        host = "127.0.0.1"
    try:
        ip_address(host)
    except ValueError:
        say = f"{text!r}: write an address and a port, such as 127.0.0.1:8082 or [::1]:8082"
        raise ValueError(say) from None
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether nobody on another machine can reach this address."""
    return ip_address(host.partition("%")[0]).is_loopback


def hash_password(read: Callable[[str], str], say: Callable[[str], None]) -> int:
    """Asks twice for a password and says its argon2 hash; the exit code.

    read: shows a prompt and gives what is typed, unseen (`getpass.getpass`); say: prints a line.
    """
    password = read("Password: ")
    if len(password) < 8:
        say("a password has at least 8 characters")
        return 1
    if read("Again: ") != password:
        say("the two are not the same")
        return 1
    # Argon2 parameters of RFC 9106's second choice: argon2-cffi's default.
    say(f"OPERATOR_PASSWORD_HASH='{argon2.PasswordHasher().hash(password)}'")
    return 0
