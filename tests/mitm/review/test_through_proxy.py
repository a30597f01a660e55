"""Nobody reaches the operator's page through the proxy that it decides about: a real proxy, real
sockets, and every way to name the page that we know of."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from mitmproxy import options
from mitmproxy.tools.dump import DumpMaster

from llmitm.mitm.review.server import ReviewServer
from review_cases import Desk, card
from review_served import HASH, PASSWORD, Started, check, edited, port_of, run


@asynccontextmanager
async def proxied(
    tmp_path: Path, *, resolved: bool = True
) -> AsyncIterator[tuple[int, int, Desk, str]]:
    """(port of the proxy, port of the page, the desk, an operator's token). resolved: names that
    lead to the page are refused too, not only the sockets that come from the proxy."""
    desk = Desk()
    environ = {"LLMITM_HOME": str(tmp_path), "OPERATOR_PASSWORD_HASH": HASH}
    server = ReviewServer(desk.queue, check, edited, environ=environ)
    if not resolved:
        for hook in ("http_connect", "request", "server_connect"):
            setattr(server.through, hook, lambda _: None)
    master = DumpMaster(
        options.Options(listen_host="127.0.0.1", listen_port=0, confdir=str(tmp_path)),
        with_termlog=False,
        with_dumper=False,
    )
    started = Started()
    master.addons.add(server.through, server, started)
    master.options.update(
        connection_strategy="lazy", llm_review_listen="127.0.0.1:0", mode=["regular"]
    )
    running = asyncio.ensure_future(master.run())
    try:
        proxy = master.addons.get("proxyserver")
        await started.event.wait()
        page = port_of(server)
        body = json.dumps({"username": "admin", "password": PASSWORD}).encode()
        told = await http(page, "POST", "/api/v1/auth/login", page, body=body)
        token = json.loads(told.partition(b"\r\n\r\n")[2])["access_token"]
        yield proxy.listen_addrs()[0][1], page, desk, token
    finally:
        master.shutdown()
        with suppress(asyncio.CancelledError):
            await running


async def http(
    connect: int, method: str, target: str, page: int, token: str = "", body: bytes = b""
) -> bytes:
    """The whole answer to one request that is sent to the port `connect`."""
    reader, writer = await asyncio.open_connection("127.0.0.1", connect)
    writer.write(request(method, target, page, token, body))
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer


def request(method: str, target: str, page: int, token: str, body: bytes) -> bytes:
    signed = f"Authorization: Bearer {token}\r\n" if token else ""
    return (
        f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1:{page}\r\n{signed}Connection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


NAMES = (
    *("127.0.0.1", "localhost", "LOCALHOST", "localhost.", "127.1", "2130706433", "0x7f.1"),
    *("[::1]", "0.0.0.0", "127.8.8.8", "[::ffff:127.0.0.1]", "a.localhost", "0177.0.0.1"),
)


@pytest.mark.parametrize("name", NAMES)
def test_a_held_client_cannot_approve_itself(tmp_path: Path, name: str) -> None:
    async def story() -> None:
        async with proxied(tmp_path) as (proxy, page, desk, token):
            held = desk.offer(card("a"))
            path = "/llm/api/v1/requests/a/approve"
            body = json.dumps({"digest": desk.queue.view("a").digest}).encode()
            target = f"http://{name}:{page}{path}"
            answer = await http(proxy, "POST", target, page, token, body)
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"through_proxy" in answer
            assert (held.decisions, desk.queue.state("a")) == ([], "waiting")
            # The same request, sent directly, approves.
            assert b" 200 " in await http(page, "POST", path, page, token, body)
            assert len(held.decisions) == 1

    run(story())


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "[::1]", "127.1"])
def test_no_tunnel_to_the_page_is_opened(tmp_path: Path, name: str) -> None:
    async def story() -> None:
        async with proxied(tmp_path) as (proxy, page, _, __):
            answer = await http(proxy, "CONNECT", f"{name}:{page}", page)
            assert answer.startswith(b"HTTP/1.1 403 ")

    run(story())


def test_another_port_of_this_machine_can_be_reached(tmp_path: Path) -> None:
    async def story() -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            await writer.drain()
            writer.close()

        origin = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = origin.sockets[0].getsockname()[1]
        async with proxied(tmp_path) as (proxy, page, _, __):
            got = await http(proxy, "GET", f"http://127.0.0.1:{port}/", page)
            assert got.endswith(b"hi")
        origin.close()

    run(story())


def test_a_name_that_hides_where_it_leads_is_known_by_its_socket(tmp_path: Path) -> None:
    """As a name server's answer would do it: nothing in the request says that it is the page."""

    async def story() -> None:
        async with proxied(tmp_path, resolved=False) as (proxy, page, desk, token):
            held = desk.offer(card("a"))
            body = json.dumps({"digest": desk.queue.view("a").digest}).encode()
            path = "/llm/api/v1/requests/a/approve"
            target = f"http://127.0.0.1:{page}{path}"
            answer = await http(proxy, "POST", target, page, token, body)
            assert answer.startswith(b"HTTP/1.1 403 ")
            assert b"cannot be reached through the proxy" in answer
            # Inside a tunnel, where no request is seen.
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy)
            writer.write(f"CONNECT 127.0.0.1:{page} HTTP/1.1\r\n\r\n".encode())
            assert b"200" in await reader.readuntil(b"\r\n\r\n")
            writer.write(request("POST", path, page, token, body))
            assert (await asyncio.wait_for(reader.read(100), 20)).startswith(b"HTTP/1.1 403 ")
            writer.close()
            assert held.decisions == []
            for target in ("/ws", "/llm/ws"):
                url = f"http://127.0.0.1:{page}{target}?token={token}"
                assert (await http(proxy, "GET", url, page)).startswith(b"HTTP/1.1 403 ")
            # Who asks directly is not taken for the proxy.
            assert b" 200 " in await http(page, "GET", "/llm/api/v1/stats", page, token)

    run(story())


def test_a_reverse_proxy_to_the_page_is_none(tmp_path: Path) -> None:
    async def story() -> None:
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            free = one.getsockname()[1]
        desk = Desk()
        environ = {"LLMITM_HOME": str(tmp_path), "OPERATOR_PASSWORD_HASH": HASH}
        server = ReviewServer(desk.queue, check, edited, environ=environ)
        opts = options.Options(listen_host="127.0.0.1", listen_port=0, confdir=str(tmp_path))
        master = DumpMaster(opts, with_termlog=False, with_dumper=False)
        started = Started()
        master.addons.add(server.through, server, started)
        target = f"reverse:http://127.0.0.1:{free}"
        master.options.update(
            connection_strategy="lazy", llm_review_listen=f"127.0.0.1:{free}", mode=[target]
        )
        running = asyncio.ensure_future(master.run())
        proxy = master.addons.get("proxyserver")
        await started.event.wait()
        answer = await http(proxy.listen_addrs()[0][1], "GET", "/health", free)
        assert answer.startswith(b"HTTP/1.1 403 ")
        master.shutdown()
        with suppress(asyncio.CancelledError):
            await running

    run(story())
