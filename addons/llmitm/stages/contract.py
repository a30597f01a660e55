"""What a policy is: a `Stage`, the `Turn` it is told about, and the effects it may ask for.

A stage overrides the hooks it needs; which ones it overrides decides what is buffered: a turn
streams unless one of its stages overrides `on_response`. Effects are values; only the mitm room
performs them. A stage keeps no state of a turn in itself: what it must remember lives in
`Turn.memory`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from llmitm.canon.events import Event, Fault, Usage
from llmitm.canon.parts import ToolCall
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.values import Loss, value
from llmitm.ruleset.selectors import Selector
from llmitm.stages.conversation import Conversation


@value(kw_only=True)
class Forward:
    """Goes on. request: the edited one, None = unchanged; route: where to, None = as decided so
    far (at first: where the client sent it); final: no later stage may route elsewhere;
    comment: a line for the operator's flow list."""

    request: Request | None = None
    route: Selector | None = None
    final: bool = False
    comment: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """llmitm answers in place of the provider."""

    response: Response
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refuse:
    """The client gets this error in its own protocol. `fault.status` must be set."""

    fault: Fault
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Denied:
    """An operator says no. form: an error of the protocol, a refusal in the model's voice, or the
    result of the tool call that was asked about (of nothing else)."""

    message: str = ""
    form: Literal["error", "refusal", "tool_result"] = "error"
    why: str = ""


def rejected(message: str) -> Fault:
    """The error by which a client learns that an operator has said no."""
    return Fault(kind="permission", status=403, code="rejected_by_operator", message=message)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Waits for an operator; `timeout_s` later the `default` effect happens.

    reason: one clause for the operator; rule: name of the rule that holds, empty = none does;
    timeout_s: None = as `rules/review.yaml` says for all; verdicts: what was found in it (`loop`,
    `tool_loop`, `dangerous_command`, `secret`); may_approve: False where nothing is behind it that
    could answer; call, response: what is held of an answer, both None = the request;
    approved: what happens to a request that is approved as it is; shown: the request as an operator
    may see it, None = as the stage was asked.
    """

    reason: str
    rule: str = ""
    timeout_s: float | None = None
    default: Decided = field(default_factory=lambda: FORWARD)
    verdicts: tuple[str, ...] = ()
    may_approve: bool = True
    call: ToolCall | None = None
    response: Response | None = None
    approved: Forward = field(default_factory=lambda: FORWARD, repr=False)
    shown: Request | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """The answer is thrown away and the model asked again with this request."""

    request: Request
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waits:
    """After these events nothing of the answer goes on until an operator has decided about what
    the stage keeps back: then its `on_decided` is called, and what it gives goes on."""

    hold: Hold
    events: tuple[Event, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """The answer ends well-formed after these events, and the provider is told to stop."""

    events: tuple[Event, ...] = ()
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """The rest of this answer is thrown away and the model asked again with this request; what it
    says then follows in the same answer after these events."""

    request: Request
    events: tuple[Event, ...] = ()
    why: str = ""


type EventEffect = Sequence[Event] | Cut | Again | Waits
type RequestEffect = Forward | Answer | Refuse | Hold
type ResponseEffect = Forward | Answer | Refuse | Retry
type Decided = Forward | Answer | Refuse | Denied
"""What an operator (or a time that ran out) decides about something held.

Of a request: Forward, with the edited one if it was edited; Answer in the model's place; Refuse or
Denied. Of an answer: Forward = as it is, Answer = this one instead. Of a tool call: Forward, Answer
with the parts that take the call's place (the edited call, a text), Refuse or Denied."""

FORWARD = Forward()
"""Nothing to do: goes on as it is."""


@value
class Trace:
    """What one stage decided: effect is the effect's class name, cost in microseconds."""

    stage: str
    effect: str
    why: str
    cost_us: float


