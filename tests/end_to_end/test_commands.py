"""Commands typed into the chat, as the official SDKs replay them: nothing of them goes out."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from chats import Chat
from proxied import Proxied, behind
from sdks import PROTOCOLS, PROVIDERS

from llmitm.sim.received import Received
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

OURS = (b"!/", b"[llmitm", b"[/llmitm", b"is now", b"No project", b"there is no command")
FORMS = [pytest.param(True, id="streamed"), pytest.param(False, id="whole")]


@pytest.fixture(scope="module")
def talking(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy of its own: what one test sets must not be seen by others."""
    with behind(tmp_path_factory.mktemp("talking"), sim) as running:
        yield running


def sent(sim: SimThread, since: int) -> list[Received]:
    """What the provider has received since."""
    return [each for each in sim.sim.log.all() if each.index >= since]


def leaks(received: list[Received]) -> list[bytes]:
    """What of ours stands in these requests."""
    return [mark for each in received for mark in OURS if mark in each.body]


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_conversation_with_commands(
    talking: Proxied, sim: SimThread, protocol: str, stream: bool
) -> None:
    other = "gemini" if protocol == "anthropic_messages" else "anthropic"
    since = sim.sim.log.count
    chat = Chat(talking, protocol, stream)
    assert "!/help" in chat.say("!/hello")
    assert f"{other}:sim-text" in chat.say(f"!/set(model={other}:sim-text)")
    assert sim.sim.log.count == since
    spoken = {"anthropic": "anthropic_messages", "gemini": "gemini_generate"}[other]
    assert chat.say("What is up?").startswith(f"This is a scripted answer over {spoken}.")
    assert chat.say("More !/set(temperature=0.3)").endswith("Your last message has 4 characters.")
    with_block = chat.say("And the folder? !/pwd")
    assert with_block.startswith("[llmitm ")
    assert with_block.endswith("Your last message has 15 characters.")
    assert "did you mean hello" in chat.say("!/helo")
    assert "!/unset" not in chat.say("!/unset(model)")
    assert chat.say("The end.").startswith(f"This is a scripted answer over {protocol}.")
    received = sent(sim, since)
    assert len(received) == 4
    assert leaks(received) == []
    assert b"0.3" not in received[0].body
    assert b"0.3" in received[1].body
    assert b"0.3" in received[3].body


@pytest.mark.parametrize("stream", FORMS)
def test_the_history_kept_by_the_provider(talking: Proxied, sim: SimThread, stream: bool) -> None:
    since = sim.sim.log.count
    chat = Chat(talking, "openai_responses", stream)
    chat.chained("!/set(temperature=0.4)")
    assert "over openai_responses" in chat.chained("First.")
    real = chat.last_id
    assert "1.5" in chat.chained("!/set(temperature=1.5)")
    chat.chained("!/pwd")
    assert chat.last_id != real
    chat.chained("Second.")
    received = sent(sim, since)
    bodies = [json.loads(each.body) for each in received]
    assert [body.get("previous_response_id") for body in bodies] == [None, real]
    assert [body["temperature"] for body in bodies] == [0.4, 1.5]
    assert leaks(received) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_settings_and_stripping_survive_a_kill(
    sim: SimThread, tmp_path: Path, protocol: str
) -> None:
    since = sim.sim.log.count
    with behind(tmp_path, sim) as proxied:
        chat = Chat(proxied, protocol)
        chat.say("!/create-failover-route(name=mine, policy=m)")
        chat.say("!/route-append(name=mine, anthropic:sim-error-500, gemini:sim-text)")
        chat.say("!/set(model=mine)")
        assert "gemini_generate" in chat.say("Hello.")
        os.kill(proxied.proxy.pid, signal.SIGKILL)
    with behind(tmp_path, sim) as proxied:
        chat.proxied = proxied
        assert "gemini_generate" in chat.say("Again.")
        assert "mine" in chat.say("!/list-failover-routes")
    assert leaks(sent(sim, since)) == []


def test_two_chats_that_open_alike_stay_apart(talking: Proxied) -> None:
    one, two = Chat(talking, "openai_chat"), Chat(talking, "openai_chat")
    one.say("!/hello")
    two.say("!/hello")
    one.say("!/set(model=anthropic:sim-text)")
    two.say("!/set(model=gemini:sim-text)")
    assert "anthropic_messages" in one.say("Who?")
    assert "gemini_generate" in two.say("Who?")
    assert "anthropic_messages" in one.say("Who?")


def test_a_failing_command_sends_and_changes_nothing(talking: Proxied, sim: SimThread) -> None:
    since = sim.sim.log.count
    chat = Chat(talking, "anthropic_messages")
    said = chat.say("Do it. !/set(temperature=0.1) !/set(temprature=3)")
    assert "temperature" in said
    assert sim.sim.log.count == since
    chat.say("Now.")
    assert "temperature" not in json.loads(sent(sim, since)[0].body)


