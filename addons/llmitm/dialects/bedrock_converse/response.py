"""Whole answers of the Converse API, both ways, error bodies included.

Source: Amazon Bedrock API reference, Converse, response syntax; TokenUsage.
"""

from __future__ import annotations

from llmitm.canon.events import Event, Finish, FinishReason, Opaque, Usage
from llmitm.canon.fold import unfold
from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall
from llmitm.canon.response import Choice, Response
from llmitm.canon.values import NO_EXTRAS, Json, Loss
from llmitm.dialects.bedrock_converse.blocks import decode_blocks
from llmitm.dialects.bedrock_converse.faults import decode_fault, encode_error, text_fault
from llmitm.dialects.bedrock_converse.parts import PartEncoder
from llmitm.dialects.bedrock_converse.tables import FINISH, NAME, STOP_REASONS
from llmitm.dialects.contract import Encoded, Reply
from llmitm.dialects.json_text import Wire, dump, parse, whole


def decode_response(body: bytes) -> list[Event]:
    """The events of a whole body: an answer, an error, or an `Opaque` for other JSON.

    Never raises: what is not JSON is a Fault that holds its text; an empty body has no events.
    """
    if not body.strip():
        return []
    try:
        value = parse(body)
    except ValueError:
        return [text_fault(body.decode("utf-8", "replace"))]
    if not isinstance(value, dict):
        return [Opaque(NAME, "", value)]
    match value.get("output"):
        case {"message": {"content": list(content), **about}} as output:
            return list(unfold(_answer(value, output, about, content)))
        case _:
            fault = decode_fault(value)
            return [Opaque(NAME, "", value) if fault is None else fault]


def _answer(value: Wire, output: Wire, about: Wire, content: list[Json]) -> Response:
    left = {key: item for key, item in value.items() if key != "output"}
    beside = {key: item for key, item in output.items() if key != "message"}
    if about.get("role") == "assistant":
        about = {key: item for key, item in about.items() if key != "role"}
    if beside or about:
        left["output"] = {**beside, **({"message": about} if about else {})}
    reason, usage = left.get("stopReason"), left.get("usage")
    finish: Finish | None = None
    if isinstance(reason, str):
        del left["stopReason"]
        finish = decode_finish(reason)
    if isinstance(usage, dict):
        del left["usage"]
    home = ("output", "message", "content")
    return Response(
        choices=(Choice(parts=decode_blocks(content, home), finish=finish),),
        usage=decode_usage(usage) if isinstance(usage, dict) else None,
        ended=True,
        end_extras=left or NO_EXTRAS,
        dialect=NAME,
    )


def decode_finish(reason: str) -> Finish:
    """The finish that a `stopReason` tells."""
    return Finish(FINISH.get(reason, "unknown"), reason)


def decode_usage(raw: Wire) -> Usage:
    """Canonical counts; the API counts cache reads and writes beside `inputTokens`."""
    fresh, output = whole(raw.get("inputTokens")), whole(raw.get("outputTokens"))
    read, write = _cached(raw, "Read"), _cached(raw, "Write")
    return Usage(
        input_tokens=None if fresh is None else fresh + (read or 0) + (write or 0),
        output_tokens=output,
        total_tokens=whole(raw.get("totalTokens")),
        cache_read_tokens=read,
        cache_write_tokens=write,
        raw=raw,
    )


def _cached(raw: Wire, way: str) -> int | None:
    told = whole(raw.get(f"cache{way}InputTokens"))
    return whole(raw.get(f"cache{way}InputTokenCount")) if told is None else told


