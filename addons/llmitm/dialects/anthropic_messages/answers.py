"""What the parts of an answer have in common, whole or streamed: usage, finish, opening.

Source: Anthropic API reference, Messages, `usage` and `stop_reason`.
"""

from __future__ import annotations

from collections.abc import Mapping

from llmitm.canon.events import Finish, FinishReason, Usage
from llmitm.canon.parts import Part, ToolCall
from llmitm.canon.values import Json
from llmitm.dialects.anthropic_messages.parts import PartEncoder
from llmitm.dialects.anthropic_messages.tables import FINISH, NOT_IN_CALL_ID, STOP_REASONS
from llmitm.dialects.contract import Reply
from llmitm.dialects.json_text import whole

type Body = dict[str, Json]


def decode_usage(seen: Mapping[str, Json], raw: Json) -> Usage:
    """Canonical counts of everything told so far (`seen`); raw: the report itself.

    The API counts cache reads and writes beside `input_tokens`; here they are inside.
    """
    fresh = whole(seen.get("input_tokens"))
    read = whole(seen.get("cache_read_input_tokens"))
    write = whole(seen.get("cache_creation_input_tokens"))
    output = whole(seen.get("output_tokens"))
    details = seen.get("output_tokens_details")
    total_in = None if fresh is None else fresh + (read or 0) + (write or 0)
    return Usage(
        input_tokens=total_in,
        output_tokens=output,
        total_tokens=None if total_in is None or output is None else total_in + output,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=whole(details.get("thinking_tokens"))
        if isinstance(details, dict)
        else None,
        raw=raw,
    )


def usage_fields(usage: Usage | None, own: bool) -> Body:
    """The `usage` object; counts that are required and were not told are 0."""
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    fields: Body = {}
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    if usage.input_tokens is not None:
        if not own and cache_exceeds(usage):
            # Clients sum the three: the whole prompt is what must stay right.
            read = min(read or 0, max(usage.input_tokens, 0))
            write = None if write is None else min(write, max(usage.input_tokens - read, 0))
        fields["input_tokens"] = usage.input_tokens - (read or 0) - (write or 0)
    if write is not None:
        fields["cache_creation_input_tokens"] = write
    if read is not None:
        fields["cache_read_input_tokens"] = read
    if usage.output_tokens is not None:
        fields["output_tokens"] = usage.output_tokens
    if own and isinstance(usage.raw, dict):
        return {**usage.raw, **fields}
    if usage.reasoning_tokens is not None:
        fields["output_tokens_details"] = {"thinking_tokens": usage.reasoning_tokens}
    return {"input_tokens": 0, "output_tokens": 0, **fields}


def cache_exceeds(usage: Usage | None) -> bool:
    """Whether more of the prompt was cached than there was prompt, as some providers tell."""
    if usage is None or usage.input_tokens is None:
        return False
    return (usage.cache_read_tokens or 0) + (usage.cache_write_tokens or 0) > usage.input_tokens


def decode_finish(reason: str, sequence: Json, extras: Body) -> Finish:
    """The finish that a `stop_reason` tells."""
    return Finish(
        reason=FINISH.get(reason, "unknown"),
        raw=reason,
        stop_sequence=sequence if isinstance(sequence, str) else None,
        extras=extras,
    )


def stop_reason(finish: Finish | None, own: bool, called: bool) -> str:
    """The wire's word; called: the answer holds tool calls, which clients only run on `tool_use`.

    An answer of this protocol keeps its word, also one that is not known.
    """
    if finish is None:
        return "tool_use" if called else "end_turn"
    if own and finish.raw is not None and finish.reason == FINISH.get(finish.raw, "unknown"):
        return finish.raw
    reason: FinishReason = finish.reason
    if called and reason in ("stop", "unknown"):
        reason = "tool_calls"
    elif not called and reason == "tool_calls":
        reason = "stop"
    if reason == "stop" and finish.stop_sequence is not None:
        return "stop_sequence"
    return STOP_REASONS[reason]


def lose_finish(finish: Finish, encoder: PartEncoder) -> None:
    """Tells what the words of this protocol do not say of another protocol's finish."""
    if encoder.own:
        return
    if finish.reason == "unknown":
        encoder.lose("finish.reason", say=finish.raw or "")
    elif FINISH.get(STOP_REASONS[finish.reason]) != finish.reason:
        word = STOP_REASONS[finish.reason]
        encoder.lose("finish.reason", (), "adapted", f"{finish.reason} as {word}")


def answer_id(ident: str, reply: Reply) -> str:
    """The message's id: the provider's, else the one fixed for the reply."""
    return ident or reply.id or "msg_llmitm"


def model_name(model: str, reply: Reply, own: bool) -> str:
    """The model told: its own provider's word, or the name that the client asked for."""
    return (model or reply.model) if own else (reply.model or model)


def call_id(part: Part, ident: str, place: int) -> str:
    """The id of a tool call: its own where clients take it, else one made of the answer's."""
    if not isinstance(part, ToolCall):
        return ""
    return part.id or f"toolu_{NOT_IN_CALL_ID.sub('_', ident)}_{place}"
