"""Whether a decision can be taken about a card: what may happen to which kind of thing."""

from __future__ import annotations

from llmitm.desk.cards import Card
from llmitm.desk.review_error import ReviewError
from llmitm.desk.told import Action
from llmitm.stages.contract import Answer, Decided, Denied, Forward, Refuse


def may_edit(card: Card) -> bool:
    """Whether it can go on in another form: an edited request needs somebody who answers it."""
    return card.may_approve or card.kind != "request"


def check_fits(card: Card, action: Action, decided: Decided) -> None:
    """Raises ReviewError `not_allowed` or `invalid` when this cannot be done to the card."""
    if isinstance(decided, Forward) and not card.may_approve:
        raise ReviewError(
            "not_allowed", "nothing is behind this that could answer: answer or reject it"
        )
    match action:
        case "approve":
            fits = isinstance(decided, Forward) and decided.request is None
        case "edit" if card.kind == "request":
            fits = isinstance(decided, Forward) and decided.request is not None
        case "edit" | "answer":
            fits = isinstance(decided, Answer)
        case "reject":
            fits = isinstance(decided, Refuse | Denied | Answer)
    if not fits:
        name = type(decided).__name__
        raise ReviewError("invalid", f"{action} of a held {card.kind} cannot be {name}")
    if isinstance(decided, Answer) and not decided.response.choices:
        raise ReviewError("invalid", "the answer is empty")
    if isinstance(decided, Denied) and decided.form == "tool_result" and card.kind != "tool_call":
        raise ReviewError("invalid", "only a tool call can be rejected with a tool's result")
