"""What happens while a model answers: a closed union of small values, in wire order.

A whole body decodes to the same events as a stream of it. Order within a choice:
`Start (PartStart (PartDelta | PartDetail)* PartEnd)* Finish`, `Usage` anywhere, `End` last; parts
may overlap (parallel tool calls). An index names a part within its choice for the whole answer.
`choice` is 0 unless several answers were asked for.
"""

from __future__ import annotations

from typing import Literal

from llmitm.canon.parts import Part
from llmitm.canon.values import NO_EXTRAS, Extras, Json, value

type DeltaKind = Literal["text", "reasoning", "arguments", "refusal"]

type FinishReason = Literal[
    "stop", "length", "tool_calls", "content_filter", "refusal", "pause", "error", "unknown"
]

type FaultKind = Literal[
    "invalid_request",
    "authentication",
    "permission",
    "billing",
    "not_found",
    "too_large",
    "context_length",
    "rate_limit",
    "overloaded",
    "timeout",
    "unavailable",
    "server",
    "cannot_express",
]


@value
class Start:
    """The answer begins. Empty strings and None = the protocol has not said (yet).

    dialect: the protocol it was read from, which all extras of the answer belong to.
    """

    id: str = ""
    model: str = ""
    created_s: int | None = None
    extras: Extras = NO_EXTRAS
    dialect: str = ""


@value
class PartStart:
    """A part begins; `part` is what is known of it so far (text and arguments usually empty).

    A part that comes in one piece (media, unknown blocks) is complete here.
    """

    index: int
    part: Part
    choice: int = 0


@value
class PartDelta:
    """More of a part's text: appended to `text`, or to `arguments` of a tool call."""

    index: int
    kind: DeltaKind
    text: str
    choice: int = 0


@value(kw_only=True)
class PartDetail:
    """More of a part that is not text. Only what is given is set or appended.

    signature and encrypted replace; annotations append; logprobs append (list) or replace;
    extras are merged over the part's.
    """

    index: int
    signature: str | None = None
    encrypted: str | None = None
    annotations: tuple[Json, ...] = ()
    logprobs: Json = None
    extras: Extras = NO_EXTRAS
    choice: int = 0


@value
class PartEnd:
    """The part is complete."""

    index: int
    choice: int = 0


@value(kw_only=True)
class Usage:
    """What the answer cost in tokens. None = not told, never 0. A later report wins field by field.

    input_tokens: the whole prompt, cache reads and writes included, whatever the provider's own
    sum is; output_tokens: reasoning included; raw: the provider's own object.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    raw: Json = None


@value
class Finish:
    """Why the choice ended. raw: the provider's own word, None if it gave none.

    stop_sequence: the one that was hit, None = none or not told.
    """

    reason: FinishReason
    raw: str | None = None
    stop_sequence: str | None = None
    choice: int = 0
    extras: Extras = NO_EXTRAS


@value(kw_only=True)
class Fault:
    """An error as a provider (or llmitm) tells it: a body, or an event inside a stream.

    status: HTTP status, None inside a stream; code: the provider's machine-readable code;
    param: the offending field; retry_after_s: None = not told; raw: the provider's own object;
    details: llmitm's own (`code`, `retryable`, `attempts`), for routing errors.
    """

    kind: FaultKind
    message: str
    status: int | None = None
    code: str | None = None
    param: str | None = None
    retry_after_s: float | None = None
    details: Extras = NO_EXTRAS
    raw: Json = None


@value
class Ping:
    """A keep-alive: SSE comment, `event: ping`, an in-progress event."""


@value
class Opaque:
    """A frame canon does not know, as it was read: its own dialect may pass it on.

    event: the SSE event name or the JSON `type`, empty without; value: its JSON, or its text.
    """

    dialect: str
    event: str
    value: Json


@value
class End:
    """The protocol's own end of stream was seen (`[DONE]`, `message_stop`, `response.completed`).

    extras: fields of the final response object without a place elsewhere.
    """

    extras: Extras = NO_EXTRAS


type Event = (
    Start
    | PartStart
    | PartDelta
    | PartDetail
    | PartEnd
    | Usage
    | Finish
    | Fault
    | Ping
    | Opaque
    | End
)
