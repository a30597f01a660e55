"""What a person has answered is put in front of a request that goes on from it; bounded."""

from __future__ import annotations

from llmitm.canon.events import Finish
from llmitm.canon.parts import Text
from llmitm.canon.request import Message, Request
from llmitm.canon.response import Choice, Response
from llmitm.stages.told_answers import ToldAnswers


def asked(text: str, earlier: str | None = None) -> Request:
    said = Message(role="user", parts=(Text(text=text),))
    return Request(
        dialect="openai_responses", model="m", messages=(said,), previous_response_id=earlier
    )


def answer(text: str, name: str) -> Response:
    said = Choice(parts=(Text(text=text),), finish=Finish("stop"))
    return Response(id=name, choices=(said,))


def texts(request: Request) -> list[str]:
    return [f"{one.role}: {one.parts[0].text}" for one in request.messages]  # type: ignore[union-attr]


def test_a_chain_of_answers_is_put_together_again() -> None:
    table = ToldAnswers()
    table.keep(b"me", asked("one", "resp_real"), answer("ONE", "resp_llmitm_1"), 10)
    second = table.joined(b"me", asked("two", "resp_llmitm_1"))
    assert texts(second) == ["user: one", "assistant: ONE", "user: two"]
    assert second.previous_response_id == "resp_real"
    table.keep(b"me", second, answer("TWO", "resp_llmitm_2"), 10)
    third = table.joined(b"me", asked("three", "resp_llmitm_2"))
    assert texts(third)[2:] == ["user: two", "assistant: TWO", "user: three"]


def test_nobody_else_goes_on_from_it_and_other_ids_stay() -> None:
    table = ToldAnswers()
    table.keep(b"me", asked("one"), answer("ONE", "resp_llmitm_1"), 10)
    for scope, earlier in ((b"you", "resp_llmitm_1"), (b"me", "resp_real"), (b"me", None)):
        request = asked("two", earlier)
        assert table.joined(scope, request) is request


def test_number_and_size_are_bounded_and_the_unused_goes_first() -> None:
    table = ToldAnswers(most_answers=2, most_bytes=100)
    for name in ("a", "b"):
        table.keep(b"me", asked(name), answer(name, name), 40)
    assert len(table.joined(b"me", asked("x", "a")).messages) == 3
    table.keep(b"me", asked("c"), answer("c", "c"), 40)
    assert len(table) == 2
    assert len(table.joined(b"me", asked("x", "b")).messages) == 1
    table.keep(b"me", asked("d"), answer("d", "d"), 90)
    assert len(table) == 1
    table.keep(b"me", asked("e"), answer("e", "e"), 101)
    assert len(table) == 0
