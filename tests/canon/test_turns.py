"""Merged turns, split instructions, plain text."""

from __future__ import annotations

from llmitm.canon.parts import Reasoning, Refusal, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.canon.turns import merge, reasoning_of, split_instructions, text_of
from llmitm.canon.values import pointer

ask = Message(role="user", parts=(Text(text="ask"),))
call = Message(role="assistant", parts=(ToolCall(id="1", name="f", arguments="{}"),))
result = Message(role="tool", parts=(ToolResult(call_id="1", parts=(Text(text="42"),)),))


def test_neighbours_of_one_side_merge_and_tools_are_the_users_side() -> None:
    merged = merge([ask, call, call, result, result, ask])
    assert [(message.role, len(message.parts)) for message in merged] == [
        ("user", 1),
        ("assistant", 2),
        ("user", 3),
    ]


def test_merging_keeps_every_part_in_order() -> None:
    messages = [ask, result, call, ask]
    flat = [part for message in messages for part in message.parts]
    assert [part for message in merge(messages) for part in message.parts] == flat


def test_only_leading_system_messages_are_instructions() -> None:
    system = Message(role="system", parts=(Text(text="be brief"),))
    late = Message(role="developer", parts=(Text(text="late"),))
    request = Request(
        dialect="x", model="m", instructions=(Text(text="top"),), messages=(system, ask, late)
    )
    instructions, rest = split_instructions(request)
    assert text_of(instructions) == "topbe brief"
    assert rest == (ask, late)


def test_text_leaves_reasoning_out_and_takes_results_in() -> None:
    parts = (Reasoning(text="hm"), Text(text="a"), *result.parts, Refusal(text="no"))
    assert text_of(parts) == "a42no"
    assert reasoning_of(parts) == "hm"


def test_pointers_escape_as_rfc_6901_says() -> None:
    assert pointer(("messages", 3, "a/b~c")) == "/messages/3/a~1b~0c"
    assert pointer(()) == ""
