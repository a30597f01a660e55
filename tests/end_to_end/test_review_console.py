"""mitmproxy's console in a pseudo-terminal: what is held is seen there and decided, by key."""

from __future__ import annotations

import json
import os
import socket
import sys
import termios
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
import pytest
from proxied import Proxied
from sdks import Said, ask
from terminal import DEADLINE_S, Terminal, plain
from test_interfaces import ROOT, free_port

from llmitm.mitm.processes import Child, without_llm_variables
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

CHAT = "https://api.openai.com/v1/chat/completions"
REVIEW = "rejoin_s: 0\ntimeout_s: 40\nrules:\n  - {name: all, hold: request}\n"
ROUTES = "times: {heartbeat_grace_s: 0, keepalive_interval_s: 0.05}\n"
# Says what it was given, waits for what it is to make of it.
EDITOR = """
import pathlib, sys, time
folder, file = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[-1])
number = len(list(folder.glob("seen-*"))) + 1
draft = folder / "draft"
draft.write_text(file.read_text())
draft.rename(folder / f"seen-{number}")
wanted = folder / f"edit-{number}"
until = time.monotonic() + 30
while not wanted.exists() and time.monotonic() < until:
    time.sleep(0.01)
old, _, new = wanted.read_text().partition(" -> ")
file.write_text(file.read_text().replace(old, new))
"""


