"""The shipped rules: they load, every example holds, and recorded calls are recognised."""

from __future__ import annotations

import re
import time

import pytest

from llmitm.canon.events import Usage
from llmitm.canon.values import EFFORT_BUDGETS, Facts
from llmitm.ruleset.checking import check
from llmitm.ruleset.examples import outcomes
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.matching import Endpoint
from llmitm.ruleset.models import FamilyRow, ModelsFile, cost_usd
from llmitm.ruleset.routes import RoutesFile
from recordings import load as recorded
from recordings import needs_corpus

RULES = load_folders([shipped_folder()], {})
OUTCOMES = list(outcomes(RULES))


def test_they_are_valid_without_any_variable() -> None:
    assert check([shipped_folder()], {}) == []
    assert RULES.warnings == ()


@pytest.mark.parametrize("outcome", OUTCOMES, ids=[one.call for one in OUTCOMES])
def test_example(outcome) -> None:
    assert outcome.got == outcome.wanted, outcome.error


def test_every_provider_has_an_example() -> None:
    with_example = {one.wanted.provider for one in OUTCOMES}
    assert set(RULES.providers) == with_example
    assert len(OUTCOMES) >= 90


REFERENCE = {
    "openai": "https://api.openai.com/v1",
    "openai-responses": "https://api.openai.com/v1",
    "chatgpt": "https://chatgpt.com/backend-api/codex",
    "anthropic": "https://api.anthropic.com/v1",
    "gemini": "https://generativelanguage.googleapis.com",
    "gemini-code-assist": "https://cloudcode-pa.googleapis.com",
    "openrouter": "https://openrouter.ai/api/v1",
    "nvidia": "https://integrate.api.nvidia.com/v1",
    "zenmux": "https://zenmux.ai/api/v1",
    "zai": "https://open.bigmodel.cn/api/paas/v4",
    "zai-coding-plan": "https://api.z.ai/api/coding/paas/v4",
    "kimi-code": "https://api.kimi.com/coding/v1",
    "minimax": "https://api.minimax.io/v1",
    "internlm": "https://chat.intern-ai.org.cn/api/v1",
    "opencode-go": "https://opencode.ai/zen/go/v1",
    "opencode-zen": "https://opencode.ai/zen/v1",
    "alibaba-token-plan-intl": (
        "https://token-plan.ap-southeast-1.maas.aliyuncs.com/apps/anthropic/v1"
    ),
    "commandcode-openai": "https://api.commandcode.ai/provider/v1",
    "commandcode-anthropic": "https://api.commandcode.ai/provider/v1",
    "ollama": "http://localhost:11434/v1",
}


@pytest.mark.parametrize(("name", "base"), REFERENCE.items())
def test_base_url(name: str, base: str) -> None:
    assert RULES.api_base(name) == base


@pytest.mark.parametrize(
    "name",
    [
        "azure",
        "vertex",
        "github-copilot",
        "groq",
        "mistral",
        "deepseek",
        "xai",
        "together",
        "fireworks",
        "cerebras",
        "perplexity",
        "moonshot",
        "qwen",
        "huggingface",
        "local",
    ],
)
def test_further_providers_are_there(name: str) -> None:
    assert name in RULES.providers


@pytest.mark.parametrize(
    ("host", "method", "path"),
    [
        ("api.anthropic.com", "POST", "/api/event_logging/v2/batch"),
        ("api.anthropic.com", "GET", "/api/claude_code/settings"),
        ("api.anthropic.com", "POST", "/v1/messages/batches"),
        ("api.anthropic.com", "GET", "/v1/messages"),
        ("api.openai.com", "POST", "/v1/traces/ingest"),
        ("api.openai.com", "POST", "/v1/threads/t/messages"),
        ("api.openai.com", "GET", "/v1/responses/resp_1"),
        ("api.openai.com", "DELETE", "/v1/chat/completions"),
        ("api.openai.com", "POST", "/"),
        ("api.openai.com", "POST", ""),
        ("api.openai.com", "POST", "/" + "a" * 9000 + "/chat/completions"),
        ("chatgpt.com", "POST", "/backend-api/conversation"),
        ("chatgpt.com", "GET", "/backend-api/wham/accounts/check"),
        ("cloudcode-pa.googleapis.com", "POST", "/v1internal:loadCodeAssist"),
        ("generativelanguage.googleapis.com", "POST", "/v1beta/interactions"),
        ("generativelanguage.googleapis.com", "POST", "/v1beta/models/m:predict"),
        ("openrouter.ai", "POST", "/chat/completions"),
        ("localhost", "POST", "/v1/chat/completions"),
        ("evil-api.openai.com.example", "POST", "/v1/chat/completions"),
        ("notapi.openai.com.evil", "POST", "/v1/chat/completions"),
    ],
)
def test_other_calls_are_not_model_calls(host: str, method: str, path: str) -> None:
    assert RULES.match(host, 443, method, path) is None


