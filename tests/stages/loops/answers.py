"""Answers and turns for the tests of loops: made by hand, or decoded from recordings."""

from __future__ import annotations

import base64
import functools
import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from llmitm.canon.events import Event, Finish, PartDelta, PartEnd, PartStart
from llmitm.canon.parts import Reasoning, Text, ToolCall
from llmitm.canon.request import Message, Request, Sampling, Tool
from llmitm.dialects.catalog import DIALECTS
from llmitm.stages.contract import Again, Cut, Stage, Turn
from llmitm.stages.conversation import Conversation, Settings
from recordings import load

FILES = {
    "openai_chat": "openai-chat",
    "openai_responses": "openai-responses",
    "anthropic_messages": "anthropic-messages",
    "gemini_generate": "gemini",
    "bedrock_converse": "other",
    "ollama_chat": "other",
}
_OTHERS = {"bedrock_converse": "bedrock-converse", "ollama_chat": "ollama"}


def turn(*, at_s: float = 0.0, key: str = "c", **values: Any) -> Turn:
    settings = values.pop("settings", Settings())
    return Turn(
        id=values.pop("id", "t"),
        provider=values.pop("provider", "openai"),
        protocol=values.pop("protocol", "openai_chat"),
        client=values.pop("client", ""),
        model=values.pop("model", "m"),
        started_s=at_s,
        conversation=Conversation(key=key, settings=settings),
        **values,
    )


def request(*messages: Message, n: int | None = None, **values: Any) -> Request:
    return Request(
        dialect="openai_chat",
        model="m",
        messages=messages or (say("user", "go"),),
        tools=values.pop("tools", (Tool(name="bash"),)),
        sampling=Sampling(n=n),
        **values,
    )


def say(role: Any, *parts: Any) -> Message:
    return Message(
        role=role, parts=tuple(Text(text=one) if isinstance(one, str) else one for one in parts)
    )


def pieces(text: str, size: int) -> list[str]:
    return [text[place : place + size] for place in range(0, len(text), size)]


def cuts(text: str, seed: int) -> list[str]:
    """The text cut anywhere, some pieces empty."""
    rolled = random.Random(seed)
    places = sorted(rolled.choices(range(len(text) + 1), k=rolled.randint(1, len(text) // 3 + 1)))
    ends = [0, *places, len(text)]
    return [text[a:b] for a, b in pairwise(ends)]


def text_events(texts: Iterable[str], *, index: int = 0, choice: int = 0) -> Iterator[Event]:
    yield PartStart(index, Text(text=""), choice)
    for text in texts:
        yield PartDelta(index, "text", text, choice)
    yield PartEnd(index, choice)


def call_events(
    name: str, arguments: str = "{}", *, id: str = "c1", index: int = 0, choice: int = 0
) -> Iterator[Event]:
    yield PartStart(index, ToolCall(id=id, name=name, arguments=""), choice)
    for text in pieces(arguments, 5):
        yield PartDelta(index, "arguments", text, choice)
    yield PartEnd(index, choice)


def thought_events(text: str, *, index: int = 0) -> Iterator[Event]:
    yield PartStart(index, Reasoning(text=""))
    yield PartDelta(index, "reasoning", text)
    yield PartEnd(index)


def through(
    stage: Stage, one: Turn, asked: Request, events: Iterable[Event]
) -> tuple[list[Event], Cut | Again | None]:
    """What the client sees of these events, and how the answer was ended, None = by itself."""
    stage.on_request(one, asked)
    if not stage.watches(one):
        return list(events), None
    return told(stage, one, events)


def told(stage: Stage, one: Turn, events: Iterable[Event]) -> tuple[list[Event], Any]:
    seen: list[Event] = []
    for event in events:
        effect = stage.on_event(one, event)
        if isinstance(effect, Cut | Again):
            return [*seen, *effect.events], effect
        seen += effect
    return seen, None


def text_seen(events: Iterable[Event], choice: int = 0) -> str:
    return "".join(
        event.text
        for event in events
        if isinstance(event, PartDelta) and event.kind == "text" and event.choice == choice
    )


def finishes(events: Sequence[Event]) -> list[tuple[int, str]]:
    return [(event.choice, event.reason) for event in events if isinstance(event, Finish)]


@functools.cache
def recorded(dialect: str) -> tuple[tuple[str, tuple[Event, ...]], ...]:
    """(id, events) of every recorded answer of this protocol."""
    found: list[tuple[str, tuple[Event, ...]]] = []
    for row in load(FILES[dialect]):
        if FILES[dialect] == "other" and row["protocol"] != _OTHERS[dialect]:
            continue
        body = row["response_body"]
        if row.get("body_encoding") == "base64":
            data = base64.b64decode(body)
        else:
            data = (body or "").encode()
        kind = {name.lower(): value for name, value in row["response_headers"].items()}.get(
            "content-type", ""
        )
        media = kind.partition(";")[0].strip() or "text/event-stream"
        if row["stream"]:
            decoder = DIALECTS[dialect].stream_decoder(media)
            frames = [*decoder.feed(data), *decoder.close()]
            events = [event for frame in frames for event in frame.events]
        else:
            events = DIALECTS[dialect].decode_response(data)
        found.append((row["id"], tuple(events)))
    return tuple(found)
