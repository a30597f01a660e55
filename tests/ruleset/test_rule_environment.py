"""What variables say beats the files; what they hold is never shown."""

from __future__ import annotations

import json

import pytest

from llmitm.errors import RuleError
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.showing import show

SHIPPED = shipped_folder()


def rules_with(**environ: str):
    return load_folders([SHIPPED], environ)


@pytest.mark.parametrize(
    ("environ", "openai", "responses"),
    [
        ({}, "https://api.openai.com/v1", "https://api.openai.com/v1"),
        (
            {"OPENAI_API_BASE_URL": "https://127.0.0.1:9443/v1/"},
            "https://127.0.0.1:9443/v1",
            "https://127.0.0.1:9443/v1",
        ),
        (
            {"OPENAI_RESPONSES_API_BASE_URL": "http://r.example"},
            "https://api.openai.com/v1",
            "http://r.example",
        ),
        (
            {"OPENAI_API_BASE_URL": "http://a", "OPENAI_RESPONSES_API_BASE_URL": "http://r"},
            "http://a",
            "http://r",
        ),
        (
            {"OPENAI_API_BASE_URL": "  "},
            "https://api.openai.com/v1",
            "https://api.openai.com/v1",
        ),
    ],
)
def test_base_url(environ: dict[str, str], openai: str, responses: str) -> None:
    rules = rules_with(**environ)
    assert rules.api_base("openai") == openai
    assert rules.api_base("openai-responses") == responses


@pytest.mark.parametrize(
    ("base", "path", "goes_to"),
    [
        (
            "https://127.0.0.1:9/v1",
            "/v1/chat/completions",
            "https://127.0.0.1:9/v1/chat/completions",
        ),
        ("https://h/a/b", "/v1/chat/completions?x=%20y", "https://h/a/b/chat/completions?x=%20y"),
        ("https://h", "/v1/models", "https://h/models"),
        ("https://h/v2", "/dashboard", "https://h/dashboard"),  # outside the base: as it is
        ("https://h/v2", "/v1", "https://h/v2"),
        ("https://h/v2", "/v11/x", "https://h/v11/x"),
        ("http://[::1]:8/v1", "/v1/x", "http://[::1]:8/v1/x"),
        ("http://h:80/v1", "/v1/x", "http://h/v1/x"),
    ],
)
def test_redirect_of_the_client_s_own_call(base: str, path: str, goes_to: str) -> None:
    assert rules_with(OPENAI_API_BASE_URL=base).redirect("openai", path) == goes_to


def test_redirect_of_a_base_with_variables_needs_none_of_them() -> None:
    rules = rules_with(
        VERTEX_API_BASE_URL="http://h:9/x", AZURE_API_BASE_URL="http://h:8/openai/v1"
    )
    path = "/v1/projects/p/locations/l/publishers/google/models/m:generateContent"
    assert rules.redirect("vertex", path) == f"http://h:9{path}"
    assert rules.redirect("azure", "/openai/v1/responses") == "http://h:8/openai/v1/responses"
    deployment = "/openai/deployments/d/chat/completions?api-version=1"
    assert rules.redirect("azure", deployment) == f"http://h:8{deployment}"
    known = rules_with(VERTEX_API_BASE_URL="http://h:9/x", GOOGLE_CLOUD_PROJECT="p")
    own = "/v1/projects/p/locations/global/publishers/google/models/m:generateContent"
    rest = "/publishers/google/models/m:generateContent"
    assert known.redirect("vertex", own) == f"http://h:9/x{rest}"


def test_no_redirect_without_an_override() -> None:
    assert rules_with().redirect("openai", "/v1/chat/completions") is None


def test_gemini_version_stands_once() -> None:
    for base in ("http://h:9", "http://h:9/v1beta"):
        rules = rules_with(GEMINI_API_BASE_URL=base)
        url = rules.url("gemini", "gemini_generate", "g", stream=True)
        assert url == "http://h:9/v1beta/models/g:streamGenerateContent?alt=sse"
        own = rules.redirect("gemini", "/v1beta/models/g:generateContent")
        assert own == "http://h:9/v1beta/models/g:generateContent"


def test_calls_to_the_overriding_host_are_recognised_too() -> None:
    rules = rules_with(
        OPENAI_API_BASE_URL="http://127.0.0.1:9443/v1",
        ANTHROPIC_API_BASE_URL="http://127.0.0.1:9443/v1",
        GEMINI_API_BASE_URL="http://127.0.0.1:9443",
    )

    def whose(path: str) -> Endpoint | None:
        return rules.match("127.0.0.1", 9443, "POST", path)

    found = [
        whose("/v1/chat/completions"),
        whose("/v1/responses"),
        whose("/v1/messages"),
        whose("/v1beta/models/g:generateContent"),
    ]
    assert [(one.provider, one.protocol) for one in found if one] == [
        ("openai", "openai_chat"),
        ("openai", "openai_responses"),
        ("anthropic", "anthropic_messages"),
        ("gemini", "gemini_generate"),
    ]
    assert rules.match("127.0.0.1", 9444, "POST", "/v1/messages") is None
    assert rules.match("api.openai.com", 443, "POST", "/v1/chat/completions") is not None


