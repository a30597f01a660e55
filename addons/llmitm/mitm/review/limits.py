"""How often may one address ask? Counters of a minute, bounded; no clock of their own.

The window slides: what the minute before counted weighs as much as is left of it, so nobody gets
twice the number around the turn of a minute.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil

_MINUTE_S = 60.0
_MOST_ADDRESSES = 4096


@dataclass(slots=True)
class _Window:
    minute: int
    before: int = 0
    now: int = 0


class PerMinute:
    """At most `most` of something a minute for each address, for at most 4,096 addresses: what has
    not come for the longest time is forgotten first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def __len__(self) -> int:
        return len(self._windows)

    def ask(self, address: str, now: float) -> float:
        """Counts one more; 0 = it may, else seconds until it may (and it was not counted)."""
        key = network_of(address)
        minute, into = divmod(now, _MINUTE_S)
        window = self._windows.pop(key, None) or _Window(int(minute))
        self._windows[key] = window
        if window.minute != minute:
            window.before = window.now if window.minute == minute - 1 else 0
            window.now, window.minute = 0, int(minute)
        while len(self._windows) > _MOST_ADDRESSES:
            self._windows.popitem(last=False)
        if window.now >= self._most:
            # In the next minute this one's count weighs in and fades out.
            return float(ceil(_MINUTE_S - into + _MINUTE_S / window.now))
        if window.before * (1 - into / _MINUTE_S) + window.now >= self._most:
            free = self._most - window.now
            return float(max(0, int(_MINUTE_S * (1 - free / window.before) - into)) + 1)
        window.now += 1
        return 0.0


class Pace:
    """How fast one WebSocket may talk: `burst` at once, then `per_second`."""

    def __init__(self, burst: int, per_second: float) -> None:
        self._burst = burst
        self._per_second = per_second
        self._left = float(burst)
        self._at = 0.0

    def wait(self, now: float) -> float:
        """Counts one more; seconds to wait before it is looked at, 0 = none."""
        self._left = min(self._burst, self._left + max(0.0, now - self._at) * self._per_second)
        self._at = now
        self._left -= 1
        return 0.0 if self._left >= 0 else -self._left / self._per_second


def network_of(address: str) -> str:
    """What counts as one address: of IPv6 the /64 that one host has to itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(IPv6Address(int(parsed) >> 64 << 64))
    return str(parsed)
