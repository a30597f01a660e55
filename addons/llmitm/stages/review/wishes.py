"""What operators ask for by hand, and what only mitmproxy can tell: asked through these."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from llmitm.ruleset.review import Held
from llmitm.stages.contract import Turn

type ByFilter = Callable[[str, str], bool]
"""(the exchange's id, a mitmproxy filter) -> whether its flow, as it is now, fits."""


class Wishes(Protocol):
    """What operators want to see, whatever the rules say."""

    def wants(self, turn: Turn, kind: Held) -> str | None:
        """Why such a thing of this turn is to be held, None = it is not."""
        ...


class NoWishes:
    """Nobody wishes anything."""

    def wants(self, turn: Turn, kind: Held) -> str | None:
        """Nothing is."""
        return None


def no_flow(exchange: str, expression: str) -> bool:
    """Where there is no flow, no filter fits."""
    return False
