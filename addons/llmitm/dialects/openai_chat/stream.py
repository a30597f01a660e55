"""Streamed chat answers: server-sent events -> canon events. Total.

Fields of a chunk beside its choices may come at any time: each new one is a further `Start`.
`obfuscation` and `p` are padding and mean nothing; ids and models that change are told once.
Source: OpenAI API reference, Chat, streaming; WHATWG HTML, server-sent events.
"""

from __future__ import annotations

from collections.abc import Sequence

from llmitm.canon.events import End, Event, Opaque, Ping, Start
from llmitm.dialects.alike import Alike
from llmitm.dialects.contract import Frame, StreamDecoder
from llmitm.dialects.framing_sse import SseFrame, SseSplitter, parse_frame
from llmitm.dialects.openai_chat.answers import BROKEN_OFF, decode_usage
from llmitm.dialects.openai_chat.choices import ChoiceReader
from llmitm.dialects.openai_chat.faults import decode_fault
from llmitm.dialects.openai_chat.parts import Wire
from llmitm.dialects.openai_chat.response import decode_response
from llmitm.dialects.openai_chat.tables import CHOICE_KEYS, CHUNK_KEYS, NAME
from llmitm.dialects.openai_chat.wire import BOM, parse_small, says, string, whole

_PING: tuple[Event, ...] = (Ping(),)
_SPACE = b" \t\r\n"
_PLAIN_CHOICE = frozenset({"index", "delta", "logprobs", "finish_reason"})
_PLAIN_DELTA = frozenset({"role", "content"})


def stream_decoder(media_type: str) -> StreamDecoder:
    """A decoder for one answer; `application/json` is read whole, everything else as events."""
    kind = media_type.partition(";")[0].strip().lower()
    return BodyDecoder() if kind.endswith("json") else SseDecoder()


