"""Which variables stand for values of `rules/review.yaml`, and do its rules' examples hold?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llmitm.errors import RuleError
from llmitm.ruleset.documents import Node, Place, error_at
from llmitm.ruleset.review import ReviewFile

REVIEW_VARIABLES = ("REQUEST_TIMEOUT_SECONDS",)
"""The variables that stand for values of `rules/review.yaml`."""


def review_layer(environ: Mapping[str, str]) -> Node | None:
    """The variables as a layer over `review.yaml`; None without any."""
    (name,) = REVIEW_VARIABLES
    text = environ.get(name, "").strip()
    if not text:
        return None
    place = Place(name)
    try:
        held = Node(float(text), place)
    except ValueError:
        held = Node(text, place)
    return Node({"timeout_s": held}, Place("the environment"))


def failed_review_examples(file: ReviewFile, tree: Node) -> Iterator[RuleError]:
    """The examples that do not hold."""
    for index, row in enumerate(file.rules):
        for number, example in enumerate(row.examples):
            if row.holds(example) != example.held:
                does = "does not hold" if example.held else "holds"
                yield error_at(tree, ("rules", index, "examples", number), f"{row.name} {does} it")
