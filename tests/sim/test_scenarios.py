"""The table of scenarios, and the answers they make."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from llmitm.sim import asks
from llmitm.sim.answers import ID, answer, answer_text, made_up
from llmitm.sim.asks import Ask, Tool
from llmitm.sim.command import listing
from llmitm.sim.rendering import Renderer
from llmitm.sim.scenarios import NATURAL, TABLE, Call, Scenario, Scenarios
from sim.asking import PROTOCOLS, question

WEATHER = Tool("get_weather", {"properties": {"city": {"type": "string"}}, "required": ["city"]})
ASK = Ask(protocol="openai_chat", model="m", prompt="hi", tools=(WEATHER,))


def test_every_scenario_has_a_name_of_its_own_and_a_line() -> None:
    rows = listing(Scenarios())
    assert len({name for name, _ in rows}) == len(rows) == len(TABLE)
    assert all(say and "\n" not in say for _, say in rows)
    assert all(name == "natural" or name.startswith("sim-") for name, _ in rows)


NAMES: list[tuple[str, str | None, dict[str, Any]]] = [
    ("sim-text", "sim-text", {}),
    ("sim-text-large", "sim-text", {}),
    ("openai/sim-429-then-ok", "sim-429-then-ok", {"fail_times": 1}),
    ("models/sim-429", "sim-429", {"fail_times": None}),
    ("sim-events-500", "sim-events-500", {"events": 500}),
    ("sim-events-500-x", "sim-events-500", {"events": 500}),
    ("sim-events", "sim-events", {"events": 50}),
    ("sim-events-99999999", "sim-events", {"events": 50}),
    ("sim-error-503", "sim-error-503", {"fail_status": 503}),
    ("sim-error-200", "sim-error", {"fail_status": 500}),
    ("sim-error-in-stream", "sim-error-in-stream", {"stream_error_after": 3}),
    ("sim-late-250", "sim-late-250", {"ttfb_s": 0.25}),
    ("sim-stall-2000", "sim-stall-2000", {"ttfb_s": 2.0}),
    ("sim-drip-5", "sim-drip-5", {"delay_s": 0.005}),
    ("sim-huge-1000", "sim-huge-1000", {"pad_bytes": 1000}),
    ("sk-sim-tool-abc", "sim-tool", {}),
    ("gpt-4.1", None, {}),
    ("", None, {}),
    ("sim", None, {}),
]


@pytest.mark.parametrize(("text", "name", "fields"), NAMES)
def test_names(text: str, name: str | None, fields: dict[str, Any]) -> None:
    found = Scenarios().named(text)
    assert (found.name if found else None) == name
    for key, value in fields.items():
        assert getattr(found, key) == value


def test_scenarios_from_code_come_first() -> None:
    own = Scenario(name="sim-text", text="mine")
    known = Scenarios([own, Scenario(name="sim-events-7", text="seven")])
    assert known.named("sim-text-x") is own
    assert known.exact("sim-text") is own
    events = known.named("sim-events-7")
    assert events is not None
    assert events.text == "seven"


@pytest.mark.parametrize(
    "fields",
    [{"fail_status": 200}, {"events": -1}, {"batch": 0}, {"delay_s": -1.0}, {"pad_bytes": -5}],
)
def test_what_cannot_be_played_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="x: "):
        Scenario(name="x", **fields)


@pytest.mark.parametrize("count", [1, 2, 12, 13, 14, 50, 500, 1237])
def test_as_many_events_as_asked_for(count: int) -> None:
    said = answer(Scenario(name="x", events=count), replace(ASK, tools=()))
    assert len(said.pieces) == count
    assert "".join(said.pieces) == said.text
    assert all(said.pieces)


def test_the_text_quotes_the_request() -> None:
    row = Scenario(name="x", text="{prompt}|{length}|{model}|{protocol}", final_text="<{result}>")
    want = "a {length} b|12|m|gemini_generate"
    assert answer_text(row, "gemini_generate", "m", "a {length} b") == want
    assert answer_text(row, "openai_chat", "m", "", ("one", "two")) == "<one; two>"


def test_natural_calls_a_tool_only_when_asked_for_it() -> None:
    other = Tool("read_file")
    for prompt, tools, called in [
        ("What is the Weather?", (other, WEATHER), ["get_weather"]),
        ("please use read_file", (WEATHER, other), ["read_file"]),
        ("hello", (WEATHER, other), []),
        ("What is the weather?", (other,), []),
        ("What is the weather?", (), []),
    ]:
        said = answer(NATURAL, replace(ASK, prompt=prompt, tools=tools))
        assert [call.name for call in said.calls] == called
        assert said.finish == ("tool_calls" if called else "stop")
        assert bool(said.text) is not bool(called)
    said = answer(NATURAL, replace(ASK, prompt="weather?", results=("rain",)))
    assert (said.calls, said.text) == ((), "The tool said: rain")


def test_a_call_of_a_tool_that_is_not_on_offer_is_left_out() -> None:
    row = Scenario(name="x", calls=(Call("absent"), Call("get_weather")))
    assert [call.name for call in answer(row, ASK).calls] == ["get_weather"]


def test_made_up_arguments_fit_the_schema() -> None:
    schema: dict[str, Any] = {
        "properties": {
            "city": {"type": "string"},
            "unit": {"enum": ["C", "F"]},
            "days": {"type": "INTEGER"},
            "share": {"type": "number"},
            "wet": {"type": "boolean"},
            "tags": {"type": "array", "items": {"type": ["null", "string"]}},
            "at": {"type": "object", "properties": {"x": {"type": "integer"}}},
            "free": {},
        }
    }
    assert made_up(schema, 1) == {
        "city": "Oslo",
        "unit": "F",
        "days": 2,
        "share": 2.5,
        "wet": False,
        "tags": ["sim tags"],
        "at": {"x": 2},
        "free": "sim free",
    }
    assert made_up(schema | {"required": ["days"]}) == {"days": 1}
    assert made_up({}) == {}
    assert made_up({"properties": 3, "required": "x"}) == {}


def _ask(protocol: str, body: dict[str, Any]) -> Ask:
    match protocol:
        case "openai_chat":
            return asks.chat(body)
        case "openai_responses":
            return asks.responses(body)
        case "anthropic_messages":
            return asks.messages(body)
        case _:
            return asks.generate(body, model="m", form="whole", wrapped=False)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rendering_is_deterministic_and_kept(protocol: str) -> None:
    _, body = question(protocol, "m", "weather?", tools=True)
    first, second = Renderer(7), Renderer(7)
    for row in TABLE[:10]:
        made = first.good(row, _ask(protocol, body))
        assert made == second.good(row, _ask(protocol, json.loads(json.dumps(body))))
        assert made is first.good(row, _ask(protocol, body))
        assert ID.encode() in made.body


USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": [{"type": "text", "text": "r"}]}
CONVERSATIONS: list[tuple[str, dict[str, Any], str, tuple[str, ...]]] = [
    ("openai_chat", {"messages": []}, "", ()),
    (
        "openai_chat",
        {"messages": [{"role": "user", "content": [{"text": "ctx"}, {"text": "hi"}]}]},
        "hi",
        (),
    ),
    (
        "openai_chat",
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "tool_calls": []},
                {"role": "tool", "content": "a"},
                {"role": "tool", "content": [{"type": "text", "text": "b"}]},
            ]
        },
        "hi",
        ("a", "b"),
    ),
    (
        "openai_chat",
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "tool", "content": "a"},
                {"role": "assistant", "content": "x"},
                {"role": "user", "content": "again"},
            ]
        },
        "again",
        (),
    ),
    ("openai_responses", {"input": "hi"}, "hi", ()),
    ("openai_responses", {"input": [{"type": "function_call_output", "output": "a"}]}, "", ("a",)),
    (
        "openai_responses",
        {
            "input": [
                {"role": "user", "content": [{"type": "input_text", "text": "hi"}]},
                {"type": "custom_tool_call_output", "output": [{"text": "b"}]},
            ]
        },
        "hi",
        ("b",),
    ),
    (
        "anthropic_messages",
        {
            "messages": [
                {"role": "user", "content": "hi"},
                {"role": "assistant", "content": [USE]},
                {"role": "user", "content": [RESULT, RESULT]},
            ]
        },
        "hi",
        ("r", "r"),
    ),
    (
        "anthropic_messages",
        {
            "messages": [
                {"role": "user", "content": [RESULT]},
                {"role": "assistant", "content": "x"},
                {"role": "user", "content": "new"},
            ]
        },
        "new",
        (),
    ),
    (
        "gemini_generate",
        {
            "contents": [
                {"role": "user", "parts": [{"text": "hi"}]},
                {"role": "user", "parts": [{"function_response": {"response": {"a": 1}}}]},
            ]
        },
        "hi",
        ('{"a": 1}',),
    ),
    (
        "gemini_generate",
        {"contents": [{"parts": [{"functionResponse": {"response": {"result": "r"}}}]}]},
        "",
        ("r",),
    ),
]


@pytest.mark.parametrize(("protocol", "body", "prompt", "results"), CONVERSATIONS)
def test_reading_a_conversation(
    protocol: str, body: dict[str, Any], prompt: str, results: tuple[str, ...]
) -> None:
    ask = _ask(protocol, body)
    assert (ask.prompt, ask.results) == (prompt, results)


OFF: list[tuple[str, dict[str, Any]]] = [
    ("openai_chat", {"tool_choice": "none"}),
    ("openai_responses", {"tool_choice": "none"}),
    ("anthropic_messages", {"tool_choice": {"type": "none"}}),
    ("gemini_generate", {"toolConfig": {"functionCallingConfig": {"mode": "NONE"}}}),
]


@pytest.mark.parametrize(("protocol", "more"), OFF)
def test_tools_can_be_switched_off(protocol: str, more: dict[str, Any]) -> None:
    _, body = question(protocol, "m", tools=True)
    assert [tool.name for tool in _ask(protocol, body).tools] == ["get_weather"]
    assert _ask(protocol, body | more).tools == ()
