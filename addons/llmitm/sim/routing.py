"""Which endpoint a request line names, over the paths that real providers use.

Source: API references of OpenAI (and Azure's deployment paths), Anthropic, Gemini, Vertex AI, and
recorded Code Assist traffic.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qs, unquote

from llmitm.sim.asks import Form, Protocol

type Extra = Literal[
    "models", "model", "anthropic_count", "gemini_count", "embeddings", "requests", "health"
]

_GEMINI = re.compile(r"/models/([^/]+):(\w+)$")
_INTERNAL = re.compile(r"/v1internal:(\w+)$")
_FORMS = {"generateContent": "whole", "streamGenerateContent": "stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a request goes: a protocol's generating endpoint, or an extra; both None = nowhere.

    protocol: also set for an extra, it says whose error shape to use; model, form, wrapped: what
    Gemini tells in its path.
    """

    protocol: Protocol = "openai_chat"
    generates: bool = False
    extra: Extra | None = None
    model: str = ""
    form: Form = "whole"
    wrapped: bool = False


_POSTS: tuple[tuple[str, Place], ...] = (
    ("/chat/completions", Place(protocol="openai_chat", generates=True)),
    ("/responses", Place(protocol="openai_responses", generates=True)),
    ("/messages", Place(protocol="anthropic_messages", generates=True)),
    (
        "/messages/count_tokens",
        Place(protocol="anthropic_messages", extra="anthropic_count"),
    ),
    ("/embeddings", Place(extra="embeddings")),
)


def place_of(method: str, target: str) -> Place:
    """The endpoint of a request. target: path and query as sent, origin or absolute form."""
    if "://" in target[:9]:
        target = "/" + target.split("/", 3)[3] if target.count("/") > 2 else "/"
    path, _, query = target.partition("?")
    if path == "/_sim/requests" and method in {"GET", "DELETE"}:
        return Place(extra="requests")
    if path == "/_sim/health" and method == "GET":
        return Place(extra="health")
    if method == "POST":
        return _post(path, query)
    if method == "GET":
        return _get(path)
    return _owner(path)


def _post(path: str, query: str) -> Place:
    for ending, place in _POSTS:
        if path.endswith(ending):
            return place
    wrapped = _INTERNAL.search(path)
    found = _GEMINI.search(path)
    if wrapped is None and found is None:
        return _owner(path)
    verb = wrapped[1] if wrapped else (found[2] if found else "")
    model = unquote(found[1]) if found else ""
    if verb == "countTokens":
        return Place(protocol="gemini_generate", extra="gemini_count", model=model)
    form = _FORMS.get(verb)
    if form is None:
        return Place(protocol="gemini_generate")
    asked = parse_qs(query).get("alt", [""])[0]
    streamed: Form = "sse" if asked == "sse" else "array"
    return Place(
        protocol="gemini_generate",
        generates=True,
        model=model,
        form=streamed if form == "stream" else "whole",
        wrapped=wrapped is not None,
    )


def _get(path: str) -> Place:
    owner = _owner(path).protocol
    if path.endswith("/models"):
        return Place(protocol=owner, extra="models")
    head, _, name = path.rpartition("/")
    if head.endswith("/models") and name:
        return Place(protocol=owner, extra="model", model=unquote(name))
    return _owner(path)


def _owner(path: str) -> Place:
    """Nowhere, but in whose house: tells the shape of the 404."""
    if path.startswith(("/v1beta", "/v1internal", "/v1alpha")):
        return Place(protocol="gemini_generate")
    if "/messages" in path:
        return Place(protocol="anthropic_messages")
    if "/responses" in path:
        return Place(protocol="openai_responses")
    return Place()
