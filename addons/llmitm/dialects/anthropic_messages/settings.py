"""Everything in a Messages request that is not a message: sampling, thinking, tools, format.

Reading takes out of the body only what canon can give back exactly; the rest stays for `extras`.
Writing here is for requests of this protocol; those of others are adapted in `foreign`.
Source: Anthropic API reference, Messages; extended thinking; structured outputs.
"""

from __future__ import annotations

from llmitm.canon.request import (
    ReasoningConfig,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolChoice,
)
from llmitm.canon.values import NO_EXTRAS, Json, Path
from llmitm.dialects.anthropic_messages.tables import (
    NAME,
    THINKING_MODES,
    THINKING_TYPES,
    TOOL_CHOICE_TYPES,
    TOOL_MODES,
)
from llmitm.dialects.json_text import whole, without

type Body = dict[str, Json]


def take_sampling(left: Body) -> Sampling:
    """Takes the sampling fields out of `left`; what has another type than it should stays."""
    stop = left.get("stop_sequences")
    words: list[str] = []
    if isinstance(stop, list):
        words = [word for word in stop if isinstance(word, str)]
        if words and len(words) == len(stop):
            del left["stop_sequences"]
        else:
            words = []
    return Sampling(
        temperature=_take_number(left, "temperature"),
        top_p=_take_number(left, "top_p"),
        top_k=_take_whole(left, "top_k"),
        max_tokens=_take_whole(left, "max_tokens"),
        stop=tuple(words),
    )


def _take_number(left: Body, key: str) -> float | None:
    value = left.get(key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        del left[key]
        return value
    return None


def _take_whole(left: Body, key: str) -> int | None:
    value = whole(left.get(key))
    if value is not None:
        del left[key]
    return value


def take_reasoning(left: Body) -> ReasoningConfig | None:
    """Takes `thinking` and `output_config.effort` out of `left`."""
    thinking, config = left.get("thinking"), left.get("output_config")
    effort = config.get("effort") if isinstance(config, dict) else None
    if isinstance(config, dict) and isinstance(effort, str):
        _shrink(left, "output_config", "effort")
    else:
        effort = None
    kind = thinking.get("type") if isinstance(thinking, dict) else None
    mode = THINKING_MODES.get(kind) if isinstance(kind, str) else None
    if not isinstance(thinking, dict) or mode is None:
        return None if effort is None else ReasoningConfig(effort=effort)
    del left["thinking"]
    known = ["type"]
    budget = whole(thinking.get("budget_tokens"))
    if budget is not None:
        known.append("budget_tokens")
    show = thinking.get("display")
    if isinstance(show, str):
        known.append("display")
    return ReasoningConfig(
        mode=mode,
        effort=effort,
        budget_tokens=budget,
        show=show if isinstance(show, str) else None,
        extras=without(thinking, *known),
    )


def _shrink(left: Body, key: str, *gone: str) -> None:
    """Takes keys out of the object at `key`, and the object itself when nothing else is in it."""
    value = left[key]
    rest = without(value, *gone) if isinstance(value, dict) else NO_EXTRAS
    if rest:
        left[key] = dict(rest)
    else:
        del left[key]


def take_format(left: Body) -> ResponseFormat | None:
    """Takes the answer's form out of `left`: `output_config.format`, else `output_format`.

    Of the older `output_format` an object stays in `left`, empty or not: it tells where it was.
    """
    config = left.get("output_config")
    if isinstance(config, dict):
        form = _format(config.get("format"))
        if form is not None:
            _shrink(left, "output_config", "format")
            return form
    form = _format(left.get("output_format"))
    if form is not None:
        left["output_format"] = dict(form.extras)
        return ResponseFormat(kind="json_schema", schema=form.schema)
    return None


def _format(value: Json) -> ResponseFormat | None:
    match value:
        case {"type": "json_schema", "schema": dict(schema)}:
            rest = without(value, "type", "schema")
            return ResponseFormat(kind="json_schema", schema=schema, extras=rest)
        case _:
            return None


def take_tool_choice(left: Body) -> tuple[ToolChoice | None, bool | None]:
    """Takes `tool_choice` out of `left`: (the choice, whether calls may be parallel)."""
    choice = left.get("tool_choice")
    if not isinstance(choice, dict):
        return None, None
    del left["tool_choice"]
    kind, name = choice.get("type"), choice.get("name")
    mode = TOOL_MODES.get(kind) if isinstance(kind, str) else None
    if mode is None or (mode == "named" and not isinstance(name, str)):
        return ToolChoice(mode="auto", dialect=NAME, value=choice), None
    known = ["type"]
    names: tuple[str, ...] = ()
    if mode == "named" and isinstance(name, str):
        names = (name,)
        known.append("name")
    parallel: bool | None = None
    disabled = choice.get("disable_parallel_tool_use")
    if isinstance(disabled, bool):
        parallel = not disabled
        known.append("disable_parallel_tool_use")
    return ToolChoice(mode=mode, names=names, extras=without(choice, *known)), parallel


def take_tools(left: Body) -> tuple[Tool, ...]:
    """Takes a list of tools out of `left`; an empty one stays."""
    tools = left.get("tools")
    if not isinstance(tools, list) or not tools:
        return ()
    del left["tools"]
    return tuple([_tool(tool, ("tools", place)) for place, tool in enumerate(tools)])


def _tool(value: Json, at: Path) -> Tool:
    if not isinstance(value, dict):
        return Tool(kind="server", name="", dialect=NAME, value=value, at=at)
    kind, name = value.get("type"), value.get("name")
    if kind not in (None, "custom") or not isinstance(name, str) or "input_schema" not in value:
        words = (name, value.get("mcp_server_name"), kind)
        best = next((word for word in words if isinstance(word, str)), "")
        return Tool(kind="server", name=best, dialect=NAME, value=value, at=at)
    known = ["name", "input_schema"]
    description = value.get("description")
    if isinstance(description, str):
        known.append("description")
    strict = value.get("strict")
    if isinstance(strict, bool):
        known.append("strict")
    return Tool(
        name=name,
        description=description if isinstance(description, str) else None,
        parameters=value["input_schema"],
        strict=strict if isinstance(strict, bool) else None,
        extras=without(value, *known),
        at=at,
    )


def sampling_fields(sampling: Sampling) -> Body:
    """The sampling fields as the API names them, without those not said."""
    fields: Body = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "stop_sequences": list(sampling.stop) or None,
    }
    return {key: value for key, value in fields.items() if value is not None}


