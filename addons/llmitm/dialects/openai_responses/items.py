"""Items of `input` and `output`: their wire objects <-> canon parts.

An item is a message, a piece of reasoning, a tool call, its output, or something only this
protocol knows (server tools, compaction, …), which stays Unknown as a whole.

Several texts of one answer's message are several parts; the first one's extras hold under `item`
what the message itself says (id, phase, a status other than `completed`). A reasoning item is one
part: its text is the reasoning text or, without one, the summary, paragraphs joined by a blank
line; where that does not say everything, extras hold the wire lists `summary` and `content`.
Source: OpenAI API reference, Responses, input and output items; guide "Reasoning models".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, cast

from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import Json, Path
from llmitm.dialects.openai_responses.parts import (
    Wire,
    decode_part,
    encode_own,
    extras_of,
    string_in,
    take_str,
    unknown,
)
from llmitm.dialects.openai_responses.tables import (
    CALL_FIELDS,
    CALL_ITEMS,
    CALL_TYPES,
    NAME,
    RESULT_ITEMS,
    RESULT_TYPES,
)

PARAGRAPH = "\n\n"

type Voice = Literal["content", "summary"]


def item_of(part: Part) -> Wire | None:
    """What the message item says that begins with this part of an answer; None = not told."""
    match part:
        case Text() | Refusal():
            meta = part.extras.get("item")
            return meta if isinstance(meta, dict) else None
        case _:
            return None


def decode_output_item(item: Json, at: Path = (), voice: Voice | None = None) -> list[Part]:
    """The parts of one item of an answer's `output`; never empty.

    voice: which text of a reasoning item was already streamed; None = the better one.
    """
    if not isinstance(item, dict):
        return [unknown(item, at)]
    kind = string_in(item, "type")
    part: Part | None = None
    if kind == "message":
        return _decode_message(item, at)
    if kind == "reasoning":
        part = decode_reasoning(item, at, voice)
    elif kind in CALL_ITEMS:
        part = decode_call(item, at)
        if part is not None and part.extras.get("status") == "completed":
            rest = {key: value for key, value in part.extras.items() if key != "status"}
            part = replace(part, extras=extras_of(rest))
    return [unknown(item, at) if part is None else part]


def message_meta(item: Wire) -> Wire:
    """What a message item says beside its content, without what every complete one says."""
    meta = {key: value for key, value in item.items() if key not in ("type", "content")}
    if meta.get("role") == "assistant":
        del meta["role"]
    if meta.get("status") == "completed":
        del meta["status"]
    return meta


def decode_output_part(value: Json, meta: Wire | None, at: Path = ()) -> Part:
    """One content part of an answer's message; meta: of its item, for the first part only."""
    part = decode_part(value, "assistant", at)
    match part:
        case Text() | Refusal():
            extras: Wire = dict(part.extras)
            if not extras.get("annotations", True):
                del extras["annotations"]
            if meta is not None:
                extras["item"] = meta
            return replace(part, extras=extras_of(extras))
        case _:
            return part


def _decode_message(item: Wire, at: Path) -> list[Part]:
    content = item.get("content")
    if not isinstance(content, list) or not content:
        return [unknown(item, at)]
    meta = message_meta(item)
    parts = [
        decode_output_part(value, None if place else meta, (*at, "content", place))
        for place, value in enumerate(content)
    ]
    # Only texts and refusals can hold what the item says; a message that begins otherwise stays
    # whole.
    return [unknown(item, at)] if item_of(parts[0]) is None else parts


def decode_reasoning(item: Wire, at: Path = (), voice: Voice | None = None) -> Reasoning:
    """A reasoning item; `summary` and `content` stay in extras unless the text says it all."""
    rest: Wire = {key: value for key, value in item.items() if key != "type"}
    texts = {key: _joined(rest.get(key)) for key in ("content", "summary")}
    chosen = voice or ("content" if texts["content"] else "summary")
    text = texts[chosen]
    if rest.get(chosen) == _listed(chosen, text):
        del rest[chosen]
    if rest.get("summary") == []:
        del rest["summary"]
    return Reasoning(
        text=text,
        summary=chosen == "summary",
        encrypted=take_str(rest, "encrypted_content"),
        item_id=take_str(rest, "id"),
        dialect=NAME,
        extras=extras_of(rest),
        at=at,
    )