@pytest.mark.parametrize("url", ["ftp://a", "a.b/v1", "https://", "https://a?b", "https://u@a"])
def test_bad_base_url_stops_the_start(url: str) -> None:
    with pytest.raises(RuleError) as caught:
        rules_with(GROQ_API_BASE_URL=url)
    assert caught.value.file == "GROQ_API_BASE_URL"


def values(rules, provider: str) -> list[str]:
    return [key.get_secret_value() for key in rules.keys(provider)]


@pytest.mark.parametrize(
    ("environ", "keys", "warned"),
    [
        ({}, [], False),
        ({"GROQ_API_KEY": " a "}, ["a"], False),
        ({"GROQ_API_KEY": ""}, [], False),
        ({"GROQ_API_KEY_2": "b", "GROQ_API_KEY_1": "a"}, ["a", "b"], False),
        ({"GROQ_API_KEY": "x", "GROQ_API_KEY_1": "a"}, ["a"], True),
        ({"GROQ_API_KEY_10": "j", "GROQ_API_KEY_9": "i"}, ["i", "j"], False),
        ({"GROQ_API_KEY_20": "t", "GROQ_API_KEY_21": "u", "GROQ_API_KEY_0": "z"}, ["t"], False),
    ],
)
def test_numbered_keys_win(environ: dict[str, str], keys: list[str], warned: bool) -> None:
    rules = rules_with(**environ)
    assert values(rules, "groq") == keys
    assert bool(rules.warnings) is warned


def test_other_names_of_the_key() -> None:
    assert values(rules_with(HF_TOKEN="h"), "huggingface") == ["h"]
    both = rules_with(HF_TOKEN="h", HUGGINGFACE_API_KEY="g")
    assert values(both, "huggingface") == ["g"]
    assert values(rules_with(KIMI_API_KEY="k"), "kimi-code") == ["k"]


def test_keys_of_a_file(write_rules) -> None:
    mine = write_rules(
        "mine", providers="providers: [{name: groq, keys: ['${A_KEY}', '${UNSET}', plain]}]"
    )
    assert values(load_folders([SHIPPED, mine], {"A_KEY": "a"}), "groq") == ["a", "plain"]
    assert values(load_folders([SHIPPED, mine], {"GROQ_API_KEY": "g"}), "groq") == ["g"]


@pytest.mark.parametrize(
    ("environ", "streamed", "whole"),
    [({}, 60, 600), ({"GROQ_TIMEOUT": "3"}, 3, 3), ({"GROQ_TIMEOUT": "2.5"}, 2.5, 2.5)],
)
def test_timeout(environ: dict[str, str], streamed: float, whole: float) -> None:
    rules = rules_with(**environ)
    assert rules.ttfb_timeout_s("groq") == streamed
    assert rules.ttfb_timeout_s("groq", stream=False) == whole


@pytest.mark.parametrize("value", ["0", "-1", "x", "1e9", "nan", "inf"])
def test_bad_timeout_stops_the_start(value: str) -> None:
    with pytest.raises(RuleError) as caught:
        rules_with(GROQ_TIMEOUT=value)
    assert caught.value.file == "GROQ_TIMEOUT"


def test_numbers_of_routes() -> None:
    rules = rules_with(
        FAILURE_HANDLING_MAX_FAILOVER_HOPS="2",
        FAILURE_HANDLING_TOTAL_TIMEOUT_BUDGET="30",
        FAILURE_HANDLING_KEEPALIVE_INTERVAL="4",
        DISABLE_FAILURE_HANDLING="true",
    )
    failover = rules.routes.failover
    assert (failover.enabled, failover.max_failover_hops) == (False, 2)
    assert failover.total_timeout_budget_s == 30
    assert rules.routes.times.keepalive_interval_s == 4
    assert rules_with(DISABLE_FAILURE_HANDLING="0").routes.failover.enabled
    with pytest.raises(RuleError) as caught:
        rules_with(FAILURE_HANDLING_MAX_FAILOVER_HOPS="many")
    assert caught.value.file == "FAILURE_HANDLING_MAX_FAILOVER_HOPS"


def test_static_route() -> None:
    target = rules_with(STATIC_ROUTE="openrouter:a/b:free?temperature=0.5&x=1").static_route
    assert target is not None
    assert (target.provider, target.model) == ("openrouter", "a/b:free")
    assert target.params.temperature == 0.5
    assert rules_with(STATIC_ROUTE="groq:a?x=1").warnings == (
        "static_route: x=1 is not understood and ignored",
    )


