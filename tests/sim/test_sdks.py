"""The official SDKs, in their normal mode, read what the sim says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import httpx
import openai
import pytest
from anthropic.types import RawMessageStreamEvent
from google import genai
from google.genai import errors, types
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from llmitm.sim.answers import answer_text
from llmitm.sim.scenarios import THOUGHTS, Scenario
from llmitm.sim.threads import SimThread
from sim.asking import PROTOCOLS, SCHEMA, events, question

PLAIN = Scenario(name="plain")
both = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture(scope="module")
def trusting(sim: SimThread) -> Iterator[None]:
    """The SDKs find the sim's CA where they look by default."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SSL_CERT_FILE", str(sim.ca))
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            patch.delenv(name, raising=False)
        yield


@pytest.fixture(scope="module")
def chat(sim: SimThread, trusting: None) -> Iterator[Any]:
    with openai.OpenAI(base_url=sim.url + "/v1", api_key="k") as client:
        yield client


@pytest.fixture(scope="module")
def claude(sim: SimThread, trusting: None) -> Iterator[Any]:
    with anthropic.Anthropic(base_url=sim.url, api_key="k") as client:
        yield client


@pytest.fixture(scope="module")
def gemini(sim: SimThread, trusting: None) -> Any:
    return genai.Client(api_key="k", http_options=types.HttpOptions(base_url=sim.url))


CHAT_TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]
RESPONSE_TOOLS = [{"type": "function", "name": "get_weather", "parameters": SCHEMA}]
CLAUDE_TOOLS = [{"name": "get_weather", "input_schema": SCHEMA}]


def ask_chat(client: Any, model: str, stream: bool, **more: Any) -> dict[str, Any]:
    messages = more.pop("messages", [{"role": "user", "content": "What is the weather?"}])
    if not stream:
        got = client.chat.completions.create(model=model, messages=messages, **more)
        choice, usage = got.choices[0], got.usage
        reasoning = (choice.message.model_extra or {}).get("reasoning_content", "")
        calls = [(c.function.name, c.function.arguments) for c in choice.message.tool_calls or []]
        text, finish = choice.message.content or "", choice.finish_reason
    else:
        text, reasoning, finish, usage = "", "", None, None
        parts: dict[int, list[str]] = {}
        for chunk in client.chat.completions.create(
            model=model,
            messages=messages,
            stream=True,
            stream_options={"include_usage": True},
            **more,
        ):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                text += choice.delta.content or ""
                reasoning += (choice.delta.model_extra or {}).get("reasoning_content") or ""
                finish = choice.finish_reason or finish
                for call in choice.delta.tool_calls or []:
                    part = parts.setdefault(call.index, ["", ""])
                    part[0] += call.function.name or ""
                    part[1] += call.function.arguments or ""
        calls = [tuple(parts[index]) for index in sorted(parts)]
    return {
        "text": text,
        "reasoning": reasoning,
        "calls": calls,
        "finish": finish,
        "input": usage.prompt_tokens,
        "cached": usage.prompt_tokens_details.cached_tokens,
        "output": usage.completion_tokens,
        "thought": usage.completion_tokens_details.reasoning_tokens,
    }


def ask_responses(client: Any, model: str, stream: bool, **more: Any) -> dict[str, Any]:
    given = {"model": model, "input": more.pop("input", "What is the weather?"), **more}
    if stream:
        with client.responses.stream(**given) as told:
            closing = ("response.completed", "response.incomplete")
            got = next(event.response for event in told if event.type in closing)
    else:
        got = client.responses.create(**given)
    thoughts = [item for item in got.output if item.type == "reasoning"]
    return {
        "text": got.output_text,
        "reasoning": "".join(part.text for item in thoughts for part in item.summary),
        "calls": [(i.name, i.arguments) for i in got.output if i.type == "function_call"],
        "finish": got.status,
        "input": got.usage.input_tokens,
        "cached": got.usage.input_tokens_details.cached_tokens,
        "output": got.usage.output_tokens,
        "thought": got.usage.output_tokens_details.reasoning_tokens,
    }


def ask_claude(client: Any, model: str, stream: bool, **more: Any) -> dict[str, Any]:
    messages = more.pop("messages", [{"role": "user", "content": "What is the weather?"}])
    given = {"model": model, "max_tokens": 99, "messages": messages, **more}
    if stream:
        with client.messages.stream(**given) as told:
            got = told.get_final_message()
    else:
        got = client.messages.create(**given)
    cached = got.usage.cache_read_input_tokens or 0
    return {
        "text": "".join(b.text for b in got.content if b.type == "text"),
        "reasoning": "".join(b.thinking for b in got.content if b.type == "thinking"),
        "signatures": [b.signature for b in got.content if b.type == "thinking"],
        "calls": [(b.name, b.input) for b in got.content if b.type == "tool_use"],
        "finish": got.stop_reason,
        "input": got.usage.input_tokens + cached,
        "cached": cached,
        "output": got.usage.output_tokens,
    }


