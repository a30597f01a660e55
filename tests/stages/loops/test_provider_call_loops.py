"""Calls of tools that a provider defines (`local_shell_call`, `shell_call`) can be loops too."""

from __future__ import annotations

import json
from typing import Any

import pytest

from llmitm.canon.events import Opaque, PartStart
from llmitm.canon.parts import Unknown
from llmitm.canon.request import Request
from llmitm.dialects.catalog import DIALECTS
from llmitm.stages.tool_loops.stage import ToolLoops
from stages.loops.answers import text_seen, through, turn
from stages.tools.playing import SHIPPED
from stages.tools.test_provider_calls import body_of, local_shell, shell

RESPONSES = DIALECTS["openai_responses"]
LOOPED = "[Tool call loop detected:"
KINDS = {
    "local shell": (local_shell("ls", "-la"), local_shell("pwd"), "local_shell"),
    "shell": (shell("ls -la"), shell("pwd"), "shell"),
}


def asked(*items: dict[str, Any], outputs: list[Any] | None = None) -> Request:
    """A request whose history holds these calls with their results."""
    history: list[Any] = [{"role": "user", "content": "go"}]
    for number, item in enumerate(items):
        name = f"call_{number}"
        history.append({**item, "id": f"lsh_{number}", "call_id": name, "status": "completed"})
        output = outputs[number] if outputs else "the same"
        history.append({"type": f"{item['type']}_output", "call_id": name, "output": output})
    tool = {"type": items[0]["type"].removesuffix("_call")}
    body = {"model": "m", "input": history, "tools": [tool]}
    return RESPONSES.decode_request(json.dumps(body).encode())


def answered(item: dict[str, Any], streamed: bool) -> list[Any]:
    if streamed:
        decoder = RESPONSES.stream_decoder("text/event-stream")
        frames = [*decoder.feed(body_of(item)), *decoder.close()]
        return [event for frame in frames for event in frame.events]
    done = {"id": "lsh_9", "status": "completed", **item}
    head = {"id": "resp_a", "object": "response", "created_at": 1, "model": "m"}
    body = {**head, "status": "completed", "output": [done], "usage": None}
    return [*RESPONSES.decode_response(json.dumps(body).encode())]


def calls_in(events: list[Any]) -> list[Any]:
    return [
        event.part.value
        for event in events
        if isinstance(event, PartStart) and isinstance(event.part, Unknown)
    ]


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_fourth_of_the_same_is_stopped(kind: str, streamed: bool) -> None:
    same, other, name = KINDS[kind]
    stage = ToolLoops(SHIPPED)
    seen, _ = through(stage, turn(key="a"), asked(same, same, same), answered(same, streamed))
    assert calls_in(seen) == []
    assert text_seen(seen).startswith(f"{LOOPED} '{name}'")
    # Nothing that announced the call is left either.
    assert not any("shell" in json.dumps(e.value) for e in seen if isinstance(e, Opaque))
    for before, new in (((same, same), same), ((same, same, same), other)):
        events = answered(new, streamed)
        seen, _ = through(stage, turn(key=f"{len(before)}"), asked(*before), events)
        assert len(calls_in(seen)) == 1
        assert sorted(map(repr, seen)) == sorted(map(repr, events))


@pytest.mark.parametrize("kind", KINDS)
def test_between_others_only_while_the_results_are_the_same(kind: str) -> None:
    same, other, _ = KINDS[kind]
    history = (same, other, same, other, same, other)
    for outputs, stopped in ((["a", "x"] * 3, True), (["a", "x", "b", "x", "c", "x"], False)):
        request = asked(*history, outputs=outputs)
        seen, _ = through(ToolLoops(SHIPPED), turn(key="b"), request, answered(same, True))
        assert (LOOPED in text_seen(seen)) is stopped
        assert len(calls_in(seen)) == (not stopped)


def test_what_the_provider_runs_itself_is_none_of_it() -> None:
    hosted = shell("ls", environment={"type": "container_reference", "container_id": "c"})
    events = answered(hosted, True)
    seen, _ = through(ToolLoops(SHIPPED), turn(key="c"), asked(hosted, hosted, hosted), events)
    assert seen == events
