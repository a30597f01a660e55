"""Streams that are not as the reference draws them: what was told late, twice, or never."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.events import (
    End,
    Event,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    Start,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.dialects.contract import Reply
from llmitm.dialects.openai_responses import DIALECT
from llmitm.dialects.openai_responses.reader import EventReader
from llmitm.dialects.openai_responses.tables import NAME
from llmitm.dialects.openai_responses.writer import Writer

type Wire = dict[str, Any]

CREATED: Wire = {
    "type": "response.created",
    "response": {"id": "resp_1", "object": "response", "model": "m", "created_at": 5},
}
MESSAGE: Wire = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}],
}
CALL: Wire = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "f",
    "arguments": '{"a":1}',
}
THOUGHT: Wire = {
    "id": "rs_1",
    "type": "reasoning",
    "summary": [
        {"type": "summary_text", "text": "One"},
        {"type": "summary_text", "text": "Two"},
    ],
    "encrypted_content": "abc",
}


def final(kind: str = "completed", **more: Any) -> Wire:
    response = {"id": "resp_1", "object": "response", "model": "m", "status": kind, "output": []}
    return {"type": f"response.{kind}", "response": {**response, **more}}


def event(kind: str, **more: Any) -> Wire:
    return {"type": f"response.{kind}", "output_index": 0, **more}


def told(*wires: Wire) -> list[Event]:
    body = b"".join(b"data: " + json.dumps(wire).encode() + b"\n\n" for wire in wires)
    decoder = DIALECT.stream_decoder("text/event-stream")
    return [e for f in (*decoder.feed(body), *decoder.close()) for e in f.events]


def text(place: int = 0, **extras: Any) -> Text:
    return Text(text="Hello", logprobs=[], extras={"item": {"id": "msg_1"}, **extras})


CALLED = ToolCall(id="call_1", name="f", arguments='{"a":1}', item_id="fc_1")
THOUGHTS = Reasoning(
    text="One\n\nTwo",
    summary=True,
    encrypted="abc",
    item_id="rs_1",
    dialect=NAME,
    extras={"summary": THOUGHT["summary"]},
)
PART: Wire = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
BEGUN: Wire = {**MESSAGE, "status": "in_progress", "content": []}


@pytest.mark.parametrize(
    ("wires", "parts"),
    [
        # Only the final response tells the items.
        ([CREATED, final(output=[THOUGHT, MESSAGE, CALL])], [THOUGHTS, text(), CALLED]),
        # Only ends of items.
        ([CREATED, event("output_item.done", item=MESSAGE), final()], [text()]),
        ([CREATED, event("output_item.done", item=THOUGHT), final()], [THOUGHTS]),
        # Ends of items, and the final response again.
        (
            [
                CREATED,
                event("output_item.done", item=MESSAGE),
                event("output_item.done", item=CALL, output_index=1),
                final(output=[MESSAGE, CALL]),
            ],
            [text(), CALLED],
        ),
        # The first half in deltas, the rest at the end.
        (
            [
                CREATED,
                event("output_item.added", item=BEGUN),
                event("content_part.added", item_id="msg_1", content_index=0, part=PART),
                event("output_text.delta", item_id="msg_1", content_index=0, delta="Hel"),
                final(output=[MESSAGE]),
            ],
            [text()],
        ),
        # Places in the final response moved; ids did not.
        (
            [
                CREATED,
                event("output_item.added", item=THOUGHT, output_index=3),
                event("output_item.done", item=CALL, output_index=5),
                final(output=[CALL, THOUGHT]),
            ],
            [THOUGHTS, CALLED],
        ),
        # Deltas without anything that announced them.
        (
            [event("output_text.delta", item_id="msg_1", content_index=0, delta="Hello")],
            [Text(text="Hello", extras={"item": {"id": "msg_1"}})],
        ),
        (
            [event("function_call_arguments.delta", item_id="fc_1", delta="{}")],
            [ToolCall(id="", name="", arguments="{}", item_id="fc_1")],
        ),
        # Only the whole text of a part.
        (
            [
                CREATED,
                event("output_item.added", item=BEGUN),
                event("output_text.done", item_id="msg_1", content_index=0, text="Hello"),
                event("refusal.done", item_id="msg_1", content_index=1, refusal="No"),
                final(),
            ],
            [Text(text="Hello", extras={"item": {"id": "msg_1"}}), Refusal(text="No")],
        ),
        # Paragraphs of a summary.
        (
            [
                CREATED,
                event("output_item.added", item={"type": "reasoning", "id": "rs_1", "summary": []}),
                event("reasoning_summary_part.added", summary_index=0, part={}),
                event("reasoning_summary_text.delta", summary_index=0, delta="One"),
                event("reasoning_summary_part.added", summary_index=1, part={}),
                event("reasoning_summary_text.delta", summary_index=1, delta="T"),
                event("reasoning_summary_text.delta", summary_index=1, delta="wo"),
                event("output_item.done", item=THOUGHT),
                final(),
            ],
            [THOUGHTS],
        ),
        # A free text call.
        (
            [
                CREATED,
                event(
                    "output_item.added",
                    item={
                        "type": "custom_tool_call",
                        "id": "ctc_1",
                        "call_id": "c",
                        "name": "exec",
                        "input": "",
                        "namespace": "n",
                    },
                ),
                event("custom_tool_call_input.delta", item_id="ctc_1", delta="ls "),
                event("custom_tool_call_input.done", item_id="ctc_1", input="ls -l"),
                final(),
            ],
            [
                ToolCall(
                    id="c",
                    name="exec",
                    arguments="ls -l",
                    kind="custom",
                    item_id="ctc_1",
                    extras={"namespace": "n"},
                )
            ],
        ),
    ],
)
def test_parts_are_told_once(wires: list[Wire], parts: list[Any]) -> None:
    events = told(*wires)
    (choice,) = fold(events).choices
    assert list(choice.parts) == parts
    starts = [e.index for e in events if isinstance(e, PartStart)]
    ends = [e.index for e in events if isinstance(e, PartEnd)]
    assert sorted(starts) == sorted(ends)
    assert len(set(starts)) == len(starts)


def test_reasoning_text_and_summary_of_one_item() -> None:
    item: Wire = {
        "type": "reasoning",
        "id": "rs_1",
        "summary": [{"type": "summary_text", "text": "short"}],
        "content": [{"type": "reasoning_text", "text": "long"}],
    }
    whole = fold(DIALECT.decode_response(json.dumps(final(output=[item])["response"]).encode()))
    (part,) = whole.choices[0].parts
    assert isinstance(part, Reasoning)
    assert (part.text, part.summary) == ("long", False)
    streamed = fold(
        told(
            CREATED,
            event("output_item.added", item={"type": "reasoning", "id": "rs_1", "summary": []}),
            event("reasoning_text.delta", content_index=0, delta="long"),
            event("reasoning_summary_text.delta", summary_index=0, delta="short"),
            event("output_item.done", item=item),
            final(),
        )
    )
    assert streamed.choices[0].parts == whole.choices[0].parts
    again = json.loads(DIALECT.encode_response(streamed, Reply()).body)
    assert again["output"] == [item]


def test_items_only_this_protocol_has() -> None:
    item = {"id": "ws_1", "type": "web_search_call", "status": "completed", "action": {"q": 1}}
    begun = {**item, "status": "in_progress"}
    wires = [
        CREATED,
        event("output_item.added", item=begun),
        event("web_search_call.searching", item_id="ws_1", sequence_number=9),
        event("output_item.done", item=item),
        event("brand_new.thing", x=1),
        final(output=[item]),
    ]
    events = told(*wires)
    response = fold(events)
    assert response.choices[0].parts == (Unknown(dialect=NAME, kind="web_search_call", value=item),)
    assert [o.event for o in response.opaque] == [
        "response.output_item.added",
        "response.web_search_call.searching",
        "response.brand_new.thing",
    ]
    written = Writer(Reply()).feed(events)
    assert [kind for kind, _ in written] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.web_search_call.searching",
        "response.output_item.done",
        "response.brand_new.thing",
        "response.completed",
    ]
    numbers = [json.loads(data)["sequence_number"] for _, data in written]
    assert numbers == list(range(7))


@pytest.mark.parametrize(
    ("wire", "finish"),
    [
        (final(), Finish("stop", "completed")),
        (final(output=[CALL]), Finish("tool_calls", "completed")),
        (
            final("incomplete", incomplete_details={"reason": "max_output_tokens"}),
            Finish("length", "max_output_tokens"),
        ),
        (
            final("incomplete", incomplete_details={"reason": "content_filter"}),
            Finish("content_filter", "content_filter"),
        ),
        (final("incomplete", incomplete_details=None), Finish("unknown", "incomplete")),
        (final("cancelled"), Finish("unknown", "cancelled")),
    ],
)
def test_finish(wire: Wire, finish: Finish) -> None:
    events = told(CREATED, wire)
    assert [e for e in events if isinstance(e, Finish)] == [finish]
    assert isinstance(events[-1], End)
    body = json.dumps(wire["response"]).encode()
    assert [e for e in DIALECT.decode_response(body) if isinstance(e, Finish)] == [finish]
    again = json.loads(DIALECT.encode_response(fold(events), Reply()).body)
    assert again["status"] == wire["response"]["status"]


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_background_states_have_no_finish(status: str) -> None:
    body = {**final(status)["response"], "created_at": 1, "usage": None, "background": True}
    events = DIALECT.decode_response(json.dumps(body).encode())
    assert not [e for e in events if isinstance(e, Finish)]
    assert json.loads(DIALECT.encode_response(fold(events), Reply()).body) == body


def test_websocket_frames_are_the_same_events() -> None:
    wires = [
        CREATED,
        event("output_item.added", item=BEGUN),
        event("content_part.added", item_id="msg_1", content_index=0, part=PART),
        event("output_text.delta", item_id="msg_1", content_index=0, delta="Hello"),
        event("output_item.done", item=MESSAGE),
        final(output=[MESSAGE]),
    ]
    reader = EventReader()
    events = [e for wire in wires for e in reader.read(json.dumps(wire).encode())]
    events += reader.close()
    assert events == told(*wires)
    writer = Writer(Reply())
    frames = [data for e in events for _, data in writer.feed([e])]
    again = EventReader()
    assert fold(e for data in frames for e in again.read(data)) == fold(events)


def test_a_second_answer_on_one_connection() -> None:
    second: Wire = {
        "type": "response.created",
        "response": {"id": "resp_2", "model": "m", "status": "in_progress"},
    }
    reader = EventReader()
    wires = [CREATED, event("output_item.done", item=MESSAGE), final(output=[MESSAGE])]
    for wire in wires:
        reader.take(wire)
    events = [*reader.take(second), *reader.take(event("output_item.done", item=CALL))]
    assert isinstance(events[0], Start)
    assert [e.part for e in events if isinstance(e, PartStart)] == [replace(CALLED, arguments="")]


def test_a_late_text_is_not_repeated_when_it_differs() -> None:
    changed = {**MESSAGE, "content": [{**PART, "text": "Goodbye"}]}
    events = told(
        CREATED,
        event("output_item.added", item=BEGUN),
        event("content_part.added", item_id="msg_1", content_index=0, part=PART),
        event("output_text.delta", item_id="msg_1", content_index=0, delta="Hello"),
        event("output_item.done", item=changed),
        final(),
    )
    assert [e.text for e in events if isinstance(e, PartDelta)] == ["Hello"]
