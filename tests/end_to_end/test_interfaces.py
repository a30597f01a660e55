"""The same addons in stock mitmdump, in mitmweb, and what stops a start."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxied import trusting

from llmitm.mitm.processes import without_llm_variables
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

ROOT = Path(__file__).resolve().parents[2]
CHAT = "https://api.openai.com/v1/chat/completions"
ASK: dict[str, Any] = {"model": "sim-text", "messages": [{"role": "user", "content": "hi there"}]}
DEADLINE_S = 40


@contextmanager
def started(
    command: list[str],
    sim: SimThread,
    home: Path,
    awaited: str,
    variables: dict[str, str] | None = None,
) -> Generator[re.Match[str]]:
    """A process that has printed `awaited` (a pattern); ended afterwards by its own pid."""
    environ = {
        **without_llm_variables(os.environ),
        "LLMITM_HOME": str(home),
        "PYTHONPATH": str(ROOT / "addons"),
        "PYTHONUNBUFFERED": "1",
        "OPENAI_API_BASE_URL": f"https://127.0.0.1:{sim.port}/v1",
        "ANTHROPIC_API_BASE_URL": f"https://127.0.0.1:{sim.port}/v1",
        "ANTHROPIC_API_KEY": "proxy-key",
        **(variables or {}),
    }
    log = home / "process.log"
    home.mkdir(exist_ok=True)
    with (
        log.open("wb") as out,
        subprocess.Popen(
            command, env=environ, cwd=home, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        ) as process,
    ):
        try:
            yield _await(process, log, awaited)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


def _await(process: subprocess.Popen[bytes], log: Path, awaited: str) -> re.Match[str]:
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        found = re.search(awaited, log.read_text(errors="replace"))
        if found:
            return found
        assert process.poll() is None, log.read_text(errors="replace")
        time.sleep(0.02)
    raise AssertionError(f"nothing like {awaited!r} in: {log.read_text(errors='replace')}")


def options(home: Path, sim: SimThread) -> list[str]:
    pairs = {
        "listen_port": "0",
        "confdir": str(home / "conf"),
        "ssl_verify_upstream_trusted_ca": str(sim.ca),
        "llm_journal": str(home / "journal.jsonl"),
    }
    return [word for name, value in pairs.items() for word in ("--set", f"{name}={value}")]


STOCK = [sys.executable, "-c", "from mitmproxy.tools.main import mitmdump; mitmdump()"]
LISTENING = r"proxy listening at 127\.0\.0\.1:(?P<port>\d+)\."


@pytest.mark.parametrize("script", ["intercept", "observe"])
def test_the_scripts_work_in_stock_mitmdump_from_a_bare_checkout(
    sim, tmp_path: Path, script: str
) -> None:
    home = tmp_path / "home"
    command = [*STOCK, "-s", str(ROOT / "addons" / f"{script}.py"), *options(home, sim)]
    with started(command, sim, home, LISTENING) as said:
        ca = home / "conf" / "mitmproxy-ca-cert.pem"
        proxy = f"http://127.0.0.1:{said['port']}"
        with httpx.Client(proxy=proxy, verify=trusting(ca), timeout=20) as client:
            answer = client.post(CHAT, json={**ASK, "model": "anthropic:sim-text"})
        text = answer.text
    rows = [json.loads(line) for line in (home / "journal.jsonl").read_text().splitlines()]
    assert rows[0]["lane"] == ("translate" if script == "intercept" else "verbatim")
    assert ("anthropic_messages" in text) is (script == "intercept")


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        (["--set", "stream_large_bodies=1m"], "stream_large_bodies"),
        (["--set", "llm_rules=RULES"], r"routes\.yaml:2 .*retries"),
        (["--set", "llm_journal=/proc/none/x"], "llm_journal"),
    ],
)
def test_what_would_defeat_a_policy_stops_the_start(
    sim, tmp_path: Path, extra: list[str], said: str
) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text("limits:\n  retries: 3\n")
    extra = [word.replace("RULES", str(rules)) for word in extra]
    home = tmp_path / "home"
    home.mkdir()
    command = [
        *(sys.executable, "-m", "llmitm.mitm.console", "dump"),
        *options(home, sim),
        *extra,
    ]
    environ = {**os.environ, "LLMITM_HOME": str(home), "PYTHONPATH": str(ROOT / "addons")}
    ended = subprocess.run(
        command, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )
    assert ended.returncode != 0
    assert re.search(said, ended.stdout + ended.stderr)


def test_mitmweb_shows_every_exchange_as_a_chat(sim, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [
        *(sys.executable, "-m", "llmitm.mitm.console", "web"),
        *options(home, sim),
        *("--set", f"web_port={free_port()}", "--set", "web_password=secret"),
        "--no-web-open-browser",
    ]
    with started(command, sim, home, LISTENING) as said:
        web = await_web(home / "process.log")
        ca = home / "conf" / "mitmproxy-ca-cert.pem"
        proxy = f"http://127.0.0.1:{said['port']}"
        with httpx.Client(proxy=proxy, verify=trusting(ca), timeout=20) as client:
            whole = client.post(CHAT, json=ASK)
            assert whole.status_code == 200
            body = {**ASK, "model": "anthropic:sim-reasoning", "stream": True}
            assert client.post(CHAT, json=body).status_code == 200
        headers = {"authorization": "Bearer secret"}
        with httpx.Client(base_url=web, headers=headers, timeout=20) as client:
            flows = client.get("/flows").json()
            assert len(flows) == 2
            chats = [_chat(client, flow["id"], "request") for flow in flows]
            answers = [_chat(client, flow["id"], "response") for flow in flows]
            comments = [flow["comment"] for flow in flows]
            # The key that was put in is on the wire, and in no page.
            assert "proxy-key" not in json.dumps(flows)
            assert "put in by llmitm" in json.dumps(flows[1]["request"]["headers"])
            assert sim.log.all()[-1].header("x-api-key") == "proxy-key"
    assert "user\nhi there" in chats[0]
    assert "assistant\nThis is a scripted answer over openai_chat" in chats[0]
    assert "the client asked anthropic:sim-reasoning in openai_chat" in chats[1]
    assert "This is a scripted answer over anthropic_messages" in chats[1]
    assert "┊ " in answers[1]
    assert "usage:" in answers[0]
    assert "openai_chat sim-text = openai:sim-text" in comments[0]
    assert "→ anthropic:sim-reasoning" in comments[1]


def free_port() -> int:
    """A port that was free just now."""
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


def await_web(log: Path) -> str:
    """Where mitmweb listens, as its log says."""
    until = time.monotonic() + DEADLINE_S
    while time.monotonic() < until:
        found = re.search(r"Web server listening at (http://[^/\s]+)", log.read_text())
        if found:
            return found[1]
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def _chat(client: httpx.Client, flow: str, side: str) -> str:
    answer = client.get(f"/flows/{flow}/{side}/content/LLM%20transcript.json")
    assert answer.status_code == 200, answer.text
    shown = answer.json()
    assert shown["view_name"] == "LLM transcript"
    return shown["text"]
