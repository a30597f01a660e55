"""One probe per feature: the same request or answer without it and with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from llmitm.canon.events import Finish, FinishReason, Opaque, Usage
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import (
    Message,
    ReasoningConfig,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.canon.response import Choice, Response

SOURCES = (
    "openai_chat",
    "openai_responses",
    "anthropic_messages",
    "gemini_generate",
    "ollama_chat",
    "bedrock_converse",
)

PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "YPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
)
SCHEMA: Any = {"type": "object", "properties": {"city": {"type": "string"}}}

FILE_IDS = {
    "gemini_generate": "https://generativelanguage.googleapis.com/v1beta/files/abc",
    "bedrock_converse": "s3://bucket/abc",
}
SERVER_TOOLS: dict[str, Any] = {
    "openai_chat": {"type": "web_search"},
    "openai_responses": {"type": "web_search"},
    "anthropic_messages": {"type": "web_search_20250305", "name": "web_search"},
    "gemini_generate": {"googleSearch": {}},
    "ollama_chat": {"type": "web_search"},
    "bedrock_converse": {"systemTool": {"name": "web_search"}},
}
UNKNOWN: dict[str, Any] = {
    "openai_chat": {"type": "new_part", "new_part": {"a": 1}},
    "openai_responses": {"type": "new_item", "a": 1},
    "anthropic_messages": {"type": "new_block", "a": 1},
    "gemini_generate": {"newPart": {"a": 1}},
    "ollama_chat": {"type": "new_call", "a": 1},
    "bedrock_converse": {"newBlock": {"a": 1}},
}
ANNOTATIONS: dict[str, Any] = {
    "openai_chat": {
        "type": "url_citation",
        "url_citation": {"url": "https://a.b", "title": "t", "start_index": 0, "end_index": 2},
    },
    "openai_responses": {
        "type": "url_citation",
        "url": "https://a.b",
        "title": "t",
        "start_index": 0,
        "end_index": 2,
    },
    "anthropic_messages": {
        "type": "char_location",
        "cited_text": "x",
        "document_index": 0,
        "document_title": "t",
        "start_char_index": 0,
        "end_char_index": 1,
    },
    "gemini_generate": {"startIndex": 0, "endIndex": 2, "uri": "https://a.b"},
    "ollama_chat": {},
    "bedrock_converse": {
        "title": "t",
        "sourceContent": [{"text": "x"}],
        "location": {"web": {"url": "https://a.b"}},
    },
}
LATE_FIELDS = ("ollama_chat", "bedrock_converse")
"""Protocols whose answers have their other fields in the closing object."""
LOGPROBS: Any = [{"token": "Hi", "logprob": -0.1, "bytes": [72, 105], "top_logprobs": []}]
FINISH_WORDS: dict[str, dict[FinishReason, str]] = {
    "openai_chat": {"content_filter": "content_filter", "length": "length"},
    "openai_responses": {"content_filter": "content_filter", "length": "max_output_tokens"},
    "anthropic_messages": {"refusal": "refusal", "pause": "pause_turn", "length": "max_tokens"},
    "gemini_generate": {"content_filter": "SAFETY", "length": "MAX_TOKENS"},
    "ollama_chat": {"length": "length", "unknown": "load"},
    "bedrock_converse": {
        "content_filter": "guardrail_intervened",
        "length": "max_tokens",
        "error": "malformed_model_output",
    },
}


@dataclass(frozen=True)
class Probe:
    """feature: a name of canon.features; what: which form of it, empty = the only one."""

    feature: str
    what: str
    before: Any
    after: Any


def request_probes(source: str) -> Iterator[Probe]:
    """Requests as a client of `source` could write them."""
    user = Message(role="user", parts=(Text(text="Hi"),))
    base = Request(dialect=source, model="m", messages=(user,))
    tool = Tool(name="get", description="d", parameters=SCHEMA, dialect=source)
    tools = replace(base, tools=(tool, replace(tool, name="put")))

    def said(*parts: Part) -> Request:
        more = Message(role="user", parts=(Text(text="Hi"), *parts))
        return replace(base, messages=(more,))

    def replied(*parts: Part) -> Request:
        answer = Message(role="assistant", parts=(*parts, Text(text="Yes")))
        return replace(base, messages=(user, answer, user))

    def probe(feature: str, what: str, after: Request, before: Request = base) -> Probe:
        return Probe(feature, what, before, after)

    yield probe("instructions", "", replace(base, instructions=(Text(text="Be brief"),)))
    yield probe("message.name", "", replace(base, messages=(replace(user, name="ann"),)))
    late = Message(role="system", parts=(Text(text="Now in French"),))
    yield probe("message.role", "system text later", replace(base, messages=(user, late, user)))
    yield from _media_probes(source, said, probe)
    refused = Refusal(text="I will not")
    yield probe("part.refusal", "", replied(refused), replied())
    thought = Reasoning(text="Hm", dialect=source)
    yield probe("part.reasoning", "in the history", replied(thought), replied())
    sealed = replace(thought, signature="c2lnbmF0dXJl", encrypted=None)
    if source == "openai_responses":
        sealed = Reasoning(summary=True, text="Hm", encrypted="c2VhbGVk", dialect=source)
    yield probe("part.reasoning.signature", "in the history", replied(sealed), replied(thought))
    odd = Unknown(dialect=source, kind="new", value=UNKNOWN[source])
    yield probe("part.unknown", "in the history", said(odd))
    yield from _tool_probes(source, tools, tool, probe)
    yield from _setting_probes(tools, base, probe)
    yield probe("field", "any other", replace(base, extras={"x_new": 1}))


def _media_probes(source: str, said: Any, probe: Any) -> Iterator[Probe]:
    image = Media(kind="image", mime="image/png", data=PNG)
    yield probe("part.image", "base64", said(image))
    url = Media(kind="image", mime="image/png", url="https://a.b/c.png")
    yield probe("part.image", "URL", said(url))
    file_id = FILE_IDS.get(source, "file-abc")
    kept = Media(kind="image", file_id=file_id)
    if source in ("gemini_generate", "bedrock_converse"):
        kept = replace(kept, mime="image/png")
    yield probe("part.image", "file id", said(kept))
    yield probe("part.image.detail", "", said(replace(image, detail="low")), said(image))
    yield probe(
        "part.audio", "base64", said(Media(kind="audio", mime="audio/wav", data="UklGRg=="))
    )
    yield probe("part.video", "base64", said(Media(kind="video", mime="video/mp4", data="AAAA")))
    pdf = Media(kind="document", mime="application/pdf", data="JVBERi0x")
    yield probe("part.document", "base64", said(pdf))
    named = said(replace(pdf, name="a.pdf"))
    yield probe("part.document", "its name", named, said(pdf))
    link = Media(kind="document", mime="application/pdf", url="https://a.b/c.pdf")
    yield probe("part.document", "URL", said(link))
    text = Media(kind="document", mime="text/plain", text="words")
    yield probe("part.document", "plain text", said(text))
    yield probe("part.document", "file id", said(replace(kept, kind="document", mime="")))


def _tool_probes(source: str, tools: Request, tool: Tool, probe: Any) -> Iterator[Probe]:
    user = tools.messages[0]
    call = ToolCall(id="call_1", name="get", arguments='{"city":"Oslo"}')
    result = ToolResult(call_id="call_1", name="get", parts=(Text(text="Rain"),))

    def called(made: ToolCall, told: ToolResult) -> Request:
        back = Message(role="tool", parts=(told,))
        spoke = Message(role="assistant", parts=(made,))
        return replace(tools, messages=(user, spoke, back))

    plain = called(call, result)
    custom = Tool(kind="custom", name="get", description="d", dialect=source)
    free = replace(call, kind="custom", arguments="SELECT 1")
    freely = called(free, replace(result, kind="custom"))
    yield probe("tool_call.custom", "", replace(freely, tools=(custom,)), plain)
    yield probe(
        "tool_call.arguments",
        "not an object",
        called(replace(call, arguments="[1]"), result),
        plain,
    )
    yield probe("tool_result.error", "", called(call, replace(result, error=True)), plain)
    image = Media(kind="image", mime="image/png", data=PNG)
    yield probe(
        "tool_result.media",
        "image",
        called(call, replace(result, parts=(*result.parts, image))),
        plain,
    )
    yield probe("tool.custom", "", replace(tools, tools=(tool, custom)), tools)
    value = SERVER_TOOLS[source]
    name = str(value.get("name") or value.get("type") or next(iter(value)))
    server = Tool(kind="server", name=name, dialect=source, value=value)
    yield probe("tool.server", "web search", replace(tools, tools=(*tools.tools, server)), tools)
    strict = replace(tool, strict=True)
    yield probe("tool.strict", "", replace(tools, tools=(strict, *tools.tools[1:])), tools)


def _setting_probes(tools: Request, base: Request, probe: Any) -> Iterator[Probe]:
    for what, choice in (
        ("none", ToolChoice(mode="none")),
        ("required", ToolChoice(mode="required")),
        ("one by name", ToolChoice(mode="named", names=("get",))),
    ):
        yield probe("tool_choice", what, replace(tools, tool_choice=choice), tools)
    yield probe("parallel_tool_calls", "off", replace(tools, parallel_tool_calls=False), tools)
    values: dict[str, Any] = {
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 7,
        "frequency_penalty": 0.5,
        "presence_penalty": 0.5,
        "seed": 7,
        "max_tokens": 900,
        "stop": ("END",),
        "n": 2,
    }
    for name, value in values.items():
        yield probe(f"sampling.{name}", "", replace(base, sampling=Sampling(**{name: value})))
    asked = Sampling(logprobs=True, top_logprobs=2)
    yield probe("sampling.logprobs", "", replace(base, sampling=asked))
    hot = replace(base, sampling=Sampling(temperature=1.5))
    yield probe("sampling.temperature", "above 1", hot)
    room = replace(base, sampling=Sampling(max_tokens=16000))
    on = ReasoningConfig(mode="on", budget_tokens=4096)
    yield probe(
        "reasoning.effort", "", replace(room, reasoning=ReasoningConfig(effort="high")), room
    )
    yield probe("reasoning.budget_tokens", "", replace(room, reasoning=on), room)
    for mode in ("off", "adaptive"):
        config = ReasoningConfig(mode=mode)
        yield probe("reasoning.mode", mode, replace(room, reasoning=config), room)
    shown = replace(on, show="true")
    yield probe("reasoning.show", "", replace(room, reasoning=shown), replace(room, reasoning=on))
    some = ResponseFormat(kind="json_object")
    yield probe("response_format", "JSON", replace(base, response_format=some))
    form = ResponseFormat(kind="json_schema", schema=SCHEMA, name="city")
    yield probe("response_format", "schema", replace(base, response_format=form))
    yield probe("verbosity", "", replace(base, verbosity="low"))
    yield probe("previous_response_id", "", replace(base, previous_response_id="resp_1"))


def answer_probes(source: str) -> Iterator[Probe]:
    """Answers as a provider of `source` could give them."""
    stop = Finish("stop")

    def answer(*parts: Part, finish: Finish = stop, **more: Any) -> Response:
        choice = Choice(parts=parts, finish=finish)
        given: dict[str, Any] = {"choices": (choice,), **more}
        return Response(id="r1", model="m", created_s=1, ended=True, dialect=source, **given)

    text = Text(text="Hi")
    base = answer(text)

    def probe(feature: str, what: str, after: Response) -> Probe:
        return Probe(feature, what, base, after)

    cited = replace(text, annotations=(ANNOTATIONS[source],))
    yield probe("part.annotations", "", answer(cited))
    yield probe("part.logprobs", "", answer(replace(text, logprobs=LOGPROBS)))
    thought = Reasoning(text="Hm", summary=source == "openai_responses", dialect=source)
    yield probe("part.reasoning", "in an answer", answer(thought, text))
    kind = "encrypted" if source == "openai_responses" else "signature"
    sealed = replace(thought, **{kind: "c2lnbmF0dXJl"})
    yield Probe(
        "part.reasoning.signature", "in an answer", answer(thought, text), answer(sealed, text)
    )
    yield probe("part.refusal", "in an answer", answer(Refusal(text="No")))
    odd = Unknown(dialect=source, kind="new", value=UNKNOWN[source])
    yield probe("part.unknown", "in an answer", answer(odd, text))
    image = Media(kind="image", mime="image/png", data=PNG)
    if source != "anthropic_messages":
        yield probe("part.image", "in an answer", answer(text, image))
    call = ToolCall(id="call_1", name="get", arguments="SELECT 1", kind="custom")
    called = Finish("tool_calls")
    yield probe("tool_call.custom", "in an answer", answer(call, finish=called))
    second = Choice(index=1, parts=(text,), finish=replace(stop, choice=1))
    yield probe("choices", "", replace(base, choices=(*base.choices, second)))
    for reason, raw in FINISH_WORDS[source].items():
        ended = Finish(reason, raw)
        yield probe("finish.reason", reason, answer(text, finish=ended))
    hit = Finish("stop", "stop_sequence", "END")
    yield probe("finish.stop_sequence", "", answer(text, finish=hit))
    counts: dict[str, dict[str, int]] = {
        "input and output": {},
        "read from cache": {"cache_read_tokens": 4},
        "written to cache": {"cache_write_tokens": 4},
        "reasoning": {"reasoning_tokens": 3},
    }
    told = Usage(input_tokens=9, output_tokens=5, total_tokens=14)
    for what, more in counts.items():
        before = replace(base, usage=told) if more else base
        yield Probe("usage", what, before, replace(base, usage=replace(told, **more)))
    frame = Opaque(source, "new_event", {"type": "new_event", "a": 1})
    yield probe("event.unknown", "", replace(base, opaque=(frame,)))
    place = "end_extras" if source in LATE_FIELDS else "extras"
    yield probe("field", "of an answer", replace(base, **{place: {"x_new": 1}}))
