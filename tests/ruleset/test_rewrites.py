"""`rules/rewrites.yaml`: what is shipped is off, examples hold, and what is wrong is told."""

from __future__ import annotations

from typing import Any

import pytest

from llmitm.errors import RuleError
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.rewrite_checks import REWRITE_VARIABLES, failed_examples
from llmitm.ruleset.rewrites import RewritesFile
from llmitm.ruleset.showing import show

SHIPPED = load_folders([shipped_folder()], {})


def test_everything_shipped_is_off() -> None:
    rewrites = SHIPPED.rewrites
    assert (rewrites.model_defaults, rewrites.reasoning_aliases) == ((), ())
    assert rewrites.thinking_budget is None
    assert not rewrites.shapes
    assert not rewrites.locks_reasoning
    assert not rewrites.auxiliary.enabled
    assert not rewrites.planning.enabled
    assert all(rewrites.identity.headers(name) == () for name in SHIPPED.providers)


def test_the_shipped_file_says_the_defaults() -> None:
    """A folder without the file differs only in what has examples: patterns and clients."""
    bare, shipped = RewritesFile().model_dump(), SHIPPED.rewrites.model_dump()
    for section in (bare, shipped):
        for name in ("identity", "auxiliary", "planning"):
            section[name].pop("examples")
        section["auxiliary"].pop("patterns")
        section["auxiliary"].pop("clients")
    assert shipped == bare


def test_every_shipped_example_holds() -> None:
    examples = SHIPPED.rewrites.auxiliary.examples
    assert {example.auxiliary for example in examples} == {True, False}
    assert list(failed_examples(SHIPPED.rewrites, SHIPPED.trees["rewrites.yaml"])) == []


AUXILIARY = SHIPPED.rewrites.auxiliary


@pytest.mark.parametrize("place", range(len(AUXILIARY.patterns)))
def test_no_shipped_pattern_is_idle(place: int) -> None:
    """Without it some example fails."""
    others = tuple(one for at, one in enumerate(AUXILIARY.patterns) if at != place)
    less = AUXILIARY.model_copy(update={"patterns": others})
    file = RewritesFile.model_validate_json(f'{{"auxiliary": {less.model_dump_json()}}}')
    assert list(failed_examples(file, SHIPPED.trees["rewrites.yaml"]))


@pytest.mark.parametrize("name", [row.name for row in AUXILIARY.clients])
def test_no_shipped_client_is_idle(name: str) -> None:
    others = tuple(row for row in AUXILIARY.clients if row.name != name)
    less = AUXILIARY.model_copy(update={"clients": others})
    file = RewritesFile.model_validate_json(f'{{"auxiliary": {less.model_dump_json()}}}')
    assert list(failed_examples(file, SHIPPED.trees["rewrites.yaml"]))
    assert name in {row.name for row in SHIPPED.clients.clients}


