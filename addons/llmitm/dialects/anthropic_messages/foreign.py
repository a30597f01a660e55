"""How a request of another protocol is said in the Messages API.

Carries what has a counterpart, adapts what can be adapted, and notes the rest as losses.
Never: touches a request of this protocol.
Source: Anthropic API reference, Messages and errors; extended and adaptive thinking, structured
outputs, tool use.
"""

from __future__ import annotations

from dataclasses import dataclass

from llmitm.canon.parts import Media, Part, Refusal, Text, ToolCall, ToolResult
from llmitm.canon.request import Message, Request, Role, ToolChoice
from llmitm.canon.turns import merge, split_instructions
from llmitm.canon.values import Facts, Json, Path
from llmitm.dialects.anthropic_messages.pairing import paired
from llmitm.dialects.anthropic_messages.parts import PartEncoder
from llmitm.dialects.anthropic_messages.settings import sampling_fields, tool_choice_field
from llmitm.dialects.anthropic_messages.tables import (
    ADAPTIVE_MODELS,
    EFFORTS,
    MIN_BUDGET,
    SERVICE_TIERS,
    SHOWN,
)
from llmitm.dialects.limits import budget_of, clamped, effort_of
from llmitm.dialects.telling import telling

type Body = dict[str, Json]

_JSON_ONLY = "Answer with one JSON object and nothing else: no prose, no code fence."
_OPENING = "(The conversation begins with the assistant.)"


def foreign_body(request: Request, facts: Facts, encoder: PartEncoder) -> Body:
    """The whole request body; losses are noted in `encoder`."""
    instructions, rest = split_instructions(request)
    if not rest:
        # The API wants at least one message that is not system text.
        rest = (Message(role="user", parts=instructions),)
        instructions = ()
        encoder.lose("message.role", (), "adapted", "instructions sent as the user's message")
    system = _system(instructions, encoder)
    if request.response_format is not None and request.response_format.kind == "json_object":
        system.append({"type": "text", "text": _JSON_ONLY})
        encoder.lose("response_format", (), "adapted", "asked for in the instructions")
    messages = _messages(rest, facts, encoder)
    tools, choice = _tools(request, encoder)
    thinking = _Thinking(request, facts, encoder).settled(messages, choice)
    body: Body = {"model": request.model, "max_tokens": thinking.max_tokens}
    if request.stream:
        body["stream"] = True
    if system:
        body["system"] = _as_text(system)
    body["messages"] = list(messages)
    if tools:
        body["tools"] = list(tools)
    if choice is not None:
        body["tool_choice"] = choice
    body |= _sampling(request, thinking.on, encoder)
    if thinking.field is not None:
        body["thinking"] = thinking.field
    config = _output_config(request, thinking)
    if config:
        body["output_config"] = config
    return body | _extras(request, encoder)


def _system(instructions: tuple[Part, ...], encoder: PartEncoder) -> list[Json]:
    """System text only: the API takes nothing else there."""
    blocks: list[Json] = []
    for part in instructions:
        if isinstance(part, Text | Refusal):
            blocks += encoder.blocks((part,))
        else:
            kind = part.kind if isinstance(part, Media) else "unknown"
            encoder.lose(f"part.{kind}", part.at, say="not allowed as instructions")
    return blocks


def _tools(request: Request, encoder: PartEncoder) -> tuple[list[Body], Body | None]:
    tools = [tool for item in request.tools if (tool := encoder.tool(item)) is not None]
    if tools:
        return tools, _tool_choice(request, tools, encoder)
    # History with calls is refused without definitions; `none` keeps them from being called.
    tools = _used_tools(request)
    never: Body = {"type": "none"}
    return tools, never if tools else None


def _output_config(request: Request, thinking: _Settled) -> Body:
    config: Body = {}
    if thinking.effort is not None:
        config["effort"] = thinking.effort
    form = request.response_format
    if form is not None and form.kind == "json_schema":
        config["format"] = {"type": "json_schema", "schema": _closed(form.schema)}
    return config


