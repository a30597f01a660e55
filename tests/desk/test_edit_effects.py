"""What an edit brings about is told before it is sent, with what it costs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request, Tool
from llmitm.desk.edit_effects import Effect, edit_effects
from llmitm.desk.turn_difference import Turns
from llmitm.ruleset.models import PriceRow

PRICE = PriceRow(name="p", models=("m",), input=4.0, output=20.0, cache_read=0.5, cache_write=5.0)
LONG = "four" * 1000
MARK = {"cache_control": {"type": "ephemeral"}}


def talk(*said: tuple[str, Part], dialect: str = "openai_chat") -> Request:
    return Request(
        dialect=dialect,
        model="m",
        messages=tuple(
            Message(role=role, parts=(part,), at=("messages", place))  # pyright: ignore[reportArgumentType]
            for place, (role, part) in enumerate(said)
        ),
    )


def changed(request: Request, place: int, part: Part) -> Request:
    messages = list(request.messages)
    messages[place] = replace(messages[place], parts=(part,))
    return replace(request, messages=tuple(messages))


TALK = talk(
    ("user", Text(text=LONG)),
    ("assistant", Text(text=LONG)),
    ("user", Text(text=LONG)),
    ("assistant", Text(text="yes")),
    ("user", Text(text="go on")),
)


def test_a_change_in_what_was_sent_before_costs_its_cache() -> None:
    (effect,) = edit_effects(TALK, changed(TALK, 1, Text(text="short")), PRICE)
    assert effect.say.startswith("Message 2 changed: about 2002 tokens of the prompt are not read")
    assert effect.cost_usd == pytest.approx(2002 * 4.5e-6)
    assert edit_effects(TALK, changed(TALK, 1, Text(text="s")), None)[0].cost_usd is None
    (whole,) = edit_effects(TALK, replace(TALK, model="n"), PRICE)
    assert whole.say.startswith("The model changed: about 3003 tokens")
    (tools,) = edit_effects(TALK, replace(TALK, tools=(Tool(name="t"),)), PRICE)
    assert tools.say.startswith("The tools changed: about 3003 tokens")


def test_what_was_never_sent_costs_nothing() -> None:
    assert edit_effects(TALK, TALK, PRICE) == ()
    assert edit_effects(TALK, changed(TALK, 4, Text(text="stop")), PRICE) == ()
    assert edit_effects(TALK, changed(TALK, 3, Text(text="no")), PRICE) == ()
    first = talk(("user", Text(text=LONG)))
    assert edit_effects(first, changed(first, 0, Text(text="x")), PRICE) == ()
    small = talk(("user", Text(text="a")), ("assistant", Text(text="b")), ("user", Text(text="c")))
    assert edit_effects(small, changed(small, 0, Text(text="x")), PRICE) == ()


def test_breakpoints_of_the_cache() -> None:
    plain = replace(TALK, dialect="anthropic_messages")
    assert edit_effects(plain, changed(plain, 1, Text(text="x")), PRICE) == ()
    marked = changed(plain, 0, Text(text=LONG, extras=MARK))
    (effect,) = edit_effects(marked, changed(marked, 2, Text(text="x")), PRICE)
    assert "about 2002 tokens" in effect.say
    later = changed(plain, 4, Text(text="go on", extras=MARK))
    (effect,) = edit_effects(later, changed(later, 2, Text(text="x")), PRICE)
    assert "about 3003 tokens" in effect.say
    whole = replace(plain, extras=MARK)
    (effect,) = edit_effects(whole, changed(whole, 2, Text(text="x")), PRICE)
    assert "about 3003 tokens" in effect.say


THOUGHT = Reasoning(text="hm", signature="S")


def test_signed_blocks() -> None:
    one = talk(("user", Text(text="a")), ("assistant", THOUGHT), ("user", Text(text="b")))
    bare = replace(THOUGHT, text="ha", signature=None)
    assert [effect.say[:60] for effect in edit_effects(one, changed(one, 1, bare), None)] == [
        "Message 2: a block that its provider signed was changed or r"
    ]
    assert edit_effects(one, changed(one, 0, Text(text="c")), None) == (
        Effect("1 signed blocks come after the change; they were made for what stood there before"),
    )
    call = ToolCall(id="c", name="n", arguments="{}", signature="S")
    two = talk(("assistant", call), ("tool", ToolResult(call_id="c", parts=())))
    (effect,) = edit_effects(two, changed(two, 0, replace(call, arguments='{"a":1}')), None)
    assert effect.say.startswith("Message 1: it was signed by its provider as it stood before")


def test_calls_and_results_that_lost_each_other() -> None:
    request = talk(
        ("assistant", ToolCall(id="c1", name="n", arguments="{}")),
        ("tool", ToolResult(call_id="c1", parts=())),
    )
    first, second = request.messages
    (effect,) = edit_effects(request, replace(request, messages=(first,)), None)
    assert effect.say.startswith("The tool call c1 has no result any more")
    (effect,) = edit_effects(request, replace(request, messages=(second,)), None)
    assert effect.say.startswith("The tool result c1 has no call any more")
    assert edit_effects(replace(request, messages=(first,)), request, None) == ()


def test_media_that_is_lost() -> None:
    image = Media(kind="image", url="https://example.org/a.png")
    request = talk(
        ("user", image), ("tool", ToolResult(call_id="", parts=(image,))), ("user", Text(text="x"))
    )
    assert edit_effects(request, replace(request, messages=request.messages[2:]), None)[-1] == (
        Effect("2 image parts less than before")
    )


def test_where_a_conversation_goes_on() -> None:
    turns = Turns(most=2)
    messages = TALK.messages
    assert turns.new_from("a", messages[:1]) == 0
    assert turns.new_from("a", messages[:3]) == 1
    assert turns.new_from("a", messages[:3]) == 1
    marked = (replace(messages[0], parts=(Text(text=LONG, extras=MARK),)), *messages[1:])
    assert turns.new_from("a", marked) == 3
    assert turns.new_from("a", changed(TALK, 1, Text(text="\ud800")).messages) == 1
    assert turns.new_from("", messages) == 0
    assert turns.new_from("b", messages) == 0
    assert turns.new_from("c", messages) == 0
    assert len(turns) == 2
    assert turns.new_from("a", messages) == 0
