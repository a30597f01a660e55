"""Ollama and the other protocols: requests both ways, answers for an Ollama client, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.events import Fault, Finish, PartDelta, PartStart, Start, Usage
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, ToolResult
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
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.errors import ClientWireError

CHAT, GENERATE = DIALECTS["ollama_chat"], DIALECTS["ollama_generate"]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}
FULL: dict[str, Any] = {
    "model": "qwen3",
    "messages": [
        {"role": "system", "content": "s", "newer": 1},
        {"role": "user", "content": "look", "images": ["iVBORw0KGgoAAA", 5]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [
                {"id": "c", "function": {"index": 0, "name": "f", "arguments": {"a": 1}}},
                {"function": {"name": "g", "arguments": {}}},
                {"function": "odd"},
            ],
        },
        {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "c"},
        {"role": "tool", "content": "2", "tool_name": "g", "images": ["iVBORw0KGgoAAA"]},
        {"role": "assistant", "content": "done", "thinking": None, "tool_calls": []},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": SCHEMA, "newer": 1},
            "items": {},
        },
        {"type": "function", "function": {"name": "g"}},
        {"type": "odd"},
        5,
    ],
    "options": {
        "temperature": 0,
        "top_p": 0.5,
        "top_k": 3,
        "seed": 1,
        "num_predict": 9,
        "stop": ["x"],
        "frequency_penalty": 0.1,
        "presence_penalty": 0.2,
        "num_ctx": 4096,
        "min_p": 0.05,
    },
    "format": SCHEMA,
    "think": "high",
    "stream": False,
    "logprobs": True,
    "top_logprobs": 2,
    "keep_alive": "5m",
    "newer": {"a": 1},
}
HI = Message(role="user", parts=(Text(text="hi"),))


def asked(*messages: Message, **more: Any) -> Request:
    return Request(dialect="openai_chat", model="m", messages=messages, **more)


def sent(request: Request) -> tuple[Any, set[str]]:
    encoded = CHAT.encode_request(request, DEFAULT_FACTS)
    return json.loads(encoded.body), {loss.feature for loss in encoded.losses}


def test_everything_a_request_carries_is_kept() -> None:
    request = CHAT.decode_request(json.dumps(FULL).encode())
    encoded = CHAT.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == FULL
    assert encoded.losses == ()
    assert request.sampling == Sampling(
        temperature=0,
        top_p=0.5,
        top_k=3,
        seed=1,
        max_tokens=9,
        stop=("x",),
        frequency_penalty=0.1,
        presence_penalty=0.2,
        logprobs=True,
        top_logprobs=2,
    )
    assert request.reasoning == ReasoningConfig(effort="high")
    assert request.response_format == ResponseFormat(kind="json_schema", schema=SCHEMA)
    image = request.messages[1].parts[1]
    assert isinstance(image, Media)
    assert image.mime == "image/png"
    result = request.messages[3].parts[0]
    assert isinstance(result, ToolResult)
    assert (result.call_id, result.name) == ("c", "f")


@pytest.mark.parametrize(
    ("think", "config"),
    [(True, ReasoningConfig(mode="on")), (False, ReasoningConfig(mode="off")), ("odd", None)],
)
def test_think_is_kept(think: Any, config: ReasoningConfig | None) -> None:
    wire = {"model": "m", "messages": [], "stream": True, "think": think, "format": "json"}
    request = CHAT.decode_request(json.dumps(wire).encode())
    assert request.reasoning == config
    assert json.loads(CHAT.encode_request(request, DEFAULT_FACTS).body) == wire


def test_the_api_streams_unless_told_not_to() -> None:
    assert CHAT.decode_request(b'{"model":"m","messages":[]}').stream
    assert not CHAT.decode_request(b'{"model":"m","messages":[],"stream":false}').stream


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"no", ""),
        (b"[]", ""),
        (b'{"model":5}', "/model"),
        (b'{"messages":5}', "/messages"),
        (b'{"messages":[5]}', "/messages/0"),
        (b'{"messages":[{"role":"bot"}]}', "/messages/0/role"),
        (b'{"messages":[{"role":"user","content":[]}]}', "/messages/0/content"),
    ],
)
def test_a_wrong_shape_is_told_with_its_place(body: bytes, pointer: str) -> None:
    with pytest.raises(ClientWireError) as told:
        CHAT.decode_request(body)
    assert told.value.pointer == pointer


def test_a_request_of_another_protocol() -> None:
    request = asked(
        Message(role="user", parts=(Text(text="a"), Text(text="b"))),
        Message(role="assistant", parts=(ToolCall(id="c", name="f", arguments='{"a":1}'),)),
        Message(
            role="user",
            parts=(ToolResult(call_id="c", parts=(Text(text="1"),)), Text(text="and?")),
        ),
        instructions=(Text(text="be brief"),),
        tools=(Tool(name="f", parameters=SCHEMA),),
        sampling=Sampling(temperature=0.5, max_tokens=9, stop=("x",)),
        reasoning=ReasoningConfig(effort="low"),
        response_format=ResponseFormat(kind="json_object"),
    )
    body, lost = sent(request)
    assert lost == set()
    call = {"id": "c", "function": {"name": "f", "arguments": {"a": 1}}}
    assert body == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "a\nb"},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "c"},
            {"role": "user", "content": "and?"},
        ],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": SCHEMA}}],
        "stream": False,
        "options": {"temperature": 0.5, "num_predict": 9, "stop": ["x"]},
        "think": "low",
        "format": "json",
    }


TOOLS = (Tool(name="t"),)


@pytest.mark.parametrize(
    ("request_", "feature"),
    [
        (asked(HI, sampling=Sampling(n=2)), "sampling.n"),
        (asked(HI, parallel_tool_calls=False), "parallel_tool_calls"),
        (asked(HI, previous_response_id="r"), "previous_response_id"),
        (asked(HI, extras={"user": "u"}), "field"),
        (asked(HI, tools=TOOLS, tool_choice=ToolChoice(mode="required")), "tool_choice"),
        (asked(HI, tools=TOOLS, tool_choice=ToolChoice(mode="none")), "tool_choice"),
        (asked(HI, tools=(Tool(name="t", kind="server"),)), "tool.server"),
        (asked(HI, tools=(Tool(name="t", kind="custom"),)), "tool.custom"),
        (asked(HI, tools=(Tool(name="t", strict=True),)), "tool.strict"),
        (asked(HI, reasoning=ReasoningConfig(effort="xhigh")), "reasoning.effort"),
        (asked(HI, reasoning=ReasoningConfig(budget_tokens=9)), "reasoning.budget_tokens"),
        (asked(replace(HI, name="bob")), "message.name"),
        (asked(replace(HI, role="developer")), "message.role"),
        (asked(Message(role="user", parts=(Media(kind="image", url="https://x"),))), "part.image"),
        (asked(Message(role="user", parts=(Media(kind="audio", data="x"),))), "part.audio"),
        (asked(HI, Message(role="assistant", parts=(Refusal(text="r"),))), "part.refusal"),
        (
            asked(HI, Message(role="assistant", parts=(Reasoning(text="r", signature="s"),))),
            "part.reasoning.signature",
        ),
        (
            asked(
                HI, Message(role="assistant", parts=(ToolCall(id="", name="n", arguments="no"),))
            ),
            "tool_call.arguments",
        ),
    ],
)
def test_what_cannot_be_carried_is_told(request_: Request, feature: str) -> None:
    body, lost = sent(request_)
    assert feature in lost
    assert body["messages"]


def test_a_generate_call() -> None:
    wire = {
        "model": "m",
        "prompt": "hi",
        "suffix": "end",
        "system": "s",
        "images": ["iVBORw0KGgo"],
        "template": "{{ .Prompt }}",
        "context": [1, 2],
        "raw": True,
        "stream": True,
    }
    body = json.dumps(wire).encode()
    request = GENERATE.decode_request(body)
    assert json.loads(GENERATE.encode_request(request, DEFAULT_FACTS).body) == wire
    chat = json.loads(CHAT.encode_request(replace(request, extras={}), DEFAULT_FACTS).body)
    assert [message["role"] for message in chat["messages"]] == ["system", "user"]
    (message,) = request.messages
    more = replace(request, messages=(message, HI))
    assert GENERATE.patch_request(body, request, more, DEFAULT_FACTS) is None
    encoded = GENERATE.encode_request(more, DEFAULT_FACTS)
    assert json.loads(encoded.body)["prompt"] == "user: hi\n\nuser: hi"
    assert encoded.losses


ANSWER = Response(
    id="r",
    model="gpt",
    dialect="openai_chat",
    choices=(
        Choice(
            parts=(
                Reasoning(text="hm", dialect="openai_chat"),
                Text(text="hé"),
                ToolCall(id="c1", name="f", arguments='{"a":1}'),
                ToolCall(id="c2", name="g", arguments=""),
            ),
            finish=Finish("tool_calls", "tool_calls"),
        ),
    ),
    usage=Usage(input_tokens=10, output_tokens=4),
    ended=True,
)


@pytest.mark.parametrize("dialect", [CHAT, GENERATE], ids=["chat", "generate"])
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_another_protocol_for_an_ollama_client(dialect: Any, stream: bool) -> None:
    reply = Reply(model="asked", created_s=1_700_000_000)
    if stream:
        encoder = dialect.stream_encoder(reply)
        out = encoder.feed(unfold(ANSWER)) + encoder.close()
        lines = [json.loads(line) for line in out.splitlines()]
        assert {line["model"] for line in lines} == {"asked"}
        assert {line["created_at"] for line in lines} == {"2023-11-14T22:13:20Z"}
        assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
        losses = encoder.losses
    else:
        encoded = dialect.encode_response(ANSWER, reply)
        out, losses = encoded.body, list(encoded.losses)
    assert losses == []
    read = fold(dialect.decode_response(out))
    reasoning, text, first, second = read.choices[0].parts
    assert (reasoning.text, text.text) == ("hm", "hé")
    assert (first.id, first.name, first.arguments) == ("c1", "f", '{"a":1}')
    assert (second.id, second.arguments) == ("c2", "{}")
    assert read.choices[0].finish == Finish("tool_calls", "stop")
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens) == (10, 4)


def test_a_stream_that_breaks_off_still_ends_well() -> None:
    encoder = CHAT.stream_encoder(Reply(model="m"))
    out = encoder.feed([Start(dialect="openai_chat"), PartStart(0, Text(text=""))])
    out += encoder.feed([PartDelta(0, "text", "hi")]) + encoder.close()
    assert encoder.close() == b""
    assert encoder.feed([PartDelta(0, "text", "late")]) == b""
    assert json.loads(out.splitlines()[-1])["done_reason"] == "stop"


def test_a_heartbeat_adds_no_text() -> None:
    beat = CHAT.stream_encoder(Reply(model="m")).heartbeat()
    assert json.loads(beat)["message"] == {"role": "assistant", "content": ""}
    assert not fold(CHAT.decode_response(beat)).choices


@pytest.mark.parametrize("kind", ["not_found", "rate_limit", "context_length", "overloaded"])
def test_a_fault_is_an_error_line(kind: Any) -> None:
    words = {"not_found": "model 'x' not found", "overloaded": "server busy"}
    fault = Fault(kind=kind, message=words.get(kind, "too many requests"))
    encoder = CHAT.stream_encoder(Reply())
    line = encoder.feed([Start(), fault, PartDelta(0, "text", "never")])
    assert encoder.close() == b""
    assert line == CHAT.encode_error(fault) + b"\n"
    told = fold(CHAT.decode_response(line)).fault
    assert told is not None
    assert told.kind == kind
    assert fault.message in told.message


@pytest.mark.parametrize("target", ["openai_chat", "anthropic_messages", "gemini_generate"])
def test_a_chat_request_goes_to_other_protocols(target: str) -> None:
    request = CHAT.decode_request(json.dumps(FULL).encode())
    encoded = DIALECTS[target].encode_request(request, DEFAULT_FACTS)
    again = DIALECTS[target].decode_request(encoded.body)
    results = [p for m in again.messages for p in m.parts if isinstance(p, ToolResult)]
    calls = [p for m in again.messages for p in m.parts if isinstance(p, ToolCall)]
    assert [call.name for call in calls] == ["f", "g"]
    assert len(results) == 2
    if target != "gemini_generate":
        assert [result.call_id for result in results] == [call.id for call in calls]
