"""Chat requests: what is refused, what stays, and how other protocols' requests are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request, Sampling, Tool, ToolChoice
from llmitm.canon.values import DEFAULT_FACTS, Facts
from llmitm.dialects.openai_chat import DIALECT
from llmitm.errors import ClientWireError


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"\xff{}", ""),
        (b"[" * 100_000, ""),
        (b"{}", "/messages"),
        (b'{"messages":{}}', "/messages"),
        (b'{"messages":[1]}', "/messages/0"),
        (b'{"messages":[{}]}', "/messages/0/role"),
        (b'{"messages":[],"model":1}', "/model"),
        (b'{"messages":[],"stream":"yes"}', "/stream"),
        (b'{"messages":[],"tools":{}}', "/tools"),
    ],
)
def test_wrong_shapes_are_refused_with_their_place(body: bytes, pointer: str) -> None:
    with pytest.raises(ClientWireError) as caught:
        DIALECT.decode_request(body)
    assert caught.value.pointer == pointer


@pytest.mark.parametrize("lead", [b"", b"\xef\xbb\xbf", b" \n\t", b"\xef\xbb\xbf\n"])
def test_what_stands_before_the_json_is_no_matter(lead: bytes) -> None:
    assert DIALECT.decode_request(lead + b'{"model":"m","messages":[]}').model == "m"


def encoded(request: Request, facts: Facts = DEFAULT_FACTS) -> tuple[Any, set[str]]:
    done = DIALECT.encode_request(request, facts)
    return json.loads(done.body), {loss.feature for loss in done.losses}


def foreign(*messages: Message, **more: Any) -> Request:
    return Request(dialect="anthropic_messages", model="m", messages=messages, **more)


def user(*parts: Part) -> Message:
    return Message(role="user", parts=parts)


def assistant(*parts: Part) -> Message:
    return Message(role="assistant", parts=parts)


@pytest.mark.parametrize(
    ("stream", "asked", "understood", "expected"),
    [
        (True, None, True, {"include_usage": True}),
        (True, False, True, {"include_usage": False}),
        (True, None, False, None),
        (False, None, True, None),
    ],
)
def test_a_foreign_stream_asks_for_usage(
    stream: bool, asked: bool | None, understood: bool, expected: Any
) -> None:
    wire, _ = encoded(
        foreign(user(Text(text="x")), stream=stream, stream_usage=asked),
        Facts(stream_usage=understood),
    )
    assert wire.get("stream_options") == expected


def test_a_foreign_conversation() -> None:
    request = foreign(
        user(Text(text="look"), Media(kind="image", mime="image/png", data="QQ==")),
        assistant(
            Reasoning(text="hm", signature="s", dialect="anthropic_messages"),
            Text(text="I call"),
            ToolCall(id="t", name="f", arguments=""),
        ),
        user(
            ToolResult(
                call_id="t",
                error=True,
                parts=(Text(text="42"), Media(kind="image", url="http://x/a.png")),
            ),
            Text(text="and?"),
        ),
        instructions=(Text(text="a"), Text(text="b")),
        tools=(Tool(name="f", parameters={"type": "object"}),),
        tool_choice=ToolChoice(mode="named", names=("f",)),
        sampling=Sampling(max_tokens=5, stop=("z",)),
    )
    wire, losses = encoded(request, Facts(max_tokens_field="max_completion_tokens"))
    assert [message["role"] for message in wire["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "user",
        "user",
    ]
    system, first, said, result, media, last = wire["messages"]
    assert system["content"] == "a\n\nb"
    assert first["content"][1]["image_url"]["url"] == "data:image/png;base64,QQ=="
    assert (said["content"], said["reasoning_content"]) == ("I call", "hm")
    assert said["tool_calls"][0]["function"] == {"name": "f", "arguments": "{}"}
    assert (result["tool_call_id"], result["content"]) == ("t", "42")
    assert media["content"] == [{"type": "image_url", "image_url": {"url": "http://x/a.png"}}]
    assert last["content"] == "and?"
    assert wire["tool_choice"] == {"type": "function", "function": {"name": "f"}}
    assert (wire["max_completion_tokens"], wire["stop"]) == (5, ["z"])
    assert losses == {"part.reasoning.signature", "tool_result.error", "tool_result.media"}


def test_calls_without_ids_find_their_results() -> None:
    wire, _ = encoded(
        foreign(
            assistant(
                ToolCall(id="", name="f", arguments="{}"), ToolCall(id="", name="g", arguments="{}")
            ),
            user(
                ToolResult(call_id="", name="g", parts=(Text(text="G"),)),
                ToolResult(call_id="", name="f", parts=(Text(text="F"),)),
            ),
        )
    )
    said, *results = wire["messages"]
    names = {call["id"]: call["function"]["name"] for call in said["tool_calls"]}
    assert [(names[r["tool_call_id"]], r["content"]) for r in results] == [("g", "G"), ("f", "F")]


def test_the_same_request_gives_the_same_bytes() -> None:
    body = b'{"model":"m","messages":[{"role":"user","content":"\\ud83d x"}],"z":1,"a":[2]}'
    request = DIALECT.decode_request(body)
    first = DIALECT.encode_request(request, DEFAULT_FACTS).body
    assert DIALECT.encode_request(request, DEFAULT_FACTS).body == first
    assert json.loads(first) == json.loads(body)


@pytest.mark.parametrize("entry", [1, "x", None, [], [{}]])
def test_a_tool_that_is_no_object_is_not_lost_silently(entry: Any) -> None:
    body = json.dumps({"messages": [], "tools": [entry, {"type": "web_search"}]})
    wire, losses = encoded(DIALECT.decode_request(body.encode()))
    assert wire["tools"] == [{"type": "web_search"}]
    assert losses == {"tool.server"}
