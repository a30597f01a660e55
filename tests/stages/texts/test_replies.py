"""A reply that is changed while it streams: the same result however it is cut."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.canon.events import End, Event, Fault, Finish, PartDelta, PartEnd, PartStart, Start
from llmitm.canon.fold import fold
from llmitm.canon.parts import Reasoning, Text, ToolCall
from llmitm.canon.request import Request
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.text_rules import TextRule
from llmitm.stages.contract import Turn
from llmitm.stages.conversation import Conversation
from llmitm.stages.texts.replies import Chain, Spent
from llmitm.stages.texts.stage import Texts

ASKED = Request(dialect="openai_chat", model="gpt-5", messages=())

type Make = Callable[..., Texts]


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    def make(*rows: dict[str, Any], **more: Any) -> Texts:
        named = [{"name": f"r{number}", **row} for number, row in enumerate(rows)]
        (tmp_path / "texts.yaml").write_text(json.dumps({"texts": named, **more}))
        return Texts(load_folders([shipped_folder(), tmp_path], {}))

    return make


def turn_of(key: str = "talk", client: str = "", model: str = "gpt-5") -> Turn:
    return Turn(
        id="t",
        provider="openai",
        protocol="openai_chat",
        client=client,
        model=model,
        started_s=0,
        conversation=Conversation(key=key),
    )


def through(stage: Texts, events: Iterable[Event], turn: Turn | None = None) -> list[Event]:
    """The events as the client gets them; unwatched ones as they are."""
    turn = turn or turn_of()
    stage.on_request(turn, ASKED)
    if not stage.watches(turn):
        return list(events)
    out: list[Event] = []
    for event in events:
        effect = stage.on_event(turn, event)
        assert isinstance(effect, (tuple, list))
        out.extend(effect)
    return out


def answer(*pieces: str, index: int = 0, choice: int = 0) -> list[Event]:
    return [
        PartStart(index, Text(text=""), choice),
        *(PartDelta(index, "text", piece, choice) for piece in pieces),
        PartEnd(index, choice),
    ]


def texts_of(events: Iterable[Event], choice: int = 0) -> str:
    response = fold(events)
    found = next(each for each in response.choices if each.index == choice)
    return "".join(part.text for part in found.parts if isinstance(part, Text))


def pattern(regex: str, text: str, **more: Any) -> TextRule:
    longest = more.pop("longest")
    return TextRule(
        name="p", where="reply", do="replace", text=text, find=re.compile(regex), longest=longest
    )


def literal(find: str, text: str, **more: Any) -> TextRule:
    return TextRule(name="l", where="reply", do="replace", text=text, find=find, **more)


RULES: list[tuple[TextRule, Callable[[str], str]]] = [
    (literal("aba", "X"), lambda text: text.replace("aba", "X")),
    (literal("aab", ""), lambda text: text.replace("aab", "")),
    (literal("b", "aba"), lambda text: text.replace("b", "aba")),
    (
        TextRule(name="l", where="reply", do="append", text="!", find="ab"),
        lambda text: text.replace("ab", "ab!"),
    ),
    (literal("ba", "-", once=True), lambda text: text.replace("ba", "-", 1)),
    (pattern(r"a{1,3}b", r"<\g<0>>", longest=4), lambda t: re.sub(r"a{1,3}b", r"<\g<0>>", t)),
    (pattern(r"\ba", "A", longest=1), lambda text: re.sub(r"\ba", "A", text)),
    (pattern(r"b\b", "B", longest=1), lambda text: re.sub(r"b\b", "B", text)),
    (pattern(r"(a)(b| )", r"\2\1", longest=2), lambda text: re.sub(r"(a)(b| )", r"\2\1", text)),
    (pattern(r"a|aba", "_", longest=3), lambda text: re.sub(r"a|aba", "_", text)),
    (pattern(r"(?m)^a", "^", longest=1), lambda text: re.sub(r"(?m)^a", "^", text)),
    (pattern(r"(?m)b$", "$", longest=1), lambda text: re.sub(r"(?m)b$", "$", text)),
    (pattern(r"a{2,5}?b?", "+", longest=6), lambda text: re.sub(r"a{2,5}?b?", "+", text)),
]


@pytest.mark.parametrize("number", range(len(RULES)))
@given(data=st.data())
def test_where_a_text_is_cut_never_matters(number: int, data: st.DataObject) -> None:
    rule, wanted = RULES[number]
    text = data.draw(st.text("ab \n", max_size=60))
    cuts = sorted(data.draw(st.sets(st.integers(0, max(len(text), 1)), max_size=12)))
    edges = [0, *(cut for cut in cuts if cut <= len(text)), len(text)]
    chain = Chain((rule,), Spent())
    pieces = [chain.feed(text[a:b]) for a, b in pairwise(edges)]
    assert "".join(pieces) + chain.close(last=True) == wanted(text)


@given(data=st.data())
def test_several_rules_follow_each_other(data: st.DataObject) -> None:
    text = data.draw(st.text("ab ", max_size=60))
    cuts = sorted(data.draw(st.sets(st.integers(0, 60), max_size=12)))
    picked = data.draw(st.permutations(range(len(RULES))))[:4]
    wanted = text
    for number in picked:
        wanted = RULES[number][1](wanted)
    # Names are shared, so `once` rules need marks of their own.
    rules = tuple(
        TextRule(
            name=f"{number}",
            where="reply",
            do=RULES[number][0].do,
            text=RULES[number][0].text,
            find=RULES[number][0].find,
            longest=RULES[number][0].longest,
            once=RULES[number][0].once,
        )
        for number in picked
    )
    chain = Chain(rules, Spent())
    edges = [0, *(cut for cut in cuts if cut <= len(text)), len(text)]
    pieces = [chain.feed(text[a:b]) for a, b in pairwise(edges)]
    assert "".join(pieces) + chain.close(last=True) == wanted


@pytest.mark.parametrize(
    ("rule", "fed", "out"),
    [
        (literal("secret", "x"), "all sec", "all "),
        (literal("secret", "x"), "all secular", "all secular"),
        (literal("aaab", "x"), "caaa", "c"),
        (literal("aaab", "x"), "caaaa", "ca"),
        (pattern("a{1,3}", "x", longest=3), "bbbbbb", "bbb"),
    ],
)
def test_only_what_may_begin_a_match_waits(rule: TextRule, fed: str, out: str) -> None:
    assert Chain((rule,), Spent()).feed(fed) == out


def test_what_waits_stays_bounded() -> None:
    rule = pattern("a{1,50}b", "x", longest=51)
    chain = Chain((rule,), Spent())
    fed = out = 0
    for _ in range(2000):
        fed += 7
        out += len(chain.feed("aaaaaaa"))
        assert fed - out <= 52


def test_each_choice_and_part_for_itself(stage: Make) -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, Text(text=""), 0),
        PartStart(0, Text(text=""), 1),
        PartDelta(0, "text", "to", 0),
        PartDelta(0, "text", "tom", 1),
        PartDelta(0, "text", "mato", 0),
        PartDelta(0, "text", "orrow", 1),
        PartEnd(0, 0),
        PartEnd(0, 1),
        *answer("tom", index=1),
        *answer("ato", index=2),
        Finish("stop"),
        Finish("stop", choice=1),
        End(),
    ]
    changed = through(stage({"where": "reply", "find": "tomato", "text": "plum"}), events)
    assert texts_of(changed) == "plumtomato"
    assert texts_of(changed, 1) == "tomorrow"


def test_text_only(stage: Make) -> None:
    events: list[Event] = [
        Start(),
        PartStart(0, Reasoning(text="")),
        PartDelta(0, "reasoning", "a tomato"),
        PartEnd(0),
        PartStart(1, ToolCall(id="c", name="tomato", arguments="")),
        PartDelta(1, "arguments", '"tomato"'),
        PartEnd(1),
        Finish("tool_calls"),
        End(),
    ]
    assert through(stage({"where": "reply", "find": "tomato", "text": "plum"}), events) == events


def test_what_is_not_changed_is_the_same_object(stage: Make) -> None:
    events = [Start(), *answer("Hello ", "there."), Finish("stop"), End()]
    changed = through(stage({"where": "reply", "find": "zebra", "text": "plum"}), events)
    assert all(one is other for one, other in zip(events, changed, strict=True))


@pytest.mark.parametrize(
    "ending", [[Finish("stop"), End()], [End()], [Fault(kind="server", message="broke")]]
)
def test_what_waits_comes_before_the_end(stage: Make, ending: list[Event]) -> None:
    begun: list[Event] = [Start(), PartStart(0, Text(text="")), PartDelta(0, "text", "a toma")]
    changed = through(
        stage({"where": "reply", "find": "tomato", "text": "plum"}), [*begun, *ending]
    )
    assert texts_of(changed) == "a toma"
    assert changed[-len(ending) :] == ending


def test_text_within_the_beginning_of_a_part(stage: Make) -> None:
    events = [PartStart(0, Text(text="a toma")), PartDelta(0, "text", "to"), PartEnd(0)]
    changed = through(stage({"where": "reply", "find": "tomato", "text": "plum"}), events)
    assert texts_of([*changed, Finish("stop")]) == "a plum"


def test_before_and_behind_a_whole_answer(stage: Make) -> None:
    both = stage(
        {"where": "reply", "do": "prepend", "text": "["},
        {"where": "reply", "do": "append", "text": "]"},
        {"where": "reply", "find": "]", "text": ")"},
    )
    events = [Start(), *answer("a", "b"), *answer("c", index=1), Finish("stop"), End()]
    changed = through(both, events)
    assert texts_of(changed) == "[abc)"
    # Before a tool call it is not the end of the answer.
    called: list[Event] = [
        Start(),
        *answer("a"),
        PartStart(1, ToolCall(id="c", name="n", arguments="")),
        PartEnd(1),
        Finish("tool_calls"),
        End(),
    ]
    changed = through(both, called)
    assert texts_of(changed) == "[a"
    ends = [event for event in changed if isinstance(event, PartEnd)]
    assert ends == [PartEnd(0), PartEnd(1)]


def test_an_answer_in_place_of_another_one(stage: Make) -> None:
    rule = stage({"where": "reply", "find": "tomato", "text": "plum"})
    events: list[Event] = [
        Start(id="one"),
        PartStart(0, Text(text="")),
        PartDelta(0, "text", "toma"),
        Start(id="two"),
        *answer("to"),
        Finish("stop"),
        End(),
    ]
    assert "tomato" not in texts_of(through(rule, events))


def test_once_in_a_conversation(stage: Make) -> None:
    once = stage({"where": "reply", "find": "hi", "text": "HI", "times": "once"})
    events = [Start(), *answer("hi hi"), Finish("stop"), End()]
    assert texts_of(through(once, events)) == "HI hi"
    assert texts_of(through(once, events)) == "hi hi"
    assert texts_of(through(once, events, turn_of("another"))) == "HI hi"


@pytest.mark.parametrize(
    ("row", "turn", "watched"),
    [
        ({}, turn_of(), True),
        ({"models": ["gpt-*"]}, turn_of(), True),
        ({"models": ["anthropic:*"]}, turn_of(), False),
        ({"models": ["openai:GPT-5"]}, turn_of(), True),
        ({"clients": ["codex"]}, turn_of(client="codex"), True),
        ({"clients": ["codex"]}, turn_of(), False),
        ({"conversations": ["s-*"]}, turn_of(), False),
        ({"where": "user"}, turn_of(), False),
        ({"enabled": False}, turn_of(), False),
        ({"opening": "budget"}, turn_of(), False),
    ],
)
def test_watched_only_where_a_rule_for_replies_fits(
    stage: Make, row: dict[str, Any], turn: Turn, watched: bool
) -> None:
    made = stage({"where": "reply", "find": "a", "text": "b", **row})
    made.on_request(turn, ASKED)
    assert made.watches(turn) == watched


def test_without_rules_nothing_is_looked_at() -> None:
    made = Texts(load_folders([shipped_folder()], {}))
    turn = turn_of()
    made.on_request(turn, ASKED)
    assert (made.watches(turn), turn.memory) == (False, {})