@pytest.mark.parametrize(
    ("text", "line", "say"),
    [
        (
            "auxiliary:\n  enabled: true\n  target: gtp:x",
            3,
            "/auxiliary/target: unknown provider 'gtp'",
        ),
        ("auxiliary:\n  target: just-a-model", 2, "names no provider"),
        ("auxiliary: {enabled: true}", 1, "/auxiliary: enabled needs a target"),
        ("auxiliary:\n  patterns:\n    - ok\n    - '('", 4, "not a Python regular expression"),
        ("planning:\n  strong_model: 'nope:x'", 2, "/planning/strong_model: unknown provider"),
        ("planning:\n  strong_model: 'A B'", 2, "holds white space"),
        ("planning: {enabled: true}", 1, "enabled needs a strong_model"),
        ("planning: {max_turns: 0}", 1, "0 is not in >= 1"),
        ("planning:\n  overrides: {temperature: 3}", 2, "3 is not in 0..2"),
        ("thinking_budget: -2", 1, "-2 is not in >= -1"),
        ("identity:\n  url: {mode: override}", 2, "mode override needs override_value"),
        ("identity:\n  url: {mode: default}", 2, "mode default needs default_value"),
        ('identity:\n  title: {override_value: "a\\nb"}', 2, "does not match"),
        (
            "identity:\n  providers:\n    - name: openapi",
            3,
            "/identity/providers/openapi/name: there is no provider",
        ),
        (
            "model_defaults:\n  - {name: a, models: ['x'],\n     reasoning_effort: hihg}",
            3,
            "did you mean high?",
        ),
        ("model_defaults:\n  - {name: a, models: []}", 2, "must not be empty"),
        ("model_defaults:\n  - {name: a, models: [x, ' ']}", 2, "fits no model"),
        ("reasoning_aliases:\n  - {name: a, models: [x], hihg: {}}", 2, "did you mean high?"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, say: str, write_rules) -> None:
    mine = write_rules("mine", rewrites=text)
    errors = check([shipped_folder(), mine], {})
    assert [error.line for error in errors] == [line]
    assert errors[0].file == f"{mine}/rewrites.yaml"
    assert say in str(errors[0])


@pytest.mark.parametrize(
    ("text", "say"),
    [
        (
            "model_defaults:\n  - name: a\n    models: ['gpt-*']\n"
            "    examples: [{model: 'openai:gpt-5'}, {model: 'openai:o3'}]",
            "/model_defaults/a/examples/1: a is not for openai:o3",
        ),
        (
            "reasoning_aliases:\n  - name: a\n    models: ['groq:*']\n"
            "    examples: [{model: 'groq:x', applies: false}]",
            "/reasoning_aliases/a/examples/0: a is for groq:x",
        ),
        (
            "identity:\n  examples:\n    - {provider: openai, sent: {X-Title: a},"
            " becomes: {X-Title: b}}",
            "/identity/examples/0: openai gets {'X-Title': 'a'}",
        ),
        ("auxiliary:\n  examples: [{text: hello}]", "/auxiliary/examples/0: is no side call"),
        (
            "auxiliary:\n  patterns: [hello]\n  examples: [{text: Hello, auxiliary: false}]",
            "/auxiliary/examples/0: is a side call: 'Hello'",
        ),
        (
            "planning:\n  examples: [{model_turns: 10, strong: true}]",
            "/planning/examples/0: the phase is over",
        ),
        (
            "planning:\n  max_file_writes: 0\n"
            "  examples: [{model_turns: 1, file_writes: 9, strong: false}]",
            "/planning/examples/0: the phase is still on",
        ),
    ],
)
def test_an_example_that_does_not_hold_is_told(text: str, say: str, write_rules) -> None:
    errors = check([shipped_folder(), write_rules("mine", rewrites=text)], {})
    assert [str(error).partition(" ")[2] for error in errors] == [say]


ALL = {
    "THINKING_BUDGET": ("4096", "thinking_budget", 4096),
    "PLANNING_PHASE_ENABLED": ("yes", "planning.enabled", True),
    "PLANNING_PHASE_STRONG_MODEL": ("openai:gpt-5", "planning.strong_model", "openai:gpt-5"),
    "PLANNING_PHASE_MAX_TURNS": ("3", "planning.max_turns", 3),
    "PLANNING_PHASE_MAX_FILE_WRITES": ("0", "planning.max_file_writes", 0),
    "PLANNING_PHASE_TEMPERATURE": ("0.5", "planning.overrides.temperature", 0.5),
    "PLANNING_PHASE_TOP_P": ("1", "planning.overrides.top_p", 1),
    "PLANNING_PHASE_REASONING_EFFORT": ("high", "planning.overrides.reasoning_effort", "high"),
    "PLANNING_PHASE_THINKING_BUDGET": ("-1", "planning.overrides.thinking_budget", -1),
    "APP_USER_AGENT": ("a/1", "identity.user_agent.override_value", "a/1"),
    "APP_URL": ("https://a.b", "identity.url.default_value", "https://a.b"),
    "APP_TITLE": ("t", "identity.title.override_value", "t"),
    "APP_USER_AGENT_MODE": ("override", "identity.user_agent.mode", "override"),
    "APP_URL_MODE": ("Default", "identity.url.mode", "default"),
    "APP_TITLE_MODE": ("override", "identity.title.mode", "override"),
}


@pytest.mark.parametrize("name", REWRITE_VARIABLES)
def test_a_variable_beats_the_file(name: str, write_rules) -> None:
    mine = write_rules("mine", rewrites="thinking_budget: 1\nplanning: {max_turns: 7}")
    rules = load_folders([shipped_folder(), mine], {key: row[0] for key, row in ALL.items()})
    found: Any = rules.rewrites
    for step in ALL[name][1].split("."):
        found = getattr(found, step)
    assert found == ALL[name][2]
    assert rules.warnings == ()
    assert any(row.where == name for row in show(rules))


@pytest.mark.parametrize(
    ("environ", "say"),
    [
        ({"THINKING_BUDGET": "much"}, 'THINKING_BUDGET /thinking_budget: "much" is not'),
        ({"PLANNING_PHASE_ENABLED": "maybe"}, "PLANNING_PHASE_ENABLED /planning/enabled:"),
        ({"PLANNING_PHASE_STRONG_MODEL": "no:x"}, "PLANNING_PHASE_STRONG_MODEL /planning/"),
        ({"APP_URL_MODE": "overide"}, "did you mean override?"),
        ({"APP_URL_MODE": "override"}, "mode override needs override_value"),
    ],
)
def test_a_wrong_variable_stops_the_start(environ: dict[str, str], say: str) -> None:
    with pytest.raises(RuleError) as caught:
        load_folders([shipped_folder()], environ)
    assert say in str(caught.value)


def test_a_variable_without_effect_is_told() -> None:
    rules = load_folders([shipped_folder()], {"APP_URL": "https://a.b"})
    assert rules.warnings == (
        "APP_URL has no effect: APP_URL_MODE says neither override nor default",
    )
    assert rules.rewrites.identity.headers("openai") == ()


def test_parameters_that_are_not_understood_are_told(write_rules) -> None:
    mine = write_rules("mine", rewrites="auxiliary: {target: 'groq:a?temprature=1'}")
    assert load_folders([shipped_folder(), mine], {}).warnings == (
        "auxiliary.target: temprature=1 is not understood and ignored",
    )


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        ("openai", "GPT-5", "gpt"),
        ("groq", "openai/gpt-oss-20b", "groq"),
        ("openrouter", "openai/gpt-5", "vendor"),
        ("ollama", "llama3:8b", "size"),
        ("groq", "other", "groq"),
        ("openai", "o3", None),
    ],
)
def test_the_first_row_that_fits_counts(
    provider: str, model: str, name: str | None, write_rules
) -> None:
    rows = [("gpt", "gpt-?"), ("vendor", "OpenRouter:openai/*"), ("size", "llama3:8b")]
    rows += [("groq", "groq:*"), ("late", "gpt-5")]
    text = "".join(f"  - {{name: {key}, models: ['{pattern}']}}\n" for key, pattern in rows)
    both = f"model_defaults:\n{text}"
    rewrites = load_folders([shipped_folder(), write_rules("mine", rewrites=both)], {}).rewrites
    found = rewrites.defaults(provider, model)
    assert (found.name if found else None) == name