def test_an_answer_whose_mark_was_cut_off_is_known(talking: Proxied, sim: SimThread) -> None:
    since = sim.sim.log.count
    chat = Chat(talking, "anthropic_messages")
    said = chat.say("Do it. !/set(temprature=3)")
    chat.history[-1]["content"][0]["text"] = said.partition("\n\n[llmitm")[0]
    chat.say("Now.")
    body = json.loads(sent(sim, since)[0].body)
    assert [each["role"] for each in body["messages"]] == ["user"]
    assert leaks(sent(sim, since)) == []


@pytest.mark.parametrize("text", ["#!/bash", "x!/help", "see !/help.", "`!/help`", "!/ help"])
def test_what_is_no_command_is_text(talking: Proxied, sim: SimThread, text: str) -> None:
    since = sim.sim.log.count
    talking.skip()
    Chat(talking, "openai_chat").say(text)
    assert text in sent(sim, since)[0].body.decode()
    assert talking.rows()[0]["lane"] == "verbatim"


def test_disabled_commands_are_text(sim: SimThread, tmp_path: Path) -> None:
    since = sim.sim.log.count
    variables = {"DISABLE_INTERACTIVE_COMMANDS": "true"}
    with behind(tmp_path, sim, variables=variables) as proxied:
        Chat(proxied, "openai_chat").say("!/help")
        assert proxied.rows()[0]["lane"] == "verbatim"
    assert b"!/help" in sent(sim, since)[0].body


def test_another_prefix(sim: SimThread, tmp_path: Path) -> None:
    with behind(tmp_path, sim, variables={"COMMAND_PREFIX": "$>"}) as proxied:
        chat = Chat(proxied, "gemini_generate")
        assert "$>help" in chat.say("$>hello")
        assert "characters" in chat.say("!/hello")


def test_token_counts_are_stripped(talking: Proxied, sim: SimThread) -> None:
    chat = Chat(talking, "anthropic_messages")
    chat.say("!/hello")
    chat.say("Hi.")
    since = sim.sim.log.count
    body = {"model": "sim-text", "messages": [*chat.history, {"role": "user", "content": "x"}]}
    with talking.client() as client:
        answer = client.post(
            "https://api.anthropic.com/v1/messages/count_tokens",
            json=body,
            headers={"authorization": f"Bearer {chat.key}", "anthropic-version": "2023-06-01"},
        )
    assert answer.status_code == 200
    assert leaks(sent(sim, since)) == []
    assert [each["role"] for each in json.loads(sent(sim, since)[0].body)["messages"]] == [
        "user",
        "assistant",
        "user",
    ]


def test_openai_url(sim: SimThread, tmp_path: Path) -> None:
    with behind(tmp_path, sim) as proxied:
        chat = Chat(proxied, "openai_chat")
        assert "https" in chat.say("!/set(openai_url=http://192.0.2.1/v1)")
        assert str(sim.sim.port) in chat.say(
            f"!/set(openai_url=https://localhost:{sim.sim.port}/v1)"
        )
        since = sim.sim.log.count
        chat.say("Hello.")
        received = sent(sim, since)[0]
    assert received.header("host") == f"localhost:{sim.sim.port}"
    assert received.header("authorization") == "Bearer sim-key-of-the-proxy"


def test_a_retry_of_the_client_does_not_run_a_command_twice(
    talking: Proxied, sim: SimThread
) -> None:
    chat = Chat(talking, "openai_chat", stream=False)
    chat.say("!/create-failover-route(name=r, policy=m)")
    chat.history.append({"role": "user", "content": "!/route-append(name=r, anthropic:sim-text)"})
    body = {"model": "sim-text", "messages": chat.history}
    headers = {"authorization": f"Bearer {chat.key}"}
    url = "https://api.openai.com/v1/chat/completions"
    with talking.client() as client:
        answers: list[httpx.Response] = [
            client.post(url, json=body, headers=headers) for _ in range(2)
        ]
    said = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert said[0] == said[1]
    chat.history.append({"role": "assistant", "content": said[0]})
    assert chat.say("!/route-list(name=r)").count("anthropic:sim-text") == 1


@pytest.mark.parametrize("provider", [p for p in PROTOCOLS if p != "openai_responses"])
def test_oneoff_is_for_one_request(talking: Proxied, provider: str) -> None:
    chat = Chat(talking, "openai_responses")
    chat.say(f"!/oneoff({PROVIDERS[provider]}:sim-text)")
    assert f"over {provider}" in chat.say("Once.")
    assert "over openai_responses" in chat.say("Twice.")


def test_a_side_call_that_wants_json_runs_nothing(talking: Proxied, sim: SimThread) -> None:
    since = sim.sim.log.count
    body = {
        "contents": [{"role": "user", "parts": [{"text": "!/set(temperature=0.9)"}]}],
        "generationConfig": {
            "responseMimeType": "application/json",
            "responseSchema": {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}},
        },
    }
    url = "https://generativelanguage.googleapis.com/v1beta/models/sim-text:generateContent"
    with talking.client() as client:
        answer = client.post(url, json=body, headers={"x-goog-api-key": "sk-client"})
    assert answer.status_code == 400
    assert "nothing was run" in answer.json()["error"]["message"]
    assert sim.sim.log.count == since
