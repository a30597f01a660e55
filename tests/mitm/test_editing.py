"""The console's editor and mitmweb's: what is edited goes on the wire, what is wrong is kept."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mitmproxy import contentviews, http
from mitmproxy.contentviews import Metadata
from mitmproxy.exceptions import CommandError
from mitmproxy.test import taddons, tflow

from llmitm.mitm.review.editing import Editing, NotApplied, is_document
from llmitm.mitm.running import ORIGINAL, PROTOCOLS
from llmitm.mitm.view import LLMContentview
from llmitm.ruleset import loading

URLS = {
    "openai_chat": "https://api.openai.com/v1/chat/completions",
    "openai_responses": "https://api.openai.com/v1/responses",
    "anthropic_messages": "https://api.anthropic.com/v1/messages",
    "gemini_generate": "https://generativelanguage.googleapis.com/v1beta/models/gemini-3-pro"
    ":streamGenerateContent?alt=sse",
}
ASKED = {
    "openai_chat": b'{"model": "gpt-5", "odd": 1.50,'
    b' "messages": [{"role":"user",  "content":"hi"}]}',
    "openai_responses": b'{"model": "gpt-5", "odd": 1.50,'
    b' "input": [{"role":"user","content":"hi"}]}',
    "anthropic_messages": b'{"model": "claude-sonnet-4-5", "odd": 1.50, "max_tokens": 5,'
    b' "messages": [{"role":"user",  "content":"hi"}]}',
    "gemini_generate": b'{"odd": 1.50, "contents": [{"role":"user", "parts":[{"text":"hi"}]}]}',
}
CHAT_STREAM = (
    b'data: {"id":"c","model":"gpt-5","choices":[{"index":0,"delta":{"role":"assistant",'
    b'"content":""}}]}\n\n'
    b'data: {"id":"c","model":"gpt-5","choices":[{"index":0,"delta":{"content":"Hello"}}]}\n\n'
    b'data: {"id":"c","model":"gpt-5","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'
    b"\n\n: kept\n\ndata: [DONE]\n\n"
)


def editing() -> Editing:
    rules = loading.load(environ={})
    return Editing(lambda: rules)


def flow_of(name: str, coding: str = "") -> http.HTTPFlow:
    headers = {"content-type": "application/json"}
    flow = tflow.tflow(req=http.Request.make("POST", URLS[name], b"", headers), resp=True)
    if coding:
        flow.request.headers["content-encoding"] = coding
    flow.request.content = ASKED[name]
    assert flow.response is not None
    flow.response.headers["content-type"] = "text/event-stream"
    flow.response.content = CHAT_STREAM
    return flow


@pytest.mark.parametrize("name", URLS)
@pytest.mark.parametrize("coding", ["", "zstd"])
def test_a_request_is_edited_as_the_console_does_it(name: str, coding: str) -> None:
    """The same calls as mitmproxy's command `console.edit.focus`, without its editor."""
    flow = flow_of(name, coding)
    view = LLMContentview(editing())
    registry = contentviews.ContentviewRegistry()
    registry.register(view)
    message = flow.request
    with taddons.context():
        pretty = contentviews.prettify_message(message, flow, view.name, registry)
        metadata = contentviews.make_metadata(message, flow)
    assert pretty.syntax_highlight == "yaml"
    assert "    hi\n" in pretty.text
    assert view.reencode(pretty.text, metadata) == ASKED[name]
    message.content = view.reencode(pretty.text.replace("    hi\n", "    ho\n    ho\n"), metadata)
    assert message.content == ASKED[name].replace(b'"hi"', rb'"ho\nho"')
    with pytest.raises(CommandError, match=r"1 mistake, nothing was changed\nline [45]: `stream`"):
        view.reencode(pretty.text.replace("stream: ", "stream: 7"), metadata)


