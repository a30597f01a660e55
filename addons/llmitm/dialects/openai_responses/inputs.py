"""`input` of a request: a string or items <-> messages, one message an item.

Source: OpenAI API reference, Responses, input items.
"""

from __future__ import annotations

from typing import cast

from llmitm.canon.parts import Part, Reasoning, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message, Role
from llmitm.canon.values import Json, Path, pointer
from llmitm.dialects.openai_responses.carry import Carrier
from llmitm.dialects.openai_responses.items import (
    content_of,
    decode_call,
    decode_reasoning,
    decode_result,
    encode_call,
    encode_reasoning,
    encode_result,
    is_item,
)
from llmitm.dialects.openai_responses.parts import Wire, decode_part, extras_of, string_in, unknown
from llmitm.dialects.openai_responses.tables import CALL_ITEMS, NAME, RESULT_ITEMS, ROLES
from llmitm.errors import ClientWireError


def decode_input(rest: Wire) -> tuple[Message, ...]:
    """The messages of `input`, which leaves `rest`; ClientWireError if it has the wrong shape."""
    given = rest.get("input")
    if given is None or given == []:
        # Absent, null and empty differ on the wire only; extras tell them apart.
        return ()
    del rest["input"]
    if isinstance(given, str):
        at: Path = ("input",)
        return (Message(role="user", parts=(Text(text=given, at=at),), at=at),)
    if not isinstance(given, list):
        raise ClientWireError("/input", "must be a string or a list of items")
    return tuple([_decode_item(item, ("input", place)) for place, item in enumerate(given)])


def _decode_item(item: Json, at: Path) -> Message:
    if not isinstance(item, dict):
        raise ClientWireError(pointer(at), "an item must be an object")
    kind = string_in(item, "type")
    role: Role = "assistant"
    part: Part | None = None
    if kind in ("message", "") and string_in(item, "role") in ROLES:
        content = item.get("content")
        if isinstance(content, str | list):
            return _decode_message(item, content, at)
    if kind == "reasoning":
        part = decode_reasoning(item, at)
    elif kind in CALL_ITEMS:
        part = decode_call(item, at)
    elif kind in RESULT_ITEMS:
        role = "tool"
        part = decode_result(item, at)
    if part is None:
        part = unknown(item, at)
        role = _unknown_role(item, part.kind)
    return Message(role=role, parts=(part,), at=at)


def _unknown_role(item: Wire, kind: str) -> Role:
    said = string_in(item, "role")
    if said in ROLES:
        return cast("Role", said)
    if kind.endswith(("_output", "_approval_response")):
        return "tool"
    return "assistant" if kind else "user"


def _decode_message(item: Wire, content: str | list[Json], at: Path) -> Message:
    role = cast("Role", item["role"])
    rest: Wire = dict(item)
    del rest["role"], rest["content"]
    here = (*at, "content")
    parts: tuple[Part, ...]
    if isinstance(content, str):
        parts = (Text(text=content, at=here),)
    else:
        parts = tuple(
            [decode_part(value, role, (*here, place)) for place, value in enumerate(content)]
        )
    return Message(role=role, parts=parts, extras=extras_of(rest), at=at)


def encode_items(message: Message, carrier: Carrier) -> list[Json]:
    """The items of one message: a run of content is one message, every other part its own item."""
    items: list[Json] = []
    run: list[Part] = []
    # A message that was read from an item without content still is one.
    whole = not message.parts

    def flush() -> None:
        if run or whole:
            items.append(_message_item(message, tuple(run)))
            run.clear()

    for part in message.parts:
        match part:
            case ToolCall():
                flush()
                items.append(encode_call(part))
            case ToolResult():
                flush()
                items.append(encode_result(part))
            case Reasoning() if part.dialect == NAME:
                flush()
                items.append(encode_reasoning(part))
            case Reasoning():
                carrier.lose("part.reasoning", part.at)
            case Unknown() if part.dialect != NAME:
                carrier.lose("part.unknown", part.at)
            case Unknown() if is_item(part, message.at):
                flush()
                items.append(part.value)
            case _:
                run.append(part)
    flush()
    return items


def _message_item(message: Message, parts: tuple[Part, ...]) -> Json:
    role = "user" if message.role == "tool" else message.role
    return {**message.extras, "role": role, "content": content_of(parts, role, "content")}
