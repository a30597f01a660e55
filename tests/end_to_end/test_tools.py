"""Tool calls that should not be run, with the official SDKs: what they get, what is asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import anthropic
import openai
import pytest
from google import genai
from google.genai import types
from proxied import Proxied, behind, trusting

from llmitm.sim.scenarios import Call, Scenario
from llmitm.sim.threads import SimThread

pytestmark = pytest.mark.end_to_end

PROTOCOLS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini_generate")
TOOLS = ("bash", "read_file", "write_file")
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"command": {"type": "string"}, "path": {"type": "string"}},
}
RESET = Call("bash", {"command": "git reset --hard HEAD~3"})
WIPE = Call("bash", {"command": "r=rm; $r -rf ~/work"})
STATUS = Call("bash", {"command": "git status"})
READ = Call("read_file", {"path": "a.py"})
WRITE = Call("write_file", {"path": "a.py"})
LEAD = "I will clean up first."
SECOND, THIRD, LAST = "was not run", "second call that", "third call that"
SCENARIOS = (
    Scenario(name="sim-steered", lead=LEAD, calls=(RESET,), after=((SECOND, (STATUS,)),)),
    Scenario(
        name="sim-stubborn",
        calls=(RESET,),
        after=((LAST, (RESET,)), (THIRD, (WIPE,)), (SECOND, (WIPE,))),
    ),
    Scenario(
        name="sim-late-insight",
        calls=(RESET,),
        after=((LAST, (STATUS,)), (THIRD, (WIPE,)), (SECOND, (WIPE,))),
    ),
    Scenario(name="sim-mixed", calls=(READ, RESET, STATUS), after=((SECOND, (READ,)),)),
    Scenario(name="sim-harmless", lead=LEAD, calls=(STATUS, READ)),
    Scenario(name="sim-gives-in", calls=(RESET,), final_text="Please run it yourself."),
    Scenario(name="sim-writes", calls=(WRITE,), final_text="I may not write."),
)
RULES = """
policies:
  - name: nobody-writes
    model_pattern: writes
    blocked_patterns: [^write_]
    default_policy: allow
    block_message: Nobody writes here.
"""


@dataclass
class Got:
    """What an SDK understood. calls: (id, name, arguments)."""

    text: str = ""
    calls: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    finish: str = ""

    @property
    def commands(self) -> list[Any]:
        """Each call's command or path."""
        return [next(iter(arguments.values())) for _, _, arguments in self.calls]


@pytest.fixture(scope="module")
def scripted() -> Iterator[SimThread]:
    with SimThread(scenarios=SCENARIOS) as sim:
        yield sim


@pytest.fixture(scope="module")
def shared(scripted: SimThread, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxied]:
    folder = tmp_path_factory.mktemp("tools")
    rules = folder / "rules"
    rules.mkdir()
    (rules / "tools.yaml").write_text(RULES)
    with behind(folder, scripted, [f"llm_rules={rules}"]) as running:
        yield running


@pytest.fixture
def proxy(shared: Proxied, scripted: SimThread) -> Proxied:
    shared.skip()
    scripted.log.clear()
    return shared


def ask(proxied: Proxied, protocol: str, model: str, stream: bool) -> Got:
    return globals()[f"_{protocol}"](proxied, model, stream)


def _openai(proxied: Proxied) -> openai.OpenAI:
    return openai.OpenAI(api_key="sk-client", http_client=proxied.sdk_client(), max_retries=0)


