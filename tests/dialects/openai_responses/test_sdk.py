"""The official SDK reads what the encoders write: whole bodies, streams, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import httpx
import openai
import pytest
from openai import OpenAI

import recordings
from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
    Usage,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall
from llmitm.canon.turns import reasoning_of, text_of
from llmitm.dialects.contract import Reply
from llmitm.dialects.openai_responses import DIALECT

REPLY = Reply(model="gpt-x", id="resp_made", created_s=1_700_000_000)


def client(body: bytes, media: str, status: int = 200) -> OpenAI:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"content-type": media}, content=body)

    return OpenAI(
        api_key="k",
        base_url="http://localhost/v1",
        max_retries=0,
        http_client=httpx.Client(transport=httpx.MockTransport(answer)),
    )


def streamed(events: Sequence[Event]) -> bytes:
    encoder = DIALECT.stream_encoder(REPLY)
    # One event a call, as the stream tap does it.
    return b"".join(encoder.feed([event]) for event in events) + encoder.close()


def part(index: int, begun: Any, kind: Any, *deltas: str) -> list[Event]:
    return [
        PartStart(index, begun),
        *(PartDelta(index, kind, delta) for delta in deltas),
        PartEnd(index),
    ]


FOREIGN: list[Event] = [
    Start("msg_1", "claude", None),
    *part(0, Reasoning(dialect="anthropic_messages"), "reasoning", "Let me ", "think."),
    *part(1, Text(text=""), "text", "Hello ", "wörld \U0001f600"),
    # Two calls that overlap, as chat providers send them.
    PartStart(2, ToolCall(id="call_a", name="weather", arguments="")),
    PartStart(3, ToolCall(id="call_b", name="clock", arguments="")),
    PartDelta(2, "arguments", '{"city":'),
    PartDelta(3, "arguments", "{}"),
    PartDelta(2, "arguments", '"Rome"}'),
    PartEnd(2),
    PartEnd(3),
    Finish("tool_calls", "tool_use"),
    Usage(input_tokens=11, output_tokens=7, cache_read_tokens=5, reasoning_tokens=2),
    End(),
]


def check(response: Any, events: Sequence[Event]) -> None:
    """The SDK's response says what the folded events say."""
    folded = fold(events)
    (choice,) = folded.choices
    texts = [p for p in choice.parts if isinstance(p, Text)]
    assert response.output_text == text_of(texts)
    calls = [item for item in response.output if item.type == "function_call"]
    assert [(c.call_id, c.name, c.arguments) for c in calls] == [
        (p.id, p.name, p.arguments)
        for p in choice.parts
        if isinstance(p, ToolCall) and p.kind == "function"
    ]
    thoughts = [item for item in response.output if item.type == "reasoning"]
    pieces = [
        "\n\n".join(piece.text for piece in (item.summary or item.content or []))
        for item in thoughts
    ]
    assert "".join(pieces) == reasoning_of(choice.parts)
    if folded.usage is not None:
        assert response.usage.input_tokens == folded.usage.input_tokens
        assert response.usage.output_tokens == folded.usage.output_tokens
        details = response.usage.input_tokens_details
        if details is not None:
            assert details.cached_tokens == (folded.usage.cache_read_tokens or 0)


def test_translated_stream_through_create() -> None:
    with client(streamed(FOREIGN), "text/event-stream").responses.create(
        model="m", input="x", stream=True
    ) as stream:
        events = list(stream)
    assert [e.sequence_number for e in events] == list(range(len(events)))
    assert [e.type for e in events][:2] == ["response.created", "response.in_progress"]
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.status == "completed"
    assert last.response.model == "gpt-x"
    check(last.response, FOREIGN)
    deltas = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert deltas == last.response.output_text


def test_translated_stream_through_stream() -> None:
    with client(streamed(FOREIGN), "text/event-stream").responses.stream(
        model="m", input="x"
    ) as stream:
        kinds = [event.type for event in stream]
        response = stream.get_final_response()
    check(response, FOREIGN)
    for kind in (
        "response.reasoning_summary_part.added",
        "response.reasoning_summary_text.delta",
        "response.reasoning_summary_text.done",
        "response.content_part.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.function_call_arguments.done",
    ):
        assert kind in kinds
    assert kinds.count("response.output_item.added") == 4
    assert kinds.count("response.output_item.done") == 4


def test_every_item_is_added_and_done_once_with_one_id() -> None:
    with client(streamed(FOREIGN), "text/event-stream").responses.create(
        model="m", input="x", stream=True
    ) as stream:
        events = list(stream)
    added = {e.output_index: e.item.id for e in events if e.type == "response.output_item.added"}
    done = {e.output_index: e.item for e in events if e.type == "response.output_item.done"}
    assert added == {place: item.id for place, item in done.items()}
    assert len(set(added.values())) == 4
    for event in events:
        if hasattr(event, "item_id"):
            assert event.item_id == added[event.output_index]
    assert [item.id for item in events[-1].response.output] == list(added.values())


