"""Where a routed call goes, with which headers, and what an alias makes of a model's name."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from llmitm.errors import RuleError
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.urls import base_url, check_host, host_regex, path_regex

ENVIRON = {"AZURE_RESOURCE_NAME": "res", "GOOGLE_CLOUD_PROJECT": "proj"}
RULES = load_folders([shipped_folder()], ENVIRON)

URLS = [
    ("openai", "openai_chat", "gpt-5", "https://api.openai.com/v1/chat/completions"),
    ("openai", "openai_responses", "gpt-5", "https://api.openai.com/v1/responses"),
    ("openai-responses", "openai_responses", "g", "https://api.openai.com/v1/responses"),
    ("anthropic", "anthropic_messages", "c", "https://api.anthropic.com/v1/messages"),
    ("chatgpt", "openai_responses", "g", "https://chatgpt.com/backend-api/codex/responses"),
    ("azure", "openai_chat", "d", "https://res.openai.azure.com/openai/v1/chat/completions"),
    ("deepseek", "openai_chat", "d", "https://api.deepseek.com/chat/completions"),
    ("deepseek", "anthropic_messages", "d", "https://api.deepseek.com/anthropic/v1/messages"),
    ("github-copilot", "openai_chat", "g", "https://api.githubcopilot.com/chat/completions"),
    ("github-copilot", "anthropic_messages", "c", "https://api.githubcopilot.com/v1/messages"),
    ("ollama", "openai_chat", "llama3:8b", "http://localhost:11434/v1/chat/completions"),
    ("zai", "anthropic_messages", "g", "https://open.bigmodel.cn/api/anthropic/v1/messages"),
]


@pytest.mark.parametrize(("provider", "protocol", "model", "url"), URLS)
def test_url(provider: str, protocol, model: str, url: str) -> None:
    assert RULES.url(provider, protocol, model, stream=True) == url


@pytest.mark.parametrize(
    ("model", "stream", "path"),
    [
        ("gemini-3-pro", False, "/v1beta/models/gemini-3-pro:generateContent"),
        ("gemini-3-pro", True, "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse"),
        ("models/gemini-3-pro", False, "/v1beta/models/gemini-3-pro:generateContent"),
        ("a/b c?d#e", False, "/v1beta/models/a%2Fb%20c%3Fd%23e:generateContent"),
        ("../../x", False, "/v1beta/models/..%2F..%2Fx:generateContent"),
    ],
)
def test_the_model_in_a_path_is_encoded(model: str, stream: bool, path: str) -> None:
    host = "https://generativelanguage.googleapis.com"
    assert RULES.url("gemini", "gemini_generate", model, stream) == host + path


def test_vertex_url() -> None:
    start = "https://aiplatform.googleapis.com/v1/projects/proj/locations/global"
    url = RULES.url("vertex", "gemini_generate", "g", stream=True)
    assert url == f"{start}/publishers/google/models/g:streamGenerateContent?alt=sse"


@pytest.mark.parametrize(
    ("provider", "protocol", "path"),
    [
        ("anthropic", "anthropic_messages", "/messages/count_tokens"),
        ("gemini", "gemini_generate", "/v1beta/models/m:countTokens"),
        ("github-copilot", "anthropic_messages", "/v1/messages/count_tokens"),
    ],
)
def test_count_tokens_path(provider: str, protocol, path: str) -> None:
    assert RULES.send_path(provider, protocol, "m", False, "count_tokens") == path


def test_what_is_not_offered_or_not_set_is_said() -> None:
    with pytest.raises(RuleError, match="openai has no path for count_tokens calls"):
        RULES.send_path("openai", "openai_chat", "m", False, "count_tokens")
    with pytest.raises(RuleError, match="has no path for generate calls in gemini_generate"):
        RULES.send_path("openai", "gemini_generate", "m", False)
    bare = load_folders([shipped_folder()], {})
    for provider, variable in (
        ("azure", "AZURE_RESOURCE_NAME"),
        ("vertex", "GOOGLE_CLOUD_PROJECT"),
        ("local", "LOCAL_API_BASE_URL"),
    ):
        with pytest.raises(RuleError) as caught:
            bare.api_base(provider)
        assert caught.value.file == variable
        assert "is not set" in caught.value.say


def test_other_bases_move_with_the_override() -> None:
    rules = load_folders([shipped_folder()], {"DEEPSEEK_API_BASE_URL": "http://h:9/d"})
    assert rules.url("deepseek", "openai_chat", "m", False) == "http://h:9/d/chat/completions"
    anthropic = rules.url("deepseek", "anthropic_messages", "m", False)
    assert anthropic == "http://h:9/anthropic/v1/messages"


@pytest.mark.parametrize(
    ("provider", "protocol", "headers"),
    [
        ("openai", "openai_chat", {"authorization": "Bearer k"}),
        ("openai", "openai_responses", {"authorization": "Bearer k"}),
        (
            "anthropic",
            "anthropic_messages",
            {"x-api-key": "k", "anthropic-version": "2023-06-01"},
        ),
        ("gemini", "gemini_generate", {"x-goog-api-key": "k"}),
        ("azure", "openai_chat", {"api-key": "k"}),
        ("vertex", "gemini_generate", {"authorization": "Bearer k"}),
        (
            "deepseek",
            "anthropic_messages",
            {"x-api-key": "k", "anthropic-version": "2023-06-01"},
        ),
        ("deepseek", "openai_chat", {"authorization": "Bearer k"}),
    ],
)
def test_headers(provider: str, protocol, headers: dict[str, str]) -> None:
    assert RULES.headers(provider, protocol, SecretStr("k")) == headers


def test_headers_without_a_key_and_of_another_name(write_rules) -> None:
    assert RULES.headers("ollama", "openai_chat", None) == {}
    assert not RULES.needs_key("ollama")
    assert RULES.needs_key("groq")
    mine = write_rules(
        "mine",
        providers="""\
