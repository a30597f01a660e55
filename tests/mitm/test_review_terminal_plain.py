"""`llmitm review SUBCOMMAND` against the real queue: what it prints, decides, and refuses."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest

from llmitm.canon.parts import Refusal, Text
from llmitm.canon.response import Choice, Response
from llmitm.mitm.console import main
from llmitm.mitm.review_terminal import plain
from llmitm.stages.contract import Answer, Denied, Forward
from review_server import PASSWORD, TOKEN, WEATHER, ReviewServer, asked, card


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReviewServer]:
    for name in ("LLMITM_REVIEW_URL", "LLMITM_REVIEW_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LLMITM_HOME", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "100")
    with ReviewServer() as running:
        (tmp_path / "review.json").write_text(json.dumps({"url": running.url, "token": TOKEN}))
        yield running


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(["review", *words])
    told = capsys.readouterr()
    return code, told.out, told.err


def run_json(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code, out, err = run(capsys, *words, "--json")
    assert err == ""
    return code, json.loads(out)


def test_list_is_a_stable_object(server: ReviewServer, capsys: Any) -> None:
    server.hold(card("one"))
    server.hold(card("two", kind="tool_call", call=WEATHER, client="codex"))
    code, told = run_json(capsys, "list")
    assert code == 0
    assert list(told) == ["ok", "operator", "requests", "stats"]
    assert (told["ok"], told["operator"]) == (True, "anna")
    one, two = told["requests"]
    assert list(one) == [
        *("request_id", "kind", "state", "reason", "rule", "verdicts", "created_at"),
        *("deadline_at", "on_timeout", "may_approve", "may_edit", "client", "provider", "model"),
        *("protocol", "conversation", "stream", "tokens", "cost_usd", "digest", "tools", "call"),
        "writer",
    ]
    assert (one["request_id"], one["cost_usd"], one["call"]) == ("one", 0.0123, None)
    assert two["call"] == {
        "id": "call_1",
        "name": "get_weather",
        "arguments": '{"city": "Paris"}',
    }
    assert told["stats"]["waiting"] == 2
    assert run_json(capsys, "list", "--filter", "client:codex tool:weather")[1]["requests"] == [two]


def test_list_in_words_and_empty(server: ReviewServer, capsys: Any) -> None:
    assert run(capsys, "list") == (0, "nothing waits\n", "")
    server.hold(card("one"))
    code, out, _ = run(capsys, "list")
    assert code == 0
    assert [word in out for word in ("one", "claude-code", "$0.0123", "first use")] == [True] * 4


def test_show_whole_and_document(server: ReviewServer, capsys: Any) -> None:
    server.hold(card("one", text="x" * 9000))
    code, told = run_json(capsys, "show", "on")
    assert code == 0
    assert list(told)[-5:] == ["chat_cut", "tools", "response", "call", "writer"]
    assert told["chat"][0]["parts"][0]["text"] == "x" * 9000
    assert run(capsys, "show", "one", "--document")[1] == told["document"]
    code, out, _ = run(capsys, "show", "one")
    assert out.count("x") >= 9000
    assert "first use (rule all)" in out
    assert max(map(len, out.splitlines())) <= 100


def test_what_a_client_wrote_commands_no_terminal(server: ReviewServer, capsys: Any) -> None:
    server.hold(card("one", text="a\x1b]0;title\x07b\u202eevil", reason="r\x1b[2J"))
    for words in (["show", "one"], ["list"]):
        out = run(capsys, *words)[1]
        assert not [letter for letter in out if letter in "\x1b\x07\u202e"]
    assert "a\\x1b]0;title\\x07b\\u202eevil" in run(capsys, "show", "one")[1]


def test_approve(server: ReviewServer, capsys: Any) -> None:
    client = server.hold(card("one"))
    code, told = run_json(capsys, "approve", "one", "--note", "fine")
    assert code == 0
    assert list(told) == ["ok", "request_id", "action", "by", "at", "note"]
    assert (told["action"], told["by"], told["note"]) == ("approve", "anna", "fine")
    assert client.decisions == [Forward()]
    assert server.log[-1].by == "anna"
    code, told = run_json(capsys, "approve", "one")
    assert code == 3
    assert told["error"] == {
        "code": "already_decided",
        "message": "one is over: approved by anna (fine)",
    }


def test_approve_for_some_minutes_lets_its_sort_pass(server: ReviewServer, capsys: Any) -> None:
    first, second = server.hold(card("one")), server.hold(card("two"))
    assert run(capsys, "approve", "one", "--minutes", "5")[:2] == (0, "one: approved by anna\n")
    assert first.decisions == second.decisions == [Forward()]
    assert server.do(lambda: server.queue.offer(card("three"), first)) == Forward()
    with pytest.raises(SystemExit):
        main_parsed("approve", "x", "--minutes", "0")


def main_parsed(*words: str) -> None:
    from_console = main(["review", *words])
    raise SystemExit(from_console)


def test_a_digest_that_is_not_held_any_more(server: ReviewServer, capsys: Any) -> None:
    client = server.hold(card("one"))
    code, told = run_json(capsys, "approve", "one", "--digest", "0" * 64)
    assert (code, told["error"]["code"]) == (3, "stale")
    assert client.decisions == []


def test_answer(server: ReviewServer, capsys: Any, tmp_path: Path) -> None:
    client = server.hold(card("one"))
    words = ["--text", "It rains.", "--tool-call", "get_weather", '{"city": "Rome"}']
    assert run(capsys, "answer", "one", *words, "--reasoning", "hm")[0] == 0
    [answer] = client.decisions
    assert isinstance(answer, Answer)
    parts = answer.response.choices[0].parts
    assert [type(part).__name__ for part in parts] == ["Reasoning", "Text", "ToolCall"]
    file = tmp_path / "answer.txt"
    file.write_text("from a file ✓\n")
    client = server.hold(card("two"))
    assert run(capsys, "answer", "two", "--file", str(file))[0] == 0
    [answer] = client.decisions
    assert isinstance(answer, Answer)
    assert answer.response.choices[0].parts == (Text(text="from a file ✓\n"),)


@pytest.mark.parametrize(
    ("words", "say"),
    [
        ([], "the answer is empty"),
        (["--tool-call", "get_weather", '{"a": }'], "arguments of get_weather: line 1, column 7"),
        (["--tool-call", "get_weather", "[1]"], "must be a JSON object"),
        (["--file", "no/such/file"], "no/such/file: No such file"),
    ],
)
def test_an_answer_that_cannot_be_sent(
    server: ReviewServer, capsys: Any, words: list[str], say: str
) -> None:
    client = server.hold(card("one"))
    code, out, err = run(capsys, "answer", "one", *words)
    assert (code, out) == (1, "")
    assert say in err
    assert client.decisions == []


def test_reject(server: ReviewServer, capsys: Any) -> None:
    client = server.hold(card("one"))
    words = ["--message", "not today", "--form", "refusal"]
    assert run(capsys, "reject", "one", *words) == (0, "one: rejected by anna\n", "")
    [refused] = client.decisions
    assert isinstance(refused, Answer)
    assert refused.response.choices[0].parts == (Refusal(text="not today"),)
    server.hold(card("two"))
    code, _, err = run(capsys, "reject", "two", "--form", "tool_result")
    assert code == 1
    assert "only a tool call" in err
    call = server.hold(card("three", kind="tool_call", call=WEATHER))
    assert run(capsys, "reject", "three", "--form", "tool_result", "--message", "no")[0] == 0
    [denied] = call.decisions
    assert isinstance(denied, Denied)
    assert (denied.message, denied.form) == ("no", "tool_result")


def test_edit(
    server: ReviewServer, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.hold(card("one"))
    file = tmp_path / "one.yaml"
    file.write_text("a\nBAD\n")
    code, _, err = run(capsys, "edit", "one", str(file))
    assert code == 1
    assert f"{file}:2: this is bad\n{file}: so is the whole" in err
    file.write_text("COSTLY")
    code, told = run_json(capsys, "edit", "one", str(file))
    assert (code, told["error"]["code"]) == (1, "confirm")
    warning = {"say": "the cached prefix is written again", "cost_usd": 0.25}
    assert told["error"]["warnings"] == [warning]
    assert client.decisions == []
    assert run(capsys, "edit", "one", str(file), "--anyway", "--note", "n")[0] == 0
    assert client.decisions == [Forward(request=asked("COSTLY"))]
    client = server.hold(card("two"))
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"say: good\n")))
    assert run(capsys, "edit", "two", "-")[0] == 0
    assert client.decisions == [Forward(request=asked("say: good\n"))]


def test_no_approval_stands() -> None:
    class NoApprovals:
        async def rest(self, method: str, path: str) -> dict[str, Any]:
            assert (method, path) == ("GET", "approvals")
            return {"approvals": []}

    link: Any = NoApprovals()
    told = asyncio.run(plain.approvals(link, argparse.Namespace(revoke="")))
    assert told == ({"approvals": []}, "no approval stands")


def test_figures_of_nothing_in_words(server: ReviewServer, capsys: Any) -> None:
    out = run(capsys, "stats")[1]
    assert out.splitlines()[:2] == [
        "waiting: 0",
        "decided: 0 approved, 0 edited, 0 answered, 0 rejected",
    ]
    assert "time to a decision: nothing is over yet" in out
    assert not [sign for sign in ("None", "{", "_s:") if sign in out]
    assert run_json(capsys, "stats")[1]["oldest_age_s"] is None


def test_history_and_stats(server: ReviewServer, capsys: Any) -> None:
    for name in ("one", "two"):
        server.hold(card(name))
        run(capsys, "approve", name)
    code, told = run_json(capsys, "history")
    assert code == 0
    assert [past["request_id"] for past in told["history"]] == ["two", "one"]
    assert list(told["history"][0]) == [
        *("request_id", "action", "by", "at", "note", "kind", "reason", "rule", "client", "model"),
        "wait_s",
    ]
    assert "approved by anna" in run(capsys, "history")[1]
    assert run_json(capsys, "stats")[1]["decided"]["approve"] == 2
    server.hold(card("three"))
    out = run(capsys, "stats")[1]
    assert "decided: 2 approved, 0 edited" in out
    assert "waiting: 1, the oldest for " in out
    assert "s on average, " in out


def test_ids(server: ReviewServer, capsys: Any) -> None:
    server.hold(card("one-1"))
    server.hold(card("one-2"))
    assert run(capsys, "approve", "one")[0] == 3
    assert run(capsys, "approve", "none")[2].endswith("has the id 'none'\n")
    assert run(capsys, "approve", "one-2")[0] == 0


def test_a_response_that_is_held_is_shown(server: ReviewServer, capsys: Any) -> None:
    answered = Response(choices=(Choice(parts=(Text(text="forty-two"),)),))
    server.hold(card("one", kind="response", response=answered))
    out = run(capsys, "show", "one")[1]
    assert "--- the answer, held ---" in out
    assert "+ forty-two" in out


# -- where it is -------------------------------------------------------------------------------


def test_a_login(server: ReviewServer, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    to = ["--url", f"{server.url}/llm/", "--user", "anna"]
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n"))
    assert run(capsys, *to, "list") == (0, "nothing waits\n", "")
    monkeypatch.setattr("sys.stdin", io.StringIO("wrong\n"))
    code, out, err = run(capsys, "list", *to)
    assert (code, out) == (1, "")
    assert "knows no 'anna' with this password" in err


def test_variables(server: ReviewServer, capsys: Any, monkeypatch: Any, tmp_path: Path) -> None:
    (tmp_path / "review.json").unlink()
    monkeypatch.setenv("LLMITM_REVIEW_URL", server.url)
    assert "wants a login: give --user or set LLMITM_REVIEW_TOKEN" in run(capsys, "list")[2]
    monkeypatch.setenv("LLMITM_REVIEW_TOKEN", TOKEN)
    assert run(capsys, "list")[0] == 0
    monkeypatch.setenv("LLMITM_REVIEW_TOKEN", "a-token-of-nobody")
    code, _, err = run(capsys, "list")
    assert code == 1
    assert "does not accept the token" in err
    assert "a-token-of-nobody" not in err


def test_nobody_listens(server: ReviewServer, capsys: Any, tmp_path: Path) -> None:
    server.stop_listening()
    code, told = run_json(capsys, "list")
    assert (code, told["error"]["code"]) == (1, "gone")
    assert "nothing answers at http://127.0.0.1" in told["error"]["message"]
    assert "llm_review_listen" in told["error"]["message"]
    (tmp_path / "review.json").unlink()
    assert "no llmitm here listens for reviews: start one" in run(capsys, "list")[2]
    (tmp_path / "review.json").write_text("[")
    assert "is not what llmitm writes there" in run(capsys, "list")[2]


@pytest.mark.parametrize("url", ["ftp://x", "http://", "http://a:b@c", "http://x:99999"])
def test_addresses_that_are_none(server: ReviewServer, capsys: Any, url: str) -> None:
    code, _, err = run(capsys, "--url", url, "list")
    assert code == 1
    assert err.startswith("llmitm review: ")


def test_without_a_terminal_the_list_is_printed(server: ReviewServer, capsys: Any) -> None:
    server.hold(card("one"))
    code, out, err = run(capsys)
    assert code == 0
    assert out.startswith("one  ")
    assert "no full screen" in err


def test_hash_password(capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PASSWORD}\n{PASSWORD}\n"))
    code, out, _ = run(capsys, "hash-password")
    assert code == 0
    name, _, text = out.strip().partition("=")
    assert name == "OPERATOR_PASSWORD_HASH"
    assert argon2.PasswordHasher().verify(text.strip("'"), PASSWORD)
    monkeypatch.setattr("sys.stdin", io.StringIO("short\n"))
    assert run(capsys, "hash-password")[0] == 1
