"""The shapes of all messages: reading, mistakes, the published schema, cards as they are shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message
from llmitm.desk import chat_view
from llmitm.desk.cards import Card
from llmitm.desk.chat_view import LISTED, chat_of, list_caps, on_timeout
from llmitm.desk.differences import MOST_CHARACTERS, unified
from llmitm.desk.messages import (
    ApproveRequest,
    ChatPart,
    error_message,
    read_body,
    read_message,
    schemas,
)
from llmitm.desk.queue import ReviewError
from llmitm.stages.contract import FORWARD, Denied
from review_cases import Desk, Exchange, answer, call_card, card, request, response_card


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Invalid JSON"),
        ("[]", "valid dict|object"),
        ('{"type": "approve", "data": {}}', "does not match"),
        ('{"type": "approve_request"}', "approve_request.data: Field required"),
        ('{"type": "approve_request", "data": {"request_id": "1"}}', "data.digest: Field required"),
        ('{"type": "start_response", "data": {}}', "data.request_id: missing"),
        ('{"type": "response_chunk", "data": {"request_id": "1", "content": 5}}', "valid string"),
        ('{"type": "finish_response", "data": {"finish_reason": "x"}}', "finish_reason"),
        ('{"type": "reject_request", "data": {"form": "loud"}}', "form"),
        ('{"type": "edit_request", "data": {"digest": "", "document": ""}}', "digest"),
        (json.dumps({"type": "start_response", "data": {"request_id": "x" * 300}}), "200"),
        ('{"type": "start_response", "data": {"request_id": "\\ud800"}}', "Invalid JSON"),
    ],
)
def test_a_message_that_is_wrong_is_told_where(text: str, words: str) -> None:
    with pytest.raises(ReviewError, match=words) as found:
        read_message(text)
    assert found.value.code == "invalid"


def test_what_an_operator_wrote_is_not_said_back() -> None:
    secret = json.dumps({"type": "edit_request", "data": {"document": 7, "note": ["geheim"]}})
    with pytest.raises(ReviewError) as found:
        read_message(secret)
    assert "geheim" not in found.value.message


def test_a_rest_body_needs_no_id_and_newer_fields_are_left_alone() -> None:
    body = read_body(ApproveRequest, b'{"digest": "d", "minutes": 5, "colour": "green"}')
    assert (body.digest, body.minutes, body.request_id) == ("d", 5, "")
    for minutes in ("-1", "NaN", "1e9"):
        with pytest.raises(ReviewError):
            read_body(ApproveRequest, f'{{"digest": "d", "minutes": {minutes}}}')


def test_an_error_says_what_goes_with_it() -> None:
    error = ReviewError("already_decided", "over", {"by": "ann", "action": "approve"})
    assert json.loads(error_message(error, "c1").model_dump_json(exclude_none=True)) == {
        "type": "error",
        "data": {
            "code": "already_decided",
            "message": "over",
            "request_id": "c1",
            "by": "ann",
            "action": "approve",
            "warnings": [],
        },
    }
    warned = ReviewError("confirm", "sure?", {"warnings": [{"say": "cache", "cost_usd": 0.5}]})
    assert error_message(warned).data.warnings[0].cost_usd == 0.5


def test_the_schema_names_every_message_and_is_json() -> None:
    published = schemas()
    json.dumps(published)
    outgoing = published["outgoing"]["discriminator"]["mapping"].keys()
    incoming = published["incoming"]["discriminator"]["mapping"].keys()
    assert outgoing == {
        "new_request",
        "request_updated",
        "request_cancelled",
        "request_decided",
        "stats_update",
        "error",
        "snapshot",
        "checked",
    }
    assert incoming == {
        "complete_response",
        "start_response",
        "response_chunk",
        "add_tool_call",
        "finish_response",
        "reject_request",
        "approve_request",
        "edit_request",
        "check_edit",
    }
    assert published["bodies"].keys() >= {"CompleteResponse", "RejectRequest", "EditRequest"}
    view = published["answers"]["CardView"]
    assert {"request_id", "digest", "document", "chat", "on_timeout"} <= set(view["required"])


def fits(value: Any, schema: dict[str, Any], defs: dict[str, Any]) -> bool:
    """Whether a JSON value has the shape, of the keywords that our schemas use."""
    if "$ref" in schema:
        return fits(value, defs[schema["$ref"].rsplit("/", 1)[-1]], defs)
    if "anyOf" in schema or "oneOf" in schema:
        return any(fits(value, each, defs) for each in schema.get("anyOf") or schema["oneOf"])
    if "const" in schema and value != schema["const"]:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    match schema.get("type"):
        case "object":
            shape = schema.get("properties", {})
            rest = schema.get("additionalProperties", True)
            return (
                isinstance(value, dict)
                and set(schema.get("required", ())) <= value.keys()
                and all(
                    fits(each, shape[name], defs)
                    if name in shape
                    else isinstance(rest, dict) and fits(each, rest, defs)
                    for name, each in value.items()
                )
            )
        case "array":
            return isinstance(value, list) and all(
                fits(each, schema["items"], defs) for each in value
            )
        case "null":
            return value is None
        case "boolean":
            return isinstance(value, bool)
        case kind:
            shapes = {"string": str, "integer": int, "number": (int, float)}
            assert kind in shapes, schema
            return isinstance(value, shapes[kind]) and not isinstance(value, bool)


def test_every_message_that_is_told_has_the_published_shape() -> None:
    desk = Desk(waiting_max=4)
    desk.offer(card())
    desk.offer(response_card())
    desk.offer(call_card(verdicts=("secret",), cost_usd=0.5, tokens=7))
    desk.offer(card("c2"))
    assert desk.queue.offer(card("c3"), Exchange()) == FORWARD
    desk.queue.begin("c2", "ann")
    desk.queue.decide("c1", "approve", FORWARD, "ann", minutes=1)
    desk.queue.cancel("r1", "reset")
    desk.told.append(desk.queue.snapshot("ann"))
    desk.told.append(error_message(ReviewError("gone", "left")))
    schema = schemas()["outgoing"]
    assert {message.type for message in desk.told} >= {"snapshot", "request_cancelled", "error"}
    for message in desk.told:
        told = json.loads(message.model_dump_json())
        assert fits(told, schema, schema["$defs"]), told
    assert not fits({"type": "new_request", "data": {}}, schema, schema["$defs"])


# Cards as they are shown.


def shown(*messages: Message, **more: Any) -> Card:
    return card(request=request(messages=messages, **more), new_from=1)


def test_every_kind_of_part_in_the_chat() -> None:
    image = Media(kind="image", mime="image/png", data="A" * 400, name="cat.png")
    link = Media(kind="image", url="https://example.com/a.png?token=geheim")
    inline = Media(kind="image", url="data:image/png;base64,AAAA")
    parts = (
        Text(text="look"),
        Reasoning(text="hm", signature="sig"),
        ToolCall(id="k", name="weather", arguments="{}"),
        ToolResult(call_id="k", name="weather", error=True, parts=(Text(text="a"), image)),
        image,
        link,
        inline,
        Refusal(text="no"),
        Unknown(dialect="x", kind="hologram", value={"a": 1}),
    )
    chat, left_out, _ = chat_of(shown(Message(role="user", parts=parts, name="kim")))
    made = chat[0].parts
    assert (chat[0].role, chat[0].name, chat[0].new, left_out) == ("user", "kim", False, 0)
    assert made[:3] == (
        ChatPart(type="text", text="look"),
        ChatPart(type="reasoning", text="hm"),
        ChatPart(type="tool_call", name="weather", id="k", arguments="{}"),
    )
    assert made[3] == ChatPart(
        type="tool_result",
        name="weather",
        id="k",
        error=True,
        text="a\n[image image/png cat.png 300 bytes]",
    )
    assert [part.name for part in made[4:7]] == [
        "image image/png cat.png 300 bytes",
        "image https://example.com/a.png",
        "image data:image/png;base64",
    ]
    assert made[7:] == (
        ChatPart(type="refusal", text="no"),
        ChatPart(type="other", name="hologram"),
    )


def test_new_messages_are_marked_and_instructions_come_first() -> None:
    turns = [Message(role="user", parts=(Text(text=str(n)),)) for n in range(3)]
    chat = chat_of(shown(*turns, instructions=(Text(text="be kind"),)))[0]
    assert [(each.role, each.new) for each in chat] == [
        ("system", False),
        ("user", False),
        ("user", True),
        ("user", True),
    ]


def test_a_list_shows_the_end_of_a_long_chat_and_the_card_all_of_it() -> None:
    turns = [Message(role="user", parts=(Text(text=f"{n} " + "x" * 9_000),)) for n in range(40)]
    desk = Desk()
    desk.offer(shown(*turns))
    message = desk.told[0]
    assert message.type == "new_request"
    listed, whole = message.data, desk.queue.view("c1")
    assert {len(each.parts[0].text) for each in listed.chat} == {4_000}
    assert {each.parts[0].cut for each in listed.chat} <= {5_001, 5_002, 5_003}
    assert listed.chat[-1].parts[0].text.startswith("39 ")
    assert listed.chat_cut == 40 - len(listed.chat) > 0
    assert (listed.document, listed.document_cut) == ("", True)
    assert (len(whole.chat), whole.chat_cut, whole.document_cut) == (40, 0, False)
    assert whole.chat[5].parts[0].cut == 0
    assert whole.document
    assert len(message.model_dump_json()) < 80_000


def test_a_snapshot_of_many_long_cards_stays_bounded() -> None:
    turns = [Message(role="user", parts=(Text(text="x" * 5_000),)) for _ in range(20)]
    desk = Desk()
    for number in range(1000):
        desk.offer(card(f"c{number}", request=request(messages=tuple(turns))))
    assert len(desk.queue.snapshot("ann").model_dump_json()) < 8_000_000
    assert list_caps(1) == LISTED


def test_what_utf8_cannot_carry_is_shown_all_the_same() -> None:
    odd = card("c1", "half \ud800 character", client="c\udfff", conversation="\ud83d")
    desk = Desk()
    desk.offer(odd)
    told = json.loads(desk.queue.snapshot("ann").model_dump_json())
    assert told["data"]["requests"][0]["chat"][0]["parts"][0]["text"] == "half ? character"
    desk.queue.decide("c1", "reject", Denied(message="\ud800"), "ann", odd.digest)
    assert desk.queue.history()[0].client == "c?"
    assert card("c1", "half \ud801 character").digest != card("c1", "half \ud800 character").digest


def test_the_fields_of_a_card() -> None:
    desk = Desk()
    desk.offer(call_card(default=Denied(message="late"), rule="shell", verdicts=("loop",)))
    view = desk.queue.view("t1")
    assert view.call is not None
    assert (view.call.name, view.call.arguments) == ("weather", '{"city": "Oslo"}')
    assert view.response is not None
    assert view.response[0].parts == (ChatPart(type="text", text="I look"),)
    assert view.tools == ("weather", "patch", "search")
    assert (view.kind, view.state, view.on_timeout, view.may_edit) == (
        "tool_call",
        "waiting",
        "reject",
        True,
    )
    assert [on_timeout(each) for each in (FORWARD, answer("x"))] == ["approve", "answer"]
    desk.offer(card("c9", may_approve=False))
    assert not desk.queue.view("c9").may_edit


# Differences.


def test_a_difference_shows_only_what_changed() -> None:
    before = "\n".join(f"line {n}" for n in range(1000))
    told = unified(before, before.replace("line 500", "other"))
    assert "-line 500" in told
    assert "+other" in told
    assert len(told.splitlines()) < 15
    assert unified("a", "a") == ""
    assert unified("", "a\nb").splitlines()[-2:] == ["+a", "+b"]
    assert unified("a\nb", "").splitlines()[-2:] == ["-a", "-b"]


def test_a_difference_is_bounded_whatever_the_documents() -> None:
    before = "\n".join(f"old {n % 7}" for n in range(20_000))
    after = "\n".join(f"new {n % 5}" for n in range(20_000))
    told = unified(before, after)
    assert len(told) < MOST_CHARACTERS + 100
    assert told.endswith("more characters")
    assert chat_view.MOST_TEXT == 4_000
