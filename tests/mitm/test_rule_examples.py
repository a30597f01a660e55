"""`llmitm rules check` tries the examples of every rule file and tells the line of a failed one."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmitm.mitm.rules_command import TRIALS, main
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder

SHIPPED = shipped_folder()
PROVIDER = """
providers:
  - name: acme
    hosts: [api.acme.example]
    api_base: https://api.acme.example/v1
    protocol: openai_chat
    examples:
      - {call: "POST https://api.acme.example/v1/chat/completions", protocol: openai_chat}
      - {call: "POST https://api.acme.example/v1/other", protocol: openai_chat}
"""
ALIASES = """
aliases:
  - pattern: "fast$"
    replacement: groq:llama
    examples:
      - {model: fast, becomes: groq:llama}
      - {model: faster, becomes: groq:llama}
"""
TEXTS = """
texts:
  - name: tickets
    where: reply
    find: TICKET
    text: ticket
    examples:
      - {text: a TICKET, becomes: a ticket}
      - {text: a TICKET, becomes: a TICKET}
"""
BUDGETS = """
budgets:
  - name: dear
    cost_usd: 10
    examples:
      - {cost_usd: 1}
      - {cost_usd: 10}
"""
REVIEW = """
rules:
  - name: publishing
    hold: tool_call
    tools: [bash]
    examples:
      - {tool: bash}
      - {tool: bash, held: false}
"""
REWRITES = """
model_defaults:
  - name: thinkers
    models: ["*:gpt-5*"]
    reasoning_effort: high
    examples:
      - {model: "openai:gpt-5-mini"}
      - {model: "openai:gpt-4.1"}
"""
POLICY = """
policies:
  - name: readers
    model_pattern: small
    allowed_patterns: [^read_]
    default_policy: deny
    examples:
      - {model: small, tool: read_file, allowed: true}
      - {model: small, tool: write_file, allowed: true}
"""
MODELS = """
{section}:
  models:
    - name: small
      models: ["ollama:*"]
      examples:
        - {{model: "ollama:llama3"}}
        - {{model: "openai:gpt-5"}}
"""
WRITTEN = [
    ("providers", PROVIDER, 9, "not recognised"),
    ("routes", ALIASES, 7, "faster stays"),
    ("texts", TEXTS, 9, "a ticket"),
    ("budgets", BUDGETS, 7, "refuses"),
    ("review", REVIEW, 8, "publishing"),
    ("rewrites", REWRITES, 8, "thinkers"),
    ("tools", POLICY, 9, "blocks write_file"),
    ("loops", MODELS.format(section="content"), 8, "small is not for"),
    ("loops", MODELS.format(section="tools"), 8, "small is not for"),
]
"""(file, its text, the line of the example that does not hold, what is said of it)."""

CHANGED = [
    ("loops", "within: 700", "within: 70", "content/examples/sentence", "not within 70"),
    ("loops", "times: 3\n", "times: 300\n", "sentence-thrice", "a loop is found after"),
    ("loops", "stopped: 7", "stopped: 6", "tools/examples/in-turns", "call 7 is stopped first"),
    ("loops", "times: 6", "times: 3", "tools/examples/in-a-row", "no call is stopped"),
    ("tools", '"git reset --hard"', "git status", "dangerous", "is nothing special"),
    ("tools", "git reset --soft HEAD~1", "git reset --hard", "harmless", "is git-"),
    ("tools", "../other", "./other", "sandbox/examples", "nothing special"),
    ("tools", "applies: false", "applies: true", "steering_rules", "is not for"),
    ("redact", "{{alnum 36}}", "short", "examples", "finds nothing"),
    ("rewrites", "model_turns: 9, strong: true", "model_turns: 9, strong: false", "planning", ""),
    ("clients", "claude-cli/2.1.329", "other-cli/2.1.329", "claude-code/examples/0", "unknown"),
    ("clients", "<cwd>/code/app</cwd>", "<cwd>/code</cwd>", "codex/examples/0", "/code"),
    ("commands", "runs: [help]", "runs: [hello]", "examples/0", "runs help"),
    ("providers", "protocol: openai_chat}", "protocol: ollama_chat}", "examples", "openai_chat"),
]
"""(file, what is changed in a copy of the shipped one, into what, where that is told, and how)."""


def told(folder: Path, capsys: pytest.CaptureFixture[str]) -> list[str]:
    """What `llmitm rules check` says of the folder."""
    code = main(["check", str(folder)])
    lines = capsys.readouterr().err.splitlines()
    assert code == bool(lines)
    return lines


@pytest.mark.parametrize(("file", "text", "line", "say"), WRITTEN)
def test_an_example_that_does_not_hold_is_told_with_its_line(
    file: str, text: str, line: int, say: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / f"{file}.yaml").write_text(text)
    (only,) = told(tmp_path, capsys)
    assert only.startswith(f"{tmp_path}/{file}.yaml:{line} /")
    assert say in only


@pytest.mark.parametrize(("file", "old", "new", "where", "say"), CHANGED)
def test_a_shipped_example_that_is_broken_is_told_with_its_line(
    file: str,
    old: str,
    new: str,
    where: str,
    say: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (SHIPPED / f"{file}.yaml").read_text()
    start = text.index(old, text.index("examples:"))
    (tmp_path / f"{file}.yaml").write_text(text[:start] + new + text[start + len(old) :])
    first = told(tmp_path, capsys)[0]
    line = text.count("\n", 0, start) + 1
    named = int(first.split(":", 1)[1].split(" ", 1)[0])
    assert first.startswith(f"{tmp_path}/{file}.yaml:")
    # An example may be written on several lines; its first is named.
    assert line - 3 <= named <= line
    assert where in first
    assert say in first


def test_every_file_with_examples_is_among_them() -> None:
    files = {path.stem for path in SHIPPED.glob("*.yaml") if "examples:" in path.read_text()}
    assert {row[0] for row in (*WRITTEN, *CHANGED)} == files


def test_shipped_examples_hold_by_themselves_alone(tmp_path: Path) -> None:
    assert check([SHIPPED], {}, TRIALS) == []
    assert check([SHIPPED], {"TOOL_LOOP_MAX_REPEATS": "9"}, TRIALS) == []
    (tmp_path / "loops.yaml").write_text("content: {content_loop_threshold: 80}\n")
    (tmp_path / "commands.yaml").write_text('prefix: "#/"\n')
    assert check([SHIPPED, tmp_path], {}, TRIALS) == []
