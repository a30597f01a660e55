"""Whose key a call carries, who may have one of ours, and that none ever goes astray."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exchange import houses
from llmitm.canon.events import Fault
from llmitm.exchange.attempts import Candidate
from llmitm.exchange.choosing import Chosen
from llmitm.exchange.credentials import (
    Standing,
    credentials,
    may_use_keys,
    path_without_key,
    standing,
)
from llmitm.exchange.instances import Instance
from llmitm.exchange.lanes import Incoming, Outgoing
from llmitm.exchange.wire import CREDENTIAL_HEADERS, Headers, header
from llmitm.ruleset.matching import host_regex
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import BadSelector, Selector, Target, targets

OWN, STORED, CLIENT_KEY = Standing("own"), Standing("stored"), Standing("stored", client_key=True)
KEYLESS = Standing("own", client_key=True)
REAL = "sk-proj-4f9a8b7c6d5e"
LOGIN = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
BODY = '{"model":"mine","messages":[{"role":"user","content":"hi"}]}'
ASKS_GEMINI = '{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}'
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models/g:generateContent"


def bearer(key: str) -> Headers:
    return (("Authorization", f"Bearer {key}"),)


def using(ruleset: Ruleset, provider: str, use: str) -> Ruleset:
    held = ruleset.providers[provider]
    changed = replace(held, row=held.row.model_copy(update={"use_keys": use}))
    return replace(ruleset, providers={**ruleset.providers, provider: changed})


# --- whose key --------------------------------------------------------------------------------

PLAIN = {"OPENAI_API_KEY": "stored-1"}
NUMBERED = {"OPENAI_API_KEY_1": "stored-1"}
EVERYWHERE = {**PLAIN, "LLMITM_USE_KEYS": "always"}
CLIENTS = {**PLAIN, "LLM_INTERACTIVE_PROXY_API_KEY": "client-key", "API_KEYS": "a-key, b-key"}


@pytest.mark.parametrize(
    ("environ", "use", "headers", "wanted"),
    [
        # nothing is stored: nothing can be used
        ({}, "auto", bearer(REAL), OWN),
        ({}, "auto", bearer("dummy-key"), OWN),
        ({}, "always", bearer(REAL), OWN),
        # auto: placeholders and nothing at all
        (PLAIN, "auto", bearer(REAL), OWN),
        (PLAIN, "auto", bearer(LOGIN), OWN),
        (PLAIN, "auto", bearer("sk-ant-oat01-abc"), OWN),
        (PLAIN, "auto", bearer("dummy-key"), STORED),
        (PLAIN, "auto", bearer("DUMMY"), STORED),
        (PLAIN, "auto", bearer("sk-dummy"), STORED),
        (PLAIN, "auto", bearer("your-api-key-here"), STORED),
        (PLAIN, "auto", bearer("sk-xxxx"), STORED),
        (PLAIN, "auto", bearer("none"), STORED),
        (PLAIN, "auto", bearer("my-dummy-key-1"), OWN),
        (PLAIN, "auto", bearer(""), STORED),
        (PLAIN, "auto", (("authorization", "bearer dummy"),), STORED),
        (PLAIN, "auto", (("authorization", "Bearer"),), STORED),
        (PLAIN, "auto", (("authorization", "Basic dummy"),), STORED),
        (PLAIN, "auto", (("authorization", REAL),), OWN),
        (PLAIN, "auto", (("x-api-key", "dummy"),), STORED),
        (PLAIN, "auto", (("x-api-key", "dummy"), *bearer(REAL)), OWN),
        (PLAIN, "auto", (("cookie", "session=real"),), STORED),
        (PLAIN, "auto", (), STORED),
        # never
        (PLAIN, "never", bearer("dummy-key"), OWN),
        (PLAIN, "never", (), OWN),
        (NUMBERED, "never", bearer(REAL), OWN),
        # always, and what means it
        (PLAIN, "always", bearer(REAL), STORED),
        (PLAIN, "always", bearer(LOGIN), STORED),
        (NUMBERED, "auto", bearer(REAL), STORED),
        (EVERYWHERE, "auto", bearer(REAL), STORED),
        (EVERYWHERE, "never", bearer(REAL), OWN),
        # a client key
        (CLIENTS, "auto", bearer("client-key"), CLIENT_KEY),
        (CLIENTS, "auto", bearer("a-key"), CLIENT_KEY),
        (CLIENTS, "auto", bearer("b-key"), CLIENT_KEY),
        (CLIENTS, "auto", (("x-api-key", "client-key"),), CLIENT_KEY),
        (CLIENTS, "auto", (("proxy-authorization", "Basic client-key"), *bearer(REAL)), CLIENT_KEY),
        (CLIENTS, "auto", bearer("client-key2"), OWN),
        (CLIENTS, "auto", bearer("Client-Key"), OWN),
        (CLIENTS, "auto", bearer("client-ké"), OWN),
        (CLIENTS, "auto", bearer("client-\udcff"), OWN),
        (CLIENTS, "auto", bearer("dummy"), STORED),
        ({"API_KEYS": "a-key"}, "auto", bearer("a-key"), KEYLESS),
        (CLIENTS, "never", bearer("a-key"), KEYLESS),
        ({"API_KEYS": "a-key"}, "auto", bearer(REAL), OWN),
    ],
)
def test_whose_key(environ: dict[str, str], use: str, headers: Headers, wanted: Standing) -> None:
    ruleset = using(houses.rules(environ), "openai", use)
    assert standing(houses.wire_of(houses.CHAT, BODY, headers), "openai", ruleset) == wanted


@pytest.mark.parametrize(
    ("query", "wanted"),
    [
        ("", STORED),
        ("?key=dummy", STORED),
        (f"?key={REAL}", OWN),
        (f"?alt=sse&key={REAL}", OWN),
        (f"?%6Bey={REAL}", OWN),
        ("?key=client-key", CLIENT_KEY),
        ("?alt=sse&%6bey=client%2Dkey", CLIENT_KEY),
        ("?monkey=client-key", STORED),
        ("?key=", STORED),
    ],
)
def test_geminis_key_in_the_path(query: str, wanted: Standing) -> None:
    ruleset = houses.rules({"GEMINI_API_KEY": "stored-1", "API_KEYS": "client-key"})
    wire = houses.wire_of(GEMINI + query, BODY)
    assert standing(wire, "gemini", ruleset) == wanted


def test_a_bad_word_for_whose_key_stops_the_start() -> None:
    with pytest.raises(Exception, match="LLMITM_USE_KEYS"):
        houses.rules({"LLMITM_USE_KEYS": "sometimes"})


@pytest.mark.parametrize(
    ("headers", "query", "shown"),
    [
        ((), "", ()),
        (bearer("a"), "", ("a",)),
        ((("X-API-Key", " a "),), "", ("a",)),
        ((("x-goog-api-key", "a"), ("api-key", "b")), "?key=c", ("a", "b", "c")),
        ((("cookie", "a=b"),), "", ()),
        ((("x-other", "a"),), "?k=b", ()),
        (bearer("  "), "?key=", ()),
        ((), "?key=a&key=b%20c", ("a", "b c")),
    ],
)
def test_what_a_client_shows(headers: Headers, query: str, shown: tuple[str, ...]) -> None:
    assert credentials(houses.wire_of(GEMINI + query, BODY, headers)) == shown


# --- who may ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "client", "headers", "may"),
    [
        (True, STORED, {}, True),
        (True, OWN, {}, True),
        (False, STORED, {}, False),
        (False, CLIENT_KEY, {}, True),
        # pages in a browser on this machine
        (True, STORED, {"sec-fetch-site": "cross-site"}, False),
        (True, STORED, {"sec-fetch-site": "same-site"}, False),
        (True, STORED, {"Sec-Fetch-Site": " Cross-Site "}, False),
        (True, STORED, {"origin": "https://evil.example"}, False),
        (True, STORED, {"origin": "null"}, False),
        (True, STORED, {"origin": "http://localhost:3000", "sec-fetch-site": "same-site"}, False),
        (True, STORED, {"origin": "http://localhost:3000", "sec-fetch-site": "same-origin"}, True),
        (True, STORED, {"origin": "x", "sec-fetch-site": "none"}, True),
        (True, STORED, {"sec-fetch-site": "none"}, True),
        (True, CLIENT_KEY, {"origin": "https://app.example"}, True),
        (False, STORED, {"sec-fetch-site": "same-origin"}, False),
    ],
)
def test_who_may_have_a_stored_key(
    local: bool, client: Standing, headers: dict[str, str], may: bool
) -> None:
    wire = houses.wire_of(houses.CHAT, BODY, tuple(headers.items()), local=local)
    assert may_use_keys(wire, client) is may


@pytest.mark.parametrize("target", [None, Target(provider="groq", model="x")])
@pytest.mark.parametrize(
    ("local", "headers"), [(False, ()), (True, (("origin", "https://evil.example"),))]
)
def test_who_may_not_is_told_so(local: bool, headers: Headers, target: Target | None) -> None:
    ruleset = houses.rules({"OPENAI_API_KEY": "stored-1", "GROQ_API_KEY": "stored-2"})
    coming = houses.incoming(ruleset, houses.wire_of(houses.CHAT, BODY, headers, local=local))
    provider = target.provider if target else "openai"
    candidate = Candidate(
        target=target,
        instance=Instance(provider, 1),
        model="x",
        key=ruleset.keys(provider)[0],
    )
    fault = houses.built(ruleset, coming, target, candidate=candidate)
    assert isinstance(fault, Fault)
    assert (fault.status, fault.code) == (401, "client_key_needed")
    assert "stored" not in repr(fault)


# --- what goes out ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "without"),
    [
        ("/v1/x", "/v1/x"),
        ("/v1/x?alt=sse", "/v1/x?alt=sse"),
        ("/v1/x?key=a", "/v1/x"),
        ("/v1/x?%6Bey=a", "/v1/x"),
        ("/v1/x?alt=sse&key=a", "/v1/x?alt=sse"),
        ("/v1/x?key=a&alt=sse&key=b", "/v1/x?alt=sse"),
        ("/v1/x?key=a&empty=&odd=%20b", "/v1/x?empty=&odd=+b"),
        ("/v1/x?monkey=a&odd=%20b", "/v1/x?monkey=a&odd=%20b"),
        ("/v1/x?", "/v1/x?"),
    ],
)
def test_the_path_without_its_key(path: str, without: str) -> None:
    assert path_without_key(path) == without


def first(ruleset: Ruleset, coming: Incoming, route: Selector | None = None) -> Outgoing | Fault:
    """What goes out for the first candidate."""
    return made(ruleset, coming, route)[0]


def made(
    ruleset: Ruleset, coming: Incoming, route: Selector | None = None
) -> list[Outgoing | Fault]:
    """What would go out for every candidate of a route."""
    house = houses.house_of(ruleset)
    own = coming.endpoint.provider
    turn = houses.turn_of(own, coming.request.model if coming.request else "")
    turn.route = route
    client = standing(coming.wire, own, ruleset)
    assert coming.request is not None
    chosen = house.chooser.choose(turn, coming.request, len(coming.body), client, 0.0)
    if not isinstance(chosen, Chosen):
        return [chosen]
    return [
        houses.built(ruleset, coming, each.target, candidate=each, client=client)
        for each in chosen.candidates
    ]


def test_a_stored_key_takes_the_place_of_everything_the_client_showed() -> None:
    ruleset = houses.rules({"GEMINI_API_KEY": "stored-1"})
    shown = tuple((name, "dummy") for name in sorted(CREDENTIAL_HEADERS))
    wire = houses.wire_of(GEMINI + "?alt=sse&key=dummy", ASKS_GEMINI, (*shown, ("x-other", "kept")))
    out = first(ruleset, houses.incoming(ruleset, wire))
    assert isinstance(out, Outgoing)
    assert out.headers == (("x-other", "kept"), ("x-goog-api-key", "stored-1"))
    assert out.path == "/v1beta/models/g:generateContent?alt=sse"
    assert (out.lane, out.body) == ("verbatim", None)


def test_a_client_with_its_own_key_goes_out_as_it_came() -> None:
    ruleset = houses.rules(PLAIN)
    wire = houses.wire_of(houses.CHAT, BODY, bearer(REAL))
    out = first(ruleset, houses.incoming(ruleset, wire))
    assert isinstance(out, Outgoing)
    assert (out.lane, out.headers, out.body) == ("verbatim", None, None)


def test_a_client_key_without_a_stored_one_does_not_leave() -> None:
    ruleset = houses.rules({"API_KEYS": "client-key"})
    wire = houses.wire_of(houses.CHAT, BODY, bearer("client-key"))
    for route in (None, Target(provider="groq", model="x")):
        fault = first(ruleset, houses.incoming(ruleset, wire), route)
        assert isinstance(fault, Fault)
        assert fault.code == "missing_provider_key"
        assert "client-key" not in repr(fault)


def test_the_same_account_under_another_name_takes_the_clients_key() -> None:
    ruleset = houses.rules({})
    wire = houses.wire_of(houses.CHAT, BODY, bearer(REAL))
    route = Target(provider="openai-responses", model="gpt-5")
    out = first(ruleset, houses.incoming(ruleset, wire), route)
    assert isinstance(out, Outgoing)
    assert out.host == "api.openai.com"
    assert header(out.headers or (), "authorization") == f"Bearer {REAL}"


@pytest.mark.parametrize(("scheme", "port"), [("http", 80), ("http", 443), ("http", 8080)])
def test_a_stored_key_never_goes_out_in_clear(scheme: str, port: int) -> None:
    ruleset = houses.rules(PLAIN)
    wire = replace(houses.wire_of(houses.CHAT, BODY), scheme=scheme, port=port)
    fault = first(ruleset, houses.incoming(ruleset, wire))
    assert isinstance(fault, Fault)
    assert (fault.status, fault.code) == (400, "clear_text")
    assert "stored-1" not in repr(fault)


@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:9/v1", "http://gateway.example/v1", "https://gateway.example/v1"]
)
def test_where_the_operator_says_http_the_key_goes_there(base: str) -> None:
    ruleset = houses.rules({**PLAIN, "OPENAI_API_BASE_URL": base})
    out = first(ruleset, houses.incoming(ruleset, houses.wire_of(houses.CHAT, BODY)))
    assert isinstance(out, Outgoing)
    assert f"{out.scheme}://{out.host}" == base.removesuffix("/v1").removesuffix(":9")
    assert header(out.headers or (), "authorization") == "Bearer stored-1"


# --- a property -------------------------------------------------------------------------------

CALLED = {
    "openai": houses.CHAT,
    "openai-responses": "https://api.openai.com/v1/responses",
    "anthropic": houses.CLAUDE,
    "gemini": GEMINI,
    "openrouter": "https://openrouter.ai/api/v1/chat/completions",
}
STORES = {
    "OPENAI_API_KEY": ("openai", "openai-responses"),
    "OPENAI_API_KEY_2": ("openai", "openai-responses"),
    "ANTHROPIC_API_KEY": ("anthropic",),
    "GEMINI_API_KEY": ("gemini",),
    "GROQ_API_KEY_1": ("groq",),
    "GROQ_API_KEY_2": ("groq",),
    "OPENROUTER_API_KEY": ("openrouter",),
}
KEPT = [
    frozenset(STORES),
    frozenset(STORES) - {"OPENAI_API_KEY_2"},
    frozenset(STORES) - {"OPENAI_API_KEY", "OPENAI_API_KEY_2"},
    frozenset({"OPENAI_API_KEY"}),
    frozenset({"GROQ_API_KEY_1", "GEMINI_API_KEY"}),
    frozenset[str](),
]
SHOWN = st.sampled_from([*sorted(CREDENTIAL_HEADERS), "?key="])
SECRETS = st.sampled_from(["client-credential", "client-key", "dummy"])
PROVIDERS = ["openai", "openai-responses", "anthropic", "gemini", "groq", "openrouter", "ollama"]
LEAVES = st.one_of(
    st.sampled_from(PROVIDERS).map(lambda name: f"{name}:m"),
    st.sampled_from(["openai.1:m", "openai.2:m", "groq.2:m", "m", "claude-x", "gemini-x"]),
)
ROUTES = st.none() | st.lists(LEAVES, min_size=1, max_size=3).map("|".join)
PLACE = "https://elsewhere.example/v1"
PLACES = st.sampled_from(["", "", PLACE, "http://127.0.0.1:9/v1", "https://api.openai.com/v1"])


def home_of(ruleset: Ruleset, provider: str, out: Outgoing) -> bool:
    """Whether a place is the provider's own, or on this machine as the rules list it."""
    patterns = [*ruleset.providers[provider].row.hosts, ruleset.base(provider).host]
    if out.host == "127.0.0.1":
        return True
    return any(host_regex(text.partition(":")[0]).fullmatch(out.host) for text in patterns)


