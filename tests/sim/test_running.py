"""Certificates, the log, and the sim as a thread, a task and a process."""

from __future__ import annotations

import asyncio
import datetime
import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509

from llmitm.sim import clients
from llmitm.sim.certificates import identity
from llmitm.sim.command import serve
from llmitm.sim.received import Log
from llmitm.sim.scenarios import NATURAL, Scenario
from llmitm.sim.server import Sim
from llmitm.sim.threads import SimThread
from sim.asking import events, question

NOW = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
ADDONS = str(Path(clients.__file__).parents[3])


def test_keys_are_private_and_the_authority_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "sim"
    first = identity(folder, ["api.openai.com"], NOW)
    assert folder.stat().st_mode & 0o777 == 0o700
    for name in ("ca-key.pem", "server-key.pem"):
        assert (folder / name).stat().st_mode & 0o777 == 0o600
    ca, leaf = first.ca.read_bytes(), first.certificate.read_bytes()
    second = identity(folder, ["*.example.test", "10.1.2.3"], NOW)
    assert second.ca.read_bytes() == ca
    assert second.certificate.read_bytes() != leaf
    names = x509.load_pem_x509_certificate(second.certificate.read_bytes()).extensions
    told = names.get_extension_for_class(x509.SubjectAlternativeName).value
    assert told.get_values_for_type(x509.DNSName) == ["localhost", "*.example.test"]
    addresses = [str(a) for a in told.get_values_for_type(x509.IPAddress)]
    assert addresses == ["127.0.0.1", "::1", "10.1.2.3"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "ca-key.pem",
        "ca.pem",
        "server-key.pem",
        "server.pem",
    ]


@pytest.mark.parametrize("damage", ["no key", "rubbish", "other key", "old"])
def test_an_authority_that_cannot_be_used_is_made_anew(tmp_path: Path, damage: str) -> None:
    before = identity(tmp_path, [], NOW).ca.read_bytes()
    now = NOW
    match damage:
        case "no key":
            (tmp_path / "ca-key.pem").unlink()
        case "rubbish":
            (tmp_path / "ca.pem").write_text("rubbish")
        case "other key":
            other = tmp_path / "other"
            identity(other, [], NOW)
            (tmp_path / "ca-key.pem").write_bytes((other / "ca-key.pem").read_bytes())
        case _:
            now = NOW + datetime.timedelta(days=3650)
    made = identity(tmp_path, [], now)
    assert made.ca.read_bytes() != before
    assert made.context()


async def shake(sim: SimThread, host: str) -> str | None:
    """The TLS version agreed with the sim under the name of `host`."""
    context = ssl.create_default_context(cafile=str(sim.ca))
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    _, writer = await asyncio.open_connection(
        "127.0.0.1", sim.port, ssl=context, server_hostname=host
    )
    chosen = writer.get_extra_info("ssl_object").version()
    writer.close()
    return chosen


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "api.openai.com", "a.example.test"])
def test_a_strict_client_trusts_the_named_hosts(sim: SimThread, host: str) -> None:
    assert asyncio.run(shake(sim, host)) == "TLSv1.3"


def test_others_are_not_trusted(sim: SimThread) -> None:
    empty = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(sim.url, verify=empty, trust_env=False)
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        asyncio.run(shake(sim, "api.anthropic.com"))


def test_the_log_is_bounded() -> None:
    log = Log(max_entries=3, max_body_bytes=10)
    for number in range(5):
        log.add(0.0, "POST", f"/{number}", [], b"ab")
    assert [entry.index for entry in log.all()] == [2, 3, 4]
    log.add(0.0, "POST", "/5", [], b"12345678")
    assert [entry.index for entry in log.all()] == [4, 5]
    log.add(0.0, "POST", "/6", [], b"far too large for it")
    assert [entry.index for entry in log.all()] == [6]
    assert log.count == 7
    log.clear()
    assert (log.all(), log.count) == ((), 7)


def test_waiting_for_the_log() -> None:
    log = Log()
    with pytest.raises(TimeoutError):
        log.wait(lambda entries: len(entries) > 0, timeout_s=0.01)
    entry = log.add(0.0, "GET", "/", [("X-A", "1")], b"")
    waiter = threading.Thread(target=lambda: log.close(entry, 1.5))
    waiter.start()
    (seen,) = log.wait(lambda entries: entries[-1].done)
    waiter.join()
    assert (seen.done_s, seen.header("x-a"), seen.header("x-b")) == (1.5, "1", None)


def test_in_a_running_loop(tmp_path: Path) -> None:
    async def run() -> tuple[int, bool]:
        sim = Sim(tmp_path, default=Scenario(name="mine", text="of my own"))
        with pytest.raises(RuntimeError):
            _ = sim.ca
        await sim.start()
        context = ssl.create_default_context(cafile=str(sim.ca))
        path, body = question("openai_chat", "gpt-4.1")
        slow_path, slow = question("openai_chat", "sim-stall", stream=True)
        async with httpx.AsyncClient(base_url=sim.url, verify=context, trust_env=False) as client:
            got = await client.post(path, json=body)
            assert got.json()["choices"][0]["message"]["content"] == "of my own"
            waiting = asyncio.create_task(client.post(slow_path, json=slow))
            await asyncio.to_thread(sim.log.wait, lambda entries: len(entries) == 2)
            await sim.stop()
            with pytest.raises(httpx.RemoteProtocolError):
                await waiting
        await sim.stop()
        return sim.log.count, sim.log.all()[-1].status == 0

    assert asyncio.run(run()) == (2, True)


