"""What an operator says becomes the decision: answers, tool calls, rejections, live writing."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall
from llmitm.desk.cards import Card
from llmitm.desk.messages import (
    CompleteResponse,
    RejectRequest,
    ToolCallBody,
    error_message,
    read_message,
)
from llmitm.desk.queue import ReviewError
from llmitm.desk.rulings import answer, carry_out, rejection, tool_call
from llmitm.stages.contract import FORWARD, Answer, Denied, Refuse
from review_cases import Desk, call_card, card, request, response_card


def call(name: str, arguments: str = "{}", **more: Any) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **more}


def complete(**fields: Any) -> CompleteResponse:
    return CompleteResponse.model_validate(fields)


def test_an_answer_with_everything() -> None:
    said = complete(
        content="It rains",
        reasoning="rain",
        tool_calls=[call("weather", '{"city": "Oslo"}', id="call_9"), call("patch", "*** free")],
    )
    response = answer(said, card()).response
    choice = response.choices[0]
    assert choice.parts[:3] == (
        Reasoning(text="rain"),
        Text(text="It rains"),
        ToolCall(id="call_9", name="weather", arguments='{"city": "Oslo"}'),
    )
    free = choice.parts[3]
    assert isinstance(free, ToolCall)
    assert (free.kind, free.arguments, len(free.id)) == ("custom", "*** free", 29)
    assert choice.finish is not None
    assert choice.finish.reason == "tool_calls"
    assert (response.model, response.ended) == ("gpt-x", True)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"content": "x", "tool_calls": None}, "stop"),
        ({"content": ""}, "stop"),
        ({"content": "x", "finish_reason": "length"}, "length"),
        ({"tool_calls": [call("weather")]}, "tool_calls"),
        ({"tool_calls": [call("weather")], "finish_reason": "stop"}, "stop"),
    ],
)
def test_why_an_answer_ends(fields: dict[str, Any], reason: str) -> None:
    finish = answer(complete(**fields), card()).response.choices[0].finish
    assert finish is not None
    assert finish.reason == reason


def test_the_call_of_the_readme_of_hilt_is_understood() -> None:
    text = json.dumps(
        {
            "type": "complete_response",
            "data": {
                "request_id": "c1",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_123",
                        "function": {"name": "weather", "arguments": '{"location": "Rome"}'},
                    }
                ],
                "finish_reason": "tool_calls",
            },
        }
    )
    desk = Desk()
    exchange = desk.offer(card())
    wish = read_message(text)
    assert wish.type == "complete_response"
    carry_out(desk.queue, wish, "ann")
    decided = exchange.decisions[0]
    assert isinstance(decided, Answer)
    assert decided.response.choices[0].parts == (
        ToolCall(id="call_123", name="weather", arguments='{"location": "Rome"}'),
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (call("wether"), "no tool wether: on offer: weather, patch"),
        (call("weather", "[1]"), "not a JSON object"),
        (call("weather", "{"), "not JSON"),
        (call("weather", '{"a": NaN}'), "not JSON"),
        (call("weather", "[" * 100_000), "not JSON"),
        (call("weather", type="custom"), "a function tool, not a custom one"),
        (call("patch", "x", type="function"), "a custom tool, not a function one"),
        (call("search"), "run by the provider"),
    ],
)
def test_a_call_that_cannot_be_made_is_told_in_words(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ReviewError, match=words) as found:
        answer(complete(tool_calls=[said]), card())
    assert found.value.code == "invalid"


def test_other_calls_that_cannot_be_made() -> None:
    with pytest.raises(ReviewError, match="no tool is on offer"):
        answer(complete(tool_calls=[call("weather")]), card(request=request(tools=())))
    with pytest.raises(ReviewError, match="two tool calls have the id 'k'"):
        answer(complete(tool_calls=[call("weather", id="k"), call("patch", id="k")]), card())
    with pytest.raises(ReviewError, match="empty"):
        answer(complete(reasoning=""), card())


def test_no_arguments_are_an_empty_object_for_a_function_alone() -> None:
    def made(name: str) -> ToolCall:
        return tool_call(ToolCallBody.model_validate(call(name, " ")), card())

    assert made("weather").arguments == "{}"
    assert made("patch").arguments == " "


def test_a_held_answer_keeps_what_it_cost() -> None:
    shown = response_card()
    assert shown.response is not None
    response = answer(complete(content="other"), shown).response
    assert response.usage is shown.response.usage
    assert response.choices[0].parts == (Text(text="other"),)


def test_what_takes_a_held_calls_place_keeps_its_id() -> None:
    shown = call_card()
    calls = [call("weather", '{"city": "Rome"}'), call("patch", "x")]
    parts = answer(complete(tool_calls=calls), shown).response.choices[0].parts
    first, second = parts
    assert first == ToolCall(id="call_1", name="weather", arguments='{"city": "Rome"}')
    assert isinstance(second, ToolCall)
    assert second.id != "call_1"
    # A call of a tool that was never on offer can be corrected all the same.
    shown = call_card(request=request(tools=()))
    assert answer(complete(tool_calls=[call("weather")]), shown).response.choices[0].parts
    assert answer(complete(content=""), shown).response.choices[0].parts == (Text(text=""),)


@pytest.mark.parametrize("shown", [card(), response_card()])
def test_the_forms_of_a_rejection(shown: Card) -> None:
    error = rejection(RejectRequest(reason="not today"), shown)
    assert isinstance(error, Refuse)
    fault = error.fault
    assert (fault.kind, fault.status, fault.code, fault.message) == (
        "permission",
        403,
        "rejected_by_operator",
        "not today",
    )
    voice = rejection(RejectRequest(reason="I will not", form="refusal"), shown)
    assert isinstance(voice, Answer)
    choice = voice.response.choices[0]
    assert choice.parts == (Refusal(text="I will not"),)
    assert choice.finish is not None
    assert choice.finish.reason == "refusal"
    with pytest.raises(ReviewError, match="tool call"):
        rejection(RejectRequest(form="tool_result"), shown)


@pytest.mark.parametrize("form", ["error", "refusal", "tool_result"])
def test_a_rejected_call(form: Any) -> None:
    denied = rejection(RejectRequest(reason="no", form=form), call_card())
    assert isinstance(denied, Denied)
    assert (denied.message, denied.form) == ("no", form)
    nothing = rejection(RejectRequest(form=form), call_card())
    assert isinstance(nothing, Denied)
    assert nothing.message


def say(desk: Desk, kind: str, by: str = "ann", **data: Any) -> None:
    wish = read_message(json.dumps({"type": kind, "data": {"request_id": "c1", **data}}))
    assert wish.type not in ("edit_request", "check_edit")
    carry_out(desk.queue, wish, by)  # type: ignore[arg-type]


def test_a_live_answer_by_messages() -> None:
    desk = Desk()
    exchange = desk.offer(card())
    say(desk, "start_response", digest=card().digest)
    say(desk, "response_chunk", reasoning="hm")
    say(desk, "response_chunk", content="Hello ")
    say(desk, "response_chunk", content="there")
    with pytest.raises(ReviewError, match="no tool nothing"):
        say(desk, "add_tool_call", tool_call=call("nothing"))
    say(desk, "add_tool_call", tool_call=call("weather", '{"a": 1}', id="k"))
    say(desk, "finish_response", note="done")
    assert exchange.text.choices[0].parts == (
        Reasoning(text="hm"),
        Text(text="Hello there"),
        ToolCall(id="k", name="weather", arguments='{"a": 1}'),
    )
    assert exchange.reason == "tool_calls"
    assert desk.queue.history()[0].note == "done"


def test_approval_and_rejection_by_messages() -> None:
    desk = Desk()
    exchange = desk.offer(card())
    with pytest.raises(ReviewError) as found:
        say(desk, "approve_request", digest="another")
    assert found.value.code == "stale"
    say(desk, "approve_request", digest=card().digest, minutes=3, note="fine")
    assert exchange.decisions == [FORWARD]
    assert desk.queue.standing()[0].until == 180.0
    with pytest.raises(ReviewError) as found:
        say(desk, "reject_request", by="bob")
    assert (found.value.code, found.value.data["by"]) == ("already_decided", "ann")


@pytest.mark.parametrize("kind", ["complete_response", "start_response", "reject_request"])
def test_a_wish_about_no_card(kind: str) -> None:
    with pytest.raises(ReviewError) as found:
        say(Desk(), kind, content="x")
    assert found.value.code == "not_found"


KINDS = (
    "complete_response",
    "start_response",
    "response_chunk",
    "add_tool_call",
    "finish_response",
    "reject_request",
    "approve_request",
    "edit_request",
    "check_edit",
    "nothing",
)
FIELDS = (
    "request_id",
    "content",
    "reasoning",
    "tool_calls",
    "tool_call",
    "finish_reason",
    "digest",
    "note",
    "reason",
    "form",
    "minutes",
    "document",
    "anyway",
)


def some_value(rng: random.Random, depth: int = 0) -> Any:
    plain: list[Any] = [
        None,
        True,
        -1,
        3,
        1e308,
        "",
        "c1",
        "stop",
        "tool_result",
        "\ud800",
        "ä" * 9,
    ]
    plain += [call("weather"), [call("weather", id="k")], [call("patch", "x")] * 2]
    if depth > 2 or rng.random() < 0.7:
        return rng.choice(plain)
    inner = [some_value(rng, depth + 1) for _ in range(rng.randrange(3))]
    return inner if rng.random() < 0.5 else dict(zip(FIELDS, inner, strict=False))


@pytest.mark.parametrize("seed", range(10))
def test_whatever_is_said_it_is_done_or_refused_in_words(seed: int) -> None:
    rng = random.Random(seed)
    desk, done = Desk(), 0
    told: list[str] = []
    for number in range(400):
        if not desk.queue.waiting():
            for approval in desk.queue.standing():
                desk.queue.revoke(approval.id, "ann")
            desk.offer(rng.choice((card, call_card, response_card))(f"n{number}"))
        name = desk.queue.waiting()[0].id
        data = {field: some_value(rng) for field in FIELDS if rng.random() < 0.2}
        data["request_id"] = rng.choice((name, name, name, data.get("request_id")))
        if rng.random() < 0.5:
            data["digest"] = desk.queue.view(name).digest
        text = json.dumps({"type": rng.choice(KINDS), "data": data})
        if rng.random() < 0.1:
            text = text[: rng.randrange(len(text))]
        try:
            wish = read_message(text)
            if wish.type not in ("edit_request", "check_edit"):
                carry_out(desk.queue, wish, rng.choice(("ann", "bob")))  # type: ignore[arg-type]
                done += 1
        except ReviewError as error:
            told.append(error_message(error, name).model_dump_json())
    assert done > 20
    assert len(told) > 20
    assert not [each for each in told if '"message":""' in each]
    assert all(len(each.decisions) <= 1 for each in desk.exchanges)
