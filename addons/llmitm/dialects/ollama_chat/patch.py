"""Edits of an Ollama request that leave the rest of its bytes alone.

Source: Ollama API reference.
"""

from __future__ import annotations

from dataclasses import replace

from llmitm.canon.parts import Media, Part, Reasoning, Text, ToolCall
from llmitm.canon.request import Message, Request, Tool
from llmitm.canon.values import Facts, Json, Loss
from llmitm.dialects.contract import Encoded
from llmitm.dialects.ollama_chat.parts import PartEncoder
from llmitm.dialects.ollama_chat.settings import format_field, think_field
from llmitm.dialects.ollama_chat.tables import GENERATE_NAME, SCALARS
from llmitm.dialects.origin import PatchTable
from llmitm.dialects.origin import patch_request as patch


def patch_request(original: bytes, before: Request, after: Request, facts: Facts) -> Encoded | None:
    """`original` with only the touched JSON paths changed, None where that cannot be done."""
    if before.dialect == GENERATE_NAME and _wordless(before) != _wordless(after):
        return None
    if before.extras.get("options") != after.extras.get("options"):
        return None
    losses: list[Loss] = []
    names = {p.id: p.name for m in after.messages for p in m.parts if isinstance(p, ToolCall)}
    encoder = PartEncoder(True, losses, names)

    def message(item: Message, facts: Facts) -> list[Json]:
        del facts
        return encoder.messages(item)

    def tool(item: Tool) -> Json | None:
        return encoder.tool(item)

    def part(item: Part) -> Json | None:
        return _field(item, encoder)

    table = PatchTable(
        scalars=SCALARS,
        messages=("messages",),
        tools=("tools",),
        encode_message=message,
        encode_tool=tool,
        encode_part=part,
        encode_scalar=_scalar,
        losses=losses,
    )
    return patch(original, before, after, facts, table)


def _wordless(request: Request) -> list[list[Part]]:
    """The parts of all messages without their words: what a generate call cannot patch."""
    return [
        [replace(part, text="") if isinstance(part, Text) else part for part in message.parts]
        for message in request.messages
    ]


def _field(part: Part, encoder: PartEncoder) -> Json | None:
    """The JSON value at a part's place, None if it cannot be written by itself."""
    if isinstance(part, Reasoning):
        return part.text
    if isinstance(part, Media) and part.kind == "image":
        return part.data
    return encoder.call(part) if isinstance(part, ToolCall) else None


def _scalar(name: str, request: Request) -> Json:
    """What to write for a changed attribute of canon, None = the key goes."""
    match name:
        case "model":
            return request.model
        case "stream":
            return request.stream
        case "sampling.stop":
            return list(request.sampling.stop) or None
        case "response_format":
            return format_field(request.response_format)
        case "reasoning":
            return think_field(request.reasoning)
        case _:
            return getattr(request.sampling, name.removeprefix("sampling."))
