"""mitmproxy's filters in `rules/review.yaml`: are they right, and does a flow fit?

A filter is asked when the request is there and the answer is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from mitmproxy import flow, flowfilter

from llmitm.errors import RuleError
from llmitm.ruleset.documents import error_at
from llmitm.ruleset.ruleset import Ruleset


@lru_cache(maxsize=256)
def parsed(expression: str) -> flowfilter.TFilter:
    """The filter. Raises ValueError that says what is wrong."""
    return flowfilter.parse(expression)


def fits(expression: str, subject: flow.Flow) -> bool:
    """Whether the flow, as it is now, fits."""
    return bool(parsed(expression)(subject))


def bad_filters(ruleset: Ruleset) -> Iterator[RuleError]:
    """The filters that mitmproxy does not understand, with their places."""
    for index, row in enumerate(ruleset.review.rules):
        if row.filter is None:
            continue
        try:
            parsed(row.filter)
        except ValueError as error:
            tree = ruleset.trees["review.yaml"]
            yield error_at(tree, ("rules", index, "filter"), f"not a mitmproxy filter: {error}")