def placed(route: Selector, url: str) -> Selector:
    """The route with its targets at another place, as `openai_url` does it."""
    if isinstance(route, Target):
        named = route.provider.startswith("openai") and url
        return replace(route, base_url=url) if named else route
    return replace(route, branches=tuple(placed(each, url) for each in route.branches))


@settings(max_examples=400, deadline=None)
@given(
    called=st.sampled_from(sorted(CALLED)),
    shown=st.lists(st.tuples(SHOWN, SECRETS), max_size=3),
    kept=st.sampled_from(KEPT),
    flags=st.tuples(st.booleans(), st.booleans(), st.booleans(), st.booleans()),
    text=ROUTES,
    url=PLACES,
)
@example("gemini", [("?key=", "client-key")], KEPT[0], (True, False, False, True), None, "")
@example("openai", [("api-key", "client-key")], KEPT[0], (False, False, False, True), None, "")
@example(
    "openai",
    [("cookie", "client-credential")],
    KEPT[0],
    (True, False, True, True),
    "openai:m",
    PLACE,
)
def test_no_credential_ever_goes_to_a_host_it_does_not_belong_to(
    called: str,
    shown: list[tuple[str, str]],
    kept: frozenset[str],
    flags: tuple[bool, bool, bool, bool],
    text: str | None,
    url: str,
) -> None:
    local, page, everywhere, secure = flags
    environ = {name: f"stored-{name}" for name in kept} | {"API_KEYS": "client-key"}
    ruleset = houses.rules(environ | {"LLMITM_USE_KEYS": "always"} if everywhere else environ)
    headers = [(name, secret) for name, secret in shown if name != "?key="]
    headers += [("origin", "https://evil.example")] * page
    query = "&".join(f"key={secret}" for name, secret in shown if name == "?key=")
    body = {"gemini": ASKS_GEMINI, "openai-responses": '{"model":"mine","input":"hi"}'}
    url_called = CALLED[called] + ("?" + query) * bool(query)
    wire = houses.wire_of(url_called, body.get(called, BODY), tuple(headers))
    wire = replace(wire, local=local, scheme="https" if secure else "http")
    coming = houses.incoming(ruleset, wire)
    route: Selector | None = None
    if text is not None:
        parsed = ruleset.selector(text)
        assert not isinstance(parsed, BadSelector)
        route = placed(parsed, url)
    for out in made(ruleset, coming, route):
        if isinstance(out, Fault):
            assert "stored-" not in repr(out)
            assert "client-" not in repr(out.details)
            continue
        sent = repr((out.headers if out.headers is not None else wire.headers, out.path))
        for name in kept:
            if f"'stored-{name}'" in sent or f"Bearer stored-{name}'" in sent:
                assert any(home_of(ruleset, each, out) for each in STORES[name]), (name, out)
                assert out.scheme == "https" or out.host == "127.0.0.1"
                assert local or "client-key" in repr(shown)
        if "client-credential" in sent:
            assert out.host == wire.host
        if any(secret == "client-key" and name != "cookie" for name, secret in shown):
            assert "client-key" not in sent
        assert b"stored-" not in (out.body or b"")


def test_the_property_reaches_keys_and_clients_credentials() -> None:
    """It would hold of nothing as well: here is what it must see."""
    ruleset = houses.rules({"OPENAI_API_KEY": "stored-1", "GROQ_API_KEY": "stored-2"})
    coming = houses.incoming(ruleset, houses.wire_of(houses.CHAT, BODY))
    parsed = ruleset.selector("openai:m|groq:m")
    assert not isinstance(parsed, BadSelector)
    assert len(list(targets(parsed))) == 2
    outs = made(ruleset, coming, parsed)
    assert [type(out) for out in outs] == [Outgoing, Outgoing]
    assert "stored-1" in repr(outs[0])
    assert "stored-2" in repr(outs[1])
