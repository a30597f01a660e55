"""Answers that a person has given in a model's place, for clients that go on from them by id.

No provider knows such an id. A request that names one gets what was asked and answered before put
in front of it, so that nothing of the talk is lost. In RAM: after a restart the provider says that
it does not know the id. Source: OpenAI API reference, Responses, `previous_response_id`.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from llmitm.canon.request import Message, Request
from llmitm.canon.response import Response

ASKED = "told_answers"
"""Key of `Turn.memory`: the request with what was told before, as the stages were first asked."""
PREFIX = "resp_llmitm_"
MOST_ANSWERS = 256
MOST_BYTES = 64 << 20


class ToldAnswers:
    """See the module. Bounded in number and size; what was not used for the longest time goes."""

    def __init__(self, most_answers: int = MOST_ANSWERS, most_bytes: int = MOST_BYTES) -> None:
        self._most_answers = most_answers
        self._most_bytes = most_bytes
        self._kept: OrderedDict[tuple[bytes, str], tuple[Request, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, scope: bytes, request: Request, answer: Response, size_bytes: int) -> None:
        """Remembers what was answered to this request. size_bytes: of both, about."""
        parts = answer.choices[0].parts if answer.choices else ()
        said = Message(role="assistant", parts=parts)
        talk = replace(request, messages=(*request.messages, said))
        self._drop((scope, answer.id))
        self._kept[scope, answer.id] = talk, size_bytes
        self._bytes += size_bytes
        while len(self._kept) > self._most_answers or self._bytes > self._most_bytes:
            self._drop(next(iter(self._kept)))

    def knows(self, scope: bytes, response_id: str) -> bool:
        """Whether this client can go on from this answer."""
        return (scope, response_id) in self._kept

    def _drop(self, key: tuple[bytes, str]) -> None:
        _, size_bytes = self._kept.pop(key, (None, 0))
        self._bytes -= size_bytes

    def joined(self, scope: bytes, request: Request) -> Request:
        """The request behind what it goes on from; the same object where nothing is of ours."""
        key = (scope, request.previous_response_id or "")
        found = self._kept.get(key)
        if found is None:
            return request
        self._kept.move_to_end(key)
        talk, _ = found
        return replace(
            request,
            messages=(*talk.messages, *request.messages),
            previous_response_id=talk.previous_response_id,
        )
