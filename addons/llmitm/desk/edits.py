"""An operator's document becomes a decision, or a list of what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable

from llmitm.canon.response import Choice, Response
from llmitm.desk.cards import Card
from llmitm.desk.documents import (
    call_document,
    read_call,
    read_request,
    read_response,
    request_document,
    response_document,
)
from llmitm.desk.edit_effects import edit_effects
from llmitm.desk.messages import Checked, EditWarning, Mistake
from llmitm.errors import DocumentError
from llmitm.ruleset.models import PriceRow
from llmitm.stages.contract import Answer, Decided, Forward


def document_of(card: Card) -> str:
    """What is held, as an operator may edit it."""
    if card.call is not None:
        return call_document(card.call)
    if card.response is not None:
        return response_document(card.response)
    return request_document(card.request)


def edited(card: Card, document: str) -> Decided:
    """What the document says is to go on. Raises DocumentError with every mistake in it."""
    if card.call is not None:
        call = read_call(document, card.call)
        return Answer(response=Response(choices=(Choice(parts=(call,)),)), why="edited")
    if card.response is not None:
        return Answer(response=read_response(document, card.response), why="edited")
    return Forward(request=read_request(document, card.request), why="edited")


def check(card: Card, document: str, price: Callable[[str], PriceRow | None]) -> Checked:
    """What the document would come to: its mistakes, or what sending it costs.

    price: of a model, None = not known. Raises nothing.
    """
    try:
        decided = edited(card, document)
    except DocumentError as error:
        mistakes = tuple(Mistake(line=line, message=say) for line, say in error.mistakes)
        return Checked(request_id=card.id, ok=False, errors=mistakes)
    warnings: tuple[EditWarning, ...] = ()
    if isinstance(decided, Forward) and decided.request is not None:
        request = decided.request
        warnings = tuple(
            EditWarning(say=effect.say, cost_usd=effect.cost_usd)
            for effect in edit_effects(card.request, request, price(request.model))
        )
    return Checked(request_id=card.id, ok=True, warnings=warnings)
