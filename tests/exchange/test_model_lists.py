"""Models calls decided: what is remembered, what is added, what stays untouched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llmitm.dialects.catalog import DIALECTS
from llmitm.exchange import codings
from llmitm.exchange.model_lists import (
    Discovered,
    ModelsCall,
    models_call,
    offered_names,
    own_model,
    read_list,
)
from llmitm.exchange.wire import Headers, WireResponse, header
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders

OURS = ("fast", "steady")
OPENAI = "https://api.openai.com/v1/models"
ANTHROPIC = "https://api.anthropic.com/v1/models"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/models"
RULES = load_folders([shipped_folder()], {})
CAP = 100_000
BODY = b'{"object":"list","data":[{"id":"a"},{"id":"b"}]}'


def call(url: str, offered: tuple[str, ...] = OURS, headers: Headers = ()) -> ModelsCall:
    """The models call that a GET of this URL is."""
    host, _, path = url.removeprefix("https://").partition("/")
    endpoint = RULES.match(host, 443, "GET", f"/{path}")
    assert endpoint is not None
    assert endpoint.kind == "models"
    return models_call(endpoint, f"/{path}", headers, DIALECTS, offered)


def response(body: bytes, *headers: tuple[str, str], status: int = 200) -> WireResponse:
    kind = ("content-type", "application/json; charset=utf-8")
    return WireResponse(status=status, headers=headers or (kind,), body=body)


def ids(told: WireResponse | None, coding: str = "") -> list[str]:
    assert told is not None
    value = json.loads(codings.decode(told.body, coding, CAP))
    rows = value.get("data") or value["models"]
    return [row.get("id") or row["name"] for row in rows]


def test_names_are_added_and_the_own_ones_remembered() -> None:
    seen = Discovered()
    told = read_list(call(OPENAI), response(BODY), seen, CAP)
    assert ids(told) == ["a", "b", "fast", "steady"]
    assert list(seen.listed("openai")) == ["a", "b"]
    assert (seen.eligible("a"), seen.eligible("fast")) == (("openai",), ())


def test_with_nothing_to_add_the_answer_stays_and_is_remembered() -> None:
    for offered in ((), ("a", "b")):
        seen = Discovered()
        assert read_list(call(OPENAI, offered), response(BODY), seen, CAP) is None
        assert seen.eligible("b") == ("openai",)


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "deflate", "gzip, br", "identity"])
def test_the_content_coding_stays(coding: str) -> None:
    headers = (
        ("content-type", "application/json"),
        ("Content-Encoding", coding),
        ("ETag", '"1"'),
        ("content-length", "9"),
        ("x-request-id", "r"),
    )
    told = read_list(
        call(OPENAI), response(codings.encode(BODY, coding), *headers), Discovered(), CAP
    )
    assert ids(told, coding) == ["a", "b", "fast", "steady"]
    assert told is not None
    assert told.headers == (headers[0], headers[1], headers[4])


JSON = ("content-type", "application/json")
UNTOUCHED = [
    response(BODY, status=404),
    response(BODY, status=206),
    response(BODY, ("content-type", "text/html")),
    response(BODY, ("x", "no type")),
    response(BODY, JSON, ("content-encoding", "gzip")),
    response(BODY, JSON, ("content-encoding", "snappy")),
    response(codings.encode(b" " * CAP + BODY, "gzip"), JSON, ("content-encoding", "gzip")),
    response(b" " * CAP + BODY),
    response(BODY[:-1]),
    response(b""),
]


@pytest.mark.parametrize("answer", UNTOUCHED)
def test_what_is_not_understood_stays(answer: WireResponse) -> None:
    seen = Discovered()
    assert read_list(call(OPENAI), answer, seen, CAP) is None
    assert list(seen.listed("openai")) == []


def page(*names: str, more: bool) -> WireResponse:
    rows = [{"id": name} for name in names]
    value = {"data": rows, "has_more": more, "first_id": names[0], "last_id": names[-1]}
    return response(json.dumps(value).encode())


def test_only_the_last_page_gets_names_and_none_that_an_earlier_one_had() -> None:
    seen = Discovered()
    offered = ("a", "fast")
    assert read_list(call(ANTHROPIC, offered), page("a", more=True), seen, CAP) is None
    last = read_list(call(f"{ANTHROPIC}?after_id=a", offered), page("b", more=False), seen, CAP)
    assert ids(last) == ["b", "fast"]
    assert last is not None
    assert json.loads(last.body)["last_id"] == "fast"
    assert sorted(seen.listed("anthropic")) == ["a", "b"]


def test_a_page_before_a_cursor_gets_none() -> None:
    seen = Discovered()
    asked = call(f"{ANTHROPIC}?before_id=z")
    assert not asked.adds
    assert read_list(asked, page("a", more=False), seen, CAP) is None
    assert seen.eligible("a") == ("anthropic",)


def test_a_whole_list_replaces_what_was_known_and_a_part_does_not() -> None:
    seen = Discovered()
    read_list(call(ANTHROPIC), page("a", "b", more=False), seen, CAP)
    read_list(call(f"{ANTHROPIC}?limit=1"), page("c", more=True), seen, CAP)
    read_list(call(f"{ANTHROPIC}?category=x"), page("d", more=False), seen, CAP)
    assert sorted(seen.listed("anthropic")) == ["a", "b", "c", "d"]
    read_list(call(f"{ANTHROPIC}?limit=9&beta=true"), page("b", more=False), seen, CAP)
    assert list(seen.listed("anthropic")) == ["b"]


@pytest.mark.parametrize(
    ("url", "headers", "fields"),
    [
        (f"{OPENAI}/fast", (), {"id": "fast", "object": "model", "owned_by": "llmitm"}),
        (f"{ANTHROPIC}/fast", (), {"id": "fast", "type": "model"}),
        (f"{GEMINI}/fast", (), {"name": "models/fast"}),
        (
            "https://generativelanguage.googleapis.com/v1beta/openai/models/fast",
            (),
            {"id": "fast", "object": "model"},
        ),
        (
            "https://openrouter.ai/api/v1/models/fast",
            (("Anthropic-Version", "2023-06-01"),),
            {"id": "fast", "type": "model"},
        ),
    ],
)
def test_one_model_of_ours(url: str, headers: Headers, fields: dict[str, str]) -> None:
    told = own_model(call(url, headers=headers), Discovered())
    assert told is not None
    assert (told.status, header(told.headers, "content-type")) == (200, "application/json")
    assert json.loads(told.body).items() >= fields.items()


def test_one_model_that_the_provider_has_itself_is_asked_there() -> None:
    seen = Discovered()
    seen.note("openai", ["fast"], complete=True)
    assert own_model(call(f"{OPENAI}/fast"), seen) is None
    assert own_model(call(f"{ANTHROPIC}/fast"), seen) is not None
    assert own_model(call(f"{OPENAI}/other"), seen) is None
    assert own_model(call(f"{OPENAI}/fast", ()), seen) is None


def test_discovered_is_bounded() -> None:
    seen = Discovered(most_names=3, longest_name=4)
    seen.note("p", ["a", "b", "", "12345"], complete=False)
    seen.note("p", ["a", "c", "d"], complete=False)
    assert list(seen.listed("p")) == ["a", "c", "d"]
    seen.note("p", [str(number) for number in range(10)], complete=False)
    assert list(seen.listed("p")) == ["7", "8", "9"]
    seen.note("q", ["9"], complete=True)
    assert seen.eligible("9") == ("p", "q")
    seen.note("p", [], complete=True)
    assert seen.eligible("9") == ("q",)


def test_offered_are_literal_aliases_and_routes(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(
        r"""
aliases:
  - {pattern: '^fast$', replacement: 'openai:gpt-5'}
  - {pattern: '^any-(.*)$', replacement: 'openai:\1'}
  - {pattern: 'gpt-4\.1$', replacement: 'openai:gpt-5'}
failover_routes:
  steady: {elements: ["openai:gpt-5"]}
  fast: {elements: ["openai:gpt-5"]}
"""
    )
    rules = load_folders([shipped_folder(), tmp_path], {})
    assert offered_names(rules) == ("fast", "gpt-4.1", "steady")
