"""WebSockets: untouched where nothing of ours is in them; commands never reach the provider."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from origin_server import Origin
from proxied import Proxied, behind, trusting
from socket_origin import (
    CLOSE,
    Said,
    SocketOrigin,
    answer,
    answering,
    asked,
    chained,
    said,
    socket_to,
    text_of,
    turn,
)
from websockets.exceptions import ConnectionClosed, InvalidStatus

pytestmark = pytest.mark.end_to_end

UPGRADE = (
    b"GET /v1/responses HTTP/1.1\r\nHost: api.openai.com\r\nConnection: Upgrade\r\n"
    b"Authorization: Bearer sk-client\r\n"
    b"Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
ACCEPTED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)
SERVER_SAYS_HI = b"\x81\x02hi"
OURS = ("!/", "[llmitm", "[/llmitm", "resp_llmitm")


def upgraded(proxied: Proxied) -> ssl.SSLSocket:
    """A TLS connection through CONNECT, on which the upgrade was asked for."""
    plain = proxied.connect("api.openai.com:443")
    tls = trusting(proxied.proxy.ca).wrap_socket(plain, server_hostname="api.openai.com")
    tls.settimeout(20)
    tls.sendall(UPGRADE)
    return tls


def read_until(tls: ssl.SSLSocket, end: bytes) -> bytes:
    seen = b""
    while not seen.endswith(end):
        more = tls.recv(4096)
        assert more, seen
        seen += more
    return seen


def test_a_websocket_passes_untouched(tmp_path: Path) -> None:
    with (
        Origin(tmp_path / "origin", lambda _: [ACCEPTED, SERVER_SAYS_HI]) as server,
        behind(tmp_path / "p", server) as proxied,
        upgraded(proxied) as tls,
    ):
        seen = read_until(tls, SERVER_SAYS_HI)
        assert seen.startswith(b"HTTP/1.1 101 ")
        assert b"x-llmitm" not in seen.lower()
    assert server.received[0].header("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ=="


def test_with_routes_the_client_is_sent_back_to_http(proxied: Proxied) -> None:
    with upgraded(proxied) as tls:
        seen = read_until(tls, b"}")
    assert seen.startswith(b"HTTP/1.1 426 ")
    assert b"without WebSocket" in seen


def test_who_needs_a_stored_key_is_sent_back_to_http(talking: Proxied) -> None:
    # The head of an upgrade goes out as it is; over HTTP the kept key takes its place.
    key = {"Authorization": "Bearer dummy"}
    with pytest.raises(InvalidStatus) as refused, socket_to(talking, headers=key):
        pass
    assert refused.value.response.status_code == 426


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketOrigin]:
    """A provider that answers every request."""

    def script(frame: Said, number: int) -> list[Said]:
        if isinstance(frame, str) and frame.startswith("echo"):
            return [frame]
        if isinstance(frame, bytes) or "response.create" not in frame:
            return [frame]
        return answering(frame, number)

    with SocketOrigin(tmp_path_factory.mktemp("origin"), script) as running:
        yield running


@pytest.fixture(scope="module")
def shared(origin: SocketOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """One proxy for the tests that set nothing lasting."""
    with behind(tmp_path_factory.mktemp("sockets"), origin) as running:
        yield running


@pytest.fixture
def talking(shared: Proxied, origin: SocketOrigin) -> Proxied:
    """The proxy, with nothing received and nothing journaled yet."""
    origin.received.clear()
    shared.skip()
    return shared


def clean(origin: SocketOrigin) -> None:
    """Nothing of ours has reached the provider."""
    for frame in origin.received:
        assert isinstance(frame, str)
        assert [mark for mark in OURS if mark in frame] == []


ODD_FRAMES = [
    pytest.param(
        '{ "type" : "response.create",\n "model":"m", "input":"h\\u00e9 é 😀" }', id="odd"
    ),
    pytest.param('{"type": "response.create", "model": "m", "input": "a \\"!\\" / b"}', id="near"),
    pytest.param("echo {not json", id="malformed"),
    pytest.param("echo [1, 2]", id="list"),
    pytest.param('"echo"', id="string"),
    pytest.param('{"type": "response.cancel"}', id="other"),
    pytest.param('{"type": ["response.create"]}'.replace("create", "x"), id="wrong type"),
    pytest.param(json.dumps({"type": "session.update", "x": "é" * 300_000}), id="huge"),
    pytest.param("\ufeff{}", id="bom"),
    pytest.param(b"\x00\xff\xfe binary !/help", id="binary"),
    pytest.param(b"", id="empty binary"),
]


@pytest.mark.parametrize("compression", ["deflate", None])
@pytest.mark.parametrize("frame", ODD_FRAMES)
def test_frames_without_anything_of_ours_pass_to_the_byte(
    talking: Proxied, origin: SocketOrigin, frame: str | bytes, compression: str | None
) -> None:
    with socket_to(talking, compression=compression) as socket:
        socket.send(frame)
        first = socket.recv(20)
    assert origin.received == [frame]
    if isinstance(frame, str) and "response.create" in frame:
        assert first == answering(frame, 1)[0]
    else:
        assert first == frame


def test_the_journal_has_a_row_for_each_request(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer counted"}) as socket:
        for number in range(1, 4):
            seen = turn(socket, asked(input=f"Question {number}"))
            frames = answering("", number)
            assert [json.dumps(event) for event in seen] == frames
    rows = talking.rows(3)
    assert [row["lane"] for row in rows] == ["verbatim"] * 3
    assert [row["model"] for row in rows] == ["gpt-real"] * 3
    assert [row["usage"]["input_tokens"] for row in rows] == [7] * 3
    assert [(row["finish"], row["ended"], row["error"]) for row in rows] == [("stop", True, "")] * 3
    assert len({row["id"] for row in rows}) == 3
    assert [len(frame) for frame in origin.received] == [row["request_bytes"] for row in rows]


def test_pings_pongs_and_close_codes_pass(talking: Proxied, origin: SocketOrigin) -> None:
    origin.closes.clear()
    with socket_to(talking) as socket:
        assert socket.ping(b"are you there").wait(20)
        turn(socket, asked(input="Hello"))
        socket.close(4001, "enough")
    # The close of an earlier test's socket may be heard only now.
    until = time.monotonic() + 20
    while 4001 not in origin.closes and time.monotonic() < until:
        time.sleep(0.005)
    assert origin.closes[-1] == 4001
    with SocketOrigin(origin.folder / "closing", lambda *_: [CLOSE]) as closing:
        with behind(origin.folder / "p", closing) as proxied, socket_to(proxied) as socket:
            socket.send(asked(input="x"))
            with pytest.raises(ConnectionClosed) as caught:
                socket.recv(20)
            assert caught.value.rcvd is not None
            assert caught.value.rcvd.code == 1000
            [row] = proxied.rows()
        assert "closed" in row["error"]
        assert not row["ended"]


def test_commands_alone_are_answered_in_the_socket(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer alone"}) as socket:
        seen = turn(socket, asked(input=[said("user", "!/hello")]))
        assert [seen[0]["type"], seen[-1]["type"]] == ["response.created", "response.completed"]
        assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
        assert "!/help" in text_of(seen)
        assert origin.received == []
        assert text_of(turn(socket, asked(input="Now a question"))) == "Answer 1: déjà vu."
    clean(origin)
    assert [row["lane"] for row in talking.rows(2)] == ["local", "verbatim"]


def test_commands_beside_text_are_cut_out(talking: Proxied, origin: SocketOrigin) -> None:
    before = '{"type":"response.create", "model" : "gpt-real","input":[ {"role":"user","content":"'
    after = '"} ],"metadata":{"é":"\\u00e9"}}'
    with socket_to(talking, headers={"Authorization": "Bearer beside"}) as socket:
        words = "Größe " * 2000
        turn(socket, f"{before}{words}!/set(temperature=0.4){after}")
        with_block = text_of(turn(socket, asked(input="And where? !/pwd")))
    [first, second] = origin.received
    assert isinstance(first, str)
    # The command is gone and its temperature is there; not another byte has changed.
    assert first.startswith(before + words.rstrip())
    assert json.loads(first)["temperature"] == 0.4
    assert '],"metadata":{"é":"\\u00e9"}' in first
    assert with_block.startswith("[llmitm ")
    assert with_block.endswith("[/llmitm]\n\nAnswer 2: déjà vu.")
    assert json.loads(second)["input"].strip() == "And where?"
    clean(origin)
    assert [row["lane"] for row in talking.rows(2)] == ["patch", "patch"]


def test_a_block_shifts_the_places_of_the_answer(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer block"}) as socket:
        seen = turn(socket, asked(input="Where? !/pwd"))
        added = [event for event in seen if event["type"] == "response.content_part.added"]
        assert len({(event["output_index"], event["content_index"]) for event in added}) == 2
        assert seen[-1]["response"]["usage"]["total_tokens"] == 10
        after = turn(socket, asked(input="Next"))
        assert json.dumps(after[0]) == answering("", 2)[0]


def test_a_local_id_never_goes_out(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer chained"}) as socket:
        setup = said("developer", "Be brief.")
        local = turn(socket, asked(input=[setup, said("user", "!/set(temperature=0.2)")]))
        name = local[-1]["response"]["id"]
        real = turn(socket, asked(input=[said("user", "First")], previous_response_id=name))
        name = real[-1]["response"]["id"]
        for command in ("!/pwd", "!/hello"):
            local = turn(socket, asked(input=[said("user", command)], previous_response_id=name))
            name = local[-1]["response"]["id"]
        turn(socket, asked(input=[said("user", "Second")], previous_response_id=name))
    first, second = origin.bodies()
    assert "previous_response_id" not in first
    # What was said beside the command would otherwise never have been seen.
    assert first["input"] == [setup, said("user", "First")]
    assert second["previous_response_id"] == "resp_1"
    assert second["input"] == [said("user", "Second")]
    assert [body["temperature"] for body in (first, second)] == [0.2, 0.2]
    clean(origin)


def test_a_replayed_history_goes_out_without_ours(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer replaying"}) as socket:
        history = [said("user", "!/hello")]
        local = turn(socket, asked(input=history))
        history += [*local[-1]["response"]["output"], said("user", "First !/pwd")]
        real = turn(socket, asked(input=history))
        history += [*real[-1]["response"]["output"], said("user", "Second")]
        turn(socket, asked(input=history))
    first, second = origin.bodies()
    assert [item["content"][0]["text"].strip() for item in first["input"]] == ["First"]
    texts = [item["content"][0]["text"].strip() for item in second["input"]]
    assert texts == ["First", "Answer 1: déjà vu.", "Second"]
    clean(origin)


def test_escapes_do_not_hide_a_command(talking: Proxied, origin: SocketOrigin) -> None:
    frame = asked(input="HERE").replace("HERE", "\\u0021\\/hello")
    with socket_to(talking, headers={"Authorization": "Bearer escaping"}) as socket:
        assert "!/help" in text_of(turn(socket, frame))
    assert origin.received == []


def test_a_wrong_command_is_told_and_nothing_goes_out(
    talking: Proxied, origin: SocketOrigin
) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer wrong"}) as socket:
        assert "did you mean hello" in text_of(turn(socket, asked(input="Please !/helo")))
    assert origin.received == []


def test_steering_input_with_a_command_comes_back(talking: Proxied, origin: SocketOrigin) -> None:
    steer: dict[str, Any] = {"type": "response.steer", "previous_response_id": "resp_1"}
    with socket_to(talking, headers={"Authorization": "Bearer steering"}) as socket:
        plain = json.dumps({**steer, "input": "go left"})
        socket.send(plain)
        assert socket.recv(20) == plain
        for text in ("!/pwd", "go right !/pwd"):
            socket.send(json.dumps({**steer, "input": text}))
            failed = json.loads(socket.recv(20))
            assert failed["type"] == "response.steer.failed"
            assert failed["steer"]["input"] == text
    assert origin.received == [plain]


def test_lanes_are_kept_apart(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer lanes"}) as socket:
        seen = turn(socket, asked(input="!/hello", stream_id="b"))
        assert {event["stream_id"] for event in seen} == {"b"}
    assert origin.received == []


@pytest.mark.parametrize(
    "command",
    ["!/set(model=anthropic:sim-text)", "!/oneoff(anthropic:sim-text)", "!/set(backend=gemini)"],
)
def test_a_route_sends_the_client_to_http(
    talking: Proxied, origin: SocketOrigin, command: str
) -> None:
    key = {"Authorization": f"Bearer routed {command}"}
    with socket_to(talking, headers=key) as socket:
        local = turn(socket, asked(input=[said("user", command)]))
        [refused] = turn(socket, chained(local, "Who?"))
        assert refused["status"] == 426
        assert refused["error"]["code"] == "websocket_refused"
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(20)
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1012
    with pytest.raises(InvalidStatus) as again, socket_to(talking, headers=key):
        pass
    assert again.value.response.status_code == 426
    assert origin.received == []
    # Somebody else's sockets are not concerned.
    with socket_to(talking, headers={"Authorization": "Bearer other"}) as socket:
        assert text_of(turn(socket, asked(input="Hello"))) == "Answer 1: déjà vu."


def test_a_selector_as_model_needs_http(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer selecting"}) as socket:
        turn(socket, asked(input="Hello"))
        [refused] = turn(socket, asked(input="Hello", model="anthropic:sim-text"))
    assert refused["status"] == 426
    assert len(origin.received) == 1


def test_a_model_of_the_same_provider_stays(talking: Proxied, origin: SocketOrigin) -> None:
    with socket_to(talking, headers={"Authorization": "Bearer staying"}) as socket:
        local = turn(socket, asked(input="!/set(model=openai-responses:gpt-other)"))
        turn(socket, chained(local, "Hello"))
    assert [body["model"] for body in origin.bodies()] == ["gpt-other"]
    assert [row["target"] for row in talking.rows(2)] == ["", "openai-responses:gpt-other"]


@pytest.mark.parametrize("text", ["Hello", "!/hello", "Hello !/pwd"])
def test_the_sdk_sees_a_normal_turn(talking: Proxied, origin: SocketOrigin, text: str) -> None:
    client = openai.OpenAI(api_key=f"sk-{text}")
    options: Any = {"proxy": talking.url, "ssl": trusting(talking.proxy.ca)}
    with client.responses.connect(websocket_connection_options=options) as connection:
        connection.response.create(model="gpt-real", input=text)
        seen: list[Any] = []
        for event in connection:
            seen.append(event)
            if event.type == "response.completed":
                break
    assert seen[0].type == "response.created"
    whole = seen[-1].response.output_text
    assert whole == "".join(
        event.delta for event in seen if event.type == "response.output_text.delta"
    )
    assert whole.endswith("déjà vu.") == text.startswith("Hello")
    clean(origin)


def test_errors_of_the_provider_pass_and_are_counted(tmp_path: Path) -> None:
    error = json.dumps(
        {"type": "error", "status": 400, "error": {"type": "x", "code": "y", "message": "no"}}
    )

    def script(frame: Said, number: int) -> list[Said]:
        return [error] if number == 1 else answer("fine", "2")

    with (
        SocketOrigin(tmp_path / "origin", script) as origin,
        behind(tmp_path / "p", origin) as proxied,
        socket_to(proxied) as socket,
    ):
        socket.send(asked(input="one"))
        assert socket.recv(20) == error
        assert text_of(turn(socket, asked(input="two"))) == "fine"
        rows = proxied.rows(2)
    assert [row["error"] for row in rows] == ["no", ""]
