"""`llmitm explain` as a person at a shell meets it, over rule folders of their own."""

from __future__ import annotations

import io
import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import pytest

from llmitm.dialects.catalog import DIALECTS
from llmitm.mitm import console
from llmitm.mitm.completion import words
from llmitm.mitm.explain import parser
from llmitm.mitm.processes import without_llm_variables

KEYS = {
    "OPENAI_API_KEY_1": "sk-first-secret",
    "OPENAI_API_KEY_2": "sk-second-secret",
    "ANTHROPIC_API_KEY": "sk-ant-secret",
    "GEMINI_API_KEY": "gm-secret-key",
}
ROUTES = """\
failover_routes:
  main: {policy: POLICY, elements: ["openai:gpt-5", "anthropic:claude-sonnet-4-5"]}
aliases:
  - {pattern: "^small$", replacement: "gemini:gemini-3-flash?temperature=0.2"}
"""


class Shell:
    """Runs the command in this process. rules: file name -> text of a folder laid over."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str], folder: Path
    ) -> None:
        self._monkeypatch = monkeypatch
        self._captured = captured
        self.folder = folder
        self.environ = {**without_llm_variables(os.environ), "LLMITM_HOME": str(folder / "home")}
        self.rules: dict[str, str] = {}
        self.given = b""

    def __call__(self, *line: str, **variables: str) -> tuple[int, str, str]:
        for name in set(os.environ) - set(self.environ):
            self._monkeypatch.delenv(name)
        for name, text in {**self.environ, **variables}.items():
            self._monkeypatch.setenv(name, text)
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(self.given)))
        if self.rules:
            place = self.folder / "rules"
            place.mkdir(exist_ok=True)
            for name, text in self.rules.items():
                (place / name).write_text(text)
            line = (*line, "--rules", str(place))
        code = console.main(["explain", *line])
        out, err = self._captured.readouterr()
        for name in variables:
            self._monkeypatch.delenv(name)
        return code, out, err

    def report(self, *line: str, **variables: str) -> dict[str, Any]:
        code, out, err = self(*line, "--json", **variables)
        assert out, err
        found = json.loads(out)
        assert code == (1 if found["error"] else 0)
        return found


@pytest.fixture
def shell(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Shell:
    def no_network(*_: object, **__: object) -> None:
        raise AssertionError("explain must not send")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setenv("COLUMNS", "100")
    return Shell(monkeypatch, capfd, tmp_path)


def labels(report: dict[str, Any]) -> list[str]:
    return [one["label"] for one in report["attempts"]]


@pytest.mark.parametrize(
    ("policy", "order"),
    [
        ("k", ["openai.1:gpt-5", "openai.2:gpt-5"]),
        ("m", ["openai.1:gpt-5", "anthropic.1:claude-sonnet-4-5"]),
        ("km", ["openai.1:gpt-5", "openai.2:gpt-5", "anthropic.1:claude-sonnet-4-5"]),
        ("mk", ["openai.1:gpt-5", "anthropic.1:claude-sonnet-4-5", "openai.2:gpt-5"]),
    ],
)
def test_a_named_route_is_gone_through_by_its_policy(
    shell: Shell, policy: str, order: list[str]
) -> None:
    shell.rules = {"routes.yaml": ROUTES.replace("POLICY", policy)}
    report = shell.report("--model", "main", **KEYS)
    assert labels(report) == order
    assert all(f"policy {policy}:" in " ".join(one["why"]) for one in report["attempts"])
    left = [row["target"] for row in report["left_out"]]
    assert left == (["anthropic:claude-sonnet-4-5"] if policy == "k" else [])
    route = next(row for row in report["stages"] if row["stage"] == "route")
    assert route["why"] == "model main"
    assert route["where"].endswith("rules/routes.yaml:2")


def test_a_protocol_that_lives_under_another_name_on_the_same_host(shell: Shell) -> None:
    report = shell.report("--model", "gpt-5", "--provider", "openai", "--from", "responses")
    assert report["request"]["provider"] == "openai-responses"


@pytest.mark.parametrize(
    ("model", "extra", "expected"),
    [
        # model, further words, [(label, lane, protocol, host, key's name)]
        ("gpt-5", [], [("openai.1:gpt-5", "verbatim", "openai_chat", "api.openai.com", "_1"),
                       ("openai.2:gpt-5", "verbatim", "openai_chat", "api.openai.com", "_2")]),
        ("openai.2:gpt-5", [],
         [("openai.2:gpt-5", "patch", "openai_chat", "api.openai.com", "_2")]),
        ("claude-x", [], [("anthropic:claude-x", "verbatim", "anthropic_messages",
                           "api.anthropic.com", "the client's own")]),
        ("gemini-3-pro", ["--from", "openai"],
         [("openai.1:gemini-3-pro", "verbatim", "openai_chat", "api.openai.com", "_1"),
          ("openai.2:gemini-3-pro", "verbatim", "openai_chat", "api.openai.com", "_2")]),
        ("anthropic:claude-x", ["--from", "gemini"],
         [("anthropic.1:claude-x", "translate", "anthropic_messages", "api.anthropic.com",
           "ANTHROPIC_API_KEY")]),
        ("small", ["--provider", "anthropic"],
         [("gemini.1:gemini-3-flash", "translate", "gemini_generate",
           "generativelanguage.googleapis.com", "GEMINI_API_KEY")]),
    ],
)  # fmt: skip
def test_attempts_and_where_they_go(
    shell: Shell, model: str, extra: list[str], expected: list[tuple[str, ...]]
) -> None:
    shell.rules = {"routes.yaml": ROUTES.replace("POLICY", "m")}
    report = shell.report("--model", model, *extra, **KEYS)
    assert len(report["attempts"]) == len(expected)
    for one, (label, lane, protocol, host, key) in zip(report["attempts"], expected, strict=True):
        assert (one["label"], one["lane"], one["protocol"]) == (label, lane, protocol)
        assert one["url"].startswith(f"https://{host}/")
        assert one["key"].endswith(key)
        assert one["problem"] is None


@pytest.mark.parametrize("protocol", DIALECTS)
@pytest.mark.parametrize("whole", [False, True])
def test_a_request_of_every_protocol_is_made_up(shell: Shell, protocol: str, whole: bool) -> None:
    # Bedrock's raw calls are read for one vendor's models alone.
    model = "anthropic.claude-x" if protocol == "bedrock_invoke" else "a-model"
    line = ["--model", model, "--from", protocol, *(["--whole"] if whole else [])]
    report = shell.report(*line)
    assert report["request"]["protocol"] == protocol
    assert report["request"]["model"] == model
    assert report["request"]["stream"] is not whole
    assert [one["lane"] for one in report["attempts"]] == ["verbatim"]
    assert report["notes"] == []


def test_no_key_is_shown_anywhere(shell: Shell) -> None:
    shell.rules = {"routes.yaml": ROUTES.replace("POLICY", "mk")}
    variables = {
        **KEYS,
        "LLM_INTERACTIVE_PROXY_API_KEY": "client-secret-key",
        "GEMINI_API_BASE_URL": "https://gateway.example/sk-ant-secret/v1",
    }
    for model in ("main", "small", "gpt-5", "nobody-has-this", "gemini:sk-ant-secret"):
        for form in ("--json", "--remote"):
            line = ("--model", model, "--client-key-is", "client-key", form)
            _, out, err = shell(*line, **variables)
            assert out
            for secret in (*KEYS.values(), "client-secret-key"):
                assert secret not in out + err


@pytest.mark.parametrize(
    ("kind", "extra", "code", "key"),
    [
        ("own", [], 0, "the client's own"),
        ("placeholder", [], 0, "ANTHROPIC_API_KEY"),
        ("none", [], 0, "ANTHROPIC_API_KEY"),
        ("client-key", [], 0, "ANTHROPIC_API_KEY"),
        ("client-key", ["--remote"], 0, "ANTHROPIC_API_KEY"),
        ("placeholder", ["--remote"], 1, "client_key_needed"),
    ],
)
def test_whose_key_is_taken(shell: Shell, kind: str, extra: list[str], code: int, key: str) -> None:
    variables = {"ANTHROPIC_API_KEY": "sk-ant-secret", "API_KEYS": "one-of-ours"}
    line = ("--model", "claude-x", "--client-key-is", kind, *extra)
    report = shell.report(*line, **variables)
    assert (report["error"] is not None) == bool(code)
    if code:
        assert report["error"]["code"] == key
        assert report["attempts"][0]["problem"]
    else:
        assert report["attempts"][0]["key"] == key


def test_weights_size_and_missing_keys_are_told(shell: Shell) -> None:
    model = "[weight=3]anthropic:a^[first]openai:b^[weight=1]gemini:c^[max_context=2]deepseek:d"
    report = shell.report("--model", model, ANTHROPIC_API_KEY="sk-ant-secret")
    assert labels(report) == ["openai:b", "anthropic.1:a", "gemini:c"]
    first, second, third = report["attempts"]
    assert "opens the conversation" in first["why"][0]
    assert "weight 3: 75%" in second["why"][0]
    assert "GEMINI_API_KEY" in third["problem"]
    assert third["url"] is None
    assert report["left_out"][0]["target"] == "deepseek:d"
    assert "max_context 2" in report["left_out"][0]["why"]
    assert report["error"] is None


def test_a_race_needs_a_stream(shell: Shell) -> None:
    line = ("--model", "openai:a!anthropic:b")
    report = shell.report(*line, **KEYS)
    assert report["race"]
    assert labels(report) == ["openai.1:a", "anthropic.1:b"]
    whole = shell.report(*line, "--whole", **KEYS)
    assert "streamed" in whole["error"]["message"]


def test_the_hops_end_the_attempts(shell: Shell) -> None:
    model = "|".join(f"anthropic:m{number}" for number in range(5))
    shell.rules = {"routes.yaml": "failover: {max_failover_hops: 2}"}
    report = shell.report("--model", model, **KEYS)
    assert labels(report) == [f"anthropic.1:m{number}" for number in range(3)]
    assert [row["target"] for row in report["left_out"]] == ["anthropic.1:m3", "anthropic.1:m4"]
    assert "max_failover_hops 2" in report["left_out"][0]["why"]
    assert report["limits"]["max_failover_hops"] == 2
    shell.rules = {"routes.yaml": "failover: {enabled: false}"}
    alone = shell.report("--model", model, **KEYS)
    assert labels(alone) == ["anthropic.1:m0"]
    assert "failover is off" in alone["left_out"][0]["why"]


def test_rewrites_show_as_changes_and_stages(shell: Shell) -> None:
    shell.rules = {
        "rewrites.yaml": "planning: {enabled: true, strong_model: 'anthropic:claude-opus-4-5'}\n"
        "model_defaults:\n  - {name: warm, models: ['anthropic:*'], temperature: 0.7}\n"
    }
    report = shell.report("--model", "gpt-5", **KEYS)
    stages = {row["stage"]: row for row in report["stages"]}
    assert stages["planning"]["why"].startswith("planning, turn 1")
    assert stages["planning"]["where"].endswith("rewrites.yaml:1")
    assert labels(report) == ["anthropic.1:claude-opus-4-5"]
    assert any("temperature 0.7" in change for change in report["attempts"][0]["changes"])


def test_a_stage_that_is_off_and_a_static_route(shell: Shell) -> None:
    shell.rules = {
        "pipeline.yaml": "stages:\n  - {name: planning, enabled: false}\n",
        "routes.yaml": "static_route: anthropic:claude-x\n",
    }
    report = shell.report("--model", "gpt-5", **KEYS)
    stages = {row["stage"]: row for row in report["stages"]}
    assert stages["planning"]["effect"] == "off"
    assert stages["route"]["why"] == "static route anthropic:claude-x"
    assert stages["route"]["where"].endswith("routes.yaml:1")
    assert labels(report) == ["anthropic.1:claude-x"]


@pytest.mark.parametrize(
    ("text", "here", "label"),
    [
        ("!/help(model)", "!/model", None),
        ("!/set(modle=x)", "did you mean model", None),
        ("Do it. !/set(model=anthropic:claude-x)", None, "anthropic.1:claude-x"),
        ("Do it. !/oneoff(gemini:g)", None, "gemini.1:g"),
    ],
)
def test_commands_in_the_text(shell: Shell, text: str, here: str | None, label: str | None) -> None:
    report = shell.report("--model", "gpt-5", "--text", text, **KEYS)
    assert (here is None) == (report["answered_here"] is None)
    assert (here or "") in (report["answered_here"] or "")
    assert labels(report) == ([label] if label else [])
    assert report == shell.report("--model", "gpt-5", "--text", text, **KEYS)


@pytest.mark.parametrize(
    ("model", "selector", "before"),
    [
        ("openai:gpt-5|antropic:claude", "openai:gpt-5|antropic:claude", "openai:gpt-5|"),
        ("openai:a^nobody:x", "openai:a^nobody:x", "openai:a^"),
        ("openai:日本|nobody:x", "openai:日本|nobody:x", "openai:日本" + 3 * " "),
        # An alias whose group brings the fault in: the start cannot see it.
        ("loop", "openai:a|nopwhere:b", "openai:a|"),
    ],
)
def test_a_wrong_selector_is_shown_with_a_caret(
    shell: Shell, model: str, selector: str, before: str
) -> None:
    alias = {"pattern": "^loo(p)$", "replacement": "openai:a|no\\1where:b"}
    code, out, _ = shell("--model", model, MODEL_ALIASES=json.dumps([alias]))
    assert code == 1
    lines = out.splitlines()
    at = next(place for place, line in enumerate(lines) if line.strip() == selector)
    assert lines[at + 1].rstrip() == "  " + " " * len(before) + "^"


def test_a_file_is_read_as_the_protocol_it_shows(shell: Shell, tmp_path: Path) -> None:
    bodies: list[tuple[dict[str, Any], list[str], str, str]] = [
        ({"model": "gpt-5", "messages": [{"role": "user", "content": "hi"}]}, [],
         "openai", "gpt-5"),
        ({"model": "c", "system": "s", "messages": [{"role": "user", "content": "x"}]}, [],
         "anthropic", "c"),
        ({"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}, ["--model", "g"],
         "gemini", "g"),
        ({"model": "m", "input": "hi"}, [], "openai-responses", "m"),
        ({"model": "m", "messages": [{"role": "user", "content": "hi"}]},
         ["--provider", "deepseek", "--model", "deepseek-chat"], "deepseek", "deepseek-chat"),
    ]  # fmt: skip
    for body, extra, provider, model in bodies:
        file = tmp_path / "request.json"
        file.write_text(json.dumps(body))
        report = shell.report("--file", str(file), *extra)
        assert (report["request"]["provider"], report["request"]["model"]) == (provider, model)
        assert [one["lane"] for one in report["attempts"]] == ["verbatim"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"{", "not JSON"),
        (b"[1]", "an object"),
        (b'{"a": 1}', "--from"),
        (b'{"choices": [], "object": "chat.completion"}', "an answer"),
    ],
)
def test_a_file_that_is_no_request(shell: Shell, content: bytes, said: str) -> None:
    shell.given = content
    code, out, err = shell("--file", "-")
    assert (code, out) == (1, "")
    assert said in err


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ([], "--model"),
        (["--model", "m", "--provider", "opnai"], "did you mean openai"),
        (["--model", "m", "--provider", "anthropic", "--from", "gemini"], "it speaks"),
        (["--model", "m", "--client-key-is", "client-key"], "API_KEYS"),
        (["--model", "m", "--file", "/none/such.json"], "cannot read"),
        (["--file", "-", "--text", "x"], "--text"),
        (["--model", "m", "--from", "nonsense"], "--from"),
    ],
)
def test_bad_usage(shell: Shell, line: list[str], said: str) -> None:
    code, out, err = shell(*line)
    assert (code, out) == (2, "")
    assert said in err


def test_bad_rules_are_told_as_by_the_other_commands(shell: Shell) -> None:
    shell.rules = {"routes.yaml": "static_route: nobody:x\n"}
    code, out, err = shell("--model", "m")
    assert (code, out) == (1, "")
    assert "routes.yaml:1" in err


def test_the_table_tells_what_the_report_tells(shell: Shell) -> None:
    shell.rules = {"routes.yaml": ROUTES.replace("POLICY", "mk")}
    code, out, _ = shell("--model", "main", **KEYS)
    assert code == 0
    assert "\x1b" not in out
    for word in ("openai.2:gpt-5", "OPENAI_API_KEY_2", "translate", "policy mk", "90 s in all"):
        assert word in out
    assert max(map(len, out.splitlines())) <= 100


def test_colour_is_for_terminals_and_can_be_turned_off(shell: Shell) -> None:
    _, coloured, _ = shell("--model", "gpt-5", FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b[" in coloured
    _, plain, _ = shell("--model", "gpt-5", FORCE_COLOR="1", NO_COLOR="1", TERM="xterm")
    assert "\x1b[3" not in plain


def test_nothing_is_written(shell: Shell, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shell.report("--model", "gpt-5", "--text", "x !/set(project=p)")
    assert not home.exists()


def test_completion_knows_the_options() -> None:
    assert {"--model", "--file", "--provider", "--client-key-is", "--json"} <= set(
        words(parser()).after
    )
