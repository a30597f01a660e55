"""First, do no harm: what nobody asked to change passes byte for byte, in both directions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator

import brotli
import httpx
import pytest
import zstandard
from origin_server import Origin, Script
from proxied import Proxied, behind, trusting

pytestmark = pytest.mark.end_to_end

ODD_JSON = (
    b'{ "model" : "gpt-x" ,\n\t"messages":[ {"content":"h\\u00e9 \xc3\xa9","role":"user"} ],'
    b'"zz":1e2, "zz":2}'
)
EVENTS = [
    b": OPENROUTER PROCESSING\n\n",
    b'data: {"id":"1","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"h',
    b'\xc3\xa9llo"}}],"odd":[1, 2]}\r\n\r\n',
    b"event: unknown\ndata: not json\n\n",
    b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":1}}\n\ndata: [DONE]\n\n',
]
STREAM_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Odd:  a b\r\n"


def whole(body: bytes, *lines: bytes) -> list[bytes]:
    head = [b"HTTP/1.1 200 OK", b"Content-Type: application/json", *lines]
    return [b"\r\n".join([*head, b"Content-Length: %d" % len(body), b"", b""]) + body]


def chunked(pieces: list[bytes], *lines: bytes) -> list[bytes]:
    head = STREAM_HEAD + b"".join(line + b"\r\n" for line in lines)
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return [head + b"Transfer-Encoding: chunked\r\n\r\n", *framed, b"0\r\n\r\n"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Origin, Proxied]]:
    folder = tmp_path_factory.mktemp("verbatim")
    with Origin(folder / "origin", lambda _: []) as server, behind(folder / "p", server) as proxied:
        yield server, proxied


@pytest.fixture
def origin(place: tuple[Origin, Proxied]) -> Callable[[Script], Origin]:
    """Sets what the origin says from now on."""
    server, proxied = place
    proxied.skip()
    server.received.clear()

    def serve(script: Script) -> Origin:
        server.script = script
        return server

    return serve


@pytest.fixture
def proxied(place: tuple[Origin, Proxied]) -> Proxied:
    return place[1]


@pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])
def test_a_streamed_exchange_is_identical(origin, proxied: Proxied, http2: bool) -> None:
    server = origin(lambda _: chunked(EVENTS))
    with proxied.client(http2=http2) as client:
        answer = client.post(
            "https://api.openai.com/v1/chat/completions",
            content=ODD_JSON,
            headers={"authorization": "Bearer sk-client", "x-client-odd": "1"},
        )
        assert answer.content == b"".join(EVENTS)
        assert answer.headers["x-odd"] == "a b"
        assert not [name for name in answer.headers if name.startswith("x-llmitm")]
        row = proxied.rows()[0]
    sent = server.received[0]
    assert sent.body == ODD_JSON
    assert sent.header("authorization") == "Bearer sk-client"
    assert sent.header("x-client-odd") == "1"
    assert b"x-llmitm" not in sent.head.lower()
    assert (row["lane"], row["error"]) == ("verbatim", "")
    assert row["usage"]["input_tokens"] == 3


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_a_compressed_exchange_is_identical_and_still_understood(
    origin, proxied: Proxied, coding: str
) -> None:
    encode = {
        "gzip": gzip.compress,
        "br": brotli.compress,
        "zstd": zstandard.ZstdCompressor().compress,
    }[coding]
    answer_body = encode(
        json.dumps(
            {
                "id": "1",
                "model": "gpt-x",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": "hi"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
            }
        ).encode()
    )
    body = encode(ODD_JSON)
    server = origin(lambda _: whole(answer_body, b"Content-Encoding: " + coding.encode()))
    with proxied.client() as client:
        with client.stream(
            "POST",
            "https://api.openai.com/v1/chat/completions",
            content=body,
            headers={"content-encoding": coding, "content-type": "application/json"},
        ) as answer:
            received = b"".join(answer.iter_raw())
        assert received == answer_body
        row = proxied.rows()[0]
    assert server.received[0].body == body
    assert (row["model"], row["usage"]["input_tokens"], row["finish"]) == ("gpt-x", 5, "stop")


BAD_BODIES = {
    "not json": b"this is no json",
    "truncated": ODD_JSON[:40],
    "wrong shape": b'{"model": 5, "messages": "no list"}',
    "an array": b"[1,2,3]",
    "empty": b"",
    "not utf-8": b'{"model":"\xff\xfe","messages":[]}',
    "deep": b"[" * 20_000 + b"]" * 20_000,
    "bad gzip": b"\x1f\x8bnot really",
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_a_body_that_is_not_understood_passes_and_is_noted(
    origin, proxied: Proxied, name: str
) -> None:
    server = origin(lambda _: whole(b'{"error":{"message":"bad"}}'))
    body = BAD_BODIES[name]
    headers = {"content-encoding": "gzip"} if "gzip" in name else {}
    with proxied.client() as client:
        answer = client.post(
            "https://api.openai.com/v1/chat/completions", content=body, headers=headers
        )
        assert answer.json() == {"error": {"message": "bad"}}
        row = proxied.rows()[0]
    assert server.received[0].body == body
    assert row["lane"] == "verbatim"
    assert row["notes"]


def test_a_huge_body_and_a_bomb_pass_and_are_noted(origin, proxied: Proxied) -> None:
    server = origin(lambda _: whole(b"{}"))
    huge = json.dumps({"model": "m", "messages": [{"role": "user", "content": "x" * 50_000_000}]})
    bomb = gzip.compress(bytes(200_000_000))
    with proxied.client(timeout=60) as client:
        url = "https://api.openai.com/v1/chat/completions"
        assert client.post(url, content=huge.encode()).status_code == 200
        answer = client.post(url, content=bomb, headers={"content-encoding": "gzip"})
        assert answer.status_code == 200
        first, second = proxied.rows(2)
    assert [len(each.body) for each in server.received] == [len(huge), len(bomb)]
    assert first["request_bytes"] == len(huge)
    assert "more than" in second["notes"][0]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/some/new/endpoint"),
        ("GET", "/v1/models"),
        ("POST", "/v1/embeddings"),
        ("DELETE", "/v1/files/f1"),
        ("OPTIONS", "/"),
    ],
)
def test_an_unknown_or_other_call_passes_untouched(
    origin, proxied: Proxied, method: str, path: str
) -> None:
    server = origin(lambda _: whole(b'{"ok": true }', b"X-Server: origin"))
    with proxied.client() as client:
        answer = client.request(
            method, f"https://api.openai.com{path}", content=b"\x00\x01 raw", headers={"a": "b"}
        )
        assert answer.content == b'{"ok": true }'
    assert server.received[0].head.split(b" ")[0] == method.encode()
    assert server.received[0].path == path
    assert server.received[0].body == b"\x00\x01 raw"


def test_a_break_in_mid_stream_is_passed_on_as_it_is(origin, proxied: Proxied) -> None:
    origin(lambda _: [*chunked(EVENTS)[:3], b""])
    with proxied.client() as client:
        received = b""

        def read() -> None:
            nonlocal received
            url = "https://api.openai.com/v1/chat/completions"
            with client.stream("POST", url, content=ODD_JSON) as answer:
                for piece in answer.iter_raw():
                    received += piece

        with pytest.raises(httpx.RemoteProtocolError):
            read()
        row = proxied.rows()[0]
    assert received == b"".join(EVENTS[:2])
    assert row["error"]
    assert row["ended"] is False


def test_another_host_is_not_decrypted(origin, proxied: Proxied) -> None:
    server = origin(lambda _: whole(b"plain"))
    url = f"https://localhost:{server.port}/v1/chat/completions"
    with httpx.Client(proxy=proxied.url, verify=trusting(server.ca)) as client:
        assert client.get(url).content == b"plain"
    # Had the proxy decrypted, its certificate would be the one that is shown.
    with (
        httpx.Client(proxy=proxied.url, verify=trusting(proxied.proxy.ca)) as client,
        pytest.raises(httpx.ConnectError, match=r"(?i)certificate"),
    ):
        client.get(url)
