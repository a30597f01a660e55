"""Broken requests and answers: nothing raises, no byte is lost, chunking never matters."""

from __future__ import annotations

import functools
import json
import random
import sys
from typing import Any

import pytest

import recordings
from dialects.corpus import CORPUS, own_answers
from dialects.mutations import bent, bent_answer, body_of, broken, deep
from dialects.pairs import FILES, NAMES, REPLY, answers_of, events_in, frames_of, media_type
from llmitm.canon.events import Event
from llmitm.canon.fold import fold, unfold
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.errors import ClientWireError

EVERYBODY = tuple(DIALECTS)
SEEDS = range(24)
LARGEST = 12_000
JSON_ARRAY = Reply(model="m", id="i", framing="json_array")


@functools.cache
def own_bodies(name: str) -> tuple[bytes, ...]:
    files = sorted((CORPUS / "requests" / name).glob("*.json"))
    return tuple(body_of(json.loads(file.read_bytes())) for file in files)


@functools.cache
def request_bodies(name: str) -> tuple[bytes, ...]:
    """Own and recorded requests that are not too large to be broken often."""
    recorded = [
        body_of(exchange["request_json"])
        for exchange in recordings.load(FILES[name])[::3]
        if isinstance(exchange["request_json"], dict)
    ]
    return (*own_bodies(name), *(body for body in recorded if len(body) < LARGEST))


@functools.cache
def answer_bodies(name: str) -> tuple[bytes, ...]:
    recorded = [body for _, _, body in answers_of(name)[::3]]
    own = [body for _, _, body in own_answers(name)]
    return (*own, *(body for body in recorded if len(body) < LARGEST))


def try_request(source: str, body: bytes) -> None:
    """Decodes or refuses; what is decoded can be encoded everywhere, and read there."""
    try:
        request = DIALECTS[source].decode_request(body)
    except ClientWireError:
        return
    for target in EVERYBODY:
        encoded = DIALECTS[target].encode_request(request, DEFAULT_FACTS)
        if target not in NAMES or too_deep(target, encoded.body):
            # Carriers and dialects of the verbatim lane are not translated to.
            continue
        again = DIALECTS[target].decode_request(encoded.body)
        if target == source:
            anew = DIALECTS[target].encode_request(again, DEFAULT_FACTS)
            assert json.loads(anew.body) == json.loads(encoded.body)


def too_deep(target: str, body: bytes) -> bool:
    """Whether an object more around what was just not too deep made it so."""
    try:
        DIALECTS[target].decode_request(body)
    except ClientWireError as error:
        return "deep" in error.say
    return False


def try_answer(source: str, body: bytes, dice: random.Random) -> None:
    """Decoded as a stream and whole by `source`, encoded everywhere."""
    media = dice.choice(("text/event-stream", "application/json", media_type(body)))
    frames = frames_of(source, body, media=media)
    assert b"".join(frame.raw for frame in frames) == body
    pieces = frames_of(source, body, dice.choice((1, 2, 3, 7, 64)), media)
    assert repr(pieces) == repr(frames)
    events = [event for frame in frames for event in frame.events]
    whole = DIALECTS[source].decode_response(body)
    for told in (events, whole):
        try_telling(told)
    dice.shuffle(events)
    try_telling(events)


def try_telling(events: list[Event]) -> None:
    """Every encoder takes these events, in pieces and folded."""
    response = fold(events)
    for target in EVERYBODY:
        dialect = DIALECTS[target]
        body = dialect.encode_response(response, REPLY).body
        if response.dialect != target and not response.opaque:
            json.loads(body)
        for reply, told in ((REPLY, events), (REPLY, list(unfold(response))), (JSON_ARRAY, events)):
            encoder = dialect.stream_encoder(reply)
            data = b"".join(encoder.feed([event]) for event in told)
            data += encoder.heartbeat() + encoder.close()
            assert encoder.close() == b""
            assert encoder.feed(told) == b""
            if reply is REPLY:
                events_in(target, data, stream=True)
        if response.fault is not None:
            json.loads(dialect.encode_error(response.fault))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("source", NAMES)
def test_bent_requests_are_taken_or_refused(source: str, seed: int) -> None:
    dice = random.Random(f"{source} {seed}")
    for _ in range(12):
        body = dice.choice(request_bodies(source))
        shaped = dice.random() < 0.7
        try_request(source, body_of(bent(json.loads(body), dice)) if shaped else broken(body, dice))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("source", NAMES)
def test_broken_answers_are_read_and_told_everywhere(source: str, seed: int) -> None:
    dice = random.Random(f"{source} {seed}")
    for _ in range(5):
        body = dice.choice(answer_bodies(source))
        if dice.random() < 0.6:
            body = bent_answer(body, dice)
        if dice.random() < 0.5:
            body = broken(body, dice)
        try_answer(source, body, dice)


@pytest.mark.parametrize("reader", EVERYBODY)
@pytest.mark.parametrize("source", NAMES)
def test_each_decoder_bears_the_other_protocols(source: str, reader: str) -> None:
    dice = random.Random(f"{source} {reader}")
    bodies = answer_bodies(source)
    for body in dice.sample(bodies, min(len(bodies), 30)):
        try_answer(reader, body, dice)
    for body in dice.sample(request_bodies(source), 10):
        try_request(reader, body)
        try_answer(reader, body, dice)


