"""Held together with everything else: failover, races, redaction, commands, chains, duplicates."""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from chats import Chat
from google.genai import errors as gemini_errors
from operators import WAIT_S, Place, watched
from sdks import PROTOCOLS, PROVIDERS, Said, ask

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

BROKEN = (openai.APIError, anthropic.APIError, gemini_errors.APIError)
SECRET = "sk-proj-" + "Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z" * 2
CHAT = "https://api.openai.com/v1/chat/completions"
# What one test did to a provider must not be seen by the next one.
NO_MEMORY = """
failover: {max_rest_s: 0, max_silent_wait_s: 0, breaker: {enabled: false}}
"""

spoken = pytest.mark.parametrize("protocol", PROTOCOLS)
streamed = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


def place_of(
    name: str, review: str, routes: str = NO_MEMORY, variables: dict[str, str] | None = None
) -> Any:
    """A fixture: one proxy for all tests of a kind."""

    @pytest.fixture(scope="module", name=name)
    def place(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
        folder = tmp_path_factory.mktemp(name) / "p"
        with watched(folder, sim, review, {"routes.yaml": routes}, variables) as found:
            yield found

    return place


requests = place_of("requests", "rejoin_s: 0\nrules:\n  - {name: all, hold: request}\n")
answers = place_of(
    "answers",
    "rejoin_s: 0\nmax_answer_chars: 2000\nrules:\n  - {name: all, hold: response}\n",
    # The sim's long text says the same again and again.
    variables={"LOOP_DETECTION_ENABLED": "false"},
)
attaching = place_of(
    "attaching",
    "rejoin_s: 0\nrules:\n  - {name: all, hold: request, models: ['*:sim-text']}\n",
    NO_MEMORY + "duplicates: {mode: attach}\n",
)


@pytest.fixture
def later(request: pytest.FixtureRequest) -> Iterator[ThreadPoolExecutor]:
    """Threads for clients. Whoever still waits after a test that failed is sent away."""
    with ThreadPoolExecutor(8) as threads:
        yield threads
        for name in {"requests", "answers", "attaching"} & set(request.fixturenames):
            request.getfixturevalue(name).clear()


@streamed
@spoken
def test_approved_and_then_the_first_provider_fails(
    requests: Place, sim: SimThread, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    before = sim.log.count
    model = f"openai:sim-429|{PROVIDERS[protocol]}:sim-echo"
    said = later.submit(ask, requests.proxied, protocol, model, stream=stream)
    card = requests.desk.next()
    assert sim.log.count == before
    requests.desk.edit(card, "Hello there.", "Good night.")
    assert said.result(WAIT_S).text == "Good night."
    assert sim.log.count == before + 2
    assert all(b"Good night." in each.body for each in sim.log.all()[before:])
    assert requests.told(card) == ["offered", "decided"]


@spoken
def test_a_held_race_is_run_once_it_is_approved(
    requests: Place, sim: SimThread, later: ThreadPoolExecutor, protocol: str
) -> None:
    before = sim.log.count
    model = f"openai-responses:sim-stall!{PROVIDERS[protocol]}:sim-text"
    said = later.submit(ask, requests.proxied, protocol, model, stream=True)
    card = requests.desk.next()
    assert sim.log.count == before
    requests.desk.approve(card)
    assert said.result(WAIT_S).text.startswith("This is a scripted answer")
    assert sim.log.count == before + 2


@spoken
def test_the_winners_answer_is_held_and_edited(
    answers: Place, later: ThreadPoolExecutor, protocol: str
) -> None:
    model = f"openai-responses:sim-stall!{PROVIDERS[protocol]}:sim-text"
    said = later.submit(ask, answers.proxied, protocol, model, stream=True)
    card = answers.desk.next()
    assert card["kind"] == "response"
    answers.desk.edit(card, "This is a scripted answer", "This is another answer")
    assert said.result(WAIT_S).text.startswith("This is another answer")


@streamed
@spoken
def test_an_operator_sees_no_secret_and_the_client_gets_it_back(
    requests: Place, sim: SimThread, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    words = f"My key is {SECRET} now."
    said = later.submit(ask, requests.proxied, protocol, "sim-echo", stream=stream, prompt=words)
    card = requests.desk.next()
    assert SECRET not in json.dumps(requests.desk.heard)
    assert "LLMITM_SECRET" in card["document"]
    with requests.rest() as rest:
        shown = rest.get(f"/llm/api/v1/requests/{card['request_id']}").text
    assert SECRET not in shown
    requests.desk.edit(card, "My key is", "Her key is")
    assert said.result(WAIT_S).text == f"Her key is {SECRET} now."
    sent = sim.log.all()[-1].body.decode()
    assert SECRET not in sent
    assert "LLMITM_SECRET" in sent
    assert SECRET not in requests.log.read_text()


@streamed
@spoken
def test_a_held_answer_shows_no_secret_either(
    answers: Place, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    words = f"My key is {SECRET} now."
    said = later.submit(ask, answers.proxied, protocol, "sim-echo", stream=stream, prompt=words)
    card = answers.desk.next()
    assert SECRET not in json.dumps(answers.desk.heard)
    answers.desk.approve(card)
    assert said.result(WAIT_S).text == words


@streamed
@spoken
def test_commands_are_answered_at_once_and_never_shown(
    requests: Place, sim: SimThread, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    before, cards = sim.log.count, len(requests.desk.all("new_request"))
    chat = Chat(requests.proxied, protocol, stream)
    assert "!/help" in chat.say("!/hello")
    assert (sim.log.count, len(requests.desk.all("new_request"))) == (before, cards)
    said = later.submit(chat.say, "What now? !/set(temperature=0.3)")
    card = requests.desk.next()
    assert "!/" not in card["document"]
    requests.desk.approve(card)
    assert said.result(WAIT_S).endswith("Your last message has 9 characters.")
    assert b"!/" not in sim.log.all()[-1].body


@streamed
def test_a_chain_of_responses_keeps_its_links(
    requests: Place, sim: SimThread, later: ThreadPoolExecutor, stream: bool
) -> None:
    chat, desk = Chat(requests.proxied, "openai_responses", stream), requests.desk
    said = later.submit(chat.chained, "First question.")
    desk.approve(desk.next())
    assert said.result(WAIT_S)
    first = chat.last_id
    said = later.submit(chat.chained, "Second question.")
    desk.edit(desk.next(), "Second question.", "Another question.")
    assert said.result(WAIT_S).startswith("This is a scripted answer over openai_responses")
    asked = json.loads(sim.log.all()[-1].body)
    assert asked["previous_response_id"] == first
    assert "Another question." in json.dumps(asked["input"])


@streamed
@spoken
def test_duplicates_that_attach_get_what_the_operator_decides(
    attaching: Place, sim: SimThread, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    before, out = sim.log.count, queue.Queue[None]()
    desk, proxied = attaching.desk, attaching.proxied
    proxied.sent = lambda: out.put(None)
    cards = len(desk.all("new_request"))
    said: list[Future[Said]] = []
    for _ in range(3):
        said.append(later.submit(ask, proxied, protocol, "sim-text", stream=stream))
        out.get(timeout=WAIT_S)
    card = desk.next()
    with proxied.client() as client:
        aside = {"model": "sim-empty", "messages": [{"role": "user", "content": "aside"}]}
        assert client.post(CHAT, json=aside).status_code == 200
    desk.answer(card, "For all of you.")
    assert [each.result(WAIT_S).text for each in said] == ["For all of you."] * 3
    assert sim.log.count == before + 1
    assert len(desk.all("new_request")) == cards + 1


@pytest.mark.parametrize("coding", ["gzip", "br"])
@streamed
@spoken
def test_compressed_answers_are_read_held_and_edited(
    answers: Place, later: ThreadPoolExecutor, protocol: str, stream: bool, coding: str
) -> None:
    desk = answers.desk
    for edits in (False, True):
        said = later.submit(ask, answers.proxied, protocol, f"sim-{coding}", stream=stream)
        card = desk.next()
        assert f"over {protocol}" in card["document"]
        if edits:
            desk.edit(card, protocol, "a person")
            assert "over a person" in said.result(WAIT_S).text
        else:
            desk.approve(card)
            assert f"over {protocol}" in said.result(WAIT_S).text


@streamed
@spoken
def test_a_very_long_answer_is_asked_about_once_and_all_of_it_goes_on(
    answers: Place, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    desk = answers.desk
    cards = len(desk.all("new_request"))
    said = later.submit(ask, answers.proxied, protocol, "sim-huge-30000", stream=stream)
    card = desk.next()
    desk.approve(card)
    assert len(said.result(WAIT_S).text) >= 30_000
    assert len(desk.all("new_request")) == cards + 1
    said = later.submit(ask, answers.proxied, protocol, "sim-huge-30000", stream=stream)
    desk.answer(desk.next(), "In short: no.")
    assert said.result(WAIT_S).text == "In short: no."


@spoken
def test_a_provider_that_breaks_off_is_told_and_nothing_of_it_is_let_go(
    answers: Place, later: ThreadPoolExecutor, protocol: str
) -> None:
    pieces: list[str] = []
    cards = len(answers.desk.all("new_request"))
    for model in ("sim-cut", "sim-error-in-stream"):
        # Gemini's SDK knows no error in a stream that broke off: it says what httpx2 says.
        with pytest.raises((*BROKEN, httpx2.HTTPError)):
            ask(answers.proxied, protocol, model, stream=True, told=pieces.append)
    assert pieces == []
    assert len(answers.desk.all("new_request")) == cards


@streamed
@spoken
def test_a_providers_error_is_nothing_to_ask_about(
    answers: Place, protocol: str, stream: bool
) -> None:
    cards = len(answers.desk.all("new_request"))
    with pytest.raises(BROKEN) as error:
        ask(answers.proxied, protocol, "sim-error-500", stream=stream)
    status = getattr(error.value, "status_code", None) or getattr(error.value, "code", None)
    assert status == 500
    assert len(answers.desk.all("new_request")) == cards
