"""Calls of tools that a provider defines and the client runs, as they come on the wire."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.parts import ToolCall, Unknown
from llmitm.canon.request import Tool
from llmitm.dialects.catalog import DIALECTS
from llmitm.stages.contract import FORWARD
from llmitm.stages.tools.judging import Allowed, Dangerous, judge
from llmitm.stages.tools.stage import Tools
from stages.tools.playing import SHIPPED, asked, policy, ruled, started, turn_of
from stages.tools.test_wire import CUTS, read, through, told, wire

NAME = "openai_responses"
WIPE = "rm -rf /"


def local_shell(*words: str) -> dict[str, Any]:
    action = {"type": "exec", "command": list(words), "env": {}, "working_directory": "/code/x"}
    return {"type": "local_shell_call", "call_id": "call_9", "action": action}


def shell(*commands: str, **more: Any) -> dict[str, Any]:
    action = {"commands": list(commands), "timeout_ms": 1000, "max_output_length": 4096}
    return {"type": "shell_call", "call_id": "call_9", "action": action, **more}


def patch(path: str) -> dict[str, Any]:
    operation = {"type": "update_file", "path": path, "diff": "@@\n-a\n+b\n"}
    return {"type": "apply_patch_call", "call_id": "call_9", "operation": operation}


def body_of(*items: dict[str, Any]) -> bytes:
    """A stream with these items, as OpenAI writes it."""
    head = {"id": "resp_a", "object": "response", "created_at": 1, "model": "m", "output": []}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**head, "status": "in_progress"}}
    ]
    done = []
    for place, made in enumerate(items):
        item = {"id": f"lsh_{place}", "status": "completed", **made}
        done.append(item)
        at = {"output_index": place}
        begun = {**item, "status": "in_progress"}
        events.append({"type": "response.output_item.added", **at, "item": begun})
        for number, command in enumerate(item.get("action", {}).get("commands", ())):
            told = {**at, "command_index": number, "command": command}
            events.append({"type": "response.shell_call_command.added", **told})
            events.append({"type": "response.shell_call_command.done", **told})
        events.append({"type": "response.output_item.done", **at, "item": item})
    last = {**head, "status": "completed", "output": done, "usage": None}
    events.append({"type": "response.completed", "response": last})
    return b"".join(
        f"event: {one['type']}\ndata: {json.dumps({**one, 'sequence_number': n})}\n\n".encode()
        for n, one in enumerate(events)
    )


def items_of(body: bytes) -> list[Any]:
    """The items of the answer, told once each by their end and by the final response alike."""
    frames = [json.loads(line[6:]) for line in body.decode().splitlines() if line[:7] == "data: {"]
    numbers = [frame["sequence_number"] for frame in frames]
    assert numbers == sorted(set(numbers))
    done = [f for f in frames if f["type"] == "response.output_item.done"]
    added = [f for f in frames if f["type"] == "response.output_item.added"]
    places = [f["output_index"] for f in done]
    assert places == [f["output_index"] for f in added] == list(range(len(done)))
    (last,) = [f["response"] for f in frames if f["type"] == "response.completed"]
    assert last["output"] == [f["item"] for f in done]
    return last["output"]


def text_in(items: list[Any]) -> str:
    messages = [item for item in items if item["type"] == "message"]
    return "".join(part["text"] for message in messages for part in message["content"])


HARMLESS = {
    "local shell": local_shell("bash", "-lc", "git status && ls"),
    "shell": shell("git status", "ls -la"),
    "patch": patch("src/a.py"),
    "hosted shell": shell(WIPE, environment={"type": "container_reference", "container_id": "c"}),
}
DANGEROUS = {
    "local shell, a shell's text": local_shell("bash", "-lc", f"cd x && {WIPE}"),
    "local shell, words": local_shell("rm", "-rf", "/"),
    "shell": shell("cd x", WIPE),
    "shell, here": shell("ls", "git reset --hard", environment={"type": "local"}),
    "shell, words": shell("rm", "-rf", "/"),
}


@CUTS
@pytest.mark.parametrize("item", HARMLESS.values(), ids=HARMLESS)
def test_what_is_not_stopped_goes_on_byte_for_byte(item: dict[str, Any], chunk: int) -> None:
    body = body_of(item)
    assert through(NAME, Tools(ruled()), [body], chunk) == (body, 1)


@CUTS
@pytest.mark.parametrize("item", DANGEROUS.values(), ids=DANGEROUS)
def test_the_model_is_asked_again_and_nothing_of_the_call_is_seen(
    item: dict[str, Any], chunk: int
) -> None:
    turn = turn_of()
    bodies = [body_of(item), body_of(local_shell("git", "status"))]
    out, count = through(NAME, Tools(ruled()), bodies, chunk, turn)
    assert count == 2
    (call,) = items_of(out)
    assert call["action"]["command"] == ["git", "status"]
    assert b"rm" not in out.replace(b"format", b"")
    assert b"--hard" not in out


def test_the_note_follows_the_call_in_the_request_that_asks_again() -> None:
    stage, turn = Tools(ruled()), turn_of()
    started(stage, asked("bash"), turn)
    assert stage.watches(turn)
    effects = [stage.on_event(turn, event) for event in read(NAME, body_of(shell("cd x", WIPE)))]
    (again,) = [one for one in effects if not isinstance(one, (tuple, list))]
    answer, result = again.request.messages[-2:]
    (call,) = answer.parts
    assert isinstance(call, ToolCall)
    assert (call.id, call.name) == ("call_9", "shell")
    assert json.loads(call.arguments)["action"]["commands"] == ["cd x", WIPE]
    assert result.parts[0].call_id == "call_9"
    assert "was not run" in result.parts[0].parts[0].text


@CUTS
@pytest.mark.parametrize("item", DANGEROUS.values(), ids=DANGEROUS)
def test_a_text_takes_its_place(item: dict[str, Any], chunk: int) -> None:
    body = body_of(item, HARMLESS["shell"])
    out, count = through(NAME, Tools(ruled(commands={"effect": "block"})), [body], chunk)
    assert count == 1
    message, kept = items_of(out)
    assert "was not run" in text_in([message])
    assert kept["action"] == HARMLESS["shell"]["action"]
    assert b"shell_call_command" not in out.split(b"was not run")[0]


@CUTS
@pytest.mark.parametrize(
    ("item", "key"),
    [(DANGEROUS["local shell, words"], "command"), (DANGEROUS["shell"], "commands")],
)
def test_a_command_that_prints_takes_its_place(item: dict[str, Any], key: str, chunk: int) -> None:
    body = body_of(item)
    out, _ = through(NAME, Tools(ruled(commands={"effect": "replace"})), [body], chunk)
    (call,) = items_of(out)
    assert call["type"] == item["type"]
    assert call["call_id"] == "call_9"
    assert {**call["action"], key: None} == {**item["action"], key: None}
    words = call["action"][key]
    assert words[0].startswith("printf")
    assert len(words) == (3 if key == "command" else 1)
    assert judge(item["type"].removesuffix("_call"), json.dumps(call), SHIPPED.tools, "", None) == (
        Allowed()
    )


@CUTS
def test_a_patch_outside_of_the_project_is_stopped(chunk: int) -> None:
    rules = ruled(sandbox={"enabled": True, "effect": "block"})
    turn = turn_of()
    turn.conversation.set(project_dir="/code/project")
    stage = Tools(rules)
    inside, outside = body_of(patch("src/a.py")), body_of(patch("../../etc/passwd"))
    assert through(NAME, stage, [inside], chunk, turn)[0] == inside
    out, _ = through(NAME, stage, [outside], chunk, turn)
    assert "is outside of the project" in text_in(items_of(out))


def test_a_policy_takes_the_tool_out_of_the_request_and_stops_its_call() -> None:
    rules = ruled(policies=(policy(blocked_patterns=("^local_shell$",), effect="block"),))
    stage, turn = Tools(rules), turn_of()
    tool = Tool(kind="server", name="local_shell", dialect=NAME, value={"type": "local_shell"})
    request = asked("bash")
    effect = stage.on_request(turn, type(request)(**_fields(request, tools=(*request.tools, tool))))
    assert effect is not FORWARD
    assert effect.request is not None
    assert [one.name for one in effect.request.tools] == ["bash"]
    out, _ = through(NAME, Tools(rules), [body_of(HARMLESS["local shell"])], 1 << 20)
    assert "was not run" in text_in(items_of(out))


def _fields(value: Any, **changes: Any) -> dict[str, Any]:
    return {**{name: getattr(value, name) for name in value.__dataclass_fields__}, **changes}


def test_an_answer_in_one_piece_meets_the_same() -> None:
    item = {"id": "lsh_1", "status": "completed", **local_shell("rm", "-rf", "/")}
    body = {"id": "resp_a", "object": "response", "status": "completed", "output": [item]}
    events = DIALECTS[NAME].decode_response(json.dumps(body).encode())
    stage, turn = Tools(ruled(commands={"effect": "block"})), turn_of()
    started(stage, asked("bash", stream=False), turn)
    assert stage.watches(turn)
    left = [one for event in events for one in stage.on_event(turn, event)]
    assert not [e for e in left if isinstance(getattr(e, "part", None), Unknown)]
    assert "was not run" in told(NAME, wire(NAME, left))[0]


def test_a_fault_after_the_announcement_drops_it() -> None:
    body = body_of(local_shell("rm", "-rf", "/"))
    added = body.split(b"\n\n")[:2]
    fault = {"type": "error", "code": "server_error", "message": "x", "sequence_number": 2}
    cut = b"\n\n".join([*added, f"event: error\ndata: {json.dumps(fault)}".encode(), b""])
    out, _ = through(NAME, Tools(ruled()), [cut], 1 << 20)
    assert b'"rm"' not in out
    assert b"server_error" in out


@pytest.mark.parametrize("name", ["bash", "bash_20250124", "bash_20241022"])
def test_the_bash_tool_of_anthropic_is_a_shell(name: str) -> None:
    def verdict(arguments: dict[str, Any]) -> object:
        return judge(name, json.dumps(arguments), SHIPPED.tools, "/code/project", None)

    assert isinstance(verdict({"command": WIPE}), Dangerous)
    assert verdict({"restart": True}) == Allowed()
    assert verdict({"command": "ls"}) == Allowed()


@pytest.mark.parametrize("name", ["str_replace_based_edit_tool", "str_replace_editor"])
def test_the_text_editor_of_anthropic_stays_in_the_project(name: str) -> None:
    rules = ruled(sandbox={"enabled": True}).tools

    def verdict(command: str, path: str) -> str:
        text = json.dumps({"command": command, "path": path, "file_text": WIPE})
        return type(judge(name, text, rules, "/code/project", None)).__name__

    assert verdict("create", "/etc/cron.d/x") == "Outside"
    assert verdict("view", "/code/project/../other") == "Outside"
    assert verdict("create", "/code/project/rm.txt") == "Allowed"
