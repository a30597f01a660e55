"""What an addon and the stream layer say to each other: values, two protocols, one hook.

An addon steers a flow (`Streams.steer(flow, Plan(...))`) and gets a `Steering`: its handle while
the exchange lives. The `Tap` of the plan sees the head and every chunk of the answer and says with
a `Step` how it goes on. Failed attempts come as the hook `llm_attempt_failed(FailedAttempt)`.

Nothing here reads a socket; nothing here knows a provider.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Literal, Protocol

from mitmproxy import http
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http._events import HttpEvent

FailureKind = Literal["connect", "certificate", "timeout", "broken", "invalid", "status", "content"]


@dataclass(frozen=True, slots=True)
class Pass:
    """The head goes to the client now, every chunk after it went through `Tap.feed`.

    changes: the tap may alter the body, so the content-length is dropped and HTTP/1.1 clients get
    chunked framing. With False the head is untouched; then the tap must return the bytes it
    was fed, and cut, again and heartbeat are impossible if the answer has a content-length.
    """

    changes: bool = False


@dataclass(frozen=True, slots=True)
class HoldBack:
    """Head and body wait (what `feed` returns is kept) until the tap commits, fails or cuts.

    After cap_bytes kept bytes it commits by itself. If the answer ends first, it is sent whole,
    with a content-length, after the `response` hook could edit it (`flow.response.content`).
    """

    cap_bytes: int = 4 << 20
    changes: bool = True


@dataclass(frozen=True, slots=True)
class FailAttempt:
    """This answer is a failure; its body is read first, up to read_bytes or for body_s seconds."""

    why: str = ""
    read_bytes: int = 65536
    body_s: float = 5.0


Verdict = Pass | HoldBack | FailAttempt


class Act(Enum):
    """What happens after the bytes of a step went out.

    GO: nothing. COMMIT: end of holding back. FAIL: ask `llm_attempt_failed`. CUT: end the client's
    answer well-formed here and abort the upstream. AGAIN: abort the upstream and send
    `flow.request` (rewritten by the tap) once more into the same client stream. HOLD: what comes
    next from the upstream waits until `Steering.resume`.
    """

    GO = auto()
    COMMIT = auto()
    FAIL = auto()
    CUT = auto()
    AGAIN = auto()
    HOLD = auto()


@dataclass(frozen=True, slots=True)
class Step:
    """`out` goes to the client (or is kept while holding back), then `act`; `why` is for FAIL;
    commits: before a HOLD, holding back ends."""

    out: bytes = b""
    act: Act = Act.GO
    why: str = ""
    commits: bool = False


TapStep = bytes | Step
"""Plain bytes are `Step(out)`: the cheap way to say go on."""


class Tap(Protocol):
    """Sees one exchange's answer on its way to the client, over all its attempts. Never raises."""

    def head(self, response: http.Response) -> Verdict:
        """What to do with this attempt's answer; the head may be edited in place."""
        ...

    def feed(self, data: bytes) -> TapStep:
        """The bytes for the client in place of `data` (content-encoded, as received)."""
        ...

    def end(self) -> TapStep:
        """The last bytes, the upstream ended well. AGAIN and FAIL start another attempt."""
        ...

    def broke(self, message: str) -> TapStep:
        """The upstream broke off after bytes had reached the client.

        CUT: the client sees a well-formed end after `out`. AGAIN and FAIL: another attempt. All
        else: the break is passed on after `out` (HTTP/1 close, HTTP/2 RST_STREAM).
        """
        ...

    def resumed(self, decision: object) -> TapStep:
        """The hold is over; called before anything that waited is fed."""
        ...

    def heartbeat(self) -> bytes:
        """A keep-alive for the client, `b""` for none now (say, in mid-frame)."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why an attempt failed. status, headers, body: its answer as far as it was read.

    body: content-encoded as received; complete: body is all of it.
    """

    kind: FailureKind
    message: str
    status: int | None = None
    headers: http.Headers | None = None
    body: bytes = b""
    complete: bool = False

    @classmethod
    def of(
        cls,
        kind: FailureKind,
        message: str,
        response: http.Response | None,
        body: bytes,
        complete: bool,
    ) -> Failure:
        """The failure that an answer is."""
        status = None if response is None else response.status_code
        headers = None if response is None else response.headers
        return cls(
            kind=kind,
            message=message,
            status=status,
            headers=headers,
            body=body,
            complete=complete,
        )


