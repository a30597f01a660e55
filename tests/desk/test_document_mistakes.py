"""What an operator may write, and what is told when it cannot be."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest

from desk.test_documents_come_back import all_answers, all_requests
from dialects.pairs import NAMES
from llmitm.canon.events import Fault, Finish
from llmitm.canon.parts import Media, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Request, Sampling, Tool, ToolChoice
from llmitm.canon.response import Choice, Response
from llmitm.desk.documents import (
    call_document,
    difference,
    read_call,
    read_request,
    read_response,
    request_document,
    response_document,
)
from llmitm.errors import DocumentError

CALL = ToolCall(id="call_1", name="look", arguments='{ "city":"Oslo", "days": 1.0 }', signature="S")
THOUGHT = Reasoning(text="hm", signature="SIG", dialect="anthropic_messages")
HIDDEN = Reasoning(encrypted="SECRET", dialect="anthropic_messages")
IMAGE = Media(kind="image", mime="image/png", data="QUJD" * 40)
REQUEST = Request(
    dialect="anthropic_messages",
    model="m",
    sampling=Sampling(max_tokens=10, stop=("END",)),
    instructions=(Text(text="Be brief.", extras={"cache_control": {"type": "ephemeral"}}),),
    tools=(Tool(name="look", parameters={"type": "object"}), Tool(name="say")),
    tool_choice=ToolChoice(mode="auto"),
    messages=(
        Message(role="user", parts=(Text(text="Look at\nthis"), IMAGE)),
        Message(role="assistant", parts=(THOUGHT, HIDDEN, Text(text="I look."), CALL)),
        Message(role="user", parts=(ToolResult(call_id="call_1", parts=(Text(text="rain"),)),)),
        Message(role="user", parts=(Unknown(dialect="x", kind="odd", value=1),)),
    ),
)


def mistakes(text: str, original: Request = REQUEST) -> list[tuple[int, str]]:
    with pytest.raises(DocumentError) as caught:
        read_request(text, original)
    return list(caught.value.mistakes)


def edited(*changes: tuple[str, str]) -> str:
    text = request_document(REQUEST)
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_nothing_secret_or_opaque_is_shown() -> None:
    text = request_document(REQUEST)
    assert "SECRET" not in text
    assert "SIG" not in text
    assert "QUJD" not in text
    assert "image: image/png, 120 bytes" in text.replace('"', "")
    assert read_request(text, REQUEST) is REQUEST


def test_every_mistake_is_told_with_its_line() -> None:
    text = edited(
        ("max_tokens: 10", "max_tokens: ten"),
        ("stream: false", "stream: true"),
        ("- say\n", "- shout\n"),
        ("mode: auto", "mode: never"),
        ("- message: 2\n  role: assistant", "- message: 2\n  role: model\n  colour: red"),
        ("- message: 4", "- message: 3"),
        ("tool_result: call_1\n    text: |-\n      rain", "tool_result: call_1\n    text: 5"),
    )
    lines = text.split("\n")
    told = mistakes(text)
    assert [(lines[line - 1].strip(), say[:36]) for line, say in told] == [
        ("stream: true", "`stream` cannot be changed: the clie"),
        ("max_tokens: ten", "`max_tokens` must be a whole number,"),
        ("- shout", "there was no tool `shout` (any more)"),
        ("mode: never", "`mode` must be one of auto, none, re"),
        ("role: model", "`role` must be one of system, develo"),
        ("colour: red", "a message has no `colour`; allowed: "),
        ("text: 5", "`text` must be text (quote it), not "),
        ("- message: 3", "message 3 stands twice, first on lin"),
        ("- keep: 1", "`keep` names something that was ther"),
        ("- keep: 1", "a other part cannot be made by hand:"),
    ] or told


@pytest.mark.parametrize(
    ("text", "line", "say"),
    [
        ("model: [", 1, "not YAML"),
        ("a: 'x\n", 2, "not YAML"),
        ("model: m\nmessages: 3\n", 2, "`messages` must be a list"),
        ("- a\n", 1, "the document must be a mapping"),
        ("", 1, "the document must be a mapping"),
        ("model: m\n", 1, "the document must have `messages`"),
        ("model: m\nmessages:\n- hello\n", 3, "a message must be a mapping"),
        ("model: m\nmessages:\n- role: user\n", 3, "a message must have `text` or `parts`"),
        ("model: m\nmessages:\n- text: x\n", 3, "a new message must have `role`"),
        ("model: m\nmessages:\n- role: user\n  parts: [{}]\n", 4, "a part must have one of"),
        ("model: m\nmessages:\n- role: user\n  parts: [{image: x}]\n", 4, "a new image must be"),
        ("model: m\nmodel: n\nmessages: []\n", 2, "key stands twice"),
        ("model: !x m\nmessages: []\n", 1, "the tag !x is not supported"),
        ("model: m\n---\nmodel: n\n", 2, "not YAML"),
        ("model: m\nmessages: []\nseed: " + "9" * 5000, 3, "999"),
        ("model: m\nmessages: " + "[" * 5000, 0, "not YAML"),
    ],
)
def test_a_broken_document_is_told(text: str, line: int, say: str) -> None:
    at, told = mistakes(text)[0]
    assert told.startswith(say)
    assert at == line


def test_unchanged_values_keep_their_spelling() -> None:
    after = read_request(edited(("city: Oslo", "city: Rome")), REQUEST)
    call = after.messages[1].parts[3]
    assert call == replace(CALL, arguments='{ "city":"Rome", "days": 1.0 }')
    assert after.messages[0] is REQUEST.messages[0]
    assert after.messages[1].parts[:3] == REQUEST.messages[1].parts[:3]


def test_a_signed_thought_that_was_changed_is_no_longer_signed() -> None:
    after = read_request(edited(("reasoning: |-\n      hm", "reasoning: |-\n      ha")), REQUEST)
    assert after.messages[1].parts[0] == replace(THOUGHT, text="ha", signature=None)


def test_new_parts_and_messages() -> None:
    after = read_request(
        edited(
            (
                "- message: 4",
                "- role: assistant\n  parts:\n  - {tool_call: say, arguments: {a: 1}}\n"
                "  - image: https://example.org/a.png\n  - {document: notes, text: hello}\n"
                "- message: 4",
            ),
            ("- say\n", "- name: shout\n  description: loud\n  parameters: {type: object}\n"),
        ),
        REQUEST,
    )
    assert after.messages[3] == Message(
        role="assistant",
        parts=(
            ToolCall(id="", name="say", arguments='{"a":1}'),
            Media(kind="image", url="https://example.org/a.png"),
            Media(kind="document", mime="text/plain", text="hello", name="notes"),
        ),
    )
    assert after.messages[4] is REQUEST.messages[3]
    new = Tool(name="shout", description="loud", parameters={"type": "object"})
    assert after.tools == (REQUEST.tools[0], new)


def test_numbers_alone_keep_everything() -> None:
    text = "model: m\nmax_tokens: 10\nmessages:\n- message: 2\n- message: 1\n  role: user\n"
    after = read_request(text + "  parts:\n  - keep: 2\n", REQUEST)
    assert after.messages[0] is REQUEST.messages[1]
    assert after.messages[1].parts == (IMAGE,)
    assert (after.tools, after.instructions, after.tool_choice) == ((), (), None)


def test_a_quote_left_open_in_a_long_document_is_told() -> None:
    long = replace(
        REQUEST,
        messages=tuple(
            Message(role="user", parts=(Text(text="say: 'x\n" * 200),)) for _ in "a" * 30
        ),
    )
    text = request_document(long)
    assert len(text) > 20_000
    assert read_request(text, long) is long
    head, _, tail = text.partition("- message: 5\n  role: user\n  text: |\n")
    broken = head + '- message: 5\n  role: user\n  text: "\n' + tail
    assert mistakes(broken, long)[0][0] > 0
    swallowed = tail.replace("- message: 9\n", '- message: 9" \n', 1)
    assert mistakes(head + '- message: 5\n  role: user\n  text: "\n' + swallowed, long)
    closed = head + '- message: 5\n  role: user\n  text: "\n' + tail.replace("'", "") + '"\n'
    with_it = read_request(closed, long)
    assert len(with_it.messages) == 5


ANSWER = Response(
    model="m",
    choices=(
        Choice(parts=(THOUGHT, Text(text="Hi"), CALL), finish=Finish("tool_calls", "tool_use")),
    ),
)


def test_an_answer_is_edited() -> None:
    text = response_document(ANSWER)
    after = read_response(
        text.replace("Hi", "Hello\n    there").replace("city: Oslo", "city: Rome"), ANSWER
    )
    choice = after.choices[0]
    assert choice.finish is ANSWER.choices[0].finish
    assert choice.parts[0] is THOUGHT
    assert choice.parts[1] == Text(text="Hello\nthere")
    assert choice.parts[2] == replace(CALL, arguments='{ "city":"Rome", "days": 1.0 }')
    stopped = read_response("model: m\nfinish: stop\ntext: done\n", ANSWER)
    assert stopped.choices == (Choice(parts=(Text(text="done"),), finish=Finish("stop")),)
    with pytest.raises(DocumentError, match="line 1: `finish` must be one of stop, length"):
        read_response("finish: bored\ntext: x", ANSWER)


def test_the_choices_and_the_error_of_an_answer() -> None:
    two = Response(
        choices=(Choice(parts=(Text(text="a"),)), Choice(index=1, parts=(Text(text="b"),))),
        fault=Fault(kind="server", message="broken", raw={"message": "broken"}),
    )
    text = response_document(two)
    after = read_response(text.replace("    b\n", "    c\n").replace("broken", "sorry"), two)
    assert after.choices[0] is two.choices[0]
    assert after.choices[1] == Choice(index=1, parts=(Text(text="c"),))
    assert after.fault == Fault(kind="server", message="sorry")
    with pytest.raises(DocumentError, match="must be the number of one that was there: 0, 1"):
        read_response(text.replace("choice: 1", "choice: 7"), two)


def test_a_call_is_edited() -> None:
    text = call_document(CALL)
    assert read_call(text.replace("1.0", "2"), CALL) == replace(
        CALL, arguments='{ "city":"Oslo", "days": 2 }'
    )
    free = ToolCall(id="c", name="sh", arguments="ls\n", kind="custom")
    assert read_call(call_document(free).replace("ls", "pwd"), free) == replace(
        free, arguments="pwd\n"
    )
    with pytest.raises(DocumentError, match="`arguments` must be a mapping or the text of one"):
        read_call("tool_call: x\narguments: [1]\n", CALL)


def told(read: Any, text: str, original: Any) -> tuple[tuple[int, str], ...]:
    try:
        read(text, original)
    except DocumentError as error:
        return error.mistakes or ((-1, ""),)
    return ()


@pytest.mark.parametrize("name", NAMES)
def test_no_edit_raises_anything_else(name: str) -> None:
    chance = random.Random(3)
    signs = ":-|>\"'#{}[]&*!%@`?,\t\n\r\x00é\ud83d 0"
    whole = [
        *((request_document(one), one, read_request) for _, one in all_requests(name)),
        *((response_document(one), one, read_response) for _, one in all_answers(name)),
    ]
    for text, original, read in chance.sample(whole, min(len(whole), 60)):
        lines = text[:6000].split("\n")
        for _ in range(5):
            made = lines[:]
            for _ in range(chance.randint(1, 4)):
                at = chance.randrange(len(made))
                line = made[at]
                place = chance.randint(0, len(line))
                match chance.randrange(5):
                    case 0:
                        made[at] = line[:place] + chance.choice(signs) + line[place:]
                    case 1:
                        made[at] = line[:place]
                    case 2:
                        made.insert(at, chance.choice(made))
                    case 3:
                        made[at] = " " * chance.randint(0, 3) + line
                    case _:
                        made[at] = line[place:]
            for line, say in told(read, "\n".join(made), original):
                assert say
                assert 0 <= line <= len(made) + 5, "a lone CR ends a line too"


def test_a_difference_is_a_unified_diff() -> None:
    before = "".join(f"line {number}\n" for number in range(5000))
    after = before.replace("line 20\n", "").replace("line 40\n", "line forty\n")
    assert difference(before, before) == ""
    assert difference(before, after) == (
        "@@ -19,5 +19,4 @@\n line 18\n line 19\n-line 20\n line 21\n line 22\n"
        "@@ -39,5 +38,5 @@\n line 38\n line 39\n-line 40\n+line forty\n line 41\n line 42\n"
    )
    cut = difference(before, before.replace("line", "row"), most_characters=500)
    assert cut.startswith("@@ -1,5001 +1,5001 @@\n-line 0\n-line 1\n")
    assert cut.endswith("… the rest of the difference is left out\n")
    assert len(cut) < 600