@pytest.mark.parametrize(
    ("host", "port", "known"),
    [
        ("API.OpenAI.com", 443, True),
        ("api.openai.com.", 443, True),
        ("name.openai.azure.com", 443, True),
        ("a.b.openai.azure.com", 443, False),
        ("openai.azure.com", 443, False),
        ("us-central1-aiplatform.googleapis.com", 443, True),
        ("storage.googleapis.com", 443, False),
        ("localhost", 11434, True),
        ("::1", 11434, True),
        ("localhost", 9000, False),
        ("github.com", 443, False),
        ("", 443, False),
    ],
)
def test_only_named_hosts_are_decrypted(host: str, port: int, known: bool) -> None:
    assert RULES.is_llm_host(host, port) is known


@pytest.mark.parametrize(
    ("wanted", "client", "sent"),
    [
        ("openai", "openai_chat", "openai_chat"),
        ("openai", "openai_responses", "openai_responses"),  # a Responses client stays
        ("openai", "anthropic_messages", "openai_chat"),
        ("openai-responses", "openai_chat", "openai_responses"),  # the name means the API
        ("openai-responses", "openai_responses", "openai_responses"),
        ("anthropic", "openai_chat", "anthropic_messages"),
        ("deepseek", "anthropic_messages", "anthropic_messages"),
        ("deepseek", "gemini_generate", "openai_chat"),
        ("local", "anthropic_messages", "openai_chat"),  # recognised there, never chosen
        ("vertex", "anthropic_messages", "gemini_generate"),
    ],
)
def test_protocol_of_a_reroute(wanted: str, client, sent: str) -> None:
    assert RULES.protocol(wanted, client) == sent


def test_one_openai_account_under_two_names() -> None:
    rules = load_folders([shipped_folder()], {"OPENAI_API_KEY": "k"})
    for name in ("openai", "openai-responses"):
        assert rules.key_variable(name) == "OPENAI_API_KEY"
        assert [key.get_secret_value() for key in rules.keys(name)] == ["k"]
    both = {"OPENAI_API_KEY": "k", "OPENAI_RESPONSES_API_KEY": "r"}
    rules = load_folders([shipped_folder()], both)
    assert [key.get_secret_value() for key in rules.keys("openai-responses")] == ["r"]
    names = [RULES.key_variable(name) for name in RULES.providers]
    shared = {name for name in names if names.count(name) > 1}
    assert shared == {"OPENAI_API_KEY", "OPENCODE_API_KEY", "COMMANDCODE_API_KEY"}


def test_unknown_paths_belong_to_the_host_s_provider() -> None:
    assert RULES.owner("api.openai.com", 443, "/v1/files") == "openai"
    assert RULES.owner("api.openai.com", 443, "/v1/responses/r/cancel") == "openai-responses"
    assert RULES.owner("chatgpt.com", 443, "/") is None


def test_routes_yaml_writes_out_the_defaults() -> None:
    assert RULES.routes == RoutesFile()


