"""Held by hand: by command, by mitmproxy's own intercept filter, by a rule with such a filter."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from reviewed import Reviewed, reviewed
from sdks import ask

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

CHAT = "https://api.openai.com/v1/chat/completions"
REVIEW = """
rejoin_s: 0
timeout_s: 40
rules:
  - {name: team, hold: request, filter: "~hq x-team.*blue"}
"""
SOON = {"routes.yaml": "times: {heartbeat_grace_s: 0, keepalive_interval_s: 0.05}\n"}
ASKED: dict[str, Any] = {"model": "sim-text", "messages": [{"role": "user", "content": "Hello?"}]}


@pytest.fixture(scope="module")
def place(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
    with reviewed(tmp_path_factory.mktemp("by-hand"), sim, REVIEW, SOON) as found:
        yield found


@pytest.fixture
def later() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as threads:
        yield threads


@pytest.fixture
def client(place: Reviewed) -> Iterator[httpx.Client]:
    with place.proxied.client() as one:
        yield one


def again(answer: httpx.Response, words: str) -> dict[str, Any]:
    """The next request of a conversation."""
    said = answer.json()["choices"][0]["message"]
    more = [{"role": "assistant", "content": said["content"]}, {"role": "user", "content": words}]
    return {**ASKED, "messages": [*json.loads(answer.request.content)["messages"], *more]}


def test_what_follows_in_a_conversation_is_held_and_nothing_else(
    place: Reviewed, client: httpx.Client, later: ThreadPoolExecutor
) -> None:
    first = client.post(CHAT, json=ASKED)
    flow = place.flows()[-1]["id"]
    assert "llm.hold.off" in place.done("llm.hold", f"@{flow}")
    other = {"model": "sim-text", "messages": [{"role": "user", "content": "Another one."}]}
    assert client.post(CHAT, json=other).status_code == 200
    said = later.submit(client.post, CHAT, json=again(first, "And?"))
    (held,) = place.await_held()
    assert "held by hand" in place.queue()[0]
    place.done("llm.approve", f"@{held}")
    # Its answer is held too.
    place.until(lambda: any("response" in line for line in place.queue()))
    place.done("llm.answer", f"@{held}", "By hand.")
    answer = said.result(30)
    assert answer.json()["choices"][0]["message"]["content"] == "By hand."
    place.done("llm.hold.off")
    assert client.post(CHAT, json=again(answer, "And now?")).status_code == 200


def test_everything_is_held_until_it_is_not(place: Reviewed, later: ThreadPoolExecutor) -> None:
    place.done("llm.hold.all")
    said = [
        later.submit(ask, place.proxied, protocol, "sim-text", stream=True)
        for protocol in ("openai_chat", "anthropic_messages")
    ]
    place.await_held(2)
    place.done("llm.hold.off")
    # What waits still waits; its answer goes on.
    assert len(place.queue()) == 2
    place.done("llm.approve", "~marker raised_hand")
    assert all(each.result(30).text for each in said)
    assert place.queue() == []
    assert ask(place.proxied, "openai_chat", "sim-text", stream=True).text


def test_mitmproxys_intercept_makes_a_card_and_the_client_hears_heartbeats(
    sim: SimThread, tmp_path: Path, later: ThreadPoolExecutor
) -> None:
    settings = ("intercept=~d api.openai.com",)
    review = "rejoin_s: 0\ntimeout_s: 40\n"
    with reviewed(tmp_path, sim, review, SOON, settings) as place:
        heard: queue.Queue[bytes] = queue.Queue()

        def listen() -> None:
            with (
                place.proxied.client() as client,
                client.stream("POST", CHAT, json={**ASKED, "stream": True}) as stream,
            ):
                for chunk in stream.iter_raw():
                    heard.put(chunk)

        listening = later.submit(listen)
        (flow,) = place.await_held()
        beats = [heard.get(timeout=30) for _ in range(3)]
        assert all(beat.startswith(b":") for beat in beats)
        assert "mitmproxy's intercept filter" in place.queue()[0]
        place.resume(flow)
        listening.result(30)
        assert b"[DONE]" in b"".join(heard.get_nowait() for _ in range(heard.qsize()))
        assert place.queue() == []
        # Another provider is not meant.
        assert ask(place.proxied, "anthropic_messages", "sim-text", stream=True).text


def test_a_rule_with_mitmproxys_filter_holds_what_fits(
    place: Reviewed, client: httpx.Client, later: ThreadPoolExecutor
) -> None:
    assert client.post(CHAT, json=ASKED, headers={"x-team": "red"}).status_code == 200
    said = later.submit(client.post, CHAT, json=ASKED, headers={"x-team": "dark blue"})
    (flow,) = place.await_held()
    place.done("llm.approve", f"@{flow}")
    assert said.result(30).status_code == 200


def put(place: Reviewed, flow: str, old: bytes, new: bytes) -> None:
    """Saves an edit of a held request as mitmweb's page does."""
    path = f"/flows/{flow}/request/content.data"
    answer = place.put(path, place.web.get(path).content.replace(old, new))
    assert answer.status_code == 200, answer.text


