"""The part for models calls, flow by flow: what it touches, and what it leaves alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import cast

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Dialect
from llmitm.exchange.model_lists import Discovered
from llmitm.mitm.model_lists import ModelLists
from llmitm.mitm.rulebook import Rulebook
from llmitm.ruleset.layers import shipped_folder
from llmitm.ruleset.loading import load_folders
from llmitm.ruleset.ruleset import Ruleset

ALIASES = json.dumps([{"pattern": "^fast$", "replacement": "openai:gpt-5"}])
BODY = b'{"object":"list","data":[{"id":"a"}]}'
ACCEPTED = "gzip, br"


@dataclass
class Deciding:
    """What the part asks of a pipeline: whether a stage routes."""

    decides: bool


@dataclass
class Rules:
    """What the part asks of a rulebook and its house."""

    aliases: str = ALIASES
    routes: bool = True
    discovered: Discovered = field(default_factory=Discovered)
    dialects: Mapping[str, Dialect] = field(default_factory=lambda: DIALECTS)

    @cached_property
    def ruleset(self) -> Ruleset:
        return load_folders([shipped_folder()], {"MODEL_ALIASES": self.aliases})

    @property
    def pipeline(self) -> Deciding:
        return Deciding(self.routes)

    def house(self) -> Rules:
        return self

    def part(self) -> ModelLists:
        return ModelLists(cast("Rulebook", self))


def asked(path: str = "/v1/models", method: str = "GET") -> http.HTTPFlow:
    """A client's call to OpenAI."""
    flow = tflow.tflow()
    flow.request = http.Request.make(
        method,
        f"https://api.openai.com{path}",
        headers={"accept-encoding": ACCEPTED, "if-none-match": '"1"'},
    )
    return flow


def answered(flow: http.HTTPFlow, body: bytes = BODY) -> http.HTTPFlow:
    head = {"content-type": "application/json", "etag": '"1"', "transfer-encoding": "chunked"}
    flow.response = http.Response.make(200, b"", head)
    flow.response.raw_content = body
    flow.response.headers.pop("content-length", None)
    return flow


def ids(flow: http.HTTPFlow) -> list[str]:
    assert flow.response is not None
    assert flow.response.raw_content is not None
    return [row["id"] for row in json.loads(flow.response.raw_content)["data"]]


def test_a_list_is_asked_uncoded_and_extended() -> None:
    rules = Rules()
    part, flow = rules.part(), asked()
    part.request(flow)
    assert flow.response is None
    assert flow.request.headers["accept-encoding"] == "identity"
    assert "if-none-match" not in flow.request.headers
    part.response(answered(flow))
    assert ids(flow) == ["a", "fast"]
    assert flow.response is not None
    body = flow.response.raw_content or b""
    assert dict(flow.response.headers) == {
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    assert rules.discovered.eligible("a") == ("openai",)


def test_a_call_that_was_sent_elsewhere_is_still_its_providers() -> None:
    rules = Rules()
    part, flow = rules.part(), asked()
    part.request(flow)
    flow.request.host, flow.request.path = "elsewhere.example", "/x"
    part.response(answered(flow))
    assert ids(flow) == ["a", "fast"]
    assert rules.discovered.eligible("a") == ("openai",)


@pytest.mark.parametrize("rules", [Rules(aliases="[]"), Rules(routes=False)])
def test_with_nothing_to_add_nothing_is_touched(rules: Rules) -> None:
    part, flow = rules.part(), asked()
    before = flow.request.get_state()
    part.request(flow)
    assert flow.request.get_state() == before
    answered(flow)
    assert flow.response is not None
    told = flow.response.get_state()
    part.response(flow)
    assert flow.response.get_state() == told
    assert flow.comment == ""
    assert rules.discovered.eligible("a") == ("openai",)


def test_an_alias_is_answered_here_and_another_model_is_not() -> None:
    part = Rules().part()
    flow = asked("/v1/models/fast")
    part.request(flow)
    assert flow.response is not None
    assert json.loads(flow.response.raw_content or b"")["id"] == "fast"
    other = asked("/v1/models/gpt-5")
    before = other.request.get_state()
    part.request(other)
    assert other.response is None
    assert other.request.get_state() == before


OTHERS = [
    ("/v1/chat/completions", "POST"),
    ("/v1/models", "POST"),
    ("/v1/models", "HEAD"),
    ("/v1/files", "GET"),
]


@pytest.mark.parametrize(("path", "method"), OTHERS)
def test_other_calls_are_left_alone(path: str, method: str) -> None:
    part, flow = Rules().part(), asked(path, method)
    before = flow.request.get_state()
    part.request(flow)
    part.response(answered(flow))
    assert flow.request.get_state() == before
    assert ids(flow) == ["a"]


def test_a_call_that_broke_off_is_forgotten() -> None:
    part, flow = Rules().part(), asked()
    part.request(flow)
    part.error(flow)
    part.response(answered(flow))
    assert ids(flow) == ["a"]


def test_a_body_that_streamed_by_is_not_read() -> None:
    part, flow = Rules().part(), asked()
    part.request(flow)
    answered(flow)
    assert flow.response is not None
    flow.response.raw_content = None
    part.response(flow)
    assert flow.response.raw_content is None