def test_translated_body() -> None:
    body = DIALECT.encode_response(fold(FOREIGN), REPLY)
    response = client(body.body, "application/json").responses.create(model="m", input="x")
    check(response, FOREIGN)
    assert response.id == "msg_1"
    assert response.created_at == REPLY.created_s


def test_refusal_logprobs_and_citations() -> None:
    logprobs: list[Any] = [{"token": "No", "logprob": -0.5, "bytes": [78], "top_logprobs": []}]
    citation: Any = {
        "type": "url_citation",
        "url_citation": {"url": "u", "title": "t", "start_index": 0, "end_index": 2},
    }
    events: list[Event] = [
        Start("x"),
        PartStart(0, Text(text="")),
        PartDetail(index=0, logprobs={"content": logprobs}),
        PartDelta(0, "text", "No"),
        PartDetail(index=0, annotations=(citation,)),
        PartEnd(0),
        *part(1, Refusal(text=""), "refusal", "I can", "not."),
        Finish("length"),
        End(),
    ]
    with client(streamed(events), "text/event-stream").responses.stream(
        model="m", input="x"
    ) as stream:
        seen = list(stream)
    response = seen[-1].response
    assert response.status == "incomplete"
    assert response.incomplete_details.reason == "max_output_tokens"
    (message,) = response.output
    text, refusal = message.content
    assert text.annotations[0].url == "u"
    assert text.logprobs[0].token == "No"
    assert refusal.refusal == "I cannot."
    delta = next(e for e in seen if e.type == "response.output_text.delta")
    assert delta.logprobs[0].logprob == -0.5


def test_custom_tool_call_keeps_its_form() -> None:
    events: list[Event] = [
        Start("x"),
        *part(
            0,
            ToolCall(id="c", name="exec", arguments=""),
            "arguments",
            '{"input": "console.',
            'log(1)"}',
        ),
        Finish("tool_calls"),
        End(),
    ]
    encoder = DIALECT.stream_encoder(Reply(custom_tools=frozenset({"exec"})))
    body = encoder.feed(events) + encoder.close()
    with client(body, "text/event-stream").responses.create(
        model="m", input="x", stream=True
    ) as stream:
        seen = list(stream)
    (call,) = seen[-1].response.output
    assert (call.type, call.input, call.call_id) == ("custom_tool_call", "console.log(1)", "c")
    (delta,) = [e for e in seen if e.type == "response.custom_tool_call_input.delta"]
    assert delta.delta == "console.log(1)"


@pytest.mark.parametrize("begun", [True, False])
def test_error_in_the_stream_raises(begun: bool) -> None:
    fault = Fault(kind="overloaded", message="too much", code="overloaded")
    events: list[Event] = [*(FOREIGN[:6] if begun else []), fault]
    body = streamed(events)
    with (
        pytest.raises(openai.APIError, match="too much"),
        client(body, "text/event-stream").responses.create(
            model="m", input="x", stream=True
        ) as stream,
    ):
        list(stream)
    assert body.rstrip().rpartition(b"\n\n")[2].startswith(b"event: response.failed\n")


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault(kind="rate_limit", message="slow"), 429, openai.RateLimitError),
        (Fault(kind="authentication", message="who"), 401, openai.AuthenticationError),
        (Fault(kind="context_length", message="long"), 400, openai.BadRequestError),
        (Fault(kind="server", message="broken"), 500, openai.InternalServerError),
    ],
)
def test_error_body(fault: Fault, status: int, kind: type[openai.APIStatusError]) -> None:
    with pytest.raises(kind, match=fault.message) as caught:
        client(DIALECT.encode_error(fault), "application/json", status).responses.create(
            model="m", input="x"
        )
    assert (
        caught.value.code
        == {
            "rate_limit": "rate_limit_exceeded",
            "authentication": "invalid_api_key",
            "context_length": "context_length_exceeded",
            "server": "server_error",
        }[fault.kind]
    )


def test_stream_that_breaks_off_is_still_readable() -> None:
    for cut in range(len(FOREIGN)):
        with client(streamed(FOREIGN[:cut]), "text/event-stream").responses.stream(
            model="m", input="x"
        ) as stream:
            assert stream.get_final_response().status == "completed"


@recordings.needs_corpus
def test_recorded_streams_written_again() -> None:
    for exchange in recordings.load("openai-responses"):
        body = exchange["response_body"].encode()
        if not exchange["stream"]:
            continue
        if body.count(b"event: response.created") > 1:
            # A whole conversation: what the SDK makes of one answer is told by its first.
            body = body[: body.index(b"event: response.created", 1)]
        decoder = DIALECT.stream_decoder("text/event-stream")
        events = [e for f in (*decoder.feed(body), *decoder.close()) for e in f.events]
        with client(streamed(events), "text/event-stream").responses.create(
            model="m", input="x", stream=True
        ) as stream:
            seen = list(stream)
        check(seen[-1].response, events)
        assert [e.sequence_number for e in seen] == list(range(len(seen)))
        with client(streamed(events), "text/event-stream").responses.stream(
            model="m", input="x"
        ) as helped:
            assert [event.type for event in helped] == [event.type for event in seen]