providers:
  - name: acme
    api_base: https://acme.example
    auth: {header: x-acme-key, by_protocol: {anthropic_messages: none}}
    speaks: [anthropic_messages]
    headers: {x-region: "${REGION}"}
""",
    )
    rules = load_folders([shipped_folder(), mine], {"REGION": "eu"})
    key = SecretStr("k")
    assert rules.headers("acme", "openai_chat", key) == {"x-region": "eu", "x-acme-key": "k"}
    assert "k" not in rules.headers("acme", "anthropic_messages", key).values()
    assert not rules.needs_key("acme", "anthropic_messages")
    unset = load_folders([shipped_folder(), mine], {})
    with pytest.raises(RuleError) as caught:
        unset.headers("acme", "openai_chat", key)
    assert (caught.value.file, caught.value.say) == (
        "REGION",
        "is not set; it is needed for calls to acme",
    )


ALIASES = """\
aliases:
  - {pattern: "gpt-4o-mini$", replacement: small}
  - {pattern: "gpt-(4|5)(.*)", replacement: "openrouter:openai/gpt-\\\\1\\\\2"}
  - {pattern: "gpt", replacement: never}
  - {pattern: "claude-", replacement: "kimi-"}
  - {pattern: "(?i)FAST$", replacement: "groq:a|openai:b"}
  - {pattern: "^x(?P<n>\\\\d)", replacement: "${PREFIX}\\\\g<n>"}
"""


@pytest.mark.parametrize(
    ("model", "becomes"),
    [
        ("gpt-4o-mini", "small"),
        ("gpt-4o-mini-2024", "openrouter:openai/gpt-4o-mini-2024"),  # order: the second rule
        ("gpt-5", "openrouter:openai/gpt-5"),
        ("my-gpt-5", None),  # tried from the beginning
        ("claude-sonnet", "kimi-sonnet"),  # what was not matched stays
        ("fast", "groq:a|openai:b"),
        ("faster", None),
        ("x7y", "pre-7y"),
        ("", None),
    ],
)
def test_aliases(write_rules, model: str, becomes: str | None) -> None:
    mine = write_rules("mine", routes=ALIASES)
    rules = load_folders([shipped_folder(), mine], {"PREFIX": "pre-"})
    assert rules.alias(model) == becomes


def test_alias_of_a_group_that_took_no_part(write_rules) -> None:
    mine = write_rules("mine", routes='aliases: [{pattern: "a(b)?c", replacement: "x\\\\1y"}]')
    rules = load_folders([mine], {})
    assert rules.alias("ac") == "xy"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://h", "https://h"),
        ("https://H:443/a//", "https://h/a"),
        ("http://h:80", "http://h"),
        ("http://h:443", "http://h:443"),
        ("https://[::1]:8443/v1", "https://[::1]:8443/v1"),
        ("https://h./v1", "https://h/v1"),
    ],
)
def test_base_url_as_shown(text: str, shown: str) -> None:
    assert str(base_url(text)) == shown


@pytest.mark.parametrize(
    ("template", "path", "model"),
    [
        ("**/chat", "/a/b/chat", None),
        ("**/chat", "/chat/", None),
        ("/v1/*/chat", "/v1/x/chat", None),
        ("/m/{model}:go", "/m/a@b:go", "a@b"),
        ("/m/{model+}", "/m/a/b", "a/b"),
        ("^/x/(?P<model>[0-9]+)$", "/x/12", "12"),
    ],
)
def test_path_template_matches(template: str, path: str, model: str | None) -> None:
    found = path_regex(template).fullmatch(path)
    assert found is not None
    assert found.groupdict().get("model") == model


@pytest.mark.parametrize(
    ("template", "path"),
    [("/v1/*/chat", "/v1/x/y/chat"), ("/v1/chat", "/v1/chatx"), ("/m/{model}:go", "/m/a/b:go")],
)
def test_path_template_does_not_match(template: str, path: str) -> None:
    assert path_regex(template).fullmatch(path) is None


def test_host_pattern_is_one_label_or_part_of_it() -> None:
    pattern = host_regex("*-x.example.com")
    assert pattern.fullmatch("eu-x.example.com")
    assert not pattern.fullmatch("a.eu-x.example.com")
    assert not pattern.fullmatch("-x.example.com")
    for bad in ("*", "*.com", "a.*", "a b.c", "", "a..b", "a:x"):
        with pytest.raises(ValueError, match="must"):
            check_host(bad)