def thinking_field(config: ReasoningConfig | None) -> Body | None:
    """`thinking` of a request of this protocol, None if nothing but an effort is said."""
    if config is None:
        return None
    mode = config.mode or ("on" if config.budget_tokens is not None else None)
    fields: Body = {}
    if mode is not None:
        fields["type"] = THINKING_TYPES[mode]
    if config.budget_tokens is not None:
        fields["budget_tokens"] = config.budget_tokens
    if config.show is not None:
        fields["display"] = config.show
    return {**fields, **config.extras} or None


def tool_choice_field(choice: ToolChoice | None, parallel: bool | None) -> Body | None:
    """`tool_choice` of a request of this protocol."""
    if choice is None:
        if parallel is None:
            return None
        choice = ToolChoice(mode="auto")
    if isinstance(choice.value, dict) and choice.dialect == NAME:
        return choice.value
    fields: Body = {"type": TOOL_CHOICE_TYPES[choice.mode]}
    if choice.mode == "named":
        fields["name"] = choice.names[0] if choice.names else ""
    if parallel is not None:
        fields["disable_parallel_tool_use"] = not parallel
    return {**fields, **choice.extras}


def format_field(form: ResponseFormat) -> Body:
    """`output_config.format` of a request of this protocol."""
    return {"type": form.kind, "schema": form.schema, **form.extras}


def older_format(request: Request) -> Body | None:
    """What `take_format` left of an `output_format`, None if the form was not told there."""
    older = request.extras.get("output_format")
    return older if isinstance(older, dict) and "type" not in older else None


def own_fields(request: Request) -> Body:
    """All fields of a request of this protocol that are not messages, system or tools."""
    extras = dict(request.extras)
    body: Body = {}
    if request.sampling.max_tokens is not None:
        body["max_tokens"] = request.sampling.max_tokens
    if request.stream:
        body["stream"] = True
    body |= sampling_fields(request.sampling)
    thinking = thinking_field(request.reasoning)
    if thinking is not None:
        body["thinking"] = thinking
    choice = tool_choice_field(request.tool_choice, request.parallel_tool_calls)
    if choice is not None:
        body["tool_choice"] = choice
    config: Body = {}
    if request.reasoning is not None and request.reasoning.effort is not None:
        config["effort"] = request.reasoning.effort
    if request.response_format is not None:
        older = older_format(request)
        if older is not None:
            extras["output_format"] = {**format_field(request.response_format), **older}
        else:
            config["format"] = format_field(request.response_format)
    if config:
        rest = extras.get("output_config")
        extras["output_config"] = {**config, **rest} if isinstance(rest, dict) else config
    return {**body, **extras}
