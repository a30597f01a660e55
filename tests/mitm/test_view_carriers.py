"""The chat view reads Ollama's JSON lines and Bedrock's event streams."""

from __future__ import annotations

import pytest
from mitmproxy import http
from mitmproxy.contentviews import Metadata
from mitmproxy.test import tflow

from llmitm.dialects.bedrock_converse.encoder import event_message
from llmitm.mitm.view import LLMContentview
from llmitm.ruleset import loading

VIEW = LLMContentview(lambda: loading.load(environ={}))
CONVERSE = [
    event_message("messageStart", {"role": "assistant"}),
    event_message("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "said so"}}),
    event_message("messageStop", {"stopReason": "end_turn"}),
    event_message("metadata", {"usage": {"inputTokens": 3, "outputTokens": 2, "totalTokens": 5}}),
]
LINES = (
    b'{"model":"m","message":{"role":"assistant","content":"said"},"done":false}\n'
    b'{"model":"m","message":{"role":"assistant","content":" so"},"done":true}\n'
)
BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model/amazon.nova-micro-v1:0"


@pytest.mark.parametrize(
    ("url", "asked", "media", "answer"),
    [
        (
            f"{BEDROCK}/converse-stream",
            b'{"messages":[{"role":"user","content":[{"text":"asked this"}]}]}',
            "application/vnd.amazon.eventstream",
            b"".join(CONVERSE),
        ),
        (
            "http://localhost:11434/api/chat",
            b'{"model":"m","messages":[{"role":"user","content":"asked this"}]}',
            "application/x-ndjson",
            LINES,
        ),
        (
            "http://localhost:11434/api/generate",
            b'{"model":"m","prompt":"asked this"}',
            "application/x-ndjson",
            LINES.replace(b'"message":{"role":"assistant","content":', b'"response":').replace(
                b'"},', b'",'
            ),
        ),
    ],
)
def test_both_sides_are_shown(url: str, asked: bytes, media: str, answer: bytes) -> None:
    flow = tflow.tflow(
        req=http.Request.make("POST", url, asked, {"content-type": "application/json"}),
        resp=http.Response.make(200, answer, {"content-type": media}),
    )
    assert VIEW.render_priority(answer, Metadata(flow=flow, http_message=flow.response)) > 1
    shown = VIEW.prettify(answer, Metadata(flow=flow, http_message=flow.response))
    assert "said so" in shown
    both = VIEW.prettify(asked, Metadata(flow=flow, http_message=flow.request))
    assert "asked this" in both
    assert "said so" in both
