"""Reasoning entries of OpenRouter: remembered from real answers, given back as they came."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

import recordings
from llmitm.canon.events import Event
from llmitm.canon.fold import fold
from llmitm.canon.parts import Part, Reasoning, Text, ToolCall
from llmitm.canon.request import Message, Request
from llmitm.canon.values import Facts, Loss
from llmitm.dialects.openai_chat import DIALECT
from llmitm.exchange.signature_return import restored
from llmitm.exchange.signatures import Maker, SignatureMemory, Watcher
from llmitm.ruleset.routes import LimitsRow

OPENROUTER = Maker("openrouter", "openai_chat")
ASK = Message(role="user", parts=(Text(text="What is the weather?"),))
SCOPE = b"one client"
FACTS = Facts(reasoning_field="reasoning")
CALL = ("T", "call_1")
TEXT = ("C", "It is mild.")


def words(text: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.text", "text": text, "format": "f", "index": index, **more}


def proof(signature: str, index: int = 0) -> dict[str, Any]:
    return {"type": "reasoning.text", "signature": signature, "format": "f", "index": index}


def secret(data: str, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"type": "reasoning.encrypted", "data": data, "format": "f", "index": index, **more}


def summary(text: str, index: int = 0) -> dict[str, Any]:
    return {"type": "reasoning.summary", "summary": text, "format": "f", "index": index}


def delta(item: Any) -> dict[str, Any]:
    match item:
        case ("T", str(ident)):
            function = {"name": "f", "arguments": "{}"}
            return {"tool_calls": [{"index": 0, "id": ident, "function": function}]}
        case ("C", str(text)):
            return {"content": text}
        case _:
            return {"reasoning_details": [item]}


def stream(items: list[Any]) -> bytes:
    deltas = [{"role": "assistant", "content": ""}, *map(delta, items)]
    chunks: list[dict[str, Any]] = [
        {"id": "c", "model": "m", "choices": [{"index": 0, "delta": each}]} for each in deltas
    ]
    last = {"index": 0, "delta": {}, "finish_reason": "stop"}
    chunks.append({"id": "c", "model": "m", "choices": [last]})
    frames = [b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks]
    return b"".join(frames) + b"data: [DONE]\n\n"


def read(body: bytes, *, streamed: bool) -> list[Event]:
    if not streamed:
        return DIALECT.decode_response(body)
    decoder = DIALECT.stream_decoder("text/event-stream")
    return [e for frame in (*decoder.feed(body), *decoder.close()) for e in frame.events]


def learnt(events: list[Event]) -> SignatureMemory:
    memory = SignatureMemory(b"salt", LimitsRow())
    watcher = Watcher(memory, SCOPE, OPENROUTER, (ASK,))
    for event in events:
        watcher.feed(event)
    return memory


def carried(events: list[Event]) -> tuple[Part, ...]:
    """What a client of another protocol sends back of the answer."""
    parts: list[Part] = []
    for part in fold(events).choices[0].parts:
        if isinstance(part, Text):
            parts.append(Text(text=part.text))
        elif isinstance(part, ToolCall):
            parts.append(ToolCall(id=part.id, name=part.name, arguments=part.arguments))
        elif isinstance(part, Reasoning):
            parts.append(Reasoning(text=part.text, signature="", dialect="anthropic_messages"))
    return tuple(parts)


def asked(*parts: Part) -> Request:
    said = Message(role="assistant", parts=parts)
    more = Message(role="user", parts=(Text(text="On."),))
    return Request(dialect="anthropic_messages", model="m", messages=(ASK, said, more))


def sent(memory: SignatureMemory, request: Request) -> tuple[dict[str, Any], tuple[Loss, ...]]:
    """The assistant's message on the next request."""
    made, losses = restored(memory, SCOPE, request, OPENROUTER)
    encoded = DIALECT.encode_request(made, FACTS)
    messages = json.loads(encoded.body)["messages"]
    (message,) = [each for each in messages if each["role"] == "assistant"]
    return message, (*losses, *encoded.losses)


