"""Rules for when an operator plays the model: every request waits, no provider is asked."""

from __future__ import annotations

from dataclasses import replace

from llmitm.ruleset.review import ReviewFile, ReviewRuleRow
from llmitm.ruleset.ruleset import Ruleset

RULE = ReviewRuleRow(name="played", hold=("request",), human=True)


def played(ruleset: Ruleset) -> Ruleset:
    """The same rules, and before them one by which every request waits for an operator."""
    review = ruleset.review
    # Field by field: what was worked out from the old rules must not come along.
    fields = {name: getattr(review, name) for name in ReviewFile.model_fields}
    fields |= {"enabled": True, "rules": (RULE, *review.rules)}
    return replace(ruleset, review=ReviewFile.model_construct(**fields))