class BodyDecoder:
    """An answer that is no stream: one frame at its end."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def feed(self, data: bytes) -> Sequence[Frame]:
        """Nothing yet."""
        self._pieces.append(data)
        return ()

    def close(self) -> Sequence[Frame]:
        """The whole body as one frame."""
        body = b"".join(self._pieces)
        self._pieces.clear()
        return [Frame(body, tuple(decode_response(body)))] if body else []


class SseDecoder:
    """Server-sent events of one answer; a JSON body in their place is read as one."""

    def __init__(self, alike: Alike | None = None) -> None:
        self._splitter = SseSplitter()
        self._reader = ChunkReader(alike or Alike())
        self._body: list[bytes] | None = None
        self._first = True

    def feed(self, data: bytes) -> Sequence[Frame]:
        """The frames that `data` completes."""
        return [Frame(frame.raw, self._events(frame)) for frame in self._splitter.feed(data)]

    def close(self) -> Sequence[Frame]:
        """The unterminated rest, then the ends of parts still open."""
        frames = [Frame(frame.raw, self._rest(frame)) for frame in self._splitter.close()]
        events = self._reader.close()
        if self._body is not None:
            events += decode_response(b"".join(self._body))
            self._body = None
        return [*frames, Frame(b"", tuple(events))] if events else frames

    def _rest(self, frame: SseFrame) -> tuple[Event, ...]:
        """Events of an unterminated frame: none of one that was cut."""
        data = self._data(frame)
        if data is not None and data.strip() != b"[DONE]":
            try:
                parse_small(data)
            except ValueError:
                return ()
        return self._events(frame)

    def _data(self, frame: SseFrame) -> bytes | None:
        """The data of a frame; a byte order mark and white space before it are no matter."""
        if frame.data is not None:
            return frame.data
        raw = frame.raw.removeprefix(BOM).lstrip(_SPACE)
        return parse_frame(raw).data if raw.startswith((b"data:", b"event:")) else None

    def _events(self, frame: SseFrame) -> tuple[Event, ...]:
        data = frame.data
        if data is None or self._body is not None:
            if self._body is not None:
                self._body.append(frame.raw)
                return ()
            data = self._data(frame)
            if data is None:
                return self._without_data(frame)
        self._first = False
        return self._reader.read(data, frame.event)

    def _without_data(self, frame: SseFrame) -> tuple[Event, ...]:
        raw = frame.raw.removeprefix(BOM).lstrip(_SPACE)
        if raw.startswith(b":"):
            return _PING
        if self._first and raw.startswith((b"{", b"[", b"<")):
            self._body = [frame.raw]
        return ()


class ChunkReader:
    """Reads the data of one event after the other."""

    def __init__(self, alike: Alike) -> None:
        self._alike = alike
        self._choices: dict[int, ChoiceReader] = {}
        self._began = False
        self._id = ""
        self._model = ""
        self._created: int | None = None
        self._extras: Wire = {}
        self._usage: Wire = {}

    def read(self, data: bytes, event: str = "") -> tuple[Event, ...]:
        """The events of one chunk."""
        known = self._alike.read(data)
        return self._read(data, event) if known is None else known

    def _read(self, data: bytes, event: str) -> tuple[Event, ...]:
        try:
            value = parse_small(data)
        except ValueError:
            if data.strip() == b"[DONE]":
                return tuple(self._done())
            return (Opaque(NAME, event, data.decode("utf-8", "replace")),) if data else ()
        if not isinstance(value, dict):
            return (Opaque(NAME, event, value),)
        choices = value.get("choices")
        if choices is None and "usage" not in value and "x_groq" not in value:
            fault = decode_fault(value)
            return (Opaque(NAME, event, value),) if fault is None else (fault,)
        out: list[Event] = []
        self._head(value, out)
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, dict):
                    self._choice(choice, out)
                else:
                    out.append(Opaque(NAME, event, {"choices": [choice]}))
        elif choices is not None:
            out.append(Opaque(NAME, event, {"choices": choices}))
        if isinstance(usage := value.get("usage"), dict):
            self._count(usage, out)
        if value.get("error"):
            fault = decode_fault(value)
            if fault is not None:
                out.append(fault)
        self._learn(data, value, out)
        return tuple(out)

    def _learn(self, data: bytes, value: Wire, out: list[Event]) -> None:
        """Remembers a chunk with one choice that tells one piece of text, and nothing else."""
        choices = value.get("choices")
        if len(out) != 1 or not isinstance(choices, list) or len(choices) != 1:
            return
        choice = choices[0]
        if value.get("usage") or not isinstance(choice, dict) or choice.keys() - _PLAIN_CHOICE:
            return
        delta = choice.get("delta")
        if choice.get("logprobs") or choice.get("finish_reason") not in (None, ""):
            return
        if not isinstance(delta, dict) or delta.keys() - _PLAIN_DELTA:
            return
        if delta.get("role") in (None, "", "assistant"):
            self._alike.learn(data, value, delta, "content", out[0])

    def _head(self, value: Wire, out: list[Event]) -> None:
        """What stands beside the choices, as far as it is news."""
        fresh: Wire = {}
        for key in value.keys() - CHUNK_KEYS:
            item = value[key]
            if key not in self._extras or (item != self._extras[key] and says(item)):
                fresh[key] = item
        if self._began and not fresh and self._id and self._model and self._created:
            return
        ident = "" if self._id else string(value.get("id")) or ""
        model = "" if self._model else string(value.get("model")) or ""
        # Azure's first chunk, about the prompt alone, tells 0.
        created = None if self._created else whole(value.get("created")) or None
        self._id, self._model = self._id or ident, self._model or model
        self._created = self._created or created
        if fresh:
            self._extras.update(fresh)
            group = fresh.get("x_groq")
            if isinstance(group, dict) and isinstance(usage := group.get("usage"), dict):
                self._count(usage, out)
        if not self._began or fresh or ident or model or created:
            self._began = True
            out.append(Start(ident, model, created, fresh, NAME))

    def _count(self, usage: Wire, out: list[Event]) -> None:
        """A usage report; a null in it takes nothing back."""
        known = {key: v for key, v in usage.items() if v is not None or key not in self._usage}
        merged = {**self._usage, **known}
        if merged != self._usage:
            self._usage = merged
            out.append(decode_usage(merged))

    def _choice(self, wire: Wire, out: list[Event]) -> None:
        index = wire.get("index")
        index = index if isinstance(index, int) else 0
        choice = self._choices.get(index)
        if choice is None:
            choice = self._choices[index] = ChoiceReader(index)
        late = wire.keys() - CHOICE_KEYS
        for key in late:
            choice.keep(key, wire[key])
        delta = wire.get("delta")
        if not isinstance(delta, dict):
            if says(delta):
                choice.keep("delta", delta)
            delta = wire.get("message")
        if isinstance(delta, dict):
            choice.delta(delta, out)
        probs = wire.get("logprobs")
        if probs:
            choice.logprobs(probs, out)
        word = wire.get("finish_reason")
        if isinstance(word, str):
            if word:
                choice.finished(word, out)
        elif word is not None:
            choice.keep("finish_reason", word)
        if choice.finish is not None and not word:
            choice.refresh(out)
        if (error := wire.get("error")) and (fault := decode_fault({"error": error})):
            out.append(fault)

    def _done(self) -> list[Event]:
        return [*self.close(), End()]

    def close(self) -> list[Event]:
        """The ends of parts still open, and fields of choices that told no finish."""
        out: list[Event] = []
        left: Wire = {}
        for index in sorted(self._choices):
            choice = self._choices[index]
            choice.close(out)
            choice.refresh(out)
            if choice.finish is None and choice.extras:
                left[str(index)] = dict(choice.extras)
        if left and self._extras.get(BROKEN_OFF) != left:
            self._extras[BROKEN_OFF] = left
            out.append(Start(extras={BROKEN_OFF: left}, dialect=NAME))
        return out
