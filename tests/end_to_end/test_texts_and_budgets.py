"""Changed texts and usage limits, as the official SDKs see them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import openai
import pytest
from chats import Chat
from google.genai import errors
from proxied import Proxied, behind
from sdks import PROTOCOLS

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

FORMS = [pytest.param(True, id="streamed"), pytest.param(False, id="whole")]
REFUSED = (openai.RateLimitError, anthropic.RateLimitError, errors.ClientError)
TEXTS = {
    "texts": [
        # Longer than any piece of the scripted stream, which comes word by word.
        {
            "name": "words",
            "where": "reply",
            "find": "a scripted answer",
            "text": "what we made of it",
        },
        {"name": "count", "where": "reply", "regex": "has (\\d{1,4}) characters", "text": "= \\1"},
        {"name": "mark", "where": "reply", "do": "append", "text": " Bye."},
        {"name": "ask", "where": "user", "find": "colour", "text": "color"},
    ],
    "first_prompt_append": {"text": "Be kind."},
}
BUDGETS = {
    "expected_output_tokens": 10,
    "budgets": [
        {"name": "asked", "per": ["conversation"], "requests": 2},
        {"name": "money", "per": ["client_key"], "cost_usd": 0.01, "show": True},
    ],
}
PRICES = {
    "prices": [
        {"name": "dear", "models": ["sim-slow"], "input": 1, "output": 10_000, "cache_read": 1},
        {"name": "sim", "models": ["sim-*"], "input": 1, "output": 100, "cache_read": 1},
    ]
}


@pytest.fixture(scope="module")
def changed(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("texts")
    (folder / "rules").mkdir()
    (folder / "rules" / "texts.yaml").write_text(json.dumps(TEXTS))
    with behind(folder, sim, [f"llm_rules={folder / 'rules'}"]) as running:
        yield running


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_reply_that_is_changed(
    changed: Proxied, sim: SimThread, protocol: str, stream: bool
) -> None:
    since = sim.sim.log.count
    chat = Chat(changed, protocol, stream)
    said = chat.say("Which colour?")
    # "Which color?\n\nBe kind."
    assert said == f"This is what we made of it over {protocol}. Your last message = 22. Bye."
    chat.say("And which colour now?")
    first, second = (json.loads(each.body) for each in sim.sim.log.all() if each.index >= since)
    assert _texts(second)[0] == _texts(first)[0] == "Which color?\n\nBe kind."
    assert _texts(second)[-1] == "And which color now?"
    assert json.dumps(second).count("Be kind.") == 1
    changed.skip()


@pytest.mark.parametrize("target", ["anthropic:sim-text", "gemini:sim-text", "together:sim-text"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_reply_that_is_changed_and_translated(
    changed: Proxied, protocol: str, target: str
) -> None:
    chat = Chat(changed, protocol, model=target)
    said = chat.say("Which colour?")
    assert said.startswith("This is what we made of it over ")
    assert said.endswith("Your last message = 22. Bye.")


@pytest.mark.parametrize(
    ("url", "body"),
    [
        ("https://api.openai.com/v1/responses", {"input": "Hi.", "stream": True}),
        ("https://api.openai.com/v1/responses", {"input": "Hi."}),
        (
            "https://api.anthropic.com/v1/messages",
            {"messages": [{"role": "user", "content": "Hi."}], "max_tokens": 99, "stream": True},
        ),
    ],
)
def test_nothing_of_what_was_replaced_is_on_the_wire(
    changed: Proxied, url: str, body: dict[str, Any]
) -> None:
    with changed.client() as client:
        answer = client.post(url, json={"model": "sim-text", **body})
    assert answer.status_code == 200
    assert "made" in answer.text
    assert "scripted" not in answer.text


def test_a_history_that_the_provider_keeps(changed: Proxied, sim: SimThread) -> None:
    since = sim.sim.log.count
    chat = Chat(changed, "openai_responses")
    chat.chained("Which colour?")
    chat.chained("And now?")
    first, second = (each.body for each in sim.sim.log.all() if each.index >= since)
    assert b"Be kind." in first
    assert b"Be kind." not in second


def _texts(body: dict[str, Any]) -> list[str]:
    """The user's messages."""
    found: list[str] = []
    for message in body.get("messages") or body.get("input") or body["contents"]:
        if message.get("role") not in ("user", None):
            continue
        content = message.get("content") or message.get("parts")
        if isinstance(content, str):
            found.append(content)
        else:
            found += [part["text"] for part in content if "text" in part]
    return found


