"""`llmitm run` with real processes: exit codes, signals, a trusted exchange, nothing left."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

ADDONS = Path(__file__).resolve().parents[2] / "addons"
RUN = [sys.executable, "-m", "llmitm.mitm.console", "run"]
# Only the part that starts and follows the command: no proxy, one second less.
BARE = [
    sys.executable,
    "-c",
    "import os, sys; from llmitm.mitm.run import run_command;"
    "sys.exit(run_command(sys.argv[1:], os.environ))",
]
# Says `ready`, then one line per signal; ends with 42 at the end of its input, saying how many.
LISTENER = """
import os, signal, sys
seen = []
def hear(number, frame):
    seen.append(number)
    os.write(1, signal.Signals(number).name.encode() + b"\\n")
for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1"):
    signal.signal(getattr(signal, name), hear)
os.write(1, b"ready\\n")
for line in sys.stdin:
    if line.startswith("end"):
        break
print("heard", len(seen), flush=True)
sys.exit(42)
"""
LISTEN = [sys.executable, "-c", LISTENER]
TERMINAL = "import pty, os, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


def environment(home: Path, **more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ADDONS), "LLMITM_HOME": str(home), **more}


def finished(
    command: list[str], home: Path, *, stdin: str = "", **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment(home, **more),
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_who_may_decide_is_told_where(tmp_path: Path) -> None:
    listen = ["--quiet", "--set", "llm_review_listen=127.0.0.1:0"]
    done = finished([*RUN, *listen, "--", "true"], tmp_path)
    said = done.stderr.splitlines()
    assert (done.returncode, said[0]) == (0, "llmitm run: what is held waits for an operator")
    assert re.fullmatch(r"  in a terminal: llmitm review --url http://127\.0\.0\.1:\d+", said[1])
    page = r"  in a browser:  http://127\.0\.0\.1:\d+/llm/\?token=\S+"
    assert re.fullmatch(page, said[2])
    assert len(said) == 3


def test_that_nobody_may_decide_is_told(tmp_path: Path) -> None:
    (tmp_path / "laid-over").mkdir()
    (tmp_path / "laid-over" / "review.yaml").write_text("rules: [{name: all, hold: request}]\n")
    rules = ["--quiet", "--rules", str(tmp_path / "laid-over")]
    done = finished([*RUN, *rules, "--", "true"], tmp_path / "home")
    [line] = done.stderr.splitlines()
    assert done.returncode == 0
    assert line.startswith("llmitm run: nobody can decide about what review rules hold (all)")


@contextlib.contextmanager
def started(command: list[str], home: Path) -> Iterator[subprocess.Popen[str]]:
    """The running command, after its first line `ready`."""
    process = subprocess.Popen(
        command,
        env=environment(home),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        bufsize=1,
        start_new_session=True,
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready"
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdin is not None
    process.stdin.write(text)
    process.stdin.flush()


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["sh", "-c", "exit 0"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["sh", "-c", "kill -KILL $$"], 128 + 9),
        (["sh", "-c", "kill -TERM $$"], 128 + 15),
        (["llmitm-no-such-command"], 127),
        (["/etc/passwd"], 126),
        (["/"], 126),
    ],
)
def test_exit_codes(tmp_path: Path, command: list[str], code: int) -> None:
    assert finished([*BARE, *command], tmp_path).returncode == code


def test_the_standard_streams_are_the_commands_own(tmp_path: Path) -> None:
    told = finished([*BARE, "sh", "-c", "cat; echo err >&2"], tmp_path, stdin="in\n")
    assert (told.stdout, told.stderr) == ("in\n", "err\n")


def test_the_command_starts_with_usual_signals(tmp_path: Path) -> None:
    show = (
        "import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK, []),"
        "signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    )
    # Python itself ignores SIGPIPE, so the shell has to tell.
    piped = "trap - PIPE; kill -PIPE $$"
    assert finished([*BARE, sys.executable, "-c", show], tmp_path).stdout == "set() True\n"
    assert finished([*BARE, "sh", "-c", piped], tmp_path).returncode == 128 + signal.SIGPIPE


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1"])
def test_signals_are_passed_on(tmp_path: Path, name: str) -> None:
    with started([*BARE, *LISTEN], tmp_path) as process:
        process.send_signal(getattr(signal, name))
        assert said(process) == name
        tell(process, "end\n")
        assert said(process) == "heard 1"
        assert process.wait(10) == 42


def test_the_terminals_ctrl_c_reaches_the_command_once(tmp_path: Path) -> None:
    with started([sys.executable, "-c", TERMINAL, *BARE, *LISTEN], tmp_path) as process:
        tell(process, "\x03")
        assert said(process).endswith("SIGINT")
        tell(process, "end\n")
        lines = iter(lambda: said(process), "")
        assert next(line for line in lines if line.startswith("heard")) == "heard 1"
        assert process.wait(10) == 42


@pytest.mark.parametrize(
    ("arguments", "code", "say"),
    [
        (["--", "llmitm-no-such-command"], 127, "llmitm-no-such-command: command not found"),
        ([], 2, "which command?"),
        (["--set", "listen_port=abc", "--", "true"], 125, "the proxy did not start"),
        (["--rules", "no/such/folder", "--", "true"], 125, "no/such/folder"),
        (["--set", "server=false", "--", "true"], 125, "the proxy did not start"),
    ],
)
def test_what_cannot_be_started_is_said(
    tmp_path: Path, arguments: list[str], code: int, say: str
) -> None:
    told = finished([*RUN, *arguments], tmp_path)
    assert say in told.stderr
    assert "Traceback" not in told.stderr
    assert told.returncode == code
    assert told.stdout == ""


ASK = """
import http.client, json, os, ssl, sys, urllib.parse
proxy = urllib.parse.urlsplit(os.environ["HTTPS_PROXY"])
trust = ssl.create_default_context(cafile=os.environ["SSL_CERT_FILE"])
to = http.client.HTTPSConnection(proxy.hostname, proxy.port, context=trust, timeout=30)
to.set_tunnel("api.openai.com")
body = {"model": "gpt-run", "messages": [{"role": "user", "content": "hello"}]}
to.request("POST", "/v1/chat/completions", json.dumps(body),
           {"content-type": "application/json", "authorization": "Bearer none"})
