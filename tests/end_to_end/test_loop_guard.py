"""A base URL that leads back to the proxy itself: 508 at once, straight or through another port."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from origin_server import Origin
from proxied import Proxied, behind

pytestmark = pytest.mark.end_to_end

CHAT = "https://api.openai.com/v1/chat/completions"
ALIASES = [
    {"pattern": "^other-model$", "replacement": "openai:another"},
    {"pattern": "^other-provider$", "replacement": "anthropic:claude-x"},
]
# A loop that nobody stops would have no end.
MOST_ROUNDS = 40


@dataclass
class Forwarder:
    """A port that leads to another port, as a container's does, for a few connections."""

    target: int = 0
    connections: int = 0
    listener: socket.socket = field(default_factory=lambda: socket.create_server(("127.0.0.1", 0)))

    @property
    def port(self) -> int:
        return self.listener.getsockname()[1]

    def __enter__(self) -> Forwarder:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()

    def _accept(self) -> None:
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            self.connections += 1
            if self.connections > MOST_ROUNDS:
                one.close()
                continue
            other = socket.create_connection(("127.0.0.1", self.target))
            for pair in ((one, other), (other, one)):
                threading.Thread(target=_pump, args=pair, daemon=True).start()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@dataclass
class Loop:
    proxied: Proxied
    forwarder: Forwarder


@pytest.fixture(scope="module", params=["straight", "forwarded"])
def loop(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Loop]:
    folder = tmp_path_factory.mktemp("loop")
    own = free_port()
    with Forwarder(target=own) as forwarder, Origin(folder / "o", lambda _: []) as origin:
        port = own if request.param == "straight" else forwarder.port
        variables = {
            "OPENAI_API_BASE_URL": f"http://127.0.0.1:{port}/v1",
            "ANTHROPIC_API_BASE_URL": f"http://127.0.0.1:{port}",
            "MODEL_ALIASES": json.dumps(ALIASES),
        }
        with behind(folder / "p", origin, [f"listen_port={own}"], variables) as proxied:
            yield Loop(proxied, forwarder)


@pytest.mark.parametrize("model", ["own", "other-model", "other-provider"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_that_leads_back_here_is_refused(loop: Loop, model: str, stream: bool) -> None:
    asked = {"model": model, "messages": [{"role": "user", "content": "x"}], "stream": stream}
    before = loop.forwarder.connections
    with loop.proxied.client() as client:
        answer = client.post(CHAT, json=asked, headers={"authorization": "Bearer sk-client"})
    assert answer.status_code == 508
    assert "request loop detected" in answer.json()["error"]["message"]
    assert loop.forwarder.connections - before <= 1


def test_so_is_a_token_count(loop: Loop) -> None:
    asked = {"model": "claude-x", "messages": [{"role": "user", "content": "x"}]}
    before = loop.forwarder.connections
    with loop.proxied.client() as client:
        url = "https://api.anthropic.com/v1/messages/count_tokens"
        answer = client.post(url, json=asked, headers={"x-api-key": "k"})
    # Nothing of ours is asked when mitmproxy refuses to connect to itself.
    assert answer.status_code in (502, 508)
    assert loop.forwarder.connections - before <= 1


def test_and_any_other_call_to_the_provider(loop: Loop) -> None:
    before = loop.forwarder.connections
    with loop.proxied.client() as client:
        answer = client.get("https://api.openai.com/v1/files")
    assert answer.status_code in (502, 508)
    assert loop.forwarder.connections - before <= 1


@pytest.mark.parametrize("value", ["1", "", "the guard of another proxy"])
def test_the_guard_of_another_proxy_stops_nobody(tmp_path: Path, value: str) -> None:
    body = b'{"ok":1}'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 8\r\n\r\n"
    with Origin(tmp_path / "o", lambda _: [head + body]) as origin, behind(tmp_path, origin) as one:
        with one.client() as client:
            headers = {"x-llmproxy-loop-guard": value}
            answer = client.post(CHAT, json={"model": "m", "messages": []}, headers=headers)
        assert answer.content == body
        guard = origin.received[0].header("x-llmproxy-loop-guard")
    assert guard not in (None, value)