@recordings.needs_corpus
@pytest.mark.parametrize("reader", EVERYBODY)
def test_each_decoder_bears_the_other_file(reader: str) -> None:
    """Bedrock, Ollama, Cohere, lists of models: as text or as bytes."""
    for exchange in recordings.load("other")[::4]:
        body = exchange["response_body"].encode()
        frames = frames_of(reader, body)
        assert b"".join(frame.raw for frame in frames) == body
        try_telling([event for frame in frames for event in frame.events])
        try_telling(DIALECTS[reader].decode_response(body))


@recordings.needs_corpus
@pytest.mark.parametrize("name", NAMES)
def test_chunking_never_matters_and_no_byte_is_lost(name: str) -> None:
    for ident, stream, body in answers_of(name):
        if not stream:
            continue
        frames = frames_of(name, body)
        assert b"".join(frame.raw for frame in frames) == body, ident
        for size in (1, 5) if len(body) < 4_000 else (61,):
            assert frames_of(name, body, size) == frames, ident


@pytest.mark.parametrize("name", NAMES)
def test_an_own_stream_may_be_cut_anywhere(name: str) -> None:
    for case, stream, body in own_answers(name):
        for end in range(0, len(body), 1 if len(body) < 1_500 else 7) if stream else ():
            frames = frames_of(name, body[:end])
            assert b"".join(frame.raw for frame in frames) == body[:end], case
            fold(event for frame in frames for event in frame.events)


# Around the recursion limit of Python, and far beyond what any parser allows.
DEPTHS = (50, 200, 255, 256, sys.getrecursionlimit() - 100, sys.getrecursionlimit(), 20_000)
HOLES: dict[str, str] = {
    "openai_chat": '{"model":"m","messages":[{"role":"user","content":@}],"extra":@}',
    "openai_responses": '{"model":"m","input":[{"type":"odd","value":@}],"metadata":@}',
    "anthropic_messages": '{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":'
    '[{"type":"tool_use","id":"i","name":"n","input":{"a":@}}]}],"metadata":@}',
    "gemini_generate": '{"contents":[{"role":"model","parts":[{"functionCall":{"name":"n","args":'
    '{"a":@}}}]}],"odd":@}',
}
ANSWER_HOLES: dict[str, str] = {
    "openai_chat": '{"id":"i","object":"chat.completion","choices":[{"index":0,"message":'
    '{"role":"assistant","content":"x","odd":@},"finish_reason":"stop"}]}',
    "openai_responses": '{"id":"i","object":"response","status":"completed","output":'
    '[{"type":"odd","value":@}]}',
    "anthropic_messages": '{"id":"i","type":"message","role":"assistant","content":[{"type":'
    '"tool_use","id":"i","name":"n","input":{"a":@}}],"stop_reason":"tool_use"}',
    "gemini_generate": '{"candidates":[{"index":0,"content":{"role":"model","parts":['
    '{"functionCall":{"name":"n","args":{"a":@}}}]},"finishReason":"STOP"}]}',
}


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("kind", ["[", "{"])
@pytest.mark.parametrize("name", NAMES)
def test_deep_nesting_is_read_or_refused(name: str, kind: str, depth: int) -> None:
    nested = deep(depth, kind)
    try_request(name, nested.encode())
    try_request(name, HOLES[name].replace("@", nested).encode())
    # Arguments are text to most protocols, and JSON to the others.
    text = json.dumps(nested)
    calls = (
        '{"model":"m","messages":[{"role":"assistant","tool_calls":[{"id":"i","type":"function",'
        f'"function":{{"name":"n","arguments":{text}}}}}]}},'
        '{"role":"tool","tool_call_id":"i","content":"x"}]}'
    )
    try_request("openai_chat", calls.encode())
    dice = random.Random(depth)
    for body in (nested, ANSWER_HOLES[name].replace("@", nested)):
        try_answer(name, body.encode(), dice)
        try_answer(name, f"data: {body}\n\n".encode(), dice)


def test_the_input_of_a_server_tool_may_be_text() -> None:
    """As a stream that broke off leaves it."""
    body: dict[str, Any] = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "content": [
            {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": '{"q'},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": "text"},
        ],
        "stop_reason": "tool_use",
    }
    try_answer("anthropic_messages", body_of(body), random.Random(0))
    asked = {"model": "m", "max_tokens": 1, "messages": [body]}
    try_request("anthropic_messages", body_of(asked))


@pytest.mark.parametrize("word", ["\ud83d", "a\n\ndata: x", "é"])
def test_odd_words_of_a_provider_break_no_frame(word: str) -> None:
    status = {"id": "r", "object": "response", "status": word, "output": []}
    unknown = {"type": f"response.{word}", "x": 1}
    error = {"error": {"message": word, "type": word, "param": None, "code": word}}
    dice = random.Random(0)
    for value in (status, unknown, error):
        for name in NAMES:
            try_answer(name, body_of(value), dice)
            try_answer(name, b"data: " + body_of(value) + b"\n\n", dice)
    (event,) = DIALECTS["openai_responses"].decode_response(body_of(error))
    assert fold([event]).fault is not None
    events = DIALECTS["openai_responses"].decode_response(body_of(status))
    encoder = DIALECTS["openai_responses"].stream_encoder(REPLY)
    data = encoder.feed(events) + encoder.close()
    assert b"\ndata: x" not in data
