"""What is answered: a scenario and an ask make one `Answer`, the same for every protocol.

Pure and deterministic: the same scenario and ask give the same answer. Identifiers are the
placeholder `ID`, which the server replaces per response (same length, so lengths stay true).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from itertools import batched

from llmitm.sim.asks import Ask, Object, Protocol, Tool, items, obj, text_of
from llmitm.sim.scenarios import Call, Scenario

ID = "0sim0000placeholder0"
"""Stands for the response's identifier in rendered frames; 20 ASCII characters."""

_WORD = re.compile(r"\S+\s*|\s+")
_WEATHER = re.compile(r"\bweather\b", re.IGNORECASE)
_PLACES = ("Paris", "Oslo", "Lima", "Cairo")


@dataclass(frozen=True, slots=True)
class MadeCall:
    """A call in the answer. id: unique in the response; arguments: JSON text, or the free text of a
    custom tool."""

    id: str
    name: str
    arguments: str
    custom: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Tokens. input: the whole prompt, `cached` of it from cache; output: reasoning included."""

    input: int
    cached: int
    output: int
    reasoning: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What one response says. pieces: `text` as it is streamed; thoughts: reasoning likewise;
    details: as in the scenario; created_s: Unix time the protocols tell; finish: `stop`, `length`,
    `content_filter` or `tool_calls`."""

    ask: Ask
    created_s: int
    text: str
    pieces: tuple[str, ...]
    reasoning: str
    thoughts: tuple[str, ...]
    calls: tuple[MadeCall, ...]
    finish: str
    spent: Spent
    pings: bool = True
    details: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """An error to tell. status: HTTP status or, inside a stream, the one it would have had;
    code: a protocol's own word where it has one, empty = usual for the status;
    retry_after_s: None = not told."""

    status: int
    message: str
    code: str = ""
    retry_after_s: float | None = None


def answer(scenario: Scenario, ask: Ask, created_s: int = 0) -> Answer:
    """The answer of `scenario` to `ask`."""
    calls = tuple(_made_calls(scenario, ask))
    text = scenario.lead
    if not calls:
        text = answer_text(scenario, ask.protocol, ask.model, ask.prompt, ask.results)
    words = _WORD.findall(text)
    pieces = _groups(words, scenario.events) if scenario.events and not calls else tuple(words)
    thoughts = tuple(_WORD.findall(scenario.reasoning))
    read = max(8, (len(ask.prompt) + sum(map(len, ask.results))) // 4)
    return Answer(
        ask=ask,
        created_s=created_s,
        text=text,
        pieces=pieces,
        reasoning=scenario.reasoning,
        thoughts=thoughts,
        calls=calls,
        finish=scenario.ending or ("tool_calls" if calls else "stop"),
        spent=Spent(
            input=read,
            cached=read // 4,
            output=len(words) + len(thoughts) + sum(10 + len(c.arguments) // 4 for c in calls),
            reasoning=len(thoughts),
        ),
        pings=scenario.pings,
        details=scenario.details,
    )


def answer_text(
    scenario: Scenario,
    protocol: Protocol,
    model: str,
    prompt: str,
    results: tuple[str, ...] = (),
) -> str:
    """The whole text a scenario answers with: what a test or the demo compares an answer to."""
    text = scenario.final_text if results else scenario.text
    for key, value in (
        ("{length}", str(len(prompt))),
        ("{protocol}", protocol),
        ("{model}", model),
        ("{result}", "; ".join(results)),
        ("{prompt}", prompt),
    ):
        text = text.replace(key, value)
    have = len(_WORD.findall(text))
    if scenario.events > have:
        text = " ".join([text, *(f"word{n}" for n in range(have + 1, scenario.events + 1))]).strip()
    if scenario.pad_bytes > len(text):
        line = " and so it goes on and on, line after line of it"
        text += line * ((scenario.pad_bytes - len(text)) // len(line) + 1)
    return text


def _groups(words: list[str], count: int) -> tuple[str, ...]:
    """`words` joined into exactly `count` runs of nearly the same length."""
    short, longer = divmod(len(words), count)
    cut = longer * (short + 1)
    runs = [*batched(words[:cut], short + 1)] if longer else []
    return tuple("".join(run) for run in [*runs, *batched(words[cut:], max(short, 1))])


def _made_calls(scenario: Scenario, ask: Ask) -> list[MadeCall]:
    calls = _calls(scenario, ask.results)
    if not calls or not ask.tools:
        return []
    offered = ask.tools
    if scenario.when_asked:
        offered = tuple(tool for tool in ask.tools if _asked_for(tool, ask.prompt))
    made: list[MadeCall] = []
    for call in calls:
        tool = next((tool for tool in offered if call.name in {"", tool.name}), None)
        if tool is not None:
            id_ = f"{ID}{len(made):02d}"
            made.append(MadeCall(id_, tool.name, _arguments(call, tool), tool.custom))
    return made


def _calls(scenario: Scenario, results: tuple[str, ...]) -> tuple[Call, ...]:
    """The calls to play, before or after these results."""
    if not results:
        return scenario.calls
    return next((calls for words, calls in scenario.after if words in results[-1]), ())


def _asked_for(tool: Tool, prompt: str) -> bool:
    if tool.name in prompt:
        return True
    return bool(_WEATHER.search(prompt)) and "weather" in tool.name.lower()


def _arguments(call: Call, tool: Tool) -> str:
    if tool.custom:
        return f"// scripted input {call.variant}\ntext('hello from the sim')"
    value = dict(call.arguments) or made_up(tool.schema, call.variant)
    return json.dumps(value, ensure_ascii=False)


def made_up(schema: Object, variant: int = 0) -> dict[str, object]:
    """An object that fits the common shapes of a tool's JSON Schema: every required property, and
    all of them where none is required."""
    properties = obj(schema.get("properties"))
    required = [name for name in items(schema.get("required")) if isinstance(name, str)]
    return {
        name: _value(name, obj(properties.get(name)), variant)
        for name in (required or list(properties))
    }


def _value(name: str, schema: Object, variant: int) -> object:
    if choices := items(schema.get("enum")):
        return choices[variant % len(choices)]
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((k for k in items(schema.get("type")) if k != "null"), "string")
    match text_of(kind).lower():
        case "integer":
            return 1 + variant
        case "number":
            return 1.5 + variant
        case "boolean":
            return variant % 2 == 0
        case "array":
            return [_value(name, obj(schema.get("items")), variant)]
        case "object":
            return made_up(schema, variant)
        case _:
            return _PLACES[variant % len(_PLACES)] if _is_place(name) else f"sim {name}"


def _is_place(name: str) -> bool:
    return any(word in name.lower() for word in ("city", "location", "place"))
