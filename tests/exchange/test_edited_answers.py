"""An edited answer says on the wire what the edit says, and as little as possible of it changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

import recordings
from dialects.corpus import own_answers
from dialects.pairs import NAMES, answers_of, media_type
from llmitm.canon.events import Finish
from llmitm.canon.parts import Part, Reasoning, Text, ToolCall
from llmitm.canon.response import Response
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Reply
from llmitm.exchange.edited_answers import edited_answer, read_answer


def bodies(name: str) -> Iterator[tuple[str, bytes, str]]:
    """(case, body, media type of a stream) of every answer that is there."""
    for case, stream, body in (*own_answers(name), *answers_of(name)):
        yield case, body, media_type(body) if stream else ""


def with_parts(response: Response, parts: tuple[Part, ...]) -> Response:
    first, *more = response.choices
    return replace(response, choices=(replace(first, parts=parts), *more))


def edits(response: Response) -> Iterator[tuple[str, Response]]:
    if not response.choices or not response.choices[0].parts or response.fault is not None:
        return
    parts = response.choices[0].parts
    finish = response.choices[0].finish
    for at, part in enumerate(parts):
        if isinstance(part, Text) and part.text:
            new: Part = replace(part, text=part.text + " EDITED", logprobs=None)
            yield "text", with_parts(response, (*parts[:at], new, *parts[at + 1 :]))
            break
    for at, part in enumerate(parts):
        if isinstance(part, ToolCall):
            new = replace(part, arguments='{"edited":true}')
            yield "arguments", with_parts(response, (*parts[:at], new, *parts[at + 1 :]))
            break
    if isinstance(parts[-1], Text) and finish is not None and finish.reason == "stop":
        call = ToolCall(id="call_new", name="look", arguments='{"a":1}')
        first, *more = with_parts(response, (*parts, call)).choices
        ended = replace(first, finish=Finish("tool_calls", choice=first.index))
        yield "call added", replace(response, choices=(ended, *more))
    if len(parts) > 1 and not isinstance(parts[0], Reasoning):
        yield "part gone", with_parts(response, parts[:-1])


def said(response: Response) -> list[tuple[object, ...]]:
    return [
        (
            choice.index,
            part.text if isinstance(part, Text) else "",
            part.arguments if isinstance(part, ToolCall) else "",
        )
        for choice in response.choices
        for part in choice.parts
        if isinstance(part, Text | ToolCall)
    ]


def calls(response: Response) -> list[tuple[str, str]]:
    return [
        (part.name, part.arguments.replace(" ", ""))
        for choice in response.choices
        for part in choice.parts
        if isinstance(part, ToolCall)
    ]


def reasons(response: Response) -> list[object]:
    return [one.finish and one.finish.reason for one in response.choices]


def words(response: Response) -> list[str]:
    return [
        "".join(part.text for part in choice.parts if isinstance(part, Text))
        for choice in response.choices
    ]


@pytest.mark.parametrize("name", NAMES)
def test_the_wire_says_what_the_edit_says(name: str) -> None:
    dialect = DIALECTS[name]
    tried = 0
    for case, body, media in bodies(name):
        was = read_answer(dialect, body, media)
        assert edited_answer(dialect, body, media, (was, was), Reply()) is body
        framing = "json_array" if media == "application/json" else "sse"
        reply = Reply(model=was.model, id=was.id, framing=framing, stream_usage=True)
        for what, now in edits(was):
            tried += 1
            made = edited_answer(dialect, body, media, (was, now), reply)
            back = read_answer(dialect, made, media)
            assert words(back) == words(now), (case, what)
            assert calls(back) == calls(now), (case, what)
            if what != "part gone":
                # Some protocols tell by what there is why an answer ended.
                assert reasons(back) == reasons(now), (case, what)
            if media and back.usage is not None and was.usage is not None:
                assert back.usage.output_tokens == was.usage.output_tokens, (case, what)
    assert tried > (300 if recordings.CORPUS.is_dir() else 5)


CHAT = b"".join(
    b'data: {"id":"c1","odd":7,"model":"m","choices":[{"index":0,"delta":{%s}}]}\n\n' % delta
    for delta in (b'"role":"assistant","content":""', b'"content":"Hel"', b'"content":"lo"')
)
CHAT_END = (
    b'data: {"id":"c1","odd":7,"model":"m","choices":[{"index":0,"delta":{},'
    b'"finish_reason":"stop"}]}'
    b"\n\n: comment\n\ndata: [DONE]\n\n"
)


def test_frames_that_say_nothing_edited_stay_as_they_came() -> None:
    dialect = DIALECTS["openai_chat"]
    body = CHAT + CHAT_END
    was = read_answer(dialect, body, "text/event-stream")
    (text,) = was.choices[0].parts
    assert isinstance(text, Text)
    now = with_parts(was, (replace(text, text="Bye"),))
    made = edited_answer(dialect, body, "text/event-stream", (was, now), Reply(model="m", id="c1"))
    first = body.index(b"\n\n") + 2
    assert made.startswith(body[:first])
    assert made.endswith(CHAT_END)
    middle = made[first : -len(CHAT_END)]
    assert b'"content":"Bye"' in middle
    assert middle.count(b"data:") == 1
