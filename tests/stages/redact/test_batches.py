"""Many texts asked at once: the same is found as text by text, whatever stands beside what."""

from __future__ import annotations

import json
from collections.abc import Sequence

from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Request
from llmitm.stages.redact.finding import Finder, Rows
from llmitm.stages.redact.json_texts import Reading, said
from llmitm.stages.redact.placeholders import Placeholders
from llmitm.stages.redact.replacing import Replacing
from stages.redact.redacting import SALT, SHIPPED

KNOWN = ("hunter-Key_0123456789.abc", 'back\\slash"quote/77-漢', "\n two\nlines of it")
ROWS = Rows(SHIPPED.redact)


class Unhurried(Finder):
    """Looks at every text by itself."""

    def may_hold(self, texts: Sequence[str]) -> bool:
        return True


SCRAPS = [
    *KNOWN,
    "sk-proj-" + "aB3dE5fG7hJ9" * 4,
    "sk-" + "Ab3Cd7Ef1Gh9Jk2Lm5Np8Qr4",
    "AKIA" + "Q7XZ2MKWD4RTB5YH",
    'password": "hunter22!"',
    "DB_PASSWORD=Ab3Cd7Ef1Gh9Jk2Lm5Np8Qr4",
    "postgres://app:s3cr3t!pw@db:5432/x",
    "A",
    "\\n",
    "\\u0041",
    "\\ud83d\\ude00",
    "\\",
    '"',
    "\ud800",
    "é漢",
    "\x00",
    " plain words, ",
    "x" * 5000,
]
texts = st.lists(st.sampled_from(SCRAPS) | st.text(max_size=6), max_size=5).map("".join)
written = texts.map(lambda text: json.dumps({"a": text, "b": [text, 1]}))
arguments = texts | written | written.map(lambda text: text[:-4])


def parts_of(kind: str, text: str, arguments: str) -> Part:
    match kind:
        case "call":
            return ToolCall(id="i", name="n", arguments=arguments)
        case "custom":
            return ToolCall(id="i", name="n", arguments=text, kind="custom")
        case "result":
            return ToolResult(call_id="i", parts=(Text(text=text),), value={"k": [text, 7]})
        case "item":
            value = {"id": text, "output": [{"stdout": text}, 7]}
            return Unknown(dialect="d", kind="shell_call_output", value=value)
        case "thinking":
            return Reasoning(text=text)
        case "refusal":
            return Refusal(text=text)
        case _:
            return Text(text=text)


KINDS = ("text", "call", "custom", "result", "item", "thinking", "refusal")
parts = st.builds(parts_of, st.sampled_from(KINDS), texts, arguments)
messages = st.lists(
    st.lists(parts, max_size=3).map(lambda some: Message(role="user", parts=tuple(some))),
    max_size=6,
)


def replaced(finder: Finder, request: Request) -> tuple[Request, dict[str, int]]:
    table = Placeholders(SALT, "c")
    work = Replacing(
        finder=finder,
        placeholders=lambda: table,
        items=ROWS.items,
        acting=frozenset({"replace"}),
        one_way_text="-",
    )
    return work.request(request), work.rules


@given(st.lists(parts, max_size=2), messages, st.integers(0, 140))
@settings(max_examples=400, deadline=None)
def test_a_request_is_the_same_asked_at_once_or_text_by_text(
    instructions: list[Part], messages: list[Message], before: int
) -> None:
    plain = Message(role="user", parts=(Text(text="nothing"),))
    request = Request(
        dialect="openai_chat",
        model="m",
        instructions=tuple(instructions),
        messages=(*[plain] * before, *messages),
    )
    at_once, slowly = Finder(ROWS, KNOWN, SALT), Unhurried(ROWS, KNOWN, SALT)
    expected = replaced(slowly, request)
    assert replaced(at_once, request) == expected
    # What is remembered as clean changes nothing.
    assert replaced(at_once, request) == expected


@given(st.lists(texts, max_size=6))
@settings(max_examples=400, deadline=None)
def test_what_is_found_in_one_text_may_be_in_all(some: list[str]) -> None:
    finder = Finder(ROWS, KNOWN, SALT)
    if any(map(finder.find, some)):
        assert finder.may_hold(some)


@given(arguments)
@example('{"a": "\\\\"}')
@example('{"a": "\\\\\\"", "b\\\\": "\\u005c"}')
@example('{"a": "\\u0000\\ud83d\\ude00"}')
@example('{"a": "\\q", "b": "\\n"}')
@example('\\n {"a": "\\n"}')
@example('{"a": "unclosed \\')
@settings(max_examples=400, deadline=None)
def test_json_reads_the_same_with_and_without_its_places(text: str) -> None:
    assert said(text) == Reading(text).said


def test_only_the_batch_that_may_hold_something_is_looked_at_closely() -> None:
    seen: list[str] = []

    class Watched(Finder):
        def find(self, text: str) -> tuple[object, ...]:  # type: ignore[override]
            seen.append(text)
            return super().find(text)

    many = [Message(role="user", parts=(Text(text=f"text {n}"),)) for n in range(1000)]
    many[500] = Message(role="user", parts=(Text(text=f"my key is {KNOWN[0]}"),))
    request = Request(dialect="openai_chat", model="m", messages=tuple(many))
    left, rules = replaced(Watched(ROWS, KNOWN, SALT), request)
    assert rules == {"known": 1}
    assert [n for n, one in enumerate(left.messages) if one is not many[n]] == [500]
    assert len(seen) <= 128
