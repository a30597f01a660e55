"""Tools, tool choice, response format and reasoning settings of a chat request, both ways.

Never raises. Source: OpenAI API reference, Chat; OpenRouter (`reasoning`), Z.ai, DeepSeek and
Moonshot (`thinking`), Alibaba (`enable_thinking`, `thinking_budget`).
"""

from __future__ import annotations

from typing import Literal, cast

from llmitm.canon.request import (
    ReasoningConfig,
    Request,
    ResponseFormat,
    Tool,
    ToolChoice,
)
from llmitm.canon.values import NO_EXTRAS, Facts, Json, Loss, Path, pointer
from llmitm.dialects.limits import effort_of, is_off
from llmitm.dialects.openai_chat.parts import Wire, as_object, rest_of
from llmitm.dialects.openai_chat.tables import NAME, OPENAI_DIALECTS
from llmitm.dialects.telling import telling

_MODES = {"auto": "auto", "none": "none", "required": "required"}
_FORMATS = ("text", "json_object", "json_schema")
_FORMS = ("reasoning", "thinking", "enable_thinking")


def decode_tool(value: Json, at: Path) -> Tool:
    """One element of `tools` (or of the legacy `functions`)."""
    wire = as_object(value)
    if wire is not None and at[:1] == ("functions",):
        legacy: Wire = {"function": wire}
        wire = legacy
    kind = wire.get("type", "function") if wire else None
    key = "custom" if kind == "custom" else "function"
    inner = as_object(wire.get(key)) if wire and kind in ("function", "custom") else None
    name = inner.get("name") if inner else None
    if wire is None or inner is None or not isinstance(name, str):
        label = (wire or {}).get("name", kind)
        return Tool(
            kind="server",
            name=label if isinstance(label, str) else "",
            dialect=NAME,
            value=value,
            at=at,
        )
    read = ["name"]
    description, parameters, strict = (
        inner.get(field) for field in ("description", "parameters", "strict")
    )
    if isinstance(description, str):
        read.append("description")
    if key == "function":
        read += ["parameters"] if isinstance(parameters, dict) else []
        read += ["strict"] if isinstance(strict, bool) else []
    elif inner.get("format") is not None:
        read.append("format")
    extras: Wire = dict(rest_of(wire, key, "type"))
    if inner_rest := rest_of(inner, *read):
        extras[key] = dict(inner_rest)
    return Tool(
        kind="custom" if key == "custom" else "function",
        name=name,
        description=description if isinstance(description, str) else None,
        parameters=parameters if "parameters" in read else None,
        strict=cast("bool", strict) if "strict" in read else None,
        format=inner.get("format") if key == "custom" else None,
        dialect=NAME,
        extras=extras or NO_EXTRAS,
        at=at,
    )


def encode_tool(tool: Tool, source: str, losses: list[Loss]) -> Wire | None:
    """One element of `tools` (of `functions` where it was read from there); None with a loss."""
    own = source == NAME
    if tool.kind == "server":
        if tool.dialect == NAME and isinstance(tool.value, dict):
            return tool.value
        losses.append(Loss("tool.server", pointer(tool.at), NAME, say=tool.name))
        return None
    key = "custom" if tool.kind == "custom" else "function"
    extras: Wire = dict(tool.extras) if own else {}
    if not own:
        losses.extend(
            Loss("field", pointer((*tool.at, name)), NAME) for name in telling(tool.extras)
        )
    kept = extras.pop(key, None)
    inner: Wire = {"name": tool.name}
    if tool.description is not None:
        inner["description"] = tool.description
    if tool.kind == "custom":
        if tool.format is not None:
            inner["format"] = _format(tool.format, own)
    else:
        if tool.parameters is not None:
            inner["parameters"] = tool.parameters
        if tool.strict is not None:
            inner["strict"] = tool.strict
    inner |= {k: v for k, v in (kept.items() if isinstance(kept, dict) else ()) if k not in inner}
    if own and tool.at[:1] == ("functions",):
        return inner
    return {"type": key, key: inner, **extras}


def _format(value: Json, own: bool) -> Json:
    """Responses keeps a grammar's definition beside its type, this protocol below `grammar`."""
    if own or not isinstance(value, dict) or value.get("type") != "grammar" or "grammar" in value:
        return value
    return {"type": "grammar", "grammar": dict(rest_of(value, "type"))}


