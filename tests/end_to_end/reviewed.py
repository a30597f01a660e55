"""A mitmweb of our own whose operator is a test: rules that hold, and its REST interface."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from proxied import Proxied, trusting
from test_interfaces import LISTENING, await_web, free_port, options, started

from llmitm.mitm.processes import Child
from llmitm.sim.threads import SimThread

_TOKEN = "0123456789abcdef"
WAIT_S = 30


@dataclass
class Reviewed:
    """The proxy, and mitmweb's REST interface as its own page uses it."""

    proxied: Proxied
    web: httpx.Client
    home: Path

    def flows(self) -> list[dict[str, Any]]:
        return self.web.get("/flows").json()

    def held(self) -> list[dict[str, Any]]:
        """The flows that are held now."""
        return [flow for flow in self.flows() if flow["intercepted"]]

    def command(self, name: str, *arguments: str) -> dict[str, Any]:
        answer = self.web.post(
            f"/commands/{name}",
            json={"arguments": list(arguments)},
            headers={"x-xsrftoken": _TOKEN},
        )
        assert answer.status_code == 200, answer.text
        return answer.json()

    def done(self, name: str, *arguments: str) -> str:
        """What a command says that must go well."""
        said = self.command(name, *arguments)
        assert "error" not in said, said
        return said["value"]

    def put(self, path: str, body: bytes) -> httpx.Response:
        return self.web.post(path, files={"file": ("body", body)}, headers={"x-xsrftoken": _TOKEN})

    def resume(self, flow: str) -> None:
        answer = self.web.post(f"/flows/{flow}/resume", headers={"x-xsrftoken": _TOKEN})
        assert answer.status_code == 200, answer.text

    def kill(self, flow: str) -> None:
        answer = self.web.post(f"/flows/{flow}/kill", headers={"x-xsrftoken": _TOKEN})
        assert answer.status_code == 200, answer.text

    def await_held(self, count: int = 1) -> list[str]:
        """The ids of the flows that wait, once there are so many."""
        until = time.monotonic() + WAIT_S
        while time.monotonic() < until:
            held = [flow["id"] for flow in self.held()]
            if len(held) >= count:
                return held
            time.sleep(0.01)
        raise AssertionError(f"not {count} held: {self.log()}")

    def until(self, done: Callable[[], bool]) -> None:
        """Waits for something to become so."""
        until = time.monotonic() + WAIT_S
        while not done():
            assert time.monotonic() < until, self.log()
            time.sleep(0.01)

    def queue(self) -> list[str]:
        """The lines of `llm.queue`."""
        said = self.done("llm.queue")
        return [] if said == "Nothing waits." else said.splitlines()

    def log(self) -> str:
        return (self.home / "process.log").read_text(errors="replace")


@contextmanager
def reviewed(
    folder: Path,
    sim: SimThread,
    review: str,
    files: dict[str, str] | None = None,
    settings: tuple[str, ...] = (),
) -> Generator[Reviewed]:
    """mitmweb with this `review.yaml`. files: other rule files by name."""
    home, rules = folder / "home", folder / "rules"
    rules.mkdir(parents=True)
    for name, text in {"review.yaml": review, **(files or {})}.items():
        (rules / name).write_text(text)
    command = [
        *(sys.executable, "-m", "llmitm.mitm.console", "web"),
        *options(home, sim),
        *("--set", f"web_port={free_port()}", "--set", "web_password=secret"),
        *("--set", f"llm_rules={rules}", "--no-web-open-browser"),
        *(word for setting in settings for word in ("--set", setting)),
    ]
    variables = {
        "GEMINI_API_BASE_URL": f"https://127.0.0.1:{sim.port}",
        "GEMINI_API_KEY": "proxy-key",
    }
    with started(command, sim, home, LISTENING, variables) as said:
        base = await_web(home / "process.log")
        ca = home / "conf" / "mitmproxy-ca-cert.pem"
        child = Child(0, int(said["port"]), ca)
        bearer = {"authorization": "Bearer secret"}
        with httpx.Client(base_url=base, headers=bearer, timeout=20) as web:
            web.cookies.set("_mitmproxy_xsrf", _TOKEN)
            trusting(ca)
            yield Reviewed(Proxied(child, home / "journal.jsonl"), web, home)