answer = to.getresponse()
print(answer.status, json.load(answer)["object"])
sys.exit(5)
"""


def test_a_command_trusts_and_uses_the_proxy_and_is_summed_up(tmp_path: Path) -> None:
    summary = tmp_path / "summary.json"
    with SimThread(tmp_path) as sim:
        told = finished(
            [*RUN, "--json-summary", str(summary)]
            + ["--set", f"ssl_verify_upstream_trusted_ca={sim.ca}"]
            + ["--", sys.executable, "-c", ASK],
            tmp_path / "home",
            OPENAI_API_BASE_URL=f"{sim.url}/v1",
        )
    assert told.stdout == "200 chat.completion\n", told.stderr
    assert told.returncode == 5
    totals = json.loads(summary.read_text())
    assert (totals["exchanges"], totals["errors"]) == (1, 0)
    assert list(totals["models"]) == ["gpt-run"]
    assert totals["models"]["gpt-run"]["output_tokens"] > 0
    assert "1 exchange, 0 errors" in told.stderr
    assert "gpt-run" in told.stderr
    assert os.listdir(tmp_path / "home" / "runs") == []
    modes = [path.stat().st_mode & 0o077 for path in (tmp_path / "home").rglob("*")]
    assert set(modes) == {0}


def test_nothing_intercepted_is_said_with_what_to_check(tmp_path: Path) -> None:
    told = finished([*RUN, "--", "true"], tmp_path)
    assert told.returncode == 0
    assert "nothing was intercepted" in told.stderr
    quiet = finished([*RUN, "--quiet", "--", "true"], tmp_path)
    assert (quiet.returncode, quiet.stderr) == (0, "")


LINGER = f"import os; print(os.environ['HTTPS_PROXY'], flush=True)\n{LISTENER}"


@pytest.mark.parametrize(("end", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 42)])
def test_the_proxy_is_gone_however_we_end(tmp_path: Path, end: signal.Signals, code: int) -> None:
    command = [*RUN, "--quiet", "--", sys.executable, "-c", f"print('ready', flush=True)\n{LINGER}"]
    with started(command, tmp_path) as process:
        port = int(said(process).rpartition(":")[2])
        assert said(process) == "ready"
        with socket.create_connection(("127.0.0.1", port), 30) as connection:
            process.send_signal(end)
            if end is signal.SIGTERM:
                assert said(process) == "SIGTERM"
            tell(process, "end\n")
            assert process.wait(20) == code
            assert connection.recv(1) == b""
        with pytest.raises(ConnectionRefusedError):
            connect_until_refused(port)


def connect_until_refused(port: int) -> None:
    """Each connection that is still accepted is waited for until the proxy lets go of it."""
    while True:
        with (
            socket.create_connection(("127.0.0.1", port), 30) as connection,
            contextlib.suppress(ConnectionResetError),
        ):
            assert connection.recv(1) == b""
