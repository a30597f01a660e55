"""How folders lie over one another, and that every value keeps the place it came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from llmitm.errors import RuleError
from llmitm.ruleset.checking import check
from llmitm.ruleset.documents import Place, find
from llmitm.ruleset.layers import folders, shipped_folder
from llmitm.ruleset.loading import load, load_folders

BASE = """\
protocols:
  - name: openai_chat
    endpoints: [{path: "**/chat/completions"}]
    paths: {generate: /chat/completions}
providers:
  - name: one
    hosts: [one.example, two.example]
    api_base: https://one.example/v1
    facts: {reasoning_field: reasoning, max_tokens_default: 100}
  - name: other
    hosts: [other.example]
    api_base: https://other.example
"""


def test_mappings_by_key_lists_by_name_scalars_replaced(write_rules) -> None:
    first = write_rules("first", providers=BASE)
    second = write_rules(
        "second",
        providers="""\
providers:
  - name: one
    hosts: [mine.example]
    facts:
      max_tokens_default: 200
  - name: new
    api_base: https://new.example
""",
    )
    rules = load_folders([first, second], {})
    assert list(rules.providers) == ["one", "other", "new"]
    one = rules.providers["one"].row
    assert one.hosts == ("mine.example",)  # a plain list is replaced
    assert one.api_base == "https://one.example/v1"
    assert (one.facts.reasoning_field, one.facts.max_tokens_default) == ("reasoning", 200)
    assert not rules.is_llm_host("one.example", 443)
    assert rules.is_llm_host("mine.example", 443)
    tree = rules.trees["providers.yaml"]
    places = {
        ("api_base",): Place(f"{first}/providers.yaml", 8),
        ("hosts",): Place(f"{second}/providers.yaml", 3),
        ("facts", "reasoning_field"): Place(f"{first}/providers.yaml", 9),
        ("facts", "max_tokens_default"): Place(f"{second}/providers.yaml", 5),
    }
    for path, place in places.items():
        assert find(tree, ("providers", 0, *path)).place == place, path


def test_a_file_that_names_every_entry_sets_their_order(write_rules) -> None:
    first = write_rules("first", pipeline="stages: [{name: route}, {name: announce}]")
    second = write_rules(
        "second", pipeline="stages: [{name: mine}, {name: announce}, {name: route, enabled: false}]"
    )
    stages = load_folders([first, second], {}).pipeline.stages
    assert [stage.name for stage in stages] == ["mine", "announce", "route"]
    assert [stage.enabled for stage in stages] == [True, True, False]
    third = write_rules("third", pipeline="stages: [{name: announce, on_error: refuse}]")
    stages = load_folders([first, third], {}).pipeline.stages
    assert [(stage.name, stage.on_error) for stage in stages] == [
        ("route", "forward"),
        ("announce", "refuse"),
    ]


def test_lists_without_names_are_replaced(write_rules) -> None:
    first = write_rules("first", routes="aliases: [{pattern: a, replacement: b}]")
    second = write_rules("second", routes="aliases: [{pattern: c, replacement: d}]")
    rules = load_folders([first, second], {})
    assert (rules.alias("a"), rules.alias("c")) == (None, "d")


def test_an_empty_list_takes_no_named_entry_out(write_rules) -> None:
    first = write_rules("first", pipeline="stages: [{name: route}]")
    second = write_rules("second", pipeline="stages: []")
    assert [stage.name for stage in load_folders([first, second], {}).pipeline.stages] == ["route"]


def test_disabled_provider_is_gone(write_rules) -> None:
    mine = write_rules("mine", providers="providers: [{name: groq, enabled: false}]")
    rules = load_folders([shipped_folder(), mine], {})
    assert "groq" not in rules.providers
    assert rules.match("api.groq.com", 443, "POST", "/openai/v1/chat/completions") is None
    with pytest.raises(RuleError, match="no provider 'groq'"):
        rules.keys("groq")


def test_folders_in_order(tmp_path: Path) -> None:
    for name in ("home/rules", "named", "option"):
        (tmp_path / name).mkdir(parents=True)
    environ = {"LLMITM_HOME": str(tmp_path / "home"), "LLMITM_RULES": str(tmp_path / "named")}
    found = folders(environ, str(tmp_path / "option"))
    assert found == (
        shipped_folder(),
        tmp_path / "home" / "rules",
        tmp_path / "named",
        tmp_path / "option",
    )
    assert folders({"HOME": str(tmp_path)}) == (shipped_folder(),)
    assert folders({}) == (shipped_folder(),)
    assert folders({"HOME": str(tmp_path)}, "~/named")[-1] == tmp_path / "named"


@pytest.mark.parametrize(
    ("environ", "option", "named"),
    [({"LLMITM_RULES": "/nowhere"}, "", "LLMITM_RULES"), ({}, "/nowhere", "llm_rules")],
)
def test_a_named_folder_must_be_there(environ: dict[str, str], option: str, named: str) -> None:
    with pytest.raises(RuleError) as caught:
        load(option, environ)
    assert (caught.value.file, caught.value.say) == (named, "/nowhere is not a folder")


def test_other_files_in_a_folder_are_left_alone(write_rules) -> None:
    mine = write_rules("mine", pipeline="")
    (mine / "notes.txt").write_text("hello: [")
    (mine / ".providers.yaml.swp").write_text("[")
    (mine / ".hidden.yaml").write_text("[")
    assert check([mine], {}) == []


def test_an_empty_folder_is_rules_without_providers(write_rules) -> None:
    rules = load_folders([write_rules("mine")], {})
    assert dict(rules.providers) == {}
    assert rules.match("api.openai.com", 443, "POST", "/v1/chat/completions") is None
