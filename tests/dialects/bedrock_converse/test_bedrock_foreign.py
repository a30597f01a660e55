"""Bedrock and the other protocols: requests both ways, answers for a Bedrock client, errors."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from dialects.bedrock_converse.material import CONVERSE, INVOKE, events_of, frames_of, streamed
from llmitm.canon.events import (
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
    Usage,
)
from llmitm.canon.fold import fold, unfold
from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
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
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE, EventStreamSplitter
from llmitm.errors import ClientWireError

EVERY_BLOCK: list[Any] = [
    {"text": "t"},
    {"image": {"format": "png", "source": {"bytes": "aGk="}}},
    {"image": {"format": "heic", "source": {"bytes": "aGk="}}},
    {
        "image": {
            "format": "jpeg",
            "source": {"s3Location": {"uri": "s3://b/k", "bucketOwner": "1"}},
        }
    },
    {"document": {"format": "pdf", "name": "d", "source": {"bytes": "aGk="}, "context": "c"}},
    {"document": {"name": "d", "source": {"content": [{"text": "a"}, {"text": "b"}]}}},
    {"document": {"format": "txt", "name": "d", "source": {"text": "plain"}}},
    {"video": {"format": "three_gp", "source": {"bytes": "aGk="}}},
    {"audio": {"format": "wav", "source": {"bytes": "aGk="}}},
    {"toolUse": {"toolUseId": "i", "name": "n", "input": {"a": [1]}}},
    {"toolUse": {"toolUseId": "i", "name": "n", "input": "text", "type": "server_tool_use"}},
    {
        "toolResult": {
            "toolUseId": "i",
            "status": "error",
            "content": [{"json": {"a": 1.0}}, {"text": "x"}, {"video": {}}],
        }
    },
    {"toolResult": {"toolUseId": "i", "content": []}},
    {"guardContent": {"text": {"text": "g", "qualifiers": ["query"]}}},
    {"guardContent": {"image": {"format": "png", "source": {"bytes": "aGk="}}}},
    {"cachePoint": {"type": "default", "ttl": "1h"}},
    {"reasoningContent": {"reasoningText": {"text": "r", "signature": "s"}}},
    {"reasoningContent": {"reasoningText": {"text": "r"}}},
    {"reasoningContent": {"redactedContent": "aGk="}},
    {"citationsContent": {"content": [{"text": "c"}], "citations": [{"title": "t"}]}},
    {"citationsContent": {"content": [{"text": "c"}, {"text": "d"}], "citations": []}},
    {"searchResult": {"source": "s", "title": "t", "content": [{"text": "x"}]}},
    {"text": 5},
    {},
    {"text": "a", "extra": 1},
    7,
]
FULL: dict[str, Any] = {
    "messages": [{"role": "user", "content": EVERY_BLOCK}, {"role": "assistant", "content": []}],
    "system": [{"text": "s"}, {"cachePoint": {"type": "default"}}, {"guardContent": {}}],
    "inferenceConfig": {
        "maxTokens": 5,
        "temperature": 1,
        "topP": 0.5,
        "stopSequences": ["x"],
        "newer": 1,
    },
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": "n",
                    "description": "d",
                    "inputSchema": {"json": {"type": "object"}},
                    "strict": True,
                    "newer": 1,
                }
            },
            {"toolSpec": {"name": "bare"}},
            {"toolSpec": {"name": "odd", "inputSchema": {"yaml": 1}}},
            {"cachePoint": {"type": "default"}},
            {"systemTool": {"name": "nova_grounding"}},
            5,
        ],
        "toolChoice": {"tool": {"name": "n"}},
        "newer": 1,
    },
    "additionalModelRequestFields": {
        "thinking": {"type": "enabled", "budget_tokens": 1024, "x": 1},
        "top_k": 3,
        "y": 2,
    },
    "guardrailConfig": {"guardrailIdentifier": "g", "guardrailVersion": "1", "trace": "enabled"},
    "additionalModelResponseFieldPaths": ["/a"],
    "requestMetadata": {"k": "v"},
    "performanceConfig": {"latency": "optimized"},
    "serviceTier": {"type": "priority"},
    "promptVariables": {"v": {"text": "t"}},
}


def sent(request: Request) -> tuple[Any, set[str]]:
    """(the body, the features lost) of a request of another protocol."""
    encoded = CONVERSE.encode_request(request, DEFAULT_FACTS)
    return json.loads(encoded.body), {loss.feature for loss in encoded.losses}


def asked(*messages: Message, **more: Any) -> Request:
    return Request(dialect="openai_chat", model="m", messages=messages, **more)


def test_everything_a_request_carries_is_kept() -> None:
    request = CONVERSE.decode_request(json.dumps(FULL).encode())
    encoded = CONVERSE.encode_request(request, DEFAULT_FACTS)
    assert json.loads(encoded.body) == FULL
    assert encoded.losses == ()


def test_parts_say_what_they_are() -> None:
    parts = CONVERSE.decode_request(json.dumps(FULL).encode()).messages[0].parts
    kinds = [getattr(part, "kind", type(part).__name__) for part in parts]
    assert kinds[:9] == [
        *("Text", "image", "image", "image", "document", "document", "document"),
        *("video", "audio"),
    ]
    assert parts[3].file_id == "s3://b/k"
    assert parts[5].text == "a\nb"
    assert isinstance(parts[9], ToolCall)
    assert isinstance(parts[10], Unknown), "a tool that the provider runs is nobody else's call"
    assert parts[11].error is True
    assert [part.text for part in parts[11].parts[:2]] == ['{"a":1.0}', "x"]
    assert parts[13].text == "g"
    assert parts[16].signature == "s"
    assert parts[18].encrypted == "aGk="
    assert parts[19].annotations == ({"title": "t"},)


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        (b"no", ""),
        (b"[]", ""),
        (b"{}", "/messages"),
        (b'{"messages":[5]}', "/messages/0"),
        (b'{"messages":[{"role":"tool","content":[]}]}', "/messages/0/role"),
        (b'{"messages":[{"role":"user","content":"x"}]}', "/messages/0/content"),
    ],
)
def test_a_wrong_shape_is_told_with_its_place(body: bytes, pointer: str) -> None:
    with pytest.raises(ClientWireError) as told:
        CONVERSE.decode_request(body)
    assert told.value.pointer == pointer


def test_a_request_of_another_protocol() -> None:
    call = ToolCall(id="c", name="f", arguments='{"a":1}')
    request = asked(
        Message(role="system", parts=(Text(text="be brief"),)),
        Message(
            role="user", parts=(Text(text="hi"), Media(kind="image", mime="image/png", data="a"))
        ),
        Message(role="assistant", parts=(Text(text="ok"), call)),
        Message(role="tool", parts=(ToolResult(call_id="c", parts=(Text(text="1"),), error=True),)),
        Message(role="user", parts=(Text(text="and?"),)),
        tools=(Tool(name="f", description="d", parameters={"type": "object"}),),
        tool_choice=ToolChoice(mode="required"),
        sampling=Sampling(temperature=0.5, max_tokens=9, stop=("x",)),
    )
    body, lost = sent(request)
    assert lost == set()
    assert body == {
        "messages": [
            {
                "role": "user",
                "content": [{"text": "hi"}, {"image": {"format": "png", "source": {"bytes": "a"}}}],
            },
            {
                "role": "assistant",
                "content": [
                    {"text": "ok"},
                    {"toolUse": {"toolUseId": "c", "name": "f", "input": {"a": 1}}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "toolResult": {
                            "toolUseId": "c",
                            "content": [{"text": "1"}],
                            "status": "error",
                        }
                    },
                    {"text": "and?"},
                ],
            },
        ],
        "system": [{"text": "be brief"}],
        "inferenceConfig": {"temperature": 0.5, "maxTokens": 9, "stopSequences": ["x"]},
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "f",
                        "description": "d",
                        "inputSchema": {"json": {"type": "object"}},
                    }
                }
            ],
            "toolChoice": {"any": {}},
        },
    }


HI = Message(role="user", parts=(Text(text="hi"),))


@pytest.mark.parametrize(
    ("request_", "feature"),
    [
        (asked(HI, sampling=Sampling(seed=1)), "sampling.seed"),
        (asked(HI, sampling=Sampling(n=2)), "sampling.n"),
        (asked(HI, sampling=Sampling(top_k=2)), "sampling.top_k"),
        (asked(HI, sampling=Sampling(logprobs=True)), "sampling.logprobs"),
        (asked(HI, sampling=Sampling(temperature=1.5)), "sampling.temperature"),
        (asked(HI, parallel_tool_calls=False), "parallel_tool_calls"),
        (asked(HI, response_format=ResponseFormat(kind="json_object")), "response_format"),
        (asked(HI, previous_response_id="r"), "previous_response_id"),
        (asked(HI, extras={"user": "u"}), "field"),
        (asked(HI, reasoning=ReasoningConfig(effort="high")), "reasoning.effort"),
        (asked(HI, tools=(Tool(name="t", kind="server"),)), "tool.server"),
        (asked(HI, tools=(Tool(name="t", kind="custom"),)), "tool.custom"),
        (asked(replace(HI, name="bob")), "message.name"),
        (asked(HI, Message(role="system", parts=(Text(text="x"),))), "message.role"),
        (asked(Message(role="assistant", parts=(Text(text="x"),))), "message.role"),
        (asked(Message(role="system", parts=(Text(text="x"),))), "message.role"),
        (asked(Message(role="user", parts=(Media(kind="image", url="https://x"),))), "part.image"),
        (asked(HI, Message(role="assistant", parts=(Reasoning(text="r"),))), "part.reasoning"),
        (asked(HI, Message(role="assistant", parts=(Refusal(text="r"),))), "part.refusal"),
    ],
)
def test_what_cannot_be_carried_is_told(request_: Request, feature: str) -> None:
    body, lost = sent(request_)
    assert feature in lost
    assert body["messages"][0]["role"] == "user"


def test_thinking_leaves_room_for_the_answer() -> None:
    request = replace(
        asked(
            HI, reasoning=ReasoningConfig(budget_tokens=9000), sampling=Sampling(max_tokens=4000)
        ),
        model="anthropic.claude-opus-4-6",
    )
    body, _ = sent(request)
    assert body["additionalModelRequestFields"]["thinking"]["budget_tokens"] == 2000
    assert body["inferenceConfig"]["maxTokens"] == 4000


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
                ToolCall(id="", name="g", arguments=""),
            ),
            finish=Finish("stop", "stop"),
        ),
    ),
    usage=Usage(input_tokens=10, output_tokens=4, cache_read_tokens=6),
    ended=True,
)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_of_another_protocol_for_a_bedrock_client(stream: bool) -> None:
    if stream:
        encoder = CONVERSE.stream_encoder(Reply(model="m"))
        out = encoder.feed(unfold(ANSWER)) + encoder.close()
        splitter = EventStreamSplitter()
        names = [frame.headers[":event-type"] for frame in splitter.feed(out)]
        assert splitter.close() == []
        assert (names[0], names[-2:]) == ("messageStart", ["messageStop", "metadata"])
        read, losses = streamed(out), encoder.losses
    else:
        encoded = CONVERSE.encode_response(ANSWER, Reply(model="m"))
        read, losses = fold(CONVERSE.decode_response(encoded.body)), list(encoded.losses)
    assert losses == []
    reasoning, text, first, second = read.choices[0].parts
    assert (reasoning.text, text.text) == ("hm", "hé")
    assert (first.id, first.name, json.loads(first.arguments)) == ("c1", "f", {"a": 1})
    assert second.id
    assert read.choices[0].finish == Finish("tool_calls", "tool_use")
    assert read.usage is not None
    assert (read.usage.input_tokens, read.usage.output_tokens) == (10, 4)
    assert read.usage.cache_read_tokens == 6


def test_a_stream_that_breaks_off_still_ends_well() -> None:
    encoder = CONVERSE.stream_encoder(Reply())
    out = encoder.feed([Start(dialect="openai_chat"), PartStart(0, Text(text=""))])
    out += encoder.feed([PartDelta(0, "text", "hi")]) + encoder.close()
    assert encoder.close() == b""
    assert encoder.feed([PartEnd(0)]) == b""
    read = streamed(out)
    assert read.ended
    assert read.choices[0].finish == Finish("stop", "end_turn")


def test_a_heartbeat_says_nothing() -> None:
    for dialect in (CONVERSE, INVOKE):
        beat = dialect.stream_encoder(Reply()).heartbeat()
        assert EventStreamSplitter().feed(beat)[0].intact
        assert not fold(events_of(frames_of(dialect.stream_decoder(MEDIA_TYPE), beat))).choices


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (Fault(kind="rate_limit", message="slow", retry_after_s=3), "throttlingException"),
        (Fault(kind="server", message="oh"), "internalServerException"),
        (Fault(kind="context_length", message="oh"), "validationException"),
    ],
)
@pytest.mark.parametrize("dialect", [CONVERSE, INVOKE], ids=["converse", "invoke"])
def test_a_fault_ends_a_stream_as_an_exception(fault: Fault, word: str, dialect: Any) -> None:
    encoder = dialect.stream_encoder(Reply())
    start = Start(dialect="openai_chat"), PartStart(0, Text(text=""))
    out = encoder.feed([*start, fault, PartDelta(0, "text", "never")])
    assert encoder.close() == b""
    last = EventStreamSplitter().feed(out)[-1]
    assert (last.headers[":message-type"], last.headers[":exception-type"]) == ("exception", word)
    told = fold(events_of(frames_of(dialect.stream_decoder(MEDIA_TYPE), out))).fault
    assert told is not None
    assert told.kind == fault.kind
    assert fault.message in told.message


@pytest.mark.parametrize("kind", ["rate_limit", "permission", "authentication", "context_length"])
def test_an_error_body_is_understood_again(kind: Any) -> None:
    body = CONVERSE.encode_error(Fault(kind=kind, message="because"))
    told = fold(CONVERSE.decode_response(body)).fault
    assert told is not None
    assert told.kind == kind
    assert "because" in told.message
    assert CONVERSE.encode_error(told) == body


def test_a_signature_goes_back_to_bedrock_alone() -> None:
    details = PartDetail(index=0, signature="s")
    events = [
        Start(dialect="bedrock_converse"),
        PartStart(0, Reasoning(dialect="bedrock_converse")),
    ]
    encoder = CONVERSE.stream_encoder(Reply())
    read = streamed(encoder.feed([*events, details]) + encoder.close())
    assert read.choices[0].parts[0].signature == "s"
    stranger = CONVERSE.stream_encoder(Reply())
    stranger.feed([Start(dialect="anthropic_messages"), PartStart(0, Reasoning()), details])
    assert [loss.feature for loss in stranger.losses] == ["part.reasoning.signature"]


@pytest.mark.parametrize("target", ["openai_chat", "anthropic_messages", "gemini_generate"])
def test_a_converse_request_goes_to_other_protocols(target: str) -> None:
    request = replace(CONVERSE.decode_request(json.dumps(FULL).encode()), model="m")
    encoded = DIALECTS[target].encode_request(request, DEFAULT_FACTS)
    again = DIALECTS[target].decode_request(encoded.body)
    said = json.dumps(json.loads(encoded.body))
    assert again.messages
    assert '"g"' in said, "text under a guardrail is text"
    assert {"part.unknown", "field"} <= {loss.feature for loss in encoded.losses}
