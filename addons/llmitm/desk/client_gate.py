"""May this client's request wait for a person? Keys, how often, how large: values only.

Guards what costs a person's time: requests that a rule holds for an answer by hand. Never reads a
clock, never shows a key.
"""

from __future__ import annotations

import hmac
from collections import OrderedDict
from collections.abc import Mapping
from math import ceil

from pydantic import SecretStr

from llmitm.canon.events import Fault
from llmitm.errors import RuleError

_MINUTE_S = 60.0
_MOST_ADDRESSES = 4096
_MOST_KEYS = 1000


class ClientGate:
    """See the module. keys: the clients' own, empty = every client may; per_minute: of one
    address; most_bytes: of one body. For at most 4,096 addresses: the one that has not asked for
    the longest time is forgotten first."""

    def __init__(
        self,
        keys: tuple[SecretStr, ...] = (),
        per_minute: int = 60,
        most_bytes: int = 10 * 1024 * 1024,
    ) -> None:
        self._keys = tuple(key.get_secret_value().encode() for key in keys)
        self._per_minute = per_minute
        self._most_bytes = most_bytes
        self._asked: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._asked)

    def ask(self, key: str, address: str, size: int, now: float) -> Fault | None:
        """None = it may wait for a person; else what the client gets: 401, 413 or 429.

        key: bare of its scheme word, empty = none was shown; address: the client's;
        size: bytes of the body; now: seconds of any clock that only goes forward. A wrong key
        counts too, so that keys cannot be tried fast.
        """
        left, then = self._asked.pop(address, (float(self._per_minute), now))
        passed = max(0.0, now - then)
        left = min(float(self._per_minute), left + passed * self._per_minute / _MINUTE_S)
        allowed = left >= 1
        self._asked[address] = (left - 1 if allowed else left, now)
        while len(self._asked) > _MOST_ADDRESSES:
            self._asked.popitem(last=False)
        if not allowed:
            return _too_often((1 - left) * _MINUTE_S / self._per_minute, self._per_minute)
        if self._keys and not self._known(key):
            return _UNKNOWN_KEY
        if size > self._most_bytes:
            return _too_large(size, self._most_bytes)
        return None

    def _known(self, key: str) -> bool:
        shown = key.encode("utf-8", "surrogateescape")
        # Every key is compared, so the time tells nothing of which one was near.
        return any([hmac.compare_digest(shown, known) for known in self._keys])


def client_gate(environ: Mapping[str, str]) -> ClientGate:
    """The gate that HILT_API_KEYS, RATE_LIMIT_PER_MINUTE and MAX_REQUEST_SIZE describe.

    Raises RuleError that names the variable.
    """
    listed = environ.get("HILT_API_KEYS", "").split(",")
    keys = tuple(SecretStr(key.strip()) for key in listed if key.strip())
    if len(keys) > _MOST_KEYS:
        raise RuleError("HILT_API_KEYS", 0, "", f"more than {_MOST_KEYS} keys")
    return ClientGate(
        keys,
        whole_number(environ, "RATE_LIMIT_PER_MINUTE", 60, 1, 1_000_000),
        whole_number(environ, "MAX_REQUEST_SIZE", 10 << 20, 1024, 256 << 20),
    )


def whole_number(environ: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
    """What the variable says, `default` where it is empty. Raises RuleError that names it."""
    text = environ.get(name, "").strip()
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 12 and low <= int(text) <= high):
        raise RuleError(name, 0, "", f"{text[:40]!r} is not a whole number in {low}..{high}")
    return int(text)


_UNKNOWN_KEY = Fault(
    kind="authentication",
    status=401,
    code="invalid_api_key",
    message="llmitm: this request waits for a person, and its key is none of HILT_API_KEYS",
)


def _too_often(wait_s: float, per_minute: int) -> Fault:
    seconds = max(1, ceil(wait_s))
    say = f"llmitm: more than {per_minute} requests a minute for a person; again in {seconds} s"
    return Fault(
        kind="rate_limit",
        status=429,
        code="rate_limit_exceeded",
        message=say,
        retry_after_s=float(seconds),
    )


def _too_large(size: int, most: int) -> Fault:
    say = f"llmitm: {size} bytes are more than a person is asked about (MAX_REQUEST_SIZE: {most})"
    return Fault(kind="too_large", status=413, code="request_too_large", message=say)
