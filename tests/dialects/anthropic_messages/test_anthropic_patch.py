"""Edited requests keep their bytes: only what was touched changes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

import recordings
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message, ReasoningConfig, Request, ResponseFormat, Tool, ToolChoice
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.anthropic_messages import DIALECT

BODY = (
    b'{ "zzz": 1, "model":"old",  "max_tokens": 10,\n "system": "sys", "stream": false,'
    b' "thinking": {"type": "enabled", "budget_tokens": 2000}, "output_config": {"x": 1},'
    b' "tools": [{"name": "a", "input_schema": {"type": "object"}}],'
    b' "messages": [ {"role": "user", "content": "one"},'
    b' {"role": "assistant", "content": [{"type": "text", "text": "tw\\u006f"},'
    b' {"type": "tool_use", "id": "t", "name": "a", "input": {}}]} ] }'
)


def patched(body: bytes, after: Request) -> bytes:
    before = DIALECT.decode_request(body)
    done = DIALECT.patch_request(body, before, after, DEFAULT_FACTS)
    assert done is not None
    assert done.losses == ()
    assert DIALECT.decode_request(done.body) == after
    return done.body


def common(old: bytes, new: bytes) -> int:
    """How many bytes both begin with."""
    count = 0
    for one, other in zip(old, new, strict=False):
        if one != other:
            break
        count += 1
    return count


def difference(old: bytes, new: bytes) -> tuple[bytes, bytes]:
    """What stands between the longest common beginning and end."""
    head = common(old, new)
    tail = common(old[head:][::-1], new[head:][::-1])
    return old[head : len(old) - tail], new[head : len(new) - tail]


EDITS: list[tuple[dict[str, Any], bytes, bytes]] = [
    ({"model": "new"}, b'"model":"old"', b'"model":"new"'),
    ({"stream": True}, b'"stream": false', b'"stream": true'),
    ({"instructions": (Text(text="SYS", at=("system",)),)}, b'"system": "sys"', b'"system": "SYS"'),
    (
        {"reasoning": ReasoningConfig(mode="on", budget_tokens=3000)},
        b'{"type": "enabled", "budget_tokens": 2000}',
        b'{"type":"enabled","budget_tokens":3000}',
    ),
    (
        {"reasoning": ReasoningConfig(mode="on", budget_tokens=2000, effort="low")},
        b'{"x": 1}',
        b'{"x": 1,"effort":"low"}',
    ),
]


@pytest.mark.parametrize(("change", "old", "new"), EDITS)
def test_a_scalar_changes_alone(change: dict[str, Any], old: bytes, new: bytes) -> None:
    after = replace(DIALECT.decode_request(BODY), **change)
    body = patched(BODY, after)
    # White space around an added key is the splicer's own affair.
    assert json.loads(body) == json.loads(BODY.replace(old, new))
    head = BODY.index(old)
    assert body[:head] == BODY[:head]
    tail = len(BODY) - head - len(old)
    assert body[len(body) - tail :] == BODY[len(BODY) - tail :]


def test_parts_messages_and_tools() -> None:
    before = DIALECT.decode_request(BODY)
    first, second = before.messages
    text, call = second.parts
    assert isinstance(text, Text)
    assert isinstance(call, ToolCall)
    edited = replace(second, parts=(replace(text, text="2"), replace(call, arguments='{"a":1}')))
    put_in = Message(role="user", parts=(Text(text="x"),))
    tool = Tool(name="b", parameters={"type": "object"}, strict=True)
    after = replace(
        before,
        messages=(first, edited, put_in),
        tools=(*before.tools, tool),
        tool_choice=ToolChoice(mode="required"),
        parallel_tool_calls=False,
        response_format=ResponseFormat(kind="json_schema", schema={"type": "object"}),
        sampling=replace(before.sampling, temperature=0.5, stop=("END",), max_tokens=None),
        reasoning=None,
    )
    body = patched(BODY, after)
    wire = json.loads(body)
    assert body.startswith(b'{ "zzz": 1, "model":"old",')
    assert wire["messages"][1]["content"] == [
        {"type": "text", "text": "2"},
        {"type": "tool_use", "id": "t", "name": "a", "input": {"a": 1}},
    ]
    assert wire["messages"][2] == {"role": "user", "content": [{"type": "text", "text": "x"}]}
    assert wire["tools"][1] == {"name": "b", "input_schema": {"type": "object"}, "strict": True}
    assert wire["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
    assert wire["output_config"] == {
        "x": 1,
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }
    assert (wire["temperature"], wire["stop_sequences"]) == (0.5, ["END"])
    assert "max_tokens" not in wire
    assert "thinking" not in wire


def test_what_cannot_be_patched_is_said() -> None:
    before = DIALECT.decode_request(BODY)
    seeded = replace(before, sampling=replace(before.sampling, seed=1))
    assert DIALECT.patch_request(BODY, before, seeded, DEFAULT_FACTS) is None
    moved = replace(before, extras={**before.extras, "output_config": {"x": 2}})
    assert DIALECT.patch_request(BODY, before, moved, DEFAULT_FACTS) is None


def test_the_older_place_of_the_format_is_kept() -> None:
    body = b'{"messages": [], "output_format": {"type": "json_schema", "schema": {"a": 1}}}'
    before = DIALECT.decode_request(body)
    form = before.response_format
    assert form is not None
    after = replace(before, response_format=replace(form, schema={"b": 2}))
    assert json.loads(patched(body, after)) == {
        "messages": [],
        "output_format": {"type": "json_schema", "schema": {"b": 2}},
    }


@recordings.needs_corpus
def test_every_recorded_request_changes_only_where_it_was_touched() -> None:
    for exchange in recordings.load("anthropic-messages"):
        wire = exchange["request_json"]
        if not isinstance(wire, dict) or not wire["messages"]:
            continue
        body = json.dumps(wire).encode()
        before = DIALECT.decode_request(body)
        same = DIALECT.patch_request(body, before, before, DEFAULT_FACTS)
        assert same is not None
        assert same.body == body
        assert before.sampling.max_tokens is not None
        sampling = replace(before.sampling, max_tokens=123_457)
        old, new = body, patched(body, replace(before, sampling=sampling))
        assert json.loads(new) == {**wire, "max_tokens": 123_457}
        assert new.replace(b'"max_tokens": 123457', b"@") == old.replace(
            b'"max_tokens": %d' % before.sampling.max_tokens, b"@"
        )
        if before.model:
            new = patched(body, replace(before, model="other"))
            assert json.loads(new) == {**wire, "model": "other"}
        texts = [
            (place, spot, part)
            for place, message in enumerate(before.messages)
            for spot, part in enumerate(message.parts)
            if isinstance(part, Text)
        ]
        if not texts:
            continue
        place, spot, part = texts[0]
        parts = list(before.messages[place].parts)
        parts[spot] = replace(part, text="EDITED")
        messages = list(before.messages)
        messages[place] = replace(messages[place], parts=tuple(parts))
        new = patched(body, replace(before, messages=tuple(messages)))
        gone, come = difference(body, new)
        assert gone in json.dumps(part.text).encode()
        assert come in b'"EDITED"'
