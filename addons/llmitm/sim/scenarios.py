"""What the scripted provider does: one `Scenario` value per behaviour, one table of them.

The table is data; nothing here knows a protocol or a socket. Names are chosen so that a client can
ask for a behaviour with nothing but a model name (`sim-slow`), see `Scenarios.named`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

TEXT = "This is a scripted answer over {protocol}. Your last message has {length} characters."
FINAL_TEXT = "The tool said: {result}"

type Encoding = Literal["", "gzip", "br", "zstd"]
type Ending = Literal["", "stop", "length", "content_filter"]


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call to make. name: empty = the first tool on offer; a name that is not on offer is
    not called. arguments: empty = made up from the tool's schema, `variant` picking the value."""

    name: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict[str, object], hash=False)
    variant: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One behaviour of the provider; every default is the plain, healthy one.

    name: as asked for; say: one line for `--list`;
    text: the answer, with `{length}` and `{prompt}` of the last user text, `{model}`, `{protocol}`;
    final_text: the answer after tool results, also with `{result}`;
    reasoning: text of thoughts, empty = none; details: Chat tells it as OpenRouter does, in entries
    with what proves them; calls: played when tools are on offer and the request
    does not end with their results; when_asked: play `calls` only if the last user text names the
    tool or asks for weather;
    lead: text said before calls; after: (words, calls): calls played when the last of the tool
    results that the request ends with holds the words; of several the first that fits;
    events: text deltas of a stream, words are added until there are as many; 0 = one per word;
    pad_bytes: the text is stretched to at least this many bytes; ending: finish reason, empty =
    as it comes; pings: the protocol's keep-alives are sent;
    ttfb_s: silence before the response head; delay_s: before every event (once for a whole body);
    hang_after, hang_s: silence of `hang_s` after so many events; batch: events per socket write;
    fail_status, fail_times: that status for the first `fail_times` times, None = always;
    fail_scope: `request` counts each different body by itself and starts anew after a success (a
    retry has the same body), `all` counts the scenario's requests together, once;
    retry_after_s: None = no such header; code, message: the error's, empty = usual for the status;
    stream_error_after: an error event inside a 200 after so many events, 0 = as the first (a whole
    body is then an error object with status 200); stream_error_status: what kind of error;
    cut_after: the socket is closed in mid-frame after so many events (whole: in mid-body);
    no_end: the stream stops cleanly without finish and end markers; close_early: the socket is
    closed before the response head; malformed: broken JSON (whole: the body, stream: the fourth
    event); content_type: a wrong one; encoding: content-encoding, whatever the client accepts.
    """

    name: str
    say: str = ""
    text: str = TEXT
    final_text: str = FINAL_TEXT
    reasoning: str = ""
    details: bool = False
    lead: str = ""
    calls: tuple[Call, ...] = ()
    after: tuple[tuple[str, tuple[Call, ...]], ...] = ()
    when_asked: bool = False
    events: int = 0
    pad_bytes: int = 0
    ending: Ending = ""
    pings: bool = True
    ttfb_s: float = 0.0
    delay_s: float = 0.0
    hang_after: int | None = None
    hang_s: float = 0.0
    batch: int = 1
    fail_status: int = 0
    fail_times: int | None = None
    fail_scope: Literal["request", "all"] = "request"
    retry_after_s: float | None = None
    code: str = ""
    message: str = ""
    stream_error_after: int | None = None
    stream_error_status: int = 529
    cut_after: int | None = None
    no_end: bool = False
    close_early: bool = False
    malformed: bool = False
    content_type: str = ""
    encoding: Encoding = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a value that could not be played."""
        if self.fail_status and not 400 <= self.fail_status <= 599:
            raise ValueError(f"{self.name}: fail_status {self.fail_status} is not in 400..599")
        if not 0 <= self.events <= 1_000_000 or self.batch < 1 or self.pad_bytes < 0:
            raise ValueError(f"{self.name}: events, batch or pad_bytes out of range")
        if min(self.ttfb_s, self.delay_s, self.hang_s) < 0:
            raise ValueError(f"{self.name}: a time below zero")


THOUGHTS = "The user asks something. I weigh two ways to answer. The short one is better."
LOOP = "I will now look at the file again to be sure that nothing was missed in it. "
ONE_CALL = (Call(),)
TWO_CALLS = (Call(), Call(variant=1))

NATURAL = Scenario(
    name="natural",
    say="text, or a tool call when the request offers one and its text asks for it",
    calls=ONE_CALL,
    when_asked=True,
)

