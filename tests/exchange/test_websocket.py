"""One WebSocket frame by frame, without a wire: nothing raises, little is kept, nothing leaks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.houses import house_of, rules
from llmitm.exchange.house import House
from llmitm.exchange.pipeline import Pipeline, Step
from llmitm.exchange.socket_frames import (
    finder,
    frames_of,
    items_of,
    models_in,
    with_items,
)
from llmitm.exchange.websocket import GO_TO_HTTP, PASSES, Socket
from llmitm.exchange.wire import WireRequest
from llmitm.ruleset.matching import Endpoint
from llmitm.stages.commands.conversations import Conversations
from llmitm.stages.commands.stage import Commands
from llmitm.stages.contract import Account, Stage, Turn
from llmitm.stages.route import Route

WIRE = WireRequest(
    method="GET",
    scheme="https",
    host="api.openai.com",
    port=443,
    path="/v1/responses",
    headers=(("authorization", "Bearer sk-own"),),
    body=b"",
)
ENDPOINT = Endpoint(provider="openai-responses", protocol="openai_responses", kind="websocket")


class Counting(Stage):
    """Counts the requests that were read."""

    name = "route"

    def __init__(self, route: Route) -> None:
        self.route = route
        self.read = 0

    def on_request(self, turn: Turn, request: Any) -> Any:
        self.read += 1
        return self.route.on_request(turn, request)


@dataclass
class Talk:
    """A socket and the accounts it has told."""

    accounts: list[Account] = field(default_factory=list[Account])

    def __post_init__(self) -> None:
        ruleset = rules({"ANTHROPIC_API_KEY": "sk-ant-kept"})
        house = house_of(ruleset)
        memory = house.memory
        self.counting = Counting(Route(ruleset))
        stages = (Conversations(memory), Commands(ruleset, memory, lambda _: False), self.counting)
        pipeline = Pipeline(tuple(Step(each, "refuse") for each in stages), lambda: 0.0)
        self.house: House = replace(house, pipeline=pipeline)
        self.socket = Socket(lambda: self.house, ENDPOINT, WIRE, "flow", self._told)

    def _told(self, account: Account, lines: Sequence[str]) -> None:
        del lines
        self.accounts.append(account)


def asked(**fields: Any) -> bytes:
    return json.dumps({"type": "response.create", "model": "gpt-5", **fields}).encode()


def event(kind: str, **fields: Any) -> bytes:
    return json.dumps({"type": kind, **fields}).encode()


ENDED = event("response.completed", response={"id": "resp_1", "status": "completed"})


def test_only_the_first_request_of_a_model_is_read() -> None:
    talk = Talk()
    for _ in range(5):
        assert talk.socket.from_client(asked(input="Hello")) is PASSES
        talk.socket.from_server(event("response.created", response={"id": "resp_1"}))
        assert talk.socket.from_server(ENDED) is PASSES
    assert talk.counting.read == 1
    assert [(each.model, each.lane) for each in talk.accounts] == [("gpt-5", "verbatim")] * 5
    talk.socket.from_client(asked(input="Hello", model="gpt-4"))
    assert talk.counting.read == 2


def test_whoever_used_commands_is_read() -> None:
    talk = Talk()
    talk.socket.from_client(asked(input="Hello"))
    talk.socket.from_client(asked(input="!/hello"))
    talk.socket.from_client(asked(input="Hello"))
    talk.socket.from_client(asked(input="Hello"))
    # The command itself is answered before anybody asks for its route.
    assert talk.counting.read == 3


def test_a_one_off_is_left_for_the_request_over_http() -> None:
    talk = Talk()
    said = talk.socket.from_client(asked(input="!/oneoff(anthropic:claude-sonnet-4-5)"))
    name = json.loads(said.to_client[-1])["response"]["id"]
    warm = asked(input=[], generate=False, previous_response_id=name)
    assert talk.socket.from_client(warm).closes == GO_TO_HTTP
    said = talk.socket.from_client(asked(input="Go", previous_response_id=name))
    assert said.closes == GO_TO_HTTP
    assert said.to_server == ()
    assert not said.passes
    assert [each.status for each in talk.accounts] == [200, 426, 426]
    assert talk.accounts[-1].attempts <= 1


def test_a_closed_socket_leaves_no_account_out() -> None:
    talk = Talk()
    talk.socket.from_client(asked(input="Hello"))
    talk.socket.from_client(asked(input="Hello"))
    talk.socket.closed("gone")
    talk.socket.closed("gone")
    assert [(each.error, each.ended) for each in talk.accounts] == [("gone", False)] * 2


def test_an_answer_nobody_asked_for_is_counted_too() -> None:
    talk = Talk()
    head = {"id": "resp_1", "model": "gpt-5-steered"}
    assert talk.socket.from_server(event("response.created", response=head)) is PASSES
    assert talk.socket.from_server(ENDED) is PASSES
    assert [each.model for each in talk.accounts] == ["gpt-5-steered"]


def test_requests_without_answers_are_not_kept_for_ever() -> None:
    talk = Talk()
    for _ in range(100):
        talk.socket.from_client(asked(input="Hello"))
    assert len(talk.accounts) == 100 - 32
    assert {each.error for each in talk.accounts} == {"never answered"}


def test_only_so_many_local_answers_are_remembered() -> None:
    talk = Talk()
    names: list[str] = []
    for number in range(20):
        said = talk.socket.from_client(asked(input=[{"role": "user", "content": "!/hello"}] * 2))
        assert said.to_client, number
        names.append(json.loads(said.to_client[-1])["response"]["id"])
    assert len(set(names)) == 20
    old = talk.socket.from_client(asked(input="Hi", previous_response_id=names[0]))
    assert names[0].encode() not in b"".join(old.to_server)
    assert b"!/hello" not in b"".join(old.to_server)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_raise(data: bytes, client: bool) -> None:
    talk = Talk()
    talk.socket.from_client(asked(input="Hello !/pwd"))
    said = talk.socket.from_client(data) if client else talk.socket.from_server(data)
    assert said.closes == 0


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("!/hello"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["type", "model", "input", "previous_response_id", "stream_id", "generate", "response", "item"]
)
KINDS = st.sampled_from(
    ["response.create", "response.steer", "response.created", "response.completed", "error"]
)


@given(st.dictionaries(KEYS, VALUES), KINDS, st.booleans())
def test_no_frame_raises(fields: dict[str, Any], kind: str, client: bool) -> None:
    talk = Talk()
    talk.socket.from_client(asked(input="Hello !/pwd"))
    data = json.dumps({**fields, "type": kind}).encode()
    said = talk.socket.from_client(data) if client else talk.socket.from_server(data)
    for frame in (*said.to_client, *said.to_server):
        json.loads(frame)


@pytest.mark.parametrize(
    "text",
    [b"!/", b"\\u0021/", b"!\\/", b"\\u0021\\u002f", b"!\\u002F"],
)
def test_a_prefix_is_found_however_it_is_escaped(text: bytes) -> None:
    assert finder("!/")(b'{"input": "a ' + text + b'help"}')
    assert json.loads(b'"' + text + b'"') == "!/"


@given(st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=4))
def test_a_prefix_is_found_as_python_writes_it(prefix: str) -> None:
    for ascii_only in (True, False):
        written = json.dumps({"input": f"x {prefix}"}, ensure_ascii=ascii_only)
        assert finder(prefix)(written.encode("utf-8", "surrogatepass"))


def test_items_change_and_nothing_else() -> None:
    data = b'{ "type":"response.create","input": "hi" ,"x":1.0e2}'
    assert items_of(json.loads(data))[0] == {"type": "message", "role": "user", "content": "hi"}
    assert with_items(data, [1]) == b'{ "type":"response.create","input": [1] ,"x":1.0e2}'
    assert json.loads(with_items(b'{"type":"x"}', [1])) == {"type": "x", "input": [1]}


def test_models_tell_requests_apart() -> None:
    assert models_in(b'{"tools":[{"model":"a"}],"model" : "b"}') == (b"a", b"b")
    assert models_in(b'{"input":"\\"model\\": \\"c\\""}') == ()


def test_frames_of_a_stream_get_their_lane() -> None:
    stream = b'event: a\ndata: {"type":"a"}\n\n: hello\n\ndata: {"type":"b"}\n\n'
    assert frames_of(stream) == (b'{"type":"a"}', b'{"type":"b"}')
    assert [json.loads(each)["stream_id"] for each in frames_of(stream, "x")] == ["x", "x"]
