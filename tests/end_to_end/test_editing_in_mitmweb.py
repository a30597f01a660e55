"""A real mitmweb whose editor edits a held call as a document, driven as its page drives it."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxied import trusting
from test_interfaces import CHAT, DEADLINE_S, LISTENING, await_web, free_port, options, started

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

ASK: dict[str, Any] = {"model": "sim-text", "messages": [{"role": "user", "content": "hi there"}]}
TOKEN = "0123456789abcdef0123456789abcdef"
FETCH = {"sec-fetch-mode": "cors", "sec-fetch-site": "same-origin"}


@dataclass(frozen=True)
class Web:
    """rest: a client of mitmweb that is logged in; ask: sends a request through the proxy."""

    rest: httpx.Client
    proxy: str
    ca: Path

    def ask(self, body: dict[str, Any]) -> Asked:
        return Asked(self, body)

    def put(self, flow: str, change: object) -> httpx.Response:
        return self.rest.put(f"/flows/{flow}", json=change, headers={"x-xsrftoken": TOKEN})

    def resume(self, flow: str) -> None:
        answer = self.rest.post(f"/flows/{flow}/resume", headers={"x-xsrftoken": TOKEN})
        assert answer.status_code == 200

    def content(self, flow: str, side: str, headers: dict[str, str] | None = None) -> str:
        answer = self.rest.get(f"/flows/{flow}/{side}/content.data", headers=headers or FETCH)
        assert answer.status_code == 200
        return answer.text

    def held(self, side: str) -> str:
        """The id of the flow that mitmproxy's own interception holds before `side`."""
        until = time.monotonic() + DEADLINE_S
        while time.monotonic() < until:
            for flow in self.rest.get("/flows").json():
                if flow["intercepted"] and bool(flow.get("response")) == (side == "response"):
                    return flow["id"]
            time.sleep(0.02)
        raise AssertionError("nothing was held")


class Asked(threading.Thread):
    """A client's request; `answer` waits for what it got."""

    def __init__(self, web: Web, body: dict[str, Any]) -> None:
        super().__init__(daemon=True)
        self._web = web
        self._body = body
        self._got: list[httpx.Response] = []
        self.start()

    def run(self) -> None:
        web = self._web
        with httpx.Client(proxy=web.proxy, verify=trusting(web.ca), timeout=DEADLINE_S) as client:
            self._got.append(client.post(CHAT, json=self._body))

    def answer(self) -> httpx.Response:
        self.join(DEADLINE_S)
        return self._got[0]


@contextmanager
def mitmweb(sim: SimThread, home: Path, intercept: str) -> Generator[Web]:
    command = [
        *(sys.executable, "-m", "llmitm.mitm.console", "web"),
        *options(home, sim),
        *("--set", f"web_port={free_port()}", "--set", "web_password=secret"),
        *("--set", f"intercept={intercept}", "--no-web-open-browser"),
    ]
    with started(command, sim, home, LISTENING) as said:
        base = await_web(home / "process.log")
        headers = {"authorization": "Bearer secret"}
        with httpx.Client(base_url=base, headers=headers, timeout=20) as rest:
            rest.cookies.set("_mitmproxy_xsrf", TOKEN)
            yield Web(rest, f"http://127.0.0.1:{said['port']}", home / "conf/mitmproxy-ca-cert.pem")


def test_a_held_request_is_edited_and_goes_on(sim, tmp_path: Path) -> None:
    with mitmweb(sim, tmp_path / "home", "~q & ~m POST") as web:
        asked = web.ask(ASK)
        flow = web.held("request")
        document = web.content(flow, "request")
        assert document.startswith("# llmitm request (openai_chat)\n")
        assert "    hi there\n" in document
        raw = web.content(flow, "request", {"sec-fetch-mode": "navigate"})
        assert raw == web.rest.get(f"/flows/{flow}/request/content.data?raw").text
        assert raw.startswith('{"model":"sim-text"')

        wrong = document.replace("role: user", "role: usr").replace("hi there", "hello you")
        refused = web.put(flow, {"request": {"content": wrong}})
        assert refused.status_code == 400
        line = wrong.split("\n").index("  role: usr") + 1
        assert f"line {line}: `role` must be one of" in refused.text
        assert web.content(flow, "request", {"sec-fetch-mode": "navigate"}) == raw
        draft = web.content(flow, "request")
        assert f"#! line {line + 2}: `role` must be one of" in draft
        assert "hello you" in draft
        shown = web.rest.get(f"/flows/{flow}/request/content/Auto.json").json()
        assert shown["view_name"] == "LLM chat"
        assert shown["text"] == draft

        mixed = {"request": {"content": draft, "method": "GET"}}
        assert web.put(flow, mixed).status_code == 400
        put = web.put(flow, {"request": {"content": draft.replace("usr", "user")}})
        assert put.status_code == 200
        after = web.content(flow, "request", {"sec-fetch-mode": "navigate"})
        assert after == raw.replace("hi there", "hello you")
        # Anything else stays mitmweb's own.
        assert web.put(flow, {"comment": "seen", "marked": ":eyes:"}).status_code == 200
        web.resume(flow)
        assert asked.answer().status_code == 200
        assert json.loads(sim.log.all()[-1].body)["messages"][0]["content"] == "hello you"


@pytest.mark.parametrize("stream", [False, True])
def test_a_held_answer_is_edited_and_goes_on(sim, tmp_path: Path, stream: bool) -> None:
    with mitmweb(sim, tmp_path / "home", "~u nothing" if stream else "~s") as web:
        asked = web.ask({**ASK, "stream": stream})
        if stream:
            # It has reached the client when mitmproxy could hold it: its record is edited.
            assert asked.answer().status_code == 200
            (flow,) = [one["id"] for one in web.rest.get("/flows").json()]
        else:
            flow = web.held("response")
        document = web.content(flow, "response")
        assert document.startswith("# llmitm answer\n")
        head, _, text = document.partition("text: |-\n")
        edited = head + "text: |-\n  Edited by hand.\n"
        assert "scripted answer" in text
        assert web.put(flow, {"response": {"content": edited}}).status_code == 200
        wire = web.content(flow, "response", {"sec-fetch-mode": "navigate"})
        assert "Edited by hand." in wire
        assert "scripted" not in wire
        assert wire.startswith("data: {" if stream else "{")
        if not stream:
            web.resume(flow)
            got = asked.answer().json()
            assert got["choices"][0]["message"]["content"] == "Edited by hand."
        stock = web.put(flow, {"response": {"content": "as it is"}})
        assert stock.status_code == 200
        assert web.content(flow, "response", {"sec-fetch-mode": "navigate"}) == "as it is"
