"""Selectors: what each text asks for, and where a bad one is wrong."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmitm.ruleset.selectors import (
    BadSelector,
    Composite,
    Form,
    Params,
    Selector,
    Target,
    parse_params,
    parse_selector,
    targets,
)

KNOWN = ("openai", "openai-responses", "anthropic", "openrouter", "local.box")


def parse(text: str, form: Form = "rule") -> Selector | BadSelector:
    return parse_selector(text, KNOWN, form)


PLAIN = [
    "gpt-5",
    "openai/gpt-5",
    "vendor/model:free",
    "vendor/openai:model",
    "accounts/fireworks/models/llama-v3p1",
    "models/gemini-3-pro",
]


@pytest.mark.parametrize("text", PLAIN)
@pytest.mark.parametrize("form", ["client", "rule"])
def test_model_names(text: str, form: Form) -> None:
    assert parse(text, form) == Target(model=text)


# Only a known provider before the first `:` is one, in a client's model field.
@pytest.mark.parametrize(
    "text",
    [
        "ft:gpt-4o-mini:org::id",
        "llama3:8b",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "anthropic.claude-v2:1",
        "unknown:model",
        "OpenAI:gpt-5",
        "openai.0:gpt-5",
        "arn:aws:bedrock:us-east-1:1:inference-profile/us.x-v1:0",
        "a model with spaces",
    ],
)
def test_in_a_model_field_anything_else_is_a_plain_name(text: str) -> None:
    assert parse(text, "client") == Target(model=text)


@pytest.mark.parametrize(
    ("text", "at", "say"),
    [
        ("llama3:8b", 1, "unknown provider 'llama3'"),
        ("opnai:gpt-5", 1, "did you mean openai?"),
        ("  opnai:gpt-5", 3, "unknown provider"),
        ("openai.0:gpt-5", 1, "count from 1"),
        ("a b", 1, "white space"),
    ],
)
def test_in_a_rule_it_is_an_error(text: str, at: int, say: str) -> None:
    bad = parse(text)
    assert isinstance(bad, BadSelector)
    assert bad.at == at
    assert say in bad.say
    assert str(bad) == f"{bad.say} (at character {at})"


@pytest.mark.parametrize("form", ["client", "rule", "strict"])
@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("openai:gpt-5", Target(provider="openai", model="gpt-5")),
        ("openai.2:gpt-5", Target(provider="openai", instance=2, model="gpt-5")),
        ("openai-responses:gpt-5", Target(provider="openai-responses", model="gpt-5")),
        ("openrouter:a/b:free", Target(provider="openrouter", model="a/b:free")),
        ("openai:ft:gpt-4o:org::id", Target(provider="openai", model="ft:gpt-4o:org::id")),
        ("local.box:m", Target(provider="local.box", model="m")),
        ("local.box.3:m", Target(provider="local.box", instance=3, model="m")),
        (
            "openai:gpt-5?temperature=0.5&reasoning_effort=high",
            Target(
                provider="openai",
                model="gpt-5",
                params=Params(temperature=0.5, reasoning_effort="high"),
            ),
        ),
        (
            "openai:a?verbosity=low%20",
            Target(provider="openai", model="a", params=Params(verbosity="low")),
        ),
        (" openai:gpt-5 ", Target(provider="openai", model="gpt-5")),
    ],
)
def test_a_provider_is_named(form: Form, text: str, target: Target) -> None:
    assert parse(text, form) == target


@pytest.mark.parametrize("text", ["gpt-5", "openai/gpt-5", "vendor/openai:gpt-5"])
def test_strict_needs_a_provider(text: str) -> None:
    bad = parse(text, "strict")
    assert isinstance(bad, BadSelector)
    assert "names no provider" in bad.say


def test_a_colon_in_the_query_names_nothing() -> None:
    target = parse("gpt-5?reasoning_effort=a:b", "rule")
    assert isinstance(target, Target)
    assert target.model == "gpt-5"
    assert not target.provider


@pytest.mark.parametrize(
    ("query", "params", "ignored"),
    [
        ("temperature=0", Params(temperature=0), ()),
        ("temperature=2", Params(temperature=2), ()),
        ("temperature=2.1", Params(), ("temperature=2.1",)),
        ("temperature=-0.1", Params(), ("temperature=-0.1",)),
        ("temperature=nan", Params(), ("temperature=nan",)),
        ("temperature=", Params(), ("temperature=",)),
        ("temperature", Params(), ("temperature has no value",)),
        ("top_p=1", Params(top_p=1), ()),
        ("top_p=1.5", Params(), ("top_p=1.5",)),
        ("top_k=40", Params(top_k=40), ()),
        ("top_k=0", Params(), ("top_k=0",)),
        ("top_k=1.5", Params(), ("top_k=1.5",)),
        ("top_k=²", Params(), ("top_k=²",)),
        ("reasoning_effort=xhigh", Params(reasoning_effort="xhigh"), ()),
        ("reasoning_effort=huge", Params(), ("reasoning_effort=huge",)),
        ("verbosity=medium", Params(verbosity="medium"), ()),
        ("temperature=0.1&temperature=0.2", Params(temperature=0.2), ()),
        ("unknown=1&top_k=3", Params(top_k=3), ("unknown=1",)),
        ("&&", Params(), ()),
    ],
)
def test_parameters(query: str, params: Params, ignored: tuple[str, ...]) -> None:
    found = parse_params(query)
    assert found == params
    assert found.ignored == ignored


@pytest.mark.parametrize("form", ["client", "rule"])
@pytest.mark.parametrize(
    ("text", "operator", "models"),
    [
        ("openai:a|anthropic:b", "|", ["a", "b"]),
        ("a | b | openai:c", "|", ["a", "b", "c"]),
        ("openai:a?temperature=1|openai:b", "|", ["a", "b"]),
        ("[weight=3]openai:a^[weight=1.5]b", "^", ["a", "b"]),
        ("[first]a^b", "^", ["a", "b"]),
        ("a!b!c", "!", ["a", "b", "c"]),
        ("[max_context=8000]a|b", "|", ["a", "b"]),
        ("[handicap=2,ttft_timeout=10]a![max_context=5] b", "!", ["a", "b"]),
    ],
)
def test_composites(form: Form, text: str, operator: str, models: list[str]) -> None:
    found = parse(text, form)
    assert isinstance(found, Composite), found
    assert found.operator == operator
    assert [target.model for target in targets(found)] == models


def test_annotations() -> None:
    found = parse("[weight=3,max_context=9][first=yes]openai:a^b")
    assert isinstance(found, Composite)
    one, other = targets(found)
    assert (one.marks.weight, one.marks.max_context, one.marks.first) == (3, 9, True)
    assert (other.marks.weight, other.marks.first) == (1, False)
    race = parse("[handicap=1.5]a![ttft_timeout=4]b")
    assert isinstance(race, Composite)
    assert [target.marks.handicap_s for target in targets(race)] == [1.5, 0]
    assert [target.marks.ttft_timeout_s for target in targets(race)] == [None, 4]


def test_thinker_form_nests_one_composite() -> None:
    found = parse("[thinker]openai:t^openai:a|anthropic:b")
    assert isinstance(found, Composite)
    assert found.operator == "^"
    thinker, executor = found.branches
    assert isinstance(thinker, Target)
    assert thinker.marks.thinker
    assert isinstance(executor, Composite)
    assert executor.operator == "|"


@pytest.mark.parametrize(
    ("text", "at", "say"),
    [
        ("", 1, "empty"),
        ("   ", 1, "empty"),
        ("openai:", 8, "a model is missing"),
        ("openai:?temperature=1", 8, "a model is missing"),
        ("a||b", 3, "a model is missing"),
        ("a|", 3, "a model is missing"),
        ("|a", 1, "a model is missing"),
        ("a|b^c", 4, "cannot be mixed"),
        ("a!b|c", 4, "cannot be mixed"),
        ("openai:a|opnai:b", 10, "did you mean openai?"),
        ("[weight=3]a", 1, "only for the branches"),
        ("[weight=3]a|b", 1, "only for branches of ^"),
        ("a|[first]b", 3, "only for branches of ^"),
        ("[handicap=1]a^b", 1, "only for branches of !"),
        ("[weight=0]a^b", 2, "more than 0"),
        ("[weight=x]a^b", 2, "more than 0"),
        ("[max_context=0]a|b", 2, "at least 1"),
        ("[handicap=-1]a!b", 2, "at least 0"),
        ("[speed=1]a|b", 2, "unknown annotation 'speed'"),
        ("[first=no]a^b", 2, "takes no value"),
        ("[first]a^[first]b", 10, "only one branch may be first"),
        ("[first,thinker]a^b", 1, "exclude each other"),
        ("[weight=3a^b", 1, "never closed"),
        ("a" * 5000, 4097, "longer than 4096"),
    ],
)
def test_bad_ones_say_where(text: str, at: int, say: str) -> None:
    bad = parse(text)
    assert isinstance(bad, BadSelector), bad
    assert (bad.at, say in bad.say) == (at, True), str(bad)


@given(
    st.text(st.sampled_from("ab:/.?=&|^![],123 openai\\%"), max_size=40)
    | st.text(max_size=30)
    | st.lists(st.sampled_from(["openai", ":", "|", "^", "[weight=", "]", "!", "a", "?"])).map(
        "".join
    ),
    st.sampled_from(["client", "rule", "strict"]),
)
def test_no_text_raises_and_positions_lie_in_it(text: str, form: Form) -> None:
    found = parse(text, form)
    if isinstance(found, BadSelector):
        assert 1 <= found.at <= len(text) + 1
    else:
        for target in targets(found):
            assert target.model.strip()
            assert target.provider in (*KNOWN, "")


@given(st.text(max_size=40))
def test_no_query_raises(query: str) -> None:
    parse_params(query)