def test_the_default_can_be_changed_while_it_runs(http: httpx.Client, sim: SimThread) -> None:
    path, body = question("openai_chat", "gpt-4.1")
    texts = list[str]()
    for text in ("one", "two"):
        sim.sim.default = Scenario(name="same-name", text=text)
        texts.append(http.post(path, json=body).json()["choices"][0]["message"]["content"])
    sim.sim.default = NATURAL
    assert texts == ["one", "two"]


def test_a_port_that_is_taken_is_said(sim: SimThread, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="in use"), SimThread(tmp_path, port=sim.port):
        pass
    assert serve(["--port", str(sim.port), "--dir", str(tmp_path)]) == 1


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert serve(["--list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[0] == NATURAL.name
    assert any(line.startswith("sim-429-then-ok ") for line in lines)


@pytest.mark.parametrize("argv", [["--scenario", "nope"], ["--port", "70000"], ["--odd"]])
def test_wrong_arguments(argv: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        serve(argv)
    assert left.value.code == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_as_a_process(tmp_path: Path, number: signal.Signals) -> None:
    env = {**os.environ, "PYTHONPATH": ADDONS, "LLMITM_HOME": str(tmp_path)}
    argv = ["--hosts", "api.openai.com, b.test", "--scenario", "sim-echo"]
    argv += ["--port-file", str(tmp_path / "port")]
    with subprocess.Popen(
        [sys.executable, "-m", "llmitm.sim.command", *argv],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        ready = json.loads(process.stdout.readline())
        assert ready["ca"] == str(tmp_path / "sim" / "ca.pem")
        assert int((tmp_path / "port").read_text()) == ready["port"]
        context = ssl.create_default_context(cafile=ready["ca"])
        path, body = question("openai_chat", "gpt-4.1", "back to me")
        stalled, slow = question("openai_chat", "sim-hang", stream=True)
        with httpx.Client(base_url=ready["url"], verify=context, trust_env=False) as client:
            got = client.post(path, json=body)
            assert got.json()["choices"][0]["message"]["content"] == "back to me"
            with client.stream("POST", stalled, json=slow) as open_stream:
                assert open_stream.status_code == 200
                process.send_signal(number)
                assert process.wait(10) == 0
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""


PROGRAMS = {
    "openai_chat": ("OPENAI_API_KEY", "/v1"),
    "openai_responses": ("OPENAI_API_KEY", "/v1"),
    "anthropic_messages": ("ANTHROPIC_API_KEY", ""),
    "gemini_generate": ("GEMINI_API_KEY", ""),
}


def run_program(sim: SimThread, name: str, *argv: str) -> tuple[int, dict[str, Any]]:
    key, path = PROGRAMS[name]
    env = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and "API_KEY" not in k}
    env |= {key: "k", "SSL_CERT_FILE": str(sim.ca)}
    file = Path(clients.__file__).parent / f"{name}.py"
    done = subprocess.run(
        [sys.executable, str(file), "--base-url", sim.url + path, *argv],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    (line,) = done.stdout.splitlines()
    return done.returncode, json.loads(line)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_client_programs(sim: SimThread, name: str, stream: bool) -> None:
    argv = ["--model", "m", "--prompt", "What is the weather?", "--tools"]
    code, told = run_program(sim, name, *argv, *(["--stream"] if stream else []))
    assert (code, told["ok"], told["errors"]) == (0, True, None)
    assert told["text"] == "The tool said: 18 degrees and sunny in Paris"
    (call,) = told["tool_calls"]
    assert (call["name"], json.loads(call["arguments"])) == ("get_weather", {"city": "Paris"})
    assert told["usage"] == {"input": 20, "output": 23}
    assert told["chunks"] > 4 if stream else told["chunks"] == 2
    assert 0 < told["first_byte_ms"] < 30_000
    assert told["finish"] in {"stop", "completed", "end_turn", "STOP"}


FAILURES = [
    ("openai_chat", "sim-error-400", 400),
    ("openai_responses", "sim-error-in-stream", None),
    ("anthropic_messages", "sim-error-401", 401),
    ("gemini_generate", "sim-cut", None),
]


@pytest.mark.parametrize(("name", "model", "status"), FAILURES)
def test_client_programs_tell_their_errors(
    sim: SimThread, name: str, model: str, status: int | None
) -> None:
    code, told = run_program(sim, name, "--model", model, "--prompt", "x", "--stream")
    assert (code, told["ok"], told["errors"]["status"]) == (1, False, status)
    assert told["errors"]["type"]
    assert told["errors"]["message"]


def test_a_500_event_stream_is_fast(http: httpx.Client, sim: SimThread) -> None:
    """Far above what it takes (4 ms here), far below a wait an event."""
    path, body = question("openai_chat", "sim-events-500", stream=True)
    http.post(path, json=body)
    got = http.post(path, json=body)
    assert len(events(got.text)) == 503
    entry = sim.log.all()[-1]
    assert entry.done_s is not None
    assert entry.done_s - entry.at_s < 0.25
