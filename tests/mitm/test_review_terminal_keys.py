"""Keys from a terminal's bytes, lines that are typed, and a board that takes any message."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmitm.desk.review_board import Board
from llmitm.desk.review_card import card_lines, safe, span, wrapped
from llmitm.desk.review_screen import KEYS, Prompt, View, frame
from llmitm.mitm.review_terminal.asking import typed
from llmitm.mitm.review_terminal.keys import Key, Keyboard
from llmitm.mitm.review_terminal.place import Place, ReviewTrouble, checked_url


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"aQ", ["a", "Q"]),
        ("é✓".encode(), ["é", "✓"]),
        (b"\r\n\t\x7f\x04\x14", ["enter", "enter", "tab", "backspace", "ctrl-d", "ctrl-t"]),
        (
            b"\x1b[A\x1b[B\x1bOC\x1b[5~\x1b[6~\x1b[H",
            ["up", "down", "right", "pgup", "pgdn", "home"],
        ),
        (b"\x1b[1;5Aq", ["up", "q"]),
        (b"\x1b[99;99Rq", ["q"]),
        (b"\x1bx", ["esc", "x"]),
        (b"\x1b[200~qa\r\n\x1b[201~x", ["paste", "x"]),
    ],
)
def test_keys(data: bytes, names: list[str]) -> None:
    assert [key.name for key in Keyboard().feed(data)] == names


def test_a_lone_esc_is_known_only_when_nothing_follows() -> None:
    keyboard = Keyboard()
    assert keyboard.feed(b"\x1b") == []
    assert keyboard.unsure
    assert keyboard.settle() == [Key("esc")]
    assert keyboard.settle() == []


@given(st.binary(max_size=80), st.integers(0, 80))
def test_chunks_do_not_matter(data: bytes, cut: int) -> None:
    once, twice = Keyboard(), Keyboard()
    assert once.feed(data) == twice.feed(data[:cut]) + twice.feed(data[cut:])


NAMED = ["left", "right", "home", "end", "backspace", "delete", "ctrl-u", "ctrl-k", "ctrl-w"]


@given(st.lists(st.sampled_from([*map(Key, NAMED), Key("x", "x"), Key(" ", " ")])))
def test_the_cursor_stays_in_the_line(keys: list[Key]) -> None:
    prompt = Prompt(label="", text="some words", at=4)
    for key in keys:
        typed(prompt, key)
        assert 0 <= prompt.at <= len(prompt.text)


def test_editing_a_line() -> None:
    prompt = Prompt(label="", text="one two", at=7)
    for key in (Key("ctrl-w"), Key("paste", "three"), Key("home"), Key("delete"), Key("O", "O")):
        typed(prompt, key)
    assert (prompt.text, prompt.at) == ("One three", 1)


JSON: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["request_id", "chat", "parts", "text", "call", "requests", "history"])
            | st.sampled_from(
                ["stats", "operator", "tokens", "cost_usd", "deadline_at", "response"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=12,
)
KINDS = ["snapshot", "new_request", "request_updated", "request_decided", "request_cancelled"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*KINDS, "stats_update", "error", "other"]),
            st.dictionaries(st.sampled_from(["request_id", "chat", "call", "requests"]), JSON),
        ),
        max_size=4,
    ),
    st.integers(20, 100),
    st.integers(5, 30),
)
def test_any_message_can_be_shown(
    messages: list[tuple[str, dict[str, Any]]], width: int, height: int
) -> None:
    view = View(board=Board())
    for kind, data in messages:
        view.board.apply(kind, data)
        lines = frame(view, 1_700_000_000.0, width, height)
        assert len(lines) == height
        assert max(line.cell_len for line in lines) <= width


@given(st.text())
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    left = safe(text)
    assert not [letter for letter in left if ord(letter) < 32 and letter not in "\n\t"]
    assert not set(left) & set("\x7f\x9b\u202e\u2066\u200b")


@given(st.text(max_size=200), st.integers(10, 60))
def test_wrapped_lines_fit_and_lose_nothing(text: str, width: int) -> None:
    board = Board()
    part = {"type": "text", "text": text}
    chat = [{"role": "user", "new": True, "parts": [part]}]
    board.apply("new_request", {"request_id": "one", "chat": chat})
    [held] = board.waiting()
    rows = wrapped(card_lines(held, 0.0), width)
    assert all(row.cell_len <= width for row in rows)
    shown = "".join(row.plain[2:] for row in rows if row.plain.startswith("+ "))
    assert "".join(safe(text).split()) == "".join(shown.removeprefix("user").split())


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, ""), (0.4, "0s"), (59, "59s"), (61, "1m01s"), (7300, "2h01m"), (-5, "-5s")],
)
def test_spans(seconds: float | None, said: str) -> None:
    assert span(seconds) == said


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("127.0.0.1:8082", "http://127.0.0.1:8082"),
        ("http://[::1]:8082/llm/", "http://[::1]:8082"),
        ("https://desk.example/", "https://desk.example"),
    ],
)
def test_addresses(url: str, base: str) -> None:
    assert checked_url(url) == base
    assert Place(base, "x/y").socket_url("x/y").endswith("/ws?token=x%2Fy")


def test_an_address_that_is_none() -> None:
    with pytest.raises(ReviewTrouble):
        checked_url("http://user:secret@desk")


def test_every_key_is_told_once() -> None:
    keys = [key for keys, _ in KEYS for key in keys.split()]
    assert len(keys) == len(set(keys))