def _as_text(blocks: list[Json]) -> Json:
    """One bare text block as a string, which every implementation of the API takes."""
    match blocks:
        case [{"type": "text", "text": str(text), **rest}] if not rest:
            return text
        case _:
            return blocks


def _messages(source: tuple[Message, ...], facts: Facts, encoder: PartEncoder) -> list[Body]:
    spoken: list[Message] = []
    for message in source:
        if message.name is not None:
            encoder.lose("message.name", message.at, say=message.name)
        if message.extras:
            encoder.extras(message.extras, message.at)
        role = message.role
        if role in ("system", "developer"):
            role = _system_role(spoken, facts)
            if role == "user":
                encoder.lose("message.role", message.at, "adapted", "sent as the user's message")
        spoken.append(
            message
            if role == message.role
            else Message(role=role, parts=message.parts, at=message.at)
        )

    def orphan(at: Path) -> None:
        encoder.lose("part.unknown", at, "adapted", "a result without its call, sent as text")

    written: list[Body] = []
    for message in paired(merge(spoken), orphan):
        blocks = _blocks(message, encoder)
        if not blocks:
            continue
        if written and written[-1]["role"] == message.role:
            before = written[-1]["content"]
            written[-1]["content"] = [*before, *blocks] if isinstance(before, list) else blocks
        else:
            written.append({"role": message.role, "content": blocks})
    if not written or written[0]["role"] != "user":
        encoder.lose("message.role", (), "adapted", "an opening user message was added")
        written.insert(0, {"role": "user", "content": [{"type": "text", "text": _OPENING}]})
    _trim_prefill(written)
    for message in written:
        message["content"] = _as_text(_content(message))
    return written


def _content(message: Body) -> list[Json]:
    content = message["content"]
    return content if isinstance(content, list) else [{"type": "text", "text": content}]


def _system_role(spoken: list[Message], facts: Facts) -> Role:
    """Newer models take system text after a user's turn (fact `mid_system`), others nowhere."""
    after_user = bool(spoken) and spoken[-1].role in ("user", "tool")
    return "system" if facts.extras.get("mid_system") is True and after_user else "user"


def _blocks(message: Message, encoder: PartEncoder) -> list[Json]:
    blocks: list[Json] = []
    for part in message.parts:
        block = encoder.part(part)
        if block is None:
            continue
        if message.role != "user" and isinstance(part, Media | ToolResult):
            kind = part.kind if isinstance(part, Media) else "unknown"
            encoder.lose(f"part.{kind}", part.at, say=f"not allowed for {message.role}")
            continue
        if message.role == "user" and isinstance(part, ToolCall):
            encoder.lose("part.unknown", part.at, say="a tool call that is not the assistant's")
            continue
        blocks.append(block)
    return blocks


def _trim_prefill(messages: list[Body]) -> None:
    """A final assistant text must not end in white space."""
    if messages[-1]["role"] != "assistant":
        return
    content = _content(messages[-1])
    match content[-1]:
        case {"type": "text", "text": str(text), **rest}:
            messages[-1]["content"] = [
                *content[:-1],
                {"type": "text", "text": text.rstrip(), **rest},
            ]
        case _:
            pass


def _used_tools(request: Request) -> list[Body]:
    names = dict.fromkeys(
        part.name
        for message in request.messages
        for part in message.parts
        if isinstance(part, ToolCall)
    )
    return [{"name": name, "input_schema": {"type": "object"}} for name in names]


