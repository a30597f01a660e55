"""The page inside mitmweb: its login, its XSRF check, no way in through the proxy."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from mitmproxy import options
from mitmproxy.tools.web.master import WebMaster
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.websocket import WebSocketClientConnection, websocket_connect

from llmitm.mitm.review.server import ReviewServer
from review_cases import Desk, card
from review_served import (
    Heard,
    Started,
    check,
    closed,
    edited,
    errors_of,
    run,
    said,
    said_until,
    say,
)

API = "/llm/api/v1"


@dataclass
class Web:
    port: int
    proxy: int
    password: str
    desk: Desk
    heard: Heard
    server: ReviewServer

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        **headers: str,
    ) -> HTTPResponse:
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        if body is not None:
            sent.setdefault("Content-Type", "application/json")
        request = HTTPRequest(
            f"http://127.0.0.1:{self.port}{path}",
            method=method,
            headers=sent,
            body=body,
            allow_nonstandard_methods=True,
            follow_redirects=False,
        )
        return await AsyncHTTPClient(force_instance=True).fetch(request, raise_error=False)

    async def jar(self) -> str:
        """The cookies of a browser that has logged in."""
        told = await self.ask("GET", f"/llm/?token={self.password}")
        assert told.code == 303
        pairs = [each.partition(";")[0] for each in told.headers.get_list("Set-Cookie")]
        page = await self.ask("GET", "/llm/", Cookie="; ".join(pairs))
        assert page.code == 200
        pairs += [each.partition(";")[0] for each in page.headers.get_list("Set-Cookie")]
        return "; ".join(pairs)

    async def socket(self, query: str = "", **headers: str) -> WebSocketClientConnection:
        url = f"ws://127.0.0.1:{self.port}/llm/ws{query}"
        return await websocket_connect(HTTPRequest(url, headers=dict(headers)))


def xsrf_of(jar: str) -> str:
    found = re.search(r"_mitmproxy_xsrf=([^;]+)", jar)
    assert found
    return found[1]


@asynccontextmanager
async def mitmweb(tmp_path: Path, **environ: str) -> AsyncIterator[Web]:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    desk = Desk()
    server = ReviewServer(
        desk.queue, check, edited, environ={"LLMITM_HOME": str(tmp_path), **environ}
    )
    master = WebMaster(
        options.Options(listen_host="127.0.0.1", listen_port=0, confdir=str(tmp_path)),
        with_termlog=False,
    )
    started = Started()
    master.addons.add(server.through, server, started)
    master.options.update(
        web_port=port, web_open_browser=False, web_password="hunter2", connection_strategy="lazy"
    )
    heard = Heard()
    logging.getLogger().addHandler(heard)
    running = asyncio.ensure_future(master.run())
    try:
        proxy: Any = master.addons.get("proxyserver")
        await started.event.wait()
        web = Web(port, proxy.listen_addrs()[0][1], "hunter2", desk, heard, server)
        yield web
    finally:
        logging.getLogger().removeHandler(heard)
        master.shutdown()
        with suppress(asyncio.CancelledError):
            await running


def test_who_is_not_logged_in_to_mitmweb_gets_nothing(tmp_path: Path) -> None:
    async def story() -> None:
        async with mitmweb(tmp_path) as web:
            web.desk.offer(card("a"))
            for path in ("requests", "requests/a", "stats", "schema", "auth/me"):
                told = await web.ask("GET", f"{API}/{path}")
                assert told.code == 403
                assert errors_of(told)["code"] == "unauthorized"
            with pytest.raises(HTTPClientError, match="403"):
                await web.socket()
            with pytest.raises(HTTPClientError, match="403"):
                await web.socket("?token=wrong")
            page = await web.ask("GET", "/llm/")
            assert page.code == 403
            assert b'type="password"' in page.body
            assert b"<script" not in page.body
            form = f"token={web.password}&_xsrf=".encode()
            pairs = page.headers.get_list("Set-Cookie")
            cookie = "; ".join(each.partition(";")[0] for each in pairs)
            sent = form + xsrf_of(cookie).encode()
            kind = "application/x-www-form-urlencoded"
            told = await web.ask("POST", "/llm/", sent, Cookie=cookie, Content_Type=kind)
            assert (told.code, told.headers["Location"]) == (303, "/llm/")
            assert any("mitmproxy-auth" in each for each in told.headers.get_list("Set-Cookie"))

    run(story())


def test_mitmwebs_login_is_enough(tmp_path: Path) -> None:
    async def story() -> None:
        async with mitmweb(tmp_path) as web:
            held = web.desk.offer(card("a"))
            jar = await web.jar()
            me = json.loads((await web.ask("GET", f"{API}/auth/me?operator=ann", Cookie=jar)).body)
            assert me["operator"] == "ann@mitmweb"
            body = json.dumps({"digest": web.desk.queue.view("a").digest}).encode()
            path = f"{API}/requests/a/approve"
            assert (await web.ask("POST", path, body, Cookie=jar)).code == 403
            wrong = await web.ask("POST", path, body, Cookie=jar, X_XSRFToken="2|a|b|1")
            assert wrong.code == 403
            crossed = {"Sec-Fetch-Site": "cross-site", "X_XSRFToken": xsrf_of(jar)}
            assert (await web.ask("POST", path, body, Cookie=jar, **crossed)).code == 403
            assert held.decisions == []
            told = await web.ask("POST", path, body, Cookie=jar, X_XSRFToken=xsrf_of(jar))
            assert json.loads(told.body) == {"request_id": "a", "state": "approve"}
            assert web.desk.queue.history()[0].by == "mitmweb"
            # A script shows the password instead, and the same word twice.
            asked = await web.ask("GET", f"{API}/stats", Authorization="Bearer hunter2")
            assert asked.code == 200

    run(story())


def test_the_page_and_its_files_are_served_as_on_the_own_port(tmp_path: Path) -> None:
    async def story() -> None:
        async with mitmweb(tmp_path) as web:
            jar = await web.jar()
            for name, kind in (("", "text/html"), ("main.js", "text/javascript")):
                told = await web.ask("GET", f"/llm/{name}", Cookie=jar)
                assert told.code == 200
                assert told.headers["Content-Type"].startswith(kind)
                assert "unsafe" not in told.headers["Content-Security-Policy"]
                assert told.headers["X-Content-Type-Options"] == "nosniff"
            assert (await web.ask("GET", "/llm/none.js", Cookie=jar)).code == 404
            assert (await web.ask("GET", "/llm", Cookie=jar)).headers["Location"] == "/llm/"
            # mitmweb's own pages are where they were.
            assert (await web.ask("GET", "/flows", Cookie=jar)).code == 200

    run(story())


def test_a_websocket_in_mitmweb(tmp_path: Path) -> None:
    async def story() -> None:
        async with mitmweb(tmp_path, OPERATOR_USERNAME="kim", MAX_REQUEST_SIZE="4096") as web:
            line = await web.socket("?token=hunter2&operator=ann")
            first = await said(line)
            assert first["data"]["operator"] == "ann@kim"
            held = web.desk.offer(card("a"))
            await said_until(line, "new_request")
            await say(line, "reject_request", request_id="a", reason="no")
            assert (await said_until(line, "request_decided"))["by"] == "ann@kim"
            assert len(held.decisions) == 1
            with pytest.raises(HTTPClientError, match="403"):
                await web.socket("?token=hunter2", Origin="http://evil.example")
            too_large = b'{"content": "' + b"x" * 5000 + b'"}'
            jar = await web.jar()
            told = await web.ask(
                "POST", f"{API}/requests/a/answer", too_large, Cookie=jar, X_XSRFToken=xsrf_of(jar)
            )
            assert told.code == 413
            await say(line, "reject_request", reason="x" * 5000)
            assert await closed(line) == 1009
            assert not [text for text in web.heard.lines if "hunter2" in text]

    run(story())


def test_nothing_of_mitmweb_is_reached_through_the_proxy(tmp_path: Path) -> None:
    async def story() -> None:
        async with mitmweb(tmp_path) as web:
            for path in ("/", "/flows", "/llm/", f"{API}/stats", "/commands/llm.approve"):
                target = f"http://127.0.0.1:{web.port}{path}?token=hunter2"
                assert (await through(web, target)).startswith(b"HTTP/1.1 403 ")
            # As if a name had hidden where it leads.
            for hook in ("http_connect", "request", "server_connect"):
                setattr(web.server.through, hook, lambda _: None)
            for path in ("/", "/flows", "/llm/", f"{API}/stats"):
                target = f"http://127.0.0.1:{web.port}{path}?token=hunter2"
                answer = await through(web, target)
                assert answer.startswith(b"HTTP/1.1 403 ")
                assert b"cannot be reached through the proxy" in answer

    run(story())


async def through(web: Web, target: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", web.proxy)
    head = f"GET {target} HTTP/1.1\r\nHost: 127.0.0.1:{web.port}\r\nConnection: close\r\n\r\n"
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    return answer
