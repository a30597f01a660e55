"""What a request sets beside its messages: tools, tool choice, reasoning, form of the answer.

Wire values <-> canon values, without losses for what this protocol made; the foreign ones are
adapted in `request`. Source: OpenAI API reference, Responses, create; guide "Function calling".
"""

from __future__ import annotations

from llmitm.canon.request import ReasoningConfig, ResponseFormat, Tool, ToolChoice
from llmitm.canon.values import Json, Path, pointer
from llmitm.dialects.openai_responses.parts import Wire, extras_of, take_str
from llmitm.dialects.openai_responses.tables import NAME
from llmitm.errors import ClientWireError


def decode_tool(value: Json, at: Path) -> Tool:
    """One entry of `tools`; ClientWireError unless it is an object.

    What is neither a function nor a custom tool with a name is a server tool.
    """
    if not isinstance(value, dict):
        raise ClientWireError(pointer(at), "a tool must be an object")
    kind = value.get("type")
    rest: Wire = {key: item for key, item in value.items() if key != "type"}
    name = take_str(rest, "name")
    if name is None or kind not in ("function", "custom"):
        best = name or take_str(rest, "server_label") or (kind if isinstance(kind, str) else "")
        return Tool(kind="server", name=best, dialect=NAME, value=value, at=at)
    description = take_str(rest, "description")
    if kind == "custom":
        form = rest.pop("format") if isinstance(rest.get("format"), dict) else None
        return Tool(
            kind="custom",
            name=name,
            description=description,
            format=form,
            dialect=NAME,
            extras=extras_of(rest),
            at=at,
        )
    parameters = rest.pop("parameters") if isinstance(rest.get("parameters"), dict) else None
    strict = rest.get("strict")
    if isinstance(strict, bool):
        del rest["strict"]
    return Tool(
        name=name,
        description=description,
        parameters=parameters,
        strict=strict if isinstance(strict, bool) else None,
        dialect=NAME,
        extras=extras_of(rest),
        at=at,
    )


def encode_own_tool(tool: Tool) -> Json:
    """The entry that `decode_tool` made this from."""
    if tool.kind == "server":
        return tool.value
    wire: Wire = {"type": tool.kind, "name": tool.name, **tool.extras}
    if tool.description is not None:
        wire["description"] = tool.description
    if tool.kind == "custom":
        if tool.format is not None:
            wire["format"] = tool.format
        return wire
    if tool.parameters is not None:
        wire["parameters"] = tool.parameters
    if tool.strict is not None:
        wire["strict"] = tool.strict
    return wire


def decode_tool_choice(value: Json) -> ToolChoice | None:
    """None if it is neither a known word nor an object."""
    match value:
        case "auto" | "none" | "required":
            return ToolChoice(mode=value, dialect=NAME)
        case {"type": "function" | "custom", "name": str(name)}:
            rest: Wire = {key: item for key, item in value.items() if key != "name"}
            if rest["type"] == "function":
                del rest["type"]
            return ToolChoice(mode="named", names=(name,), dialect=NAME, extras=extras_of(rest))
        case {"type": "allowed_tools", "mode": "auto" | "required" as mode, "tools": list(tools)}:
            names = tuple(_name(tool) for tool in tools)
            choice = ToolChoice(mode=mode, names=names, dialect=NAME)
            if encode_tool_choice(choice) == value:
                return choice
            named = tuple(name for name in names if name)
            return ToolChoice(mode=mode, names=named, dialect=NAME, value=value)
        case dict():
            # A server tool that has to be used: `{"type": "web_search"}` and the like.
            return ToolChoice(mode="required", dialect=NAME, value=value)
        case _:
            return None


def _name(tool: Json) -> str:
    name = tool.get("name") if isinstance(tool, dict) else None
    return name if isinstance(name, str) else ""


def encode_tool_choice(choice: ToolChoice, custom: frozenset[str] = frozenset()) -> Json:
    """custom: names of the tools that take free text."""
    own = choice.dialect in (NAME, "")
    if choice.value is not None and choice.dialect == NAME:
        return choice.value

    def reference(name: str) -> Wire:
        return {"type": "custom" if name in custom else "function", "name": name}

    match choice.mode:
        case "named" if choice.names:
            return {**reference(choice.names[0]), **(choice.extras if own else {})}
        case "auto" | "required" if choice.names:
            tools: list[Json] = [reference(name) for name in choice.names]
            return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}
        case "named":
            return "required"
        case _:
            return choice.mode


def decode_reasoning_config(value: Wire) -> ReasoningConfig:
    """`reasoning`: effort and summary; all else is extras."""
    rest: Wire = dict(value)
    return ReasoningConfig(
        effort=take_str(rest, "effort"), show=take_str(rest, "summary"), extras=extras_of(rest)
    )


def encode_own_reasoning_config(config: ReasoningConfig) -> Wire:
    """The object that `decode_reasoning_config` made this from."""
    wire: Wire = dict(config.extras)
    if config.effort is not None:
        wire["effort"] = config.effort
    if config.show is not None:
        wire["summary"] = config.show
    return wire


def decode_format(value: Json) -> ResponseFormat | None:
    """`text.format`; None if it is of no kind canon knows."""
    if not isinstance(value, dict):
        return None
    rest: Wire = {key: item for key, item in value.items() if key != "type"}
    kind = value.get("type")
    match kind:
        case "text" | "json_object":
            return ResponseFormat(kind=kind, extras=extras_of(rest))
        case _:
            pass
    schema = rest.pop("schema", None)
    if kind != "json_schema" or not isinstance(schema, dict | bool):
        return None
    strict = rest.get("strict")
    if isinstance(strict, bool):
        del rest["strict"]
    return ResponseFormat(
        kind="json_schema",
        schema=schema,
        name=take_str(rest, "name"),
        description=take_str(rest, "description"),
        strict=strict if isinstance(strict, bool) else None,
        extras=extras_of(rest),
    )


def encode_format(form: ResponseFormat, own: bool) -> Wire:
    """own: its extras are of this protocol; a name, which the API wants, is made up otherwise."""
    wire: Wire = {"type": form.kind, **(form.extras if own else {})}
    if form.kind != "json_schema":
        return wire
    name = form.name if own else form.name or "answer"
    if name is not None:
        wire["name"] = name
    wire["schema"] = form.schema
    if form.description is not None:
        wire["description"] = form.description
    if form.strict is not None:
        wire["strict"] = form.strict
    return wire
