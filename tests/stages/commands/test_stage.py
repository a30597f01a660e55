"""Commands in real bodies of every protocol: run, answered, cut out, kept, and nowhere left."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    PartDelta,
    PartEnd,
    PartStart,
    Start,
    Usage,
)
from llmitm.canon.fold import fold
from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Request
from llmitm.canon.turns import text_of
from llmitm.canon.values import DEFAULT_FACTS
from llmitm.dialects.catalog import DIALECTS
from llmitm.ruleset.commands import Mode
from llmitm.stages.commands.marks import MARK, command_key, response_key, tag_key
from llmitm.stages.commands.stage import Commands
from llmitm.stages.contract import Answer, Forward, Refuse, Turn
from llmitm.stages.conversation import Block, Conversation, Settings
from stages.commands.running import is_directory, rules
from stages.memory import RamMemory

SCOPE = b"someone"
REMINDER = "<system-reminder>\nThe date is !/help\n</system-reminder>"


def chat(*texts: str) -> tuple[str, dict[str, Any]]:
    content = texts[0] if len(texts) == 1 else [{"type": "text", "text": each} for each in texts]
    return "openai_chat", {"model": "gpt-5", "messages": [{"role": "user", "content": content}]}


def chat_parts(*texts: str) -> tuple[str, dict[str, Any]]:
    content = [{"type": "text", "text": each} for each in texts]
    return "openai_chat", {"model": "gpt-5", "messages": [{"role": "user", "content": content}]}


def responses(*texts: str) -> tuple[str, dict[str, Any]]:
    if len(texts) == 1:
        return "openai_responses", {"model": "gpt-5", "input": texts[0]}
    return responses_items(*texts)


def responses_items(*texts: str) -> tuple[str, dict[str, Any]]:
    content = [{"type": "input_text", "text": each} for each in texts]
    item = {"type": "message", "role": "user", "content": content}
    return "openai_responses", {"model": "gpt-5", "input": [item]}


def anthropic(*texts: str) -> tuple[str, dict[str, Any]]:
    content = [{"type": "text", "text": each} for each in texts]
    content[-1]["cache_control"] = {"type": "ephemeral"}  # type: ignore[assignment]
    message = {"role": "user", "content": content}
    return "anthropic_messages", {"model": "c", "max_tokens": 9, "messages": [message]}


def gemini(*texts: str) -> tuple[str, dict[str, Any]]:
    content = {"role": "user", "parts": [{"text": each} for each in texts]}
    return "gemini_generate", {"contents": [content]}


BODIES = [chat, chat_parts, responses, responses_items, anthropic, gemini]


def decoded(wire: tuple[str, dict[str, Any]]) -> Request:
    return DIALECTS[wire[0]].decode_request(json.dumps(wire[1]).encode())


class Desk:
    """One client, its conversation, and the stage."""

    def __init__(self, client: str = "", mode: Mode | None = None, **environ: str) -> None:
        self.memory = RamMemory()
        self.conversation = Conversation(key="k1")
        self.client = client
        held = rules(**environ)
        if mode is not None:
            commands = held.commands.model_copy(update={"mode": mode})
            held = replace(held, commands=commands)
        self.stage = Commands(held, self.memory, is_directory)
        self.count = 0

    def turn(self, request: Request, **changes: Any) -> Turn:
        self.count += 1
        return Turn(
            id=f"turn {self.count}",
            provider="openai",
            protocol=request.dialect,
            client=self.client,
            model=request.model,
            started_s=0,
            scope=SCOPE,
            conversation=self.conversation,
            **changes,
        )

    def ask(self, request: Request, **changes: Any) -> tuple[Turn, Any]:
        turn = self.turn(request, **changes)
        return turn, self.stage.on_request(turn, request)


def said(effect: Any) -> str:
    assert isinstance(effect, Answer)
    (choice,) = effect.response.choices
    assert choice.finish == Finish("stop")
    assert effect.response.usage == Usage(input_tokens=0, output_tokens=0, total_tokens=0)
    return text_of(choice.parts)


def left(effect: Any) -> list[str]:
    assert isinstance(effect, Forward)
    assert effect.request is not None
    return [text_of(message.parts) for message in effect.request.messages]


@pytest.mark.parametrize("body", BODIES)
def test_a_command_alone_is_answered_here(body: Any) -> None:
    desk = Desk()
    turn, effect = desk.ask(decoded(body("!/set(temperature=0.5)")))
    mark = MARK.search(said(effect))
    assert mark is not None
    assert said(effect) == f"temperature is now 0.5.\n\n{mark[0]}"
    assert desk.conversation.settings == Settings(temperature=0.5)
    assert desk.conversation.tag == mark[1]
    assert desk.memory.saved == ["k1"]
    assert not desk.stage.watches(turn)
    kept = desk.memory.block(SCOPE, command_key(desk.memory, SCOPE, "!/set(temperature=0.5)"))
    assert kept == Block(kind="command", conversation="k1", prefix="!/", mode="end")
    tag = desk.memory.block(SCOPE, tag_key(desk.memory, SCOPE, mark[1]))
    assert tag == Block(kind="tag", conversation="k1")


@pytest.mark.parametrize("body", BODIES)
def test_beside_text_the_request_goes_on_without_it(body: Any) -> None:
    desk = Desk()
    turn, effect = desk.ask(decoded(body("Say hi. !/set(temperature=0.5)")))
    assert left(effect) == ["Say hi."]
    assert desk.conversation.settings == Settings(temperature=0.5)
    assert not desk.stage.watches(turn)
    key = command_key(desk.memory, SCOPE, "Say hi. !/set(temperature=0.5)")
    assert desk.memory.block(SCOPE, key) is not None
    assert desk.memory.saved == ["k1"]


@pytest.mark.parametrize("body", BODIES)
def test_a_command_that_fails_sends_nothing(body: Any) -> None:
    desk = Desk()
    _, effect = desk.ask(decoded(body("Say hi. !/set(temperature=1, model=opnai:x)")))
    assert "did you mean openai?" in said(effect)
    assert desk.conversation.settings == Settings()
    assert desk.conversation.last_command == ""
    key = command_key(desk.memory, SCOPE, "Say hi. !/set(temperature=1, model=opnai:x)")
    assert desk.memory.block(SCOPE, key) is not None


@pytest.mark.parametrize("body", [chat_parts, responses_items, anthropic, gemini])
def test_commands_over_several_parts(body: Any) -> None:
    desk = Desk()
    _, effect = desk.ask(decoded(body("One.", "Two. !/max", "!/set(temperature=1)")))
    assert isinstance(effect, Forward)
    assert effect.request is not None
    (message,) = effect.request.messages
    texts = [part.text for part in message.parts if isinstance(part, Text)]
    assert texts == ["One.", "Two."]
    assert desk.conversation.settings == Settings(reasoning_mode="high", temperature=1)
    kinds = [block.kind for block in desk.memory.blocks.values()]
    assert kinds == ["command", "command"]


@pytest.mark.parametrize("text", ["#!/bash", "x!/help", "!/help.", "see !/help below", "hi"])
def test_what_is_text_passes_untouched(text: str) -> None:
    desk = Desk()
    for body in BODIES:
        turn, effect = desk.ask(decoded(body(text)))
        assert effect == Forward()
        assert not desk.stage.watches(turn)
    assert not desk.memory.blocks
    assert not desk.memory.saved


@pytest.mark.parametrize(
    ("environ", "text", "answered"),
    [
        ({"DISABLE_INTERACTIVE_COMMANDS": "true"}, "!/help", False),
        ({"COMMAND_PREFIX": "$/"}, "!/help", False),
        ({"COMMAND_PREFIX": "$/"}, "$/help", True),
        ({"STRICT_COMMAND_DETECTION": "1"}, "a\n!/help", None),
        ({"STRICT_COMMAND_DETECTION": "1"}, "a !/help", False),
    ],
)
def test_modes_and_prefixes_of_the_rules(
    environ: dict[str, str], text: str, answered: bool | None
) -> None:
    desk = Desk(**environ)
    turn, effect = desk.ask(decoded(chat(text)))
    if answered is None:
        assert left(effect) == ["a"]
        assert desk.stage.watches(turn)
    else:
        assert isinstance(effect, Answer) == answered
        assert answered or effect == Forward()


def test_what_a_client_adds_is_no_text() -> None:
    desk = Desk(client="claude-code")
    wire = anthropic(REMINDER, f"{REMINDER}\n!/set(temperature=1)\n{REMINDER}")
    _, effect = desk.ask(decoded(wire))
    assert "temperature is now 1" in said(effect)
    _, effect = desk.ask(decoded(anthropic(REMINDER, f"Say hi.\n!/max\n{REMINDER}")))
    assert isinstance(effect, Forward)
    assert effect.request is not None
    texts = [part.text for part in effect.request.messages[0].parts if isinstance(part, Text)]
    assert texts == [REMINDER, f"Say hi.\n{REMINDER}"]
    assert desk.conversation.settings.reasoning_mode == "high"
    _, effect = desk.ask(decoded(anthropic("Say hi.", REMINDER)))
    assert effect == Forward()


def test_the_same_from_another_client_is_text() -> None:
    desk = Desk()
    _, effect = desk.ask(decoded(anthropic(REMINDER, "!/max")))
    assert left(effect) == [REMINDER]


def test_a_turn_with_tool_results_is_never_alone() -> None:
    call = {"type": "tool_use", "id": "t1", "name": "ls", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t1", "content": "a.txt !/max"}
    messages = [
        {"role": "user", "content": "look"},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result, {"type": "text", "text": "!/set(temperature=1)"}]},
    ]
    wire = {"model": "c", "max_tokens": 9, "messages": messages}
    desk = Desk()
    _, effect = desk.ask(decoded(("anthropic_messages", wire)))
    assert left(effect) == ["look", "", "a.txt !/max"]
    assert desk.conversation.settings == Settings(temperature=1)
    # OpenAI keeps results in messages of their own: the user's message goes as a whole.
    tool = {"id": "t1", "type": "function", "function": {"name": "ls", "arguments": "{}"}}
    messages = [
        {"role": "assistant", "content": None, "tool_calls": [tool]},
        {"role": "tool", "tool_call_id": "t1", "content": "a.txt"},
        {"role": "user", "content": "!/max"},
    ]
    _, effect = desk.ask(decoded(("openai_chat", {"model": "m", "messages": messages})))
    assert left(effect) == ["", "a.txt"]
    assert desk.conversation.settings.reasoning_mode == "high"


def test_only_the_newest_message_is_looked_at() -> None:
    desk = Desk()
    user = {"role": "user", "content": "!/max"}
    for last in (
        {"role": "assistant", "content": "ok"},
        {"role": "tool", "tool_call_id": "t", "content": "!/max"},
    ):
        wire = {"model": "m", "messages": [user, last]}
        _, effect = desk.ask(decoded(("openai_chat", wire)))
        assert effect == Forward()
    wire = {"model": "m", "messages": [user, {"role": "system", "content": "env"}]}
    _, effect = desk.ask(decoded(("openai_chat", wire)))
    assert "Reasoning is now high" in said(effect)
    wire = {"model": "m", "messages": [user, {"role": "user", "content": "Say hi."}]}
    _, effect = desk.ask(decoded(("openai_chat", wire)))
    assert effect == Forward()


def test_an_image_beside_a_command_is_sent() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://e.example/i.png"}}
    content = [image, {"type": "text", "text": "!/max"}]
    wire = {"model": "m", "messages": [{"role": "user", "content": content}]}
    _, effect = Desk().ask(decoded(("openai_chat", wire)))
    assert isinstance(effect, Forward)
    assert effect.request is not None
    assert [type(part).__name__ for part in effect.request.messages[0].parts] == ["Media"]


def test_parts_of_an_earlier_message_are_not_of_this_one() -> None:
    desk = Desk()
    request = decoded(chat_parts("earlier words !/max", "!/low"))
    _, effect = desk.ask(request, memory={"conversations": 1})
    assert "Reasoning is now low" in said(effect)
    assert desk.conversation.settings.reasoning_mode == "low"


@pytest.mark.parametrize("mode", ["end", "strict", "anywhere"])
def test_commands_that_ran_are_cut_out_of_a_message_they_were_joined_to(mode: Mode) -> None:
    desk = Desk(mode=mode)
    desk.ask(decoded(anthropic("!/create-failover-route(name=r, policy=k)")))
    desk.ask(decoded(anthropic("!/route-append(name=r, openai:a)")))
    again = "!/route-append(name=r, openai:a)"
    _, effect = desk.ask(decoded(anthropic(again, "Say hi.")))
    assert left(effect) == ["Say hi."]
    _, effect = desk.ask(decoded(anthropic(again, "!/max")))
    assert said(effect).startswith("Reasoning is now high.\n")
    desk.ask(decoded(anthropic(again, "!/set(interactive=off)")))
    _, effect = desk.ask(decoded(anthropic(again, "Say hi.")))
    assert left(effect) == ["Say hi."]
    assert desk.conversation.routes["r"].elements == ("openai:a",)
    off = Commands(rules(DISABLE_INTERACTIVE_COMMANDS="1"), desk.memory, is_directory)
    request = decoded(anthropic(again, "Say hi. !/max"))
    assert left(off.on_request(desk.turn(request), request)) == ["Say hi. !/max"]


def test_a_repeated_request_with_commands_in_several_parts() -> None:
    desk = Desk()
    request = decoded(anthropic("Two. !/oneoff(openai:a)", "!/set(temperature=1)"))
    _, first = desk.ask(request)
    desk.conversation.one_off = ""
    _, second = desk.ask(request)
    assert left(first) == left(second) == ["Two."]
    assert desk.conversation.one_off == "openai:a"


def test_token_counts_run_nothing() -> None:
    desk = Desk()
    _, effect = desk.ask(decoded(anthropic("Say hi. !/max")), kind="count_tokens")
    assert left(effect) == ["Say hi."]
    _, effect = desk.ask(decoded(anthropic("!/max")), kind="count_tokens")
    assert isinstance(effect, Refuse)
    assert effect.fault.status == 400
    assert "nothing but commands" in effect.fault.message
    assert desk.conversation == Conversation(key="k1")
    assert desk.stage.counts


def test_a_repeated_request_does_not_run_its_commands_twice() -> None:
    desk = Desk()
    request = decoded(chat("!/create-failover-route(name=r, policy=k)"))
    desk.ask(request)
    add = decoded(chat("!/route-append(name=r, openai:a)"))
    _, first = desk.ask(add)
    _, second = desk.ask(add)
    assert said(first) == said(second)
    assert desk.conversation.routes["r"].elements == ("openai:a",)
    # The same words later in the chat are another request.
    later = replace(add, messages=(replace(add.messages[0], at=("messages", 4)),))
    desk.ask(later)
    assert desk.conversation.routes["r"].elements == ("openai:a", "openai:a")


def test_a_repeated_one_off_holds_for_the_repetition_too() -> None:
    desk = Desk()
    request = decoded(chat("Say hi. !/oneoff(openai:gpt-5) !/hello"))
    turn, first = desk.ask(request)
    desk.conversation.one_off = ""
    again, second = desk.ask(request)
    assert desk.conversation.one_off == "openai:gpt-5"
    assert left(first) == left(second) == ["Say hi."]
    start = PartStart(0, Text(text=""))
    assert desk.stage.on_event(turn, start) == desk.stage.on_event(again, start)


def test_commands_may_be_switched_off_and_on() -> None:
    desk = Desk()
    desk.ask(decoded(chat("!/set(interactive-mode=off)")))
    for text in ("!/help", "!/set(temperature=1)", "!/set(interactive=on, temperature=1)"):
        _, effect = desk.ask(decoded(chat(text)))
        assert effect == Forward()
    _, effect = desk.ask(decoded(chat("!/set(interactive=on)")))
    assert "interactive-mode is now true" in said(effect)
    _, effect = desk.ask(decoded(chat("!/max")))
    assert "Reasoning" in said(effect)


def test_a_prefix_of_the_conversation() -> None:
    desk = Desk()
    desk.ask(decoded(chat("!/set(command-prefix=$$$)")))
    _, effect = desk.ask(decoded(chat("!/max")))
    assert effect == Forward()
    desk.ask(decoded(chat("$$$max")))
    assert desk.conversation.settings.reasoning_mode == "high"
    assert desk.memory.prefixes(SCOPE) == {"!/", "$$$"}


def test_the_id_of_an_answer_stands_for_the_one_before() -> None:
    desk = Desk()
    wire = responses("!/max")
    wire[1]["previous_response_id"] = "resp_real"
    _, effect = desk.ask(decoded(wire))
    assert isinstance(effect, Answer)
    key = response_key(desk.memory, SCOPE, effect.response.id)
    block = Block(kind="response", conversation="k1", replaces="resp_real")
    assert desk.memory.block(SCOPE, key) == block


ANSWER: list[Event] = [
    Start(model="m"),
    PartStart(0, Text(text="")),
    PartDelta(0, "text", "Hi"),
    PartEnd(0),
    PartStart(1, ToolCall(id="t", name="ls", arguments="")),
    PartDelta(1, "arguments", "{}"),
    PartEnd(1),
    PartStart(0, Text(text=""), 1),
    PartDelta(0, "text", "Other", 1),
    PartEnd(0, 1),
    Usage(output_tokens=3),
    Finish("stop"),
    Finish("stop", choice=1),
    End(),
]


def test_what_is_told_stands_before_the_answer() -> None:
    desk = Desk()
    turn, effect = desk.ask(decoded(chat("Say hi. !/set(temperature=1) !/hello")))
    assert left(effect) == ["Say hi."]
    assert desk.stage.watches(turn)
    # The first attempt fails before its first content: nothing may have been given by then.
    for event in (Start(), Fault(kind="overloaded", message="later")):
        assert list(desk.stage.on_event(turn, event)) == [event]
    for _ in range(2):
        made = [new for event in ANSWER for new in desk.stage.on_event(turn, event)]
        assert made[0] == ANSWER[0]
        first, second = fold(made).choices
        block, text, call = first.parts
        assert isinstance(block, Text)
        tag = desk.conversation.tag
        assert block.text.startswith(f"[llmitm {tag}]\nllmitm sits between")
        assert block.text.endswith("temperature = 1\n[/llmitm]\n\n")
        assert "temperature is now" not in block.text
        assert text_of([text]) == "Hi"
        assert isinstance(call, ToolCall)
        assert call.arguments == "{}"
        assert text_of(second.parts) == "Other"
    assert desk.memory.block(SCOPE, tag_key(desk.memory, SCOPE, tag)) is not None


def test_what_is_told_stands_in_an_empty_answer() -> None:
    desk = Desk()
    turn, _ = desk.ask(decoded(chat("Say hi. !/pwd")))
    made = [new for event in (Start(), Finish("stop")) for new in desk.stage.on_event(turn, event)]
    assert "No project folder is set." in text_of(fold(made).choices[0].parts)
    assert isinstance(made[-1], Finish)


PIECES = st.sampled_from(
    ["!/max", "!/set(temperature=1)", "!/pwd", "!/oops", "!/set(", "text", "!/help.", REMINDER]
    + [" ", " ", "\n", "\n\n", "```\n", "(", "x"]
)
TEXTS = st.lists(st.lists(PIECES, min_size=1, max_size=8).map("".join), min_size=1, max_size=3)


@settings(max_examples=400, deadline=None)
@given(
    texts=TEXTS,
    body=st.sampled_from(BODIES),
    mode=st.sampled_from(["end", "strict", "anywhere"]),
    client=st.sampled_from(["", "claude-code"]),
)
def test_no_command_that_was_found_is_left(
    texts: list[str], body: Any, mode: Mode, client: str
) -> None:
    desk = Desk(client=client, mode=mode)
    _, effect = desk.ask(decoded(body(*texts)))
    kept = [block.kind for block in desk.memory.blocks.values()]
    if isinstance(effect, Answer):
        assert "command" in kept
        return
    assert isinstance(effect, Forward)
    if effect.request is None:
        assert not kept
        return
    assert "command" in kept
    # Asked again, the stage finds nothing in what it lets through.
    _, again = Desk(client=client, mode=mode).ask(effect.request)
    assert again == Forward()
    words = " ".join(
        part.text.replace(REMINDER, "")
        for message in effect.request.messages
        for part in message.parts
        if isinstance(part, Text)
    )
    if mode == "anywhere" and "```" not in words and "(" not in "".join(texts):
        assert not {"!/max", "!/pwd", "!/oops", "!/set"} & set(words.split())


def test_the_rest_of_a_body_is_the_same_object() -> None:
    wire = anthropic("One. !/max")
    wire[1]["messages"][:0] = [
        {"role": "user", "content": "before"},
        {"role": "assistant", "content": "yes"},
    ]
    request = decoded(wire)
    _, effect = Desk().ask(request)
    assert isinstance(effect, Forward)
    assert effect.request is not None
    assert effect.request.messages[:2] == request.messages[:2]
    assert effect.request.messages[2].parts[0].extras == request.messages[2].parts[0].extras  # type: ignore[union-attr]
    patch = DIALECTS["anthropic_messages"].patch_request
    body = json.dumps(wire[1]).encode()
    assert patch is not None
    patched = patch(body, request, effect.request, DEFAULT_FACTS)
    assert patched is not None
    assert patched.body == body.replace(b"One. !/max", b"One.")
