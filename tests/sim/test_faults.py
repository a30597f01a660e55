"""Faults of a provider as they look on the wire, to a client that hides nothing."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from llmitm.sim.received import Received
from llmitm.sim.threads import SimThread
from sim.asking import PROTOCOLS, events, question, streamed_text, text_of

each = pytest.mark.parametrize("protocol", PROTOCOLS)
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


def ask(
    http: httpx.Client, protocol: str, model: str, *, stream: bool = False, **headers: str
) -> httpx.Response:
    path, body = question(protocol, model, stream=stream)
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return http.post(path, json=body, headers=named)


ERRORS: list[tuple[str, int, dict[str, Any]]] = [
    ("openai_chat", 429, {"code": "rate_limit_exceeded", "type": "requests"}),
    ("openai_chat", 500, {"code": None, "type": "server_error"}),
    ("openai_responses", 401, {"code": "invalid_api_key", "type": "invalid_request_error"}),
    ("openai_responses", 503, {"type": "server_error"}),
    ("anthropic_messages", 400, {"type": "invalid_request_error"}),
    ("anthropic_messages", 429, {"type": "rate_limit_error"}),
    ("anthropic_messages", 500, {"type": "api_error"}),
    ("anthropic_messages", 529, {"type": "overloaded_error", "message": "Overloaded"}),
    ("gemini_generate", 429, {"code": 429, "status": "RESOURCE_EXHAUSTED"}),
    ("gemini_generate", 500, {"code": 500, "status": "INTERNAL"}),
    ("gemini_generate", 503, {"code": 503, "status": "UNAVAILABLE"}),
]


@both
@pytest.mark.parametrize(("protocol", "status", "want"), ERRORS)
def test_error_bodies(
    http: httpx.Client, protocol: str, status: int, want: dict[str, Any], stream: bool
) -> None:
    got = ask(http, protocol, f"sim-error-{status}", stream=stream)
    assert got.status_code == status
    assert got.headers["content-type"].startswith("application/json")
    assert want.items() <= got.json()["error"].items()


@each
def test_overloaded_is_529_only_where_it_exists(http: httpx.Client, protocol: str) -> None:
    got = ask(http, protocol, "sim-error-529")
    assert got.status_code == (529 if protocol == "anthropic_messages" else 503)


@each
def test_retry_after(http: httpx.Client, protocol: str) -> None:
    first = ask(http, protocol, "sim-429-then-ok")
    assert first.status_code == 429
    if protocol == "gemini_generate":
        assert first.json()["error"]["details"][0]["retryDelay"] == "1s"
    else:
        assert first.headers["retry-after"] == "1"
    again = ask(http, protocol, "sim-429-then-ok")
    assert again.status_code == 200
    assert text_of(protocol, again.json())


def test_each_request_fails_by_itself(http: httpx.Client) -> None:
    """Forty at once, every one of them fails twice and then succeeds."""

    def three_times(number: int) -> list[int]:
        path, body = question("openai_chat", "own-twice-500", f"question {number}")
        return [http.post(path, json=body).status_code for _ in range(3)]

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(three_times, range(40))) == [[500, 500, 200]] * 40


def test_the_first_requests_of_all_fail(http: httpx.Client) -> None:
    asked = [question("openai_chat", "own-first-two", f"number {n}") for n in range(5)]
    got = [http.post(path, json=body).status_code for path, body in asked]
    assert got == [503, 503, 200, 200, 200]


TOO_LONG = {
    "openai_chat": ("code", "context_length_exceeded"),
    "openai_responses": ("code", "context_length_exceeded"),
    "anthropic_messages": ("message", "prompt is too long: 250000 tokens > 200000 maximum"),
    "gemini_generate": ("status", "INVALID_ARGUMENT"),
}


@each
def test_context_length(http: httpx.Client, protocol: str) -> None:
    got = ask(http, protocol, "sim-context-length")
    key, value = TOO_LONG[protocol]
    assert (got.status_code, got.json()["error"][key]) == (400, value)


@each
def test_error_as_the_first_event_of_a_200(http: httpx.Client, protocol: str) -> None:
    got = ask(http, protocol, "sim-overloaded-in-stream", stream=True)
    assert got.status_code == 200
    assert got.headers["content-type"].startswith("text/event-stream")
    (only,) = events(got.text)
    assert "verloaded" in json.dumps(only)
    whole = ask(http, protocol, "sim-overloaded-in-stream")
    assert whole.status_code == 200
    assert whole.json()["error"]["message"]


@each
def test_error_in_mid_stream(http: httpx.Client, protocol: str) -> None:
    told = events(ask(http, protocol, "sim-error-in-stream", stream=True).text)
    assert len(told) == 4
    assert "The server had an error" in json.dumps(told[-1])
    if protocol == "openai_responses":
        assert [event["sequence_number"] for event in told] == [0, 1, 2, 3]


def read_to_the_break(
    http: httpx.Client, protocol: str, model: str, *, stream: bool = True
) -> bytes:
    """The bytes that arrive before the connection breaks; fails if it does not break."""
    path, body = question(protocol, model, stream=stream)
    data = bytearray()

    def read(got: httpx.Response) -> None:
        for part in got.iter_raw():
            data.extend(part)

    with http.stream("POST", path, json=body) as got:
        assert got.status_code == 200
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            read(got)
    return bytes(data)


@each
def test_cut_in_mid_frame(http: httpx.Client, sim: SimThread, protocol: str) -> None:
    data = read_to_the_break(http, protocol, "sim-cut").replace(b"\r\n", b"\n")
    assert data.count(b"\n\n") == 3
    entry = sim.log.all()[-1]
    assert (entry.cut, entry.done, entry.events_sent, entry.aborted_at) == (True, True, 3, None)


@each
def test_cut_of_a_whole_body(http: httpx.Client, protocol: str) -> None:
    data = read_to_the_break(http, protocol, "sim-cut", stream=False)
    with pytest.raises(json.JSONDecodeError):
        json.loads(data)


@each
def test_cut_before_the_first_event(http: httpx.Client, protocol: str) -> None:
    assert b"\n\n" not in read_to_the_break(http, protocol, "sim-cut-first").replace(b"\r", b"")


@each
@both
def test_close_before_the_head(http: httpx.Client, protocol: str, stream: bool) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        ask(http, protocol, "sim-close", stream=stream)


@each
def test_silence_before_the_head(http: httpx.Client, sim: SimThread, protocol: str) -> None:
    path, body = question(protocol, "sim-stall")
    with pytest.raises(httpx.ReadTimeout):
        http.post(path, json=body, timeout=0.15)
    entry = sim.log.wait(lambda entries: entries[-1].done)[-1]
    assert (entry.aborted_at, entry.status) == (0, 0)


def test_a_late_head_comes(http: httpx.Client) -> None:
    got = ask(http, "openai_chat", "own-late", stream=True)
    assert got.elapsed.total_seconds() >= 0.25
    assert events(got.text)[-1] == "[DONE]"


@each
def test_the_stream_ends_without_its_end(http: httpx.Client, protocol: str) -> None:
    told = events(ask(http, protocol, "sim-no-end", stream=True).text)
    assert streamed_text(protocol, told).startswith("This is a scripted answer")
    for word in (
        "[DONE]",
        'completed", "response',
        "message_stop",
        "finishReason",
        "message_delta",
    ):
        assert word not in json.dumps(told)


@each
@both
def test_malformed_json(http: httpx.Client, protocol: str, stream: bool) -> None:
    got = ask(http, protocol, "sim-malformed", stream=stream)
    with pytest.raises(json.JSONDecodeError):
        events(got.text) if stream else got.json()


@each
def test_huge_body(http: httpx.Client, protocol: str) -> None:
    got = ask(http, protocol, "sim-huge-3000000")
    assert 3_000_000 <= len(text_of(protocol, got.json())) < 3_000_100


@each
def test_wrong_content_type(http: httpx.Client, protocol: str) -> None:
    got = ask(http, protocol, "sim-wrong-type", stream=True)
    assert got.headers["content-type"] == "text/html; charset=utf-8"
    assert streamed_text(protocol, events(got.text))


@each
@both
@pytest.mark.parametrize("encoding", ["gzip", "br", "zstd"])
def test_content_encodings(http: httpx.Client, protocol: str, encoding: str, stream: bool) -> None:
    plain = ask(http, protocol, "sim-text", stream=stream)
    got = ask(http, protocol, f"sim-{encoding}", stream=stream)
    assert got.headers["content-encoding"] == encoding
    if stream:
        told = streamed_text(protocol, events(got.text))
        assert told == streamed_text(protocol, events(plain.text))
    else:
        assert text_of(protocol, got.json()) == text_of(protocol, plain.json())


@pytest.mark.parametrize("encoding", ["", "gzip", "br", "zstd"])
def test_a_stream_is_flushed_event_by_event(http: httpx.Client, encoding: str) -> None:
    """Two events can be read although the third never comes."""
    path, body = question("openai_chat", f"own-hang-{encoding}", stream=True)
    with http.stream("POST", path, json=body) as got:
        lines = got.iter_lines()
        assert [next(lines)[:6] for _ in range(3)] == ["data: ", "", "data: "]


@each
def test_a_client_that_leaves_is_noticed(http: httpx.Client, sim: SimThread, protocol: str) -> None:
    path, body = question(protocol, "own-drip", stream=True)
    with http.stream("POST", path, json=body) as got:
        for number, _ in enumerate(got.iter_raw()):
            if number == 5:
                break
    entry = sim.log.wait(lambda entries: entries[-1].done)[-1]
    assert entry.aborted_at is not None
    assert 5 <= entry.aborted_at == entry.events_sent < 100


def test_a_client_that_leaves_in_silence_is_noticed(http: httpx.Client, sim: SimThread) -> None:
    path, body = question("anthropic_messages", "own-hang-", stream=True)
    with http.stream("POST", path, json=body) as got:
        next(got.iter_raw())
    assert sim.log.wait(lambda entries: entries[-1].done)[-1].aborted_at == 2


@pytest.mark.parametrize("model", ["sim-events-100", "own-batch"])
def test_a_hundred_events(http: httpx.Client, sim: SimThread, model: str) -> None:
    got = ask(http, "openai_chat", model, stream=True)
    assert len(streamed_text("openai_chat", events(got.text)).split()) == 100
    assert sim.log.all()[-1].events_sent == 103


def send_raw(sim: SimThread, data: bytes) -> bytes:
    """Everything the sim answers to raw bytes until it closes."""
    context = ssl.create_default_context(cafile=str(sim.ca))
    context.set_alpn_protocols(["h2", "http/1.1"])
    with (
        socket.create_connection(("127.0.0.1", sim.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="api.openai.com") as tls,
    ):
        assert tls.selected_alpn_protocol() == "http/1.1"
        tls.sendall(data)
        out = b""
        while part := tls.recv(65536):
            out += part
        return out


def test_http_1_0_gets_no_chunks(sim: SimThread) -> None:
    path, body = question("openai_chat", "sim-text", stream=True)
    data = json.dumps(body).encode()
    got = send_raw(
        sim, b"POST %b HTTP/1.0\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(data), data)
    )
    head, _, rest = got.partition(b"\r\n\r\n")
    assert b"chunked" not in head
    assert rest.startswith(b"data: ")
    assert rest.endswith(b"data: [DONE]\n\n")


def test_pipelined_requests_are_answered_in_order(sim: SimThread) -> None:
    one = b"GET /v1/models/m%d HTTP/1.1\r\nhost: x\r\n%b\r\n"
    got = send_raw(sim, one % (1, b"") + one % (2, b"connection: close\r\n"))
    assert got.index(b'"m1"') < got.index(b'"m2"')


def test_a_websocket_upgrade_is_refused_with_426(http: httpx.Client) -> None:
    got = http.get("/v1/responses", headers={"connection": "upgrade", "upgrade": "websocket"})
    assert got.status_code == 426


BROKEN = [b"", b"{", b"[1]", b"\xff\xfe", b'"text"', b"null", b'{"a":' * 3000]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
@each
def test_a_body_that_is_no_json_object(http: httpx.Client, protocol: str, body: bytes) -> None:
    path, _ = question(protocol, "m")
    got = http.post(path, content=body)
    assert got.status_code == 400
    assert "JSON" in got.json()["error"]["message"]


ODD = [
    {},
    {"messages": 3, "input": {}, "contents": "x", "tools": {"a": 1}, "model": 7},
    {"messages": [None, 1, {"role": "user", "content": [None, {"text": 5}]}]},
    {"tools": [None, {}, {"function": 1}], "contents": [None, {"parts": [None]}]},
]


@pytest.mark.parametrize("body", ODD, ids=range(len(ODD)))
@each
def test_odd_shapes_are_answered(http: httpx.Client, protocol: str, body: Any) -> None:
    path, _ = question(protocol, "m")
    assert http.post(path, json=body).status_code == 200


def test_a_compressed_request_body_is_logged_as_sent(http: httpx.Client, sim: SimThread) -> None:
    data = gzip.compress(b"{}")
    assert http.post("/v1/responses", content=data).status_code == 400
    entry: Received = sim.log.all()[-1]
    assert entry.body == data
