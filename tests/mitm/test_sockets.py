"""The addon part for WebSockets, hook by hook: what is kept, and what happens when it fails."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.proxy.context import Context
from mitmproxy.test import taddons, tflow, tutils
from mitmproxy.websocket import WebSocketData, WebSocketMessage
from wsproto.frame_protocol import Opcode

from exchange.houses import house_of, rules
from llmitm.dialects.contract import Dialect
from llmitm.exchange.house import House
from llmitm.exchange.pipeline import Pipeline, Step
from llmitm.mitm.recorder import Recorder
from llmitm.mitm.review.desk import Desk
from llmitm.mitm.socket_layer import SocketLayer
from llmitm.mitm.sockets import Sockets
from llmitm.mitm.stream import Streams
from llmitm.stages.route import Route


@dataclass
class Rules:
    """A rulebook with one house. kept: how much of finished flows is stored."""

    kept: int = 0
    on_error: Any = "refuse"
    current: House = field(init=False)

    def __post_init__(self) -> None:
        ruleset = rules()
        pipeline = Pipeline((Step(Route(ruleset), self.on_error),), lambda: 0.0)
        self.current = replace(house_of(ruleset), pipeline=pipeline)

    def house(self) -> House:
        return self.current

    def kept_bytes(self) -> int:
        return self.kept

    def breaks(self) -> None:
        """From now on no request can be read."""

        def decode(_: bytes) -> Any:
            raise RuntimeError("a fault of ours")

        broken: dict[str, Dialect] = dict(self.current.dialects)
        name = "openai_responses"
        broken[name] = replace(broken[name], decode_request=decode)
        self.current = replace(self.current, dialects=broken)


@dataclass(eq=False)
class Stream:
    """What is needed of a stream of mitmproxy."""

    child_layer: SocketLayer


@dataclass
class Talk:
    """One open socket; `said` and `closed` are what its layer was asked for."""

    rulebook: Rules
    said: list[bytes] = field(default_factory=list)
    closed: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        streams = Streams()
        self.sockets: Any = Sockets(
            self.rulebook,  # type: ignore[arg-type]
            streams,
            Recorder({}),
            Desk(self.rulebook),  # type: ignore[arg-type]
        )
        self.flow = tflow.tflow()
        self.flow.request = http.Request.make(
            "GET", "https://api.openai.com/v1/responses", headers={"Authorization": "Bearer own"}
        )
        self.sockets.request(self.flow)
        assert self.flow.response is None
        self.flow.response = tutils.tresp(status_code=101)
        self.flow.websocket = WebSocketData()
        talk = self

        class Layer(SocketLayer):
            def say(self, data: bytes, *, to_client: bool) -> None:
                assert to_client
                talk.said.append(data)

            def close(self, code: int, reason: str) -> None:
                talk.closed.append(code)

        context = Context(self.flow.client_conn, taddons.context().options)
        self.stream = Stream(Layer(context, self.flow))
        streams.live[self.flow.id] = self.stream  # type: ignore[assignment]
        self.sockets.websocket_start(self.flow)

    def frame(self, data: bytes, *, from_client: bool = True) -> WebSocketMessage:
        assert self.flow.websocket is not None
        message = WebSocketMessage(Opcode.TEXT, from_client, data)
        self.flow.websocket.messages.append(message)
        self.sockets.websocket_message(self.flow)
        return message


@pytest.fixture(autouse=True)
def master() -> Iterator[None]:
    """A mitmproxy that runs."""
    with taddons.context():
        yield


ASKED = json.dumps({"type": "response.create", "model": "gpt-5", "input": "x" * 1000}).encode()


@pytest.mark.parametrize(("kept", "most"), [(0, 1), (5000, 5), (1_000_000, 60)])
def test_only_so_many_messages_are_kept(kept: int, most: int) -> None:
    talk = Talk(Rules(kept))
    for _ in range(60):
        newest = talk.frame(ASKED)
    messages = talk.flow.websocket.messages  # type: ignore[union-attr]
    assert messages[-1] is newest
    assert most - 1 <= len(messages) <= most
    assert sum(len(each.content) for each in messages) <= max(kept, len(ASKED))


def test_a_fault_of_ours_ends_the_socket_and_lets_nothing_out() -> None:
    talk = Talk(Rules())
    talk.rulebook.breaks()
    assert talk.frame(ASKED).dropped
    [error] = [json.loads(each) for each in talk.said]
    assert (error["type"], error["status"]) == ("error", 500)
    assert talk.closed == [1011]


def test_where_the_rules_say_forward_it_goes_on() -> None:
    talk = Talk(Rules(on_error="forward"))
    talk.rulebook.breaks()
    assert not talk.frame(ASKED).dropped
    assert (talk.said, talk.closed) == ([], [])


def test_nothing_is_left_of_a_socket() -> None:
    talk = Talk(Rules())
    talk.frame(ASKED)
    talk.sockets.websocket_end(talk.flow)
    assert not talk.frame(b'{"type":"response.create","model":"a:b"}').dropped
