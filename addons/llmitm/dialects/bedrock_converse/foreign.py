"""How a request of another protocol is said in the Converse API.

Carries what has a counterpart, adapts what can be adapted, and notes the rest as losses.
Never: touches a request of this protocol.
Source: Amazon Bedrock API reference, Converse; user guide, tool use and inference parameters.
"""

from __future__ import annotations

from llmitm.canon.parts import Media, Part, Refusal, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, ReasoningConfig, Request, Tool
from llmitm.canon.turns import merge, split_instructions
from llmitm.canon.values import Facts, Json
from llmitm.dialects.bedrock_converse.parts import PartEncoder
from llmitm.dialects.bedrock_converse.settings import (
    inference_field,
    output_field,
    text_format_field,
    tool_choice_field,
)
from llmitm.dialects.bedrock_converse.tables import BUDGETS, EFFORTS
from llmitm.dialects.json_text import Wire, telling, whole
from llmitm.dialects.limits import effort_of

_OPENING: Json = {"text": "(The conversation begins with the assistant.)"}
_LEAST_BUDGET = 1024


def foreign_body(request: Request, facts: Facts, encoder: PartEncoder) -> Wire:
    """The whole request body; losses are noted in `encoder`."""
    instructions, rest = split_instructions(request)
    if not rest:
        rest, instructions = (Message(role="user", parts=instructions),), ()
        encoder.lose("message.role", (), "adapted", "instructions sent as the user's message")
    body: Wire = {"messages": list(_messages(rest, encoder))}
    system: list[Json] = []
    for part in instructions:
        if isinstance(part, Text | Refusal):
            system += encoder.blocks((part,))
        else:
            kind = part.kind if isinstance(part, Media) else "unknown"
            encoder.lose(f"part.{kind}", part.at, say="not allowed as instructions")
    if system:
        body["system"] = system
    config = inference_field(request.sampling)
    if request.sampling.max_tokens is None:
        config["maxTokens"] = facts.max_tokens_default
    _clamp(config, encoder)
    fields: Wire = {}
    effort = _think(request, config, fields, facts, encoder)
    if request.sampling.top_k is not None:
        _top_k(request, fields, encoder)
    body["inferenceConfig"] = config
    tools = _tools(request, encoder)
    if tools:
        body["toolConfig"] = tools
    if fields:
        body["additionalModelRequestFields"] = fields
    if output := output_field(request.response_format, effort):
        body["outputConfig"] = output
    _lose_settings(request, encoder)
    return body


def _messages(source: tuple[Message, ...], encoder: PartEncoder) -> list[Wire]:
    spoken: list[Message] = []
    for message in source:
        if message.name is not None:
            encoder.lose("message.name", message.at, say=message.name)
        encoder.extras(message.extras, message.at)
        role = message.role
        if role in ("system", "developer"):
            encoder.lose("message.role", message.at, "adapted", "sent as the user's message")
            role = "user"
        spoken.append(
            message
            if role == message.role
            else Message(role=role, parts=message.parts, at=message.at)
        )
    written: list[Wire] = []
    calls: list[str] = []
    for message in merge(spoken):
        parts = _called(message, calls)
        blocks: list[Json] = [
            block for part in parts if (block := _block(message, part, encoder)) is not None
        ]
        if not blocks:
            continue
        if written and written[-1]["role"] == message.role:
            before = written[-1]["content"]
            written[-1]["content"] = [*before, *blocks] if isinstance(before, list) else blocks
        else:
            written.append({"role": message.role, "content": blocks})
    if not written or written[0]["role"] != "user":
        encoder.lose("message.role", (), "adapted", "an opening user message was added")
        written.insert(0, {"role": "user", "content": [_OPENING]})
    return written


def _called(message: Message, calls: list[str]) -> list[Part]:
    """The parts with an id on every call and result, results first; calls: ids still open."""
    results: list[Part] = []
    others: list[Part] = []
    for place, part in enumerate(message.parts):
        if isinstance(part, ToolCall):
            ident = part.id or f"call_{'_'.join(map(str, message.at)) or 'new'}_{place}"
            calls.append(ident)
            others.append(_with_id(part, ident))
        elif isinstance(part, ToolResult):
            ident = part.call_id or (calls[0] if calls else f"call_unknown_{place}")
            if ident in calls:
                calls.remove(ident)
            results.append(_with_call(part, ident))
        else:
            others.append(part)
    return results + others


def _with_id(part: ToolCall, ident: str) -> ToolCall:
    if part.id:
        return part
    return ToolCall(
        id=ident,
        name=part.name,
        arguments=part.arguments,
        kind=part.kind,
        signature=part.signature,
        extras=part.extras,
        at=part.at,
    )


def _with_call(part: ToolResult, ident: str) -> ToolResult:
    if part.call_id:
        return part
    return ToolResult(
        call_id=ident, parts=part.parts, error=part.error, extras=part.extras, at=part.at
    )


def _block(message: Message, part: Part, encoder: PartEncoder) -> Json | None:
    if message.role == "assistant" and isinstance(part, Media | ToolResult):
        kind = part.kind if isinstance(part, Media) else "unknown"
        encoder.lose(f"part.{kind}", part.at, say="not allowed for the assistant")
        return None
    if message.role == "user" and isinstance(part, ToolCall):
        encoder.lose("part.unknown", part.at, say="a tool call that is not the assistant's")
        return None
    return encoder.part(part)


