"""How often one address may ask, with a clock that stands until it is moved."""

from __future__ import annotations

import random

import pytest

from llmitm.mitm.review.limits import Pace, PerMinute, network_of


def test_so_many_a_minute_and_each_address_for_itself() -> None:
    limit = PerMinute(3)
    assert [limit.ask("10.0.0.1", 0.0) for _ in range(3)] == [0, 0, 0]
    assert limit.ask("10.0.0.1", 1.0) > 0
    assert limit.ask("10.0.0.2", 1.0) == 0


@pytest.mark.parametrize("most", [1, 2, 10, 60])
def test_who_waits_as_long_as_told_may_ask_and_never_sooner_than_a_minute_allows(most: int) -> None:
    roll = random.Random(most)
    limit, now = PerMinute(most), 12345.6
    allowed: list[float] = []
    for _ in range(4000):
        wait_s = limit.ask("::1", now)
        if wait_s:
            assert 1 <= wait_s <= 121
            if roll.random() < 0.3:
                now += wait_s
                assert limit.ask("::1", now) == 0
                allowed.append(now)
        else:
            allowed.append(now)
        now += roll.choice([0.0, 0.01, 0.5, 7.0])
    for minute in range(int(allowed[0] // 60), int(allowed[-1] // 60) + 1):
        assert sum(1 for at in allowed if at // 60 == minute) <= most


def test_an_address_that_is_long_gone_is_forgotten() -> None:
    limit = PerMinute(1)
    for n in range(10_000):
        limit.ask(f"10.{n // 65536}.{n // 256 % 256}.{n % 256}", 0.0)
    assert len(limit) == 4096


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("2001:db8:1:2::9%eth0", "2001:db8:1:2::"),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_one_host_is_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_a_fast_talker_waits() -> None:
    pace = Pace(burst=3, per_second=2)
    assert [pace.wait(0.0) for _ in range(5)] == [0, 0, 0, 0.5, 1.0]
    assert pace.wait(10.0) == 0
