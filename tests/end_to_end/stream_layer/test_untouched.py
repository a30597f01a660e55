"""What nobody asked about is stock mitmproxy, byte for byte; a watching tap changes no byte."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from mitmproxy import http

from end_to_end.stream_layer.authority import Authority
from end_to_end.stream_layer.client import DEADLINE_S, Client
from end_to_end.stream_layer.house import House, ScriptedTap, house, run
from end_to_end.stream_layer.upstream import Call, upstream
from llmitm.mitm.stream_contract import Pass, Plan

pytestmark = pytest.mark.end_to_end

LENGTH = [("content-type", "text/plain"), ("content-length", "9")]
CHUNKED = [("content-type", "text/event-stream"), ("x-kept", "1")]


def whole(call: Call) -> None:
    call.answer(200, b"")


def plain(call: Call) -> None:
    call.head(200, LENGTH)
    call.data(b"12345")
    call.data(b"6789")
    call.end()


def chunked(call: Call) -> None:
    call.head(200, CHUNKED)
    for n in range(5):
        call.data(b"data: %d\n\n" % n)
    call.end()


def only_head(status: int, headers: list[tuple[str, str]]) -> Callable[[Call], None]:
    def answer(call: Call) -> None:
        call.head(status, headers)
        call.end()

    return answer


def trailers(call: Call) -> None:
    call.head(200, CHUNKED)
    call.data(b"data: 1\n\n")
    call.end([("grpc-status", "0")])


def midway(call: Call) -> None:
    call.head(200, LENGTH)
    call.data(b"12345")
    asyncio.get_running_loop().call_soon(call.break_off)


def websocket(call: Call) -> None:
    key = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    headers = [("upgrade", "websocket"), ("connection", "Upgrade")]
    call.head(101, [*headers, ("sec-websocket-accept", key)])


ANSWERS: dict[str, Callable[[Call], None]] = {
    "/length": plain,
    "/chunked": chunked,
    "/head": only_head(200, [("content-length", "12345")]),
    "/empty": whole,
    "/nothing": only_head(204, [("x-kept", "1")]),
    "/same": only_head(304, [("etag", '"1"')]),
    "/refused": lambda call: call.answer(418, b"teapot", [("x-kept", "1")]),
    "/trailers": trailers,
    "/broken": Call.break_off,
    "/midway": midway,
    "/ws": websocket,
}
PATHS = [path for path in ANSWERS if path != "/ws"]


async def scripted(call: Call) -> None:
    ANSWERS[call.path](call)


async def collect(
    proxy: House, port: int, version: str, path: str
) -> tuple[object, list[tuple[str, str]]]:
    client = await proxy.client(port, version)
    method = "HEAD" if path == "/head" else "POST"
    answer = client.request(path=path, method=method, body=b"" if path == "/head" else b"{}")
    ended = await answer.end()
    if version == "h1":
        seen: object = (bytes(client.raw), ended)
    else:
        seen = (answer.status, answer.headers, answer.body, answer.trailers, ended)
    return seen, [hook for hook in proxy.director.hooks if hook[1] == path]


def unchunked(seen: object) -> object:
    """An HTTP/1 answer with its chunks joined: chunks of one read go on as one (stream_merge)."""
    if not (isinstance(seen, tuple) and isinstance(seen[0], bytes)):
        return seen
    head, blank, rest = seen[0].partition(b"\r\n\r\n")
    if b"\r\ntransfer-encoding: chunked" not in head.lower():
        return seen
    body, ended = b"", False
    while rest and not ended:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        body, rest, ended = body + rest[:length], rest[length + 2 :], length == 0
    return head + blank + body, ended, *seen[1:]


def stream_all(flow: http.HTTPFlow) -> None:
    assert flow.response is not None
    flow.response.stream = True


@pytest.mark.parametrize("how", ["buffered", "streamed", "watched"])
def test_same_as_stock(
    how: str, client_version: str, upstream_version: str, authority: Authority, confdir: Path
) -> None:
    paths = list(PATHS)
    if (client_version, upstream_version) != ("h2", "h2"):
        paths.remove("/trailers")  # mitmproxy knows trailers on HTTP/2 only
    if how == "watched" and (client_version, upstream_version) == ("h1", "h2"):
        paths.remove("/chunked")  # see test_unframed_answer_is_framed

    async def scenario() -> None:
        seen: list[dict[str, object]] = []
        taps: dict[str, ScriptedTap] = {}

        def watch(flow: http.HTTPFlow) -> Plan:
            taps[flow.request.path] = tap = ScriptedTap(verdict=lambda response: Pass())
            return Plan(tap=tap)

        async with upstream(scripted, authority, upstream_version) as server:
            for swap in (False, True):
                async with house(
                    confdir, authority.certificate, upstream=upstream_version, swap=swap
                ) as proxy:
                    if how == "watched" and swap:
                        proxy.director.plan = watch
                    elif how != "buffered":
                        proxy.director.on_head = stream_all
                    got: dict[str, object] = {}
                    for path in paths:
                        answer, hooks = await collect(proxy, server.port, client_version, path)
                        hooks = [hook for hook in hooks if hook[0] != "llm_attempt_failed"]
                        got[path] = (unchunked(answer) if how == "watched" else answer, hooks)
                    seen.append(got)
        for path in paths:
            assert seen[0][path] == seen[1][path]
        if how == "watched":
            assert b"".join(taps["/length"].seen) == b"123456789"
            assert b"".join(taps["/midway"].seen) == b"12345"
            assert not taps["/head"].seen

    run(scenario())


def test_unframed_answer_is_framed(authority: Authority, confdir: Path) -> None:
    """From HTTP/2 to HTTP/1.1 a tapped answer is chunked, so that a break can be told."""

    async def scenario() -> None:
        async with (
            upstream(scripted, authority, "h2") as server,
            house(confdir, authority.certificate, upstream="h2") as proxy,
        ):
            tap = ScriptedTap()
            proxy.director.plan = lambda flow: Plan(tap=tap)
            client = await proxy.client(server.port, "h1")
            for _ in range(2):
                answer = client.request(path="/chunked")
                assert await answer.end() == "end"
                assert answer.headers["transfer-encoding"] == "chunked"
                assert answer.body == b"".join(b"data: %d\n\n" % n for n in range(5))
            assert b"".join(tap.seen) == answer.body * 2

    run(scenario())


@pytest.mark.parametrize("steered", [True, False])
def test_websocket(steered: bool, authority: Authority, confdir: Path) -> None:
    async def scenario() -> None:
        async with (
            upstream(scripted, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap()) if steered else None
            client = await proxy.client(server.port)
            client.writer.write(
                f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nUpgrade: websocket\r\n"
                "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
            )
            await proxy.until(lambda: b"\r\n\r\n" in client.raw, "the upgrade")
            assert client.raw.startswith(b"HTTP/1.1 101")
            mask, text = b"\1\2\3\4", b"hello"
            masked = bytes(byte ^ mask[at % 4] for at, byte in enumerate(text))
            for count in (1, 2):
                client.writer.write(bytes([0x81, 0x80 | len(text)]) + mask + masked)
                await proxy.until(lambda n=count: client.raw.count(b"\x81\5hello") == n, "the echo")
            flow = proxy.director.flows["/ws"]
            assert flow.websocket is not None
            await client.close()
            await proxy.until(lambda: not flow.live, "the flow ends")

    run(scenario())


@pytest.mark.parametrize("steered", [True, False])
def test_plain_http(steered: bool, authority: Authority, confdir: Path) -> None:
    """Without TLS and CONNECT: a proxy request in absolute form."""

    async def scenario() -> None:
        async with (
            upstream(scripted, None) as server,
            house(confdir, authority.certificate) as proxy,
        ):
            proxy.director.plan = lambda flow: Plan(tap=ScriptedTap()) if steered else None
            address = f"http://127.0.0.1:{server.port}"
            async with httpx.AsyncClient(proxy=f"http://127.0.0.1:{proxy.port}") as client:
                for path in ("/length", "/chunked", "/empty", "/refused"):
                    answer = await client.get(address + path, timeout=DEADLINE_S)
                    direct = await httpx.AsyncClient(trust_env=False).get(address + path)
                    assert (answer.status_code, answer.content) == (
                        direct.status_code,
                        direct.content,
                    )
                    assert answer.headers == direct.headers

    run(scenario())


class OnlyHttp2(ssl.SSLContext):
    """httpx offers HTTP/1.1 first, and mitmproxy takes the client's first offer."""

    def set_alpn_protocols(self, alpn_protocols: object) -> None:
        super().set_alpn_protocols(["h2"])


