"""Calls that should not be run, where client and provider speak different protocols: the client
sees the good answer alone, calls and results stay pairs, nothing that steers is sent twice.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from proxied import Proxied, behind
from sdks import PROTOCOLS, PROVIDERS
from talks import TALKS, Talk

from llmitm.canon.parts import ToolCall, ToolResult
from llmitm.dialects.catalog import DIALECTS
from llmitm.sim.received import Received
from llmitm.sim.scenarios import Call, Scenario
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

PAIRS = [pair for pair in itertools.product(PROTOCOLS, PROTOCOLS) if pair[0] != pair[1]]
BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
EACH_PAIR = pytest.mark.parametrize(("client", "provider"), PAIRS)
SCHEMA = {"type": "object", "properties": {"command": {"type": "string"}}}
RESET = Call("bash", {"command": "git reset --hard HEAD~3"})
STATUS = Call("bash", {"command": "git status"})
LEAD = "I will clean up first."
NOTE = "was not run"
OURS = (NOTE, "reset --hard", "intercepted before", "Do not try the same")
"""What may only be in the request that steers."""
THOUGHTS = "What is the fastest way? To throw all of it away."
SCENARIOS = (
    Scenario(
        name="sim-steered",
        lead=LEAD,
        reasoning=THOUGHTS,
        calls=(RESET,),
        after=((NOTE, (STATUS,)),),
    ),
    Scenario(name="sim-dangerous", calls=(RESET,), final_text="Please run it yourself."),
)
BLOCKING = "commands: {effect: block}\n"


@pytest.fixture(scope="module")
def scripted() -> Iterator[SimThread]:
    with SimThread(scenarios=SCENARIOS) as sim:
        yield sim


@pytest.fixture(scope="module")
def steering(scripted: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    with behind(tmp_path_factory.mktemp("steering"), scripted) as running:
        yield running


@pytest.fixture(scope="module")
def blocking(scripted: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("blocking")
    rules = folder / "rules"
    rules.mkdir()
    (rules / "tools.yaml").write_text(BLOCKING)
    with behind(folder, scripted, [f"llm_rules={rules}"]) as running:
        yield running


def talk_of(proxied: Proxied, client: str, stream: bool, key: str) -> Talk:
    return TALKS[client](proxied, stream, key, tool="bash", schema=SCHEMA)


def pairs_hold(entry: Received) -> None:
    """Every call is followed by its result, and no result stands alone."""
    request = DIALECTS[entry.protocol].decode_request(entry.body)
    waiting: list[ToolCall] = []
    for message in request.messages:
        for part in message.parts:
            if isinstance(part, ToolCall):
                waiting.append(part)
            elif isinstance(part, ToolResult):
                call = waiting.pop(0)
                assert part.call_id in (call.id, "")
                assert part.name in (call.name, "", None)
            elif message.role == "user":
                assert waiting == []
    assert waiting == []


def held(talk: Talk) -> str:
    """All that the client keeps."""
    return repr(talk.history)


def commands(talk: Talk) -> list[Any]:
    found: list[Any] = []
    for call in talk.calls:
        arguments = getattr(call, "function", call)
        arguments = (
            getattr(arguments, "arguments", None)
            or getattr(call, "input", None)
            or getattr(call, "args", None)
        )
        found.append(json.loads(arguments) if isinstance(arguments, str) else arguments)
    return [one["command"] for one in found]


@EACH_PAIR
@BOTH
def test_steering_stays_between_us_and_the_provider(
    steering: Proxied, scripted: SimThread, client: str, provider: str, stream: bool
) -> None:
    scripted.log.clear()
    steering.skip()
    talk = talk_of(steering, client, stream, f"sk-{client}-{provider}-{stream}")
    model = f"{PROVIDERS[provider]}:sim-steered"
    talk.say(model, "Please clean up.")
    assert commands(talk) == ["git status"]
    row = steering.rows()[0]
    assert (row["lane"], row["tool_calls"], row["error"]) == ("translate", ["bash"], "")
    assert [mark for mark in OURS if mark in held(talk)] == []

    talk.results(model, "nothing to commit")
    assert talk.calls == []
    talk.say(model, "And once more, please.")
    assert commands(talk) == ["git status"]
    assert [mark for mark in OURS if mark in held(talk)] == []

    asked = scripted.log.all()
    assert [entry.protocol for entry in asked] == [provider] * 5
    told = [[mark for mark in OURS if mark in entry.body.decode()] for entry in asked]
    assert told == [[], [*OURS], [], [], [*OURS]]
    assert asked[4].body.decode().count(NOTE) == 1
    for entry in asked:
        pairs_hold(entry)


@EACH_PAIR
@BOTH
def test_a_blocked_call_leaves_a_history_that_holds(
    blocking: Proxied, scripted: SimThread, client: str, provider: str, stream: bool
) -> None:
    scripted.log.clear()
    talk = talk_of(blocking, client, stream, f"sk-{client}-{provider}-{stream}")
    model = f"{PROVIDERS[provider]}:sim-dangerous"
    talk.say(model, "Please clean up.")
    assert talk.calls == []
    assert "[Tool call stopped: `bash` was not run." in held(talk)
    talk.say(model, "And now?")
    asked = scripted.log.all()
    assert len(asked) == 2
    # The user sees why, and so does the model from its own history.
    assert NOTE in asked[1].body.decode()
    for entry in asked:
        pairs_hold(entry)


@pytest.mark.parametrize("winner", PROTOCOLS)
@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_race_whose_winner_calls_what_is_dangerous_is_steered(
    steering: Proxied, scripted: SimThread, client: str, winner: str
) -> None:
    scripted.log.clear()
    steering.skip()
    slow = "gemini" if winner != "gemini_generate" else "anthropic"
    talk = talk_of(steering, client, True, f"sk-race-{client}-{winner}")
    talk.say(f"{slow}:sim-stall!{PROVIDERS[winner]}:sim-steered", "Please clean up.")
    assert commands(talk) == ["git status"]
    assert [mark for mark in OURS if mark in held(talk)] == []
    row = steering.rows()[0]
    assert row["target"] == f"{PROVIDERS[winner]}:sim-steered"
    assert (row["error"], row["tool_calls"], row["ended"]) == ("", ["bash"], True)
    entries = scripted.log.wait(lambda all_: len(all_) >= 3 and all(e.done for e in all_))
    steered = [entry for entry in entries if NOTE in entry.body.decode()]
    # Only who won is asked again, and no race is run once more.
    assert [(entry.protocol, entry.scenario) for entry in steered] == [(winner, "sim-steered")]
    assert [entry.scenario for entry in entries].count("sim-stall") == 1
    for entry in entries:
        pairs_hold(entry)


@pytest.mark.parametrize("client", PROTOCOLS)
def test_a_race_whose_winner_calls_what_is_dangerous_is_blocked(
    blocking: Proxied, scripted: SimThread, client: str
) -> None:
    scripted.log.clear()
    blocking.skip()
    talk = talk_of(blocking, client, True, f"sk-race-{client}")
    talk.say("anthropic:sim-stall!gemini:sim-dangerous", "Please clean up.")
    assert talk.calls == []
    assert "[Tool call stopped: `bash` was not run." in held(talk)
    row = blocking.rows()[0]
    assert (row["target"], row["error"], row["ended"]) == ("gemini:sim-dangerous", "", True)
    entries = scripted.log.wait(lambda all_: len(all_) >= 2 and all(e.done for e in all_))
    assert sorted(entry.scenario for entry in entries) == ["sim-dangerous", "sim-stall"]
