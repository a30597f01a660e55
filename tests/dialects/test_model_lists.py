"""Models lists: names read, entries added, nothing else touched; the SDKs understand both."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import httpx2
import ollama
import openai
import pytest
from google import genai
from google.genai import types
from hypothesis import example, given
from hypothesis import strategies as st

from llmitm.dialects.anthropic_messages import DIALECT as ANTHROPIC
from llmitm.dialects.catalog import DIALECTS
from llmitm.dialects.contract import Dialect
from llmitm.dialects.gemini_generate import DIALECT as GEMINI
from llmitm.dialects.ollama_chat import CHAT as OLLAMA
from llmitm.dialects.openai_chat import DIALECT as CHAT
from llmitm.dialects.openai_responses import DIALECT as RESPONSES

OPENAI_LIST = b"""{
  "object": "list",
  "data": [
    {"id": "gpt-4.1", "object": "model", "created": 1.5e9, "owned_by": "x", "new": [1, {}]},
    {"id": "gpt-5", "object": "model",
     "created": 1, "owned_by": "\\u00e9"}
  ], "etc": null
}
"""
ANTHROPIC_LIST = (
    b'{"data":[{"type":"model","id":"claude-a","display_name":"A","created_at":'
    b'"2025-02-19T00:00:00Z"}],"has_more":false,"first_id":"claude-a","last_id":"claude-a"}'
)
GEMINI_LIST = b'{\n  "models": [\n    {\n      "name": "models/gemini-a"\n    }\n  ]\n}\n'
VERTEX_LIST = b'{"publisherModels": [{"name": "publishers/google/models/gemini-a"}]}'
OLLAMA_LIST = b'{"models":[{"name":"llama3:8b","model":"llama3:8b","size":1,"digest":"ab"}]}'
LISTS = [
    (CHAT, OPENAI_LIST, ("gpt-4.1", "gpt-5")),
    (RESPONSES, OPENAI_LIST, ("gpt-4.1", "gpt-5")),
    (CHAT, b'[{"id": "a/b"}, {"id": "c"}]', ("a/b", "c")),
    (CHAT, b"\xef\xbb\xbf" + OPENAI_LIST, ("gpt-4.1", "gpt-5")),
    (ANTHROPIC, ANTHROPIC_LIST, ("claude-a",)),
    (ANTHROPIC, OPENAI_LIST, ("gpt-4.1", "gpt-5")),
    (GEMINI, GEMINI_LIST, ("gemini-a",)),
    (GEMINI, VERTEX_LIST, ("gemini-a",)),
    (OLLAMA, OLLAMA_LIST, ("llama3:8b",)),
]
LISTING = [dialect for dialect in DIALECTS.values() if dialect.extend_models is not None]


def read(dialect: Dialect, body: bytes) -> tuple[str, ...]:
    assert dialect.read_models is not None
    return dialect.read_models(body)


def extend(dialect: Dialect, body: bytes, *names: str) -> bytes | None:
    assert dialect.extend_models is not None
    return dialect.extend_models(body, names)


@pytest.mark.parametrize(("dialect", "body", "names"), LISTS)
def test_names_are_read_and_added(dialect: Dialect, body: bytes, names: tuple[str, ...]) -> None:
    assert read(dialect, body) == names
    told = extend(dialect, body, "fast", names[0], "a b/ü:1", "fast")
    assert told is not None
    assert read(dialect, told) == (*names, "fast", "a b/ü:1")
    assert extend(dialect, told, "fast") == told
    assert extend(dialect, body, *names) == body
    assert extend(dialect, body) == body


@pytest.mark.parametrize(("dialect", "body", "names"), LISTS)
def test_every_byte_of_the_providers_entries_stays(
    dialect: Dialect, body: bytes, names: tuple[str, ...]
) -> None:
    told = extend(dialect, body, "fast")
    assert told is not None
    closing = body.rindex(b"]")
    kept = body[:closing].rstrip()
    assert told.startswith(kept)
    tail = body[len(kept) :].replace(b'"last_id":"claude-a"', b'"last_id":"fast"')
    assert told.endswith(tail)


EMPTY = [
    (CHAT, b'{"object":"list","data":[]}'),
    (ANTHROPIC, b'{"data":[],"has_more":false,"first_id":null,"last_id":null}'),
    (GEMINI, b'{"models":[]}'),
    (GEMINI, b'{"publisherModels":[], "nextPageToken": ""}'),
    (OLLAMA, b'{"models":[]}'),
]


@pytest.mark.parametrize(("dialect", "body"), EMPTY)
def test_an_empty_list_grows(dialect: Dialect, body: bytes) -> None:
    assert read(dialect, body) == ()
    told = extend(dialect, body, "a", "b")
    assert told is not None
    assert read(dialect, told) == ("a", "b")
    if dialect is ANTHROPIC:
        value = json.loads(told)
        assert (value["first_id"], value["last_id"], value["has_more"]) == ("a", "b", False)


NOT_TO_EXTEND = [
    (CHAT, b'{"data":[{"id":"a"}],"has_more":true}'),
    (CHAT, b'{"data":{"id":"a"}}'),
    (CHAT, b'{"data":["a"]}'),
    (CHAT, b'{"data":[{"slug":"a"}]}'),
    (CHAT, b'{"models":[{"slug":"gpt-5-codex"}]}'),
    (CHAT, b'{"error":{"message":"no"}}'),
    (CHAT, b'"data"'),
    (CHAT, b""),
    (CHAT, b"\xff\xfe[\x00]\x00"),
    (CHAT, b'{"data":[{"id":"a"}]} trailing'),
    (ANTHROPIC, ANTHROPIC_LIST.replace(b"false", b"true")),
    (GEMINI, b'{"models":[{"name":"models/a"}],"nextPageToken":"x"}'),
    (GEMINI, b'{"models":[{"name":"projects/1/locations/l/models/2"}]}'),
    (GEMINI, b'{"tunedModels":[{"name":"tunedModels/a"}]}'),
    (GEMINI, b"{}"),
    (OLLAMA, b'{"models":null}'),
    (OLLAMA, b'{"models":[{"id":"a"}]}'),
]


@pytest.mark.parametrize(("dialect", "body"), NOT_TO_EXTEND)
def test_what_is_no_last_page_is_left_alone(dialect: Dialect, body: bytes) -> None:
    assert extend(dialect, body, "fast") is None


def test_an_entry_has_the_fields_that_all_of_the_hosts_have() -> None:
    rows = [
        {
            "id": f"m{number}",
            "name": f"M {number}",
            "type": "base",
            "context": number,
            "mixed": number or "none",
            "capabilities": {"chat": bool(number), "limits": {"out": 9}, "tags": ["x"]},
            **({"only": 1} if number else {}),
        }
        for number in range(3)
    ]
    told = extend(CHAT, json.dumps({"data": rows}).encode(), "fast")
    assert told is not None
    assert json.loads(told)["data"][3] == {
        **{"id": "fast", "object": "model", "created": 0, "owned_by": "llmitm"},
        **{"name": "fast", "type": "base", "context": 0, "mixed": None},
        "capabilities": {"chat": False, "limits": {"out": 9}, "tags": []},
    }
    alone = extend(CHAT, json.dumps({"data": rows[:1]}).encode(), "fast")
    assert alone is not None
    assert json.loads(alone)["data"][1]["type"] == ""


def test_vertex_entries_follow_their_publisher() -> None:
    body = b'{"publisherModels":[{"name":"publishers/anthropic/models/claude-a"}]}'
    told = extend(GEMINI, body, "fast")
    assert told is not None
    assert json.loads(told)["publisherModels"][1]["name"] == "publishers/anthropic/models/fast"


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["data", "models", "publisherModels", "id", "name", "has_more", "last_id"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.one_of(st.binary(max_size=60), _JSON.map(lambda value: json.dumps(value).encode())),
    st.lists(st.text(max_size=6), max_size=3),
)
@example(b'{"data":[{"id":"\\ud800"}]}', ["\ud800", "\ud801"])
@example(b"[" * 5000, ["a"])
@example(b'[{"id":"a","n":' + b'{"n":' * 400 + b"1" + b"}" * 400 + b"}]", ["b"])
@example(b'{"data":[{"id":"a","n":' + b"9" * 5000 + b"}]}", ["b"])
@example(b'{"data":[{"id":"a"}],"data":[{"id":"b"}]}', ["c"])
def test_nothing_makes_them_raise(body: bytes, names: list[str]) -> None:
    for dialect in LISTING:
        before = read(dialect, body)
        told = extend(dialect, body, *names)
        if told is not None:
            assert set(before) <= set(read(dialect, told))
            assert {name for name in names if name} <= set(read(dialect, told))


def answering(*bodies: bytes) -> tuple[httpx2.Client, list[str]]:
    """An HTTP client whose server answers with these bodies in turn; the queries it was asked."""
    asked: list[str] = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request.url.query.decode())
        body = bodies[len(asked) - 1]
        return httpx2.Response(200, headers={"content-type": "application/json"}, content=body)

    return httpx2.Client(transport=httpx2.MockTransport(answer)), asked


def extended(dialect: Dialect, body: bytes, *names: str) -> bytes:
    told = extend(dialect, body, *names)
    assert told is not None
    return told


def encoded(dialect: Dialect, name: str) -> bytes:
    assert dialect.encode_model is not None
    return dialect.encode_model(name)


@pytest.mark.parametrize("dialect", [CHAT, RESPONSES])
def test_openai_sdk(dialect: Dialect) -> None:
    body = OPENAI_LIST.replace(b"1.5e9", b"1500000000")
    http, _ = answering(extended(dialect, body, "fast"), encoded(dialect, "fast"))
    with openai.OpenAI(api_key="k", http_client=http, _strict_response_validation=True) as client:
        models = list(client.models.list())
        assert [model.id for model in models] == ["gpt-4.1", "gpt-5", "fast"]
        one = client.models.retrieve("fast")
    assert models[-1] == one
    assert (one.object, one.created, one.owned_by) == ("model", 0, "llmitm")


def test_anthropic_sdk_through_pages() -> None:
    first = ANTHROPIC_LIST.replace(b"false", b"true")
    last = ANTHROPIC_LIST.replace(b"claude-a", b"claude-b")
    assert extend(ANTHROPIC, first, "fast") is None
    http, asked = answering(
        first, extended(ANTHROPIC, last, "fast", "steady"), encoded(ANTHROPIC, "fast")
    )
    with anthropic.Anthropic(api_key="k", http_client=http) as client:
        models = list(client.models.list(limit=1))
        assert [model.id for model in models] == ["claude-a", "claude-b", "fast", "steady"]
        one = client.models.retrieve("fast")
    assert asked[:2] == ["limit=1", "limit=1&after_id=claude-a"]
    assert (one.id, one.type, one.display_name) == ("fast", "model", "fast (llmitm)")
    assert one == models[2]


def test_an_anthropic_entry_is_whole_for_the_sdk() -> None:
    http, _ = answering(encoded(ANTHROPIC, "fast"))
    strict: Any = {"_strict_response_validation": True}
    with anthropic.Anthropic(api_key="k", http_client=http, **strict) as client:
        assert client.models.retrieve("fast").lifecycle == "active"


def gemini(http: httpx2.Client, **more: Any) -> genai.Client:
    options = types.HttpOptions(httpx_client=http)
    return genai.Client(api_key="k", http_options=options, **more)


def test_google_sdk_through_pages() -> None:
    first = b'{"models":[{"name":"models/gemini-a"}],"nextPageToken":"t"}'
    http, asked = answering(first, extended(GEMINI, GEMINI_LIST, "fast"), encoded(GEMINI, "fast"))
    client = gemini(http)
    models = list(client.models.list(config={"page_size": 1}))
    assert [model.name for model in models][-1] == "models/fast"
    assert "pageToken=t" in asked[1]
    one = client.models.get(model="fast")
    assert (one.name, one.display_name) == ("models/fast", "fast (llmitm)")
    assert one.supported_actions == models[-1].supported_actions


def test_google_sdk_on_vertex() -> None:
    http, _ = answering(extended(GEMINI, VERTEX_LIST, "fast"), encoded(GEMINI, "fast"))
    client = gemini(http, vertexai=True)
    models = list(client.models.list())
    assert [model.name for model in models] == [
        "publishers/google/models/gemini-a",
        "publishers/google/models/fast",
    ]
    assert models[-1].display_name == "fast (llmitm)"
    assert client.models.get(model="fast").display_name == "fast (llmitm)"


def test_ollama_sdk() -> None:
    told = json.loads(extended(OLLAMA, OLLAMA_LIST, "fast"))
    listed = ollama.ListResponse(**told)
    assert [model.model for model in listed.models] == ["llama3:8b", "fast"]
    assert len(listed.models[1].digest or "") == 64
    assert listed.models[1].details is not None
    assert listed.models[1].details.family == "llmitm"
