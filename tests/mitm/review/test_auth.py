"""Passwords, tokens, and who has signed out; no sockets."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import argon2
import pytest
from pydantic import SecretStr

from llmitm.mitm.review.auth import REVOKED_FILE, Busy, Logins, SignedOut
from llmitm.mitm.review.printing import printed
from llmitm.mitm.review.settings import ReviewSettings
from review_served import HASH, PASSWORD, QUICK


class Counting(argon2.PasswordHasher):
    """Counts what it verifies, and can be made to wait."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.verified: list[str | bytes] = []
        self.go = threading.Event()
        self.go.set()

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:
        self.go.wait(20)
        self.verified.append(password)
        return super().verify(hash, password)


def settings(password_hash: str = HASH, **more: object) -> ReviewSettings:
    return ReviewSettings(
        secret_key=SecretStr("s" * 40), password_hash=SecretStr(password_hash), **more
    )


def logins(folder: Path, now: float = 1000.0, **more: object) -> tuple[Logins, Counting]:
    hasher = Counting()
    return Logins(settings(**more), folder, lambda: now, hasher), hasher


def test_an_unknown_name_costs_what_a_wrong_password_costs(tmp_path: Path) -> None:
    async def story() -> None:
        one, hasher = logins(tmp_path)
        for name, password in [("admin", "x"), ("nobody", "x"), ("nobody", PASSWORD), ("", "")]:
            assert await one.log_in(name, password) is None
        assert len(hasher.verified) == 4
        long = PASSWORD + "x" * 5000
        assert await one.log_in("admin", long) is None
        assert len(hasher.verified[-1]) == 1024
        assert await one.log_in("admin", "\ud800") is None
        assert await one.log_in("admin", PASSWORD) is not None
        one.close()

    asyncio.run(story())


def test_only_so_many_passwords_are_checked_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        one, hasher = logins(tmp_path)
        hasher.go.clear()
        waiting = [asyncio.ensure_future(one.log_in("admin", PASSWORD)) for _ in range(8)]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await one.log_in("admin", PASSWORD)
        hasher.go.set()
        assert all(await asyncio.gather(*waiting))
        assert await one.log_in("admin", PASSWORD) is not None
        one.close()

    asyncio.run(story())


def test_a_token_is_good_for_its_key_name_and_password_alone(tmp_path: Path) -> None:
    async def story() -> None:
        one, _ = logins(tmp_path)
        login = await one.log_in("admin", PASSWORD)
        assert login is not None
        assert login.token not in repr(login)
        operator = one.operator(login.token)
        assert operator == login.operator
        same, _ = logins(tmp_path, now=1000.0 + 480 * 60 - 1)
        assert same.operator(login.token) == operator
        late, _ = logins(tmp_path, now=1000.0 + 480 * 60)
        assert late.operator(login.token) is None
        others = [
            logins(tmp_path, username="kim")[0],
            logins(tmp_path, password_hash=QUICK.hash(PASSWORD))[0],
            logins(tmp_path, password_hash="")[0],
            Logins(
                ReviewSettings(secret_key=SecretStr("t" * 40), password_hash=SecretStr(HASH)),
                tmp_path,
                lambda: 1000.0,
            ),
        ]
        assert [other.operator(login.token) for other in others] == [None] * 4

    asyncio.run(story())


def test_a_token_of_a_longer_time_is_cut_to_the_time_that_holds_now(tmp_path: Path) -> None:
    async def story() -> None:
        one, _ = logins(tmp_path, token_minutes=480)
        login = await one.log_in("admin", PASSWORD)
        assert login is not None
        shorter, _ = logins(tmp_path, now=1000.0 + 600, token_minutes=5)
        assert shorter.operator(login.token) is None

    asyncio.run(story())


def test_a_one_time_token_is_good_once(tmp_path: Path) -> None:
    one, _ = logins(tmp_path, password_hash="")
    token = one.one_time_token
    assert one.spend("") is None
    assert one.spend(token[:-1]) is None
    assert one.spend(token) is not None
    assert one.spend(token) is None
    assert one.one_time_token not in ("", token)
    with_password, _ = logins(tmp_path)
    assert with_password.one_time_token == ""
    assert with_password.spend("") is None


def test_who_has_signed_out_is_bounded_and_never_forgotten(tmp_path: Path) -> None:
    now = [0.0]
    file = tmp_path / REVOKED_FILE
    out = SignedOut(file, lambda: now[0])
    out.add("early", 10.0)
    now[0] = 11.0
    out.add("later", 100.0)
    assert "early" not in file.read_text()
    assert SignedOut(file, lambda: now[0]).holds("later", 5.0)
    # One more than can be kept: nobody's token is good any more.
    kept = {"before": 0.0, "until": {f"t{n}": 1e9 for n in range(10_000)}}
    file.write_text(json.dumps(kept))
    full = SignedOut(file, lambda: now[0])
    full.add("one more", 1e9)
    assert full.holds("never seen", 11.0)
    assert not full.holds("never seen", 11.5)
    assert SignedOut(file, lambda: now[0]).holds("never seen", 11.0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"before": "x", "until": {}}', '{"before": 0}'])
def test_a_damaged_list_signs_everybody_out(tmp_path: Path, text: str) -> None:
    file = tmp_path / REVOKED_FILE
    file.write_text(text)
    assert SignedOut(file, lambda: 50.0).holds("any", 49.0)
    assert not SignedOut(file, lambda: 50.0).holds("any", 51.0)


def test_half_a_character_can_be_told() -> None:
    assert json.loads(printed({"a": ["\ud800", {"b": 1}]})) == {"a": ["\ud800", {"b": 1}]}
