"""The environment of the own port, its key, and the password's hash."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import argon2
import pytest

from llmitm.errors import RuleError
from llmitm.mitm.review.settings import (
    hash_password,
    is_loopback,
    listen_address,
    operator_name,
    review_settings,
)


def test_the_defaults_are_hilts(tmp_path: Path) -> None:
    made = review_settings({"LLMITM_HOME": str(tmp_path)})
    assert made.username == "admin"
    assert (made.token_minutes, made.requests_per_minute, made.logins_per_minute) == (480, 60, 10)
    assert made.most_bytes == 10485760
    assert made.cors_origins == {"http://localhost:3000", "http://localhost:5173"}


def test_a_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    environ = {"LLMITM_HOME": str(tmp_path)}
    key = review_settings(environ).secret_key.get_secret_value()
    assert len(key) >= 32
    assert review_settings(environ).secret_key.get_secret_value() == key
    [file] = tmp_path.glob("review-key*")
    assert file.stat().st_mode & 0o777 == 0o600
    assert key not in repr(review_settings(environ))
    file.write_text("short")
    assert review_settings(environ).secret_key.get_secret_value() not in (key, "short")


def test_what_is_set_holds(tmp_path: Path) -> None:
    made = review_settings(
        {
            "LLMITM_HOME": str(tmp_path),
            "OPERATOR_USERNAME": "kim",
            "SECRET_KEY": "s" * 32,
            "CORS_ORIGINS": " https://Desk.example/ , http://10.0.0.1:8000",
        }
    )
    assert made.username == "kim"
    assert made.cors_origins == {"https://desk.example", "http://10.0.0.1:8000"}
    assert not list(tmp_path.glob("review-key*"))
    assert operator_name({}) == "mitmweb"
    assert operator_name({"OPERATOR_USERNAME": "kim"}) == "kim"


@pytest.mark.parametrize("listed", ["*", "desk.example", "ftp://x", "https://x/path", "http://"])
def test_what_is_no_origin_is_refused(tmp_path: Path, listed: str) -> None:
    with pytest.raises(RuleError, match="CORS_ORIGINS"):
        review_settings({"LLMITM_HOME": str(tmp_path), "CORS_ORIGINS": listed})


@pytest.mark.parametrize(
    ("text", "address", "loopback"),
    [
        ("127.0.0.1:8082", ("127.0.0.1", 8082), True),
        ("localhost:0", ("127.0.0.1", 0), True),
        ("8082", ("127.0.0.1", 8082), True),
        ("[::1]:8082", ("::1", 8082), True),
        ("0.0.0.0:1", ("0.0.0.0", 1), False),
        ("[::]:1", ("::", 1), False),
        ("192.168.1.2:80", ("192.168.1.2", 80), False),
    ],
)
def test_where_to_listen(text: str, address: tuple[str, int], loopback: bool) -> None:
    assert listen_address(text) == address
    assert is_loopback(address[0]) == loopback


def test_a_password_becomes_a_hash() -> None:
    typed: Iterator[str] = iter(["a good password", "a good password"])
    lines: list[str] = []
    assert hash_password(lambda _: next(typed), lines.append) == 0
    [line] = lines
    name, _, quoted = line.partition("=")
    assert name == "OPERATOR_PASSWORD_HASH"
    assert argon2.PasswordHasher().verify(quoted.strip("'"), "a good password")
    assert "good" not in line


@pytest.mark.parametrize("typed", [["short"], ["a good password", "a god password"]])
def test_a_password_that_was_mistyped_becomes_nothing(typed: list[str]) -> None:
    words, lines = iter(typed), list[str]()
    assert hash_password(lambda _: next(words), lines.append) == 1
    assert "$argon2" not in "".join(lines)