STREAMS: dict[str, tuple[list[Any], list[dict[str, Any]]]] = {
    # name: what the stream says, the entries that a whole answer would hold
    "Claude: words, then what proves them": (
        [words("h"), words("m"), proof("s"), CALL],
        [words("hm", signature="s")],
    ),
    "Claude: an empty entry first": (
        [words("", signature=""), words("h"), words("m"), proof("s"), TEXT],
        [words("hm", signature="s")],
    ),
    "a gateway that names every field": (
        [words("h", data=None, id=None), words("m", data=None, id=None), proof("s"), CALL],
        [words("hm", data=None, id=None, signature="s")],
    ),
    "Claude: thinking twice": (
        [words("a"), proof("s"), words("b", 1), proof("t", 1), CALL],
        [words("a", signature="s"), words("b", 1, signature="t")],
    ),
    "Claude: thinking twice under one index": (
        [words("a"), proof("s"), words("b"), proof("t"), CALL],
        [words("a", signature="s"), words("b", signature="t")],
    ),
    "Claude: redacted thinking between": (
        [words("a"), proof("s"), secret("x", 1), words("b", 2), proof("t", 2), CALL],
        [words("a", signature="s"), secret("x", 1), words("b", 2, signature="t")],
    ),
    "OpenAI: a summary in pieces, then the item": (
        [summary("a"), summary("b"), secret("x", id="rs_1"), CALL],
        [summary("ab"), secret("x", id="rs_1")],
    ),
    "OpenAI: two items under one index": (
        [summary("a"), secret("x", id="rs_1"), summary("b"), secret("y", id="rs_2"), CALL],
        [summary("a"), secret("x", id="rs_1"), summary("b"), secret("y", id="rs_2")],
    ),
    "Gemini: before the call": ([secret("x", id="call_1"), CALL], [secret("x", id="call_1")]),
    "Gemini: behind the text": ([TEXT, secret("x")], [secret("x")]),
    "Gemini: a call's and the text's, one index": (
        [secret("x", id="call_1"), secret("y"), CALL],
        [secret("x", id="call_1"), secret("y")],
    ),
    "Gemini: words in front, the proof behind": (
        [words("hm"), TEXT, secret("x")],
        [words("hm"), secret("x")],
    ),
    "what proves the words comes behind the text": (
        [words("hm"), TEXT, proof("s")],
        [words("hm", signature="s")],
    ),
    "Kimi: nothing is proven": ([words("h"), words("m"), CALL], [words("hm")]),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_leaves_what_the_whole_answer_holds(name: str) -> None:
    items, whole = STREAMS[name]
    events = read(stream(items), streamed=True)
    message, losses = sent(learnt(events), asked(*carried(events)))
    assert message["reasoning_details"] == whole
    assert losses == ()
    held = {"role": "assistant", "content": "It is mild.", "reasoning_details": whole}
    if CALL in items:
        function = {"name": "f", "arguments": "{}"}
        calls = [{"id": "call_1", "type": "function", "function": function}]
        held |= {"content": None, "tool_calls": calls}
    body = {"choices": [{"index": 0, "message": held, "finish_reason": "stop"}]}
    events = read(json.dumps(body).encode(), streamed=False)
    assert sent(learnt(events), asked(*carried(events)))[0]["reasoning_details"] == whole


@pytest.mark.parametrize("name", STREAMS)
def test_another_provider_gets_none_and_lost_proofs_are_told(name: str) -> None:
    items, whole = STREAMS[name]
    events = read(stream(items), streamed=True)
    proven = any(entry.get("signature") or entry.get("data") for entry in whole)
    for maker in (Maker("openai", "openai_chat"), Maker("anthropic", "anthropic_messages")):
        made, losses = restored(learnt(events), SCOPE, asked(*carried(events)), maker)
        assert not any(part.extras for each in made.messages for part in each.parts)  # type: ignore[union-attr]
        told = [(loss.feature, loss.target, loss.say) for loss in losses]
        lost = ("part.reasoning.signature", maker.protocol, "made by openrouter")
        assert told == ([lost] if proven else [])


def test_words_that_differ_from_the_entries_take_none_away() -> None:
    message = {
        "role": "assistant",
        "content": "It is mild.",
        "reasoning": "one\n\ntwo",
        "reasoning_details": [summary("one"), summary("two", 1), secret("x", 2)],
    }
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    events = read(json.dumps(body).encode(), streamed=False)
    told, losses = sent(learnt(events), asked(*carried(events)))
    assert told == message
    assert losses == ()


def test_what_the_client_carried_itself_is_not_doubled() -> None:
    for items, _ in STREAMS.values():
        events = read(stream(items), streamed=True)
        memory = learnt(events)
        once, _ = restored(memory, SCOPE, asked(*carried(events)), OPENROUTER)
        assert restored(memory, SCOPE, once, OPENROUTER)[0].messages == once.messages


def pairs() -> Iterator[tuple[str, list[Event], dict[str, Any]]]:
    """(name, events of an answer, its message as the client really sent it back)."""
    exchanges = {each["id"]: each for each in recordings.load("openai-chat")}
    for name, exchange in exchanges.items():
        group, _, number = name.rpartition("-")
        follower = exchanges.get(f"{group}-{int(number) + 1}")
        if "reasoning_details" not in exchange["response_body"] or follower is None:
            continue
        messages = follower["request_json"]["messages"]
        last = [each for each in messages if each["role"] == "assistant"][-1]
        events = read(exchange["response_body"].encode(), streamed=exchange["stream"])
        yield name, events, last


@recordings.needs_corpus
def test_recorded_answers_come_back_as_their_own_client_sent_them() -> None:
    seen = 0
    for name, events, last in pairs():
        message, losses = sent(learnt(events), asked(*carried(events)))
        entries = last["reasoning_details"]
        if any("text" not in e and "summary" not in e and "data" not in e for e in entries):
            continue  # That client sent back an entry that says nothing.
        kinds = {entry["type"] for entry in message["reasoning_details"]}
        if kinds != {entry["type"] for entry in entries}:
            continue  # That client told summaries as words, without what proves them.
        seen += 1
        for theirs, ours in zip(entries, message["reasoning_details"], strict=True):
            # One client leaves out the ids of summaries.
            assert {key: ours[key] for key in theirs} == theirs, name
        assert losses == (), name
    assert seen >= 7


@recordings.needs_corpus
def test_every_recorded_answer_with_entries_is_kept_whole_or_streamed() -> None:
    seen = 0
    for exchange in recordings.load("openai-chat"):
        if "reasoning_details" not in exchange["response_body"]:
            continue
        events = read(exchange["response_body"].encode(), streamed=exchange["stream"])
        held = [
            entry
            for part in fold(events).choices[0].parts
            if isinstance(part, Reasoning)
            for entry in part.extras.get("reasoning_details", [])  # type: ignore[union-attr]
        ]
        if not held:
            continue
        seen += 1
        message, _ = sent(learnt(events), asked(*carried(events)))
        assert message["reasoning_details"] == held, exchange["id"]
        assert len({json.dumps(entry) for entry in held}) == len(held), exchange["id"]
    assert seen >= 20


def test_a_message_of_its_own_protocol_keeps_its_entries_as_they_are() -> None:
    odd: list[Any] = [words("a"), proof("s"), {"type": "reasoning.text", "index": 0}, secret("x")]
    message = {"role": "assistant", "content": "hi", "reasoning_details": odd}
    body = {"model": "m", "messages": [{"role": "user", "content": "q"}, message]}
    request = DIALECT.decode_request(json.dumps(body).encode())
    encoded = DIALECT.encode_request(replace(request, model="n"), FACTS)
    assert json.loads(encoded.body)["messages"][1]["reasoning_details"] == odd