def decode_tool_choice(value: Json) -> ToolChoice | None:
    """`tool_choice`; a form canon has no words for is kept in `value`. None = not said."""
    if value is None:
        return None
    if isinstance(value, str):
        if value in _MODES:
            return ToolChoice(mode=cast("Literal['auto', 'none', 'required']", value))
        mode = "required" if value == "any" else "auto"
        return ToolChoice(mode=mode, dialect=NAME, value=value)
    wire = as_object(value) or {}
    kind = wire.get("type")
    holder = as_object(wire.get(kind)) if isinstance(kind, str) else None
    if holder is not None and kind in ("function", "custom"):
        name = holder.get("name")
        if isinstance(name, str):
            exact = kind == "function" and wire == named_choice(name, "function")
            return ToolChoice(
                mode="named",
                names=(name,),
                dialect=NAME,
                value=None if exact else value,
            )
    if holder is not None and kind == "allowed_tools":
        names = [
            cast("Wire", item[item_kind]).get("name")
            for item in _objects(holder.get("tools"))
            if isinstance(item_kind := item.get("type"), str)
            and isinstance(item.get(item_kind), dict)
        ]
        return ToolChoice(
            mode="required" if holder.get("mode") == "required" else "auto",
            names=tuple(name for name in names if isinstance(name, str)),
            dialect=NAME,
            value=value,
        )
    return ToolChoice(mode="auto", dialect=NAME, value=value)


def _objects(value: Json) -> list[Wire]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def named_choice(name: str, kind: str) -> Wire:
    """The wire form of "exactly this tool"."""
    return {"type": kind, kind: {"name": name}}


def encode_tool_choice(request: Request, losses: list[Loss]) -> Json:
    """The wire form of the request's tool choice; None = say nothing."""
    choice = request.tool_choice
    if choice is None:
        return None
    if choice.value is not None and choice.dialect == NAME:
        return choice.value
    kinds = {tool.name: tool.kind for tool in request.tools}
    if choice.mode == "named" and choice.names:
        kind = "custom" if kinds.get(choice.names[0]) == "custom" else "function"
        return named_choice(choice.names[0], kind)
    if choice.value is not None and not choice.names:
        losses.append(Loss("tool_choice", "/tool_choice", NAME, say="as " + choice.mode))
    if choice.names and choice.mode in ("auto", "required"):
        listed: list[Json] = [
            cast(
                "Json", named_choice(name, "custom" if kinds.get(name) == "custom" else "function")
            )
            for name in choice.names
        ]
        return {"type": "allowed_tools", "allowed_tools": {"mode": choice.mode, "tools": listed}}
    return choice.mode if choice.mode != "named" else "required"


def decode_response_format(value: Json) -> ResponseFormat | None:
    """`response_format`, None if canon has no words for it."""
    wire = as_object(value)
    kind = wire.get("type") if wire else None
    if wire is None or kind not in _FORMATS:
        return None
    extras: Wire = dict(rest_of(wire, "type", "json_schema" if kind == "json_schema" else "type"))
    if kind != "json_schema":
        return ResponseFormat(kind=kind, extras=extras or NO_EXTRAS)
    inner = as_object(wire.get("json_schema"))
    if inner is None:
        return None
    name, description, strict = (inner.get(key) for key in ("name", "description", "strict"))
    read = [
        *(["name"] if isinstance(name, str) else []),
        *(["description"] if isinstance(description, str) else []),
        *(["strict"] if isinstance(strict, bool) else []),
        *(["schema"] if isinstance(inner.get("schema"), dict) else []),
    ]
    if rest := rest_of(inner, *read):
        extras["json_schema"] = dict(rest)
    return ResponseFormat(
        kind="json_schema",
        schema=inner.get("schema") if "schema" in read else None,
        name=cast("str | None", name if "name" in read else None),
        description=cast("str | None", description if "description" in read else None),
        strict=cast("bool | None", strict if "strict" in read else None),
        extras=extras or NO_EXTRAS,
    )


def encode_response_format(form: ResponseFormat, source: str) -> Wire:
    """The wire form; a schema without a name (other protocols) is called `response`."""
    own = source == NAME
    extras: Wire = dict(form.extras) if source in OPENAI_DIALECTS else {}
    if form.kind != "json_schema":
        return {"type": form.kind, **extras}
    inner: Wire = {}
    if form.name is not None or not own:
        inner["name"] = form.name or "response"
    for key, value in (
        ("description", form.description),
        ("schema", form.schema),
        ("strict", form.strict),
    ):
        if value is not None:
            inner[key] = value
    kept = extras.pop("json_schema", None)
    inner |= {k: v for k, v in (kept.items() if isinstance(kept, dict) else ()) if k not in inner}
    return {"type": "json_schema", "json_schema": inner, **extras}


