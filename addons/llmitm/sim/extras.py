"""The small endpoints around a model: models lists, token counts, embeddings.

Source: OpenAI, Anthropic and Gemini API references; recordings.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterable

from llmitm.sim.asks import Object, items, text_of
from llmitm.sim.printing import compact, indented

_MODELS = {
    "openai": ("gpt-4.1", "gpt-5-mini", "text-embedding-3-small"),
    "anthropic": ("claude-sonnet-4-5", "claude-haiku-4-5"),
    "gemini": ("gemini-2.5-flash", "gemini-2.5-pro"),
}
_MADE_S = 1_750_000_000


def models(vendor: str, scenario_names: Iterable[str]) -> bytes:
    """A models list of `openai`, `anthropic` or `gemini`, the scenarios among them."""
    names = [*_MODELS[vendor], *scenario_names]
    if vendor == "anthropic":
        entries = [
            {"type": "model", "id": n, "display_name": n, "created_at": "2025-06-15T00:00:00Z"}
            for n in names
        ]
        return compact(
            {"data": entries, "has_more": False, "first_id": names[0], "last_id": names[-1]}
        )
    if vendor == "gemini":
        return indented({"models": [_gemini_model(name) for name in names]})
    data = [
        {"id": name, "object": "model", "created": _MADE_S, "owned_by": "sim"} for name in names
    ]
    return indented({"object": "list", "data": data}) + b"\n"


def _gemini_model(name: str) -> dict[str, object]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }


def one_model(vendor: str, name: str) -> bytes:
    """One entry of a models list."""
    if vendor == "gemini":
        return indented(_gemini_model(name))
    if vendor == "anthropic":
        return compact(
            {
                "type": "model",
                "id": name,
                "display_name": name,
                "created_at": "2025-06-15T00:00:00Z",
            }
        )
    return indented({"id": name, "object": "model", "created": _MADE_S, "owned_by": "sim"})


def counted(body: bytes) -> int:
    """The tokens of a request, by its length alone."""
    return max(1, len(body) // 4)


def anthropic_count(body: bytes) -> bytes:
    """The answer of `/v1/messages/count_tokens`."""
    return compact({"input_tokens": counted(body)})


def gemini_count(body: bytes) -> bytes:
    """The answer of `…:countTokens`."""
    tokens = counted(body)
    details = [{"modality": "TEXT", "tokenCount": tokens}]
    return indented({"totalTokens": tokens, "promptTokensDetails": details})


def _vector(text: str, size: int) -> list[float]:
    """A unit vector that depends on the text alone."""
    seed = sum(text.encode()) % 9973 + 1
    raw = [math.sin(seed * (n + 1)) for n in range(size)]
    norm = math.sqrt(sum(x * x for x in raw)) or 1.0
    return [round(x / norm, 7) for x in raw]


def _packed(vector: object) -> str:
    numbers = [number for number in items(vector) if isinstance(number, float)]
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def embeddings(body: Object) -> bytes:
    """The answer of `/v1/embeddings`: numbers, or base64 of little-endian 32-bit floats."""
    given = body.get("input")
    texts = [given] if isinstance(given, str) else [text_of(item) for item in items(given)]
    wanted = body.get("dimensions")
    size = wanted if isinstance(wanted, int) and 0 < wanted <= 4096 else 8
    data = [
        {"object": "embedding", "index": n, "embedding": vector}
        for n, vector in enumerate(_vector(text, size) for text in texts)
    ]
    if body.get("encoding_format") == "base64":
        data = [{**row, "embedding": _packed(row["embedding"])} for row in data]
    tokens = max(1, sum(map(len, texts)) // 4)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    model = text_of(body.get("model"))
    return indented({"object": "list", "data": data, "model": model, "usage": usage}) + b"\n"
