"""What another protocol's request sets, in this protocol's words, with losses for the rest.

Also used where a stage gave a request of this protocol something that it cannot say.
Source: OpenAI API reference, Responses, create; the same of the protocols that are read.
"""

from __future__ import annotations

from collections.abc import Iterable

from llmitm.canon.request import ReasoningConfig, Request, Sampling, Tool
from llmitm.canon.values import Facts, Json, Loss, Path, pointer
from llmitm.dialects.limits import effort_of
from llmitm.dialects.openai_responses.parts import Wire
from llmitm.dialects.openai_responses.settings import (
    encode_format,
    encode_own_reasoning_config,
    encode_own_tool,
    encode_tool_choice,
)
from llmitm.dialects.openai_responses.tables import (
    ENCRYPTED_INCLUDE,
    FAMILY,
    LOGPROBS_INCLUDE,
    NAME,
    SAME_IN_CHAT,
    SAMPLING,
    SAMPLING_LOST,
    SERVICE_TIERS,
    SHOWN_BY,
)
from llmitm.dialects.telling import telling, tells


def encode_foreign_settings(request: Request, facts: Facts, wire: Wire, losses: list[Loss]) -> None:
    """Writes everything but model, input, instructions and stream of a foreign request."""
    tools = encode_tools(request.tools, losses)
    if tools:
        wire["tools"] = tools
    _tool_choice(request, wire, losses)
    if request.parallel_tool_calls is not None:
        wire["parallel_tool_calls"] = request.parallel_tool_calls
    for name, key in SAMPLING.items():
        value = getattr(request.sampling, name)
        if value is not None:
            wire[key] = value
    sampling_losses(request.sampling, losses)
    include: list[Json] = []
    if request.sampling.logprobs:
        include.append(LOGPROBS_INCLUDE)
    if request.reasoning is not None:
        thinking = encode_reasoning_config(request.reasoning, facts, losses, own=False)
        if thinking:
            wire["reasoning"] = thinking
            if thinking.get("effort") != "none":
                include.append(ENCRYPTED_INCLUDE)
    if include:
        wire["include"] = include
    text = _text(request, losses)
    if text:
        wire["text"] = text
    if request.previous_response_id is not None:
        losses.append(Loss("previous_response_id", "", NAME))
    _extras(request, wire, losses)
    wire.setdefault("store", False)


def _text(request: Request, losses: list[Loss]) -> Wire:
    """`text`: the form of the answer and how long it is to be."""
    text: Wire = {}
    if request.response_format is not None:
        form = request.response_format
        losses.extend(Loss("field", f"/{key}", NAME) for key in telling(form.extras))
        text["format"] = encode_format(form, own=False)
    if request.verbosity is not None:
        text["verbosity"] = request.verbosity
    return text


def encode_tools(tools: Iterable[Tool], losses: list[Loss]) -> list[Json]:
    """`tools`, without those that cannot be written."""
    return [made for tool in tools if (made := encode_tool(tool, losses)) is not None]


def encode_tool(tool: Tool, losses: list[Loss]) -> Json | None:
    """The entry for this tool; None, with a loss, for one that another provider runs."""
    if tool.dialect == NAME:
        return encode_own_tool(tool)
    if tool.kind == "server":
        losses.append(Loss("tool.server", pointer(tool.at), NAME, say=tool.name))
        return None
    losses.extend(Loss("field", pointer((*tool.at, key)), NAME) for key in telling(tool.extras))
    wire: Wire = {"type": tool.kind, "name": tool.name}
    if tool.description is not None:
        wire["description"] = tool.description
    if tool.kind == "custom":
        if tool.format is not None:
            wire["format"] = _flat_grammar(tool.format)
        return wire
    wire["parameters"] = (
        {"type": "object", "properties": {}} if tool.parameters is None else tool.parameters
    )
    # Functions are strict here unless it is denied, and nowhere else.
    wire["strict"] = tool.strict is True
    return wire


def _flat_grammar(form: Json) -> Json:
    """Chat nests `{"type": "grammar", "grammar": {…}}`, this protocol does not."""
    match form:
        case {"type": "grammar", "grammar": dict(grammar)}:
            return {"type": "grammar", **grammar}
        case _:
            return form


def _tool_choice(request: Request, wire: Wire, losses: list[Loss]) -> None:
    choice = request.tool_choice
    if choice is None:
        return
    if "tools" not in wire:
        # A choice without tools is refused.
        if request.tools or choice.mode not in ("auto", "none"):
            losses.append(Loss("tool_choice", "/tool_choice", NAME))
        return
    customs = frozenset(tool.name for tool in request.tools if tool.kind == "custom")
    if choice.value is not None and choice.dialect != NAME:
        losses.append(Loss("tool_choice", "/tool_choice", NAME, "adapted", f"as {choice.mode}"))
    wire["tool_choice"] = encode_tool_choice(choice, customs)


def sampling_losses(sampling: Sampling, losses: list[Loss]) -> None:
    """Reports what was asked for and cannot be said."""
    for name in SAMPLING_LOST:
        value = getattr(sampling, name)
        if value is not None and value != () and (name, value) != ("n", 1):
            losses.append(Loss(f"sampling.{name}", "", NAME))


def encode_reasoning_config(
    config: ReasoningConfig, facts: Facts, losses: list[Loss], own: bool
) -> Wire:
    """`reasoning`; a budget becomes the effort it stands for, `off` the effort `none`."""
    wire = encode_own_reasoning_config(config) if own else {}
    effort = config.effort
    if effort is None and config.mode == "off":
        effort = "none"
    if config.budget_tokens is not None and config.mode != "off":
        if effort is None and config.budget_tokens >= 0:
            effort = effort_of(config.budget_tokens, facts)
        say = f"as effort {effort}" if effort else ""
        losses.append(Loss("reasoning.budget_tokens", "", NAME, "adapted", say))
    if effort is not None:
        wire["effort"] = effort
    if config.mode == "adaptive":
        losses.append(Loss("reasoning.mode", "", NAME, "adapted", "as the model decides"))
    if not own:
        losses.extend(Loss("field", f"/{key}", NAME) for key in telling(config.extras))
        wire |= _shown(config)
    return wire


def _shown(config: ReasoningConfig) -> Wire:
    """`summary`: thinking that was switched on elsewhere was also shown, unless that is denied."""
    if config.show is not None:
        word = SHOWN_BY.get(config.show.lower(), "auto")
        return {} if word is None else {"summary": word}
    thinks = config.mode in ("on", "adaptive")
    return {"summary": "auto"} if thinks else {}


def _extras(request: Request, wire: Wire, losses: list[Loss]) -> None:
    chat = request.dialect in FAMILY
    for key, value in request.extras.items():
        path: Path = (key,)
        if chat and key in SAME_IN_CHAT and value is not None:
            wire[key] = value
            continue
        if not tells(key, value):
            continue
        match key, value:
            case "metadata", {"user_id": str(user), **rest} if not chat:
                # Identifiers are at most 64 characters long here.
                if len(user) <= 64:
                    wire["safety_identifier"] = user
                else:
                    losses.append(Loss("field", "/metadata/user_id", NAME))
                losses.extend(Loss("field", pointer(("metadata", name)), NAME) for name in rest)
                continue
            case "service_tier", str() if value in SERVICE_TIERS:
                wire[key] = SERVICE_TIERS[value]
                continue
            case _:
                losses.append(Loss("field", pointer(path), NAME))