def ask_gemini(client: Any, model: str, stream: bool, **more: Any) -> dict[str, Any]:
    given = {"model": model, "contents": more.pop("contents", "What is the weather?"), **more}
    ask = client.models.generate_content_stream
    answers = list(ask(**given)) if stream else [client.models.generate_content(**given)]
    parts = [part for answer in answers for part in (answer.candidates[0].content.parts or [])]
    usage = answers[-1].usage_metadata
    return {
        "text": "".join(p.text for p in parts if p.text and not p.thought),
        "reasoning": "".join(p.text for p in parts if p.text and p.thought),
        "signatures": [p.thought_signature for p in parts if p.thought_signature],
        "calls": [(p.function_call.name, p.function_call.args) for p in parts if p.function_call],
        "finish": answers[-1].candidates[0].finish_reason.value,
        "input": usage.prompt_token_count,
        "cached": usage.cached_content_token_count,
        "output": usage.candidates_token_count + (usage.thoughts_token_count or 0),
        "thought": usage.thoughts_token_count or 0,
    }


ASKERS = {
    "openai_chat": ("chat", ask_chat, {"tools": CHAT_TOOLS}),
    "openai_responses": ("chat", ask_responses, {"tools": RESPONSE_TOOLS}),
    "anthropic_messages": ("claude", ask_claude, {"tools": CLAUDE_TOOLS}),
    "gemini_generate": (
        "gemini",
        ask_gemini,
        {
            "config": types.GenerateContentConfig(
                tools=[
                    types.Tool(
                        function_declarations=[
                            types.FunctionDeclaration(
                                name="get_weather", parameters_json_schema=SCHEMA
                            )
                        ]
                    )
                ]
            )
        },
    ),
}
DONE = {
    "openai_chat": {"stop": "stop", "tool": "tool_calls", "length": "length"},
    "openai_responses": {"stop": "completed", "tool": "completed", "length": "incomplete"},
    "anthropic_messages": {"stop": "end_turn", "tool": "tool_use", "length": "max_tokens"},
    "gemini_generate": {"stop": "STOP", "tool": "STOP", "length": "MAX_TOKENS"},
}


@pytest.fixture(params=PROTOCOLS)
def asker(request: pytest.FixtureRequest) -> tuple[str, Any, Any, dict[str, Any]]:
    name, ask, tools = ASKERS[request.param]
    return request.param, ask, request.getfixturevalue(name), tools


@both
def test_text(asker: Any, stream: bool) -> None:
    protocol, ask, client, _ = asker
    got = ask(client, "some-model", stream)
    want = answer_text(PLAIN, protocol, "some-model", "What is the weather?")
    assert got["text"] == want
    assert got["finish"] == DONE[protocol]["stop"]
    assert (got["input"], got["cached"], got["output"]) == (8, 2, len(want.split()))


@both
def test_own_text_is_verbatim(asker: Any, stream: bool) -> None:
    _, ask, client, _ = asker
    assert ask(client, "own-text", stream)["text"] == "exactly this — é 漢"


@both
def test_length(asker: Any, stream: bool) -> None:
    protocol, ask, client, _ = asker
    assert ask(client, "sim-length", stream)["finish"] == DONE[protocol]["length"]


@both
def test_natural_tool_call(asker: Any, stream: bool) -> None:
    protocol, ask, client, tools = asker
    got = ask(client, "some-model", stream, **tools)
    assert _plain(got["calls"]) == [("get_weather", {"city": "Paris"})]
    assert got["finish"] == DONE[protocol]["tool"]
    assert got["text"] == ""


@both
def test_given_arguments(asker: Any, stream: bool) -> None:
    _, ask, client, tools = asker
    got = ask(client, "own-call", stream, **tools)
    assert _plain(got["calls"]) == [("get_weather", {"city": "Lüneburg"})]


@both
def test_parallel_tools(asker: Any, stream: bool) -> None:
    _, ask, client, tools = asker
    got = ask(client, "sim-parallel-tools", stream, **tools)
    assert _plain(got["calls"]) == [
        ("get_weather", {"city": "Paris"}),
        ("get_weather", {"city": "Oslo"}),
    ]


@both
def test_tools_are_called_only_when_offered(asker: Any, stream: bool) -> None:
    _, ask, client, _ = asker
    assert ask(client, "sim-tool", stream)["calls"] == []


@both
def test_reasoning(asker: Any, stream: bool) -> None:
    _, ask, client, _ = asker
    got = ask(client, "sim-reasoning", stream)
    assert got["reasoning"] == THOUGHTS
    assert got["text"]
    assert got.get("thought", 15) == 15
    assert got["output"] == 15 + len(got["text"].split())
    assert all(got.get("signatures", [True]))


