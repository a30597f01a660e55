"""Writes canon parts and messages as Gemini's parts and contents, and says what they lose.

What was read from this protocol and not edited since is written as it was read. Never: reads wire
data of its own accord. Source: Gemini API reference, Content and Part.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import assert_never

from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, ToolResult, Unknown
from llmitm.canon.request import Message
from llmitm.canon.values import Extras, Json, Loss, Path, pointer
from llmitm.dialects.gemini_generate.parts import private, read_content, read_part, result_text
from llmitm.dialects.gemini_generate.tables import (
    FAMILY,
    MIME_BY_SUFFIX,
    MIME_DEFAULTS,
    SKIP_SIGNATURE,
)
from llmitm.dialects.gemini_generate.wire import Wire, parse, source_of
from llmitm.dialects.telling import telling

type Fields = dict[str, Json]


@dataclass(slots=True)
class Composer:
    """Collects the losses of one body while its pieces are written.

    target: the dialect's name; own: the values were read from this protocol (with `Wire` extras
    they are in any case); names: call id -> function name; media_in_results: whether the model
    takes media inside a function's response; sign_calls: whether a content that holds calls and
    no signature gets the one that Google documents for calls of other models; same: identities
    of the messages that are the very objects that were read.
    """

    target: str
    own: bool
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    media_in_results: bool = True
    sign_calls: bool = False
    same: AbstractSet[int] = frozenset()
    losses: list[Loss] = field(default_factory=list[Loss])

    def lose(self, feature: str, at: Path = (), say: str = "") -> None:
        """Notes that a feature is gone; each only once."""
        loss = Loss(feature, pointer(at), self.target, "dropped", say)
        if loss not in self.losses:
            self.losses.append(loss)

    def adapt(self, feature: str, at: Path = (), say: str = "") -> None:
        """Notes that a feature is carried in another form."""
        loss = Loss(feature, pointer(at), self.target, "adapted", say)
        if loss not in self.losses:
            self.losses.append(loss)

    def extras(self, extras: Extras, at: Path) -> Fields:
        """The extras to write: this protocol's own; those of others are lost."""
        if not extras:
            return {}
        if self.own or isinstance(extras, Wire):
            return dict(extras)
        for key in telling(extras):
            self.lose("field", (*at, key))
        return {}

    # Messages

    def content(self, message: Message) -> Fields | str | None:
        """One content; None when nothing of the message can be said."""
        source = source_of(message.extras)
        if (
            self.own
            and isinstance(source, dict | str)
            and (id(message) in self.same or read_content(source, ()) == message)
        ):
            return source
        parts = self.parts(message.parts, message.at)
        if message.role == "assistant":
            role = "model"
            self._sign(parts)
        else:
            role = "user"
            if len(parts) > 1:
                parts.sort(key=lambda part: "functionResponse" not in part)
        if message.name is not None:
            self.lose("message.name", (*message.at, "name"))
        extras = self.extras(message.extras, message.at)
        if not parts and not (self.own and not message.parts):
            return None
        return {"role": role, "parts": [*parts], **extras}

    def _sign(self, parts: list[Fields]) -> None:
        """Gives the first call the signature that Google documents for calls of other models.

        Parallel calls carry one signature, on the first of them.
        """
        if not self.sign_calls:
            return
        calls = [part for part in parts if "functionCall" in part]
        if calls and not any("thoughtSignature" in part for part in calls):
            calls[0]["thoughtSignature"] = SKIP_SIGNATURE

    # Parts

    def parts(self, parts: Iterable[Part], at: Path = ()) -> list[Fields]:
        """The parts of one message, those that cannot be said left out."""
        written: list[Fields] = []
        for part in parts:
            written += self.part(part, at)
        return written

    def part(self, part: Part, at: Path = ()) -> list[Fields]:
        """One part as parts of the wire: mostly one, none when it is lost.

        at: where its message stood, for parts that have no place of their own.
        """
        match part:
            case Unknown():
                return self._unknown(part, part.at or at)
            case _:
                extras = part.extras
                if isinstance(extras, Wire):
                    source = extras.source
                    if isinstance(source, dict) and read_part(source) == part:
                        return [source]
        at = part.at or at
        match part:
            case Text():
                return self._text(part, at)
            case Refusal():
                self.adapt("part.refusal", at, "as text")
                return [{"text": part.text, **self.extras(part.extras, at)}] if part.text else []
            case Reasoning():
                return self._reasoning(part, at)
            case Media():
                body = self._media(part, at)
                return [{**body, **self.extras(part.extras, at)}] if body else []
            case ToolCall():
                return [self._call(part, at)]
            case ToolResult():
                return self._result(part, at)
            case _:
                assert_never(part)

    def _unknown(self, part: Unknown, at: Path) -> list[Fields]:
        if part.dialect in FAMILY and isinstance(part.value, dict):
            return [part.value]
        self.lose("part.unknown", at, part.kind)
        return []

    def _text(self, part: Text, at: Path) -> list[Fields]:
        if part.annotations:
            self.lose("part.annotations", at)
        if part.logprobs:
            self.lose("part.logprobs", at)
        extras: Fields = {}
        if part.extras:
            extras = self.extras(part.extras, at[:-1] if at and at[-1] == "text" else at)
        if not part.text and part.signature is None and not self.own:
            # The API rejects a part that says nothing.
            return []
        fields: Fields = {"text": part.text}
        if part.signature is not None:
            fields["thoughtSignature"] = part.signature
        fields.update(extras)
        return [fields]

    def _reasoning(self, part: Reasoning, at: Path) -> list[Fields]:
        ours = part.dialect in FAMILY
        if not ours and (part.signature is not None or part.encrypted is not None):
            self.lose("part.reasoning.signature", at)
        extras = self.extras(part.extras, at)
        signature = part.signature if ours else None
        if not part.text and signature is None:
            return []
        fields: Fields = {"text": part.text, "thought": True}
        if signature is not None:
            fields["thoughtSignature"] = signature
        fields.update(extras)
        return [fields]

    def _media(self, part: Media, at: Path) -> Fields | None:
        own = self.own or isinstance(part.extras, Wire)
        if part.detail is not None:
            self.lose("part.image.detail", at)
        named = part.name if own else None
        if part.name is not None and not own:
            self.lose(f"part.{part.kind}", at, "the file's name")
        if part.text is not None:
            data = base64.b64encode(part.text.encode("utf-8", "replace")).decode()
            body: Fields = {"mimeType": part.mime or "text/plain", "data": data}
            return {"inlineData": body}
        mime, data = part.mime, part.data
        uri = part.url if part.url is not None else part.file_id
        if data is None and uri is not None and uri.startswith("data:"):
            head, _, data = uri.partition(",")
            mime = mime or head[5:].partition(";")[0]
        if data is not None:
            body = {"mimeType": mime or MIME_DEFAULTS[part.kind], "data": data}
            key = "inlineData"
        elif uri is None or (part.file_id is not None and not (own or private_uri(uri))):
            self.lose(f"part.{part.kind}", at, "a file kept by another provider")
            return None
        else:
            if not mime and not own:
                suffix = uri.partition("?")[0].rpartition(".")[2].lower()
                mime = MIME_BY_SUFFIX.get(suffix, MIME_DEFAULTS[part.kind])
            body = {"mimeType": mime, "fileUri": uri} if mime else {"fileUri": uri}
            key = "fileData"
        if named is not None:
            body["displayName"] = named
        return {key: body}

    def _call(self, part: ToolCall, at: Path) -> Fields:
        call: Fields = {"id": part.id} if part.id else {}
        call["name"] = part.name
        call["args"] = self._args(part, at)
        extras = self.extras(part.extras, at)
        inner = extras.pop("functionCall", None)
        if isinstance(inner, dict):
            call.update(inner)
        fields: Fields = {"functionCall": call}
        if part.signature is not None:
            fields["thoughtSignature"] = part.signature
        fields.update(extras)
        return fields

    def _args(self, part: ToolCall, at: Path) -> Fields:
        if part.kind == "custom":
            self.adapt("tool_call.custom", at, "as the argument `input`")
            return {"input": part.arguments}
        return call_args(part.arguments, lambda: self.adapt("tool_call.arguments", at))

    def _result(self, part: ToolResult, at: Path) -> list[Fields]:
        texts: list[str] = []
        media: list[Fields] = []
        for item in part.parts:
            if isinstance(item, Text | Refusal):
                texts.append(item.text)
            elif isinstance(item, Media | Unknown):
                media += self.part(item, at)
            else:
                self.lose("tool_result.media", at)
        text = "".join(texts)
        value = part.value
        # An edited text goes before the structure that it was the text of.
        if value is None or result_text(value) != text:
            told: Fields = {"error" if part.error else "output": text}
            value = told if text or not media else {}
        response: Fields = {"id": part.call_id} if part.call_id else {}
        response["name"] = part.name or self.names.get(part.call_id) or part.call_id or "tool"
        response["response"] = value if isinstance(value, dict) else {"output": value}
        extras = self.extras(part.extras, at)
        inner = extras.pop("functionResponse", None)
        if isinstance(inner, dict):
            response.update(inner)
        fields: Fields = {"functionResponse": response, **extras}
        if not media:
            return [fields]
        if self.media_in_results:
            response["parts"] = [*media]
            return [fields]
        self.adapt("tool_result.media", at, "beside the result")
        return [fields, *media]


def private_uri(uri: str) -> bool:
    """Whether a file id is one of Google's: a bucket or an uploaded file."""
    return uri.startswith(("gs://", "https://")) and private(uri)


def call_args(arguments: str, odd: object = None) -> Fields:
    """A call's arguments as the object they must be here; anything else becomes `input`.

    odd: called when they were no JSON object.
    """
    if not arguments.strip():
        return {}
    try:
        value = parse(arguments.encode("utf-8", "surrogatepass"))
    except ValueError:
        value = arguments
    if isinstance(value, dict):
        return value
    if callable(odd):
        odd()
    return {"input": value}
