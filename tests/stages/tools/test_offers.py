"""Which tools are offered, and which answers are looked at at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.request import Request, ToolChoice
from llmitm.stages.contract import FORWARD
from llmitm.stages.tools.stage import Tools
from stages.tools.playing import (
    SHIPPED,
    asked,
    policy,
    ruled,
    started,
    turn_of,
)


def test_without_policies_the_request_is_the_very_same() -> None:
    stage, turn = Tools(SHIPPED), turn_of()
    assert stage.on_request(turn, asked("bash", "write_file")) is FORWARD


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ([{"blocked_patterns": ("^write_",)}], ["bash", "read_file"]),
        ([{"blocked_patterns": ("WRITE",)}], ["bash", "read_file"]),
        ([{"allowed_patterns": ("read",), "default_policy": "deny"}], ["read_file"]),
        (
            [{"allowed_patterns": ("file",), "blocked_patterns": ("write",)}],
            ["bash", "read_file", "write_file"],
        ),
        (
            [
                {"blocked_patterns": (".",)},
                {"name": "q", "priority": 5, "blocked_patterns": ("bash",)},
            ],
            ["read_file", "write_file"],
        ),
        (
            [
                {"name": "q", "priority": 5, "blocked_patterns": ("bash",)},
                {"blocked_patterns": (".",), "priority": 4},
            ],
            ["read_file", "write_file"],
        ),
        (
            [{"model_pattern": "^other$", "blocked_patterns": (".",)}],
            ["bash", "read_file", "write_file"],
        ),
        ([{"model_pattern": "^P:M$", "blocked_patterns": ("write",)}], ["bash", "read_file"]),
        (
            [{"agent_pattern": "^cline$", "blocked_patterns": (".",)}],
            ["bash", "read_file", "write_file"],
        ),
        (
            [{"enabled": False, "blocked_patterns": (".",)}],
            ["bash", "read_file", "write_file"],
        ),
        ([{"default_policy": "deny"}], []),
    ],
)
def test_of_the_policies_that_fit_the_highest_decides(
    rows: list[dict[str, Any]], left: list[str]
) -> None:
    stage = Tools(ruled(policies=tuple(policy(**row) for row in rows)))
    request = asked("bash", "read_file", "write_file")
    after = started(stage, request, turn_of())
    assert [tool.name for tool in after.tools] == left
    assert (after is request) == (len(left) == 3)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, None),
        (ToolChoice(mode="required"), ToolChoice(mode="required")),
        (ToolChoice(mode="named", names=("write",)), ToolChoice(mode="auto")),
        (ToolChoice(mode="named", names=("bash",)), ToolChoice(mode="named", names=("bash",))),
        (
            ToolChoice(mode="required", names=("bash", "write")),
            ToolChoice(mode="required", names=("bash",)),
        ),
    ],
)
def test_a_choice_that_named_the_tool_is_reset(
    before: ToolChoice | None, after: ToolChoice | None
) -> None:
    stage = Tools(ruled(policies=(policy(blocked_patterns=("write",)),)))
    request = asked("bash", "write", tool_choice=before, parallel_tool_calls=False)
    left = started(stage, request, turn_of())
    assert left.tool_choice == after
    assert left.parallel_tool_calls is False


def test_without_any_tool_left_nothing_speaks_of_tools() -> None:
    stage = Tools(ruled(policies=(policy(default_policy="deny"),)))
    request = asked(tool_choice=ToolChoice(mode="required"), parallel_tool_calls=True)
    left = started(stage, request, turn_of())
    assert (left.tools, left.tool_choice, left.parallel_tool_calls) == ((), None, None)


@pytest.mark.parametrize(
    ("request_", "rules", "watches"),
    [
        (asked("bash"), {}, True),
        (asked("Bash"), {}, True),
        (asked("get_weather"), {}, False),
        (asked("get_weather"), {"policies": (policy(blocked_patterns=("x",)),)}, True),
        (asked("get_weather"), {"policies": (policy(allowed_patterns=("x",)),)}, False),
        (replace(asked(), tools=()), {}, False),
        (replace(asked(), tools=(), extras={"cachedContent": "c/1"}), {}, True),
        (asked("bash"), {"commands": {"enabled": False}}, False),
        (asked("edit_file"), {}, True),
        (asked("edit_file"), {"steering_rules": ()}, False),
    ],
)
def test_it_watches_only_where_a_rule_could_act(
    request_: Request, rules: dict[str, Any], watches: bool
) -> None:
    stage, turn = Tools(ruled(**rules)), turn_of()
    started(stage, request_, turn)
    assert stage.watches(turn) is watches
