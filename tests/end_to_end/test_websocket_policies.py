"""Over a WebSocket texts are changed and usage limits hold as they do over HTTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from proxied import Proxied, behind, trusting
from socket_origin import SocketOrigin, answering, asked, chained, said, socket_to, text_of, turn
from test_texts_and_budgets import TEXTS as COMMON

pytestmark = pytest.mark.end_to_end

TEXTS: dict[str, Any] = {
    "texts": [
        # The origin cuts its text in two in the middle of these words.
        {"name": "words", "where": "reply", "find": "1: déjà", "text": "one: jamais"},
        {"name": "mark", "where": "reply", "do": "append", "text": " Bye."},
        {"name": "ask", "where": "user", "find": "colour", "text": "color"},
        {"name": "rules", "where": "system", "find": "emoji", "text": "pictures"},
        {"name": "seen", "where": "tool_result", "find": "/home/me", "text": "~"},
    ],
    "first_prompt_append": COMMON["first_prompt_append"],
}
BUDGETS = {
    "expected_output_tokens": 1,
    "budgets": [
        {"name": "asked", "per": ["client_key"], "requests": 3},
        {"name": "tokens", "per": ["client_key"], "total_tokens": 1000},
    ],
}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SocketOrigin]:
    with SocketOrigin(tmp_path_factory.mktemp("origin"), answering) as running:
        yield running


def ruled(folder: Any, origin: SocketOrigin, **files: Any) -> Any:
    rules = folder / "rules"
    rules.mkdir()
    for name, value in files.items():
        (rules / f"{name}.yaml").write_text(json.dumps(value))
    return behind(folder, origin, [f"llm_rules={rules}"])


@pytest.fixture(scope="module")
def changed(origin: SocketOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with ruled(tmp_path_factory.mktemp("texts"), origin, texts=TEXTS) as running:
        yield running


@pytest.fixture(scope="module")
def limited(origin: SocketOrigin, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with ruled(tmp_path_factory.mktemp("budgets"), origin, budgets=BUDGETS) as running:
        yield running


def key(name: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {name}"}


def test_prompts_and_replies_are_changed(changed: Proxied, origin: SocketOrigin) -> None:
    origin.received.clear()
    changed.skip()
    result = {"type": "function_call_output", "call_id": "c1", "output": "in /home/me/a"}
    call = {"type": "function_call", "call_id": "c1", "name": "ls", "arguments": "{}"}
    with socket_to(changed, headers=key("changed")) as socket:
        first = turn(
            socket,
            asked(instructions="No emoji.", input=[said("user", "Which colour?"), call, result]),
        )
        second = turn(socket, chained(first, "And which colour now?"))
    # Its text arrives in two pieces, cut within what is found.
    assert text_of(first) == "Answer one: jamais vu. Bye."
    assert text_of(second) == "Answer 2: déjà vu. Bye."
    assert [event["sequence_number"] for event in first] == list(range(len(first)))
    opening, later = origin.bodies()
    assert opening["instructions"] == "No pictures."
    assert opening["input"][0]["content"][0]["text"] == "Which color?\n\nBe kind."
    assert opening["input"][1:] == [call, {**result, "output": "in ~/a"}]
    assert later["input"] == [said("user", "And which color now?")]
    assert "Be kind." not in json.dumps(later)
    rows = changed.rows(2)
    assert [(row["lane"], row["error"]) for row in rows] == [("patch", "")] * 2


def test_what_was_replaced_is_in_no_frame(changed: Proxied, origin: SocketOrigin) -> None:
    origin.received.clear()
    with socket_to(changed, headers=key("frames")) as socket:
        seen = turn(socket, asked(input="Which colour?"))
    assert "déjà" not in json.dumps(seen, ensure_ascii=False)
    assert "colour" not in str(origin.received)


def test_a_limit_is_told_in_the_socket_and_nothing_goes_out(
    limited: Proxied, origin: SocketOrigin
) -> None:
    origin.received.clear()
    limited.skip()
    with socket_to(limited, headers=key("requests")) as socket:
        for number in range(3):
            assert text_of(turn(socket, asked(input=f"Question {number}")))
        [refused] = turn(socket, asked(input="One more"))
        # The socket lives on, and the limit with it.
        [again] = turn(socket, asked(input="And one more"))
    assert len(origin.received) == 3
    for one in (refused, again):
        assert one["type"] == "error"
        assert one["status"] == 429
        assert one["error"]["code"] == "usage_limit_reached"
        assert "usage limit 'asked' is reached: 3 of 3 requests" in one["error"]["message"]
    rows = limited.rows(5)
    assert [row["status"] for row in rows] == [200, 200, 200, 429, 429]
    with socket_to(limited, headers=key("somebody else")) as socket:
        assert text_of(turn(socket, asked(input="Hello")))


def test_a_limit_holds_over_sockets_of_one_client(limited: Proxied, origin: SocketOrigin) -> None:
    origin.received.clear()
    seen: list[str] = []
    for number in range(5):
        with socket_to(limited, headers=key("reconnecting")) as socket:
            seen.append(turn(socket, asked(input=f"Question {number}"))[-1]["type"])
    assert seen == ["response.completed"] * 3 + ["error"] * 2
    assert len(origin.received) == 3


def test_the_sdk_gets_an_error_it_can_read(limited: Proxied) -> None:
    client = openai.OpenAI(api_key="sk-limited")
    options: Any = {"proxy": limited.url, "ssl": trusting(limited.proxy.ca)}
    ends: list[Any] = []
    with client.responses.connect(websocket_connection_options=options) as connection:
        for number in range(4):
            connection.response.create(model="gpt-real", input=f"Question {number}")
            for event in connection:
                if event.type in ("response.completed", "error"):
                    ends.append(event)
                    break
    assert [event.type for event in ends] == ["response.completed"] * 3 + ["error"]
    assert "usage limit 'asked' is reached" in str(ends[-1])
