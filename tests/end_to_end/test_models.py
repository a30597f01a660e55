"""Models lists through the proxy: the provider's own models and ours, as the SDKs see them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest
from google import genai
from google.genai import types
from proxied import Proxied, behind, trusting

from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

OURS = ["fast", "gpt-4.1-mine", "steady"]
ALIASES = [
    {"pattern": "^fast$", "replacement": "openai:gpt-4.1"},
    {"pattern": r"gpt-4\.1-mine", "replacement": "anthropic:claude-sonnet-4-5"},
    {"pattern": "^any-(.*)$", "replacement": r"openai:\1"},
    # The provider's own name stays the provider's.
    {"pattern": "^gpt-5-mini$", "replacement": "openai:gpt-4.1"},
]
ROUTES = """
failover_routes:
  steady: {policy: m, elements: ["openai:gpt-4.1", "anthropic:claude-sonnet-4-5"]}
"""
LISTS = {
    "openai": ("https://api.openai.com/v1/models", {"authorization": "Bearer sk-1"}),
    "anthropic": (
        "https://api.anthropic.com/v1/models",
        {"x-api-key": "sk-1", "anthropic-version": "2023-06-01"},
    ),
    "gemini": (
        "https://generativelanguage.googleapis.com/v1beta/models",
        {"x-goog-api-key": "sk-1"},
    ),
}


@pytest.fixture(scope="module")
def offering(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy with aliases and a named route."""
    folder = tmp_path_factory.mktemp("offering")
    rules = _folder(folder, "rules")
    (rules / "routes.yaml").write_text(ROUTES)
    variables = {"MODEL_ALIASES": json.dumps(ALIASES)}
    with behind(folder, sim, [f"llm_rules={rules}"], variables) as running:
        yield running


@pytest.fixture(scope="module")
def plain(sim: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    """A proxy with nothing of its own to offer."""
    with behind(tmp_path_factory.mktemp("plain"), sim) as running:
        yield running


def _folder(place: Path, name: str) -> Path:
    made = place / name
    made.mkdir()
    return made


def _openai(proxied: Proxied) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-client", http_client=proxied.sdk_client(), max_retries=0)


def _anthropic(proxied: Proxied) -> anthropic.Anthropic:
    return anthropic.Anthropic(api_key="sk-client", http_client=proxied.sdk_client(), max_retries=0)


def _gemini(proxied: Proxied) -> genai.Client:
    options = types.HttpOptions(
        client_args={"proxy": proxied.url, "verify": trusting(proxied.proxy.ca)}
    )
    return genai.Client(api_key="client-key", http_options=options)


def _ids(body: bytes) -> list[str]:
    value = json.loads(body)
    rows = value.get("data") or value["models"]
    return [(row.get("id") or row["name"]).removeprefix("models/") for row in rows]


def test_openai_lists_and_retrieves(offering: Proxied) -> None:
    with _openai(offering) as client:
        models = list(client.models.list())
        names = [model.id for model in models]
        assert names[:2] == ["gpt-4.1", "gpt-5-mini"]
        assert names[-3:] == OURS
        assert names.count("gpt-5-mini") == 1
        assert {model.owned_by for model in models[-3:]} == {"llmitm"}
        for name in OURS:
            one = client.models.retrieve(name)
            assert (one.id, one.object, one.owned_by) == (name, "model", "llmitm")
        assert client.models.retrieve("gpt-5-mini").owned_by == "sim"
        assert client.models.retrieve("any-thing").owned_by == "sim"


def test_anthropic_lists_and_retrieves(offering: Proxied) -> None:
    with _anthropic(offering) as client:
        page = client.models.list()
        names = [model.id for model in page]
        assert names[0] == "claude-sonnet-4-5"
        # Anthropic has no such model, so that alias is listed too.
        assert names[-4:] == ["fast", "gpt-4.1-mine", "gpt-5-mini", "steady"]
        assert (page.last_id, page.has_more) == ("steady", False)
        one = client.models.retrieve("steady")
        assert (one.id, one.type, one.display_name) == ("steady", "model", "steady (llmitm)")
        assert one.created_at.year == 1970


def test_gemini_lists_and_retrieves(offering: Proxied) -> None:
    client = _gemini(offering)
    models = list(client.models.list())
    names = [model.name for model in models]
    assert names[0] == "models/gemini-2.5-flash"
    assert names[-1] == "models/steady"
    assert models[-1].display_name == "steady (llmitm)"
    assert "generateContent" in (models[-1].supported_actions or [])
    one = client.models.get(model="fast")
    assert (one.name, one.display_name) == ("models/fast", "fast (llmitm)")


@pytest.mark.parametrize(("name", "lane"), [("gpt-4.1-mine", "translate"), ("steady", "patch")])
def test_a_listed_name_can_be_asked(offering: Proxied, name: str, lane: str) -> None:
    offering.skip()
    with _openai(offering) as client:
        answer = client.chat.completions.create(
            model=name, messages=[{"role": "user", "content": "hi"}]
        )
    assert answer.choices[0].message.content
    assert offering.rows()[0]["lane"] == lane


@pytest.mark.parametrize("vendor", LISTS)
def test_the_providers_entries_stay_to_the_byte(
    offering: Proxied, plain: Proxied, vendor: str
) -> None:
    url, headers = LISTS[vendor]
    with plain.client() as client:
        own = client.get(url, headers=headers)
    with offering.client(http2=True) as client:
        told = client.get(url, headers=headers)
    assert _ids(told.content)[-1] == "steady"
    # Up to where the provider's array closes.
    kept = own.content[: own.content.rindex(b"]")].rstrip()
    assert told.content.startswith(kept)
    assert told.headers["content-type"] == own.headers["content-type"]


@pytest.mark.parametrize("vendor", LISTS)
def test_with_nothing_to_add_bytes_and_headers_are_the_providers(
    plain: Proxied, sim: SimThread, vendor: str
) -> None:
    url, headers = LISTS[vendor]
    host = url.split("/")[2]
    with httpx.Client(verify=trusting(sim.ca)) as client:
        direct = client.get(
            url.replace(host, f"127.0.0.1:{sim.port}"),
            headers={**headers, "host": host},
        )
    with plain.client() as client:
        told = client.get(url, headers=headers)
    assert told.content == direct.content
    assert set(told.headers) == set(direct.headers)


def test_a_name_of_nobody_is_the_providers_answer(offering: Proxied, plain: Proxied) -> None:
    url, headers = LISTS["openai"]
    with plain.client() as client:
        own = client.get(f"{url}/unheard-of", headers=headers)
    with offering.client() as client:
        told = client.get(f"{url}/unheard-of", headers=headers)
    assert (told.status_code, told.content) == (own.status_code, own.content)
