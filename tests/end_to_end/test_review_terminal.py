"""`llmitm review` in a pseudo-terminal against the real queue: every key, and what it leads to."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from terminal import Terminal, plain

from llmitm.canon.parts import Text, ToolCall
from llmitm.canon.request import Message
from llmitm.stages.contract import Answer, Denied, Forward
from review_server import PASSWORD, TOKEN, WEATHER, ReviewServer, asked, card

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).resolve().parents[2] / "addons"
REVIEW = [sys.executable, "-m", "llmitm.mitm.console", "review"]
# Takes the next prepared text in place of the file's; writes down what it was given.
EDITOR = """
import pathlib, sys
folder = pathlib.Path(sys.argv[1])
seen = sorted(folder.glob("seen-*"))
number = len(seen) + 1
file = pathlib.Path(sys.argv[-1])
folder.joinpath(f"seen-{number}").write_text(" ".join(sys.argv[2:]) + "\\n" + file.read_text())
wanted = folder / f"edit-{number}"
if not wanted.exists():
    sys.exit(3)
file.write_text(wanted.read_text().replace("THE REST\\n", file.read_text()))
"""


class Desk:
    """The server, and how a terminal is opened at it."""

    def __init__(self, server: ReviewServer, home: Path) -> None:
        self.server = server
        self.home = home
        self.edits = home / "edits"
        self.edits.mkdir()
        (home / "vi").write_text(EDITOR)
        left = json.dumps({"url": server.url, "token": TOKEN})
        (home / "review.json").write_text(left)

    def environment(self, **more: str) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "HOME") if name in os.environ}
        return {
            **kept,
            "PYTHONPATH": str(ADDONS),
            "LLMITM_HOME": str(self.home),
            "EDITOR": f"{sys.executable} {self.home / 'vi'} {self.edits}",
            **more,
        }

    @contextmanager
    def terminal(
        self, *words: str, size: tuple[int, int] = (80, 24), **more: str
    ) -> Generator[Terminal]:
        with Terminal([*REVIEW, *words], self.environment(**more), size) as one:
            yield one

    def will_edit(self, *texts: str) -> None:
        for number, text in enumerate(texts, len(list(self.edits.glob("edit-*"))) + 1):
            (self.edits / f"edit-{number}").write_text(text)

    def seen(self, number: int) -> str:
        return (self.edits / f"seen-{number}").read_text()

    def drafts(self) -> list[Path]:
        return list((self.home / "review-drafts").glob("*"))


@pytest.fixture
def desk(tmp_path: Path) -> Generator[Desk]:
    with ReviewServer() as server:
        yield Desk(server, tmp_path)


def looked(terminal: Terminal, *texts: str) -> str:
    """Waits for the texts, then as long as a person looks at what has just come up."""
    shown = terminal.wait(*texts)
    for _ in range(7):
        terminal.read(0.1)
    return shown


def test_the_queue_at_80_by_24(desk: Desk) -> None:
    earlier = Message(role="user", parts=(Text(text="an earlier word"),))
    with desk.terminal() as terminal:
        terminal.wait("nothing waits", "0 waiting", "anna@127.0.0.1")
        desk.server.hold(card("one", request=asked("What now?", earlier), new_from=1))
        shown = terminal.wait("claude-code", "$0.0123", "What now?", "1 waiting")
        assert "> " in shown
        assert "+ What now?" in shown
        assert "  an earlier word" in shown
        lines = terminal.lines()
        assert len(lines) == 24
        assert max(map(len, lines)) <= 80
        assert "a approve" in lines[-1]
        assert "new: claude-code" in lines[-2]
        terminal.press("q")
        assert terminal.ended() == 0
        assert terminal.restored()


def test_approve_and_the_next_one_is_looked_at_first(desk: Desk) -> None:
    one, two = desk.server.hold(card("one")), desk.server.hold(card("two", model="second"))
    with desk.terminal() as terminal:
        looked(terminal, "2 waiting", "1 of 2")
        terminal.press("a")
        terminal.wait("approved by anna", "1 waiting")
        terminal.press("a")
        terminal.wait("look at it first")
        assert (one.decisions, two.decisions) == ([Forward()], [])
        looked(terminal)
        terminal.press("a")
        terminal.wait("nothing waits")
        assert two.decisions == [Forward()]


def test_next_previous_whole_and_back(desk: Desk) -> None:
    desk.server.hold(card("one", model="first-model"))
    desk.server.hold(card("two", model="other-model", text="word " * 2000 + "the end"))
    with desk.terminal() as terminal:
        terminal.wait("1 of 2", "anthropic:first-model")
        terminal.press("j")
        terminal.wait("2 of 2", "+ word word")
        terminal.press("k")
        terminal.wait("1 of 2")
        terminal.press("\x1b[B\r")
        terminal.wait("Esc back", "more lines", "digest")
        for _ in range(14):
            terminal.press(" ")
        terminal.wait("the end")
        terminal.press("\x1b")
        terminal.wait("2 of 2")


def test_a_text_that_was_cut_is_read_whole(desk: Desk) -> None:
    desk.server.hold(card("one", text="x" * 100_000 + "the very end"))
    with desk.terminal(size=(200, 50)) as terminal:
        terminal.wait("1 of 1")
        terminal.press("\r")
        terminal.wait("more lines", "Esc back")
        for _ in range(25):
            terminal.press("\x1b[6~")
        terminal.wait("the very end")


def test_approve_for_minutes(desk: Desk) -> None:
    one, two = desk.server.hold(card("one")), desk.server.hold(card("two"))
    with desk.terminal() as terminal:
        terminal.wait("1 of 2")
        terminal.press("A")
        terminal.wait("how many minutes: 10")
        terminal.press("\x15x\r")
        terminal.wait("is no number of minutes")
        terminal.press("A")
        terminal.wait("minutes: 10")
        terminal.press("\r")
        terminal.wait("nothing waits")
    assert one.decisions == two.decisions == [Forward()]
    assert desk.server.do(lambda: len(desk.server.queue.standing())) == 1


def test_edit_with_mistakes_then_a_warning(desk: Desk) -> None:
    client = desk.server.hold(card("one"))
    desk.will_edit("a\nb\nBAD\n", "COSTLY, still BAD", "COSTLY\n")
    with desk.terminal() as terminal:
        terminal.wait("1 of 1")
        terminal.press("n")
        terminal.wait("note: ")
        terminal.press("because ✓\r")
        terminal.wait("note: because ✓")
        terminal.press("e")
        terminal.wait("line 3: this is bad", "so is the whole", "Enter opens the editor again")
        assert desk.seen(1).endswith("\nmodel: claude-test\nsay: one\n")
        terminal.press("\r")
        terminal.wait("line 1: this is bad")
        seen = desk.seen(2)
        assert seen.endswith("\na\nb\nBAD\n")
        terminal.press("\r")
        terminal.wait("the cached prefix is written again (about $0.2500)", "y send")
        assert client.decisions == []
        terminal.press("y")
        terminal.wait("edited by anna (because ✓)", "nothing waits")
    assert client.decisions == [Forward(request=asked("COSTLY\n"))]
    assert desk.drafts() == []


def test_the_editor_opens_at_the_line(desk: Desk) -> None:
    desk.server.hold(card("one"))
    desk.will_edit("a\nBAD\n", "b")
    script = desk.home / "nano"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} {desk.home / "vi"} {desk.edits} "$@"\n')
    script.chmod(0o700)
    with desk.terminal(VISUAL=str(script)) as terminal:
        terminal.wait("1 of 1")
        terminal.press("e")
        terminal.wait("line 2: this is bad")
        terminal.press("\r")
        terminal.wait("nothing waits")
    assert desk.seen(2).startswith("+2 ")


def test_an_edit_that_is_given_up_or_too_late_keeps_the_text(desk: Desk) -> None:
    desk.server.hold(card("one"))
    desk.will_edit("BAD", "fine")
    with desk.terminal(size=(160, 30)) as terminal:
        terminal.wait("1 of 1")
        terminal.press("e")
        terminal.wait("line 1")
        terminal.press("\x1b")
        terminal.wait("the edit was given up; your text is in")
        assert [draft.read_text() for draft in desk.drafts()] == ["BAD"]
        terminal.press("e")
        terminal.wait("edited by anna")
        desk.server.hold(card("two"))
        terminal.wait("1 of 1")
        terminal.press("e")
        terminal.wait("ended with 3, nothing was sent; your text is in")
    assert len(desk.drafts()) == 2


def test_an_edit_that_changes_nothing_sends_nothing(desk: Desk) -> None:
    client = desk.server.hold(card("one"))
    desk.will_edit("THE REST\n")
    with desk.terminal() as terminal:
        terminal.wait("1 of 1")
        terminal.press("e")
        terminal.wait("nothing was changed, so nothing was sent")
    assert client.decisions == []


def test_answer_in_the_editor_with_a_tool_call(desk: Desk) -> None:
    client = desk.server.hold(card("one"))
    desk.will_edit("# It rains.\n\nBring a coat.\nTHE REST\n")
    with desk.terminal(size=(120, 30)) as terminal:
        terminal.wait("1 of 1")
        terminal.press("w")
        terminal.wait("send this answer (26 characters)?")
        assert "What is the weather?" in desk.seen(1)
        terminal.press("t")
        terminal.wait("tool (Tab offers)")
        terminal.press("\t")
        terminal.wait("get_weather")
        terminal.press("\r")
        terminal.wait("arguments, a JSON object")
        terminal.press("\x15\x0b[1]\r")
        terminal.wait("must be a JSON object")
        terminal.press("t")
        terminal.wait("tool (Tab offers)")
        terminal.press("get_weather\r")
        terminal.wait("arguments")
        terminal.press('\x15{"city": "Oslo"}\r')
        terminal.wait("calls get_weather")
        terminal.press("y")
        terminal.wait("answered by anna")
    [answer] = client.decisions
    assert isinstance(answer, Answer)
    text, call = answer.response.choices[0].parts
    assert text == Text(text="# It rains.\n\nBring a coat.")
    assert isinstance(call, ToolCall)
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Oslo"})


def test_answer_typed_or_as_a_call_alone(desk: Desk) -> None:
    one, two = desk.server.hold(card("one")), desk.server.hold(card("two"))
    desk.will_edit("{\n", '{"city": "Rome"}\n')
    with desk.terminal(size=(120, 30)) as terminal:
        terminal.wait("1 of 2")
        terminal.press("W")
        terminal.wait("answer: ")
        terminal.press("Just this.\x7f!\r")
        terminal.wait("answered by anna", "1 of 1")
        terminal.press("t")
        terminal.wait("tool (Tab offers)")
        terminal.press("get_weather\r")
        terminal.wait("arguments")
        terminal.press("\x0f")
        terminal.wait("arguments of get_weather: line 1", "Enter opens the editor again")
        terminal.press("\r")
        terminal.wait("send this answer")
        terminal.press("y")
        terminal.wait("nothing waits")
    assert answered(one) == (Text(text="Just this!"),)
    [call] = answered(two)
    assert json.loads(call.arguments) == {"city": "Rome"}


def answered(client: Any) -> Any:
    [answer] = client.decisions
    return answer.response.choices[0].parts


def test_an_answer_written_live(desk: Desk) -> None:
    client = desk.server.hold(card("one"))
    with desk.terminal(size=(120, 30)) as terminal:
        terminal.wait("1 of 1")
        terminal.press("s")
        terminal.wait("Ctrl-D finish", "line: ")
        terminal.press("First line\r")
        terminal.wait("First line")
        assert client.changed.wait(20)
        assert client.text == "First line\n"
        terminal.press("\x14")
        terminal.wait("as typed")
        terminal.press("abc")
        terminal.wait("abc")
        terminal.press("\x1b[200~pasted q a\x1b[201~")
        terminal.wait("abcpasted q a")
        terminal.press("\x0f")
        terminal.wait("tool (Tab")
        terminal.press("get_weather\r")
        terminal.wait("arguments")
        terminal.press("\r")
        terminal.wait("[calls get_weather {}]")
        terminal.press("\x1b")
        terminal.wait("f finish it here")
        terminal.press("l")
        terminal.wait("not finished", "[writing]")
        terminal.press("s")
        terminal.wait("Ctrl-D finish")
        terminal.press("\x04")
        terminal.wait("answered by anna", "nothing waits")
    assert client.over.wait(20)
    assert client.began == 1
    assert client.text.startswith("First line\nabcpasted q a")
    assert client.reason is not None


def test_a_client_that_leaves_ends_the_live_answer(desk: Desk) -> None:
    desk.server.hold(card("one"))
    with desk.terminal(size=(120, 30)) as terminal:
        terminal.wait("1 of 1")
        terminal.press("s")
        terminal.wait("line: ")
        desk.server.do(lambda: desk.server.queue.cancel("one", "the client has left"))
        terminal.wait("it is over", "nothing waits")


def test_reject_in_each_form(desk: Desk) -> None:
    clients = [desk.server.hold(card(name)) for name in ("one", "two")]
    call = desk.server.hold(card("zzz", kind="tool_call", call=WEATHER, may_approve=False))
    with desk.terminal(size=(120, 30)) as terminal:
        terminal.wait("1 of 3")
        terminal.press("x")
        terminal.wait("e error, r refusal in the model's voice (Esc")
        terminal.press("\x1b")
        terminal.wait("a approve")
        terminal.press("x")
        terminal.wait("e error")
        terminal.press("e")
        terminal.wait("message: ")
        terminal.press("not today\r")
        terminal.wait("rejected by anna", "2 waiting")
        terminal.press("x")
        terminal.wait("e error")
        terminal.press("r")
        terminal.wait("message: ")
        terminal.press("no\r")
        terminal.wait("1 waiting", "asked about: this tool call", '"city": "Paris"')
        looked(terminal)
        terminal.press("a")
        terminal.wait("nobody else would answer")
        terminal.press("x")
        terminal.wait("t the tool's result")
        terminal.press("t")
        terminal.wait("message: ")
        terminal.press("closed\r")
        terminal.wait("nothing waits")
    assert [len(client.decisions) for client in clients] == [1, 1]
    [denied] = call.decisions
    assert isinstance(denied, Denied)
    assert (denied.message, denied.form) == ("closed", "tool_result")


def test_filter_history_stats_and_help(desk: Desk) -> None:
    desk.server.hold(card("one", client="codex"))
    desk.server.hold(card("two", client="aider"))
    with desk.terminal() as terminal:
        terminal.wait("1 of 2")
        terminal.press("/")
        terminal.wait("filter: ")
        terminal.press("client:aid\r")
        terminal.wait("1 of 1", "filter: client:aid", "aider")
        looked(terminal)
        terminal.press("a")
        terminal.wait("nothing that waits has 'client:aid'", "1 waiting")
        terminal.press("/\x15\r")
        terminal.wait("1 of 1", "codex")
        terminal.press("h")
        terminal.wait("approved by anna", "aider")
        terminal.press("a")
        terminal.press("i")
        terminal.wait("operators", "timeouts")
        terminal.press("?")
        terminal.wait("approve, and all of its sort", "leave (what waits goes on waiting)")
        terminal.press("\x1b")
        terminal.wait("1 of 1")
        # Letters on other pages decide nothing.
        assert desk.server.do(lambda: len(desk.server.queue.waiting())) == 1


def test_somebody_else_is_first(desk: Desk) -> None:
    desk.server.hold(card("one"))
    queue = desk.server.queue
    with desk.terminal() as terminal:
        terminal.wait("1 of 1")
        terminal.press("x")
        terminal.wait("e error")
        terminal.press("e")
        terminal.wait("message: ")
        desk.server.do(lambda: queue.decide("one", "approve", Forward(), "bert"))
        terminal.wait("approved by bert")
        terminal.press("no\r")
        terminal.wait("already approved by bert")


def test_what_a_client_writes_is_not_obeyed(desk: Desk) -> None:
    desk.server.hold(card("one", text="\x1b]0;evil\x07\x1b[2Jhidden\u202e", reason="a\x1b[31m"))
    with desk.terminal() as terminal:
        terminal.wait("\\x1b]0;evil\\x07\\x1b[2Jhidden\\u202e")
        assert b"\x1b]0;evil" not in terminal.output


def test_pasted_text_decides_nothing(desk: Desk) -> None:
    client = desk.server.hold(card("one"))
    with desk.terminal() as terminal:
        looked(terminal, "1 of 1")
        terminal.press("\x1b[200~aaaa\x1b[201~?")
        terminal.wait("this list")
    assert client.decisions == []


def test_resize(desk: Desk) -> None:
    desk.server.hold(card("one", text="word " * 200))
    with desk.terminal() as terminal:
        terminal.wait("1 of 1")
        for columns, rows in ((40, 12), (132, 43), (10, 3), (80, 24)):
            terminal.resize(columns, rows)
            terminal.wait("too small" if columns == 10 else "1 waiting")
            lines = terminal.lines()
            assert len(lines) == rows
            assert max(map(len, lines)) <= columns


def test_no_color(desk: Desk) -> None:
    desk.server.hold(card("one"))
    with desk.terminal(NO_COLOR="1") as terminal:
        terminal.wait("1 of 1", "> ")
        assert colours(terminal.output) == set()
    with desk.terminal() as terminal:
        terminal.wait("1 of 1")
        assert colours(terminal.output)


def colours(output: bytes) -> set[str]:
    codes = output.decode("utf-8", "replace").split("\x1b[")
    styles = [code.partition("m")[0] for code in codes if "m" in code[:20]]
    numbers = {number for style in styles for number in style.split(";") if number.isdigit()}
    return {number for number in numbers if 30 <= int(number) <= 48 or 90 <= int(number) <= 107}


def test_the_connection_comes_back(desk: Desk) -> None:
    desk.server.hold(card("one"))
    with desk.terminal(size=(140, 24)) as terminal:
        terminal.wait("1 of 1")
        desk.server.stop_listening()
        terminal.wait("NOT CONNECTED", "trying again")
        looked(terminal)
        terminal.press("a")
        terminal.wait("NOT CONNECTED")
        desk.server.listen_again()
        terminal.wait("1 of 1", gone="NOT CONNECTED")


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_a_signal_leaves_the_terminal_as_it_was(desk: Desk, number: int, code: int) -> None:
    with desk.terminal() as terminal:
        terminal.wait("nothing waits")
        terminal.process.send_signal(number)
        assert terminal.ended() == code
        assert terminal.restored()


def test_ctrl_c_and_ctrl_z(desk: Desk) -> None:
    with desk.terminal() as terminal:
        terminal.wait("nothing waits")
        terminal.process.send_signal(signal.SIGTSTP)
        pid, status = os.waitpid(terminal.process.pid, os.WUNTRACED)
        assert (pid, os.WIFSTOPPED(status)) == (terminal.process.pid, True)
        terminal.read()
        assert terminal.restored()
        terminal.output = b""
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait("nothing waits")
        terminal.press("\x03")
        assert terminal.ended() == 130
        assert terminal.restored()


def test_a_crash_leaves_the_terminal_as_it_was(desk: Desk) -> None:
    crash = (
        "import sys; from llmitm.desk.review_board import Board\n"
        "def burst(self, kind, data):\n    raise RuntimeError('a bug')\n"
        "from llmitm.mitm import console; import threading\n"
        "whole = Board.apply\n"
        "def apply(self, kind, data):\n"
        "    return burst(self, kind, data) if kind == 'new_request' else whole(self, kind, data)\n"
        "Board.apply = apply\n"
        "sys.exit(console.main(['review']))\n"
    )
    with Terminal([sys.executable, "-c", crash], desk.environment()) as terminal:
        terminal.wait("nothing waits")
        desk.server.hold(card("one"))
        assert terminal.ended() == 1
        assert terminal.restored()
        assert "RuntimeError: a bug" in plain(terminal.output.decode())


def test_a_login_with_a_password(desk: Desk) -> None:
    (desk.home / "review.json").unlink()
    with desk.terminal("--url", desk.server.url, "--user", "anna") as terminal:
        terminal.wait("password of anna")
        terminal.press("wrong\r")
        terminal.wait("knows no 'anna'")
        assert terminal.ended() == 1
    with desk.terminal("--url", desk.server.url, "--user", "anna") as terminal:
        terminal.wait("password of anna")
        terminal.press(f"{PASSWORD}\r")
        terminal.wait("nothing waits")
        assert PASSWORD.encode() not in terminal.output
        terminal.press("q")
        assert terminal.ended() == 0


def test_a_dumb_terminal_gets_the_list(desk: Desk) -> None:
    desk.server.hold(card("one"))
    script = f"TERM=dumb exec {' '.join(REVIEW)}"
    with Terminal(["sh", "-c", script], desk.environment()) as terminal:
        assert terminal.ended() == 0
        assert b"one  " in terminal.output
        assert b"no full screen" in terminal.output
