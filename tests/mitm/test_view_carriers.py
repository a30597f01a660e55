"""The chat view reads Ollama's JSON lines and Bedrock's event streams."""

from __future__ import annotations

import pytest
from mitmproxy import http
from mitmproxy.contentviews import Metadata
from mitmproxy.test import tflow

from llmitm.dialects.bedrock_converse.encoder import event_message
from llmitm.mitm.review.editing import Editing
from llmitm.mitm.view import LLMContentview, TranscriptContentview
from llmitm.ruleset import loading

VIEW = TranscriptContentview(lambda: loading.load(environ={}))
DOCUMENT = LLMContentview(Editing(lambda: loading.load(environ={})))
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
    of_response = Metadata(flow=flow, http_message=flow.response)
    assert DOCUMENT.render_priority(answer, of_response) > VIEW.render_priority(answer, of_response)
    assert VIEW.render_priority(answer, of_response) > 1
    shown = VIEW.prettify(answer, Metadata(flow=flow, http_message=flow.response))
    assert "said so" in shown
    both = VIEW.prettify(asked, Metadata(flow=flow, http_message=flow.request))
    assert "asked this" in both
    assert "said so" in both
    document = DOCUMENT.prettify(answer, of_response)
    assert "said so" in document
    assert DOCUMENT.reencode(document, of_response) == answer
    edited = DOCUMENT.reencode(document.replace("said so", "said otherwise"), of_response)
    assert "said otherwise" in VIEW.prettify(edited, of_response)
    of_request = Metadata(flow=flow, http_message=flow.request)
    assert DOCUMENT.reencode(DOCUMENT.prettify(asked, of_request), of_request) == asked
    document = DOCUMENT.prettify(asked, of_request).replace("asked this", "asked that")
    assert DOCUMENT.reencode(document, of_request) == asked.replace(b"this", b"that")
