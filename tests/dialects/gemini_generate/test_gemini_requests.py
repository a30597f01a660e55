"""Requests one by one: every shape the protocol allows, and what wrong ones say."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dialects.gemini_generate.material import body_of, forget
from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.gemini_generate import CODE_ASSIST, DIALECT
from llmitm.dialects.gemini_generate.parts import read_part
from llmitm.errors import ClientWireError

GEMINI = "gemini_generate"


def decode(**wire: Any) -> Any:
    return DIALECT.decode_request(body_of({"contents": [], **wire}))


@pytest.mark.parametrize(
    ("wire", "part"),
    [
        ({"text": "hi"}, Text(text="hi")),
        ({"text": ""}, Text(text="")),
        ({"text": "hi", "thought": False}, Text(text="hi")),
        ({"text": "hi", "thoughtSignature": "c2ln"}, Text(text="hi", signature="c2ln")),
        ({"text": "", "thought_signature": "c2ln"}, Text(text="", signature="c2ln")),
        ({"thoughtSignature": "c2ln"}, Text(text="", signature="c2ln")),
        (
            {"text": "hm", "thought": True, "thoughtSignature": "c2ln"},
            Reasoning(text="hm", summary=True, signature="c2ln", dialect=GEMINI),
        ),
        (
            {"inline_data": {"mime_type": "image/png", "data": "AA=="}},
            Media(kind="image", mime="image/png", data="AA=="),
        ),
        (
            {
                "inlineData": {"mimeType": "video/mp4", "data": "AA==", "displayName": "v"},
                "videoMetadata": {"fps": 1},
            },
            Media(
                kind="video",
                mime="video/mp4",
                data="AA==",
                name="v",
                extras={"videoMetadata": {"fps": 1}},
            ),
        ),
        (
            {"fileData": {"mimeType": "application/pdf", "fileUri": "https://a.b/c.pdf"}},
            Media(kind="document", mime="application/pdf", url="https://a.b/c.pdf"),
        ),
        (
            {"fileData": {"fileUri": "gs://bucket/x.wav", "mimeType": "audio/wav"}},
            Media(kind="audio", mime="audio/wav", file_id="gs://bucket/x.wav"),
        ),
        (
            {"functionCall": {"name": "f", "args": {"a": 1.0, "b": [1, "ä"]}}},
            ToolCall(id="", name="f", arguments='{"a":1.0,"b":[1,"ä"]}'),
        ),
        (
            {"function_call": {"id": "1", "name": "f"}, "thought_signature": "c2ln"},
            ToolCall(id="1", name="f", arguments="", signature="c2ln"),
        ),
        (
            {"functionResponse": {"id": "1", "name": "f", "response": {"output": "ok"}}},
            ToolResult(call_id="1", name="f", parts=(Text(text="ok"),), value={"output": "ok"}),
        ),
        (
            {"functionResponse": {"name": "f", "response": {"error": "no"}}},
            ToolResult(
                call_id="", name="f", parts=(Text(text="no"),), value={"error": "no"}, error=True
            ),
        ),
        (
            {"functionResponse": {"name": "f", "response": {"a": 1, "b": None}}},
            ToolResult(
                call_id="",
                name="f",
                parts=(Text(text='{"a":1,"b":null}'),),
                value={"a": 1, "b": None},
            ),
        ),
        (
            {
                "functionResponse": {
                    "name": "f",
                    "response": {},
                    "parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}],
                    "willContinue": True,
                }
            },
            ToolResult(
                call_id="",
                name="f",
                parts=(Media(kind="image", mime="image/png", data="AA=="),),
                value={},
                extras={"functionResponse": {"willContinue": True}},
            ),
        ),
    ],
)
def test_parts(wire: dict[str, Any], part: Part) -> None:
    assert read_part(wire) == part
    request = decode(contents=[{"role": "user", "parts": [wire]}])
    assert request.messages[0].parts == (part,)
    anew = DIALECT.encode_request(forget(request), DEFAULT_FACTS)
    assert DIALECT.decode_request(anew.body).messages[0].parts == (
        # Written anew, a call without arguments gets the empty object.
        (ToolCall(id="1", name="f", arguments="{}", signature="c2ln"),)
        if isinstance(part, ToolCall) and not part.arguments
        else (part,)
    )


@pytest.mark.parametrize(
    ("wire", "kind"),
    [
        ({"executableCode": {"language": "PYTHON", "code": "1"}}, "executableCode"),
        ({"codeExecutionResult": {"outcome": "OUTCOME_OK"}}, "codeExecutionResult"),
        ({"toolCall": {"id": "1"}, "thoughtSignature": "c2ln"}, "toolCall"),
        ({"toolResponse": {"id": "1"}}, "toolResponse"),
        ({"text": 3}, "text"),
        ({"text": "a", "inlineData": {}}, "text"),
        ({"inlineData": {"mimeType": "image/png", "data": "A", "newKey": 1}}, "inlineData"),
        ({"inlineData": {"mimeType": "image/png", "data": "A"}, "thought": True}, "inlineData"),
        ({"functionCall": {"name": "f", "args": []}}, "functionCall"),
        ({"text": "a", "thoughtSignature": 5}, "text"),
        ({}, ""),
    ],
)
def test_what_canon_has_no_part_for_stays_whole(wire: dict[str, Any], kind: str) -> None:
    assert read_part(wire) == Unknown(dialect=GEMINI, kind=kind, value=wire)


@pytest.mark.parametrize(
    ("contents", "roles"),
    [
        ([{"parts": [{"text": "a"}]}], ["user"]),
        ([{"role": "user", "parts": []}, {"role": "user", "parts": {"text": "b"}}], ["user"] * 2),
        ([{"role": "model", "parts": [{"text": "a"}]}], ["assistant"]),
        ([{"role": "function", "parts": [{"text": "a"}]}], ["tool"]),
        ([{"role": "invalid_role", "parts": [{"text": "a"}]}], ["user"]),
        ({"role": "user", "parts": [{"text": "a"}]}, ["user"]),
        ("hello", ["user"]),
        (["hello", {"role": "model"}], ["user", "assistant"]),
    ],
)
def test_contents(contents: Any, roles: list[str]) -> None:
    wire = {"contents": contents}
    request = DIALECT.decode_request(body_of(wire))
    assert [message.role for message in request.messages] == roles
    assert json.loads(DIALECT.encode_request(request, DEFAULT_FACTS).body) == wire


@pytest.mark.parametrize(
    "system",
    [
        "be brief",
        {"parts": [{"text": "be brief"}]},
        {"role": "user", "parts": {"text": "be brief"}},
        {"text": "be brief"},
        [{"text": "be brief"}],
        ["be brief"],
    ],
)
@pytest.mark.parametrize("key", ["systemInstruction", "system_instruction"])
def test_system_instructions(system: Any, key: str) -> None:
    wire = {"contents": [], key: system}
    request = DIALECT.decode_request(body_of(wire))
    assert request.instructions == (Text(text="be brief"),)
    found: Any = wire
    for step in request.instructions[0].at:
        found = found[step]
    assert found == "be brief"
    assert json.loads(DIALECT.encode_request(request, DEFAULT_FACTS).body) == wire


def test_every_place_leads_to_its_value() -> None:
    wire = {
        "request": {
            "contents": [
                {"role": "model", "parts": [{"text": "a"}, {"functionCall": {"name": "f"}}]}
            ],
            "tools": [{"googleSearch": {}}, {"function_declarations": [{"name": "f"}]}],
        }
    }
    request = CODE_ASSIST.decode_request(body_of(wire))
    at = ("request", "contents", 0)
    assert request.messages[0].at == at
    assert [part.at for part in request.messages[0].parts] == [
        (*at, "parts", 0, "text"),
        (*at, "parts", 1),
    ]
    assert [tool.at for tool in request.tools] == [
        ("request", "tools", 0),
        ("request", "tools", 1, "function_declarations", 0),
    ]


def test_beside_the_messages() -> None:
    wire = {
        "contents": [],
        "safetySettings": [{"category": 1}],
        "cachedContent": "cachedContents/x",
        "labels": {"a": "b"},
        "new_thing": 1,
    }
    request = DIALECT.decode_request(body_of(wire))
    assert dict(request.extras) == {key: wire[key] for key in wire if key != "contents"}
    assert (request.model, request.stream) == ("", False)


def test_a_body_that_names_its_model_keeps_the_form() -> None:
    wire = {"model": "models/gemini-3-pro", "contents": []}
    request = DIALECT.decode_request(body_of(wire))
    assert request.model == "gemini-3-pro"
    assert json.loads(DIALECT.encode_request(request, DEFAULT_FACTS).body) == wire


@pytest.mark.parametrize("prefix", [b"\xef\xbb\xbf", b" \n", b"\xef\xbb\xbf \n"])
def test_a_mark_and_white_space_before_the_body(prefix: bytes) -> None:
    body = prefix + body_of({"contents": [{"parts": [{"text": "\u00e4"}]}]})
    assert DIALECT.decode_request(body).messages[0].parts == (Text(text="\u00e4"),)


def test_half_a_character_survives() -> None:
    body = b'{"contents":[{"parts":[{"text":"\\ud83d"}]}]}'
    request = DIALECT.decode_request(body)
    assert DIALECT.encode_request(request, DEFAULT_FACTS).body == body.replace(b" ", b"")


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"\xff", ""),
        (b'{"contents":[NaN]}', ""),
        (b"[" * 100_000, ""),
        (b'{"model":"gpt","messages":[]}', "/contents"),
        (b'{"contents":5}', "/contents"),
        (b'{"contents":[5]}', "/contents/0"),
        (b'{"contents":[{"parts":5}]}', "/contents/0/parts"),
        (b'{"contents":[{},{"parts":[{},5]}]}', "/contents/1/parts/1"),
        (b'{"contents":[],"system_instruction":5}', "/system_instruction"),
        (b'{"contents":[],"systemInstruction":{"parts":[5]}}', "/systemInstruction/parts/0"),
        (b'{"contents":[],"tools":[5]}', "/tools/0"),
        (
            b'{"contents":[],"tools":[{"functionDeclarations":[{}]}]}',
            "/tools/0/functionDeclarations/0/name",
        ),
        (b'{"request":{"contents":[5]},"model":"m"}', "/request/contents/0"),
        (b'{"request":{},"model":"m"}', "/request/contents"),
    ],
)
def test_wrong_bodies_say_where(body: bytes, pointer: str) -> None:
    with pytest.raises(ClientWireError) as told:
        DIALECT.decode_request(body)
    assert told.value.pointer == pointer
    assert str(told.value)
