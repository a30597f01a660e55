"""`rules/redact.yaml`: examples hold, patterns are linear, only named variables are secrets."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.errors import RuleError
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.linear import quick, quick_text
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.redact import DetectRow, RedactFile
from llmitm.ruleset.redact_checks import failed_redact_examples

SHIPPED = load_folders([shipped_folder()], {})
REDACT = SHIPPED.redact
EXAMPLES = [
    (row, text, real)
    for row in REDACT.detect
    for real, texts in ((True, row.examples.secret), (False, row.examples.harmless))
    for text in texts
]


def found(row: DetectRow, text: str) -> list[str]:
    return [text[start:end] for start, end in row.spans(text, REDACT.harmless_patterns)]


@pytest.mark.parametrize(
    ("row", "text", "real"),
    EXAMPLES,
    ids=[f"{row.name}-{n}" for n, (row, *_) in enumerate(EXAMPLES)],
)
def test_an_example_holds_alone_and_deep_in_a_long_text(
    row: DetectRow, text: str, real: bool
) -> None:
    assert bool(found(row, text)) == real
    around = "word " * 30_000
    long = f"{around}\n{text}\n{around}"
    assert found(row, long) == found(row, text)
    if real:
        assert row.quick.isinstance_python(long)
        assert quick(row.quick_text).isinstance_python(long)


def test_every_row_has_examples_of_both_kinds() -> None:
    assert list(failed_redact_examples(REDACT, SHIPPED.trees["redact.yaml"])) == []
    assert [r.name for r in REDACT.detect if not (r.examples.secret and r.examples.harmless)] == []


def test_what_is_shipped_is_on_and_reversible() -> None:
    assert (REDACT.enabled, REDACT.known.enabled) == (True, True)
    assert {REDACT.mode_of(row) for row in (*REDACT.detect, REDACT.known)} == {"replace"}
    assert REDACT.one_way_text == "(API_KEY_HAS_BEEN_REDACTED)"


@pytest.mark.parametrize(
    ("pattern", "say"),
    [
        (r"(a+)+b", "at the very end"),
        (r"(?:a{1,9}b?){1,9}c", "several ways"),
        (r"(?:aa?){1,200}b", "several ways"),
        (r"a*b", "at the very end"),
        (r"key=.*?;", "at the very end"),
        (r"(?=.*x)key", "at the very end"),
        (r"(['\"])key\1", "back to a group"),
        (r"(a)?b(?(1)c|d)", "back to a group"),
        (r"x{1,100}[a-z]{1,100}y", "ways to read"),
        (r"a{1,30000}", "at most 20000"),
        (r"key[", "not a Python regular expression"),
    ],
)
def test_a_pattern_that_is_not_linear_stops_the_start_with_its_line(
    pattern: str, say: str, write_rules
) -> None:
    quoted = pattern.replace("'", "''")
    text = f"detect:\n  - name: mine\n    pattern: '{quoted}'\n"
    with pytest.raises(RuleError) as caught:
        load_folders([shipped_folder(), write_rules("mine", redact=text)], {})
    assert caught.value.line == 3
    assert caught.value.file.endswith("redact.yaml")
    assert caught.value.pointer == "/detect/mine/pattern"
    assert say in caught.value.say


@pytest.mark.parametrize(
    "pattern",
    [
        r"mine-[a-z0-9]{8,}",
        r"(?i)mine[_-]?key=(?P<secret>[^\s;]{4,200});",
        r"(?:[0-9a-f]{4}-){3}[0-9a-f]{4}",
        r"\bQ(?:B|C)?[A-Z]+",
        r"(?<=pin: )\d{4,8}(?!\d)",
    ],
)
def test_an_own_pattern_is_taken(pattern: str, write_rules) -> None:
    text = f"detect:\n  - name: mine\n    pattern: '{pattern}'\n"
    ruleset = load_folders([shipped_folder(), write_rules("mine", redact=text)], {})
    assert ruleset.redact.active[-1].pattern == pattern


def test_a_failing_example_is_told_with_its_line(write_rules) -> None:
    text = (
        "detect:\n  - name: mine\n    pattern: 'mine-[a-z]{8,}'\n    examples:\n"
        "      secret: [mine-abcdefgh, mine-abc]\n      harmless: ['mine-{{lower 9}}', yours]\n"
    )
    folder = write_rules("mine", redact=text)
    told = [(one.line, one.pointer) for one in check([shipped_folder(), folder], {})]
    assert told == [(5, "/detect/mine/examples/secret/1")]


@pytest.mark.parametrize(
    ("word", "enabled"),
    [("false", False), ("0", False), ("off", False), ("true", True), ("", True)],
)
def test_the_variable_beats_the_file(word: str, enabled: bool) -> None:
    ruleset = load_folders([shipped_folder()], {"REDACT_API_KEYS_IN_PROMPTS": word})
    assert ruleset.redact.enabled is enabled


def test_another_word_in_the_variable_is_told() -> None:
    with pytest.raises(RuleError, match="REDACT_API_KEYS_IN_PROMPTS"):
        load_folders([shipped_folder()], {"REDACT_API_KEYS_IN_PROMPTS": "perhaps"})


def test_only_what_rules_name_is_a_known_secret(write_rules) -> None:
    environ = {
        "OPENAI_API_KEY": "plain-openai-key",
        "OPENAI_API_KEY_1": "first-openai-key",
        "OPENAI_API_KEY_17": "seventeenth-key",
        "ANTHROPIC_API_KEY": "dummy-key",
        "GROQ_API_KEY": "short",
        "API_KEYS": "client-key-one, client-key-two",
        "GITHUB_TOKEN": "the-github-token",
        "MY_TOKEN": "named-by-my-rules",
        "SOME_OTHER_TOKEN": "nobody-names-this",
        "HOME_PASSWORD": "nor-this-one-here",
    }
    mine = write_rules("mine", redact="known: {variables: [MY_TOKEN]}")
    ruleset = load_folders([shipped_folder(), mine], environ)
    known = {key.get_secret_value() for key in ruleset.known_secrets}
    assert known == {
        *("plain-openai-key", "first-openai-key", "seventeenth-key"),
        *("client-key-one", "client-key-two", "named-by-my-rules"),
    }
    shipped = load_folders([shipped_folder()], environ).known_secrets
    assert "the-github-token" in {key.get_secret_value() for key in shipped}
    assert "openai-key" not in repr(ruleset.known_secrets)


def test_a_one_way_text_that_would_be_found_again_is_refused() -> None:
    with pytest.raises(ValueError, match="is itself a secret"):
        RedactFile.model_validate_json(
            '{"one_way_text": "mine-abcdefgh", '
            '"detect": [{"name": "mine", "pattern": "mine-[a-z]{8,}"}]}'
        )


PATTERNS = st.sampled_from([row.pattern for row in REDACT.detect]) | st.sampled_from(
    [r"[^\s\w]x", r"(?i)K\d{2}\W", r"\D{3}é", r"[\S]{2}\b", "a.c", r"[^a-f\d]z", "(?:ab|c)?d"]
)


@settings(deadline=None)
@given(PATTERNS, st.text("aAbBcdxzK k09é²\u2003\x1c\n-_=:'\"\\.sAKIeyJ", max_size=60), st.data())
def test_the_quick_engine_never_misses_what_python_finds(
    pattern: str, text: str, data: st.DataObject
) -> None:
    row = next((row for row in REDACT.detect if row.pattern == pattern), None)
    if row is not None and row.examples.secret:
        example = data.draw(st.sampled_from(row.examples.secret))
        cut = data.draw(st.integers(0, len(example)))
        text = text + example[cut:] + example[:cut]
    if re.search(pattern, text):
        assert quick(quick_text(pattern)).isinstance_python(text)