@pytest.mark.parametrize(
    ("model", "family", "price"),
    [
        ("gpt-5.4-2026-03-05", "gpt-5-2", "gpt-5-4"),
        ("openai/gpt-5-mini", "gpt-5", "gpt-5-mini"),
        ("gpt-5-chat-latest", "gpt-5-chat", "gpt-5"),
        ("o3-mini", "openai-o", None),
        ("gpt-4o-audio-preview", "gpt-4", None),
        ("anthropic/claude-sonnet-4.5:beta", "claude-budget", "claude-sonnet"),
        ("us.anthropic.claude-opus-4-6-v1", "claude-4-6", "claude-opus"),
        ("claude-opus-4-1-20250805", "claude-budget", "claude-opus-4"),
        ("claude-opus-5-5", "claude-adaptive", "claude-opus-5-5"),
        ("claude-sonnet-4@20250514", "claude-budget", "claude-sonnet"),
        ("models/gemini-2.5-flash-lite", "gemini-2-5-flash-lite", "gemini-2-5-flash-lite"),
        ("gemini-3-pro-preview", "gemini-3-pro", "gemini-3-1-pro"),
        ("gpt-5.1-codex-max", "gpt-5-codex-max", None),
        ("gpt-5.1-codex-mini", "gpt-5-codex", "gpt-5-mini"),
        ("gpt-5.1", "gpt-5-1", "gpt-5"),
        ("gpt-5.6-sol", "gpt-6", "gpt-5-6-sol"),
        ("gemini-3.8-flash", "gemini-3-flash", None),
        ("google/gemma-3-27b-it:free", "gemma", None),
        ("openrouter:stepfun/step-3.5-flash:free", "step-flash", None),
        ("kimi-code:kimi-for-coding", "kimi-for-coding", None),
        ("llama3:8b", None, None),
        ("", None, None),
    ],
)
def test_family_and_price(model: str, family: str | None, price: str | None) -> None:
    found, cost = RULES.models.family(model), RULES.models.price(model)
    assert (found.name if found else None, cost.name if cost else None) == (family, price)


def test_facts_of_a_family_lie_over_the_provider_s() -> None:
    assert RULES.facts("openrouter", "openai/gpt-5").max_tokens_field == "max_completion_tokens"
    assert RULES.facts("openrouter", "openai/gpt-4o").max_tokens_field == "max_tokens"
    assert RULES.facts("openrouter").reasoning_field == "reasoning"
    assert RULES.facts("azure", "my-deployment").max_tokens_field == "max_completion_tokens"


def test_every_price_has_input_and_output() -> None:
    for row in RULES.models.prices:
        assert row.input is not None, row.name
        assert row.output is not None, row.name
        assert row.cache_read is None or row.cache_read < row.input <= row.output, row.name
        assert row.cache_write is None or row.cache_write == pytest.approx(row.input * 1.25)


def test_cached_answers_have_a_cost_wherever_the_vendor_names_one() -> None:
    # The list of OpenAI has no price for cached input of these.
    without = {row.name for row in RULES.models.prices if row.cache_read is None}
    assert without == {"gpt-5-5-pro", "gpt-5-4-pro"}
    usage = Usage(input_tokens=1_000_000, output_tokens=0, cache_read_tokens=900_000)
    assert cost_usd(usage, RULES.models.price("gemini-2.5-pro")) == pytest.approx(0.2375)
    assert cost_usd(usage, RULES.models.price("deepseek-v4-flash")) == pytest.approx(0.0354)
    assert cost_usd(usage, RULES.models.price("gpt-5.4-pro")) is None


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({"user-agent": "claude-cli/2.1.329 (external, cli)"}, "claude-code"),
        ({"user-agent": "x", "x-claude-code-session-id": "s"}, "claude-code"),
        ({"user-agent": "codex_cli_rs/0.169.0 (Debian 12)"}, "codex"),
        ({"user-agent": "GeminiCLI/0.61.0 (linux; x64)"}, "gemini-cli"),
        ({"user-agent": "QwenCode/0.24.4 (linux; x64)"}, "qwen-code"),
        ({"user-agent": "opencode/1.18.33 ai-sdk/provider-utils/4"}, "opencode"),
        ({"user-agent": "ai/7.0.1 ai-sdk-provider-utils/5.0"}, "ai-sdk"),
        ({"user-agent": "Agents/Python 0.24.0"}, "openai-agents"),
        ({"user-agent": "pydantic-ai/2.68.0"}, "pydantic-ai"),
        ({"user-agent": "AsyncOpenAI/Python 3.52.0"}, "openai-python"),
        ({"user-agent": "OpenAI/JS 7.55.0"}, "openai-node"),
        ({"user-agent": "AsyncAnthropic/Python 2.11.0"}, "anthropic-python"),
        ({"user-agent": "google-genai-sdk/3.4.0 gl-python/3.13"}, "google-genai"),
        ({"user-agent": "something"}, None),
        ({}, None),
    ],
)
def test_client(headers: dict[str, str], client: str | None) -> None:
    row = RULES.clients.recognise(headers)
    assert (row.name if row else None) == client


