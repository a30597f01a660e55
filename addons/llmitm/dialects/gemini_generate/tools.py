"""Tools on offer and the choice among them, both ways.

Source: Gemini API reference, Tool, FunctionDeclaration, ToolConfig.
"""

from __future__ import annotations

from llmitm.canon.request import Request, Tool, ToolChoice
from llmitm.canon.values import Json, Path, pointer
from llmitm.dialects.gemini_generate.compose import Composer, Fields
from llmitm.dialects.gemini_generate.schema import json_schema
from llmitm.dialects.gemini_generate.tables import FAMILY, NAME, SERVER_TOOLS
from llmitm.dialects.gemini_generate.wire import Wire, camel, source_of, without
from llmitm.errors import ClientWireError

_FREE_TEXT: Json = {
    "type": "object",
    "properties": {"input": {"type": "string"}},
    "required": ["input"],
}

_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY", "named": "ANY"}


def read_tools(raw: Json, at: Path) -> tuple[Tool, ...]:
    """Every function declaration a tool of its own, every other entry a server tool.

    Raises ClientWireError where an entry or a declaration is not an object.
    """
    if raw is None:
        return ()
    entries = raw if isinstance(raw, list) else [raw]
    tools: list[Tool] = []
    for place, entry in enumerate(entries):
        here = (*at, place) if isinstance(raw, list) else at
        if not isinstance(entry, dict):
            raise ClientWireError(pointer(here), "a tool must be an object")
        for key, value in entry.items():
            name = next(iter(camel({key: value})))
            if name == "functionDeclarations" and isinstance(value, list):
                tools += (_function(item, (*here, key, index)) for index, item in enumerate(value))
            else:
                tools.append(
                    Tool(
                        kind="server",
                        name=name,
                        dialect=NAME,
                        value={key: value},
                        extras=Wire({}),
                        at=here,
                    )
                )
    return tuple(tools)


def _function(raw: Json, at: Path) -> Tool:
    if not isinstance(raw, dict):
        raise ClientWireError(pointer(at), "a function declaration must be an object")
    fields = camel(raw)
    name, description = fields.get("name"), fields.get("description")
    if not isinstance(name, str):
        raise ClientWireError(pointer((*at, "name")), "a function needs a name")
    rest = without(fields, ("name", "parameters", "parametersJsonSchema"))
    if isinstance(description, str):
        del rest["description"]
    parameters = fields.get("parametersJsonSchema")
    if parameters is None:
        parameters = json_schema(fields.get("parameters"))
    return Tool(
        name=name,
        description=description if isinstance(description, str) else None,
        parameters=parameters,
        dialect=NAME,
        extras=Wire(rest, raw),
        at=at,
    )


def function(tool: Tool, composer: Composer) -> Fields | None:
    """One function declaration; None for a tool that is none here."""
    source = source_of(tool.extras)
    if isinstance(source, dict) and _function(source, ()) == tool:
        return source
    if tool.kind == "server":
        return None
    fields: Fields = {"name": tool.name}
    if tool.description is not None:
        fields["description"] = tool.description
    if tool.kind == "custom":
        composer.adapt("tool.custom", tool.at, "as a function with the argument `input`")
        fields["parametersJsonSchema"] = _FREE_TEXT
    elif tool.parameters is not None:
        fields["parametersJsonSchema"] = tool.parameters
    if tool.strict:
        composer.lose("tool.strict", (*tool.at, "strict"))
    fields.update(composer.extras(tool.extras, tool.at))
    return fields


def write_tools(tools: tuple[Tool, ...], composer: Composer) -> list[Json]:
    """The tool entries: all functions in one, one for each server tool.

    Another protocol's server tool becomes Gemini's counterpart where there is one, but not
    beside functions, which most models reject.
    """
    functions: list[Json] = []
    entries: list[Json] = []
    alone = all(tool.kind == "server" for tool in tools)
    for tool in tools:
        entry = _server(tool, composer, alone=alone) if tool.kind == "server" else None
        if tool.kind != "server":
            if not functions:
                entries.append({"functionDeclarations": functions})
            functions.append(function(tool, composer))
        elif entry is not None and entry not in entries:
            entries.append(entry)
    return entries


def _server(tool: Tool, composer: Composer, *, alone: bool) -> Fields | None:
    if tool.dialect in FAMILY and isinstance(tool.value, dict):
        return tool.value
    match = next((own for start, own in SERVER_TOOLS if tool.name.startswith(start)), None)
    if match is None or not alone:
        composer.lose("tool.server", tool.at, tool.name)
        return None
    composer.adapt("tool.server", tool.at, match)
    return {match: {}}


def read_tool_config(raw: Json) -> tuple[ToolChoice | None, dict[str, Json]]:
    """(the choice, the rest of `toolConfig`). Only the plain modes become a choice of canon."""
    if not isinstance(raw, dict):
        return None, {}
    fields = camel(raw)
    calling = fields.get("functionCallingConfig")
    rest = without(fields, ("functionCallingConfig",))
    if not isinstance(calling, dict):
        return None, rest if calling is None else dict(fields)
    inner = camel(calling)
    mode, names = inner.get("mode"), inner.get("allowedFunctionNames")
    allowed: list[str] = []
    if isinstance(names, list):
        allowed = [name for name in names if isinstance(name, str)]
    extras = Wire(without(inner, ("mode", "allowedFunctionNames")), calling)
    word = mode.upper() if isinstance(mode, str) else mode
    if word in ("ANY", 2):
        kind = "named" if len(allowed) == 1 else "required"
        return ToolChoice(mode=kind, names=tuple(allowed), dialect=NAME, extras=extras), rest
    if word in ("NONE", 3) and not allowed:
        return ToolChoice(mode="none", dialect=NAME, extras=extras), rest
    plain = word in ("AUTO", 1, None, "MODE_UNSPECIFIED") and not allowed
    value: Json = None if plain else calling
    return ToolChoice(
        mode="auto", names=tuple(allowed), dialect=NAME, value=value, extras=extras
    ), rest


def write_tool_choice(request: Request, composer: Composer) -> Fields | None:
    """`functionCallingConfig`; None when nothing is said about it."""
    if request.parallel_tool_calls is False:
        composer.lose("parallel_tool_calls")
    choice = request.tool_choice
    if choice is None:
        return None
    source = source_of(choice.extras)
    if isinstance(source, dict):
        before, _ = read_tool_config({"functionCallingConfig": source})
        if before == choice:
            return source
    if choice.value is not None and choice.mode == "auto":
        if choice.dialect in FAMILY and isinstance(choice.value, dict):
            return choice.value
        composer.lose("tool_choice")
    if not any(tool.kind != "server" for tool in request.tools):
        # The API rejects a mode without functions.
        if choice.mode not in ("auto", "none"):
            composer.lose("tool_choice")
        return None
    fields: Fields = {"mode": _MODES[choice.mode]}
    if choice.names and choice.mode in ("required", "named"):
        fields["allowedFunctionNames"] = list(choice.names)
    return {**fields, **composer.extras(choice.extras, ("tool_choice",))}
