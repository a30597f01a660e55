"""Texts and budgets as rules: what is refused at the start, and where it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from llmitm.canon.events import Usage
from llmitm.errors import RuleError
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.models import PriceRow, cost_usd
from llmitm.ruleset.ruleset import Ruleset


def load(folder: Path, text: str = "", name: str = "texts.yaml", **environ: str) -> Ruleset:
    if text:
        (folder / name).write_text(text)
    return load_folders([shipped_folder(), folder], environ)


ROW = "texts:\n  - name: a\n    where: {where}\n    {rest}\n"


@pytest.mark.parametrize(
    ("where", "rest", "line", "say"),
    [
        ("user", "regex: '(a+)+b'\n    text: x", 4, "can be read in several ways|very end"),
        ("user", "regex: '(\\w)\\1'\n    text: x", 4, "refers back to a group"),
        ("user", "regex: '(a|b'\n    text: x", 4, "not a Python regular expression"),
        ("user", "regex: 'a{0,5}'\n    text: x", 4, "without taking a character"),
        ("user", "regex: '\\b'\n    text: x", 4, "without taking a character"),
        ("user", "regex: 'a'\n    text: '\\1'", 2, "no replacement for a"),
        ("reply", "regex: 'ab+'\n    text: x", 2, "must end: in place of `\\+`"),
        ("reply", "regex: 'a{1,300}'\n    text: x", 2, "300 characters; window allows 256"),
        ("reply", "regex: 'a(?=b)'\n    text: x", 2, "ahead or behind"),
        ("reply", "regex: '^a'\n    text: x", 2, "no beginning and end"),
        ("reply", "regex: 'x(?:a|b$)'\n    text: x", 2, "no beginning and end"),
        ("user", "text: x", 2, "replace needs find or regex"),
        ("user", "find: a\n    regex: b\n    text: x", 2, "either find or regex"),
        ("user", "find: a\n    text: x\n    file: y", 2, "either text or file"),
        ("user", "find: a", 2, "either text or file"),
        ("user", "find: a\n    file: none.txt", 5, "none.txt: cannot be read"),
        ("users", "find: a\n    text: x", 3, "is not one of system, user, tool_result, reply"),
    ],
)
def test_a_wrong_rule_stops_the_start(
    where: str, rest: str, line: int, say: str, tmp_path: Path
) -> None:
    with pytest.raises(RuleError, match=say) as error:
        load(tmp_path, ROW.format(where=where, rest=rest))
    assert (error.value.file, error.value.line) == (f"{tmp_path}/texts.yaml", line)


def test_a_text_may_stand_in_a_file_beside_the_rules(tmp_path: Path) -> None:
    (tmp_path / "new.md").write_text("two\nlines\n")
    rules = load(tmp_path, ROW.format(where="user", rest="find: one\n    file: new.md")).texts
    assert [rule.apply("one!") for rule in rules.rules] == ["two\nlines!"]


def test_the_first_prompt_by_rules_and_by_variable(tmp_path: Path) -> None:
    (tmp_path / "mine.md").write_text("by the rules\n")
    (tmp_path / "env.txt").write_text("by the variable")
    first = load(tmp_path, "first_prompt_append: {file: mine.md}\n").texts.first
    assert first is not None
    assert first.text == "\n\nby the rules"
    environ = {"AUTO_APPEND_FIRST_PROMPT_FILENAME": str(tmp_path / "env.txt")}
    first = load(tmp_path, **environ).texts.first
    assert first is not None
    assert first.text == "\n\nby the variable"


@pytest.mark.parametrize(
    ("name", "say"), [("prompt.doc", r"\.\(txt\|md\)"), ("none.txt", "none.txt: cannot be read")]
)
def test_a_wrong_file_in_the_variable(name: str, say: str, tmp_path: Path) -> None:
    variable = "AUTO_APPEND_FIRST_PROMPT_FILENAME"
    with pytest.raises(RuleError, match=say) as error:
        load(tmp_path, **{variable: str(tmp_path / name)})
    assert error.value.file == variable


def folder_rule(root: Path, place: str, **files: str) -> None:
    folder = root / place
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / f"{name}.txt").write_text(text)


def test_rules_as_folders(tmp_path: Path) -> None:
    root = tmp_path / "replacements"
    folder_rule(root, "prompts/user/002_b", SEARCH="what is new\n", REPLACE="what is old\n")
    folder_rule(root, "prompts/user/001_a", SEARCH="tell me all", REPLACE="what is new")
    folder_rule(root, "prompts/system/001", SEARCH="You are helpful", APPEND=" and brief")
    folder_rule(root, "replies/001", SEARCH="Certainly", PREPEND="> ")
    environ = {"REWRITING_ENABLED": "true", "REWRITING_CONFIG_PATH": str(root)}
    rules = load(tmp_path, **environ).texts.rules
    assert [(rule.name, rule.where, rule.do) for rule in rules] == [
        ("prompts/system/001", "system", "append"),
        ("prompts/user/001_a", "user", "replace"),
        ("prompts/user/002_b", "user", "replace"),
        ("replies/001", "reply", "prepend"),
    ]
    assert rules[0].apply("You are helpful.") == "You are helpful and brief."
    assert rules[2].apply(rules[1].apply("tell me all!")) == "what is old!"
    assert rules[3].apply("Certainly!") == "> Certainly!"
    # Off unless it is switched on.
    assert load(tmp_path, REWRITING_CONFIG_PATH=str(root)).texts.rules == ()


@pytest.mark.parametrize(
    ("files", "file", "say"),
    [
        ({"SEARCH": "too few", "REPLACE": "x"}, "/SEARCH.txt", "at least 8 characters, it has 7"),
        ({"REPLACE": "x"}, "/SEARCH.txt", "cannot be read"),
        ({"SEARCH": "long enough"}, "", "exactly one of"),
        ({"SEARCH": "long enough", "REPLACE": "x", "APPEND": "y"}, "", "exactly one of"),
    ],
)
def test_a_wrong_folder(files: dict[str, str], file: str, say: str, tmp_path: Path) -> None:
    folder_rule(tmp_path / "r", "replies/001", **files)
    environ = {"REWRITING_ENABLED": "1", "REWRITING_CONFIG_PATH": str(tmp_path / "r")}
    with pytest.raises(RuleError, match=say) as error:
        load(tmp_path, **environ)
    assert error.value.file == f"{tmp_path}/r/replies/001{file}"


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    environ = {"REWRITING_ENABLED": "1", "REWRITING_CONFIG_PATH": str(tmp_path / "none")}
    with pytest.raises(RuleError, match="is not a folder") as error:
        load(tmp_path, **environ)
    assert error.value.file == "REWRITING_CONFIG_PATH"


TEXTS = """
texts:
  - name: a
    where: user
    regex: 'a(\\d)'
    text: 'b\\1'
    examples:
      - {text: a1, becomes: b1}
      - {text: a2, becomes: c2}
