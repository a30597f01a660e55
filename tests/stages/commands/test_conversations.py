"""Which chat a request belongs to, and what of its history must never reach a provider."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from llmitm.canon.parts import Part, Reasoning, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request
from llmitm.record.memory import DiskMemory
from llmitm.stages.commands.conversations import Conversations
from llmitm.stages.commands.marks import (
    as_block,
    command_key,
    new_tag,
    response_key,
    tag_key,
    with_mark,
)
from llmitm.stages.contract import FORWARD, Account, Forward, Refuse, Turn
from llmitm.stages.conversation import Block, Conversation

SCOPE = b"scope"
TAG, UNKNOWN = "k3f9q2", "zzzzzz"
COUNT = itertools.count()
REMINDER = "<reminder>be nice</reminder>"
ADDED = (re.compile(r"<reminder>.*?</reminder>", re.DOTALL),)


def added(client: str) -> Sequence[re.Pattern[str]]:
    return ADDED if client == "coder" else ()


@pytest.fixture
def memory(tmp_path: Path) -> Iterator[DiskMemory]:
    said: list[str] = []
    made = DiskMemory(tmp_path / "m.db", say=said.append)
    yield made
    made.close()
    assert said == []


def turn(client: str = "", own_id: str = "", scope: bytes = SCOPE) -> Turn:
    return Turn(
        id=f"turn {next(COUNT)}",
        provider="p",
        protocol="openai_responses",
        client=client,
        model="m",
        started_s=0,
        client_conversation=own_id,
        scope=scope,
    )


def user(*texts: str) -> Message:
    return Message(role="user", parts=tuple(Text(text=text) for text in texts))


def model(*texts: str) -> Message:
    return Message(role="assistant", parts=tuple(Text(text=text) for text in texts))


def call(name: str = "f") -> Message:
    return Message(role="assistant", parts=(ToolCall(id="c1", name=name, arguments="{}"),))


def result(*more: Part) -> Message:
    role = "user" if more else "tool"
    given = ToolResult(call_id="c1", parts=(Text(text="r"),))
    return Message(role=role, parts=(given, *more))


def request(*messages: Message, instructions: str = "", after: str | None = None) -> Request:
    return Request(
        dialect="d",
        model="m",
        messages=messages,
        instructions=(Text(text=instructions),) if instructions else (),
        previous_response_id=after,
    )


def remember(memory: DiskMemory, text: str, conversation: str = "c1", mode: str = "end") -> None:
    block = Block(kind="command", conversation=conversation, prefix="!/", mode=mode)
    memory.keep(SCOPE, command_key(memory, SCOPE, text), block)


def tagged(memory: DiskMemory, tag: str = TAG, conversation: str = "c1") -> None:
    block = Block(kind="tag", conversation=conversation)
    memory.keep(SCOPE, tag_key(memory, SCOPE, tag), block)


LOCAL = with_mark("Temperature set.", TAG)
BLOCK = as_block("These commands there are: …", TAG)
HI, YES, NEXT = user("hi"), model("yes"), user("next")
COMMAND = user("!/help")

STRIPPING: dict[str, tuple[tuple[Message, ...], tuple[Message, ...]]] = {
    "a command and its answer": ((COMMAND, model(LOCAL), NEXT), (NEXT,)),
    "in the middle": ((HI, YES, COMMAND, model(LOCAL), NEXT), (HI, YES, NEXT)),
    "several": (
        (HI, YES, COMMAND, model(LOCAL), user("!/set(a=1)"), model(LOCAL), NEXT),
        (HI, YES, NEXT),
    ),
    "users become neighbours": (
        (user("fix !/set(a=1)"), model(LOCAL), NEXT),
        (user("fix", "next"),),
    ),
    "a command with text": ((user("fix !/set(a=1)"), YES, NEXT), (user("fix"), YES, NEXT)),
    "white space set anew": ((user(" fix\n\n!/set(a=1)\n"), YES, NEXT), (user(" fix"), YES, NEXT)),
    "a part of several": ((user("one", "!/help"), YES, NEXT), (user("one"), YES, NEXT)),
    "a block before an answer": ((HI, model(BLOCK + "yes"), NEXT), (HI, YES, NEXT)),
    "a block in a part of its own": ((HI, model(BLOCK, "yes"), NEXT), (HI, YES, NEXT)),
    "a block without its last lines": ((HI, model(BLOCK.rstrip(), "yes"), NEXT), (HI, YES, NEXT)),
    "a block cut over two parts": (
        (HI, model(BLOCK[:20], BLOCK[20:] + "yes"), NEXT),
        (HI, YES, NEXT),
    ),
    "a block whose end was cut off": ((HI, model(BLOCK[:25], "yes"), NEXT), (HI, YES, NEXT)),
    "two blocks": ((HI, model(BLOCK + BLOCK + "yes"), NEXT), (HI, YES, NEXT)),
    "a block before a call": (
        (HI, Message(role="assistant", parts=(Text(text=BLOCK), *call().parts)), result(), YES),
        (HI, call(), result(), YES),
    ),
    "a block behind the thinking": (
        (
            HI,
            Message(
                role="assistant",
                parts=(Reasoning(text="t", signature="s"), Text(text=BLOCK), Text(text="yes")),
            ),
            NEXT,
        ),
        (
            HI,
            Message(role="assistant", parts=(Reasoning(text="t", signature="s"), Text(text="yes"))),
            NEXT,
        ),
    ),
    "only the mark is left": ((COMMAND, model(f"… [llmitm {TAG}]"), NEXT), (NEXT,)),
    "only the mark, after text": (
        (HI, YES, HI, model(f"[llmitm {TAG}]"), NEXT),
        (HI, YES, user("hi", "next")),
    ),
    "something behind the mark": (
        (HI, YES, COMMAND, model(LOCAL + "\n$0.00"), NEXT),
        (HI, YES, NEXT),
    ),
    "the mark in a part of its own": (
        (HI, YES, COMMAND, model("Temperature set.", f"[llmitm {TAG}]"), NEXT),
        (HI, YES, NEXT),
    ),
    "the mark is cut off": ((HI, YES, COMMAND, model("Temperature s"), NEXT), (HI, YES, NEXT)),
    "the answer is gone": ((HI, YES, COMMAND, NEXT), (HI, YES, NEXT)),
    "a text of the client before it": (
        (user("context"), COMMAND, model("cut"), NEXT),
        (user("context", "next"),),
    ),
    "beside tool results the model answers": (
        (HI, call(), result(), COMMAND, YES, NEXT),
        (HI, call(), result(), YES, NEXT),
    ),
    "beside tool results in one message": (
        (HI, call(), result(Text(text="!/help")), YES, NEXT),
        (HI, call(), Message(role="user", parts=result().parts), YES, NEXT),
    ),
    "results stand first where users are joined": (
        (HI, call(), result(Text(text="so")), model(LOCAL), result(Text(text="now"))),
        (
            HI,
            call(),
            Message(
                role="user",
                parts=(*result().parts, *result().parts, Text(text="so"), Text(text="now")),
            ),
        ),
    ),
    "calls that a client put to an answer stay": (
        (
            HI,
            YES,
            COMMAND,
            Message(role="assistant", parts=(Text(text=LOCAL), *call().parts)),
            result(),
        ),
        (HI, Message(role="assistant", parts=(*YES.parts, *call().parts)), result()),
    ),
    "after the assistant nothing is left alone": ((HI, YES, COMMAND, model("pre")), (HI, YES)),
    "an unknown mark": ((HI, model(with_mark("x", UNKNOWN)), NEXT),) * 2,
    "an unknown command": ((user("!/never"), YES, NEXT),) * 2,
    "a command in the newest message": ((HI, YES, COMMAND),) * 2,
    "the answer is gone and the users were joined": (
        (HI, YES, user("!/help", "fix !/set(a=1)", "next")),
        (HI, YES, user("fix", "next")),
    ),
    "commands that end the newest message": ((HI, YES, user("next", "!/set(a=1)", "!/help")),) * 2,
    "talk about a command": ((user("what does !/help do?"), YES, NEXT),) * 2,
    "a mark that a user wrote": ((user(LOCAL), YES, NEXT),) * 2,
    "neighbours that were there before": ((HI, HI, YES, NEXT),) * 2,
}


@pytest.mark.parametrize(("before", "after"), STRIPPING.values(), ids=STRIPPING)
def test_stripping(
    memory: DiskMemory, before: tuple[Message, ...], after: tuple[Message, ...]
) -> None:
    tagged(memory)
    for text in ("!/help", "!/set(a=1)", "fix !/set(a=1)"):
        remember(memory, text)
    effect = Conversations(memory).on_request(turn(), request(*before))
    assert isinstance(effect, Forward)
    left = request(*before) if effect.request is None else effect.request
    assert left == request(*after)
    assert (effect is FORWARD) == (before == after)
    # What another client said is nobody else's.
    other = Conversations(memory).on_request(turn(scope=b"other"), request(*before))
    assert other is FORWARD


def test_what_a_client_adds_by_itself_is_no_text(memory: DiskMemory) -> None:
    remember(memory, "!/help")
    remember(memory, f"!/help\n{REMINDER}")
    stage = Conversations(memory, added)
    for said in (user("!/help", REMINDER), user(f"!/help\n{REMINDER}"), user(f"{REMINDER}!/help")):
        effect = stage.on_request(turn("coder"), request(HI, YES, said, model("cut"), NEXT))
        assert isinstance(effect, Forward)
        assert effect.request is not None
        texts = [
            p.text.strip() for m in effect.request.messages for p in m.parts if isinstance(p, Text)
        ]
        assert texts == ["hi", "yes", REMINDER, "next"]
        assert [m.role for m in effect.request.messages] == ["user", "assistant", "user"]


@pytest.mark.parametrize("mode", ["end", "strict", "anywhere"])
def test_every_mode_and_prefix_of_the_past(memory: DiskMemory, mode: str) -> None:
    text = "one\n$$help"
    block = Block(kind="command", conversation="c1", prefix="$$", mode=mode)
    memory.keep(SCOPE, command_key(memory, SCOPE, text), block)
    remember(memory, "!/help")
    effect = Conversations(memory).on_request(turn(), request(user(text), YES, COMMAND, YES, NEXT))
    assert isinstance(effect, Forward)
    assert effect.request == request(user("one"), YES, NEXT)


@pytest.mark.parametrize("kind", ["generate", "count_tokens"])
def test_nothing_but_commands_is_refused(memory: DiskMemory, kind: str) -> None:
    tagged(memory)
    remember(memory, "!/help")
    asked = turn()
    asked.kind = "generate" if kind == "generate" else "count_tokens"
    effect = Conversations(memory).on_request(asked, request(COMMAND, model(LOCAL)))
    assert isinstance(effect, Refuse)
    assert effect.fault.status == 400


def test_the_newest_message_knows_its_own_parts(memory: DiskMemory) -> None:
    tagged(memory)
    remember(memory, "fix !/set(a=1)")
    asked = turn()
    Conversations(memory).on_request(
        asked, request(user("fix !/set(a=1)"), model(LOCAL), user("!/help", "x"))
    )
    assert asked.memory["conversations"] == 2
    asked = turn()
    Conversations(memory).on_request(asked, request(HI, model(LOCAL + "x"), HI, YES, NEXT))
    assert asked.memory == {}


# Identity.


def found(memory: DiskMemory, asked: Turn, *messages: Message, **more: str) -> Conversation:
    Conversations(memory, added).on_request(asked, request(*messages, **more))
    assert asked.conversation.key
    return asked.conversation


def test_the_clients_own_id_comes_first(memory: DiskMemory) -> None:
    tagged(memory)
    first = found(memory, turn("a", "id"), HI)
    assert found(memory, turn("a", "id"), user("other words"), model(LOCAL), NEXT) is first
    assert found(memory, turn("a", "id 2"), HI) is not first
    assert found(memory, turn("b", "id"), HI) is not first
    assert found(memory, turn("a", "id", b"other"), HI) is not first


def test_the_first_words_tell(memory: DiskMemory) -> None:
    first = found(memory, turn(), HI)
    assert found(memory, turn(), HI, YES, NEXT) is first
    assert found(memory, turn(), user(" h i\n"), YES, NEXT, YES, NEXT) is first
    assert found(memory, turn("coder"), HI, YES, NEXT) is not first
    assert found(memory, turn(), HI, YES, NEXT, instructions="be") is not first
    assert found(memory, turn(scope=b"x"), HI, YES, NEXT) is not first


def test_two_chats_with_one_opening(memory: DiskMemory) -> None:
    """The words belong to the newer one; a mark tells them apart."""
    first, second = found(memory, turn(), HI), found(memory, turn(), HI)
    assert first is not second
    assert found(memory, turn(), HI, YES, NEXT) is second
    for chat, tag in ((first, "aaaaaa"), (second, "bbbbbb")):
        tagged(memory, tag, chat.key)
        remember(memory, "!/help", chat.key)
    for chat, tag in ((first, "aaaaaa"), (second, "bbbbbb")):
        answer = model(with_mark("x", tag))
        assert found(memory, turn(), HI, YES, COMMAND, answer, NEXT) is chat
        assert found(memory, turn(), COMMAND, answer, HI) is chat
        assert found(memory, turn(), HI, model(as_block("x", tag) + "yes"), NEXT) is chat
    assert found(memory, turn(), COMMAND, model("cut"), NEXT) is second


def test_a_command_with_text_tells(memory: DiskMemory) -> None:
    chat = found(memory, turn(), user("fix !/set(a=1)"))
    remember(memory, "fix !/set(a=1)", chat.key)
    assert found(memory, turn(), user("fix !/set(a=1)"), YES, NEXT) is chat
    # A client that has cut the command out itself: the words are known by now.
    assert found(memory, turn(), user("fix"), YES, NEXT) is chat


def test_a_mark_in_the_newest_message_tells_nothing(memory: DiskMemory) -> None:
    tagged(memory, TAG, "c1")
    assert found(memory, turn(), user(LOCAL)).key != "c1"


def test_an_opening_is_always_new_and_a_later_retry_is_not(memory: DiskMemory) -> None:
    assert found(memory, turn(), COMMAND) is not found(memory, turn(), COMMAND)
    chat = found(memory, turn(), HI)
    asked = (HI, YES, COMMAND)
    assert found(memory, turn(), *asked) is found(memory, turn(), *asked) is chat


def test_a_count_and_a_side_call_take_no_words_away(memory: DiskMemory) -> None:
    chat = found(memory, turn(), HI, instructions="be a coder")
    count = turn()
    count.kind = "count_tokens"
    found(memory, count, HI, instructions="be a coder")
    found(memory, turn(), HI, instructions="write a title")
    assert found(memory, turn(), HI, YES, NEXT, instructions="be a coder") is chat


def test_what_the_client_adds_is_no_opening(memory: DiskMemory) -> None:
    chat = found(memory, turn("coder"), user(REMINDER), user("fix it"))
    assert (
        found(memory, turn("coder"), user(REMINDER), user(f"fix it{REMINDER}"), YES, NEXT) is chat
    )
    assert found(memory, turn("coder"), user(REMINDER), user("else"), YES, NEXT) is not chat


ANSWERED = Account(
    id="x1",
    provider="openai",
    protocol="openai_responses",
    client="",
    model="m",
    target="openai:m",
    lane="verbatim",
    stream=True,
    status=200,
    started_s=0,
    duration_s=2.0,
    ttft_s=None,
    usage=None,
    finish="stop",
    tool_calls=("bash", "Write", "apply_patch"),
    error="",
    ended=True,
    attempts=1,
    losses=(),
    notes=(),
    trace=(),
    request_bytes=0,
    response_bytes=0,
    response_id="resp_real",
)


def test_an_answers_id_tells(memory: DiskMemory) -> None:
    asked = turn()
    chat = found(memory, asked, HI)
    Conversations(memory).on_close(asked, ANSWERED)
    assert found(memory, turn(), NEXT, after="resp_real") is chat
    assert found(memory, turn(), NEXT, after="resp_else") is not chat
    assert found(memory, turn(scope=b"x"), NEXT, after="resp_real") is not chat


@pytest.mark.parametrize("replaces", ["resp_real", ""])
def test_a_local_answers_id_never_goes_out(memory: DiskMemory, replaces: str) -> None:
    chat = found(memory, turn(), HI)
    block = Block(kind="response", conversation=chat.key, replaces=replaces)
    memory.keep(SCOPE, response_key(memory, SCOPE, "resp_local"), block)
    asked = turn()
    effect = Conversations(memory).on_request(asked, request(NEXT, after="resp_local"))
    assert isinstance(effect, Forward)
    assert effect.request == request(NEXT, after=replaces or None)
    assert asked.conversation is chat


@pytest.mark.parametrize(
    ("account", "turns", "writes"),
    [
        (ANSWERED, 1, 2),
        (replace(ANSWERED, lane="local"), 0, 0),
        (replace(ANSWERED, status=429), 0, 0),
        (replace(ANSWERED, error="broken"), 0, 0),
    ],
)
def test_answers_are_counted(memory: DiskMemory, account: Account, turns: int, writes: int) -> None:
    asked = turn()
    chat = found(memory, asked, HI)
    Conversations(memory).on_close(asked, account)
    assert (chat.model_turns, chat.file_writes) == (turns, writes)


def test_counts_are_not_counted(memory: DiskMemory) -> None:
    asked = turn()
    asked.kind = "count_tokens"
    chat = found(memory, asked, HI)
    Conversations(memory).on_close(asked, ANSWERED)
    assert chat.model_turns == 0


def test_it_is_all_known_after_a_restart(tmp_path: Path) -> None:
    before = DiskMemory(tmp_path / "m.db", say=print)
    chat = found(before, turn(), HI)
    chat.tag = new_tag(before, SCOPE, "turn")
    chat.set(model="x")
    tagged(before, chat.tag, chat.key)
    remember(before, "!/help", chat.key)
    before.save(chat)
    before.close()
    after = DiskMemory(tmp_path / "m.db", say=print)
    assert new_tag(after, SCOPE, "turn") != chat.tag
    for history in ((HI, YES, NEXT), (COMMAND, model(with_mark("x", chat.tag)), NEXT)):
        asked = turn()
        effect = Conversations(after).on_request(asked, request(*history))
        assert asked.conversation.settings.model == "x"
        assert isinstance(effect, Forward)
    assert effect.request == request(NEXT)
    after.close()
