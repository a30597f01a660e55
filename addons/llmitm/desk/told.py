"""What operators are told: cards, history, figures, errors. Shapes only.

Times in seconds since the epoch.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from llmitm.desk.review_error import ReviewCode

type Action = Literal["approve", "edit", "answer", "reject"]
type Ending = Literal[
    "approve", "edit", "answer", "reject", "timeout", "cancelled", "shutdown", "full"
]
type State = Literal["waiting", "away", "writing"]
type PartType = Literal[
    "text", "reasoning", "tool_call", "tool_result", "media", "refusal", "other"
]


def _writable(text: Any) -> Any:
    if not isinstance(text, str) or text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()


type Words = Annotated[str, BeforeValidator(_writable)]
"""Text that a client or a model may have made: half characters, which JSON texts can hold and
UTF-8 cannot, are shown as question marks."""


class Told(BaseModel):
    """A shape of what is told."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ChatPart(Told):
    """One piece of a message. text: what can be read of it; cut: characters left out of it.

    name, id: the tool's and the call's; arguments: as the model wrote them; error: the tool says it
    failed. Empty or None = the part has no such thing."""

    type: PartType
    text: Words = ""
    name: Words = ""
    id: Words = ""
    arguments: Words = ""
    error: bool | None = None
    cut: int = 0


class ChatMessage(Told):
    """new: the conversation's last turn did not have it."""

    role: Words
    name: Words = ""
    new: bool = False
    parts: tuple[ChatPart, ...] = ()


class CallView(Told):
    """A tool call that is held."""

    id: Words
    name: Words
    arguments: Words


class CardView(Told):
    """A card as it is shown. digest: what a decision about it must name.

    on_timeout: what happens at deadline_at; document: the held thing as YAML, empty with
    document_cut: too long for this list, ask for the one card; chat_cut: older messages left out of
    `chat`; writer: the operator who writes an answer live, None = nobody.
    """

    request_id: Words
    kind: Literal["request", "response", "tool_call"]
    state: State
    reason: Words
    rule: Words
    verdicts: tuple[Words, ...]
    created_at: float
    deadline_at: float
    on_timeout: Literal["approve", "reject", "answer"]
    may_approve: bool
    may_edit: bool
    client: Words
    provider: Words
    model: Words
    protocol: Words
    conversation: Words
    stream: bool
    tokens: int | None
    cost_usd: float | None
    digest: Words
    document: Words
    document_cut: bool
    chat: tuple[ChatMessage, ...]
    chat_cut: int
    tools: tuple[Words, ...]
    response: tuple[ChatMessage, ...] | None
    call: CallView | None
    writer: Words | None


class Past(Told):
    """A card that is over. by: who decided, empty = nobody; wait_s: how long it waited.

    action: what was decided, or why nobody could; default: what then happened by itself.
    """

    request_id: Words
    action: Ending
    by: Words
    at: float
    note: Words
    kind: Literal["request", "response", "tool_call"]
    reason: Words
    rule: Words
    client: Words
    model: Words
    wait_s: float


class Stats(Told):
    """decided: action -> how many; full: decided by default because too many waited.

    average_wait_s, longest_wait_s: of all cards that are over; oldest_age_s: of the card that
    waits longest, None = none; operators: connected now."""

    waiting: int
    decided: dict[str, int]
    cancelled: int
    timeouts: int
    full: int
    average_wait_s: float | None
    longest_wait_s: float | None
    oldest_age_s: float | None
    operators: int


class Approval(Told):
    """A standing approval. sort: what the cards have in common; used: how many it has let pass."""

    id: Words
    sort: tuple[Words, ...]
    verdicts: tuple[Words, ...]
    by: Words
    since: float
    until: float
    used: int


class Cancelled(Told):
    """reason: why nobody can decide any more."""

    request_id: Words
    reason: Words


class Decision(Told):
    """by: empty = nobody did, it happened by itself."""

    request_id: Words
    action: Ending
    by: Words
    at: float
    note: Words


class Mistake(Told):
    """line: 1-based, 0 = of the whole document."""

    line: int
    message: Words


class EditWarning(Told):
    """cost_usd: estimated, None = not known."""

    say: Words
    cost_usd: float | None = None


class Trouble(Told):
    """An error. by, action: who was first and with what; warnings: what must be confirmed."""

    code: ReviewCode | Literal["rate_limited", "too_large", "unauthorized", "full"]
    message: Words
    request_id: Words | None = None
    by: Words | None = None
    action: Words | None = None
    warnings: tuple[EditWarning, ...] = ()


class Snapshot(Told):
    """requests: oldest first; history: newest first; operator: whose connection it is."""

    requests: tuple[CardView, ...]
    history: tuple[Past, ...]
    stats: Stats
    operator: Words


class Checked(Told):
    """ok: it can be sent, perhaps after a confirmation of the warnings."""

    request_id: Words
    ok: bool
    errors: tuple[Mistake, ...] = ()
    warnings: tuple[EditWarning, ...] = ()
