"""What a message is made of: one class per kind of content, a closed union.

A part is what was said, whoever said it and in whatever protocol. Fields say what empty means;
`at` is where the part's own JSON value stood in the body it was read from and never counts in
comparisons. A text part's `at` leads to the string itself, so that an edit can replace just it.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from llmitm.canon.values import NO_EXTRAS, Extras, Json, Path, value


@value(kw_only=True)
class Text:
    """Plain text. annotations: citations and the like, opaque, in the source's own form."""

    text: str
    annotations: tuple[Json, ...] = ()
    logprobs: Json = None
    signature: str | None = None
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class Media:
    """An image, audio, video or document, by exactly one of url, data, file_id (or text).

    data: base64 as on the wire; text: a document given as plain text;
    mime: empty when unknown; name: file name or title, None when absent;
    detail: the image detail asked for, None when absent.
    """

    kind: Literal["image", "audio", "video", "document"]
    mime: str = ""
    url: str | None = None
    data: str | None = None
    file_id: str | None = None
    text: str | None = None
    name: str | None = None
    detail: str | None = None
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class ToolCall:
    """The model's wish to call a tool.

    id: the call id results refer to, empty when the protocol sent none; arguments: the raw text
    (JSON for `function`, free text for `custom`), empty = no arguments;
    signature: opaque provider data that must go back with the call (Gemini `thoughtSignature`);
    item_id: the item's own id where the protocol has both (Responses), None otherwise.
    """

    id: str
    name: str
    arguments: str
    kind: Literal["function", "custom"] = "function"
    signature: str | None = None
    item_id: str | None = None
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class ToolResult:
    """What a tool gave back. parts: Text, Media or Unknown; name: None when the protocol omits it.

    error: True/False where the protocol says so, None where it does not.
    value: the result as structured JSON where the protocol carries it so (Gemini), else None;
    `parts` is then its text form.
    """

    call_id: str
    parts: tuple[Part, ...]
    name: str | None = None
    error: bool | None = None
    value: Json = None
    kind: Literal["function", "custom"] = "function"
    item_id: str | None = None
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class Reasoning:
    """The model's thinking. text: empty when hidden; summary: True = provider's summary of it.

    signature: what proves the text (Anthropic `signature`, Gemini `thoughtSignature`);
    encrypted: the thinking itself, unreadable (`redacted_thinking.data`, `encrypted_content`);
    dialect: who made signature and encrypted; only that protocol may get them back.
    """

    text: str = ""
    summary: bool = False
    signature: str | None = None
    encrypted: str | None = None
    item_id: str | None = None
    dialect: str = ""
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class Refusal:
    """The model declined; text is its explanation."""

    text: str
    extras: Extras = NO_EXTRAS
    at: Path = field(default=(), compare=False)


@value(kw_only=True)
class Unknown:
    """A part of a kind canon does not know, as it was read; only its own dialect carries it.

    kind: the wire's `type` (or the key that names it), empty when it has none.
    """

    dialect: str
    kind: str
    value: Json
    at: Path = field(default=(), compare=False)


type Part = Text | Media | ToolCall | ToolResult | Reasoning | Refusal | Unknown
