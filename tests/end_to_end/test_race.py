"""`A!B!C`: all are asked at once and the first that shows something answers."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest
from origin_server import Origin
from proxied import Proxied, behind
from sdks import PROTOCOLS, PROVIDERS, ask

from llmitm.mitm.processes import Child
from llmitm.sim.received import Received
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

CHAT = "https://api.openai.com/v1/chat/completions"
ASKED: dict[str, Any] = {"messages": [{"role": "user", "content": "hi"}], "stream": True}


def since(sim, start: int, count: int) -> tuple[Received, ...]:
    """The next `count` requests that the sim got, once all of them are over."""
    return tuple(
        entry
        for entry in sim.log.wait(
            lambda all_: (
                sum(e.index >= start for e in all_) >= count
                and all(e.done for e in all_ if e.index >= start)
            )
        )
        if entry.index >= start
    )


def by_scenario(entries: tuple[Received, ...]) -> dict[str, Received]:
    return {entry.scenario: entry for entry in entries}


@pytest.mark.parametrize("fast", ["openai_chat", "anthropic_messages", "gemini_generate"])
@pytest.mark.parametrize("client", PROTOCOLS)
def test_the_faster_leg_answers_and_the_other_is_closed(
    proxied: Proxied, sim, client: str, fast: str
) -> None:
    start = sim.log.count
    model = f"openai-responses:sim-slow!{PROVIDERS[fast]}:sim-text"
    said = ask(proxied, client, model, stream=True)
    assert said.text.startswith(f"This is a scripted answer over {fast}.")
    assert said.tokens[1] is not None
    legs = by_scenario(since(sim, start, 2))
    # It would have gone on for four seconds.
    assert legs["sim-slow"].aborted_at is not None
    assert legs["sim-slow"].aborted_at < 20
    row = proxied.rows()[0]
    assert row["target"] == f"{PROVIDERS[fast]}:sim-text"
    assert (row["attempts"], row["status"], row["error"], row["ended"]) == (2, 200, "", True)
    assert row["usage"]["output_tokens"] == said.tokens[1]


def test_the_loser_is_closed_while_the_winner_still_speaks(proxied: Proxied, sim) -> None:
    start = sim.log.count
    ask(proxied, "openai_chat", "anthropic:sim-stall!openai:sim-drip", stream=True)
    legs = by_scenario(since(sim, start, 2))
    winner, loser = legs["sim-drip"], legs["sim-stall"]
    assert winner.done_s is not None
    assert loser.done_s is not None
    assert loser.status == 0
    # 40 events with 20 ms before each: the loser was gone within the first few of them.
    assert winner.done_s - loser.done_s > 0.5
    assert proxied.rows()[0]["target"] == "openai:sim-drip"


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_tool_call_is_output(proxied: Proxied, client: str) -> None:
    said = ask(proxied, client, "anthropic:sim-stall!gemini:sim-tool", stream=True, tools=True)
    assert [name for name, _ in said.calls] == ["get_weather"]
    assert proxied.rows()[0]["target"] == "gemini:sim-tool"


@pytest.mark.parametrize(
    "broken",
    ["sim-error-500", "sim-429", "sim-close", "sim-overloaded-in-stream", "sim-cut-first"],
)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_leg_that_fails_releases_the_one_that_waits(
    proxied: Proxied, client: str, broken: str
) -> None:
    began = time.monotonic()
    model = f"[handicap=20]anthropic:{broken}!gemini:sim-text"
    said = ask(proxied, client, model, stream=True)
    assert time.monotonic() - began < 10
    assert said.text.startswith("This is a scripted answer over gemini_generate.")
    row = proxied.rows()[0]
    assert (row["target"], row["attempts"], row["error"]) == ("gemini:sim-text", 2, "")
    assert any(note.startswith(f"anthropic:{broken}: ") for note in row["notes"])


def test_who_has_the_lower_handicap_starts_later(proxied: Proxied, sim) -> None:
    start = sim.log.count
    model = "anthropic:sim-text![handicap=0.2]gemini:sim-late-600![handicap=0.1]openai:sim-stall"
    said = ask(proxied, "openai_chat", model, stream=True)
    assert said.text.startswith("This is a scripted answer over anthropic_messages.")
    legs = by_scenario(since(sim, start, 3))
    first, second, third = (legs[name].at_s for name in ("sim-late-600", "sim-stall", "sim-text"))
    assert second - first == pytest.approx(0.1, abs=0.09)
    assert third - first == pytest.approx(0.2, abs=0.09)


def test_who_wins_early_spares_those_that_wait(proxied: Proxied, sim) -> None:
    start = sim.log.count
    ask(proxied, "openai_chat", "anthropic:sim-text![handicap=9]gemini:sim-text", stream=True)
    assert [entry.protocol for entry in since(sim, start, 1)] == ["gemini_generate"]
    row = proxied.rows()[0]
    assert (row["attempts"], row["target"]) == (1, "gemini:sim-text")


def test_a_silent_leg_is_given_up_after_its_own_limit(proxied: Proxied, sim) -> None:
    start = sim.log.count
    model = "[handicap=20,ttft_timeout=0.2]anthropic:sim-stall!gemini:sim-text"
    said = ask(proxied, "openai_chat", model, stream=True)
    assert said.text.startswith("This is a scripted answer over gemini_generate.")
    assert by_scenario(since(sim, start, 2))["sim-stall"].aborted_at == 0
    assert any("within 0.2 s" in note for note in proxied.rows()[0]["notes"])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_blanks_do_not_win(proxied: Proxied, sim, protocol: str) -> None:
    start = sim.log.count
    model = f"{PROVIDERS[protocol]}:sim-blank!openai-responses:sim-late-200"
    said = ask(proxied, "anthropic_messages", model, stream=True)
    assert said.text.startswith("This is a scripted answer over openai_responses.")
    legs = by_scenario(since(sim, start, 2))
    # All of it had come before the other one began.
    assert legs["sim-blank"].done_s < legs["sim-late-200"].at_s + 0.2
    assert (legs["sim-blank"].events_sent > 1, legs["sim-blank"].aborted_at) == (True, None)
    assert proxied.rows()[0]["target"] == "openai-responses:sim-late-200"


def test_an_answer_without_output_is_better_than_none(proxied: Proxied) -> None:
    said = ask(proxied, "openai_chat", "gemini:sim-empty!anthropic:sim-error-500", stream=True)
    assert (said.text, said.finish) == ("", "stop")
    row = proxied.rows()[0]
    assert (row["target"], row["status"], row["error"]) == ("gemini:sim-empty", 200, "")


@pytest.mark.parametrize("client", PROTOCOLS)
def test_when_all_fail_every_attempt_is_told(proxied: Proxied, client: str) -> None:
    model = "anthropic:sim-error-500![handicap=9]gemini:sim-429"
    url, body = ask_raw(client, model)
    with proxied.client() as http:
        answer = http.post(url, json=body)
    # gemini was first and released the other one, whose error is the last.
    assert answer.status_code == 500, answer.text
    tried = attempts_in(answer.json())
    targets = [each["target"].replace(".1:", ":") for each in tried]
    assert targets == ["gemini:sim-429", "anthropic:sim-error-500"]
    assert [each["status"] for each in tried] == [429, 500]
    row = proxied.rows()[0]
    assert (row["status"], row["attempts"]) == (500, 2)
    assert row["error"]


def attempts_in(body: Any) -> list[dict[str, Any]]:
    """`attempts` of the details, wherever the protocol keeps them."""
    found: list[Any] = [body]
    for value in found:
        if isinstance(value, dict) and "attempts" in value:
            attempts = value["attempts"]
            return json.loads(attempts) if isinstance(attempts, str) else attempts
        if isinstance(value, dict | list):
            found.extend(value.values() if isinstance(value, dict) else value)
    raise AssertionError(body)


def ask_raw(client: str, model: str) -> tuple[str, dict[str, Any]]:
    match client:
        case "openai_chat":
            return CHAT, {**ASKED, "model": model}
        case "openai_responses":
            url = "https://api.openai.com/v1/responses"
            return url, {"model": model, "input": "hi", "stream": True}
        case "anthropic_messages":
            url = "https://api.anthropic.com/v1/messages"
            return url, {**ASKED, "model": model, "max_tokens": 9}
        case _:
            url = "https://generativelanguage.googleapis.com/v1beta/models/"
            url += model.replace("[", "%5B").replace("]", "%5D") + ":streamGenerateContent?alt=sse"
            return url, {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}


def test_the_sdks_raise_when_all_fail(proxied: Proxied) -> None:
    model = "anthropic:sim-error-529![handicap=1]gemini:sim-429"
    with pytest.raises(anthropic.APIStatusError) as caught:
        ask(proxied, "anthropic_messages", model, stream=True)
    assert caught.value.status_code == 529
    with pytest.raises(openai.RateLimitError):
        ask(proxied, "openai_chat", "[handicap=1]anthropic:sim-close!gemini:sim-429", stream=True)


def test_a_waiting_client_is_kept_alive(sim, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text(
        "times:\n  heartbeat_grace_s: 0.05\n  keepalive_interval_s: 0.05\n"
    )
    with behind(tmp_path, sim, [f"llm_rules={rules}"]) as proxied, proxied.client() as http:
        model = "anthropic:sim-late-400!gemini:sim-stall"
        answer = http.post(CHAT, json={**ASKED, "model": model})
        assert answer.status_code == 200
        assert answer.text.count(": ") >= 3
        assert answer.text.startswith(": ")
        lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        assert lines[-1] == "data: [DONE]"
        said = "".join(
            json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
            for line in lines[:-1]
            if json.loads(line[6:])["choices"]
        )
        assert said.startswith("This is a scripted answer over anthropic_messages.")
        # With its head gone, what went wrong comes as an event.
        model = "[ttft_timeout=0.3]anthropic:sim-stall![ttft_timeout=0.2]gemini:sim-stall"
        answer = http.post(CHAT, json={**ASKED, "model": model})
        assert answer.status_code == 200
        lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
        assert "within 0.3 s" in json.loads(lines[0][6:])["error"]["message"]
        rows = proxied.rows(2)
    assert rows[0]["error"] == ""
    assert "within 0.3 s" in rows[1]["error"]


def test_a_client_that_leaves_before_the_answer_ends_all_legs(proxied: Proxied, sim) -> None:
    start = sim.log.count
    model = "anthropic:sim-stall!gemini:sim-stall!openai:sim-stall"
    with proxied.client(timeout=0.5) as http, pytest.raises(httpx.ReadTimeout):
        http.post(CHAT, json={**ASKED, "model": model})
    legs = since(sim, start, 3)
    assert [leg.aborted_at for leg in legs] == [0, 0, 0]
    assert proxied.rows()[0]["error"]


def test_a_client_that_leaves_in_mid_answer_ends_the_winner(proxied: Proxied, sim) -> None:
    start = sim.log.count
    model = "anthropic:sim-slow!gemini:sim-stall"
    with (
        proxied.client() as http,
        http.stream("POST", CHAT, json={**ASKED, "model": model}) as answer,
    ):
        assert answer.status_code == 200
        assert answer.headers["x-llmitm-route"] == "anthropic:sim-slow"
        assert next(answer.iter_bytes()).startswith(b"data: ")
    legs = by_scenario(since(sim, start, 2))
    assert legs["sim-slow"].aborted_at is not None
    assert legs["sim-stall"].aborted_at == 0
    row = proxied.rows()[0]
    assert row["target"] == "anthropic:sim-slow"
    assert row["error"]
    assert row["ended"] is False


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_race_needs_a_stream(proxied: Proxied, sim, client: str) -> None:
    start = sim.log.count
    url, body = ask_raw(client, "anthropic:sim-text!gemini:sim-text")
    url = url.replace(":streamGenerateContent?alt=sse", ":generateContent")
    body.pop("stream", None)
    with proxied.client() as http:
        answer = http.post(url, json=body)
    assert answer.status_code == 400
    assert "streamed" in answer.text
    assert sim.log.count == start
    assert proxied.rows()[0]["lane"] == "local"


def test_a_winner_that_breaks_off_ends_in_the_clients_protocol(proxied: Proxied) -> None:
    with pytest.raises(openai.APIError, match=r"broke off|closed|incomplete|ended"):
        ask(proxied, "openai_chat", "gemini:sim-cut!anthropic:sim-stall", stream=True)
    assert proxied.rows()[0]["error"]


def test_a_winner_that_breaks_off_verbatim_breaks_the_clients_stream(proxied: Proxied) -> None:
    model = "openai:sim-cut!gemini:sim-stall"
    with proxied.client() as http, pytest.raises(httpx.RemoteProtocolError):
        http.post(CHAT, json={**ASKED, "model": model})
    row = proxied.rows()[0]
    assert row["target"] == "openai:sim-cut"
    assert row["error"]
    assert row["ended"] is False


def test_a_long_answer_arrives_whole(sim: SimThread, tmp_path: Path) -> None:
    model = "anthropic:sim-huge-300000!gemini:sim-stall"
    # The sim's long text says the same again and again.
    variables = {"LOOP_DETECTION_ENABLED": "false"}
    with behind(tmp_path, sim, variables=variables) as proxied, proxied.client() as http:
        lines = http.post(CHAT, json={**ASKED, "model": model}).text.splitlines()
    chunks = [json.loads(line[6:]) for line in lines if line.startswith("data: {")]
    said = "".join(
        chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"]
    )
    assert len(said) >= 300_000
    assert said.endswith("and so it goes on and on, line after line of it")
    assert lines[-2:] == ["data: [DONE]", ""] or lines[-1] == "data: [DONE]"


def test_who_was_limited_is_left_out_of_the_next_race(sim, tmp_path: Path) -> None:
    with behind(tmp_path, sim) as proxied:
        model = "[handicap=9]gemini:sim-quota!anthropic:sim-text"
        for attempts in (2, 1):
            said = ask(proxied, "openai_chat", model, stream=True)
            assert said.text.startswith("This is a scripted answer over anthropic_messages.")
            row = proxied.rows()[0]
            assert (row["attempts"], row["target"]) == (attempts, "anthropic:sim-text")


def test_a_certificate_that_nobody_vouches_for_fails_its_leg(tmp_path: Path, sim) -> None:
    with (
        Origin(tmp_path / "origin", lambda _: []) as server,
        behind(tmp_path / "p", Child(0, server.port, sim.ca)) as proxied,
        proxied.client() as http,
    ):
        body = {**ASKED, "model": "anthropic:sim-text!gemini:sim-text"}
        answer = http.post(CHAT, json=body)
        assert answer.status_code == 502
        assert "Certificate verify failed" in answer.json()["error"]["message"]
        assert len(attempts_in(answer.json())) == 2


def test_a_provider_that_is_not_there_fails_its_leg(tmp_path: Path, sim) -> None:
    # Port 9 on loopback: nothing listens there.
    variables = {"ANTHROPIC_API_BASE_URL": "https://127.0.0.1:9"}
    with behind(tmp_path, sim, variables=variables) as proxied:
        model = "[handicap=20]anthropic:sim-text!gemini:sim-text"
        said = ask(proxied, "openai_chat", model, stream=True)
        assert said.text.startswith("This is a scripted answer over gemini_generate.")


def test_a_proxy_that_stops_leaves_no_leg(tmp_path: Path, sim) -> None:
    start = sim.log.count
    with behind(tmp_path, sim) as proxied:
        http = proxied.client()
        request = http.build_request(
            "POST", CHAT, json={**ASKED, "model": "anthropic:sim-slow!gemini:sim-stall"}
        )
        answer = http.send(request, stream=True)
        assert next(answer.iter_bytes())
    # It is gone, while the client is not.
    assert all(leg.aborted_at is not None for leg in since(sim, start, 2))
    answer.close()
    http.close()


@pytest.mark.parametrize("insecure", [False, True])
def test_legs_pass_through_an_upstream_proxy(sim, tmp_path: Path, insecure: bool) -> None:
    with behind(tmp_path / "outer", sim) as outer:
        settings = [f"mode=upstream:http://127.0.0.1:{outer.proxy.port}"]
        settings += ["ssl_insecure=true"] if insecure else []
        # What is trusted is the other proxy: a leg that went past it would fail.
        server = Child(0, sim.port, sim.ca if insecure else outer.proxy.ca)
        with behind(tmp_path / "inner", server, settings) as inner:
            start = sim.log.count
            model = "anthropic:sim-stall!gemini:sim-text"
            said = ask(inner, "openai_chat", model, stream=True)
            assert said.text.startswith("This is a scripted answer over gemini_generate.")
            assert by_scenario(since(sim, start, 2))["sim-stall"].aborted_at == 0


def sockets(pid: int) -> int:
    """How many sockets a process has open."""
    count = 0
    for place in Path(f"/proc/{pid}/fd").iterdir():
        try:
            count += str(place.readlink()).startswith("socket:")
        except FileNotFoundError:
            continue
    return count


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs Linux's /proc")
def test_no_connection_is_left_over(sim, tmp_path: Path) -> None:
    with socket.socket() as mute:
        # It takes connections and never says a word, so that its leg hangs in the TLS handshake.
        mute.bind(("127.0.0.1", 0))
        mute.listen(64)
        variables = {"ANTHROPIC_API_BASE_URL": f"https://127.0.0.1:{mute.getsockname()[1]}"}
        with behind(tmp_path, sim, variables=variables) as proxied:
            model = "anthropic:sim-text!gemini:sim-late-50!openai:sim-slow"
            ask(proxied, "openai_chat", model, stream=True)
            before = sockets(proxied.proxy.pid)
            for _ in range(8):
                ask(proxied, "openai_chat", model, stream=True)
            proxied.rows(9)
            until = time.monotonic() + 5
            while sockets(proxied.proxy.pid) > before and time.monotonic() < until:
                time.sleep(0.005)
            assert sockets(proxied.proxy.pid) <= before