class Console:
    """The console, its proxy, and who asks through it."""

    def __init__(self, terminal: Terminal, home: Path, port: int) -> None:
        self.terminal = terminal
        self.home = home
        child = Child(0, port, home / "conf" / "mitmproxy-ca-cert.pem")
        self.proxied = Proxied(child, home / "journal.jsonl")
        self._from = 0
        self._threads = ThreadPoolExecutor(4)

    def ask(self, model: str, *, stream: bool = True) -> Future[Said]:
        return self._threads.submit(ask, self.proxied, "openai_chat", model, stream=stream)

    def press(self, keys: str) -> None:
        """Types; `shows` then tells what has been drawn since."""
        self.terminal.read(0)
        self._from = len(self.terminal.output)
        self.terminal.press(keys)

    def enter(self, command: str) -> None:
        """Types a command at the prompt."""
        self.press(":")
        # Only what differs from the screen before is drawn: the blank behind it may not be.
        self.shows(":")
        self.press(command + "\r")

    def shows(self, *texts: str) -> str:
        """Waits until lines with these texts have been drawn; all that has been."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            drawn = plain(self.terminal.output[self._from :].decode("utf-8", "replace"))
            if all(text in drawn for text in texts):
                return drawn
            assert self.terminal.process.poll() is None, drawn
            self.terminal.read()
        raise AssertionError(f"{texts} not drawn:\n{drawn}")

    def wait(self, file: str) -> str:
        """The text of a file in the editor's folder, once it is there."""
        path, until = self.home / "edits" / file, time.monotonic() + DEADLINE_S
        while not path.exists():
            assert time.monotonic() < until, self.shows()
            self.terminal.read(0.01)
        return path.read_text()

    def type(self, number: int, text: str) -> None:
        """The editor makes that of its text: `old -> new`."""
        draft = self.home / "edits" / "next"
        draft.write_text(text)
        draft.rename(self.home / "edits" / f"edit-{number}")

    def held(self) -> None:
        """Waits until the list shows a flow that is held."""
        self.shows("✋", "api.openai.com")

    def decisions(self) -> list[dict[str, Any]]:
        lines = (self.home / "decisions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def console(folder: Path, sim: SimThread, keys: str = "") -> Generator[Console]:
    """The console with rules that hold every request. keys: the user's `keys.yaml`."""
    home, rules, edits = folder / "home", folder / "rules", folder / "home" / "edits"
    conf = home / "conf"
    for each in (rules, edits, conf):
        each.mkdir(parents=True)
    (rules / "review.yaml").write_text(REVIEW)
    (rules / "routes.yaml").write_text(ROUTES)
    (home / "editor.py").write_text(EDITOR)
    if keys:
        (conf / "keys.yaml").write_text(keys)
    port = free_port()
    pairs = {
        "listen_host": "127.0.0.1",
        "listen_port": port,
        "confdir": conf,
        "ssl_verify_upstream_trusted_ca": sim.ca,
        "llm_rules": rules,
    }
    words = [word for name, value in pairs.items() for word in ("--set", f"{name}={value}")]
    environ = {
        **without_llm_variables(os.environ),
        "LLMITM_HOME": str(home),
        "PYTHONPATH": str(ROOT / "addons"),
        "LANG": "C.UTF-8",
        "OPENAI_API_BASE_URL": f"https://127.0.0.1:{sim.port}/v1",
        "EDITOR": f"{sys.executable} {home / 'editor.py'} {edits}",
    }
    command = [sys.executable, "-m", "llmitm.mitm.console", "console", *words]
    with Terminal(command, environ, (140, 60)) as terminal:
        one = Console(terminal, home, port)
        one.shows("Flows")
        _await_port(one, port)
        yield one
        one.press("Q")
        assert terminal.ended() == 0
        # Its mode, and the screen before.
        assert termios.tcgetattr(terminal.master) == terminal.before
        assert terminal.output.rfind(b"\x1b[?1049l") > terminal.output.rfind(b"\x1b[?1049h")


def _await_port(one: Console, port: int) -> None:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        one.terminal.read(0.02)
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            continue
        return
    raise AssertionError(one.shows())


@pytest.fixture
def place(sim: SimThread, tmp_path: Path) -> Iterator[Console]:
    with console(tmp_path, sim) as one:
        yield one


def test_approved_by_key(place: Console) -> None:
    said = place.ask("sim-text")
    place.held()
    place.press("t")
    place.shows("request", "openai:sim-text", "a request")
    place.press("q")
    place.press("y")
    place.shows("1 approved.")
    assert "openai_chat" in said.result(30).text
    place.press("y")
    place.shows("nothing of these flows is held")


def test_rejected_and_answered_by_key(place: Console) -> None:
    said = place.ask("sim-text", stream=False)
    place.held()
    place.press("N")
    place.shows("Reject, saying:")
    place.press("Not on a Saturday.\r")
    with pytest.raises(openai.PermissionDeniedError, match=r"Not on a Saturday\."):
        said.result(30)
    place.shows("1 rejected.")
    said = place.ask("sim-text")
    place.held()
    # The list's focus stays; G goes to the newest.
    place.press("G")
    place.press("s")
    place.shows("Answer:")
    place.press("I am Ann, no model.\r")
    assert said.result(30).text == "I am Ann, no model."


def test_commands_are_completed(place: Console) -> None:
    said = place.ask("sim-text")
    place.held()
    place.press(":")
    place.press("llm.ap")
    place.shows("llm.ap")
    place.press("\t")
    place.shows("llm.approve")
    place.press(" @fo\t")
    place.shows("@focus")
    place.press("\r")
    place.shows("1 approved.")
    assert said.result(30).text


def test_clients_hear_heartbeats_while_the_editor_is_open(place: Console, sim: SimThread) -> None:
    with place.proxied.client() as client:
        body = {"model": "sim-echo", "messages": [{"role": "user", "content": "Hello there."}]}
        with client.stream("POST", CHAT, json={**body, "stream": True}) as stream:
            chunks = stream.iter_raw()
            next(chunks)
            place.held()
            place.press("c")
            assert "Hello there." in place.wait("seen-1")
            while_open = [next(chunks) for _ in range(5)]
            place.type(1, "Hello there. -> Good night.")
            rest = b"".join(chunks)
    assert all(chunk.startswith(b":") for chunk in while_open)
    assert b"Good" in rest
    assert b"night." in rest
    place.shows("Edited.")
    assert b"Good night." in sim.log.all()[-1].body
    assert place.decisions()[-1]["action"] == "edit"


def test_mistakes_open_the_editor_again_and_nothing_is_lost(place: Console) -> None:
    said = place.ask("sim-echo")
    place.held()
    place.press("c")
    place.wait("seen-1")
    place.type(1, "role: user -> role: emperor")
    again = place.wait("seen-2")
    assert "  role: emperor" in again
    line = again.splitlines().index("  role: emperor") + 1
    assert f"#! line {line}: `role` must be" in again
    place.type(2, "emperor -> emperor")
    place.shows("the mistakes are still there", "your text is in")
    (kept,) = (place.home / "review-drafts").glob("*")
    assert "emperor" in kept.read_text()
    place.press("y")
    assert said.result(30).text == "Hello there."


def test_mitmproxys_own_editor_edits_the_document(place: Console, sim: SimThread) -> None:
    said = place.ask("sim-echo")
    place.held()
    place.enter("console.edit.focus 'request-body (LLM chat)'")
    assert "# llmitm request" in place.wait("seen-1")
    place.type(1, "Hello there. -> Edited by e.")
    place.shows("Flows")
    place.press("a")
    assert said.result(30).text == "Edited by e."
    assert b"Edited by e." in sim.log.all()[-1].body


def test_a_users_own_keys_stay_theirs_and_ours_are_in_the_help(
    sim: SimThread, tmp_path: Path
) -> None:
    mine = "- {key: y, ctx: [flowlist], cmd: view.flows.remove @all, help: Mine}\n"
    with console(tmp_path, sim, mine) as one:
        one.press("?")
        shown = one.shows("Reject what is held", "Answer in place of the model", "Mine")
        assert "Approve what is held" not in shown
        one.press("q")
        said = one.ask("sim-text")
        one.held()
        one.press("y")
        with pytest.raises(openai.APIError):
            said.result(30)
        assert one.decisions()[-1]["what"] == "cancelled"


def test_a_console_that_ends_gets_its_terminal_back_from_the_editor(
    sim: SimThread, tmp_path: Path
) -> None:
    with console(tmp_path, sim) as one:
        said = one.ask("sim-text", stream=False)
        one.held()
        one.press("c")
        one.wait("seen-1")
        one.terminal.process.terminate()
        with pytest.raises(openai.APIError):
            said.result(30)
        one.type(1, "a -> a")
        assert one.terminal.ended() == 0
