"""The variables over `rules/tools.yaml`, its defaults, and examples that do not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmitm.errors import RuleError
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load

POLICY = """
policies:
  - name: readers
    model_pattern: ^small
    agent_pattern: cline
    allowed_patterns: ["^read_"]
    blocked_patterns: ["_file$"]
    default_policy: {default}
    examples:
      - {{model: "p:small", agent: cline, tool: read_file, allowed: true}}
      - {{model: small, agent: Cline, tool: write_file, allowed: false}}
      - {{model: small, agent: cline, tool: bash, allowed: true}}
      - {{model: small, tool: bash, allowed: null}}
      - {{model: "p:large", agent: cline, tool: bash, allowed: null}}
"""


@pytest.mark.parametrize(
    ("name", "value", "section", "field", "after"),
    [
        ("DANGEROUS_COMMAND_PREVENTION_ENABLED", "false", "commands", "enabled", False),
        ("DANGEROUS_COMMAND_STEERING_MESSAGE", "Ask me.", "commands", "message", "Ask me."),
        ("ENABLE_SANDBOXING", "1", "sandbox", "enabled", True),
        ("SANDBOXING_STRICT_MODE", "yes", "sandbox", "strict_mode", True),
        ("SANDBOXING_ALLOW_PARENT_ACCESS", "on", "sandbox", "allow_parent_access", True),
    ],
)
def test_variables_of_sections(
    name: str, value: str, section: str, field: str, after: object
) -> None:
    before = getattr(load("", {}).tools, section)
    assert getattr(before, field) != after
    assert getattr(getattr(load("", {name: value}).tools, section), field) == after


@pytest.mark.parametrize(
    ("name", "value", "rule", "field", "after"),
    [
        ("INLINE_PYTHON_STEERING_ENABLED", "true", "inline-python", "enabled", True),
        ("PYTEST_FULL_SUITE_STEERING_ENABLED", "1", "pytest-full-suite", "enabled", True),
        ("PYTEST_FULL_SUITE_STEERING_MESSAGE", "No.", "pytest-full-suite", "message", "No."),
        ("CAT_FILE_EDITS_STEERING_ENABLED", "true", "cat-edits", "enabled", True),
        ("CAT_FILE_EDITS_STEERING_MESSAGE", "No.", "cat-edits", "message", "No."),
        ("DISABLE_BINARY_FILE_EDIT_STEERING", "true", "binary-edits", "enabled", False),
        ("BINARY_FILE_EDIT_STEERING_MESSAGE", "No.", "binary-edits", "message", "No."),
    ],
)
def test_variables_of_steering_rules(
    name: str, value: str, rule: str, field: str, after: object
) -> None:
    def of(environ: dict[str, str]) -> object:
        rows = {row.name: row for row in load("", environ).tools.steering_rules}
        return getattr(rows[rule], field)

    assert of({}) != after
    assert of({name: value}) == after


def test_a_variable_that_makes_no_sense_is_named() -> None:
    with pytest.raises(RuleError) as error:
        load("", {"ENABLE_SANDBOXING": "perhaps"})
    assert error.value.file == "ENABLE_SANDBOXING"


@pytest.mark.parametrize(
    ("default", "wrong"), [("allow", []), ("deny", ["/policies/0/examples/2"])]
)
def test_examples_of_policies_are_tried(tmp_path: Path, default: str, wrong: list[str]) -> None:
    (tmp_path / "tools.yaml").write_text(POLICY.format(default=default))
    errors = check([shipped_folder(), tmp_path], {})
    assert [error.pointer for error in errors] == [
        one.replace("/0/", "/readers/", 1) for one in wrong
    ]
