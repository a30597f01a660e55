"""Commands are found where they are commands, and cutting them out leaves the rest alone."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from llmitm.stages.commands.grammar import Arg, find, without

MODES = ("end", "strict", "anywhere")


def names(text: str, mode: str = "end", prefix: str = "!/") -> list[str]:
    return [one.name for one in find(text, prefix, mode)]


@pytest.mark.parametrize(
    ("text", "end", "strict", "anywhere", "left"),
    [
        ("!/help", 1, 1, 1, ""),
        ("  !/help\n\n", 1, 1, 1, ""),
        ("hello !/help", 1, 0, 1, "hello"),
        ("hello\n!/help", 1, 1, 1, "hello"),
        ("hello\n\n!/help\n", 1, 1, 1, "hello"),
        ("hello  \n!/help", 1, 1, 1, "hello  "),
        ("a !/help\r\n", 1, 0, 1, "a\r\n"),
        ("!/help me", 0, 0, 1, "me"),
        ("  !/help me", 0, 0, 1, "  me"),
        ("please !/help me", 0, 0, 1, "please me"),
        ("a\n!/help\nb", 0, 0, 1, "a\nb"),
        ("!/help\n\nb", 0, 0, 1, "b"),
        ("\n!/help\n\n  b", 0, 0, 1, "  b"),
        ("a !/max !/pwd", 2, 0, 2, "a"),
        ("a !/max b !/pwd", 1, 0, 2, "a b"),
        ("!/max\n!/pwd", 2, 2, 2, ""),
        ("a !/max\n!/pwd !/low", 3, 2, 3, "a"),
        ("a\n```\n!/max\n```\nb", 0, 0, 0, "a\n```\n!/max\n```\nb"),
        ("~~~~\n!/max\n~~~\n!/max\n~~~~\n!/pwd", 1, 1, 1, "~~~~\n!/max\n~~~\n!/max\n~~~~"),
        ("#!/bash", 0, 0, 0, "#!/bash"),
        ("x!/help", 0, 0, 0, "x!/help"),
        ("!/help.", 0, 0, 0, "!/help."),
        ("`!/help`", 0, 0, 0, "`!/help`"),
        ("!/set(a=1).", 0, 0, 0, "!/set(a=1)."),
        ("!/usr/bin", 0, 0, 0, "!/usr/bin"),
        ("!/ help", 0, 0, 0, "!/ help"),
        ("!/1", 0, 0, 0, "!/1"),
        ("!/", 0, 0, 0, "!/"),
        ("", 0, 0, 0, ""),
        ("x\t!/help", 1, 0, 1, "x"),
        ("x\u2028!/help", 1, 0, 1, "x"),
        ("tell me !/set(a=(b)", 1, 0, 1, "tell me"),
    ],
)
def test_where_a_command_is(text: str, end: int, strict: int, anywhere: int, left: str) -> None:
    counts = {mode: len(find(text, "!/", mode)) for mode in MODES}
    assert counts == {"end": end, "strict": strict, "anywhere": anywhere}
    most = max(MODES, key=lambda mode: counts[mode])
    assert without(text, find(text, "!/", most)) == left


@pytest.mark.parametrize(
    ("text", "args"),
    [
        ("!/x", []),
        ("!/x()", []),
        ("!/x( )", []),
        ("!/x (a)", [("", "a")]),
        ("!/x(a=1, b = two words ,c)", [("a", "1"), ("b", "two words"), ("", "c")]),
        ("!/x(a=)", [("a", "")]),
        ("!/x(a='1, 2', b=\"c)\")", [("a", "1, 2"), ("b", "c)")]),
        (r'!/x(a="say \"hi\" \\ C:\dir")', [("a", 'say "hi" \\ C:\\dir')]),
        ("!/x('a=b')", [("", "a=b")]),
        ("!/x(p=Bob's app)", [("p", "Bob's app")]),
        ("!/x(p=f(a, b), c)", [("p", "f(a, b)"), ("", "c")]),
        ('!/x(j={"a": [1, 2], "b": ")"})', [("j", '{"a": [1, 2], "b": ")"}')]),
        ("!/x(name=N, o:g, s?a=0.5)", [("name", "N"), ("", "o:g"), ("", "s?a=0.5")]),
        ("!/x(model=[weight=3]a:b^c:d)", [("model", "[weight=3]a:b^c:d")]),
        ("!/x(a=b=c)", [("a", "b=c")]),
        ("!/x(url=https://a.b/c?d=e)", [("url", "https://a.b/c?d=e")]),
    ],
)  # fmt: skip
def test_what_a_command_says(text: str, args: list[tuple[str, str]]) -> None:
    (found,) = find(text, "!/", "strict")
    assert (found.start, found.end, found.name, found.problem) == (0, len(text), "x", "")
    assert [(arg.key, arg.value) for arg in found.args] == args
    assert all(isinstance(arg, Arg) for arg in found.args)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("!/x(", "`(` is never closed"),
        ("!/x(a", "`(` is never closed"),
        ("!/x(a=[1)", "`[` is closed by `)`"),
        ("!/x(a={1)", "`{` is closed by `)`"),
        ("!/x(a='b)", "`'` is never closed"),
        ('!/x("b)', '`"` is never closed'),
        ("!/x(a,,b)", "there is nothing between two commas"),
        ("!/x(a,)", "there is nothing between two commas"),
        ("!/x(,)", "there is nothing between two commas"),
        ("!/x('a'b)", "text follows the closing '"),
        ("!/x(a='b' c)", "text follows the closing '"),
    ],
)
def test_what_is_wrong_with_a_command(text: str, problem: str) -> None:
    (found,) = find(f"why?\n{text}  ", "!/", "end")
    assert (found.problem, found.args) == (problem, ())
    assert (found.start, found.end) == (5, 5 + len(text))


def test_several_commands_keep_their_order() -> None:
    text = "go on\n!/set(model=a:b) !/max\n!/pwd"
    assert names(text) == ["set", "max", "pwd"]
    assert names(text, "strict") == ["set", "max", "pwd"]


@pytest.mark.parametrize("prefix", ["!/", "//", "/", "$$cmd", "..", "(", "«»", "a"])
@pytest.mark.parametrize("mode", MODES)
def test_any_prefix(prefix: str, mode: str) -> None:
    (found,) = find(f"{prefix}set(a=1)", prefix, mode)
    assert (found.name, found.args) == ("set", (Arg("a", "1"),))
    assert find(f"{prefix}set(a=1)", "%%", mode) == ()


PIECES = st.sampled_from(
    ["!/help", "!/set", "!/", "(", ")", "()", "(a=1)", "[", "]", "{", "'", '"', "\\", ",", "=", ":"]
    + [" ", "  ", "\n", "\r\n", "\r", "\t", "\u2028", "\x1c", "```", "~~~", "`", ".", "x", "!", "/"]
)
TEXTS = st.lists(PIECES, max_size=24).map("".join) | st.text(max_size=60)


@settings(max_examples=1500, deadline=None)
@given(text=TEXTS, mode=st.sampled_from(MODES), prefix=st.sampled_from(["!/", "/", "```", "=="]))
@example("!/x ```\nfoo\n```\n!/y\n```", "anywhere", "!/")
def test_cutting_takes_the_commands_and_nothing_else(text: str, mode: str, prefix: str) -> None:
    found = find(text, prefix, mode)
    at = 0
    for one in found:
        assert at <= one.start < one.end <= len(text)
        assert text.startswith(prefix + one.name, one.start)
        assert one.start == 0 or text[one.start - 1].isspace()
        assert one.end == len(text) or text[one.end].isspace()
        assert "\n" not in text[one.start : one.end]
        at = one.end
    left = without(text, found)
    assert find(left, prefix, mode) == ()
    outside, at = "", 0
    for one in found:
        outside, at = outside + text[at : one.start], one.end
    outside += text[at:]
    assert "".join(left.split()) == "".join(outside.split())
    assert left.split() == outside.split(), "no two words become one"
    assert left == text if not found else left == "" or left.strip()
    remaining = iter(text)
    assert all(character in remaining for character in left), "only ever leaves out"


def test_a_long_text_takes_no_long_time() -> None:
    text = "!/a (" * 40_000 + "\n" + "!/b\n" * 20_000
    assert len(find(text, "!/", "anywhere")) == 20_001
    assert len(find(text, "!/", "end")) == 20_001
    assert without(text, find(text, "!/", "anywhere")) == ""
    text = "x !/a " * 100_000
    assert without(text, find(text, "!/", "anywhere")) == "x " * 99_999 + "x"
