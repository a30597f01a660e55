"""The same request again while the first one runs: attached, refused, or asked anew."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from origin_server import Origin, Received
from proxied import Proxied, behind, trusting

pytestmark = pytest.mark.end_to_end

CHAT = "https://api.openai.com/v1/chat/completions"
MESSAGES = "https://api.anthropic.com/v1/messages"
SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Odd: a\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)
WAIT_S = 20
# What one test's provider did must not be remembered in the next one.
NO_MEMORY = """
failover:
  max_rest_s: 0
  max_silent_wait_s: 0
  breaker: {enabled: false}
"""


def asking(text: str, **more: object) -> bytes:
    said = [{"role": "user", "content": text}]
    return json.dumps({"model": f"m-{text}", "messages": said, "stream": True, **more}).encode()


def event(number: int, pad: int = 0) -> bytes:
    delta = {"content": f"<{number}>" + "x" * pad}
    return f"data: {json.dumps({'choices': [{'index': 0, 'delta': delta}]})}\n\n".encode()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


@dataclass
class Stage:
    """What the origin says: pieces, and gates where it waits until a test opens them."""

    pieces: list[bytes | threading.Event] = field(default_factory=list)

    def __call__(self, request: Received) -> Iterator[bytes]:
        if b"aside" in request.body:
            yield b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
            return
        for piece in self.pieces:
            if isinstance(piece, bytes):
                yield piece
            else:
                assert piece.wait(WAIT_S)

    def gate(self, *pieces: bytes) -> threading.Event:
        """Says these, then waits for the gate that is returned."""
        gate = threading.Event()
        self.pieces += [*pieces, gate]
        return gate


@dataclass
class Place:
    proxied: Proxied
    origin: Origin

    def stage(self) -> Stage:
        stage = Stage()
        self.origin.script = stage  # type: ignore[assignment]
        self.origin.received.clear()
        self.proxied.skip()
        return stage

    def seen(self) -> None:
        """Returns when everything sent to the proxy before has been looked at."""
        with self.proxied.client() as client:
            assert client.post(CHAT, content=asking("aside")).status_code == 200
        self.origin.received[:] = [one for one in self.origin.received if b"aside" not in one.body]

    def raw(self, body: bytes) -> ssl.SSLSocket:
        """A client that has sent its request and reads nothing yet."""
        plain = self.proxied.connect("api.openai.com:443")
        context = trusting(self.proxied.proxy.ca)
        tls = context.wrap_socket(plain, server_hostname="api.openai.com")
        tls.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: api.openai.com\r\n"
            b"Content-Type: application/json\r\nAccept: */*\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        return tls

    def rows(self, text: str, count: int) -> dict[str, list[dict]]:
        """The next journal rows of requests that say this, by lane."""
        found: dict[str, list[dict]] = {}
        while sum(map(len, found.values())) < count:
            row = self.proxied.rows()[0]
            if row["model"] == f"m-{text}":
                found.setdefault(row["lane"], []).append(row)
        return found


def place_of(folder: Path, duplicates: str, stack: ExitStack) -> Place:
    rules = folder / "rules"
    rules.mkdir(parents=True)
    (rules / "routes.yaml").write_text(duplicates + NO_MEMORY)
    origin = stack.enter_context(Origin(folder / "origin", lambda _: []))
    # The long answers here say the same again and again.
    running = behind(folder, origin, [f"llm_rules={rules}"], {"LOOP_DETECTION_ENABLED": "false"})
    return Place(stack.enter_context(running), origin)


@pytest.fixture(scope="module")
def attaching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    rules = "duplicates: {mode: attach}\nlimits: {max_buffered_bytes: 200000}\n"
    with ExitStack() as stack:
        yield place_of(tmp_path_factory.mktemp("attach"), rules, stack)


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    rules = "duplicates: {mode: refuse, retry_after_s: 2.5}\n"
    with ExitStack() as stack:
        yield place_of(tmp_path_factory.mktemp("refuse"), rules, stack)


@pytest.mark.parametrize("first", [False, True], ids=["h1", "h2"])
@pytest.mark.parametrize("second", [False, True], ids=["h1", "h2"])
def test_a_duplicate_gets_the_same_bytes_while_they_come(
    attaching: Place, first: bool, second: bool
) -> None:
    stage = attaching.stage()
    gate = stage.gate(SSE_HEAD, chunk(event(1)))
    late = stage.gate(chunk(event(2)))
    stage.pieces += [chunk(event(3)[:9]), chunk(event(3)[9:] + b"data: [DONE]\n\n"), b"0\r\n\r\n"]
    with (
        attaching.proxied.client(http2=first) as one,
        attaching.proxied.client(http2=second) as two,
        one.stream("POST", CHAT, content=asking("bytes")) as a,
    ):
        got_a = a.iter_raw()
        assert next(got_a) == event(1)
        with two.stream("POST", CHAT, content=asking("bytes")) as b:
            got_b = b.iter_raw()
            assert next(got_b) == event(1)
            gate.set()
            assert next(got_b) == event(2)
            late.set()
            rest_b = b"".join(got_b)
            rest_a = b"".join(got_a)
    assert rest_b == event(3) + b"data: [DONE]\n\n"
    assert rest_a == event(2) + rest_b
    assert (b.status_code, b.headers["x-odd"]) == (200, "a")
    assert len(attaching.origin.received) == 1
    rows = attaching.rows("bytes", 2)
    assert [row["error"] for rows in rows.values() for row in rows] == ["", ""]
    assert rows["verbatim"][0]["ended"]
    assert "the same request as" in rows["local"][0]["notes"][0]


def test_a_duplicate_may_come_before_the_head_and_over_the_same_connection(
    attaching: Place,
) -> None:
    stage = attaching.stage()
    gate = stage.gate()
    stage.pieces += [SSE_HEAD, chunk(event(1)), b"0\r\n\r\n"]
    with attaching.proxied.client(http2=True) as client, ThreadPoolExecutor() as pool:
        both = [pool.submit(client.post, CHAT, content=asking("x")) for _ in range(4)]
        tls = attaching.raw(asking("y"))
        attaching.seen()
        gate.set()
        answers = [each.result() for each in both]
        tls.close()
    assert {answer.content for answer in answers} == {event(1)}


@pytest.mark.parametrize("status", [200, 429])
def test_a_whole_answer_keeps_its_status_and_length(attaching: Place, status: int) -> None:
    body = b'{"ok" : 1 }'
    stage = attaching.stage()
    gate = stage.gate(b"HTTP/1.1 %d Odd\r\nContent-Length: %d\r\n\r\n" % (status, len(body)))
    stage.pieces.append(body)
    first, second = attaching.raw(asking("w")), attaching.raw(asking("w"))
    attaching.seen()
    gate.set()
    heads = []
    for tls in (first, second):
        with tls:
            data = b""
            while body not in data:
                data += tls.recv(1 << 16)
            heads.append(data.partition(b"\r\n\r\n"))
    assert heads[0] == heads[1]
    assert heads[1][2] == body
    assert b"content-length: 11" in heads[1][0].lower()
    assert len(attaching.origin.received) == 1


def test_when_the_first_client_leaves_before_the_head_the_second_asks_anew(
    attaching: Place,
) -> None:
    stage = attaching.stage()
    gate = stage.gate()
    stage.pieces += [SSE_HEAD, chunk(event(1)), b"0\r\n\r\n"]
    first = attaching.raw(asking("left"))
    attaching.seen()
    with attaching.proxied.client() as client, ThreadPoolExecutor() as pool:
        # Only what the SDKs send is the same: the header below tells nobody which request it is.
        asked = [
            pool.submit(
                client.post,
                CHAT,
                content=asking("left"),
                headers={
                    "accept": "*/*",
                    "accept-encoding": "",
                    "x-stainless-retry-count": str(number),
                },
            )
            for number in range(2)
        ]
        attaching.seen()
        assert len(attaching.origin.received) == 1
        first.close()
        rows = attaching.rows("left", 1)
        assert rows["verbatim"][0]["error"]
        gate.set()
        answers = [each.result() for each in asked]
    assert [answer.content for answer in answers] == [event(1), event(1)]
    # One of the two asked anew, the other one attached to it or, too late for that, asked as well.
    assert 2 <= len(attaching.origin.received) <= 3


def test_when_the_first_client_leaves_in_mid_stream_the_second_is_told(attaching: Place) -> None:
    stage = attaching.stage()
    gate = stage.gate(SSE_HEAD, chunk(event(1)))
    one, two = attaching.proxied.client(), attaching.proxied.client()
    with one, two:  # noqa: SIM117
        with one.stream("POST", CHAT, content=asking("told")) as a:
            got_a = a.iter_raw()
            assert next(got_a) == event(1)
            with two.stream("POST", CHAT, content=asking("told")) as b:
                got = b.iter_raw()
                assert next(got) == event(1)
                a.close()
                rest = b"".join(got)
    gate.set()
    told = json.loads(rest.removeprefix(b"data: ").partition(b"\n\n")[0])
    assert told["error"]["details"]["code"] == "first_request_broke_off"
    assert len(attaching.origin.received) == 1
    assert attaching.rows("told", 2)["local"][0]["error"]


def test_a_break_inside_an_event_is_a_break_for_the_second_too(attaching: Place) -> None:
    stage = attaching.stage()
    gate = stage.gate(SSE_HEAD, chunk(event(1)[:10]))
    stage.pieces.append(b"")
    one, two = attaching.proxied.client(), attaching.proxied.client()
    with one, two:  # noqa: SIM117
        with (
            one.stream("POST", CHAT, content=asking("x")) as a,
            two.stream("POST", CHAT, content=asking("x")) as b,
        ):
            got_a, got_b = a.iter_raw(), b.iter_raw()
            assert next(got_a) == next(got_b) == event(1)[:10]
            gate.set()
            for got in (got_a, got_b):
                with pytest.raises(httpx.RemoteProtocolError):
                    next(got)


def test_a_long_answer_is_shared_with_who_is_there_and_with_nobody_later(
    attaching: Place,
) -> None:
    stage = attaching.stage()
    gate = stage.gate(SSE_HEAD, chunk(event(1)))
    long = [event(number, 9_000) for number in range(40)]
    last = stage.gate(*map(chunk, long))
    stage.pieces.append(b"0\r\n\r\n")
    one, two = attaching.proxied.client(), attaching.proxied.client()
    with one, two:  # noqa: SIM117
        with (
            one.stream("POST", CHAT, content=asking("x")) as a,
            two.stream("POST", CHAT, content=asking("x")) as b,
        ):
            got_a, got_b = a.iter_raw(), b.iter_raw()
            assert next(got_a) == next(got_b) == event(1)
            gate.set()
            body, so_far = b"".join(long), b""
            while len(so_far) < len(body):
                so_far += next(got_a)
            assert so_far == body
            with attaching.proxied.client() as three, ThreadPoolExecutor() as pool:
                third = pool.submit(three.post, CHAT, content=asking("x"))
                attaching.seen()
                last.set()
                assert third.result().content == event(1) + body
            assert b"".join(got_b) == body
    assert len(attaching.origin.received) == 2


def test_a_long_whole_answer_reaches_who_waited_for_all_of_it(attaching: Place) -> None:
    body = b"[" + b"1," * 200_000 + b"1]"
    stage = attaching.stage()
    gate = stage.gate(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    stage.pieces += [body[at : at + 9_999] for at in range(0, len(body), 9_999)]
    headers = {"accept-encoding": "", "accept": "*/*"}
    first = attaching.raw(asking("w"))
    with attaching.proxied.client() as client, ThreadPoolExecutor() as pool:
        second = pool.submit(client.post, CHAT, content=asking("w"), headers=headers)
        attaching.seen()
        gate.set()
        assert second.result().content == body
    first.close()
    assert len(attaching.origin.received) == 1


def test_many_clients_at_odd_moments_get_every_byte_once(attaching: Place) -> None:
    stage = attaching.stage()
    gate = stage.gate(SSE_HEAD, chunk(event(0)))
    events = [event(number) for number in range(1, 1500)]
    stage.pieces += [chunk(each) for each in events]
    stage.pieces.append(b"0\r\n\r\n")
    whole = event(0) + b"".join(events)
    begun = threading.Barrier(8)

    def ask(number: int) -> bytes:
        with (
            attaching.proxied.client(http2=bool(number % 2)) as client,
            client.stream("POST", CHAT, content=asking("many")) as answer,
        ):
            got = answer.iter_raw()
            pieces = [next(got)]
            if number < 8:
                begun.wait(WAIT_S)
            gate.set()
            return b"".join([*pieces, *got])

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(16)))
    assert all(answer == whole for answer in answers)
    assert 1 <= len(attaching.origin.received) <= 9


OTHERS = {
    "another body": (asking("z"), {}),
    "another key": (asking("x"), {"authorization": "Bearer other"}),
    "another coding": (asking("x"), {"accept-encoding": "zstd"}),
    "the bypass": (asking("x"), {"x-llmproxy-no-dedup": "1"}),
}


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("mode", ["attaching", "refusing"])
def test_what_is_not_the_same_is_asked(
    request: pytest.FixtureRequest, mode: str, name: str
) -> None:
    place: Place = request.getfixturevalue(mode)
    stage = place.stage()
    gate = stage.gate(SSE_HEAD, chunk(event(1)))
    stage.pieces.append(b"0\r\n\r\n")
    body, headers = OTHERS[name]
    with (
        place.proxied.client() as one,
        one.stream("POST", CHAT, content=asking("x")) as a,
        place.proxied.client() as two,
    ):
        got_a = a.iter_raw()
        assert next(got_a) == event(1)
        with two.stream("POST", CHAT, content=body, headers=headers) as b:
            assert b.status_code == 200
            got_b = b.iter_raw()
            assert next(got_b) == event(1)
            gate.set()
            assert list(got_a) == list(got_b) == []
    assert len(place.origin.received) == 2
    assert not any(b"no-dedup" in each.head.lower() for each in place.origin.received)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        (CHAT, {"type": "rate_limit_error", "code": "duplicate_request"}),
        (MESSAGES, {"type": "routing_error"}),
    ],
    ids=["openai", "anthropic"],
)
def test_a_duplicate_is_refused_until_the_first_one_is_over(
    refusing: Place, url: str, wanted: dict[str, str]
) -> None:
    stage = refusing.stage()
    gate = stage.gate(SSE_HEAD, chunk(event(1)))
    stage.pieces.append(b"0\r\n\r\n")
    with refusing.proxied.client() as one, refusing.proxied.client(http2=True) as two:
        body = asking("refused", max_tokens=9)
        with one.stream("POST", url, content=body) as a:
            got = a.iter_raw()
            assert next(got) == event(1)
            refused = two.post(url, content=body)
            gate.set()
            assert list(got) == []
        assert refused.status_code == 429
        assert refused.headers["x-llmproxy-duplicate-request"] == "true"
        assert refused.headers["retry-after"] == "3"
        error = refused.json()["error"]
        assert {key: error[key] for key in wanted} == wanted
        assert error["details"]["code"] == "duplicate_request"
        rows = refusing.rows("refused", 2)
        assert rows["local"][0]["status"] == 429
        assert two.post(url, content=body).status_code == 200
    assert len(refusing.origin.received) == 2


def test_nothing_of_it_happens_unless_a_rule_says_so(tmp_path: Path) -> None:
    with ExitStack() as stack:
        place = place_of(tmp_path, "losses: allow\n", stack)
        stage = place.stage()
        gate = stage.gate(SSE_HEAD, chunk(event(1)))
        stage.pieces.append(b"0\r\n\r\n")
        with (
            place.proxied.client() as one,
            one.stream("POST", CHAT, content=asking("x")) as a,
            one.stream("POST", CHAT, content=asking("x")) as b,
        ):
            got_a, got_b = a.iter_raw(), b.iter_raw()
            assert next(got_a) == next(got_b) == event(1)
            gate.set()
            assert list(got_a) == list(got_b) == []
        assert len(place.origin.received) == 2
