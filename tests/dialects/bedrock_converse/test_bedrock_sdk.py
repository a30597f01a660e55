"""The official Python SDK reads what we write, and we what it asks: streams, bodies, errors."""

from __future__ import annotations

import base64
import functools
import io
import json
from typing import Any

import boto3
import pytest
import urllib3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

import recordings
from dialects.corpus import own_answers, own_requests
from dialects.native_answers import answers, expected, streamed, whole
from dialects.pairs import NAMES, REPLY, answers_of
from llmitm.canon.events import Event, Fault, PartDelta, PartStart, Start
from llmitm.canon.parts import Media, Text, ToolCall, ToolResult
from llmitm.canon.statuses import STATUS_BY_KIND
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.framing_aws_eventstream import MEDIA_TYPE

EVERY = 5
CLAUDE = "anthropic.claude-sonnet-4-5-20250929-v1:0"
ASK: dict[str, Any] = {
    "modelId": CLAUDE,
    "messages": [{"role": "user", "content": [{"text": "hi"}]}],
}
WORDS = {
    "stop": "end_turn",
    "stop_sequence": "stop_sequence",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "content_filtered",
    "refusal": "content_filtered",
    "pause": "end_turn",
    "error": "malformed_model_output",
}


class Server:
    """What is answered instead of the network, and the last request."""

    status, body = 200, b""
    asked = b""
    path = ""

    def reply(self, request: AWSPreparedRequest, **kwargs: Any) -> AWSResponse:
        asked: Any = request.body
        self.asked, self.path = asked, request.url
        binary = self.status == 200 and "stream" in request.url
        media = {"content-type": MEDIA_TYPE if binary else "application/json"}
        raw = urllib3.HTTPResponse(io.BytesIO(self.body), media, self.status, preload_content=False)
        return AWSResponse(request.url, self.status, raw.headers, raw)


@functools.cache
def made() -> tuple[Server, Any]:
    server = Server()
    sdk = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        aws_access_key_id="k",
        aws_secret_access_key="s",
        config=Config(retries={"total_max_attempts": 1}),
    )
    sdk.meta.events.register("before-send.bedrock-runtime", server.reply)
    return server, sdk


def client(body: bytes, status: int = 200) -> Any:
    server, sdk = made()
    server.body, server.status = body, status
    return sdk


def counted(usage: dict[str, int]) -> tuple[int, int]:
    """Prompt and answer; this API counts what the cache had beside the rest of the prompt."""
    cached = usage.get("cacheReadInputTokens", 0) + usage.get("cacheWriteInputTokens", 0)
    return usage["inputTokens"] + cached, usage["outputTokens"]


def read_whole(answer: Any) -> dict[str, Any]:
    blocks = answer["output"]["message"]["content"]
    assert answer["metrics"] == {"latencyMs": 0}
    return {
        "text": "".join(block.get("text", "") for block in blocks),
        "thought": "".join(
            block["reasoningContent"]["reasoningText"]["text"]
            for block in blocks
            if "reasoningContent" in block
        ),
        "calls": [
            (block["toolUse"]["name"], block["toolUse"]["input"])
            for block in blocks
            if "toolUse" in block
        ],
        "finish": answer["stopReason"],
        "usage": counted(answer["usage"]),
    }


def read_stream(answer: Any) -> dict[str, Any]:
    events = list(answer["stream"])
    names = [next(iter(event)) for event in events]
    assert (names[0], names[-2:]) == ("messageStart", ["messageStop", "metadata"])
    told: dict[str, Any] = {"text": "", "thought": "", "calls": []}
    inputs: dict[int, list[str]] = {}
    for event in events:
        match event:
            case {"contentBlockStart": {"start": {"toolUse": use}, "contentBlockIndex": index}}:
                inputs[index] = [use["name"], ""]
            case {"contentBlockDelta": {"delta": delta, "contentBlockIndex": index}}:
                told["text"] += delta.get("text", "")
                told["thought"] += delta.get("reasoningContent", {}).get("text", "")
                if "toolUse" in delta:
                    inputs[index][1] += delta["toolUse"]["input"]
            case {"messageStop": stop}:
                told["finish"] = stop["stopReason"]
            case {"metadata": metadata}:
                told["usage"] = counted(metadata["usage"])
            case _:
                pass
    told["calls"] = [(name, as_input(text)) for name, text in inputs.values()]
    return told


