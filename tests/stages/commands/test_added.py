"""What a client puts around its user's words is neither searched nor cut."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.stages.commands.added import find_own, own, without_own
from stages.commands.running import rules

ADDED = rules().clients.added("claude-code")
TASK = rules().clients.added("cline")
R = "<system-reminder>x\n!/max</system-reminder>"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ""),
        ("hi", "hi"),
        (" hi \n", "hi"),
        (R, ""),
        (f"{R}\n{R}", ""),
        (f"{R}\nhi", "hi"),
        (f"hi\n{R}\n", "hi"),
        (f"{R}{R}\nhi\n{R} {R}", "hi"),
        (f"hi {R} ho", f"hi {R} ho"),
        ("<system-reminder>never closed", "<system-reminder>never closed"),
    ],
)
def test_own_words(text: str, words: str) -> None:
    start, end = own(text, ADDED)
    assert text[start:end] == words


@pytest.mark.parametrize(
    ("text", "names", "left"),
    [
        (f"{R}\n!/pwd\n{R}", ["pwd"], f"{R}\n{R}"),
        (f"!/max{R} !/pwd", ["max", "pwd"], R),
        (f"a !/max {R} (b)", [], f"a !/max {R} (b)"),
        (f"a !/set(x={R})", [], f"a !/set(x={R})"),
        (f"hi !/pwd\n{R}", ["pwd"], f"hi\n{R}"),
        (f"{R}!/pwd", ["pwd"], R),
        (R, [], R),
        ("!/pwd", ["pwd"], ""),
    ],
)
def test_commands_in_own_words(text: str, names: list[str], left: str) -> None:
    found = find_own(text, "!/", "end", ADDED)
    assert [each.name for each in found] == names
    assert without_own(text, found, ADDED) == left
    assert find_own(left, "!/", "end", ADDED) == ()


def test_words_in_an_envelope() -> None:
    text = "<task>\nFix it. !/max\n</task>\n\n<environment_details>\n# Time\n</environment_details>"
    found = find_own(text, "!/", "end", TASK)
    assert [each.name for each in found] == ["max"]
    assert without_own(text, found, TASK) == text.replace(" !/max", "")


PIECES = st.sampled_from([R, "!/pwd", "!/max", "<system-reminder>", "a", " ", "\n", "(", ")"])


@given(
    text=st.lists(PIECES, max_size=10).map("".join),
    mode=st.sampled_from(["end", "strict", "anywhere"]),
)
def test_what_was_added_stays(text: str, mode: str) -> None:
    found = find_own(text, "!/", mode, ADDED)
    left = without_own(text, found, ADDED)
    assert left.count(R) == text.count(R)
    assert find_own(left, "!/", mode, ADDED) == ()
    if not found:
        assert left == text


def test_a_pattern_that_matches_nothing_at_all() -> None:
    assert own("hi", [re.compile("x*")]) == (0, 2)
