"""Why an operator's wish was not carried out: a code for programs, words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from llmitm.canon.values import NO_EXTRAS, Json
from llmitm.errors import LlmitmError

type ReviewCode = Literal[
    "not_found", "already_decided", "stale", "not_allowed", "invalid", "gone", "confirm"
]


class ReviewError(LlmitmError):
    """A wish that cannot be carried out; nothing has changed.

    code: `not_found` (no such card, or too long ago), `already_decided` (data: by, action),
    `stale` (the digest is not of what is held now), `not_allowed` (data: by, when somebody else
    writes), `invalid` (the wish itself is wrong), `gone` (the client has left), `confirm` (data:
    warnings; the wish must be repeated with `anyway`); data: JSON values that go with the code.
    """

    def __init__(
        self, code: ReviewCode, message: str, data: Mapping[str, Json] = NO_EXTRAS
    ) -> None:
        self.code: ReviewCode = code
        self.message = message
        self.data = dict(data)
        super().__init__(f"{code}: {message}")
