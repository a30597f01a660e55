"""Holds requests before they leave, as `rules/review.yaml` and operators by hand want it.

It stands behind everything that edits requests: an operator sees what would leave. Without a rule
it costs one question. Never: decides.
"""

from __future__ import annotations

from llmitm.canon.request import Request
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.contract import FORWARD, Forward, Hold, Stage, Turn
from llmitm.stages.review.rules import Because, Rules, of_request
from llmitm.stages.review.wishes import ByFilter, NoWishes, Wishes, no_flow


class Review(Stage):
    """The policy `review`."""

    name = "review"

    def __init__(
        self, ruleset: Ruleset, wishes: Wishes | None = None, by_filter: ByFilter = no_flow
    ) -> None:
        self._rules = Rules(ruleset, wishes or NoWishes(), by_filter)

    def on_request(self, turn: Turn, request: Request) -> Forward | Hold:
        """On as it is, or held."""
        rows = self._rules.fitting(turn, request, "request")
        if rows:
            return self._rules.hold(turn, of_request(rows[0]))
        wish = self._rules.wished(turn, "request")
        return FORWARD if wish is None else self._rules.hold(turn, Because(wish))