TABLE: tuple[Scenario, ...] = (
    NATURAL,
    Scenario(name="sim-text", say="plain text"),
    Scenario(name="sim-echo", say="the last user text, word for word", text="{prompt}"),
    Scenario(name="sim-empty", say="an answer without any text", text="", final_text=""),
    Scenario(name="sim-blank", say="blanks for text", text=" \n\n ", final_text=" \n\n "),
    Scenario(name="sim-tool", say="a call of the first tool on offer", calls=ONE_CALL),
    Scenario(
        name="sim-parallel-tools", say="two calls of the first tool in one answer", calls=TWO_CALLS
    ),
    Scenario(name="sim-reasoning", say="reasoning, then text", reasoning=THOUGHTS),
    Scenario(
        name="sim-reasoning-tool",
        say="reasoning with a signature, then a tool call",
        reasoning=THOUGHTS,
        calls=ONE_CALL,
    ),
    Scenario(
        name="sim-details-tool",
        say="as sim-reasoning-tool; Chat tells the reasoning in `reasoning_details`",
        reasoning=THOUGHTS,
        details=True,
        calls=ONE_CALL,
    ),
    Scenario(name="sim-length", say="text cut off by the output limit", ending="length"),
    Scenario(name="sim-filter", say="text stopped by the content filter", ending="content_filter"),
    Scenario(name="sim-events", say="a stream of N text events: sim-events-500", events=50),
    Scenario(name="sim-batched", say="200 events, ten a socket write", events=200, batch=10),
    Scenario(name="sim-loop", say="a sentence that never ends to come again", text=LOOP * 400),
    Scenario(
        name="sim-loop-drip", say="the same, a word every 2 ms", text=LOOP * 400, delay_s=0.002
    ),
    Scenario(name="sim-slow", say="20 events, 0.2 s before each", events=20, delay_s=0.2),
    Scenario(name="sim-drip", say="40 events, 20 ms before each", events=40, delay_s=0.02),
    Scenario(name="sim-late", say="one second of silence before the head", ttfb_s=1.0),
    Scenario(name="sim-stall", say="30 s of silence before the head", ttfb_s=30.0),
    Scenario(name="sim-hang", say="three events, then 30 s of silence", hang_after=3, hang_s=30.0),
    Scenario(name="sim-huge", say="a text of 8 MB", pad_bytes=8_000_000),
    Scenario(
        name="sim-429-then-ok",
        say="429 with Retry-After: 1 once per request, then text",
        fail_status=429,
        fail_times=1,
        retry_after_s=1.0,
    ),
    Scenario(
        name="sim-500-then-ok",
        say="500 once per request, then text",
        fail_status=500,
        fail_times=1,
    ),
    Scenario(
        name="sim-503-then-ok",
        say="503 once per request, then text",
        fail_status=503,
        fail_times=1,
    ),
    Scenario(
        name="sim-529-then-ok",
        say="529 (overloaded) once per request, then text",
        fail_status=529,
        fail_times=1,
    ),
    Scenario(name="sim-error", say="always status N: sim-error-500", fail_status=500),
    Scenario(
        name="sim-429", say="always 429 with Retry-After: 1", fail_status=429, retry_after_s=1
    ),
    Scenario(
        name="sim-quota",
        say="429 because the account is out of money",
        fail_status=429,
        code="insufficient_quota",
        message="You exceeded your current quota, please check your plan and billing details.",
    ),
    Scenario(
        name="sim-context-length",
        say="400 because the prompt is too long",
        fail_status=400,
        code="context_length_exceeded",
    ),
    Scenario(
        name="sim-overloaded-in-stream",
        say="a 200 whose first event is an overload error",
        stream_error_after=0,
    ),
    Scenario(
        name="sim-error-in-stream",
        say="an error event after three events",
        stream_error_after=3,
        stream_error_status=500,
    ),
    Scenario(name="sim-cut", say="the socket closes inside the fourth event", cut_after=3),
    Scenario(name="sim-cut-first", say="the socket closes inside the first event", cut_after=0),
    Scenario(name="sim-no-end", say="the stream stops without its end markers", no_end=True),
    Scenario(name="sim-close", say="the socket closes before the head", close_early=True),
    Scenario(name="sim-malformed", say="broken JSON", malformed=True),
    Scenario(
        name="sim-wrong-type", say="content-type text/html", content_type="text/html; charset=utf-8"
    ),
    Scenario(name="sim-gzip", say="the body is gzip encoded", encoding="gzip"),
    Scenario(name="sim-br", say="the body is brotli encoded", encoding="br"),
    Scenario(name="sim-zstd", say="the body is zstd encoded", encoding="zstd"),
)

_NUMBERED = re.compile(
    r"(sim-events|sim-error|sim-huge|sim-late|sim-stall|sim-drip)-(\d{1,8})(?!\d)"
)


def numbered(name: str) -> Scenario | None:
    """The scenario of a name with a number in it, None if it is not such a name or out of range.

    `sim-events-N` N text events, `sim-error-S` status S, `sim-huge-N` N bytes of text,
    `sim-late-MS` and `sim-stall-MS` milliseconds before the head, `sim-drip-MS` before each event.
    """
    found = _NUMBERED.match(name)
    if found is None:
        return None
    kind, number = found[1], int(found[2])
    plain = next(row for row in TABLE if row.name == kind)
    full = found[0]
    try:
        match kind:
            case "sim-events":
                return replace(plain, name=full, events=number)
            case "sim-error":
                return replace(plain, name=full, fail_status=number)
            case "sim-huge":
                return replace(plain, name=full, pad_bytes=min(number, 64_000_000))
            case "sim-drip":
                return replace(plain, name=full, delay_s=number / 1000)
            case _:
                return replace(plain, name=full, ttfb_s=number / 1000)
    except ValueError:
        return None


class Scenarios:
    """The scenarios of one sim, found by name: the table, over it those given from code."""

    def __init__(self, own: Iterable[Scenario] = ()) -> None:
        self._rows = {row.name: row for row in TABLE}
        self._own = {row.name: row for row in own}
        self._rows.update(self._own)
        self._longest_first = sorted(self._rows, key=len, reverse=True)

    def all(self) -> tuple[Scenario, ...]:
        """Every scenario, those of the table first."""
        return tuple(self._rows.values())

    def exact(self, name: str) -> Scenario | None:
        """The scenario called `name`, a numbered one included; None if there is none."""
        return self._rows.get(name) or numbered(name)

    def named(self, text: str) -> Scenario | None:
        """The scenario that a model name or API key begins with, the longest name winning.

        A path before it is ignored (`openai/sim-text`), anything after it too (`sim-text-large`).
        """
        text = text.rsplit("/", 1)[-1].removeprefix("sk-")
        if text not in self._own and (found := numbered(text)):
            return found
        for name in self._longest_first:
            if text.startswith(name):
                return self._rows[name]
        return None