def as_input(text: str) -> Any:
    """The arguments a stream told; free text, which a stream passes on as it comes."""
    try:
        value = json.loads(text or "{}")
    except ValueError:
        return {"input": text}
    return value if isinstance(value, dict) else {"input": value}


def troubles(events: list[Event], response: Any) -> dict[str, Any]:
    want = expected(response, WORDS)
    want["usage"] = want["usage"] or (0, 0)
    found = {
        "whole": read_whole(client(whole("bedrock_converse", response)).converse(**ASK)),
        "streamed": read_stream(
            client(streamed("bedrock_converse", events)).converse_stream(**ASK)
        ),
    }
    return {
        form: {name: (want[name], got[name]) for name in want if want[name] != got[name]}
        for form, got in found.items()
        if got != want
    }


@pytest.mark.parametrize("source", NAMES)
def test_the_sdk_reads_own_answers(source: str) -> None:
    checked = 0
    for name, events, response in answers(source, own_answers(source)):
        assert troubles(events, response) == {}, name
        checked += 1
    assert checked >= 3


@recordings.needs_corpus
@pytest.mark.parametrize("source", NAMES)
def test_the_sdk_reads_recorded_answers(source: str) -> None:
    wrong = {
        name: found
        for name, events, response in answers(source, answers_of(source)[::EVERY])
        if (found := troubles(events, response))
    }
    assert wrong == {}


@pytest.mark.parametrize("source", NAMES)
def test_bodies_of_anthropic_in_invoke_calls(source: str) -> None:
    for name, events, response in answers(source, own_answers(source)):
        want = expected(response, WORDS)
        sdk = client(whole("bedrock_invoke", response))
        body = json.loads(sdk.invoke_model(modelId=CLAUDE, body=b"{}")["body"].read())
        text = "".join(b["text"] for b in body["content"] if b["type"] == "text")
        assert (body["type"], text) == ("message", want["text"]), name
        sdk = client(streamed("bedrock_invoke", events))
        answer = sdk.invoke_model_with_response_stream(modelId=CLAUDE, body=b"{}")
        chunks = [json.loads(event["chunk"]["bytes"]) for event in answer["body"]]
        told = [chunk for chunk in chunks if chunk["type"] != "ping"]
        assert (told[0]["type"], told[-1]["type"]) == ("message_start", "message_stop"), name
        deltas = [event["delta"] for event in told if event["type"] == "content_block_delta"]
        assert "".join(delta.get("text", "") for delta in deltas) == want["text"], name


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("context_length", "ValidationException"),
        ("rate_limit", "ThrottlingException"),
        ("not_found", "ResourceNotFoundException"),
        ("permission", "AccessDeniedException"),
        ("server", "InternalServerException"),
    ],
)
def test_errors(kind: Any, code: str) -> None:
    fault = Fault(kind=kind, message="it went wrong")
    status = STATUS_BY_KIND[fault.kind]
    sdk = client(DIALECTS["bedrock_converse"].encode_error(fault), status)
    for call in (sdk.converse, sdk.converse_stream):
        with pytest.raises(ClientError, match="it went wrong") as caught:
            call(**ASK)
        assert isinstance(caught.value, getattr(sdk.exceptions, code))
        assert caught.value.response["Error"]["Code"] == code
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("overloaded", "serviceUnavailableException"),
        ("rate_limit", "throttlingException"),
        ("context_length", "validationException"),
        ("server", "internalServerException"),
        ("timeout", "modelStreamErrorException"),
    ],
)
def test_an_error_inside_a_stream(kind: Any, code: str) -> None:
    events: list[Event] = [
        Start(dialect="openai_chat"),
        PartStart(0, Text(text="")),
        PartDelta(0, "text", "Hel"),
        Fault(kind=kind, message="it went wrong"),
    ]
    body = streamed("bedrock_converse", events)
    told = iter(client(body).converse_stream(**ASK)["stream"])
    assert next(told) == {"messageStart": {"role": "assistant"}}
    assert next(told)["contentBlockDelta"]["delta"] == {"text": "Hel"}
    with pytest.raises(EventStreamError, match="it went wrong") as caught:
        next(told)
    assert caught.value.response["Error"]["Code"] == code