def test_an_edit_that_is_not_used_is_said(
    place: Reviewed, client: httpx.Client, later: ThreadPoolExecutor
) -> None:
    said = later.submit(client.post, CHAT, json=ASKED, headers={"x-team": "blue"})
    (flow,) = place.await_held()
    put(place, flow, b"Hello?", b"Saved.")
    place.done("llm.answer", f"@{flow}", "Decided elsewhere.")
    assert said.result(30).json()["choices"][0]["message"]["content"] == "Decided elsewhere."
    place.until(lambda: "is not used" in place.flows()[-1]["comment"])
    assert "what was edited in mitmproxy is not used" in place.log()


def test_an_approval_from_elsewhere_approves_what_was_saved(
    place: Reviewed, client: httpx.Client, later: ThreadPoolExecutor, sim: SimThread
) -> None:
    said = later.submit(client.post, CHAT, json=ASKED, headers={"x-team": "blue"})
    (flow,) = place.await_held()
    put(place, flow, b"Hello?", b"Saved for all.")
    assert "Saved for all." in place.done("llm.document", f"@{flow}")
    place.done("llm.approve", f"@{flow}")
    assert said.result(30).status_code == 200
    assert b"Saved for all." in sim.log.all()[-1].body
    rows = [json.loads(line) for line in (place.home / "decisions.jsonl").read_text().splitlines()]
    (change,) = [row["difference"] for row in rows[-3:] if row["what"] == "updated"]
    assert "+    Saved for all." in change


def test_other_changes_than_of_the_body_are_not_used_and_said(
    place: Reviewed, client: httpx.Client, later: ThreadPoolExecutor, sim: SimThread
) -> None:
    said = later.submit(client.post, CHAT, json=ASKED, headers={"x-team": "blue"})
    (flow,) = place.await_held()
    token = place.web.cookies["_mitmproxy_xsrf"]
    changed = place.web.put(
        f"/flows/{flow}",
        json={"request": {"headers": [["x-other", "mine"]]}},
        headers={"x-xsrftoken": token},
    )
    assert changed.status_code == 200, changed.text
    place.resume(flow)
    assert said.result(30).status_code == 200
    assert sim.log.all()[-1].header("x-other") is None
    place.until(lambda: "only bodies can be edited" in place.log())


def test_a_model_that_stands_in_the_path_is_part_of_what_is_saved(
    place: Reviewed, client: httpx.Client, later: ThreadPoolExecutor
) -> None:
    url = "https://generativelanguage.googleapis.com/v1beta/models/sim-text:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello?"}]}]}
    said = later.submit(client.post, url, json=body, headers={"x-team": "blue"})
    (flow,) = place.await_held()
    path = f"/flows/{flow}/request/content.data"
    document = place.web.get(path).text
    answer = place.put(path, document.replace("model: sim-text", "model: sim-echo").encode())
    assert answer.status_code == 200, answer.text
    assert "model: sim-echo" in place.done("llm.document", f"@{flow}")
    place.resume(flow)
    assert said.result(30).status_code == 200
    rows = [json.loads(line) for line in (place.home / "decisions.jsonl").read_text().splitlines()]
    assert rows[-1]["action"] == "edit"