def test_httpx_over_http2(authority: Authority, confdir: Path) -> None:
    async def scenario() -> None:
        async with (
            upstream(scripted, authority, "h2") as server,
            house(confdir, authority.certificate, upstream="h2") as proxy,
        ):
            trust = OnlyHttp2(ssl.PROTOCOL_TLS_CLIENT)
            trust.load_verify_locations(cafile=str(proxy.trust))
            tap = ScriptedTap(verdict=Pass(changes=True), on_feed=bytes.upper)
            proxy.director.plan = lambda flow: Plan(tap=tap)
            async with httpx.AsyncClient(
                http2=True, verify=trust, proxy=f"http://127.0.0.1:{proxy.port}"
            ) as client:
                answers = await asyncio.gather(
                    *(
                        client.get(f"https://127.0.0.1:{server.port}/chunked", timeout=DEADLINE_S)
                        for _ in range(20)
                    )
                )
            assert {answer.http_version for answer in answers} == {"HTTP/2"}
            body = b"".join(b"DATA: %d\n\n" % n for n in range(5))
            assert {answer.content for answer in answers} == {body}

    run(scenario())


def test_steering_too_late_is_refused(authority: Authority, confdir: Path) -> None:
    async def scenario() -> None:
        async with (
            upstream(scripted, authority) as server,
            house(confdir, authority.certificate) as proxy,
        ):

            def late(flow: http.HTTPFlow) -> None:
                with pytest.raises(ValueError, match="too late"):
                    proxy.director.streams.steer(flow, Plan())

            proxy.director.on_head = late
            client: Client = await proxy.client(server.port)
            answer = client.request(path="/length")
            assert await answer.end() == "end"
            flow = proxy.director.flows["/length"]
            with pytest.raises(ValueError, match="not a live exchange"):
                proxy.director.streams.steer(flow, Plan())
            with pytest.raises(ValueError, match="not a live exchange"):
                proxy.director.streams.steer(flow.copy(), Plan())

    run(scenario())
