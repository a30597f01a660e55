"""What an operator is asked about: one card for each thing that is held.

A card is a value made when the hold begins; what becomes of it stands in `queue`.
Never: bytes of a wire, flows, secrets (a card shows what the stages have left).
"""

from __future__ import annotations

from hashlib import sha256
from typing import Literal

from pydantic_core import to_json

from llmitm.canon.parts import ToolCall
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.canon.values import value
from llmitm.stages.contract import FORWARD, Decided

type Kind = Literal["request", "response", "tool_call"]


@value(kw_only=True)
class Card:
    """Something held. Times in seconds since the epoch.

    id: the card's own; exchange: whose it is (the flow's id); same: equal for the same thing asked
    again by the same client; reason, rule, verdicts: why it is held, see `stages.contract.Hold`;
    default: what happens at `deadline_s`; may_approve: whether it can go on as it is;
    client: name of the known client, empty = unknown; conversation: its key, empty = not known;
    stream: the client takes an answer as it is written; request: what the model is asked;
    response: the answer so far, None for a held request; call: the tool call, None for others;
    new_from: index of the first message that the conversation's last turn did not have;
    tokens, cost_usd: estimate for the request, None = not known.
    """

    id: str
    kind: Kind
    exchange: str
    same: str
    reason: str
    created_s: float
    deadline_s: float
    request: Request
    rule: str = ""
    verdicts: tuple[str, ...] = ()
    default: Decided = FORWARD
    may_approve: bool = True
    client: str = ""
    provider: str = ""
    model: str = ""
    protocol: str = ""
    conversation: str = ""
    stream: bool = False
    response: Response | None = None
    call: ToolCall | None = None
    new_from: int = 0
    tokens: int | None = None
    cost_usd: float | None = None

    @property
    def digest(self) -> str:
        """Of everything that can be decided about; a decision names it."""
        shown = (self.kind, self.request, self.response, self.call)
        try:
            data = to_json(shown, fallback=dict)
        except ValueError:
            # Half characters and deep nesting: rare, and then slower.
            data = repr(shown).encode("utf-8", "surrogatepass")
        return sha256(data).hexdigest()

    @property
    def sort(self) -> tuple[str, ...]:
        """What cards of one sort have in common, to approve all of them for a while."""
        tool = self.call.name if self.call is not None else ""
        return (self.kind, self.rule or self.reason, self.client, self.model, tool)
