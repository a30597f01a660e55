"""What would an edited document come to? Its mistakes, and what sending it brings about."""

from __future__ import annotations

from collections.abc import Callable

from llmitm.canon.request import Request
from llmitm.desk.cards import Card
from llmitm.desk.edit_effects import edit_effects
from llmitm.desk.edits import edited
from llmitm.desk.told import Checked, EditWarning, Mistake
from llmitm.errors import DocumentError
from llmitm.ruleset.models import PriceRow
from llmitm.stages.contract import Forward


def checked(card: Card, document: str, price_of: Callable[[Request], PriceRow | None]) -> Checked:
    """Whether the document can be sent. price_of: what the edited request's model costs, None =
    not known."""
    try:
        decided = edited(card, document)
    except DocumentError as error:
        errors = tuple(Mistake(line=line, message=say) for line, say in error.mistakes)
        return Checked(request_id=card.id, ok=False, errors=errors)
    warnings: tuple[EditWarning, ...] = ()
    if isinstance(decided, Forward) and decided.request is not None:
        effects = edit_effects(card.request, decided.request, price_of(decided.request))
        warnings = tuple(EditWarning(say=each.say, cost_usd=each.cost_usd) for each in effects)
    return Checked(request_id=card.id, ok=True, warnings=warnings)
