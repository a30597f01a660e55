"""A headless proxy whose operator is a test: rules that hold, and the WebSocket of its own port.

Nothing polls: what the desk says is heard as it comes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import httpx
from proxied import Proxied, Server, behind
from test_interfaces import free_port
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from review_served import HASH, PASSWORD

API = "/llm/api/v1"
WAIT_S = 15


class Operator:
    """One connection to the desk. heard: every message so far, oldest first."""

    def __init__(self, port: int, token: str, name: str = "") -> None:
        query = f"?token={token}" + (f"&operator={name}" if name else "")
        self._open = ExitStack()
        place = f"ws://127.0.0.1:{port}/ws{query}"
        self._socket = self._open.enter_context(
            connect(place, max_size=None, ping_interval=None, proxy=None)
        )
        self.heard: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._closed = False
        self._taken: set[str] = set()
        self._thread = threading.Thread(target=self._hear, daemon=True)
        self._thread.start()
        self.until(lambda: self.all("snapshot"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _hear(self) -> None:
        try:
            for text in self._socket:
                with self._changed:
                    self.heard.append(json.loads(text))
                    self._changed.notify_all()
        except ConnectionClosed:
            pass
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def leave(self) -> None:
        """The connection ends."""
        self._open.close()
        self._thread.join(WAIT_S)

    def until[T](self, found: Callable[[], T]) -> T:
        """The first true thing that `found` gives, asked whenever something was heard."""
        until = time.monotonic() + WAIT_S
        with self._changed:
            while not (result := found()):
                left = until - time.monotonic()
                assert left > 0, f"not heard: {[each['type'] for each in self.heard[-20:]]}"
                assert not self._closed, self.heard[-3:]
                self._changed.wait(left)
        return result

    def all(self, kind: str, card: str = "") -> list[dict[str, Any]]:
        """The data of what was heard of a kind, of one card or of all."""
        return [
            each["data"]
            for each in list(self.heard)
            if each["type"] == kind and (not card or each["data"].get("request_id") == card)
        ]

    def next(self) -> dict[str, Any]:
        """The next card that nobody has taken here."""
        return self.some(1)[0]

    def some(self, count: int) -> list[dict[str, Any]]:
        """So many cards that nobody has taken here."""

        def fresh() -> list[dict[str, Any]]:
            cards = [
                card for card in self.all("new_request") if card["request_id"] not in self._taken
            ]
            return cards[:count] if len(cards) >= count else []

        cards = self.until(fresh)
        self._taken |= {card["request_id"] for card in cards}
        return cards

    def over(self, card: dict[str, Any]) -> dict[str, Any]:
        """How a card ended, once it did."""
        name = card["request_id"]
        return self.until(
            lambda: [*self.all("request_decided", name), *self.all("request_cancelled", name)]
        )[-1]

    def say(self, kind: str, card: dict[str, Any], **data: Any) -> None:
        """A wish about a card."""
        said = {"type": kind, "data": {"request_id": card["request_id"], **data}}
        self._socket.send(json.dumps(said))

    def refused(self, card: dict[str, Any], count: int = 1) -> str:
        """The code of the error that the card's last wish got."""
        return self.until(lambda: self.all("error", card["request_id"])[count - 1 :])[-1]["code"]

    # What operators do, with what they were shown.

    def approve(self, card: dict[str, Any], **more: Any) -> None:
        self.say("approve_request", card, **{"digest": card["digest"], **more})

    def answer(self, card: dict[str, Any], content: str | None, **more: Any) -> None:
        self.say("complete_response", card, content=content, digest=card["digest"], **more)

    def reject(self, card: dict[str, Any], reason: str, form: str = "error") -> None:
        self.say("reject_request", card, reason=reason, form=form, digest=card["digest"])

    def edit(self, card: dict[str, Any], old: str, new: str) -> None:
        """Puts other words into the document; a price is paid."""
        assert old in card["document"], card["document"]
        document = card["document"].replace(old, new)
        self.say("edit_request", card, document=document, digest=card["digest"], anyway=True)

    def start(self, card: dict[str, Any]) -> None:
        self.say("start_response", card, digest=card["digest"])

    def chunk(self, card: dict[str, Any], content: str, reasoning: str = "") -> None:
        more = {"reasoning": reasoning} if reasoning else {}
        self.say("response_chunk", card, content=content, **more)

    def call(self, card: dict[str, Any], name: str, arguments: Mapping[str, Any]) -> None:
        function = {"name": name, "arguments": json.dumps(arguments)}
        self.say("add_tool_call", card, tool_call={"id": "call_by_hand", "function": function})

    def finish(self, card: dict[str, Any], **more: Any) -> None:
        self.say("finish_response", card, **more)


@dataclass
class Place:
    """The proxy, its operator, and where its decision log stands."""

    proxied: Proxied
    folder: Path
    port: int
    token: str
    desk: Operator = field(init=False)

    def __post_init__(self) -> None:
        self.desk = Operator(self.port, self.token)

    @property
    def log(self) -> Path:
        """The decision log's file."""
        return self.folder / "decisions.jsonl"

    def decisions(self) -> list[dict[str, Any]]:
        """The lines of the decision log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def told(self, card: dict[str, Any]) -> list[str]:
        """What the decision log has about a card, in order."""
        return [
            row["what"] for row in self.decisions() if row.get("request_id") == card["request_id"]
        ]

    def clear(self) -> None:
        """Nobody waits any more; answers that were begun end with their writer."""
        self.desk.leave()
        self.desk = Operator(self.port, self.token)
        for card in self.desk.all("snapshot")[0]["requests"]:
            self.desk.reject(card, "the test is over")
            self.desk.over(card)

    def another(self, name: str) -> Operator:
        """One more operator."""
        return Operator(self.port, self.token, name)

    def rest(self) -> httpx.Client:
        """The desk's REST interface."""
        bearer = {"authorization": f"Bearer {self.token}"}
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers=bearer,
            timeout=WAIT_S,
            trust_env=False,
        )


@contextmanager
def watched(
    folder: Path,
    server: Server,
    review: str,
    files: Mapping[str, str] | None = None,
    variables: Mapping[str, str] | None = None,
    settings: Sequence[str] = (),
) -> Generator[Place]:
    """A headless proxy with this `review.yaml`. files: other rule files by name."""
    rules = folder / "rules"
    rules.mkdir(parents=True)
    for name, text in {"review.yaml": review, **(files or {})}.items():
        (rules / name).write_text(text)
    port = free_port()
    own = [f"llm_rules={rules}", f"llm_review_listen=127.0.0.1:{port}", *settings]
    known = {"OPERATOR_PASSWORD_HASH": HASH, "RATE_LIMIT_PER_MINUTE": "100000"}
    with behind(folder, server, own, {**known, **(variables or {})}) as proxied:
        login = {"username": "admin", "password": PASSWORD}
        place = f"http://127.0.0.1:{port}/api/v1/auth/login"
        told = httpx.post(place, json=login, timeout=WAIT_S, trust_env=False).raise_for_status()
        found = Place(proxied, folder, port, told.json()["access_token"])
        try:
            yield found
        finally:
            found.desk.leave()
