"""Frames that are taken for alike read exactly as they do when each is read by itself."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Sequence

import pytest

from dialects.corpus import own_answers
from llmitm.canon.events import Event, PartDelta
from llmitm.dialects.alike import Alike
from llmitm.dialects.anthropic_messages.stream import SseDecoder as AnthropicDecoder
from llmitm.dialects.contract import Frame
from llmitm.dialects.framing_sse import SseSplitter, data_frame, named_frame
from llmitm.dialects.openai_chat.stream import SseDecoder as ChatDecoder

type Decoder = ChatDecoder | AnthropicDecoder
DECODERS: dict[str, Callable[[Alike], Decoder]] = {
    "openai_chat": ChatDecoder,
    "anthropic_messages": AnthropicDecoder,
}
STREAMS = [
    pytest.param(name, body, id=f"{name} {case}")
    for name in DECODERS
    for case, stream, body in own_answers(name)
    if stream
]


class Counting(Alike):
    """Counts the frames that were not read anew."""

    __slots__ = ("known",)

    def __init__(self) -> None:
        super().__init__()
        self.known = 0

    def read(self, data: bytes) -> tuple[Event, ...] | None:
        found = super().read(data)
        self.known += found is not None
        return found


def decoded(name: str, frames: Sequence[bytes], alike: Alike) -> list[Frame]:
    decoder = DECODERS[name](alike)
    found = [frame for raw in frames for frame in decoder.feed(raw)]
    return [*found, *decoder.close()]


def both(name: str, frames: Sequence[bytes]) -> int:
    """How many frames were taken for alike; what they tell is what each tells by itself."""
    counting = Counting()
    assert decoded(name, frames, counting) == decoded(name, frames, Alike(learns=False))
    return counting.known


def frames_of(body: bytes) -> list[bytes]:
    splitter = SseSplitter()
    return [frame.raw for frame in (*splitter.feed(body), *splitter.close())]


@pytest.mark.parametrize(("name", "body"), STREAMS)
def test_streams_read_the_same(name: str, body: bytes) -> None:
    frames = frames_of(body)
    both(name, frames)
    both(name, [frame for frame in frames for _ in range(4)])


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("name", "body"), STREAMS)
def test_streams_in_any_order_read_the_same(name: str, body: bytes, seed: int) -> None:
    chance = random.Random(seed)
    both(name, chance.choices(frames_of(body), k=60))


def chat(delta: object, **more: object) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": None}
    top = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    return data_frame(json.dumps({**top, "choices": [{**choice, **more}]}).encode())


def said(text: str) -> bytes:
    return chat({"content": text})


def message(text: str) -> bytes:
    delta = {"type": "text_delta", "text": text}
    wire = {"type": "content_block_delta", "index": 0, "delta": delta}
    return named_frame("content_block_delta", json.dumps(wire, ensure_ascii=False).encode())


WORDS = ["The", " fox", ' said "no"', " and", "\n\n", " naïve \ud83d\ude00", '","content":"', "\\"]


def test_text_after_text_is_not_read_anew() -> None:
    assert both("openai_chat", [said(word) for word in WORDS]) == len(WORDS) - 2


def test_neither_are_the_deltas_of_messages() -> None:
    words = [*WORDS[:5], '"text":"x"']
    start = {
        "type": "content_block_start",
        "index": 0,
        "content_block": {"type": "text", "text": ""},
    }
    begin = named_frame("content_block_start", json.dumps(start).encode())
    frames = [begin, *map(message, words)]
    assert both("anthropic_messages", frames) == len(words) - 1


ODD: dict[str, list[bytes]] = {
    "an empty piece": [said(""), said("b"), said("")],
    "a finish": [chat({"content": "b"}, finish_reason="stop"), said("c")],
    "a finish of its own kind": [chat({"content": "b"}, finish_reason=0)] * 3,
    "a call": [chat({"tool_calls": [{"index": 0, "id": "t", "function": {"name": "f"}}]})],
    "thinking": [chat({"content": "b", "reasoning_content": "hm"})] * 3,
    "a role": [chat({"content": "b", "role": "tool"})] * 3,
    "logprobs": [chat({"content": "b"}, logprobs={"content": [{"token": "b"}]})] * 3,
    "another choice": [chat({"content": "b"}, index=1), said("c"), chat({"content": "d"}, index=1)],
    "a field twice": [said("b").replace(b'"content"', b'"content": "x", "content"')] * 3,
    "the field elsewhere": [said("b").replace(b'"m"', b'{"content": "b"}')] * 3,
    "an escaped field": [said("b").replace(b'"content"', b'"\\u0063ontent"')] * 3,
    "a field like it": [chat({"content": "b"}, **{'x"content': "b"})] * 3,
    "half a character": [said("b").replace(b'"b"', b'"\\ud83d"')] * 3,
    "a text that ends early": [said("b").replace(b'"b"', b'"b" , "role": "user"')],
    "no text at all": [said("b").replace(b'"b"', b"7"), said("b").replace(b'"b"', b"null")],
    "not JSON": [said("b").replace(b'"b"', b'"b'), said("b").replace(b'"b"', b"")],
    "white space": [said("b").replace(b'"b"', b' "b" '), said("b").replace(b'"b"', b"\t")],
    "another id": [said(word).replace(b'"c1"', f'"c{word}"'.encode()) for word in "abc"],
    "done": [b"data: [DONE]\n\n", said("b")],
}


@pytest.mark.parametrize("name", ODD)
def test_what_only_looks_alike_is_read(name: str) -> None:
    both("openai_chat", [said("a"), said("a"), said("a"), *ODD[name], said("z"), said("z")])
    both("openai_chat", [*ODD[name], said("a"), *ODD[name]])


def test_a_stream_without_alike_frames_is_given_up() -> None:
    alike = Counting()
    event = PartDelta(0, "text", "a")
    for number in range(20):
        value = {"n": number, "text": "a"}
        assert alike.read(json.dumps(value).encode()) is None
        alike.learn(json.dumps(value).encode(), dict(value), dict(value), "text", event)
    holder: dict[str, object] = {"n": 1, "text": "a"}
    data = json.dumps(holder).encode()
    alike.learn(data, holder, holder, "text", event)  # type: ignore[arg-type]
    assert alike.read(data) is None
