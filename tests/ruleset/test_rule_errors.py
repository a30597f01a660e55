"""What is wrong with a rule file is said with its file, its line, and what is allowed there."""

from __future__ import annotations

import pytest

from llmitm.errors import RuleError
from llmitm.ruleset.checking import check
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders

# (file, text, line, pointer, what the sentence holds)
FAULTS = [
    ("routes", "static_rout: a\n", 1, "/static_rout", "did you mean static_route?"),
    (
        "routes",
        "times:\n  ttfb_timeout: 3\n",
        2,
        "/times/ttfb_timeout",
        "did you mean ttfb_timeout_s?",
    ),
    ("routes", "failover:\n  max_failover_hops: 51\n", 2, "/failover/max_failover_hops", "0..50"),
    ("routes", "failover:\n  max_failover_hops: 1.5\n", 2, None, "not a whole number"),
    ("routes", "failover:\n  enabled: maybe\n", 2, "/failover/enabled", "not true or false"),
    ("routes", "times:\n\n  ttfb_timeout_s: 0\n", 3, None, "0 is not in > 0 and <= 86400"),
    ("routes", "times:\n  ttfb_timeout_s: .nan\n", 2, None, "not a finite number"),
    ("routes", "times: 3\n", 1, "/times", "is not a mapping"),
    ("routes", "- a\n", 1, "", "a mapping of keys"),
    ("routes", "aliases:\n  - pattern: a\n", 2, "/aliases/0/replacement", "must be given"),
    (
        "routes",
        'aliases:\n  - pattern: "a(b"\n    replacement: c\n',
        2,
        "/aliases/0/pattern",
        "not a Python regular expression",
    ),
    (
        "routes",
        'aliases:\n  - pattern: "a(b)"\n    replacement: "c\\\\2"\n',
        3,
        "/aliases/0/replacement",
        "invalid group reference 2",
    ),
    (
        "routes",
        "aliases:\n  - {pattern: a, replacement: b}\n  - {pattern: c, replacement: opnai:d}\n",
        3,
        "/aliases/1/replacement",
        "did you mean openai?",
    ),
    ("routes", "static_route: gpt-5\n", 1, "/static_route", "names no provider"),
    ("routes", "static_route: openai:a|groq:b\n", 1, "/static_route", "not a composite"),
    ("routes", "static_route: '${NOT_SET}'\n", 1, "/static_route", "NOT_SET is not set"),
    ("routes", "static_route: 'openai:${'\n", 1, "/static_route", "followed by a variable's name"),
    ("routes", "static_route: ''\n", 1, "/static_route", "must not be empty"),
    ("routes", "a: b\nA: b\na: c\n", 3, "/a", "key stands twice, first on line 1"),
    ("routes", "times: {<<: {a: 1}}\n", 1, "/times", "merge keys are not supported"),
    ("routes", "times: !!python/name:os.system\n", 1, "/times", "is not supported"),
    ("routes", "times:\n  a: [\n", 3, "", "not YAML"),
    ("routes", "times: *nobody\n", 1, "", "not YAML"),
    ("routes", b"static_route: openai:a\n# \xff\n", 2, "", "byte 25 is not UTF-8"),
    ("routes", "&a times: &b {c: *b}\n", 1, None, "nested too deeply"),
    ("pipeline", "stages:\n  - {name: Route}\n", 2, "/stages/Route/name", "does not match"),
    (
        "pipeline",
        "stages:\n  - name: route\n    on_error: refuze\n",
        3,
        "/stages/route/on_error",
        '"refuze" is not one of forward, refuse; did you mean refuse?',
    ),
    ("pipeline", "stages: [{name: a},\n {name: a}]\n", 2, "/stages/1/name", "named twice"),
    (
        "providers",
        "providers:\n  - name: a\n    protocol: openai_chats\n",
        3,
        "/providers/a/protocol",
        "did you mean openai_chat?",
    ),
    ("providers", "providers:\n  - name: a\n    hosts: ['*']\n", 3, None, "must name a domain"),
    ("providers", "providers:\n  - {name: a, hosts: ['https://a']}\n", 2, None, "must be a host"),
    ("providers", "providers:\n  - {name: a, hosts: ['a.b:0']}\n", 2, None, "not in 1..65535"),
    ("providers", "providers:\n  - {name: a, hosts: ['${NONE}']}\n", 2, None, "NONE is not set"),
    ("providers", "providers:\n  - {name: a, api_base: a.b}\n", 2, None, "must be http://host"),
    (
        "providers",
        "providers:\n  - {name: a, api_base: 'https://u:p@a.b'}\n",
        2,
        None,
        "must hold no user",
    ),
    (
        "providers",
        "providers:\n  - name: a\n    endpoints: [{path: chat}]\n",
        3,
        "/providers/a/endpoints/0/path",
        "must begin with /",
    ),
    (
        "providers",
        "providers:\n  - name: a\n    endpoints: [{path: '/{modell}'}]\n",
        3,
        None,
        "knows {model}",
    ),
    (
        "providers",
        "providers:\n  - name: a\n    bases: {gemini_generate: 'https://a.b'}\n",
        2,
        "/providers/a",
        "`speaks` does not name gemini_generate",
    ),
    ("providers", "providers:\n  - {name: a, path_prefix: /v1/}\n", 2, None, "does not match"),
    ("models", "families:\n  - {name: a, models: []}\n", 2, None, "must not be empty"),
    ("models", "effort_budgets: {hi: 1}\n", 1, None, "high"),
    ("clients", "clients:\n  - {name: a}\n", 2, "/clients/a", "needs user_agent or header"),
    (
        "clients",
        "clients:\n  - name: a\n    header: b\n    conversation: [{key: c}]\n",
        4,
        "/clients/a/conversation/0",
        "needs exactly one of header, body",
    ),
]


