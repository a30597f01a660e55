"""Another model in a request that an operator has edited is asked for as if the client had."""

from __future__ import annotations

from llmitm.canon.events import Fault
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import BadSelector, is_plain
from llmitm.stages.contract import Turn


def follow_model(model: str, turn: Turn, ruleset: Ruleset) -> Fault | None:
    """Routes the turn to this model, which may be a selector; the error where it makes no sense.

    A plain name stays with the client's own provider, unless the turn was already sent elsewhere.
    """
    if turn.route is None and is_plain(model):
        return None
    selector = ruleset.selector(model, "client")
    if isinstance(selector, BadSelector):
        say = f"{model}: {selector}"
        return Fault(kind="invalid_request", status=400, code="invalid_selector", message=say)
    turn.route = selector
    return None
