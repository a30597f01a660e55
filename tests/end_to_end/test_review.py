"""Held by rules, decided by an operator: every dialect's SDK gets what was decided, and lives."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from chats import Chat
from google.genai import errors as gemini_errors
from reviewed import Reviewed, reviewed
from sdks import Said, ask

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

PROTOCOLS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
REFUSED = (openai.PermissionDeniedError, anthropic.PermissionDeniedError, gemini_errors.ClientError)
BROKEN = (openai.APIError, anthropic.APIError, gemini_errors.APIError)
REQUESTS = "rejoin_s: 0\nrules:\n  - {name: all, hold: request}\n"
ANSWERS = "rules:\n  - {name: all, hold: response}\n"
CALLS = "rules:\n  - {name: weather, hold: tool_call, tools: [get_*]}\n"
SOON = {"routes.yaml": "times: {heartbeat_grace_s: 0, keepalive_interval_s: 0.05}\n"}
CHAT = "https://api.openai.com/v1/chat/completions"
MESSAGES = "https://api.anthropic.com/v1/messages"

streamed = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
spoken = pytest.mark.parametrize("protocol", PROTOCOLS)


def place_of(name: str, review: str, files: dict[str, str] | None = None) -> Any:
    """A fixture: one proxy for all tests of a kind."""

    @pytest.fixture(scope="module", name=name)
    def place(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reviewed]:
        with reviewed(tmp_path_factory.mktemp(name), sim, review, files) as found:
            yield found

    return place


requests = place_of("requests", REQUESTS)
soon = place_of("soon", REQUESTS, SOON)
answers = place_of("answers", ANSWERS)
calls = place_of("calls", CALLS)


@pytest.fixture
def later(request: pytest.FixtureRequest) -> Iterator[ThreadPoolExecutor]:
    """Threads for clients. Whoever still waits after a test that failed is sent away."""
    with ThreadPoolExecutor(8) as threads:
        yield threads
        for name in {"requests", "soon", "answers", "calls"} & set(request.fixturenames):
            place: Reviewed = request.getfixturevalue(name)
            if place.queue():
                place.command("llm.reject", "~marker raised_hand", "the test is over")


def bodies(sim: SimThread) -> list[bytes]:
    """What the provider has been asked."""
    return [received.body for received in sim.log.all()]


# -- requests ---------------------------------------------------------------------------------


@streamed
@spoken
def test_an_approved_request_goes_on_and_is_answered(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    before = len(bodies(sim))
    said = later.submit(ask, requests.proxied, protocol, "sim-text", stream=stream)
    (flow,) = requests.await_held()
    assert len(bodies(sim)) == before
    assert requests.done("llm.approve", f"@{flow}") == "1 approved."
    assert protocol in said.result(30).text
    assert len(bodies(sim)) == before + 1
    assert requests.queue() == []


@streamed
@spoken
def test_an_answer_in_place_of_the_model_reaches_the_client_and_nobody_is_asked(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    before = len(bodies(sim))
    said = later.submit(ask, requests.proxied, protocol, "sim-text", stream=stream)
    (flow,) = requests.await_held()
    requests.done("llm.answer", f"@{flow}", "I am no model.\nI am Ann.")
    answer = said.result(30)
    assert answer.text == "I am no model.\nI am Ann."
    assert len(bodies(sim)) == before


@streamed
@spoken
def test_a_rejection_is_an_error_that_the_sdk_knows(
    requests: Reviewed, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    said = later.submit(ask, requests.proxied, protocol, "sim-text", stream=stream)
    (flow,) = requests.await_held()
    requests.done("llm.reject", f"@{flow}", "Not on a Saturday.")
    with pytest.raises(REFUSED, match="Not on a Saturday"):
        said.result(30)


@spoken
def test_a_rejection_can_be_a_refusal_in_the_models_voice(
    requests: Reviewed, later: ThreadPoolExecutor, protocol: str
) -> None:
    said = later.submit(ask, requests.proxied, protocol, "sim-text", stream=True)
    (flow,) = requests.await_held()
    requests.done("llm.reject", f"@{flow}", "I would rather not.", "refusal")
    answer: Said = said.result(30)
    # Two protocols have a place of its own for it; the others end with a reason that says so.
    assert (answer.refusal or answer.text) == "I would rather not."
    assert answer.refusal or answer.finish in ("refusal", "SAFETY")


@streamed
@spoken
def test_an_edited_request_is_what_the_provider_gets(
    requests: Reviewed,
    sim: SimThread,
    later: ThreadPoolExecutor,
    tmp_path: Path,
    protocol: str,
    stream: bool,
) -> None:
    said = later.submit(ask, requests.proxied, protocol, "sim-echo", stream=stream)
    (flow,) = requests.await_held()
    document = requests.done("llm.document", f"@{flow}")
    file = tmp_path / "edited.yaml"
    file.write_text(document.replace("Hello there.", "Good night."))
    requests.done("llm.edit", f"@{flow}", str(file))
    assert "Good night." in said.result(30).text
    sent = bodies(sim)[-1]
    assert b"Hello there." not in sent
    assert b"Good night." in sent


@spoken
def test_an_edited_model_is_the_one_that_is_asked(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor, tmp_path: Path, protocol: str
) -> None:
    said = later.submit(ask, requests.proxied, protocol, "sim-text", stream=False)
    (flow,) = requests.await_held()
    file = tmp_path / "edited.yaml"
    document = requests.done("llm.document", f"@{flow}")
    file.write_text(document.replace("model: sim-text", "model: sim-echo"))
    requests.done("llm.edit", f"@{flow}", str(file))
    assert "Hello there." in said.result(30).text
    last = sim.log.all()[-1]
    assert b"sim-echo" in last.body or "sim-echo" in last.path


def test_a_client_goes_on_from_a_persons_answer_by_its_id(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor
) -> None:
    chat = Chat(requests.proxied, "openai_responses", stream=False, model="sim-text")
    for text, reply in (("Who are you?", "I am Ann."), ("How old?", "Forty.")):
        said = later.submit(chat.chained, text)
        (flow,) = requests.await_held()
        requests.done("llm.answer", f"@{flow}", reply)
        assert said.result(30) == reply
    said = later.submit(chat.chained, "And now the model.")
    (flow,) = requests.await_held()
    assert "I am Ann." in requests.done("llm.document", f"@{flow}")
    requests.done("llm.approve", f"@{flow}")
    assert "openai_responses" in said.result(30)
    sent = json.loads(bodies(sim)[-1])
    assert "previous_response_id" not in sent
    told = json.dumps(sent["input"])
    places = [
        told.index(text)
        for text in ("Who are you?", "I am Ann.", "How old?", "Forty.", "And now the model.")
    ]
    assert places == sorted(places)


def test_an_edited_model_may_be_a_selector(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor, tmp_path: Path
) -> None:
    said = later.submit(ask, requests.proxied, "openai_chat", "sim-text", stream=True)
    (flow,) = requests.await_held()
    file = tmp_path / "edited.yaml"
    document = requests.done("llm.document", f"@{flow}")
    file.write_text(document.replace("model: sim-text", "model: anthropic:sim-text"))
    requests.done("llm.edit", f"@{flow}", str(file))
    assert "anthropic_messages" in said.result(30).text
    assert sim.log.all()[-1].path == "/v1/messages"


def test_mistakes_in_an_edit_are_told_and_nothing_is_lost(
    requests: Reviewed, later: ThreadPoolExecutor, tmp_path: Path
) -> None:
    said = later.submit(ask, requests.proxied, "openai_chat", "sim-text", stream=False)
    (flow,) = requests.await_held()
    file = tmp_path / "edited.yaml"
    document = requests.done("llm.document", f"@{flow}")
    file.write_text(document.replace("role: user", "role: emperor"))
    problem = requests.command("llm.edit", f"@{flow}", str(file))
    assert re.search(r"line \d+|:\d+", problem["error"]), problem
    assert len(requests.queue()) == 1
    requests.done("llm.approve", f"@{flow}")
    assert said.result(30).text


# -- what else can happen to something held ----------------------------------------------------


def test_a_client_that_leaves_cancels_its_card_and_no_provider_is_asked(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor
) -> None:
    before = len(bodies(sim))
    with requests.proxied.client() as client:
        body = {"model": "sim-text", "messages": [{"role": "user", "content": "I leave"}]}
        said = later.submit(client.post, CHAT, json=body, timeout=1.5)
        requests.await_held()
        with pytest.raises(httpx.TimeoutException):
            said.result(30)
    requests.until(lambda: requests.queue() == [])
    assert len(bodies(sim)) == before
    assert "cancelled" in decisions(requests)[-1]["what"]


def decisions(place: Reviewed) -> list[dict[str, Any]]:
    """The lines of the decision log."""
    lines = (place.home / "decisions.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_same_request_twice_is_one_card_one_call_and_two_answers(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor
) -> None:
    before = len(bodies(sim))
    body = {"model": "sim-text", "messages": [{"role": "user", "content": "Twice."}]}
    with requests.proxied.client() as one, requests.proxied.client() as two:
        first = later.submit(one.post, CHAT, json=body)
        (flow,) = requests.await_held()
        second = later.submit(two.post, CHAT, json=body)
        requests.until(lambda: len(requests.flows()) >= 2 and attached(requests))
        assert len(requests.queue()) == 1
        requests.done("llm.approve", f"@{flow}")
        assert first.result(30).content == second.result(30).content
    assert len(bodies(sim)) == before + 1


def attached(place: Reviewed) -> bool:
    """Whether the newest flow waits without an answer and is not held itself."""
    newest = place.flows()[-1]
    return newest.get("response") is None and not newest["intercepted"]


def test_a_client_that_comes_again_finds_its_place(
    sim: SimThread, tmp_path: Path, later: ThreadPoolExecutor
) -> None:
    before = len(bodies(sim))
    review = "rejoin_s: 60\nrules:\n  - {name: all, hold: request}\n"
    body = {"model": "sim-text", "messages": [{"role": "user", "content": "Again."}]}
    with reviewed(tmp_path, sim, review) as place, place.proxied.client() as client:
        said = later.submit(client.post, CHAT, json=body, timeout=1.0)
        place.await_held()
        with pytest.raises(httpx.TimeoutException):
            said.result(30)
        place.until(lambda: not place.held())
        assert len(place.queue()) == 1
        again = later.submit(client.post, CHAT, json=body)
        (flow,) = place.await_held()
        assert len(place.queue()) == 1
        place.done("llm.approve", f"@{flow}")
        assert again.result(30).status_code == 200
        told = [row["what"] for row in decisions(place)]
    assert len(bodies(sim)) == before + 1
    assert told.count("offered") == 1
    assert told.count("rejoined") == 1


@pytest.mark.parametrize("outcome", ["approve", "reject", "answer"])
def test_a_time_that_runs_out_has_the_outcome_of_its_rule(
    sim: SimThread, tmp_path: Path, outcome: str
) -> None:
    more = ", answer: 'Nobody is here.'" if outcome == "answer" else ""
    review = (
        f"rules:\n  - {{name: all, hold: request, timeout_s: 0.2, on_timeout: {outcome}{more}}}\n"
    )
    body = {"model": "sim-text", "messages": [{"role": "user", "content": "Anybody?"}]}
    with reviewed(tmp_path, sim, review) as place, place.proxied.client() as client:
        answer = client.post(CHAT, json=body)
        last = decisions(place)[-1]
    assert last["what"] == "timeout"
    if outcome == "reject":
        assert answer.status_code == 403
        assert "no operator has decided about this in time" in answer.text
    else:
        text = answer.json()["choices"][0]["message"]["content"]
        assert (text == "Nobody is here.") is (outcome == "answer")


@spoken
def test_heartbeats_keep_a_stream_alive_and_break_no_sdk(
    soon: Reviewed, later: ThreadPoolExecutor, protocol: str
) -> None:
    said = later.submit(ask, soon.proxied, protocol, "sim-text", stream=True)
    (flow,) = soon.await_held()
    # The stream has begun before anybody decided, and more than one heartbeat has come.
    soon.until(lambda: soon.flows()[-1]["comment"].startswith("held"))
    soon.done("llm.approve", f"@{flow}")
    assert protocol in said.result(30).text


@spoken
def test_a_rejection_after_heartbeats_is_an_error_in_the_stream(
    soon: Reviewed, later: ThreadPoolExecutor, protocol: str
) -> None:
    with soon.proxied.client() as client:
        url, body = streams(protocol)
        with client.stream("POST", url, json=body) as stream:
            assert stream.status_code == 200
            (flow,) = soon.await_held()
            chunks = stream.iter_raw()
            beats = next(chunks) + next(chunks)
            soon.done("llm.reject", f"@{flow}", "Too late.")
            rest = b"".join(chunks)
    assert b"Too late." not in beats
    assert b"Too late." in rest


def streams(protocol: str) -> tuple[str, dict[str, Any]]:
    """A streamed call in each protocol, as plain HTTP."""
    said = [{"role": "user", "content": "Wait."}]
    match protocol:
        case "openai_chat":
            return CHAT, {"model": "sim-text", "messages": said, "stream": True}
        case "openai_responses":
            url = "https://api.openai.com/v1/responses"
            return url, {"model": "sim-text", "input": said, "stream": True}
        case "anthropic_messages":
            body = {"model": "sim-text", "max_tokens": 99, "messages": said, "stream": True}
            return MESSAGES, body
    host = "https://generativelanguage.googleapis.com"
    url = f"{host}/v1beta/models/sim-text:streamGenerateContent?alt=sse"
    return url, {"contents": [{"role": "user", "parts": [{"text": "Wait."}]}]}


@pytest.mark.parametrize("http2", [True, False], ids=["h2", "h1"])
def test_over_both_versions_of_http(
    requests: Reviewed, later: ThreadPoolExecutor, http2: bool
) -> None:
    with requests.proxied.client(http2=http2) as client:
        url, body = streams("anthropic_messages")
        said = later.submit(client.post, url, json=body)
        (flow,) = requests.await_held()
        requests.done("llm.approve", f"@{flow}")
        answer = said.result(30)
    assert answer.http_version == ("HTTP/2" if http2 else "HTTP/1.1")
    assert b"message_stop" in answer.content


def test_a_shutdown_tells_every_client_that_waits(
    sim: SimThread, tmp_path: Path, later: ThreadPoolExecutor
) -> None:
    with reviewed(tmp_path, sim, REQUESTS, SOON) as place:
        whole = later.submit(ask, place.proxied, "openai_chat", "sim-text", stream=False)
        stream = later.submit(ask, place.proxied, "anthropic_messages", "sim-text", stream=True)
        place.await_held(2)
    with pytest.raises(openai.APIStatusError) as error:
        whole.result(30)
    assert error.value.status_code == 503
    with pytest.raises(BROKEN, match="shutting down"):
        stream.result(30)
    assert sum(row["what"] == "shutdown" for row in decisions(place)) == 2


# -- in mitmweb -------------------------------------------------------------------------------


def test_resumed_in_mitmweb_is_approved(requests: Reviewed, later: ThreadPoolExecutor) -> None:
    said = later.submit(ask, requests.proxied, "openai_chat", "sim-text", stream=True)
    (flow,) = requests.await_held()
    (held,) = [each for each in requests.flows() if each["id"] == flow]
    assert held["marked"] == "\N{RAISED HAND}"
    assert held["comment"].startswith("held: ")
    requests.resume(flow)
    assert said.result(30).text
    assert decisions(requests)[-1]["action"] == "approve"
    (after,) = [each for each in requests.flows() if each["id"] == flow]
    assert after["marked"] == ""


def test_edited_in_mitmweb_goes_on_as_edited(
    requests: Reviewed, sim: SimThread, later: ThreadPoolExecutor
) -> None:
    said = later.submit(ask, requests.proxied, "openai_chat", "sim-echo", stream=False)
    (flow,) = requests.await_held()
    path = f"/flows/{flow}/request/content.data"
    body = requests.web.get(path).content
    put = requests.put(path, body.replace(b"Hello there.", b"Edited."))
    assert put.status_code == 200, put.text
    requests.resume(flow)
    assert "Edited." in said.result(30).text
    assert b"Hello there." not in bodies(sim)[-1]
    assert decisions(requests)[-1]["action"] == "edit"


def test_killed_in_mitmweb_ends_at_once(requests: Reviewed, later: ThreadPoolExecutor) -> None:
    with requests.proxied.client() as client:
        url, body = streams("openai_chat")
        said = later.submit(client.post, url, json=body)
        (flow,) = requests.await_held()
        requests.kill(flow)
        with pytest.raises(httpx.HTTPError):
            said.result(30)
    requests.until(lambda: requests.queue() == [])
    assert decisions(requests)[-1]["what"] == "cancelled"


# -- answers ----------------------------------------------------------------------------------


@streamed
@spoken
def test_an_approved_answer_arrives_as_the_model_gave_it(
    answers: Reviewed, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    said = later.submit(ask, answers.proxied, protocol, "sim-reasoning", stream=stream)
    (flow,) = answers.await_held()
    answers.done("llm.approve", f"@{flow}")
    got = said.result(30)
    assert protocol in got.text
    assert got.tokens[1]


@streamed
@spoken
def test_an_edited_answer_is_what_the_client_gets(
    answers: Reviewed,
    later: ThreadPoolExecutor,
    tmp_path: Path,
    protocol: str,
    stream: bool,
) -> None:
    said = later.submit(ask, answers.proxied, protocol, "sim-text", stream=stream)
    (flow,) = answers.await_held()
    document = answers.done("llm.document", f"@{flow}")
    assert protocol in document
    file = tmp_path / "edited.yaml"
    file.write_text(document.replace(protocol, "a person"))
    answers.done("llm.edit", f"@{flow}", str(file))
    got = said.result(30)
    assert "a person" in got.text
    assert protocol not in got.text


@streamed
@spoken
def test_a_rejected_answer_never_reaches_the_client(
    answers: Reviewed, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    said = later.submit(ask, answers.proxied, protocol, "sim-text", stream=stream)
    (flow,) = answers.await_held()
    answers.done("llm.reject", f"@{flow}", "Better not.")
    with pytest.raises(BROKEN, match=r"Better not\."):
        said.result(30)


def test_an_answer_edited_in_mitmweb_goes_on_as_edited(
    answers: Reviewed, later: ThreadPoolExecutor
) -> None:
    said = later.submit(ask, answers.proxied, "anthropic_messages", "sim-text", stream=True)
    (flow,) = answers.await_held()
    path = f"/flows/{flow}/response/content.data"
    body = answers.web.get(path).content
    put = answers.put(path, body.replace(b"anthropic_messages", b"a person"))
    assert put.status_code == 200, put.text
    answers.resume(flow)
    assert "a person" in said.result(30).text


# -- tool calls -------------------------------------------------------------------------------


@streamed
@spoken
def test_an_approved_call_is_the_models_own(
    calls: Reviewed, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    said = later.submit(ask, calls.proxied, protocol, "sim-tool", stream=stream, tools=True)
    (flow,) = calls.await_held()
    calls.done("llm.approve", f"@{flow}")
    got = said.result(30)
    assert [name for name, _ in got.calls] == ["get_weather"]


@streamed
@spoken
def test_an_edited_call_is_what_the_client_runs(
    calls: Reviewed, later: ThreadPoolExecutor, tmp_path: Path, protocol: str, stream: bool
) -> None:
    said = later.submit(ask, calls.proxied, protocol, "sim-tool", stream=stream, tools=True)
    (flow,) = calls.await_held()
    document = calls.done("llm.document", f"@{flow}")
    file = tmp_path / "edited.yaml"
    assert "city: " in document
    file.write_text(re.sub(r"city: .*", "city: Rome", document))
    calls.done("llm.edit", f"@{flow}", str(file))
    assert said.result(30).calls == [("get_weather", {"city": "Rome"})]


@streamed
@spoken
def test_a_rejected_call_is_told_to_the_model_which_goes_on(
    calls: Reviewed, sim: SimThread, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    said = later.submit(ask, calls.proxied, protocol, "sim-tool", stream=stream, tools=True)
    (flow,) = calls.await_held()
    calls.done("llm.reject", f"@{flow}", "It is raining everywhere.", "tool_result")
    got = said.result(30)
    assert got.calls == []
    assert got.text
    assert b"It is raining everywhere." in bodies(sim)[-1]


@streamed
@spoken
def test_a_refused_call_becomes_words(
    calls: Reviewed, later: ThreadPoolExecutor, protocol: str, stream: bool
) -> None:
    said = later.submit(ask, calls.proxied, protocol, "sim-tool", stream=stream, tools=True)
    (flow,) = calls.await_held()
    calls.done("llm.answer", f"@{flow}", "I need no weather for that.")
    got = said.result(30)
    assert got.calls == []
    assert "I need no weather for that." in got.text


def test_two_calls_are_asked_about_one_after_the_other(
    calls: Reviewed, later: ThreadPoolExecutor
) -> None:
    said = later.submit(
        ask, calls.proxied, "anthropic_messages", "sim-parallel-tools", stream=True, tools=True
    )
    (flow,) = calls.await_held()
    first = calls.done("llm.document", f"@{flow}")
    calls.done("llm.approve", f"@{flow}")
    calls.until(lambda: bool(calls.queue()) and calls.done("llm.document", f"@{flow}") != first)
    calls.done("llm.answer", f"@{flow}", "Once is enough.")
    got = said.result(30)
    assert len(got.calls) == 1
    assert "Once is enough." in got.text
