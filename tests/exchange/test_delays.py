"""Every source of a delay, in seconds; what makes no sense tells nothing; nothing raises."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.exchange.delays import delay_s, retry_after_s, seconds_of
from llmitm.exchange.wire import Headers
from recordings import CORPUS, load, needs_corpus

NOW_S = 1_767_225_600.0  # 2026-01-01T00:00:00Z
MOST_S = 31 * 86400.0


def headers(**values: str) -> Headers:
    return tuple((name.replace("_", "-"), value) for name, value in values.items())


# --- headers ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        (headers(retry_after="7"), 7.0),
        (headers(Retry_After=" 7 "), 7.0),
        (headers(retry_after="0"), 0.0),
        (headers(retry_after="1.5"), 1.5),
        (headers(retry_after="-3"), 0.0),
        (headers(retry_after="Thu, 01 Jan 2026 00:00:20 GMT"), 20.0),
        (headers(retry_after="Thu, 01 Jan 2026 02:00:20 +0200"), 20.0),
        (headers(retry_after="Thursday, 01-Jan-26 00:00:20 GMT"), 20.0),
        (headers(retry_after="Wed, 31 Dec 2025 23:59:00 GMT"), 0.0),
        (headers(retry_after="2026-01-01T00:01:00Z"), 60.0),
        (headers(retry_after="2026-01-01T00:01:00"), 60.0),
        (headers(retry_after_ms="250"), 0.25),
        (headers(retry_after="7", retry_after_ms="1500"), 1.5),
        (headers(retry_after="7", retry_after_ms="soon"), 7.0),
        (headers(retry_after="99999999999"), MOST_S),
        (headers(retry_after="soon"), None),
        (headers(retry_after=""), None),
        (headers(retry_after="nan"), None),
        (headers(retry_after="inf"), None),
        (headers(retry_after="1_000"), None),
        (headers(retry_after="1e400"), None),
        (headers(retry_after="Thu, 99 Jan 2026 00:00:20 GMT"), None),
        (headers(retry_after="Thu, 01 Jan 999999 00:00:20 GMT"), None),
        ((), None),
    ],
)
def test_retry_after(sent: Headers, wanted: float | None) -> None:
    assert retry_after_s(sent, NOW_S) == wanted
    assert delay_s(sent, b"", NOW_S) == wanted


@pytest.mark.parametrize(
    ("sent", "wanted"),
    [
        # OpenAI, Groq: durations, one pair of headers for each limit
        (headers(x_ratelimit_reset_requests="1s", x_ratelimit_remaining_requests="0"), 1.0),
        (headers(x_ratelimit_reset_tokens="6m0s", x_ratelimit_remaining_tokens="0"), 360.0),
        (headers(x_ratelimit_reset_tokens="17ms", x_ratelimit_remaining_tokens="0"), 0.017),
        (headers(X_RateLimit_Reset_Tokens="1.5s", X_RateLimit_Remaining_Tokens="0"), 1.5),
        (
            headers(
                x_ratelimit_reset_requests="2m59.56s",
                x_ratelimit_remaining_requests="0",
                x_ratelimit_reset_tokens="7.66s",
                x_ratelimit_remaining_tokens="17995",
            ),
            179.56,
        ),
        (
            headers(
                x_ratelimit_reset_requests="3s",
                x_ratelimit_remaining_requests="0",
                x_ratelimit_reset_tokens="1m",
                x_ratelimit_remaining_tokens="0",
            ),
            60.0,
        ),
        (headers(x_ratelimit_reset_requests="1s", x_ratelimit_remaining_requests="9"), None),
        (headers(x_ratelimit_reset_requests="1s"), None),
        (headers(x_ratelimit_reset_requests="?", x_ratelimit_remaining_requests="0"), None),
        # Cerebras: one pair for each span of time
        (
            headers(x_ratelimit_reset_tokens_day="300.5", x_ratelimit_remaining_tokens_day="0"),
            300.5,
        ),
        # one pair for all: a stamp in seconds or milliseconds (OpenRouter), or seconds to wait
        (headers(x_ratelimit_reset=f"{NOW_S + 5:.0f}", x_ratelimit_remaining="0"), 5.0),
        (headers(x_ratelimit_reset=f"{(NOW_S + 5) * 1000:.0f}", x_ratelimit_remaining="0"), 5.0),
        (headers(x_ratelimit_reset="12", x_ratelimit_remaining="0"), 12.0),
        (headers(x_ratelimit_reset=f"{NOW_S - 5:.0f}", x_ratelimit_remaining="0"), 0.0),
        (headers(x_ratelimit_reset="1m2s", x_ratelimit_remaining="0"), 62.0),
        (
            headers(x_ratelimit_reset_tokens=f"{NOW_S + 5:.0f}", x_ratelimit_remaining_tokens="0"),
            5.0,
        ),
        # Anthropic: timestamps; for a subscription Unix seconds and a status
        (
            headers(
                anthropic_ratelimit_unified_reset=f"{NOW_S + 7200:.0f}",
                anthropic_ratelimit_unified_status="rejected",
                anthropic_ratelimit_unified_7d_reset=f"{NOW_S + 99999:.0f}",
                anthropic_ratelimit_unified_7d_status="allowed_warning",
            ),
            7200.0,
        ),
        (
            headers(
                anthropic_ratelimit_requests_reset="2026-01-01T00:00:30Z",
                anthropic_ratelimit_requests_remaining="0",
            ),
            30.0,
        ),
        (
            headers(
                anthropic_ratelimit_input_tokens_reset="2026-01-01T00:00:30Z",
                anthropic_ratelimit_input_tokens_remaining="0",
                anthropic_ratelimit_output_tokens_reset="2026-01-01T00:01:30Z",
                anthropic_ratelimit_output_tokens_remaining="0",
                anthropic_ratelimit_requests_reset="2026-01-01T09:00:00Z",
                anthropic_ratelimit_requests_remaining="49",
            ),
            90.0,
        ),
    ],
)
def test_limits_that_are_used_up_tell_when_they_are_reset(
    sent: Headers, wanted: float | None
) -> None:
    told = delay_s(sent, b"", NOW_S)
    assert told == (None if wanted is None else pytest.approx(wanted))


# --- bodies -----------------------------------------------------------------------------------

GOOGLE = {
    "error": {
        "code": 429,
        "message": "You exceeded your current quota.",
        "status": "RESOURCE_EXHAUSTED",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.QuotaFailure",
                "violations": [{"quotaId": "GenerateRequestsPerMinute", "quotaValue": "15"}],
            },
            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.074824224s"},
        ],
    }
}
CODE_ASSIST = {
    "error": {
        "code": 429,
        "message": "Resource has been exhausted (e.g. check quota).",
        "details": [
            {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "RATE_LIMIT_EXCEEDED",
                "metadata": {"quotaResetDelay": "1h16m0.667923083s", "model": "gemini-2.5-pro"},
            }
        ],
    }
}
STAMPED = {
    "error": {
        "code": 429,
        "details": [{"metadata": {"quotaResetTimeStamp": "2026-01-01T00:02:00Z"}}],
    }
}
OPENROUTER = {
    "error": {
        "message": "Rate limit exceeded: free-models-per-min. ",
        "code": 429,
        "metadata": {
            "headers": {
                "X-RateLimit-Limit": "20",
                "X-RateLimit-Remaining": "0",
                "X-RateLimit-Reset": f"{(NOW_S + 41) * 1000:.0f}",
            }
        },
    },
    "user_id": "user_1",
}
OPENAI = {
    "error": {
        "message": "Rate limit reached for gpt-4o in organization org-x on tokens per min (TPM): "
        "Limit 30000, Used 29536, Requested 1201. Please try again in 1.474s. Visit "
        "https://platform.openai.com/account/rate-limits to learn more.",
        "type": "tokens",
        "param": None,
        "code": "rate_limit_exceeded",
    }
}
CODEX = {
    "error": {
        "type": "usage_limit_reached",
        "message": "The usage limit has been reached",
        "plan_type": "plus",
        "resets_at": NOW_S + 3600,
        "resets_in_seconds": 3600,
    }
}


def said(message: str) -> dict[str, Any]:
    return {"error": {"message": message}}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (GOOGLE, 34.074824224),
        ([GOOGLE], 34.074824224),
        (CODE_ASSIST, 4560.667923083),
        (STAMPED, 120.0),
        (OPENROUTER, 41.0),
        (OPENAI, 1.474),
        (CODEX, 3600.0),
        ({"error": {"type": "usage_limit_reached", "resets_in_seconds": 90}}, 90.0),
        ({"retry_after": 12}, 12.0),
        ({"error": {"retry_after": "12"}}, 12.0),
        ({"error": {"retry_after_seconds": 2.5}}, 2.5),
        ({"error": {"metadata": {"retry_after_seconds": 2.5}}}, 2.5),
        ({"error": {"metadata": {"headers": {"Retry-After": "12"}}}}, 12.0),
        ({"error": {"retry-after": None, "message": "try again in 5s"}}, 5.0),
        # a field beats prose wherever it stands
        ({"message": "try again in 5s", "error": {"details": [{"retryDelay": "9s"}]}}, 9.0),
        (said("Please try again in 20s."), 20.0),
        (said("Please try again in 6m0s."), 360.0),
        (said("Please try again in 1h2m3s."), 3723.0),
        (said("Please try again in 1d2h"), 93600.0),
        (said("Please try again in 1m3.5s"), 63.5),
        (said("Please try again in 250ms."), 0.25),
        (said("Please retry in 34.07s."), 34.07),
        (said("Please retry after 20 seconds."), 20.0),
        (said("Retry after 1 second"), 1.0),
        (said("Please wait 2 minutes before you try again"), 120.0),
        (said("Your quota will reset after 1h16m0s."), 4560.0),
        (said("available again in 3 hours"), 10800.0),
        (said("Try again in 90 milliseconds"), 0.09),
        (said("try again in 2 mins"), 120.0),
        (said("try again in 2 days"), 172800.0),
        (said("Too many requests, please slow down"), None),
        (said("Limit 30000, used 29536 seconds"), None),
        (said("try again later"), None),
        ({"error": "try again in 5s"}, None),
        ({"messages": [{"content": "try again in 5s"}]}, None),
        ({"retry_after": True}, None),
        ({"retry_after": [5]}, None),
        ({"retry_after": {"seconds": 5}}, None),
        ("try again in 5s", None),
        (5, None),
        (None, None),
    ],
)
def test_bodies(body: Any, wanted: float | None) -> None:
    told = delay_s((), json.dumps(body).encode(), NOW_S)
    assert told == (None if wanted is None else pytest.approx(wanted, abs=1e-4))


def test_who_is_believed() -> None:
    used_up = headers(x_ratelimit_reset_tokens="9s", x_ratelimit_remaining_tokens="0")
    body = json.dumps({"retry_after": 5}).encode()
    assert delay_s((*used_up, *headers(retry_after="3")), body, NOW_S) == 3.0
    assert delay_s(used_up, body, NOW_S) == 5.0
    assert delay_s(used_up, b"{}", NOW_S) == 9.0
    assert delay_s((), b"{}", NOW_S) is None


def test_a_body_that_is_too_large_is_not_read() -> None:
    body = json.dumps({"retry_after": 5, "padding": "x" * 70_000}).encode()
    assert delay_s((), body, NOW_S) is None


# --- durations --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("12", 12.0),
        ("1.5", 1.5),
        ("1.5s", 1.5),
        ("250ms", 0.25),
        ("6m0s", 360.0),
        ("6m", 360.0),
        ("1h2m3s", 3723.0),
        ("1d1h1m1s1ms", 90061.001),
        (" 7S ", 7.0),
        ("", None),
        ("s", None),
        ("1x", None),
        ("3s2m", None),
        ("1s 2", None),
        ("2ms, req_1", None),
    ],
)
def test_durations(text: str, wanted: float | None) -> None:
    assert seconds_of(text) == (None if wanted is None else pytest.approx(wanted))


@given(st.integers(0, 30), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59_999))
def test_a_duration_is_read_as_it_is_written(days: int, hours: int, minutes: int, ms: int) -> None:
    text = f"{days}d{hours}h{minutes}m{ms / 1000:g}s"
    wanted = days * 86400 + hours * 3600 + minutes * 60 + float(f"{ms / 1000:g}")
    assert seconds_of(text) == pytest.approx(min(wanted, MOST_S))


# --- nothing raises ---------------------------------------------------------------------------

NAMES = st.sampled_from(
    ["retry-after", "retry-after-ms", "x-ratelimit-reset", "x-ratelimit-remaining"]
    + ["x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"]
    + ["anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"]
)
VALUES = st.text(max_size=40) | st.sampled_from(
    ["0", "-0", "1e308", "9" * 400, "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"]
    + ["Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -2359", "²", "1²s", "\x00"]
)
KEYS = st.sampled_from(["retryDelay", "retry_after", "resets_at", "message", "error", "details"])
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.floats()
    | st.integers()
    | st.text(max_size=30)
    | VALUES
    | st.sampled_from(["try again in " + "9" * 400 + "s", "retry after 1.1.1 s", "wait 5d4d3h"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=300)
@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.binary(max_size=60) | JSON)
def test_garbage_never_raises_and_never_tells_nonsense(sent: list[tuple[str, str]], body) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    told = delay_s(tuple(sent), raw, NOW_S)
    assert told is None or 0 <= told <= MOST_S


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"retry_after": 1e999}',
        b'{"retry_after": NaN}',
        b'{"retry_after": ' + b"9" * 5000 + b"}",
        b'{"resets_at": ' + b"9" * 5000 + b"}",
        b'{"resets_at": "' + b"9" * 5000 + b'"}',
        b'{"message": "' + b"retry " * 9000 + b'"}',
        b'{"message": "wait ' + b"1d" * 20_000 + b'"}',
        b"\xff\xfe{}",
        '{"message": "try again in ٣ seconds"}'.encode(),
        b"<html>try again in 5s</html>",
        b"",
    ],
)
def test_hostile_bodies_never_raise(body: bytes) -> None:
    told = delay_s((), body, NOW_S)
    assert told is None or 0 <= told <= MOST_S


# --- as recorded ------------------------------------------------------------------------------

RECORDED = [name.name.removesuffix(".jsonl.gz") for name in sorted(CORPUS.glob("*.jsonl.gz"))]


def recorded(name: str) -> list[tuple[Headers, bytes, int]]:
    return [
        (
            tuple((row["response_headers"] or {}).items()),
            row["response_body"].encode(),
            row["status"],
        )
        for row in load(name)
    ]


@needs_corpus
@pytest.mark.parametrize("name", RECORDED)
def test_recorded_answers_raise_nothing_and_errors_that_are_no_limits_tell_nothing(
    name: str,
) -> None:
    for sent, body, status in recorded(name):
        told = delay_s(sent, body, NOW_S)
        assert told is None or 0 <= told <= MOST_S
        if status >= 400:
            assert told is None, (status, body[:300])


@needs_corpus
def test_recorded_resets_are_understood_once_their_limit_is_used_up() -> None:
    """The corpus holds no 429, but thousands of the headers that come with one."""
    seen = 0
    for name in RECORDED:
        for sent, _, _ in recorded(name):
            for key, value in sent:
                low = key.lower()
                if not re.fullmatch(r"(x-ratelimit-reset.*|anthropic-ratelimit-.*-reset)", low):
                    continue
                if "XXX" in value or "," in value:  # the recorder's own doing
                    continue
                remaining = (
                    low.replace("reset", "remaining")
                    if low.startswith("x-")
                    else low.removesuffix("reset") + "remaining"
                )
                assert delay_s(((key, value), (remaining, "0")), b"", 1.7e9) is not None, (
                    key,
                    value,
                )
                seen += 1
    assert seen > 1000
