"""Whatever texts a request holds, its document is that request again, and so are its edits."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.canon.response import Choice, Response
from llmitm.desk.documents import (
    read_request,
    read_response,
    request_document,
    response_document,
)
from llmitm.desk.request_document import written_request
from llmitm.ruleset.yaml_text import Block, yaml_text

TEXTS = st.text(
    st.sampled_from(
        list(" \t\n\r\x00\x1b\x85\u2028\ufeff\ud83d\ude00\U0001f600é:#-|>\"'\\&*!%{}[]x1")
    )
    | st.characters(codec=None),
    max_size=30,
) | st.sampled_from(["# llmitm", "- message: 1\n", "null", "message: 2", "---\n", "a\n" * 50])
JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = JSON.map(json.dumps) | TEXTS
SIMPLE: Any = (
    st.builds(Text, text=TEXTS, signature=st.none() | TEXTS)
    | st.builds(Media, kind=st.just("image"), url=TEXTS)
    | st.builds(Media, kind=st.just("image"), data=TEXTS, mime=TEXTS)
    | st.builds(Media, kind=st.just("document"), text=TEXTS, name=st.none() | TEXTS)
    | st.builds(Unknown, dialect=st.just("x"), kind=TEXTS, value=JSON)
)
PARTS: Any = (
    SIMPLE
    | st.builds(ToolCall, id=TEXTS, name=TEXTS.filter(bool), arguments=ARGUMENTS)
    | st.builds(
        ToolCall, id=TEXTS, name=TEXTS.filter(bool), arguments=TEXTS, kind=st.just("custom")
    )
    | st.builds(
        ToolResult,
        call_id=TEXTS,
        parts=st.lists(SIMPLE, max_size=2).map(tuple),
        name=st.none() | TEXTS,
        error=st.none() | st.booleans(),
        value=st.none() | JSON,
    )
    | st.builds(Reasoning, text=TEXTS, signature=st.none() | TEXTS, encrypted=st.none() | TEXTS)
    | st.builds(Refusal, text=TEXTS)
)
MANY = st.lists(PARTS, max_size=3).map(tuple)
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
REQUESTS = st.builds(
    Request,
    dialect=st.just("openai_chat"),
    model=TEXTS,
    messages=st.lists(
        st.builds(
            Message,
            role=st.sampled_from(["system", "user", "assistant", "tool"]),
            parts=MANY,
            name=st.none() | TEXTS,
        ),
        max_size=4,
    ).map(tuple),
    instructions=MANY,
    tools=st.lists(st.builds(Tool, name=TEXTS, description=st.none() | TEXTS), max_size=3).map(
        tuple
    ),
    tool_choice=st.none()
    | st.builds(ToolChoice, mode=st.just("named"), names=TEXTS.map(lambda name: (name,))),
    sampling=st.builds(
        Sampling,
        temperature=NUMBERS,
        seed=st.none() | st.integers(),
        stop=st.lists(TEXTS, max_size=2).map(tuple),
    ),
    reasoning=st.none() | st.builds(ReasoningConfig, mode=st.just("on"), effort=TEXTS),
    response_format=st.none()
    | st.builds(ResponseFormat, kind=st.just("json_schema"), schema=JSON, name=TEXTS),
    verbosity=st.none() | TEXTS,
    extras=st.dictionaries(TEXTS, JSON, max_size=2),
)


@settings(max_examples=150, deadline=None)
@given(REQUESTS)
def test_any_request_comes_back(request: Request) -> None:
    assert read_request(request_document(request), request) is request


@settings(max_examples=100, deadline=None)
@given(MANY, MANY)
def test_any_answer_comes_back(one: tuple[Part, ...], two: tuple[Part, ...]) -> None:
    alone = Response(choices=(Choice(parts=one),))
    assert read_response(response_document(alone), alone) is alone
    both = Response(choices=(Choice(parts=one), Choice(index=1, parts=two)))
    assert read_response(response_document(both), both) is both


@settings(max_examples=100, deadline=None)
@given(REQUESTS, TEXTS)
def test_any_text_can_be_written_into_it(request: Request, text: str) -> None:
    written: Any = written_request(request)
    written["messages"].append({"role": "user", "text": Block(text)})
    after = read_request(yaml_text(written), request)
    new = Message(role="user", parts=(Text(text=text),))
    assert after == replace(request, messages=(*request.messages, new))