def _calls() -> list[tuple[str, int, str, str, str]]:
    """(host, port, method, path, protocol) of recorded calls to hosts that the rules name."""
    files = ("openai-chat", "openai-responses", "anthropic-messages", "gemini")
    found: list[tuple[str, int, str, str, str]] = []
    for file in files:
        for row in recorded(file):
            host, _, port = str(row["provider_host"]).partition(":")
            known = RULES.is_llm_host(host, int(port or 443))
            if known and re.fullmatch(r"[\w.-]+", host):
                path = str(row["path"])
                found.append((host, int(port or 443), row["method"], path, row["protocol"]))
    return found


PROTOCOLS = {
    "openai-chat": "openai_chat",
    "openai-responses": "openai_responses",
    "anthropic-messages": "anthropic_messages",
    "gemini": "gemini_generate",
}
# bare paths that the recorders wrote in place of the real ones
NOT_REAL = {"openrouter.ai"}


@needs_corpus
def test_recorded_calls_are_recognised() -> None:
    calls = _calls()
    assert len(calls) > 1300
    for host, port, method, path, protocol in calls:
        if host in NOT_REAL and not path.startswith("/api/"):
            continue
        endpoint = RULES.match(host, port, method, path)
        assert endpoint is not None, (host, path)
        assert (endpoint.protocol, endpoint.kind) == (PROTOCOLS[protocol], "generate"), path


def test_speed_of_match_is_printed() -> None:
    calls = [
        ("api.openai.com", "POST", "/v1/chat/completions"),
        ("api.openai.com", "POST", "/v1/responses"),
        ("generativelanguage.googleapis.com", "POST", "/v1beta/models/g:streamGenerateContent"),
        ("us-east5-aiplatform.googleapis.com", "POST", "/v1/publishers/google/models/g:rawPredict"),
        ("example.com", "GET", "/"),
    ]
    for host, method, path in calls:
        start = time.perf_counter()
        for _ in range(500):
            RULES.match(host, 443, method, path)
        print(f"match {host}{path}: {(time.perf_counter() - start) * 2000:.2f} µs")
    assert isinstance(RULES.match(calls[0][0], 443, *calls[0][1:]), Endpoint)


def test_a_table_of_efforts_may_name_some_words_only() -> None:
    models = ModelsFile(effort_budgets={"high": 20000})
    facts = models.facts("any", Facts())
    assert (facts.effort_budgets["high"], facts.effort_budgets["low"]) == (20000, 2048)
    assert facts.effort_budgets.keys() == EFFORT_BUDGETS.keys()


def test_a_family_s_limits_become_facts() -> None:
    row = FamilyRow(
        name="mine",
        models=("mine-*",),
        takes_temperature=False,
        temperature_max=0.7,
        takes_top_p=False,
        max_tokens_field="max_completion_tokens",
        system_role="user",
        reasoning="level",
        takes_off=False,
        efforts=("low", "high"),
        budget_min=1,
        budget_max=2,
        min_output_tokens=3,
    )
    facts = ModelsFile(families=(row,)).facts("acme/Mine-1:free", Facts(stream_usage=False))
    for field in type(row).model_fields.keys() - {"name", "models"}:
        assert getattr(facts, field) == getattr(row, field), field
    assert not facts.stream_usage
    assert ModelsFile(families=(row,)).facts("other", Facts()) == Facts()
