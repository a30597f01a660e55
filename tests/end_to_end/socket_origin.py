"""A provider that speaks Responses over WebSockets: it keeps what it received and says its script.

Loopback only; one thread a connection.
"""

from __future__ import annotations

import datetime
import json
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxied import Proxied, trusting
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect
from websockets.sync.server import ServerConnection, serve

from llmitm.sim.certificates import identity

URL = "wss://api.openai.com/v1/responses"

CLOSE = b"(close)"

type Said = str | bytes
type Script = Callable[[Said, int], Sequence[Said]]


@dataclass
class SocketOrigin:
    """`with SocketOrigin(folder, script) as origin:`; script: (frame, its number from 1) -> frames
    that are sent; CLOSE closes with 1000."""

    folder: Path
    script: Script
    received: list[Said] = field(default_factory=list)
    upgrades: int = 0
    closes: list[int] = field(default_factory=list)

    def __enter__(self) -> SocketOrigin:
        self.folder.mkdir(parents=True, exist_ok=True)
        made = identity(self.folder, (), datetime.datetime.now(datetime.UTC))
        self.ca = made.ca
        self._server = serve(
            self._talk, "127.0.0.1", 0, ssl=made.context(), max_size=None, ping_interval=None
        )
        self.port: int = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join(5)

    def _talk(self, socket: ServerConnection) -> None:
        self.upgrades += 1
        try:
            for frame in socket:
                self.received.append(frame)
                for said in self.script(frame, len(self.received)):
                    if said == CLOSE:
                        return
                    socket.send(said)
        except ConnectionClosed:
            pass
        finally:
            if socket.close_code is not None:
                self.closes.append(socket.close_code)

    def bodies(self) -> list[dict[str, Any]]:
        """What it received, read."""
        return [json.loads(frame) for frame in self.received]


def answer(text: str, name: str) -> list[Said]:
    """The frames of a whole answer. name: of the response."""
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    message = {"id": f"msg_{name}", "type": "message", "status": "in_progress"}
    message |= {"role": "assistant", "content": []}
    done = {**message, "status": "completed", "content": [{**part, "text": text}]}
    head = {"id": f"resp_{name}", "object": "response", "created_at": 1, "model": "gpt-real"}
    head |= {"status": "in_progress", "output": [], "parallel_tool_calls": True}
    head |= {"tool_choice": "auto", "tools": []}
    usage = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    usage |= {"input_tokens_details": {"cached_tokens": 0}}
    usage |= {"output_tokens_details": {"reasoning_tokens": 0}}
    place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    half = len(text) // 2
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": head},
        {"type": "response.in_progress", "response": head},
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.content_part.added", **place, "part": part},
        {"type": "response.output_text.delta", **place, "delta": text[:half], "logprobs": []},
        {"type": "response.output_text.delta", **place, "delta": text[half:], "logprobs": []},
        {"type": "response.output_text.done", **place, "text": text, "logprobs": []},
        {"type": "response.content_part.done", **place, "part": {**part, "text": text}},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {
            "type": "response.completed",
            "response": {**head, "status": "completed", "output": [done], "usage": usage},
        },
    ]
    return [json.dumps({**event, "sequence_number": at}) for at, event in enumerate(events)]


def answering(frame: Said, number: int) -> list[Said]:
    """The usual script."""
    return answer(f"Answer {number}: déjà vu.", str(number))


@contextmanager
def socket_to(proxied: Proxied, **options: Any) -> Generator[ClientConnection]:
    """A WebSocket through the proxy."""
    with connect(
        URL,
        proxy=proxied.url,
        ssl=trusting(proxied.proxy.ca),
        max_size=None,
        ping_interval=None,
        additional_headers={"Authorization": "Bearer sk-client", **options.pop("headers", {})},
        **options,
    ) as socket:
        yield socket


def asked(**fields: Any) -> str:
    """A request as a client sends it."""
    return json.dumps({"type": "response.create", "model": "gpt-real", **fields})


def said(role: str, text: str) -> dict[str, Any]:
    """One item of `input`."""
    return {"type": "message", "role": role, "content": [{"type": "input_text", "text": text}]}


def chained(seen: Sequence[dict[str, Any]], text: str) -> str:
    """The request that goes on from an answer, with the history kept by the provider."""
    return asked(input=[said("user", text)], previous_response_id=seen[-1]["response"]["id"])


def turn(socket: ClientConnection, frame: str) -> list[dict[str, Any]]:
    """Sends a request; the events up to the end of its answer."""
    socket.send(frame)
    return events(socket)


def events(socket: ClientConnection) -> list[dict[str, Any]]:
    """The events up to the end of an answer."""
    seen: list[dict[str, Any]] = []
    while not seen or seen[-1]["type"] not in ("response.completed", "response.failed", "error"):
        seen.append(json.loads(socket.recv(20)))
    return seen


def text_of(seen: Sequence[dict[str, Any]]) -> str:
    """The text of an answer, as its last event tells it; the deltas say the same."""
    final = seen[-1]["response"]
    whole = "".join(part["text"] for item in final["output"] for part in item.get("content") or ())
    deltas = "".join(
        event["delta"] for event in seen if event["type"] == "response.output_text.delta"
    )
    assert deltas == whole
    return whole
