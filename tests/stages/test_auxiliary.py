"""Side calls go to the cheap model, real work does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llmitm.canon.parts import Text, ToolResult
from llmitm.canon.request import Message, Request, Tool
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.selectors import Composite, Target
from llmitm.stages.auxiliary import Auxiliary
from llmitm.stages.contract import FORWARD, Turn

CHEAP = Target(provider="groq", model="openai/gpt-oss-20b")
TITLE = "Generate a short title for this conversation."

type Make = Callable[..., Auxiliary]


@pytest.fixture
def stage(tmp_path: Path) -> Make:
    def make(**values: Any) -> Auxiliary:
        section = {"enabled": True, "target": "groq:openai/gpt-oss-20b", **values}
        (tmp_path / "rewrites.yaml").write_text(json.dumps({"auxiliary": section}))
        return Auxiliary(load_folders([shipped_folder(), tmp_path], {}))

    return make


def turn(client: str = "") -> Turn:
    return Turn(
        id="t", provider="openai", protocol="openai_chat", client=client, model="m", started_s=0
    )


def say(role: Any, text: str) -> Message:
    return Message(role=role, parts=(Text(text=text),))


def request(*messages: Message, instructions: str = "", tools: bool = False) -> Request:
    return Request(
        dialect="openai_chat",
        model="m",
        messages=messages,
        instructions=(Text(text=instructions),) if instructions else (),
        tools=(Tool(name="bash"),) if tools else (),
    )


SIDE_CALLS = [
    request(say("user", TITLE)),
    request(say("system", "You are a title generator."), say("user", "fix my bug")),
    request(say("developer", "Summarize the conversation."), say("user", "a"), say("user", "b")),
    request(say("user", "fix my bug"), instructions="Give a title for this chat."),
    # what is wanted may stand at either end of a long text
    request(say("user", f"{TITLE}\n\n{'words ' * 100_000}")),
    request(say("user", f"{'words ' * 100_000}\n\n{TITLE}")),
    # of a talk with answers the last message is the wish
    request(say("user", "hi"), say("assistant", "hello"), say("user", TITLE)),
]
REAL_WORK = [
    request(say("user", "fix my bug")),
    request(say("user", TITLE), tools=True),
    request(*[say("user", "a")] * 3, say("user", TITLE)),
    request(*[say("user", "a")] * 2, say("user", TITLE), instructions="You help."),
    request(say("user", TITLE), say("assistant", "A title"), say("user", "make it shorter")),
    request(say("user", TITLE), say("assistant", "A title")),
    request(
        say("user", TITLE),
        Message(role="tool", parts=(ToolResult(call_id="c", parts=(Text(text=TITLE),)),)),
    ),
    request(),
]


@pytest.mark.parametrize("asked", SIDE_CALLS, ids=range(len(SIDE_CALLS)))
def test_a_side_call_goes_to_the_cheap_model_for_good(asked: Request, stage: Make) -> None:
    effect = stage().on_request(turn(), asked)
    assert (effect.route, effect.final, effect.request) == (CHEAP, True, None)
    assert effect.why.startswith("side call, ")


@pytest.mark.parametrize("asked", REAL_WORK, ids=range(len(REAL_WORK)))
def test_real_work_stays(asked: Request, stage: Make) -> None:
    assert stage().on_request(turn(), asked) is FORWARD


@pytest.mark.parametrize(("client", "is_one"), [("opencode", True), ("codex", False), ("", False)])
def test_a_known_clients_words_count_for_it_alone(client: str, is_one: bool, stage: Make) -> None:
    asked = request(say("user", "hi"), instructions="Reply with the thread title, 50 letters.")
    effect = stage(patterns=[]).on_request(turn(client), asked)
    assert (effect.route == CHEAP) == is_one


@pytest.mark.parametrize("asked", SIDE_CALLS, ids=range(len(SIDE_CALLS)))
def test_off_means_off(asked: Request, stage: Make) -> None:
    assert stage(enabled=False).on_request(turn(), asked) is FORWARD
    assert Auxiliary(load_folders([shipped_folder()], {})).on_request(turn(), asked) is FORWARD


def test_the_numbers_of_the_rules(stage: Make) -> None:
    four = request(*[say("user", "a")] * 3, say("user", TITLE))
    assert stage(max_message_count=4).on_request(turn(), four).route == CHEAP
    with_tools = request(say("user", TITLE), tools=True)
    assert stage(with_tools=True).on_request(turn(), with_tools).route == CHEAP


def test_several_targets(stage: Make) -> None:
    made = stage(target="groq:a|cerebras:b?temperature=0")
    route = made.on_request(turn(), SIDE_CALLS[0]).route
    assert isinstance(route, Composite)
    assert [branch.provider for branch in route.branches if isinstance(branch, Target)] == [
        "groq",
        "cerebras",
    ]


def test_token_counts_are_not_its_business() -> None:
    assert not Auxiliary.counts
