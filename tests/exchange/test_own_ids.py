"""Our conversation ids in place of the client's: their form, and where they go out."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.houses import (
    CHAT,
    CLAUDE,
    built,
    candidate_for,
    house_of,
    incoming,
    rules,
    turn_of,
    wire_of,
)
from llmitm.canon.events import Fault
from llmitm.dialects.catalog import DIALECTS
from llmitm.exchange import lanes
from llmitm.exchange.counting import counted
from llmitm.exchange.credentials import standing
from llmitm.exchange.lanes import Outgoing, Trip
from llmitm.exchange.own_ids import OwnIds, own_id
from llmitm.exchange.pipeline import Pipeline
from llmitm.exchange.wire import Headers
from llmitm.ruleset.selectors import Target
from llmitm.stages.conversation import NO_SETTINGS

SALT = b"salt of a test"
ID = "0197f3c2-8d4e-7aaa-9bbb-0123456789ab"
_SES = "".join({"D": r"\d", "a": "[a-z]", "A": "[A-Z]"}[s] for s in "DaDaADaDaDADaDADaDADaDAD")
FORMS = {
    ID: r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-9[0-9a-f]{3}-[0-9a-f]{12}",
    ID.upper(): r"[0-9A-F]{8}-[0-9A-F]{4}-7[0-9A-F]{3}-9[0-9A-F]{3}-[0-9A-F]{12}",
    f"qwen-code:{ID}": r"qwen-code:[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f-]{21}",
    f"{ID}:2": r"[0-9a-f]{8}-[0-9a-f-]{27}:2",
    "ses_6f3aB1c2d3E4f5G6h7I8j9K0": f"ses_{_SES}",
    "agents-sdk:run:0123456789abcdef": r"agents-sdk:run:[0-9a-f]{16}",
    "0123456789ABCDEF0123": r"[0-9A-F]{20}",
    "default": r"[0-9a-z]{20}",
    "7": r"[0-9a-z]{20}",
    "conv_1": r"conv_[0-9a-z]{20}",
    "the secret name of a project": r"[a-z]{3} [a-z]{6} [a-z]{4} [a-z]{2} [a-z] [a-z]{7}",
}


@pytest.mark.parametrize("text", FORMS)
def test_an_own_id_has_the_form_of_the_clients(text: str) -> None:
    made = own_id(SALT, text)
    assert re.fullmatch(FORMS[text], made), made
    assert made != text
    assert made == own_id(SALT, text)
    assert made != own_id(b"another salt", text)


def test_letters_case_makes_no_other_uuid_and_a_uuid_is_the_same_wherever_it_stands() -> None:
    assert own_id(SALT, ID.upper()) == own_id(SALT, ID).upper()
    assert own_id(SALT, f"qwen-code:{ID}") == f"qwen-code:{own_id(SALT, ID)}"


@given(st.text(min_size=1, max_size=60))
def test_no_text_raises_and_none_stays(text: str) -> None:
    made = own_id(SALT, text)
    assert made == own_id(SALT, text)
    if sum(sign.isalnum() for sign in text) >= 20:
        assert made != text


def test_no_two_of_many_ids_become_one() -> None:
    many = {str(uuid.UUID(int=n, version=4)) for n in range(2000)}
    many |= {str(n) for n in range(2000)} | {f"ses_{n:026x}" for n in range(2000)}
    assert len({own_id(SALT, each) for each in many}) == len(many)


def row_of(headers: Headers):
    lower = {name.lower(): text for name, text in headers}
    return rules().clients.recognise(lower)


def trip_of(url: str, body: str, headers: Headers, target: Target | None = None) -> Trip:
    ruleset = rules({"OPENROUTER_API_KEY": "k", "GEMINI_API_KEY": "k"})
    coming = incoming(ruleset, wire_of(url, body, headers))
    assert coming.request is not None
    own = coming.endpoint.provider
    return Trip(
        incoming=coming,
        request=coming.request,
        candidate=candidate_for(ruleset, own, target, coming.request.model),
        client=standing(coming.wire, own, ruleset),
        settings=NO_SETTINGS,
        ruleset=ruleset,
        dialects=DIALECTS,
        recall=lambda asked, *_: (asked, ()),
        guard="g",
        ids=OwnIds.of(SALT, row_of(headers)),
    )


def sent(trip: Trip) -> Outgoing:
    out = lanes.build(trip)
    assert isinstance(out, Outgoing), out
    return out


CLAUDE_HEADERS: Headers = (
    ("Accept", "application/json"),
    ("X-Claude-Code-Session-Id", ID),
    ("User-Agent", "claude-cli/2.1.329 (external, cli)"),
    ("x-api-key", "sk-client"),
    ("Host", "api.anthropic.com"),
)
CLAUDE_BODY = (
    '{ "model":"claude-x", "max_tokens" : 9,\n "metadata": {"other" : 1e2, "user_id": '
    '"{\\"device_id\\":\\"d\\", \\"session_id\\" : \\"%s\\",\\"account_uuid\\":\\"\\"}" },'
    '"messages":[{"content":"h\\u00e9 %s","role":"user"}]}'
)
CODEX_HEADERS: Headers = (
    ("user-agent", "codex_cli_rs/1.0"),
    ("session-id", ID),
    ("thread-id", "thr_01234567890123456789"),
    ("authorization", "Bearer sk-client"),
)
RESPONSES = "https://api.openai.com/v1/responses"
GEMINI = "https://cloudcode-pa.googleapis.com/v1internal:streamGenerateContent?alt=sse"
QWEN_HEADERS: Headers = (("User-Agent", "QwenCode/0.9"), ("authorization", "Bearer sk"))
CASES = {
    "claude-code": (CLAUDE, CLAUDE_HEADERS, CLAUDE_BODY % (ID, "bye"), 1),
    "codex": (
        RESPONSES,
        CODEX_HEADERS,
        '{"input":[ {"role":"user","content":"hi"}],"prompt_cache_key" : "ID","model":"m"}'.replace(
            "ID", ID
        ),
        1,
    ),
    "gemini-cli": (
        GEMINI,
        (("user-agent", "GeminiCLI/0.9 (linux)"), ("authorization", "Bearer ya29")),
        '{"model":"gemini-x","project":"p","request":{ "contents":[{"role":"user","parts":'
        '[{"text":"hi"}]}], "session_id" :"ID"}}'.replace("ID", ID),
        1,
    ),
    "qwen-code": (
        CHAT,
        QWEN_HEADERS,
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"prompt_cache_key":'
        '"qwen-code:ID" }'.replace("ID", ID),
        1,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_only_the_id_changes_on_the_way_to_the_clients_own_provider(name: str) -> None:
    url, headers, body, _ = CASES[name]
    out = sent(trip_of(url, body, headers))
    assert out.lane == "patch"
    assert out.body is not None
    assert out.body.decode() == body.replace(ID, own_id(SALT, ID))
    wanted = tuple(
        (key, own_id(SALT, text) if key.lower() in PLACES else text) for key, text in headers
    )
    assert (out.headers or headers) == wanted
    assert ID not in repr(out)


PLACES = {"x-claude-code-session-id", "session-id", "thread-id"}


def test_what_a_user_says_is_not_touched() -> None:
    out = sent(trip_of(CLAUDE, CLAUDE_BODY % (ID, ID), CLAUDE_HEADERS))
    assert out.body is not None
    assert out.body.decode() == CLAUDE_BODY % (own_id(SALT, ID), ID)


UNTOUCHED = {
    "a client that writes none": (CHAT, (("user-agent", "curl/8"),), '{"model":"m","messages":[]}'),
    "a known client without one": (CHAT, QWEN_HEADERS, '{"model":"m","messages":[]}'),
    "an id that is no text": (
        CHAT,
        QWEN_HEADERS,
        '{"model":"m","messages":[],"prompt_cache_key":{"a":1}}',
    ),
    "an empty one": (CHAT, QWEN_HEADERS, '{"model":"m","messages":[],"prompt_cache_key":""}'),
    "no JSON inside": (
        CLAUDE,
        (("user-agent", "claude-cli/2"),),
        '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],'
        '"metadata":{"user_id":"user_1_session_2"}}',
    ),
}


@pytest.mark.parametrize("name", UNTOUCHED)
def test_a_request_without_an_id_stays_verbatim(name: str) -> None:
    url, headers, body = UNTOUCHED[name]
    out = sent(trip_of(url, body, headers))
    assert (out.lane, out.body, out.headers) == ("verbatim", None, None)


def test_a_signed_request_is_not_touched() -> None:
    url, headers, body, _ = CASES["codex"]
    signed = (*headers[:3], ("authorization", "AWS4-HMAC-SHA256 Credential=x"))
    out = sent(trip_of(url, body, signed))
    assert (out.lane, out.body, out.headers) == ("verbatim", None, None)


def test_an_unreadable_request_still_gets_our_id_in_its_headers() -> None:
    trip = trip_of(CLAUDE, CLAUDE_BODY % (ID, "x"), CLAUDE_HEADERS)
    coming = replace(trip.incoming, request=None, body=b"no json")
    out = sent(replace(trip, incoming=coming))
    assert out.body is None
    assert out.headers is not None
    assert dict(out.headers)["X-Claude-Code-Session-Id"] == own_id(SALT, ID)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("qwen-code", Target(provider="openrouter", model="openai/gpt-5")),
        ("codex", Target(provider="openrouter", model="openai/gpt-5")),
        ("claude-code", Target(provider="openrouter", model="x/y")),
        ("claude-code", Target(provider="gemini", model="gemini-x")),
    ],
)
def test_no_other_provider_sees_the_clients_id_either(name: str, target: Target) -> None:
    url, headers, body, _ = CASES[name]
    out = sent(trip_of(url, body, headers, target))
    assert out.rerouted
    assert out.body is not None
    assert ID.encode() not in out.body
    assert ID not in repr(out.headers)


def test_without_the_rule_nothing_changes() -> None:
    url, headers, body, _ = CASES["codex"]
    ruleset = rules()
    out = built(ruleset, incoming(ruleset, wire_of(url, body, headers)))
    assert not isinstance(out, Fault)
    assert (out.lane, out.body, out.headers) == ("verbatim", None, None)


def test_a_token_count_carries_our_id_too() -> None:
    plain = rules()
    ruleset = replace(plain, routes=plain.routes.model_copy(update={"conversation_ids": "own"}))
    house = house_of(ruleset)
    house = replace(house, client_of=row_of, pipeline=Pipeline((), house.clock))
    wire = wire_of(f"{CLAUDE}/count_tokens", CLAUDE_BODY % (ID, "x"), CLAUDE_HEADERS)
    endpoint = ruleset.match(wire.host, wire.port, wire.method, wire.path)
    assert endpoint is not None
    out = counted(house, endpoint, wire, "t")
    assert isinstance(out, Outgoing)
    own = own_id(house.memory.salt, ID)
    assert out.body is not None
    assert out.body.decode() == CLAUDE_BODY % (own, "x")
    assert dict(out.headers or ())["X-Claude-Code-Session-Id"] == own
    off = replace(house, ruleset=plain)
    assert counted(off, endpoint, wire, "t") is None
    assert turn_of().client_conversation == ""
