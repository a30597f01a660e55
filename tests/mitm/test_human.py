"""`llmitm run --human`: what the proxy and the command get; the rule that holds everything."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmitm.errors import RuleError
from llmitm.mitm import run
from llmitm.mitm.environment import DUMMY_KEY, with_dummy_keys
from llmitm.mitm.human import HELD, Human, hint
from llmitm.ruleset.loading import load
from llmitm.ruleset.played import RULE, played
from llmitm.ruleset.ruleset import Ruleset


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {"LLMITM_HOME": str(tmp_path)}


def test_the_proxys_settings(home: dict[str, str]) -> None:
    plain = ["llm_human=true", "connection_strategy=lazy", "upstream_cert=false"]
    assert Human([], home).settings == [*plain, "llm_review_listen=127.0.0.1:0"]
    assert Human(["llm_review_listen=127.0.0.1:9000"], home).settings == plain


def test_bad_rules_are_told(home: dict[str, str]) -> None:
    with pytest.raises(RuleError, match="no/such/folder"):
        Human(["llm_rules=no/such/folder"], home)


def test_each_provider_gets_a_key_that_is_none(home: dict[str, str]) -> None:
    variables = Human([], home).variables
    wanted = ["OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "CODEX_API_KEY"]
    assert [variables[name] for name in wanted] == [DUMMY_KEY] * 4
    assert variables["AWS_BEARER_TOKEN_BEDROCK"] == DUMMY_KEY
    # It is used for more than models.
    assert "HF_TOKEN" not in variables
    assert load("", home).is_placeholder(DUMMY_KEY)


@pytest.mark.parametrize(
    ("environ", "unset"),
    [
        ({"OPENAI_API_KEY": "k"}, {"OPENAI_API_KEY", "CODEX_API_KEY"}),
        ({"OPENAI_API_KEY_1": "k"}, {"OPENAI_API_KEY", "CODEX_API_KEY"}),
        ({"GOOGLE_API_KEY": "k"}, {"GEMINI_API_KEY", "GOOGLE_API_KEY"}),
        ({"CLAUDE_CODE_OAUTH_TOKEN": "t"}, {"ANTHROPIC_API_KEY"}),
        ({"AWS_PROFILE": "work"}, {"AWS_BEARER_TOKEN_BEDROCK"}),
    ],
)
def test_who_has_a_key_keeps_it(
    home: dict[str, str], environ: dict[str, str], unset: set[str]
) -> None:
    assert not unset & set(Human([], {**home, **environ}).variables)


def test_an_empty_variable_is_none() -> None:
    assert with_dummy_keys({"A_API_KEY": " "}, [("A_API_KEY",)])[0] == "A_API_KEY"


def test_the_hint() -> None:
    told = hint("http://127.0.0.1:8082/llm/?token=abc")
    assert "llmitm review --url http://127.0.0.1:8082\n" in told
    assert told.endswith("http://127.0.0.1:8082/llm/?token=abc")
    held = hint("http://127.0.0.1:8082/llm/", HELD)
    assert held.startswith("what is held waits for an operator\n")
    assert "no provider" not in held


def test_a_rule_before_all_others(home: dict[str, str]) -> None:
    rules: Ruleset = load("", home)
    assert rules.review.of("request") == ()
    changed = played(rules)
    assert changed.review.of("request") == (RULE,)
    assert changed.review.active[0].human
    # What was worked out from the old rules has stayed with them.
    assert rules.review.of("request") == ()
    off = rules.review.model_copy(update={"enabled": False})
    assert off.enabled is False


def test_human_is_an_option_of_run() -> None:
    given = run.parser().parse_args(["--human", "--", "true"])
    assert (given.human, given.command) == (True, ["--", "true"])
    assert not run.parser().parse_args(["true"]).human