def test_an_edit_that_was_not_applied_is_kept() -> None:
    flow, edits = flow_of("openai_chat"), editing()
    data = ASKED["openai_chat"]
    text = edits.document(flow, "request", data)
    wrong = text.replace("    hi\n", "    a long new text\n").replace("role: user", "role: usr")
    line = wrong.split("\n").index("  role: usr") + 1
    with pytest.raises(NotApplied, match=f"line {line}: `role` must be one of"):
        edits.encoded(flow, "request", data, wrong)
    assert flow.request.content == data
    kept = edits.document(flow, "request", data)
    assert "a long new text" in kept
    lines = kept.split("\n")
    assert is_document(kept, "request")
    assert lines[1].startswith("#! This edit was not applied")
    assert lines[2].startswith(f"#! line {line + 2}: `role` must be one of")
    assert lines[line + 1] == "  role: usr"
    with pytest.raises(NotApplied, match=f"line {line + 2}: `role`"):
        edits.encoded(flow, "request", data, kept)
    assert edits.document(flow, "request", data) == kept
    made = edits.encoded(flow, "request", data, kept.replace("usr", "system"))
    assert made.startswith(b'{"model": "gpt-5", "odd": 1.50, "messages": [{')
    assert json.loads(made)["messages"] == [{"role": "system", "content": "a long new text"}]
    assert edits.document(flow, "request", data) == text


def test_the_way_back_from_a_draft() -> None:
    flow, edits = flow_of("openai_chat"), editing()
    data = ASKED["openai_chat"]
    text = edits.document(flow, "request", data)
    with pytest.raises(NotApplied):
        edits.encoded(flow, "request", data, text + "more: 1\n")
    assert "more: 1" in edits.document(flow, "request", data)
    other = data.replace(b"hi", b"ha")
    assert "more: 1" not in edits.document(flow, "request", other)
    assert edits.encoded(flow, "request", data, text.split("\n")[0]) is data
    assert edits.document(flow, "request", data) == text


def test_a_streamed_answer_is_edited() -> None:
    flow, edits = flow_of("openai_chat"), editing()
    text = edits.document(flow, "response", CHAT_STREAM)
    made = edits.encoded(flow, "response", CHAT_STREAM, text.replace("Hello", "Bye"))
    assert b"Hello" not in made
    assert made.count(b"data: ") == 4
    assert made.endswith(CHAT_STREAM[CHAT_STREAM.index(b'"delta":{},') :])
    assert made.startswith(CHAT_STREAM[: CHAT_STREAM.index(b"\n\n")])


def test_a_whole_answer_is_edited() -> None:
    flow, edits = flow_of("anthropic_messages"), editing()
    assert flow.response is not None
    flow.response.headers["content-type"] = "application/json"
    data = json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude-sonnet-4-5",
            "content": [{"type": "tool_use", "id": "t1", "name": "rm", "input": {"path": "/"}}],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {"input_tokens": 3, "output_tokens": 4},
        }
    ).encode()
    text = edits.document(flow, "response", data)
    assert 'path: "/"\n' in text
    made = json.loads(edits.encoded(flow, "response", data, text.replace('"/"', '"/tmp/x"')))
    assert made == {**json.loads(data), "content": [{**_first(data), "input": {"path": "/tmp/x"}}]}


def _first(data: bytes) -> Any:
    return json.loads(data)["content"][0]


def test_a_model_in_the_url_is_changed_there() -> None:
    flow, edits = flow_of("gemini_generate"), editing()
    data = ASKED["gemini_generate"]
    text = edits.document(flow, "request", data)
    assert "model: gemini-3-pro\nstream: true\n" in text
    made = edits.encoded(flow, "request", data, text.replace("gemini-3-pro", "gemini-3-flash"))
    assert made == data
    assert flow.request.path == "/v1beta/models/gemini-3-flash:streamGenerateContent?alt=sse"


def test_what_the_client_asked_and_the_account_are_told() -> None:
    flow, edits = flow_of("openai_chat"), editing()
    flow.comment = "a\x1b → b"
    flow.metadata[PROTOCOLS] = ["openai_chat", "anthropic_messages"]
    flow.metadata[ORIGINAL] = {"protocol": "anthropic_messages", "model": "m", "body": b"{}"}
    text = edits.document(flow, "request", ASKED["openai_chat"])
    assert text.split("\n")[1:3] == ["# The client asked m in anthropic_messages.", "# a  → b"]


def test_what_is_no_model_call_has_no_document() -> None:
    edits = editing()
    other = tflow.tflow(req=http.Request.make("POST", "https://example.org/", b"{}"))
    assert not edits.applies(other)
    assert not edits.applies(tflow.ttcpflow())
    assert LLMContentview(edits).render_priority(b"{}", Metadata(flow=other)) == -1
    broken = flow_of("openai_chat")
    with pytest.raises(ValueError, match="JSON"):
        edits.document(broken, "request", b"no")
