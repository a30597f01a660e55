"""Loops and redaction as real clients meet them, with everything at its default."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from chats import Chat
from proxied import Proxied, behind
from sdks import PROTOCOLS, PROVIDERS

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

FORMS = [pytest.param(True, id="streamed"), pytest.param(False, id="whole")]
SECRET = "sk-proj-" + "Zk3v9Qx7Lm2Rt8Wp5Nc4Hd6Jf1Gb0Ys" * 2
STORED = "key-of-the-owner-Yw4Tz8Kq1Vn6"


@pytest.fixture(scope="module")
def guarded(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy with a stored key of its own."""
    folder = tmp_path_factory.mktemp("guarded")
    with behind(folder, sim, variables={"MISTRAL_API_KEY": STORED}) as running:
        yield running


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_secret_does_not_leave_and_comes_back(
    guarded: Proxied, sim: SimThread, protocol: str, stream: bool
) -> None:
    chat = Chat(guarded, protocol, stream, model="sim-echo")
    for number, secret in enumerate((SECRET, STORED)):
        since = sim.sim.log.count
        asked = f"Say {number}: use {secret} here, please."
        assert chat.say(asked) == asked
        received = [each for each in sim.sim.log.all() if each.index >= since]
        assert len(received) == 1
        assert SECRET.encode() not in received[0].body
        assert STORED.encode() not in received[0].body
    folder = guarded.journal.parent
    for file in ("journal.jsonl", "proxy.log"):
        assert SECRET not in (folder / file).read_text()


def test_redaction_can_be_switched_off_in_the_chat(guarded: Proxied, sim: SimThread) -> None:
    chat = Chat(guarded, "openai_chat", model="sim-echo")
    chat.say("!/set(redact-api-keys-in-prompts=false)")
    chat.say(f"Use {SECRET}.")
    assert SECRET.encode() in sim.sim.log.all()[-1].body


@pytest.mark.parametrize("stream", FORMS)
@pytest.mark.parametrize("provider", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_loop_is_cut_with_the_line(
    guarded: Proxied, client: str, provider: str, stream: bool
) -> None:
    chat = Chat(guarded, client, stream, model=f"{PROVIDERS[provider]}:sim-loop")
    said = chat.say("Go on.")
    assert "[Response cancelled: Loop detected - Pattern '" in said
    assert said.rstrip().endswith(" times]")
    assert len(said) < 4000
    assert chat.say("!/set(loop-detection=false)")
    assert len(chat.say("Go on.")) > 30_000


@pytest.mark.parametrize("client", PROTOCOLS)
def test_the_provider_of_a_loop_is_stopped(guarded: Proxied, sim: SimThread, client: str) -> None:
    assert "Loop detected" in Chat(guarded, client, model="sim-loop-drip").say("Go on.")
    entries = sim.sim.log.wait(lambda log: log[-1].done)
    assert entries[-1].aborted_at is not None
    assert entries[-1].events_sent < 2000


def test_an_honest_answer_stays_verbatim(guarded: Proxied) -> None:
    guarded.skip()
    Chat(guarded, "anthropic_messages").say("Hello.")
    row = guarded.rows()[0]
    assert (row["lane"], row["losses"], row["notes"]) == ("verbatim", [], [])


def test_loop_detection_follows_its_variable(sim: SimThread, tmp_path: Path) -> None:
    with behind(tmp_path, sim, variables={"LOOP_DETECTION_ENABLED": "false"}) as proxied:
        assert len(Chat(proxied, "openai_chat", model="sim-loop").say("Go on.")) > 30_000
        assert json.loads(proxied.journal.read_text().splitlines()[0])["lane"] == "verbatim"


def test_an_answer_too_long_to_be_held_passes_unread(sim: SimThread, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "routes.yaml").write_text("limits: {max_buffered_bytes: 100000}\n")
    with behind(tmp_path, sim, [f"llm_rules={rules}"]) as proxied:
        chat = Chat(proxied, "openai_chat", stream=False, model="sim-huge-300000")
        assert len(chat.say("Hello.")) >= 300_000
        assert "passed on unread" in proxied.rows()[0]["notes"][0]
