"""Ollama's JSON lines and Bedrock's event streams: identical on the wire, and still understood."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from origin_server import Origin
from proxied import Proxied, behind

from llmitm.canon.events import Fault
from llmitm.canon.fold import fold
from llmitm.canon.turns import text_of
from llmitm.dialects.bedrock_converse.encoder import event_message, exception_message
from llmitm.dialects.catalog import DIALECTS

pytestmark = pytest.mark.end_to_end

SIGNATURE = "AWS4-HMAC-SHA256 Credential=A/20261120/us-east-1/bedrock/aws4_request, Signature=00"
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
BEDROCK = f"https://bedrock-runtime.us-east-1.amazonaws.com/model/{MODEL.replace(':', '%3A')}"
QUESTION = b'{ "messages":[{"role":"user","content":[{"text":"h\xc3\xa9"}]}],"zz":1e2 }'
USAGE = {"inputTokens": 3, "outputTokens": 2, "totalTokens": 9, "cacheReadInputTokens": 4}

CONVERSE = [
    event_message("messageStart", {"role": "assistant", "p": "abc"}),
    event_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "hé\n\n"}}),
    event_message("contentBlockStop", {"contentBlockIndex": 0}),
    event_message("messageStop", {"stopReason": "end_turn"}),
    event_message("metadata", {"usage": USAGE, "metrics": {"latencyMs": 5}}),
]
CLAUDE = [
    {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5}}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "hi"}},
    {"type": "content_block_stop", "index": 0},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn", "stop_sequence": None},
        "usage": {"output_tokens": 2},
    },
    {"type": "message_stop"},
]
INVOKE = [
    event_message("chunk", {"bytes": base64.b64encode(json.dumps(each).encode()).decode()})
    for each in CLAUDE
]
LINES = [
    b'{"model":"qwen3","created_at":"2026-11-20T10:00:00.1Z","message":{"role":"assistant",'
    b'"content":"h\xc3\xa9"},"done":false}\n',
    b'{"model":"qwen3","created_at":"2026-11-20T10:00:01Z","message":{"role":"assistant","content"'
    b':""},"done_reason":"stop","done":true,"prompt_eval_count":7,"eval_count":2}\n',
]
THROTTLED = exception_message(Fault(kind="rate_limit", message="slow down"))
EVENT_STREAM, NDJSON = b"application/vnd.amazon.eventstream", b"application/x-ndjson"


def streamed(pieces: list[bytes], kind: bytes) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: " + kind + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
    # Cut where no message ends.
    data = b"".join(pieces)
    cut = [data[:7], data[7:150], data[150:]]
    return [head, *(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in cut), b"0\r\n\r\n"]


def whole(body: bytes) -> list[bytes]:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    return [head % len(body) + body]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Origin, Proxied]]:
    folder = tmp_path_factory.mktemp("odd-carriers")
    with Origin(folder / "origin", lambda _: []) as server:
        base = f"https://127.0.0.1:{server.port}"
        variables = {"BEDROCK_API_BASE_URL": base, "OLLAMA_API_BASE_URL": base}
        with behind(folder / "p", server, variables=variables) as proxied:
            yield server, proxied


def post(
    place: tuple[Origin, Proxied],
    url: str,
    script: list[bytes],
    body: bytes = QUESTION,
    **head: str,
) -> tuple[httpx.Response, dict[str, object]]:
    server, proxied = place
    server.received.clear()
    server.script = lambda _: script
    proxied.skip()
    with proxied.client() as client:
        answer = client.post(url, content=body, headers=head)
    return answer, proxied.rows()[0]


@pytest.mark.parametrize(
    ("call", "pieces", "tokens"),
    [("converse-stream", CONVERSE, (7, 2)), ("invoke-with-response-stream", INVOKE, (5, 2))],
)
def test_a_bedrock_stream_is_identical(
    place: tuple[Origin, Proxied], call: str, pieces: list[bytes], tokens: tuple[int, int]
) -> None:
    script = streamed(pieces, EVENT_STREAM)
    answer, row = post(place, f"{BEDROCK}/{call}", script, authorization=SIGNATURE)
    assert answer.content == b"".join(pieces)
    sent = place[0].received[0]
    assert sent.body == QUESTION
    assert sent.header("authorization") == SIGNATURE
    assert sent.path == f"/model/{MODEL.replace(':', '%3A')}/{call}"
    assert (row["provider"], row["lane"], row["error"]) == ("bedrock", "verbatim", "")
    assert (row["model"], row["finish"]) == (MODEL, "stop")
    usage = row["usage"]
    assert isinstance(usage, dict)
    assert (usage["input_tokens"], usage["output_tokens"]) == tokens


@pytest.mark.parametrize("call", ["api/chat", "api/generate"])
def test_an_ollama_stream_is_identical(place: tuple[Origin, Proxied], call: str) -> None:
    asked = b'{"model":"qwen3", "prompt":"hi", "messages":[{"role":"user","content":"hi"}]}'
    script = streamed(LINES, NDJSON)
    answer, row = post(place, f"http://localhost:11434/{call}", script, asked)
    assert answer.content == b"".join(LINES)
    sent = place[0].received[0]
    assert (sent.body, sent.path) == (asked, f"/{call}")
    assert (row["provider"], row["lane"], row["stream"]) == ("ollama", "verbatim", True)
    usage = row["usage"]
    assert isinstance(usage, dict)
    assert (usage["input_tokens"], usage["output_tokens"]) == (7, 2)


def test_a_whole_converse_answer_is_counted(place: tuple[Origin, Proxied]) -> None:
    message = {"role": "assistant", "content": [{"text": "hi"}]}
    body = json.dumps(
        {"output": {"message": message}, "stopReason": "max_tokens", "usage": USAGE}
    ).encode()
    answer, row = post(place, f"{BEDROCK}/converse", whole(body), authorization=SIGNATURE)
    assert answer.content == body
    assert row["finish"] == "length"


def test_an_exception_in_the_stream_is_no_success(place: tuple[Origin, Proxied]) -> None:
    from_bedrock = [CONVERSE[0], THROTTLED]
    script = streamed(from_bedrock, EVENT_STREAM)
    answer, row = post(place, f"{BEDROCK}/converse-stream", script, authorization=SIGNATURE)
    assert answer.content == b"".join(from_bedrock)
    assert row["error"] == "slow down"


CHAT = (
    b'data: {"id":"1","object":"chat.completion.chunk","model":"gpt","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":"elsewhere"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1,"total_tokens":4}}\n\n'
    b"data: [DONE]\n\n"
)
ASKED = b'{"model":"qwen3","messages":[{"role":"user","content":"hi"}]}'


@pytest.mark.parametrize(
    ("url", "asked", "protocol", "kind"),
    [
        (f"{BEDROCK}/converse-stream", QUESTION, "bedrock_converse", EVENT_STREAM),
        ("http://localhost:11434/api/chat", ASKED, "ollama_chat", NDJSON),
    ],
)
def test_another_provider_answers_in_the_clients_protocol(
    tmp_path: Path, url: str, asked: bytes, protocol: str, kind: bytes
) -> None:
    with Origin(tmp_path / "origin", lambda _: streamed([CHAT], b"text/event-stream")) as server:
        variables = {"STATIC_ROUTE": "together:gpt-oss-120b"}
        with behind(tmp_path / "p", server, variables=variables) as proxied:
            with proxied.client() as client:
                answer = client.post(url, content=asked, headers={"authorization": SIGNATURE})
            row = proxied.rows()[0]
        sent = server.received[0]
    assert sent.path == "/v1/chat/completions"
    assert SIGNATURE.encode() not in sent.head
    assert answer.headers["content-type"].encode() == kind
    decoder = DIALECTS[protocol].stream_decoder(kind.decode())
    frames = [*decoder.feed(answer.content), *decoder.close()]
    read = fold(event for frame in frames for event in frame.events)
    assert text_of(read.choices[0].parts) == "elsewhere"
    assert read.ended
    assert read.usage is not None
    assert read.usage.output_tokens == 1
    assert (row["lane"], row["error"]) == ("translate", "")