def _openai_chat(proxied: Proxied, model: str, stream: bool) -> Got:
    tools: Any = [
        {"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in TOOLS
    ]
    asked: Any = {"model": model, "messages": [{"role": "user", "content": "go"}], "tools": tools}
    with _openai(proxied) as client:
        if stream:
            with client.chat.completions.stream(**asked) as events:
                answer: Any = events.get_final_completion()
        else:
            answer = client.chat.completions.create(**asked)
    choice = answer.choices[0]
    calls = [
        (call.id, call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or ()
    ]
    return Got(choice.message.content or "", calls, choice.finish_reason)


def _openai_responses(proxied: Proxied, model: str, stream: bool) -> Got:
    tools: Any = [
        {"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in TOOLS
    ]
    asked: Any = {"model": model, "input": "go", "tools": tools}
    with _openai(proxied) as client:
        if stream:
            with client.responses.stream(**asked) as events:
                answer: Any = events.get_final_response()
        else:
            answer = client.responses.create(**asked)
    calls = [
        (item.call_id, item.name, json.loads(item.arguments))
        for item in answer.output
        if item.type == "function_call"
    ]
    return Got(answer.output_text, calls, "tool_calls" if calls else answer.status)


def _anthropic_messages(proxied: Proxied, model: str, stream: bool) -> Got:
    tools: Any = [{"name": name, "input_schema": SCHEMA} for name in TOOLS]
    asked: Any = {
        "model": model,
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "go"}],
        "tools": tools,
    }
    http = proxied.sdk_client()
    with anthropic.Anthropic(api_key="sk-client", http_client=http, max_retries=0) as client:
        if stream:
            with client.messages.stream(**asked) as events:
                answer: Any = events.get_final_message()
        else:
            answer = client.messages.create(**asked)
    text = "".join(block.text for block in answer.content if block.type == "text")
    calls = [(b.id, b.name, b.input) for b in answer.content if b.type == "tool_use"]
    return Got(text, calls, answer.stop_reason)


def _gemini_generate(proxied: Proxied, model: str, stream: bool) -> Got:
    declared = [
        types.FunctionDeclaration(name=name, parameters_json_schema=SCHEMA) for name in TOOLS
    ]
    config = types.GenerateContentConfig(
        tools=[types.Tool(function_declarations=declared)],
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )
    options = types.HttpOptions(
        client_args={"proxy": proxied.url, "verify": trusting(proxied.proxy.ca)}
    )
    client = genai.Client(api_key="sk-client", http_options=options)
    asked: Any = {"model": model, "contents": "go", "config": config}
    if stream:
        chunks = list(client.models.generate_content_stream(**asked))
    else:
        chunks = [client.models.generate_content(**asked)]
    parts = [
        part
        for chunk in chunks
        for candidate in chunk.candidates or ()
        if candidate.content is not None
        for part in candidate.content.parts or ()
    ]
    calls = [
        (part.function_call.id or "", part.function_call.name or "", part.function_call.args or {})
        for part in parts
        if part.function_call
    ]
    finish = [c.finish_reason for chunk in chunks for c in chunk.candidates or ()][-1]
    return Got("".join(part.text or "" for part in parts), calls, str(finish and finish.value))


BOTH = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
EACH = pytest.mark.parametrize("protocol", PROTOCOLS)
STOPPED = {
    "openai_chat": "stop",
    "openai_responses": "completed",
    "anthropic_messages": "end_turn",
    "gemini_generate": "STOP",
}
CALLED = {
    "openai_chat": "tool_calls",
    "openai_responses": "tool_calls",
    "anthropic_messages": "tool_use",
    "gemini_generate": "STOP",
}


def bodies(sim: SimThread) -> list[str]:
    """The requests that the provider got, oldest first."""
    return [entry.body.decode() for entry in sim.log.all()]


@EACH
@BOTH
def test_the_client_sees_only_the_good_answer(
    proxy: Proxied, scripted: SimThread, protocol: str, stream: bool
) -> None:
    got = ask(proxy, protocol, "sim-steered", stream)
    assert got.commands == ["git status"]
    assert len({id_ for id_, _, _ in got.calls}) == 1
    assert got.finish == CALLED[protocol]
    # Text that was streamed before the call stays, on a line of its own.
    assert got.text == (f"{LEAD}\n\n{LEAD}" if stream else LEAD)
    first, second = bodies(scripted)
    assert SECOND not in first
    assert SECOND in second
    assert "reset --hard HEAD~3" in second
    row = proxy.rows()[0]
    assert row["tool_calls"] == ["bash"]


@EACH
@BOTH
def test_what_is_only_text_then_ends_the_turn_well(
    proxy: Proxied, scripted: SimThread, protocol: str, stream: bool
) -> None:
    got = ask(proxy, protocol, "sim-gives-in", stream)
    assert got == Got("Please run it yourself.", [], STOPPED[protocol])


@EACH
@BOTH
def test_three_times_and_then_a_text(
    proxy: Proxied, scripted: SimThread, protocol: str, stream: bool
) -> None:
    got = ask(proxy, protocol, "sim-stubborn", stream)
    assert got.calls == []
    assert got.finish == STOPPED[protocol]
    assert got.text.startswith("[Tool call stopped: `bash` was not run. `git reset --hard HEAD~3`")
    assert "its turn ends here" in got.text
    asked = bodies(scripted)
    assert len(asked) == 4
    assert [THIRD in body for body in asked] == [False, False, True, False]
    assert [LAST in body for body in asked] == [False, False, False, True]
    # Only the attempt before stands in the next request.
    assert all(body.count(SECOND) == 1 for body in asked[1:])


@EACH
@BOTH
def test_the_third_time_may_be_a_good_answer(
    proxy: Proxied, scripted: SimThread, protocol: str, stream: bool
) -> None:
    got = ask(proxy, protocol, "sim-late-insight", stream)
    assert got.commands == ["git status"]
    assert got.text == ""
    assert len(bodies(scripted)) == 4


@EACH
def test_beside_calls_that_went_on_one_is_blocked(
    proxy: Proxied, scripted: SimThread, protocol: str
) -> None:
    got = ask(proxy, protocol, "sim-mixed", True)
    assert got.commands == ["a.py", "git status"]
    assert len({id_ for id_, _, _ in got.calls} - {""}) in (0, 2)
    assert got.finish == CALLED[protocol]
    assert got.text.startswith("[Tool call stopped: `bash` was not run.")
    assert len(bodies(scripted)) == 1


@EACH
def test_a_whole_answer_is_asked_for_again_whatever_else_it_calls(
    proxy: Proxied, scripted: SimThread, protocol: str
) -> None:
    got = ask(proxy, protocol, "sim-mixed", False)
    assert got.commands == ["a.py"]
    assert got.text == ""
    assert len(bodies(scripted)) == 2


@EACH
@BOTH
def test_a_tool_that_may_not_be_used_is_not_offered(
    proxy: Proxied, scripted: SimThread, protocol: str, stream: bool
) -> None:
    ask(proxy, protocol, "sim-writes", stream)
    assert ["write_file" in body for body in bodies(scripted)] == [False]
    scripted.log.clear()
    ask(proxy, protocol, "sim-harmless", stream)
    assert ["write_file" in body for body in bodies(scripted)] == [True]


@EACH
def test_what_nothing_is_said_against_goes_on(
    proxy: Proxied, scripted: SimThread, protocol: str
) -> None:
    got = ask(proxy, protocol, "sim-harmless", True)
    assert got.commands == ["git status", "a.py"]
    assert got.text == LEAD