@dataclass(slots=True, kw_only=True)
class Turn:
    """What a stage may know of one exchange.

    id: ours; provider, protocol: where the client sent it and how it speaks; client: name from
    `rules/clients.yaml`, empty when unknown; model: as the client wrote it;
    kind: `count_tokens` asks how long a request would be (or to have it shortened) and gets no
    answer of a model;
    client_conversation: the conversation's id as the client wrote it, empty = it wrote none;
    scope: a digest of who the client is, conversations of two scopes never meet;
    conversation: what is known of it; a fresh one until the stage `conversations` has found it;
    route: where the stages so far send it, None = where the client sent it;
    secrets: what the client shows as its key, bare of scheme words; never shown or kept on disk;
    memory: stage name -> whatever that stage keeps for this exchange;
    request: as all stages have left it, None while they are asked: what `Again` goes on from;
    may_ask_again: whether `Again` can be done; where it cannot, it ends the answer;
    may_wait: whether an operator can be asked; where not, a hold's default happens at once;
    verdicts: what stages have found in the request, see `Hold.verdicts`; keeps_back: a stage keeps
    the whole answer back, during which its client must be kept alive.
    """

    id: str
    provider: str
    protocol: str
    client: str
    model: str
    started_s: float
    kind: Literal["generate", "count_tokens"] = "generate"
    client_conversation: str = ""
    scope: bytes = b""
    conversation: Conversation = field(default_factory=Conversation)
    route: Selector | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)
    memory: dict[str, Any] = field(default_factory=dict[str, Any])
    request: Request | None = None
    may_ask_again: bool = True
    may_wait: bool = True
    verdicts: set[str] = field(default_factory=set[str])
    keeps_back: bool = False


@value(kw_only=True)
class Account:
    """One finished exchange, for people and for the record.

    target: `provider:model` that answered, empty when none did; lane: `verbatim`, `patch`,
    `translate` or `local`; status: what the client got; ttft_s: first content after the
    request was read, None = no content; ended: False when the answer broke off;
    tool_calls: names in order; error: the failure's short form, empty = none; attempts: how often a
    provider was asked; notes: what was unusual (undecodable body, unknown path);
    response_id: as the provider named its answer, empty = it did not; cost_usd: what the answer
    cost by the price list, None = not known.
    """

    id: str
    provider: str
    protocol: str
    client: str
    model: str
    target: str
    lane: str
    stream: bool
    status: int
    started_s: float
    duration_s: float
    ttft_s: float | None
    usage: Usage | None
    finish: str
    tool_calls: tuple[str, ...]
    error: str
    ended: bool
    attempts: int
    losses: tuple[Loss, ...]
    notes: tuple[str, ...]
    trace: tuple[Trace, ...]
    request_bytes: int
    response_bytes: int
    response_id: str = ""
    cost_usd: float | None = None


class Stage:
    """A policy. Every hook's default does nothing and costs nothing: it is never called.

    counts: whether `on_request` is asked for token counts too; guards: whether it is asked again
    for a request that another stage has made (`Again`, `Retry`).
    """

    name: str = ""
    counts: bool = False
    guards: bool = False

    def watches(self, turn: Turn) -> bool:
        """Whether `on_event` and `on_response` are to be called in this turn, asked once after all
        `on_request`: a turn that no stage watches passes unread."""
        return True

    def on_request(self, turn: Turn, request: Request) -> RequestEffect:
        """What happens to the request."""
        return FORWARD

    def on_unreadable(self, turn: Turn, why: str) -> Forward | Refuse:
        """What happens to a request that could not be read: on as it is, or refused."""
        return FORWARD

    def on_event(self, turn: Turn, event: Event) -> EventEffect:
        """The events that take this one's place, in order; `(event,)` to leave it.

        What a stage keeps back it gives with a later event: `End` comes last, or the answer broke
        off. Of a whole body the same events come as of a stream.
        """
        return (event,)

    def on_decided(self, turn: Turn, decided: Decided) -> EventEffect:
        """What goes on in place of what the stage keeps back since its last `Waits`."""
        raise NotImplementedError

    def on_response(self, turn: Turn, response: Response) -> ResponseEffect:
        """What happens to the whole answer. Overriding this buffers the turn."""
        return FORWARD

    def on_close(self, turn: Turn, account: Account) -> str | None:
        """The exchange is over: a line for the operator's flow list, None = none."""
        return None


def overrides(stage: Stage, hook: str) -> bool:
    """Whether this stage has its own version of the hook."""
    return getattr(type(stage), hook) is not getattr(Stage, hook)
