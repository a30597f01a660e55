"""Reasoning signatures live through clients of other protocols, turn after turn with tools."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from proxied import Proxied, behind
from sdks import PROVIDERS
from talks import TALKS

from llmitm.sim.threads import SimThread
from llmitm.sim.wire_chat import ENCRYPTED
from llmitm.sim.wire_chat import SIGNATURE as CHAT
from llmitm.sim.wire_gemini import SIGNATURE as GEMINI
from llmitm.sim.wire_messages import SIGNATURE as ANTHROPIC

pytestmark = pytest.mark.end_to_end

SIGNERS = ("anthropic_messages", "gemini_generate", "openai_responses")
PAIRS = [(client, signer) for client in TALKS for signer in SIGNERS if client != signer]
MODEL = "sim-reasoning-tool"
THOUGHTS = "The user asks something. I weigh two ways to answer. The short one is better."


@pytest.fixture(scope="module")
def encrypted(sim: SimThread) -> str:
    """What the sim's Responses wire gives as encrypted reasoning, asked for directly."""
    answer = httpx.post(
        f"{sim.url}/v1/responses",
        json={"model": "sim-reasoning", "input": "hi"},
        verify=False,
    )
    items = answer.json()["output"]
    return next(item["encrypted_content"] for item in items if item["type"] == "reasoning")


def turns(protocol: str, body: dict[str, Any]) -> list[str]:
    """What the provider was sent as assistant's side, one word for each thing, in order."""
    match protocol:
        case "anthropic_messages":
            return [word for message in body["messages"] for word in anthropic_words(message)]
        case "openai_responses":
            return [responses_word(item) for item in body["input"]]
        case _:
            return [word for content in body["contents"] for word in gemini_words(content)]


def anthropic_words(message: dict[str, Any]) -> list[str]:
    content = message["content"]
    if message["role"] != "assistant":
        return ["user"]
    if isinstance(content, str):
        return ["text"]
    thinking = {"type": "thinking", "thinking": THOUGHTS, "signature": ANTHROPIC}
    assert all(block == thinking for block in content if block["type"] == "thinking")
    return [{"tool_use": "call"}.get(block["type"], block["type"]) for block in content]


def responses_word(item: dict[str, Any]) -> str:
    kind = item.get("type", "message")
    if kind == "reasoning":
        assert item["id"].startswith("rs_")
        assert item["summary"] == [{"type": "summary_text", "text": THOUGHTS}]
        return "thinking " + item["encrypted_content"]
    if kind == "function_call":
        return "call"
    return "user" if kind == "function_call_output" or item["role"] == "user" else "text"


def gemini_words(content: dict[str, Any]) -> list[str]:
    if content["role"] == "user":
        return ["user"]
    words: list[str] = []
    for part in content["parts"]:
        if not part.get("thought"):
            kind = "call" if "functionCall" in part else "text"
            signed = part.get("thoughtSignature")
            words.append(f"{kind} {signed}" if signed else kind)
    return words


def expected(protocol: str, encrypted: str, *, stream: bool) -> list[list[str]]:
    """What each of the four requests must say."""
    if protocol == "anthropic_messages":
        call, text = ["thinking", "call"], ["thinking", "text"]
    elif protocol == "openai_responses":
        call, text = [f"thinking {encrypted}", "call"], [f"thinking {encrypted}", "text"]
    else:
        # A streamed text is signed on an empty part behind it.
        call = [f"call {GEMINI}"]
        text = ["text", f"text {GEMINI}"] if stream else [f"text {GEMINI}"]
    user = ["user"]
    first = [*user, *call, *user]
    third = [*first, *text, *user]
    return [user, first, third, [*third, *call, *user]]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize(("client", "signer"), PAIRS)
def test_proofs_come_back_over_two_tool_turns(
    proxied: Proxied, sim: SimThread, encrypted: str, client: str, signer: str, stream: bool
) -> None:
    model = f"{PROVIDERS[signer]}:{MODEL}"
    seen = sim.log.count
    talk = TALKS[client](proxied, stream)
    talk.say(model, "What is the weather in Paris?")
    talk.results(model, "mild")
    talk.say(model, "And the weather in Rome?")
    talk.results(model, "warm")
    bodies = [json.loads(entry.body) for entry in sim.log.all() if entry.index >= seen]
    told = [turns(signer, body) for body in bodies]
    assert told == expected(signer, encrypted, stream=stream)
    for row in proxied.rows(4):
        assert row["lane"] == "translate"
        # The answer's own loss, towards the client, has the client's protocol as its target.
        lost = [loss["feature"] for loss in row["losses"] if loss["target"] == signer]
        assert "part.reasoning.signature" not in lost


ENTRIES = "sim-details-tool"
# Where a client's own protocol is spoken too, it would stay in it.
CHATS = {
    "gemini_generate": "openrouter",
    "anthropic_messages": "together",
    "openai_responses": "together",
}