@pytest.mark.parametrize(
    ("variable", "value", "say"),
    [
        ("STATIC_ROUTE", "gpt-5", "names no provider"),
        ("STATIC_ROUTE", "opneai:gpt-5", "did you mean openai?"),
        ("STATIC_ROUTE", "openai:a|openai:b", "not a composite"),
        ("STATIC_ROUTE", "openai:", "a model is missing"),
        ("MODEL_ALIASES", "{", "not JSON"),
        ("MODEL_ALIASES", "[" * 100_000, "not JSON"),
        ("MODEL_ALIASES", "{}", "must be a JSON list"),
        ("MODEL_ALIASES", '[{"pattern": "a"}]', "must be given"),
        ("MODEL_ALIASES", '[{"pattern": "(", "replacement": "a"}]', "not a Python regular"),
        ("MODEL_ALIASES", '[{"pattern": "a", "replacement": "\\\\1"}]', "invalid group"),
        ("MODEL_ALIASES", '[{"pattern": "a", "replacement": "nobody:b"}]', "unknown provider"),
        ("MODEL_ALIASES", '[{"pattern": "a", "replacement": "x", "y": 1}]', "unknown key"),
        ("MODEL_ALIASES", '[["a", "b"]]', "is not a mapping"),
    ],
)
def test_a_bad_variable_stops_the_start_and_is_named(variable: str, value: str, say: str) -> None:
    with pytest.raises(RuleError) as caught:
        rules_with(**{variable: value})
    assert caught.value.file == variable
    assert say in caught.value.say


def test_aliases_of_the_variable_replace_those_of_the_file(write_rules) -> None:
    mine = write_rules("mine", routes="aliases: [{pattern: file, replacement: a}]")
    aliases = json.dumps([{"pattern": "^gpt-(.*)$", "replacement": "openrouter:openai/gpt-\\1"}])
    rules = load_folders([SHIPPED, mine], {"MODEL_ALIASES": aliases})
    assert rules.alias("gpt-5") == "openrouter:openai/gpt-5"
    assert rules.alias("file") is None


SECRETS = {
    "GROQ_API_KEY": "sk-secret-one",
    "OPENAI_API_KEY_1": "sk-secret-two",
    "MY_KEY": "sk-secret-three",
    "MY_HEADER": "sk-secret-four",
    "AZURE_RESOURCE_NAME": "resource-secret",
}


def test_what_is_hidden_is_nowhere_in_print(write_rules) -> None:
    mine = write_rules(
        "mine",
        providers="""\
providers:
  - name: acme
    api_base: https://acme.example
    keys: ["${MY_KEY}", sk-secret-five]
    headers: {x-team: "${MY_HEADER}", x-plain: sk-secret-six}
""",
    )
    rules = load_folders([SHIPPED, mine], SECRETS)
    printed = [repr(rules), str(rules), repr(dict(rules.providers)), repr(rules.variables)]
    printed += [repr(rules.keys(name)) for name in rules.providers]
    rows = show(rules)
    printed += [f"{row.pointer} {row.value} {row.where}" for row in rows]
    assert len(rows) > 500
    for text in printed:
        assert "sk-secret" not in text, text[:300]
        assert "resource-secret" not in text, text[:300]
    shown = {row.pointer: (row.value, row.where) for row in rows}
    assert shown["providers.yaml /providers/groq/key 1"] == ("(hidden)", "GROQ_API_KEY")
    assert shown["providers.yaml /providers/openai/key 1"] == ("(hidden)", "OPENAI_API_KEY_1")
    acme = "providers.yaml /providers/acme"
    assert shown[f"{acme}/keys"] == ("${MY_KEY}, (hidden)", f"{mine}/providers.yaml:4")
    assert shown[f"{acme}/headers/x-team"][0] == "${MY_HEADER}"
    assert shown[f"{acme}/headers/x-plain"][0] == "(hidden)"
    headers = rules.headers("acme", "openai_chat", rules.keys("acme")[0])
    assert headers == {
        "x-team": "sk-secret-four",
        "x-plain": "sk-secret-six",
        "authorization": "Bearer sk-secret-three",
    }


def test_faults_do_not_quote_keys(write_rules) -> None:
    mine = write_rules(
        "mine",
        providers="providers: [{name: a, keys: {k: sk-secret}, headers: {h: [sk-secret]}}]",
    )
    with pytest.raises(RuleError) as caught:
        load_folders([SHIPPED, mine], {})
    assert "sk-secret" not in str(caught.value)
    with pytest.raises(RuleError) as caught:
        rules_with(GROQ_API_BASE_URL="https://user:sk-secret@a.example")
    assert "sk-secret" not in str(caught.value)
