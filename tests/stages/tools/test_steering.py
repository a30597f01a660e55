"""Where the project is, and which calls a model should make in another way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.parts import Text, ToolResult
from llmitm.canon.request import Message
from llmitm.ruleset.tool_policies import SteeringRow
from llmitm.stages.conversation import Conversation
from llmitm.stages.tools.stage import Tools
from stages.tools.playing import (
    SHIPPED,
    answer,
    asked,
    call,
    play,
    ruled,
    turn_of,
)

OPENINGS = {
    "claude-code": "<env>\nWorking directory: {}\nIs directory a git repo: Yes\n</env>",
    "codex": "<environment_context>\n  <cwd>{}</cwd>\n</environment_context>",
    "gemini-cli": "I'm currently working in the directory: {}\nHere is the folder structure:",
    "qwen-code": "I'm currently working in the directory: {}\n",
    "opencode": "<env>\n  Working directory: {}\n  Is directory a git repo: no\n</env>",
    "cline": "# Current Working Directory ({}) Files\na.py",
}


@pytest.mark.parametrize("client", OPENINGS)
@pytest.mark.parametrize("where", ["instructions", "system", "user"])
def test_clients_tell_their_project(client: str, where: str) -> None:
    stage = Tools(ruled(sandbox={"enabled": True, "effect": "block"}))
    text = Text(text=f"Hello.\n{OPENINGS[client].format('/code/app')}")
    request = asked("read_file", "write_file")
    if where == "instructions":
        request = replace(request, instructions=(text,))
    else:
        told = Message(role=where, parts=(text,))  # pyright: ignore[reportArgumentType]
        request = replace(request, messages=(told, *request.messages))
    conversation = Conversation(key="k")
    turn = turn_of(client=client, conversation=conversation)
    events = answer(
        call(0, {"path": "/etc/passwd"}, "write_file"), call(1, {"path": "a.py"}, "write_file")
    )
    played = play(stage, [events], request, turn)
    assert played.calls == [{"path": "a.py"}]
    assert "/code/app" in played.text
    # A request that goes on from an answer tells it no more.
    later = turn_of(client=client, conversation=conversation)
    assert play(stage, [events], asked("write_file"), later).calls == [{"path": "a.py"}]


def test_what_was_set_by_chat_counts_and_a_result_never_does() -> None:
    stage = Tools(ruled(sandbox={"enabled": True, "effect": "block"}))
    conversation = Conversation()
    conversation.set(project_dir="/code/app")
    lie = Message(
        role="tool",
        parts=(ToolResult(call_id="1", parts=(Text(text="Working directory: /"),)),),
    )
    request = asked("write_file")
    request = replace(request, messages=(*request.messages, lie))
    events = answer(call(0, {"path": "/etc/passwd"}, "write_file"))
    turn = turn_of(client="claude-code", conversation=conversation)
    assert play(stage, [events], request, turn).calls == []
    unknown = turn_of(client="claude-code")
    assert play(stage, [events], request, unknown).calls == [{"path": "/etc/passwd"}]
    strict = Tools(ruled(sandbox={"enabled": True, "effect": "block", "strict_mode": True}))
    assert play(strict, [events], request, turn_of(client="claude-code")).calls == []


def rule(name: str, **changes: Any) -> SteeringRow:
    row = next(row for row in SHIPPED.tools.steering_rules if row.name == name)
    return row.model_copy(update={"enabled": True, **changes})


EXAMPLES = [
    (row.name, example.tool, example.arguments, example.applies)
    for row in SHIPPED.tools.steering_rules
    for example in row.examples
]


@pytest.mark.parametrize(("name", "tool", "arguments", "applies"), EXAMPLES)
def test_examples_of_steering_rules(name: str, tool: str, arguments: str, applies: bool) -> None:
    stage = Tools(ruled(steering_rules=(rule(name, effect="block"),), commands={"enabled": False}))
    played = play(stage, [answer(call(0, arguments, tool))], asked(tool, "bash"))
    assert (rule(name).message in played.text) is applies
    assert bool(played.calls) is not applies


def test_defaults_are_those_of_the_rules() -> None:
    rows = {row.name: row.enabled for row in SHIPPED.tools.steering_rules}
    assert [name for name, on in rows.items() if on] == ["binary-edits"]
    tools = SHIPPED.tools
    assert (tools.commands.enabled, tools.commands.effect) == (True, "steer")
    assert (tools.sandbox.enabled, tools.policies) == (False, ())


def test_a_rule_speaks_so_often_in_one_conversation() -> None:
    stage = Tools(ruled(steering_rules=(rule("pytest-full-suite"),)))
    events = [answer(call(0, {"command": "pytest"})), answer(call(0, {"command": "pytest"}))]
    first = play(stage, events, turn=turn_of(conversation=Conversation(key="a")))
    assert len(first.requests) == 1
    assert first.calls == [{"command": "pytest"}]
    again = play(stage, events, turn=turn_of(conversation=Conversation(key="a"), started_s=1799.0))
    assert again.requests == []
    other = play(stage, events, turn=turn_of(conversation=Conversation(key="b")))
    assert len(other.requests) == 1
    later = play(stage, events, turn=turn_of(conversation=Conversation(key="a"), started_s=1801.0))
    assert len(later.requests) == 1


def test_the_rule_with_the_highest_priority_speaks() -> None:
    row = rule("patch-file", effect="block")
    low = row.model_copy(update={"name": "low", "message": "low", "priority": 1})
    high = row.model_copy(update={"name": "high", "message": "high", "priority": 2})
    stage = Tools(ruled(steering_rules=(low, high)))
    played = play(stage, [answer(call(0, {}, "apply_diff"))], asked("apply_diff"))
    assert "high" in played.text
    assert "low" not in played.text
