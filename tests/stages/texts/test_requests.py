"""Requests whose texts are changed: minimal, and the same again on every replay."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from llmitm.canon.parts import Media, Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request, Role
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.stages.contract import FORWARD, Forward, Turn
from llmitm.stages.conversation import Conversation
from llmitm.stages.texts.stage import Texts

type Make = Callable[..., Texts]


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    def make(*rows: dict[str, Any], **more: Any) -> Texts:
        named = [{"name": f"r{number}", **row} for number, row in enumerate(rows)]
        (tmp_path / "texts.yaml").write_text(json.dumps({"texts": named, **more}))
        return Texts(load_folders([shipped_folder(), tmp_path], {}))

    return make


def turn_of(key: str = "talk", **more: Any) -> Turn:
    known: dict[str, Any] = {
        "id": "t",
        "provider": "anthropic",
        "protocol": "anthropic_messages",
        "client": "",
        "model": "claude",
        "started_s": 0,
        "conversation": Conversation(key=key),
    }
    return Turn(**{**known, **more})


def said(role: Role, *texts: str) -> Message:
    return Message(role=role, parts=tuple(Text(text=text) for text in texts))


TALK = Request(
    dialect="anthropic_messages",
    model="claude",
    instructions=(Text(text="Be brief. Be exact."),),
    messages=(
        said("system", "Speak of apples."),
        said("user", "an apple", "and another apple"),
        Message(
            role="assistant",
            parts=(
                Reasoning(text="apple"),
                Text(text="apple"),
                ToolCall(id="c", name="apple", arguments='"apple"'),
            ),
        ),
        Message(
            role="user",
            parts=(ToolResult(call_id="c", parts=(Text(text="apple pie"), Text(text="done"))),),
        ),
        said("user", "more apples"),
    ),
)


def shown(request: Request) -> list[str]:
    """All texts in order; those of tool results in brackets."""
    found = [part.text for part in request.instructions if isinstance(part, Text)]
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, Text | Reasoning):
                found.append(part.text)
            elif isinstance(part, ToolResult):
                found += [f"[{each.text}]" for each in part.parts if isinstance(each, Text)]
    return found


def after(stage: Texts, request: Request, turn: Turn | None = None) -> Request:
    effect = stage.on_request(turn or turn_of(), request)
    assert isinstance(effect, Forward)
    return effect.request or request


PLAIN = shown(TALK)


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ({"where": "system", "find": "Be", "text": "Stay"}, {0: "Stay brief. Stay exact."}),
        ({"where": "system", "find": "apples", "text": "pears"}, {1: "Speak of pears."}),
        (
            {"where": "system", "find": "Be", "text": "Stay", "times": "once"},
            {0: "Stay brief. Be exact."},
        ),
        ({"where": "system", "do": "append", "text": "!"}, {0: "Be brief. Be exact.!"}),
        ({"where": "system", "do": "prepend", "text": "!"}, {0: "!Be brief. Be exact."}),
        (
            {"where": "user", "find": "apple", "text": "pear"},
            {2: "an pear", 3: "and another pear", 8: "more pears"},
        ),
        (
            {"where": "user", "find": "apple", "text": "pear", "times": "once"},
            {2: "an pear"},
        ),
        (
            {"where": "user", "regex": "(a\\w{0,9}) apple", "text": "\\1 pear"},
            {2: "an pear", 3: "and another pear"},
        ),
        (
            {"where": "user", "do": "append", "text": "."},
            {3: "and another apple.", 8: "more apples."},
        ),
        (
            {"where": "user", "do": "append", "text": ".", "times": "once"},
            {3: "and another apple."},
        ),
        ({"where": "user", "do": "prepend", "text": ">", "times": "once"}, {2: ">an apple"}),
        (
            {"where": "user", "find": "apple", "do": "prepend", "text": "red "},
            {2: "an red apple", 3: "and another red apple", 8: "more red apples"},
        ),
        ({"where": "tool_result", "find": "apple", "text": "pear"}, {6: "[pear pie]"}),
        ({"where": "tool_result", "do": "append", "text": "."}, {7: "[done.]"}),
        ({"where": "tool_result", "do": "prepend", "text": "> "}, {6: "[> apple pie]"}),
        ({"where": "user", "find": "zebra", "text": ""}, {}),
        ({"where": "user", "find": "apple", "text": "apple"}, {}),
        ({"where": "user", "find": "apple", "text": "", "enabled": False}, {}),
        ({"where": "user", "find": "apple", "text": "", "models": ["gpt*"]}, {}),
        ({"where": "user", "find": "apple", "text": "", "clients": ["codex"]}, {}),
        ({"where": "user", "find": "apple", "text": "", "opening": "pears"}, {}),
        (
            {"where": "user", "find": "more", "text": "all", "opening": "another|nothing"},
            {8: "all apples"},
        ),
        ({"where": "user", "find": "more", "text": "all", "opening": "^Be"}, {8: "all apples"}),
    ],
)
def test_each_place(row: dict[str, Any], changes: dict[int, str], stage: Make) -> None:
    request = after(stage(row), TALK)
    assert shown(request) == [changes.get(place, text) for place, text in enumerate(PLAIN)]
    if not changes:
        assert request is TALK


def test_without_rules_nothing_happens() -> None:
    made = Texts(load_folders([shipped_folder()], {}))
    assert made.on_request(turn_of(), TALK) is FORWARD


def test_rules_follow_each_other(stage: Make) -> None:
    made = stage(
        {"where": "user", "find": "apple", "text": "pear"},
        {"where": "user", "find": "pear", "text": "plum"},
    )
    assert shown(after(made, TALK))[2] == "an plum"


def test_conversations_by_their_id(stage: Make) -> None:
    made = stage({"where": "user", "find": "apple", "text": "x", "conversations": ["s-1*", "k3*"]})
    assert after(made, TALK, turn_of(client_conversation="s-12")) is not TALK
    assert after(made, TALK, turn_of(client_conversation="s-2")) is TALK
    tagged = turn_of(conversation=Conversation(key="k", tag="k3f9q2"))
    assert after(made, TALK, tagged) is not TALK


@pytest.mark.parametrize(
    "rows",
    [
        {"first_prompt_append": {"text": "Be kind."}},
        {"row": {"where": "user", "find": "apple", "text": "pear", "times": "once"}},
        {"row": {"where": "user", "do": "append", "text": "!", "times": "once"}},
        {"row": {"where": "tool_result", "find": "e", "text": "3", "times": "once"}},
    ],
)
def test_a_replay_is_changed_at_the_same_place(rows: dict[str, Any], stage: Make) -> None:
    row = rows.pop("row", None)
    made = stage(*([row] if row else []), **rows)
    sent: list[Request] = []
    for length in range(2, len(TALK.messages) + 1):
        asked = replace(TALK, messages=TALK.messages[:length])
        sent.append(after(made, asked))
        # The client does not know of the change: asked again, it sends the same.
        assert after(made, asked) == sent[-1]
    for one, longer in pairwise(sent):
        assert longer.messages[: len(one.messages)] == one.messages
    # A restart changes nothing either.
    again = stage(*([row] if row else []), **rows)
    assert after(again, TALK) == sent[-1]
    assert sent[-1] != TALK


def test_the_first_prompt_is_appended_to_once(stage: Make) -> None:
    made = stage(first_prompt_append={"text": "Be kind."})
    texts = shown(after(made, TALK))
    assert texts[3] == "and another apple\n\nBe kind."
    assert sum("Be kind." in text for text in texts) == 1
    goes_on = replace(TALK, previous_response_id="resp_1")
    assert after(made, goes_on) is goes_on
    silent = Request(dialect="openai_chat", model="m", messages=(said("system", "x"),))
    assert after(made, silent) is silent


def test_once_where_the_provider_keeps_the_history(stage: Make) -> None:
    made = stage({"where": "user", "find": "hi", "text": "HI", "times": "once"})
    first = Request(dialect="openai_responses", model="m", messages=(said("user", "hello"),))
    second = replace(first, messages=(said("user", "hi"),), previous_response_id="r1")
    third = replace(first, messages=(said("user", "hi"),), previous_response_id="r2")
    assert after(made, first) is first
    assert shown(after(made, second)) == ["HI"]
    assert after(made, third) is third
    assert shown(after(made, third, turn_of("another"))) == ["HI"]


def test_an_opening_is_remembered_where_the_provider_keeps_the_history(stage: Make) -> None:
    made = stage({"where": "user", "find": "hi", "text": "HI", "opening": "secret"})
    first = Request(dialect="openai_responses", model="m", messages=(said("user", "secret"),))
    later = replace(first, messages=(said("user", "hi"),), previous_response_id="r1")
    after(made, first)
    assert shown(after(made, later)) == ["HI"]
    assert after(made, later, turn_of("another")) is later


def test_a_result_told_twice_is_changed_in_both_forms(stage: Make) -> None:
    value: Any = {"output": "an apple", "more": ["apple", 1, None]}
    result = ToolResult(call_id="c", parts=(Text(text='{"output":"an apple"}'),), value=value)
    request = Request(
        dialect="gemini_generate", model="m", messages=(Message(role="user", parts=(result,)),)
    )
    made = stage({"where": "tool_result", "find": "apple", "text": "pear"})
    got = after(made, request).messages[0].parts[0]
    assert isinstance(got, ToolResult)
    assert got.value == {"output": "an pear", "more": ["pear", 1, None]}
    assert got.parts == (Text(text='{"output":"an pear"}'),)
    behind = stage({"where": "tool_result", "do": "append", "text": "!"})
    got = after(behind, request).messages[0].parts[0]
    assert isinstance(got, ToolResult)
    assert got.value == {"output": "an apple", "more": ["apple!", 1, None]}


BODIES = {
    "openai_chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "x": 1},
    "openai_responses": {"model": "m", "input": [{"role": "user", "content": "Hi"}], "x": 1},
    "anthropic_messages": {
        "model": "m",
        "max_tokens": 9,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
        "x": 1,
    },
    "gemini_generate": {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "x": 1},
    "ollama_chat": {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "x": 1},
}


@pytest.mark.parametrize("protocol", BODIES)
def test_in_every_protocol_only_the_text_changes(protocol: str, stage: Make) -> None:
    made = stage(first_prompt_append={"text": "Be kind."})
    dialect = DIALECTS[protocol]
    body = json.dumps(BODIES[protocol], indent=1).encode()
    request = dialect.decode_request(body)
    patched = dialect.patch_request(body, request, after(made, request), DEFAULT_FACTS)
    assert patched is not None
    assert patched.body == body.replace(b'"Hi"', b'"Hi\\n\\nBe kind."')
    assert patched.losses == ()


@pytest.mark.parametrize("protocol", BODIES)
def test_instructions_where_there_were_none(protocol: str, stage: Make) -> None:
    made = stage({"where": "system", "do": "append", "text": "Be kind."})
    dialect = DIALECTS[protocol]
    body = json.dumps(BODIES[protocol]).encode()
    request = dialect.decode_request(body)
    changed = after(made, request)
    sent = dialect.patch_request(body, request, changed, DEFAULT_FACTS)
    sent = sent or dialect.encode_request(changed, DEFAULT_FACTS)
    read = dialect.decode_request(sent.body)
    told = [*read.instructions, *(p for m in read.messages if m.role != "user" for p in m.parts)]
    assert [part.text for part in told if isinstance(part, Text)] == ["Be kind."]
    assert [m.parts for m in read.messages if m.role == "user"] == [
        m.parts for m in request.messages
    ]


def test_a_message_without_text_is_no_first_prompt(stage: Make) -> None:
    picture = Message(role="user", parts=(Media(kind="image", data="aa", mime="image/png"),))
    request = Request(dialect="openai_chat", model="m", messages=(picture, said("user", "Hi")))
    made = stage(first_prompt_append={"text": "Be kind."})
    assert shown(after(made, request)) == ["Hi\n\nBe kind."]
