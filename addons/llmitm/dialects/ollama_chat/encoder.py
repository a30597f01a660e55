"""Streamed answers in Ollama's native form: canon events -> lines of JSON. Never raises.

Source: Ollama API reference, streaming.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from llmitm.canon.events import (
    End,
    Event,
    Fault,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Ping,
    Start,
    Usage,
)
from llmitm.canon.fold import merge_usage
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.values import NO_EXTRAS, Extras, Json, Loss
from llmitm.dialects.contract import Reply
from llmitm.dialects.framing_ndjson import line
from llmitm.dialects.json_text import Wire, dump
from llmitm.dialects.ollama_chat.faults import encode_error
from llmitm.dialects.ollama_chat.parts import Fields, PartEncoder
from llmitm.dialects.ollama_chat.response import (
    content,
    created_at,
    ending,
    head,
    model_name,
    tell_finish,
    tell_usage,
    unshown,
)
from llmitm.dialects.ollama_chat.tables import GENERATE_NAME, NAME
from llmitm.dialects.telling import tell_late


@dataclass(slots=True)
class _Call:
    """A tool call that is still being told; the API sends calls whole."""

    part: ToolCall
    pieces: list[str] = field(default_factory=list[str])


class LineEncoder:
    """Events of one answer as lines, each an object of the chat or the generate call."""

    def __init__(self, reply: Reply, target: str) -> None:
        self.losses: list[Loss] = []
        self._reply = reply
        self._target = target
        self._parts = PartEncoder(False, self.losses)
        self._start = Start()
        self._prefix = b""
        self._calls: dict[int, _Call] = {}
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._end: Extras = NO_EXTRAS
        self._done = self._other_choices = False
        self._begin(Start())

    def feed(self, events: Iterable[Event]) -> bytes:
        """The lines for these events; a Fault ends the stream with an error line."""
        pieces: list[bytes] = []
        for event in events:
            if self._done:
                tell_late(event, NAME, self.losses)
                continue
            if isinstance(event, PartDelta) and not event.choice:
                pieces.append(self._delta(event))
            else:
                pieces += self._event(event)
        return b"".join(pieces)

    def close(self) -> bytes:
        """What makes the stream well-formed when it ends here."""
        return b"" if self._done else b"".join(self._closing())

    def heartbeat(self) -> bytes:
        """An object without text, which clients add to nothing; a blank line breaks them."""
        return self._said(Fields())

    def _begin(self, start: Start) -> None:
        self._start = start
        own = start.dialect == NAME
        self._parts = PartEncoder(own, self.losses)
        self._head = head(
            model_name(start.model, self._reply, own),
            created_at(start.extras, start.created_s, self._reply, own),
        )
        self._prefix = dump(self._head)[:-1]

    def _said(self, fields: Fields) -> bytes:
        body: Wire = {**self._head, **content(fields, self._target), "done": False}
        return line(dump(body))

    def _delta(self, event: PartDelta) -> bytes:
        if event.kind == "arguments":
            self._call(event.index).pieces.append(event.text)
            return b""
        text = dump(event.text)
        thought = event.kind == "reasoning"
        if self._target == GENERATE_NAME:
            told = b'"response":"","thinking":' + text if thought else b'"response":' + text
        elif thought:
            told = b'"message":{"role":"assistant","content":"","thinking":' + text + b"}"
        else:
            told = b'"message":{"role":"assistant","content":' + text + b"}"
        return self._prefix + b"," + told + b',"done":false}\n'

    def _event(self, event: Event) -> list[bytes]:
        match event:
            case Start():
                self._begin(event)
                if not self._parts.own:
                    self._parts.extras(event.extras)
            case PartStart() | PartDelta() | PartDetail() | PartEnd():
                return self._part_event(event)
            case Usage():
                self._usage = merge_usage(self._usage, event)
            case Finish():
                if not event.choice:
                    self._finish = event
            case Opaque():
                return self._opaque(event)
            case Fault():
                self._done = True
                return [line(encode_error(event))]
            case End():
                self._end = self._parts.extras(event.extras)
                return self._closing()
            case Ping():
                pass
        return []

    def _part_event(self, event: PartStart | PartDelta | PartDetail | PartEnd) -> list[bytes]:
        if event.choice:
            if not self._other_choices:
                self._other_choices = True
                self._parts.lose("choices")
            return []
        match event:
            case PartStart():
                return self._part(event.index, event.part)
            case PartDelta():
                return [self._delta(event)]
            case PartDetail():
                return self._detail(event)
            case PartEnd():
                return self._finish_call(event.index)

    def _part(self, index: int, part: Part) -> list[bytes]:
        if isinstance(part, ToolCall):
            self._calls[index] = _Call(part)
            return []
        if unshown(part, self._parts):
            return []
        if isinstance(part, Text | Reasoning | Refusal | Media | Unknown):
            fields = self._parts.fields((part,))
            said = fields.text or fields.thinking or fields.images or fields.calls
            return [self._said(fields)] if said and (fields.text != [""] or fields.images) else []
        self._parts.lose("part.unknown")
        return []

    def _detail(self, event: PartDetail) -> list[bytes]:
        if event.annotations:
            self._parts.lose("part.annotations")
        if event.signature is not None or event.encrypted is not None:
            self._parts.lose("part.reasoning.signature")
        if event.logprobs is None:
            return []
        if not self._parts.own:
            self._parts.lose("part.logprobs")
            return []
        empty = content(Fields(), self._target)
        told: Wire = {**self._head, **empty, "done": False, "logprobs": event.logprobs}
        return [line(dump(told))]

    def _call(self, index: int) -> _Call:
        return self._calls.setdefault(index, _Call(ToolCall(id="", name="", arguments="")))

    def _finish_call(self, index: int) -> list[bytes]:
        call = self._calls.pop(index, None)
        if call is None:
            return []
        arguments = call.part.arguments + "".join(call.pieces)
        said: Json = self._parts.call(replace(call.part, arguments=arguments))
        return [self._said(Fields(calls=[said]))]

    def _opaque(self, event: Opaque) -> list[bytes]:
        if event.dialect != NAME or not isinstance(event.value, dict):
            self._parts.lose("event.unknown", say=event.event)
            return []
        body: Wire = {**self._head, **content(Fields(), self._target), "done": False}
        inside = body.get("message")
        if event.event == "message" and isinstance(inside, dict):
            inside |= event.value
        else:
            body |= event.value
        return [line(dump(body))]

    def _closing(self) -> list[bytes]:
        pieces = [piece for index in sorted(self._calls) for piece in self._finish_call(index)]
        self._done = True
        tell_finish(self._finish, self._parts)
        tell_usage(self._usage, self._parts)
        own = self._parts.own and self._finish is not None
        body: Wire = {**self._head, **content(Fields(), self._target)}
        body |= ending(self._finish, self._usage, own)
        return [*pieces, line(dump({**body, **self._end}))]