@pytest.fixture(scope="module")
def gateway(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy that also has keys for OpenRouter and DeepSeek."""
    names = ("OPENROUTER", "DEEPSEEK")
    keys = {f"{name}_API_KEY": "sim-key-of-the-proxy" for name in names}
    bases = {f"{name}_API_BASE_URL": f"{sim.url}/v1" for name in names}
    with behind(tmp_path_factory.mktemp("gateway"), sim, variables=keys | bases) as running:
        yield running


def chat_words(message: dict[str, Any]) -> list[str]:
    """What a Chat provider was sent as one message, its reasoning entries first."""
    if message["role"] != "assistant":
        return ["user"]
    calls = message.get("tool_calls", [])
    entries = message["reasoning_details"]
    assert entries[0] == {
        "type": "reasoning.text",
        "text": THOUGHTS,
        "signature": CHAT,
        "format": "anthropic-claude-v1",
        "index": 0,
    }
    assert (entries[1]["data"], entries[1]["index"]) == (ENCRYPTED, 1)
    # Gemini's entries name the call that they belong to.
    assert entries[1].get("id") == (calls[0]["id"] if calls else None)
    assert message.get("reasoning", THOUGHTS) == THOUGHTS
    assert len(entries) == 2
    return ["entries", "call" if calls else "text"]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("client", CHATS)
def test_reasoning_entries_of_chat_come_back_over_two_tool_turns(
    gateway: Proxied, sim: SimThread, client: str, stream: bool
) -> None:
    model = f"{CHATS[client]}:{ENTRIES}"
    seen = sim.log.count
    talk = TALKS[client](gateway, stream)
    talk.say(model, "What is the weather in Paris?")
    talk.results(model, "mild")
    talk.say(model, "And the weather in Rome?")
    talk.results(model, "warm")
    bodies = [json.loads(entry.body) for entry in sim.log.all() if entry.index >= seen]
    told = [[word for m in body["messages"] for word in chat_words(m)] for body in bodies]
    call, text = ["entries", "call", "user"], ["entries", "text", "user"]
    assert told == [
        ["user"],
        ["user", *call],
        ["user", *call, *text],
        ["user", *call, *text, *call],
    ]
    for row in gateway.rows(4):
        assert row["lane"] == "translate"
        lost = [loss["feature"] for loss in row["losses"] if loss["target"] == "openai_chat"]
        assert "part.reasoning.signature" not in lost


@pytest.mark.parametrize(
    ("client", "second"),
    [
        ("gemini_generate", "anthropic_messages"),
        ("anthropic_messages", "gemini_generate"),
        ("openai_responses", "openai_chat"),
    ],
)
def test_reasoning_entries_do_not_reach_another_provider(
    gateway: Proxied, sim: SimThread, client: str, second: str
) -> None:
    other = "deepseek" if second == "openai_chat" else PROVIDERS[second]
    seen = sim.log.count
    talk = TALKS[client](gateway, True)
    talk.say(f"{CHATS[client]}:{ENTRIES}", "What is the weather in Paris?")
    talk.results(f"{other}:{MODEL}", "mild")
    changed = [entry.body.decode() for entry in sim.log.all() if entry.index >= seen][1]
    assert CHAT not in changed
    assert ENCRYPTED not in changed
    row = gateway.rows(2)[1]
    losses = [loss for loss in row["losses"] if loss["feature"] == "part.reasoning.signature"]
    assert [(loss["how"], loss["say"]) for loss in losses if loss["target"] == second] == [
        ("dropped", f"made by {CHATS[client]}")
    ]


CHANGES = [
    ("openai_chat", "anthropic_messages", "gemini_generate"),
    ("openai_chat", "gemini_generate", "openai_responses"),
    ("openai_responses", "anthropic_messages", "gemini_generate"),
    ("anthropic_messages", "openai_responses", "gemini_generate"),
    ("gemini_generate", "openai_responses", "anthropic_messages"),
]


@pytest.mark.parametrize(("client", "first", "second"), CHANGES)
def test_a_change_of_provider_drops_them_and_says_so(
    proxied: Proxied, sim: SimThread, client: str, first: str, second: str
) -> None:
    seen = sim.log.count
    talk = TALKS[client](proxied, True)
    talk.say(f"{PROVIDERS[first]}:{MODEL}", "What is the weather in Paris?")
    talk.results(f"{PROVIDERS[second]}:{MODEL}", "mild")
    changed = [entry.body.decode() for entry in sim.log.all() if entry.index >= seen][1]
    assert ANTHROPIC not in changed
    assert GEMINI not in changed
    assert '"encrypted_content":"' not in changed
    row = proxied.rows(2)[1]
    losses = [loss for loss in row["losses"] if loss["feature"] == "part.reasoning.signature"]
    told = [loss for loss in losses if loss["target"] == second]
    assert [(loss["target"], loss["how"], loss["say"]) for loss in told] == [
        (second, "dropped", f"made by {PROVIDERS[first]}")
    ]


@pytest.mark.parametrize("client", ["anthropic_messages", "openai_responses"])
def test_back_at_its_own_provider_a_client_sends_no_reasoning_made_elsewhere(
    proxied: Proxied, sim: SimThread, client: str
) -> None:
    seen = sim.log.count
    talk = TALKS[client](proxied, True)
    talk.say(f"gemini:{MODEL}", "What is the weather in Paris?")
    talk.results(MODEL, "mild")
    body = [json.loads(entry.body) for entry in sim.log.all() if entry.index >= seen][1]
    assert "call" in turns(client, body)
    assert not [word for word in turns(client, body) if word.startswith("thinking")]
    row = proxied.rows(2)[1]
    assert row["lane"] == "patch"
    assert [loss["say"] for loss in row["losses"]] == ["made by gemini"]


def test_another_client_gets_nothing_of_it(proxied: Proxied, sim: SimThread) -> None:
    model = f"anthropic:{MODEL}"
    talk = TALKS["openai_chat"](proxied, False)
    talk.say(model, "What is the weather in Paris?")
    stranger = TALKS["openai_chat"](proxied, False, "sk-other", talk.history, talk.calls)
    stranger.results(model, "mild")
    assert ANTHROPIC.encode() not in sim.log.all()[-1].body
