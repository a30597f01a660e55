"""A document that nobody edited is its request or answer again: the very same object."""

from __future__ import annotations

import pytest

from dialects.corpus import own_answers, own_requests
from dialects.pairs import NAMES, answers_of, events_in, requests_of
from llmitm.canon.fold import fold
from llmitm.canon.parts import ToolCall
from llmitm.canon.request import Request
from llmitm.canon.response import Response
from llmitm.desk.documents import (
    call_document,
    read_call,
    read_request,
    read_response,
    request_document,
    response_document,
)


def all_requests(name: str) -> list[tuple[str, Request]]:
    return [*own_requests(name), *requests_of(name)]


def all_answers(name: str) -> list[tuple[str, Response]]:
    return [
        (case, fold(events_in(name, body, stream=stream)))
        for case, stream, body in (*own_answers(name), *answers_of(name))
    ]


@pytest.mark.parametrize("name", NAMES)
def test_an_unchanged_request_is_the_same_object(name: str) -> None:
    for case, request in all_requests(name):
        assert read_request(request_document(request), request) is request, case


@pytest.mark.parametrize("name", NAMES)
def test_an_unchanged_answer_is_the_same_object(name: str) -> None:
    for case, response in all_answers(name):
        assert read_response(response_document(response), response) is response, case


@pytest.mark.parametrize("name", NAMES)
def test_an_unchanged_call_is_the_same_object(name: str) -> None:
    for case, response in all_answers(name):
        for choice in response.choices:
            for part in choice.parts:
                if isinstance(part, ToolCall):
                    assert read_call(call_document(part), part) is part, case
