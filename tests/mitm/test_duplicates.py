"""What one answer for several clients is made of, without sockets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import http
from mitmproxy.proxy.layers.http._events import ResponseData, ResponseHeaders
from mitmproxy.test import tflow

from exchange.houses import CHAT, house_of, rules, wire_of
from llmitm.exchange.repeats import duplicate_fault, request_key
from llmitm.mitm.sharing import Attached, First
from llmitm.mitm.stream_contract import Chunk, Finish, Plan, Push, Resume, Steering

QUIET = b": keepalive\n\n"


@dataclass
class Client:
    """A duplicate's own client: what it was sent."""

    pushes: list[Push] = field(default_factory=list)
    lost: list[tuple[bool, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.flow = tflow.tflow()
        self.steering = Steering(flow=self.flow, plan=Plan(wait=True), deliver=self._take)
        self.attached = Attached(
            self.flow, self.steering, QUIET, lambda *how: self.lost.append(how)
        )

    def _take(self, push: Push) -> bool:
        self.pushes.append(push)
        return True

    @property
    def body(self) -> bytes:
        if any(isinstance(push, Resume) for push in self.pushes):
            assert self.flow.response is not None
            return self.flow.response.raw_content or b""
        return b"".join(push.data for push in self.pushes if isinstance(push, Chunk | Finish))

    @property
    def ended(self) -> bool:
        return bool(self.pushes) and isinstance(self.pushes[-1], Finish | Resume)


def head(**headers: str) -> ResponseHeaders:
    made = http.Response.make(200, b"", {})
    made.headers = http.Headers(content_type="text/event-stream", **headers)
    return ResponseHeaders(1, made, False)


def play(first: First, pieces: Sequence[bytes]) -> None:
    for piece in pieces:
        first.sent(ResponseData(1, piece))


@given(
    st.lists(st.binary(min_size=1, max_size=9), max_size=12),
    st.integers(0, 13),
    st.booleans(),
    st.integers(1, 200),
)
def test_whoever_attaches_gets_every_byte_once(
    pieces: list[bytes], at: int, sized: bool, cap: int
) -> None:
    forgotten: list[int] = []
    first = First("f", cap, lambda: forgotten.append(1))
    body = b"".join(pieces)
    client = Client()
    first.sent(head(content_length=str(len(body))) if sized else head())
    play(first, pieces[:at])
    here = not forgotten
    if here:
        first.attach(client.attached)
    play(first, pieces[at:])
    first.ended()
    first.closed()
    assert forgotten
    if here:
        assert client.body == body
        assert client.ended
        assert not client.lost


CASES: dict[str, tuple[dict[str, str] | None, list[bytes], tuple[bool, bool]]] = {
    "nothing came": (None, [], (False, False)),
    "the head alone": ({}, [], (False, True)),
    "keep-alives alone": ({}, [QUIET, QUIET + QUIET], (False, True)),
    "whole events": ({}, [QUIET, b"data: 1\n\n"], (True, True)),
    "half an event": ({}, [b"data: 1\n\nda"], (True, False)),
    "an end in two pieces": ({}, [b"data: 1\n", b"\n"], (True, True)),
    "a packed stream": ({"content_encoding": "gzip"}, [b"x\n\n"], (True, False)),
    "another kind of body": ({"content_type": "application/json"}, [b"[{}\n\n"], (True, False)),
    "a body of known length": ({"content_length": "9"}, [b"12345"], (False, True)),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("late", [False, True])
def test_who_shared_a_broken_answer_learns_how_far_it_came(name: str, late: bool) -> None:
    headers, pieces, wanted = CASES[name]
    first, client = First("f", 1000, lambda: None), Client()
    if not late:
        first.attach(client.attached)
    if headers is not None:
        event = head()
        event.response.headers.update({k.replace("_", "-"): v for k, v in headers.items()})
        first.sent(event)
    play(first, pieces)
    if late:
        first.attach(client.attached)
    first.closed()
    first.closed()
    assert client.lost == [wanted]
    assert not client.ended


def test_who_has_left_is_told_nothing_more() -> None:
    first, client = First("f", 1000, lambda: None), Client()
    first.sent(head())
    first.attach(client.attached)
    client.steering.closed = True
    before = list(client.pushes)
    play(first, [b"x"])
    first.ended()
    first.closed()
    assert client.pushes == before
    assert not client.lost


SAME: list[dict[str, Any]] = [
    {"headers": (("x-request-id", "2"), ("x-stainless-retry-count", "1"))},
    {"headers": (("user-agent", "curl/9"),)},
]
OTHER: list[dict[str, Any]] = [
    {"body": '{"a":1}'},
    {"url": f"{CHAT}?x=1"},
    {"url": "https://api.openai.org/v1/chat/completions"},
    {"headers": (("authorization", "Bearer b"),)},
    {"headers": (("accept-encoding", "br"),)},
    {"headers": (("idempotency-key", "2"),)},
]


@pytest.mark.parametrize("change", SAME + OTHER)
def test_what_makes_two_requests_one(change: dict[str, Any]) -> None:
    house = house_of(rules())

    def key(url: str = CHAT, body: str = "{}", headers: Any = ()) -> bytes:
        return request_key(house, wire_of(url, body, headers))

    assert (key(**change) == key()) == (change in SAME)


def test_the_refusal_says_when_to_come_back() -> None:
    fault = duplicate_fault("f1", 2.5)
    assert (fault.status, fault.retry_after_s) == (429, 2.5)
    assert fault.details["code"] == "duplicate_request"