def _tool_choice(request: Request, tools: list[Body], encoder: PartEncoder) -> Body | None:
    choice = request.tool_choice
    parallel = False if request.parallel_tool_calls is False else None
    if choice is None:
        return tool_choice_field(None, parallel)
    if choice.value is not None:
        encoder.lose("tool_choice", (), say=f"a form of {choice.dialect}")
        return tool_choice_field(None, parallel)
    names = [tool.get("name") for tool in tools]
    if choice.mode == "named" and (not choice.names or choice.names[0] not in names):
        encoder.lose("tool_choice", (), "adapted", "the tool named is not on offer here")
        return tool_choice_field(None, parallel)
    if choice.mode == "none":
        return {"type": "none"}
    if choice.names and choice.mode != "named":
        if choice.mode == "required" and len(choice.names) == 1 and choice.names[0] in names:
            return tool_choice_field(ToolChoice(mode="named", names=choice.names), parallel)
        encoder.lose("tool_choice", (), "adapted", "the list of allowed tools was dropped")
    return tool_choice_field(ToolChoice(mode=choice.mode, names=choice.names[:1]), parallel)


def _sampling(request: Request, thinking: bool, encoder: PartEncoder) -> Body:
    sampling = request.sampling
    fields = sampling_fields(sampling)
    temperature = fields.get("temperature")
    if isinstance(temperature, int | float) and not 0 <= temperature <= 1:
        fields["temperature"] = 0 if temperature < 0 else 1
        encoder.lose("sampling.temperature", (), "adapted", f"{temperature} is out of 0..1")
    words = [word for word in sampling.stop if word.strip()]
    if len(words) != len(sampling.stop):
        encoder.lose("sampling.stop", (), say="white space alone cannot stop")
        fields["stop_sequences"] = list(words)
        if not words:
            del fields["stop_sequences"]
    if thinking:
        _drop_for_thinking(fields, encoder)
    for name in ("frequency_penalty", "presence_penalty", "seed"):
        if getattr(sampling, name) is not None:
            encoder.lose(f"sampling.{name}")
    if sampling.n is not None and sampling.n > 1:
        encoder.lose("sampling.n")
    if sampling.logprobs or sampling.top_logprobs:
        encoder.lose("sampling.logprobs")
    return fields


def _drop_for_thinking(fields: Body, encoder: PartEncoder) -> None:
    if fields.get("temperature") not in (None, 1):
        del fields["temperature"]
        encoder.lose("sampling.temperature", say="not with thinking")
    if "top_k" in fields:
        del fields["top_k"]
        encoder.lose("sampling.top_k", say="not with thinking")
    top_p = fields.get("top_p")
    if isinstance(top_p, int | float) and top_p < 0.95:
        del fields["top_p"]
        encoder.lose("sampling.top_p", say="below 0.95 not with thinking")


@dataclass(slots=True)
class _Settled:
    max_tokens: int
    field: Body | None = None
    effort: str | None = None
    on: bool = False