def take_reasoning_config(rest: Wire) -> ReasoningConfig | None:
    """The reasoning settings; the keys they were read from leave `rest`.

    extras: form's key -> what is left of it, so that the same form is written again.
    """
    extras: Wire = {}
    effort: str | None = None
    mode: Literal["on", "off"] | None = None
    budget: int | None = None
    routed = isinstance(rest.get("reasoning"), dict)
    if not routed and isinstance(value := rest.get("reasoning_effort"), str):
        del rest["reasoning_effort"]
        effort = value
    if (wire := as_object(rest.get("reasoning"))) is not None:
        kept = dict(wire)
        if isinstance(value := wire.get("effort"), str):
            effort = value
            del kept["effort"]
        if type(value := wire.get("max_tokens")) is int:
            budget = value
            del kept["max_tokens"]
        if isinstance(value := wire.get("enabled"), bool):
            mode = "on" if value else "off"
            del kept["enabled"]
        extras["reasoning"] = kept
        del rest["reasoning"]
    elif (wire := as_object(rest.get("thinking"))) is not None:
        kept = dict(wire)
        if (value := wire.get("type")) in ("enabled", "disabled"):
            mode = "on" if value == "enabled" else "off"
            del kept["type"]
        if type(value := wire.get("budget_tokens")) is int:
            budget = value
            del kept["budget_tokens"]
        extras["thinking"] = kept
        del rest["thinking"]
    elif isinstance(value := rest.get("enable_thinking"), bool):
        mode = "on" if value else "off"
        extras["enable_thinking"] = None
        del rest["enable_thinking"]
        if type(value := rest.get("thinking_budget")) is int:
            budget = value
            del rest["thinking_budget"]
    if effort is None and not extras:
        return None
    return ReasoningConfig(
        mode=mode, effort=effort, budget_tokens=budget, extras=extras or NO_EXTRAS
    )


def encode_reasoning_config(
    config: ReasoningConfig, source: str, facts: Facts, losses: list[Loss]
) -> Wire:
    """Top-level keys that say these settings.

    The form is the one they came in, else the provider's (`facts.extras["reasoning_form"]`:
    `reasoning_effort`, `reasoning`, `thinking` or `enable_thinking`), else `reasoning_effort`.
    """
    wanted = facts.extras.get("reasoning_form")
    own = config.extras if source == NAME else NO_EXTRAS
    form = next((key for key in _FORMS if key in own), "reasoning_effort")
    if isinstance(wanted, str) and wanted != form:
        form, own = wanted, NO_EXTRAS
    kept = own.get(form)
    rest: Wire = dict(kept) if isinstance(kept, dict) else {}
    if config.show is not None:
        losses.append(Loss("reasoning.show", "/reasoning", NAME))
    match form:
        case "reasoning":
            return {"reasoning": _router_form(config) | rest}
        case "thinking":
            thinking: Wire = {"thinking": _thinking_form(config, own is NO_EXTRAS) | rest}
            return thinking | _effort(config.effort)
        case "enable_thinking":
            wire: Wire = {"enable_thinking": not is_off(config)}
            if config.budget_tokens is not None and config.budget_tokens >= 0:
                wire["thinking_budget"] = config.budget_tokens
            return wire | _effort(config.effort)
        case _:
            return _effort(_effort_of(config, facts, losses))


def _effort(effort: str | None) -> Wire:
    return {} if effort is None else {"reasoning_effort": effort}


def _router_form(config: ReasoningConfig) -> Wire:
    wire: Wire = {}
    if config.effort is not None:
        wire["effort"] = config.effort
    if config.budget_tokens is not None and config.budget_tokens >= 0:
        wire["max_tokens"] = config.budget_tokens
    if config.mode in ("on", "off"):
        wire["enabled"] = config.mode == "on"
    return wire


def _thinking_form(config: ReasoningConfig, switch: bool) -> Wire:
    """switch: the wish came in another form, so this one must say whether to think."""
    wire: Wire = {}
    if switch or config.mode is not None:
        wire["type"] = "disabled" if is_off(config) else "enabled"
    if config.budget_tokens is not None and config.budget_tokens >= 0:
        wire["budget_tokens"] = config.budget_tokens
    return wire


def _effort_of(config: ReasoningConfig, facts: Facts, losses: list[Loss]) -> str | None:
    """The word for these settings where effort is all that can be said."""
    effort, budget = config.effort, config.budget_tokens
    if effort is not None:
        if budget is not None:
            losses.append(Loss("reasoning.budget_tokens", "", NAME, say="effort says it"))
        return effort
    if budget is not None and budget > 0:
        effort = effort_of(budget, facts)
        losses.append(Loss("reasoning.budget_tokens", "", NAME, "adapted", f"effort {effort}"))
        return effort
    if config.mode == "off" or budget == 0:
        if "none" in facts.efforts:
            return "none"
        losses.append(Loss("reasoning.mode", "", NAME))
    elif config.mode is not None or budget is not None:
        losses.append(Loss("reasoning.mode", "", NAME, "adapted", "the model's own effort"))
    return None
