"""The chat a person reads: everything said is there, media and opaque data are named only."""

from __future__ import annotations

from llmitm.canon.events import Fault, Finish, Usage
from llmitm.canon.parts import Media, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Request, Sampling, Tool
from llmitm.canon.response import Choice, Response
from llmitm.desk.transcript import MOST_CHARACTERS, exchange_text, response_text, usage_line

REQUEST = Request(
    dialect="openai_chat",
    model="gpt-5",
    stream=True,
    sampling=Sampling(temperature=0.5, stop=("END",)),
    tools=(Tool(name="get_weather"), Tool(name="web_search", kind="server")),
    instructions=(Text(text="Be brief."),),
    messages=(
        Message(
            role="user",
            name="ann",
            parts=(
                Text(text="What is this?"),
                Media(kind="image", mime="image/png", data="A" * 4000),
                Media(kind="image", url="https://example.org/a.png"),
            ),
        ),
        Message(
            role="assistant",
            parts=(
                Reasoning(text="hm\nwell"),
                Reasoning(encrypted="SECRET"),
                ToolCall(id="call_1", name="get_weather", arguments='{"city": "Oslo"}'),
            ),
        ),
        Message(
            role="tool",
            parts=(ToolResult(call_id="call_1", parts=(Text(text="rain"),), error=True),),
        ),
        Message(role="user", parts=(Unknown(dialect="x", kind="odd", value={"a": "b" * 500}),)),
    ),
)
RESPONSE = Response(
    model="gpt-5-2026",
    choices=(
        Choice(parts=(Text(text="It rains."), Refusal(text="no")), finish=Finish("stop", "end")),
    ),
    usage=Usage(input_tokens=10, output_tokens=4, cache_read_tokens=3, reasoning_tokens=2),
)


def test_the_whole_exchange_reads_as_a_chat() -> None:
    text = exchange_text(REQUEST, RESPONSE)
    for said in (
        "model: gpt-5",
        "temperature: 0.5",
        "stop: ['END']",
        "tools: get_weather, web_search (server)",
        "─ system\nBe brief.",
        "─ user (ann)\nWhat is this?",
        "[image image/png 3000 bytes]",
        "[image https://example.org/a.png]",
        "┊ hm\n┊ well",
        "┊ [hidden reasoning]",
        '→ get_weather({"city": "Oslo"})  #call_1',
        "✗ result  #call_1\n  rain",
        "[odd]",
        "─ assistant\nIt rains.\n[refusal] no",
        "finish: stop (end)",
        "usage: 10 in (3 cached), 4 out (2 reasoning)",
        "answered by: gpt-5-2026",
    ):
        assert said in text
    assert "SECRET" not in text
    assert "A" * 100 not in text


def test_an_error_is_the_answer() -> None:
    response = Response(fault=Fault(kind="rate_limit", message="slow down", code="429x"))
    assert response_text(response) == "ERROR rate_limit [429x]: slow down"


def test_usage_that_was_not_told_is_not_zero() -> None:
    assert usage_line(Usage()) == "not told"
    assert usage_line(Usage(output_tokens=3)) == "? in, 3 out"


def test_a_huge_chat_keeps_its_head_and_tail() -> None:
    message = Message(role="user", parts=(Text(text="a" * (2 * MOST_CHARACTERS) + "tail"),))
    text = exchange_text(Request(dialect="x", model="m", messages=(message,)), None)
    assert len(text) < MOST_CHARACTERS + 100
    assert text.startswith("model: m")
    assert text.rstrip().endswith("tail")
    assert "characters left out" in text