class _Thinking:
    """How much to think, in whichever of its two ways the target model takes."""

    def __init__(self, request: Request, facts: Facts, encoder: PartEncoder) -> None:
        self._config = request.reasoning
        self._encoder = encoder
        self._limit = request.sampling.max_tokens
        self._default = facts.max_tokens_default
        self._facts = facts
        way = facts.extras.get("thinking") or facts.reasoning
        self._adaptive = (
            way == "adaptive"
            if way in ("adaptive", "budget")
            else bool(ADAPTIVE_MODELS.search(request.model))
        )

    def settled(self, messages: list[Body], choice: Body | None) -> _Settled:
        limit = self._limit if self._limit is not None else self._default
        config = self._config
        if config is None:
            return _Settled(limit)
        for key in telling(config.extras):
            self._encoder.lose("field", (), say=f"reasoning {key}")
        if config.mode == "off" or config.effort == "none" or config.budget_tokens == 0:
            return _Settled(limit, {"type": "disabled"})
        if config.mode is None and config.effort is None and config.budget_tokens is None:
            return _Settled(limit)
        why = self._conflict(messages, choice)
        if why:
            self._encoder.lose("reasoning.mode", (), say=why)
            return _Settled(limit)
        settled = self._by_effort(limit) if self._adaptive else self._by_budget(limit)
        if settled.field is not None and config.show is not None:
            settled.field["display"] = SHOWN.get(config.show, "summarized")
        return settled

    def _by_effort(self, limit: int) -> _Settled:
        config = self._config
        effort = config.effort if config else None
        budget = config.budget_tokens if config else None
        if effort is None and budget is not None and budget > 0:
            effort = effort_of(budget, self._facts, EFFORTS)
            self._encoder.lose("reasoning.budget_tokens", (), "adapted", f"effort {effort}")
        elif effort is not None and effort not in EFFORTS:
            known = "low" if effort == "minimal" else "medium"
            self._encoder.lose("reasoning.effort", (), "adapted", f"{effort} became {known}")
            effort = known
        return _Settled(limit, {"type": "adaptive"}, effort, on=True)

    def _by_budget(self, limit: int) -> _Settled:
        config = self._config
        told = config.budget_tokens if config else None
        effort = config.effort if config else None
        usual = budget_of("medium", self._facts) or MIN_BUDGET
        wanted = budget_of(effort, self._facts) or usual if effort else usual
        budget = max(clamped(told, self._facts) if told and told > 0 else wanted, MIN_BUDGET)
        feature = "reasoning.budget_tokens" if told else "reasoning.effort"
        if self._limit is None:
            limit = self._default + budget
        elif self._limit <= MIN_BUDGET:
            self._encoder.lose(feature, (), say=f"max_tokens {self._limit} leaves no room")
            return _Settled(limit)
        elif budget >= self._limit:
            budget = max(MIN_BUDGET, self._limit // 2)
        if told and told > 0:
            if budget != told:
                self._encoder.lose(feature, (), "adapted", f"{told} became {budget}")
        elif effort is not None:
            self._encoder.lose(feature, (), "adapted", f"as {budget} tokens")
        return _Settled(limit, {"type": "enabled", "budget_tokens": budget}, on=True)

    def _conflict(self, messages: list[Body], choice: Body | None) -> str:
        """Why the API would refuse to think now; adaptive thinking has no such limits."""
        if self._adaptive:
            return ""
        if choice is not None and choice["type"] in ("any", "tool"):
            return "thinking cannot go with a forced tool call"
        if messages[-1]["role"] == "assistant":
            return "thinking cannot go on from the assistant's words"
        if len(messages) > 1 and _opens_with(messages[-1], "tool_result"):
            before = messages[-2]
            if not _opens_with(before, "thinking") and not _opens_with(before, "redacted_thinking"):
                return "the turn under way began without signed thinking"
        return ""


def _opens_with(message: Body, kind: str) -> bool:
    match message["content"]:
        case [{"type": str(first)}, *_]:
            return first == kind
        case _:
            return False


def _closed(schema: Json) -> Json:
    """The schema with every object closed, as structured outputs demand."""
    if isinstance(schema, list):
        return [_closed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: Body = {
        key: value if key in ("enum", "const", "default", "examples") else _closed(value)
        for key, value in schema.items()
    }
    if schema.get("type") == "object" and isinstance(schema.get("properties"), dict):
        kept["additionalProperties"] = False
    return kept


def _extras(request: Request, encoder: PartEncoder) -> Body:
    fields: Body = {}
    if request.verbosity is not None:
        encoder.lose("verbosity")
    if request.previous_response_id is not None:
        encoder.lose("previous_response_id")
    form = request.response_format
    if form is not None:
        for key in telling(form.extras):
            encoder.lose("field", (), say=f"response format {key}")
    for key in telling(request.extras):
        value = request.extras[key]
        if key in ("user", "safety_identifier") and isinstance(value, str):
            fields.setdefault("metadata", {"user_id": value})
        elif key == "service_tier" and isinstance(value, str) and value in SERVICE_TIERS:
            fields["service_tier"] = SERVICE_TIERS[value]
        elif (key, value) != ("store", False):
            # This API keeps no answers: that wish is fulfilled.
            encoder.lose("field", (key,), say=key)
    return fields