def _joined(value: Json) -> str:
    if not isinstance(value, list):
        return ""
    texts = [item.get("text") for item in value if isinstance(item, dict)]
    return PARAGRAPH.join(text for text in texts if isinstance(text, str))


def _listed(voice: Voice, text: str) -> list[Json]:
    kind = "summary_text" if voice == "summary" else "reasoning_text"
    return [{"type": kind, "text": text}] if text else []


def encode_reasoning(part: Reasoning) -> Wire:
    """The item of a Reasoning of this protocol; `summary` is always there, as the API wants it."""
    voice: Voice = "summary" if part.summary else "content"
    wire: Wire = {"type": "reasoning"}
    if part.item_id is not None:
        wire["id"] = part.item_id
    wire["summary"] = []
    if part.dialect == NAME:
        wire |= part.extras
    if part.text and _joined(wire.get(voice)) != part.text:
        wire[voice] = _listed(voice, part.text)
    if part.encrypted is not None:
        wire["encrypted_content"] = part.encrypted
    return wire


def decode_call(item: Wire, at: Path = ()) -> ToolCall | None:
    """A function or custom tool call; None if it lacks what makes it one."""
    kind, field = CALL_ITEMS[cast("str", item["type"])]
    rest: Wire = dict(item)
    del rest["type"]
    call_id, name = take_str(rest, "call_id"), take_str(rest, "name")
    given = take_str(rest, field)
    if call_id is None or name is None or given is None:
        return None
    return ToolCall(
        id=call_id,
        name=name,
        arguments=given,
        kind="custom" if kind == "custom" else "function",
        item_id=take_str(rest, "id"),
        extras=extras_of(rest),
        at=at,
    )


def encode_call(part: ToolCall) -> Wire:
    """The item of a ToolCall of this protocol."""
    wire: Wire = {"type": CALL_TYPES[part.kind]}
    if part.item_id is not None:
        wire["id"] = part.item_id
    wire |= {"call_id": part.id, "name": part.name, CALL_FIELDS[part.kind]: part.arguments}
    return {**part.extras, **wire}


def decode_result(item: Wire, at: Path) -> ToolResult | None:
    """A tool's output as it stands in `input`; None if it lacks what makes it one."""
    rest: Wire = dict(item)
    del rest["type"]
    call_id, output = take_str(rest, "call_id"), rest.pop("output", None)
    here = (*at, "output")
    parts: tuple[Part, ...]
    if isinstance(output, str):
        parts = (Text(text=output, at=here),)
    elif isinstance(output, list):
        parts = tuple([decode_part(v, "user", (*here, place)) for place, v in enumerate(output)])
    else:
        return None
    if call_id is None:
        return None
    return ToolResult(
        call_id=call_id,
        parts=parts,
        kind="custom" if RESULT_ITEMS[cast("str", item["type"])] == "custom" else "function",
        item_id=take_str(rest, "id"),
        extras=extras_of(rest),
        at=at,
    )


def encode_result(part: ToolResult) -> Wire:
    """The item of a ToolResult of this protocol."""
    wire: Wire = {"type": RESULT_TYPES[part.kind], "call_id": part.call_id}
    if part.item_id is not None:
        wire["id"] = part.item_id
    wire["output"] = content_of(part.parts, "user", "output")
    return {**part.extras, **wire}


def content_of(parts: tuple[Part, ...], role: str, key: str) -> Json:
    """A string where one text was read from a string, else the list of parts."""
    if len(parts) == 1 and isinstance(only := parts[0], Text) and only.at[-1:] == (key,):
        return only.text
    return [encode_own(part, role) for part in parts]


def is_item(part: Unknown, at: Path) -> bool:
    """Whether this is a whole item of `input` and not a content part of the message at `at`."""
    if part.at:
        return part.at == at or part.at[-2:-1] not in (("content",), ("output",))
    return not part.kind.startswith(("input_", "output_", "summary_text", "reasoning_text"))
