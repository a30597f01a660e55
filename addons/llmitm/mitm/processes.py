"""The processes of the demo and the bench: the sim, our proxy aimed at it, and bare mitmdump.

Each is a context manager that gives a `Child` and ends what it started, by its own pid.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from llmitm.mitm.headless import Headless

_STOP_S = 10.0
_BASES = {
    "OPENAI_API_BASE_URL": "/v1",
    "ANTHROPIC_API_BASE_URL": "/v1",
    "GEMINI_API_BASE_URL": "",
    "TOGETHER_API_BASE_URL": "/v1",
}
_KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "TOGETHER_API_KEY")

_BARE_SCRIPT = """
import json, os
from mitmproxy import ctx

PORT = {port}

def running():
    ready = {ready!r}
    host, port = ctx.master.addons.get("proxyserver").listen_addrs()[0][:2]
    with open(ready + ".part", "w") as out:
        json.dump({{"port": port}}, out)
    os.replace(ready + ".part", ready)
    print("ready", flush=True)

def request(flow):
    flow.request.host = "127.0.0.1"
    flow.request.port = PORT

def responseheaders(flow):
    flow.response.stream = lambda data: data
"""


@dataclass(frozen=True, slots=True)
class Child:
    """A running process: where it listens, the CA that its clients must trust."""

    pid: int
    port: int
    ca: Path

    def cpu_s(self) -> float:
        """CPU seconds so far, user and system; 0 where the system does not tell."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1]
        except OSError:
            return 0.0
        user, system = fields.split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        """Resident memory; 0 where the system does not tell."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text(encoding="ascii").split()[1]
        except OSError:
            return 0
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def sim_process(folder: Path, hosts: Sequence[str] = ()) -> Generator[Child]:
    """The scripted provider, listening."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "llmitm.sim.command", "--dir", str(folder)]
    with _spawned([*command, "--hosts", ",".join(hosts)], dict(os.environ)) as process:
        ready = json.loads(_first_line(process))
        yield Child(process.pid, ready["port"], Path(ready["ca"]))


@contextmanager
def llmitm_proxy(
    folder: Path,
    sim: Child,
    settings: Sequence[str] = (),
    variables: Mapping[str, str] | None = None,
) -> Generator[Child]:
    """Our headless proxy; every provider's base URL is the sim, every key a dummy."""
    folder.mkdir(parents=True, exist_ok=True)
    environ = {
        **without_llm_variables(os.environ),
        **{name: f"https://127.0.0.1:{sim.port}{base}" for name, base in _BASES.items()},
        **dict.fromkeys(_KEYS, "sim-key-of-the-proxy"),
        "LLMITM_HOME": str(folder),
        **(variables or {}),
    }
    proxy = Headless(
        [f"ssl_verify_upstream_trusted_ca={sim.ca}", *settings], folder, environ=environ
    )
    try:
        ready = proxy.start()
        yield Child(proxy.pid, ready["port"], Path(ready["ca_file"]))
    finally:
        proxy.stop()


@contextmanager
def bare_proxy(folder: Path, sim: Child) -> Generator[Child]:
    """Mitmdump alone, with a pass-through stream callable, aimed at the sim."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = folder / "ready.json"
    script = folder / "bare.py"
    script.write_text(_BARE_SCRIPT.format(port=sim.port, ready=str(ready)), encoding="utf-8")
    options = {
        "confdir": str(folder),
        "listen_host": "127.0.0.1",
        "listen_port": "0",
        "connection_strategy": "lazy",
        "ssl_verify_upstream_trusted_ca": str(sim.ca),
        "flow_detail": "0",
        "termlog_verbosity": "error",
    }
    program = "from mitmproxy.tools.main import mitmdump; mitmdump()"
    command = [sys.executable, "-c", program, "-s", str(script)]
    for name, value in options.items():
        command += ["--set", f"{name}={value}"]
    with _spawned(command, dict(os.environ)) as process:
        _first_line(process)
        port = json.loads(ready.read_text(encoding="utf-8"))["port"]
        yield Child(process.pid, port, folder / "mitmproxy-ca-cert.pem")


def without_llm_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment minus everything that would change llmitm's rules: keys, routes, URLs."""
    endings = ("_API_KEY", "_API_BASE_URL", "_TIMEOUT")
    names = ("STATIC_ROUTE", "MODEL_ALIASES", "LLMITM_RULES", "LLMITM_HOME")
    return {
        name: value
        for name, value in environ.items()
        if name not in names and "_API_KEY_" not in name and not name.endswith(endings)
    }


@contextmanager
def _spawned(command: Sequence[str], environ: dict[str, str]) -> Generator[subprocess.Popen[bytes]]:
    root = str(Path(__file__).resolve().parents[2])
    environ["PYTHONPATH"] = os.pathsep.join(filter(None, (root, environ.get("PYTHONPATH", ""))))
    with subprocess.Popen(
        list(command), env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _first_line(process: subprocess.Popen[bytes]) -> bytes:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ConnectionError(f"{process.args} ended with {process.wait(_STOP_S)} before it was up")
    return line