"""
BUDGETS = """
budgets:
  - name: a
    requests: 10
    examples:
      - {requests: 7}
      - {requests: 8, verdict: warns}
      - {requests: 9}
"""


@pytest.mark.parametrize(
    ("name", "text", "line", "say"),
    [("texts.yaml", TEXTS, 9, "a makes 'b2' of it"), ("budgets.yaml", BUDGETS, 8, "a warns")],
)
def test_examples_are_tried(name: str, text: str, line: int, say: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = check([shipped_folder(), tmp_path], {})
    assert [(each.line, each.say) for each in found if each.file.endswith(name)] == [(line, say)]


def test_the_examples_in_the_shipped_files_comments_hold(tmp_path: Path) -> None:
    for name in ("texts.yaml", "budgets.yaml"):
        shipped = (shipped_folder() / name).read_text()
        rows = re.findall(r"^#( {3}- name:.*|     .*)$", shipped, re.MULTILINE)
        assert len(rows) > 5
        (tmp_path / name).write_text(f"{name.removesuffix('.yaml')}:\n" + "\n".join(rows) + "\n")
    found = check([shipped_folder(), tmp_path], {})
    assert [each for each in found if each.file.startswith(str(tmp_path))] == []


@pytest.mark.parametrize(
    ("row", "say"),
    [
        ("{name: a}", "limits nothing"),
        ("{name: a, requests: 0}", "0 is not in >= 1"),
        ("{name: a, requests: 1, per: [user]}", "is not one of client, model, provider"),
        ("{name: a, requests: 1, window: week}", "is not one of minute, hour, day"),
    ],
)
def test_a_wrong_budget_stops_the_start(row: str, say: str, tmp_path: Path) -> None:
    with pytest.raises(RuleError, match=say) as error:
        load(tmp_path, f"budgets:\n  - {row}\n", "budgets.yaml")
    assert error.value.line == 2


PRICE = PriceRow(name="p", models=("p",), input=10, output=50, cache_read=1, cache_write=12.5)


@pytest.mark.parametrize(
    ("usage", "price", "usd"),
    [
        (Usage(input_tokens=1_000_000, output_tokens=0), PRICE, 10.0),
        (Usage(input_tokens=0, output_tokens=1_000_000), PRICE, 50.0),
        (
            Usage(
                input_tokens=1_000_000,
                output_tokens=100_000,
                cache_read_tokens=600_000,
                cache_write_tokens=100_000,
            ),
            PRICE,
            # 300k * 10 + 600k * 1 + 100k * 12.5 + 100k * 50
            3.0 + 0.6 + 1.25 + 5.0,
        ),
        # Reasoning stands inside the answer's tokens.
        (Usage(input_tokens=0, output_tokens=100, reasoning_tokens=90), PRICE, 0.005),
        # A provider that tells more from the cache than there was.
        (Usage(input_tokens=10, output_tokens=0, cache_read_tokens=20), PRICE, 0.00002),
        (Usage(input_tokens=10, output_tokens=10), None, None),
        (None, PRICE, None),
        (Usage(input_tokens=None, output_tokens=10), PRICE, None),
        (Usage(input_tokens=10, output_tokens=None), PRICE, None),
        (
            Usage(input_tokens=10, output_tokens=1, cache_read_tokens=5),
            PriceRow(name="p", models=("p",), input=10, output=50),
            None,
        ),
        (
            Usage(input_tokens=10, output_tokens=1, cache_read_tokens=0),
            PriceRow(name="p", models=("p",), input=10, output=50),
            0.00015,
        ),
        (Usage(input_tokens=0, output_tokens=0), PriceRow(name="p", models=("p",)), 0.0),
    ],
)
def test_what_an_answer_costs(
    usage: Usage | None, price: PriceRow | None, usd: float | None
) -> None:
    assert cost_usd(usage, price) == (None if usd is None else pytest.approx(usd))
