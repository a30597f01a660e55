"""Requests of other protocols as Gemini's: what is carried, adapted, lost, and said to be."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.features import FEATURES
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import (
    Message,
    Request,
    Role,
)
from llmitm.canon.values import DEFAULT_FACTS, Facts, Loss
from llmitm.dialects.gemini_generate import DIALECT
from llmitm.dialects.gemini_generate.tables import SKIP_SIGNATURE

Told = list[tuple[str, str, str]]


def say(role: Role, *parts: Part | str) -> Message:
    return Message(role=role, parts=tuple(Text(text=p) if isinstance(p, str) else p for p in parts))


def foreign(*messages: Message, **rest: Any) -> Request:
    rest.setdefault("model", "gemini-2.5-flash")
    return Request(dialect="openai_chat", messages=messages, **rest)


def encode(request: Request, facts: Facts = DEFAULT_FACTS) -> tuple[Any, Told]:
    encoded = DIALECT.encode_request(request, facts)
    for loss in encoded.losses:
        assert loss.target == "gemini_generate"
        assert loss.feature in FEATURES
    DIALECT.decode_request(encoded.body)
    return json.loads(encoded.body), told(encoded.losses)


def told(losses: tuple[Loss, ...]) -> Told:
    return [(loss.feature, loss.path, loss.how) for loss in losses]


def test_system_text_and_turns() -> None:
    body, losses = encode(
        foreign(
            say("system", "one"),
            say("developer", "two"),
            say("user", "a"),
            say("user", "b"),
            say("assistant", "c"),
            Message(role="system", parts=(Text(text="d"),), at=("messages", 5)),
            say("user", "e"),
        )
    )
    assert body == {
        "contents": [
            {"role": "user", "parts": [{"text": "a"}, {"text": "b"}]},
            {"role": "model", "parts": [{"text": "c"}]},
            {"role": "user", "parts": [{"text": "d"}, {"text": "e"}]},
        ],
        "systemInstruction": {"parts": [{"text": "one"}, {"text": "two"}]},
    }
    assert losses == [("message.role", "/messages/5", "adapted")]


def test_nothing_but_system_text_becomes_the_users() -> None:
    body, losses = encode(foreign(say("system", "one")))
    assert body == {"contents": [{"role": "user", "parts": [{"text": "one"}]}]}
    assert losses == [("instructions", "", "adapted")]


def call(call_id: str, name: str, arguments: str, **rest: Any) -> ToolCall:
    return ToolCall(id=call_id, name=name, arguments=arguments, **rest)


def result(call_id: str, *parts: Part, **rest: Any) -> ToolResult:
    return ToolResult(call_id=call_id, parts=parts, **rest)


def test_parallel_calls_and_their_results() -> None:
    body, losses = encode(
        foreign(
            say("user", "go"),
            say("assistant", "ok", call("1", "f", '{"a":1.0}'), call("2", "g", "")),
            say("tool", result("1", Text(text="x"))),
            say("tool", result("2", Text(text="y"), error=True)),
            say("user", "and?"),
        )
    )
    assert body["contents"][1:] == [
        {
            "role": "model",
            "parts": [
                {"text": "ok"},
                {"functionCall": {"id": "1", "name": "f", "args": {"a": 1.0}}},
                {"functionCall": {"id": "2", "name": "g", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "1", "name": "f", "response": {"output": "x"}}},
                {"functionResponse": {"id": "2", "name": "g", "response": {"error": "y"}}},
                {"text": "and?"},
            ],
        },
    ]
    assert losses == []


def test_results_come_before_what_the_user_says() -> None:
    body, _ = encode(
        foreign(
            say("assistant", call("1", "f", "{}")),
            say("user", "first", result("1", Text(text="x"))),
        )
    )
    assert [list(part) for part in body["contents"][1]["parts"]] == [["functionResponse"], ["text"]]


@pytest.mark.parametrize(
    ("model", "facts", "signed"),
    [
        ("gemini-3-pro", DEFAULT_FACTS, True),
        ("models/gemini-4-argon", DEFAULT_FACTS, True),
        ("gemini-2.5-flash", DEFAULT_FACTS, False),
        ("gemini-3-pro", Facts(extras={"sign_calls": False}), False),
        ("gemini-2.5-flash", Facts(extras={"sign_calls": True}), True),
    ],
)
def test_calls_of_other_models_are_signed_where_it_is_asked(
    model: str, facts: Facts, signed: bool
) -> None:
    messages = (say("assistant", call("1", "f", "{}"), call("2", "f", "{}")),)
    body, _ = encode(foreign(*messages, model=model), facts)
    first, second = body["contents"][0]["parts"]
    assert first.get("thoughtSignature") == (SKIP_SIGNATURE if signed else None)
    assert "thoughtSignature" not in second


def test_a_remembered_signature_goes_back() -> None:
    body, losses = encode(
        foreign(
            say("assistant", call("1", "f", "{}", signature="c2ln"), call("2", "f", "{}")),
            say(
                "assistant",
                Reasoning(text="hm", signature="c2lh", dialect="gemini_generate"),
                Text(text="so", signature="c2lj"),
            ),
            model="gemini-3-pro",
        )
    )
    assert body["contents"][0]["parts"] == [
        {"functionCall": {"id": "1", "name": "f", "args": {}}, "thoughtSignature": "c2ln"},
        {"functionCall": {"id": "2", "name": "f", "args": {}}},
        {"text": "hm", "thought": True, "thoughtSignature": "c2lh"},
        {"text": "so", "thoughtSignature": "c2lj"},
    ]
    assert losses == []


PART_AT = ("messages", 0, "content", 0)


@pytest.mark.parametrize(
    ("part", "wire", "losses"),
    [
        (Refusal(text="no", at=PART_AT), [{"text": "no"}], ["part.refusal adapted"]),
        (Text(text=""), [], []),
        (
            Reasoning(text="hm", signature="x", dialect="anthropic_messages", at=PART_AT),
            [{"text": "hm", "thought": True}],
            ["part.reasoning.signature dropped"],
        ),
        (
            Reasoning(encrypted="x", dialect="openai_responses", at=PART_AT),
            [],
            ["part.reasoning.signature dropped"],
        ),
        (
            Unknown(dialect="openai_chat", kind="file_search", value={}, at=PART_AT),
            [],
            ["part.unknown dropped"],
        ),
        (
            Text(text="a", annotations=({"type": "x"},), logprobs=[{"token": "a"}], at=PART_AT),
            [{"text": "a"}],
            ["part.annotations dropped", "part.logprobs dropped"],
        ),
        (
            Text(text="a", extras={"cache_control": {"type": "ephemeral"}}, at=PART_AT),
            [{"text": "a"}],
            ["field dropped"],
        ),
        (
            Media(kind="image", mime="image/png", data="AA=="),
            [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}],
            [],
        ),
        (
            Media(kind="image", url="data:image/webp;base64,AA=="),
            [{"inlineData": {"mimeType": "image/webp", "data": "AA=="}}],
            [],
        ),
        (
            Media(kind="image", url="https://a.b/c.PNG?x=1", detail="low", at=PART_AT),
            [{"fileData": {"mimeType": "image/png", "fileUri": "https://a.b/c.PNG?x=1"}}],
            ["part.image.detail dropped"],
        ),
        (
            Media(kind="document", url="https://a.b/c", at=PART_AT),
            [{"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.b/c"}}],
            [],
        ),
        (
            Media(kind="document", file_id="file-1", at=PART_AT),
            [],
            ["part.document dropped"],
        ),
        (
            Media(kind="document", text="hä", name="a.txt", at=PART_AT),
            [{"inlineData": {"mimeType": "text/plain", "data": "aMOk"}}],
            ["part.document dropped"],
        ),
        (
            call("1", "f", "run it", kind="custom", at=PART_AT),
            [{"functionCall": {"id": "1", "name": "f", "args": {"input": "run it"}}}],
            ["tool_call.custom adapted"],
        ),
        (
            call("1", "f", "[1]", at=PART_AT),
            [{"functionCall": {"id": "1", "name": "f", "args": {"input": [1]}}}],
            ["tool_call.arguments adapted"],
        ),
        (
            call("1", "f", '{"a":', at=PART_AT),
            [{"functionCall": {"id": "1", "name": "f", "args": {"input": '{"a":'}}}],
            ["tool_call.arguments adapted"],
        ),
        (
            result("1", Text(text="x"), Media(kind="image", mime="image/png", data="AA==")),
            [
                {
                    "functionResponse": {
                        "id": "1",
                        "name": "1",
                        "response": {"output": "x"},
                        "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}],
                    }
                }
            ],
            [],
        ),
    ],
)
def test_parts(part: Part, wire: list[Any], losses: list[str]) -> None:
    role: Role = "assistant" if isinstance(part, ToolCall | Reasoning | Refusal) else "user"
    body, lost = encode(foreign(say("user", "-"), say(role, part)))
    contents = body["contents"]
    found = [item for content in contents for item in content["parts"]]
    found.remove({"text": "-"})
    assert found == wire
    assert [f"{feature} {how}" for feature, _, how in lost] == losses
    assert all(path.startswith("/messages/0/content/0") for _, path, _ in lost)


def test_media_beside_the_result_where_models_want_it() -> None:
    picture = Media(kind="image", mime="image/png", data="AA==", at=PART_AT)
    body, losses = encode(
        foreign(say("user", result("1", picture, name="f"))),
        Facts(extras={"media_in_results": False}),
    )
    assert body["contents"][0]["parts"] == [
        {"functionResponse": {"id": "1", "name": "f", "response": {}}},
        {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
    ]
    assert [loss[0] for loss in losses] == ["tool_result.media"]


def test_an_edited_result_goes_before_its_structure() -> None:
    edited = result("1", Text(text="[gone]"), value={"output": "secret"}, name="f")
    body, _ = encode(foreign(say("user", edited)))
    assert body["contents"][0]["parts"][0]["functionResponse"]["response"] == {"output": "[gone]"}
