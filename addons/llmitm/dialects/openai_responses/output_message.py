"""A message of an answer while it is written: text, refusals, citations, log probabilities.

Source: OpenAI API reference, Responses, streaming events; recorded streams.
"""

from __future__ import annotations

from llmitm.canon.events import PartDetail
from llmitm.canon.parts import Refusal, Text
from llmitm.canon.values import Json
from llmitm.dialects.openai_responses.output import NUMBER, Item, Output, delta_prefix
from llmitm.dialects.openai_responses.parts import Wire, json_bytes
from llmitm.dialects.openai_responses.tables import FLAT_ANNOTATIONS


class MessageItem(Item):
    """A message of the answer. meta: what it says beside its content, None = nothing known."""

    def __init__(self, out: Output, meta: Wire | None) -> None:
        super().__init__(out)
        self.meta: Wire = {"id": out.name("msg")} if meta is None else dict(meta)
        name = self.meta.get("id")
        self.name = name if isinstance(name, str) else out.name("msg")
        self._content: list[Json] = []
        self._waiting = 0
        self._left = False
        self.added(self._item("in_progress"))

    def _item(self, status: str) -> Wire:
        return {
            "type": "message",
            "status": status,
            "role": "assistant",
            **self.meta,
            "content": [part for part in self._content if part is not None],
        }

    def open(self, part: Text | Refusal) -> ContentPart:
        """One more content part."""
        self._content.append(None)
        self._waiting += 1
        return ContentPart(self, len(self._content) - 1, part)

    def whole_part(self, value: Json) -> None:
        """A content part that comes in one piece."""
        self._content.append(value)
        self.part_event("added", len(self._content) - 1, value)
        self.part_event("done", len(self._content) - 1, value)

    def part_event(self, kind: str, index: int, part: Json) -> None:
        """`response.content_part.added` or `.done`."""
        where: Wire = {"item_id": self.name, "output_index": self.place, "content_index": index}
        self.out.emit(f"response.content_part.{kind}", {**where, "part": part})

    def closed(self, index: int, part: Json) -> None:
        """A content part is complete."""
        self._content[index] = part
        self._waiting -= 1
        self.part_event("done", index, part)
        if self._left and not self._waiting:
            self.done(self._item("completed"))

    @property
    def is_open(self) -> bool:
        """Whether some part of it has not ended."""
        return bool(self._waiting)

    def leave(self) -> None:
        """No further part comes."""
        self._left = True
        if not self._waiting:
            self.done(self._item("completed"))


class ContentPart:
    """A text or a refusal of a message."""

    def __init__(self, message: MessageItem, index: int, part: Text | Refusal) -> None:
        self._message, self._index, self._out = message, index, message.out
        self._text = isinstance(part, Text)
        self._pieces: list[str] = []
        self._extras: Wire = {}
        self._annotations: list[Json] = []
        self._logprobs: list[Json] | None = None
        self._pending: list[Json] = []
        self._kind = "response.output_text.delta" if self._text else "response.refusal.delta"
        self._prefix = delta_prefix(
            self._kind, message.name, message.place, f'"content_index":{index},'
        )
        self._suffix = b',"logprobs":[]' + NUMBER if self._text else NUMBER
        self._take_extras(dict(part.extras))
        message.part_event("added", index, self._wire())
        if isinstance(part, Text):
            self._more(part.annotations, part.logprobs)
            if part.signature is not None:
                self._out.lose("part.reasoning.signature")

    def _wire(self) -> Wire:
        text = "".join(self._pieces)
        if not self._text:
            return {"type": "refusal", "refusal": text, **self._extras}
        wire: Wire = {"type": "output_text", "text": text, "annotations": list(self._annotations)}
        if self._logprobs is not None or not self._out.own:
            wire["logprobs"] = list(self._logprobs or ())
        return {**wire, **self._extras}

    def _take_extras(self, extras: Wire) -> None:
        meta = extras.pop("item", None)
        if not self._out.own:
            self._out.lose_extras(extras)
            return
        if isinstance(meta, dict):
            self._message.meta |= meta
        self._extras |= extras

    def _where(self) -> Wire:
        message = self._message
        return {
            "item_id": message.name,
            "output_index": message.place,
            "content_index": self._index,
        }

    def delta(self, text: str) -> None:
        """More of the text."""
        self._pieces.append(text)
        suffix = self._suffix
        if self._pending:
            suffix = b',"logprobs":' + json_bytes(self._pending) + NUMBER
            self._pending = []
        self._out.emit_delta(self._kind, self._prefix, json_bytes(text), suffix)

    def detail(self, event: PartDetail) -> None:
        """Annotations, log probabilities, extras."""
        if event.signature is not None:
            self._out.lose("part.reasoning.signature")
        self._more(event.annotations, event.logprobs)
        if event.extras:
            self._take_extras(dict(event.extras))

    def _more(self, annotations: tuple[Json, ...], logprobs: Json) -> None:
        for annotation in annotations:
            flat = flat_annotation(annotation, self._out.own)
            if flat is None:
                self._out.lose("part.annotations")
                continue
            where: Wire = {**self._where(), "annotation_index": len(self._annotations)}
            self._annotations.append(flat)
            kind = "response.output_text.annotation.added"
            self._out.emit(kind, {**where, "annotation": flat})
        listed = logprobs.get("content") if isinstance(logprobs, dict) else logprobs
        if isinstance(listed, list):
            self._logprobs = [*(self._logprobs or ()), *listed]
            self._pending += listed
        elif logprobs is not None:
            self._out.lose("part.logprobs")

    def end(self) -> None:
        """The text is complete."""
        text, wire = "".join(self._pieces), self._wire()
        if self._text:
            fields: Wire = {**self._where(), "text": text, "logprobs": wire.get("logprobs", [])}
            self._out.emit("response.output_text.done", fields)
        else:
            self._out.emit("response.refusal.done", {**self._where(), "refusal": text})
        self._message.closed(self._index, wire)


def flat_annotation(annotation: Json, own: bool) -> Json:
    """The annotation as this protocol writes it; None if it has no such kind."""
    match annotation:
        case {"type": "url_citation", "url_citation": dict(inner)}:
            return {"type": "url_citation", **inner}
        case {"type": "web_search_result_location", "url": str(url)} if not own:
            title = annotation.get("title")
            name = title if isinstance(title, str) else ""
            return {
                "type": "url_citation",
                "url": url,
                "title": name,
                "start_index": 0,
                "end_index": 0,
            }
        case {"type": str(kind)}:
            good = own or kind in FLAT_ANNOTATIONS
            return annotation if good else None
        case _:
            return annotation if own else None
