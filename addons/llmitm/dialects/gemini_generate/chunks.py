"""Chunks of a streamed answer (or one whole body) -> canon events.

A text that goes on from chunk to chunk is one part; within one chunk every part stands for itself,
and so does every text with a signature, which must go back exactly as it came. Total: a value of
the wrong shape comes out as `Opaque`. Never: splits bytes.
Source: Gemini API reference, GenerateContentResponse; Google's guide to thought signatures.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from llmitm.canon.events import (
    DeltaKind,
    End,
    Event,
    Finish,
    Opaque,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
    Start,
)
from llmitm.canon.parts import Part, Reasoning, Text, ToolCall
from llmitm.canon.values import NO_EXTRAS, Json
from llmitm.dialects.gemini_generate.faults import read_fault
from llmitm.dialects.gemini_generate.logprobs import read_logprobs
from llmitm.dialects.gemini_generate.parts import read_part
from llmitm.dialects.gemini_generate.pieces import PartialArgs
from llmitm.dialects.gemini_generate.tables import FINISH, FINISH_NUMBERS, NAME, OUTER_ANSWER_KEYS
from llmitm.dialects.gemini_generate.usage import read_usage
from llmitm.dialects.gemini_generate.wire import Wire, camel, dump_text, unix_seconds

_MODELED = frozenset(
    {"candidates", "usageMetadata", "modelVersion", "responseId", "error", "promptFeedback"}
)
_UNSAID = (None, 0, "", "FINISH_REASON_UNSPECIFIED")


@dataclass(slots=True)
class _Choice:
    """One candidate while it grows.

    open: what of its last part may go on; reason: the last finish reason told (some models tell
    one with every chunk, so it counts at the end only).
    """

    index: int
    next: int = 0
    open: DeltaKind | None = None
    partial: PartialArgs | None = None
    called: bool = False
    reason: Json = None
    source: Json = None
    extras: dict[str, Json] = field(default_factory=dict[str, Json])


class ChunkReader:
    """Takes the chunk objects of one answer in order; `finish()` after the last.

    Finish reasons, what else candidates say beside their parts, and the usage's last state come
    with `finish()`.

    whole: the chunk is a whole body: an empty text is a part of its own, and every part and
    finish remembers how it was written.
    """

    def __init__(self, *, whole: bool = False) -> None:
        self._whole = whole
        self._started = False
        self._identity: tuple[Json, Json] = (None, None)
        self._choices: dict[int, _Choice] = {}
        self._usage: dict[str, Json] | None = None
        self._told: dict[str, Json] | None = None
        self._seen: dict[str, Json] = {}
        self._fault = False
        self._blocked = False

    def read(self, value: Json) -> list[Event]:
        """The events of one chunk, in the plain or the Code Assist form."""
        if not isinstance(value, dict):
            return [Opaque(NAME, "", value)]
        chunk = value
        outer: dict[str, Json] = {}
        if "candidates" not in chunk:
            inner = chunk.get("response")
            if isinstance(inner, dict):
                outer = {key: item for key, item in chunk.items() if key != "response"}
                chunk = inner
        chunk = camel(chunk)
        events: list[Event] = []
        self._start(chunk, outer, events)
        usage = chunk.get("usageMetadata")
        if isinstance(usage, dict):
            self._count(usage, events)
        elif usage is not None:
            events.append(Opaque(NAME, "", {"usageMetadata": usage}))
        candidates = chunk.get("candidates")
        if isinstance(candidates, list):
            for place, candidate in enumerate(candidates):
                if isinstance(candidate, dict):
                    self._candidate(candidate, place, events)
                else:
                    events.append(Opaque(NAME, "candidate", candidate))
        elif candidates is not None:
            events.append(Opaque(NAME, "", {"candidates": candidates}))
        if "error" in chunk and not self._fault:
            self._fault = True
            events.append(read_fault(chunk, in_stream=not self._whole))
        return events

    def finish(self) -> list[Event]:
        """Closes what is open; `End` if every candidate was told to be finished."""
        events: list[Event] = []
        if self._usage is not None and self._usage is not self._told:
            events.append(read_usage(self._usage))
        for choice in self._choices.values():
            self._close(choice, events)
            if choice.reason is not None:
                events.append(self._finished(choice))
            elif choice.extras:
                value: Json = {"index": choice.index, **choice.extras}
                events.append(Opaque(NAME, "candidate", value))
        done = all(choice.reason is not None for choice in self._choices.values())
        if done and (self._choices or self._blocked) and not self._fault:
            events.append(End())
        return events

    def _count(self, usage: dict[str, Json], events: list[Event]) -> None:
        """Tells the first usage (it has the input) at once, the last one at the end."""
        old = self._usage
        if old is None:
            self._usage = self._told = usage
            events.append(read_usage(usage))
        elif usage != old:
            self._usage = usage if usage.keys() >= old.keys() else {**old, **usage}

    def _start(self, chunk: dict[str, Json], outer: dict[str, Json], events: list[Event]) -> None:
        """What a chunk says beside its candidates: said once, unknown or changed keys opaque."""
        answer_id, model = chunk.get("responseId"), chunk.get("modelVersion")
        known: dict[str, Json] = {}
        opaque: list[Event] = []
        if outer or not chunk.keys() <= _MODELED:
            fresh = {key: item for key, item in chunk.items() if key not in _MODELED}
            self._sort(fresh, "", known, opaque)
            self._sort(outer, "wrapper", known, opaque)
        feedback = chunk.get("promptFeedback")
        blocked = self._block(feedback, chunk) if feedback is not None else None
        if feedback is not None and blocked is None:
            self._sort({"promptFeedback": feedback}, "", known, opaque)
        identity = (answer_id, model)
        failed = "error" in chunk and "candidates" not in chunk
        if not failed and (not self._started or identity != self._identity):
            self._started = True
            self._identity = identity
            for key, item in (("responseId", answer_id), ("modelVersion", model)):
                if not (item is None or isinstance(item, str)):
                    opaque.append(Opaque(NAME, "", {key: item}))
            events.append(
                Start(
                    answer_id if isinstance(answer_id, str) else "",
                    model if isinstance(model, str) else "",
                    unix_seconds(chunk.get("createTime")),
                    known or NO_EXTRAS,
                    NAME,
                )
            )
        events += opaque
        if blocked is not None:
            events.append(blocked)

    def _sort(
        self, fields: dict[str, Json], place: str, known: dict[str, Json], opaque: list[Event]
    ) -> None:
        for key, item in fields.items():
            if key in self._seen and self._seen[key] == item:
                continue
            if not self._started and (not place or key in OUTER_ANSWER_KEYS):
                known[key] = item
            else:
                opaque.append(Opaque(NAME, place, {key: item}))
            self._seen[key] = item

    def _block(self, feedback: Json, chunk: dict[str, Json]) -> Finish | None:
        """The finish of an answer that is nothing but a refusal of the prompt."""
        if not isinstance(feedback, dict) or chunk.get("candidates") or self._choices:
            return None
        reason = camel(feedback).get("blockReason")
        if not reason or self._blocked:
            return None
        self._blocked = True
        self._seen["promptFeedback"] = feedback
        return Finish("content_filter", str(reason), extras=Wire({"promptFeedback": feedback}))

    # Candidates

    def _candidate(self, raw: dict[str, Json], place: int, events: list[Event]) -> None:
        candidate = camel(raw)
        index = candidate.get("index", place)
        if type(index) is not int:
            index = place
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = _Choice(index)
        reason: Json = None
        for key, item in candidate.items():
            if key == "content":
                self._content(item, choice, events)
            elif key == "finishReason":
                reason = item
            elif key != "index":
                choice.extras[key] = item
        if choice.extras:
            self._logprobs(choice, events)
        if reason not in _UNSAID:
            choice.reason = reason
            choice.source = raw

    def _finished(self, choice: _Choice) -> Finish:
        reason = choice.reason
        word = str(reason)
        if type(reason) is int and 0 <= reason < len(FINISH_NUMBERS):
            kind = FINISH[FINISH_NUMBERS[reason]]
        else:
            kind = FINISH.get(word, "unknown")
        if kind == "stop" and choice.called:
            kind = "tool_calls"
        extras = NO_EXTRAS
        if self._whole:
            extras = Wire(choice.extras, choice.source)
        elif choice.extras:
            extras = Wire(choice.extras)
        return Finish(kind, word, None, choice.index, extras)

    def _logprobs(self, choice: _Choice, events: list[Event]) -> None:
        tokens = choice.extras.get("logprobsResult")
        if tokens is not None and choice.open == "text":
            listed = read_logprobs(tokens)
            if listed is not None:
                del choice.extras["logprobsResult"]
                events.append(
                    PartDetail(index=choice.next - 1, logprobs=listed, choice=choice.index)
                )

    # Parts

    def _content(self, content: Json, choice: _Choice, events: list[Event]) -> None:
        if not isinstance(content, dict):
            if content is not None:
                choice.extras["content"] = content
            return
        parts = content.get("parts")
        if isinstance(parts, dict):
            parts = [parts]
        if not isinstance(parts, list):
            return
        first = True
        for raw in parts:
            # The usual chunk: more plain text of the part that is open.
            if first and isinstance(raw, dict) and len(raw) == 1 and choice.open == "text":
                text = raw.get("text")
                if isinstance(text, str):
                    first = False
                    if text:
                        events.append(PartDelta(choice.next - 1, "text", text, choice.index))
                    continue
            self._part(raw, choice, events, first=first)
            first = False

    def _part(self, raw: Json, choice: _Choice, events: list[Event], *, first: bool) -> None:
        if isinstance(raw, dict) and ("functionCall" in raw or "function_call" in raw):
            fields = camel(raw)
            call = fields.get("functionCall")
            if isinstance(call, dict) and self._streamed_call(fields, camel(call), choice, events):
                return
        part = read_part(raw, keep=self._whole)
        match part:
            case Text(text=text) if not part.extras or self._whole:
                self._text(part, "text", text, choice, events, first=first)
            case Reasoning(text=text) if not part.extras or self._whole:
                self._text(part, "reasoning", text, choice, events, first=first)
            case ToolCall():
                self._close(choice, events)
                choice.called = True
                self._open_call(part, choice, events)
                if part.arguments:
                    events.append(
                        PartDelta(choice.next - 1, "arguments", part.arguments, choice.index)
                    )
                events.append(PartEnd(choice.next - 1, choice.index))
            case _:
                self._close(choice, events)
                events += (
                    PartStart(choice.next, part, choice.index),
                    PartEnd(choice.next, choice.index),
                )
                choice.next += 1

    def _text(
        self,
        part: Text | Reasoning,
        kind: DeltaKind,
        text: str,
        choice: _Choice,
        events: list[Event],
        *,
        first: bool,
    ) -> None:
        signed = part.signature is not None
        if first and choice.open == kind and not signed:
            if text:
                events.append(PartDelta(choice.next - 1, kind, text, choice.index))
            return
        if not (text or signed or self._whole):
            return
        self._close(choice, events)
        started: Part
        if isinstance(part, Text):
            started = Text(text="", signature=part.signature, extras=part.extras)
        else:
            started = Reasoning(
                summary=True, signature=part.signature, dialect=NAME, extras=part.extras
            )
        index = choice.next
        choice.next += 1
        events.append(PartStart(index, started, choice.index))
        if text:
            events.append(PartDelta(index, kind, text, choice.index))
        if signed:
            events.append(PartEnd(index, choice.index))
        else:
            choice.open = kind

    def _open_call(self, call: ToolCall, choice: _Choice, events: list[Event]) -> None:
        started = ToolCall(
            id=call.id,
            name=call.name,
            arguments="",
            signature=call.signature,
            extras=call.extras,
        )
        events.append(PartStart(choice.next, started, choice.index))
        choice.next += 1

    def _streamed_call(
        self,
        fields: dict[str, Json],
        call: dict[str, Json],
        choice: _Choice,
        events: list[Event],
    ) -> bool:
        """Takes a piece of a call whose arguments are streamed; False if it is none."""
        goes_on = call.get("willContinue") is True
        partial = choice.partial
        if call.get("name") or partial is None:
            if not goes_on and "partialArgs" not in call:
                return False
            name, call_id = call.get("name"), call.get("id")
            signature = fields.get("thoughtSignature")
            self._close(choice, events)
            choice.called = True
            partial = choice.partial = PartialArgs(call.get("args"))
            self._open_call(
                ToolCall(
                    id=call_id if isinstance(call_id, str) else "",
                    name=name if isinstance(name, str) else "",
                    arguments="",
                    signature=signature if isinstance(signature, str) else None,
                ),
                choice,
                events,
            )
            choice.open = "arguments"
        partial.add(call.get("partialArgs"))
        if not goes_on:
            self._close(choice, events)
        return True

    def _close(self, choice: _Choice, events: list[Event]) -> None:
        if choice.open is None:
            return
        index = choice.next - 1
        if choice.partial is not None:
            arguments = dump_text(choice.partial.result())
            events.append(PartDelta(index, "arguments", arguments, choice.index))
            choice.partial = None
        events.append(PartEnd(index, choice.index))
        choice.open = None
