"""A headless proxy and an operator at the own port: what they decide is what the client gets."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from proxied import Proxied, behind
from test_interfaces import free_port

from llmitm.sim.threads import SimThread
from review_served import HASH, PASSWORD

pytestmark = pytest.mark.end_to_end
API = "/llm/api/v1"
RULES = "rules:\n  - {name: all-requests, hold: request}\n"


def ask(proxied: Proxied) -> httpx.Response:
    message = {"role": "user", "content": "hello there"}
    with proxied.client() as client:
        return client.post(
            "https://api.openai.com/v1/chat/completions",
            headers={"authorization": "Bearer sk-of-the-client"},
            json={"model": "sim-text", "messages": [message]},
        )


def waiting(desk: httpx.Client) -> dict[str, Any]:
    for _ in range(2000):
        rows = desk.get(f"{API}/requests").raise_for_status().json()["requests"]
        if rows:
            return rows[0]
    raise AssertionError("nothing is held")


def test_the_client_gets_what_the_operator_decides(tmp_path: Path, sim: SimThread) -> None:
    port = free_port()
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "review.yaml").write_text(RULES)
    settings = [f"llm_rules={tmp_path / 'rules'}", f"llm_review_listen=127.0.0.1:{port}"]
    variables = {"OPERATOR_PASSWORD_HASH": HASH, "RATE_LIMIT_PER_MINUTE": "100000"}
    with (
        behind(tmp_path, sim, settings, variables) as proxied,
        ThreadPoolExecutor(1) as client,
        httpx.Client(base_url=f"http://127.0.0.1:{port}") as desk,
    ):
        login = {"username": "admin", "password": PASSWORD}
        token = desk.post("/api/v1/auth/login", json=login).json()["access_token"]
        desk.headers["authorization"] = f"Bearer {token}"

        def decide(how: str, body: Callable[[dict[str, Any]], dict[str, Any]]) -> httpx.Response:
            asked: Future[httpx.Response] = client.submit(ask, proxied)
            card = waiting(desk)
            path = f"{API}/requests/{card['request_id']}"
            # Who is held cannot let themselves go on, not even with the operator's token.
            with proxied.client() as through:
                refused = through.post(
                    f"http://127.0.0.1:{port}{path}/approve",
                    headers={"authorization": f"Bearer {token}"},
                    json={"digest": card["digest"]},
                )
            assert (refused.status_code, asked.done()) == (403, False)
            assert "sk-of-the-client" not in desk.get(path).text
            done = desk.post(f"{path}/{how}", json=body(card))
            assert done.json() == {"request_id": card["request_id"], "state": how}
            return asked.result(30)

        def text(answer: httpx.Response) -> str:
            assert answer.status_code == 200
            return answer.json()["choices"][0]["message"]["content"]

        approved = decide("approve", lambda card: {"digest": card["digest"]})
        assert "Your last message has 11 ch" in text(approved)

        def edit(card: dict[str, Any]) -> dict[str, Any]:
            document = card["document"].replace("hello there", "goodbye")
            return {"digest": card["digest"], "document": document}

        assert "Your last message has 7 ch" in text(decide("edit", edit))
        assert text(decide("answer", lambda _: {"content": "from me"})) == "from me"
        rejected = decide("reject", lambda _: {"reason": "not now"})
        assert rejected.status_code == 403
        assert rejected.json()["error"]["message"] == "not now"
        history = desk.get(f"{API}/history").json()["history"]
        assert [row["action"] for row in history] == ["reject", "answer", "edit", "approve"]
        assert {row["by"] for row in history} == {"admin"}
        assert desk.get("/health").json()["waiting"] == 0
