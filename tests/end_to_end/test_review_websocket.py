"""Held on a WebSocket: frames that were kept back go on, or what was decided takes their place."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reviewed import Reviewed, reviewed
from socket_origin import SocketOrigin, answering, asked, events, said, socket_to, text_of

pytestmark = pytest.mark.end_to_end

RULES = """
rejoin_s: 0
rules:
  - {name: asks, hold: request, models: [gpt-held]}
  - {name: answers, hold: response, models: [gpt-real]}
"""
QUICK = {"routes.yaml": "times: {keepalive_interval_s: 0.05}\n"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reviewed, SocketOrigin]]:
    folder = tmp_path_factory.mktemp("sockets")
    with (
        SocketOrigin(folder / "origin", answering) as origin,
        reviewed(folder / "proxy", origin, RULES, QUICK) as found,
    ):
        yield found, origin


def question(model: str = "gpt-held", text: str = "Good morning") -> str:
    return asked(model=model, input=[said("user", text)])


def card(place: Reviewed) -> str:
    """The flow of the one card that waits."""
    place.until(lambda: len(place.queue()) == 1)
    return "@" + place.queue()[0].split(".")[0]


def test_an_approved_request_is_the_clients_own_frame(
    place: tuple[Reviewed, SocketOrigin],
) -> None:
    reviewed, origin = place
    before = len(origin.received)
    with socket_to(reviewed.proxied) as socket:
        frame = question()
        socket.send(frame)
        flow = card(reviewed)
        assert len(origin.received) == before
        assert reviewed.done("llm.approve", flow) == "1 approved."
        assert "déjà vu" in text_of(events(socket))
    assert origin.received[before:] == [frame]


def test_an_edited_request_is_what_the_provider_gets(
    place: tuple[Reviewed, SocketOrigin], tmp_path: Path
) -> None:
    reviewed, origin = place
    with socket_to(reviewed.proxied) as socket:
        socket.send(question(text="Good morning"))
        flow = card(reviewed)
        file = tmp_path / "edited.yaml"
        document = reviewed.done("llm.document", flow)
        file.write_text(document.replace("Good morning", "Good night"))
        reviewed.done("llm.edit", flow, str(file))
        assert "déjà vu" in text_of(events(socket))
    sent = origin.bodies()[-1]
    assert sent["input"][0]["content"][0]["text"] == "Good night"
    assert sent["type"] == "response.create"


def test_an_operator_answers_in_place_of_the_model(place: tuple[Reviewed, SocketOrigin]) -> None:
    reviewed, origin = place
    before = len(origin.received)
    with socket_to(reviewed.proxied) as socket:
        socket.send(question())
        reviewed.done("llm.answer", card(reviewed), "It is I.")
        seen = events(socket)
        assert text_of(seen) == "It is I."
        assert len(origin.received) == before
        # What the provider has not seen goes with the next request.
        socket.send(asked(model="gpt-other", input=[said("user", "Who?")], **after(seen)))
        assert "déjà vu" in text_of(events(socket))
    sent = json.dumps(origin.bodies()[-1])
    assert sent.index("Good morning") < sent.index("It is I.") < sent.index("Who?")
    assert "resp_llmitm_" not in sent
    assert sent.count("It is I.") == sent.count("Good morning") == 1


def after(seen: list[dict[str, Any]]) -> dict[str, Any]:
    """The fields of a request that goes on from this answer."""
    return {"previous_response_id": seen[-1]["response"]["id"]}


def test_a_rejected_request_is_an_error_frame_and_the_socket_stays_open(
    place: tuple[Reviewed, SocketOrigin],
) -> None:
    reviewed, _ = place
    with socket_to(reviewed.proxied) as socket:
        socket.send(question())
        reviewed.done("llm.reject", card(reviewed), "Not now.")
        told: dict[str, Any] = json.loads(socket.recv(20))
        assert told["type"] == "error"
        assert "Not now." in json.dumps(told)
        socket.send(question())
        reviewed.done("llm.approve", card(reviewed))
        assert "déjà vu" in text_of(events(socket))


def test_an_approved_answer_is_the_providers_own_frames(
    place: tuple[Reviewed, SocketOrigin],
) -> None:
    reviewed, origin = place
    with socket_to(reviewed.proxied) as socket:
        socket.send(question("gpt-real"))
        flow = card(reviewed)
        reviewed.done("llm.approve", flow)
        seen = events(socket)
    own = [json.loads(frame) for frame in answering("", len(origin.received))]
    assert seen == own


def test_an_edited_answer_is_what_the_client_gets(
    place: tuple[Reviewed, SocketOrigin], tmp_path: Path
) -> None:
    reviewed, _ = place
    with socket_to(reviewed.proxied) as socket:
        socket.send(question("gpt-real"))
        flow = card(reviewed)
        file = tmp_path / "edited.yaml"
        document = reviewed.done("llm.document", flow)
        file.write_text(document.replace("déjà vu", "never seen"))
        reviewed.done("llm.edit", flow, str(file))
        assert "never seen" in text_of(events(socket))


def test_pings_keep_the_client_alive_and_one_that_leaves_cancels_its_card(
    place: tuple[Reviewed, SocketOrigin],
) -> None:
    reviewed, origin = place
    before = len(origin.received)
    with socket_to(reviewed.proxied) as socket:
        socket.send(question())
        card(reviewed)
        # mitmproxy logs what a client answers to a ping.
        reviewed.until(lambda: reviewed.log().count("WebSocket pong from client") > 1)
    reviewed.until(lambda: reviewed.queue() == [])
    assert len(origin.received) == before
