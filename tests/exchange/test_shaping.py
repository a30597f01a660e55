"""Who wins over whom, every parameter, and nothing where nothing applies."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from llmitm.canon.parts import Media, Text, ToolResult
from llmitm.canon.request import Message, ReasoningConfig, Request, Sampling
from llmitm.dialects import limits
from llmitm.dialects.catalog import DIALECTS
from llmitm.exchange.shaping import identity_headers, shape
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.ruleset import Ruleset
from llmitm.ruleset.selectors import Params, Target
from llmitm.stages.conversation import NO_SETTINGS, Settings

type Rules = Callable[..., Ruleset]

SHIPPED = load_folders([shipped_folder()], {})
HELLO = (Message(role="user", parts=(Text(text="hello", at=("messages", 0, "content")),)),)
CHAT = Request(dialect="openai_chat", model="mine", messages=HELLO)


@pytest.fixture
def rules(tmp_path: Path) -> Rules:
    def load(**sections: Any) -> Ruleset:
        (tmp_path / "rewrites.yaml").write_text(json.dumps(sections))
        return load_folders([shipped_folder(), tmp_path], {})

    return load


def shaped(
    request: Request = CHAT,
    params: Params | None = None,
    settings: Settings = NO_SETTINGS,
    ruleset: Ruleset = SHIPPED,
    provider: str = "openai",
    model: str = "mine",
):
    target = None if params is None else Target(provider=provider, model=model, params=params)
    return shape(request, target, provider, model, settings, ruleset)


# --- nothing applies --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "settings"),
    [
        (None, NO_SETTINGS),
        (None, Settings()),
        (Target(model="mine"), NO_SETTINGS),
        (Target(model="mine", params=Params(ignored=("what",))), NO_SETTINGS),
        (None, Settings(project="p", model="openai:other", loop_detection=True, interactive=True)),
        (None, Settings(gemini_generation_config={"temperature": 1})),
        (None, Settings(gemini_generation_config={})),
    ],
)
@pytest.mark.parametrize("model", ["mine", ""])
def test_where_nothing_applies_it_is_the_same_object(
    target: Target | None, settings: Settings, model: str
) -> None:
    result = shape(CHAT, target, "openai", model, settings, SHIPPED)
    assert result.request is CHAT
    assert (result.losses, result.notes) == ((), ())


def test_what_is_already_asked_for_changes_nothing() -> None:
    said = replace(
        CHAT,
        sampling=Sampling(temperature=0.5),
        reasoning=ReasoningConfig(effort="high"),
        verbosity="low",
    )
    params = Params(temperature=0.5, reasoning_effort="high", verbosity="low")
    assert shaped(said, params).request is said


def test_rules_for_other_models_change_nothing(rules: Rules) -> None:
    row = {"name": "r", "models": ["gemini:*"], "temperature": 1, "top_k": 3}
    assert shaped(ruleset=rules(model_defaults=[row])).request is CHAT


def test_the_model_is_the_attempts() -> None:
    result = shaped(params=Params(temperature=1), model="other", provider="groq")
    assert result.request.model == "other"
    assert shape(CHAT, None, "groq", "other", NO_SETTINGS, SHIPPED).request.model == "other"


# --- who wins ---------------------------------------------------------------------------------

LEVELS = ["forced", "chat", "selector", "client", "default"]


@pytest.mark.parametrize("highest", range(len(LEVELS)))
def test_how_much_to_think_is_decided_by_the_highest(highest: int, rules: Rules) -> None:
    """Each level asks for another effort; those above `highest` say nothing."""
    told = set(LEVELS[highest:])
    row = {"name": "d", "models": ["*"], "reasoning_effort": "medium"}
    ruleset = rules(
        thinking_budget=0 if "forced" in told else None,
        model_defaults=[row] if "default" in told else [],
    )
    request = CHAT
    if "client" in told:
        request = replace(CHAT, reasoning=ReasoningConfig(effort="minimal", show="auto"))
    params = Params(reasoning_effort="low") if "selector" in told else None
    settings = Settings(reasoning_effort="high") if "chat" in told else NO_SETTINGS
    config = shaped(request, params, settings, ruleset).request.reasoning
    assert config is not None
    wanted = {"forced": "none", "chat": "high", "selector": "low"}
    wanted |= {"client": "minimal", "default": "medium"}
    assert config.effort == wanted[LEVELS[highest]]
    assert config.show == ("auto" if "client" in told else None)


@pytest.mark.parametrize("highest", range(1, len(LEVELS)))
def test_a_temperature_is_the_highests(highest: int, rules: Rules) -> None:
    told = set(LEVELS[highest:])
    values = {"chat": 0.1, "selector": 0.2, "client": 0.3, "default": 0.4}
    row = {"name": "d", "models": ["*"], "temperature": values["default"]}
    ruleset = rules(model_defaults=[row])
    request = CHAT
    if "client" in told:
        request = replace(CHAT, sampling=Sampling(temperature=values["client"]))
    params = Params(temperature=values["selector"]) if "selector" in told else None
    settings = Settings(temperature=values["chat"]) if "chat" in told else NO_SETTINGS
    result = shaped(request, params, settings, ruleset)
    assert result.request.sampling.temperature == values[LEVELS[highest]]


@pytest.mark.parametrize(
    ("said", "settings", "wanted"),
    [
        # a higher wish takes the whole matter, also what the lower one said in another form
        (
            ReasoningConfig(mode="on", budget_tokens=9000),
            Settings(reasoning_effort="low"),
            ReasoningConfig(effort="low"),
        ),
        (
            ReasoningConfig(mode="off"),
            Settings(reasoning_effort="high"),
            ReasoningConfig(effort="high"),
        ),
        (
            ReasoningConfig(effort="high"),
            Settings(thinking_budget=0),
            ReasoningConfig(effort="none"),
        ),
        (ReasoningConfig(effort="high"), Settings(thinking_budget=-1), ReasoningConfig()),
        (
            ReasoningConfig(effort="high"),
            Settings(reasoning_mode="none"),
            ReasoningConfig(effort="none"),
        ),
        # what was set by name beats the mode
        (
            None,
            Settings(reasoning_mode="high", reasoning_effort="low"),
            ReasoningConfig(effort="low"),
        ),
        (None, Settings(reasoning_mode="medium"), ReasoningConfig(effort="medium")),
        (None, Settings(thinking_budget=9000), ReasoningConfig(effort="medium")),
    ],
)
def test_effort_budget_and_switch_are_one_matter(
    said: ReasoningConfig | None, settings: Settings, wanted: ReasoningConfig
) -> None:
    assert shaped(replace(CHAT, reasoning=said), settings=settings).request.reasoning == wanted


# --- every parameter --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "read", "wanted", "note"),
    [
        (Params(temperature=0.25), "sampling.temperature", 0.25, "temperature 0.25"),
        (Params(top_p=0.5), "sampling.top_p", 0.5, "top_p 0.5"),
        (Params(top_k=7), "sampling.top_k", 7, "top_k 7"),
        (Params(reasoning_effort="high"), "reasoning.effort", "high", "thinking high"),
        (Params(thinking_budget=2048), "reasoning.effort", "low", "thinking low"),
        (Params(verbosity="low"), "verbosity", "low", "verbosity low"),
    ],
)
def test_parameters_of_a_selector(params: Params, read: str, wanted: Any, note: str) -> None:
    result = shaped(params=params)
    found: Any = result.request
    for name in read.split("."):
        found = getattr(found, name)
    assert found == wanted
    assert result.notes == (f"{note} by the selector",)


@pytest.mark.parametrize(
    ("row", "read", "wanted"),
    [
        ({"temperature": 1}, "sampling.temperature", 1),
        ({"top_p": 0.5}, "sampling.top_p", 0.5),
        ({"top_k": 7}, "sampling.top_k", 7),
        ({"max_tokens": 99}, "sampling.max_tokens", 99),
        ({"verbosity": "high"}, "verbosity", "high"),
        ({"reasoning_effort": "low"}, "reasoning.effort", "low"),
        ({"thinking_budget": 16000}, "reasoning.effort", "high"),
    ],
)
def test_defaults_of_a_model(row: dict[str, Any], read: str, wanted: Any, rules: Rules) -> None:
    ruleset = rules(model_defaults=[{"name": "d", "models": ["OpenAI:Min?"], **row}])
    result = shaped(ruleset=ruleset)
    found: Any = result.request
    for name in read.split("."):
        found = getattr(found, name)
    assert found == wanted
    assert [note.rpartition(" by ")[2] for note in result.notes] == ["default"]
    said = replace(
        CHAT,
        sampling=Sampling(temperature=0, top_p=1, top_k=1, max_tokens=5),
        reasoning=ReasoningConfig(mode="off"),
        verbosity="medium",
    )
    assert shaped(said, ruleset=ruleset).request is said


@pytest.mark.parametrize("dialect", ["anthropic_messages", "gemini_generate"])
def test_verbosity_is_a_loss_where_no_protocol_has_it(dialect: str) -> None:
    provider = {"anthropic_messages": "anthropic", "gemini_generate": "gemini"}[dialect]
    request = replace(CHAT, dialect=dialect)
    result = shaped(request, Params(verbosity="low"), provider=provider)
    assert result.request is request
    assert [(loss.feature, loss.target) for loss in result.losses] == [("verbosity", dialect)]


# --- reasoning modes --------------------------------------------------------------------------

ALIASES = [
    {
        "name": "mine",
        "models": ["mine*"],
        "high": {
            "max_reasoning_tokens": 16384,
            "user_prompt_prefix": "Think. ",
            "user_prompt_suffix": " Really.",
            "temperature": 0.7,
            "top_p": 0.9,
        },
        "low": {"user_prompt_suffix": "!"},
    }
]


def test_a_mode_asks_for_what_its_alias_says(rules: Rules) -> None:
    settings = Settings(reasoning_mode="high")
    result = shaped(settings=settings, ruleset=rules(reasoning_aliases=ALIASES))
    assert result.request.sampling == Sampling(temperature=0.7, top_p=0.9)
    assert result.request.reasoning == ReasoningConfig(effort="high")
    assert result.request.messages[0].parts == (Text(text="Think. hello Really."),)
    assert result.request.messages[0].parts[0].at == ("messages", 0, "content")
    assert result.notes == (
        "temperature 0.7 set by chat",
        "top_p 0.9 set by chat",
        "thinking high set by chat",
        "prompt prefix set by chat",
        "prompt suffix set by chat",
    )


@pytest.mark.parametrize(
    ("model", "mode", "effort", "text"),
    [
        ("mine", "low", None, "hello!"),
        ("mine", "medium", "medium", "hello"),  # the alias has no such mode
        ("other", "high", "high", "hello"),  # no alias
    ],
)
def test_a_mode_without_its_alias_is_just_an_effort(
    model: str, mode: Any, effort: str | None, text: str, rules: Rules
) -> None:
    ruleset = rules(reasoning_aliases=ALIASES)
    request = shaped(settings=Settings(reasoning_mode=mode), ruleset=ruleset, model=model).request
    assert (request.reasoning.effort if request.reasoning else None) == effort
    assert request.messages[0].parts[0] == Text(text=text)


def test_a_named_temperature_beats_the_modes(rules: Rules) -> None:
    settings = Settings(reasoning_mode="high", temperature=0)
    sampling = shaped(settings=settings, ruleset=rules(reasoning_aliases=ALIASES)).request.sampling
    assert (sampling.temperature, sampling.top_p) == (0, 0.9)


def test_the_prompt_is_edited_in_the_users_last_text(rules: Rules) -> None:
    result = ToolResult(call_id="c", parts=(Text(text="out"),))
    picture = Media(kind="image", url="https://a.b/c.png")
    messages = (
        Message(role="user", parts=(Text(text="first"),)),
        Message(role="assistant", parts=(Text(text="yes?"),)),
        Message(role="user", parts=(Text(text="note"), Text(text="do it"), picture)),
        Message(role="assistant", parts=(Text(text="doing"),)),
        Message(role="user", parts=(result, Text(text=" "))),
    )
    request = shaped(
        replace(CHAT, messages=messages),
        settings=Settings(reasoning_mode="low"),
        ruleset=rules(reasoning_aliases=ALIASES),
    ).request
    changed = [at for at, one in enumerate(request.messages) if one is not messages[at]]
    assert changed == [2]
    assert request.messages[2].parts == (Text(text="note"), Text(text="do it!"), picture)


def test_a_forced_budget_leaves_the_rest_of_a_mode(rules: Rules) -> None:
    ruleset = rules(reasoning_aliases=ALIASES, thinking_budget=2048)
    result = shaped(settings=Settings(reasoning_mode="high"), ruleset=ruleset)
    assert result.request.reasoning == ReasoningConfig(effort="low")
    assert result.request.sampling.temperature == 0.7


# --- Gemini's configuration -------------------------------------------------------------------

CONFIG: dict[str, Any] = {
    "temperature": 0.3,
    "topK": 5,
    "maxOutputTokens": 77,
    "stopSequences": ["X"],
    "thinkingConfig": {"thinkingBudget": 512, "includeThoughts": True},
    "responseMimeType": "application/json",
    "mediaResolution": "LOW",
}
GEMINI_BODY = (
    b'{"contents": [{"role":"user","parts":[{"text":"hi"}]}],'
    b' "generationConfig" : {"topP":0.5, "mediaResolution":"HIGH"}, "labels":{"a":"b"}}'
)


def gemini() -> Request:
    return replace(DIALECTS["gemini_generate"].decode_request(GEMINI_BODY), model="gemini-2.5-pro")


def through(request: Request, provider: str, after: Request, body: bytes) -> dict[str, Any]:
    """What goes out: fitted, and patched where the protocol stays."""
    facts = SHIPPED.facts(provider, after.model)
    fitted, _ = limits.fit(after, facts, request.dialect)
    dialect = DIALECTS[SHIPPED.protocol(provider, request.dialect)]
    encoded = None
    if dialect.name == request.dialect:
        encoded = dialect.patch_request(body, request, fitted, facts)
        assert encoded is not None, "the whole body would be written anew"
    return json.loads((encoded or dialect.encode_request(fitted, facts)).body)


def test_geminis_config_of_a_conversation_beats_the_body() -> None:
    before = gemini()
    settings = Settings(gemini_generation_config=CONFIG, temperature=0.9)
    after = shaped(before, settings=settings, provider="gemini", model=before.model).request
    wire = through(before, "gemini", after, GEMINI_BODY)
    assert wire["generationConfig"] == {"topP": 0.5, **CONFIG, "temperature": 0.9}
    assert wire["labels"] == {"a": "b"}


def test_geminis_config_of_a_model_only_fills_in(rules: Rules) -> None:
    before = gemini()
    row = {"name": "g", "models": ["gemini-*"], "gemini_generation_config": {**CONFIG, "topP": 1}}
    result = shaped(
        before, ruleset=rules(model_defaults=[row]), provider="gemini", model=before.model
    )
    wire = through(before, "gemini", result.request, GEMINI_BODY)
    assert wire["generationConfig"] == {**CONFIG, "topP": 0.5, "mediaResolution": "HIGH"}
    assert all(note.endswith("by default") for note in result.notes)


def test_geminis_config_for_a_client_of_another_protocol() -> None:
    settings = Settings(gemini_generation_config=CONFIG)
    result = shaped(settings=settings, provider="gemini", model="gemini-2.5-pro")
    assert result.request.sampling == Sampling(temperature=0.3, top_k=5, max_tokens=77, stop=("X",))
    assert [loss.path for loss in result.losses] == ["/generationConfig/mediaResolution"]
    assert result.request.reasoning == ReasoningConfig(mode="on", budget_tokens=512, show="true")


# --- on the wire ------------------------------------------------------------------------------

CLAUDE = b'{"model":"m", "max_tokens":4000,"temperature":0.5,"top_k":9,"messages":[]}'


@pytest.mark.parametrize(
    ("model", "settings", "wanted"),
    [
        (
            "claude-sonnet-4-5",
            Settings(reasoning_effort="low"),
            {"thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        (
            "claude-sonnet-4-5",
            Settings(thinking_budget=9000),
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        (
            "claude-opus-4-6",
            Settings(reasoning_mode="high"),
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        ("unheard-of", Settings(thinking_budget=-1), {"thinking": {"type": "adaptive"}}),
        (
            "unheard-of",
            Settings(thinking_budget=9000),
            {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        ),
        (
            "claude-opus-4-6",
            Settings(reasoning_mode="none"),
            {"thinking": {"type": "disabled"}, "temperature": 0.5, "top_k": 9},
        ),
    ],
)
def test_a_wish_in_anthropics_own_words(
    model: str, settings: Settings, wanted: Mapping[str, Any]
) -> None:
    """Thinking goes with no temperature and no top_k, and its budget counts as output."""
    before = DIALECTS["anthropic_messages"].decode_request(CLAUDE)
    after = shaped(before, settings=settings, provider="anthropic", model=model).request
    wire = through(before, "anthropic", after, CLAUDE)
    assert wire == {"model": model, "max_tokens": 4000, "messages": [], **wanted}


@pytest.mark.parametrize("budget", [0, -1, 3000])
@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
def test_a_budget_in_openais_own_words_stays_a_small_edit(dialect: str, budget: int) -> None:
    key = "messages" if dialect == "openai_chat" else "input"
    body = b'{"model":"unheard-of",  "%s":[]}' % key.encode()
    before = DIALECTS[dialect].decode_request(body)
    result = shaped(before, settings=Settings(thinking_budget=budget), model="unheard-of")
    wire = through(before, "openai", result.request, body)
    effort = wire.get("reasoning_effort") or wire.get("reasoning", {}).get("effort")
    assert effort == {0: "none", -1: None, 3000: "low"}[budget]
    told = [(loss.feature, loss.how) for loss in result.losses]
    assert told == ([("reasoning.budget_tokens", "adapted")] if budget > 0 else [])


@pytest.mark.parametrize(
    ("dialect", "body", "wanted"),
    [
        ("openai_chat", b'{"model":"mine","messages":[]}', {"verbosity": "low"}),
        ("openai_responses", b'{"model":"mine","input":[]}', {"text": {"verbosity": "low"}}),
    ],
)
def test_verbosity_on_the_wire(dialect: str, body: bytes, wanted: dict[str, Any]) -> None:
    before = DIALECTS[dialect].decode_request(body)
    after = shaped(before, Params(verbosity="low")).request
    wire = through(before, "openai", after, body)
    assert wire == {**json.loads(body), **wanted}


@pytest.mark.parametrize(
    ("provider", "kept"), [("openai", True), ("groq", False), ("mistral", False)]
)
def test_verbosity_does_not_go_where_it_is_refused(provider: str, kept: bool) -> None:
    facts = SHIPPED.facts(provider, "a-model")
    encoded = DIALECTS["openai_chat"].encode_request(replace(CHAT, verbosity="low"), facts)
    assert ("verbosity" in json.loads(encoded.body)) == kept
    assert [loss.feature for loss in encoded.losses] == ([] if kept else ["verbosity"])


# --- who is calling ---------------------------------------------------------------------------

SENT = (("Host", "h"), ("user-agent", "curl/8"), ("X-Title", "mine"), ("Accept", "*/*"))


def test_without_rules_the_headers_are_the_clients() -> None:
    assert identity_headers(SENT, "openai", SHIPPED) is None


@pytest.mark.parametrize(
    ("sections", "wanted"),
    [
        (
            {"user_agent": {"mode": "override", "override_value": "agent/1"}},
            (("Host", "h"), ("user-agent", "agent/1"), ("X-Title", "mine"), ("Accept", "*/*")),
        ),
        (
            {"url": {"mode": "default", "default_value": "https://a.b"}},
            (*SENT, ("HTTP-Referer", "https://a.b")),
        ),
        ({"title": {"mode": "default", "default_value": "ours"}}, None),
        ({"title": {"mode": "override", "override_value": "mine"}}, None),
        (
            {
                "title": {"mode": "override", "override_value": "all"},
                "providers": [{"name": "openai", "title": {"mode": "passthrough"}}],
            },
            None,
        ),
        (
            {
                "user_agent": {"mode": "override", "override_value": "all/1"},
                "providers": [
                    {"name": "openai", "title": {"mode": "override", "override_value": "t"}}
                ],
            },
            (("Host", "h"), ("user-agent", "all/1"), ("X-Title", "t"), ("Accept", "*/*")),
        ),
    ],
)
def test_who_is_calling(sections: dict[str, Any], wanted: Any, rules: Rules) -> None:
    assert identity_headers(SENT, "openai", rules(identity=sections)) == wanted