@pytest.mark.parametrize(
    ("file", "text", "line", "pointer", "say"),
    FAULTS,
    ids=[f"{fault[0]}-{fault[4][:30]}" for fault in FAULTS],
)
def test_fault(write_rules, file: str, text, line: int, pointer: str | None, say: str) -> None:
    mine = write_rules("mine", **{file: text})
    first = next(iter(check([shipped_folder(), mine], {})), None)
    assert first is not None
    assert (first.file, first.line) == (f"{mine}/{file}.yaml", line), str(first)
    assert say in first.say
    if pointer is not None:
        assert first.pointer == pointer


def test_the_whole_sentence(write_rules) -> None:
    mine = write_rules("mine", routes="failover:\n  max_failover_hops: -1\n")
    with pytest.raises(RuleError) as caught:
        load_folders([mine], {})
    say = "/failover/max_failover_hops: -1 is not in 0..50"
    assert str(caught.value) == f"{mine}/routes.yaml:2 {say}"


def test_check_reports_all_and_loading_counts_them(write_rules) -> None:
    mine = write_rules(
        "mine",
        routes="static_rout: a\ntimes: {keepalive_interval_s: 0, ttfb_timeout_s: x}\n",
        pipeline="stages: 3\n",
        providers="providers: [",
        modls="a: b",
    )
    environ = {"MODEL_ALIASES": "[", "OPENAI_API_BASE_URL": "ftp://a"}
    errors = check([mine], environ)
    assert {error.file.rpartition("/")[2] for error in errors} == {
        "routes.yaml",
        "pipeline.yaml",
        "providers.yaml",
        "modls.yaml",
        "MODEL_ALIASES",
    }
    assert len([error for error in errors if error.file.endswith("routes.yaml")]) == 3
    assert any("did you mean models.yaml?" in error.say for error in errors)
    with pytest.raises(RuleError, match=rf"and {len(errors) - 1} more: llmitm rules check"):
        load_folders([mine], environ)


def test_faults_in_different_files_after_the_schema_are_all_told(write_rules) -> None:
    mine = write_rules(
        "mine",
        routes="static_route: nobody:m\naliases: [{pattern: a, replacement: 'nobody:b'}]\n",
        providers="providers: [{name: a, hosts: ['${NONE}'], speaks: [gemini_generate]}]",
    )
    errors = check([mine], {"A_API_BASE_URL": "a", "A_TIMEOUT": "-1"})
    assert sorted(error.file.rpartition("/")[2] for error in errors) == [
        "A_API_BASE_URL",
        "A_TIMEOUT",
        *["providers.yaml"] * 3,
        *["routes.yaml"] * 2,
    ]


def test_an_example_that_does_not_hold_is_a_fault_of_the_folder(write_rules) -> None:
    mine = write_rules(
        "mine",
        providers="""\
providers:
  - name: acme
    hosts: [acme.example]
    api_base: https://acme.example/v1
    examples:
      - {call: "POST https://acme.example/v1/chat/completions", protocol: openai_chat}
      - {call: "POST https://acme.example/v1/messages", protocol: anthropic_messages}
      - {call: "GET https://acme.example/v1/models", protocol: openai_chat}
""",
    )
    errors = check([shipped_folder(), mine], {})
    assert [(error.line, error.pointer.rpartition("/")[2]) for error in errors] == [
        (7, "1"),
        (8, "2"),
    ]
    assert "is not recognised as a call" in errors[0].say
    assert "is acme's openai_chat models, not acme's openai_chat generate" in errors[1].say
    assert "acme" in load_folders([shipped_folder(), mine], {}).providers


def test_a_shipped_example_may_give_way(write_rules) -> None:
    mine = write_rules("mine", providers="providers: [{name: local, hosts: ['gpu-box:9000']}]")
    assert check([shipped_folder(), mine], {}) == []
