"""What an exchange wants done with the body of an answer, once its head is known."""

from __future__ import annotations

from dataclasses import dataclass

from llmitm.exchange.tap import Tap
from llmitm.exchange.wire import Headers
from llmitm.stages.contract import Hold


@dataclass(frozen=True, slots=True)
class Pass:
    """Stream the body through this tap. headers: the client's, None = the provider's as they are;
    status likewise."""

    tap: Tap
    status: int | None = None
    headers: Headers | None = None


@dataclass(frozen=True, slots=True)
class Buffer:
    """Read the whole body, at most `cap_bytes`, then call `whole`."""

    cap_bytes: int


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing goes on until an operator has decided."""

    hold: Hold
