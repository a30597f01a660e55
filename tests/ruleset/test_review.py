"""The rules of `review.yaml`: what they may say, which examples hold, what a variable beats."""

from __future__ import annotations

import re

import pytest
from mitmproxy.test import tflow

from llmitm.errors import RuleError
from llmitm.mitm.review_filters import bad_filters, fits
from llmitm.mitm.rules_command import main
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.review import HELD, Asking, ReviewFile, ReviewRuleRow

SHIPPED = shipped_folder()


def written() -> str:
    """The rules that the shipped file shows in its comments."""
    text = (SHIPPED / "review.yaml").read_text(encoding="utf-8")
    lines = (line[2:] for line in text.splitlines() if re.match(r"#   \S|#     +\S", line))
    return "rules:\n" + "\n".join(lines) + "\n"


def test_nothing_shipped_is_active_and_the_file_says_the_defaults() -> None:
    rules = load_folders([SHIPPED], {})
    assert rules.review == ReviewFile()
    assert [rules.review.of(kind) for kind in HELD] == [(), (), ()]


def test_what_the_shipped_file_shows_is_right(write_rules) -> None:
    folder = write_rules("mine", review=written())
    assert check([SHIPPED, folder], {}) == []
    rules = load_folders([SHIPPED, folder], {})
    assert len(rules.review.active) > 8
    assert sum(len(row.examples) for row in rules.review.rules) >= 2
    assert list(bad_filters(rules)) == []


@pytest.mark.parametrize(
    ("rule", "line", "say"),
    [
        ("{name: a}", 2, "must be given"),
        ("{name: a, hold: answers}", 2, "is not one of request, response, tool_call"),
        ("{name: a, hold: []}", 2, "must not be empty"),
        ("{name: a, hold: request, on_timeout: answer}", 2, "belong together"),
        ("{name: a, hold: request, answer: hm}", 2, "belong together"),
        ("{name: a, hold: request, arguments: rm}", 2, "has no `arguments`"),
        ("{name: a, hold: request, text: x, regex: y}", 2, "either text or regex"),
        ("{name: a, hold: response, human: true}", 2, "`hold: request` alone"),
        ("{name: a, hold: request, human: true, on_timeout: approve}", 2, "no provider"),
        ('{name: a, hold: request, regex: "a.*b"}', 2, "{1,200}"),
        ("{name: a, hold: request, sample: 1.5}", 2, "<= 1"),
        ("{name: a, hold: request, timeout_s: 0}", 2, "> 0"),
        ("{name: a, hold: request, verdicts: [odd]}", 2, "odd"),
        ("{name: a, hold: request, modles: [x]}", 2, "did you mean models?"),
        ("{name: a, hold: request}\n  - {name: a, hold: response}", 3, "a"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(rule: str, line: int, say: str, write_rules) -> None:
    folder = write_rules("mine", review=f"rules:\n  - {rule}\n")
    errors = check([SHIPPED, folder], {})
    assert errors
    assert errors[0].line == line
    assert say in errors[0].say


@pytest.mark.parametrize(
    ("rule", "example", "right"),
    [
        ("hold: request", "{}", True),
        ("hold: request", "{held: false}", False),
        ("hold: request", "{kind: response, held: false}", True),
        ("hold: [request, response]", "{kind: response}", True),
        ("hold: request, models: [gpt-5*]", "{model: gpt-5-mini}", True),
        ("hold: request, models: ['groq:*']", "{model: gpt-5, provider: groq}", True),
        ("hold: request, clients: [codex]", "{held: false}", True),
        ("hold: request, over_usd: 1", "{cost_usd: 1.01}", True),
        ("hold: request, over_usd: 1", "{held: false}", True),
        ("hold: request, over_tokens: 9", "{tokens: 10}", True),
        ("hold: request, first_use: true", "{first: true}", True),
        ("hold: request, first_use: true", "{held: false}", True),
        ("hold: request, text: hush", "{text: 'hush now'}", True),
        ("hold: request, regex: '(?i)hush'", "{text: 'HUSH now'}", True),
        ("hold: request, verdicts: [loop]", "{verdicts: [loop, secret]}", True),
        ("hold: request, verdicts: [loop]", "{verdicts: [secret]}", False),
        ("hold: request, sample: 0.000001", "{}", True),
        ("hold: tool_call, tools: ['Ba*']", "{tool: bash}", True),
        ("hold: tool_call, tools: ['Ba*']", "{held: false}", True),
        ("hold: tool_call, arguments: push", '{tool: sh, arguments: \'{"a":"push"}\'}', True),
        ("hold: response, arguments: push", "{held: false}", True),
    ],
)
def test_examples_are_tried(rule: str, example: str, right: bool, write_rules) -> None:
    text = f"rules:\n  - {{name: a, {rule}, examples: [{example}]}}\n"
    errors = check([SHIPPED, write_rules("mine", review=text)], {})
    assert [error.pointer for error in errors] == ([] if right else ["/rules/a/examples/0"])


def test_a_variable_beats_the_file(write_rules) -> None:
    folder = write_rules("mine", review="timeout_s: 20\n")
    assert load_folders([SHIPPED, folder], {}).review.timeout_s == 20
    environ = {"REQUEST_TIMEOUT_SECONDS": "45"}
    assert load_folders([SHIPPED, folder], environ).review.timeout_s == 45
    with pytest.raises(RuleError, match="REQUEST_TIMEOUT_SECONDS"):
        load_folders([SHIPPED], {"REQUEST_TIMEOUT_SECONDS": "soon"})


def test_a_rule_of_ones_own_is_laid_over_by_its_name(write_rules) -> None:
    first = write_rules("first", review="rules:\n  - {name: a, hold: request, timeout_s: 5}\n")
    second = write_rules("second", review="rules:\n  - {name: a, enabled: false}\n")
    (row,) = load_folders([SHIPPED, first, second], {}).review.rules
    assert (row.timeout_s, row.enabled) == (5, False)


def test_a_sample_of_all_is_all_and_two_rules_draw_apart() -> None:
    whole = ReviewRuleRow(name="a", hold=("request",), sample=1)
    one = ReviewRuleRow(name="b", hold=("request",), sample=0.5)
    other = ReviewRuleRow(name="c", hold=("request",), sample=0.5)
    asks = [Asking(provider="p", model="m", id=str(number)) for number in range(500)]
    assert all(whole.may_fit(asking) for asking in asks)
    both = sum(one.may_fit(asking) and other.may_fit(asking) for asking in asks)
    assert 80 < both < 170


def test_a_filter_that_mitmproxy_does_not_understand_is_told(
    write_rules, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "rules:\n  - {name: a, hold: request, filter: '~u x'}\n  - name: b\n    hold: request\n"
    folder = write_rules("mine", review=f"{text}    filter: '~nonsense ('\n")
    (error,) = bad_filters(load_folders([SHIPPED, folder], {}))
    assert (error.line, error.pointer) == (5, "/rules/b/filter")
    assert main(["check", str(folder)]) == 1
    assert "not a mitmproxy filter" in capsys.readouterr().err


def test_a_filter_is_asked_about_a_flow() -> None:
    flow = tflow.tflow()
    assert fits(f"~d {flow.request.host}", flow)
    assert not fits("~d elsewhere.example", flow)
