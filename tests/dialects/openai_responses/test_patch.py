"""Small edits of a request change only their own bytes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import recordings
from llmitm.canon.parts import Text
from llmitm.canon.request import Message, Request, Sampling, Tool
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.openai_responses import DIALECT

BODY = (
    '{ "model" : "m", "input": [{"role":"user","content":"hi \\u00e9"},\n'
    ' {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"abc"},\n'
    ' {"type":"function_call","call_id":"c","name":"f","arguments":"{}"},\n'
    ' {"type":"function_call_output","call_id":"c","output":"42"}],\n'
    ' "tools":[{"type":"web_search"},{"type":"function","name":"f","parameters":{}}],\n'
    ' "reasoning":{"effort":"low"}, "text":{"verbosity":"low"}, "odd" : 1.0 }'
)


def patched(edit: Callable[[Request], Request], body: str = BODY) -> str | None:
    before = DIALECT.decode_request(body.encode())
    encoded = DIALECT.patch_request(body.encode(), before, edit(before), DEFAULT_FACTS)
    return None if encoded is None else encoded.body.decode()


def text_of_message(place: int, text: str) -> Callable[[Request], Request]:
    def edit(request: Request) -> Request:
        messages = list(request.messages)
        message = messages[place]
        part = message.parts[0]
        assert isinstance(part, Text)
        messages[place] = replace(message, parts=(replace(part, text=text),))
        return replace(request, messages=tuple(messages))

    return edit


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (lambda r: r, "", ""),
        (lambda r: replace(r, model="n"), '"m"', '"n"'),
        (text_of_message(0, "ho"), '"hi \\u00e9"', '"ho"'),
        (
            lambda r: replace(r, reasoning=replace(r.reasoning, effort="high")),
            '"low"}, "text"',
            '"high"}, "text"',
        ),
        (
            lambda r: replace(r, tools=r.tools[1:]),
            '{"type":"web_search"},',
            "",
        ),
        (
            lambda r: replace(r, messages=r.messages[1:]),
            '{"role":"user","content":"hi \\u00e9"},\n ',
            "",
        ),
    ],
)
def test_only_the_edit_changes(edit: Callable[[Request], Request], old: str, new: str) -> None:
    assert patched(edit) == BODY.replace(old, new, 1)


def test_additions() -> None:
    def edit(request: Request) -> Request:
        new = Message(role="developer", parts=(Text(text="note"),))
        return replace(
            request,
            sampling=Sampling(temperature=0.5, max_tokens=9),
            stream=True,
            messages=(*request.messages, new),
            tools=(*request.tools, Tool(name="g", parameters={"type": "object"})),
        )

    text = patched(edit)
    assert text is not None
    wire: Any = json.loads(text)
    assert (wire["temperature"], wire["max_output_tokens"], wire["stream"]) == (0.5, 9, True)
    assert wire["input"][-1]["role"] == "developer"
    assert wire["tools"][-1] == {
        "type": "function",
        "name": "g",
        "parameters": {"type": "object"},
        "strict": False,
    }
    after = DIALECT.decode_request(text.encode())
    assert after.messages[:-1] == DIALECT.decode_request(BODY.encode()).messages
    assert text.startswith(BODY[:200])


def test_a_string_input_is_set_in_its_place() -> None:
    body = '{"input":  "hi","model":"m"}'
    assert patched(text_of_message(0, "ho"), body) == '{"input":  "ho","model":"m"}'


def test_what_has_no_edit_is_left_to_the_encoder() -> None:
    def more(request: Request) -> Request:
        return replace(request, messages=(*request.messages, Message(role="user", parts=())))

    assert patched(more, '{"input":"hi","model":"m"}') is None
    assert patched(lambda r: replace(r, sampling=Sampling(top_k=3))) is None
    assert patched(lambda r: replace(r, extras={**r.extras, "text": {"verbosity": "high"}})) is None


@recordings.needs_corpus
def test_recorded_requests() -> None:
    def model(request: Request) -> Request:
        return replace(request, model="another")

    def temperature(request: Request) -> Request:
        return replace(request, sampling=replace(request.sampling, temperature=0.25))

    for exchange in recordings.load("openai-responses"):
        wire = exchange["request_json"]
        if wire is None:
            continue
        body = json.dumps(wire)
        assert patched(lambda r: r, body) == body
        assert json.loads(patched(model, body) or "") == {**wire, "model": "another"}
        assert json.loads(patched(temperature, body) or "") == {**wire, "temperature": 0.25}
        request = DIALECT.decode_request(body.encode())
        for place, message in enumerate(request.messages):
            match message.parts:
                case (Text(text=text),) if text and body.count(json.dumps(text)) == 1:
                    changed = patched(text_of_message(place, "NEW"), body)
                    assert changed == body.replace(json.dumps(text), '"NEW"')
                case _:
                    pass