def encode_response(response: Response, reply: Reply) -> Encoded:
    """A whole body, or an error body where the answer ended in a fault."""
    del reply
    losses: list[Loss] = []
    if response.fault is not None:
        return Encoded(encode_error(response.fault))
    own = response.dialect == NAME
    if not response.choices and len(response.opaque) == 1 and response.opaque[0].dialect == NAME:
        return Encoded(dump(response.opaque[0].value))
    encoder = PartEncoder(own, losses)
    if len(response.choices) > 1:
        encoder.lose("choices")
    for frame in response.opaque:
        encoder.lose("event.unknown", say=frame.event)
    choice = response.choices[0] if response.choices else Choice()
    content = [
        block
        for place, part in enumerate(choice.parts)
        if (block := answer_block(part, place, encoder)) is not None
    ]
    called = any("toolUse" in block for block in content)
    encoder.extras(response.extras)
    end = dict(encoder.extras(response.end_extras))
    output: Wire = {"message": {"role": "assistant", "content": list(content)}}
    match end.pop("output", None):
        case {"message": dict(about), **beside}:
            output = {"message": {"role": "assistant", "content": list(content), **about}, **beside}
        case dict(beside):
            output |= beside
        case _:
            pass
    body: Wire = {"output": output}
    if choice.finish is not None or not own:
        body["stopReason"] = stop_reason(choice.finish, own, called)
        tell_finish(choice.finish, encoder)
    if response.usage is not None or not own:
        body["usage"] = usage_fields(response.usage, own)
        tell_usage(response.usage, encoder)
    if not own:
        body["metrics"] = {"latencyMs": 0}
    return Encoded(dump({**body, **end}), tuple(losses))


def answer_block(part: Part, place: int, encoder: PartEncoder) -> Wire | None:
    """One block of an answer, None if it cannot be written.

    Unlike in a request, thinking of another protocol is shown, without a signature; a call
    without an id gets one made of its place.
    """
    if isinstance(part, Reasoning) and part.dialect != NAME:
        if part.signature is not None or part.encrypted is not None:
            encoder.lose("part.reasoning.signature", say=f"made by {part.dialect}")
        if not part.text:
            return None
        return {"reasoningContent": {"reasoningText": {"text": part.text}}}
    if isinstance(part, Media) and not encoder.own and part.kind != "image":
        encoder.lose(f"part.{part.kind}", say="not in an answer")
        return None
    block = encoder.part(part)
    if block is None and isinstance(part, Text) and part.text:
        # Only a request may not say blank text.
        return {"text": part.text}
    if isinstance(part, ToolCall) and not part.id and block is not None:
        use = block["toolUse"]
        if isinstance(use, dict):
            use["toolUseId"] = f"tooluse_{place}"
    return block


def stop_reason(finish: Finish | None, own: bool, called: bool) -> str:
    """The wire's word; called: the answer holds tool calls, which clients run on `tool_use`."""
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


def tell_finish(finish: Finish | None, encoder: PartEncoder) -> None:
    """Notes what of a finish has no place here."""
    if finish is None or encoder.own:
        return
    if finish.reason in ("unknown", "pause"):
        encoder.lose("finish.reason", say=finish.raw or finish.reason)
    elif finish.reason == "refusal":
        encoder.lose("finish.reason", (), "adapted", "told as filtered content")
    if finish.stop_sequence is not None:
        encoder.lose("finish.stop_sequence", say=finish.stop_sequence)
    encoder.extras(finish.extras)


def tell_usage(usage: Usage | None, encoder: PartEncoder) -> None:
    """Notes the one count that has no field here, and cache counts that had to be cut."""
    if usage is None or encoder.own:
        return
    if usage.reasoning_tokens:
        encoder.lose("usage", say="reasoning tokens")
    if _cached_tokens(usage) != (usage.cache_read_tokens, usage.cache_write_tokens):
        encoder.lose("usage", (), "adapted", "more of the prompt was cached than there was")


def _cached_tokens(usage: Usage) -> tuple[int | None, int | None]:
    """(read, written), no more than the prompt: clients add the three to what it was."""
    read, write = usage.cache_read_tokens, usage.cache_write_tokens
    if usage.input_tokens is None:
        return read, write
    prompt = max(usage.input_tokens, 0)
    read = None if read is None else min(read, prompt)
    return read, None if write is None else min(write, prompt - (read or 0))


def usage_fields(usage: Usage | None, own: bool) -> Wire:
    """The `usage` object; counts that are required and were not told are 0."""
    if usage is None:
        return {"inputTokens": 0, "outputTokens": 0, "totalTokens": 0}
    if own and isinstance(usage.raw, dict):
        return usage.raw
    read, write = _cached_tokens(usage)
    fresh = max((usage.input_tokens or 0) - (read or 0) - (write or 0), 0)
    output = usage.output_tokens or 0
    total = usage.total_tokens
    fields: Wire = {
        "inputTokens": fresh,
        "outputTokens": output,
        "totalTokens": (usage.input_tokens or 0) + output if total is None else total,
    }
    if read is not None:
        fields["cacheReadInputTokens"] = read
    if write is not None:
        fields["cacheWriteInputTokens"] = write
    return fields