@dataclass(frozen=True, slots=True)
class Retry:
    """Send `flow.request` as it now is; fresh: not over a connection used by this flow before."""

    fresh: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer the client with this; once its answer has begun only the body is sent."""

    response: http.Response


@dataclass(slots=True)
class FailedAttempt:
    """One failed attempt, to be decided by an addon; without a verdict the stock thing happens.

    That is: an upstream's own error answer passed on, an error page of mitmproxy (502) where there
    was none, `Tap.broke` once the client's answer has begun. number: 1 for the first attempt;
    opened: the client has the head (and maybe more), status and headers are settled.
    """

    flow: http.HTTPFlow
    failure: Failure
    number: int
    opened: bool
    verdict: Retry | Reply | None = None

    def retry(self, *, fresh: bool = False) -> None:
        """Another attempt; rewrite `flow.request` (host, port, scheme, headers, content) before."""
        self.verdict = Retry(fresh)

    def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
        """This answer for the client; the body must fit what it has seen if `opened`."""
        self.verdict = Reply(http.Response.make(status, body, headers))


@dataclass
class LlmAttemptFailedHook(commands.StartHook):
    """An attempt of a steered flow failed; blocking, may be async and take as long as it likes."""

    attempt: FailedAttempt


@dataclass(slots=True, kw_only=True)
class Plan:
    """How a flow is to be steered; may be changed until the answer began.

    tap: None leaves the body to mitmproxy (`flow.response.stream` decides) and still retries.
    wait: contact no upstream until `Steering.resume`, or never (`push`, `finish`).
    ttfb_s: from the start of an attempt (connecting included) to its head, and again to the
    commit of an answer held back; None: forever.
    open_head, open_after_s: the client's answer is begun with this head when nothing was sent
    after so many seconds since steering began; both None: never on its own.
    heartbeat_s: `tap.heartbeat()` is sent when the begun answer was silent for so long.
    keep_bytes: a streamed body up to this size is stored in `flow.response`.
    secrets: header values that go on the wire and nowhere else; `flow.request` keeps its own.
    """

    tap: Tap | None = None
    wait: bool = False
    ttfb_s: float | None = None
    open_head: http.Response | None = None
    open_after_s: float | None = None
    heartbeat_s: float | None = None
    keep_bytes: int = 0
    secrets: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes for the client, as they are."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """The client's answer ends well-formed after these bytes; an upstream is aborted."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Resume:
    """The end of a hold: of `Plan.wait`, or of a tap's HOLD."""

    decision: object


@dataclass(frozen=True, slots=True)
class OpenNow:
    """Begin the client's answer with `Plan.open_head`."""


@dataclass(frozen=True, slots=True)
class KillNow:
    """The flow was killed."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A deadline of the stream has come."""


@dataclass(frozen=True, slots=True)
class SendAgain:
    """The stream's own word to itself: start the next attempt."""


@dataclass(frozen=True, slots=True)
class Wake:
    """The layer above an upgraded connection has something to say."""


Push = Chunk | Finish | Resume | OpenNow | KillNow | Tick | SendAgain | Wake


class Audience(Protocol):
    """Sees everything that one exchange's client is sent, as it is sent. Never raises."""

    def sent(self, event: HttpEvent) -> None:
        """The head or a chunk of the answer, from whomever it came; also the word that it broke."""
        ...

    def ended(self) -> None:
        """The client's answer is complete."""
        ...

    def closed(self) -> None:
        """The exchange is over; without `ended` before, its answer will never be complete."""
        ...


class Steerable(Protocol):
    """The part of a stream that events address."""

    flow: http.HTTPFlow
    context: Context


@dataclass
class Pushed(events.Event):
    """Carries a push through the layers to its stream."""

    stream: Steerable
    push: Push


@dataclass(slots=True, kw_only=True)
class Steering:
    """An addon's handle on a steered flow, from `Streams.steer` until `closed`. One event loop.

    gone: set when the client left, the flow was killed or the exchange ended: what a hook that
    waits must also wait for. verdict: set by an addon in `responseheaders` to overrule `Tap.head`.
    audience: shown what the client is sent, None = nobody.
    A push returns False when the exchange or its connection is over. Pushes keep their order and
    wait for a running hook and for the whole request; only `open` (and a kill) wait for nothing.
    """

    flow: http.HTTPFlow
    plan: Plan
    deliver: Callable[[Push], bool]
    verdict: Verdict | None = None
    audience: Audience | None = None
    attempts: int = 0
    opened: bool = False
    closed: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def push(self, data: bytes) -> bool:
        """Sends `data` to the client; begins its answer with `Plan.open_head` if need be."""
        return self.deliver(Chunk(data))

    def finish(self, data: bytes = b"") -> bool:
        """Ends the client's answer well-formed after `data` and aborts an upstream."""
        return self.deliver(Finish(data))

    def resume(self, decision: object = None) -> bool:
        """Ends a hold. After `Plan.wait`: `flow.response` if one was set, else the upstream."""
        return self.deliver(Resume(decision))

    def open(self) -> bool:
        """Begins the client's answer now."""
        return self.deliver(OpenNow())
