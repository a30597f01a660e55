"""Effort words, budgets and levels between the dialects, and what each family of models takes.

The rules are the shipped ones, so a row that changes in `rules/models.yaml` changes here.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest

from llmitm.canon.parts import Text
from llmitm.canon.request import Message, ReasoningConfig, Request, Sampling, ToolChoice
from llmitm.canon.values import DEFAULT_FACTS, EFFORT_BUDGETS, Facts
from llmitm.dialects.anthropic_messages.tables import ADAPTIVE_MODELS
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.limits import budget_of, effort_of, fit, nearest_effort, raised
from llmitm.ruleset import loading

RULES = loading.load()
WORDS = tuple(word for word in EFFORT_BUDGETS if word != "none")
CHAT, RESPONSES = "openai_chat", "openai_responses"
CLAUDE, GEMINI = "anthropic_messages", "gemini_generate"
BODIES: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Hi"}]},
    RESPONSES: {"input": "Hi"},
    CLAUDE: {"max_tokens": 64000, "messages": [{"role": "user", "content": "Hi"}]},
    GEMINI: {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]},
}
WISH = {
    CHAT: lambda word: {"reasoning_effort": word},
    RESPONSES: lambda word: {"reasoning": {"effort": word}},
    CLAUDE: lambda word: {
        "thinking": {"type": "enabled", "budget_tokens": EFFORT_BUDGETS[word]},
    },
    GEMINI: lambda word: {
        "generationConfig": {"thinkingConfig": {"thinkingBudget": EFFORT_BUDGETS[word]}}
    },
}
"""The same wish in each protocol, those with numbers in numbers."""

MODEL = {CHAT: "gpt-5.4", RESPONSES: "gpt-5.4", CLAUDE: "claude-sonnet-4-5"}
MODEL[GEMINI] = "gemini-2.5-pro"


def facts_for(model: str) -> Facts:
    return RULES.models.facts(model, DEFAULT_FACTS)


def asked(source: str, wish: dict[str, Any], model: str) -> Request:
    """A request of `source` that was given another model."""
    body = {**BODIES[source], **wish}
    if source != GEMINI:
        body["model"] = "another"
    request = DIALECTS[source].decode_request(json.dumps(body).encode())
    return replace(request, model=model)


def sent(request: Request, target: str, facts: Facts) -> tuple[dict[str, Any], list[str]]:
    encoded = DIALECTS[target].encode_request(request, facts)
    told = [f"{loss.feature} {loss.how}" for loss in encoded.losses]
    return json.loads(encoded.body), [say for say in told if not say.startswith("field ")]


def wish_in(target: str, wire: dict[str, Any]) -> str | int | None:
    """How the body asks for thinking: a word, a number, or not at all."""
    match target:
        case "openai_chat":
            return wire.get("reasoning_effort")
        case "openai_responses":
            return wire.get("reasoning", {}).get("effort")
        case "anthropic_messages":
            word = wire.get("output_config", {}).get("effort")
            thinking = wire.get("thinking", {})
            return word or thinking.get("budget_tokens") or thinking.get("type")
        case _:
            config = wire.get("generationConfig", {}).get("thinkingConfig", {})
            return config.get("thinkingLevel", config.get("thinkingBudget"))


def test_the_default_table_is_the_shipped_one() -> None:
    assert dict(RULES.models.effort_budgets) == dict(EFFORT_BUDGETS)
    assert list(EFFORT_BUDGETS.values()) == sorted(set(EFFORT_BUDGETS.values()))


@pytest.mark.parametrize(
    "model",
    [
        pattern.replace("*", "x")
        for row in RULES.models.families
        if row.name.startswith("claude")
        for pattern in row.models
    ],
)
def test_what_is_known_of_claude_without_rules_is_what_the_rules_say(model: str) -> None:
    family = RULES.models.family(model)
    assert family is not None
    assert bool(ADAPTIVE_MODELS.search(model)) == (family.reasoning == "adaptive")


def test_the_table_reads_both_ways() -> None:
    for word in WORDS:
        tokens = budget_of(word, DEFAULT_FACTS)
        assert tokens is not None
        assert effort_of(tokens, DEFAULT_FACTS, WORDS) == word
    assert effort_of(0, DEFAULT_FACTS) == "none"
    assert effort_of(1, DEFAULT_FACTS) == "low"
    assert effort_of(10**9, DEFAULT_FACTS) == "high"
    assert budget_of("whatever", DEFAULT_FACTS) is None


NEAR = [
    ("minimal", ("low", "high"), "low"),
    ("medium", ("low", "high"), "low"),
    ("max", ("low", "medium"), "medium"),
    ("xhigh", ("high", "max"), "high"),
    ("minimal", ("none", "medium"), "medium"),
    ("none", ("low", "medium"), "low"),
    ("high", (), "high"),
    ("odd", ("low",), None),
    ("odd", (), "odd"),
]


@pytest.mark.parametrize(("word", "taken", "near"), NEAR)
def test_the_nearest_word(word: str, taken: tuple[str, ...], near: str | None) -> None:
    assert nearest_effort(word, Facts(efforts=taken)) == near


# What each word becomes at each of the models in MODEL, whichever protocol it came from.
BECOMES: dict[str, dict[str, str | int]] = {
    CHAT: {"minimal": "low", "max": "xhigh"},
    RESPONSES: {"minimal": "low", "max": "xhigh"},
    CLAUDE: {word: EFFORT_BUDGETS[word] for word in WORDS},
    GEMINI: {**{word: EFFORT_BUDGETS[word] for word in WORDS}, "max": 32768},
}


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(BODIES, 2)))
@pytest.mark.parametrize("word", WORDS)
def test_every_effort_from_every_dialect_to_every_other(
    source: str, target: str, word: str
) -> None:
    request = asked(source, WISH[source](word), MODEL[target])
    wire, losses = sent(request, target, facts_for(MODEL[target]))
    expected = BECOMES[target].get(word, word)
    assert wish_in(target, wire) == expected
    in_numbers = source in (CLAUDE, GEMINI)
    feature = "reasoning.budget_tokens" if in_numbers else "reasoning.effort"
    says = EFFORT_BUDGETS[word] if in_numbers else word
    assert (f"{feature} adapted" in losses) == (expected != says), losses
    again = DIALECTS[target].decode_request(json.dumps(wire).encode())
    assert sent(again, target, facts_for(MODEL[target]))[0] == wire


WORD_MODELS = [
    (CHAT, "gpt-5.4", ("low", "medium", "high", "xhigh")),
    (RESPONSES, "gpt-5.1", ("low", "medium", "high")),
    (CLAUDE, "claude-opus-4-8", ("low", "medium", "high", "xhigh", "max")),
    (GEMINI, "gemini-3-flash-preview", ("MINIMAL", "LOW", "MEDIUM", "HIGH")),
]


@pytest.mark.parametrize(("one", "two"), list(itertools.permutations(WORD_MODELS, 2)))
def test_words_that_both_take_go_and_come_back(one: Any, two: Any) -> None:
    (source, model, words), (target, other, taken) = one, two
    wishes = {
        CLAUDE: lambda word: {"thinking": {"type": "adaptive"}, "output_config": {"effort": word}},
        GEMINI: lambda word: {"generationConfig": {"thinkingConfig": {"thinkingLevel": word}}},
    }
    for word in words:
        if word.lower() not in [known.lower() for known in taken]:
            continue
        request = asked(source, wishes.get(source, WISH[source])(word), other)
        wire, losses = sent(request, target, facts_for(other))
        assert str(wish_in(target, wire)).lower() == word.lower()
        assert "reasoning.effort adapted" not in losses
        back = replace(DIALECTS[target].decode_request(json.dumps(wire).encode()), model=model)
        wire, _ = sent(back, source, facts_for(model))
        assert wish_in(source, wire) == word


OFF = {
    CHAT: {"reasoning_effort": "none"},
    RESPONSES: {"reasoning": {"effort": "none"}},
    CLAUDE: {"thinking": {"type": "disabled"}},
    GEMINI: {"generationConfig": {"thinkingConfig": {"thinkingBudget": 0}}},
}


@pytest.mark.parametrize(
    ("target", "model", "wish", "adapted"),
    [
        (CHAT, "gpt-5.1", "none", False),
        (CHAT, "gpt-5", "minimal", True),
        (CHAT, "o3", "low", True),
        (CHAT, "grok-3-mini", "low", True),
        (RESPONSES, "gpt-6-sol", "none", False),
        (RESPONSES, "gpt-5-pro", "high", True),
        (CLAUDE, "claude-opus-4-8", "disabled", False),
        (CLAUDE, "claude-sonnet-4-5", "disabled", False),
        (CLAUDE, "claude-3-5-haiku-20241022", None, False),
        (GEMINI, "gemini-2.5-flash", 0, False),
        (GEMINI, "gemini-2.5-pro", 128, True),
        (GEMINI, "gemini-3-pro-preview", "LOW", True),
        (GEMINI, "gemini-3-flash-preview", "MINIMAL", True),
    ],
)
def test_thinking_switched_off(
    target: str, model: str, wish: str | int | None, adapted: bool
) -> None:
    for source in BODIES.keys() - {target}:
        wire, losses = sent(asked(source, OFF[source], model), target, facts_for(model))
        assert wish_in(target, wire) == wish
        said = "effort" if source in (CHAT, RESPONSES) else "mode"
        told = [f"reasoning.{said} adapted"] if adapted else []
        assert [say for say in losses if say.startswith("reasoning.")] == told


HELLO = (Message(role="user", parts=(Text(text="Hi"),)),)
WARM = Request(
    dialect="elsewhere",
    model="",
    messages=HELLO,
    sampling=Sampling(temperature=1.5, top_p=0.9, max_tokens=100_000),
    reasoning=ReasoningConfig(effort="high"),
)
HOME = {"gpt": CHAT, "openai": CHAT, "claude": CLAUDE, "gemini": GEMINI, "gemma": GEMINI}


@pytest.mark.parametrize("family", RULES.models.families, ids=lambda row: row.name)
def test_every_family_s_limits(family: Any) -> None:
    model = family.models[0].replace("*", "")
    facts = facts_for(model)
    target = HOME.get(family.name.partition("-")[0], CHAT)
    if RULES.models.family(model) != family:
        model = family.models[0].replace("*", "x")
        facts = facts_for(model)
    assert RULES.models.family(model) == family
    fitted, losses = fit(replace(WARM, model=model), facts, target)
    told = {loss.feature: loss.how for loss in losses}
    warm = fitted.sampling.temperature
    if not family.takes_temperature:
        assert (warm, told["sampling.temperature"]) == (None, "dropped")
    elif family.temperature_max < 1.5:
        assert (warm, told["sampling.temperature"]) == (family.temperature_max, "adapted")
    else:
        assert warm == 1.5
        assert "sampling.temperature" not in told
    assert (fitted.sampling.top_p is None) == (not family.takes_top_p)
    assert ("sampling.top_p" in told) == (not family.takes_top_p)
    config = fitted.reasoning
    if family.reasoning in ("none", "always"):
        assert config is None
        assert told["reasoning.effort"] == "dropped"
    elif family.reasoning in ("effort", "adaptive", "level"):
        assert config is not None
        assert config.effort == nearest_effort("high", facts)
    elif family.reasoning == "budget" and target == GEMINI:
        assert config is not None
        assert config.budget_tokens == min(16384, family.budget_max)
    # What fits is left alone, whatever it cost to make it fit.
    assert fit(fitted, facts, target) == (fitted, ())
    wire, _ = sent(replace(WARM, model=model), target, facts)
    if target == CHAT:
        assert ("max_completion_tokens" in wire) == (
            family.max_tokens_field == "max_completion_tokens"
        )


@pytest.mark.parametrize("model", ["o1-mini", "gemma-3-27b-it"])
@pytest.mark.parametrize("target", [CHAT, GEMINI])
def test_a_model_without_a_role_for_instructions(model: str, target: str) -> None:
    request = replace(
        WARM,
        model=model,
        reasoning=None,
        sampling=Sampling(),
        instructions=(Text(text="Be kind."),),
    )
    wire, losses = sent(request, target, facts_for(model))
    assert losses == ["message.role adapted"]
    text = json.dumps(wire)
    assert "Be kind." in text
    assert "system" not in text
    assert "developer" not in text
    system = (Message(role="developer", parts=(Text(text="Be kind."),)), *HELLO)
    wire, losses = sent(
        replace(request, instructions=(), messages=system), target, facts_for(model)
    )
    assert losses == ["message.role adapted"]
    assert '"developer"' not in json.dumps(wire)


@pytest.mark.parametrize(
    ("model", "before", "after"),
    [
        ("gemini-2.5-flash-lite", 100, 512),
        ("gemini-2.5-flash-lite", 30000, 24576),
        ("gemini-2.5-pro", 1, 128),
        ("gemini-2.5-pro", 99999, 32768),
        ("gemini-2.5-pro", 5000, 5000),
        ("gemini-2.5-pro", -1, -1),
    ],
)
def test_a_budget_is_brought_into_the_model_s_range(model: str, before: int, after: int) -> None:
    request = replace(
        WARM, model=model, reasoning=ReasoningConfig(budget_tokens=before), sampling=Sampling()
    )
    wire, losses = sent(request, GEMINI, facts_for(model))
    assert wish_in(GEMINI, wire) == after
    assert losses == ([] if before == after else ["reasoning.budget_tokens adapted"])


@pytest.mark.parametrize(
    ("config", "model", "after"),
    [
        (
            ReasoningConfig(mode="on", budget_tokens=10000),
            "claude-opus-5",
            ReasoningConfig(mode="adaptive", effort="medium"),
        ),
        (
            ReasoningConfig(mode="adaptive", effort="high"),
            "claude-sonnet-4-5",
            ReasoningConfig(mode="on", budget_tokens=16384),
        ),
        (ReasoningConfig(effort="high"), "claude-sonnet-4-5", None),
        (
            ReasoningConfig(effort="xhigh"),
            "claude-opus-4-6",
            ReasoningConfig(effort="high"),
        ),
        (ReasoningConfig(mode="on", budget_tokens=10000), "claude-3-5-haiku", None),
        (ReasoningConfig(mode="off"), "claude-opus-5", ReasoningConfig(mode="off")),
    ],
)
def test_another_model_of_the_same_protocol(
    config: ReasoningConfig, model: str, after: ReasoningConfig | None
) -> None:
    sampling = Sampling(max_tokens=32000)
    request = replace(WARM, dialect=CLAUDE, model=model, reasoning=config, sampling=sampling)
    fitted, losses = fit(request, facts_for(model), CLAUDE)
    assert fitted.reasoning == after
    assert bool(losses) == (config != after)


def test_a_budget_of_the_same_protocol_stays_below_the_limit() -> None:
    config = ReasoningConfig(mode="adaptive", effort="max")
    facts = facts_for("claude-sonnet-4-5")
    for limit, left in ((64000, 49152), (8000, 4000), (1500, 1024), (1024, None)):
        request = replace(
            WARM, dialect=CLAUDE, reasoning=config, sampling=Sampling(max_tokens=limit)
        )
        found = fit(request, facts, CLAUDE)[0].reasoning
        assert (found.budget_tokens if found else None) == left
    forced = replace(request, tool_choice=ToolChoice(mode="required"))
    assert fit(forced, facts, CLAUDE)[0].reasoning is None


@pytest.mark.parametrize(
    "model",
    [
        "stepfun/step-3.5-flash:free",
        "openrouter:stepfun/step-3.5-flash:free",
        "kimi/kimi-for-coding",
        "kimi-code:kimi/kimi-for-coding",
        "kimi-for-coding",
        "kimi-code:kimi-for-coding",
    ],
)
def test_the_floor_of_models_that_think_first(model: str) -> None:
    facts = facts_for(model)
    assert facts.min_output_tokens == 512
    for told, left in ((1, 512), (511, 512), (512, 512), (4096, 4096), (0, 0), (-5, -5)):
        request = replace(WARM, model=model, sampling=Sampling(max_tokens=told))
        found, losses = raised(request, facts, CHAT)
        assert found.sampling.max_tokens == left
        assert (found is request) == (told == left)
        assert [loss.how for loss in losses] == ([] if told == left else ["adapted"])
    silent = replace(WARM, model=model, sampling=Sampling())
    assert raised(silent, facts, CHAT) == (silent, ())


@pytest.mark.parametrize("model", ["gpt-5.4", "claude-sonnet-4-5", "llama3:8b", "stepfun/other"])
def test_other_models_have_no_floor(model: str) -> None:
    assert facts_for(model).min_output_tokens is None
