"""What is written as YAML for a person reads back as exactly the same data."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.canon.values import Json
from llmitm.ruleset.documents import plain, read_text
from llmitm.ruleset.yaml_text import Block, writable, yaml_text

# Half characters, line ends of all sorts, controls, what YAML gives a meaning.
ODD = st.text(
    st.sampled_from(
        list(
            " \t\n\r\x00\x1b\x7f\x85\xa0\u2028\u2029\ufeff\ud83d\ude00\U0001f600é"
            ":#-|>\"'\\&*!%@`,[]{}?=~x1."
        )
    )
    | st.characters(codec=None),
    max_size=40,
)
WORDS = st.sampled_from(
    [
        "true",
        "no",
        "~",
        "null",
        "1e5",
        "0x1f",
        "2001-01-01",
        "a: b",
        "- a",
        "<<",
        "=",
        "a #b",
        "---",
        "...",
        "? a",
        "%YAML",
        "",
    ]
)
TEXTS = ODD | WORDS | st.text(max_size=100)
VALUES: st.SearchStrategy[Json] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def back(text: str) -> Any:
    node, errors = read_text(text, "x", deepest=60)
    assert not errors, (errors, text)
    return plain(node)


@settings(max_examples=400, deadline=None)
@given(st.dictionaries(TEXTS, VALUES, min_size=1, max_size=5))
def test_every_value_comes_back(value: dict[str, Json]) -> None:
    assert writable(value, 60)
    assert repr(back(yaml_text(value))) == repr(value)


@settings(max_examples=400, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_every_block_comes_back(one: str, two: str, three: str) -> None:
    made = yaml_text({"a": [{"text": Block(one), "b": 1}, Block(two)], "c": {"d": Block(three)}})
    assert back(made) == {"a": [{"text": one, "b": 1}, two], "c": {"d": three}}


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("hello", ["  t: |-", "    hello"]),
        ("hello\n", ["  t: |", "    hello"]),
        ("a\n\n", ["  t: |+", "    a", ""]),
        ("  in\nout", ["  t: |2-", "      in", "    out"]),
        ("a  \n\tb", ["  t: |-", "    a  ", "    \tb"]),
        ("", ['  t: ""']),
        ("a\r\nb", [r'  t: "a\r\nb"']),
        (
            "a long line that ends as in DOS, and\r\n  another one, indented\r\n",
            [
                '  t: "a long line that ends as in DOS, and\\r\\n\\',
                "    \\  another one, indented\\r\\n\\",
                '    "',
            ],
        ),
    ],
)
def test_how_a_text_stands(text: str, lines: list[str]) -> None:
    made = yaml_text({"x": {"t": Block(text)}})
    assert made.split("\n")[1:-1] == lines
    assert back(made) == {"x": {"t": text}}


def test_long_lines_are_not_folded() -> None:
    text = "word " * 5000 + "end"
    assert len(yaml_text({"t": text}).splitlines()) == 1
    assert back(yaml_text({"t": text, "u": Block(text)})) == {"t": text, "u": text}


def test_what_cannot_be_written_is_told() -> None:
    assert not writable({"a": float("nan")}, 5)
    assert not writable({"k" * 2000: 1}, 5)
    assert not writable([[[[1]]]], 3)
    assert writable([[[[1]]]], 4)


def test_everything_that_is_wrong_is_said() -> None:
    _, errors = read_text("a: 1\na: 2\nb: !x y\nc: .nan\n1: x\n", "x")
    assert [error.line for error in errors] == [2, 3, 4, 5]
    _, errors = read_text("a: 1\nb: \x01", "x")
    assert [(error.line, error.say) for error in errors] == [
        (2, "not YAML: the character U+0001 must be escaped")
    ]
    _, errors = read_text("a: &a [*a]", "x")
    assert [error.say for error in errors] == ["nested too deeply or too large (an alias loop?)"]
