"""Which providers a model-only selector can mean, and which names an alias spells out."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from llmitm.ruleset.eligible import eligible
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.literals import literal_name
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.providers import ProviderRow
from ruleset.conftest import WriteRules

KEYS = {
    f"{name}_API_KEY": "k"
    for name in (
        *("OPENAI", "ANTHROPIC", "GEMINI", "MISTRAL", "DEEPSEEK", "XAI", "MOONSHOT", "ZAI"),
        *("MINIMAX", "QWEN", "INTERNLM", "PERPLEXITY", "OPENROUTER", "AZURE", "BEDROCK"),
    )
}
RULES = load_folders([shipped_folder()], KEYS)

VENDORS = [
    ("gpt-5.1", "openai"),
    ("GPT-4o-mini", "openai"),
    ("o3", "openai"),
    ("o1-preview", "openai"),
    ("o4-mini", "openai"),
    ("chatgpt-4o-latest", "openai"),
    ("ft:gpt-4o-mini:org::id", "openai"),
    ("claude-sonnet-4-5", "anthropic"),
    ("gemini-2.5-pro", "gemini"),
    ("codestral-latest", "mistral"),
    ("deepseek-chat", "deepseek"),
    ("grok-4", "xai"),
    ("kimi-k2", "moonshot"),
    ("glm-4.6", "zai"),
    ("MiniMax-M2", "minimax"),
    ("qwen3-coder-plus", "qwen"),
    ("internlm3-latest", "internlm"),
    ("sonar-pro", "perplexity"),
]


@pytest.mark.parametrize(("model", "provider"), VENDORS)
def test_vendors_offer_their_own(model: str, provider: str) -> None:
    assert eligible(RULES, model) == (provider,)


def test_no_key_no_call() -> None:
    bare = load_folders([shipped_folder()], {})
    assert eligible(bare, "gpt-5") == ()
    assert eligible(bare, "gpt-5", ("openai", "openrouter")) == ()


def test_what_was_listed_counts_in_the_order_of_the_rules() -> None:
    assert eligible(RULES, "gpt-5", ("openrouter", "openai")) == ("openai", "openrouter")
    assert eligible(RULES, "vendor/model:free", ("openrouter",)) == ("openrouter",)
    assert eligible(RULES, "unheard-of") == ()
    assert eligible(RULES, "unheard-of", ("no-such-provider",)) == ()


def test_one_without_a_place_or_that_takes_no_calls_is_never_eligible() -> None:
    # Azure has no resource name here; Bedrock's calls only a client can sign.
    assert eligible(RULES, "gpt-5", ("azure", "bedrock", "local")) == ("openai",)


def test_on_this_machine_only_what_was_listed(write_rules: WriteRules) -> None:
    mine = write_rules(
        "mine",
        providers="""
providers:
  - {name: ollama, models: ["llama*"]}
  - name: garage
    hosts: [garage.lan]
    api_base: http://garage.lan/v1
    auth: {required: false}
    models: ["llama*"]
""",
    )
    rules = load_folders([shipped_folder(), mine], {})
    assert eligible(rules, "llama3:8b") == ("garage",)
    assert eligible(rules, "llama3:8b", ("ollama",)) == ("ollama", "garage")
    keyed = load_folders([shipped_folder(), mine], {"OLLAMA_API_KEY": "k"})
    assert eligible(keyed, "llama3:8b") == ("ollama", "garage")


def test_a_key_makes_a_local_base_url_eligible() -> None:
    environ = {"OPENAI_API_KEY": "k", "OPENAI_API_BASE_URL": "http://127.0.0.1:9/v1"}
    assert eligible(load_folders([shipped_folder()], environ), "gpt-5") == ("openai",)


def test_fields_of_a_row() -> None:
    row = ProviderRow.model_validate({"name": "p"})
    assert (row.models, row.priority, row.cost) == ((), 0, None)
    with pytest.raises(ValidationError):
        ProviderRow.model_validate({"name": "p", "models": ("",)})
    with pytest.raises(ValidationError):
        ProviderRow.model_validate({"name": "p", "cost": -1.0})


LITERALS = [
    ("gpt-4o-mini$", "gpt-4o-mini"),
    ("^fast$", "fast"),
    ("fast", "fast"),
    (r"\Afast\Z", "fast"),
    (r"^gpt-4\.1$", "gpt-4.1"),
    (r"^a\/b:c\-d$", "a/b:c-d"),
    (r"^\^$", "^"),
    ("^modèle$", "modèle"),
]
PATTERNS = [
    *("", "^", "$", "^$", "^gpt-4.1$", "^any-(.*)$", "a|b", "a+", "[ab]", "a?", "(?i)fast"),
    *(r"\d", r"^fast\b", r"\w+", "a{2}", "^fast$$", "a^b", "a$b", r"fast\z", "(fast)", "\\"),
]


@pytest.mark.parametrize(("pattern", "name"), LITERALS)
def test_a_literal_pattern_is_a_name(pattern: str, name: str) -> None:
    assert literal_name(pattern) == name


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_no_name(pattern: str) -> None:
    assert literal_name(pattern) == ""


def test_every_literal_alias_matches_its_own_name(write_rules: WriteRules) -> None:
    rows = "".join(f"  - {{pattern: '{one}', replacement: 'openai:x'}}\n" for one, _ in LITERALS)
    mine = write_rules("mine", routes=f"aliases:\n{rows}")
    rules = load_folders([shipped_folder(), mine], {})
    assert rules.literal_aliases == tuple(dict.fromkeys(name for _, name in LITERALS))
    assert all(rules.alias(name) is not None for name in rules.literal_aliases)
