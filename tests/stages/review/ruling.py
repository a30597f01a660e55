"""Rules, turns and stages for tests of what waits for an operator."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.review import Held, ReviewFile
from llmitm.ruleset.ruleset import Ruleset
from llmitm.stages.contract import Turn
from llmitm.stages.review.answers import ReviewAnswers
from llmitm.stages.review.requests import Review

SHIPPED = load_folders([shipped_folder()], {})


def ruleset(*rules: dict[str, Any], **limits: Any) -> Ruleset:
    """The shipped rules with these in `review.yaml`; each is given a name where it has none."""
    rows = [{"name": f"rule-{number}", **row} for number, row in enumerate(rules, 1)]
    text = json.dumps({**limits, "rules": rows})
    return replace(SHIPPED, review=ReviewFile.model_validate_json(text))


def answers(*rules: dict[str, Any], **limits: Any) -> ReviewAnswers:
    return ReviewAnswers(ruleset(*rules, **limits))


def requests(*rules: dict[str, Any], **limits: Any) -> Review:
    return Review(ruleset(*rules, **limits))


class Wish:
    """An operator who wants to see one kind of things."""

    def __init__(self, kind: Held) -> None:
        self.kind = kind

    def wants(self, turn: Turn, kind: Held) -> str | None:
        return "an operator asked for it" if kind == self.kind else None
