"""One choice of a streamed answer: its deltas -> canon events, and what stays open.

Text, thinking and refusals follow one another: one that begins ends the one before. Tool calls
stay open until the finish, because providers mix their pieces. A call's start waits for its name
(and id, where one comes before the arguments). Never raises.
Source: OpenAI API reference, Chat, streaming; OpenRouter, reasoning tokens; Mistral, reasoning.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from llmitm.canon.events import (
    DeltaKind,
    Event,
    Finish,
    PartDelta,
    PartDetail,
    PartEnd,
    PartStart,
)
from llmitm.canon.parts import Media, Part, Reasoning, Refusal, Text, ToolCall, Unknown
from llmitm.canon.values import NO_EXTRAS, Json
from llmitm.dialects.openai_chat.answers import IN_LOGPROBS, IN_MESSAGE, finish_of
from llmitm.dialects.openai_chat.messages import arguments_text, decode_audio, details_text
from llmitm.dialects.openai_chat.parts import Wire, decode_part
from llmitm.dialects.openai_chat.pieces import add_details, detail_event, join_base64
from llmitm.dialects.openai_chat.tables import DELTA_KEYS, NAME, REASONING_FIELDS
from llmitm.dialects.openai_chat.wire import says, string

type _Prose = Literal["", "text", "reasoning", "thinking", "refusal"]

_DELTA_KINDS: dict[_Prose, DeltaKind] = {
    "text": "text",
    "reasoning": "reasoning",
    "thinking": "reasoning",
    "refusal": "refusal",
}


@dataclass(slots=True)
class _Call:
    part: int
    kind: Literal["function", "custom"]
    id: str = ""
    name: str = ""
    waiting: str = ""
    extras: Wire = field(default_factory=dict[str, Json])
    started: bool = False


class ChoiceReader:
    """Collects one choice. `out` of each method takes the events."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.extras: Wire = {}
        self.finish: Finish | None = None
        self._next = 0
        self._prose: _Prose = ""
        self._prose_at = 0
        self._text_at: int | None = None
        self._plain = False
        self._details: list[Json] = []
        self._late: list[Json] = []
        self._audio: Wire = {}
        self._citations: list[Json] = []
        self._calls: dict[int, _Call] = {}
        self._last: _Call | None = None

    def text(self, text: str, out: list[Event]) -> None:
        """More of the answer's text."""
        if self._prose == "text":
            out.append(PartDelta(self._prose_at, "text", text, self.index))
        else:
            self._say("text", Text(text=""), text, out)

    def _say(self, kind: _Prose, empty: Part, text: str, out: list[Event]) -> None:
        if self._prose != kind:
            self._end_prose(out)
            self._prose, self._prose_at = kind, self._begin(empty, out)
            if kind == "text":
                self._text_at = self._prose_at
                if self._citations:
                    told, self._citations = self._citations, []
                    self._annotate(told, out)
        if text:
            out.append(PartDelta(self._prose_at, _DELTA_KINDS[kind], text, self.index))

    def _begin(self, part: Part, out: list[Event]) -> int:
        place = self._next
        self._next += 1
        out.append(PartStart(place, part, self.index))
        return place

    def _whole(self, part: Part, out: list[Event]) -> None:
        out.append(PartEnd(self._begin(part, out), self.index))

    def _end_prose(self, out: list[Event]) -> None:
        if not self._prose:
            return
        if self._details:
            out.append(detail_event(self._prose_at, self._details, self.index))
            self._details = []
        out.append(PartEnd(self._prose_at, self.index))
        self._prose = ""

    def delta(self, delta: Wire, out: list[Event]) -> None:
        """All of one `delta`."""
        for key in delta:
            if key not in DELTA_KEYS:
                self._keep(IN_MESSAGE + key, delta[key])
        role = delta.get("role")
        if role is not None and role not in ("assistant", ""):
            self._keep(f"{IN_MESSAGE}role", role)
        self._reasoning(delta, out)
        content = delta.get("content")
        if isinstance(content, str):
            if content:
                self.text(content, out)
        elif content is not None:
            self._content(content, out)
        if len(delta) > 1 or content is None:
            self._rest(delta, out)

    def _rest(self, delta: Wire, out: list[Event]) -> None:
        refusal = delta.get("refusal")
        if isinstance(refusal, str):
            if refusal:
                self._say("refusal", Refusal(text=""), refusal, out)
        elif refusal is not None:
            self._keep(f"{IN_MESSAGE}refusal", refusal)
        if isinstance(audio := delta.get("audio"), dict):
            self._add_audio(audio)
        if images := delta.get("images"):
            self._add_images(images, out)
        calls = delta.get("tool_calls")
        if isinstance(calls, list):
            for item in calls:
                self._call(item, out)
        elif calls is not None:
            self._keep(f"{IN_MESSAGE}tool_calls", calls)
        legacy = delta.get("function_call")
        if isinstance(legacy, dict) and (says(legacy.get("name")) or -1 in self._calls):
            self._call({"index": -1, "type": "function_call", "function": legacy}, out)
        elif says(legacy):
            self._keep(f"{IN_MESSAGE}function_call", legacy)
        if annotations := delta.get("annotations"):
            self._annotate(annotations, out)

    def _keep(self, key: str, value: Json) -> None:
        """A field without a place: what tells more stays, a null never replaces anything."""
        if says(value) or key not in self.extras:
            self.extras[key] = value

    def _append(self, key: str, items: list[Json]) -> None:
        before = self.extras.get(key)
        self.extras[key] = [*(before if isinstance(before, list) else ()), *items]

    def keep(self, key: str, value: Json) -> None:
        """A field of the choice itself."""
        self._keep(key, value)

    def _reasoning(self, delta: Wire, out: list[Event]) -> None:
        said = ""
        for key in REASONING_FIELDS:
            value = delta.get(key)
            if not value:
                continue
            if not isinstance(value, str):
                self._keep(IN_MESSAGE + key, value)
            elif not said:
                said = value
                self._plain = True
                self._say("reasoning", Reasoning(dialect=NAME, at=(key,)), value, out)
            elif value != said:
                self._keep(IN_MESSAGE + key, value)
        details = delta.get("reasoning_details")
        if not details:
            return
        if not isinstance(details, list):
            self._keep(f"{IN_MESSAGE}reasoning_details", details)
            return
        text = "" if self._plain else details_text(details)
        if text or self._next == 0:
            self._say("reasoning", Reasoning(dialect=NAME, at=("reasoning_details",)), text, out)
        add_details(self._details if self._prose == "reasoning" else self._late, details)

    def _content(self, content: Json, out: list[Event]) -> None:
        for item in content if isinstance(content, list) else [content]:
            part = decode_part(item, ())
            if isinstance(part, Text) and not part.extras:
                if part.text:
                    self.text(part.text, out)
            elif isinstance(part, Reasoning):
                self._thinking(part, out)
            else:
                self._end_prose(out)
                self._whole(part, out)

    def _thinking(self, part: Reasoning, out: list[Event]) -> None:
        extras: Wire = dict(part.extras)
        pieces = extras.pop("thinking", None)
        more = {key: value for key, value in extras.items() if key != "type"}
        self._say("thinking", Reasoning(dialect=NAME, extras={"type": "thinking"}), part.text, out)
        if more:
            out.append(PartDetail(index=self._prose_at, extras=more, choice=self.index))
        odd: list[Json] = [
            item
            for item in (pieces if isinstance(pieces, list) else ())
            if not (isinstance(item, dict) and item.keys() <= {"type", "text"})
        ]
        if odd:
            value: Wire = {"type": "thinking", "thinking": odd}
            self._end_prose(out)
            self._whole(Unknown(dialect=NAME, kind="thinking", value=value), out)

    def _add_audio(self, audio: Wire) -> None:
        for key, value in audio.items():
            before = self._audio.get(key)
            if key == "data" and isinstance(before, str) and isinstance(value, str):
                self._audio[key] = join_base64(before, value)
            elif key == "transcript" and isinstance(before, str) and isinstance(value, str):
                self._audio[key] = before + value
            elif says(value) or key not in self._audio:
                self._audio[key] = value

    def _add_images(self, images: Json, out: list[Event]) -> None:
        for item in images if isinstance(images, list) else [images]:
            part = decode_part(item, ())
            if isinstance(part, Media):
                self._end_prose(out)
                self._whole(part, out)
            else:
                self._append(f"{IN_MESSAGE}images", [item])

    def _annotate(self, annotations: Json, out: list[Event]) -> None:
        if isinstance(annotations, list) and self._text_at is not None:
            out.append(
                PartDetail(index=self._text_at, annotations=tuple(annotations), choice=self.index)
            )
        elif isinstance(annotations, list):
            self._citations += annotations
        else:
            self._keep(f"{IN_MESSAGE}annotations", annotations)

    def logprobs(self, told: Json, out: list[Event]) -> None:
        """The `logprobs` of one chunk."""
        if not isinstance(told, dict):
            self._keep("logprobs", told)
            return
        for key, value in told.items():
            if key == "content" and isinstance(value, list) and self._text_at is not None:
                if value:
                    out.append(PartDetail(index=self._text_at, logprobs=value, choice=self.index))
            elif isinstance(value, list) and value:
                self._append(IN_LOGPROBS + key, value)
            elif says(value):
                self._keep(IN_LOGPROBS + key, value)

    def _call(self, item: Json, out: list[Event]) -> None:
        if not isinstance(item, dict):
            self._end_prose(out)
            self._whole(Unknown(dialect=NAME, kind="", value=item, at=("tool_calls",)), out)
            return
        kind = item.get("type")
        key = "custom" if kind == "custom" or "function" not in item else "function"
        argument_key = "input" if key == "custom" else "arguments"
        inner = item.get(key)
        if not isinstance(inner, dict):
            if inner is not None or "id" not in item:
                self._append(f"{IN_MESSAGE}tool_calls", [item])
                return
            inner = {}
        name, ident = string(inner.get("name")) or "", string(item.get("id")) or ""
        call = self._found(item.get("index"), ident, name, key, out)
        given = inner.get(argument_key)
        text = given if isinstance(given, str) else arguments_text(given)
        extras: Wire = {}
        if len(item) > 2:
            extras = {k: v for k, v in item.items() if k not in ("index", "id", "type", key)}
            if kind not in (None, "", "function", "custom"):
                extras["type"] = kind
        rest = {k: v for k, v in inner.items() if k not in ("name", argument_key)}
        if rest:
            extras[key] = rest
        if call.started:
            if text:
                out.append(PartDelta(call.part, "arguments", text, self.index))
            if ident and not call.id:
                call.id = extras["id"] = ident
            if extras and call.extras.get("type") != "function_call":
                out.append(PartDetail(index=call.part, extras=extras, choice=self.index))
            return
        call.id, call.name = call.id or ident, call.name or name
        call.waiting += text
        call.extras |= extras
        if call.name and (call.id or call.waiting):
            self._start_call(call, out)

    def _found(
        self,
        index: Json,
        ident: str,
        name: str,
        kind: Literal["function", "custom"],
        out: list[Event],
    ) -> _Call:
        """The call that a piece belongs to, a new one where it begins one."""
        place: int | None = index if isinstance(index, int) else None
        if place is not None:
            found = self._calls.get(place)
            if found and ident and name and found.id and found.id != ident:
                # Several calls under one index: each comes with an id and a name of its own.
                found = None
        elif ident:
            found = next((call for call in self._calls.values() if call.id == ident), None)
            if found is None and not name and self._last and not self._last.id:
                found = self._last
        else:
            found = None if name else self._last
        if found is None:
            self._end_prose(out)
            found = _Call(self._next, kind)
            self._next += 1
            if place is None or place in self._calls:
                place = max((*self._calls, len(self._calls) - 1)) + 1000
            self._calls[place] = found
        self._last = found
        return found

    def _start_call(self, call: _Call, out: list[Event]) -> None:
        call.started = True
        part = ToolCall(
            id=call.id,
            name=call.name,
            arguments="",
            kind=call.kind,
            extras=call.extras or NO_EXTRAS,
        )
        out.append(PartStart(call.part, part, self.index))
        if call.waiting:
            out.append(PartDelta(call.part, "arguments", call.waiting, self.index))
            call.waiting = ""

    def finished(self, word: str, out: list[Event]) -> None:
        """The finish reason is told (perhaps once more)."""
        self.close(out)
        if self.finish is None or word != self.finish.raw or self.extras != self.finish.extras:
            self.finish = finish_of(word, self.index, dict(self.extras) or NO_EXTRAS)
            out.append(self.finish)

    def refresh(self, out: list[Event]) -> None:
        """Says the finish again if fields of the choice came after it."""
        if self.finish is not None and self.finish.raw is not None:
            self.finished(self.finish.raw, out)

    def close(self, out: list[Event]) -> None:
        """Ends every part that is open."""
        self._end_prose(out)
        for call in self._calls.values():
            if not call.started:
                self._start_call(call, out)
            out.append(PartEnd(call.part, self.index))
        self._calls.clear()
        self._last = None
        if self._audio:
            self._end_audio(out)
        if self._citations:
            self._append(f"{IN_MESSAGE}annotations", self._citations)
            self._citations = []
        if self._late:
            place = self._begin(Reasoning(dialect=NAME, at=("reasoning_details",)), out)
            out += (detail_event(place, self._late, self.index), PartEnd(place, self.index))
            self._late = []

    def _end_audio(self, out: list[Event]) -> None:
        if string(self._audio.get("id")):
            self._whole(decode_audio(self._audio, ("audio",)), out)
        else:
            self._keep(f"{IN_MESSAGE}audio", self._audio)
        self._audio = {}
