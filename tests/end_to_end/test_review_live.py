"""Held, with the official SDKs at the other end: answered live, kept waiting, left, asked again.

The operator works over the WebSocket of a headless proxy's own port.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import errors as gemini_errors
from google.genai import types
from operators import WAIT_S, Place, watched
from proxied import Proxied
from sdks import PROTOCOLS, Said, ask

from llmitm.record.decision_log import verify
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

REFUSED = (openai.PermissionDeniedError, anthropic.PermissionDeniedError, gemini_errors.ClientError)
BROKEN = (openai.APIError, anthropic.APIError, gemini_errors.APIError)
CHAT = "https://api.openai.com/v1/chat/completions"
HELD = "rejoin_s: 0\nrules:\n  - {name: all, hold: request, models: ['*:sim-text', '*:sim-echo']}\n"
# What would take minutes takes as many heartbeats.
SOON = {"routes.yaml": "times: {heartbeat_grace_s: 0, keepalive_interval_s: 0.005}\n"}
LONG_BEATS = 90

spoken = pytest.mark.parametrize("protocol", PROTOCOLS)
streamed = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
carried = pytest.mark.parametrize("http2", [False, True], ids=["h1", "h2"])


@pytest.fixture(scope="module")
def place(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with watched(tmp_path_factory.mktemp("live") / "p", sim, HELD) as found:
        yield found
    # All that was decided here stands in one chain.
    assert verify(found.log).broken is None


@pytest.fixture(scope="module")
def soon(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with watched(tmp_path_factory.mktemp("soon") / "p", sim, HELD, SOON) as found:
        yield found
    assert verify(found.log).broken is None


@pytest.fixture
def later(request: pytest.FixtureRequest) -> Iterator[ThreadPoolExecutor]:
    """Threads for clients. Whoever still waits after a test that failed is sent away."""
    with ThreadPoolExecutor(8) as threads:
        yield threads
        for name in {"place", "soon"} & set(request.fixturenames):
            request.getfixturevalue(name).clear()


@pytest.fixture
def asked(sim: SimThread) -> Any:
    """How often a provider has been asked since the test began."""
    before = len(sim.log.all())
    return lambda: len(sim.log.all()) - before


class Beats:
    """Counts the chunks that a client gets."""

    def __init__(self) -> None:
        self._chunks: queue.Queue[bytes] = queue.Queue()
        self.hear = self._chunks.put

    def some(self, count: int) -> bytes:
        return b"".join(self._chunks.get(timeout=WAIT_S) for _ in range(count))


# -- answered live ----------------------------------------------------------------------------


@carried
@streamed
@spoken
def test_what_an_operator_writes_arrives_while_they_write(
    place: Place, later: ThreadPoolExecutor, asked: Any, protocol: str, stream: bool, http2: bool
) -> None:
    pieces: queue.Queue[str] = queue.Queue()
    desk, proxied = place.desk, replace(place.proxied, http2=http2)
    said: Future[Said] = later.submit(
        ask, proxied, protocol, "sim-text", stream=stream, tools=True, told=pieces.put
    )
    card = desk.next()
    assert (card["protocol"], card["stream"], card["tools"]) == (protocol, stream, ["get_weather"])
    desk.start(card)
    for piece in ("Let me ", "see"):
        desk.chunk(card, piece)
        if stream:
            assert pieces.get(timeout=WAIT_S) == piece
    assert not said.done()
    desk.call(card, "get_weather", {"city": "Rome"})
    desk.chunk(card, " what it says.")
    desk.finish(card, note="by hand")
    got = said.result(WAIT_S)
    assert got.text == "Let me see what it says."
    assert got.calls == [("get_weather", {"city": "Rome"})]
    assert asked() == 0
    assert desk.over(card)["note"] == "by hand"
    assert place.told(card) == ["offered", "begun", "finished"]


@spoken
def test_thoughts_and_an_answer_cut_short_can_be_written_too(
    place: Place, later: ThreadPoolExecutor, protocol: str
) -> None:
    said = later.submit(ask, place.proxied, protocol, "sim-text", stream=True)
    desk = place.desk
    card = desk.next()
    desk.start(card)
    desk.chunk(card, "So", reasoning="I think.")
    desk.finish(card, finish_reason="length")
    got = said.result(WAIT_S)
    assert got.text == "So"
    assert got.finish in ("length", "incomplete", "max_tokens", "MAX_TOKENS")


@spoken
def test_an_operator_who_goes_away_while_writing_ends_the_answer(
    place: Place, later: ThreadPoolExecutor, protocol: str
) -> None:
    pieces: queue.Queue[str] = queue.Queue()
    said = later.submit(ask, place.proxied, protocol, "sim-text", stream=True, told=pieces.put)
    card = place.desk.next()
    with place.another("ann") as ann:
        ann.start(card)
        ann.chunk(card, "I was about to")
        assert pieces.get(timeout=WAIT_S) == "I was about to"
    assert said.result(WAIT_S).text == "I was about to"
    assert place.desk.over(card)["by"].startswith("ann")


def test_one_who_has_written_nothing_yet_leaves_the_card_to_others(
    place: Place, later: ThreadPoolExecutor, asked: Any
) -> None:
    said = later.submit(ask, place.proxied, "openai_chat", "sim-text", stream=True)
    desk = place.desk
    card = desk.next()
    with place.another("ann") as ann:
        ann.start(card)
        desk.until(lambda: state(place, card) == "writing")
        desk.approve(card)
        assert desk.refused(card) == "already_decided"
    desk.until(lambda: state(place, card) == "waiting")
    desk.approve(card)
    assert said.result(WAIT_S).text
    assert asked() == 1
    assert place.told(card) == ["offered", "begun", "writer_left", "decided"]


def state(place: Place, card: dict[str, Any]) -> str:
    """What was last said of a card."""
    views = place.desk.all("request_updated", card["request_id"])
    return views[-1]["state"] if views else ""


# -- kept waiting -----------------------------------------------------------------------------


@carried
@spoken
def test_a_stream_that_is_held_long_lives_and_goes_on(
    soon: Place, later: ThreadPoolExecutor, asked: Any, protocol: str, http2: bool
) -> None:
    beats = Beats()
    proxied = replace(soon.proxied, http2=http2, heard=beats.hear)
    said = later.submit(ask, proxied, protocol, "sim-text", stream=True)
    card = soon.desk.next()
    beats.some(LONG_BEATS)
    assert not said.done()
    assert asked() == 0
    soon.desk.approve(card)
    assert protocol in said.result(WAIT_S).text
    assert asked() == 1


@carried
@spoken
def test_what_is_decided_after_the_stream_began_arrives_in_it(
    soon: Place, later: ThreadPoolExecutor, asked: Any, protocol: str, http2: bool
) -> None:
    desk = soon.desk

    def begun(model: str) -> tuple[Future[Said], dict[str, Any]]:
        beats = Beats()
        proxied = replace(soon.proxied, http2=http2, heard=beats.hear)
        said = later.submit(ask, proxied, protocol, model, stream=True)
        card = desk.next()
        beats.some(3)
        return said, card

    said, card = begun("sim-text")
    desk.reject(card, "Too late.")
    with pytest.raises(BROKEN, match=r"Too late\."):
        said.result(WAIT_S)
    said, card = begun("sim-text")
    desk.reject(card, "I would rather not.", "refusal")
    got = said.result(WAIT_S)
    assert (got.refusal or got.text) == "I would rather not."
    said, card = begun("sim-text")
    desk.answer(card, "From me.")
    assert said.result(WAIT_S).text == "From me."
    assert asked() == 0
    said, card = begun("sim-echo")
    desk.edit(card, "Hello there.", "Good night.")
    assert said.result(WAIT_S).text == "Good night."


@carried
@streamed
@spoken
def test_what_is_decided_before_anything_was_sent(
    place: Place,
    later: ThreadPoolExecutor,
    asked: Any,
    protocol: str,
    stream: bool,
    http2: bool,
) -> None:
    desk, proxied = place.desk, replace(place.proxied, http2=http2)
    said = later.submit(ask, proxied, protocol, "sim-text", stream=stream)
    desk.reject(desk.next(), "Not now.")
    with pytest.raises(REFUSED, match=r"Not now\."):
        said.result(WAIT_S)
    said = later.submit(ask, proxied, protocol, "sim-text", stream=stream, tools=True)
    function = {"name": "get_weather", "arguments": '{"city": "Oslo"}'}
    desk.answer(desk.next(), None, tool_calls=[{"id": "call_1", "function": function}])
    assert said.result(WAIT_S).calls == [("get_weather", {"city": "Oslo"})]
    assert asked() == 0
    said = later.submit(ask, proxied, protocol, "sim-echo", stream=stream)
    desk.edit(desk.next(), "Hello there.", "Good night.")
    assert said.result(WAIT_S).text == "Good night."


def test_nobody_is_kept_longer_than_the_client_is_patient(
    sim: SimThread, tmp_path: Path, later: ThreadPoolExecutor
) -> None:
    files = {"clients.yaml": "patience: {whole_s: 0.2}\n"}
    with watched(tmp_path / "p", sim, HELD, files) as place:
        whole = later.submit(ask, place.proxied, "openai_chat", "sim-text", stream=False)
        card = place.desk.next()
        with pytest.raises(openai.PermissionDeniedError):
            whole.result(WAIT_S)
        assert place.desk.over(card)["action"] == "timeout"
        stream = later.submit(ask, place.proxied, "openai_chat", "sim-text", stream=True)
        card = place.desk.next()
        assert card["deadline_at"] - card["created_at"] > 100
        place.desk.approve(card)
        assert stream.result(WAIT_S).text


# -- left, and asked again --------------------------------------------------------------------


@carried
@spoken
def test_a_client_that_leaves_cancels_its_card(
    soon: Place, asked: Any, protocol: str, http2: bool
) -> None:
    url, body = plain(protocol, "I leave.")
    with (
        soon.proxied.client(http2=http2) as client,
        client.stream("POST", url, json=body) as answer,
    ):
        card = soon.desk.next()
        assert next(answer.iter_raw())
    assert "left" in soon.desk.over(card)["reason"]
    assert asked() == 0
    assert soon.told(card) == ["offered", "cancelled"]


def plain(protocol: str, text: str) -> tuple[str, dict[str, Any]]:
    """A streamed call in each protocol, as plain HTTP."""
    said = [{"role": "user", "content": text}]
    match protocol:
        case "openai_chat":
            return CHAT, {"model": "sim-text", "messages": said, "stream": True}
        case "openai_responses":
            url = "https://api.openai.com/v1/responses"
            return url, {"model": "sim-text", "input": said, "stream": True}
        case "anthropic_messages":
            url = "https://api.anthropic.com/v1/messages"
            body = {"model": "sim-text", "max_tokens": 99, "messages": said, "stream": True}
            return url, body
    host = "https://generativelanguage.googleapis.com"
    url = f"{host}/v1beta/models/sim-text:streamGenerateContent?alt=sse"
    return url, {"contents": [{"role": "user", "parts": [{"text": text}]}]}


def patient(proxied: Proxied, protocol: str, timeout_s: float) -> str:
    """A question asked again by the SDK itself whenever its time is over."""
    said: Any = [{"role": "user", "content": f"Again, in {protocol}."}]
    if protocol == "gemini_generate":
        options = types.HttpOptions(
            httpx_client=proxied.sdk_client(),
            timeout=int(timeout_s * 1000),
            retry_options=types.HttpRetryOptions(attempts=9, initial_delay=0.05, max_delay=0.05),
        )
        gemini = genai.Client(api_key="client-key", http_options=options)
        told = gemini.models.generate_content(model="sim-text", contents="Again.")
        return told.text or ""
    given: dict[str, Any] = {"api_key": "sk", "http_client": proxied.sdk_client()}
    given |= {"max_retries": 9, "timeout": timeout_s}
    if protocol == "anthropic_messages":
        with anthropic.Anthropic(**given) as client:
            message = client.messages.create(model="sim-text", max_tokens=99, messages=said)
            return getattr(message.content[0], "text", "")
    with openai.OpenAI(**given) as client:
        if protocol == "openai_chat":
            answer = client.chat.completions.create(model="sim-text", messages=said)
            return answer.choices[0].message.content or ""
        return client.responses.create(model="sim-text", input=said).output_text


@pytest.fixture(scope="module")
def rejoining(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    review = HELD.replace("rejoin_s: 0", "rejoin_s: 60")
    with watched(tmp_path_factory.mktemp("rejoin") / "p", sim, review) as found:
        yield found


@spoken
def test_an_sdk_that_tries_again_finds_its_card(
    rejoining: Place, asked: Any, protocol: str
) -> None:
    desk = rejoining.desk
    with ThreadPoolExecutor(1) as later:
        said = later.submit(patient, rejoining.proxied, protocol, 1.0)
        card = desk.next()
        name = card["request_id"]
        desk.until(lambda: "away" in [view["state"] for view in desk.all("request_updated", name)])
        desk.until(lambda: desk.all("request_updated", name)[-1]["state"] == "waiting")
        desk.approve(card)
        assert protocol in said.result(WAIT_S)
    assert asked() == 1
    assert len([each for each in desk.all("new_request") if each["protocol"] == protocol]) == 1
    assert rejoining.told(card)[-3:] == ["away", "rejoined", "decided"]


@spoken
def test_what_was_approved_while_the_sdk_was_away_is_its_own_once(
    rejoining: Place, asked: Any, protocol: str
) -> None:
    desk = rejoining.desk
    url, body = plain(protocol, "I come again.")
    with rejoining.proxied.client(timeout=1.0) as client, ThreadPoolExecutor(1) as later:
        said = later.submit(client.post, url, json=body)
        card = desk.next()
        name = card["request_id"]
        with pytest.raises(httpx.TimeoutException):
            said.result(WAIT_S)
        desk.until(lambda: "away" in [view["state"] for view in desk.all("request_updated", name)])
        desk.approve(card)
        desk.over(card)
        assert asked() == 0
        assert later.submit(client.post, url, json=body, timeout=30).result(WAIT_S).is_success
        assert asked() == 1
        # It was for that one request: the next is asked about.
        said = later.submit(client.post, url, json=body, timeout=30)
        desk.reject(desk.next(), "Once is enough.")
        assert said.result(WAIT_S).status_code == 403
    assert asked() == 1
    assert rejoining.told(card)[-2:] == ["decided", "delivered"]


@carried
@streamed
@spoken
def test_two_clients_that_ask_the_same_at_once_are_one_card_and_one_call(
    place: Place,
    later: ThreadPoolExecutor,
    asked: Any,
    protocol: str,
    stream: bool,
    http2: bool,
) -> None:
    desk, out = place.desk, queue.Queue[None]()
    proxied = replace(place.proxied, http2=http2, sent=lambda: out.put(None))
    first = later.submit(ask, proxied, protocol, "sim-text", stream=stream)
    card = desk.next()
    out.get(timeout=WAIT_S)
    second = later.submit(ask, proxied, protocol, "sim-text", stream=stream)
    out.get(timeout=WAIT_S)
    # By the time that this is answered the other one has been looked at.
    with place.proxied.client() as client:
        aside = {"model": "sim-empty", "messages": [{"role": "user", "content": "aside"}]}
        assert client.post(CHAT, json=aside).status_code == 200
    cards = len(desk.all("new_request"))
    desk.approve(card)
    assert first.result(WAIT_S) == second.result(WAIT_S)
    assert protocol in first.result().text
    assert asked() == 2
    assert len(desk.all("new_request")) == cards


# -- decided twice, or not as shown -------------------------------------------------------------


def test_a_decision_about_something_else_is_refused(
    place: Place, later: ThreadPoolExecutor, asked: Any
) -> None:
    desk = place.desk
    said = later.submit(ask, place.proxied, "openai_chat", "sim-text", stream=True)
    card = desk.next()
    desk.approve(card, digest="0" * 64)
    assert desk.refused(card) == "stale"
    desk.say("complete_response", card, content="No.", digest="0" * 64)
    assert desk.refused(card, 2) == "stale"
    assert asked() == 0
    desk.approve(card)
    assert said.result(WAIT_S).text
    desk.reject(card, "Too late.")
    assert desk.refused(card, 3) == "already_decided"
    assert desk.all("error", card["request_id"])[-1]["action"] == "approve"
    assert place.told(card) == ["offered", "decided"]


def test_a_standing_approval_lets_the_next_ones_of_its_sort_pass(
    place: Place, later: ThreadPoolExecutor, asked: Any
) -> None:
    desk = place.desk
    said = later.submit(ask, place.proxied, "openai_chat", "sim-text", stream=True)
    card = desk.next()
    desk.approve(card, minutes=5)
    assert said.result(WAIT_S).text
    cards = len(desk.all("new_request"))
    for stream in (True, False):
        assert ask(place.proxied, "openai_chat", "sim-text", stream=stream, prompt="More.").text
    assert asked() == 3
    assert len(desk.all("new_request")) == cards
    # Another sort is asked about.
    said = later.submit(ask, place.proxied, "openai_chat", "sim-echo", stream=True)
    desk.answer(desk.next(), "Not you.")
    assert said.result(WAIT_S).text == "Not you."
    with place.rest() as rest:
        (row,) = rest.get("/llm/api/v1/approvals").json()["approvals"]
        assert row["used"] == 2
        assert rest.delete(f"/llm/api/v1/approvals/{row['id']}").is_success
    said = later.submit(ask, place.proxied, "openai_chat", "sim-text", stream=True)
    desk.approve(desk.next())
    assert said.result(WAIT_S).text
    told = [row["what"] for row in place.decisions()]
    assert told.count("standing_used") == 2
    assert "revoked" in told
