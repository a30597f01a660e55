"""The four protocols as one table: who prints what, with which headers and words.

Never: decides what is answered, or sends anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llmitm.sim import wire_chat, wire_gemini, wire_messages, wire_responses
from llmitm.sim.answers import ID, Answer, Trouble
from llmitm.sim.asks import Form, Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """One protocol. headers: of every answer; limits: of a good one besides;
    tail: how many frames end a stream (finish reason, usage, markers); too_long: its words for a
    prompt beyond the context window; overloaded: its status for that."""

    whole: Callable[[Answer], bytes]
    frames: Callable[[Answer], list[bytes]]
    error: Callable[[Trouble], bytes]
    error_frames: Callable[[Trouble, Answer, int], list[bytes]]
    headers: Sequence[tuple[str, str]]
    limits: Sequence[tuple[str, str]]
    json_type: str
    sse_type: str
    tail: Callable[[Answer], int]
    too_long: str
    overloaded: int = 529


_OPENAI_HEADERS = (
    ("openai-organization", "sim-org"),
    ("openai-processing-ms", "17"),
    ("openai-version", "2020-10-01"),
    ("x-request-id", f"req_{ID}"),
    ("server", "llmitm-sim"),
)
_OPENAI_LIMITS = (
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "2000000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "1999900"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-reset-tokens", "3ms"),
)
_OPENAI_TOO_LONG = (
    "This model's maximum context length is 128000 tokens. However, your messages resulted in "
    "250000 tokens. Please reduce the length of the messages."
)


def _gemini_tail(answer: Answer) -> int:
    return 2 if answer.ask.form == "array" else 1


WIRES: Mapping[Protocol, Wire] = {
    "openai_chat": Wire(
        whole=wire_chat.whole,
        frames=wire_chat.frames,
        error=wire_chat.error,
        error_frames=wire_chat.error_frames,
        headers=_OPENAI_HEADERS,
        limits=_OPENAI_LIMITS,
        json_type="application/json",
        sse_type="text/event-stream; charset=utf-8",
        tail=lambda answer: 3 if answer.ask.usage_chunk else 2,
        too_long=_OPENAI_TOO_LONG,
        overloaded=503,
    ),
    "openai_responses": Wire(
        whole=wire_responses.whole,
        frames=wire_responses.frames,
        error=wire_responses.error,
        error_frames=wire_responses.error_frames,
        headers=_OPENAI_HEADERS,
        limits=_OPENAI_LIMITS,
        json_type="application/json",
        sse_type="text/event-stream; charset=utf-8",
        tail=lambda _answer: 1,
        too_long="Your input exceeds the context window of this model. Please adjust your input "
        "and try again.",
        overloaded=503,
    ),
    "anthropic_messages": Wire(
        whole=wire_messages.whole,
        frames=wire_messages.frames,
        error=wire_messages.error,
        error_frames=wire_messages.error_frames,
        headers=(
            ("request-id", f"req_011{ID}"),
            ("anthropic-organization-id", "5b1a0000-0000-4000-8000-000000000000"),
            ("x-robots-tag", "none"),
            ("server", "llmitm-sim"),
        ),
        limits=(
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-requests-reset", "2026-01-01T00:00:00Z"),
            ("anthropic-ratelimit-input-tokens-limit", "2000000"),
            ("anthropic-ratelimit-input-tokens-remaining", "2000000"),
            ("anthropic-ratelimit-output-tokens-limit", "400000"),
            ("anthropic-ratelimit-output-tokens-remaining", "400000"),
        ),
        json_type="application/json",
        sse_type="text/event-stream; charset=utf-8",
        tail=lambda _answer: 2,
        too_long="prompt is too long: 250000 tokens > 200000 maximum",
    ),
    "gemini_generate": Wire(
        whole=wire_gemini.whole,
        frames=wire_gemini.frames,
        error=wire_gemini.error,
        error_frames=wire_gemini.error_frames,
        headers=(
            ("vary", "Origin"),
            ("vary", "X-Origin"),
            ("x-content-type-options", "nosniff"),
            ("server", "llmitm-sim"),
        ),
        limits=(),
        json_type="application/json; charset=UTF-8",
        sse_type="text/event-stream",
        tail=_gemini_tail,
        too_long="The input token count (2500000) exceeds the maximum number of tokens allowed "
        "(1048576).",
        overloaded=503,
    ),
}

_WORDS = {
    400: "Invalid request.",
    401: "Incorrect API key provided.",
    403: "You do not have access to this.",
    404: "The requested resource does not exist.",
    413: "The request is too large.",
    429: "Rate limit reached. Please try again later.",
    500: "The server had an error while processing your request.",
    502: "Bad gateway.",
    503: "The model is overloaded. Please try again later.",
    504: "The request timed out.",
    529: "Overloaded",
}


def trouble(
    wire: Wire, status: int, *, code: str = "", say: str = "", retry_after_s: float | None = None
) -> Trouble:
    """An error in this protocol's own words. say: empty = the usual text for the status.

    529 becomes the protocol's own status for an overloaded model.
    """
    if status == 529:
        status = wire.overloaded
    if not say:
        usual = _WORDS.get(status, f"Status {status}.")
        say = wire.too_long if code == "context_length_exceeded" else usual
    return Trouble(status, say, code, retry_after_s)


def media_type(wire: Wire, form: Form) -> str:
    """The content-type of a good answer."""
    return wire.sse_type if form == "sse" else wire.json_type
