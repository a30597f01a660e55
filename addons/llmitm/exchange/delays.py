"""When does a provider want to be asked again? From its headers, its error body and its words.

Sources: RFC 9110 `Retry-After`; OpenAI `retry-after-ms` and `x-ratelimit-reset-*`; Anthropic
`anthropic-ratelimit-*-reset`; Google `RetryInfo.retryDelay` and `quotaResetDelay`; OpenRouter
`error.metadata.headers`. Total: whatever does not make sense tells nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

from pydantic_core import from_json

from llmitm.canon.values import Json
from llmitm.exchange.wire import Headers, header

_MOST_S = 31 * 86400.0
_MOST_BODY_BYTES = 65536
_MOST_VALUES = 500
_DURATION = re.compile(
    r"(?:(?P<d>\d+(?:\.\d+)?)d)?(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m(?!s))?"
    r"(?:(?P<s>\d+(?:\.\d+)?)s)?(?:(?P<ms>\d+(?:\.\d+)?)ms)?"
)
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_WORD_UNITS = (
    ("ms", 0.001),
    ("milli", 0.001),
    ("s", 1.0),
    ("m", 60.0),
    ("h", 3600.0),
    ("d", 86400),
)
_PHRASE = re.compile(
    r"(?:(?:try again|retry|wait|reset\w*|available)\b[^.\d]{0,40}?)"
    r"(?:(?P<compound>(?:\d+(?:\.\d+)?(?:ms|[dhms]))+)\b"
    r"|(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>milliseconds?|seconds?|secs?|minutes?|mins?|hours?|days?))",
    re.IGNORECASE,
)
_DELAY_KEYS = frozenset(
    {"retrydelay", "quotaresetdelay", "retryafter", "retryafterseconds", "resetsinseconds"}
)
_RESET_KEYS = frozenset({"resetsat", "resetat", "xratelimitreset", "quotaresettimestamp"})


def delay_s(headers: Headers, body: bytes, now_s: float) -> float | None:
    """Seconds until the provider may be asked again, None when it did not say.

    body: without its content coding; now_s: Unix time, for dates. The header is believed before
    the body, the body's own fields before its prose.
    """
    told = retry_after_s(headers, now_s)
    if told is None and body and len(body) <= _MOST_BODY_BYTES:
        told = _in_body(body, now_s)
    if told is None:
        told = _of_reset_headers(headers, now_s)
    return told


def retry_after_s(headers: Headers, now_s: float) -> float | None:
    """What `retry-after-ms` or `Retry-After` (seconds or a date) says."""
    milliseconds = _number(header(headers, "retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    value = header(headers, "retry-after").strip()
    seconds = _number(value)
    if seconds is not None:
        return _bounded(seconds)
    return _until(value, now_s)


def seconds_of(text: str) -> float | None:
    """Seconds of `12`, `1.5s`, `6m0s`, `1h2m3s` or `250ms`; None when it is none of these."""
    bare = text.strip().lower()
    number = _number(bare)
    if number is not None:
        return _bounded(number)
    found = _DURATION.fullmatch(bare)
    if not bare or found is None or not any(found.groups()):
        return None
    return _bounded(sum(float(found[unit]) * size for unit, size in _UNITS.items() if found[unit]))


def _of_reset_headers(headers: Headers, now_s: float) -> float | None:
    """The latest reset among the limits that are used up."""
    resets: list[float] = []
    for name, value in headers:
        low = name.lower()
        if low.startswith("x-ratelimit-reset"):
            rest = low.removeprefix("x-ratelimit-reset")
            used_up = header(headers, f"x-ratelimit-remaining{rest}").strip() == "0"
        elif low.startswith("anthropic-ratelimit-") and low.endswith("-reset"):
            limit = low.removesuffix("reset")
            used_up = header(headers, f"{limit}remaining").strip() == "0"
            # A subscription's limits have a status in place of what remains.
            used_up = used_up or header(headers, f"{limit}status").strip() == "rejected"
        else:
            continue
        when = _when(value, now_s) if used_up else None
        if when is not None:
            resets.append(when)
    return max(resets, default=None)


def _when(value: str, now_s: float) -> float | None:
    """Seconds until a reset that is told as a duration, a Unix time or a date."""
    told = _stamp(_number(value), now_s)
    told = seconds_of(value) if told is None else told
    return _until(value, now_s) if told is None else told


def _in_body(body: bytes, now_s: float) -> float | None:
    try:
        value: Json = from_json(body)
    except ValueError:
        return None
    texts: list[str] = []
    for key, item in _walk(value):
        bare = key.replace("_", "").replace("-", "").lower()
        if bare in _DELAY_KEYS and isinstance(item, str | int | float):
            told = seconds_of(str(item))
        elif bare in _RESET_KEYS and isinstance(item, str | int | float):
            told = _stamp(_number(str(item)), now_s)
            told = _until(str(item), now_s) if told is None else told
        else:
            told = None
            if bare == "message" and isinstance(item, str):
                texts.append(item)
        if told is not None:
            return told
    return next((told for text in texts if (told := _in_words(text)) is not None), None)


def _walk(value: Json) -> Iterator[tuple[str, Json]]:
    """(key, value) of every object in it, breadth first, at most so many."""
    waiting: list[Json] = [value]
    seen = 0
    while waiting and seen < _MOST_VALUES:
        here = waiting.pop(0)
        seen += 1
        if isinstance(here, dict):
            for key, item in here.items():
                yield key, item
                waiting.append(item)
        elif isinstance(here, list):
            waiting.extend(here)


def _in_words(text: str) -> float | None:
    """`Please try again in 1m3.5s`, `retry after 20 seconds`."""
    found = _PHRASE.search(text[:4096])
    if found is None:
        return None
    if found["compound"]:
        return seconds_of(found["compound"])
    unit = found["unit"].lower()
    size = next(size for start, size in _WORD_UNITS if unit.startswith(start))
    if unit.startswith("milli"):
        size = 0.001
    return _bounded(float(found["number"]) * size)


def _until(text: str, now_s: float) -> float | None:
    """Seconds until an HTTP date or an RFC 3339 timestamp."""
    if not text:
        return None
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            when = read(text)
            when = when if when.tzinfo is not None else when.replace(tzinfo=UTC)
            return _bounded(max(when.timestamp() - now_s, 0.0))
        except (ValueError, OverflowError, OSError):
            continue
    return None


def _stamp(number: float | None, now_s: float) -> float | None:
    """Seconds until a Unix time in seconds or milliseconds; small numbers are seconds to wait."""
    if number is None:
        return None
    if number > 1e11:
        number /= 1000
    return _bounded(max(number - now_s, 0.0) if number > 1e8 else number)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) and "_" not in text else None


def _bounded(seconds: float) -> float | None:
    return min(max(seconds, 0.0), _MOST_S) if isfinite(seconds) else None
