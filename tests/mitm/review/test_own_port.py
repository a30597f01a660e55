"""The own port: who may come in, who is signed in, how often, how much."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from mitmproxy import exceptions
from mitmproxy.test import taddons
from tornado.httpclient import HTTPClientError

from llmitm import __version__
from llmitm.mitm.review.server import ReviewServer
from llmitm.mitm.review_file import left
from review_cases import Desk, card
from review_served import (
    HASH,
    PASSWORD,
    Served,
    check,
    closed,
    edited,
    errors_of,
    run,
    said,
    served,
)

LOGIN = "/api/v1/auth/login"


def test_health_needs_no_login(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            one.desk.offer(card())
            told = await one.ask("GET", "/health")
            assert told.code == 200
            assert json.loads(told.body) == {"status": "ok", "version": __version__, "waiting": 1}

    run(story())


def test_a_login_gives_a_token_that_is_good_in_a_header_and_in_a_websockets_address(
    tmp_path: Path,
) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            told = await one.ask("POST", LOGIN, {"username": "admin", "password": PASSWORD})
            got = json.loads(told.body)
            assert got["token_type"] == "bearer"
            assert got["expires_in"] == 480 * 60
            token = got["access_token"]
            me = await one.ask("GET", "/api/v1/auth/me?operator=ann", token=token)
            assert json.loads(me.body) == {
                "username": "admin",
                "operator": "ann@admin",
                "expires_at": one.seconds[0] + 480 * 60,
            }
            assert (await said(await one.socket(token)))["type"] == "snapshot"
            # In an address a token is good for a WebSocket alone.
            for path in ("/llm/api/v1/stats", "/api/v1/auth/me"):
                assert (await one.ask("GET", f"{path}?token={token}")).code == 401

    run(story())


@pytest.mark.parametrize(
    ("username", "password"),
    [("admin", "wrong"), ("nobody", PASSWORD), ("", ""), ("admin", "x" * 4000), ("ädmin", "ß")],
)
def test_a_wrong_name_is_told_as_a_wrong_password_is(
    tmp_path: Path, username: str, password: str
) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            told = await one.ask("POST", LOGIN, {"username": username, "password": password})
            assert told.code == 401
            assert "do not belong together" in errors_of(told)["message"]
            assert "Set-Cookie" not in told.headers

    run(story())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"username": 1}', b"\xff\xfe", b"null"])
def test_what_is_no_login_is_a_bad_request(tmp_path: Path, body: bytes) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            told = await one.ask("POST", LOGIN, raw=body)
            assert told.code == 400
            assert errors_of(told)["code"] == "invalid"

    run(story())


def test_ten_logins_a_minute(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            wrong = {"username": "admin", "password": "wrong"}
            codes = [(await one.ask("POST", LOGIN, wrong)).code for _ in range(11)]
            assert codes == [401] * 10 + [429]
            right = {"username": "admin", "password": PASSWORD}
            refused = await one.ask("POST", LOGIN, right)
            assert refused.code == 429
            one.later(int(refused.headers["Retry-After"]))
            assert (await one.ask("POST", LOGIN, right)).code == 200

    run(story())


def test_a_token_runs_out_and_takes_its_websocket_along(tmp_path: Path) -> None:
    async def story() -> None:
        environ = {"OPERATOR_PASSWORD_HASH": HASH, "ACCESS_TOKEN_EXPIRE_MINUTES": "5"}
        async with served(tmp_path, environ) as one:
            token = await one.log_in()
            one.later(299)
            assert (await one.ask("GET", "/api/v1/auth/me", token=token)).code == 200
            one.later(1)
            assert (await one.ask("GET", "/api/v1/auth/me", token=token)).code == 401
            with pytest.raises(HTTPClientError, match="401"):
                await one.socket(token)
            # One that is opened in the last moment is closed when that is over.
            one.seconds[0] -= 0.02
            assert await closed(await one.socket(token)) == 1008

    run(story())


def test_who_signs_out_is_out_everywhere_and_after_a_restart(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token, other = await one.log_in(), await one.log_in()
            opened = await one.socket(token)
            await said(opened)
            left = await one.ask("POST", "/api/v1/auth/logout", token=token)
            assert json.loads(left.body) == {"signed_out": True}
            assert await closed(opened) == 1008
            assert (await one.ask("GET", "/api/v1/auth/me", token=token)).code == 401
            assert (await one.ask("GET", "/api/v1/auth/me", token=other)).code == 200
        async with served(tmp_path) as again:
            assert (await again.ask("GET", "/api/v1/auth/me", token=token)).code == 401
            assert (await again.ask("GET", "/api/v1/auth/me", token=other)).code == 200

    run(story())


def test_another_password_signs_everybody_out(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
        environ = {"OPERATOR_PASSWORD_HASH": HASH.replace("argon2id$v=19", "argon2id$v=19")[:-1]}
        environ["OPERATOR_PASSWORD_HASH"] += "A" if HASH[-1] != "A" else "B"
        async with served(tmp_path, environ) as again:
            assert (await again.ask("GET", "/api/v1/auth/me", token=token)).code == 401

    run(story())


@pytest.mark.parametrize("token", ["", "x", "e30", "a.b.c", "%00", "=" * 40, "A" * 5000])
def test_what_is_no_token_is_nobodys(tmp_path: Path, token: str) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            headers = {"Authorization": f"Bearer {token}"}
            told = await one.ask("GET", "/llm/api/v1/requests", headers=headers)
            assert told.code == 401
            assert errors_of(told)["code"] == "unauthorized"

    run(story())


def test_a_token_that_was_changed_anywhere_is_nobodys(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            for place in range(0, len(token), 7):
                swapped = "B" if token[place] == "A" else "A"
                bent = token[:place] + swapped + token[place + 1 :]
                told = await one.ask("GET", "/api/v1/auth/me", token=bent)
                # The last letter has bits that stand for nothing.
                assert told.code == 401 or place == len(token) - 1, place

    run(story())


def cookies(one: Served, headers: list[str]) -> dict[str, str]:
    pairs = [header.partition(";")[0].split("=", 1) for header in headers]
    assert all(
        "HttpOnly" in header and "SameSite=Strict" in header
        for header in headers
        if header.startswith(f"llmitm-review-{one.port}=")
    )
    return {pair[0]: pair[1] for pair in pairs}


def test_a_cookie_needs_the_xsrf_header_for_whatever_changes_something(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            told = await one.ask("POST", LOGIN, {"username": "admin", "password": PASSWORD})
            jar = cookies(one, told.headers.get_list("Set-Cookie"))
            sent = {"Cookie": "; ".join(f"{name}={text}" for name, text in jar.items())}
            assert (await one.ask("GET", "/llm/api/v1/stats", headers=sent)).code == 200
            one.desk.offer(card())
            path, body = "/llm/api/v1/requests/c1/reject", {"reason": "no"}
            refused = await one.ask("POST", path, body, headers=sent)
            assert refused.code == 403
            assert "X-XSRFToken" in errors_of(refused)["message"]
            wrong = await one.ask("POST", path, body, headers=sent | {"X-XSRFToken": "wrong"})
            assert wrong.code == 403
            right = sent | {"X-XSRFToken": jar["_mitmproxy_xsrf"]}
            assert (await one.ask("POST", path, body, headers=right)).code == 200
            # Another site's page on the same machine has the same cookies, and may not use them.
            foreign = right | {"Origin": "http://localhost:3000"}
            assert (await one.ask("GET", "/llm/api/v1/stats", headers=foreign)).code == 401

    run(story())


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"Host": "rebound.example"}, 421),
        ({"Host": "rebound.example:8082"}, 421),
        ({"Host": "127.0.0.1.rebound.example"}, 421),
        ({"Host": "["}, 421),
        ({"Host": "localhost:9"}, 200),
        ({"Host": "desk.localhost"}, 200),
        ({"Host": "[::1]:9"}, 200),
        ({"Host": "10.0.0.7"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:3000"}, 200),
    ],
)
def test_a_foreign_host_or_origin_may_not_ask(
    tmp_path: Path, headers: dict[str, str], code: int
) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            told = await one.ask("GET", "/llm/api/v1/stats", token=token, headers=headers)
            assert told.code == code
            if "Origin" in headers:
                allowed = told.headers.get("Access-Control-Allow-Origin")
                assert allowed == (headers["Origin"] if code == 200 else None)
                assert "Access-Control-Allow-Credentials" not in told.headers

    run(story())


def test_a_browser_may_ask_before_it_asks_from_an_allowed_site(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            path = "/llm/api/v1/requests/c1/approve"
            asks = {"Access-Control-Request-Method": "POST"}
            told = await one.ask(
                "OPTIONS", path, headers=asks | {"Origin": "http://localhost:5173"}
            )
            assert told.code == 204
            assert told.headers["Access-Control-Allow-Origin"] == "http://localhost:5173"
            assert "Authorization" in told.headers["Access-Control-Allow-Headers"]
            told = await one.ask("OPTIONS", path, headers=asks | {"Origin": "http://x.example"})
            assert told.code == 403
            crossed = {"Sec-Fetch-Site": "cross-site"}
            login = {"username": "admin", "password": PASSWORD}
            assert (await one.ask("POST", LOGIN, login, headers=crossed)).code == 403

    run(story())


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://evil.example"}, {"Host": "evil.example"}, {"Origin": "null"}]
)
def test_a_foreign_site_gets_no_websocket(tmp_path: Path, headers: dict[str, str]) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            with pytest.raises(HTTPClientError):
                await one.socket(token, headers=headers)
            cookie = {"Cookie": f"llmitm-review-{one.port}={token}"}
            with pytest.raises(HTTPClientError):
                await one.socket("", headers=cookie | headers)
            with pytest.raises(HTTPClientError):
                await one.socket("", headers=cookie | {"Origin": "http://localhost:3000"})
            same = cookie | {"Origin": one.root}
            assert (await said(await one.socket("", headers=same)))["type"] == "snapshot"

    run(story())


def test_sixty_requests_a_minute_but_the_page_comes(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, {"OPERATOR_PASSWORD_HASH": HASH}) as one:
            token = await one.log_in()
            codes = [
                (await one.ask("GET", "/llm/api/v1/stats", token=token)).code for _ in range(60)
            ]
            assert codes == [200] * 59 + [429]
            for path in ("/llm/", "/llm/review.css", "/health"):
                assert (await one.ask("GET", path)).code == 200
            one.later(121)
            assert (await one.ask("GET", "/llm/api/v1/stats", token=token)).code == 200

    run(story())


def test_a_body_that_is_too_large_is_refused_and_not_kept(tmp_path: Path) -> None:
    async def story() -> None:
        environ = {"OPERATOR_PASSWORD_HASH": HASH, "MAX_REQUEST_SIZE": "2048"}
        async with served(tmp_path, environ) as one:
            token = await one.log_in()
            one.desk.offer(card())
            path = "/llm/api/v1/requests/c1/answer"
            right = await one.ask("POST", path, {"content": "x" * 4000}, token=token)
            assert right.code == 413
            assert errors_of(right)["code"] == "too_large"
            assert (await one.ask("POST", LOGIN, {"username": "x" * 9000})).code == 413
            assert await chunked(one, token, path, [b'{"content": "', b"x" * 1500, b'"}']) == 200
            one.desk.offer(card("c2"))
            many = [b'{"content": "', *[b"x" * 1500] * 9, b'"}']
            assert await chunked(one, token, path.replace("c1", "c2"), many) == 413
            opened = await one.socket(token)
            await said(opened)
            await opened.write_message(json.dumps({"type": "x" * 3000}))
            assert await closed(opened) == 1009
            assert one.desk.queue.state("c2") == "waiting"

    run(story())


async def chunked(one: Served, token: str, path: str, chunks: list[bytes]) -> int:
    """The status for a body whose length is not said before."""
    reader, writer = await asyncio.open_connection("127.0.0.1", one.port)
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
    writer.write(head.encode() + b"Content-Type: application/json\r\n")
    writer.write(b"Transfer-Encoding: chunked\r\n\r\n")
    for chunk in chunks:
        writer.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
    writer.write(b"0\r\n\r\n")
    status = int((await asyncio.wait_for(reader.readline(), 20)).split()[1])
    writer.close()
    return status


def test_every_answer_is_guarded(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            for path in ("/llm/", "/llm/main.js", "/llm/api/v1/stats", "/nothing", "/llm/x.js"):
                told = await one.ask("GET", path, token=token)
                csp = told.headers["Content-Security-Policy"]
                assert "frame-ancestors 'none'" in csp
                assert "unsafe" not in csp
                assert told.headers["X-Content-Type-Options"] == "nosniff"
                assert told.headers["Server"] == "llmitm"
                cached = "no-cache" if path in ("/llm/", "/llm/main.js") else "no-store"
                assert told.headers["Cache-Control"] == cached
            assert (await one.ask("GET", "/nothing")).code == 404
            assert (await one.ask("PATCH", "/llm/api/v1/stats", token=token, raw=b"")).code == 405
            assert (await one.ask("GET", "/llm/../../etc/passwd")).code == 404
            assert (await one.ask("GET", "/llm/%2e%2e/%2e%2e/pyproject.toml")).code == 404

    run(story())


def test_without_a_password_there_is_an_address_that_is_good_once(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path, {}) as one:
            [url] = one.server.urls()
            root, _, token = url.partition("?token=")
            assert root == f"{one.root}/llm/"
            assert len(token) > 40
            assert any(url in line for line in one.heard.lines)
            assert (await one.ask("GET", "/llm/api/v1/stats", token=token)).code == 401
            opened = await one.ask("GET", f"/llm/?token={token}")
            assert opened.code == 303
            assert opened.headers["Location"] == "/llm/"
            jar = cookies(one, opened.headers.get_list("Set-Cookie"))
            name = f"llmitm-review-{one.port}"
            sent = {"Cookie": f"{name}={jar[name]}"}
            assert (await one.ask("GET", "/llm/api/v1/stats", headers=sent)).code == 200
            spent = await one.ask("GET", f"/llm/?token={token}")
            assert name not in cookies(one, spent.headers.get_list("Set-Cookie"))
            # The next one has been said, and is as good as a password.
            [following] = one.server.urls()
            assert following != url
            assert any(following in line for line in one.heard.lines)
            assert await one.log_in(following.partition("?token=")[2])
            assert (await one.ask("POST", LOGIN, {"username": "admin", "password": ""})).code == 401

    run(story())


@pytest.mark.parametrize(
    ("listen", "environ", "say"),
    [
        ("0.0.0.0:0", {}, "OPERATOR_PASSWORD_HASH must be set"),
        ("[::]:0", {}, "OPERATOR_PASSWORD_HASH must be set"),
        ("10.1.2.3:80", {}, "OPERATOR_PASSWORD_HASH must be set"),
        ("desk.example:80", {}, "write an address and a port"),
        ("127.0.0.1:99999", {}, "0..65535"),
        ("127.0.0.1:", {}, "0..65535"),
        ("127.0.0.1:0", {"OPERATOR_PASSWORD_HASH": "hunter2hunter2"}, "not an argon2 hash"),
        ("127.0.0.1:0", {"SECRET_KEY": "hunter2"}, "SECRET_KEY: has less than 32"),
        ("127.0.0.1:0", {"ACCESS_TOKEN_EXPIRE_MINUTES": "0"}, "ACCESS_TOKEN_EXPIRE_MINUTES"),
        ("127.0.0.1:0", {"RATE_LIMIT_PER_MINUTE": "-1"}, "RATE_LIMIT_PER_MINUTE"),
        ("127.0.0.1:0", {"MAX_REQUEST_SIZE": "1e9"}, "MAX_REQUEST_SIZE"),
        ("127.0.0.1:0", {"CORS_ORIGINS": "*"}, "CORS_ORIGINS"),
        ("127.0.0.1:0", {"OPERATOR_USERNAME": "a|b"}, "OPERATOR_USERNAME"),
        ("127.0.0.1:0", {"LLMITM_REVIEW_FILE": "nope"}, "neither yes nor no"),
    ],
)
def test_what_must_not_be_served_is_not(
    tmp_path: Path, listen: str, environ: dict[str, str], say: str
) -> None:
    home = {"LLMITM_HOME": str(tmp_path)}
    server = ReviewServer(Desk().queue, check, edited, environ=home | environ)
    with taddons.context(server) as context:
        with pytest.raises(exceptions.OptionsError) as error:
            context.configure(server, llm_review_listen=listen)
        assert say in str(error.value)
        assert "hunter2" not in str(error.value)


def test_a_program_of_the_same_user_finds_a_token_while_the_port_is_open(tmp_path: Path) -> None:
    home = tmp_path / "home"

    async def story() -> None:
        async with served(tmp_path) as one:
            told = left(home)
            assert told is not None
            url, token = told
            assert url == one.root
            assert (home / "review.json").stat().st_mode & 0o777 == 0o600
            assert not any(token in line for line in one.heard.lines)
            line = await one.socket(token)
            assert (await said(line))["data"]["operator"] == "admin"
            assert (await one.ask("GET", f"/llm/api/v1/stats?token={token}")).code == 401
            one.later(10 * 365 * 24 * 3600)
            assert (await one.ask("GET", "/api/v1/auth/me", token=token)).code == 200
            await one.ask("POST", "/api/v1/auth/logout", token=token)
            assert await closed(line) == 1008
            assert (await one.ask("GET", "/api/v1/auth/me", token=token)).code == 401
        assert left(home) is None
        environ = {"OPERATOR_PASSWORD_HASH": HASH, "LLMITM_REVIEW_FILE": "no"}
        async with served(tmp_path, environ):
            assert left(home) is None

    run(story())


def test_a_port_that_is_taken_is_told(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            other = ReviewServer(
                Desk().queue, check, edited, environ={"LLMITM_HOME": str(tmp_path)}
            )
            with taddons.context(other) as context:
                context.configure(other, llm_review_listen=f"127.0.0.1:{one.port}")
                other.running()
                assert other.urls() == ()
                other.done()
            assert any(f"no review page at 127.0.0.1:{one.port}" in s for s in one.heard.lines)

    run(story())


def test_the_option_can_be_changed_while_it_runs(tmp_path: Path) -> None:
    async def story() -> None:
        async with served(tmp_path) as one:
            token = await one.log_in()
            opened = await one.socket(token)
            await said(opened)
            one.context.configure(one.server, llm_review_listen="")
            assert one.server.urls() == ()
            assert await closed(opened) == 1001
            with pytest.raises(ConnectionRefusedError):
                await one.ask("GET", "/health")
            one.context.configure(one.server, llm_review_listen="[::1]:0")
            [url] = one.server.urls()
            assert url.startswith("http://[::1]:")
            one.context.configure(one.server, llm_review_listen=f"127.0.0.1:{one.port}")
            # Who had logged in still is: the key is kept.
            assert (await one.ask("GET", "/api/v1/auth/me", token=token)).code == 200
            with pytest.raises(exceptions.OptionsError):
                one.context.configure(one.server, llm_review_listen="0.0.0.0:nowhere")
            assert (await one.ask("GET", "/health")).code == 200

    run(story())


def test_no_secret_is_in_the_log_nor_in_an_error(tmp_path: Path) -> None:
    async def story() -> None:
        environ = {"OPERATOR_PASSWORD_HASH": HASH, "SECRET_KEY": "k" * 40 + "-signing-key"}
        async with served(tmp_path, environ) as one:
            token = await one.log_in()
            told = [
                await one.ask("POST", LOGIN, {"username": "admin", "password": "hunter2-secret"}),
                await one.ask("POST", LOGIN, raw=b'{"password": "hunter2-secret"'),
                await one.ask("GET", f"/ws?token={token}"),
                await one.ask("GET", "/ws?token=hunter2-secret"),
                await one.ask("GET", "/llm/api/v1/nothing?token=hunter2-secret", token=token),
                await one.ask("GET", "/llm/api/v1/stats?token=hunter2-secret"),
                await one.ask("GET", "/llm/?token=hunter2-secret", headers={"Host": "evil"}),
            ]
            opened = await one.socket(token)
            await said(opened)
            await opened.write_message("{" + token)
            told_there = json.dumps(await said(opened))
            log = "\n".join(one.heard.lines)
            bodies = b"".join(each.body or b"" for each in told).decode() + told_there
            for secret in (token, "hunter2-secret", "-signing-key", PASSWORD, HASH):
                assert secret not in log
                assert secret not in bodies
            assert "/ws" in log

    run(story())
