"""What whole and streamed answers have in common: usage, finish, annotations, names.

Source: OpenAI API reference, Chat, the chat completion object and its chunks; DeepSeek, xAI and
OpenRouter, usage.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from llmitm.canon.events import Finish, FinishReason, Usage
from llmitm.canon.parts import Text
from llmitm.canon.values import Extras, Json, Loss
from llmitm.dialects.contract import Reply
from llmitm.dialects.openai_chat.parts import Wire
from llmitm.dialects.openai_chat.tables import FINISH, FINISH_WORD, NAME, SHARED_REASONS
from llmitm.dialects.openai_chat.wire import string, whole
from llmitm.dialects.telling import told_anew

IN_MESSAGE = "message."
IN_LOGPROBS = "logprobs."
BROKEN_OFF = "choices"
"""Key of `Start.extras`: what is left of choices that told no finish reason, by their index."""


def decode_usage(raw: Wire) -> Usage:
    """Canonical counts; raw stays as it is.

    Reasoning that a provider counts beside `completion_tokens` (xAI) is added to the output.
    """
    prompt = _object(raw.get("prompt_tokens_details"))
    completion = _object(raw.get("completion_tokens_details"))
    given, output = whole(raw.get("prompt_tokens")), whole(raw.get("completion_tokens"))
    total = whole(raw.get("total_tokens"))
    reasoning = whole(completion.get("reasoning_tokens"))
    if reasoning is None:
        reasoning = whole(raw.get("reasoning_tokens"))
    read = whole(prompt.get("cached_tokens"))
    if read is None:
        read = whole(raw.get("prompt_cache_hit_tokens"))
    write = whole(prompt.get("cache_write_tokens"))
    if write is None:
        write = whole(raw.get("cache_creation_input_tokens"))
    if output is not None and reasoning:
        beside = given is not None and total == given + output + reasoning
        if beside or reasoning > output:
            output += reasoning
            if total is not None and given is not None:
                total = max(total, given + output)
    return Usage(
        input_tokens=given,
        output_tokens=output,
        total_tokens=total,
        cache_read_tokens=read,
        cache_write_tokens=write,
        reasoning_tokens=reasoning,
        raw=raw,
    )


def _object(value: Json) -> Wire:
    return value if isinstance(value, dict) else {}


def encode_usage(usage: Usage, own: bool) -> Wire:
    """The `usage` object; the three counts that are required are 0 where they were not told."""
    if own and isinstance(usage.raw, dict):
        return usage.raw
    given, output = usage.input_tokens or 0, usage.output_tokens or 0
    total = given + output if usage.total_tokens is None else usage.total_tokens
    wire: Wire = {"prompt_tokens": given, "completion_tokens": output, "total_tokens": total}
    prompt: Wire = {}
    if usage.cache_read_tokens is not None:
        prompt["cached_tokens"] = usage.cache_read_tokens
    if usage.cache_write_tokens is not None:
        prompt["cache_write_tokens"] = usage.cache_write_tokens
    if prompt:
        wire["prompt_tokens_details"] = prompt
    if usage.reasoning_tokens is not None:
        wire["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return wire


def finish_of(raw: str, choice: int, extras: Extras) -> Finish:
    """The finish that a word tells; an empty or strange one is `unknown`."""
    return Finish(FINISH.get(raw, "unknown"), raw, choice=choice, extras=extras)


def finish_word(finish: Finish | None, own: bool, called: bool) -> str:
    """The wire's word; called: the answer holds tool calls, which clients run on `tool_calls`.

    An answer of this protocol keeps its word, also one that is not known.
    """
    if finish is None:
        return "tool_calls" if called else "stop"
    if own and finish.raw is not None and finish.reason == FINISH.get(finish.raw, "unknown"):
        return finish.raw
    reason: FinishReason = finish.reason
    if called and reason in ("stop", "unknown"):
        reason = "tool_calls"
    elif not called and reason == "tool_calls":
        reason = "stop"
    return FINISH_WORD[reason]


def finish_losses(finish: Finish) -> list[Loss]:
    """What the words of this protocol do not say of another protocol's finish."""
    losses: list[Loss] = []
    if finish.reason in SHARED_REASONS or finish.reason == "unknown":
        losses.append(Loss("finish.reason", "", NAME, "adapted", finish.raw or finish.reason))
    if finish.stop_sequence is not None:
        losses.append(Loss("finish.stop_sequence", "", NAME))
    return losses


def field_losses(extras: Mapping[str, Json]) -> list[Loss]:
    """One loss a field of another protocol that tells anything."""
    return [Loss("field", f"/{key}", NAME) for key in told_anew(extras)]


def answer_id(ident: str, reply: Reply) -> str:
    """The answer's id: the provider's, else the one fixed for the reply."""
    return ident or reply.id or "chatcmpl-llmitm"


def model_name(model: str, reply: Reply, own: bool) -> str:
    """The model told: its own provider's word, or the name that the client asked for."""
    return (model or reply.model) if own else (reply.model or model)


def encode_annotations(listed: Sequence[Json], own: bool, losses: list[Loss]) -> list[Json]:
    """`annotations` of a message; those of Responses get this protocol's nesting."""
    if own:
        return list(listed)
    wires: list[Json] = []
    for item in listed:
        match item:
            case {"type": "url_citation", "url": str(), **rest}:
                inner: Wire = {key: value for key, value in rest.items() if key != "type"}
                inner["url"] = item["url"]
                wires.append({"type": "url_citation", "url_citation": inner})
            case _:
                losses.append(Loss("part.annotations", "", NAME))
    return wires


def encode_logprobs(part: Text, own: bool, losses: list[Loss]) -> list[Json] | None:
    """The list under `logprobs.content`; None = nothing to say."""
    listed = part.logprobs
    if listed is None or (own and listed == []):
        return None
    fits = isinstance(listed, list) and all(
        isinstance(item, dict) and isinstance(item.get("token"), str) for item in listed
    )
    if isinstance(listed, list) and (own or fits):
        return listed
    losses.append(Loss("part.logprobs", "", NAME))
    return None


def split_extras(extras: Extras) -> tuple[Wire, Wire, Wire]:
    """(fields of the choice, of its message, of its logprobs), as `Finish.extras` holds them."""
    outer: Wire = {}
    message: Wire = {}
    logprobs: Wire = {}
    for key, value in extras.items():
        if key.startswith(IN_MESSAGE):
            message[key.removeprefix(IN_MESSAGE)] = value
        elif key.startswith(IN_LOGPROBS):
            logprobs[key.removeprefix(IN_LOGPROBS)] = value
        else:
            outer[key] = value
    return outer, message, logprobs


def audio_rest(value: Json) -> bool:
    """Whether an `audio` object holds no audio: all of it is empty, as Snowflake sends it."""
    return not isinstance(value, dict) or not string(value.get("id"))