def test_a_heartbeat_is_passed_over() -> None:
    encoder = DIALECTS["bedrock_converse"].stream_encoder(REPLY)
    body = encoder.feed([Start(dialect="openai_chat")]) + encoder.heartbeat()
    body += encoder.feed([PartDelta(0, "text", "Hi")]) + encoder.close()
    told = client(body).converse_stream(**ASK)["stream"]
    texts = [event["contentBlockDelta"]["delta"] for event in told if "contentBlockDelta" in event]
    assert texts == [{"text": "Hi"}]


def test_what_the_sdk_asks_is_read() -> None:
    sdk = client(streamed("bedrock_converse", []))
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}
    use = {"toolUseId": "t1", "name": "weather", "input": {"city": "Oslo"}}
    result = {"toolUseId": "t1", "status": "error", "content": [{"text": "Rain"}]}
    sdk.converse_stream(
        modelId=CLAUDE,
        system=[{"text": "Be brief"}],
        messages=[
            {
                "role": "user",
                "content": [
                    {"text": "hi"},
                    {"image": {"format": "png", "source": {"bytes": b"\x89PNG"}}},
                ],
            },
            {"role": "assistant", "content": [{"toolUse": use}]},
            {"role": "user", "content": [{"toolResult": result}]},
        ],
        toolConfig={
            "tools": [{"toolSpec": {"name": "weather", "inputSchema": {"json": schema}}}],
            "toolChoice": {"any": {}},
        },
        inferenceConfig={"maxTokens": 9, "temperature": 0.5, "stopSequences": ["END"]},
        additionalModelRequestFields={"thinking": {"type": "enabled", "budget_tokens": 2048}},
        outputConfig={
            "effort": "low",
            "textFormat": {
                "type": "json_schema",
                "structure": {"jsonSchema": {"schema": json.dumps(schema), "name": "weather"}},
            },
        },
    )
    assert "/converse-stream" in made()[0].path
    request = DIALECTS["bedrock_converse"].decode_request(made()[0].asked)
    parts = [part for message in request.messages for part in message.parts]
    assert [type(part) for part in parts] == [Text, Media, ToolCall, ToolResult]
    image, back = parts[1], parts[3]
    assert isinstance(image, Media)
    assert isinstance(back, ToolResult)
    assert (image.mime, base64.b64decode(image.data or "")) == ("image/png", b"\x89PNG")
    assert (back.call_id, back.error) == ("t1", True)
    assert request.instructions == (Text(text="Be brief", at=("system", 0, "text")),)
    assert request.tools[0].parameters == schema
    assert request.tool_choice is not None
    assert request.tool_choice.mode == "required"
    sampling = request.sampling
    assert (sampling.max_tokens, sampling.temperature, sampling.stop) == (9, 0.5, ("END",))
    assert request.reasoning is not None
    reasoning = request.reasoning
    assert (reasoning.mode, reasoning.budget_tokens, reasoning.effort) == ("on", 2048, "low")
    assert request.response_format is not None
    assert request.response_format.schema == schema


def test_the_sdk_takes_what_we_ask_of_bedrock() -> None:
    """Its own check of the parameters passes what we write for a request of another protocol."""
    for source in NAMES:
        for name, request in own_requests(source):
            made_body = DIALECTS["bedrock_converse"].encode_request(request, DEFAULT_FACTS).body
            server, sdk = made()
            server.status, server.body = 200, streamed("bedrock_converse", [])
            sdk.converse_stream(modelId=CLAUDE, **as_parameters(json.loads(made_body)))
            assert json.loads(server.asked) == json.loads(made_body), (source, name)


def as_parameters(body: Any) -> Any:
    """The body with bytes where it has base64, as the SDK takes them."""
    if isinstance(body, list):
        return [as_parameters(item) for item in body]
    if not isinstance(body, dict):
        return body
    return {
        key: base64.b64decode(value)
        if key == "bytes" and isinstance(value, str)
        else as_parameters(value)
        for key, value in body.items()
    }