def limited(folder: Path, sim: SimThread, budgets: Any = BUDGETS) -> Any:
    rules = folder / "rules"
    rules.mkdir(exist_ok=True)
    (rules / "budgets.yaml").write_text(json.dumps(budgets))
    (rules / "models.yaml").write_text(json.dumps(PRICES))
    return behind(folder, sim, [f"llm_rules={rules}"])


@pytest.fixture(scope="module")
def counting(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with limited(tmp_path_factory.mktemp("budgets"), sim) as running:
        yield running


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_limit_answers_429_in_the_clients_protocol(
    counting: Proxied, sim: SimThread, protocol: str, stream: bool
) -> None:
    counting.skip()
    chat = Chat(counting, protocol, stream, key=f"sk-{protocol}-{stream}")
    chat.say("One.")
    chat.say("Two.")
    since = sim.sim.log.count
    with pytest.raises(REFUSED) as refused:
        chat.say("Three.")
    assert sim.sim.log.count == since
    error: Any = refused.value
    assert "usage limit 'asked' is reached: 2 of 2 requests per day" in str(error)
    assert "usage_limit_reached" in str(getattr(error, "body", None) or error.details)
    headers = error.response.headers
    assert 1 <= int(headers["retry-after"]) <= 86400
    rows = counting.rows(3)
    assert [row["status"] for row in rows] == [200, 200, 429]
    # A Chat client that does not ask for usage in its stream is not told any.
    untold = protocol == "openai_chat" and stream
    assert rows[0]["cost_usd"] is None if untold else rows[0]["cost_usd"] > 0
    assert rows[2]["cost_usd"] is None


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_warning_in_the_answer(counting: Proxied, protocol: str, stream: bool) -> None:
    said: list[str] = []
    refusal = ""
    for _ in range(40):
        chat = Chat(counting, protocol, stream, key=f"sk-warned-{protocol}-{stream}")
        try:
            said.append(chat.say("Hello."))
        except REFUSED as error:
            refusal = str(error)
            break
    assert "'money' is reached: $0.01 of $0.01 per day" in refusal
    warned = [text for text in said if "[llmitm: budget money: $0.01 of $0.01 used" in text]
    assert len(warned) == 1
    assert len(said) > 2


def test_many_at_once_do_not_slip_through(counting: Proxied) -> None:
    def one(number: int) -> bool:
        # Each a conversation of its own, so that only the money counts.
        chat = Chat(counting, "openai_chat", model="sim-slow", key="sk-many")
        try:
            chat.say(f"Number {number}.")
        except REFUSED:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        passed = sum(pool.map(one, range(12)))
    # An answer is taken to have ten tokens, for 10 cents: the first one fills the budget.
    assert passed == 1


def test_counts_survive_a_restart(sim: SimThread, tmp_path: Path) -> None:
    asked = {"budgets": [{"name": "asked", "per": ["client_key"], "requests": 2}]}
    with limited(tmp_path, sim, asked) as running:
        chat = Chat(running, "anthropic_messages")
        chat.say("One.")
        chat.say("Two.")
        running.rows(2)
        os.kill(running.proxy.pid, signal.SIGKILL)
    with limited(tmp_path, sim, asked) as running:
        chat.proxied = running
        with pytest.raises(anthropic.RateLimitError):
            chat.say("Three.")
        other = Chat(running, "anthropic_messages", key="sk-other")
        assert other.say("One.")