def _clamp(config: Wire, encoder: PartEncoder) -> None:
    value = config.get("temperature")
    if isinstance(value, int | float) and not 0 <= value <= 1:
        config["temperature"] = 0 if value < 0 else 1
        encoder.lose("sampling.temperature", (), "adapted", f"{value} is out of 0..1")


def _top_k(request: Request, fields: Wire, encoder: PartEncoder) -> None:
    """Only some models take it; a Claude model that does not think does."""
    if "claude" not in request.model:
        encoder.lose("sampling.top_k")
    elif "thinking" in fields:
        encoder.lose("sampling.top_k", say="not with thinking")
    else:
        fields["top_k"] = request.sampling.top_k


def _think(
    request: Request, config: Wire, fields: Wire, facts: Facts, encoder: PartEncoder
) -> str | None:
    """Writes `thinking`, which Claude models take, into `fields`; the effort, None = not asked."""
    reasoning = request.reasoning
    if reasoning is None:
        return None
    for key in telling(reasoning.extras):
        encoder.lose("field", (), say=f"reasoning {key}")
    if reasoning.show is not None:
        encoder.lose("reasoning.show")
    if not _wants_thinking(reasoning):
        return None
    if "claude" not in request.model:
        encoder.lose("reasoning.effort" if reasoning.effort else "reasoning.mode")
        return None
    effort: str | None = None
    if facts.reasoning == "adaptive":
        effort = _effort(reasoning, facts, encoder)
        fields["thinking"] = {"type": "adaptive"}
    else:
        budget = _budget(request, reasoning, config, encoder)
        if budget is None:
            return None
        fields["thinking"] = {"type": "enabled", "budget_tokens": budget}
    for key, feature in (("temperature", "temperature"), ("topP", "top_p")):
        if config.pop(key, None) is not None:
            encoder.lose(f"sampling.{feature}", say="not with thinking")
    return effort


def _wants_thinking(reasoning: ReasoningConfig) -> bool:
    if reasoning.mode == "off" or reasoning.effort == "none" or reasoning.budget_tokens == 0:
        return False
    said = (reasoning.mode, reasoning.effort, reasoning.budget_tokens)
    return said != (None, None, None)


def _effort(reasoning: ReasoningConfig, facts: Facts, encoder: PartEncoder) -> str | None:
    """The effort of a model that takes no budget, None where none was asked for."""
    effort, budget = reasoning.effort, reasoning.budget_tokens
    if effort is None and budget is not None and budget > 0:
        effort = effort_of(budget, facts, EFFORTS)
        encoder.lose("reasoning.budget_tokens", (), "adapted", f"effort {effort}")
    elif effort is not None and effort not in EFFORTS:
        known = "low" if effort == "minimal" else "medium"
        encoder.lose("reasoning.effort", (), "adapted", f"{effort} became {known}")
        effort = known
    return effort


def _budget(
    request: Request, reasoning: ReasoningConfig, config: Wire, encoder: PartEncoder
) -> int | None:
    """`thinking.budget_tokens`, which `maxTokens` must exceed; None where there is no room."""
    told = reasoning.budget_tokens
    wanted = told if told and told > 0 else BUDGETS.get(reasoning.effort or "", BUDGETS["medium"])
    budget = max(wanted, _LEAST_BUDGET)
    limit = request.sampling.max_tokens
    if limit is None:
        config["maxTokens"] = (whole(config.get("maxTokens")) or 0) + budget
    elif limit <= _LEAST_BUDGET:
        encoder.lose("reasoning.mode", (), say=f"max_tokens {limit} leaves no room")
        return None
    elif budget >= limit:
        budget = max(_LEAST_BUDGET, limit // 2)
    if budget != told:
        encoder.lose("reasoning.effort", (), "adapted", f"budget of {budget} tokens")
    return budget


def _tools(request: Request, encoder: PartEncoder) -> Wire:
    choice = request.tool_choice
    tools = encoder.tools(request.tools)
    if not tools:
        # History with calls is refused without definitions.
        names = dict.fromkeys(
            part.name
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCall)
        )
        used = encoder.tools(Tool(name=name, parameters={"type": "object"}) for name in names)
        return {"tools": used} if used else {}
    field: Wire = {"tools": tools}
    if choice is None:
        return field
    if choice.mode == "none":
        encoder.lose("tool_choice", (), "dropped", "`none` cannot be said")
    elif choice.value is not None:
        encoder.lose("tool_choice", (), say=f"a form of {choice.dialect}")
    else:
        if choice.names and choice.mode != "named":
            encoder.lose("tool_choice", (), "adapted", "the list of allowed tools was dropped")
        said = tool_choice_field(choice)
        if said is not None:
            field["toolChoice"] = said
    return field


def _lose_settings(request: Request, encoder: PartEncoder) -> None:
    sampling = request.sampling
    for name in ("frequency_penalty", "presence_penalty", "seed"):
        if getattr(sampling, name) is not None:
            encoder.lose(f"sampling.{name}")
    if sampling.n is not None and sampling.n > 1:
        encoder.lose("sampling.n")
    if sampling.logprobs or sampling.top_logprobs:
        encoder.lose("sampling.logprobs")
    if request.parallel_tool_calls is False:
        encoder.lose("parallel_tool_calls")
    form = request.response_format
    if form is not None and form.kind != "text" and text_format_field(form) is None:
        encoder.lose("response_format")
    if request.verbosity is not None:
        encoder.lose("verbosity")
    if request.previous_response_id is not None:
        encoder.lose("previous_response_id")
    for key in telling(request.extras):
        if (key, request.extras[key]) != ("store", False):
            encoder.lose("field", (key,), say=key)
