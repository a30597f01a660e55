"""Canon events -> the bytes of a streamed answer of this protocol.

Text goes out as it comes; calls, signed texts and thoughts in one piece at their end, finish
reasons and usage in one last chunk, as Gemini itself does it. Never raises.
Source: Gemini API reference, streamGenerateContent; google-genai, which reads it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

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
from llmitm.canon.parts import Part, Reasoning, Refusal, Text, ToolCall
from llmitm.canon.response import Choice
from llmitm.canon.values import Json, Loss
from llmitm.dialects.contract import Reply
from llmitm.dialects.framing_json_array import first_element, next_element
from llmitm.dialects.framing_sse import data_frame
from llmitm.dialects.gemini_generate.compose import Composer, Fields
from llmitm.dialects.gemini_generate.faults import write_fault
from llmitm.dialects.gemini_generate.logprobs import write_logprobs
from llmitm.dialects.gemini_generate.response import (
    finish_extras,
    finish_word,
    place_extras,
    place_opaque,
    write_citations,
)
from llmitm.dialects.gemini_generate.tables import CODE_ASSIST_NAME, FAMILY
from llmitm.dialects.gemini_generate.usage import write_usage
from llmitm.dialects.gemini_generate.wire import Wire, dump
from llmitm.dialects.telling import tell_late


@dataclass(slots=True)
class _Open:
    """A part that is being told. held: nothing of it is written before its end."""

    part: Part
    held: bool
    pieces: list[str] = field(default_factory=list[str])


class GeminiEncoder:
    """The bytes of one streamed answer for a client of this protocol."""

    def __init__(self, reply: Reply, target: str) -> None:
        self._reply = reply
        self._wrapped = target == CODE_ASSIST_NAME
        self._composer = Composer(target=target, own=False)
        self.losses: list[Loss] = self._composer.losses
        self._array = reply.framing == "json_array"
        self._written = False
        self._closed = False
        self._identity: Fields = {}
        self._identify(reply.model, reply.id)
        self._extras: Fields = {}
        self._outer: Fields = {}
        self._parts: dict[tuple[int, int], _Open] = {}
        # The last text of each choice that a next chunk could seem to go on with.
        self._last: dict[int, tuple[str, int]] = {}
        self._finishes: dict[int, Finish] = {}
        self._cited: dict[int, list[Json]] = {}
        self._usage: Usage | None = None

    def _identify(self, model: str, answer_id: str) -> None:
        if model:
            self._identity["modelVersion"] = model
        if answer_id:
            self._identity["responseId"] = answer_id
        tail = dump(self._identity)[1:-1]
        self._tail = (b"," + tail if tail else b"") + b"}"

    def feed(self, events: Iterable[Event]) -> bytes:
        """The bytes for these events."""
        out: list[bytes] = []
        for event in events:
            if self._closed:
                tell_late(event, self._composer.target, self.losses)
                continue
            # The usual event first: more text of a part that is passed on as it comes.
            if type(event) is PartDelta:
                self._delta(event, out)
            else:
                self._event(event, out)
        return b"".join(out)

    def _event(self, event: Event, out: list[bytes]) -> None:
        match event:
            case PartStart():
                self._part_start(event, out)
            case PartEnd():
                self._part_end(event, out)
            case PartDetail():
                self._detail(event, out)
            case Start():
                self._composer.own = event.dialect in FAMILY
                self._identify(event.model, event.id)
                place_extras(event.extras, self._composer, self._extras, self._outer)
            case Usage():
                self._usage = merge_usage(self._usage, event)
            case Finish():
                self._finishes[event.choice] = event
            case Fault():
                out.append(self._framed(dump(write_fault(event))))
                self._closed = True
                if self._array:
                    out.append(b"\n]\n")
            case Opaque():
                self._opaque(event, out)
            case End():
                place_extras(event.extras, self._composer, self._extras, self._outer)
                out.append(self.close())
            case PartDelta() | Ping():
                pass

    # Parts

    def _part_start(self, event: PartStart, out: list[bytes]) -> None:
        part = event.part
        key = (event.choice, event.index)
        match part:
            case Text():
                self._parts[key] = _Open(part, part.signature is not None or self._kept(part))
                self._told(part, event.choice)
                text = part.text
            case Reasoning():
                ours = part.dialect in FAMILY
                signed = part.signature is not None or part.encrypted is not None
                if signed and not ours:
                    self._composer.lose("part.reasoning.signature")
                self._parts[key] = _Open(part, (ours and signed) or self._kept(part))
                text = part.text
            case Refusal():
                self._composer.adapt("part.refusal", (), "as text")
                self._parts[key] = _Open(part, held=False)
                text = part.text
            case _:
                self._parts[key] = _Open(part, held=True)
                return
        if text and not self._parts[key].held:
            self._text(key, text, out)

    def _kept(self, part: Text | Reasoning) -> bool:
        """Whether extras must go out with the part; those of other protocols are losses."""
        return bool(self._composer.extras(part.extras, ()))

    def _delta(self, event: PartDelta, out: list[bytes]) -> None:
        key = (event.choice, event.index)
        opened = self._parts.get(key)
        if opened is None:
            part: Part = (
                Reasoning()
                if event.kind == "reasoning"
                else ToolCall(id="", name="", arguments="")
                if event.kind == "arguments"
                else Text(text="")
            )
            opened = self._parts[key] = _Open(part, held=event.kind == "arguments")
        if opened.held:
            opened.pieces.append(event.text)
        elif event.text:
            self._text(key, event.text, out)

    def _text(self, key: tuple[int, int], text: str, out: list[bytes]) -> None:
        """Writes text of a part. Where the part before it seems to go on, a chunk that first
        adds nothing to that one tells them apart."""
        choice, index = key
        thought = type(self._parts[key].part) is Reasoning
        kind = "reasoning" if thought else "text"
        last = self._last.get(choice)
        parts: list[Json] = []
        part: Fields = {"text": text, "thought": True} if thought else {"text": text}
        if last is not None and last[0] == kind and last[1] != index:
            parts.append({**part, "text": ""})
        parts.append(part)
        self._last[choice] = (kind, index)
        out.append(self._chunk(choice, dump(parts)))

    def _detail(self, event: PartDetail, out: list[bytes]) -> None:
        opened = self._parts.get((event.choice, event.index))
        if event.annotations:
            noted = Text(text="", annotations=event.annotations)
            self._told(noted, event.choice)
        if event.logprobs:
            self._logprobs(event.logprobs, event.choice, out)
        part = opened.part if opened is not None else None
        if event.encrypted is not None or (
            event.signature is not None
            and not (isinstance(part, ToolCall | Text))
            and not (isinstance(part, Reasoning) and part.dialect in FAMILY)
        ):
            self._composer.lose("part.reasoning.signature")
        elif event.signature is not None and opened is not None:
            self._sign(opened, event.signature)
        for key in event.extras:
            self._composer.lose("field", (key,))

    def _sign(self, opened: _Open, signature: str) -> None:
        """A signature that comes after the text: it goes out on an empty part of the same kind."""
        part = opened.part
        if isinstance(part, ToolCall):
            opened.part = ToolCall(
                id=part.id,
                name=part.name,
                arguments=part.arguments,
                kind=part.kind,
                signature=signature,
                extras=part.extras,
            )
        elif isinstance(part, Text):
            opened.part = Text(text=part.text, signature=signature, extras=part.extras)
        elif isinstance(part, Reasoning):
            opened.part = Reasoning(
                text=part.text, signature=signature, dialect=part.dialect, extras=part.extras
            )
        if not opened.held:
            opened.held = True
            opened.part = _emptied(opened.part)

    def _told(self, part: Text, choice: int) -> None:
        if part.annotations:
            cited = write_citations(Choice(parts=(part,)), self._composer)
            self._cited.setdefault(choice, []).extend(cited)

    def _part_end(self, event: PartEnd, out: list[bytes]) -> None:
        opened = self._parts.pop((event.choice, event.index), None)
        if opened is not None:
            self._write(opened, event.choice, out)

    def _write(self, opened: _Open, choice: int, out: list[bytes]) -> None:
        """Writes a part that was held back."""
        if not opened.held:
            return
        part = opened.part
        more = "".join(opened.pieces)
        if isinstance(part, ToolCall):
            part = _with_arguments(part, part.arguments + more)
        elif isinstance(part, Text):
            part = Text(text=part.text + more, signature=part.signature, extras=part.extras)
        elif isinstance(part, Reasoning):
            part = Reasoning(
                text=part.text + more,
                summary=part.summary,
                signature=part.signature,
                dialect=part.dialect,
                extras=part.extras,
            )
        written = self._composer.part(part)
        if written:
            self._last.pop(choice, None)
            out.append(self._chunk(choice, dump([*written])))

    # Chunks

    def _chunk(self, choice: int, parts: bytes) -> bytes:
        body = b'{"candidates":[{"content":{"parts":%b,"role":"model"},"index":%d}]' % (
            parts,
            choice,
        )
        if self._extras:
            body += b"," + dump(self._extras)[1:-1]
            self._extras = {}
        return self._framed(self._wrap(body + self._tail))

    def _wrap(self, body: bytes) -> bytes:
        outer, self._outer = self._outer, {}
        if not self._wrapped:
            return body[:-1] + b"," + dump(outer)[1:] if outer else body
        return b'{"response":' + body + (b"," + dump(outer)[1:] if outer else b"}")

    def _framed(self, body: bytes) -> bytes:
        first, self._written = not self._written, True
        if not self._array:
            return data_frame(body)
        return first_element(body) if first else next_element(body)

    def _logprobs(self, tokens: Json, choice: int, out: list[bytes]) -> None:
        result = write_logprobs(tokens)
        if result is None:
            self._composer.lose("part.logprobs")
            return
        candidate: Fields = {
            "content": {"parts": [{"text": ""}], "role": "model"},
            "index": choice,
            "logprobsResult": result,
        }
        out.append(self._object({"candidates": [candidate]}))

    def _object(self, chunk: Fields) -> bytes:
        chunk = {**chunk, **self._extras, **self._identity}
        self._extras = {}
        return self._framed(self._wrap(dump(chunk)))

    def _opaque(self, event: Opaque, out: list[bytes]) -> None:
        inner: Fields = {}
        place_opaque(event, self._composer, inner, self._outer)
        if inner or self._outer:
            out.append(self._object(inner))

    def close(self) -> bytes:
        """Open parts, then one chunk with every finish reason and the usage."""
        if self._closed:
            return b""
        out: list[bytes] = []
        for (choice, _), opened in list(self._parts.items()):
            self._write(opened, choice, out)
        self._parts.clear()
        out.append(self._object(self._ending()))
        if self._array:
            out.append(b"\n]\n")
        self._closed = True
        return b"".join(out)

    def _ending(self) -> Fields:
        chunk: Fields = {}
        finishes = self._finishes or {0: Finish("stop")}
        candidates: list[Json] = []
        for index in sorted(finishes):
            finish = finishes[index]
            if isinstance(finish.extras, Wire) and "promptFeedback" in finish.extras:
                chunk["promptFeedback"] = finish.extras["promptFeedback"]
                continue
            candidate: Fields = {
                "content": {"parts": [{"text": ""}], "role": "model"},
                "finishReason": finish_word(finish, self._composer),
                "index": index,
            }
            cited = self._cited.get(index)
            if cited:
                candidate["citationMetadata"] = {"citationSources": cited}
            candidate.update(finish_extras(finish, self._composer))
            candidates.append(candidate)
        if candidates:
            chunk["candidates"] = candidates
        if self._usage is not None:
            chunk["usageMetadata"] = write_usage(self._usage, self._composer)
        return chunk

    def heartbeat(self) -> bytes:
        """A blank line: a comment would be taken for JSON by Google's own SDK."""
        return b"" if self._closed else b"\n"


def _emptied(part: Part) -> Part:
    """The part with its signature, without the text that is out already."""
    if isinstance(part, Text):
        return Text(text="", signature=part.signature, extras=part.extras)
    if isinstance(part, Reasoning):
        return Reasoning(signature=part.signature, dialect=part.dialect, extras=part.extras)
    return part


def _with_arguments(call: ToolCall, arguments: str) -> ToolCall:
    return ToolCall(
        id=call.id,
        name=call.name,
        arguments=arguments,
        kind=call.kind,
        signature=call.signature,
        extras=call.extras,
    )
