"""Small edits of a chat request: where its attributes stand and how its pieces are written.

Never: changes what was not edited. Source: OpenAI API reference, Chat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, ToolCall
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import NO_EXTRAS, Facts, Json, Loss, Path
from llmitm.dialects.contract import Encoded
from llmitm.dialects.openai_chat.messages_out import MessageEncoder, encode_call
from llmitm.dialects.openai_chat.parts import Wire, as_object, encode_media, encode_thinking
from llmitm.dialects.openai_chat.request import load_object
from llmitm.dialects.openai_chat.tables import MAX_TOKENS_FIELDS, NAME, REASONING_FIELDS, SCALARS
from llmitm.dialects.openai_chat.tools import (
    encode_reasoning_config,
    encode_response_format,
    encode_tool,
    encode_tool_choice,
)
from llmitm.dialects.openai_chat.wire import whole
from llmitm.dialects.origin import Edit, PatchTable, splice
from llmitm.dialects.origin import patch_request as patch_with
from llmitm.errors import ClientWireError


def patch_request(original: bytes, before: Request, after: Request, facts: Facts) -> Encoded | None:
    """The original body changed only where `after` differs from `before`.

    New instructions become a system message at the front. None if any difference has no edit.
    """
    if before.extras.get("stream_options") != after.extras.get("stream_options"):
        # Its `include_usage` is no extra: the two would overwrite each other.
        return None
    if after.instructions and not before.instructions:
        parts = tuple(replace(part, at=()) for part in after.instructions)
        first = Message(role=facts.system_role, parts=parts)
        after = replace(after, instructions=(), messages=(first, *after.messages))
    try:
        scalars = _scalars(original, before, after, facts)
    except ClientWireError:
        return None
    patched = patch_with(original, before, after, facts, _table(scalars, facts))
    if patched is None or before.model == after.model:
        return patched
    return _renamed_limit(patched, facts)


def _renamed_limit(patched: Encoded, facts: Facts) -> Encoded | None:
    """The output limit under the newer name, for a model that refuses the older one."""
    field, older = facts.max_tokens_field, "max_tokens"
    if field == older or b"max_tokens" not in patched.body:
        return patched
    wire = load_object(patched.body)
    if wire.get(older) is None or wire.get(field) is not None:
        return patched
    edits = [Edit("set", (field,), wire[older]), Edit("delete", (older,))]
    text = splice(patched.body.decode(), edits)
    return None if text is None else Encoded(text.encode(), patched.losses)


def _scalars(original: bytes, before: Request, after: Request, facts: Facts) -> Mapping[str, Path]:
    """Attribute -> path; several paths depend on the form the client used."""
    scalars = dict(SCALARS)
    scalars["response_format"] = ("response_format",)
    if before.tool_choice is None or "function_call" not in before.tool_choice.extras:
        scalars["tool_choice"] = ("tool_choice",)
    if before.sampling.max_tokens != after.sampling.max_tokens:
        wire = load_object(original)
        field = next(
            (key for key in MAX_TOKENS_FIELDS if whole(wire.get(key)) is not None),
            facts.max_tokens_field,
        )
        scalars["sampling.max_tokens"] = (field,)
    form = before.reasoning.extras if before.reasoning else NO_EXTRAS
    if "reasoning" in form:
        scalars["reasoning"] = ("reasoning",)
    else:
        scalars["reasoning.effort"] = ("reasoning_effort",)
    if "thinking" in form:
        scalars["reasoning.mode"] = ("thinking", "type")
        scalars["reasoning.budget_tokens"] = ("thinking", "budget_tokens")
    elif "enable_thinking" in form:
        scalars["reasoning.mode"] = ("enable_thinking",)
        scalars["reasoning.budget_tokens"] = ("thinking_budget",)
    return scalars


def _table(scalars: Mapping[str, Path], facts: Facts) -> PatchTable:
    losses: list[Loss] = []

    def message(new: Message, _: Facts) -> list[Json]:
        field = facts.reasoning_field
        for part in new.parts:
            if isinstance(part, Reasoning) and part.at and part.at[-1] in REASONING_FIELDS:
                field = str(part.at[-1])
        encoder = MessageEncoder(NAME, replace(facts, reasoning_field=field), losses)
        return encoder.encode_all([new])

    def tool(new: Tool) -> Json:
        return encode_tool(new, NAME, losses)

    def part(new: Part) -> Json:
        return _part(new, losses)

    def scalar(attribute: str, request: Request) -> Json:
        return _scalar(attribute, request, facts, losses)

    return PatchTable(
        scalars=scalars,
        messages=("messages",),
        tools=("tools",),
        encode_message=message,
        encode_tool=tool,
        encode_part=part,
        encode_scalar=scalar,
        losses=losses,
    )


def _part(part: Part, losses: list[Loss]) -> Json:
    match part:
        case Media() if part.at[-1] != "audio":
            return encode_media(part, NAME, losses)
        case Reasoning() if part.extras.get("type") == "thinking":
            return encode_thinking(part)
        case Reasoning() if part.at[-1] in REASONING_FIELDS and not part.extras:
            return part.text
        case Refusal() if part.at[-1] == "refusal" and not part.extras:
            return part.text
        case ToolCall() if part.at[-1] == "function_call":
            inner = as_object(part.extras.get("function")) or {}
            wire: Wire = {"name": part.name, "arguments": part.arguments, **inner}
            return wire
        case ToolCall():
            return encode_call(part)
        case _:
            return None


def _scalar(attribute: str, request: Request, facts: Facts, losses: list[Loss]) -> Json:
    config = request.reasoning
    match attribute:
        case "tool_choice":
            return encode_tool_choice(request, losses)
        case "response_format" if request.response_format is not None:
            return encode_response_format(request.response_format, NAME)
        case "sampling.stop":
            return list(request.sampling.stop) or None
        case "reasoning" | "reasoning.mode" if config is not None:
            wire = encode_reasoning_config(config, NAME, facts, losses)
            if attribute == "reasoning":
                return wire.get("reasoning")
            return (as_object(wire.get("thinking")) or {}).get("type", wire.get("enable_thinking"))
        case _:
            value: object = request
            for name in attribute.split("."):
                value = getattr(value, name, None)
            return value if isinstance(value, bool | int | float | str) else None
