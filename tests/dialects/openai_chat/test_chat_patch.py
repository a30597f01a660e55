"""Small edits of a chat request change only their own bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import recordings
from llmitm.canon.parts import Text, ToolResult
from llmitm.canon.request import Message, ReasoningConfig, Request, ResponseFormat, Sampling, Tool
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.openai_chat import DIALECT

BODY = (
    '{ "model" : "m", "messages": [{"role":"system","content":"be \\u00e9"},\n'
    ' {"role":"user","content":[{"type":"text","text":"hi"},'
    '{"type":"image_url","image_url":{"url":"http://x/a.png"}}]},\n'
    ' {"role":"assistant","content":null,"reasoning":"hm","tool_calls":[{"id":"c",'
    '"type":"function","function":{"name":"f","arguments":"{}"}}]},\n'
    ' {"role":"tool","tool_call_id":"c","content":"42"}],\n'
    ' "tools":[{"type":"function","function":{"name":"f","parameters":{}}}],\n'
    ' "max_completion_tokens": 9, "reasoning_effort":"low", "odd" : 1.0 }'
)


def patched(edit: Callable[[Request], Request], body: str = BODY) -> str | None:
    before = DIALECT.decode_request(body.encode())
    done = DIALECT.patch_request(body.encode(), before, edit(before), DEFAULT_FACTS)
    if done is None:
        return None
    assert done.losses == ()
    return done.body.decode()


def with_text(place: int, text: str) -> Callable[[Request], Request]:
    """Changes the first text of a message."""

    def edit(request: Request) -> Request:
        messages = list(request.messages)
        first, *rest = messages[place].parts
        if isinstance(first, ToolResult):
            (inner,) = first.parts
            assert isinstance(inner, Text)
            first = replace(first, parts=(replace(inner, text=text),))
        else:
            assert isinstance(first, Text)
            first = replace(first, text=text)
        messages[place] = replace(messages[place], parts=(first, *rest))
        return replace(request, messages=tuple(messages))

    return edit


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (lambda r: r, "", ""),
        (lambda r: replace(r, model="n"), '"m"', '"n"'),
        (with_text(0, "ho"), '"be \\u00e9"', '"ho"'),
        (with_text(1, "ho"), '"hi"', '"ho"'),
        (with_text(3, "ho"), '"42"', '"ho"'),
        (
            lambda r: replace(r, sampling=replace(r.sampling, max_tokens=3)),
            '"max_completion_tokens": 9',
            '"max_completion_tokens": 3',
        ),
        (
            lambda r: replace(r, reasoning=replace(r.reasoning, effort="high")),
            '"low"',
            '"high"',
        ),
        (lambda r: replace(r, extras={**r.extras, "odd": 2}), '"odd" : 1.0', '"odd" : 2'),
        (
            lambda r: replace(r, messages=r.messages[1:]),
            '{"role":"system","content":"be \\u00e9"},\n ',
            "",
        ),
        (
            lambda r: replace(r, tools=()),
            ',\n "tools":[{"type":"function","function":{"name":"f","parameters":{}}}]',
            "",
        ),
    ],
)
def test_only_the_edit_changes(edit: Callable[[Request], Request], old: str, new: str) -> None:
    assert patched(edit) == BODY.replace(old, new, 1)


def test_additions_leave_the_rest() -> None:
    def edit(request: Request) -> Request:
        note = Message(role="user", parts=(Text(text="note"),))
        return replace(
            request,
            instructions=(Text(text="first of all"),),
            messages=(*request.messages, note),
            tools=(*request.tools, Tool(name="g", parameters={"type": "object"})),
            sampling=replace(request.sampling, temperature=0.5, stop=("x",)),
            response_format=ResponseFormat(kind="json_object"),
            stream=True,
            stream_usage=True,
        )

    text = patched(edit)
    assert text is not None
    wire: Any = json.loads(text)
    assert wire["messages"][0] == {"role": "system", "content": "first of all"}
    assert wire["messages"][1:-1] == json.loads(BODY)["messages"]
    assert wire["messages"][-1] == {"role": "user", "content": "note"}
    assert wire["tools"][1]["function"]["name"] == "g"
    assert (wire["temperature"], wire["stop"], wire["stream"]) == (0.5, ["x"], True)
    assert wire["stream_options"] == {"include_usage": True}
    assert wire["response_format"] == {"type": "json_object"}
    assert ' "reasoning_effort":"low", "odd" : 1.0' in text


@pytest.mark.parametrize(
    ("given", "config", "expected"),
    [
        ("", ReasoningConfig(effort="low"), {"reasoning_effort": "low"}),
        (
            ',"thinking":{"type":"enabled","x":1}',
            ReasoningConfig(mode="off", extras={"thinking": {"x": 1}}),
            {"thinking": {"type": "disabled", "x": 1}},
        ),
        (
            ',"enable_thinking":true',
            ReasoningConfig(mode="off", extras={"enable_thinking": None}),
            {"enable_thinking": False},
        ),
        (
            ',"reasoning":{"effort":"low","x":1}',
            ReasoningConfig(effort="high", extras={"reasoning": {"x": 1}}),
            {"reasoning": {"effort": "high", "x": 1}},
        ),
    ],
)
def test_reasoning_keeps_its_form(given: str, config: ReasoningConfig, expected: Any) -> None:
    body = '{"messages":[]' + given + "}"
    text = patched(lambda r: replace(r, reasoning=config), body)
    assert json.loads(text or "") == {"messages": [], **expected}


def test_what_has_no_edit_is_left_to_the_encoder() -> None:
    assert patched(lambda r: replace(r, previous_response_id="x")) is None
    options = '{"messages":[],"stream_options":{"include_usage":true,"x":1}}'
    changed: Any = {"stream_options": {"x": 2}}
    assert patched(lambda r: replace(r, extras=changed), options) is None


@recordings.needs_corpus
def test_recorded_requests() -> None:
    texts = 0
    for exchange in recordings.load("openai-chat"):
        wire = exchange["request_json"]
        if not wire:
            continue
        body = json.dumps(wire)
        assert patched(lambda r: r, body) == body
        model = patched(lambda r: replace(r, model="another"), body)
        assert json.loads(model or "") == {**wire, "model": "another"}
        sampled = patched(lambda r: replace(r, sampling=_cooler(r.sampling)), body)
        assert json.loads(sampled or "") == {**wire, "temperature": 0.125}
        assert _kept(body, model or "") >= len(body) - len(json.dumps(wire.get("model", "")))
        assert _kept(body, sampled or "") >= len(body) - len(
            json.dumps(wire.get("temperature", ""))
        )
        for place, message in enumerate(DIALECT.decode_request(body.encode()).messages):
            match message.parts:
                case (Text(text=text), *_) | (ToolResult(parts=(Text(text=text),)), *_):
                    if text and body.count(json.dumps(text)) == 1:
                        texts += 1
                        changed = patched(with_text(place, "NEW"), body)
                        assert changed == body.replace(json.dumps(text), '"NEW"')
                case _:
                    pass
    assert texts > 500


def _cooler(sampling: Sampling) -> Sampling:
    return replace(sampling, temperature=0.125)


def _kept(old: str, new: str) -> int:
    """How many characters of `old` stand unchanged before and after the one edit in `new`."""
    start = _shared(old, new)
    return start + _shared(old[start:][::-1], new[start:][::-1])


def _shared(one: str, other: str) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
