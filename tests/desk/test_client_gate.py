"""Which clients' requests may wait for a person."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from llmitm.desk.client_gate import ClientGate, client_gate
from llmitm.errors import RuleError

KEY = "hilt_sk_test123"


def gate(**more: int) -> ClientGate:
    return ClientGate((SecretStr(KEY), SecretStr("other")), **more)


def test_a_known_key_may_wait() -> None:
    assert gate().ask(KEY, "10.0.0.1", 100, 0.0) is None
    assert gate().ask("other", "10.0.0.1", 100, 0.0) is None
    assert ClientGate().ask("", "10.0.0.1", 100, 0.0) is None


@pytest.mark.parametrize("key", ["", "hilt_sk_test12", "hilt_sk_test1234", "ключ", "\udcff"])
def test_any_other_key_may_not(key: str) -> None:
    fault = gate().ask(key, "10.0.0.1", 100, 0.0)
    assert fault is not None
    assert (fault.kind, fault.status, fault.code) == ("authentication", 401, "invalid_api_key")
    assert KEY not in fault.message


def test_a_large_body_may_not() -> None:
    small = gate(most_bytes=1000)
    assert small.ask(KEY, "a", 1000, 0.0) is None
    fault = small.ask(KEY, "a", 1001, 0.0)
    assert fault is not None
    assert (fault.kind, fault.status) == ("too_large", 413)


def test_only_so_many_a_minute_wrong_keys_too() -> None:
    few = gate(per_minute=3)
    assert few.ask(KEY, "a", 1, 0.0) is None
    wrong = few.ask("wrong", "a", 1, 0.0)
    assert wrong is not None
    assert wrong.status == 401
    assert few.ask(KEY, "a", 1, 0.0) is None
    fault = few.ask(KEY, "a", 1, 0.0)
    assert fault is not None
    assert (fault.kind, fault.status, fault.retry_after_s) == ("rate_limit", 429, 20.0)
    assert few.ask(KEY, "b", 1, 0.0) is None
    assert few.ask(KEY, "a", 1, 19.9) is not None
    assert few.ask(KEY, "a", 1, 20.0) is None


def test_addresses_are_forgotten_in_the_order_they_came() -> None:
    few = gate(per_minute=1)
    for n in range(6000):
        assert few.ask(KEY, f"client-{n}", 1, 0.0) is None
    assert len(few) == 4096
    assert few.ask(KEY, "client-5999", 1, 0.0) is not None


def test_the_environment_says_what_holds() -> None:
    made = client_gate(
        {"HILT_API_KEYS": f" {KEY} ,, x", "RATE_LIMIT_PER_MINUTE": "1", "MAX_REQUEST_SIZE": "2048"}
    )
    assert made.ask(KEY, "a", 2048, 0.0) is None
    assert made.ask(KEY, "a", 1, 0.0) is not None
    assert made.ask("x", "b", 2049, 0.0) is not None
    assert client_gate({}).ask("", "a", 10 << 20, 0.0) is None


@pytest.mark.parametrize("text", ["0", "-1", "many", "1e3", "9" * 30])
def test_a_wrong_number_is_told_by_name(text: str) -> None:
    with pytest.raises(RuleError, match="RATE_LIMIT_PER_MINUTE"):
        client_gate({"RATE_LIMIT_PER_MINUTE": text})
