"""Settings of an Ollama request, both ways: `options`, `think`, `format`, tools.

Source: Ollama API reference, model options, thinking, structured outputs.
"""

from __future__ import annotations

from llmitm.canon.request import ReasoningConfig, Request, ResponseFormat, Sampling, Tool
from llmitm.canon.values import Json, Path
from llmitm.dialects.json_text import Wire, number, whole
from llmitm.dialects.ollama_chat.parts import PartEncoder
from llmitm.dialects.ollama_chat.tables import (
    EFFORT_WORDS,
    EFFORTS,
    NAME,
    OPTIONS,
    WHOLE_OPTIONS,
)


def take_sampling(left: Wire) -> Sampling:
    """The sampling fields, taken out of `options` and the body; options canon lacks stay."""
    given: Wire = {}
    options = left.get("options")
    stop: tuple[str, ...] = ()
    if isinstance(options, dict):
        rest = dict(options)
        for key, name in OPTIONS.items():
            value = whole(rest.get(key)) if key in WHOLE_OPTIONS else number(rest.get(key))
            # A negative limit means no limit, in words of this API alone.
            if value is not None and not (name == "max_tokens" and value < 0):
                given[name] = value
                del rest[key]
        words = rest.get("stop")
        if isinstance(words, list) and words and all(isinstance(word, str) for word in words):
            stop = tuple(str(word) for word in words)
            del rest["stop"]
        if rest or not options:
            left["options"] = rest
        else:
            del left["options"]
    logprobs, top = left.get("logprobs"), whole(left.get("top_logprobs"))
    if isinstance(logprobs, bool):
        del left["logprobs"]
    if top is not None:
        del left["top_logprobs"]
    return Sampling(
        temperature=number(given.get("temperature")),
        top_p=number(given.get("top_p")),
        top_k=whole(given.get("top_k")),
        frequency_penalty=number(given.get("frequency_penalty")),
        presence_penalty=number(given.get("presence_penalty")),
        seed=whole(given.get("seed")),
        max_tokens=whole(given.get("max_tokens")),
        stop=stop,
        logprobs=logprobs if isinstance(logprobs, bool) else None,
        top_logprobs=top,
    )


def option_fields(sampling: Sampling) -> Wire:
    """The entries of `options` that canon knows."""
    fields: Wire = {
        key: value
        for key, name in OPTIONS.items()
        if (value := getattr(sampling, name)) is not None
    }
    if sampling.stop:
        fields["stop"] = list(sampling.stop)
    return fields


def take_reasoning(left: Wire) -> ReasoningConfig | None:
    """What `think` says, None where it says nothing known."""
    think = left.get("think")
    if isinstance(think, bool):
        del left["think"]
        return ReasoningConfig(mode="on" if think else "off")
    if isinstance(think, str) and think in EFFORTS:
        del left["think"]
        return ReasoningConfig(effort=think)
    return None


def think_field(reasoning: ReasoningConfig | None) -> Json:
    """The value of `think`, None where nothing was said."""
    if reasoning is None:
        return None
    if reasoning.mode == "off" or reasoning.effort == "none" or reasoning.budget_tokens == 0:
        return False
    if reasoning.effort is not None:
        return EFFORT_WORDS.get(reasoning.effort, reasoning.effort)
    if reasoning.mode is not None or reasoning.budget_tokens is not None:
        return True
    return None


def foreign_think(request: Request, encoder: PartEncoder) -> Json:
    """The same for a request of another protocol; what it loses is noted."""
    reasoning = request.reasoning
    if reasoning is None:
        return None
    encoder.extras(reasoning.extras)
    if reasoning.show is not None:
        encoder.lose("reasoning.show")
    if reasoning.budget_tokens:
        encoder.lose("reasoning.budget_tokens", (), "adapted", "switched on without a budget")
    if reasoning.mode == "adaptive":
        encoder.lose("reasoning.mode", (), "adapted", "switched on")
    if reasoning.effort in EFFORT_WORDS:
        known = EFFORT_WORDS[reasoning.effort or ""]
        encoder.lose("reasoning.effort", (), "adapted", f"{reasoning.effort} became {known}")
    value = think_field(reasoning)
    if isinstance(value, str) and value not in EFFORTS:
        encoder.lose("reasoning.effort", (), "adapted", f"{value} became medium")
        return "medium"
    return value


def take_format(left: Wire) -> ResponseFormat | None:
    """What `format` says, None where it says nothing known."""
    form = left.get("format")
    if form == "json":
        del left["format"]
        return ResponseFormat(kind="json_object")
    if isinstance(form, dict) and form:
        del left["format"]
        return ResponseFormat(kind="json_schema", schema=form)
    return None


def format_field(form: ResponseFormat | None) -> Json:
    """The value of `format`, None where nothing was said."""
    if form is None or form.kind == "text":
        return None
    if form.kind == "json_schema" and isinstance(form.schema, dict):
        return form.schema
    return "json"


def take_tools(left: Wire) -> tuple[Tool, ...]:
    """The tools on offer."""
    listed = left.get("tools")
    if not isinstance(listed, list) or not listed:
        return ()
    del left["tools"]
    return tuple([_tool(item, ("tools", place)) for place, item in enumerate(listed)])


def _tool(value: Json, at: Path) -> Tool:
    match value:
        case {"type": "function", "function": {"name": str(name), **about}, **rest}:
            left: Wire = dict(about)
            description, schema = left.get("description"), left.get("parameters")
            if isinstance(description, str):
                del left["description"]
            if isinstance(schema, dict):
                del left["parameters"]
            if rest:
                left["tool"] = rest
            return Tool(
                name=name,
                description=description if isinstance(description, str) else None,
                parameters=schema if isinstance(schema, dict) else None,
                extras=left,
                at=at,
            )
        case dict():
            return Tool(
                kind="server", name=str(value.get("type", "")), dialect=NAME, value=value, at=at
            )
        case _:
            return Tool(kind="server", name="", dialect=NAME, value=value, at=at)