@both
def test_signed_tool_call(asker: Any, stream: bool) -> None:
    _, ask, client, tools = asker
    got = ask(client, "sim-reasoning-tool", stream, **tools)
    assert len(got["calls"]) == 1
    assert got["reasoning"] == THOUGHTS
    assert len(got.get("signatures", [1])) == 1


@both
def test_many_events(asker: Any, stream: bool) -> None:
    _, ask, client, _ = asker
    assert len(ask(client, "sim-events-120", stream)["text"].split()) == 120


def _plain(calls: list[Any]) -> list[Any]:
    """Arguments as objects, whether the protocol tells them as text or as JSON."""
    return [(n, a if isinstance(a, dict) else TypeAdapter(dict).validate_json(a)) for n, a in calls]


@pytest.mark.parametrize("model", ["sim-error-500", "sim-error-400", "sim-error-401"])
def test_errors_are_the_sdks_own(chat: Any, claude: Any, gemini: Any, model: str) -> None:
    status = int(model[-3:])
    for client, kind in ((chat, openai.APIStatusError), (claude, anthropic.APIStatusError)):
        quick = client.with_options(max_retries=0)
        with pytest.raises(kind) as caught:
            (ask_chat if client is chat else ask_claude)(quick, model, False)
        assert caught.value.status_code == status
    with pytest.raises(errors.APIError) as refused:
        ask_gemini(gemini, model, False)
    assert refused.value.code == status


def test_a_retry_after_429_succeeds(chat: Any, claude: Any, sim: SimThread) -> None:
    before = sim.log.count
    assert ask_chat(chat, "own-429", True)["text"]
    assert ask_responses(chat, "own-429", False)["text"]
    assert sim.log.count - before == 4
    statuses = [entry.status for entry in sim.log.all()[-4:]]
    assert statuses == [429, 200, 429, 200]
    first, second = sim.log.all()[-2:]
    assert first.body == second.body


def test_errors_inside_a_stream(chat: Any, claude: Any, gemini: Any) -> None:
    with pytest.raises(openai.APIError, match="overloaded"):
        ask_chat(chat, "sim-overloaded-in-stream", True)
    with pytest.raises(anthropic.APIStatusError, match="overloaded_error"):
        ask_claude(claude, "sim-overloaded-in-stream", True)
    with pytest.raises(errors.ServerError, match="overloaded"):
        ask_gemini(gemini, "sim-overloaded-in-stream", True)
    told = chat.responses.create(model="sim-overloaded-in-stream", input="x", stream=True)
    assert [event.type for event in told] == ["error"]
    told = chat.responses.create(model="sim-error-in-stream", input="x", stream=True)
    assert [event.type for event in told][-1] == "response.failed"


def test_lists_counts_and_embeddings(chat: Any, claude: Any, gemini: Any) -> None:
    assert "sim-text" in {model.id for model in chat.models.list()}
    assert "sim-text" in {model.id for model in claude.models.list()}
    assert "models/sim-text" in {model.name for model in gemini.models.list()}
    assert chat.models.retrieve("gpt-4.1").id == "gpt-4.1"
    counted = claude.messages.count_tokens(
        model="m", messages=[{"role": "user", "content": "hi there"}]
    )
    assert counted.input_tokens > 1
    assert gemini.models.count_tokens(model="m", contents="hi there").total_tokens > 1
    for form in ("float", "base64"):
        made = chat.embeddings.create(
            model="e", input=["a", "b"], dimensions=5, encoding_format=form
        )
        assert len(made.data) == 2
    made = chat.embeddings.create(model="e", input="a")
    assert abs(sum(x * x for x in made.data[0].embedding) - 1) < 1e-5


SHAPES: dict[str, tuple[Any, Any]] = {
    "openai_chat": (ChatCompletion, ChatCompletionChunk),
    "openai_responses": (Response, ResponseStreamEvent),
    "anthropic_messages": (anthropic.types.Message, RawMessageStreamEvent),
    "gemini_generate": (types.GenerateContentResponse, types.GenerateContentResponse),
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "model", ["sim-text", "sim-parallel-tools", "sim-reasoning-tool", "sim-reasoning", "sim-filter"]
)
def test_every_frame_has_the_shape_of_the_sdks_types(
    http: httpx.Client, protocol: str, model: str
) -> None:
    """The SDKs read leniently; their types do not."""
    body_type, event_type = SHAPES[protocol]
    path, body = question(protocol, model, "weather?", tools=True)
    TypeAdapter(body_type).validate_python(http.post(path, json=body).json())
    path, body = question(protocol, model, "weather?", tools=True, stream=True)
    told = [e for e in events(http.post(path, json=body).text) if e != "[DONE]"]
    known = [event for event in told if event.get("type") != "ping"]
    for event in known:
        TypeAdapter(event_type).validate_python(event)
    assert len(known) > 2
