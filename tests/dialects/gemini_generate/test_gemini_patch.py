"""Edited requests keep their own bytes: only the touched JSON values change."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from dialects.gemini_generate.material import REQUESTS, body_of, forget, name_of
from llmitm.canon.parts import Media, Text, ToolCall, ToolResult
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.gemini_generate import CODE_ASSIST, DIALECT

GEMINI = "gemini_generate"


def pretty(wire: Any) -> bytes:
    """The body in a spelling of its own, to see that it is kept."""
    return json.dumps(wire, indent=3, ensure_ascii=False).encode()


def patched(body: bytes, edit: Callable[[Request], Request], *, wrapped: bool = False) -> bytes:
    dialect = CODE_ASSIST if wrapped else DIALECT
    before = dialect.decode_request(body)
    encoded = dialect.patch_request(body, before, edit(before), DEFAULT_FACTS)
    assert encoded is not None
    after = edit(before)
    # The model (of the plain form) and streaming live in the URL.
    told = replace(dialect.decode_request(encoded.body), model=after.model, stream=after.stream)
    assert told == after or encoded.losses
    return encoded.body


@pytest.mark.parametrize("exchange", REQUESTS, ids=name_of)
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_every_recorded_request_takes_the_usual_edits(
    exchange: dict[str, Any], wrapped: bool
) -> None:
    wire = {key: value for key, value in exchange["request_json"].items() if key != "model"}
    if wrapped:
        wire = {"model": "m", "request": wire}
    body = pretty(wire)
    dialect = CODE_ASSIST if wrapped else DIALECT
    before = dialect.decode_request(body)
    assert dialect.patch_request(body, before, before, DEFAULT_FACTS).body == body  # type: ignore[union-attr]

    def cooler(request: Request) -> Request:
        return replace(request, sampling=replace(request.sampling, temperature=0.125))

    out = patched(body, cooler, wrapped=wrapped)
    expected = json.loads(body)
    inner = expected["request"] if wrapped else expected
    inner.setdefault("generationConfig", {})["temperature"] = 0.125
    assert json.loads(out) == expected
    assert shared(body, out) > len(body) - 40

    out = patched(
        body, lambda request: replace(request, model="other", stream=True), wrapped=wrapped
    )
    assert out == (body.replace(b'"model": "m"', b'"model": "other"') if wrapped else body)

    place = next(
        (
            (i, j)
            for i, message in enumerate(before.messages)
            for j, part in enumerate(message.parts)
            if isinstance(part, Text)
        ),
        None,
    )
    if place is None:
        return

    def reworded(request: Request) -> Request:
        message = request.messages[place[0]]
        parts = list(message.parts)
        part = parts[place[1]]
        assert isinstance(part, Text)
        parts[place[1]] = replace(part, text="ONLY\nTHIS")
        messages = list(request.messages)
        messages[place[0]] = replace(message, parts=tuple(parts))
        return replace(request, messages=tuple(messages))

    out = patched(body, reworded, wrapped=wrapped)
    was = before.messages[place[0]].parts[place[1]]
    assert isinstance(was, Text)
    assert body.replace(json.dumps(was.text, ensure_ascii=False).encode(), b"", 1).count(
        b"\n"
    ) == out.replace(b'"ONLY\\nTHIS"', b"", 1).count(b"\n")
    found: Any = json.loads(out)
    for step in was.at:
        found = found[step]
    assert found == "ONLY\nTHIS"


def shared(first: bytes, second: bytes) -> int:
    """How many bytes two bodies have in common at their ends."""
    size = min(len(first), len(second))
    head = next((i for i in range(size) if first[i] != second[i]), size)
    tail = next((i for i in range(size - head) if first[-1 - i] != second[-1 - i]), size - head)
    return head + tail


WIRE = {
    "system_instruction": {"parts": {"text": "be brief"}},
    "contents": [
        {"role": "user", "parts": [{"text": "a"}]},
        {
            "role": "model",
            "parts": [
                {
                    "function_call": {"name": "f", "args": {"x": 1}},
                    "thought_signature": "c2ln",
                }
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"name": "f", "response": {"output": "secret"}}},
                {"inline_data": {"mime_type": "image/png", "data": "AA=="}},
            ],
        },
    ],
    "tools": [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}],
    "generation_config": {
        "max_output_tokens": 9,
        "thinking_config": {"thinking_budget": 10},
        "response_modalities": ["TEXT"],
    },
    "tool_config": {"function_calling_config": {"mode": "AUTO"}},
    "labels": {"a": "b"},
}


def part_of(message: int, place: int, **change: Any) -> Callable[[Request], Request]:
    def edit(request: Request) -> Request:
        messages = list(request.messages)
        parts = list(messages[message].parts)
        parts[place] = replace(parts[place], **change)
        messages[message] = replace(messages[message], parts=tuple(parts))
        return replace(request, messages=tuple(messages))

    return edit


def tool(name: str, **rest: Any) -> Tool:
    return Tool(name=name, dialect=GEMINI, **rest)


def sampling(**change: Any) -> Callable[[Request], Request]:
    return lambda request: replace(request, sampling=replace(request.sampling, **change))


def change(path: str, value: Any = None, *, delete: bool = False) -> Callable[[Any], None]:
    """What happens to the wire at this dotted path."""

    def apply(wire: Any) -> None:
        *way, last = (int(step) if step.isdecimal() else step for step in path.split("."))
        for step in way:
            wire = wire[step]
        if delete:
            del wire[last]
        else:
            wire[last] = value

    return apply


EDITS: list[tuple[str, Callable[[Request], Request], Callable[[Any], None]]] = [
    (
        "sampling in its own spelling",
        sampling(max_tokens=5),
        change("generation_config.max_output_tokens", 5),
    ),
    (
        "sampling gone",
        sampling(max_tokens=None),
        change("generation_config.max_output_tokens", delete=True),
    ),
    ("stop words", sampling(stop=("x",)), change("generation_config.stopSequences", ["x"])),
    (
        "reasoning",
        lambda r: replace(r, reasoning=ReasoningConfig(effort="low")),
        change("generation_config.thinking_config", {"thinkingLevel": "LOW"}),
    ),
    (
        "reasoning gone",
        lambda r: replace(r, reasoning=None),
        change("generation_config.thinking_config", delete=True),
    ),
    (
        "tool choice",
        lambda r: replace(r, tool_choice=ToolChoice(mode="none", dialect=GEMINI)),
        change("tool_config.function_calling_config", {"mode": "NONE"}),
    ),
    (
        "system text",
        lambda r: replace(r, instructions=(replace(r.instructions[0], text="be long"),)),
        change("system_instruction.parts.text", "be long"),
    ),
    (
        "more system text",
        lambda r: replace(r, instructions=(*r.instructions, Text(text="more"))),
        change("system_instruction", {"parts": [{"text": "be brief"}, {"text": "more"}]}),
    ),
    (
        "a call's arguments",
        part_of(1, 0, arguments='{"x":2}'),
        change(
            "contents.1.parts.0",
            {"functionCall": {"name": "f", "args": {"x": 2}}, "thoughtSignature": "c2ln"},
        ),
    ),
    (
        "a result's text",
        part_of(2, 0, parts=(Text(text="[gone]"),), value={"output": "[gone]"}),
        change(
            "contents.2.parts.0",
            {"functionResponse": {"name": "f", "response": {"output": "[gone]"}}},
        ),
    ),
    (
        "a picture",
        part_of(2, 1, data="BB=="),
        change("contents.2.parts.1", {"inlineData": {"mimeType": "image/png", "data": "BB=="}}),
    ),
    (
        "a message more",
        lambda r: replace(
            r, messages=(*r.messages, Message(role="user", parts=(Text(text="new"),)))
        ),
        lambda wire: wire["contents"].append({"role": "user", "parts": [{"text": "new"}]}),
    ),
    (
        "a message less",
        lambda r: replace(r, messages=r.messages[1:]),
        lambda wire: wire["contents"].pop(0),
    ),
    (
        "a part more",
        lambda r: replace(
            r,
            messages=(
                replace(r.messages[0], parts=(*r.messages[0].parts, Text(text="b"))),
                *r.messages[1:],
            ),
        ),
        change("contents.0.parts", [{"text": "a"}, {"text": "b"}]),
    ),
    (
        "a tool more",
        lambda r: replace(r, tools=(*r.tools, tool("h", parameters={"type": "object"}))),
        lambda wire: wire["tools"][0]["functionDeclarations"].append(
            {"name": "h", "parametersJsonSchema": {"type": "object"}}
        ),
    ),
    (
        "a tool less",
        lambda r: replace(r, tools=r.tools[1:]),
        lambda wire: wire["tools"][0]["functionDeclarations"].pop(0),
    ),
    ("no tools", lambda r: replace(r, tools=()), change("tools", delete=True)),
    (
        "a server tool more",
        lambda r: replace(
            r,
            tools=(
                *r.tools,
                Tool(
                    kind="server",
                    name="googleSearch",
                    dialect="gemini_generate",
                    value={"googleSearch": {}},
                ),
            ),
        ),
        lambda wire: wire["tools"].append({"googleSearch": {}}),
    ),
    (
        "the answer's form",
        lambda r: replace(
            r, response_format=ResponseFormat(kind="json_schema", schema={"type": "object"})
        ),
        lambda wire: wire["generation_config"].update(
            responseMimeType="application/json", responseJsonSchema={"type": "object"}
        ),
    ),
    (
        "extras",
        lambda r: replace(r, extras={"labels": {"a": "c"}, "cachedContent": "x"}),
        lambda wire: (
            wire.update(labels={"a": "c"}, cachedContent="x"),
            wire["generation_config"].pop("response_modalities"),
        ),
    ),
]


@pytest.mark.parametrize(("edit", "expected"), [e[1:] for e in EDITS], ids=[e[0] for e in EDITS])
@pytest.mark.parametrize("wrapped", [False, True], ids=["plain", "wrapped"])
def test_one_edit(
    edit: Callable[[Request], Request], expected: Callable[[Any], None], wrapped: bool
) -> None:
    wire: Any = json.loads(json.dumps(WIRE))
    body = pretty({"model": "m", "request": wire, "project": "p"} if wrapped else wire)
    if wrapped:
        # The project is one of the extras and stays as it is.
        inner = edit

        def edit(request: Request) -> Request:
            made = inner(request)
            return replace(made, extras={**made.extras, "project": "p"})

    out = patched(body, edit, wrapped=wrapped)
    expected(wire)
    assert json.loads(out) == ({"model": "m", "request": wire, "project": "p"} if wrapped else wire)
    # Written anew, the edited request says the same.
    dialect = CODE_ASSIST if wrapped else DIALECT
    after = edit(dialect.decode_request(body))
    anew = dialect.encode_request(after, DEFAULT_FACTS)
    assert dialect.decode_request(anew.body) == after or anew.losses


def test_a_model_in_the_body_follows() -> None:
    body = pretty({"model": "models/gemini-3-pro", "contents": []})
    out = patched(body, lambda request: replace(request, model="gemini-3-flash"))
    assert json.loads(out)["model"] == "models/gemini-3-flash"


def test_first_tools_are_added() -> None:
    body = pretty({"contents": []})
    out = patched(
        body,
        lambda request: replace(request, tools=(tool("f"), tool("g"))),
    )
    assert json.loads(out)["tools"] == [{"functionDeclarations": [{"name": "f"}, {"name": "g"}]}]


def test_the_memory_is_not_needed() -> None:
    body = pretty(WIRE)
    before = forget(DIALECT.decode_request(body))
    after = sampling(max_tokens=5)(before)
    encoded = DIALECT.patch_request(body, before, after, DEFAULT_FACTS)
    assert encoded is not None
    assert encoded.body == body.replace(b'"max_output_tokens": 9', b'"max_output_tokens": 5')


def test_what_cannot_be_patched_is_left_to_the_encoder() -> None:
    body = body_of({"contents": "hello"})
    before = DIALECT.decode_request(body)
    two = replace(before, messages=(*before.messages, *before.messages))
    assert DIALECT.patch_request(body, before, two, DEFAULT_FACTS) is None
    other = replace(before, dialect="openai_chat")
    assert DIALECT.patch_request(body, before, other, DEFAULT_FACTS) is None
    assert DIALECT.patch_request(b"{", forget(before), two, DEFAULT_FACTS) is None


def test_unedited_parts_keep_their_spelling_when_a_message_is_rewritten() -> None:
    request = DIALECT.decode_request(pretty(WIRE))
    message = request.messages[2]
    rest = (ToolCall(id="", name="x", arguments="{}"), *message.parts)
    edited = replace(request, messages=(replace(message, role="assistant", parts=rest),))
    parts = json.loads(DIALECT.encode_request(edited, DEFAULT_FACTS).body)["contents"][0]["parts"]
    assert parts[1:] == WIRE["contents"][2]["parts"]  # type: ignore[index]
    assert isinstance(message.parts[0], ToolResult)
    assert isinstance(message.parts[1], Media)
