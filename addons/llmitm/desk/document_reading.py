"""Parts of messages and answers in a document: what an edited one says.

A part with `keep: N` is the original's part N with what is shown of it changed, the very same
object where nothing was; one without is new. Never: raises on what somebody wrote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, assert_never, cast

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.values import Json
from llmitm.desk.document_fields import (
    Fields,
    Mistakes,
    edited_json,
    object_of,
    same_json,
    shape,
)
from llmitm.desk.document_parts import part_written, shows_value, text_in
from llmitm.dialects.gemini_generate.parts import result_text
from llmitm.dialects.splicing import print_json
from llmitm.ruleset.documents import Node, plain

type MediaKind = Literal["image", "audio", "video", "document"]

_MEDIA = ("image", "audio", "video", "document")
_KINDS = (
    "tool_call", "tool_result", "reasoning", "hidden_reasoning", "refusal", *_MEDIA, "other",
    "text",
)  # fmt: skip
"""`text` last: a document has it too."""
_TOOL_KINDS: tuple[Literal["function", "custom"], ...] = ("function", "custom")


def read_content(fields: Fields, was: tuple[Part, ...], mistakes: Mistakes) -> tuple[Part, ...]:
    """The parts that `text` or `parts` of this mapping say; `was` itself when nothing changed."""
    text, parts = fields.take("text"), fields.take("parts")
    if text is not None and parts is not None:
        mistakes.add(text, f"{fields.what} has `text` or `parts`, not both")
        return was
    if parts is not None:
        return read_parts(fields.as_items(parts, "parts"), was, mistakes)
    if text is None:
        mistakes.add(fields.node, f"{fields.what} must have `text` or `parts`")
        return was
    alone = was[0] if len(was) == 1 else None
    said = fields.as_text(text, "text", alone.text if isinstance(alone, Text) else "")
    if isinstance(alone, Text):
        made = with_text(alone, said)
        return was if made is alone else (made,)
    return (Text(text=said),)


def with_text(part: Text, text: str) -> Text:
    """The part with another text, itself if it is the same. Token probabilities are of the old."""
    return part if part.text == text else replace(part, text=text, logprobs=None)


def read_parts(
    nodes: Sequence[Node], was: tuple[Part, ...], mistakes: Mistakes
) -> tuple[Part, ...]:
    """The parts of a list; `was` itself when nothing changed."""
    made: list[Part] = []
    used: dict[int, int] = {}
    for node in nodes:
        fields = Fields(node, "a part", mistakes)
        line = node.place.line
        if isinstance(node.value, dict) and "keep" in node.value:
            line = node.value["keep"].place.line
        place = fields.place("keep", len(was))
        if place is not None and place in used:
            say = f"part {place + 1} stands twice, first on line {used[place]}"
            mistakes.add(node, f"{say}; leave `keep` out for a new part")
            place = None
        if place is not None:
            used[place] = line
        part = _part(fields, None if place is None else was[place])
        if part is not None:
            made.append(part)
    same = len(made) == len(was) and all(map(_is, made, was))
    return was if same else tuple(made)


def _is(one: object, other: object) -> bool:
    return one is other


def _part(fields: Fields, was: Part | None) -> Part | None:
    names = fields.names()
    kind = next((kind for kind in _KINDS if kind in names), None)
    if kind is None:
        if not isinstance(fields.node.value, dict):
            return was
        if was is None:
            told = ", ".join(_KINDS)
            fields.mistakes.add(fields.node, f"a part must have one of {told}")
        elif names:
            fields.done(part_written(was))
        # `keep: 2` alone is enough.
        return was
    if was is not None and kind != (shown := next(iter(part_written(was)))):
        say = f"this part is a {shown}, not a {kind}; leave `keep` out for a new part"
        fields.mistakes.add(fields.node, say)
        return was
    part = _of_kind(kind, fields, was)
    fields.done()
    return part


def _of_kind(kind: str, fields: Fields, was: Part | None) -> Part | None:
    match was:
        case None:
            return _new(kind, fields)
        case Text():
            return with_text(was, fields.needed("text", was.text))
        case ToolCall():
            return read_call_fields(fields, was)
        case ToolResult():
            return _result(fields, was)
        case Reasoning():
            return _reasoning(kind, fields, was)
        case Refusal():
            text = fields.needed("refusal", was.text)
            return was if text == was.text else replace(was, text=text)
        case Media():
            return _media(kind, fields, was)
        case Unknown():
            fields.take("other")
            return was
        case _:
            assert_never(was)


def _new(kind: str, fields: Fields) -> Part | None:
    match kind:
        case "text":
            return Text(text=fields.needed("text", ""))
        case "tool_call":
            return read_call_fields(fields, None)
        case "tool_result":
            return _result(fields, None)
        case "reasoning":
            summary = fields.flag("summary", None) or False
            signed = fields.take("signed")
            if signed is not None:
                fields.mistakes.add(signed, "a new part cannot be signed: leave `signed` out")
            return Reasoning(text=fields.needed("reasoning", ""), summary=summary)
        case "refusal":
            return Refusal(text=fields.needed("refusal", ""))
        case "hidden_reasoning" | "other":
            fields.take(kind)
            say = f"a {kind} part cannot be made by hand: it must have the `keep` it had"
            fields.mistakes.add(fields.node, say)
            return None
        case _:
            return _new_media(cast("MediaKind", kind), fields)


def _new_media(kind: MediaKind, fields: Fields) -> Media | None:
    node = fields.node
    where = fields.needed(kind, "")
    text = fields.text("text", None)
    if text is not None:
        if kind == "document":
            return Media(kind=kind, mime="text/plain", text=text, name=where or None)
        fields.mistakes.add(node, f"only a document can be given as text, not {kind}")
        return None
    if where.startswith("data:") and ";base64," in where:
        mime, _, data = where.removeprefix("data:").partition(";base64,")
        return Media(kind=kind, mime=mime, data=data)
    if where.startswith(("https://", "http://", "gs://")):
        return Media(kind=kind, url=where)
    say = f"a new {kind} must be a URL (https:, http:, gs:, or data: with base64)"
    fields.mistakes.add(node, say)
    return None


def _media(kind: str, fields: Fields, was: Media) -> Media:
    shown = part_written(was)[was.kind]
    said = fields.needed(kind, str(shown))
    if was.text is not None:
        text = fields.needed("text", was.text)
        name = was.name if said == shown else said
        same = text == was.text and name == was.name
        return was if same else replace(was, text=text, name=name)
    if said == shown:
        return was
    if was.url is not None and said.startswith(("https://", "http://", "gs://")):
        return replace(was, url=said)
    say = f"this says what is kept and cannot be changed; leave `keep` out for a new {kind}"
    fields.mistakes.add(fields.node, say)
    return was


def _reasoning(kind: str, fields: Fields, was: Reasoning) -> Reasoning:
    if kind == "hidden_reasoning":
        fields.take(kind)
        return was
    text = fields.needed("reasoning", was.text)
    for key in ("signed", "summary"):
        fields.flag(key, None)
    if text == was.text:
        return was
    # A signature proves the text it was made for, and no other.
    return replace(was, text=text, signature=None, encrypted=None)


def read_call_fields(fields: Fields, was: ToolCall | None) -> ToolCall:
    """A tool call; `was` itself when nothing changed. A new one needs no id."""
    before = was or ToolCall(id="", name="", arguments="")
    name = fields.needed("tool_call", before.name)
    if not name:
        fields.mistakes.add(fields.node, "`tool_call` must name the tool")
    ident = fields.text("id", before.id) or ""
    kind = fields.word("kind", "function" if was is None else was.kind, _TOOL_KINDS)
    node = fields.take("arguments")
    arguments = _arguments(fields, node, was, kind)
    same = (name, ident, kind, arguments)
    if was is not None and same == (was.name, was.id, was.kind, was.arguments):
        return was
    return replace(before, name=name, id=ident, kind=kind, arguments=arguments)


def _arguments(fields: Fields, node: Node | None, was: ToolCall | None, kind: str) -> str:
    before = was.arguments if was is not None else ""
    if node is None or node.value is None:
        return "{}" if kind == "function" else ""
    if isinstance(node.value, str):
        return node.value
    if not isinstance(node.value, dict) or kind != "function":
        must = "a mapping or the text of one" if kind == "function" else "text"
        fields.mistakes.add(node, f"`arguments` must be {must}, not {shape(node)}")
        return before
    value = cast("dict[str, Json]", plain(node))
    old = object_of(before)
    if old is None:
        return print_json(value)
    return before if same_json(old, value) else edited_json(before, old, value)


def _result(fields: Fields, was: ToolResult | None) -> ToolResult:
    before = was or ToolResult(call_id="", parts=())
    call_id = fields.needed("tool_result", before.call_id)
    name = fields.text("name", before.name)
    kind = fields.word("kind", "function" if was is None else was.kind, _TOOL_KINDS)
    error = fields.flag("error", before.error)
    parts, value = _result_content(fields, before)
    same = (name, call_id, kind, error) == (before.name, before.call_id, before.kind, before.error)
    if was is not None and same and parts is was.parts and value is was.value:
        return was
    return replace(
        before, call_id=call_id, name=name, kind=kind, error=error, parts=parts, value=value
    )


def _result_content(fields: Fields, was: ToolResult) -> tuple[tuple[Part, ...], Json]:
    if "value" in fields.names():
        value = fields.json("value", was.value)
        if value is was.value:
            return was.parts, value
        text = result_text(value)
        return (Text(text=text),) if text else (), value
    parts = read_content(fields, was.parts, fields.mistakes)
    for part in parts:
        if isinstance(part, ToolCall | ToolResult | Reasoning):
            fields.mistakes.add(fields.node, "a tool result holds texts, media and other parts")
    if parts is was.parts and not shows_value(was):
        return was.parts, was.value
    return parts, _value_of(parts, was.value)


def _value_of(parts: tuple[Part, ...], was: Json) -> Json:
    """The structured form of an edited text: the old one with the text in it, if it was a text."""
    texts = [part.text for part in parts if isinstance(part, Text)]
    if text_in(was) is None or len(texts) != 1:
        return None
    return {key: texts[0] for key in was} if isinstance(was, dict) else texts[0]
